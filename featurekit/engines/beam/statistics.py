"""Statistics of many columns at once, as parts that merge: what the analyzers of a level compute.

A part describes some rows. Parts of different rows merge in any order, so that Beam may spread the
work as it likes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
from featurekit.transforms.targets import TargetMeans
from featurekit.types import INT64

__all__ = ["Counts", "Described", "Level", "Numbers"]

_LEAST_EPSILON, _MOST_EPSILON, _EPSILON_OF_COLUMN = 0.001, 0.01, 2e-5
"""The largest error of a quantile, in ranks as a share of the rows: that of `tft.bucketize` for
500 columns, and less for fewer, as a sketch of each is in memory (2 MB at an error of 0.001)."""

_ROWS_OF_SKETCH = 1 << 32
_EXACT_INTEGER = 2**53
_MISSING = -(2**63)
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
        """The columns of numbers that are described by moments, extremes or quantiles.

        Integers stand last: they travel apart, so that none passes through a float.
        """
        kinds = (Moments, Extremes, Quantiles)
        found = dict.fromkeys(r.node for r in self.requests if isinstance(r.statistic, kinds))
        return tuple(sorted(found, key=lambda node: node.type == INT64))

    @property
    def matrices(self) -> int:
        """How many matrices the columns of numbers travel in."""
        return len({node.type == INT64 for node in self.numbers})

    @property
    def columns(self) -> tuple[Described, ...]:
        """How each column of numbers is described."""
        return tuple(
            Described(node.type == INT64, epsilon)
            for node, epsilon in zip(self.numbers, self.epsilons, strict=True)
        )

    @property
    def counted(self) -> tuple[Node, ...]:
        """The columns of which each value is counted."""
        kinds = (WordCounts, MostFrequent)
        return tuple(dict.fromkeys(r.node for r in self.requests if isinstance(r.statistic, kinds)))

    @property
    def targets(self) -> tuple[StatisticRequest, ...]:
        """The statistics of the label."""
        return tuple(r for r in self.requests if isinstance(r.statistic, TargetMeans))

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
            counts: How often each value of a column of `counted` occurs, by its place; after
                those, what `added_up` found for each of `targets`.

        Returns:
            The values, and by its place in `requests` each that there is none of, with the reason.
        """
        found: list[Any] = []
        failures: list[tuple[int, ValueError]] = []
        places = {node: place for place, node in enumerate(self.numbers)}
        each: tuple[Node | StatisticRequest, ...] = (*self.counted, *self.targets)
        counted = {entry: place for place, entry in enumerate(each)}
        for number, request in enumerate(self.requests):
            value = None
            try:
                if isinstance(request.statistic, (WordCounts, MostFrequent, TargetMeans)):
                    by_label = isinstance(request.statistic, TargetMeans)
                    frame = counts.get(counted[request if by_label else request.node])
                    if frame is None:
                        raise EmptyColumn
                    value = request.statistic.value_of(frame)
                elif numbers is None:
                    raise EmptyColumn
                else:
                    value = numbers.value(request.statistic, places[request.node])
            except ValueError as error:
                failures.append((number, error))
            found.append(value)
        return found, failures


@dataclass(frozen=True)
class Described:
    """How a column of numbers is described.

    Args:
        whole: Whether it holds integers.
        epsilon: The largest error of its quantiles, if they are asked for.
    """

    whole: bool
    epsilon: float | None


@dataclass
class Numbers:
    """Count, mean, sum of squared distances, extremes and quantiles of some columns of numbers.

    The mean of integers is that of their distances from the smallest. Merged as in Chan, Golub and
    LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.

    Args:
        columns: How each column is described; those of integers stand last.
    """

    columns: tuple[Described, ...]
    count: list[int] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    minimum: list[Any] = field(default_factory=list)
    maximum: list[Any] = field(default_factory=list)
    sketches: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.count or not self.columns:
            return
        for values in (self.count, self.mean, self.squares, self.minimum, self.maximum):
            values.extend([0] * len(self.columns))
        from tfx_bsl.sketches import QuantilesSketch

        self.sketches = [
            None if column.epsilon is None else QuantilesSketch(column.epsilon, _ROWS_OF_SKETCH, 1)
            for column in self.columns
        ]

    def add(self, matrices: Sequence[Any]) -> None:
        """Add rows; what is not finite is skipped, and of integers the smallest there is.

        Args:
            matrices: Shape [batch, columns]: of float64, of int64, or first one and then the other.
        """
        place = 0
        for matrix in matrices:
            for values in matrix.T:
                column = np.ascontiguousarray(values)
                whole = self.columns[place].whole
                there = column != _MISSING if whole else np.isfinite(column)
                column = column if there.all() else column[there]
                if len(column):
                    self._add(place, column, whole)
                place += 1

    def _add(self, place: int, column: Any, whole: bool) -> None:
        if self.sketches[place] is not None:
            self.sketches[place].AddValues(pa.array(column.astype(np.float64, copy=False)))
        low, high = column.min().item(), column.max().item()
        if whole:
            # The difference of two int64 fits in a uint64.
            apart = (column.view(np.uint64) - column.min().view(np.uint64)).astype(np.float64)
            start = 0.0
        else:
            # Taken from the first value, the differences of large numbers keep their digits.
            start = column[0].item()
            apart = column - start
        mean = apart.mean().item()
        apart -= mean
        self._merge(place, len(column), start + mean, float(np.dot(apart, apart)), low, high)

    def _merge(
        self, place: int, count: int, mean: float, squares: float, low: Any, high: Any
    ) -> None:
        before, total = self.count[place], self.count[place] + count
        self.count[place] = total
        if not before:
            self.mean[place], self.squares[place] = mean, squares
            self.minimum[place], self.maximum[place] = low, high
            return
        lowest = min(low, self.minimum[place])
        if self.columns[place].whole:
            self.mean[place] += self.minimum[place] - lowest
            mean += low - lowest
        apart = mean - self.mean[place]
        self.mean[place] += apart * (count / total)
        self.squares[place] += squares + apart * apart * (before * (count / total))
        self.minimum[place], self.maximum[place] = lowest, max(high, self.maximum[place])

    def merge(self, other: Numbers) -> None:
        """Add the rows that another part describes."""
        for place, count in enumerate(other.count):
            if count:
                self._merge(
                    place, count, other.mean[place], other.squares[place], other.minimum[place],
                    other.maximum[place],
                )  # fmt: skip
                if self.sketches[place] is not None:
                    self.sketches[place].Merge(other.sketches[place])

    def value(self, statistic: Any, place: int) -> Any:
        """Return a fitted statistic of one column.

        Raises:
            EmptyColumn: It has no finite value.
            ValueError: Its squares are beyond the range of float64, or it is asked for quantiles
                of integers that float64 cannot tell apart.
        """
        count, whole = self.count[place], self.columns[place].whole
        if not count:
            raise EmptyColumn
        low, high = self.minimum[place], self.maximum[place]
        match statistic:
            case Extremes():
                return ExtremesValue(low + 0, high + 0)  # The addition makes -0.0 0.0.
            case Quantiles():
                if whole and max(abs(low), abs(high)) > _EXACT_INTEGER:
                    raise ValueError(
                        f"it has integers beyond {_EXACT_INTEGER:,}, which the sketch of quantiles "
                        "cannot tell apart"
                    )
                return QuantilesValue(count, self._boundaries(statistic, place, count))
        assert isinstance(statistic, Moments)
        if low == high:
            return MomentsValue(count, low + 0.0, 0.0)
        variance = self.squares[place] / count
        if not math.isfinite(variance):
            raise ValueError("the squares of its values are beyond the range of float64")
        mean = self.mean[place]
        return MomentsValue(count, low + mean if whole else mean, variance)

    def _boundaries(self, statistic: Quantiles, place: int, count: int) -> tuple[float, ...]:
        whole = self.columns[place].whole
        ranks = statistic.ranks(count)
        sketch = self.sketches[place]
        steps = min(count, _EXACT) if count <= _EXACT or statistic.linear else statistic.parts
        # GetQuantiles needs two parts at least; the last entry is the maximum once more.
        if steps < 2:
            found = [float(self.minimum[place])]
        else:
            (found,) = sketch.GetQuantiles(steps).to_pylist()
        if steps == statistic.parts and count > _EXACT and not statistic.linear:
            return tuple(_number(value, whole) for value in found[1:-1])

        def at(rank: int) -> float:
            return _number(found[min(rank * steps // count, steps - 1)], whole)

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
                "count": self.count, "mean": self.mean, "squares": self.squares,
                # Text keeps integers of any size beside floats.
                "minimum": [repr(value) for value in self.minimum],
                "maximum": [repr(value) for value in self.maximum],
                "sketch": pa.array(sketches, pa.large_binary()),
            }
        )  # fmt: skip

    @classmethod
    def from_arrow(cls, table: pa.Table, columns: tuple[Described, ...]) -> Numbers:
        """Return what `to_arrow` gave.

        Args:
            table: Its rows.
            columns: Those that it was made with.
        """
        ends = (
            [
                int(text) if column.whole else float(text)
                for text, column in zip(table[name].to_pylist(), columns, strict=True)
            ]
            for name in ("minimum", "maximum")
        )
        values = (table[name].to_pylist() for name in ("count", "mean", "squares"))
        made = cls(columns, *values, *ends)
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


def _number(value: float, whole: bool) -> float:
    # The addition makes -0.0 0.0.
    return int(value) if whole else value + 0.0


class Counts:
    """How often each value of a column occurs, as frames of values `x` and `count`.

    Of the label they have `part` and `sum`, too: see `added_up`.
    """

    @staticmethod
    def of(values: pl.Series) -> pl.DataFrame:
        """Count the values of a batch; null is skipped."""
        counted = values.drop_nulls().value_counts(name="count")
        return counted.select(x=values.name, count=pl.col("count").cast(pl.UInt64))

    @staticmethod
    def merge(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Merge parts of different rows."""
        whole = pl.concat(list(parts))
        by = [name for name in whole.columns if name not in ("count", "sum")]
        return whole.group_by(by).agg(pl.exclude(by).sum())
