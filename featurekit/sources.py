"""Opening sources: files and tables, and the types of their columns.

Opening reads no rows (a CSV file's first rows for its types); what goes wrong while rows are read
later becomes an error with a place here, too.
"""

from __future__ import annotations

import glob
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.csv_files import form_of
from featurekit.csv_table import CsvRows, read_csv
from featurekit.errors import DataError, SpecError, closest
from featurekit.number_text import NumberText
from featurekit.parquet_files import ParquetRows, read_parquet
from featurekit.partitions import partitions_of
from featurekit.read_errors import first_line, polars_errors
from featurekit.spec.objects import COMPRESSED, FORMATS, UNDECLARED, WHITESPACE, Source, format_of
from featurekit.table import FILE, Table
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
)

__all__ = [
    "Table",
    "address_of",
    "column_names",
    "column_types",
    "declared_types",
    "inferred_type",
    "left_out_columns",
    "open_table",
    "polars_errors",
    "refuse_doubled",
    "renamed_columns",
    "stored_types",
    "table_elsewhere",
]


def open_table(name: str, source: Source, base: Path, ragged: bool = False) -> Table:
    """Open a source without reading its rows (a CSV file's first rows are read for its types).

    Args:
        name: Its name in the spec.
        source: Its declaration.
        base: What its path is relative to.
        ragged: Whether rows of CSV may have too many fields, because who reads them sees to that.

    Raises:
        DataError: The data is missing, empty or unreadable.
        SpecError: The source is a BigQuery table, or its file format is unknown.
    """
    if source.table is not None:
        raise SpecError(
            f"source {name!r} is a BigQuery table, and nothing says how to reach {source.table}",
            hint="give --project and --dataset; in Python bigquery=fk.BigQuery(project, dataset)",
        )
    renamed = renamed_columns(source)
    files: tuple[Path, ...] = ()
    stored_as = None
    where = f"source {name!r}"
    text: CsvRows | None = None
    parquet: ParquetRows | None = None
    schema: dict[str, Any] | None = None
    with polars_errors(where):
        if source.data is not None:
            frame = _in_memory(source.data, where)
        elif source.path is None:
            raise SpecError(f"{where} has no path, table or data")
        elif source.on_workers:
            raise DataError(
                f"{source.path} is read by Beam's workers", where=where,
                hint="--engine beam; or a Parquet file on this machine",
            )  # fmt: skip
        else:
            files = _files(source.path, base, where)
            stored_as = _format(source, files[0], where)
            where = f"{where} ({files[0] if len(files) == 1 else source.path})"
            if any(path.stat().st_size == 0 for path in files):
                raise DataError("the file is empty", where=where)
            with polars_errors(where):
                types = stored_types(source)
                ordered = any(entry.ambiguous == "in_order" for entry in source.columns.values())
                file_column = FILE if ordered and len(files) > 1 else None
                folders = partitions_of(files, source.path, base, frozenset(types))
                if stored_as == "csv":
                    text = read_csv(files, source, types, folders, ragged, file_column)
                else:
                    parquet = read_parquet(files, folders, file_column)
                opened = text or parquet
                assert opened is not None
                frame, schema = opened.frame, dict(opened.schema)
        if schema is None:
            with polars_errors(where):
                schema = dict(frame.collect_schema())
    if not schema:
        raise DataError("the data has no columns", where=where)
    for key, stored in renamed.items():
        if stored not in schema:
            raise SpecError(
                f"source {name!r}: column {key!r}: the data has no column {stored!r}",
                hint=closest(stored, schema),
            )
    if text is not None:
        return Table(
            name, frame, schema, renamed, files, stored_as, text.files[0].form.separator,
            inferred=text.inferred, numbers=NumberText(source.decimal, source.thousands),
            text=text, remarks=text.remarks, as_it_is=text.as_they_are,
        )  # fmt: skip
    if parquet is not None:
        return Table(
            name, frame, schema, renamed, files, stored_as,
            remarks=parquet.remarks, as_it_is=parquet.as_they_are,
        )  # fmt: skip
    return Table(name, frame, schema, renamed)


def renamed_columns(source: Source) -> dict[str, str]:
    """Return what the data calls the columns that have another name in the spec."""
    return {key: column.column for key, column in source.columns.items() if column.column}


def declared_types(source: Source) -> dict[str, Type]:
    """Return the types that a source declares of its stored columns."""
    return {
        name: column.type for name, column in source.columns.items()
        if column.expr is None and column.type is not None
    }  # fmt: skip


def stored_types(source: Source) -> dict[str, Type]:
    """Return the same types by what the data calls the columns."""
    stored = renamed_columns(source)
    return {stored.get(name, name): of for name, of in declared_types(source).items()}


def address_of(source: Source, base: Path) -> str:
    """Return where a source's files are: an address as it is, a path in full."""
    assert source.path is not None
    return source.path if "://" in source.path else str((base / source.path).absolute())


def table_elsewhere(name: str, source: Source, base: Path, schema: Mapping[str, Any]) -> Table:
    """Return a table whose rows Beam's workers read; its frame has columns and no rows.

    Args:
        name: Its name in the spec.
        source: Its declaration, `on_workers`.
        base: What its path is relative to.
        schema: The data types as stored, of the columns as the data calls them.

    Raises:
        SpecError: Nothing tells the format.
    """
    if source.file_format is None:
        raise SpecError(
            f"source {name!r}: cannot tell the format of {source.path!r}",
            hint=f"format: {FORMATS[0]}",
        )
    path = address_of(source, base)
    _refuse_elsewhere(name, source)
    return Table(
        name, pl.LazyFrame(schema=dict(schema)), schema, renamed_columns(source),
        format=source.file_format, separator=form_of(source, Path(path)).separator, elsewhere=path,
        numbers=NumberText(source.decimal, source.thousands),
    )  # fmt: skip


def _refuse_elsewhere(name: str, source: Source) -> None:
    """Refuse CSV that Beam's workers do not read: they read files as they are.

    Raises:
        SpecError: Names the setting.
    """
    if source.file_format != "csv":
        return
    given = source.given()
    settings: list[str] = [key for key in ("encoding", "skip_rows", "comment", "header", "escape")
                if key in given]  # fmt: skip
    if source.separator == WHITESPACE:
        settings.append("separator")
    packed = str(source.path).lower().endswith(COMPRESSED)
    if settings or packed:
        what = (
            f"{settings[0]}: {getattr(source, settings[0])!r}" if settings else "a compressed file"
        )
        raise SpecError(
            f"source {name!r}: Beam's workers read plain CSV, got {what}",
            hint="copy the files to this machine, or write them as Parquet",
        )


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
    refuse_doubled(column_names(data), where)
    try:
        with warnings.catch_warnings():
            # Arrow reads times with a zone through an attribute that pandas 4 will change.
            warnings.filterwarnings("ignore", "Series.values returning", DeprecationWarning)
            made = pl.from_pandas(data) if module == "pandas" else pl.from_arrow(data)
    except Exception as error:
        if not isinstance(error, (TypeError, ValueError, ImportError, _arrow_error())):
            raise
        raise DataError(
            f"the table cannot be read: {first_line(error)}",
            where=where,
            hint="a column of mixed Python objects needs one type",
        ) from None
    if not isinstance(made, pl.DataFrame):
        raise DataError(
            f"a table is needed, got a {type(data).__name__}, which is one column", where=where
        )
    return made.lazy()


def column_names(table: Any) -> list[Any]:
    """Return what a pandas, Polars or Arrow table calls its columns; nothing has none."""
    # Arrow's `columns` are the columns themselves.
    names = table.column_names if hasattr(table, "column_names") else getattr(table, "columns", ())
    return list(names)


def refuse_doubled(names: Iterable[Any], where: str) -> None:
    """Refuse columns of which two have one name.

    Raises:
        DataError: Says which name, and how often.
    """
    name, times = next(iter(Counter(names).most_common(1)), ("", 0))
    if times > 1:
        raise DataError(
            f"{times} columns are called {name!r}", where=where,
            hint="give each column a name of its own",
        )  # fmt: skip


def _arrow_error() -> type[Exception]:
    import pyarrow as pa

    error: type[Exception] = pa.ArrowException
    return error


def _pattern(path: str, base: Path) -> str:
    """Return the glob of a source in full; what it is relative to is no part of the pattern."""
    return path if Path(path).is_absolute() else f"{glob.escape(str(base))}/{path}"


def _files(path: str, base: Path, where: str) -> tuple[Path, ...]:
    full = Path(path) if Path(path).is_absolute() else base / path
    if glob.has_magic(path) and not full.is_file():
        pattern = _pattern(path, base)
        # Path.glob takes no absolute pattern.
        found = tuple(Path(entry) for entry in sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
        if not found:
            raise DataError(f"no file matches {path!r}", where=where)
    else:
        found = (full,)
    for file in found:
        if not file.exists():
            raise DataError(
                f"there is no file {str(file)!r}",
                where=where,
                hint="a path is relative to the spec file",
            )
        if not file.is_file():
            raise DataError(
                f"{str(file)!r} is not a file",
                where=where,
                hint="a glob such as data/*.parquet reads a folder",
            )
    return found


def _format(source: Source, file: Path, where: str) -> str:
    found = source.format or format_of(file.name)
    if found is not None:
        return found
    raise SpecError(
        f"{where}: cannot tell the format of {file.name!r}", hint="format: parquet or format: csv"
    )


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


def left_out_columns(table: Table) -> dict[str, str]:
    """Return the columns of a table whose stored types FeatureKit does not know, with these types.

    They are called as the spec calls them.
    """
    called = {stored: name for name, stored in table.renamed.items()}
    return {
        called.get(stored, stored): str(dtype)
        for stored, dtype in table.schema.items()
        if inferred_type(dtype) is None
    }


def column_types(table: Table, source: Source) -> dict[str, Type]:
    """Return the type of every readable column: as declared, else as the data is stored.

    Columns of types that FeatureKit does not know (lists, structs) are left out.
    """
    stored_as = {stored: name for name, stored in table.renamed.items()}
    out: dict[str, Type] = {}
    for stored, dtype in table.schema.items():
        name = stored_as.get(stored, stored)
        declared = source.columns.get(name, UNDECLARED)
        if declared.expr is not None or stored == FILE:
            continue
        found = declared.type or table.inferred.get(stored) or inferred_type(dtype)
        if found is not None:
            out[name] = found
    return out
