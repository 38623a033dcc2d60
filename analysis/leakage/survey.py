"""What a scan on Beam must know of all rows before it can look at any: a first pass over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins
from featurekit.analysis.leakage.sampling import (
    Distinct,
    Sample,
    choose,
    moment,
    spread_over_time,
)
from featurekit.analysis.leakage.splits import names_row
from featurekit.analysis.leakage.table import Target, target_of
from featurekit.errors import DataError

__all__ = ["Survey", "Surveyed", "survey"]

_VALUES = 1_000


@dataclass(frozen=True)
class Surveyed:
    """What the first pass found.

    Args:
        target: The label and the split.
        beside: Which rows to look at side by side.
        rows: How many rows have a label.
        row_names: The columns that merely name the row.
    """

    target: Target
    beside: Sample
    rows: int
    row_names: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of some rows.

    Args:
        rows: How many there are.
        values: Some values of the label, the smallest and the largest among them; `x`.
        splits: The values of the split with their rows; `x` and `len`.
        times: How rows are spread over time.
        distinct: How many values differ, of columns that may name a row, and of the entity.
    """

    rows: int
    values: pl.DataFrame
    splits: pl.DataFrame | None = None
    times: Bins | None = None
    distinct: Mapping[str, Distinct] = field(default_factory=dict)

    def merge(self, other: Survey) -> Survey:
        """Return what is known of both parts."""
        splits, times = self.splits, self.times
        if splits is not None and other.splits is not None:
            splits = pl.concat([splits, other.splits]).group_by("x").agg(pl.col("len").sum())
        if times is not None and other.times is not None:
            times = times.merge(other.times)
        return Survey(
            self.rows + other.rows, _some(pl.concat([self.values, other.values]).unique()), splits,
            times, {name: made.merge(other.distinct[name]) for name, made in self.distinct.items()},
        )  # fmt: skip

    def conclude(
        self, label: str, split: str | None, entity: str | None, time: str | None
    ) -> Surveyed:
        """Decide how the rows are looked at.

        Raises:
            DataError: No row has a label, or it has one value or too many.
        """
        if not self.rows:
            raise DataError("the table has no rows with a label")
        target = target_of(self.values.lazy().rename({"x": label}), label, None)
        if split is not None and self.splits is not None:
            target = target.with_split(self.splits, split)
        counts = {name: made.count for name, made in self.distinct.items()}
        entities = 0.0 if entity is None else counts.pop(entity)
        beside = choose(self.rows, entity, entities, time, self.times)
        row_names = {name for name, count in counts.items() if names_row(count, self.rows)}
        return Surveyed(target, beside, self.rows, frozenset(row_names))


def survey(
    frame: pl.DataFrame, features: list[str], label: str, split: str | None, entity: str | None,
    time: str | None,
) -> Survey:  # fmt: skip
    """Return what is known of a batch."""
    may_name = [
        name for name in features
        if frame.schema[name].is_integer() or frame.schema[name] == pl.String
    ]  # fmt: skip
    counted = may_name if entity is None else [*may_name, entity]
    return Survey(
        frame.height,
        _some(frame.select(named(label).unique().alias("x"))),
        None if split is None else frame.group_by(named(split).alias("x")).len(),
        None if time is None else spread_over_time(frame.select(moment(time)).to_series()),
        {name: Distinct.of(frame[name]) for name in counted},
    )


def _some(values: pl.DataFrame) -> pl.DataFrame:
    """Return the smaller half and the larger half of what is kept."""
    values = values.sort("x")
    if values.height <= _VALUES:
        return values
    return pl.concat([values.head(_VALUES // 2), values.tail(_VALUES // 2)])
