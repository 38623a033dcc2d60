"""The rows of CSV files as one table: columns joined, types read from their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from featurekit.csv_files import CsvFile, form_of, line_of, open_csv, scan_csv_file
from featurekit.csv_types import Guess, Remark, flow, guess, is_marker, joined, remarks
from featurekit.errors import DataError
from featurekit.number_text import NumberText
from featurekit.parquet_files import lacking
from featurekit.partitions import DTYPES, Partitions
from featurekit.spec.objects import Source
from featurekit.types import BOOL, FLOAT32, FLOAT64, INT64, STRING, Type

__all__ = ["CsvRows", "misfit", "read_csv"]

INFER_ROWS = 100_000
"""So many rows of each CSV file are looked at for the types that the spec does not declare."""
INFER_VALUES = 1_000
"""Of a column without a value there, so many values are looked for in the rest of the file."""


@dataclass(frozen=True)
class CsvRows:
    """The rows of CSV files.

    Args:
        frame: The rows.
        schema: The data type of each column.
        inferred: The types of columns that are stored as text, and hold something else.
        files: The files.
        remarks: What was noticed.
        as_they_are: Whether all files are plain and have the columns of the first, in its order.
    """

    frame: pl.LazyFrame
    schema: Mapping[str, Any]
    inferred: Mapping[str, Type] = field(default_factory=dict)
    files: tuple[CsvFile, ...] = ()
    remarks: tuple[Remark, ...] = ()
    as_they_are: bool = True


def read_csv(
    paths: Sequence[Path],
    source: Source,
    declared: Mapping[str, Type],
    partitions: Partitions,
    ragged: bool = False,
    file_column: str | None = None,
) -> CsvRows:
    """Open CSV files; their first rows are read for the types that nobody declares.

    Args:
        paths: The files, in the order of their rows.
        source: Their source.
        declared: The declared types, by what the data calls the columns.
        partitions: The columns that their folders name.
        ragged: Whether rows may have too many fields, because who reads them sees to that.
        file_column: A column to add with the file of each row.

    Raises:
        DataError: A file is not what the source says.
    """
    files = tuple(open_csv(path, form_of(source, path), ragged) for path in paths)
    for file in files:
        if not set(file.names) & set(files[0].names):
            raise DataError(
                f"the file has no column in common with {paths[0].name}", where=str(file.path),
                hint="all files of a glob are parts of one table, each with the header",
            )  # fmt: skip
    numbers = NumberText(source.decimal, source.thousands)
    asked = {
        name: declared.get(name)
        for file in files for name in file.names
        if declared.get(name) in (None, FLOAT32, FLOAT64)
    }  # fmt: skip
    guesses: dict[str, list[Guess]] = {name: [] for name in asked}
    for file in files:
        for name, found in _guesses(file, asked, numbers, ragged).items():
            guesses[name].append(found)
    # What is left out or missing where it does not fit is looked at as it is written.
    kept = {
        column.column or name for name, column in source.columns.items()
        if column.on_violation not in (None, "fail")
    }  # fmt: skip
    types: dict[str, Any] = {}
    inferred: dict[str, Type] = {}
    noticed: list[Remark] = []
    for name, each_file in guesses.items():
        of = joined(each.type for each in each_file)
        native = name not in kept and numbers.usual and not any(each.padded for each in each_file)
        if asked[name] is not None:
            if of in (None, INT64, FLOAT32) and native:
                types[name] = pl.Float64()
            continue
        if of in (INT64, FLOAT32, BOOL):
            if native or (
                of == BOOL and name not in kept and not any(each.padded for each in each_file)
            ):
                types[name] = DTYPES[of]
            else:
                inferred[name] = of
        noticed += remarks(name, each_file, source.null_values) or _unlike(
            name, each_file, [file.path for file in files if name in file.names]
        )
    columns = {name: types.get(name, pl.String()) for file in files for name in file.names}
    folders = partitions.typed(columns)
    alike = all(file.names == files[0].names for file in files)
    frames = []

    def kind(at: int) -> Any:
        file = files[at]
        return file.names, file.own, file.skip, file.form, partitions.key(at)

    for _, group in groupby(range(len(files)), key=kind):
        together = list(group)
        own = files[together[0]].names
        more = {} if file_column is None else {"include_file_paths": file_column}
        frame = scan_csv_file([files[at] for at in together], types, ragged, **more)
        if not alike or folders:
            made = [
                _named(name) if name in own else pl.lit(None, dtype=dtype).alias(name)
                for name, dtype in columns.items()
            ]
            made += [column.literal(together[0]).alias(name) for name, column in folders.items()]
            made += [pl.col(name) for name in more.values()]
            frame = frame.select(made)
        frames.append(frame)
    noticed += [remark for file in files for remark in file.remarks]
    noticed += lacking(paths, [file.names for file in files])
    noticed += [remark for column in folders.values() for remark in column.remarks]
    return CsvRows(
        frames[0] if len(frames) == 1 else pl.concat(frames),
        {
            **columns,
            **{name: column.dtype for name, column in folders.items()},
            **({} if file_column is None else {file_column: pl.String()}),
        },
        inferred, files, tuple(noticed),
        alike and not folders and all(file.as_it_is for file in files),
    )  # fmt: skip


def _unlike(name: str, guesses: Sequence[Guess], paths: Sequence[Path]) -> list[Remark]:
    """Return a remark on a column that is text in some files, and something else in others."""
    told = {
        each.type: path for each, path in zip(guesses, paths, strict=False) if each.type is not None
    }
    if joined(told) != STRING or len(told) < 2:
        return []
    said = ", ".join(f"{of} in {path.name}" for of, path in told.items())
    return [Remark(name, f"column {name!r} is read as text: it is {said}")]


def _named(*names: str) -> pl.Expr:
    """Return columns by name; `pl.col` would read `*` and `^...$` as patterns of names."""
    return cs.by_name(*names).as_expr()


def _guesses(
    file: CsvFile, asked: Mapping[str, Any], numbers: NumberText, ragged: bool
) -> dict[str, Guess]:
    """Return what the texts of a file say of the types of columns."""
    names = [name for name in file.names if name in asked]
    if not names:
        return {}
    rows = scan_csv_file([file], {}, ragged).select(_named(*names))
    head = rows.head(INFER_ROWS).collect()
    found = {name: guess(head[name], numbers) for name in names}
    if head.height == INFER_ROWS:
        for name in [name for name in names if head[name].null_count() == head.height]:
            rest = rows.select(_named(name)).drop_nulls().head(INFER_VALUES)
            found[name] = guess(rest.collect(engine="streaming")[name], numbers)
    return found


def misfit(rows: CsvRows, column: str) -> DataError | None:
    """Return an error for the first text of a column that is not of its type, with file and line.

    Args:
        rows: The rows.
        column: The column in the data.
    """
    dtype = rows.schema.get(column)
    for file in rows.files:
        if dtype is None or column not in file.names:
            continue
        text = pl.col("x").str.strip_chars_start()
        fits = (
            text.str.to_lowercase().is_in(["true", "false"])
            if dtype == pl.Boolean else text.cast(dtype, strict=False).is_not_null()
        )  # fmt: skip
        texts = scan_csv_file([file], {}, ragged=True, row_index_name="~row")
        found = (
            texts.select("~row", _named(column).alias("x"))
            .filter(pl.col("x").is_not_null() & ~fits).head(1).collect(engine="streaming")
        )  # fmt: skip
        if found.height:
            row, value = found.row(0)
            return DataError(
                f"column {column!r}: {value!r} is not {_called(dtype)}, which the first rows are",
                where=f"{file.path}:{line_of(file, row)}",
                hint=_paste(column, value, dtype, file),
            )
    return None


def _called(dtype: Any) -> str:
    if dtype == pl.Boolean:
        return "true or false"
    return "an int64" if dtype == pl.Int64 else "a number"


def _paste(column: str, value: str, dtype: Any, file: CsvFile) -> str:
    """Return the line to paste into the spec."""
    if is_marker(value):
        return f"null_values: {flow([*file.form.null_values, value])}"
    key = flow([column])[1:-1]
    number = guess(pl.Series([value]), NumberText()).type in (INT64, FLOAT32)
    if dtype == pl.Int64 and number:
        return f"declare it under the source's columns: {key}: float64"
    return f"declare it under the source's columns: {key}: string; or correct the value"
