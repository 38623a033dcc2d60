"""`zscore(x)`: the distance from the mean in standard deviations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.base import Example
from featurekit.transforms.full_pass._linear import LinearScaling
from featurekit.transforms.statistics import Moments, Statistic
from featurekit.types import Type

__all__ = ["ZScore"]


@dataclass(frozen=True)
class ZScore(LinearScaling):
    """Distance from the training mean in training standard deviations.

    Args:
        x: A number.

    Returns:
        float32 (float64 for a float64 input), one per row: `(x - mean) / sqrt(variance)`, with the
        population variance. Of a column that is constant in training it is `x - mean`: 0 for the
        constant. Null where x is null; infinities stay.

    Raises:
        DataError: The training rows hold no finite value.

    Source: `tft.scale_to_z_score` of tensorflow-transform 1.21.
    """

    examples = (
        Example(
            "zscore(x)", {"x": [1.0, 2.0, 3.0, None]}, [-math.sqrt(1.5), 0, math.sqrt(1.5), None]
        ),
        Example("zscore(x)", {"x": [0, 0, 0, 4]}, [-1 / math.sqrt(3)] * 3 + [math.sqrt(3)]),
        Example("zscore(x)", {"x": [0.1, 0.1, None, 0.1]}, [0, 0, None, 0]),
    )

    @classmethod
    def name(cls) -> str:
        return "zscore"

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (Moments(),)

    def _shift_and_scale(self, fitted: Sequence[Any], m: Any) -> tuple[Any, Any]:
        (moments,) = fitted
        deviation = m.sqrt(moments.variance)
        return moments.mean, m.where(deviation == 0.0, m.ones_like(deviation), deviation)
