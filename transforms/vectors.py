"""One-hot vectors: fixed-size float32 arrays from indices."""

from __future__ import annotations

from typing import Any

import polars as pl

from featurekit.transforms.base import polars_dtype, tf
from featurekit.transforms.sql import array_of, case, infix, let, unless_null
from featurekit.types import Kind, Type

__all__ = ["bigquery_one_hot", "one_hot_array", "one_hot_type", "tensorflow_one_hot"]


def one_hot_type(depth: int) -> Type:
    """Return the type of a one-hot vector of so many elements."""
    return Type(Kind.FLOAT32, depth)


def one_hot_array(index: pl.Expr, depth: int) -> pl.Expr:
    """Return a float32 array of `depth` elements with 1 at the index, all 0 when out of range.

    A null vector where the index is null.

    Args:
        index: An int64 expression.
        depth: The width of the vector, at least 1.
    """
    import numpy as np

    def scattered(batch: pl.Series) -> pl.Series:
        hot = ((batch >= 0) & (batch < depth)).fill_null(False)
        rows = hot.arg_true().to_numpy().astype(np.int64)
        flat = np.zeros(len(batch) * depth, dtype=np.float32)
        flat[rows * depth + batch.filter(hot).to_numpy()] = 1.0
        vectors = pl.Series(batch.name, flat).reshape((-1, depth))
        if not batch.null_count():
            return vectors
        return pl.select(pl.when(batch.is_not_null()).then(vectors)).to_series()

    return index.map_batches(
        scattered, return_dtype=polars_dtype(one_hot_type(depth)), is_elementwise=True
    )


def tensorflow_one_hot(index: Any, depth: int) -> Any:
    """Return the same in a TensorFlow graph: float32 of shape [batch, depth]."""
    return tf.one_hot(index, depth, dtype=tf.float32)


def bigquery_one_hot(index: Any, depth: int) -> Any:
    """Return the same as a tree of GoogleSQL: ARRAY<FLOAT64>.

    BigQuery shows a null array as an empty one, which no vector is.
    """

    def hot(index: Any) -> Any:
        zeros = array_of(depth, lambda place: case((infix(place, "=", index), 1.0), otherwise=0.0))
        return unless_null([index], zeros)

    return let([index], hot)
