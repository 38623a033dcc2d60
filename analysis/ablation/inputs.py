"""Labels, folds, weights and clusters as arrays, however they were given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from featurekit.analysis.ablation import tasks
from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.tasks import Label, Task
from featurekit.errors import DataError, UsageError, closest

__all__ = [
    "Values", "column", "framed", "read_label", "read_weights",
]  # fmt: skip

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


def framed(table: pl.DataFrame | pl.LazyFrame | Mapping[str, Values]) -> pl.LazyFrame:
    """Return the rows of a table, or of columns by their names."""
    if isinstance(table, pl.DataFrame | pl.LazyFrame):
        return table.lazy()
    return pl.DataFrame(dict(table)).lazy()


def read_weights(frame: pl.LazyFrame, given: str | Values, rows: int) -> pl.Series:
    """Return the weights of the rows as float64.

    Raises:
        UsageError: There is no such column, the array has another length, or a weight is negative
            or infinite.
        DataError: A weight is missing.
    """
    weights = column(frame, given, "weights", rows).cast(pl.Float64)
    if not (weights.is_finite() & (weights >= 0.0)).all():
        raise UsageError("weights must be finite and not negative", where="weights")
    return weights


def read_label(series: pl.Series, task: Task | str | None) -> tuple[Label, Loss]:
    """Return the label as numbers and what a prediction of it costs; see `tasks.py`.

    Raises:
        UsageError: The task is unknown, or the label does not fit it.
        DataError: A value is infinite, or all are the same.
    """
    label = tasks.read_label(series, task)
    return label, Loss.LOG if label.task is Task.BINARY else Loss.SQUARED
