"""Writing examples on workers: one file for each split and run of batches, named when all is done.

A worker writes under names that nobody else has and reports what it wrote; only what is reported
by work that Beam counted as done is published. A bundle that is done twice leaves a file behind
that nobody reports.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from featurekit.engines.beam.applying import Transformed
from featurekit.engines.beam.storage import created, is_address, join, size, upload
from featurekit.engines.rows import SPLIT
from featurekit.engines.tfrecord import records
from featurekit.transforms.base import tf

__all__ = ["Write", "Written"]

_FILE_ROWS = 4 << 20
_ROW_GROUP = 131_072


@dataclass(frozen=True)
class Written:
    """A file of examples.

    Args:
        split: Its split.
        part: The part of the input that its first row comes from.
        start: The place of that row in the part.
        path: Where it was written.
        rows: How many examples it has.
        records: Where the same examples were written as TFRecord.
        bytes: The size of the file, if it is not on a machine's own disk.
        records_bytes: That of the TFRecord file.
    """

    split: str
    part: int
    start: int
    path: str
    rows: int
    records: str | None = None
    bytes: int | None = None
    records_bytes: int | None = None


class Write(beam.DoFn):  # type: ignore[misc]
    """Writes examples to Parquet files, and yields what it wrote.

    Args:
        folder: The folder to write to, local or of any of Beam's file systems.
        tfrecord: Whether to write the examples as TFRecord, too.
    """

    def __init__(self, folder: str, tfrecord: bool = False) -> None:
        self.folder, self.tfrecord = folder, tfrecord
        self._files: dict[str, _File] = {}
        self._next: tuple[int, int] | None = None

    def start_bundle(self) -> None:
        """Begin with nothing open."""
        self._files, self._next = {}, None

    def process(self, batch: Transformed) -> Iterator[Written]:
        """Write a batch; yields the files that are complete."""
        follows = (batch.part, batch.start) == self._next
        begins = self._next is not None and (batch.part, batch.start) == (self._next[0] + 1, 0)
        if not (follows or begins):
            yield from self._closed()
        self._next = (batch.part, batch.start + batch.rows)
        if not batch.table.num_rows:
            return
        splits = pl.DataFrame(pl.from_arrow(batch.table.select([SPLIT])))[SPLIT]
        names = splits.unique().to_list()
        table = batch.table.drop_columns([SPLIT])
        for name in names:
            part = table if len(names) == 1 else table.filter((splits == name).to_arrow())
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = _File(
                    self.folder, name, batch, table.schema, self.tfrecord
                )
            file.write(part)
            if file.rows >= _FILE_ROWS:
                yield self._files.pop(name).close()

    def finish_bundle(self) -> Iterator[Any]:
        """Complete what is open."""
        for written in self._closed():
            yield WindowedValue(written, GlobalWindow().max_timestamp(), [GlobalWindow()])

    def teardown(self) -> None:
        """Close what a failure left open."""
        for file in self._files.values():
            file.writer.close()

    def _closed(self) -> Iterator[Written]:
        for name in list(self._files):
            yield self._files.pop(name).close()


class _File:
    """A file that is being written."""

    def __init__(
        self, folder: str, split: str, first: Transformed, schema: pa.Schema, tfrecord: bool
    ) -> None:
        name = f"{first.part:05}-{first.start:012}-{uuid.uuid4().hex}"
        self.path = join(folder, f"{name}.parquet")
        self.records = _Records(join(folder, f"{name}.tfrecord")) if tfrecord else None
        self.split, self.part, self.start, self.rows = split, first.part, first.start, 0
        self.stream = None
        if is_address(folder):
            self.stream = created(self.path)
        repeating = [
            field.name for field in schema
            if not (pa.types.is_floating(field.type) or pa.types.is_fixed_size_list(field.type))
        ]  # fmt: skip
        self.writer = pq.ParquetWriter(
            self.stream or self.path, schema, compression="snappy", use_dictionary=repeating,
            write_statistics=False,
        )  # fmt: skip

    def write(self, table: pa.Table) -> None:
        self.writer.write_table(table, row_group_size=_ROW_GROUP)
        if self.records is not None:
            self.records.write(table)
        self.rows += table.num_rows

    def close(self) -> Written:
        self.writer.close()
        if self.stream is not None:
            self.stream.close()
        if self.records is not None:
            self.records.close()
        records = None if self.records is None else self.records.path
        sizes = [None if path is None or self.stream is None else size(path)
                 for path in (self.path, records)]  # fmt: skip
        return Written(self.split, self.part, self.start, self.path, self.rows, records, *sizes)


class _Records:
    """A TFRecord file that is being written; TensorFlow writes it here, whatever its place."""

    def __init__(self, path: str) -> None:
        self.path, self._here = path, path
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if is_address(path):
            self._folder = tempfile.TemporaryDirectory()
            self._here = str(Path(self._folder.name) / "part.tfrecord")
        self._writer = tf.io.TFRecordWriter(self._here)

    def write(self, table: pa.Table) -> None:
        frame = pl.DataFrame(pl.from_arrow(table))
        for record in records(frame):
            self._writer.write(record)

    def close(self) -> None:
        self._writer.close()
        if self._folder is not None:
            upload(Path(self._here), self.path)
            self._folder.cleanup()
