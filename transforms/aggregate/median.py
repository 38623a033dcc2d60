"""`median(x)`: the middle value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import FloatSummary, interpolated
from featurekit.transforms.sql import literal
from featurekit.transforms.sql_windows import SqlWindow, quantile
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Median"]


@dataclass(frozen=True)
class Median(FloatSummary):
    """Median of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64: the middle value, or the mean of the two middle ones. Null where the window holds
        no value.
    """

    def windows(self, values: Values) -> Any:
        return interpolated(values, 0.5)

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return quantile(window.collected(), literal(0.5))
