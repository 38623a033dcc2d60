"""`round(x, digits=0)`: x rounded to so many decimal places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, integer_parameter, tf
from featurekit.transforms.families import (
    SameType,
    polars_quotient,
    polars_rounded,
    tensorflow_quotient,
    tensorflow_rounded,
)
from featurekit.transforms.sql import case, function, infix, let, rounded, whole
from featurekit.types import Type

__all__ = ["Round"]

_WHOLE = 2.0**52
"""From here on every float64 is a whole number."""


@dataclass(frozen=True)
class Round(SameType):
    """x rounded to so many decimal places, halves to the even digit.

    Args:
        x: A number.
        digits: How many decimal places to keep, from 0 to 15.

    Returns:
        The type of x, one per row: a float stays a float, an integer is unchanged. NaN and
        infinities stay. Null where x is null.

    Note:
        `x * 10**digits` is computed in float64, rounded to a whole number, and divided again; a
        decimal half that binary floats cannot hold, such as 2.675, is no half.

    Source: IEEE 754-2019, section 5.9, `roundToIntegralTiesToEven`.
    """

    digits: int = 0

    examples = (
        Example(
            "round(x)", {"x": [0.5, 1.5, -2.5, math.inf, None]}, [0.0, 2.0, -2.0, math.inf, None]
        ),
        Example("round(x, digits=2)", {"x": [0.125, 3.14159, -1e30]}, [0.12, 3.14, -1e30]),
        Example("round(x, 1)", {"x": [25, None]}, [25, None]),
    )

    def __post_init__(self) -> None:
        integer_parameter("digits", self.digits, 0, 15)

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        (x,) = inputs
        if not types[0].is_float:
            return x
        if self.digits == 0:
            return x.round(0, mode="half_to_even")
        wide, scale = x.cast(pl.Float64), pl.lit(10.0**self.digits)
        nearest = polars_quotient((wide * scale).round(0, mode="half_to_even"), scale)
        near = pl.when(wide.abs() < _WHOLE).then(nearest).otherwise(wide)
        return polars_rounded(near, types[0])

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        (x,) = inputs
        if not types[0].is_float:
            return x
        if self.digits == 0:
            return tf.round(x)
        wide, scale = tf.cast(x, tf.float64), tf.constant(10.0**self.digits, tf.float64)
        nearest = tensorflow_quotient(tf.round(wide * scale), scale)
        near = tf.where(tf.abs(wide) < _WHOLE, nearest, wide)
        return tensorflow_rounded(near, types[0])

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        (x,), of = inputs, types[0]
        if not of.is_float:
            return x
        if self.digits == 0:
            return whole(x)
        scale = 10.0**self.digits

        def nearest(x: Any) -> Any:
            near = function("IEEE_DIVIDE", whole(infix(x, "*", scale)), scale)
            return case((infix(function("ABS", x), "<", _WHOLE), near), otherwise=x)

        return rounded(let([x], nearest), of)
