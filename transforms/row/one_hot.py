"""`one_hot(x, depth)`: an index as a vector with a single 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, integer_parameter
from featurekit.transforms.vectors import (
    bigquery_one_hot,
    one_hot_array,
    one_hot_type,
    tensorflow_one_hot,
)
from featurekit.types import INTEGER, Type

__all__ = ["OneHot"]


@dataclass(frozen=True)
class OneHot(RowOperation):
    """Vector of zeros with 1 at the place that an index names.

    Args:
        x: An integer, counted from 0.
        depth: The width of the vector.

    Returns:
        float32[depth], one vector per row, all zeros where x is below 0 or not below `depth`. A
        null vector where x is null.

    Raises:
        SpecError: `depth` is not an integer from 1 to 1,000,000.

    Source: `tf.one_hot`.
    """

    depth: int

    rounds = False
    inputs = (Input("x", INTEGER),)
    examples = (
        Example(
            "one_hot(x, 3)",
            {"x": [0, 2, None]},
            [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], None],
        ),
        Example("one_hot(x, 2)", {"x": [-1, 2]}, [[0.0, 0.0], [0.0, 0.0]]),
    )

    def __post_init__(self) -> None:
        integer_parameter("depth", self.depth, 1, 1_000_000)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return one_hot_type(self.depth)

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return one_hot_array(inputs[0], self.depth)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tensorflow_one_hot(inputs[0], self.depth)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return bigquery_one_hot(inputs[0], self.depth)
