"""`all(x)`: whether every value is true."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.base import AggregateOperation, Input
from featurekit.types import BOOL, BOOLEAN, Type

__all__ = ["All"]


@dataclass(frozen=True)
class All(AggregateOperation):
    """Whether every value of the window is true.

    Args:
        x: A boolean, such as `arr_delay > 15`; null values are skipped.

    Returns:
        bool. Null where the window holds no value.
    """

    inputs = (Input("x", BOOLEAN),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL
