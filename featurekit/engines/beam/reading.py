"""Reading the input on workers: files as Arrow batches, without a Python object per row.

The driver cuts the input into parts: some row groups of a Parquet file, or a whole file of another
format. A worker reads a part batch by batch, the columns alone that somebody needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from featurekit.engines.beam.rows import BadRow, Batch
from featurekit.engines.beam.storage import matching, opened
from featurekit.errors import DataError
from featurekit.types import Type, parse_type

__all__ = ["BAD", "Form", "Part", "Read", "batch_rows", "parts_of"]

BAD = "bad"
"""The tag of rows that are set aside."""

_PART_ROWS = 1 << 20
_CELLS = 1 << 24
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Form:
    """How files are written.

    Args:
        format: `parquet`, `csv` or `tfrecord`.
        separator: What stands between fields of CSV.
        null_values: Texts that stand for a missing value in CSV, beside the empty one.
        types: The declared types of columns, which TFRecord itself does not tell.
    """

    format: str = "parquet"
    separator: str = ","
    null_values: tuple[str, ...] = ()
    types: Mapping[str, Type] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Form:
        """Return the form that plain data describes."""
        types = {name: parse_type(text) for name, text in plain["types"].items()}
        return cls(plain["format"], plain["separator"], tuple(plain["null_values"]), types)


@dataclass(frozen=True)
class Part:
    """A piece of the input that one worker reads.

    Args:
        place: Its place in the input.
        path: Its file.
        groups: The row groups of a Parquet file; none for a whole file.
        file: The place of its file in the input.
    """

    place: int
    path: str
    groups: tuple[int, ...] = ()
    file: int = 0


def batch_rows(columns: int) -> int:
    """Return how many rows of so many columns are worked on at once."""
    return max(1 << 12, min(1 << 16, _CELLS // max(columns, 1)))


def parts_of(patterns: Sequence[str], form: Form) -> list[Part]:
    """Cut files into parts, in the order of the rows.

    Args:
        patterns: The files: paths, addresses, or globs of either.
        form: How they are written.

    Raises:
        DataError: There is no such file, or it is not Parquet.
    """
    parts: list[Part] = []
    files = [path for pattern in patterns for path in matching(pattern)]
    for file, path in enumerate(files):
        if form.format != "parquet":
            parts.append(Part(len(parts), path, file=file))
            continue
        with opened(path) as stream, _arrow_errors(path):
            metadata = pq.ParquetFile(stream).metadata
        groups: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            rows += metadata.row_group(group).num_rows
            if rows >= _PART_ROWS or group == metadata.num_row_groups - 1:
                parts.append(Part(len(parts), path, tuple(groups), file))
                groups, rows = [], 0
    return parts


@contextmanager
def _arrow_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        text = str(error).splitlines()[0]
        raise DataError(f"the data cannot be read: {text}", where=path) from None


class Read(beam.DoFn):  # type: ignore[misc]
    """Reads parts as batches; what is no row comes out under the tag `bad`.

    Args:
        columns: What the data calls the columns to read.
        form: How the files are written.
    """

    def __init__(self, columns: Sequence[str], form: Form) -> None:
        self.columns, self.form = list(columns), form

    def process(self, part: Part) -> Iterator[Any]:
        """Yield the batches of a part."""
        broken: list[BadRow] = []
        read = {"parquet": self._parquet, "csv": self._csv, "tfrecord": self._tfrecord}
        start = 0
        for batch, rows in read[self.form.format](part, broken):
            yield from (beam.pvalue.TaggedOutput(BAD, row) for row in broken)
            broken.clear()
            if batch.num_rows:
                yield Batch(part.place, start, batch.num_rows, batch)
            start += rows
        yield from (beam.pvalue.TaggedOutput(BAD, row) for row in broken)

    def _parquet(self, part: Part, _: list[BadRow]) -> Iterator[tuple[pa.Table, int]]:
        size = batch_rows(len(self.columns))
        with opened(part.path) as file, _arrow_errors(part.path):
            parquet = pq.ParquetFile(file, pre_buffer=True)
            self._refuse_missing(parquet.schema_arrow.names, part.path)
            groups = list(part.groups) or None
            for batch in parquet.iter_batches(size, groups, self.columns):
                yield pa.Table.from_batches([batch]), batch.num_rows

    def _csv(self, part: Part, broken: list[BadRow]) -> Iterator[tuple[pa.Table, int]]:
        """Yield batches of text: types are made by the same rules as those of all other data."""

        def set_aside(row: Any) -> str:
            count = "1 field" if row.actual_columns == 1 else f"{row.actual_columns} fields"
            reason = f"{count} instead of {row.expected_columns}"
            broken.append(BadRow(part.place, row.number or 0, (reason,), row.text))
            return "skip"

        reading = csv.ReadOptions(block_size=_BLOCK, use_threads=False)
        parsing = csv.ParseOptions(
            delimiter=self.form.separator, newlines_in_values=True, ignore_empty_lines=False,
            invalid_row_handler=set_aside,
        )  # fmt: skip
        converting = csv.ConvertOptions(
            column_types=dict.fromkeys(self.columns, pa.large_string()),
            include_columns=self.columns,
            null_values=["", *self.form.null_values],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        size = batch_rows(len(self.columns))
        with opened(part.path) as file, _arrow_errors(part.path):
            for block in csv.open_csv(file, reading, parsing, converting):
                for start in range(0, block.num_rows, size):
                    batch = self._without_markers(block.slice(start, size))
                    yield pa.Table.from_batches([batch]), batch.num_rows

    def _without_markers(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Make markers between quotes missing too; Arrow would take an empty text as well."""
        if not self.form.null_values:
            return batch
        markers = pa.array(self.form.null_values, pa.large_string())
        columns = [
            pc.if_else(pc.is_in(column, markers, skip_nulls=True), None, column)
            for column in batch.columns
        ]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def _tfrecord(self, part: Part, broken: list[BadRow]) -> Iterator[tuple[pa.Table, int]]:
        from featurekit.engines.beam.tfrecords import Decoder

        self._refuse_missing(self.form.types, part.path)
        decoder = Decoder({name: self.form.types[name] for name in self.columns})
        size = batch_rows(len(self.columns))
        for records, start in decoder.records(part.path, size):
            table, bad = decoder.table(records)
            broken += [BadRow(part.place, start + row, (why,), {}) for row, why in bad]
            yield table, len(records)

    def _refuse_missing(self, there: Iterable[str], path: str) -> None:
        missing = [name for name in self.columns if name not in there]
        if missing:
            raise DataError(f"the data has no column {missing[0]!r}", where=path)
