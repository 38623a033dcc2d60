"""Features as small codes: quantile bins of numbers, frequent values of categories.

There are two resolutions. Fine bins are for what a feature does alone, of which nothing should be
left; each of them lies in one coarse bin, and two features' coarse bins make the cells of a table
with enough rows in each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from featurekit.analysis.ablation.design import floats

__all__ = ["MAX_FINE", "Bins", "bin_rows", "fit_bins"]

MAX_FINE = 128
"""Fine bins of a feature, at most; their codes fit into a byte."""

SAMPLE = 50_000
"""Of so many rows bins are made, and the quantiles are known to 1 / (2 sqrt(SAMPLE)) = .2%."""

BATCH = 65_536


@dataclass(frozen=True, eq=False)
class Bins:
    """How the values of a feature become codes.

    Args:
        edges: Of numbers, the largest value of each fine bin but the last, sorted; `None` for
            categories.
        levels: Of categories, the values with a fine bin of their own, the most frequent first.
        coarse: The coarse bin of each fine bin, uint8 of shape [fine bins]. The last fine bin is
            that of missing values, the one before holds what is beyond the edges, or rare.
    """

    edges: np.ndarray | None
    levels: tuple[str, ...]
    coarse: np.ndarray

    def codes(self, series: pl.Series) -> np.ndarray:
        """Return the fine bins of some values, uint8 of shape [rows]."""
        if self.edges is not None:
            values = floats(series)
            found = np.searchsorted(self.edges, values, side="left")
            return np.where(np.isfinite(values), found, len(self.edges) + 1).astype(np.uint8)
        words = pl.Enum(self.levels)
        known = series.cast(pl.String).cast(words, strict=False).to_physical().cast(pl.Int64)
        codes = known.fill_null(len(self.levels)).to_numpy()
        return np.where(series.is_null(), len(self.levels) + 1, codes).astype(np.uint8)


def fit_bins(
    frame: pl.LazyFrame,
    features: Sequence[str],
    chosen: np.ndarray,
    hashes: np.ndarray,
    *,
    fine: int,
    bins: int,
    categorical: Collection[str] = (),
) -> Mapping[str, Bins]:
    """Decide on the bins of features, from a sample of the rows.

    Args:
        frame: The rows.
        features: Names of columns with numbers, truth values, times, strings or categories.
        chosen: Which rows take part, of shape [rows].
        hashes: Of what these hold, uint64 of shape [chosen rows]; those with the smallest ones are
            the sample, whatever the order of the rows.
        fine: How many fine bins values have at most, from 2 to `MAX_FINE`.
        bins: How many coarse ones, at most.
        categorical: Which features are categories although they are numbers.

    Returns:
        The bins by feature. Missing and infinite numbers have a bin of their own, in addition.
    """
    if len(hashes) > SAMPLE:
        drawn = chosen.copy()
        drawn[chosen] = hashes <= np.partition(hashes, SAMPLE - 1)[SAMPLE - 1]
        chosen = drawn
    sample = _rows(frame, features, chosen)
    words = {
        name for name in features
        if name in categorical or sample.schema[name] in (pl.String, pl.Categorical, pl.Enum)
    }  # fmt: skip
    return {
        name: _of_words(sample[name], fine, bins)
        if name in words
        else _of_numbers(sample[name], fine, bins)
        for name in features
    }


def bin_rows(frame: pl.LazyFrame, bins: Mapping[str, Bins], chosen: np.ndarray) -> np.ndarray:
    """Return the fine bins of some rows, uint8 of shape [features, chosen rows], batch by batch."""
    out = np.empty((len(bins), int(chosen.sum())), dtype=np.uint8)
    start = stop = 0
    for batch in frame.select(list(bins)).collect_batches(chunk_size=BATCH, maintain_order=True):
        part = chosen[start : start + batch.height]
        start += batch.height
        taken = batch if part.all() else batch.filter(pl.Series(part))
        first, stop = stop, stop + taken.height
        for place, (name, of) in enumerate(bins.items()):
            out[place, first:stop] = of.codes(taken[name])
    return out


def _rows(frame: pl.LazyFrame, features: Sequence[str], chosen: np.ndarray) -> pl.DataFrame:
    """Return the chosen rows, in memory."""
    parts = []
    start = 0
    for batch in frame.select(features).collect_batches(chunk_size=BATCH, maintain_order=True):
        parts.append(batch.filter(pl.Series(chosen[start : start + batch.height])))
        start += batch.height
    return pl.concat(parts)


def _of_numbers(series: pl.Series, fine: int, bins: int) -> Bins:
    values = floats(series)
    values = np.sort(values[np.isfinite(values)])
    distinct = np.unique(values)
    if len(distinct) > fine:
        # Of a value that fills several bins, one is left.
        ends = np.arange(1, fine) * len(values) // fine - 1
        edges = np.unique(values[np.maximum(ends, 0)])
    else:
        edges = distinct[:-1]
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    seen = np.flatnonzero(counts)
    coarse = np.zeros(len(counts) + 1, dtype=np.uint8)
    if len(seen) <= bins:
        coarse[seen] = np.arange(len(seen))
    else:
        middles = (np.cumsum(counts) - counts / 2) / max(len(values), 1)
        wide = np.minimum((bins * middles).astype(np.int64), bins - 1)
        coarse[:-1] = np.unique(wide, return_inverse=True)[1]
    coarse[-1] = coarse.max() + 1
    return Bins(edges, (), coarse)


def _of_words(series: pl.Series, fine: int, bins: int) -> Bins:
    counts = series.cast(pl.String).drop_nulls().alias("word").value_counts(name="count")
    words = counts.sort(["count", "word"], descending=[True, False])["word"].to_list()
    # All, or the most frequent ones and a bin for the rest.
    levels = words if len(words) <= fine else words[: fine - 1]
    own = len(levels) if len(words) <= bins else bins - 1
    coarse = np.minimum(np.arange(len(levels) + 2), own).astype(np.uint8)
    coarse[-1] = own + 1
    return Bins(None, tuple(levels), coarse)
