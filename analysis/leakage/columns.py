"""Columns by their names, whatever these look like."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

__all__ = ["named"]


def named(*names: str) -> pl.Expr:
    """Return columns by name; `pl.col` would read `*` and `^...$` as patterns of names.

    Example:
        >>> table = pl.DataFrame({"^a.*$": [1], "ab": [2]})
        >>> table.select(named("^a.*$")).to_dicts(), table.select(pl.col("^a.*$")).to_dicts()
        ([{'^a.*$': 1}], [{'ab': 2}])
    """
    return cs.by_name(*names).as_expr()
