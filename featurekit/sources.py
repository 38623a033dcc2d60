"""Reading sources: what their columns are, and how raw columns become typed ones.

Every value that the data holds but the spec does not allow is found here, by checks that run in
the same pass as the first statistics: nothing is silently turned into a missing value.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.errors import DataError, EngineError, FeatureKitError, SpecError, closest
from featurekit.spec.objects import Column, Source
from featurekit.transforms.base import polars_dtype
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
)

__all__ = ["Check", "Table", "open_table", "polars_errors", "typed_columns"]

INFER_ROWS = 100_000
"""So many rows of a CSV file decide the types of its columns when the spec does not."""

LATEST_YEAR = 9999
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_LATEST = int(datetime(LATEST_YEAR, 12, 31, tzinfo=UTC).timestamp()) * 1_000_000
_OUTSIDE = f"times outside of the years 1 to {LATEST_YEAR}"
_OUTSIDE_HINT = "were milliseconds taken for seconds? declare unit: s, ms or us"


@dataclass(frozen=True)
class Check:
    """Something a value must not be.

    Args:
        column: The column it is about.
        bad: A boolean expression over raw columns, true (not null) for an offending row.
        shown: The expression whose value an error quotes.
        message: What is wrong, as in "column 'x': MESSAGE in 12 rows".
        hint: What to do about it.
    """

    column: str
    bad: pl.Expr
    shown: pl.Expr
    message: str
    hint: str


@dataclass(frozen=True)
class Table:
    """A source opened for reading: a lazy frame of raw columns, and where it comes from.

    Args:
        name: The source's name in the spec.
        frame: Its rows, columns named as in the data.
        schema: The data types as stored.
        renamed: The column in the data for each column of the spec that has another name.
        files: The files, in reading order; empty for a table in memory.
        csv: Whether the files are CSV.
        separator: The field separator of CSV.
    """

    name: str
    frame: pl.LazyFrame
    schema: Mapping[str, Any]
    renamed: Mapping[str, str]
    files: tuple[Path, ...]
    csv: bool
    separator: str = ","

    def stored(self, column: str) -> str:
        """Return what the data calls a column of the spec."""
        return self.renamed.get(column, column)

    def refuse_ragged(self) -> None:
        """Read CSV files through once and refuse rows with more or fewer fields than the header.

        Polars fills short rows with nulls and does not look at fields that nobody asks for; Arrow
        counts the fields of every row.

        Raises:
            DataError: Names the first such row.
        """
        if not self.csv:
            return
        import pyarrow as pa
        from pyarrow import csv

        for path in self.files:
            with csv_errors(f"source {self.name!r} ({path})"):
                reading = csv.ReadOptions(block_size=1 << 24)
                parsing = csv.ParseOptions(delimiter=self.separator, newlines_in_values=True)
                # One column is converted, to text: this pass is about fields alone.
                first = csv.open_csv(path, reading, parsing).schema.names[0]
                converting = csv.ConvertOptions(
                    include_columns=[first], column_types={first: pa.binary()}
                )
                for _ in csv.open_csv(path, reading, parsing, converting):
                    pass

    def fingerprint(self) -> list[dict[str, Any]]:
        """Describe the input files: size, time of change, and a hash of their first and last MiB."""
        out = []
        for path in self.files:
            status = path.stat()
            digest = hashlib.sha256(str(status.st_size).encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 20))
                file.seek(max(0, status.st_size - (1 << 20)))
                digest.update(file.read())
            changed = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
            out.append({"path": str(path), "bytes": status.st_size, "changed": changed,
                        "sha256_of_ends": digest.hexdigest()})  # fmt: skip
        return out


@contextmanager
def polars_errors(where: str, writing: bool = False) -> Iterator[None]:
    """Turn what Polars and the operating system raise into FeatureKit errors with a place.

    Args:
        where: The place.
        writing: Whether the step writes too, so that a full disk is the likely cause.
    """
    try:
        yield
    except FeatureKitError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        text = _first_line(error)
        code = error.errno if isinstance(error, OSError) else None
        if code is None and (found := re.search(r"os error (\d+)", str(error))):
            code = int(found[1])
        if code in _FULL:
            raise EngineError(f"the disk is full ({os.strerror(code)})", where=where,
                              hint="free space and run again") from None  # fmt: skip
        if writing and code is not None:
            raise EngineError(f"writing failed: {text}", where=where) from None
        raise DataError(f"the data cannot be read: {text}", where=where, hint=_read_hint(text)) from None
    except pl.exceptions.PanicException as error:
        raise EngineError(f"Polars failed: {_first_line(error)}", where=where,
                          hint="please report this with the spec") from None  # fmt: skip


@contextmanager
def csv_errors(where: str) -> Iterator[None]:
    """Turn what Arrow says of a CSV file into a FeatureKit error."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        text = _first_line(error).removeprefix("CSV parse error: ")
        raise DataError(f"the data cannot be read: {text}", where=where,
                        hint="every row of a CSV file needs as many fields as the header") from None  # fmt: skip


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def _read_hint(text: str) -> str:
    lower = text.lower()
    if "parquet" in lower or "thrift" in lower or "magic" in lower or "eof" in lower:
        return "the file is truncated or not Parquet; write it again"
    if "fields than defined" in lower or "ragged" in lower:
        return "every row of a CSV file needs as many fields as the header"
    if "could not parse" in lower:
        return "correct the value, declare another type for the column, or list the text under null_values"
    if "utf-8" in lower:
        return "text must be UTF-8; convert the file first"
    if "schema" in lower:
        return "all files of a glob need the same columns and types"
    return ""


def open_table(name: str, source: Source, base: Path) -> Table:
    """Open a source without reading its rows (a CSV file's first rows are read for its types).

    Raises:
        DataError: The data is missing, empty or unreadable.
        SpecError: The source is a BigQuery table, or its file format is unknown.
    """
    if source.table is not None:
        raise SpecError(
            f"source {name!r} is the BigQuery table {source.table}, and reading it is not available yet",
            hint="export it to Parquet and give its path",
        )
    renamed = {key: column.column for key, column in source.columns.items() if column.column}
    files: tuple[Path, ...] = ()
    csv = False
    where = f"source {name!r}"
    with polars_errors(where):
        if source.data is not None:
            frame = _in_memory(source.data, where)
        elif source.path is None:
            raise SpecError(f"{where} has no path, table or data")
        else:
            files = _files(source.path, base, where)
            csv = _format(source, files[0], where) == "csv"
            where = f"{where} ({files[0] if len(files) == 1 else source.path})"
            if any(path.stat().st_size == 0 for path in files):
                raise DataError("the file is empty", where=where)
            with polars_errors(where):
                frame = _scan_csv(source, files, renamed) if csv else pl.scan_parquet(files)
        with polars_errors(where):
            schema = dict(frame.collect_schema())
    if not schema:
        raise DataError("the data has no columns", where=where)
    for key, stored in renamed.items():
        if stored not in schema:
            raise SpecError(f"source {name!r}: column {key!r}: the data has no column {stored!r}",
                            hint=closest(stored, schema))  # fmt: skip
    return Table(name, frame, schema, renamed, files, csv, _separator(source, files) if csv else ",")


def _in_memory(data: Any, where: str) -> pl.LazyFrame:
    if isinstance(data, pl.LazyFrame):
        return data
    if isinstance(data, pl.DataFrame):
        return data.lazy()
    module = type(data).__module__.split(".")[0]
    if module not in ("pandas", "pyarrow"):
        raise DataError(
            f"a table is a pandas, Polars or Arrow table, got {type(data).__name__}", where=where
        )
    try:
        made = pl.from_pandas(data) if module == "pandas" else pl.from_arrow(data)
    except (TypeError, ValueError, ImportError, *_arrow_errors()) as error:
        raise DataError(f"the table cannot be read: {_first_line(error)}", where=where,
                        hint="a column of mixed Python objects needs one type") from None  # fmt: skip
    if not isinstance(made, pl.DataFrame):
        raise DataError(f"a table is needed, got a {type(data).__name__}, which is one column", where=where)
    return made.lazy()


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return (pa.ArrowException,)


def _files(path: str, base: Path, where: str) -> tuple[Path, ...]:
    full = Path(path) if Path(path).is_absolute() else base / path
    if glob.has_magic(str(full)):
        found = tuple(Path(entry) for entry in sorted(glob.glob(str(full), recursive=True)))
        if not found:
            raise DataError(f"no file matches {path!r}", where=where)
    else:
        found = (full,)
    for file in found:
        if not file.exists():
            raise DataError(f"there is no file {str(file)!r}", where=where,
                            hint="a path is relative to the spec file")  # fmt: skip
        if not file.is_file():
            raise DataError(f"{str(file)!r} is not a file", where=where, hint="a glob such as data/*.parquet reads a folder")
    return found


def _format(source: Source, file: Path, where: str) -> str:
    if source.format:
        return source.format
    suffix = file.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return "parquet"
    if suffix in (".csv", ".tsv", ".txt"):
        return "csv"
    raise SpecError(f"{where}: cannot tell the format of {file.name!r}", hint="format: parquet or format: csv")


def _scan_csv(source: Source, files: tuple[Path, ...], renamed: Mapping[str, str]) -> pl.LazyFrame:
    options: dict[str, Any] = {
        "separator": _separator(source, files), "null_values": list(source.null_values)
    }  # fmt: skip
    declared = {
        renamed.get(name, name): pl.String()
        for name, column in source.columns.items()
        if column.expr is None and column.type in (STRING, TIMESTAMP, BOOL)
    }
    declared |= {
        renamed.get(name, name): pl.Float64()
        for name, column in source.columns.items()
        if column.expr is None and column.type in (FLOAT32, FLOAT64)
    }
    header = _header(files[0], options["separator"])
    overrides = {name: dtype for name, dtype in declared.items() if name in header}
    return pl.scan_csv(files, infer_schema_length=INFER_ROWS, schema_overrides=overrides, **options)


def _separator(source: Source, files: tuple[Path, ...]) -> str:
    tabs = files[0].suffix.lower() == ".tsv" and source.separator == ","
    return "\t" if tabs else source.separator


def _header(file: Path, separator: str) -> set[str]:
    """Return the column names of a CSV file."""
    first = pl.read_csv(file, separator=separator, has_header=False, n_rows=1, infer_schema=False)
    names = [str(name) for name in first.row(0)]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"the column {name!r} stands twice in the header", where=str(file),
                            hint="give each column a name of its own")  # fmt: skip
    return set(names)


def inferred_type(dtype: Any) -> Type | None:
    """Return the FeatureKit type of a stored data type, or `None` where there is none."""
    if dtype.is_integer():
        return INT64
    if dtype.is_float() or dtype.is_decimal():
        return FLOAT32
    if dtype == pl.Boolean:
        return BOOL
    if dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum)) or dtype == pl.Null:
        return STRING if dtype != pl.Null else FLOAT32
    if dtype == pl.Datetime or dtype == pl.Date:
        return TIMESTAMP
    return DURATION if dtype == pl.Duration else None


def column_types(table: Table, source: Source) -> dict[str, Type]:
    """Return the type of every readable column: as declared, else as the data is stored.

    Columns of types that FeatureKit does not know (lists, structs) are left out.
    """
    stored_as = {stored: name for name, stored in table.renamed.items()}
    out: dict[str, Type] = {}
    for stored, dtype in table.schema.items():
        name = stored_as.get(stored, stored)
        declared = source.columns.get(name, Column())
        if declared.expr is not None:
            continue
        found = declared.type or inferred_type(dtype)
        if found is not None:
            out[name] = found
    return out


def typed_columns(
    table: Table, source: Source, wanted: Mapping[str, Type]
) -> tuple[list[pl.Expr], list[Check]]:
    """Return expressions that read columns as their types, and what must hold for that.

    Args:
        table: The opened source.
        source: Its declaration.
        wanted: The columns to read, with their types.

    Returns:
        One expression per column, named like it, over the raw columns of the table; and checks
        over the raw columns. NaN in a float column becomes null.

    Raises:
        SpecErrors: A stored type cannot be read as the wanted one.
    """
    columns: list[pl.Expr] = []
    checks: list[Check] = []
    for name, of in wanted.items():
        stored = table.stored(name)
        if stored not in table.schema:
            raise DataError(f"the data has no column {stored!r}", where=f"source {table.name!r}",
                            hint=closest(stored, table.schema))  # fmt: skip
        declared = source.columns.get(name, Column())
        reader = _Reader(name, pl.col(stored), table.schema[stored], declared)
        columns.append(reader.read(of).alias(name))
        checks.extend(reader.checks)
        if not declared.nullable:
            missing = reader.read(of).is_null()
            checks.append(Check(name, missing, pl.lit(None, dtype=pl.String), "missing values, although it is declared nullable: false,",
                                "drop the rows, or declare nullable: true"))  # fmt: skip
    return columns, checks


class _Reader:
    """Reads one stored column as a type, collecting what must hold."""

    def __init__(self, name: str, x: pl.Expr, dtype: Any, declared: Column) -> None:
        self.name, self.x, self.dtype, self.declared = name, x, dtype, declared
        self.checks: list[Check] = []

    def read(self, of: Type) -> pl.Expr:
        self.checks = []
        if isinstance(self.dtype, (pl.Categorical, pl.Enum)):
            self.x, self.dtype = self.x.cast(pl.String), pl.String()
        if self.dtype == pl.Null:
            return self.x.cast(polars_dtype(of))
        if of in (FLOAT32, FLOAT64):
            return self.float(of)
        if of == INT64:
            return self.integer()
        if of == STRING and (self.dtype == pl.String or self.dtype.is_integer() or self.dtype == pl.Boolean):
            return self.x.cast(pl.String)
        if of == BOOL:
            return self.boolean()
        if of == TIMESTAMP:
            return self.timestamp()
        if of == DURATION and self.dtype == pl.Duration:
            return self.x.cast(polars_dtype(of))
        raise self.refused(of)

    def refused(self, of: Type) -> SpecError:
        return SpecError(
            f"column {self.name!r} is stored as {self.dtype} and cannot be read as {of}",
            hint="declare another type for it",
        )

    def check(self, bad: pl.Expr, message: str, hint: str) -> None:
        shown = self.x.to_physical() if self.dtype.is_temporal() else self.x
        self.checks.append(Check(self.name, bad, shown.cast(pl.String, strict=False), message, hint))

    def float(self, of: Type) -> pl.Expr:
        if self.dtype == pl.String:
            value = self.x.str.strip_chars().cast(pl.Float64, strict=False)
            self.check(self.x.is_not_null() & value.is_null(), "text that is not a number",
                       "correct them, or list the text under the source's null_values")  # fmt: skip
        elif self.dtype.is_numeric() or self.dtype == pl.Boolean:
            value = self.x
        else:
            raise self.refused(of)
        value = value.cast(polars_dtype(of))
        return pl.when(value.is_not_nan()).then(value)

    def integer(self) -> pl.Expr:
        limit = "integers are 64 bits; declare the type string if it is an identifier"
        if self.dtype == pl.String:
            value = self.x.str.strip_chars().cast(pl.Int64, strict=False)
            self.check(self.x.is_not_null() & value.is_null(), "text that is not a 64-bit integer", limit)
        elif self.dtype.is_float() or self.dtype.is_decimal():
            present = self.x.is_not_null() & self.x.is_not_nan() if self.dtype.is_float() else self.x.is_not_null()
            value = pl.when(present).then(self.x).cast(pl.Int64, strict=False)
            self.check(present & (value.is_null() | (value.cast(self.dtype) != self.x)),
                       "values that are not integers", "declare the type float32 or float64")  # fmt: skip
            if self.dtype.is_float():
                largest = 2**53 if self.dtype == pl.Float64 else 2**24
                self.check(present & (self.x.abs() > largest),
                           f"values beyond {largest}, where a stored {str(self.dtype).lower()} no longer holds every integer,",
                           "store the column as integers, or as text if it is an identifier")  # fmt: skip
        elif self.dtype.is_integer() or self.dtype == pl.Boolean:
            value = self.x.cast(pl.Int64, strict=False)
            if self.dtype.is_unsigned_integer():
                self.check(self.x.is_not_null() & value.is_null(), "values that do not fit in 64 bits with a sign", limit)
        else:
            raise self.refused(INT64)
        lowest = pl.lit(-(2**63), dtype=pl.Int64)
        if self.dtype in (pl.Int64, pl.String):
            self.check(value == lowest, "the smallest 64-bit integer, which stands for missing at serving,",
                       "store missing values as missing")  # fmt: skip
        return value

    def boolean(self) -> pl.Expr:
        if self.dtype == pl.Boolean:
            return self.x
        if self.dtype == pl.String:
            text = self.x.str.strip_chars().str.to_lowercase()
            true, false = text.is_in(["true", "t", "1", "yes"]), text.is_in(["false", "f", "0", "no"])
        elif self.dtype.is_numeric():
            true, false = self.x == 1, self.x == 0
        else:
            raise self.refused(BOOL)
        self.check(self.x.is_not_null() & ~(true | false), "values that are neither true nor false", "declare another type")
        return pl.when(true).then(True).when(false).then(False)

    def timestamp(self) -> pl.Expr:
        if self.dtype == pl.String:
            value = self.text_time()
        elif self.dtype.is_integer():
            value = self.integer_time()
        elif self.dtype == pl.Datetime or self.dtype == pl.Date:
            value = self.stored_time()
        else:
            raise self.refused(TIMESTAMP)
        micros = value.dt.timestamp("us")
        self.check((micros > _LATEST) | (micros < _EARLIEST), _OUTSIDE, _OUTSIDE_HINT)
        return value

    def stored_time(self) -> pl.Expr:
        """Times stored as times; those that microseconds cannot hold are caught before the cast."""
        zone = getattr(self.dtype, "time_zone", None)
        each = {"ms": 1_000, "us": 1}.get(getattr(self.dtype, "time_unit", ""), 0)
        if self.dtype == pl.Date:
            each = 86_400_000_000
        value = self.x
        if each > 1:
            stored = self.x.to_physical()
            inside = stored.is_between(_EARLIEST // each, _LATEST // each)
            self.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
            value = pl.when(inside).then(self.x)
        value = value.cast(pl.Datetime("us", zone))
        if zone is None:
            value = self.zoned(value, naive_date=self.dtype == pl.Date)
        return value.dt.convert_time_zone("UTC")

    def zoned(self, naive: pl.Expr, naive_date: bool = False) -> pl.Expr:
        zone = self.declared.zone or ("UTC" if naive_date else None)
        if zone is None:
            raise SpecError(
                f"column {self.name!r} holds times without a zone",
                hint=f"declare it: {self.name}: {{type: timestamp, zone: UTC}}",
            )
        made = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        self.check(naive.is_not_null() & made.is_null(), f"times that do not exist in the zone {zone}",
                   "the clock was put forward then")  # fmt: skip
        return made

    def integer_time(self) -> pl.Expr:
        scale = {"s": 1_000_000, "ms": 1_000, "us": 1}.get(self.declared.unit or "")
        if scale is None:
            raise SpecError(
                f"column {self.name!r} is stored as integers and declared a timestamp",
                hint="say what they count since 1970: unit: s, ms or us",
            )
        whole = self.x.cast(pl.Int64)
        inside = whole.is_between(_EARLIEST // scale, _LATEST // scale)
        self.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
        micros = pl.when(inside).then(whole) * scale
        return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def text_time(self) -> pl.Expr:
        """ISO 8601 texts; all with an offset, or all without and a declared zone."""
        text = self.x.str.strip_chars()
        has_offset = text.str.contains(r"T?\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)$")
        # The space between date and time and the seconds are optional; a date alone is midnight.
        full = text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00").str.replace(" ", "T", literal=True)
        full = full.str.replace(r"T(\d\d:\d\d)($|Z|[+-])", "T${1}:00${2}")
        aware = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
        aware = pl.when(has_offset).then(aware)
        naive = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        naive = pl.when(~has_offset).then(naive)
        self.check(self.x.is_not_null() & aware.is_null() & naive.is_null(), "text that is not an ISO 8601 time",
                   "write 2013-01-31T12:30:00Z")  # fmt: skip
        if self.declared.zone is None:
            self.check(naive.is_not_null(), "times without a zone", f"declare it: {self.name}: {{type: timestamp, zone: UTC}}; "
                       "a column may not mix times with and without an offset")  # fmt: skip
            return aware
        self.check(aware.is_not_null(), "times with an offset although a zone is declared",
                   "a column may not mix times with and without an offset")  # fmt: skip
        return self.zoned(naive).dt.convert_time_zone("UTC")
