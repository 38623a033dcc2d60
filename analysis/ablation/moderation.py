"""Errors over few folds, made steadier by those of the other effects.

An error over five folds is itself uncertain: of a t distribution with four degrees of freedom
little survives an adjustment for 80 features. But how much larger it is than the error over rows
depends mostly on the model and the data, which all effects share. So these ratios are shrunk
towards their common value, as far as they agree.

Source: the moderated t statistic; Smyth, "Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments", 2004, section 6.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from featurekit.analysis.ablation.inference import Estimates

__all__ = ["moderated", "shrunk"]

LEAST = 8
"""Of fewer effects nothing common can be told."""


def moderated(estimates: Estimates) -> Estimates:
    """Return effects whose errors over folds were shrunk, and whose freedom has grown thereby.

    Effects without an error over rows or folds stay as they are, and so do all of them where there
    are fewer than 8, or where no cells are told.
    """
    cells = estimates.cells
    if cells is None:
        return estimates
    told = (
        (estimates.row_error > 0.0) & (estimates.fold_error > 0.0) & (cells > 1)
        & np.isfinite(estimates.row_error + estimates.fold_error)
    )  # fmt: skip
    if told.sum() < LEAST:
        return estimates
    ratio = (estimates.fold_error[told] / estimates.row_error[told]) ** 2
    steady, freedom = shrunk(ratio, cells[told] - 1.0)
    fold_error, counts = estimates.fold_error.copy(), cells.astype(np.float64)
    fold_error[told] = estimates.row_error[told] * np.sqrt(steady)
    counts[told] = freedom + 1.0
    return replace(estimates, fold_error=fold_error, cells=counts)


def shrunk(variances: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances that were shrunk towards their common value, and their degrees of freedom.

    Args:
        variances: Estimates above 0, of shape [n].
        freedom: The degrees of freedom of each, of shape [n].

    Example:
        >>> import numpy as np
        >>> steady, freedom = shrunk(np.full(10, 2.0), np.full(10, 4.0))  # alike by all means
        >>> bool(np.ptp(steady) == 0.0), float(freedom[0])
        (True, inf)
    """
    from scipy import special

    half = freedom / 2.0
    logs = np.log(variances) - special.digamma(half) + np.log(half)
    spread = np.var(logs, ddof=1) - np.mean(special.polygamma(1, half))
    if spread <= 0.0:
        common = float(np.exp(logs.mean()))
        return np.full(len(variances), common), np.full(len(variances), np.inf)
    prior = 2.0 * _inverse_trigamma(float(spread), special)
    common = float(np.exp(logs.mean() + special.digamma(prior / 2.0) - np.log(prior / 2.0)))
    return (prior * common + freedom * variances) / (prior + freedom), prior + freedom


def _inverse_trigamma(value: float, special: Any) -> float:
    """Return the argument at which the trigamma function has a value above 0, by Newton's method.

    The steps are those of its reciprocal, which is convex: they come closer from below and end.
    """
    guess = 0.5 + 1.0 / value
    for _ in range(50):
        trigamma = special.polygamma(1, guess)
        step = trigamma * (1.0 - trigamma / value) / special.polygamma(2, guess)
        guess += step
        if -step / guess < 1e-8:
            break
    return float(guess)
