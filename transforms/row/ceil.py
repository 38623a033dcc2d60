"""`ceil(x)`: x rounded up to a whole number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import SameType
from featurekit.transforms.sql import function
from featurekit.types import Type

__all__ = ["Ceil"]


@dataclass(frozen=True)
class Ceil(SameType):
    """x rounded up to a whole number.

    Args:
        x: A number.

    Returns:
        The type of x, one per row: a float stays a float, an integer is unchanged. NaN and
        infinities stay. Null where x is null.
    """

    examples = (
        Example("ceil(x)", {"x": [-2.5, 2.5, -math.inf, None]}, [-2.0, 3.0, -math.inf, None]),
        Example("ceil(x)", {"x": [-2, 2, None]}, [-2, 2, None]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].ceil() if types[0].is_float else inputs[0]

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.math.ceil(inputs[0]) if types[0].is_float else inputs[0]

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return function("CEIL", inputs[0]) if types[0].is_float else inputs[0]
