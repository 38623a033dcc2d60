"""`x != y`: whether two values differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import Comparison
from featurekit.transforms.row.equal import Equal
from featurekit.types import Type

__all__ = ["NotEqual"]


@dataclass(frozen=True)
class NotEqual(Comparison):
    """Whether two values differ.

    Args:
        x: A number, a string, a boolean, a timestamp or a duration.
        y: Another of the same kind; two types of numbers are compared in float64.

    Returns:
        `bool`, one per row: the opposite of `equal`, so true where x or y is NaN. Null where x or
        y is null.

    Raises:
        SpecError: x and y are of different kinds.
    """

    operator = "!="
    _sql = "!="
    examples = (
        Example(
            "x != y", {"x": [1, 2, None, None], "y": [1, 3, 3, None]}, [False, True, None, None]
        ),
        Example("x != 'a'", {"x": ["a", "A", "", None]}, [False, True, True, None]),
        Example("x / x != x / x", {"x": [1.0, 0.0, None]}, [False, True, None]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return ~Equal().polars(inputs, types)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.not_equal(*inputs)
