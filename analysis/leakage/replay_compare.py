"""Comparing features cell by cell, and what a count of differences says about their rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.errors import UsageError, require

__all__ = ["TOLERANCE", "differing", "rate_bound"]

TOLERANCE = 1e-6
"""Floats that differ by more, relative to the greater, are different."""

Flags = npt.NDArray[np.bool_]


def differing(one: pl.Series, other: pl.Series) -> Flags:
    """Return which cells of two columns differ.

    Args:
        one: A column of numbers, strings, booleans, times, or vectors of these.
        other: As many cells of the same kind.

    Returns:
        For each row, whether the cells differ: integers, strings, booleans and times at all, floats
        by more than 1e-6 of the greater. Null equals null alone, NaN equals NaN, and infinities
        equal themselves. A vector differs when one of its elements does.

    Example:
        >>> import polars as pl
        >>> differing(pl.Series([1.0, None, 3.0]), pl.Series([1.0 + 1e-9, None, None])).tolist()
        [False, False, True]
    """
    if isinstance(one.dtype, (pl.Array, pl.List)) or isinstance(other.dtype, (pl.Array, pl.List)):
        return _vectors(one, other)
    if one.dtype != other.dtype and one.dtype.is_numeric() and other.dtype.is_numeric():
        # Missing values make floats of a pandas column of integers.
        one, other = one.cast(pl.Float64), other.cast(pl.Float64)
    if one.dtype != other.dtype:
        missing = one.is_null() & other.is_null()
        one, other = one.cast(pl.String), other.cast(pl.String)
        return np.asarray((~(missing | one.eq_missing(other))).to_numpy(), bool)
    unequal = ~one.eq_missing(other)
    if one.dtype.is_float():
        left, right = one.cast(pl.Float64), other.cast(pl.Float64)
        apart = (left - right).abs()
        scale = left.abs().zip_with((left.abs() >= right.abs()).fill_null(False), right.abs())
        close = (apart <= TOLERANCE * scale) & left.is_finite() & right.is_finite()
        unequal &= ~close.fill_null(False)
    return np.asarray(unequal.to_numpy(), bool)


def _vectors(one: pl.Series, other: pl.Series) -> Flags:
    left, right = (series.cast(_as_list(series.dtype)) for series in (one, other))
    lengths = left.list.len().eq_missing(right.list.len())
    found = np.asarray((~lengths).to_numpy(), bool)
    filled = lengths & (left.list.len() > 0).fill_null(False)
    places = np.flatnonzero(filled.to_numpy())
    if len(places):
        left, right = left.gather(places), right.gather(places)
        rows = np.repeat(places, left.list.len().to_numpy())
        unequal = differing(left.explode(), right.explode())
        np.logical_or.at(found, rows, unequal)
    return found


def _as_list(of: Any) -> Any:
    return pl.List(of.inner) if isinstance(of, pl.Array) else of


def rate_bound(events: int, trials: int, level: float = 0.95) -> float:
    """Return the upper end of the one-sided Clopper-Pearson interval of a rate.

    Args:
        events: How often it happened.
        trials: How often it could have.
        level: The confidence.

    Returns:
        The largest rate at which so few events are not rarer than `1 - level`: the `level` quantile
        of a beta distribution with `events + 1` and `trials - events`. 1 without trials.

    Raises:
        MissingExtra: SciPy is not installed.
        UsageError: There are more events than trials.

    Example:
        >>> round(rate_bound(0, 100), 4)
        0.0295

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case
    of the Binomial", Biometrika 26 (1934); as a beta quantile in Brown, Cai and DasGupta (2001).
    """
    if not 0 <= events <= trials:
        raise UsageError(f"{events} of {trials} is no share")
    if events == trials:
        return 1.0
    if events == 0:
        return 1.0 - float((1.0 - level) ** (1.0 / trials))  # What the quantile is then.
    require("scipy", "analysis", "the bound of a leak rate")
    from scipy.stats import beta

    return float(beta.ppf(level, events + 1, trials - events))
