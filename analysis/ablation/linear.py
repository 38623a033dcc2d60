"""Tier 0: the ablation of every feature, pair and group of a linear model, in closed form.

Two passes over the rows: one builds the Gram matrices of every fold, from which all models with
and without features follow (`drops.py`); one adds up what every held-out row loses, which says how
sure the effects are (`losses.py`, `inference.py`). Nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.ablation.blocks import Rows
from featurekit.analysis.ablation.candidates import find_candidates
from featurekit.analysis.ablation.dealing import deal_folds, ranks
from featurekit.analysis.ablation.design import MAX_LEVELS, fit_design
from featurekit.analysis.ablation.inference import (
    MARGIN,
    Contribution,
    contributions,
    margin_of,
)
from featurekit.analysis.ablation.inputs import (
    Values,
    column,
    framed,
    read_label,
    read_weights,
)
from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.relations import (
    Bound,
    Joint,
    Relation,
    ask,
    bounded,
    confirm,
    joint_set,
)
from featurekit.analysis.ablation.residuals import held_out_residuals
from featurekit.analysis.ablation.surrogate import (
    Surrogate,
    closed_effects,
    fit_surrogate,
    measured,
    pair_effects,
)
from featurekit.analysis.ablation.tasks import Task
from featurekit.analysis.ablation.threads import one_thread
from featurekit.analysis.ablation.units import Candidate
from featurekit.errors import UsageError, closest

__all__ = ["Joint", "LinearAblation", "ablate_linear"]

MAX_CLUSTERS = 4096
"""Of more clusters, some are taken together: their sums stay independent, the standard error is as
right and 1% noisier, and memory is bounded."""


@dataclass(frozen=True, eq=False)
class LinearAblation:
    """What a linear model loses without each feature, pair and group: a linear surrogate.

    Args:
        features: Their names, in the order of the table.
        widths: How many design columns each has.
        task: What is predicted.
        classes: The values of the label in their order, the positive class of a binary label last;
            empty for regression.
        loss: `squared error` or `log loss`; effects are in its units. Of several classes, the
            squared error is the sum over them, the Brier score.
        rows: Rows held out once each.
        clusters: Independent clusters of rows behind the standard errors.
        folds: How many folds are held out.
        ordered: Whether each fold was held out from a model of the earlier ones only.
        penalty: On standardised columns.
        full_loss: The mean held-out loss with all features.
        baseline_loss: That of a constant, or of constant rates of the classes.
        margin: What is negligible, in units of the loss.
        singles: What each feature is worth, in the order of `features`; a family.
        groups: What each declared group is worth; a family of its own.
        pairs: The effects of leaving out two features together, float64 of shape [features,
            features]; on the diagonal those of one feature. `None` where not asked for. For the log
            loss they are second-order expansions.
        relations: Redundant, legacy and bundled features.
        joint: What all features that are flagged there are worth together, and which of them can
            go. `None` where none is flagged.
        residuals: The label less its held-out prediction by the full model, see `residuals.py`:
            float64 of shape [rows], or [rows, classes] for several classes; NaN where a row was
            never held out. `None` where not asked for.
        surrogate: The models, for further questions.
    """

    features: tuple[str, ...]
    widths: tuple[int, ...]
    task: Task
    classes: tuple[Any, ...]
    loss: Loss
    rows: int
    clusters: int
    folds: int
    ordered: bool
    penalty: float
    full_loss: float
    baseline_loss: float
    margin: float
    singles: tuple[Contribution, ...]
    groups: tuple[Contribution, ...]
    pairs: np.ndarray | None
    relations: tuple[Relation, ...]
    joint: Joint | None
    residuals: np.ndarray | None
    surrogate: Surrogate = field(repr=False)

    def effect_of(self, features: Collection[str]) -> float:
        """Return the effect of leaving out some features together, in closed form.

        For the log loss it is a second-order expansion.
        """
        return float(closed_effects(self.surrogate, [self._places(features)])[0])

    def bound_of(self, features: Collection[str], family: int = 1) -> Bound:
        """Return that effect with its interval, from a pass over the rows.

        Args:
            features: Their names.
            family: How many intervals hold together.
        """
        return bounded(measured(self.surrogate, [self._places(features)]).estimates, family)[0]

    def _places(self, features: Collection[str]) -> list[int]:
        return [place for place, name in enumerate(self.features) if name in features]

    @property
    def skill(self) -> float:
        """How much less the full model loses than a constant does."""
        return self.baseline_loss - self.full_loss

    @property
    def interactions(self) -> np.ndarray | None:
        """For every pair, the sum of both effects less their effect together.

        Float64 of shape [features, features], 0 on the diagonal. Above 0 for complements, which are
        worth something only together; below 0 for substitutes, which stand in for each other.
        """
        if self.pairs is None:
            return None
        alone = np.diag(self.pairs)
        out: np.ndarray = alone[:, None] + alone - self.pairs
        np.fill_diagonal(out, 0.0)
        return out


def ablate_linear(
    table: pl.DataFrame | pl.LazyFrame | Mapping[str, Values],
    label: str | Values,
    *,
    features: Sequence[str] | None = None,
    folds: int | str | Values = 5,
    ordered: bool = False,
    groups: Mapping[str, Sequence[str]] = MappingProxyType({}),
    weights: str | Values | None = None,
    clusters: str | Values | None = None,
    categorical: Collection[str] = (),
    max_levels: int = MAX_LEVELS,
    created: Mapping[str, Any] = MappingProxyType({}),
    task: Task | str | None = None,
    penalty: float = 1.0,
    newton_steps: int = 2,
    margin: float = MARGIN,
    relations: bool = True,
    pairs: bool = True,
    residuals: bool = False,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> LinearAblation:
    """Leave out every feature, pair and group of a linear model, without training again.

    Args:
        table: The rows. A lazy frame is read in batches, once for each pass.
        label: What is predicted: a number, one of two values, or one of several classes; a
            column's name, or an array of shape [rows]. No row may lack it.
        features: Names of columns; by default all that are not given another meaning here.
        folds: Which fold holds a row out: a column's name or integers of shape [rows], where a row
            of a negative fold takes no part; or how many folds to deal the clusters (or rows) into,
            by a hash of what they hold, so that the order of the rows does not matter.
        ordered: Whether folds follow each other in time: each is held out from a model of the
            earlier ones.
        groups: Names of features by a group's name, to be left out together.
        weights: Of the rows, not negative; a column's name or an array.
        clusters: What makes rows depend on each other, an entity or a block of time; a column's
            name or an array. By default every row is independent of the others.
        categorical: Features that hold categories although they are numbers: ids of a vocabulary.
        max_levels: How many values of a category have a column of their own.
        created: When features were made, by name, in anything that can be compared.
        task: `regression`, `binary` or `multiclass`; by default what the label asks for, see
            `tasks.py`. Several classes are a ridge regression of the indicator of each of them.
        penalty: Added to the diagonal of X'WX of columns that are standardised on the training rows
            of a fold; the intercept is free. `alpha` of scikit-learn's `Ridge`; for a binary label
            its `1 / C`.
        newton_steps: For a binary label, at least 1. Each one after the first takes a pass.
        margin: What is negligible, as a share of the skill.
        relations: Whether to look for redundant, legacy and bundled features; needs `pairs`.
        pairs: Whether to compute all pairs.
        residuals: Whether to keep what each row's held-out prediction is off by; takes a pass. For
            `interactions.py`, let a binary label have four Newton steps.
        seed: Of the hash that deals the folds.
        tell: Told what is computed, before each pass over the rows.

    Returns:
        The ablation. A missing or infinite number counts as the mean of the training rows, beside
        an indicator which belongs to the feature; see `design.py`.

    Raises:
        UsageError: A name is unknown, an argument has the wrong shape, or features are copies of
            each other and the penalty is 0.
        DataError: A label is missing, or a feature has no value.
        MissingExtra: SciPy is not installed.

    Example:
        >>> random = np.random.default_rng(7)
        >>> x, z, noise = random.normal(size=(3, 2000))
        >>> found = ablate_linear({"x": x, "z": z}, x + noise)
        >>> [(single.name, str(single.verdict)) for single in found.singles]
        [('x', 'matters'), ('z', 'negligible')]
        >>> bool(abs(found.singles[0].effect - 1.0) < 0.15)  # the variance of x
        True

    Source: a model without some columns is a downdate of the inverse; Hager, "Updating the Inverse
    of a Matrix", 1989. How it is computed stably: `drops.py`.
    """
    if penalty < 0.0 or newton_steps < 1:
        raise UsageError("penalty must not be negative, and newton_steps at least 1")
    if ordered and isinstance(folds, int):
        raise UsageError(
            "dealt folds do not follow each other in time", where="folds",
            hint="ordered needs the fold of every row",
        )  # fmt: skip
    frame = framed(table)
    named = {name for name in (label, folds, weights, clusters) if isinstance(name, str)}
    names = [name for name in frame.collect_schema().names() if name not in named]
    names = list(features) if features is not None else names
    _check_names(names, named)
    count = int(frame.select(pl.len()).collect(engine="streaming").item())
    given, loss = read_label(column(frame, label, "label", count), task)
    heavy = None if weights is None else read_weights(frame, weights, count)
    together = None if clusters is None else column(frame, clusters, "clusters", count)
    say = tell or (lambda _: None)
    say("values of features")
    design = fit_design(frame, names, categorical, max_levels)
    rows = Rows(
        frame,
        # The distance from the mean gives the same results, and stays exact near 1e9.
        given.values - given.values.mean() if given.task is Task.REGRESSION else given.values,
        deal_folds(frame, names, folds, together, given.values, heavy, seed),
        None if heavy is None else heavy.to_numpy(),
        None if together is None else ranks(together) % MAX_CLUSTERS,
        len(given.classes) if given.task is Task.MULTICLASS else 0,
    )
    say("models of all folds")
    surrogate = fit_surrogate(
        rows, design, loss, penalty, ordered=ordered, newton_steps=newton_steps
    )
    places = {name: place for place, name in enumerate(names)}
    grouped = {group: _members(group, members, places) for group, members in groups.items()}
    if pairs:
        say("all pairs")
    effects = pair_effects(surrogate) if pairs else None
    candidates: tuple[Candidate, ...] = ()
    if relations and effects is not None:
        say("features that say the same, or belong together")
        # Many small decompositions; threads would wait for each other more than they compute.
        with one_thread():
            candidates = find_candidates(surrogate, effects, grouped, created, margin)
    sets: list[Sequence[int]] = [*([place] for place in range(len(names))), *grouped.values()]
    question = ask(sets, candidates)
    say("what held-out rows lose")
    losses = measured(surrogate, question.sets, question.contrasts)
    limit = margin_of(losses.full, losses.baseline, margin)
    one, last = len(names), len(sets)
    found = losses.estimates
    related = confirm(candidates, names, found.take(slice(len(question.sets), None)), limit)
    return LinearAblation(
        features=tuple(names),
        widths=tuple(encoding.width for encoding in design.features),
        task=given.task,
        classes=given.classes,
        loss=loss,
        rows=sum(int((rows.folds == fold).sum()) for fold in surrogate.models),
        clusters=found.clusters,
        folds=len(surrogate.models),
        ordered=ordered,
        penalty=penalty,
        full_loss=losses.full,
        baseline_loss=losses.baseline,
        margin=limit,
        singles=contributions(names, [(name,) for name in names], found.take(slice(one)), limit),
        groups=contributions(
            list(grouped),
            [tuple(names[place] for place in members) for members in grouped.values()],
            found.take(slice(one, last)),
            limit,
        ),
        pairs=effects,
        relations=related,
        joint=_joint(surrogate, related, names, limit),
        residuals=held_out_residuals(surrogate) if residuals else None,
        surrogate=surrogate,
    )


def _joint(
    surrogate: Surrogate, related: Sequence[Relation], names: Sequence[str], margin: float
) -> Joint | None:
    with one_thread():
        every, taken = joint_set(names, related, margin, partial(closed_effects, surrogate))
    if not every:
        return None
    found = measured(surrogate, [every, taken]).estimates
    together, removable = bounded(found, family=2)
    return Joint(
        tuple(names[place] for place in every), together,
        tuple(names[place] for place in taken), removable,
    )  # fmt: skip


def _check_names(names: Sequence[str], named: Collection[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if not names:
        raise UsageError("there is no feature to leave out")
    if twice:
        raise UsageError(f"feature {twice[0]!r} is named twice", where="features")
    for name in names:
        if name in named:
            raise UsageError(
                f"{name!r} is a feature, and label, folds, weights or clusters too",
                where="features",
                hint="leave it out of the features",
            )


def _members(group: str, members: Sequence[str], places: Mapping[str, int]) -> list[int]:
    if not members:
        raise UsageError("a group needs a member", where=f"group {group!r}")
    for name in members:
        if name not in places:
            raise UsageError(
                f"{name!r} is no feature", where=f"group {group!r}", hint=closest(name, places)
            )
    return sorted({places[name] for name in members})
