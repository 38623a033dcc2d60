"""Which bucket a number falls in: the number of boundaries at or below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import c_float
from typing import Any

import polars as pl

from featurekit.transforms.base import polars_dtype, tensorflow_dtype, tf
from featurekit.transforms.sql import case, constant, function, let, unless_null
from featurekit.types import FLOAT32, INT64, Type

__all__ = ["bigquery_bucket_of", "bucket_of", "tensorflow_bucket_of", "tensorflow_buckets_of"]

_COMPARED = 48
"""Up to so many boundaries, comparing with each is faster than a binary search (measured)."""


def bucket_of(x: pl.Expr, boundaries: Sequence[float], of: Type) -> pl.Expr:
    """Return the number of boundaries <= x, as int64.

    As in `tft.apply_buckets`, NaN is past the last boundary. Null where x is null.

    Args:
        x: A number of type `of`.
        boundaries: In ascending order; each is rounded to the type first (for integers up, which
            changes no bucket).
        of: The number type of x.
    """
    dtype = polars_dtype(of)
    limits = _of_type(boundaries, of)
    if not limits:
        return pl.when(x.is_not_null()).then(pl.lit(0, dtype=pl.Int64))
    if len(limits) <= _COMPARED:
        return pl.when(x.is_not_null()).then(_searched(x, limits, dtype)).cast(pl.Int64)
    ordered = pl.Series(limits, dtype=dtype)

    def searched(batch: pl.Series) -> pl.Series:
        return ordered.search_sorted(batch, side="right").cast(pl.Int64)

    found = x.map_batches(searched, return_dtype=pl.Int64(), is_elementwise=True)
    return pl.when(x.is_not_null()).then(found)


def _searched(x: pl.Expr, limits: Sequence[Any], dtype: Any, below: int = 0) -> pl.Expr:
    """Search by halves: the number of limits <= x, and of those `below` all of these."""
    if not limits:
        return pl.lit(below, dtype=pl.UInt8)
    half = len(limits) // 2
    # Polars orders NaN after every number, which is where it belongs here.
    reached = _searched(x, limits[half + 1 :], dtype, below + half + 1)
    return (
        pl.when(x >= pl.lit(limits[half], dtype=dtype))
        .then(reached)
        .otherwise(_searched(x, limits[:half], dtype, below))
    )


def tensorflow_bucket_of(values: Any, boundaries: Sequence[float], of: Type) -> Any:
    """Return the same in a TensorFlow graph: int64 buckets of a tensor of shape [batch]."""
    limits = tf.constant(_of_type(boundaries, of), dtype=tensorflow_dtype(of))
    return tf.searchsorted(limits, values, side="right", out_type=tf.int64)


def tensorflow_buckets_of(values: Any, boundaries: Any, of: Type) -> Any:
    """Return the same for many columns, [columns, batch], each with boundaries of its own.

    Args:
        values: Numbers of type `of`, of shape [columns, batch].
        boundaries: Shape [columns, boundaries], ascending in each row.
        of: The number type.
    """
    limits = tf.convert_to_tensor(boundaries)
    if of == INT64 and limits.dtype.is_floating:
        limits = tf.math.ceil(limits)
    limits = tf.cast(limits, tensorflow_dtype(of))
    return tf.searchsorted(limits, values, side="right", out_type=tf.int64)


def bigquery_bucket_of(x: Any, boundaries: Sequence[float], of: Type) -> Any:
    """Return the same as a tree of GoogleSQL, from the tree of a number."""
    limits = _of_type(boundaries, of)

    def bucket(x: Any) -> Any:
        if not limits:
            return unless_null([x], 0)
        place = function("RANGE_BUCKET", x, constant(limits, Type(of.kind, len(limits))))
        # To RANGE_BUCKET NaN is in no bucket.
        return case((function("IS_NAN", x), len(limits)), otherwise=place) if of.is_float else place

    return let([x], bucket)


def _of_type(boundaries: Sequence[float], of: Type) -> list[Any]:
    """Round boundaries to a number type; those that no int64 reaches are left out."""
    if of == INT64:
        whole = [math.ceil(boundary) for boundary in boundaries]
        return [max(limit, -(2**63)) for limit in whole if limit < 2**63]
    if of == FLOAT32:
        return [c_float(boundary).value for boundary in boundaries]
    return [float(boundary) for boundary in boundaries]
