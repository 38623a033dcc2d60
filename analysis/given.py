"""Tables as they are given: opened, and their columns by name, whatever these look like."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import polars as pl
import polars.selectors as cs
import yaml

from featurekit.arguments import path_of
from featurekit.engines.rows import refuse_offending
from featurekit.errors import DataError, FeatureKitWarning, SpecError, UsageError
from featurekit.reading import typed_columns
from featurekit.sources import Table, declared_types, open_table
from featurekit.spec.objects import CSV_SETTINGS, Source
from featurekit.transforms.base import polars_dtype
from featurekit.types import FLOAT32, FLOAT64

__all__ = ["has_label", "in_options", "named", "open_given"]


def named(*names: str) -> pl.Expr:
    """Return columns by name; `pl.col` would read `*` and `^...$` as patterns of names.

    Example:
        >>> table = pl.DataFrame({"^a.*$": [1], "ab": [2]})
        >>> table.select(named("^a.*$")).to_dicts(), table.select(pl.col("^a.*$")).to_dicts()
        ([{'^a.*$': 1}], [{'ab': 2}])
    """
    return cs.by_name(*names).as_expr()


def has_label(label: str, dtype: Any) -> pl.Expr:
    """Return whether a row has a label: one that is there, and finite."""
    known = named(label).is_not_null()
    return known & named(label).is_finite() if dtype.is_float() else known


def open_given(table: Any) -> Table:
    """Open a pandas, Polars or Arrow table, or files of Parquet or CSV.

    What was noticed of its columns is warned of.

    Args:
        table: The table; the path of a file or of a glob; a `Source`, which says how CSV is written
            and of which types columns are; or a table that is open already.

    Raises:
        DataError: It cannot be read, or a value is not of the type that the source declares.
        SpecError: A column cannot be read as the type that the source declares.
    """
    if isinstance(table, Table):
        return table
    if isinstance(table, Source):
        source = table
    else:
        path = isinstance(table, (str, os.PathLike))
        source = Source(path=str(path_of(table, "a table"))) if path else Source(data=table)
    if any(column.expr is not None for column in source.columns.values()):
        raise UsageError(
            "a table has no derived columns", where=str(source.path or "table"),
            hint="write a spec with this source and a feature for each column",
        )  # fmt: skip
    try:
        opened = open_table("table", source, Path.cwd())
        for remark in (each for each in opened.remarks if each.hint):
            warnings.warn(in_options(str(remark)), FeatureKitWarning, stacklevel=3)
        return _typed(opened, source)
    except (DataError, SpecError) as error:
        raise type(error)(error.message, where=error.where, hint=in_options(error.hint)) from error


def _typed(table: Table, source: Source) -> Table:
    """Return a table with its declared columns as their types, and its numbers as numbers."""
    stored = {column: name for name, column in table.renamed.items()}
    inferred = {
        stored.get(name, name): FLOAT64 if of == FLOAT32 else of
        for name, of in table.inferred.items()
    }
    wanted = {**inferred, **declared_types(source)}
    if not wanted:
        return table
    columns, checks = typed_columns(table, source, wanted)
    refuse_offending(table, checks, f"the table {source.path or ''}".strip())
    renamed = {name: column for name, column in table.renamed.items() if name in wanted}
    frame = table.frame.with_columns(columns).drop(set(renamed.values()) - wanted.keys())
    schema = {**table.schema, **{name: polars_dtype(of) for name, of in wanted.items()}}
    schema = {name: schema[name] for name in frame.collect_schema()}
    left = {name: column for name, column in table.renamed.items() if name not in wanted}
    return replace(table, frame=frame, schema=schema, renamed=left, inferred={})


_SETTING = re.compile(rf"\b({'|'.join(CSV_SETTINGS)}): (\[[^\]]*\]|'[^']*'|\"[^\"]*\"|\d+|[\w-]+)")
_TYPE = re.compile(r"declare it(?: under the source's columns)?: (\S+): (\w+)(?:; or \S+: (\w+))?")


def in_options(hint: str) -> str:
    """Return a hint for a spec as one for a command that takes a table.

    Example:
        >>> in_options("null_values: [NA, '-']")
        "--null-values NA --null-values - (in Python fk.Source(path, null_values=['NA', '-']))"
    """

    def option(found: re.Match[str]) -> str:
        name, text = found[1], found[2]
        value = yaml.safe_load(text)
        said = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        # A tab would not be seen.
        shown = [str(each).replace("\t", r"\t") for each in values]
        line = " ".join(f"{said} {quote(each)}" for each in shown)
        if name == "header":
            line = f"{said} {quote(','.join(map(str, values)))}"
        more = ""
        if name == "separator" and len(str(value)) == 1:
            more = f"; or scan what polars.read_csv(..., separator={value!r}) returns"
        return f"{line} (in Python fk.Source(path, {name}={value!r}){more})"

    def types(found: re.Match[str]) -> str:
        column, first, second = found[1], found[2], found[3]
        line = f"--types {quote(f'{column}={first}')}"
        line += f" or --types {quote(f'{column}={second}')}" if second else ""
        return f"{line} (in Python fk.Source(path, columns={{{column!r}: {first!r}}}))"

    hint = hint.replace("declare the source's separator", "separator")
    return _TYPE.sub(types, _SETTING.sub(option, hint))
