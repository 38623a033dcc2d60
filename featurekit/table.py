"""A source opened for reading."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.errors import DataError
from featurekit.read_errors import csv_errors, polars_errors

__all__ = ["Table"]


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
        elsewhere: What Beam's workers read, a path or an address; the frame has no rows then.
    """

    name: str
    frame: pl.LazyFrame
    schema: Mapping[str, Any]
    renamed: Mapping[str, str]
    files: tuple[Path, ...] = ()
    format: str | None = None
    separator: str = ","
    elsewhere: str | None = None

    @property
    def csv(self) -> bool:
        """Whether the files are CSV."""
        return self.format == "csv"

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
            counts = [
                (pl.scan_csv(path, separator=self.separator, glob=False) if self.csv
                 else pl.scan_parquet(path, glob=False)).select(pl.len())
                for path in self.files
            ]  # fmt: skip
            return [int(count.item()) for count in pl.collect_all(counts, engine="streaming")]

    def refuse_ragged(self) -> None:
        """Read CSV files through once and refuse rows with more or fewer fields than the header.

        So are blank lines, which would be rows of missing values.

        Polars fills short rows with nulls and does not look at fields that nobody asks for; Arrow
        counts the fields of every row.

        Raises:
            DataError: Names the first such row.
        """
        if not self.csv:
            return
        import pyarrow as pa
        from pyarrow import csv

        counted = 0
        for path in self.files:
            with csv_errors(f"source {self.name!r} ({path})"):
                reading = csv.ReadOptions(block_size=1 << 24)
                parsing = csv.ParseOptions(delimiter=self.separator, newlines_in_values=True)
                # One column is converted, to text: this pass is about fields alone.
                first = csv.open_csv(path, reading, parsing).schema.names[0]
                converting = csv.ConvertOptions(
                    include_columns=[first], column_types={first: pa.binary()}
                )
                batches = csv.open_csv(path, reading, parsing, converting)
                counted += sum(batch.num_rows for batch in batches)
        # In a file of one column, a blank line is a missing value.
        if self.height != counted and len(self.schema) > 1:
            raise DataError(
                "the data has blank lines, which are rows without any value",
                where=f"source {self.name!r}",
                hint="remove them; every row of a CSV file needs as many fields as the header",
            )

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
