"""Effects of leaving features out, from what the same held-out rows cost with and without them.

A cell is a fold and a seed: one training. What a cell's rows lose is kept part by part (see
`scores.py`), so that effects, sums of effects and their errors follow without any row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featurekit.analysis.ablation.inference import Estimates, mean_and_error
from featurekit.analysis.ablation.scores import PartLosses

__all__ = ["Cell", "Cells", "Term", "cell_error", "mean_loss", "paired_estimates"]

POOLED = 0.25
"""Seeds count as folds do unless a test, at this level, says that folds differ more."""

Cell = tuple[int, int]
"""A fold and a seed."""

Cells = Mapping[Cell, PartLosses]
"""What held-out rows lose, by cell."""


@dataclass(frozen=True)
class Term:
    """A set of features with the factor that its effect has in a sum.

    Args:
        factor: 1 for an effect by itself.
        without: What rows lose without the set.
    """

    factor: float
    without: Cells


def mean_loss(cells: Cells) -> float:
    """Return the mean loss of a row over all cells."""
    total = sum(float(one.sums.sum()) for one in cells.values())
    return total / sum(float(one.weights.sum()) for one in cells.values())


def paired_estimates(full: Cells, sums: Sequence[Sequence[Term]], parts: int) -> Estimates:
    """Return effects, or sums of effects, with their errors.

    Args:
        full: What rows lose with all features.
        sums: For each number that is asked for, the sets whose effects it sums. It is measured in
            the cells that all of them have.
        parts: How many parts the rows belong to.

    Returns:
        The weighted mean over rows and seeds; its error over parts, of losses that are averaged
        over seeds first; and the one over cells, in which seeds vary as well (`cell_error`). An
        effect of which no cell is known is NaN.
    """
    effect, of_rows, of_cells = np.full((3, len(sums)), np.nan)
    counts = np.zeros(len(sums))
    clusters = 0
    for place, terms in enumerate(sums):
        cells = [cell for cell in full if all(cell in term.without for term in terms)]
        if not cells:
            continue
        lost, weight, by_cell, weight_of = _added(full, terms, cells, parts)
        held = weight > 0.0
        clusters = max(clusters, int(held.sum()))
        mean, error = mean_and_error(lost[held, None], weight[held])
        effect[place], of_rows[place] = mean[0], error[0]
        folds = np.array([fold for fold, _ in cells])
        of_cells[place], counts[place] = cell_error(by_cell, weight_of, folds)
    return Estimates(effect, of_rows, of_cells, clusters, counts)


def cell_error(sums: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> tuple[float, int]:
    """Return the standard error of a mean over cells, and how many independent parts it is from.

    Cells of one fold share their rows, so that several seeds are as good as several folds only
    where folds differ no more than seeds do. An F test of that (p above 1/4) lets cells be pooled;
    otherwise the seeds of a fold are added up first. A model that does not depend on seeds has the
    same error however many of them there are.

    Args:
        sums: What the rows of each cell lose, times their weights, of shape [cells].
        weights: The weight of each cell, of shape [cells].
        folds: The fold of each cell, of shape [cells].

    Source: Bancroft, "Analysis and inference for incompletely specified models involving the use
    of preliminary test(s) of significance", 1964, for the test and its level.

    Example:
        >>> once = np.array([1.0, 2.0, 4.0])
        >>> weights, folds = np.ones(6), np.array([0, 1, 2, 0, 1, 2])
        >>> error, parts = cell_error(np.tile(once, 2), weights, folds)  # seeds change nothing
        >>> parts, bool(np.isclose(error, np.std(once, ddof=1) / np.sqrt(3)))
        (3, True)
    """
    from scipy.special import fdtrc

    if not weights.all():
        sums, weights, folds = (each[weights > 0.0] for each in (sums, weights, folds))
    _, places, seeds = np.unique(folds, return_inverse=True, return_counts=True)
    heavy = np.bincount(places, weights)
    together = np.bincount(places, sums)
    by_fold = float(mean_and_error(together[:, None], heavy)[1][0])
    count, rest = len(seeds), len(folds) - len(seeds)
    if count < 2 or not rest or seeds.min() < seeds.max():
        return by_fold, count
    means = sums / weights
    of_folds = np.bincount(places, means) / seeds
    between = seeds[0] * np.sum((of_folds - of_folds.mean()) ** 2) / (count - 1)
    within = np.sum((means - of_folds[places]) ** 2) / rest
    if within == 0.0 or fdtrc(count - 1, rest, between / within) < POOLED:
        return by_fold, count
    return float(mean_and_error(sums[:, None], weights)[1][0]), len(folds)


def _added(
    full: Cells, terms: Sequence[Term], cells: Sequence[Cell], parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return sums of what rows lose more, and their weights: by part, and by cell."""
    lost, weight = np.zeros((2, parts))
    by_cell, weight_of = np.zeros((2, len(cells)))
    for place, cell in enumerate(cells):
        whole = full[cell]
        change = np.zeros(len(whole.sums))
        for term in terms:
            change += term.factor * (term.without[cell].sums - whole.sums)
        lost[whole.parts] += change
        weight[whole.parts] += whole.weights
        by_cell[place], weight_of[place] = change.sum(), whole.weights.sum()
    return lost, weight, by_cell, weight_of
