"""`x // y`: the quotient of two numbers, rounded down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import (
    IntegerDivision,
    polars_quotient,
    polars_rounded,
)
from featurekit.transforms.sql import all_of, case, function, infix, safe
from featurekit.types import INT64, Type

__all__ = ["FloorDivide"]


@dataclass(frozen=True)
class FloorDivide(IntegerDivision):
    """Quotient of two numbers, rounded down to a whole number, as Python's `//`.

    Args:
        x: A number.
        y: A number.

    Returns:
        The common type of x and y. Of integers null where y is 0; of floats `floor(x / y)` in
        float64, rounded, so that `x // 0` is infinite or NaN. Null where x or y is null.

    Note:
        Python gives NaN for `inf // 1.0` and -1.0 for `-1.0 // inf`; this gives inf and -0.0.
    """

    operator = "//"
    examples = (
        Example("x // y", {"x": [7, -7, 7, -7, 1], "y": [2, 2, -2, -2, 0]}, [3, -4, -4, 3, None]),
        Example("x // 49", {"x": [49.0, -1.0, None]}, [1.0, -1.0, None]),
        Example("x // y", {"x": [1.0, 0.0], "y": [0.0, 0.0]}, [math.inf, math.nan]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        x, y = inputs
        if types[0] == INT64:
            return x // y
        wide = polars_quotient(x.cast(pl.Float64), y.cast(pl.Float64)).floor()
        return polars_rounded(wide, types[0])

    def _tensorflow_integers(self, x: Any, y: Any) -> Any:
        opposite = tf.equal(y, -1)
        return tf.where(opposite, -x, tf.math.floordiv(x, tf.where(opposite, tf.ones_like(y), y)))

    def _tensorflow_floats(self, x: Any, y: Any) -> Any:
        return tf.math.floordiv(x, y)

    def _bigquery_integers(self, x: Any, y: Any) -> Any:
        whole = safe("DIV", x, function("NULLIF", y, 0))
        rest = function("MOD", x, function("NULLIF", y, 0))
        down = all_of(infix(rest, "!=", 0), infix(infix(x, "<", 0), "!=", infix(y, "<", 0)))
        return case(
            (infix(y, "=", -1), function("COALESCE", function("SAFE_NEGATE", x), x)),
            (down, infix(whole, "-", 1)),
            otherwise=whole,
        )

    def _bigquery_floats(self, x: Any, y: Any, of: Type) -> Any:
        return function("FLOOR", function("IEEE_DIVIDE", x, y))
