"""`max_abs_scale(x)`: x as a part of the largest absolute value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.base import Example
from featurekit.transforms.full_pass._linear import LinearScaling, nonzero_scale
from featurekit.transforms.statistics import Extremes, Statistic
from featurekit.types import Type

__all__ = ["MaxAbsScale"]


@dataclass(frozen=True)
class MaxAbsScale(LinearScaling):
    """Division by the largest absolute value of the training rows; zero stays zero.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row: `x / max(|min|, |max|)`. A maximum of
        zero (below 10 float64 epsilons) counts as 1. Values beyond those of the training rows are
        not clipped. Null where x is null; infinities stay.

    Raises:
        DataError: The training rows hold no finite value.

    Source: `sklearn.preprocessing.MaxAbsScaler` of scikit-learn 1.9.
    """

    examples = (
        Example("max_abs_scale(x)", {"x": [1.0, -4.0, 2.0, None]}, [0.25, -1.0, 0.5, None]),
        Example("max_abs_scale(x)", {"x": [0, 0]}, [0.0, 0.0]),
    )

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (Extremes(),)

    def _shift_and_scale(self, fitted: Sequence[Any], m: Any) -> tuple[Any, Any]:
        (extremes,) = fitted
        largest = m.maximum(m.abs(extremes.minimum * 1.0), m.abs(extremes.maximum * 1.0))
        return 0.0, nonzero_scale(largest, m)
