"""`x % y`: the remainder of a division, with the sign of the divisor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import IntegerDivision, polars_quotient, polars_rounded
from featurekit.transforms.sql import (
    all_of,
    any_of,
    arithmetic,
    case,
    function,
    infix,
    let,
    whether_not,
)
from featurekit.types import INT64, Type

__all__ = ["Modulo"]

_FAR = 2.0**53
"""From this quotient on, x has no digits left below y."""


@dataclass(frozen=True)
class Modulo(IntegerDivision):
    """Remainder of x divided by y, between 0 and y and of y's sign, as Python's `%`.

    Args:
        x: A number.
        y: A number.

    Returns:
        The common type of x and y. Of integers null where y is 0; of floats NaN where y is 0 or x
        is infinite, and x itself (or y, where the signs differ) where y is infinite. Null where x
        or y is null.

    Note:
        Floats are computed as `x - y * floor(x / y)` in float64, then rounded. For float32 that
        is exact up to the last rounding while `|x / y| < 2**29`; from
        `|x / y| >= 2**53` on it is 0.

    Source: Python's language reference, section 6.7, "Binary arithmetic operations".
    """

    operator = "%"
    examples = (
        Example("x % y", {"x": [7, -7, 7, -7, 1], "y": [2, 2, -2, -2, 0]}, [1, 1, -1, -1, None]),
        Example("x % 2.5", {"x": [6.0, -1.0, None]}, [1.0, 1.5, None]),
        Example(
            "x % y",
            {"x": [1.0, math.inf, 3.0, -3.0], "y": [0.0, 2.0, math.inf, math.inf]},
            [math.nan, math.nan, 3.0, math.inf],
        ),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        x, y = inputs
        if types[0] == INT64:
            return x % y
        x, y = x.cast(pl.Float64), y.cast(pl.Float64)
        quotient = polars_quotient(x, y).floor()
        far = (quotient.abs() >= _FAR) & x.is_finite() & (y != 0)
        rest = pl.when(far).then(y * 0.0).otherwise(x - y * quotient)
        rest = pl.when(y.is_infinite() & x.is_finite()).then(x).otherwise(rest)
        wrong = (rest != 0) & ((rest < 0) != (y < 0))
        rest = pl.when(wrong).then(rest + y).otherwise(rest)
        return polars_rounded(rest, types[0])

    def _tensorflow_integers(self, x: Any, y: Any) -> Any:
        return tf.math.floormod(x, tf.where(tf.equal(y, -1), tf.ones_like(y), y))

    def _tensorflow_floats(self, x: Any, y: Any) -> Any:
        quotient = tf.math.floordiv(x, y)
        finite = tf.math.is_finite(x)
        far = (tf.abs(quotient) >= _FAR) & finite & tf.not_equal(y, 0.0)
        rest = tf.where(far, y * 0.0, x - y * quotient)
        rest = tf.where(tf.math.is_inf(y) & finite, x, rest)
        wrong = tf.not_equal(rest, 0.0) & tf.not_equal(rest < 0.0, y < 0.0)
        return tf.where(wrong, rest + y, rest)

    def _bigquery_integers(self, x: Any, y: Any) -> Any:
        rest = function("MOD", x, function("NULLIF", y, 0))
        return let([rest], lambda rest: _with_sign_of(y, rest))

    def _bigquery_floats(self, x: Any, y: Any, of: Type) -> Any:
        finite = whether_not(any_of(function("IS_INF", x), function("IS_NAN", x)))

        def rest(quotient: Any) -> Any:
            far = infix(function("ABS", quotient), ">=", _FAR)
            exact = arithmetic(x, "-", arithmetic(y, "*", quotient, of), of)
            return case(
                (all_of(function("IS_INF", y), finite), x),
                (all_of(far, finite, infix(y, "!=", 0.0)), infix(y, "*", 0.0)),
                otherwise=exact,
            )

        quotient = function("FLOOR", function("IEEE_DIVIDE", x, y))
        return let([let([quotient], rest)], lambda rest: _with_sign_of(y, rest))


def _with_sign_of(y: Any, rest: Any) -> Any:
    """Return the remainder, in a tree of GoogleSQL, moved to the side of 0 where the divisor is."""
    wrong = all_of(infix(rest, "!=", 0), infix(infix(rest, "<", 0), "!=", infix(y, "<", 0)))
    return case((wrong, infix(rest, "+", y)), otherwise=rest)
