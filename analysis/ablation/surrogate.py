"""The linear surrogate: a ridge or logistic regression for every fold, from Gram matrices.

A logistic regression is fitted by Newton steps, each of them a weighted least-squares fit (Green,
"Iteratively Reweighted Least Squares", 1984). The first starts at a constant and needs only the
Gram matrices that there are. Further ones start where the model of all rows stands and take a pass
each, whose weighted Gram matrices serve every fold: a fold's own step from there ends within
O(1/n^2) of where its own start would have ended (Rad and Maleki, "A scalable estimate of the
out-of-sample prediction error via approximate leave-one-out cross-validation", 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featurekit.analysis.ablation.blocks import Rows, blocks
from featurekit.analysis.ablation.design import Design
from featurekit.analysis.ablation.drops import (
    FoldModel,
    change_of,
    fit_fold,
    fit_scaling,
    gain_of,
    project,
    project_rests,
)
from featurekit.analysis.ablation.gram import Block, Gram, accumulate, merge
from featurekit.analysis.ablation.losses import Loss, Losses, held_out_losses, logistic
from featurekit.analysis.ablation.pairs import feature_bases, pair_changes
from featurekit.errors import DataError, UsageError

__all__ = [
    "Surrogate",
    "closed_effects",
    "closed_effects_of_rests",
    "closed_gains",
    "correlations",
    "fit_surrogate",
    "measured",
    "pair_effects",
]

STEEP = 12.0
"""Log odds are cut here when a Newton step starts from them: beyond, a row has no weight."""


@dataclass(frozen=True)
class Surrogate:
    """A model for every fold, with the rows that it was fitted on and is tested on.

    Args:
        design: How features become columns.
        rows: The rows.
        loss: What a prediction costs.
        models: For every fold that is held out.
        constants: For each of these folds, what a model without features predicts, of shape
            [labels]: the mean labels of the training rows, or their log odds.
        weight: Of all rows that are held out once.
        whole: The Gram matrix of all rows, the labels in the last places.
    """

    design: Design
    rows: Rows
    loss: Loss
    models: Mapping[int, FoldModel]
    constants: Mapping[int, np.ndarray]
    weight: float
    whole: Gram

    @property
    def unit(self) -> float:
        """What a change of squares is to be multiplied with to be a mean loss."""
        return (1.0 if self.loss is Loss.SQUARED else 0.5) / self.weight

    @property
    def label_variance(self) -> float:
        """The variance of the label over all rows; of several, the sum."""
        return _label_scatter(self.whole, self.design) / self.whole.weight


def fit_surrogate(
    rows: Rows, design: Design, loss: Loss, penalty: float, *, ordered: bool, newton_steps: int
) -> Surrogate:
    """Fit the models of all folds.

    Args:
        rows: The rows; for the log loss, the label is 0 or 1.
        design: How features become columns.
        loss: Squared error for ridge regression, log loss for logistic regression.
        penalty: As `alpha` of scikit-learn's `Ridge` on standardised columns; for logistic
            regression as its `1 / C`.
        ordered: Whether folds follow each other in time: each is held out from a model of the
            earlier ones, and the first one is only trained on.
        newton_steps: How many of them a logistic regression takes.

    Raises:
        UsageError: There are too few folds, or the penalty is too small.
        DataError: Some training rows have one label only.
    """
    grams = accumulate(blocks(rows, design))
    if len(grams) < 2 or any(part.weight == 0.0 for part in grams.values()):
        raise UsageError(
            f"{len(grams)} folds with weight are too few to hold one out",
            hint="at least 2",
        )
    tested = list(grams)[1:] if ordered else list(grams)
    training = {
        fold: [other for other in grams if (other < fold if ordered else other != fold)]
        for fold in tested
    }
    plain = {fold: merge(grams[other] for other in training[fold]) for fold in tested}
    for fold, train in plain.items():
        if not _label_scatter(train, design) > 0.0:
            raise DataError(
                "the training rows have one label only", where=f"fold {fold}",
                hint="folds of which at least two hold each label",
            )  # fmt: skip
    whole = merge(grams.values())
    working = grams
    if loss is Loss.LOG:
        working = {fold: _first_step(part, whole.mean[-1]) for fold, part in grams.items()}
        for _ in range(newton_steps - 1):
            start = merge(working.values())
            scaling = fit_scaling(whole, design)
            model = fit_fold(-1, start, start, scaling, penalty)
            working = dict(accumulate(_reweighted(blocks(rows, design), model)))
    models = {}
    for fold in tested:
        train = merge(working[other] for other in training[fold])
        scaling = fit_scaling(plain[fold], design)
        models[fold] = fit_fold(fold, train, working[fold], scaling, penalty)
    return Surrogate(
        design,
        rows,
        loss,
        models,
        {fold: _constant(train.mean[design.width :], loss) for fold, train in plain.items()},
        sum(grams[fold].weight for fold in tested),
        whole,
    )


def closed_effects(surrogate: Surrogate, sets: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the effects of leaving out sets of features, from the closed form.

    For the squared error they are exact. For the log loss they are its second-order expansion.

    Args:
        surrogate: The models.
        sets: Places of features.

    Returns:
        Float64 of shape [sets].
    """
    columns = [surrogate.design.columns_of(features) for features in sets]
    changes = [change_of(model, project(model, columns)) for model in surrogate.models.values()]
    effects: np.ndarray = np.sum(changes, axis=0) * surrogate.unit
    return effects


def closed_gains(surrogate: Surrogate, sets: Sequence[Sequence[int]]) -> np.ndarray:
    """Return by how much sets of features, each alone, lower the loss of a constant.

    Exact for the squared error, a second-order expansion for the log loss; float64 of shape [sets].
    """
    columns = [surrogate.design.columns_of(features) for features in sets]
    gains = [gain_of(model, columns) for model in surrogate.models.values()]
    summed: np.ndarray = np.sum(gains, axis=0) * surrogate.unit
    return summed


def closed_effects_of_rests(surrogate: Surrogate, features: Sequence[int]) -> np.ndarray:
    """Return, for each of some features, the effect of leaving out all the others of them.

    Float64 of shape [features].
    """
    parts = [surrogate.design.columns_of([place]) for place in features]
    changes = [change_of(model, project_rests(model, parts)) for model in surrogate.models.values()]
    effects: np.ndarray = np.sum(changes, axis=0) * surrogate.unit
    return effects


def pair_effects(surrogate: Surrogate) -> np.ndarray:
    """Return the effects of leaving out every pair; on the diagonal, every single feature."""
    changes = [
        pair_changes(model, feature_bases(model, surrogate.design))
        for model in surrogate.models.values()
    ]
    effects: np.ndarray = np.sum(changes, axis=0) * surrogate.unit
    return effects


def measured(
    surrogate: Surrogate,
    sets: Sequence[Sequence[int]],
    contrasts: Sequence[Mapping[int, float]] = (),
) -> Losses:
    """Return effects with their errors, from a pass over the rows.

    Args:
        surrogate: The models.
        sets: Places of features to leave out together.
        contrasts: Each gives some sets, by their places, a factor.
    """
    factors = np.zeros((len(contrasts), len(sets)))
    for place, contrast in enumerate(contrasts):
        for of, factor in contrast.items():
            factors[place, of] += factor
    near = closed_effects(surrogate, sets)
    clusters = surrogate.rows.clusters
    return held_out_losses(
        blocks(surrogate.rows, surrogate.design),
        surrogate.models,
        [surrogate.design.columns_of(features) for features in sets],
        factors,
        np.concatenate([near, factors @ near]),
        surrogate.loss,
        surrogate.constants,
        0 if clusters is None else int(clusters.max()) + 1,
    )


def correlations(surrogate: Surrogate) -> np.ndarray:
    """Return the correlations of the design columns over all rows; 0 where one is constant."""
    scaling = fit_scaling(surrogate.whole, surrogate.design)
    width = surrogate.design.width
    return scaling.products(surrogate.whole.scatter[:width, :width]) / surrogate.whole.weight


def _label_scatter(of: Gram, design: Design) -> float:
    return float(np.diag(of.scatter)[design.width :].sum())


def _constant(mean: np.ndarray, loss: Loss) -> np.ndarray:
    return mean if loss is Loss.SQUARED else np.log(mean / (1.0 - mean))


def _first_step(part: Gram, rate: float) -> Gram:
    """Return the weighted Gram matrix of a Newton step that starts from a constant rate."""
    spread = rate * (1.0 - rate)
    # Row weights are all the same; the working response is the label less the rate, over them.
    per_label = np.ones(len(part.mean))
    per_label[-1] = 1.0 / spread
    mean = part.mean * per_label
    mean[-1] += np.log(rate / (1.0 - rate)) - rate / spread
    scatter = spread * part.scatter * np.multiply.outer(per_label, per_label)
    return Gram(part.rows, spread * part.weight, mean, scatter)


def _reweighted(of: Iterator[Block], model: FoldModel) -> Iterator[Block]:
    """Yield the blocks as a Newton step from a model sees them: with its weights and responses."""
    slopes = model.scaling.raw_coefficients(model.coefficients)
    intercept = model.label - model.center @ slopes
    for block in of:
        odds = np.clip(block.columns @ slopes + intercept, -STEEP, STEEP)
        rate = logistic(odds)
        spread = rate * (1.0 - rate)
        block.label[:] = odds + (block.label - rate) / spread
        weights = spread[:, 0] if block.weights is None else spread[:, 0] * block.weights
        yield replace(block, weights=weights)
