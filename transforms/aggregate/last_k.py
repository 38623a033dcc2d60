"""`last_k(x, k)`: the k latest values."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import SeveralOfThem

__all__ = ["LastK"]


@dataclass(frozen=True)
class LastK(SeveralOfThem):
    """Latest k values of the window.

    Args:
        x: A number or a string; null values are skipped.
        k: The length of the vector, from 1 to 1000.

    Returns:
        A vector of k of the type of x (float64 for a float), the latest first.
        Padded with null where the window holds fewer values; null where it holds none.

    Raises:
        SpecError: `k` is not an integer from 1 to 1000.

    Note: rows are ordered by when they took effect, then by event time, then by value.
    """
