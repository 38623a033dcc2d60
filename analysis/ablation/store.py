"""What trials came to, kept in a file: an SQLite database of numbers, and nothing that runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from featurekit.analysis.ablation.scores import PartLosses
from featurekit.analysis.ablation.trials import Outcome, Trial
from featurekit.errors import DataError, EngineError

__all__ = ["Store", "open_store"]

_PROGRAM = 0x464B5452
"""Says in the file's head that it is one of these: FKTR."""
_VERSION = 1
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
  PRIMARY KEY (study, fold)
);
CREATE TABLE IF NOT EXISTS trials (
  study INTEGER NOT NULL,
  dropped TEXT NOT NULL,
  fold INTEGER NOT NULL,
  seed INTEGER NOT NULL,
  sums BLOB NOT NULL,
  seconds REAL NOT NULL,
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
        self._connection, self._where = connection, where
        with self._errors(), connection:
            connection.execute(
                "INSERT OR IGNORE INTO studies (fingerprint, learner, metric) VALUES (?, ?, ?)",
                (fingerprint, learner, metric),
            )
            (self._study,) = connection.execute(
                "SELECT study FROM studies WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()

    def read(self) -> list[Outcome]:
        """Return all trials of the study.

        Raises:
            DataError: The file is damaged.
        """
        with self._errors():
            held = {
                fold: (self._array(parts, "<i8"), self._array(weights, "<f8"))
                for fold, parts, weights in self._connection.execute(
                    "SELECT fold, parts, weights FROM held_out WHERE study = ?", (self._study,)
                )
            }
            rows = self._connection.execute(
                "SELECT dropped, fold, seed, sums, seconds FROM trials WHERE study = ?",
                (self._study,),
            ).fetchall()
        found = []
        for dropped, fold, seed, sums, seconds in rows:
            lost = self._array(sums, "<f8")
            if fold not in held or not len(lost) == len(held[fold][0]) == len(held[fold][1]):
                raise self._damaged("a trial has no rows")
            parts, weights = held[fold]
            trial = Trial(self._names(dropped), fold, seed)
            found.append(Outcome(trial, PartLosses(parts, lost, weights), seconds))
        return found

    def write(self, outcome: Outcome) -> None:
        """Keep what came of a trial; when this returns, it is in the file.

        Raises:
            EngineError: The file cannot be written.
        """
        trial, losses = outcome.trial, outcome.losses
        with self._errors(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO held_out VALUES (?, ?, ?, ?)",
                (
                    self._study, trial.fold, losses.parts.astype("<i8").tobytes(),
                    losses.weights.astype("<f8").tobytes(),
                ),
            )  # fmt: skip
            self._connection.execute(
                "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)",
                (
                    self._study, json.dumps(trial.dropped), trial.fold, trial.seed,
                    losses.sums.astype("<f8").tobytes(), outcome.seconds,
                ),
            )  # fmt: skip

    def _array(self, data: Any, kind: str) -> np.ndarray:
        if not isinstance(data, bytes) or len(data) % 8:
            raise self._damaged("an array is cut off")
        return np.frombuffer(data, kind).astype(kind[1:])

    def _names(self, text: str) -> tuple[str, ...]:
        try:
            return tuple(json.loads(text))
        except (ValueError, TypeError):
            raise self._damaged("a trial does not say what it left out") from None

    def _errors(self) -> _Errors:
        return _Errors(self._where)

    def _damaged(self, why: str) -> DataError:
        return _damaged(self._where, why)


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
    with _Errors(str(path)):
        connection = sqlite3.connect(path, timeout=_WAIT)
    try:
        with _Errors(str(path)):
            _prepare(connection, str(path))
        yield Store(connection, str(path), fingerprint, learner, metric)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, where: str) -> None:
    """Check whose file this is; an empty one gets its tables."""
    (program,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if program == 0 and version == 0 and count == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_PROGRAM};"
            f"PRAGMA user_version = {_VERSION}; COMMIT;"
        )
    elif program != _PROGRAM:
        raise DataError(
            "this is the database of another program, and no file of trials", where=where,
            hint="give another name",
        )  # fmt: skip
    elif version != _VERSION:
        raise DataError(
            f"its form is version {version}; this version of FeatureKit reads version {_VERSION}",
            where=where, hint="give another name",
        )  # fmt: skip


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
