"""Which rows are looked at side by side, where a table has too many for all of them.

What goes along time needs a row's neighbours: those of its entity, or, without entities, those
before and after it. So the rows of some entities are taken as a whole, or some stretches of time
with every row in them; single rows only where nothing goes along time. A stretch begins where so
many rows lie before it, and not where so much time has passed: rows crowd into few days often, and
one odd date would leave a stretch to itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins, Labels, bin_column

__all__ = ["ROWS", "Distinct", "Sample", "choose", "moment", "spread_over_time"]

ROWS = 50_000
"""About so many rows are looked at side by side."""

STRETCHES = 8
_ENTITIES = 50
"""With fewer chosen entities than that, stretches of time are taken instead."""


@dataclass(frozen=True)
class Sample:
    """Some rows of a table.

    Args:
        of: `rows` (all of them, or single ones), `entities` or `stretches`.
        share: The share of all rows that they are, about; 1 for all.
        column: The entity or the time that decides which rows these are.
        stretches: From when (included) to when each stretch goes, as numbers.
    """

    of: str = "rows"
    share: float = 1.0
    column: str | None = None
    stretches: tuple[tuple[float, float], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether what an entity's rows begin with is there."""
        return self.of != "stretches"

    def kept(self, seed: int) -> pl.Expr:
        """Return whether a row is one of them; of single rows all, which are chosen elsewhere."""
        if self.of == "entities":
            return named(str(self.column)).hash(seed) < int(self.share * 2**64)
        if self.of == "stretches":
            at = moment(str(self.column))
            return pl.any_horizontal(((at >= low) & (at < high)) for low, high in self.stretches)
        return pl.lit(True)

    def series(self) -> pl.Expr:
        """Return which stretch a row is in."""
        if self.of != "stretches":
            return pl.lit(0, pl.Int64)
        at = moment(str(self.column))
        return pl.sum_horizontal((at >= low).cast(pl.Int64) for low, _ in self.stretches)

    def told(self, rows: int, total: int) -> str:
        """Return in words what was looked at side by side.

        Example:
            >>> Sample("entities", 0.1, "who").told(49_876, 500_000)
            "all rows of some values of 'who' (49,876 of 500,000 rows)"
        """
        if self.share >= 1:
            return f"all {total:,} rows"
        what = {
            "entities": f"all rows of some values of {self.column!r}",
            "stretches": f"all rows in {len(self.stretches)} stretches of {self.column!r}",
        }.get(self.of, "single rows")
        return f"{what} ({rows:,} of {total:,} rows)"


def choose(
    total: int, entity: str | None, entities: float, time: str | None, times: Bins | None
) -> Sample:
    """Decide which rows to look at side by side.

    Args:
        total: How many rows the table has.
        entity: The column that names whose row it is.
        entities: How many of them there are, about.
        time: The column of the time.
        times: How rows are spread over it; see `spread_over_time`.
    """
    share = ROWS / max(total, 1)
    if share >= 1:
        return Sample()
    if entity is not None and entities * share >= _ENTITIES:
        return Sample("entities", share, entity)
    if time is None or times is None or not len(times.keys):
        return Sample("rows", share)
    return Sample("stretches", share, time, _stretches(times))


def _stretches(times: Bins) -> tuple[tuple[float, float], ...]:
    """Return the first rows of each of some slices of the table in the order of time.

    All rows of a bin are taken or none, so that a stretch has no gaps.
    """
    values = times.values()
    # A bin reaches from its value away from zero.
    starts = np.where(times.keys >= 0, values, np.nextafter(np.roll(values, 1), np.inf))
    starts = np.append(starts, np.inf)
    starts[0] = -np.inf
    before = np.concatenate([[0.0], np.cumsum(times.sums[:, 0, 0])])
    out: list[tuple[float, float]] = []
    last = 0
    for place in range(STRETCHES):
        first = int(np.searchsorted(before, place / STRETCHES * before[-1]))
        first = max(first, last)
        if first >= len(times.keys):
            break
        reach = before[first] + ROWS / STRETCHES
        last = max(first + 1, int(np.searchsorted(before, reach, side="right")) - 1)
        out.append((float(starts[first]), float(starts[last])))
    return tuple(out)


def moment(time: str) -> pl.Expr:
    """Return a time as a number."""
    return named(time).to_physical().cast(pl.Float64)


def spread_over_time(moments: pl.Series) -> Bins:
    """Return how rows are spread over time; those of several batches can be merged."""
    none = np.zeros(moments.len(), np.int64)
    return bin_column(moments, Labels(none, 1, none, 1))


@dataclass(frozen=True, eq=False)
class Distinct:
    """How many values differ, by the smallest of their hashes.

    Args:
        smallest: The smallest hashes, rising, at most `KEPT`; [values], uint64.

    Example:
        >>> parts = [Distinct.of(pl.Series(range(first, first + 60_000))) for first in (0, 30_000)]
        >>> abs(parts[0].merge(parts[1]).count / 90_000 - 1) < 0.05
        True

    Source: Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", 2002.
    """

    KEPT = 4096

    smallest: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, values: pl.Series) -> Distinct:
        """Count the values of a batch; missing ones do not count."""
        return cls._least([values.alias("x").drop_nulls().hash(0).unique().to_numpy()])

    @classmethod
    def none(cls) -> Distinct:
        """Return the count of no values."""
        return cls(np.zeros(0, np.uint64))

    def merge(self, other: Distinct) -> Distinct:
        """Return the count of both parts' values."""
        return self._least([self.smallest, other.smallest])

    @classmethod
    def _least(cls, parts: Iterable[npt.NDArray[np.uint64]]) -> Distinct:
        return cls(np.unique(np.concatenate(list(parts)))[: cls.KEPT])

    @property
    def count(self) -> float:
        """How many values differ: exact for few, else within a few percent."""
        held = len(self.smallest)
        if held < self.KEPT:
            return float(held)
        return (held - 1) / (float(self.smallest[-1]) / 2.0**64)
