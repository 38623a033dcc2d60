"""What becomes of a cell that was not known yet: it goes, or holds what cannot be missed."""

from __future__ import annotations

import enum
from typing import Any

import polars as pl

__all__ = ["Mode", "poison"]

_NUMBER = 1e18
"""Its square is still a float32; as an integer it is beyond what a float64 can count."""
_SMALL_INTEGERS = {pl.Int8: 100, pl.Int16: 30_000, pl.Int32: 2_000_000_000, pl.UInt8: 250,
                   pl.UInt16: 65_000, pl.UInt32: 4_000_000_000}  # fmt: skip
_WORD = "\U0010fffdpoison"
"""No data holds it: its first character belongs to nobody."""
_DAYS = 150_000
"""So many days from 1970 are the years 2380 and 1559."""
_DAYS_OF_PANDAS = 80_000
"""So many days from 1970 can be counted in nanoseconds: the years 2189 and 1750."""


class Mode(enum.Enum):
    """What becomes of what was not known yet."""

    DELETE = "delete"
    """Cells are missing, and rows gone."""
    POISON = "poison"
    """Cells hold extreme numbers, words that nobody has seen, and flipped booleans."""


def poison(column: str, dtype: Any, low: pl.Expr) -> pl.Expr | None:
    """Return what stands in a poisoned cell, or `None` where there is no such thing for a type.

    Args:
        column: The column.
        dtype: Its type.
        low: Whether a number or time lies below all others instead of above them, by row.
    """
    sign = pl.when(low).then(-1).otherwise(1)
    if dtype == pl.Boolean:
        return ~pl.col(column).fill_null(False)
    if dtype.is_float() or dtype.is_decimal():
        return (sign * _NUMBER).cast(dtype)
    if dtype.is_integer():
        size = _SMALL_INTEGERS.get(type(dtype), int(_NUMBER))
        if dtype.is_unsigned_integer():
            return pl.when(low).then(0).otherwise(size).cast(dtype)
        return (sign.cast(pl.Int64) * size).cast(dtype)
    if dtype == pl.String:
        return pl.lit(_WORD)
    if dtype == pl.Date:
        return (sign.cast(pl.Int32) * _DAYS).cast(pl.Date)
    if dtype in (pl.Datetime, pl.Duration):
        unit = dtype.time_unit
        days = _DAYS_OF_PANDAS if unit == "ns" else _DAYS
        each = 86_400 * {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
        return (sign.cast(pl.Int64) * (days * each)).cast(dtype)
    return None
