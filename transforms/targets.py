"""Means of the label by category: the statistic, and which of it each training row may see.

Training rows are dealt into parts. A row's own label, and those that were not known when it was
predicted, must not enter its feature; so the statistic keeps counts and sums for each part, and
what a row may see is a sum over some of the parts (cross-fitting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from featurekit.transforms.base import FullPassOperation, Masked
from featurekit.transforms.statistics import MAX_WORDS, Fitting, Question, Statistic
from featurekit.types import Type

__all__ = ["TargetMeans", "TargetMeansValue", "TargetOperation", "added_up", "merged", "views"]


@dataclass(frozen=True)
class TargetMeansValue:
    """Counts of rows and sums of their labels, by part of the training rows and by category.

    Args:
        earlier: Whether the parts follow each other in time.
        categories: The categories, the most frequent first.
        rows: How many rows of each part have a label, whatever their category.
        sums: The sum of their labels.
        category_rows: How many rows of each part have each category.
        category_sums: The sum of their labels.
    """

    earlier: bool
    categories: tuple[str, ...]
    rows: tuple[int, ...]
    sums: tuple[float, ...]
    category_rows: tuple[tuple[int, ...], ...]
    category_sums: tuple[tuple[float, ...], ...]

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self.rows)

    def matrices(self) -> tuple[Any, Any]:
        """Return rows, and sums, as float64 [parts, categories + 2].

        Beside the categories stand any other one, of which there are no rows, and all rows.
        """
        import numpy as np

        def matrix(by_category: Sequence[Sequence[float]], whole: Sequence[float]) -> Any:
            sides = zip(by_category, whole, strict=True)
            return np.array([[*part, 0.0, total] for part, total in sides], np.float64)

        return matrix(self.category_rows, self.rows), matrix(self.category_sums, self.sums)


def views(parts: int, earlier: bool) -> Any:
    """Return which parts a row sees: zeros and ones of shape [1 + folds, parts].

    View 0 is that of serving: all parts. View i + 1 is that of a training row of fold i: all parts
    but its own; or the earlier ones, where parts follow each other in time and the last one holds
    the rows whose label is not known in time for any fold.
    """
    import numpy as np

    seen = np.tri(parts - 1, parts, -1) if earlier else 1.0 - np.eye(parts)
    return np.vstack([np.ones((1, parts)), seen])


@dataclass(frozen=True)
class TargetMeans(Statistic):
    """How many rows each category has and the sum of their labels, by part of the training rows.

    Rows whose label is null or not finite are left out. Every text that is not missing is a
    category. Counts are exact, and so are sums of integers and booleans; sums of floats are
    rounded.

    Args:
        parts: How many parts there are; rows of no part count to the last one.
        earlier: Whether the parts follow each other in time.
    """

    parts: int
    earlier: bool = False
    value = TargetMeansValue
    reads: ClassVar[tuple[str, ...]] = ("x", "label", "part")
    of_words = True

    def fit(self, of: Type) -> Fitting:
        return self.value_of((yield Question(added_up, merged, ordered=True)))

    def value_of(self, found: pl.DataFrame) -> TargetMeansValue:
        """Return the fitted value, given what `added_up` found in all rows.

        Raises:
            ValueError: No row has a finite label, there are too many categories, or the labels add
                up to more than a float64 holds.
        """
        found = merged(found.with_columns(pl.col("part").fill_null(self.parts - 1)))
        if not found.height:
            raise ValueError("no training row has a finite label")
        if not found["sum"].is_finite().all():
            raise ValueError("the labels add up to more than a float64 holds")
        named = found.drop_nulls("x")
        totals = named.group_by("x").agg(pl.col("count").sum())
        if totals.height > MAX_WORDS:
            raise ValueError(
                f"{totals.height:,} categories are more than there may be ({MAX_WORDS:,}); "
                "hash_bucket(x, n) puts them into n"
            )
        totals = totals.sort(["count", "x"], descending=[True, True])  # As in vocabularies.
        categories = totals["x"].to_list()
        places = {category: place for place, category in enumerate(categories)}
        rows, sums = [0] * self.parts, [0.0] * self.parts
        by_rows = [[0] * len(places) for _ in rows]
        by_sums = [[0.0] * len(places) for _ in rows]
        # In a settled order, so that floats add up to the same bits in every run.
        for category, part, count, total in found.sort("part", "x").iter_rows():
            rows[part] += count
            sums[part] += total
            if category in places:
                by_rows[part][places[category]] = count
                by_sums[part][places[category]] = total
        return TargetMeansValue(
            self.earlier, tuple(categories), tuple(rows), tuple(sums),
            tuple(map(tuple, by_rows)), tuple(map(tuple, by_sums)),
        )  # fmt: skip

    def restored(self, data: dict[str, Any]) -> TargetMeansValue:
        def frozen(item: Any) -> Any:
            return tuple(map(frozen, item)) if isinstance(item, (list, tuple)) else item

        return TargetMeansValue(**{name: frozen(item) for name, item in data.items()})


def added_up(batch: pl.DataFrame) -> pl.LazyFrame:
    """Count the rows of each category and part and add up their labels.

    Args:
        batch: The category `x`, the float64 `label` and the `part` of each row.

    Returns:
        Categories `x` and parts with `count` and `sum`.
    """
    finite = batch.lazy().filter(pl.col("label").is_finite())
    return finite.group_by("x", "part", maintain_order=True).agg(
        count=pl.len().cast(pl.UInt64), sum=pl.col("label").sum()
    )


def merged(found: pl.DataFrame) -> pl.DataFrame:
    """Merge what `added_up` found in different rows, one below the other."""
    by_category = found.group_by("x", "part", maintain_order=True)
    return by_category.agg(pl.col("count", "sum").sum())


class TargetOperation(FullPassOperation):
    """A full-pass operation that sees the label, and nothing of it that a row must not see.

    Its input are categories, and its one statistic `TargetMeans`. With that fitted, it is a
    function of a row's category and of its view, which says what of the statistic the row may see.
    """

    folds: int
    by: str | tuple[str, ...] | None
    positive: bool | int | str | None

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any],
        view: pl.Expr | None = None,
    ) -> pl.Expr:  # fmt: skip
        """Return the result as a Polars expression that streams (elementwise only).

        Args:
            inputs: The categories.
            types: Their type.
            fitted: The statistic.
            view: The view of each row, see `views`; 0 for all, that of serving, by default.
        """
        raise TypeError(f"{type(self).__name__} has no Polars implementation")

    def tensorflow_masked(
        self, inputs: Sequence[Masked], types: Sequence[Type], fitted: Sequence[Any], resource: Any,
        view: Any = None,
    ) -> Masked:  # fmt: skip
        """Return values and validity; `view`, of shape [batch], as for `polars`."""
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")
