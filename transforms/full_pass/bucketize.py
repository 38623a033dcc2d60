"""`bucketize(x, buckets)`: which of equally filled buckets x falls in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, FullPassOperation, Input, integer_parameter
from featurekit.transforms.buckets import bucket_of, tensorflow_buckets_of
from featurekit.transforms.statistics import Quantiles, Statistic
from featurekit.types import INT64, NUMBER, Type

__all__ = ["Bucketize"]


@dataclass(frozen=True)
class Bucketize(FullPassOperation):
    """Number of the quantile bucket: about equally many training rows fall in each.

    Boundary i of q is `sorted[floor(n * i / q)]` of the n finite training values, exactly; the
    bucket is the number of boundaries <= x. Equal boundaries all count, so that heavy ties leave
    bucket numbers unused, as in tf.Transform.

    Args:
        x: A number.
        buckets: The number of buckets, at least 2.

    Returns:
        int64 from 0 to `buckets - 1`, one per row; NaN falls in the last. Null where x is null.

    Raises:
        SpecError: `buckets` is not an integer of at least 2.
        DataError: The training rows hold no finite value.

    Source: `tft.bucketize` of tensorflow-transform 1.21, there with approximate boundaries that are
        float32; here they are exact and of the type of x.
    """

    buckets: int

    inputs = (Input("x", NUMBER),)
    examples = (
        Example("bucketize(x, 4)", {"x": [4.0, 1.0, 3.0, 2.0, None]}, [3, 0, 2, 1, None]),
        Example("bucketize(x, 4)", {"x": [1, 1, 1, 2, 3, 3, 9, 9]}, [1, 1, 1, 1, 2, 2, 3, 3]),
        Example("bucketize(x, 3)", {"x": [7, 7, None]}, [2, 2, None]),
    )

    def __post_init__(self) -> None:
        integer_parameter("buckets", self.buckets, 2)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        return 0, self.buckets - 1

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (Quantiles(self.buckets),)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        return bucket_of(inputs[0], fitted[0].boundaries, types[0])

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        return tensorflow_buckets_of(inputs[0], fitted[0].boundaries, types[0])
