"""`count_distinct(x)`: the number of different values."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import Counting

__all__ = ["CountDistinct"]


@dataclass(frozen=True)
class CountDistinct(Counting):
    """Number of different values in the window.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        int64, at least 0. Never null: 0 where the window holds no value.
    """
