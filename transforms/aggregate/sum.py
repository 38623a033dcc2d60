"""`sum(x)`: the sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import widened
from featurekit.transforms.base import AggregateOperation, Input
from featurekit.transforms.families import AMOUNT
from featurekit.transforms.sql import cast, wrapped
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Sum"]


@dataclass(frozen=True)
class Sum(AggregateOperation):
    """Sum of a number or a duration over the window.

    Args:
        x: A number or a duration; null values are skipped.

    Returns:
        int64 for integers, which wrap around at 64 bits, float64 for floats, duration for
        durations. Null where the window holds no value.
    """

    inputs = (Input("x", AMOUNT),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return widened(types[0])

    def windows(self, values: Values) -> Any:
        return values.sums

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        if types[0].is_float:
            return window.over("SUM", window.value)
        # 29 digits hold the sum of ten thousand million integers of 64 bits.
        exact = window.over("SUM", cast(window.value, "NUMERIC"))
        return wrapped(cast(exact, "BIGNUMERIC"))
