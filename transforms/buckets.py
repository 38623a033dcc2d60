"""Which bucket a number falls in: the number of boundaries at or below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from featurekit.transforms.base import polars_dtype, tensorflow_dtype, tf
from featurekit.types import FLOAT32, INT64, Type

__all__ = ["bucket_of", "tensorflow_bucket_of"]

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
        # Polars orders NaN after every number, which is where it belongs here.
        reached = [(x >= pl.lit(limit, dtype=dtype)).cast(pl.UInt8) for limit in limits]
        return pl.sum_horizontal(reached, ignore_nulls=False).cast(pl.Int64)
    ordered = pl.Series(limits, dtype=dtype)

    def searched(batch: pl.Series) -> pl.Series:
        return ordered.search_sorted(batch, side="right").cast(pl.Int64)

    found = x.map_batches(searched, return_dtype=pl.Int64(), is_elementwise=True)
    return pl.when(x.is_not_null()).then(found)


def tensorflow_bucket_of(values: Any, boundaries: Sequence[float], of: Type) -> Any:
    """Return the same in a TensorFlow graph: int64 buckets of a tensor of shape [batch]."""
    limits = tf.constant(_of_type(boundaries, of), dtype=tensorflow_dtype(of))
    return tf.searchsorted(limits, values, side="right", out_type=tf.int64)


def _of_type(boundaries: Sequence[float], of: Type) -> list[Any]:
    """Round boundaries to a number type; those that no int64 reaches are left out."""
    if of == INT64:
        info = np.iinfo(np.int64)
        whole = [math.ceil(boundary) for boundary in boundaries]
        return [max(limit, int(info.min)) for limit in whole if limit <= info.max]
    if of == FLOAT32:
        with np.errstate(over="ignore"):
            return [float(np.float32(boundary)) for boundary in boundaries]
    return [float(boundary) for boundary in boundaries]
