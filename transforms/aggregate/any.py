"""`any(x)`: whether at least one value is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any as Anything

from featurekit.transforms.base import AggregateOperation, Input
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import BOOL, BOOLEAN, Type

__all__ = ["Any"]


@dataclass(frozen=True)
class Any(AggregateOperation):
    """Whether at least one value of the window is true.

    Args:
        x: A boolean, such as `arr_delay > 15`; null values are skipped.

    Returns:
        bool. Null where the window holds no value.
    """

    inputs = (Input("x", BOOLEAN),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def windows(self, values: Values) -> Anything:
        return values.trues > 0

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Anything:
        return window.over("MAX", window.value)
