"""`is_missing(x)`: whether a value is null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, Masked, RowOperation, tf
from featurekit.transforms.sql import is_null
from featurekit.types import ANY, BOOL, Type

__all__ = ["IsMissing"]


@dataclass(frozen=True)
class IsMissing(RowOperation):
    """Whether a value is null.

    Args:
        x: A value of any scalar type.

    Returns:
        `bool`, one per row, never null. NaN in a float column of a source is null already; NaN
        that arithmetic made is not missing.
    """

    inputs = (Input("x", ANY),)
    null_rule = "never null"
    examples = (
        Example("is_missing(x)", {"x": [0.0, None]}, [False, True]),
        Example("is_missing(x / x)", {"x": [0.0, None]}, [False, True]),
        Example("is_missing(x)", {"x": ["a", None]}, [False, True]),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].is_null()

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        valid = inputs[0].valid
        return Masked(tf.logical_not(valid), tf.ones_like(valid))

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return is_null(inputs[0])
