"""What must hold for the values of a stored column, and who reads one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.errors import SpecError
from featurekit.spec.objects import Column
from featurekit.types import Type

__all__ = ["Check", "ColumnReader"]

FAIL, COUNT, NULL, DROP = "fail", "count", "null", "drop"

LATEST_YEAR = 9999
EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
LATEST = (int(datetime(LATEST_YEAR, 12, 31, tzinfo=UTC).timestamp()) + 86_400) * 1_000_000 - 1
"""The last microsecond of that day, by which many tables say "for ever"."""
_MICROS = {"days": 86_400_000_000, "ms": 1_000, "us": 1, "ns": 1}
"""How many microseconds are in one of what a stored time counts; all nanoseconds are in range."""


@dataclass(frozen=True)
class Check:
    """Something a value must not be, or that is counted where it is.

    Args:
        column: The column it is about.
        bad: A boolean expression over raw columns, true (not null) for an offending row.
        shown: The expression whose value an error quotes.
        message: What is wrong, as in "column 'x': MESSAGE in 12 rows".
        hint: What to do about it.
        advise: Returns a better hint from some of the offending values, if there is one.
        action: `fail` if such rows stop everything; `count` if they are only counted; `null` if
            the value is read as missing, and `drop` if the row is left out, both counted.
    """

    column: str
    bad: pl.Expr
    shown: pl.Expr
    message: str
    hint: str
    advise: Callable[[Sequence[str]], str] | None = None
    action: str = FAIL


class ColumnReader:
    """One stored column that is being read, and what must hold for that.

    Args:
        name: Its name in the spec.
        x: Its values as they are stored.
        dtype: The data type of these.
        declared: What the spec declares of it.
        group: The stored columns whose rows follow each other in time, for `in_order`.
    """

    def __init__(
        self, name: str, x: pl.Expr, dtype: Any, declared: Column, group: Sequence[str] = ()
    ) -> None:
        self.name, self.x, self.dtype, self.declared = name, x, dtype, declared
        self.group = tuple(group)
        self.checks: list[Check] = []

    def refused(self, of: Type) -> SpecError:
        """Return the error that no row of the column can be read as a type."""
        return SpecError(
            f"column {self.name!r} is stored as {self.dtype} and cannot be read as {of}",
            hint="declare another type for it",
        )

    def check(
        self,
        bad: pl.Expr,
        message: str,
        hint: str,
        *,
        shown: pl.Expr | None = None,
        advise: Callable[[Sequence[str]], str] | None = None,
    ) -> None:
        """Refuse the rows for which an expression is true."""
        quoted = self.shown() if shown is None else shown
        self.checks.append(Check(self.name, bad, quoted, message, hint, advise))

    def shown(self) -> pl.Expr:
        """Return a value as errors quote it: a time as a time, unless no calendar has it."""
        if self.dtype != pl.Datetime and self.dtype != pl.Date:
            x = self.x.to_physical() if self.dtype.is_temporal() else self.x
            return x.cast(pl.String, strict=False)
        unit = "days" if self.dtype == pl.Date else self.dtype.time_unit
        each = _MICROS[unit]
        stored = self.x.to_physical().cast(pl.Int64)
        inside = stored.is_between(EARLIEST // each, LATEST // each)
        if unit == "ns":
            inside = stored.is_not_null()
        form = "%Y-%m-%d" if unit == "days" else "%Y-%m-%d %H:%M:%S%.f"
        time = pl.when(inside).then(self.x).dt.to_string(form)
        return pl.coalesce(time, pl.format("{} {} since 1970", stored, pl.lit(unit)))

    def count(self, rows: pl.Expr, message: str) -> None:
        """Count the rows for which an expression is true."""
        nothing = pl.lit(None, dtype=pl.String)
        self.checks.append(Check(self.name, rows, nothing, message, "", action=COUNT))
