"""`sum(x)`: the sum."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import widened
from featurekit.transforms.base import AggregateOperation, Input
from featurekit.transforms.families import AMOUNT
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
