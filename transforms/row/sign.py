"""`sign(x)`: -1, 0 or 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import SameType, polars_constant
from featurekit.transforms.sql import function
from featurekit.types import Type

__all__ = ["Sign"]


@dataclass(frozen=True)
class Sign(SameType):
    """-1 for a negative number, 1 for a positive one, 0 for 0.

    Args:
        x: A number.

    Returns:
        The type of x, one per row; NaN for NaN. Null where x is null.
    """

    examples = (
        Example("sign(x)", {"x": [-3, 0, 7, None]}, [-1, 0, 1, None]),
        Example("sign(x)", {"x": [-0.5, -0.0, math.inf, None]}, [-1.0, 0.0, 1.0, None]),
        Example("sign(x / x)", {"x": [2.0, 0.0]}, [1.0, math.nan]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        (x,) = inputs
        # Polars keeps the sign of -0.0.
        return pl.when(x == 0).then(polars_constant(0, types[0])).otherwise(x.sign())

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.sign(inputs[0])

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return function("SIGN", inputs[0])
