"""`x if condition else y`: one of two values, by a condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, Masked, RowOperation, tf
from featurekit.transforms.families import common_type
from featurekit.transforms.sql import case, let, whether_not
from featurekit.types import BOOLEAN, SCALAR, Type

__all__ = ["Where"]


@dataclass(frozen=True)
class Where(RowOperation):
    """x where the condition holds, y where it does not.

    Args:
        condition: A boolean.
        x: A value of any scalar type.
        y: Another of the same type, or any number where x is a number.

    Returns:
        The common type of x and y. Null where the condition is null and where the chosen value is;
        a null of the other value does not matter.

    Raises:
        SpecError: x and y have no common type.
    """

    inputs = (Input("condition", BOOLEAN), Input("x", SCALAR), Input("y", SCALAR))
    null_rule = "null where the condition is null, and where the chosen value is"
    operator = "if"
    examples = (
        Example(
            "x if c else y",
            {
                "c": [True, False, None, True, False],
                "x": [1, 1, 1, None, None],
                "y": [2, 2, 2, 2, 2],
            },
            [1, 2, None, None, 2],
        ),
        Example("where(x > 0, 'up', 'down')", {"x": [1.0, -1.0, None]}, ["up", "down", None]),
        Example("x if x > 0 else 0.5", {"x": [3, -3, None]}, [3.0, 0.5, None]),
    )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        condition, *values = types
        return (condition, *(common_type(values),) * 2)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return types[1]

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        condition, x, y = inputs
        return pl.when(condition).then(x).when(~condition).then(y)

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        condition, x, y = inputs
        values = tf.where(condition.values, x.values, y.values)
        valid = tf.where(condition.values, x.valid, y.valid)
        return Masked(values, tf.logical_and(condition.valid, valid))

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        condition, x, y = inputs
        return let([condition], lambda holds: case((holds, x), (whether_not(holds), y)))
