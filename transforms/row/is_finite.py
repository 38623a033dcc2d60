"""`is_finite(x)`: whether a number is neither infinite nor NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, tf
from featurekit.transforms.sql import any_of, function, infix, let, whether_not
from featurekit.types import BOOL, NUMBER, Type

__all__ = ["IsFinite"]


@dataclass(frozen=True)
class IsFinite(RowOperation):
    """Whether a number is neither infinite nor NaN.

    Args:
        x: A number.

    Returns:
        `bool`, one per row; true for every integer. Null where x is null.
    """

    inputs = (Input("x", NUMBER),)
    examples = (
        Example("is_finite(x)", {"x": [1.0, -math.inf, None]}, [True, False, None]),
        Example("is_finite(x / x)", {"x": [1.0, 0.0, None]}, [True, False, None]),
        Example("is_finite(x)", {"x": [1, None]}, [True, None]),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].is_finite()

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        (x,) = inputs
        return tf.math.is_finite(x) if types[0].is_float else tf.ones_like(x, tf.bool)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        if not types[0].is_float:
            return infix(inputs[0], "=", inputs[0])

        def finite(x: Any) -> Any:
            return whether_not(any_of(function("IS_INF", x), function("IS_NAN", x)))

        return let([inputs[0]], finite)
