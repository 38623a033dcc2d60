"""`concat(*x, separator="")`: several strings joined into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, check, tf
from featurekit.transforms.sql import constant, function
from featurekit.types import STRING, STRING_LIKE, Type

__all__ = ["Concat"]


@dataclass(frozen=True)
class Concat(RowOperation):
    """Strings joined in the order given.

    Args:
        x: At least two strings or integers; an integer is written in decimal.
        separator: What stands between any two.

    Returns:
        string, one per row. Null where any input is null.

    Raises:
        SpecError: `separator` is not a string.
    """

    separator: str = ""

    inputs = (Input("x", STRING_LIKE),)
    variadic = True
    least_inputs = 2
    examples = (
        Example("concat(a, b)", {"a": ["x", "", None], "b": ["y", "", "z"]}, ["xy", "", None]),
        Example("concat(a, b, a, separator='-')", {"a": ["x"], "b": [-7]}, ["x--7-x"]),
    )

    def __post_init__(self) -> None:
        check(
            isinstance(self.separator, str), f"separator must be a string, got {self.separator!r}"
        )

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (STRING,) * len(types)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return STRING

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return pl.concat_str(inputs, separator=self.separator, ignore_nulls=False)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.strings.join(inputs, separator=self.separator)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        between = [constant(self.separator, STRING)] if self.separator else []
        parts = [part for entry in inputs for part in (*between, entry)]
        return function("CONCAT", *parts[len(between) :])
