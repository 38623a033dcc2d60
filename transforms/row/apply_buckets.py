"""`apply_buckets(x, boundaries)`: which bucket a number falls in, between given boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, check, number_parameter
from featurekit.transforms.buckets import bigquery_bucket_of, bucket_of, tensorflow_bucket_of
from featurekit.transforms.subnormal import flushed_number
from featurekit.types import FLOAT32, INT64, NUMBER, Type

__all__ = ["ApplyBuckets"]


@dataclass(frozen=True)
class ApplyBuckets(RowOperation):
    """Bucket of a number: how many of the boundaries are at or below it.

    Args:
        x: A number.
        boundaries: A list of finite numbers, strictly increasing, in the unit of x. For a float32
            x they are rounded to float32 first, so that 0.1 reaches the boundary 0.1.

    Returns:
        int64 from 0 to the number of boundaries, one per row; NaN is in the last bucket. Null
        where x is null.

    Raises:
        SpecError: `boundaries` is empty, not increasing, or has something else than numbers.

    Source: `tft.apply_buckets`.
    """

    boundaries: tuple[float, ...]

    inputs = (Input("x", NUMBER),)
    examples = (
        Example(
            "apply_buckets(x, [0, 10])",
            {"x": [-1.0, 0.0, 9.5, 10.0, float("inf"), None]},
            [0, 1, 1, 2, 2, None],
        ),
        Example("apply_buckets(x, [0.5, 2.5])", {"x": [0, 1, 2, 3]}, [0, 1, 1, 2]),
        Example("apply_buckets(log(x), [0.0])", {"x": [-1.0, 0.5, 1.0]}, [1, 0, 1]),
    )

    def __post_init__(self) -> None:
        given = self.boundaries
        check(
            isinstance(given, (list, tuple)) and len(given) > 0,
            f"boundaries must be a list of numbers that is not empty, got {given!r}",
        )
        for boundary in given:
            number_parameter("each of boundaries", boundary)
        for low, high in pairwise(given):
            check(low < high, f"boundaries must increase, but {high!r} follows {low!r}")
        object.__setattr__(self, "boundaries", tuple(given))

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        return 0, len(self.boundaries)

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return bucket_of(inputs[0], self._limits(types[0]), types[0])

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tensorflow_bucket_of(inputs[0], self._limits(types[0]), types[0])

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return bigquery_bucket_of(inputs[0], self._limits(types[0]), types[0])

    def _limits(self, of: Type) -> Sequence[float]:
        """Return the boundaries as numbers that x can be."""
        return [*map(flushed_number, self.boundaries)] if of == FLOAT32 else self.boundaries
