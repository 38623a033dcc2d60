"""A second pass: what every held-out row loses, summed over clusters and folds.

The sums are enough for effects and their standard errors, of sets and of contrasts between them.
They are centred at the effects that the closed form gave already, so that nothing cancels.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featurekit.analysis.ablation.drops import FoldModel, project
from featurekit.analysis.ablation.gram import Block
from featurekit.analysis.ablation.inference import Estimates

__all__ = ["Loss", "Losses", "held_out_losses", "logistic", "softplus"]


class Loss(enum.StrEnum):
    """What a prediction of one row costs."""

    SQUARED = "squared error"
    LOG = "log loss"


@dataclass(frozen=True)
class Losses:
    """What the second pass found.

    Args:
        estimates: Of the sets, and behind them of the contrasts.
        full: The mean held-out loss with all features.
        baseline: That of a constant: the mean label of the training rows.
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
    constants: Mapping[int, float],
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
        constants: For each fold, what the baseline predicts: a mean label, or its log odds.
        clusters: How many clusters the rows belong to; 0 where each row is one of its own.

    Returns:
        Means over rows, by weight. The error over rows is that of a ratio of sums over clusters,
        `sqrt(C / (C - 1) * sum_c (sum_i w_i (d_i - effect))^2) / sum_i w_i`; the one over folds is
        the same formula with folds in place of clusters.
    """
    drops = {
        fold: model.scaling.raw_coefficients(
            np.column_stack([model.root.T @ project(model, sets).T, model.coefficients])
        )
        for fold, model in models.items()
    }
    offsets = {fold: models[fold].center @ drop for fold, drop in drops.items()}
    effects = len(sets) + len(contrasts)
    by_fold = {fold: np.zeros(effects) for fold in models}
    weight_of = dict.fromkeys(models, 0.0)
    kept = np.zeros((clusters, effects))
    kept_weight = np.zeros(clusters)
    squares, crosses = np.zeros(effects), np.zeros(effects)
    weight_squares, rows, full, baseline = 0.0, 0, 0.0, 0.0
    for block in blocks:
        if block.fold not in models:
            continue
        shifts = block.values[:, :-2] @ drops[block.fold]
        shifts -= offsets[block.fold]
        predicted = shifts[:, -1] + models[block.fold].label
        label = block.values[:, -2]
        change = _change(shifts[:, :-1], predicted, label, loss)
        if len(contrasts):
            change = np.hstack([change, change @ contrasts.T])
        change -= centers
        weights = block.weights if block.weights is not None else np.ones(len(label))
        full += weights @ _loss(predicted, label, loss)
        baseline += weights @ _loss(np.full(len(label), constants[block.fold]), label, loss)
        if block.weights is not None:
            change *= weights[:, None]
        weight_of[block.fold] += float(weights.sum())
        by_fold[block.fold] += change.sum(axis=0)
        if block.clusters is not None:
            starts = np.flatnonzero(np.diff(block.clusters, prepend=-1))
            places = block.clusters[starts]
            kept[places] += np.add.reduceat(change, starts, axis=0)
            kept_weight[places] += np.add.reduceat(weights, starts)
            continue
        rows += len(label)
        weight_squares += float(weights @ weights)
        squares += np.einsum("ij,ij->j", change, change)
        crosses += weights @ change
    weight = sum(weight_of.values())
    mean = np.sum(list(by_fold.values()), axis=0) / weight
    if clusters:
        seen = kept_weight > 0.0
        rows = int(seen.sum())
        scatter = np.sum((kept[seen] - np.multiply.outer(kept_weight[seen], mean)) ** 2, axis=0)
    else:
        scatter = np.maximum(squares - 2 * mean * crosses + mean**2 * weight_squares, 0.0)
    apart = [(by_fold[fold] - weight_of[fold] * mean) ** 2 for fold in models]
    estimates = Estimates(
        mean + centers,
        np.sqrt(scatter * rows / max(rows - 1, 1)) / weight,
        np.sqrt(np.sum(apart, axis=0) * len(apart) / max(len(apart) - 1, 1)) / weight,
        rows,
    )
    return Losses(estimates, full / weight, baseline / weight)


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


def _change(shifts: np.ndarray, predicted: np.ndarray, label: np.ndarray, loss: Loss) -> np.ndarray:
    """Return how much more each row loses when its prediction falls by each shift; [rows, sets]."""
    if loss is Loss.SQUARED:
        # (e + s)^2 - e^2 = s (s + 2 e)
        change: np.ndarray = shifts + 2 * (label - predicted)[:, None]
        change *= shifts
        return change
    change = softplus(predicted[:, None] - shifts)
    change -= softplus(predicted)[:, None]
    change += label[:, None] * shifts
    return change


def _loss(predicted: np.ndarray, label: np.ndarray, loss: Loss) -> np.ndarray:
    squared = loss is Loss.SQUARED
    found: np.ndarray = (
        (label - predicted) ** 2 if squared else softplus(predicted) - label * predicted
    )
    return found
