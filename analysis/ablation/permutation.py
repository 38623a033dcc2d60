"""Tier 1: what a trained model loses when features are shuffled; nothing is trained again.

A feature is shuffled among rows that look alike in all other features, so that the model is not
asked about rows that cannot be: a tree predicts the feature from the others, and values change
places within its leaves. What is left of the effect is what the feature says beyond the others to
the model that is there; a model that was trained without it might make up for more.

Source: conditional subgroups; Molnar, König, Bischl and Casalicchio, "Model-agnostic feature
importance and effects with dependent features", 2023.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.ablation.dealing import row_hashes
from featurekit.analysis.ablation.estimators import (
    Inputs,
    Learner,
    Trained,
    constant,
    read_inputs,
)
from featurekit.analysis.ablation.inference import (
    MARGIN,
    Contribution,
    Estimates,
    contributions,
    margin_of,
)
from featurekit.analysis.ablation.moderation import moderated
from featurekit.analysis.ablation.paired import Cell, Cells, Term, mean_loss, paired_estimates
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.scores import Metric, PartLosses
from featurekit.analysis.ablation.tasks import Label, Task
from featurekit.analysis.ablation.threads import one_thread
from featurekit.errors import UsageError

__all__ = ["Permutation", "permute"]

TREE_ROWS = 20_000
"""The tree that says which rows look alike is grown on so many rows."""
LEAF_ROWS = 40
"""A leaf of it has at least so many of them."""
LEVELS = 8
"""So many values of a category tell the tree apart."""


@dataclass(frozen=True)
class Permutation:
    """What a trained model loses when features are shuffled.

    Args:
        full_loss: The mean loss of held-out rows.
        baseline_loss: That of a constant.
        margin: What is negligible, in units of the loss.
        rows: How many rows are held out.
        clusters: Independent parts of them behind the standard errors.
        folds: How many models there are, each for rows that it has not seen; 1 for a model that was
            given.
        repeats: How often everything was shuffled.
        complete: Whether all was shuffled, and not cut off by the budget.
        singles: The features that were shuffled, a family.
        groups: The groups that were, by their family; each a family.
    """

    full_loss: float
    baseline_loss: float
    margin: float
    rows: int
    clusters: int
    folds: int
    repeats: int
    complete: bool
    singles: tuple[Contribution, ...]
    groups: Mapping[str, tuple[Contribution, ...]]


def permute(
    problem: Problem,
    learner: Learner,
    metric: Metric,
    *,
    families: Mapping[str, Mapping[str, Sequence[str]]],
    repeats: int = 3,
    margin: float = MARGIN,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    ends: float = math.inf,
) -> Permutation:
    """Shuffle every feature and every group in held-out rows of a trained model.

    Args:
        problem: The rows. Of a learner that is fitted already, none of them may be among those that
            it was trained on; others are trained once for every fold.
        learner: What is trained.
        metric: What predictions cost.
        families: Members of groups by the group's name, by the name of their family.
        repeats: How often to shuffle.
        margin: What is negligible, as a share of the skill.
        jobs: How many features to shuffle at a time.
        progress: Told how many sets are done, and how many there are.
        ends: When the budget ends, by `time.monotonic`: what is not begun by then is not done.

    Returns:
        Effects in units of the loss: what shuffled rows lose more than rows as they are.

    Raises:
        UsageError: The model cannot be trained.
    """
    from joblib import Parallel, delayed

    if learner.fitted is None:
        problem.check_labels()
    sets = _sets(problem.features, families)
    table = problem.table.select(problem.listed) if problem.listed else problem.table
    inputs = read_inputs(table, learner, problem.categorical)
    alike = _Alike.of(problem)
    with one_thread():
        models = list(
            takewhile(lambda _: time.monotonic() < ends, _models(problem, learner, metric, inputs))
        )
        if len(models) < (1 if learner.fitted is not None else len(problem.held_out)):
            return Permutation(
                math.nan, math.nan, 0.0, 0, 0, 0, repeats, False, (), dict.fromkeys(families, ())
            )
        shuffle = _Shuffle(problem, metric, inputs, models, alike, repeats, ends)
        made = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(
            delayed(shuffle.cells)(sorted(one)) for one in sets
        )
        cells: dict[frozenset[str], Cells] = {}
        for done, (one, found) in enumerate(zip(sets, made, strict=True), 1):
            if found is not None:
                cells[one] = found
            if progress is not None:
                progress(done, len(sets))
    full = {(model.fold, seed): model.full for model in models for seed in range(repeats)}
    full_loss = mean_loss(full)
    baseline = mean_loss({(model.fold, 0): model.constant for model in models})
    limit = margin_of(full_loss, baseline, margin)
    parts = int(problem.parts.max()) + 1

    def judged(of: Mapping[str, Sequence[str]]) -> tuple[tuple[Contribution, ...], Estimates]:
        # What was not shuffled belongs to the family, and has no cells.
        terms = [[Term(1.0, cells.get(frozenset(members), {}))] for members in of.values()]
        estimates = moderated(paired_estimates(full, terms, parts))
        members = [tuple(each) for each in of.values()]
        judged = contributions(list(of), members, estimates, limit)
        return tuple(one for one in judged if frozenset(one.features) in cells), estimates

    singles, estimates = judged({name: (name,) for name in problem.features})
    return Permutation(
        full_loss, baseline, limit, sum(len(model.rows) for model in models), estimates.clusters,
        len(models), repeats, len(cells) == len(sets), singles,
        {family: judged(groups)[0] for family, groups in families.items() if groups},
    )  # fmt: skip


def _sets(
    features: Sequence[str], families: Mapping[str, Mapping[str, Sequence[str]]]
) -> list[frozenset[str]]:
    """Return every set of features that is asked for, once."""
    groups = (frozenset(some) for groups in families.values() for some in groups.values())
    return list(dict.fromkeys([*(frozenset({name}) for name in features), *groups]))


@dataclass(frozen=True, eq=False)
class _Model:
    """A trained model and the rows that it has not seen."""

    fold: int
    trained: Trained
    rows: np.ndarray
    full: PartLosses
    constant: PartLosses


def _models(problem: Problem, learner: Learner, metric: Metric, inputs: Inputs) -> Iterator[_Model]:
    label = problem.label
    if learner.fitted is not None:
        rows = np.flatnonzero(problem.folds >= 0)
        folds = [(0, rows, rows)]
    else:
        folds = [
            (fold, problem.training_rows(fold), problem.held_rows(fold))
            for fold in problem.held_out
        ]
    for fold, train, rows in folds:
        heavy = problem.weights_of(train)
        truth = label.values[train]
        trained = (
            learner.fit(inputs, train, truth, heavy, label.task, problem.seed)
            if learner.fitted is None
            else Trained(_translated(learner.fitted, label), inputs.kept(()))
        )
        known = truth if label.task is Task.REGRESSION else truth.astype(np.int64)
        nothing = np.zeros((len(train), 1))
        dummy = constant(label.task).fit(nothing, known, heavy)
        beside = (label, rows, problem.parts[rows], problem.weights_of(rows))
        yield _Model(
            fold, trained, rows,
            metric.losses(trained.estimator, inputs.take(rows, trained.kept), *beside),
            metric.losses(dummy, np.zeros((len(rows), 1)), *beside),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Alike:
    """Which rows look alike in all but some features.

    Args:
        inputs: All features as a matrix, columns in the order of the features' names.
        keys: A hash of each row, uint64 of shape [rows], another one for each of equal rows: what
            is drawn depends on what rows hold and not on their order.
        grown: The rows that trees are grown on.
        seed: Of the trees.
    """

    inputs: Inputs
    keys: np.ndarray
    grown: np.ndarray
    seed: int

    @classmethod
    def of(cls, problem: Problem) -> _Alike:
        names = sorted(problem.features)
        table = problem.table.select(names)
        inputs = read_inputs(table, Learner("", lambda: None, matrix=True), problem.categorical)
        beside = {"label": pl.Series(problem.label.values)}
        if problem.weights is not None:
            beside["weights"] = pl.Series(problem.weights)
        keys = _distinct(row_hashes(table.lazy(), names, beside, problem.seed))
        taken = np.flatnonzero(problem.folds >= 0)
        grown = taken[np.argsort(keys[taken], kind="stable")[:TREE_ROWS]]
        return cls(inputs, keys, grown, problem.seed)

    def tree(self, features: Sequence[str]) -> tuple[Any, np.ndarray] | None:
        """Return a tree that predicts features from the others, and the places of these.

        `None` where nothing is left to predict from.
        """
        from sklearn.tree import DecisionTreeRegressor

        others = self.inputs.kept(features)
        if not len(others):
            return None
        own = [place for name in features for place in self.inputs.columns[name]]
        targets = np.column_stack(
            [each for place in own for each in self._targets(place)]
        )  # fmt: skip
        tree = DecisionTreeRegressor(
            min_samples_leaf=min(LEAF_ROWS, max(1, len(self.grown) // 10)), random_state=self.seed
        )
        return tree.fit(self.inputs.take(self.grown, others), targets), others

    def leaves(self, grown: tuple[Any, np.ndarray] | None, rows: np.ndarray) -> np.ndarray:
        """Return the leaf of each of some rows, int64."""
        if grown is None:
            return np.zeros(len(rows), dtype=np.int64)
        tree, others = grown
        found: np.ndarray = tree.apply(self.inputs.take(rows, others))
        return found

    def partners(self, leaves: np.ndarray, rows: np.ndarray, repeat: int) -> np.ndarray:
        """Return, for each row, the row of the same leaf whose values it gets.

        The rows of a leaf stand in a circle, in the order of a hash; each gets the values of the
        next one.
        """
        order = np.lexsort((_mixed(self.keys[rows] + np.uint64(repeat + 1)), leaves))
        ends = np.flatnonzero(np.diff(leaves[order], append=-1))
        following = np.arange(1, len(order) + 1)
        following[ends] = np.concatenate([[0], ends[:-1] + 1])
        out = np.empty(len(rows), dtype=np.int64)
        out[order] = rows[order[following]]
        return out

    def _targets(self, place: int) -> Iterator[np.ndarray]:
        """Yield what says the same as a column: standardised numbers, or indicators."""
        values = self.inputs.values[self.grown, place]
        missing = np.isnan(values)
        if self.inputs.categorical[place]:
            for level in range(LEVELS):
                yield (values == level).astype(np.float64)
        else:
            known = values[~missing]
            spread = known.std() if len(known) else 0.0
            mean = known.mean() if len(known) else 0.0
            yield np.where(missing, 0.0, values - mean) / (spread or 1.0)
        if missing.any():
            yield missing.astype(np.float64)


def _mixed(keys: np.ndarray) -> np.ndarray:
    """Return other keys, in an order that has nothing to do with that of the given ones.

    Source: the finaliser of SplitMix64; Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014.
    """
    mixed = keys * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return out


def _distinct(hashes: np.ndarray) -> np.ndarray:
    """Return keys that differ where hashes are equal: the first, the second, ... of equal rows.

    Equal rows would stand side by side in every order, and get each other's values.
    """
    order = np.argsort(hashes, kind="stable")
    begins = np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[:1]]))
    counts = np.diff(begins, append=len(order))
    times = np.empty(len(order), dtype=np.uint64)
    times[order] = np.arange(len(order)) - np.repeat(begins, counts)
    return _mixed(hashes + times * np.uint64(0xD1342543DE82EF95))


@dataclass(frozen=True, eq=False)
class _Shuffle:
    """Shuffles sets of features; one object serves all of them."""

    problem: Problem
    metric: Metric
    inputs: Inputs
    models: Sequence[_Model]
    alike: _Alike
    repeats: int
    ends: float

    def cells(self, features: Sequence[str]) -> Cells | None:
        """Return what rows lose with shuffled values, by fold and repeat; `None` out of time."""
        if time.monotonic() >= self.ends:
            return None
        grown = self.alike.tree(features)
        places = [place for name in features for place in self.inputs.columns[name]]
        problem = self.problem
        out: dict[Cell, PartLosses] = {}
        for model in self.models:
            rows = model.rows
            leaves = self.alike.leaves(grown, rows)
            kept = model.trained.kept
            given = self.inputs.take(rows, kept)
            own = [place for place in places if place in kept]
            for repeat in range(self.repeats):
                partners = self.alike.partners(leaves, rows, repeat)
                out[model.fold, repeat] = self.metric.losses(
                    model.trained.estimator,
                    self._changed(given, partners, own, np.searchsorted(kept, own).tolist()),
                    problem.label, rows, problem.parts[rows], problem.weights_of(rows),
                )  # fmt: skip
        return out

    def _changed(
        self, given: Any, partners: np.ndarray, places: Sequence[int], at: Sequence[int]
    ) -> Any:
        """Return inputs of rows in which some columns are those of other rows.

        Args:
            given: The rows, with the columns that the model knows.
            partners: The row that each of them gets its values from.
            places: Which columns of the inputs,
            at: and which of the given ones these are.
        """
        if isinstance(given, np.ndarray):
            given[:, at] = self.inputs.values[partners[:, None], places]
            return given
        changed = given.copy()
        for place, own in zip(places, at, strict=True):
            changed.isetitem(own, self.inputs.values.iloc[partners, place].array)
        return changed


def _translated(estimator: Any, label: Label) -> Any:
    """Return a fitted model that speaks of classes as codes."""
    if label.task is Task.REGRESSION:
        return estimator
    return _Translated(estimator, label)


class _Translated:
    """A fitted classifier, which knows classes by their names, asked for their codes."""

    def __init__(self, estimator: Any, label: Label) -> None:
        self._estimator = estimator
        codes = {name: code for code, name in enumerate(label.classes)}
        self._codes = codes
        own = estimator.classes_.tolist()
        if not set(own) <= set(codes):
            raise UsageError(
                f"the model tells {own} apart, and the label has {list(label.classes)}",
                where="model", hint="give the label as it was when the model was fitted",
            )  # fmt: skip
        self.classes_ = np.array([codes[name] for name in own])

    def predict(self, inputs: Any) -> np.ndarray:
        named = np.asarray(self._estimator.predict(inputs)).tolist()
        return np.array([self._codes[name] for name in named])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)
