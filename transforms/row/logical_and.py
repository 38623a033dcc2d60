"""`x and y`: whether all of several conditions hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Masked, tf
from featurekit.transforms.families import Logical
from featurekit.transforms.sql import all_of
from featurekit.types import Type

__all__ = ["LogicalAnd"]


@dataclass(frozen=True)
class LogicalAnd(Logical):
    """Whether all of several conditions hold.

    Args:
        x: Two or more booleans.

    Returns:
        `bool`, one per row: false where any input is false; else null where any is null; else
        true.

    Source: S. C. Kleene, "Introduction to Metamathematics", 1952, section 64 (also SQL's AND).
    """

    null_rule = "null where no input is false and any is null"
    operator = "and"
    examples = (
        Example(
            "x and y",
            {
                "x": [True, True, True, False, False, None],
                "y": [True, False, None, False, None, None],
            },
            [True, False, None, False, False, None],
        ),
        Example("0 < x < 2", {"x": [0, 1, 2, None]}, [False, True, False, None]),
        Example("logical_and(x, y, x)", {"x": [True, None], "y": [True, False]}, [True, False]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return pl.all_horizontal(inputs)

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        x = inputs[0]
        for y in inputs[1:]:
            false = (x.valid & ~x.values) | (y.valid & ~y.values)
            x = Masked(tf.logical_not(false), false | (x.valid & y.valid))
        return x

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return all_of(*inputs)
