"""`not x`: whether a condition does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, tf
from featurekit.transforms.families import SameType
from featurekit.transforms.sql import whether_not
from featurekit.types import BOOLEAN, Type

__all__ = ["LogicalNot"]


@dataclass(frozen=True)
class LogicalNot(SameType):
    """Whether a condition does not hold.

    Args:
        x: A boolean.

    Returns:
        `bool`, one per row. Null where x is null.
    """

    inputs = (Input("x", BOOLEAN),)
    operator = "not"
    examples = (
        Example("not x", {"x": [True, False, None]}, [False, True, None]),
        Example("not x > 1", {"x": [1, 2, None]}, [True, False, None]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return ~inputs[0]

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.logical_not(inputs[0])

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return whether_not(inputs[0])
