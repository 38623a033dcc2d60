"""`last(x)`: the latest value."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import OneOfThem

__all__ = ["Last"]


@dataclass(frozen=True)
class Last(OneOfThem):
    """Latest value of the window.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        The type of x (float64 for a float). Null where the window holds no value.

    Note: rows are ordered by when they took effect, then by event time, then by value.
    """
