"""What operations that look up words in fitted counts share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from featurekit.transforms.base import check, tf
from featurekit.transforms.statistics import WordCountsValue

__all__: list[str] = []  # Helpers: the package exports what its modules list here.

TFRECORD_GZIP = "tfrecord_gzip"
"""The format of vocabulary files in which every text is a word; in `text` each has a line."""


def check_file_format(name: object) -> None:
    """Check a parameter `file_format`."""
    check(name in ("text", TFRECORD_GZIP),
          f"file_format must be 'text' or {TFRECORD_GZIP!r}, got {name!r}")  # fmt: skip


def word_index(x: pl.Expr, words: Sequence[str]) -> pl.Expr:
    """Return the position of each string among distinct words; null where it is none of them.

    The lookup of an enumeration streams in flat memory; `replace_strict` does not.
    """
    return x.cast(pl.Enum(words), strict=False).to_physical()


def word_table(counts: Any, values: Any, unknown: float, dtype: Any) -> Any:
    """Return a TensorFlow table from words to values, `unknown` for any other string.

    The empty string always has an entry, because TensorFlow refuses empty tables.

    Args:
        counts: The fitted words; or, where an analyzer is going to fit them, what makes the table.
        values: A value for each word, in their order; their places if there are none.
        unknown: The value of any other string.
        dtype: The data type of the values.
    """
    if not isinstance(counts, WordCountsValue):
        return counts.table(values, unknown, dtype)
    words = counts.words
    values = range(len(words)) if values is None else values
    if "" not in words:
        words, values = ("", *words), (unknown, *values)
    entries = tf.lookup.KeyValueTensorInitializer(
        tf.constant(words, tf.string), tf.constant(list(values), dtype)
    )
    return tf.lookup.StaticHashTable(entries, tf.constant(unknown, dtype))
