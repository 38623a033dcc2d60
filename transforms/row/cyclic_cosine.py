"""`cyclic_cosine(x, period)`: the cosine of x on a cycle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import Cyclic

__all__ = ["CyclicCosine"]


@dataclass(frozen=True)
class CyclicCosine(Cyclic):
    """Cosine of x as an angle: `cos(2 * pi * x / period)`.

    `cyclic_sine` and `cyclic_cosine` together are a place on a circle, on which the end of a period
    lies beside its beginning.

    Args:
        x: A number, such as an hour or a day of the week.
        period: The length of one turn in the unit of x, greater than 0.

    Returns:
        float32 (float64 for a float64 input), from -1 to 1, one per row, computed in float64 from
        the fraction of the turn and rounded. NaN where x is not finite. Null where x is null.

    Source: N. I. Fisher, "Statistical Analysis of Circular Data", 1993, section 2.3.
    """

    _sql = "COS"
    examples = (
        Example("cyclic_cosine(x, 24)", {"x": [0, 4, 12, -24, None]}, [1.0, 0.5, -1.0, 1.0, None]),
        Example(
            "cyclic_cosine(x, period=1.5)",
            {"x": [0.25, 1.75, -math.inf, None]},
            [0.5, 0.5, math.nan, None],
        ),
    )

    def _polars_wave(self, angle: pl.Expr) -> pl.Expr:
        return angle.cos()

    def _tensorflow_wave(self, angle: Any) -> Any:
        return tf.cos(angle)
