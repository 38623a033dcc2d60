"""`split_part(x, separator, index)`: one of the parts of a string between separators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import (
    Example,
    Input,
    Masked,
    RowOperation,
    check,
    integer_parameter,
    tf,
)
from featurekit.transforms.sql import constant, element, function
from featurekit.types import STRING, TEXT, Type

__all__ = ["SplitPart"]


@dataclass(frozen=True)
class SplitPart(RowOperation):
    """The part of a string at a place, once it is split at every separator.

    Args:
        x: A string.
        separator: The text between parts.
        index: Which part, from 0; a negative one counts from the end, -1 being the last part.

    Returns:
        string, one per row. A string without the separator has one part, itself. Null where x is
        null or has no such part.

    Raises:
        SpecError: `separator` is empty or not a string; `index` is not an integer.
    """

    separator: str
    index: int

    inputs = (Input("x", TEXT),)
    null_rule = "null where x is null or has no part at the index"
    examples = (
        Example("split_part(x, '-', 1)", {"x": ["a-b-c", "a", "a-", None]}, ["b", None, "", None]),
        Example("split_part(x, '::', -1)", {"x": ["a::b", "", "a:::b"]}, ["b", "", ":b"]),
    )

    def __post_init__(self) -> None:
        check(
            isinstance(self.separator, str) and self.separator != "",
            f"separator must be text that is not empty, got {self.separator!r}",
        )
        integer_parameter("index", self.index, -(2**31), 2**31 - 1)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return STRING

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].str.split(self.separator).list.get(self.index, null_on_oob=True)

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        (x,) = inputs
        parts = tf.strings.split(x.values, sep=self.separator)
        count = parts.row_lengths()
        place = self.index if self.index >= 0 else count + self.index
        found = tf.logical_and(place >= 0, place < count)
        at = tf.where(found, parts.row_starts() + place, tf.size(parts.flat_values, tf.int64))
        values = tf.gather(tf.concat([parts.flat_values, [""]], axis=0), at)
        return Masked(values, tf.logical_and(x.valid, found))

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        parts = function("SPLIT", inputs[0], constant(self.separator, STRING))
        if self.index >= 0:
            return element(parts, self.index)
        return element(function("ARRAY_REVERSE", parts), -1 - self.index)
