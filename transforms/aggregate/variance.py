"""`variance(x)`: the population variance."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import FloatSummary

__all__ = ["Variance"]


@dataclass(frozen=True)
class Variance(FloatSummary):
    """Population variance of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, at least 0, in the square of the unit of x; 0 for a single value. Null where the
        window holds no value.

    Note: the mean of the squared distances from the mean, divided by n and not by n - 1 (BigQuery's
    VAR_POP), like every variance here.
    """
