"""`scale_to_0_1(x)`: the training range mapped onto 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, FullPassOperation, Input
from featurekit.transforms.full_pass.scale_by_min_max import ScaleByMinMax
from featurekit.transforms.statistics import Statistic
from featurekit.types import NUMBER, Type

__all__ = ["ScaleTo01"]

_SCALING = ScaleByMinMax(0.0, 1.0)


@dataclass(frozen=True)
class ScaleTo01(FullPassOperation):
    """The range from the training minimum to the training maximum, mapped onto 0 to 1.

    Args:
        x: A number; it is rounded to float32 first.

    Returns:
        float32, one per row: `(x - min) / (max - min)`. Values outside the training range are not
        clipped. Of a column that is constant in training it is `sigmoid(x)`. Null where x is null;
        NaN stays.

    Raises:
        DataError: The training rows hold no finite value.

    Source: `tft.scale_to_0_1` of tensorflow-transform 1.21, which also casts to float32.
    """

    inputs = (Input("x", NUMBER),)
    examples = (
        Example("scale_to_0_1(x)", {"x": [10.0, 20.0, 50.0, None]}, [0.0, 0.25, 1.0, None]),
        Example("scale_to_0_1(x)", {"x": [1, 1]}, [1 / (1 + math.exp(-1))] * 2),
    )

    @classmethod
    def name(cls) -> str:
        return "scale_to_0_1"

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return _SCALING.output_type(types)

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return _SCALING.statistics(types)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        return _SCALING.polars(inputs, types, fitted)

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        return _SCALING.tensorflow(inputs, types, fitted, resource)
