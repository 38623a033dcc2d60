"""`vocabulary(x)`: the index of a word among the frequent words of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import (
    Example,
    FullPassOperation,
    Input,
    integer_parameter,
    tf,
)
from featurekit.transforms.full_pass._words import (
    TFRECORD_GZIP,
    check_file_format,
    word_index,
    word_table,
)
from featurekit.transforms.hashing import farmhash_bucket, tensorflow_farmhash_bucket
from featurekit.transforms.statistics import Statistic, WordCounts
from featurekit.types import INT64, KEY, STRING, Type

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary(FullPassOperation):
    """Index of a word in the vocabulary of the training rows, the most frequent word first.

    Ties go by descending byte order. Integers and booleans are their decimal text, `true` and
    `false`. As in tf.Transform, empty strings and strings with a line end are no words of a text
    file, where each has a line; a run says which were left out, and of how many rows.

    Args:
        x: A string, an integer or a boolean.
        top_k: Keep so many words at most; all by default.
        frequency_threshold: Keep only words seen at least so often.
        oov_buckets: How many indices after the vocabulary's share the words outside of it.
        default: The index of a word outside of the vocabulary, where there are no `oov_buckets`.
        file_format: `text`, or `tfrecord_gzip`, in which every text is a word: the form of the file
            that `tft.TFTransformOutput.vocabulary_by_name` reads from the SavedModel.

    Returns:
        int64, one per row: 0 for the most frequent word, and `default` for one that is not in the
        vocabulary, or `size + FarmHash64(x) mod oov_buckets`, unsigned. Null where x is null.

    Raises:
        SpecError: A parameter is not an integer, or too small; there is no such `file_format`.
        DataError: Texts are there, and none is a word; without `top_k`, there are too many distinct
            words.

    Source: `tft.compute_and_apply_vocabulary` of tensorflow-transform 1.21, `default_value` and
        `num_oov_buckets` under shorter names. An empty vocabulary has size 0 here; there it holds
        a placeholder.
    """

    top_k: int | None = None
    frequency_threshold: int = 0
    oov_buckets: int = 0
    default: int = -1
    file_format: str = "text"

    inputs = (Input("x", KEY),)
    examples = (
        Example("vocabulary(x)", {"x": ["b", "a", "b", "c", None]}, [0, 2, 0, 1, None]),
        Example("vocabulary(x, top_k=1)", {"x": [9, 10, 10, None]}, [-1, 0, 0, None]),
        Example(
            "vocabulary(x, top_k=1, oov_buckets=3)",
            {"x": ["b", "b", "a", "q", None]},
            [0, 0, 1, 3, None],
        ),
        Example("vocabulary(x, frequency_threshold=2, default=7)", {"x": ["u", "v"]}, [7, 7]),
        Example(
            "vocabulary(x, file_format='tfrecord_gzip')",
            {"x": ["", "a\nb", "", "c", None]},
            [0, 2, 0, 1, None],
        ),
    )

    def __post_init__(self) -> None:
        if self.top_k is not None:
            integer_parameter("top_k", self.top_k, 1)
        integer_parameter("frequency_threshold", self.frequency_threshold, 0)
        integer_parameter("oov_buckets", self.oov_buckets, 0)
        integer_parameter("default", self.default, -(2**63), 2**63 - 1)
        check_file_format(self.file_format)

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (STRING,)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        last = len(fitted[0].words) + self.oov_buckets - 1
        codes = (0, last) if self.oov_buckets else (0, last, self.default)
        return min(codes), max(codes)

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        every = self.file_format == TFRECORD_GZIP
        return (WordCounts(self.top_k, self.frequency_threshold, every),)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        (x,), words = inputs, fitted[0].words
        index = word_index(x, words).cast(pl.Int64)
        if self.oov_buckets:
            # Known words are masked, for hashing is slow.
            unknown = pl.when(index.is_null()).then(x)
            return pl.coalesce(index, farmhash_bucket(unknown, self.oov_buckets) + len(words))
        return pl.when(x.is_not_null()).then(index.fill_null(self.default))

    def tensorflow_resource(self, types: Sequence[Type], fitted: Sequence[Any]) -> Any:
        return word_table(fitted[0], None, -1 if self.oov_buckets else self.default, tf.int64)

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        (x,) = inputs
        index = resource.lookup(x)
        if not self.oov_buckets:
            return index
        hashed = tensorflow_farmhash_bucket(x, self.oov_buckets) + fitted[0].size
        return tf.where(index < 0, hashed, index)
