"""Statistics kept for each file of the input, so that another day of data costs a day.

What is kept are the parts of the first level's statistics: they merge, in any order, with those of
other files. Later levels depend on values fitted over all files, and are computed anew.

```
DIR/KEY/numbers.arrow          counts, means, squares, extremes and sketches of columns of numbers
DIR/KEY/counts-0-3.arrow       how often values of a column occur: its place, and a shard of values
DIR/KEY/complete.json          the names of the files above and their hashes, written last
```

A key is a hash of the file's content and of all that decides what its statistics are: the columns
and how they are read, the split, the statistics themselves, and the versions of what computes them.
So nothing in the folder is ever wrong; what nobody uses any more can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from featurekit.engines.beam.reading import Form
from featurekit.engines.beam.statistics import Described, Numbers
from featurekit.engines.beam.storage import created, exists, is_address, join, opened
from featurekit.errors import DataError
from featurekit.planner import Plan

__all__ = ["Cache", "Load", "Save", "complete", "open_cache"]

_FORMAT = 1
_COMPLETE = "complete.json"
_NUMBERS = "numbers.arrow"


@dataclass(frozen=True)
class Cache:
    """What is kept of the files of an input.

    Args:
        folder: The folder of the cache.
        keys: The key of each file.
        kept: The parts that are kept of each file, with their hashes; `None` of a new file.
        report: Where the pipeline says which parts it has written.
    """

    folder: str
    keys: tuple[str, ...]
    kept: tuple[tuple[tuple[str, str], ...] | None, ...]
    report: str

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
    return Cache(folder, keys, tuple(_kept(folder, key) for key in keys), report)


def complete(cache: Cache) -> None:
    """Mark new files as kept, once the pipeline is done and all their parts are written."""
    saved: list[tuple[int, str, str]] = []
    if exists(cache.report):
        with opened(cache.report) as stream:
            saved = json.loads(stream.read())
    parts: dict[int, dict[str, str]] = {
        file: {} for file, kept in enumerate(cache.kept) if kept is None
    }
    for file, name, digest in saved:
        parts[file][name] = digest
    for file, names in parts.items():
        with created(cache.path(file, _COMPLETE)) as stream:
            stream.write(json.dumps({"format": _FORMAT, "parts": names}).encode())


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
    path = join(folder, key, _COMPLETE)
    if not exists(path):
        return None
    try:
        with opened(path) as stream:
            found = json.loads(stream.read())
        if found["format"] != _FORMAT:
            return None
        return tuple(sorted((str(name), str(digest)) for name, digest in found["parts"].items()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Save(beam.DoFn):  # type: ignore[misc]
    """Keeps a part of a file's statistics; yields file, name and hash, for `complete`.

    Takes `((file, place), part)`, where the place is that of a column and a shard, or `None`.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def process(
        self, element: tuple[tuple[int, tuple[int, int] | None], Any]
    ) -> Iterator[tuple[int, str, str]]:
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
        yield file, name, hashlib.sha256(data).hexdigest()


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
