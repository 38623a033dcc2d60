"""What trials came to, kept in a file: an SQLite database of numbers, and nothing that runs.

Each row has a checksum of all that it says. A row that does not match its own is forgotten, said,
and its trial run again; so is everything in a file whose tables are not the ones below, which is
laid aside. A file that is no database, or another program's, is refused and not touched.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from featurekit.analysis.ablation.scores import PartLosses
from featurekit.analysis.ablation.trials import Outcome, Trial
from featurekit.errors import DataError, EngineError
from featurekit.stored_json import parse_json

__all__ = ["Store", "open_store"]

_PROGRAM = 0x464B5452
"""Says in the file's head that it is one of these: FKTR."""
_VERSION = 2
_notes = logging.getLogger("featurekit")
_WAIT = 60.0
"""So many seconds another run may take to write."""

_TABLES = """
CREATE TABLE IF NOT EXISTS studies (
  study INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  learner TEXT NOT NULL,
  metric TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS held_out (
  study INTEGER NOT NULL,
  fold INTEGER NOT NULL,
  parts BLOB NOT NULL,
  weights BLOB NOT NULL,
  checksum BLOB NOT NULL,
  PRIMARY KEY (study, fold)
);
CREATE TABLE IF NOT EXISTS trials (
  study INTEGER NOT NULL,
  dropped TEXT NOT NULL,
  fold INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  sums BLOB NOT NULL,
  seconds REAL NOT NULL,
  checksum BLOB NOT NULL,
  PRIMARY KEY (study, dropped, fold, seed)
);
"""
"""Arrays are the bytes of int64 (parts) and float64, little end first."""


class Store:
    """The trials of one study in a file, which may hold those of others as well.

    Args:
        connection: To the file.
        where: What to call it.
        fingerprint: Of the study; see `fingerprints.py`.
        learner: What the model is called, for people who look into the file.
        metric: What the metric is called.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        where: str,
        fingerprint: str,
        learner: str,
        metric: str,
    ) -> None:
        self._connection, self._where, self._fingerprint = connection, where, fingerprint
        with self._errors(), connection:
            connection.execute(
                "INSERT OR IGNORE INTO studies (fingerprint, learner, metric) VALUES (?, ?, ?)",
                (fingerprint, learner, metric),
            )
            (self._study,) = connection.execute(
                "SELECT study FROM studies WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()

    def read(self) -> list[Outcome]:
        """Return all trials of the study; rows that do not check out are forgotten, with a note.

        Raises:
            DataError: The file is damaged.
            EngineError: The file cannot be written.
        """
        with self._errors():
            held_out = self._connection.execute(
                "SELECT fold, parts, weights, checksum FROM held_out WHERE study = ?",
                (self._study,),
            ).fetchall()
            rows = self._connection.execute(
                "SELECT rowid, dropped, fold, seed, sums, seconds, checksum FROM trials "
                "WHERE study = ?",
                (self._study,),
            ).fetchall()
        held, wrong_folds = {}, []
        for fold, parts, weights, checksum in held_out:
            if self._checks((fold, parts, weights), checksum):
                held[fold] = (_array(parts, "<i8"), _array(weights, "<f8"))
            else:
                wrong_folds.append((self._study, fold))
        found, wrong = [], []
        for row, *said, checksum in rows:
            outcome = self._outcome(said, held) if self._checks(said, checksum) else None
            if outcome is None:
                wrong.append((row,))
            else:
                found.append(outcome)
        if wrong or wrong_folds:
            with self._errors(), self._connection:
                self._connection.executemany("DELETE FROM trials WHERE rowid = ?", wrong)
                forget = "DELETE FROM held_out WHERE study = ? AND fold IS ?"
                self._connection.executemany(forget, wrong_folds)
            _notes.warning(
                "%s: %s of %s trials do not match their checksums, and are run again",
                self._where, f"{len(wrong):,}", f"{len(rows):,}",
            )  # fmt: skip
        return found

    def _checks(self, said: Sequence[Any], checksum: Any) -> bool:
        """Whether a row is what was written."""
        kinds = all(type(each) in (int, float, str, bytes) for each in said)
        return kinds and checksum == _checksum(self._fingerprint, said)

    def _outcome(self, said: Sequence[Any], held: Mapping[int, Any]) -> Outcome | None:
        dropped, fold, seed, sums, seconds = said
        losses = _array(sums, "<f8")
        if fold not in held or not len(losses) == len(held[fold][0]) == len(held[fold][1]):
            return None
        try:
            names = tuple(parse_json(dropped, list[str], self._where))
        except DataError:
            return None
        parts, weights = held[fold]
        return Outcome(Trial(names, fold, seed), PartLosses(parts, losses, weights), seconds)

    def write(self, outcome: Outcome) -> None:
        """Keep what came of a trial; when this returns, it is in the file.

        Raises:
            EngineError: The file cannot be written.
        """
        trial, losses = outcome.trial, outcome.losses
        held = (
            trial.fold, losses.parts.astype("<i8").tobytes(),
            losses.weights.astype("<f8").tobytes(),
        )  # fmt: skip
        made = (
            json.dumps(trial.dropped), trial.fold, trial.seed, losses.sums.astype("<f8").tobytes(),
            float(outcome.seconds),
        )  # fmt: skip
        with self._errors(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO held_out VALUES (?, ?, ?, ?, ?)",
                (self._study, *held, _checksum(self._fingerprint, held)),
            )
            self._connection.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._study, *made, _checksum(self._fingerprint, made)),
            )

    def _errors(self) -> _Errors:
        return _Errors(self._where)


def _array(data: bytes, kind: str) -> np.ndarray:
    return np.frombuffer(data, kind).astype(kind[1:])


def _checksum(fingerprint: str, said: Sequence[Any]) -> bytes:
    """Return a hash of a row, of the study that it belongs to included."""
    made = hashlib.sha256(fingerprint.encode())
    for each in said:
        data = each if isinstance(each, bytes) else repr(each).encode()
        made.update(f"{type(each).__name__} {len(data)} ".encode() + data)
    return made.digest()


@contextmanager
def open_store(path: Path, fingerprint: str, learner: str, metric: str) -> Iterator[Store]:
    """Open the file that keeps trials; it is made if it is not there.

    Args:
        path: Of the file.
        fingerprint: Of the study.
        learner: What the model is called.
        metric: What the metric is called.

    Raises:
        DataError: It is damaged, or another program's; it is not touched then.
        EngineError: It cannot be opened or written.
    """
    connection = _connected(path)
    try:
        with _Errors(str(path)):
            strange = _strange(connection, str(path))
        if strange is not None:
            connection.close()
            aside = _lay_aside(path)
            _notes.warning(
                "%s: %s; it is laid aside as %s, and its trials are run again", path, strange, aside
            )
            connection = _connected(path)
        with _Errors(str(path)):
            _prepare(connection)
        yield Store(connection, str(path), fingerprint, learner, metric)
    finally:
        connection.close()


def _connected(path: Path) -> sqlite3.Connection:
    with _Errors(str(path)):
        connection = sqlite3.connect(path, timeout=_WAIT)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _strange(connection: sqlite3.Connection, where: str) -> str | None:
    """Return why a file of ours cannot be used, `None` if it can, or is empty.

    Nothing of it is asked before it is known that it holds our tables and nothing else: a view
    called like one of them may never end.
    """
    (program,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if program == 0 and version == 0 and not _schema(connection):
        return None
    if program != _PROGRAM:
        raise DataError(
            "this is the database of another program, and no file of trials", where=where,
            hint="give another name",
        )  # fmt: skip
    if version > _VERSION:
        raise DataError(
            f"its form is version {version}; this version of FeatureKit reads version {_VERSION}",
            where=where, hint="give another name",
        )  # fmt: skip
    if version < _VERSION:
        return "an older version of FeatureKit wrote it, without checksums"
    with closing(sqlite3.connect(":memory:")) as ours:
        ours.executescript(_TABLES)
        same = _schema(ours) == _schema(connection)
    return None if same else "its tables are not those that were made"


def _schema(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    asked = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
    return connection.execute(asked).fetchall()


def _lay_aside(path: Path) -> Path:
    """Rename a file, so that nothing in it is lost, and return where it is."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.aside-{number}")
        if not aside.exists():
            break
    try:
        path.rename(aside)
    except OSError as error:
        raise EngineError(
            f"the file of trials: {error.strerror}", where=str(path), hint="give another name"
        ) from None
    return aside


def _prepare(connection: sqlite3.Connection) -> None:
    """Give an empty file its tables."""
    if not _schema(connection):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_PROGRAM};"
            f"PRAGMA user_version = {_VERSION}; COMMIT;"
        )


class _Errors:
    """Says in one sentence what SQLite came upon."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise EngineError(f"the file of trials: {error}", where=self._where) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise _damaged(self._where, str(error)) from error


def _damaged(where: str, why: str) -> DataError:
    return DataError(
        f"no file of trials, or a damaged one: {why}", where=where,
        hint="give another name, or move it away",
    )  # fmt: skip
