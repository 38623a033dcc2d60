"""`log1p(x)`: the natural logarithm of 1 + x, exact near zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import FloatFunction
from featurekit.transforms.sql import INFINITY, NAN, any_of, case, function, infix, let

__all__ = ["Log1p"]


@dataclass(frozen=True)
class Log1p(FloatFunction):
    """Natural logarithm of 1 + x.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row. `log1p(-1)` is -inf, below it NaN.
        Null where x is null.

    Source: IEEE 754-2019, section 9.2, `logp1`.
    """

    examples = (
        Example("log1p(x)", {"x": [0.0, 1.0, -1.0, None]}, [0.0, math.log(2), -math.inf, None]),
        Example("log1p(x)", {"x": [0, 3]}, [0.0, math.log(4)]),
    )

    def _polars(self, x: pl.Expr) -> pl.Expr:
        return x.log1p()

    def _tensorflow(self, x: Any) -> Any:
        return tf.math.log1p(x)

    def _bigquery(self, x: Any) -> Any:
        # 1 + x is rounded before its logarithm is taken; the quotient makes up for that. See the
        # appendix of the "HP-15C Advanced Functions Handbook", 1982, by W. Kahan.
        def exact(x: Any, more: Any) -> Any:
            share = function("IEEE_DIVIDE", x, infix(more, "-", 1.0))
            return case(
                (infix(x, "<", -1.0), NAN),
                (infix(x, "=", -1.0), -INFINITY),
                (any_of(infix(more, "=", 1.0), function("IS_INF", x)), x),
                otherwise=infix(function("LN", more), "*", share),
            )

        return let([infix(x, "+", 1.0)], lambda more: exact(x, more))
