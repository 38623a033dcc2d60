"""`mean(x)`: the arithmetic mean."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import FloatSummary

__all__ = ["Mean"]


@dataclass(frozen=True)
class Mean(FloatSummary):
    """Arithmetic mean of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64. Null where the window holds no value.
    """
