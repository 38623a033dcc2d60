"""`cyclic_sine(x, period)`: the sine of x on a cycle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import Cyclic

__all__ = ["CyclicSine"]


@dataclass(frozen=True)
class CyclicSine(Cyclic):
    """Sine of x as an angle: `sin(2 * pi * x / period)`.

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

    _sql = "SIN"
    examples = (
        Example("cyclic_sine(x, 24)", {"x": [0, 6, 18, -6, None]}, [0.0, 1.0, -1.0, -1.0, None]),
        Example(
            "cyclic_sine(x, period=1.5)",
            {"x": [0.25, 1.75, -math.inf, None]},
            [math.sqrt(3) / 2, math.sqrt(3) / 2, math.nan, None],
        ),
    )

    def _polars_wave(self, angle: pl.Expr) -> pl.Expr:
        return angle.sin()

    def _tensorflow_wave(self, angle: Any) -> Any:
        return tf.sin(angle)
