"""`mean(x)`: the arithmetic mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import FloatSummary
from featurekit.transforms.base import Input
from featurekit.transforms.sql import function
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import BOOL, BOOLEAN, FLOAT64, NUMBER, Type, TypeSet

__all__ = ["Mean"]


@dataclass(frozen=True)
class Mean(FloatSummary):
    """Arithmetic mean of a number over the window, or the share of values that are true.

    Args:
        x: A number, or a boolean such as `arr_delay > 15`; null values are skipped.

    Returns:
        float64. Null where the window holds no value.
    """

    inputs = (Input("x", TypeSet("a number or a boolean", NUMBER.types | BOOLEAN.types)),)

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return tuple(FLOAT64 if of == BOOL else of for of in types)

    def windows(self, values: Values) -> Any:
        return values.means

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        if not types[0].is_float:
            return window.over("AVG", window.value)
        # AVG of several infinite values would be NaN.
        count = window.over("COUNT", window.value)
        return function("IEEE_DIVIDE", window.over("SUM", window.value), count)
