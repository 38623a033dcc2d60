"""Scalings that were fitted on held-out rows, too.

Over all rows such a column has mean 0 and variance 1, or reaches from 0 to 1, just so; over the
training rows alone it does not. That takes exact numbers of all rows, which are added up part by
part.
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
_NUMBERS = 7


@dataclass(frozen=True, eq=False)
class Spreads:
    """How the numbers of some columns are spread, over training rows and over the rest.

    Args:
        names: The columns.
        numbers: Count, mean, sum of squares about the mean, smallest, largest, zeros and ones of
            the finite numbers; [2, columns, 7].
    """

    names: tuple[str, ...]
    numbers: Floats

    def merge(self, other: Spreads) -> Spreads:
        """Return those of both parts' rows, of the same columns."""
        return Spreads(self.names, _merged(self.numbers, other.numbers))

    @property
    def train(self) -> Floats:
        """The numbers over training rows; [columns, 7]."""
        train: Floats = self.numbers[0]
        return train

    @property
    def every(self) -> Floats:
        """The numbers over all rows; [columns, 7]."""
        train, held_out = self.numbers
        return _merged(train, held_out)


def _merged(one: Floats, two: Floats) -> Floats:
    """Return the numbers of two parts together; [..., 7].

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
                (x == 1).sum(),
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
    return standard or (abs(values[0]) < _NEARLY and abs(values[-1] - 1) < _NEARLY)


def find_scalings(
    spread: Spreads, histograms: Histograms, schema: Mapping[str, Any]
) -> list[Finding]:
    """Return the features that have mean 0 and variance 1, or the range 0 to 1, over all rows only.

    Of the training rows they do not: so the scaling was fitted on held-out rows, too.

    Args:
        spread: Numbers of all rows, of at least the columns that `maybe_scaled` names.
        histograms: Those of all rows.
        schema: The data types.
    """
    out = []
    for name in maybe_scaled(histograms, schema):
        place = spread.names.index(name)
        n, mean, squares, low, high, zeros, ones = spread.every[place]
        own_n, own_mean, own_squares, own_low, own_high, _, _ = spread.train[place]
        if n < 3 or not own_n:
            continue
        variance, own_variance = squares / n, own_squares / own_n
        exact = 2e-5 if schema[name] == pl.Float32 else 1e-6
        unit = min(abs(variance - 1), abs(squares / (n - 1) - 1))
        off = max(abs(own_mean), abs(own_variance - 1))
        if abs(mean) < exact and unit < exact and off > 10 * max(exact, 1 / n):
            out.append(_scaling(name, "mean 0 and variance 1", mean=own_mean, var=own_variance))
        elif (low, high) == (0.0, 1.0) and zeros <= 2 and ones <= 2 and (own_low, own_high) != (
            low, high,
        ):  # fmt: skip
            out.append(_scaling(name, "the range 0 to 1", low=own_low, high=own_high))
    return out


def _scaling(name: str, what: str, **own: float) -> Finding:
    # What rounding leaves depends on the order of rows.
    own = {key: float(f"{value:.9g}") for key, value in own.items()}
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in own.items())
    return found(
        "scaler", Severity.WARNING, (name,),
        f"{name!r} has {what} over all rows, and not over the training rows ({numbers}): it was "
        "scaled by held-out rows, too.", None, **own,
    )  # fmt: skip
