"""`length(x)`: the number of characters of a string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, tf
from featurekit.transforms.sql import function
from featurekit.types import INT64, TEXT, Type

__all__ = ["Length"]


@dataclass(frozen=True)
class Length(RowOperation):
    """Number of characters of a string, that is of Unicode code points (not of bytes).

    Args:
        x: A string.

    Returns:
        int64, one per row; 0 for the empty string. Null where x is null.
    """

    inputs = (Input("x", TEXT),)
    examples = (
        Example("length(x)", {"x": ["abc", "", None, "é"]}, [3, 0, None, 1]),
        Example("length(x)", {"x": ["日本", "👍🏽"]}, [2, 2]),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].str.len_chars().cast(pl.Int64)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.cast(tf.strings.length(inputs[0], unit="UTF8_CHAR"), tf.int64)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return function("CHAR_LENGTH", inputs[0])
