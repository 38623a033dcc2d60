"""Values that were filled in from held-out rows, too.

A mean or a median that stands where values were missing is one value in many rows, and just the
mean or the median of all others: of all rows, where held-out rows had a part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins, Histograms
from featurekit.analysis.leakage.kinds import found
from featurekit.analysis.leakage.table import Rows, collect

__all__ = ["find_imputed", "not_exact"]

Floats = npt.NDArray[np.float64]

_ROWS, _OTHERS = 5, 20
"""So many rows have the value, and so many another one."""
_STANDS_OUT = 4
"""It has so many times the rows of most other values."""
_TRIED = 3


@dataclass(frozen=True)
class _About:
    """A value that many rows have, and the others; of training rows, and of all.

    Args:
        value: The value.
        rows: How many rows have it.
        count: How many have another; [2].
        mean: The mean of the others; [2].
        spread: Their standard deviation over all rows.
        below: How many of them lie below; [2].
        near: The next one below, and the next above, over all rows.
    """

    value: float
    rows: float
    count: Floats
    mean: Floats
    spread: float
    below: Floats
    near: tuple[float, float]


def find_imputed(rows: Rows, histograms: Histograms, whole: bool) -> list[Finding]:
    """Return the features that were filled in with a mean or a median over all rows.

    Args:
        rows: The table, or some of its rows.
        histograms: Those of all its rows.
        whole: Whether `rows` are all rows; if they are not, columns are left out of which the
            histograms do not hold each value.
    """
    out = []
    schema = rows.schema()
    for name in sorted(histograms.columns):
        bins = histograms.columns[name]
        if bins.words is not None or not schema[name].is_float() or not (whole or bins.exact):
            continue
        exact = 3e-7 if schema[name] == pl.Float32 else 1e-9
        for about in _candidates(rows, name, bins):
            what = _filled(about, exact)
            if what is not None:
                out.append(_finding(name, what, about))
                break
    return out


def not_exact(histograms: Histograms, schema: dict[str, Any]) -> list[str]:
    """Return the columns of which the histograms do not hold each value."""
    return [
        name for name, bins in sorted(histograms.columns.items())
        if bins.words is None and schema[name].is_float() and not bins.exact
    ]  # fmt: skip


def _candidates(rows: Rows, name: str, bins: Bins) -> Iterator[_About]:
    """Yield the values that far more rows have than most others."""
    counts = bins.sums[:, :, 0] if rows.target.classes is None else bins.sums.sum(axis=2)
    every = counts.sum(axis=1)
    if len(every) <= _OTHERS:
        return
    usual = float(np.median(every))
    for at in np.argsort(-every, kind="stable")[:_TRIED]:
        if every[at] < max(_ROWS, _STANDS_OUT * usual):
            return
        if bins.exact:
            yield _of_bins(bins.values(), counts, int(at))
        elif (about := _of_rows(rows, name, bins, int(at))) is not None:
            yield about


def _of_bins(values: Floats, counts: Floats, at: int) -> _About:
    others = counts.copy()
    others[at] = 0
    parts = np.stack([others[:, 0], others.sum(axis=1)])
    count = parts.sum(axis=1)
    mean = parts @ values / np.maximum(count, 1)
    held = np.flatnonzero(parts[1] > 0)
    under, over = held[held < at], held[held > at]
    return _About(
        float(values[at]), float(counts[at].sum()), count, mean,
        float(np.sqrt(parts[1] @ (values - mean[1]) ** 2 / max(count[1], 1))),
        parts[:, :at].sum(axis=1),
        (float(values[under[-1]]) if len(under) else -np.inf,
         float(values[over[0]]) if len(over) else np.inf),
    )  # fmt: skip


def _of_rows(rows: Rows, name: str, bins: Bins, at: int) -> _About | None:
    """Read the column again for the value that piles up in a bin."""
    x = named(name).cast(pl.Float64)
    low, high = sorted((float(bins.values()[at]), _next(bins, at)))
    inside = rows.frame.filter(x.is_between(low, high)).group_by(x.alias("x")).len()
    top = collect(inside.sort("len", "x", descending=True).head(1))
    if not top.height or top["len"][0] < _ROWS:
        return None
    value = float(top["x"][0])
    frame = rows.frame.filter(x.is_finite())
    parts = []
    for kept in (~rows.target.held_out, pl.lit(True)):
        other = pl.when(kept & (x != value)).then(x)
        parts.append([
            other.count(), other.mean(), other.std(ddof=0), (other < value).sum(),
            pl.when(other < value).then(other).max(), pl.when(other > value).then(other).min(),
        ])  # fmt: skip
    asked = [made.cast(pl.Float64).alias(f"{k}.{i}") for k, p in enumerate(parts)
             for i, made in enumerate(p)]  # fmt: skip
    train, every = np.array(collect(frame.select(asked)).row(0), np.float64).reshape(2, 6)
    near = (-np.inf if np.isnan(every[4]) else every[4], np.inf if np.isnan(every[5]) else every[5])
    both = np.stack([train, every])
    return _About(
        value, float(top["len"][0]), both[:, 0], both[:, 1], float(every[2]), both[:, 3],
        (float(near[0]), float(near[1])),
    )  # fmt: skip


def _next(bins: Bins, at: int) -> float:
    """Return the far end of a coarse bin."""
    key = int(bins.keys[at])
    magnitude = np.int64((abs(key) + 1) << bins.level)
    return float(np.copysign(magnitude.view(np.float64), key or 1))


def _filled(about: _About, exact: float) -> str | None:
    """Return what of all rows a value is, and not of the training rows."""
    if about.rows < _ROWS or about.count.min() < _OTHERS or not about.spread:
        return None
    near = exact * (abs(about.value) + about.spread)
    off = np.abs(about.mean - about.value)
    if off[1] <= near and off[0] > 100 * near:
        return "mean"
    above = about.count - about.below
    apart = abs(above[0] - about.below[0])
    if about.below[1] != above[1] or not apart:
        return None
    # The middle of the two in the middle; or the one in the middle, a row of which is no filling:
    # that a round number lies about in the middle happens.
    between = abs(sum(about.near) / 2 - about.value) <= near
    unround = float(f"{about.value:.3g}") != about.value and apart > 1
    return "median" if between or unround else None


def _finding(name: str, what: str, about: _About) -> Finding:
    shown = f"{about.value:.6g}"
    rest = f" ({about.mean[0]:.6g})" if what == "mean" else ""
    return found(
        "imputation", Severity.WARNING, (name,),
        f"{name!r} is {shown} in {about.rows:,.0f} rows, the {what} of its other values over all "
        f"rows, and not over the training rows{rest}: it was filled in from held-out rows, too.",
        None, value=float(f"{about.value:.9g}"), rows=int(about.rows), statistic=what,
    )  # fmt: skip
