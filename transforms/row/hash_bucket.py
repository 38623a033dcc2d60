"""`hash_bucket(x, buckets)`: a string hashed into one of n buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, integer_parameter
from featurekit.transforms.hashing import (
    bigquery_farmhash_bucket,
    farmhash_bucket,
    tensorflow_farmhash_bucket,
)
from featurekit.types import INT64, KEY, STRING, Type

__all__ = ["HashBucket"]


@dataclass(frozen=True)
class HashBucket(RowOperation):
    """Bucket of a key: its FarmHash64, unsigned, modulo the number of buckets.

    Args:
        x: A string, an integer or a boolean; an integer is hashed as its decimal text, a boolean
            as "true" or "false".
        buckets: The number of buckets.

    Returns:
        int64 from 0 to buckets - 1, one per row. Null where x is null.

    Raises:
        SpecError: `buckets` is not an integer of at least 1.

    Source: FarmHash `Fingerprint64`, https://github.com/google/farmhash; equal to
    `tf.strings.to_hash_bucket_fast`. BigQuery's `MOD(ABS(FARM_FINGERPRINT(x)), n)` is not equal.
    """

    buckets: int

    inputs = (Input("x", KEY),)
    examples = (
        # FarmHash64("abc") is 2640714258260161385 in the documentation of PyPI's pyfarmhash.
        Example("hash_bucket(x, 1000)", {"x": ["abc", None]}, [385, None]),
        Example("hash_bucket(x, 10)", {"x": ["", "Hello"]}, [3, 1]),
        Example("hash_bucket(x, 10)", {"x": [42, None]}, [6, None]),
    )

    def __post_init__(self) -> None:
        integer_parameter("buckets", self.buckets, 1, 2**63 - 1)

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (STRING,)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        return 0, self.buckets - 1

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return farmhash_bucket(inputs[0], self.buckets)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tensorflow_farmhash_bucket(inputs[0], self.buckets)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return bigquery_farmhash_bucket(inputs[0], self.buckets)
