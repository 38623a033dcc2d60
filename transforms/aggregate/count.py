"""`count()`, `count(x)`: the number of rows, or of those that have a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import Counting
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Count"]


@dataclass(frozen=True)
class Count(Counting):
    """Number of rows in the window, or of those in which x is not null.

    Args:
        x: A value of any scalar type; without it every row counts.

    Returns:
        int64, at least 0. Never null: 0 for an empty window.
    """

    least_inputs = 0

    def windows(self, values: Values) -> Any:
        return values.spans.length

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.over("COUNT", window.value)
