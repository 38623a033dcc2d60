"""`count_encode(x)`: how many training rows have the same value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import (
    Example,
    FullPassOperation,
    Input,
    check,
    integer_parameter,
    tf,
)
from featurekit.transforms.full_pass._words import word_index, word_table
from featurekit.transforms.statistics import Statistic, WordCounts, WordCountsValue
from featurekit.types import FLOAT32, INT64, KEY, STRING, Type

__all__ = ["CountEncode"]


@dataclass(frozen=True)
class CountEncode(FullPassOperation):
    """Number of training rows with the same value, or their share.

    Every text is counted, the empty one and those with line ends included. Integers and booleans
    are counted by their text.

    Args:
        x: A string, an integer or a boolean.
        normalize: Whether to divide by the number of training rows that hold a value, whatever
            the threshold.
        frequency_threshold: Values seen less often count 0.

    Returns:
        int64, with `normalize` float32, one per row; 0 for a value not seen in training. Null where
        x is null.

    Raises:
        SpecError: A parameter has the wrong type or is too small.
        DataError: There are too many distinct values (with `normalize`, before the threshold).

    Note: With `normalize` the count is divided in float64 by the sum of all counts, then rounded.
    """

    normalize: bool = False
    frequency_threshold: int = 0

    inputs = (Input("x", KEY),)
    examples = (
        Example("count_encode(x)", {"x": ["b", "a", "b", None]}, [2, 1, 2, None]),
        Example("count_encode(x, frequency_threshold=2)", {"x": [7, 8, 7]}, [2, 0, 2]),
        Example(
            "count_encode(x, normalize=True, frequency_threshold=2)",
            {"x": ["b", "a", "b", "b", None]},
            [0.75, 0.0, 0.75, 0.75, None],
        ),
    )

    def __post_init__(self) -> None:
        check(isinstance(self.normalize, bool),
              f"normalize must be True or False, got {self.normalize!r}")  # fmt: skip
        integer_parameter("frequency_threshold", self.frequency_threshold, 0)

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (STRING,)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return FLOAT32 if self.normalize else INT64

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        # The total needs the counts below the threshold, too.
        threshold = 0 if self.normalize else self.frequency_threshold
        return (WordCounts(frequency_threshold=threshold, every=True),)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        (x,) = inputs
        numbers = pl.Series(self._numbers(fitted[0]), dtype=self._polars_dtype())

        def looked_up(index: pl.Series) -> pl.Series:
            return numbers.gather(index)

        index = word_index(x, fitted[0].words)
        found = index.map_batches(looked_up, return_dtype=numbers.dtype, is_elementwise=True)
        return pl.when(x.is_not_null()).then(found.fill_null(0))

    def tensorflow_resource(self, types: Sequence[Type], fitted: Sequence[Any]) -> Any:
        of = tf.float32 if self.normalize else tf.int64
        counts = fitted[0]
        fixed = isinstance(counts, WordCountsValue)
        numbers = self._numbers(counts) if fixed else self._tensorflow_numbers(counts.counts)
        return word_table(counts, numbers, 0, of)

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        return resource.lookup(inputs[0])

    def _numbers(self, fitted: WordCountsValue) -> list[float]:
        kept: list[float] = [
            count if count >= self.frequency_threshold else 0 for count in fitted.counts
        ]
        total = sum(fitted.counts)
        return [count / total for count in kept] if self.normalize else kept

    def _tensorflow_numbers(self, counts: Any) -> Any:
        kept = tf.where(counts >= self.frequency_threshold, counts, tf.zeros_like(counts))
        if not self.normalize:
            return kept
        total = tf.cast(tf.reduce_sum(counts), tf.float64)
        return tf.cast(tf.cast(kept, tf.float64) / total, tf.float32)

    def _polars_dtype(self) -> Any:
        return pl.Float32() if self.normalize else pl.Int64()
