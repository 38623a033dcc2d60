"""`stddev(x)`: the population standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.aggregate._families import FloatSummary
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Stddev"]


@dataclass(frozen=True)
class Stddev(FloatSummary):
    """Population standard deviation of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, at least 0, in the unit of x; 0 for a single value. Null where the window holds no
        value.

    Note: the square root of the population variance (BigQuery's STDDEV_POP).
    """

    def windows(self, values: Values) -> Any:
        return np.sqrt(values.moments(2)[1] / values.spans.length)

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.over("STDDEV_POP", window.value)
