"""Columns as the SavedModel's outputs and tf.Examples hold them: without nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from featurekit.engines.wire import MISSING_INTEGER

if TYPE_CHECKING:
    import numpy as np

__all__ = ["dense"]


def dense(series: pl.Series) -> np.ndarray:
    """Return a column as an array of shape [rows] or [rows, width].

    A missing float is NaN (in a missing vector: every element), a missing text the empty string, a
    missing integer the smallest int64; booleans are 0 and 1, times are microseconds.
    """
    if isinstance(series.dtype, pl.Array) and not series.dtype.inner.is_float():
        import numpy as np

        elements = (series.arr.get(place) for place in range(series.dtype.shape[0]))
        return np.stack([dense(element) for element in elements], axis=1)
    if series.dtype == pl.String:
        return series.fill_null("").to_numpy()
    if isinstance(series.dtype, pl.Array) or series.dtype.is_float():
        return series.to_numpy()
    return series.to_physical().cast(pl.Int64).fill_null(MISSING_INTEGER).to_numpy()
