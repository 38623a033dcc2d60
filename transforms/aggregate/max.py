"""`max(x)`: the greatest value."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import OneOfThem

__all__ = ["Max"]


@dataclass(frozen=True)
class Max(OneOfThem):
    """Greatest value over the window.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        The type of x (float64 for a float). Null where the window holds no value.

    Note: strings are ordered by the bytes of their UTF-8 text, false comes before true.
    """
