"""`kurtosis(x)`: how heavy the tails are."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import FloatSummary

__all__ = ["Kurtosis"]


@dataclass(frozen=True)
class Kurtosis(FloatSummary):
    """Population excess kurtosis of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, without a unit: 0 for a normal distribution, at least -2. NaN where all values are
        equal. Null where the window holds no value.

    Source: g2 = m4 / m2^2 - 3 of the central moments (D. N. Joanes and C. A. Gill, "Comparing
    measures of sample skewness and kurtosis", 1998).
    """
