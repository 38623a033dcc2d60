"""Hashing strings into buckets: unsigned FarmHash64 modulo n, as TensorFlow does it."""

from __future__ import annotations

from typing import Any

import farmhash
import polars as pl

from featurekit.transforms.base import tf
from featurekit.transforms.sql import case, cast, function, infix, let
from featurekit.types import INT64

__all__ = ["bigquery_farmhash_bucket", "farmhash_bucket", "tensorflow_farmhash_bucket"]


def farmhash_bucket(expr: pl.Expr, buckets: int) -> pl.Expr:
    """Return `Fingerprint64(x) mod buckets` of a string column, unsigned, as int64.

    Each distinct string of a batch is hashed once. Null where x is null.

    Args:
        expr: A string expression; its UTF-8 bytes are hashed.
        buckets: The number of buckets, at least 1.

    Source: FarmHash's `Fingerprint64`, https://github.com/google/farmhash; TensorFlow's
    `string_to_hash_bucket_fast` computes the same. (`farmhash.hash64` does not, from 33 bytes on.)
    """

    def hashed(batch: pl.Series) -> pl.Series:
        words = batch.unique().drop_nulls()
        prints = pl.Series([farmhash.fingerprint64(word) for word in words], dtype=pl.UInt64)
        places = (prints % buckets).cast(pl.Int64)
        return batch.replace_strict(words, places, default=None, return_dtype=pl.Int64)

    return expr.map_batches(hashed, return_dtype=pl.Int64(), is_elementwise=True)


def tensorflow_farmhash_bucket(values: Any, buckets: int) -> Any:
    """Return the same in a TensorFlow graph, from a string tensor."""
    return tf.strings.to_hash_bucket_fast(values, buckets)


def bigquery_farmhash_bucket(value: Any, buckets: int) -> Any:
    """Return the same as a tree of GoogleSQL, from the tree of a string.

    FARM_FINGERPRINT is the same hash read as a signed number; NUMERIC holds the unsigned one.
    """

    def bucket(signed: Any) -> Any:
        turn = case((infix(signed, "<", 0), cast(str(2**64), "NUMERIC")), otherwise=0)
        unsigned = infix(cast(signed, "NUMERIC"), "+", turn)
        return cast(function("MOD", unsigned, buckets), INT64)

    return let([function("FARM_FINGERPRINT", value)], bucket)
