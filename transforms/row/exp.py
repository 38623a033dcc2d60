"""`exp(x)`: e to the power of x."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import FloatFunction
from featurekit.transforms.sql import INFINITY, function, infix, safe

__all__ = ["Exp"]


@dataclass(frozen=True)
class Exp(FloatFunction):
    """e to the power of x.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row, computed in float64 and rounded.
        Infinite from 88.8 on for float32 (709.8 for float64). Null where x is null.

    Source: IEEE 754-2019, section 9.2, `exp`.
    """

    examples = (
        Example(
            "exp(x)",
            {"x": [0.0, -1.0, -math.inf, 89.0, None]},
            [1.0, 1 / math.e, 0.0, math.inf, None],
        ),
        Example("exp(x)", {"x": [0, 2, None]}, [1.0, math.e**2, None]),
    )

    def _polars(self, x: pl.Expr) -> pl.Expr:
        return x.exp()

    def _tensorflow(self, x: Any) -> Any:
        return tf.math.exp(x)

    def _bigquery(self, x: Any) -> Any:
        return function("COALESCE", safe("EXP", x), infix(x, "*", INFINITY))
