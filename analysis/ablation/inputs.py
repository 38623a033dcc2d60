"""Labels, folds, weights and clusters as arrays, however they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from featurekit.analysis.ablation import tasks
from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.tasks import Label, Task
from featurekit.errors import DataError, UsageError, closest

__all__ = [
    "Values", "column", "deal_folds", "framed", "ranks", "read_label", "read_weights",
]  # fmt: skip

Values = np.ndarray | pl.Series
"""One value for each row."""

BATCH = 65_536


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


def ranks(series: pl.Series) -> np.ndarray:
    """Return a code for every value, from 0 on in the order of the values."""
    return series.rank("dense").cast(pl.Int64).to_numpy() - 1


def deal_folds(
    frame: pl.LazyFrame,
    features: Sequence[str],
    folds: int | str | Values,
    clusters: pl.Series | None,
    label: np.ndarray,
    weights: pl.Series | None,
    seed: int,
) -> np.ndarray:
    """Return the fold of every row.

    A number of folds is dealt round: to the clusters, or else to the rows, in the order of a hash
    of what they hold. So folds have equal sizes, and neither rows nor columns have an order.

    Raises:
        UsageError: Folds are not integers, or are fewer than two.
    """
    if not isinstance(folds, int):
        series = column(frame, folds, "folds", len(label))
        if not series.dtype.is_integer():
            raise UsageError(f"folds are {series.dtype}; expected integers", where="folds")
        return series.cast(pl.Int64).to_numpy()
    if folds < 2:
        raise UsageError(f"{folds} folds; expected at least 2", where="folds")
    if clusters is not None:
        codes = ranks(clusters)
        first = np.unique(codes, return_index=True)[1]
        dealt: np.ndarray = _dealt(clusters[first].hash(seed).to_numpy(), folds)[codes]
        return dealt
    beside = {"label": pl.Series(label)} | ({} if weights is None else {"weights": weights})
    hashes = np.zeros(len(label), dtype=np.uint64)
    for series in beside.values():
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + series.hash(seed).to_numpy()
    start = 0
    names = sorted(features)
    for batch in frame.select(names).collect_batches(chunk_size=BATCH, maintain_order=True):
        part = slice(start, start + batch.height)
        hashes[part] += batch.hash_rows(seed).to_numpy()
        start += batch.height
    return _dealt(hashes, folds)


def _dealt(hashes: np.ndarray, folds: int) -> np.ndarray:
    """Deal folds round, in the order of the hashes."""
    out = np.empty(len(hashes), dtype=np.int64)
    out[np.argsort(hashes, kind="stable")] = np.arange(len(hashes)) % folds
    return out
