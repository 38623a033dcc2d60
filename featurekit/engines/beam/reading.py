"""Reading the input on workers: Parquet and CSV as Arrow batches, without a Python object per row.

The driver cuts the input into parts: some row groups of a Parquet file, or a whole CSV file. A
worker reads a part batch by batch, the columns alone that somebody needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from pyarrow import csv

from featurekit.engines.beam.rows import BadRow, Batch
from featurekit.errors import DataError

__all__ = ["BAD", "CsvFormat", "Part", "Read", "batch_rows", "opened", "parts_of"]

BAD = "bad"
"""The tag of rows that are set aside."""

_PART_ROWS = 1 << 20
_CELLS = 1 << 24
_BLOCK = 1 << 24


@dataclass(frozen=True)
class CsvFormat:
    """How CSV files are written.

    Args:
        separator: What stands between fields.
        null_values: Texts that stand for a missing value, beside the empty one.
    """

    separator: str = ","
    null_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A piece of the input that one worker reads.

    Args:
        place: Its place in the input.
        path: Its file.
        groups: The row groups of a Parquet file; none for a whole CSV file.
        csv: How a CSV file is written.
    """

    place: int
    path: str
    groups: tuple[int, ...] = ()
    csv: CsvFormat | None = None


def batch_rows(columns: int) -> int:
    """Return how many rows of so many columns are worked on at once."""
    return max(1 << 12, min(1 << 16, _CELLS // max(columns, 1)))


def parts_of(files: Sequence[str], csv_format: CsvFormat | None) -> list[Part]:
    """Cut files into parts, in the order of the rows.

    Raises:
        DataError: A file is not Parquet.
    """
    parts: list[Part] = []
    for path in files:
        if csv_format is not None:
            parts.append(Part(len(parts), path, csv=csv_format))
            continue
        with opened(path) as file, _arrow_errors(path):
            metadata = pq.ParquetFile(file).metadata
        groups: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            rows += metadata.row_group(group).num_rows
            if rows >= _PART_ROWS or group == metadata.num_row_groups - 1:
                parts.append(Part(len(parts), path, tuple(groups)))
                groups, rows = [], 0
    return parts


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a file of any of Beam's file systems for Arrow to read.

    Raises:
        DataError: It is not there.
    """
    if "://" not in path:
        try:
            with pa.OSFile(path) as file:
                yield file
        except FileNotFoundError:
            raise DataError("there is no such file on this worker", where=path) from None
        return
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        yield file


@contextmanager
def _arrow_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        text = str(error).splitlines()[0]
        raise DataError(f"the data cannot be read: {text}", where=path) from None


class Read(beam.DoFn):  # type: ignore[misc]
    """Reads parts as batches; rows of CSV that are no rows come out under the tag `bad`.

    Args:
        columns: What the data calls the columns to read.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = list(columns)

    def process(self, part: Part) -> Iterator[Any]:
        """Yield the batches of a part."""
        size = batch_rows(len(self.columns))
        start = 0
        with opened(part.path) as file, _arrow_errors(part.path):
            if part.csv is None:
                parquet = pq.ParquetFile(file, pre_buffer=True)
                self._refuse_missing(parquet.schema_arrow.names, part.path)
                batches: Any = parquet.iter_batches(size, list(part.groups), self.columns)
            else:
                broken: list[BadRow] = []
                batches = self._csv(file, part, broken)
            for batch in batches:
                if part.csv is not None:
                    yield from (beam.pvalue.TaggedOutput(BAD, row) for row in broken)
                    broken.clear()
                if batch.num_rows:
                    table = pa.Table.from_batches([batch])
                    yield Batch(part.place, start, batch.num_rows, table)
                start += batch.num_rows
            if part.csv is not None:
                yield from (beam.pvalue.TaggedOutput(BAD, row) for row in broken)

    def _csv(self, file: Any, part: Part, broken: list[BadRow]) -> Iterator[pa.RecordBatch]:
        """Yield batches of text: types are made by the same rules as those of all other data."""
        assert part.csv is not None

        def set_aside(row: Any) -> str:
            count = "1 field" if row.actual_columns == 1 else f"{row.actual_columns} fields"
            reason = f"{count} instead of {row.expected_columns}"
            broken.append(BadRow(part.place, row.number or 0, (reason,), row.text))
            return "skip"

        reading = csv.ReadOptions(block_size=_BLOCK, use_threads=False)
        parsing = csv.ParseOptions(
            delimiter=part.csv.separator, newlines_in_values=True, ignore_empty_lines=False,
            invalid_row_handler=set_aside,
        )  # fmt: skip
        converting = csv.ConvertOptions(
            column_types=dict.fromkeys(self.columns, pa.large_string()),
            include_columns=self.columns,
            null_values=["", *part.csv.null_values],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        size = batch_rows(len(self.columns))
        for block in csv.open_csv(file, reading, parsing, converting):
            for start in range(0, block.num_rows, size):
                yield block.slice(start, size)

    def _refuse_missing(self, there: Sequence[str], path: str) -> None:
        missing = [name for name in self.columns if name not in there]
        if missing:
            raise DataError(f"the data has no column {missing[0]!r}", where=path)
