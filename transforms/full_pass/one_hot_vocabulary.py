"""`one_hot_vocabulary(x)`: a vector with a one at the index of a word in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, FullPassOperation, Input
from featurekit.transforms.full_pass.vocabulary import Vocabulary
from featurekit.transforms.statistics import EmptyColumn, Statistic
from featurekit.transforms.vectors import one_hot_array, one_hot_type, tensorflow_one_hot
from featurekit.types import KEY, UNKNOWN_WIDTH, Kind, Type

__all__ = ["OneHotVocabulary"]


@dataclass(frozen=True)
class OneHotVocabulary(FullPassOperation):
    """One-hot vector of the index that `vocabulary` gives, the most frequent word first.

    Args:
        x: A string, an integer or a boolean.
        top_k: Keep so many words at most; all by default.
        frequency_threshold: Keep only words seen at least so often.
        oov_buckets: How many elements after the vocabulary's share the words outside of it.
        file_format: What is a word: see `vocabulary`.

    Returns:
        A float32 vector as wide as the vocabulary plus `oov_buckets`, one per row. All zero for a
        word outside of the vocabulary where there are no `oov_buckets`. Null where x is null.

    Raises:
        SpecError: A parameter is not an integer, or too small; there is no such `file_format`.
        DataError: The vocabulary is empty and there are no `oov_buckets`; or without `top_k`,
            there are too many distinct words.

    Source: `tf.one_hot` of `tft.compute_and_apply_vocabulary`.
    """

    top_k: int | None = None
    frequency_threshold: int = 0
    oov_buckets: int = 0
    file_format: str = "text"

    rounds = False
    inputs = (Input("x", KEY),)
    examples = (
        Example(
            "one_hot_vocabulary(x)", {"x": ["b", "a", "b", None]}, [[1, 0], [0, 1], [1, 0], None]
        ),
        Example("one_hot_vocabulary(x, top_k=1)", {"x": [5, 5, 6, None]}, [[1], [1], [0], None]),
        Example(
            "one_hot_vocabulary(x, top_k=1, oov_buckets=3)",
            {"x": ["b", "b", "a", "q", None]},
            [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], None],
        ),
    )

    def __post_init__(self) -> None:
        self._index()

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return self._index().coerce(types)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return Type(Kind.FLOAT32, UNKNOWN_WIDTH)

    def fitted_type(self, types: tuple[Type, ...], fitted: Sequence[Any]) -> Type:
        return one_hot_type(self._width(fitted))

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return self._index().statistics(types)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        return one_hot_array(self._index().polars(inputs, types, fitted), self._width(fitted))

    def tensorflow_resource(self, types: Sequence[Type], fitted: Sequence[Any]) -> Any:
        return self._index().tensorflow_resource(types, fitted)

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        return tensorflow_one_hot(
            self._index().tensorflow(inputs, types, fitted, resource), self._width(fitted)
        )

    def _index(self) -> Vocabulary:
        return Vocabulary(
            self.top_k, self.frequency_threshold, self.oov_buckets, file_format=self.file_format
        )

    def _width(self, fitted: Sequence[Any]) -> int:
        width = len(fitted[0].words) + self.oov_buckets
        if width == 0:
            raise EmptyColumn(
                "the vocabulary is empty: a one-hot vector of it would have no elements"
            )
        return width
