"""`scale_by_min_max(x)`: the training range mapped onto a given one."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import (
    Example,
    FullPassOperation,
    Input,
    check,
    number_parameter,
    tf,
)
from featurekit.transforms.statistics import Extremes, Statistic
from featurekit.types import FLOAT32, NUMBER, Type

__all__ = ["ScaleByMinMax"]


@dataclass(frozen=True)
class ScaleByMinMax(FullPassOperation):
    """The range from the training minimum to the training maximum, mapped onto a given range.

    Args:
        x: A number; it is rounded to float32 first.
        output_min: What the minimum becomes.
        output_max: What the maximum becomes; more than `output_min`.

    Returns:
        float32, one per row. Values outside the training range are not clipped. Of a column that is
        constant in training it is `sigmoid(x)` mapped from (0, 1) onto the given range. Null where
        x is null; NaN stays.

    Raises:
        SpecError: `output_min` is not less than `output_max`.
        DataError: The training rows hold no finite value.

    Source: `tft.scale_by_min_max` of tensorflow-transform 1.21, which also casts to float32.
    """

    output_min: float = 0.0
    output_max: float = 1.0

    inputs = (Input("x", NUMBER),)
    examples = (
        Example("scale_by_min_max(x, -1, 1)", {"x": [0, 5, 20, None]}, [-1.0, -0.5, 1.0, None]),
        Example("scale_by_min_max(x, 0, 10)", {"x": [0.0, 0.0, None]}, [5.0, 5.0, None]),
    )

    def __post_init__(self) -> None:
        number_parameter("output_min", self.output_min)
        number_parameter("output_max", self.output_max)
        check(self.output_min < self.output_max,
              f"output_min must be less than output_max, got {self.output_min!r} and "
              f"{self.output_max!r}")  # fmt: skip

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return FLOAT32

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (Extremes(),)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        (extremes,) = fitted
        x = inputs[0].cast(pl.Float32).cast(pl.Float64)
        low, high = (c_float(end).value for end in (extremes.minimum, extremes.maximum))
        part = _part(x, low, high - low) if low < high else _sigmoid(x, pl.Expr.exp)
        placed: pl.Expr = self._placed(part)
        return placed.cast(pl.Float32)

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        (extremes,) = fitted
        x, low, high = (
            tf.cast(tf.cast(value, tf.float32), tf.float64)
            for value in (inputs[0], extremes.minimum, extremes.maximum)
        )
        part = _part(x, low, tf.where(low < high, high - low, tf.ones_like(low)))
        part = tf.where(low < high, part, _sigmoid(x, tf.exp))
        return tf.cast(self._placed(part), tf.float32)

    def _placed(self, part: Any) -> Any:
        return part * (float(self.output_max) - float(self.output_min)) + float(self.output_min)


def _part(x: Any, low: Any, span: Any) -> Any:
    # A product with the reciprocal, as engines make it of a division by a constant anyway.
    return (x - low) * (1.0 / span)


def _sigmoid(x: Any, exp: Any) -> Any:
    return 1.0 / (1.0 + exp(-x))
