"""Statistics of many columns at once, as parts that merge: what the analyzers of a level compute.

A part describes some rows. Parts of different rows merge in any order, so that Beam may spread the
work as it likes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from featurekit.graph import Node, StatisticRequest
from featurekit.transforms.statistics import (
    EmptyColumn,
    Extremes,
    ExtremesValue,
    Moments,
    MomentsValue,
    MostFrequent,
    Quantiles,
    QuantilesValue,
    WordCounts,
)
from featurekit.types import INT64, Type

__all__ = ["Counts", "Level", "Numbers"]

_LEAST_EPSILON, _MOST_EPSILON, _EPSILON_OF_COLUMN = 0.001, 0.01, 2e-5
"""The largest error of a quantile, in ranks as a share of the rows: that of `tft.bucketize` for
500 columns, and less for fewer, as a sketch of each is in memory (2 MB at an error of 0.001)."""

_ROWS_OF_SKETCH = 1 << 32
_VALUES = ("count", "mean", "squares", "minimum", "maximum")
_EXACT = 1 << 16
"""Up to so many values, quantiles are looked up by their rank."""


@dataclass(frozen=True)
class Level:
    """The statistics of one level, and which columns they are of.

    Args:
        requests: The statistics.
    """

    requests: tuple[StatisticRequest, ...]

    @property
    def numbers(self) -> tuple[Node, ...]:
        """The columns of numbers that are described by moments, extremes or quantiles."""
        kinds = (Moments, Extremes, Quantiles)
        return tuple(dict.fromkeys(r.node for r in self.requests if isinstance(r.statistic, kinds)))

    @property
    def counted(self) -> tuple[Node, ...]:
        """The columns of which each value is counted."""
        kinds = (WordCounts, MostFrequent)
        return tuple(dict.fromkeys(r.node for r in self.requests if isinstance(r.statistic, kinds)))

    @property
    def parts(self) -> dict[Node, int]:
        """The columns that quantiles are asked of, with the finest division that is asked for."""
        found: dict[Node, int] = {}
        for request in self.requests:
            if isinstance(request.statistic, Quantiles):
                parts = max(found.get(request.node, 2), request.statistic.parts)
                found[request.node] = parts
        return found

    @property
    def epsilons(self) -> tuple[float | None, ...]:
        """The largest error of quantiles of each column of numbers, if they are asked for."""
        parts = self.parts
        wanted = min(max(_LEAST_EPSILON, _EPSILON_OF_COLUMN * len(parts)), _MOST_EPSILON)
        return tuple(
            min(wanted, 1.0 / parts[node]) if node in parts else None for node in self.numbers
        )

    def values(
        self, numbers: Numbers | None, counts: Mapping[int, pl.DataFrame]
    ) -> tuple[list[Any], list[tuple[int, ValueError]]]:
        """Return the fitted value of each request, given what all parts merged to.

        Args:
            numbers: What is known of the columns of `numbers`.
            counts: How often each value of a column of `counted` occurs, by its place.

        Returns:
            The values, and by its place in `requests` each that there is none of, with the reason.
        """
        found: list[Any] = []
        failures: list[tuple[int, ValueError]] = []
        places = {node: place for place, node in enumerate(self.numbers)}
        counted = {node: place for place, node in enumerate(self.counted)}
        for number, request in enumerate(self.requests):
            value = None
            try:
                if isinstance(request.statistic, (WordCounts, MostFrequent)):
                    frame = counts.get(counted[request.node])
                    if frame is None:
                        raise EmptyColumn
                    value = request.statistic.value_of(frame)
                elif numbers is None:
                    raise EmptyColumn
                else:
                    value = numbers.value(
                        request.statistic, places[request.node], request.node.type
                    )
            except ValueError as error:
                failures.append((number, error))
            found.append(value)
        return found, failures


@dataclass
class Numbers:
    """Count, mean, sum of squared distances, extremes and quantiles of some columns of numbers.

    Merged as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances", 1979.

    Args:
        epsilons: The largest error of the quantiles of each column, if they are asked for.
    """

    epsilons: tuple[float | None, ...]
    count: Any = None
    mean: Any = None
    squares: Any = None
    minimum: Any = None
    maximum: Any = None
    sketches: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.count is None:
            columns = len(self.epsilons)
            self.count, self.mean, self.squares = (np.zeros(columns) for _ in range(3))
            self.minimum, self.maximum = (np.full(columns, end) for end in (np.inf, -np.inf))
            from tfx_bsl.sketches import QuantilesSketch

            self.sketches = [
                None if epsilon is None else QuantilesSketch(epsilon, _ROWS_OF_SKETCH, 1)
                for epsilon in self.epsilons
            ]

    def add(self, values: Any) -> None:
        """Add rows, of shape [batch, columns] in float64; what is not finite is skipped."""
        for place, sketch in enumerate(self.sketches):
            column = np.ascontiguousarray(values[:, place])
            finite = np.isfinite(column)
            column = column if finite.all() else column[finite]
            if len(column):
                self._add(place, column, sketch)

    def _add(self, place: int, column: Any, sketch: Any) -> None:
        if sketch is not None:
            sketch.AddValues(pa.array(column))
        # Taken from the first value, the differences of large numbers keep their digits.
        first = column[0]
        apart = column - first
        mean = apart.mean()
        apart -= mean
        self._merge(place, len(column), first + mean, float(np.dot(apart, apart)))
        self.minimum[place] = min(self.minimum[place], column.min())
        self.maximum[place] = max(self.maximum[place], column.max())

    def _merge(self, place: int, count: float, mean: float, squares: float) -> None:
        before, total = self.count[place], self.count[place] + count
        apart = mean - self.mean[place]
        self.count[place] = total
        self.mean[place] += apart * (count / total)
        self.squares[place] += squares + apart * apart * (before * (count / total))

    def merge(self, other: Numbers) -> None:
        """Add the rows that another part describes."""
        for place, count in enumerate(other.count):
            if count:
                self._merge(place, count, other.mean[place], other.squares[place])
                self.minimum[place] = min(self.minimum[place], other.minimum[place])
                self.maximum[place] = max(self.maximum[place], other.maximum[place])
                if self.sketches[place] is not None:
                    self.sketches[place].Merge(other.sketches[place])

    def value(self, statistic: Any, place: int, of: Type) -> Any:
        """Return a fitted statistic of one column.

        Raises:
            EmptyColumn: It has no finite value.
            ValueError: Its squares are beyond the range of float64.
        """
        count = int(self.count[place])
        if not count:
            raise EmptyColumn
        low, high = float(self.minimum[place]), float(self.maximum[place])
        match statistic:
            case Extremes():
                return ExtremesValue(*((int(low), int(high)) if of == INT64 else (low, high)))
            case Quantiles():
                return QuantilesValue(count, self._boundaries(statistic, place, count, of))
        assert isinstance(statistic, Moments)
        if low == high:
            return MomentsValue(count, low, 0.0)
        variance = float(self.squares[place]) / count
        if not math.isfinite(variance):
            raise ValueError("the squares of its values are beyond the range of float64")
        return MomentsValue(count, float(self.mean[place]), variance)

    def _boundaries(
        self, statistic: Quantiles, place: int, count: int, of: Type
    ) -> tuple[float, ...]:
        ranks = statistic.ranks(count)
        sketch = self.sketches[place]
        steps = min(count, _EXACT) if count <= _EXACT or statistic.linear else statistic.parts
        # GetQuantiles needs two parts at least; the last entry is the maximum once more.
        if steps < 2:
            found = [float(self.minimum[place])]
        else:
            (found,) = sketch.GetQuantiles(steps).to_pylist()
        if steps == statistic.parts and count > _EXACT and not statistic.linear:
            return tuple(_number(value, of) for value in found[1:-1])

        def at(rank: int) -> float:
            return _number(found[min(rank * steps // count, steps - 1)], of)

        return tuple(
            at(low) if weight == 0 else at(low) + (at(high) - at(low)) * weight
            for low, high, weight in ranks
        )

    def to_arrow(self) -> pa.Table:
        """Return it as plain data, a row for each column of numbers."""
        self.compact()
        sketches = [None if sketch is None else sketch.__getstate__() for sketch in self.sketches]
        return pa.table(
            {
                **{name: getattr(self, name) for name in _VALUES},
                "sketch": pa.array(sketches, pa.large_binary()),
            }
        )

    @classmethod
    def from_arrow(cls, table: pa.Table, epsilons: tuple[float | None, ...]) -> Numbers:
        """Return what `to_arrow` gave.

        Args:
            table: Its rows.
            epsilons: Those that it was made with.
        """
        made = cls(epsilons, *(table[name].to_numpy().copy() for name in _VALUES))
        from tfx_bsl.sketches import QuantilesSketch

        for state in table["sketch"].to_pylist():
            sketch = None
            if state is not None:
                sketch = QuantilesSketch.__new__(QuantilesSketch)
                sketch.__setstate__(state)
            made.sketches.append(sketch)
        return made

    def compact(self) -> None:
        """Make what is going to travel small."""
        for sketch in self.sketches:
            if sketch is not None:
                sketch.Compact()


def _number(value: float, of: Type) -> float:
    # The addition makes -0.0 0.0.
    return int(value) if of == INT64 else value + 0.0


class Counts:
    """How often each value of a column occurs, as frames of values `x` and `count`."""

    @staticmethod
    def of(values: pl.Series) -> pl.DataFrame:
        """Count the values of a batch; null is skipped."""
        counted = values.drop_nulls().value_counts(name="count")
        return counted.select(x=values.name, count=pl.col("count").cast(pl.UInt64))

    @staticmethod
    def merge(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Merge parts of different rows."""
        return pl.concat(list(parts)).group_by("x").agg(pl.col("count").sum())
