"""`time_since_last()`, `time_since_last(x)`: the seconds since the latest row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import Elapsed
from featurekit.transforms.sql_windows import SqlWindow, seconds_since
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["TimeSinceLast"]


@dataclass(frozen=True)
class TimeSinceLast(Elapsed):
    """Time between the latest row of the window and the prediction.

    Args:
        x: A value of any scalar type; only rows in which it is not null count. Without it every row
            counts.

    Returns:
        float64, in seconds, greater than 0. Null where the window holds no such row.

    Note: a row counts from when it took effect, so a row that became known late is as old as the
    knowledge of it.
    """

    def windows(self, values: Values) -> Any:
        return values.effect[values.spans.stop - 1]

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return seconds_since(window, "MAX")
