"""`target_mean(x)`: the smoothed mean of the label over the training rows of a category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import (
    Example,
    Input,
    Masked,
    check,
    integer_parameter,
    number_parameter,
    tf,
)
from featurekit.transforms.full_pass._words import word_index, word_table
from featurekit.transforms.statistics import Statistic, WordCountsValue
from featurekit.transforms.targets import TargetMeans, TargetMeansValue, TargetOperation, views
from featurekit.types import FLOAT32, KEY, STRING, Type

__all__ = ["TargetMean"]


@dataclass(frozen=True)
class TargetMean(TargetOperation):
    """Mean of the label over the training rows of the same category, smoothed, cross-fitted.

    Of n rows whose labels add up to s it is `(s + smoothing * prior) / (n + smoothing)`, where the
    prior is the mean of the label over all rows. These are all training rows at serving, in every
    split but train, and for all rows that are transformed later.

    A training row must not see its own label, or a model would read it off; so the train split is
    cross-fitted. Training rows are dealt into folds, and the rows and the prior that a row sees
    are those of other folds:

    - Without `predict_at`, the FarmHash64 of the examples' keys, or of the columns `by`, modulo
      `folds` is a row's fold. It sees all the other folds.
    - With `predict_at`, the quantiles of that time over the training rows cut them into as many
      blocks. A row sees those rows of earlier blocks whose label was known before its own block
      begins: the columns of the label must declare `available_at`. The first block sees nothing.

    There is no leave-one-out: what a row sees would differ from row to row of a category by its own
    label alone, so that within each category the feature is a function of the label.

    Args:
        x: The category: a string, an integer or a boolean. Every text is one, the empty one and
            those with line ends included.
        smoothing: As many rows with the mean of the prior are added to each category. The default
            asks for 20 rows before a category counts for more than the prior.
        folds: How many folds or blocks there are, from 2 to 1,000.
        by: The column, or columns, of the entity that must not be in two folds; by default the
            keys of the examples. Not with `predict_at`.
        positive: Of which label to take the share; needed where the label is a string, with one
            feature for each class of interest. Without it the label is a number or a boolean.

    Returns:
        float32, one per row; the prior for a category that was not seen. Null where x is null, and
        for a training row where no label was known that it may see.

    Raises:
        SpecError: The examples have no label, or nothing to make folds by; a parameter is wrong,
            or does not fit them.
        LeakageError: With `predict_at`, nothing says when the label was known.
        DataError: No training row has a finite label, or there are too many categories.

    Source: the m-estimate of Micci-Barreca, "A Preprocessing Scheme for High-Cardinality
        Categorical Attributes in Classification and Prediction Problems", SIGKDD Explorations
        3(1), 2001; `TargetEncoder(smooth=m)` of scikit-learn 1.9, which has the same
        values at serving and cross-fits by the position of a row.
    """

    smoothing: float = 20.0
    folds: int = 5
    by: str | tuple[str, ...] | None = None
    positive: bool | int | str | None = None

    inputs = (Input("x", KEY),)
    null_rule = "null where x is null, and in training where no label was known"
    examples = (
        Example(
            "target_mean(x, smoothing=1)",
            {"x": ["a", "a", "b", None], "y": [1, 0, 1, 0], "id": [1, 2, 3, 4]},
            [0.5, 0.5, 0.75, None],
            examples={"label": "y", "keys": "id"},
        ),
        Example(
            "target_mean(x, smoothing=0, by='id')",
            {"x": [7, 7, 8], "y": [1.0, 4.0, -2.0], "id": ["p", "q", "q"]},
            [2.5, 2.5, -2.0],
            examples={"label": "y"},
        ),
        Example(
            "target_mean(x, smoothing=2, positive='late')",
            {"x": ["a", "a", "b"], "y": ["late", "early", "on time"], "id": [1, 2, 3]},
            [5 / 12, 5 / 12, 2 / 9],
            examples={"label": "y", "keys": "id"},
        ),
    )

    def __post_init__(self) -> None:
        number_parameter("smoothing", self.smoothing)
        check(self.smoothing >= 0, f"smoothing must be at least 0, got {self.smoothing!r}")
        integer_parameter("folds", self.folds, 2, 1000)
        names = (self.by,) if isinstance(self.by, str) else self.by
        check(names is None or (isinstance(names, tuple) and bool(names)
                                and all(isinstance(name, str) and name for name in names)),
              f"by must be the name of a column, or several, got {self.by!r}")  # fmt: skip
        check(
            self.positive is None or isinstance(self.positive, (bool, int, str)),
            f"positive must be a boolean, an integer or a string, got {self.positive!r}",
        )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (STRING,)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return FLOAT32

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (TargetMeans(self.folds),)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any],
        view: pl.Expr | None = None,
    ) -> pl.Expr:  # fmt: skip
        (x,), (means,) = inputs, fitted
        other = len(means.categories)
        values = pl.Series(self._values(means, view is None).reshape(-1), dtype=pl.Float32)
        values = values.fill_nan(None)

        def looked_up(place: pl.Series) -> pl.Series:
            return values.gather(place)

        place = word_index(x, means.categories).cast(pl.Int64).fill_null(other)
        if view is not None:
            place = place + view * (other + 1)
        found = place.map_batches(looked_up, return_dtype=pl.Float32(), is_elementwise=True)
        return pl.when(x.is_not_null()).then(found)

    def tensorflow_resource(self, types: Sequence[Type], fitted: Sequence[Any]) -> Any:
        (means,) = fitted
        if isinstance(means, TargetMeansValue):
            means = WordCountsValue(means.categories, (), len(means.categories))
        return word_table(means, None, -1, tf.int64)

    def tensorflow_masked(
        self, inputs: Sequence[Masked], types: Sequence[Type], fitted: Sequence[Any], resource: Any,
        view: Any = None,
    ) -> Masked:  # fmt: skip
        (x,), (means,) = inputs, fitted
        values = tf.cast(self._values(means, view is None), tf.float32)
        other = tf.shape(values, tf.int64)[1] - 1
        place = resource.lookup(x.values)
        place = tf.where(place < 0, other, place)
        if view is not None:
            place += view * (other + 1)
        found = tf.gather(tf.reshape(values, [-1]), place)
        return Masked(found, tf.logical_and(x.valid, tf.logical_not(tf.math.is_nan(found))))

    def _values(self, means: Any, serving: bool) -> Any:
        """Return the value of each category, and of any other, in each view (at serving, in one).

        Args:
            means: The fitted statistic; or, where an analyzer is going to fit it, what has its
                matrices as tensors.
            serving: Whether only the view of serving is wanted.

        Returns:
            float64 of shape [views, categories + 1]; NaN where a view sees no row.
        """
        import numpy as np

        m: Any = np if isinstance(means, TargetMeansValue) else tf
        seen = views(means.parts, means.earlier)[: 1 if serving else None]
        with np.errstate(invalid="ignore"):
            rows, sums = (m.matmul(seen, matrix) for matrix in means.matrices())
            prior = sums[:, -1:] / rows[:, -1:]
            weight = rows[:, :-1] + self.smoothing
            mean = (sums[:, :-1] + self.smoothing * prior) / weight
        return m.where(weight == 0, prior, mean)
