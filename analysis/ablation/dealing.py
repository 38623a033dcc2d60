"""Which rows are held out together: dealt by a hash, kept together by entity, or cut by time.

Nothing here depends on the order of rows or columns: what is dealt follows a hash of what rows
hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from featurekit.analysis.ablation.inputs import Values, column
from featurekit.errors import UsageError

__all__ = ["cut_by_time", "deal", "deal_clusters", "deal_folds", "ranks", "row_hashes"]

BATCH = 65_536
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def ranks(series: pl.Series) -> np.ndarray:
    """Return a code for every value, from 0 on in the order of the values."""
    return series.rank("dense").cast(pl.Int64).to_numpy() - 1


def row_hashes(
    frame: pl.LazyFrame, features: Sequence[str], beside: Mapping[str, pl.Series], seed: int
) -> np.ndarray:
    """Return a hash of what each row holds, uint64 of shape [rows].

    Args:
        frame: The rows.
        features: The columns to look at, in any order.
        beside: Further columns, which are hashed first.
        seed: Of the hash.
    """
    hashes = np.zeros(len(next(iter(beside.values()))), dtype=np.uint64)
    for series in beside.values():
        hashes = hashes * _GOLDEN + series.hash(seed).to_numpy()
    start = 0
    names = sorted(features)
    for batch in frame.select(names).collect_batches(chunk_size=BATCH, maintain_order=True):
        part = slice(start, start + batch.height)
        hashes[part] += batch.hash_rows(seed).to_numpy()
        start += batch.height
    return hashes


def deal(hashes: np.ndarray, count: int) -> np.ndarray:
    """Deal numbers below `count` round, in the order of hashes; int64 of shape [rows]."""
    out = np.empty(len(hashes), dtype=np.int64)
    out[np.argsort(hashes, kind="stable")] = np.arange(len(hashes)) % count
    return out


def deal_clusters(clusters: pl.Series, count: int, seed: int) -> np.ndarray:
    """Deal numbers below `count` round to clusters, whose rows stay together."""
    codes = ranks(clusters)
    first = np.unique(codes, return_index=True)[1]
    dealt: np.ndarray = deal(clusters[first].hash(seed).to_numpy(), count)[codes]
    return dealt


def cut_by_time(time: np.ndarray, count: int, embargo: int = 0) -> np.ndarray:
    """Cut rows into blocks that follow each other in time and are about equally large.

    Args:
        time: Of shape [rows], with an order; rows of one moment stay together.
        count: How many blocks.
        embargo: Rows so shortly before the first row of the next block belong to none.

    Returns:
        The block of each row, int64 of shape [rows]; -1 for none.

    Example:
        >>> cut_by_time(np.array([10, 11, 11, 15, 18, 30]), 2, embargo=4).tolist()
        [0, -1, -1, 1, 1, 1]
    """
    ordered = np.sort(time)
    earlier = np.searchsorted(ordered, time, side="left")
    block: np.ndarray = earlier * count // len(time)
    if embargo:
        begins = np.array([time[block == one].min() for one in np.unique(block)])
        ends = np.append(begins[1:], np.iinfo(np.int64).max)[
            np.searchsorted(np.unique(block), block)
        ]
        block = np.where(time >= ends - embargo, -1, block)
    return block


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
        return deal_clusters(clusters, folds, seed)
    beside = {"label": pl.Series(label)} | ({} if weights is None else {"weights": weights})
    return deal(row_hashes(frame, features, beside, seed), folds)
