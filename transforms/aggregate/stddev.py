"""`stddev(x)`: the population standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import FloatSummary

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
