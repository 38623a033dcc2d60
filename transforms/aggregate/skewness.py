"""`skewness(x)`: how lopsided the values are."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import FloatSummary

__all__ = ["Skewness"]


@dataclass(frozen=True)
class Skewness(FloatSummary):
    """Population skewness of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, without a unit: negative for a longer tail of small values. NaN where all
        values are equal. Null where the window holds no value.

    Source: Fisher-Pearson coefficient g1 = m3 / m2^1.5 of the central moments (D. N. Joanes and
    C. A. Gill, "Comparing measures of sample skewness and kurtosis", 1998).
    """
