"""A source opened for reading."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.csv_files import scan_csv_file
from featurekit.csv_table import CsvRows, misfit
from featurekit.csv_types import Remark
from featurekit.errors import DataError
from featurekit.number_text import USUAL, NumberText
from featurekit.read_errors import UnparsedValue, csv_errors, polars_errors
from featurekit.types import Type

__all__ = ["FILE", "Table", "locating"]

FILE = "~file"
"""The column with the file of each row, where the order within files matters."""


@dataclass(frozen=True)
class Table:
    """A source opened for reading: a lazy frame of raw columns, and where it comes from.

    Args:
        name: The source's name in the spec.
        frame: Its rows, columns named as in the data.
        schema: The data types as stored.
        renamed: The column in the data for each column of the spec that has another name.
        files: The files, in reading order; empty for a table in memory.
        format: The format of the files.
        separator: The field separator of CSV.
        inferred: The types of stored columns of text that hold something else.
        numbers: How numbers in text are written.
        text: The rows of CSV files, as they were opened.
        remarks: What was noticed when it was opened.
        as_it_is: Whether any reader of the format reads the files the same way.
        elsewhere: What Beam's workers read, a path or an address; the frame has no rows then.
        whole: The source with all its rows, where the spec leaves some of them out.
        kept: Which of these are left, by its raw columns.
        past: What past rows are read from, where examples are only some of the rows.
    """

    name: str
    frame: pl.LazyFrame
    schema: Mapping[str, Any]
    renamed: Mapping[str, str]
    files: tuple[Path, ...] = ()
    format: str | None = None
    separator: str = ","
    elsewhere: str | None = None
    inferred: Mapping[str, Type] = field(default_factory=dict)
    numbers: NumberText = USUAL
    text: CsvRows | None = field(default=None, repr=False)
    remarks: tuple[Remark, ...] = ()
    as_it_is: bool = True
    whole: Table | None = field(default=None, repr=False)
    kept: pl.Expr | None = field(default=None, repr=False, compare=False)
    past: Table | None = field(default=None, repr=False)

    @property
    def csv(self) -> bool:
        """Whether the files are CSV."""
        return self.format == "csv"

    @property
    def null_values(self) -> tuple[str, ...]:
        """The texts that are declared to stand for missing values in CSV."""
        return self.text.files[0].form.null_values if self.text is not None else ()

    def stored(self, column: str) -> str:
        """Return what the data calls a column of the spec."""
        return self.renamed.get(column, column)

    @property
    def dtypes(self) -> dict[str, Any]:
        """The data types as stored, by what the spec calls the columns."""
        called = {stored: name for name, stored in self.renamed.items()}
        return {called.get(stored, stored): dtype for stored, dtype in self.schema.items()}

    @cached_property
    def height(self) -> int:
        """How many rows it has; they are counted once.

        Raises:
            DataError: They cannot be read.
        """
        with polars_errors(f"source {self.name!r}"):
            return int(self.frame.select(pl.len()).collect(engine="streaming").item())

    @property
    def heights(self) -> list[int]:
        """How many rows each file has.

        Raises:
            DataError: They cannot be read.
        """
        with polars_errors(f"source {self.name!r}"):
            scans = (
                [scan_csv_file([file], {}, ragged=True) for file in self.text.files]
                if self.text is not None
                else [pl.scan_parquet(path, glob=False) for path in self.files]
            )
            counts = [scan.select(pl.len()) for scan in scans]
            return [int(count.item()) for count in pl.collect_all(counts, engine="streaming")]

    def refuse_ragged(self) -> None:
        """Read CSV files through once and refuse rows with more or fewer fields than the header.

        So are blank lines, which would be rows of missing values.

        Polars fills short rows with nulls and does not look at fields that nobody asks for; Arrow
        counts the fields of every row.

        Raises:
            DataError: Names the first such row.
        """
        if self.whole is not None:
            self.whole.refuse_ragged()
            return
        if self.text is None:
            return
        import pyarrow as pa
        from pyarrow import csv

        counted = 0
        for file in self.text.files:
            if file.header_only:
                continue  # Arrow needs the line to end.
            with csv_errors(f"source {self.name!r} ({file.path})"):
                # A header may have fewer fields than the rows, where its names are given anew.
                first = file.skip + (len(file.own) != len(file.names))
                reading = csv.ReadOptions(
                    block_size=1 << 24, skip_rows=first, autogenerate_column_names=True
                )
                parsing = csv.ParseOptions(delimiter=file.form.between, newlines_in_values=True)
                # One column is converted, to text: this pass is about fields alone.
                converting = csv.ConvertOptions(
                    include_columns=["f0"], column_types={"f0": pa.binary()}
                )
                batches = csv.open_csv(file.plain, reading, parsing, converting)
                counted += sum(batch.num_rows for batch in batches) - (first == file.skip)
        # In a file of one column, a blank line is a missing value.
        if self.height != counted and len(self.schema) > 1:
            raise DataError(
                "the data has blank lines, which are rows without any value",
                where=f"source {self.name!r}",
                hint="remove them; every row of a CSV file needs as many fields as the header",
            )

    def located(self, error: DataError) -> DataError:
        """Return an error for a text that is not of its column's type, with file and line."""
        if self.text is None or not isinstance(error, UnparsedValue):
            return error
        return misfit(self.text, error.column) or error

    def fingerprint(self) -> list[dict[str, Any]]:
        """Describe the input files: size, time of change, a hash of their first and last MiB."""
        out: list[dict[str, Any]] = []
        if self.elsewhere is not None:
            out.append({"path": self.elsewhere})
        for path in self.files:
            status = path.stat()
            digest = hashlib.sha256(str(status.st_size).encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 20))
                file.seek(max(0, status.st_size - (1 << 20)))
                digest.update(file.read())
            changed = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
            out.append(
                {
                    "path": str(path),
                    "bytes": status.st_size,
                    "changed": changed,
                    "sha256_of_ends": digest.hexdigest(),
                }
            )
        return out


@contextmanager
def locating(tables: Callable[[], Iterable[Table]]) -> Iterator[None]:
    """Say in which file and line a text stands that is not of its column's type.

    Args:
        tables: Gives the tables that are read.

    Raises:
        DataError: With its place.
    """
    try:
        yield
    except UnparsedValue as error:
        for table in tables():
            located = table.located(error)
            if located is not error:
                raise located from None
        raise
