"""Tables as they are given: opened, and their columns by name, whatever these look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from featurekit.errors import DataError
from featurekit.sources import Table, open_table
from featurekit.spec.objects import Source

__all__ = ["has_label", "named", "open_given"]


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
    """Open a pandas, Polars or Arrow table, or the path of a Parquet or CSV file or of a glob.

    Raises:
        DataError: It cannot be read.
    """
    path = isinstance(table, (str, Path))
    source = Source(path=table) if path else Source(data=table)
    try:
        return open_table("table", source, Path.cwd())
    except DataError as error:
        asked, _, mark = error.hint.partition("separator: ")
        if not asked or not mark:
            raise
        # There is no source here that could declare it.
        hint = (
            "write it with commas or as Parquet; in Python, scan what "
            f"polars.read_csv(..., separator={mark}) returns"
        )
        raise DataError(error.message, where=error.where, hint=hint) from error
