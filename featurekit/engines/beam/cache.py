"""Statistics kept for each file of the input, so that another day of data costs a day.

What is kept are the parts of the first level's statistics: they merge, in any order, with those of
other files. Later levels depend on values fitted over all files, and are computed anew.

```
DIR/KEY/numbers.arrow          counts, means, squares, extremes and sketches of columns of numbers
DIR/KEY/counts-0-3.arrow       how often values of a column occur: its place, and a shard of values
DIR/KEY/complete.json          the names of the files above, their sizes and hashes, written last
DIR/.writing.RANDOM.tmp        there while a run adds to the cache
```

A key is a hash of the file's content and of all that decides what its statistics are: the columns
and how they are read, the split, the statistics themselves, and the versions of what computes them.
What nobody uses any more can be deleted at any time. What is not whole, damaged or edited is not
used: the statistics of its file are computed again, and the run says so. What a dead writer has
left unfinished is removed when nobody is writing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import apache_beam as beam
import polars as pl
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from featurekit.engines.beam.reading import Form
from featurekit.engines.beam.statistics import Described, Numbers
from featurekit.engines.beam.storage import created, exists, is_address, join, opened, size
from featurekit.errors import DataError
from featurekit.planner import Plan
from featurekit.scratch import claimed_folder
from featurekit.stored_json import parse_json

__all__ = ["Cache", "Load", "Save", "complete", "open_cache", "writing"]

_FORMAT = 2
_COMPLETE = "complete.json"
_NUMBERS = "numbers.arrow"
_PART = re.compile(r"numbers\.arrow|counts-\d{1,9}-\d{1,9}\.arrow")
_KEY = re.compile(r"[0-9a-f]{64}")
_WRITING = "writing"
_AGAIN = "its folder is made again by the next run"


class _Kept(TypedDict):
    """A part that is kept."""

    bytes: int
    sha256: str


class _Complete(TypedDict):
    """What is kept of a file; the hash is of the rest, and of the key."""

    format: int
    parts: dict[str, _Kept]
    sha256: str


class _Saved(NamedTuple):
    """A part that was written: of which file, its name, its hash and its size."""

    file: int
    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Cache:
    """What is kept of the files of an input.

    Args:
        folder: The folder of the cache.
        keys: The key of each file.
        kept: The parts that are kept of each file, with their hashes; `None` of a new file.
        report: Where the pipeline says which parts it has written.
        damaged: The keys of files of which something was kept that does not check out.
    """

    folder: str
    keys: tuple[str, ...]
    kept: tuple[tuple[tuple[str, str], ...] | None, ...]
    report: str
    damaged: tuple[str, ...] = ()

    @property
    def reused(self) -> int:
        """How many files need not be described again."""
        return sum(parts is not None for parts in self.kept)

    def path(self, file: int, name: str) -> str:
        """Return where a part of a file is kept."""
        return join(self.folder, self.keys[file], name)


def open_cache(
    folder: str, plan: Plan, files: Sequence[str], form: Form, shards: int, report: str
) -> Cache:
    """Look up what is kept of the files of an input.

    Args:
        folder: The folder of the cache; it need not exist.
        plan: The plan.
        files: The files, in order.
        form: How they are written.
        shards: Into how many shards values are dealt to be counted.
        report: Where the pipeline is to say which parts it has written.
    """
    definition = _definition(plan, form, shards)
    keys = tuple(_hash([definition, _content(path)]) for path in files)
    kept: list[tuple[tuple[str, str], ...] | None] = []
    damaged = []
    for key in keys:
        try:
            kept.append(_kept(folder, key))
        except DataError:
            kept.append(None)
            damaged.append(key)
    return Cache(folder, keys, tuple(kept), report, tuple(damaged))


@contextmanager
def writing(folder: str | None) -> Iterator[None]:
    """Say that a run adds to a cache; first remove what dead writers have left unfinished.

    Args:
        folder: The folder of the cache, if there is one. One in a bucket has no locks, and nothing
            is removed there.
    """
    if folder is None or is_address(folder):
        yield
        return
    path = Path(folder)
    with claimed_folder(path, _WRITING) as mine:
        others = [each for each in path.glob(f".{_WRITING}.*.tmp") if each != mine]
        for part in () if others else path.iterdir():
            ours = _KEY.fullmatch(part.name) and not part.is_symlink() and part.is_dir()
            if ours and not (part / _COMPLETE).exists():
                shutil.rmtree(part, ignore_errors=True)
        yield


def complete(cache: Cache) -> None:
    """Mark new files as kept, once the pipeline is done and all their parts are written."""
    saved: list[_Saved] = []
    if exists(cache.report):
        with opened(cache.report) as stream:
            saved = [_Saved(*each) for each in json.loads(stream.read())]
    parts: dict[int, dict[str, _Kept]] = {
        file: {} for file, kept in enumerate(cache.kept) if kept is None
    }
    for each in saved:
        parts[each.file][each.name] = {"bytes": each.bytes, "sha256": each.sha256}
    for file, names in parts.items():
        seal = _seal(cache.keys[file], names)
        made: _Complete = {"format": _FORMAT, "parts": names, "sha256": seal}
        with created(cache.path(file, _COMPLETE)) as stream:
            stream.write(json.dumps(made).encode())


def _seal(key: str, parts: Mapping[str, _Kept]) -> str:
    return _hash([_FORMAT, key, parts])


def _definition(plan: Plan, form: Form, shards: int) -> str:
    """Return a hash of all but the data that statistics depend on."""
    resolved = plan.resolved
    spec = resolved.spec.as_plain()
    examples = spec["examples"]
    label = resolved.label
    columns = {name: str(resolved.types[name]) for name in sorted(resolved.inputs())}
    packages = ("featurekit", "polars", "pyarrow", "tensorflow", "tfx-bsl")
    return _hash(
        [
            _FORMAT,
            resolved.semantics,
            [version(package) for package in packages],
            [request.text for request in plan.levels[0]] if plan.levels else [],
            [node.fingerprint for request in plan.levels[0] for node in request.nodes]
            if plan.levels else [],
            [node.fingerprint for node in resolved.keys.values()],
            None if label is None else label.fingerprint,
            examples.get("split"),
            {key: value for key, value in spec["sources"][examples["source"]].items()
             if key not in ("path", "description")},
            columns, form.format, form.separator, form.null_values, shards,
        ]
    )  # fmt: skip


def _hash(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content(path: str) -> str:
    """Return a hash of a file's content; in a bucket, what is known of it without reading it."""
    if is_address(path):
        found = FileSystems.match([path])[0].metadata_list[0]
        return _hash([FileSystems.checksum(path), found.size_in_bytes])
    with open(path, "rb") as file:  # noqa: PTH123  (file_digest takes a file)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(folder: str, key: str) -> tuple[tuple[str, str], ...] | None:
    """Return the parts that are kept of a file, with their hashes; `None` if there are none.

    Raises:
        DataError: They are not those that were written.
    """
    path = join(folder, key, _COMPLETE)
    if not exists(path):
        return None
    found = parse_json(bytes(_content_of(path)), _Complete, path, _AGAIN)
    parts = found["parts"]
    if not all(map(_PART.fullmatch, parts)) or found["sha256"] != _seal(key, parts):
        raise DataError("it is not what was written", where=path, hint=_AGAIN)
    for name, entry in parts.items():
        _refuse_other(join(folder, key, name), entry)
    return tuple(sorted((name, entry["sha256"]) for name, entry in parts.items()))


def _refuse_other(path: str, entry: _Kept) -> None:
    """Refuse a part that is not there or is another; of one in a bucket its size is compared.

    Raises:
        DataError: It is.
    """
    if not exists(path):
        raise DataError("a part of the cache is missing", where=path, hint=_AGAIN)
    if is_address(path):
        same = size(path) == entry["bytes"]
    else:
        same = _hash_of(_content_of(path)) == entry["sha256"]
    if not same:
        raise DataError("a part of the cache is damaged", where=path, hint=_AGAIN)


def _content_of(path: str) -> bytes:
    try:
        with opened(path) as stream:
            return bytes(stream.read())
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}", where=path, hint=_AGAIN) from None


def _hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Save(beam.DoFn):  # type: ignore[misc]
    """Keeps a part of a file's statistics; yields file, name, hash and size, for `complete`.

    Takes `((file, place), part)`, where the place is that of a column and a shard, or `None`.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def process(self, element: tuple[tuple[int, tuple[int, int] | None], Any]) -> Iterator[_Saved]:
        """Write it."""
        (file, place), part = element
        name = _NUMBERS if place is None else f"counts-{place[0]}-{place[1]}.arrow"
        table = part.to_arrow()
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        data = sink.getvalue().to_pybytes()
        path = self.cache.path(file, name)
        with created(path) as stream:
            stream.write(data)
        yield _Saved(file, name, _hash_of(data), len(data))


class Load(beam.DoFn):  # type: ignore[misc]
    """Reads kept parts: takes file, name and hash; yields what `Save` took, without the file."""

    def __init__(self, cache: Cache, columns: tuple[Described, ...]) -> None:
        self.cache, self.columns = cache, columns

    def process(self, kept: tuple[int, str, str]) -> Iterator[Any]:
        """Read it.

        Raises:
            DataError: It is not what was written.
        """
        file, name, digest = kept
        path = self.cache.path(file, name)
        with opened(path) as stream:
            data = stream.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise DataError("a part of the cache is damaged", where=path, hint="delete its folder")
        table = pa.ipc.open_file(data).read_all()
        if name == _NUMBERS:
            yield None, Numbers.from_arrow(table, self.columns)
        else:
            column, shard = name.removesuffix(".arrow").split("-")[1:]
            yield (int(column), int(shard)), pl.DataFrame(pl.from_arrow(table))
