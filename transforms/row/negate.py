"""`-x`: a number or a duration with the other sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input
from featurekit.transforms.families import AMOUNT, SameType
from featurekit.transforms.sql import function, let, negative
from featurekit.types import Type

__all__ = ["Negate"]


@dataclass(frozen=True)
class Negate(SameType):
    """A number or a duration with the other sign.

    Args:
        x: A number or a duration.

    Returns:
        The type of x, one per row. The smallest integer stays as it is, since its opposite does
        not fit in 64 bits. Null where x is null.
    """

    inputs = (Input("x", AMOUNT),)
    operator = "-"
    examples = (
        Example("-x", {"x": [1, -2, 0, None]}, [-1, 2, 0, None]),
        Example("-x", {"x": [1.5, -math.inf, None]}, [-1.5, math.inf, None]),
        Example("-d", {"d": [timedelta(hours=2), None]}, [-timedelta(hours=2), None]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return -inputs[0]

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return -inputs[0]

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        if types[0].is_float:
            return negative(inputs[0])
        return let([inputs[0]], lambda x: function("COALESCE", function("SAFE_NEGATE", x), x))
