"""`all(x)`: whether every value is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.base import AggregateOperation, Input
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
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

    def windows(self, values: Values) -> Any:
        return values.trues == values.spans.length

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.over("MIN", window.value)
