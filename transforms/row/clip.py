"""`clip(x, low=None, high=None)`: x held between two bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, check, number_parameter, tf
from featurekit.transforms.families import (
    SameType,
    constant_of,
    polars_constant,
    tensorflow_constant,
)
from featurekit.transforms.sql import case, constant, infix, let
from featurekit.types import Type

__all__ = ["Clip"]


@dataclass(frozen=True)
class Clip(SameType):
    """x held between two bounds.

    Args:
        x: A number.
        low: The least value of the result, or `None` for no lower bound.
        high: The greatest value of the result, or `None` for no upper bound. At least one of the
            two is given. For an integer x both must be whole numbers, such as 5 or 5.0.

    Returns:
        The type of x, one per row. NaN stays NaN. Null where x is null.

    Raises:
        SpecError: No bound is given, low is above high, or a bound does not fit x's type.
    """

    low: float | None = None
    high: float | None = None

    examples = (
        Example("clip(x, 0, 10)", {"x": [-5, 5, 15, None]}, [0, 5, 10, None]),
        Example(
            "clip(x, high=0.5)",
            {"x": [-math.inf, 0.75, math.inf, None]},
            [-math.inf, 0.5, 0.5, None],
        ),
        Example("clip(x / x, low=2)", {"x": [1.0, 0.0, None]}, [2.0, math.nan, None]),
    )

    def __post_init__(self) -> None:
        check(self.low is not None or self.high is not None, "give low, high or both")
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is not None:
                number_parameter(name, bound)
        if self.low is not None and self.high is not None:
            check(
                self.low <= self.high, f"low ({self.low!r}) must not be above high ({self.high!r})"
            )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        self._bounds(types[0])
        return types

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        (x,), of = inputs, types[0]
        low, high = self._bounds(of)
        result = x
        if low is not None:
            result = (
                pl.when(x < polars_constant(low, of)).then(polars_constant(low, of)).otherwise(x)
            )
        if high is not None:
            above = x > polars_constant(high, of)
            if of.is_float:
                # To Polars NaN is greater than any number.
                above &= x.is_not_nan()
            result = pl.when(above).then(polars_constant(high, of)).otherwise(result)
        return result

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        (x,), of = inputs, types[0]
        low, high = self._bounds(of)
        result = x
        if low is not None:
            result = tf.where(x < low, tensorflow_constant(low, of), result)
        if high is not None:
            result = tf.where(x > high, tensorflow_constant(high, of), result)
        return result

    def _bounds(self, of: Type) -> tuple[Any, Any]:
        low = None if self.low is None else constant_of("low", self.low, of)
        high = None if self.high is None else constant_of("high", self.high, of)
        return low, high

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        (x,), of = inputs, types[0]
        low, high = self._bounds(of)

        def held(x: Any) -> Any:
            branches = []
            if low is not None:
                branches.append((infix(x, "<", constant(low, of)), constant(low, of)))
            if high is not None:
                branches.append((infix(x, ">", constant(high, of)), constant(high, of)))
            return case(*branches, otherwise=x)

        return let([x], held)
