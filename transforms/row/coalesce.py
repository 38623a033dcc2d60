"""`coalesce(*x)`: the first value of a row that is not null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Masked, tf
from featurekit.transforms.families import CommonType
from featurekit.transforms.sql import function
from featurekit.types import Type

__all__ = ["Coalesce"]


@dataclass(frozen=True)
class Coalesce(CommonType):
    """The first value of a row that is not null.

    Args:
        x: Two or more values of one type, or numbers.

    Returns:
        The common type of the inputs, one per row. Null where every input is null. NaN that
        arithmetic made is a value.

    Raises:
        SpecError: The inputs have no common type.
    """

    null_rule = "null where every input is null"
    examples = (
        Example("coalesce(x, y)", {"x": [1, None, None], "y": [2, 2, None]}, [1, 2, None]),
        Example("coalesce(x, y, 0.5)", {"x": [1, None, None], "y": [2, 2, None]}, [1.0, 2.0, 0.5]),
        Example("coalesce(x, 'none')", {"x": ["a", "", None]}, ["a", "", "none"]),
    )

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return pl.coalesce(inputs)

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        found = inputs[0]
        for entry in inputs[1:]:
            values = tf.where(found.valid, found.values, entry.values)
            found = Masked(values, tf.logical_or(found.valid, entry.valid))
        return found

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return function("COALESCE", *inputs)
