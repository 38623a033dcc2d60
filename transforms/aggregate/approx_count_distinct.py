"""`approx_count_distinct(x)`: about the number of different values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import Counting
from featurekit.transforms.sql_windows import SqlWindow, count_distinct
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["ApproxCountDistinct"]


@dataclass(frozen=True)
class ApproxCountDistinct(Counting):
    """Number of different values in the window, where an estimate would do.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        int64, at least 0. Never null: 0 where the window holds no value.

    Note: an engine may estimate it. Both count exactly today: over windows that costs no more, and
    so they agree.
    """

    def windows(self, values: Values) -> Any:
        return values.distinct_counts()

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return count_distinct(window, types[0])
