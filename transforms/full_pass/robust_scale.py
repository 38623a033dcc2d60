"""`robust_scale(x)`: the distance from the median in interquartile ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.base import Example
from featurekit.transforms.full_pass._linear import LinearScaling, nonzero_scale
from featurekit.transforms.statistics import Quantiles, Statistic
from featurekit.types import Type

__all__ = ["RobustScale"]


@dataclass(frozen=True)
class RobustScale(LinearScaling):
    """Distance from the training median in training interquartile ranges.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row: `(x - median) / (q75 - q25)`, the
        quantiles interpolated linearly. A range of zero (below 10 float64 epsilons) counts as 1.
        Null where x is null; infinities stay.

    Raises:
        DataError: The training rows hold no finite value.

    Source: `sklearn.preprocessing.RobustScaler` of scikit-learn 1.9.
    """

    examples = (
        Example(
            "robust_scale(x)",
            {"x": [1.0, 2.0, 3.0, 4.0, 100.0, None]},
            [-1.0, -0.5, 0.0, 0.5, 48.5, None],
        ),
        Example("robust_scale(x)", {"x": [1, 2, 4, 8]}, [-8 / 13, -4 / 13, 4 / 13, 20 / 13]),
        Example("robust_scale(x)", {"x": [5, 5, 5, 5, 9]}, [0, 0, 0, 0, 4]),
    )

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (Quantiles(4, linear=True),)

    def _shift_and_scale(self, fitted: Sequence[Any], m: Any) -> tuple[Any, Any]:
        lower, median, upper = (fitted[0].boundary(place) for place in range(3))
        return median, nonzero_scale((upper - lower) * 1.0, m)
