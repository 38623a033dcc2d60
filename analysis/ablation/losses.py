"""A second pass: what every held-out row loses, summed over clusters and folds.

The sums are enough for effects and their standard errors, of sets and of contrasts between them.
They are centred at the effects that the closed form gave already, so that nothing cancels.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featurekit.analysis.ablation.drops import FoldModel, Lost, project
from featurekit.analysis.ablation.gram import Block
from featurekit.analysis.ablation.inference import Estimates, mean_and_error

__all__ = ["Loss", "Losses", "held_out_losses", "logistic", "softplus"]


CELLS = 1 << 22
"""So many numbers at most are held for a part of a block, one for each row and direction."""


class Loss(enum.StrEnum):
    """What a prediction of one row costs; the squared error is summed over labels."""

    SQUARED = "squared error"
    LOG = "log loss"


@dataclass(frozen=True)
class Losses:
    """What the second pass found.

    Args:
        estimates: Of the sets, and behind them of the contrasts.
        full: The mean held-out loss with all features.
        baseline: That of a constant: the mean label of the training rows, or their class rates.
    """

    estimates: Estimates
    full: float
    baseline: float


def held_out_losses(
    blocks: Iterator[Block],
    models: Mapping[int, FoldModel],
    sets: Sequence[np.ndarray],
    contrasts: np.ndarray,
    centers: np.ndarray,
    loss: Loss,
    constants: Mapping[int, np.ndarray],
    clusters: int,
) -> Losses:
    """Return the effects of leaving sets out, and of contrasts between these, with their errors.

    Args:
        blocks: All rows.
        models: The model that each fold is held out from; other folds are passed over.
        sets: Places of design columns to leave out together.
        contrasts: Coefficients of the sets' effects, of shape [contrasts, sets].
        centers: Roughly the effects of sets and contrasts; any numbers give the same result.
        loss: What is lost.
        constants: For each fold, what the baseline predicts, of shape [labels]: mean labels, or log
            odds.
        clusters: How many clusters the rows belong to; 0 where each row is one of its own.

    Returns:
        Means over rows, by weight. The error over rows is that of a ratio of sums over clusters,
        `sqrt(C / (C - 1) * sum_c (sum_i w_i (d_i - effect))^2) / sum_i w_i`; the one over folds is
        the same formula with folds in place of clusters.
    """
    lost = {fold: project(model, sets) for fold, model in models.items()}
    drops = {
        fold: model.scaling.raw_coefficients(
            np.column_stack([model.root.T @ lost[fold].directions.T, model.coefficients])
        )
        for fold, model in models.items()
    }
    offsets = {fold: models[fold].center @ drop for fold, drop in drops.items()}
    sums = _Sums.zeros(len(sets) + len(contrasts), models, clusters)
    full = baseline = 0.0
    for block in _parts(blocks, drops):
        left_out = lost[block.fold]
        shifts = block.columns @ drops[block.fold]
        shifts -= offsets[block.fold]
        shifts, predicted = np.hsplit(shifts, [len(left_out.directions)])
        predicted = predicted + models[block.fold].label
        change = _change(shifts, predicted, block.label, left_out, loss)
        if len(contrasts):
            change = np.hstack([change, change @ contrasts.T])
        change -= centers
        sums.add(block, change)
        full += _total(_loss(predicted, block.label, loss), block.weights)
        baseline += _total(_loss(constants[block.fold], block.label, loss), block.weights)
    weight = sum(sums.weight_of.values())
    return Losses(sums.estimates(centers), full / weight, baseline / weight)


def _parts(blocks: Iterator[Block], drops: Mapping[int, np.ndarray]) -> Iterator[Block]:
    """Yield the rows of the folds that are held out, as many at a time as memory is for."""
    for block in blocks:
        if block.fold in drops:
            yield from block.parts(max(1, CELLS // drops[block.fold].shape[1]))


@dataclass
class _Sums:
    """What is added up, block by block.

    Args:
        by_fold: Weighted sums of the changes, less their centers, for each fold.
        weight_of: The weight of each fold.
        squares: Where rows are independent: sums of the squares of the weighted changes,
        crosses: of their products with the weights,
        weight_squares: of the squares of the weights,
        rows: and how many rows there are.
        kept: Where they are not: weighted sums for each cluster.
        kept_weight: The weight of each cluster.
    """

    by_fold: dict[int, np.ndarray]
    weight_of: dict[int, float]
    squares: np.ndarray
    crosses: np.ndarray
    weight_squares: float
    rows: int
    kept: np.ndarray
    kept_weight: np.ndarray

    @classmethod
    def zeros(cls, effects: int, folds: Collection[int], clusters: int) -> _Sums:
        return cls(
            by_fold={fold: np.zeros(effects) for fold in folds},
            weight_of=dict.fromkeys(folds, 0.0),
            squares=np.zeros(effects),
            crosses=np.zeros(effects),
            weight_squares=0.0,
            rows=0,
            kept=np.zeros((clusters, effects)),
            kept_weight=np.zeros(clusters),
        )

    def add(self, block: Block, change: np.ndarray) -> None:
        """Add the changes of a block, of shape [rows, effects], which are overwritten."""
        weights = block.weights
        if weights is not None:
            change *= weights[:, None]
        total = change.sum(axis=0)
        self.by_fold[block.fold] += total
        self.weight_of[block.fold] += len(change) if weights is None else float(weights.sum())
        if block.clusters is not None:
            starts = np.flatnonzero(np.diff(block.clusters, prepend=-1))
            places = block.clusters[starts]
            self.kept[places] += np.add.reduceat(change, starts, axis=0)
            ones = np.ones(len(change)) if weights is None else weights
            self.kept_weight[places] += np.add.reduceat(ones, starts)
            return
        self.rows += len(change)
        self.squares += np.einsum("ij,ij->j", change, change)
        self.crosses += total if weights is None else weights @ change
        self.weight_squares += len(change) if weights is None else float(weights @ weights)

    def estimates(self, centers: np.ndarray) -> Estimates:
        """Return the effects and their errors."""
        folds = np.stack(list(self.by_fold.values()))
        mean, fold_error = mean_and_error(folds, np.array(list(self.weight_of.values())))
        if len(self.kept):
            seen = self.kept_weight > 0.0
            _, row_error = mean_and_error(self.kept[seen], self.kept_weight[seen])
            return Estimates(mean + centers, row_error, fold_error, int(seen.sum()))
        # The same formula with the square written out, for the rows are not kept.
        squares = self.squares - 2 * mean * self.crosses + mean**2 * self.weight_squares
        scale = np.sqrt(self.rows / max(self.rows - 1, 1)) / sum(self.weight_of.values())
        row_error = scale * np.sqrt(np.maximum(squares, 0.0))
        return Estimates(mean + centers, row_error, fold_error, self.rows)


def _total(losses: np.ndarray, weights: np.ndarray | None) -> float:
    return float(losses.sum() if weights is None else (weights @ losses).sum())


def softplus(x: np.ndarray) -> np.ndarray:
    """Return log(1 + exp(x))."""
    # Faster than NumPy's logaddexp, and as exact for what is summed here.
    found: np.ndarray = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return found


def logistic(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    found: np.ndarray = np.where(x >= 0.0, 1.0, small) / (1.0 + small)
    return found


def _change(
    shifts: np.ndarray, predicted: np.ndarray, label: np.ndarray, lost: Lost, loss: Loss
) -> np.ndarray:
    """Return how much more each row loses when its predictions fall by the shifts of each set.

    Args:
        shifts: Along the directions of the sets, of shape [rows, directions].
        predicted: Of shape [rows, labels].
        label: Of shape [rows, labels].
        lost: The directions.
        loss: What is lost; of the log loss, there is one label.

    Returns:
        Float64 of shape [rows, sets].
    """
    if loss is Loss.SQUARED:
        # (e + s)^2 - e^2 = s (s + 2 e), summed over directions in place of labels.
        error = 2 * (label - predicted)
        change: np.ndarray = shifts + (error if error.shape[1] == 1 else error @ lost.mixes.T)
        change *= shifts
        return lost.by_set(change)
    change = softplus(predicted - shifts)
    change -= softplus(predicted)
    change += label * shifts
    return change


def _loss(predicted: np.ndarray, label: np.ndarray, loss: Loss) -> np.ndarray:
    squared = loss is Loss.SQUARED
    found: np.ndarray = (
        (label - predicted) ** 2 if squared else softplus(predicted) - label * predicted
    )
    return found
