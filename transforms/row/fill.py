"""`fill(x, value)`: a constant in place of null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, Masked, number_parameter, tf
from featurekit.transforms.families import (
    SameType,
    constant_of,
    polars_constant,
    tensorflow_constant,
)
from featurekit.transforms.sql import constant, function
from featurekit.types import BOOL, NUMBER, STRING, Type, TypeSet

__all__ = ["Fill"]

_FILLABLE = TypeSet("a number, a string or a boolean", NUMBER.types | {STRING, BOOL})


@dataclass(frozen=True)
class Fill(SameType):
    """x with a constant in place of null.

    Args:
        x: A number, a string or a boolean.
        value: The constant: a finite number for a number (a whole one for an integer), a string
            for a string, a boolean for a boolean.

    Returns:
        The type of x, one per row, never null. NaN that arithmetic made stays.

    Raises:
        SpecError: The value does not fit x's type.
    """

    value: bool | int | float | str

    inputs = (Input("x", _FILLABLE),)
    null_rule = "never null"
    examples = (
        Example("fill(x, 0)", {"x": [1.5, None]}, [1.5, 0.0]),
        Example("fill(x, -1)", {"x": [5, None]}, [5, -1]),
        Example("fill(x, 'none')", {"x": ["a", "", None]}, ["a", "", "none"]),
        Example("fill(x, False)", {"x": [True, None]}, [True, False]),
    )

    def __post_init__(self) -> None:
        if not isinstance(self.value, (bool, str)):
            number_parameter("value", self.value)

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        constant_of("value", self.value, types[0])
        return types

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        value = constant_of("value", self.value, types[0])
        return inputs[0].fill_null(polars_constant(value, types[0]))

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        (x,) = inputs
        value = tensorflow_constant(constant_of("value", self.value, types[0]), types[0])
        return Masked(tf.where(x.valid, x.values, value), tf.ones_like(x.valid))

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        value = constant_of("value", self.value, types[0])
        return function("COALESCE", inputs[0], constant(value, types[0]))
