"""`time_since_last()`, `time_since_last(x)`: the seconds since the latest row."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import Elapsed

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
