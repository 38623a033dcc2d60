"""How well a column tells the label within strata, such as the values of a category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.given import named

__all__ = ["Sums", "falling_skill", "stratified_area", "stratified_auc"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sums:
    """The labels of rows of one value of a column: of a class, ones; of a quantity y, its sums.

    Args:
        count: How many rows there are; [values].
        total: How many are of the class, or the sum of y.
        squares: The sum of its squares; of a class the same as `total`.
    """

    count: Floats
    total: Floats
    squares: Floats


def stratified_auc(
    table: pl.DataFrame, names: list[str], strata: list[str], positive: pl.Series
) -> dict[str, tuple[float, float, float]]:
    """Return the area of each column within strata, weighted by pairs, and how much it rests on.

    Args:
        table: Some rows.
        names: The columns to judge; rows where one is missing are left out for it.
        strata: The columns whose values make a stratum.
        positive: Whether a row is of the class.

    Returns:
        The area, 1/2 where no stratum has both classes; and the rows of the class and of the others
        of a single sample that would be as certain.
    """
    out = {}
    codes = table.select(pl.struct(named(*strata)).rank("dense")).to_series().to_numpy()
    ones = positive.to_numpy().astype(np.float64)
    for name in names:
        x = table[name].alias("x").cast(pl.Float64).to_numpy()
        kept = ~np.isnan(x)
        sums = Sums(np.ones(int(kept.sum())), ones[kept], ones[kept])
        out[name] = stratified_area(x[kept], codes[kept].astype(np.int64), sums)
    return out


def stratified_area(x: Floats, strata: Integers, sums: Sums) -> tuple[float, float, float]:
    """Return the area of a column within strata, as `stratified_auc` does.

    Args:
        x: Values, of rows or of bins; [values].
        strata: The stratum of each.
        sums: The labels of each.

    Source: van Elteren, "On the Combination of Independent Two-Sample Tests of Wilcoxon", 1960.
    """
    order = np.lexsort((x, strata))
    if not len(order):
        return 0.5, 0.0, 0.0
    x, stratum = x[order], strata[order]
    one, zero = sums.total[order], (sums.count - sums.total)[order]
    starts = np.flatnonzero(np.concatenate([[True], stratum[1:] != stratum[:-1]]))
    n1, n0 = np.add.reduceat(one, starts), np.add.reduceat(zero, starts)
    # Values that tie within a stratum stand together.
    new = np.concatenate([[True], (x[1:] != x[:-1]) | (stratum[1:] != stratum[:-1])])
    ties = np.flatnonzero(new)
    tied_one, tied_zero = np.add.reduceat(one, ties), np.add.reduceat(zero, ties)
    below = np.cumsum(tied_zero) - tied_zero
    first = np.searchsorted(ties, starts)
    below -= np.repeat(below[first], np.diff(np.append(first, len(ties))))
    pairs = n1 * n0
    whole = float(pairs.sum())
    if not whole:
        return 0.5, 0.0, 0.0
    area = float(tied_one @ (below + tied_zero / 2)) / whole
    variance = float(pairs @ (n1 + n0 + 1)) / 12 / whole**2
    # A balanced sample of 2 k rows has the variance (2 k + 1) / (12 k k).
    size = 1 / (12 * variance)
    half = size + float(np.sqrt(size * size + size))
    return area, half, half


def falling_skill(x: Floats, strata: Integers, sums: Sums) -> tuple[float, float]:
    """Return how well a quantity falls along a line of its own within each stratum.

    Args:
        x: Values, of rows or of bins; [values].
        strata: The stratum of each.
        sums: The labels of each.

    Returns:
        The adjusted R2 of the lines over what the means of the strata leave, where a line that
        rises explains nothing; and the degrees of freedom that are left. 0 and 0 without any.
    """
    _, place = np.unique(strata, return_inverse=True)

    def add(values: Floats) -> Floats:
        added: Floats = np.bincount(place, values).astype(np.float64)
        return added

    count, total = add(sums.count), add(sums.total)
    rows = np.maximum(count, 1)
    off = x - (add(sums.count * x) / rows)[place]
    across, both = add(sums.count * off * off), add(off * sums.total)
    spread = np.maximum(add(sums.squares) - total * total / rows, 0)
    falls = (both < 0) & (across > 0)
    told = np.minimum(np.where(falls, both * both / np.where(falls, across, 1), 0), spread)
    held = count > 0
    whole, left = float(count.sum() - held.sum()), float(count.sum() - 2 * held.sum())
    if left <= 0 or not spread.sum():
        return 0.0, 0.0
    return float(1 - (spread - told).sum() / left / (spread.sum() / whole)), left
