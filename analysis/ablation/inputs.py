"""Labels, folds, weights and clusters as arrays, however they were given."""

from __future__ import annotations

import numpy as np
import polars as pl

from featurekit.analysis.ablation.losses import Loss
from featurekit.errors import DataError, UsageError, closest

__all__ = ["Values", "column", "read_label"]

Values = np.ndarray | pl.Series
"""One value for each row."""


def column(frame: pl.LazyFrame, given: str | Values, what: str, rows: int) -> pl.Series:
    """Return a column of the rows, or an array that was given.

    Raises:
        UsageError: There is no such column, or the array has another length.
        DataError: A value is missing.
    """
    if isinstance(given, str):
        names = frame.collect_schema().names()
        if given not in names:
            raise UsageError(
                f"no column is called {given!r}", where=what, hint=closest(given, names)
            )
        series = frame.select(given).collect(engine="streaming").to_series()
    else:
        series = given if isinstance(given, pl.Series) else pl.Series(what, np.asarray(given))
    if len(series) != rows:
        raise UsageError(f"{len(series):,} values for {rows:,} rows", where=what)
    missing = series.null_count()
    if series.dtype.is_float():
        missing += int(series.is_nan().sum())
    if missing:
        raise DataError(
            f"{missing:,} of {len(series):,} values are missing", where=what,
            hint="leave these rows out",
        )  # fmt: skip
    return series


def read_label(series: pl.Series, task: str | None) -> tuple[np.ndarray, Loss]:
    """Return the label as float64 and what a prediction of it costs.

    Raises:
        UsageError: The task is unknown, or the label does not fit it.
    """
    if task not in (None, "binary", "regression"):
        raise UsageError(f"task {task!r}; expected 'binary' or 'regression'")
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        raise UsageError(
            f"the label is {series.dtype}; expected numbers or truth values",
            hint="compare it with one of its values",
        )
    values = series.cast(pl.Float64).to_numpy()
    if not np.isfinite(values).all():
        raise DataError("a label is infinite", where="label")
    truth = set(np.unique(values[:1000])) <= {0.0, 1.0} and set(np.unique(values)) == {0.0, 1.0}
    if task == "binary" and not truth:
        raise UsageError("a binary label has the values 0 and 1 (or false and true), both")
    if task == "binary" or (task is None and truth):
        return values, Loss.LOG
    return values, Loss.SQUARED
