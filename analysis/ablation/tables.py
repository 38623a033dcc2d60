"""The analysis of variance of every pair of features: tables of their bins, and F tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from featurekit.errors import require

__all__ = ["PairTests", "Tables", "interaction_tests"]

LEAST_ROWS = 20
"""A cell with fewer rows takes no part: its mean is not nearly normal."""
LEAST_VARIANCE = 0.1
"""A cell's variance is at least this share of that of all rows. It is estimated, and one that is
much too small would make a finding of nothing."""
CHUNK = 32_768
"""Rows at a time: what is added up stays in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Tables:
    """Rows, as the cells that they fall into.

    Args:
        codes: The bin of each feature, uint8 of shape [features, rows].
        errors: What is to be explained, without effects of single features; float64 of shape [rows,
            columns].
        weights: Of shape [rows], with a mean of 1; `None` where all are 1.
        levels: How many bins a feature has at most.
    """

    codes: np.ndarray
    errors: np.ndarray
    weights: np.ndarray | None
    levels: int

    @property
    def weighted(self) -> np.ndarray:
        """The errors times the weights."""
        return self.errors if self.weights is None else self.errors * self.weights[:, None]

    def values(self, part: slice) -> list[np.ndarray]:
        """Return what is added up of some rows: weighted errors, their squares, and weights."""
        weights = None if self.weights is None else self.weights[part]
        errors = [np.ascontiguousarray(error) for error in self.errors[part].T]
        if weights is None:
            return [*errors, *(error**2 for error in errors)]
        errors = [error * weights for error in errors]
        return [*errors, *(error**2 for error in errors), weights]


@dataclass(frozen=True, eq=False)
class PairTests:
    """Tests of the interaction of pairs, arrays of shape [pairs].

    Args:
        first: The place of one feature,
        second: and of the other.
        column: Of the errors, the column with the smallest p-value.
        share: The share of its variance that is explained, without what noise explains.
        f: The F statistic.
        freedom: Degrees of freedom of the interaction; 0 where there is no test,
        rest: and of what is left.
        p_value: Multiplied by the number of columns.
        rows: How many rows the table has.
    """

    first: np.ndarray
    second: np.ndarray
    column: np.ndarray
    share: np.ndarray
    f: np.ndarray
    freedom: np.ndarray
    rest: np.ndarray
    p_value: np.ndarray
    rows: np.ndarray


def interaction_tests(tables: Tables, parameters: int) -> PairTests:
    """Test every pair of features, one feature with all that follow at a time.

    Args:
        tables: The rows.
        parameters: How many were fitted to the errors before.

    Raises:
        MissingExtra: SciPy, for the F distribution, is not installed.
    """
    prior_rows = _prior_rows(tables.weighted)
    parts = [
        _tested(tables, prior_rows, first, parameters) for first in range(len(tables.codes) - 1)
    ]
    return PairTests(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(PairTests)
        }
    )


def _prior_rows(errors: np.ndarray) -> np.ndarray:
    """Return how many rows the prior of a cell's variance counts for, of shape [columns]."""
    squares = errors**2
    kurtosis = np.mean(squares**2, axis=0) / np.maximum(np.mean(squares, axis=0), 1e-300) ** 2
    found: np.ndarray = np.maximum(LEAST_ROWS, kurtosis)
    return found


def _tested(tables: Tables, prior_rows: np.ndarray, first: int, parameters: int) -> PairTests:
    """Test the pairs of a feature with all that follow."""
    counts, weights, sums, squares = _sums(tables, first)
    kept = counts >= LEAST_ROWS
    counts, weights = counts * kept, weights * kept
    rows = counts.sum(axis=(1, 2))
    lines = np.count_nonzero(counts.sum(axis=2), axis=1)
    fit = _Additive(counts)
    freedom = np.count_nonzero(counts, axis=(1, 2)) - lines - fit.rank
    rest = rows - np.maximum(parameters, lines + fit.rank) - freedom
    sums, squares = sums * kept, squares * kept
    explained = [
        _explained(fit, counts, weights, some, square, prior)
        for some, square, prior in zip(sums, squares, prior_rows, strict=True)
    ]
    shares = _shares(tables, weights, sums, freedom)
    return _judged(np.array(explained), shares, first, freedom, rest, rows)


def _shares(
    tables: Tables, weights: np.ndarray, sums: np.ndarray, freedom: np.ndarray
) -> np.ndarray:
    """Return the share of the variance of each column that each pair explains.

    What noise would explain is taken off: as much for a degree of freedom as is left for a row.

    Args:
        tables: The rows.
        weights: Of the cells, of shape [pairs, bins, bins].
        sums: Of weighted errors, of shape [columns, pairs, bins, bins].
        freedom: Of the interaction, of shape [pairs].

    Returns:
        Float64 of shape [columns, pairs].
    """
    means = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0.0)
    fit = _Additive(weights)
    additive = np.array([fit.fitted(some.sum(axis=2), some.sum(axis=1)) for some in sums])
    explained = np.sum(weights * (means - additive) ** 2, axis=(2, 3))
    whole = np.sum(tables.weighted * tables.errors, axis=0)[:, None]
    unequal = 1.0 if tables.weights is None else float(np.mean(tables.weights**2))
    noise = unequal * freedom * (whole - explained) / np.maximum(len(tables.errors) - freedom, 1)
    shares: np.ndarray = np.maximum(explained - noise, 0.0) / np.maximum(whole, 1e-300)
    return shares


def _explained(
    fit: _Additive,
    counts: np.ndarray,
    weights: np.ndarray,
    sums: np.ndarray,
    squares: np.ndarray,
    prior_rows: float,
) -> np.ndarray:
    """Return the sums of squares that tables explain beyond their rows and columns.

    The variance of a cell is that of its rows and that of the additive fit of all variances, which
    counts for `prior_rows` rows. Alone, the one would be far off where a few rows make up most of
    the squares, as in cells of a rare class; and the other where variances are not additive.

    Args:
        fit: Of the counts.
        counts: Rows of cells, zero where a cell takes no part; all of shape [tables, bins, bins].
        weights: Their weights.
        sums: Sums of weighted errors.
        squares: Of their squares.
        prior_rows: See above.

    Returns:
        In units of the variance, of shape [tables].
    """
    kept = counts > 0
    smooth = fit.fitted(squares.sum(axis=2), squares.sum(axis=1))
    overall = squares.sum(axis=(1, 2)) / np.maximum(counts.sum(axis=(1, 2)), 1)
    smooth = np.maximum(smooth, LEAST_VARIANCE * overall[:, None, None])
    variance = (squares + prior_rows * smooth) / (counts + prior_rows)
    means = np.divide(sums, weights, out=np.zeros_like(sums), where=kept)
    precision = np.divide(
        weights**2, counts * variance, out=np.zeros_like(sums), where=kept & (variance > 0.0)
    )
    weighed = precision * means
    apart = means - _Additive(precision).fitted(weighed.sum(axis=2), weighed.sum(axis=1))
    explained: np.ndarray = np.sum(precision * apart**2, axis=(1, 2))
    return explained


def _judged(
    explained: np.ndarray,
    shares: np.ndarray,
    first: int,
    freedom: np.ndarray,
    rest: np.ndarray,
    rows: np.ndarray,
) -> PairTests:
    """Return the tests, given what each column of the errors shows.

    Args:
        explained: Sums of squares in units of the variance, of shape [columns, pairs].
        shares: Of the variance of the columns, of the same shape.
        first: The place of the first feature of the pairs.
        freedom: Degrees of freedom of the interaction, of shape [pairs].
        rest: Those of what is left.
        rows: How many rows there are.
    """
    require("scipy", "analysis", "the F distribution")
    import scipy.special

    pairs = np.arange(len(rows))
    column = np.argmax(explained, axis=0)
    square = explained[column, pairs]
    tested = (freedom > 0) & (rest > 0)
    freedom, rest = np.where(tested, freedom, 0), np.where(tested, rest, 0)
    left = np.maximum(rows - square, 1e-9 * np.maximum(rows, 1))
    f = np.where(tested, square * rest / (np.maximum(freedom, 1) * left), 0.0)
    tail = scipy.special.fdtrc(np.maximum(freedom, 1), np.maximum(rest, 1), f)
    share = np.where(tested, shares[column, pairs], 0.0)
    return PairTests(
        np.full(len(pairs), first), first + 1 + pairs, column, share, f, freedom, rest,
        np.where(tested, np.minimum(len(explained) * tail, 1.0), 1.0), rows,
    )  # fmt: skip


def _sums(tables: Tables, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what is added up in the cells of a feature's tables with all that follow.

    Returns:
        How many rows a cell has, and their weight, both of shape [pairs, bins, bins]; sums of
        weighted errors and of their squares, of shape [columns, pairs, bins, bins].
    """
    levels = tables.levels
    others = tables.codes[first + 1 :]
    columns = tables.errors.shape[1]
    counts = np.zeros((len(others), levels**2))
    sums = np.zeros((2 * columns + (tables.weights is not None), len(others), levels**2))
    for part in _chunks(tables.codes.shape[1]):
        values = tables.values(part)
        mine = tables.codes[first, part].astype(np.intp) * levels
        for place, codes in enumerate(others):
            places = mine + codes[part]
            counts[place] += np.bincount(places, minlength=levels**2)
            for value, total in zip(values, sums, strict=True):
                total[place] += np.bincount(places, value, minlength=levels**2)
    rows = counts.reshape(-1, levels, levels)
    cells = sums.reshape(len(sums), -1, levels, levels)
    weights = rows if tables.weights is None else cells[-1]
    return rows, weights, cells[:columns], cells[columns : 2 * columns]


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, CHUNK):
        yield slice(start, start + CHUNK)


class _Additive:
    """Weighted least squares of tables on an effect of the row and an effect of the column.

    The rows' effects are eliminated; what is left are equations for the columns, of which as many
    are undetermined as there are parts of the table without a common row or column.
    """

    def __init__(self, weights: np.ndarray) -> None:
        rows = weights.sum(axis=2)
        self._per_row = np.divide(1.0, rows, out=np.zeros_like(rows), where=rows > 0.0)
        self._share = weights * self._per_row[:, :, None]
        equations = -weights.swapaxes(1, 2) @ self._share
        places = np.arange(weights.shape[2])
        equations[:, places, places] += weights.sum(axis=1)
        values, vectors = np.linalg.eigh(equations)
        firm = values > 1e-10 * np.maximum(values[:, -1:], 1e-300)
        self.rank = np.count_nonzero(firm, axis=1)
        """Parameters of the columns, beside one for each row; int64 of shape [tables]."""
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=firm)
        self._inverse = (vectors * inverse[:, None, :]) @ vectors.swapaxes(1, 2)

    def fitted(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the fitted tables, given weighted sums over rows and columns of what is fitted.

        Args:
            rows: Of shape [tables, rows].
            columns: Of shape [tables, columns].
        """
        right = columns - (rows[:, None, :] @ self._share)[:, 0]
        of_column = (self._inverse @ right[:, :, None])[:, :, 0]
        of_row = self._per_row * rows - (self._share @ of_column[:, :, None])[:, :, 0]
        found: np.ndarray = of_row[:, :, None] + of_column[:, None, :]
        return found
