"""`approx_count_distinct(x)`: about the number of different values."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import Counting

__all__ = ["ApproxCountDistinct"]


@dataclass(frozen=True)
class ApproxCountDistinct(Counting):
    """Number of different values in the window, estimated in little memory.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        int64, at least 0. Never null: 0 where the window holds no value.

    Note: an estimate by HyperLogLog++, which two engines make differently: where they must agree,
    use `count_distinct`.

    Source: S. Heule, M. Nunkesser, A. Hall, "HyperLogLog in Practice", EDBT 2013.
    """
