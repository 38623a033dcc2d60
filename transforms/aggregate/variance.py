"""`variance(x)`: the population variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import FloatSummary
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Variance"]


@dataclass(frozen=True)
class Variance(FloatSummary):
    """Population variance of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, at least 0, in the square of the unit of x; 0 for a single value. Null where the
        window holds no value.

    Note: the mean of the squared distances from the mean, divided by n and not by n - 1 (BigQuery's
    VAR_POP), like every variance here.
    """

    def windows(self, values: Values) -> Any:
        return values.moments(2)[1] / values.spans.length

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.over("VAR_POP", window.value)
