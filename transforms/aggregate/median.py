"""`median(x)`: the middle value."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import FloatSummary

__all__ = ["Median"]


@dataclass(frozen=True)
class Median(FloatSummary):
    """Median of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64: the middle value, or the mean of the two middle ones. Null where the window holds
        no value.
    """
