"""`abs(x)`: the absolute value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, tf
from featurekit.transforms.families import AMOUNT, SameType
from featurekit.transforms.sql import function, let, safe
from featurekit.types import Type

__all__ = ["Abs"]


@dataclass(frozen=True)
class Abs(SameType):
    """Absolute value of a number or a duration.

    Args:
        x: A number or a duration.

    Returns:
        The type of x, one per row. The smallest integer stays as it is, since its opposite does
        not fit in 64 bits. Null where x is null.
    """

    inputs = (Input("x", AMOUNT),)
    examples = (
        Example("abs(x)", {"x": [-3, 3, 0, None]}, [3, 3, 0, None]),
        Example("abs(x)", {"x": [-1.5, -math.inf, None]}, [1.5, math.inf, None]),
        Example("abs(d)", {"d": [-timedelta(hours=2), None]}, [timedelta(hours=2), None]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].abs()

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.abs(inputs[0])

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return let([inputs[0]], lambda x: function("COALESCE", safe("ABS", x), x))
