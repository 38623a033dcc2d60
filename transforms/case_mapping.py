"""Lower and upper case, the same everywhere.

What the engines offer themselves differs: Polars' mapping follows the Unicode version of Rust,
TensorFlow's that of ICU and, unasked, the language of the machine (`LANG=tr_TR` lowers "I" to "ı").
BigQuery's follows a version that nobody chooses. So all of them use one fixed table here: the
letters of Unicode 3.2, as far as one letter maps to one.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from featurekit.transforms.base import tf
from featurekit.transforms.sql import case, constant, function, infix, let
from featurekit.types import STRING

__all__ = [
    "bigquery_mapped", "lower_letters", "polars_mapped", "tensorflow_mapped", "upper_letters",
]  # fmt: skip


@functools.cache
def lower_letters() -> Mapping[str, str]:
    """Return the lower-case letter of each letter that has one; "Σ" is always "σ"."""
    return _letters(str.lower)


@functools.cache
def upper_letters() -> Mapping[str, str]:
    """Return the upper-case letter of each letter that has one; "ß" has none."""
    return _letters(str.upper)


def polars_mapped(x: pl.Expr, letters: Mapping[str, str]) -> pl.Expr:
    """Return strings with each letter replaced."""
    return x.str.replace_many(list(letters), list(letters.values()))


def tensorflow_mapped(values: Any, letters: Mapping[str, str], ascii_only: Any) -> Any:
    """Return the same in a TensorFlow graph.

    Args:
        values: Strings of shape [batch].
        letters: The mapping.
        ascii_only: `tf.strings.lower` or `upper`, which without an encoding map ASCII only: the
            short way for a batch without other letters.
    """
    pairs = sorted((ord(old), ord(new)) for old, new in letters.items())
    old, new = (tf.constant(column, dtype=tf.int32) for column in zip(*pairs, strict=True))

    def by_table() -> Any:
        decoded = tf.strings.unicode_decode(values, "UTF-8")
        points = decoded.flat_values
        place = tf.minimum(tf.searchsorted(old, points), len(pairs) - 1)
        mapped = tf.where(tf.gather(old, place) == points, tf.gather(new, place), points)
        return tf.strings.unicode_encode(decoded.with_flat_values(mapped), "UTF-8")

    is_ascii = tf.strings.length(values, unit="UTF8_CHAR") == tf.strings.length(values)
    return tf.cond(tf.reduce_all(is_ascii), lambda: ascii_only(values), by_table)


def bigquery_mapped(x: Any, letters: Mapping[str, str], ascii_only: str) -> Any:
    """Return the same as a tree of GoogleSQL.

    Args:
        x: The tree of a string.
        letters: The mapping.
        ascii_only: `LOWER` or `UPPER`, the short way for a string without other letters.
    """
    old = constant("".join(letters), STRING)
    new = constant("".join(letters.values()), STRING)

    def mapped(x: Any) -> Any:
        is_ascii = infix(function("BYTE_LENGTH", x), "=", function("CHAR_LENGTH", x))
        by_table = function("TRANSLATE", x, old, new)
        return case((is_ascii, function(ascii_only, x)), otherwise=by_table)

    return let([x], mapped)


def _letters(mapped: Callable[[str], str]) -> dict[str, str]:
    # Unicode promises that pairs of letters never change once both are assigned, so that every
    # Python gives the same table here: https://www.unicode.org/policies/stability_policy.html
    assigned = unicodedata.ucd_3_2_0
    pairs = ((char, mapped(char)) for char in map(chr, range(sys.maxunicode + 1)))
    return {
        old: new
        for old, new in pairs
        if old != new
        and len(new) == 1
        and "Cn" not in (assigned.category(old), assigned.category(new))
    }
