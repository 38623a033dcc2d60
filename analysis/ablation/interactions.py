"""Pairs of features that a linear model misses: a scan of what it leaves unexplained.

For each pair, rows fall into the cells of a table, by the bins of both features. If the residuals'
means in the cells are not the sum of an effect of the row and an effect of the column, the two
features say something together which neither says alone. That is the sum of squares of the
interaction in an analysis of variance with unequal cells (Yates, "The analysis of multiple
classifications with unequal numbers in the different classes", 1934), with two additions:

- What each feature does alone, however curved, is taken from the residuals before, in narrow bins
  and for all features at once (backfitting; Buja, Hastie and Tibshirani, "Linear smoothers and
  additive models", 1989). Else a curve in one of two correlated features would look like a joint
  effect, since wide bins of one feature tell where in its bin the other one lies.
- Residuals of a binary label vary more where its probability is near a half. So cells are weighed
  by variances of their own; see `tables.py`.

Rows are taken to be independent of each other; where they are not, p-values are too small. What is
found here is a candidate, which training again without the pair has to confirm. Each pair is looked
at alone, so that features which resemble those of a telling pair make candidates as well, behind
it; and an exclusive or of three features, of which no two say anything, is not found. For such, a
group has to be declared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from featurekit.analysis.ablation.bins import MAX_FINE, bin_rows, fit_bins
from featurekit.analysis.ablation.inference import LEVEL, adjust_holm
from featurekit.analysis.ablation.inputs import Values, framed, read_weights
from featurekit.analysis.ablation.tables import Tables, interaction_tests
from featurekit.errors import UsageError, closest

__all__ = ["PairCandidate", "interaction_candidates"]

ROWS_OF_CELL = 40
"""There are so few bins that a cell has this many rows on average."""
LEAST_SHARE = 10
"""Effects of single features have one parameter for so many rows at most, while bins allow."""
MOST_PARAMETERS = 0.25
"""With more parameters than this share of the rows, they are left to the tables of the pairs."""
SWEEPS = 100
CONVERGED = 1e-6
"""The backfitting ends when a sweep explains less than this share of the variance that is left."""


@dataclass(frozen=True)
class PairCandidate:
    """Two features that may say something together which no linear model sees.

    Args:
        features: Their names, sorted.
        share: The share of the residuals' variance that they explain together, beyond what each
            explains alone; what noise would explain is taken off.
        f: The F statistic,
        freedom: and its degrees of freedom: of the interaction and of the residuals.
        p_value: Adjusted by Holm's method over all pairs that can be tested.
        column: The column of the residuals that shows most, the place of a class; else 0.
        rows: How many rows the table has.
    """

    features: tuple[str, str]
    share: float
    f: float
    freedom: tuple[int, int]
    p_value: float
    column: int
    rows: int


def interaction_candidates(
    table: pl.DataFrame | pl.LazyFrame | Mapping[str, Values],
    residuals: np.ndarray,
    *,
    features: Sequence[str] | None = None,
    categorical: Collection[str] = (),
    weights: str | Values | None = None,
    bins: int = 8,
    top: int = 20,
    level: float = LEVEL,
    seed: int = 0,
    hashes: np.ndarray | None = None,
) -> tuple[PairCandidate, ...]:
    """Return the pairs of features that explain most of a model's residuals together.

    Args:
        table: The rows. A lazy frame is read in batches, twice.
        residuals: What the model's prediction of each row is off by, while the row was held out:
            label less prediction, or less probability. Float64 of shape [rows], or of shape [rows,
            classes]: then a pair counts by the class that shows most, and its p-value is multiplied
            by the number of classes. A row with NaN takes no part.
        features: Names of columns; by default all but the weights. Vectors are left out: one of
            their elements that matters can be given as a column of its own.
        categorical: Features that hold categories although they are numbers.
        weights: Of the rows, not negative; a column's name or an array.
        bins: Of each feature at most, and one for missing values: quantile bins of numbers, the
            most frequent values of categories and one bin for all others. With few rows there are
            fewer.
        top: How many candidates to return at most.
        level: Pairs with a larger p-value are no candidates, nor are those with a share of 0.
        seed: Of the hash that chooses the rows from which bins are made.
        hashes: Of what rows hold, uint64 of shape [rows], for that choice; by default of their
            residuals, of which another order of rows may change the last digit.

    Returns:
        Candidates, those that explain the largest share first. The order of rows and columns does
        not matter. Where a logistic regression is off because it took too few Newton steps, that
        is a joint effect, too: with a strong signal, take residuals after four of them.

    Raises:
        UsageError: A name is unknown, or an argument has the wrong shape or range.
        MissingExtra: SciPy is not installed.

    Example:
        >>> random = np.random.default_rng(7)
        >>> x, y, z = random.normal(size=(3, 2000))
        >>> found = interaction_candidates({"x": x, "y": y, "z": z}, np.sign(x * y))
        >>> [(one.features, one.share > 0.7) for one in found]  # bins blur it a little
        [(('x', 'y'), True)]
    """
    if not 2 <= bins <= MAX_FINE:
        raise UsageError(f"{bins} bins; expected from 2 to {MAX_FINE}", where="bins")
    frame = framed(table)
    names = _feature_names(frame, features, weights)
    count = int(frame.select(pl.len()).collect(engine="streaming").item())
    errors, heavy, chosen = _rows(frame, residuals, weights, count)
    if len(names) < 2 or not chosen.any():
        return ()
    # An even number, so that the median is an edge: it is where signs change.
    bins = max(2, min(bins, int(np.sqrt(len(errors) / ROWS_OF_CELL)) // 2 * 2))
    factor = len(errors) // (LEAST_SHARE * len(names) * bins)
    fine = min(bins * max(factor, 1), MAX_FINE // bins * bins)
    own = pl.Series(errors[:, 0]).hash(seed).to_numpy() if hashes is None else hashes[chosen]
    fitted = fit_bins(frame, names, chosen, own, fine=fine, bins=bins, categorical=categorical)
    codes = bin_rows(frame, fitted, chosen)
    before = float(np.sum(errors**2))
    errors, parameters = _without_main_effects(codes, errors, heavy)
    if float(np.sum(errors**2)) <= CONVERGED * before:
        return ()
    for place, of in enumerate(fitted.values()):
        codes[place] = of.coarse[codes[place]]
    tables = Tables(codes, errors, heavy, 1 + max(int(of.coarse.max()) for of in fitted.values()))
    return _ranked(tables, names, parameters, top, level)


def _ranked(
    tables: Tables, names: Sequence[str], parameters: int, top: int, level: float
) -> tuple[PairCandidate, ...]:
    """Return the tested pairs with small p-values, by their shares."""
    found = interaction_tests(tables, parameters)
    tested = np.flatnonzero(found.freedom)
    adjusted = np.ones(len(found.freedom))
    adjusted[tested] = adjust_holm(found.p_value[tested])
    some = tested[(adjusted[tested] <= level) & (found.share[tested] > 0.0)]
    # Names are sorted, and so are pairs: they decide where shares are equal.
    order = some[np.argsort(-found.share[some], kind="stable")][:top]
    return tuple(
        PairCandidate(
            (names[found.first[place]], names[found.second[place]]),
            float(found.share[place]),
            float(found.f[place]),
            (int(found.freedom[place]), int(found.rest[place])),
            float(adjusted[place]),
            int(found.column[place]),
            int(found.rows[place]),
        )
        for place in order
    )


def _feature_names(
    frame: pl.LazyFrame, features: Sequence[str] | None, weights: str | Values | None
) -> list[str]:
    """Return the names of the features that have bins, sorted."""
    schema = frame.collect_schema()
    given = schema.names() if features is None else features
    for name in given:
        if name not in schema:
            raise UsageError(
                f"no column is called {name!r}", where="features", hint=closest(name, schema)
            )
    own = weights if isinstance(weights, str) and features is None else None
    return sorted({name for name in given if name != own and not schema[name].is_nested()})


def _rows(
    frame: pl.LazyFrame, residuals: np.ndarray, weights: str | Values | None, count: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return residuals and weights of the rows that take part, and which these are."""
    errors = np.asarray(residuals, dtype=np.float64)
    if errors.ndim not in (1, 2) or len(errors) != count or not errors.size:
        raise UsageError(
            f"residuals have the shape {list(errors.shape)}; expected [{count:,}], or a column for "
            "each class",
            where="residuals",
        )
    if np.isinf(errors).any():
        raise UsageError("a residual is infinite", where="residuals")
    errors = errors.reshape(count, -1)
    chosen = np.asarray(~np.isnan(errors).any(axis=1))
    if weights is None:
        return errors[chosen], None, chosen
    heavy = read_weights(frame, weights, count).to_numpy()
    chosen &= heavy > 0.0
    return errors[chosen], heavy[chosen] / heavy[chosen].mean(), chosen


def _without_main_effects(
    codes: np.ndarray, errors: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """Return residuals without what each feature explains alone, and how many parameters that took.

    Args:
        codes: Fine bins, uint8 of shape [features, rows].
        errors: Of shape [rows, columns].
        weights: Of shape [rows]; `None` where all are 1.
    """
    heavy = np.ones(len(errors)) if weights is None else weights
    sizes = [np.bincount(own, heavy) for own in codes]
    parameters = 1 + sum(int(np.count_nonzero(size)) - 1 for size in sizes)
    out = errors - np.average(errors, axis=0, weights=weights)
    if parameters > MOST_PARAMETERS * len(errors):
        return out, 1
    for place in range(errors.shape[1]):
        left = np.ascontiguousarray(out[:, place])
        for _ in range(SWEEPS):
            explained = 0.0
            for own, size in zip(codes, sizes, strict=True):
                sums = np.bincount(own, heavy * left)
                effect = np.divide(sums, size, out=np.zeros_like(sums), where=size > 0.0)
                explained += float(sums @ effect)
                left -= effect[own]
            if explained <= CONVERGED * float(heavy @ left**2):
                break
        out[:, place] = left
    return out, parameters
