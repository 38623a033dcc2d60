"""`x - y`: the difference of two numbers, or of two times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation
from featurekit.transforms.sql import arithmetic, function, infix, moved, rounded
from featurekit.types import ARITHMETIC, DURATION, TIMESTAMP, Type, common_number, described

__all__ = ["Subtract"]


@dataclass(frozen=True)
class Subtract(RowOperation):
    """Difference of two numbers, two times, or a time and a duration.

    Args:
        x: A number, a timestamp or a duration.
        y: A number, a timestamp or a duration.

    Returns:
        The common type of two numbers, `duration` for two timestamps or two durations, `timestamp`
        for a timestamp less a duration. Integers wrap around at 64 bits; floats follow IEEE 754.
        Null where x or y is null.

    Note:
        A timestamp outside of the years 1 to 9999 is null in BigQuery, which has no other.

    Raises:
        SpecError: A number and a time are mixed, or a timestamp is taken from a duration.
    """

    inputs = (Input("x", ARITHMETIC), Input("y", ARITHMETIC))
    operator = "-"
    examples = (
        Example("x - y", {"x": [1, 2, None], "y": [10, None, 5]}, [-9, None, None]),
        Example("x - 0.5", {"x": [1.0, math.inf, None]}, [0.5, math.inf, None]),
        Example(
            "b - a",
            {
                "a": [datetime(2024, 2, 28, 23, tzinfo=UTC)],
                "b": [datetime(2024, 3, 1, tzinfo=UTC)],
            },
            [timedelta(hours=25)],
        ),
        Example(
            "t - 1d",
            {"t": [datetime(2024, 3, 1, tzinfo=UTC), None]},
            [datetime(2024, 2, 29, tzinfo=UTC), None],
        ),
    )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        x, y = types
        if x.is_number and y.is_number:
            return (common_number(types),) * 2
        if {x, y} <= {TIMESTAMP, DURATION} and (x, y) != (DURATION, TIMESTAMP):
            return types
        raise ValueError(f"{described(y)} cannot be subtracted from {described(x)}")

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return DURATION if types == (TIMESTAMP, TIMESTAMP) else types[0]

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        x, y = inputs
        return x - y

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        return x - y

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        if types[1] == TIMESTAMP:
            return infix(function("UNIX_MICROS", x), "-", function("UNIX_MICROS", y))
        if types[0] == TIMESTAMP:
            return moved(x, "-", y)
        return rounded(arithmetic(x, "-", y, types[0]), types[0])
