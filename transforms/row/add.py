"""`x + y`: the sum of two numbers, or a time moved by a duration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation
from featurekit.transforms.sql import arithmetic, moved, rounded
from featurekit.types import ARITHMETIC, DURATION, TIMESTAMP, Type, common_number, described

__all__ = ["Add"]


@dataclass(frozen=True)
class Add(RowOperation):
    """Sum of two numbers; a timestamp plus a duration is a timestamp.

    Args:
        x: A number, a timestamp or a duration.
        y: A number, a timestamp or a duration.

    Returns:
        The common type of two numbers, `timestamp` for a timestamp and a duration, `duration` for
        two durations. Integers wrap around at 64 bits; floats follow IEEE 754. Null where x or y
        is null.

    Note:
        A timestamp outside of the years 1 to 9999 is null in BigQuery, which has no other.

    Raises:
        SpecError: Two timestamps, or a number and a time, are added.
    """

    inputs = (Input("x", ARITHMETIC), Input("y", ARITHMETIC))
    operator = "+"
    examples = (
        Example("x + y", {"x": [1, 2, None], "y": [10, -2, 5]}, [11, 0, None]),
        Example("x + 0.5", {"x": [1, 2]}, [1.5, 2.5]),
        Example(
            "t + 2h",
            {"t": [datetime(2024, 1, 31, 23, tzinfo=UTC)]},
            [datetime(2024, 2, 1, 1, tzinfo=UTC)],
        ),
    )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        x, y = types
        if x.is_number and y.is_number:
            return (common_number(types),) * 2
        if {x, y} <= {TIMESTAMP, DURATION} and (x, y) != (TIMESTAMP, TIMESTAMP):
            return types
        raise ValueError(f"{described(x)} and {described(y)} cannot be added")

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return TIMESTAMP if TIMESTAMP in types else types[0]

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        x, y = inputs
        return x + y

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        return x + y

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        if TIMESTAMP in types:
            time, duration = (x, y) if types[0] == TIMESTAMP else (y, x)
            return moved(time, "+", duration)
        return rounded(arithmetic(x, "+", y, types[0]), types[0])
