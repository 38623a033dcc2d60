"""Scalings that were fitted on held-out rows, too.

Over all rows such a column has mean 0 and variance 1, or reaches from 0 to 1, from -1 to 1, or just
to 1, or is the rank of its row; over the training rows alone it does not. That takes exact numbers
of all rows, which are added up part by part. Where the training rows hold the smallest and the
largest of all rows, a scaling by them is the same either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins, Histograms
from featurekit.analysis.leakage.kinds import found
from featurekit.analysis.leakage.table import Target, collect

__all__ = ["Spreads", "find_scalings", "maybe_scaled", "spreads"]

Floats = npt.NDArray[np.float64]

_LEAST = 8
_NEARLY = 0.02
_NUMBERS = 9
_DECIMALS = 10_000
"""Shares and rates are often rounded to so many parts of 1; such a column reaches 1 by itself."""
_GAP = 1e-5
"""Training rows that come so close to the end pile up there: the scale ends of itself."""
_TIES = 2


@dataclass(frozen=True)
class _Numbers:
    """What is known of one column's numbers."""

    count: float
    mean: float
    squares: float
    low: float
    high: float
    zeros: float
    ones: float
    minus_ones: float
    rounded: float


@dataclass(frozen=True, eq=False)
class Spreads:
    """How the numbers of some columns are spread, over training rows and over the rest.

    Args:
        names: The columns.
        numbers: Count, mean, sum of squares about the mean, smallest, largest, zeros, ones, minus
            ones and rounded ones of the finite numbers; [2, columns, 9].
    """

    names: tuple[str, ...]
    numbers: Floats

    def merge(self, other: Spreads) -> Spreads:
        """Return those of both parts' rows, of the same columns."""
        return Spreads(self.names, _merged(self.numbers, other.numbers))

    @property
    def train(self) -> Floats:
        """The numbers over training rows; [columns, 9]."""
        train: Floats = self.numbers[0]
        return train

    @property
    def every(self) -> Floats:
        """The numbers over all rows; [columns, 9]."""
        train, held_out = self.numbers
        return _merged(train, held_out)


def _merged(one: Floats, two: Floats) -> Floats:
    """Return the numbers of two parts together; [..., 9].

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances", 1979.
    """
    count = one[..., 0] + two[..., 0]
    share = two[..., 0] / np.maximum(count, 1)
    apart = two[..., 1] - one[..., 1]
    out: Floats = one + two
    out[..., 1] = one[..., 1] + apart * share
    out[..., 2] += apart * apart * one[..., 0] * share
    out[..., 3] = np.minimum(one[..., 3], two[..., 3])
    out[..., 4] = np.maximum(one[..., 4], two[..., 4])
    return out


def spreads(frame: pl.LazyFrame, names: Sequence[str], target: Target) -> Spreads:
    """Return how the numbers of some columns are spread.

    Args:
        frame: Rows.
        names: Columns of floats.
        target: Tells which rows are held out.
    """
    if not names:
        return Spreads((), np.zeros((2, 0, _NUMBERS)))
    asked = []
    for part, inside in enumerate((~target.held_out, target.held_out)):
        for place, name in enumerate(names):
            x = pl.when(inside & named(name).is_finite()).then(named(name)).cast(pl.Float64)
            count = x.count()
            values = (
                count, x.mean().fill_null(0), (x.var(ddof=0) * count).fill_null(0),
                x.min().fill_null(np.inf), x.max().fill_null(-np.inf), (x == 0).sum(),
                (x == 1).sum(), (x == -1).sum(),
                ((x * _DECIMALS - (x * _DECIMALS).round()).abs() < 1e-7).sum(),
            )  # fmt: skip
            asked += [
                value.cast(pl.Float64).alias(f"{part}.{place}.{number}")
                for number, value in enumerate(values)
            ]
    row = np.array(collect(frame.select(asked)).row(0), np.float64)
    return Spreads(tuple(names), row.reshape(2, len(names), _NUMBERS))


def maybe_scaled(histograms: Histograms, schema: Mapping[str, Any]) -> list[str]:
    """Return the columns that look as if they were scaled, as far as bins tell."""
    return [
        name for name, bins in sorted(histograms.columns.items())
        if schema[name].is_float() and len(bins.keys) > _LEAST and _looks_scaled(bins)
    ]  # fmt: skip


def _looks_scaled(bins: Bins) -> bool:
    values, counts = bins.values(), bins.sums[:, :, 0].sum(axis=1)
    if bins.sums.shape[2] != 3:
        counts = bins.sums.sum(axis=(1, 2))
    mean = float(values @ counts / counts.sum())
    deviation = float(np.sqrt((values - mean) ** 2 @ counts / counts.sum()))
    standard = abs(mean) < _NEARLY and abs(deviation - 1) < _NEARLY
    return standard or abs(max(-values[0], values[-1]) - 1) < _NEARLY


def find_scalings(
    spread: Spreads, histograms: Histograms, schema: Mapping[str, Any]
) -> list[Finding]:
    """Return the features that a scaling by all rows has made.

    Over all rows they have its mean and variance, or its range.

    Of the training rows they do not: so the scaling was fitted on held-out rows, too.

    Args:
        spread: Numbers of all rows, of at least the columns that `maybe_scaled` names.
        histograms: Those of all rows.
        schema: The data types.
    """
    out = []
    for name in maybe_scaled(histograms, schema):
        place = spread.names.index(name)
        every, own = _Numbers(*spread.every[place]), _Numbers(*spread.train[place])
        if every.count < 3 or not own.count:
            continue
        exact = 2e-5 if schema[name] == pl.Float32 else 1e-6
        moments = _moments(every, own, exact)
        if moments is not None:
            out.append(_scaling(name, moments, mean=own.mean, var=own.squares / own.count))
            continue
        reach = _reach(every, own, histograms.columns[name], schema[name] == pl.Float32)
        if reach is not None:
            out.append(_scaling(name, reach, low=own.low, high=own.high))
    return out


def _moments(every: _Numbers, own: _Numbers, exact: float) -> str | None:
    """Return which mean and variance a column has over all rows, and not over the training rows."""
    n = every.count
    known = (
        ("mean 0 and variance 1", 0.0, 1.0), ("mean 0 and variance 1", 0.0, (n - 1) / n),
        ("the ranks of its rows as shares", (n + 1) / (2 * n), (n * n - 1) / (12 * n * n)),
        ("the ranks of its rows as shares", 0.5, (n + 1) / (12 * (n - 1))),
    )  # fmt: skip
    for what, mean, variance in known:
        near = abs(every.mean - mean) < exact and abs(every.squares / n - variance) < exact
        off = max(abs(own.mean - mean), abs(own.squares / own.count - variance))
        if near and off > 10 * max(exact, 1 / n):
            return what
    return None


def _reach(every: _Numbers, own: _Numbers, bins: Bins, single: bool) -> str | None:
    """Return which range a column has over all rows, and not over the training rows.

    The end that training rows do not reach is that of a row or two. A share that reaches its end by
    itself does so in many rows, or is rounded.
    """
    near = 3e-7 if single else 1e-12
    top, bottom = abs(every.high - 1) < near, abs(every.low + 1) < near
    zero = abs(every.low) < near
    if every.rounded >= 0.999 * every.count or not (top or bottom):
        return None
    short = {
        "high": (top, own.high < 1 - _GAP, every.ones),
        "low": (bottom, own.low > -1 + _GAP, every.minus_ones),
        "zero": (zero and top, own.low > _GAP, every.zeros),
    }
    missing = [ties for there, lacks, ties in short.values() if there and lacks]
    if not missing or not (_lattice(bins) or min(missing) <= _TIES):
        return None
    if zero and top and min(missing) > _TIES and every.zeros + every.ones > every.count / 2:
        return None
    if top and bottom:
        return "the range -1 to 1"
    return "the range 0 to 1" if top and zero else "a largest size of 1"


def _lattice(bins: Bins) -> bool:
    """Say whether the values are whole numbers, scaled by an odd range: 72 years, and not 100."""
    values = bins.values()
    if not bins.exact or len(values) < 3:
        return False
    step = float(np.diff(values).min())
    places = (values - values[0]) / step
    return len(values) > _LEAST and bool(np.abs(places - np.rint(places)).max() < 1e-3)


def _scaling(name: str, what: str, **own: float) -> Finding:
    # What rounding leaves depends on the order of rows.
    own = {key: float(f"{value:.9g}") for key, value in own.items()}
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in own.items())
    return found(
        "scaler", Severity.WARNING, (name,),
        f"{name!r} has {what} over all rows, and not over the training rows ({numbers}): it was "
        "scaled by held-out rows, too.", None, **own,
    )  # fmt: skip
