"""`x / y`: the quotient of two numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input
from featurekit.transforms.families import FloatFunction, polars_quotient, tensorflow_quotient
from featurekit.transforms.sql import function
from featurekit.types import NUMBER

__all__ = ["Divide"]


@dataclass(frozen=True)
class Divide(FloatFunction):
    """Quotient of two numbers, always a float.

    Args:
        x: A number.
        y: A number.

    Returns:
        float32 (float64 if x or y is float64), one per row, computed in float64 and rounded.
        `x / 0` is infinite and `0 / 0` is NaN. Null where x or y is null.

    Source: IEEE 754-2019, sections 5.4.1 and 7.3.
    """

    inputs = (Input("x", NUMBER), Input("y", NUMBER))
    operator = "/"
    examples = (
        Example(
            "x / y", {"x": [1, -1, 0, None], "y": [4, 0, 0, 0]}, [0.25, -math.inf, math.nan, None]
        ),
        Example("x / 49", {"x": [49.0, math.inf, None]}, [1.0, math.inf, None]),
    )

    def _polars(self, x: pl.Expr, y: pl.Expr) -> pl.Expr:
        return polars_quotient(x, y)

    def _tensorflow(self, x: Any, y: Any) -> Any:
        return tensorflow_quotient(x, y)

    def _bigquery(self, x: Any, y: Any) -> Any:
        return function("IEEE_DIVIDE", x, y)
