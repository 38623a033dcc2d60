"""`log(x)`: the natural logarithm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import FloatFunction
from featurekit.transforms.sql import INFINITY, NAN, case, function, infix

__all__ = ["Log"]


@dataclass(frozen=True)
class Log(FloatFunction):
    """Natural logarithm of x.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row, computed in float64 and rounded.
        `log(0)` is -inf, below it NaN. Null where x is null.

    Source: IEEE 754-2019, section 9.2, `log`.
    """

    examples = (
        Example(
            "log(x)",
            {"x": [1.0, 10.0, 0.0, -1.0, None]},
            [0, math.log(10), -math.inf, math.nan, None],
        ),
        Example("log(x)", {"x": [1, 8, None]}, [0.0, 3 * math.log(2), None]),
    )

    def _polars(self, x: pl.Expr) -> pl.Expr:
        return x.log()

    def _tensorflow(self, x: Any) -> Any:
        return tf.math.log(x)

    def _bigquery(self, x: Any) -> Any:
        return case(
            (infix(x, "<", 0.0), NAN),
            (infix(x, "=", 0.0), -INFINITY),
            otherwise=function("LN", x),
        )
