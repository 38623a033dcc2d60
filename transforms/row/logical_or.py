"""`x or y`: whether any of several conditions holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Masked
from featurekit.transforms.families import Logical
from featurekit.transforms.sql import any_of
from featurekit.types import Type

__all__ = ["LogicalOr"]


@dataclass(frozen=True)
class LogicalOr(Logical):
    """Whether any of several conditions holds.

    Args:
        x: Two or more booleans.

    Returns:
        `bool`, one per row: true where any input is true; else null where any is null; else
        false.

    Source: S. C. Kleene, "Introduction to Metamathematics", 1952, section 64 (also SQL's OR).
    """

    null_rule = "null where no input is true and any is null"
    operator = "or"
    examples = (
        Example(
            "x or y",
            {
                "x": [True, True, True, False, False, None],
                "y": [True, False, None, False, None, None],
            },
            [True, True, True, False, None, None],
        ),
        Example("x < 0 or x > 2", {"x": [-1, 1, 3, None]}, [True, False, True, None]),
        Example("logical_or(x, y, x)", {"x": [False, None], "y": [False, True]}, [False, True]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return pl.any_horizontal(inputs)

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        x = inputs[0]
        for y in inputs[1:]:
            true = (x.valid & x.values) | (y.valid & y.values)
            x = Masked(true, true | (x.valid & y.valid))
        return x

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return any_of(*inputs)
