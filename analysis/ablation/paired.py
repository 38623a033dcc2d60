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

__all__ = ["Cell", "Cells", "Term", "mean_loss", "paired_estimates"]

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
        over seeds first; and the one over cells, in which seeds vary as well. An effect of which
        no cell is known is NaN.
    """
    effect, of_rows, of_cells, counts = np.full((4, len(sums)), np.nan)
    clusters = 0
    for place, terms in enumerate(sums):
        cells = [cell for cell in full if all(cell in term.without for term in terms)]
        counts[place] = len(cells)
        if not cells:
            continue
        lost, weight, by_cell, weight_of = _added(full, terms, cells, parts)
        held = weight > 0.0
        clusters = max(clusters, int(held.sum()))
        mean, error = mean_and_error(lost[held, None], weight[held])
        effect[place], of_rows[place] = mean[0], error[0]
        of_cells[place] = mean_and_error(by_cell[:, None], weight_of)[1][0]
    return Estimates(effect, of_rows, of_cells, clusters, counts)


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
