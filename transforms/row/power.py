"""`x ** y`: x to the power of y."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, tf
from featurekit.transforms.families import FloatFunction
from featurekit.transforms.sql import (
    INFINITY,
    NAN,
    all_of,
    case,
    function,
    infix,
    safe,
    unless_null,
)
from featurekit.types import NUMBER

__all__ = ["Power"]


@dataclass(frozen=True)
class Power(FloatFunction):
    """x to the power of y, always a float.

    Args:
        x: A number, the base.
        y: A number, the exponent.

    Returns:
        float32 (float64 if x or y is float64), one per row, computed in float64 and rounded. NaN
        for a negative base with a fractional exponent; `x ** 0` and `1 ** y` are 1, even for NaN.
        Null where x or y is null.

    Source: IEEE 754-2019, section 9.2.1, `pow`.
    """

    inputs = (Input("x", NUMBER), Input("y", NUMBER))
    operator = "**"
    examples = (
        Example(
            "x ** y", {"x": [2, -2, 0, None], "y": [10, 3, -1, 0]}, [1024.0, -8.0, math.inf, None]
        ),
        Example("x ** 0.5", {"x": [9.0, -4.0, -math.inf, None]}, [3.0, math.nan, math.inf, None]),
        Example("power(x, 0)", {"x": [5.0, math.inf, 0.0]}, [1.0, 1.0, 1.0]),
    )

    def _polars(self, x: pl.Expr, y: pl.Expr) -> pl.Expr:
        # Engines may compute ** 0.5 as a square root, which differs at -0.0 and -inf.
        special = (y.abs() == 0.5) & ((x == 0) | x.is_infinite())
        return pl.when(special).then(x.abs()).otherwise(x).pow(y)

    def _tensorflow(self, x: Any, y: Any) -> Any:
        special = tf.equal(tf.abs(y), 0.5) & (tf.equal(x, 0.0) | tf.math.is_inf(x))
        return tf.pow(tf.where(special, tf.abs(x), x), y)

    def _bigquery(self, x: Any, y: Any) -> Any:
        # SAFE.POW is null where x is negative and y no whole number, where the result overflows,
        # and where it is the inverse of 0. Where y is odd, infinity has the sign of x.
        half = infix(y, "*", 0.5)
        odd = infix(half, "!=", function("FLOOR", half))
        below = infix(function("IEEE_DIVIDE", 1.0, x), "<", 0.0)
        beyond = case(
            (all_of(infix(x, "<", 0.0), infix(y, "!=", function("FLOOR", y))), NAN),
            (all_of(below, infix(y, "=", function("FLOOR", y)), odd), -INFINITY),
            otherwise=INFINITY,
        )
        return function("COALESCE", safe("POW", x, y), unless_null([x, y], beyond))
