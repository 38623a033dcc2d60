"""`sqrt(x)`: the square root."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import FloatFunction
from featurekit.transforms.sql import NAN, case, function, infix

__all__ = ["Sqrt"]


@dataclass(frozen=True)
class Sqrt(FloatFunction):
    """Square root of x.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row, computed in float64 and rounded.
        NaN below 0. Null where x is null.

    Source: IEEE 754-2019, section 5.4.1, `squareRoot`.
    """

    examples = (
        Example(
            "sqrt(x)",
            {"x": [4.0, 2.0, -1.0, math.inf, None]},
            [2.0, math.sqrt(2), math.nan, math.inf, None],
        ),
        Example("sqrt(x)", {"x": [0, 9, None]}, [0.0, 3.0, None]),
    )

    def _polars(self, x: pl.Expr) -> pl.Expr:
        return x.sqrt()

    def _tensorflow(self, x: Any) -> Any:
        return tf.math.sqrt(x)

    def _bigquery(self, x: Any) -> Any:
        return case((infix(x, "<", 0.0), NAN), otherwise=function("SQRT", x))
