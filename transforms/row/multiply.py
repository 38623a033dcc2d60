"""`x * y`: the product of two numbers, or a duration taken a whole number of times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation
from featurekit.transforms.families import AMOUNT
from featurekit.transforms.sql import arithmetic, rounded
from featurekit.types import DURATION, INT64, Type, common_number, described

__all__ = ["Multiply"]


@dataclass(frozen=True)
class Multiply(RowOperation):
    """Product of two numbers; an integer times a duration is a duration.

    Args:
        x: A number or a duration.
        y: A number or a duration.

    Returns:
        The common type of two numbers, `duration` for an integer and a duration. Integers wrap
        around at 64 bits; floats follow IEEE 754. Null where x or y is null.

    Raises:
        SpecError: Two durations, or a float and a duration, are multiplied.
    """

    inputs = (Input("x", AMOUNT), Input("y", AMOUNT))
    operator = "*"
    examples = (
        Example("x * y", {"x": [3, -2, None], "y": [5, None, 1]}, [15, None, None]),
        Example("x * 0.5", {"x": [3.0, -math.inf, None]}, [1.5, -math.inf, None]),
        Example(
            "n * 90m", {"n": [2, -1, None]}, [timedelta(hours=3), -timedelta(minutes=90), None]
        ),
    )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        if DURATION not in types:
            return (common_number(types),) * 2
        if INT64 in types:
            return types
        x, y = types
        raise ValueError(
            f"{described(x)} and {described(y)} cannot be multiplied, only a duration and an "
            "integer"
        )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return DURATION if DURATION in types else types[0]

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        x, y = inputs
        return x * y

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        return x * y

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        return rounded(arithmetic(x, "*", y, types[0]), types[0])
