"""`cross(*x, buckets)`: a combination of keys hashed into one of n buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, integer_parameter, tf
from featurekit.transforms.hashing import (
    bigquery_farmhash_bucket,
    farmhash_bucket,
    tensorflow_farmhash_bucket,
)
from featurekit.transforms.sql import constant, function
from featurekit.types import INT64, KEY, STRING, Type

__all__ = ["Cross"]

_BETWEEN = "_X_"


@dataclass(frozen=True)
class Cross(RowOperation):
    """Bucket of a combination of keys: the FarmHash64 of the keys joined by "_X_", modulo n.

    Args:
        x: At least two strings, integers or booleans; an integer is hashed as its decimal text,
            a boolean as "true" or "false".
        buckets: The number of buckets.

    Returns:
        int64 from 0 to buckets - 1, one per row. Null where any input is null.

    Raises:
        SpecError: `buckets` is not an integer of at least 1.

    Source: equal to `tf.strings.to_hash_bucket_fast(tf.strings.join([...], "_X_"), buckets)`;
    "_X_" is what TensorFlow's `tf.sparse.cross` joins by.
    """

    buckets: int

    inputs = (Input("x", KEY),)
    variadic = True
    least_inputs = 2
    examples = (
        Example(
            "cross(a, b, buckets=1000)",
            {"a": ["JFK", "JFK", None], "b": ["LAX", None, "LAX"]},
            [173, None, None],
        ),
        Example("cross(a, b, a, buckets=10)", {"a": ["", "x"], "b": [1, 2]}, [9, 8]),
    )

    def __post_init__(self) -> None:
        integer_parameter("buckets", self.buckets, 1, 2**63 - 1)

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (STRING,) * len(types)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        return 0, self.buckets - 1

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        joined = pl.concat_str(inputs, separator=_BETWEEN, ignore_nulls=False)
        return farmhash_bucket(joined, self.buckets)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        joined = tf.strings.join(inputs, separator=_BETWEEN)
        return tensorflow_farmhash_bucket(joined, self.buckets)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        parts = [part for entry in inputs for part in (constant(_BETWEEN, STRING), entry)]
        return bigquery_farmhash_bucket(function("CONCAT", *parts[1:]), self.buckets)
