"""The course of an ablation: which tiers are asked, of what, and what they have found so far."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.analysis.ablation.confirm import candidates_of
from featurekit.analysis.ablation.estimators import Learner, read_learner
from featurekit.analysis.ablation.examples import Examples, Roles, read_examples
from featurekit.analysis.ablation.interactions import interaction_candidates
from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear
from featurekit.analysis.ablation.measurements import Progress as Trials
from featurekit.analysis.ablation.parallel import usable_cores
from featurekit.analysis.ablation.permutation import Permutation, permute
from featurekit.analysis.ablation.plain_tiers import (
    Families,
    flat,
    linear_data,
    permutation_data,
    retraining_data,
)
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.retrain import Retraining, retrain
from featurekit.analysis.ablation.rounds import prior_of
from featurekit.analysis.ablation.scores import Metric, read_metric
from featurekit.analysis.given import open_given
from featurekit.analysis.subject import Subject
from featurekit.errors import UsageError, closest
from featurekit.feature_groups import groups_of
from featurekit.training import LABEL
from featurekit.types import parse_duration

__all__ = ["Course", "Settings", "embargo_of"]

CHECKING = 0.2
"""The share of the time that is left for checking the smaller set, when retraining begins."""


@dataclass(frozen=True)
class Settings:
    """What an ablation was asked for; see `featurekit.ablate`."""

    roles: Mapping[str, str | None]
    weights: str | None
    exclude: tuple[str, ...]
    categorical: tuple[str, ...]
    task: str | None
    metric: str | None
    model: Any
    groups: Mapping[str, Sequence[str]]
    created: Mapping[str, Any]
    tiers: tuple[str, ...]
    budget: float | None
    rows: int
    folds: int
    seeds: int
    margin: float
    seed: int
    jobs: int | None
    trials: Path | None
    engine: str
    beam: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the numbers."""
        return {
            "seed": self.seed, "folds": self.folds, "seeds": self.seeds, "margin": self.margin,
            "rows": self.rows, "budget": self.budget, "tiers": list(self.tiers),
            "metric": self.metric, "task": self.task, "engine": self.engine,
        }  # fmt: skip


@dataclass
class Course:
    """What is asked, and what has been found so far.

    Args:
        settings: What was asked for.
        subject: The run or the table.
        examples: Its rows, and which are held out when.
        families: Groups of features.
        created: When features were made.
        learner: What is trained.
        metric: What its mistakes cost.
        tell: Told how far a tier is.
        store: A file that keeps trainings.
        ends: When the budget ends, by the clock that only goes on.
        linear_found: What linear models said, if they were asked;
        permutation_found: what shuffling said,
        retraining_found: and what retraining said.
        tiers: The same as plain data, in the order in which they were asked.
        checked: Whether the time allowed to check the smaller set as it was asked for.
    """

    settings: Settings
    subject: Subject
    examples: Examples
    families: Families
    created: Mapping[str, Any]
    learner: Learner
    metric: Metric
    tell: Callable[[str], None]
    store: Path
    ends: float = math.inf
    linear_found: LinearAblation | None = None
    permutation_found: Permutation | None = None
    retraining_found: Retraining | None = None
    tiers: list[dict[str, Any]] = field(default_factory=list)
    checked: bool = True

    @classmethod
    def of(
        cls,
        subject: Subject,
        settings: Settings,
        tell: Callable[[str], None],
        store: Path,
        ends: float = math.inf,
    ) -> Course:
        """Read the examples of a subject, and say what is to be done with them.

        Args:
            subject: The run or the table.
            settings: What was asked for.
            tell: Told how far a tier is.
            store: A file that keeps trainings.
            ends: When the budget ends.
        """
        run = subject.run
        frame = _frame(subject)
        roles = Roles(
            subject.label, subject.split, subject.entity, subject.time, settings.weights,
            tuple(name for name in subject.exclude if name != settings.weights),
        )  # fmt: skip
        codes = () if run is None else tuple(run.codes)
        examples = read_examples(
            frame, roles, task=settings.task, folds=settings.folds,
            embargo=_embargo(subject), categorical=(*codes, *settings.categorical),
            seed=settings.seed, way_on=_way_on(subject),
        )  # fmt: skip
        created = {} if run is None else {
            name: feature.created for name, feature in run.spec.features.items()
            if feature.created is not None
        }  # fmt: skip
        task = examples.label.task
        rows = min(settings.rows, int((examples.folds >= 0).sum()))
        return cls(
            settings, subject, examples, _families(subject, settings, examples.features),
            {**created, **_dates(settings.created, examples)},
            read_learner(settings.model, task, rows),
            read_metric(settings.metric, task), tell, store, ends,
        )  # fmt: skip

    def linear(self) -> None:
        """Ask linear models."""
        started = clock.monotonic()
        examples, settings = self.examples, self.settings
        self.linear_found = ablate_linear(
            examples.frame, pl.Series(examples.label.values),
            folds=examples.folds, ordered=examples.ordered, groups=flat(self.families),
            weights=examples.weights, clusters=examples.clusters,
            categorical=examples.categorical, created=self.created,
            task=str(examples.label.task), margin=settings.margin, seed=settings.seed,
            residuals="retrain" in settings.tiers,
            # Residuals that the scan for interactions looks at must be those of the best model.
            newton_steps=4 if "retrain" in settings.tiers else 2, tell=self.tell,
        )  # fmt: skip
        self.tiers.append(
            linear_data(self.linear_found, self.families, clock.monotonic() - started)
        )

    @cached_property
    def problem(self) -> Problem:
        """The rows that models are trained on, read once."""
        return self.examples.problem(self.settings.rows)

    def permutation(self) -> None:
        """Shuffle features in the trained model."""
        started = clock.monotonic()
        settings = self.settings
        self.tell("training the models")
        self.permutation_found = permute(
            self.problem, self.learner, self.metric,
            families=self.families, repeats=settings.seeds, margin=settings.margin,
            jobs=usable_cores() if settings.jobs is None else settings.jobs,
            progress=lambda done, of: self.tell(f"{done:,} of {of:,}"), ends=self.ends,
        )  # fmt: skip
        self.tiers.append(
            permutation_data(
                self.permutation_found, self.learner.name, self.metric.name,
                self.examples.ordered, self.learner.fitted is not None,
                clock.monotonic() - started,
            )
        )  # fmt: skip

    def retrain(self) -> None:
        """Train the model again without each feature and group."""
        started = clock.monotonic()
        settings = self.settings
        self.tell("reading the rows to train on")
        problem, linear = self.problem, self.linear_found
        self.retraining_found = retrain(
            problem, self.learner, self.metric,
            groups=self.families, rounds=settings.seeds, margin=settings.margin,
            prior=self._prior(),
            candidates=() if linear is None else candidates_of(linear.relations, problem.features),
            pairs=self._pairs() if self.left() else (),
            budget=None if math.isinf(self.ends) else self.left(1.0 - CHECKING),
            jobs=settings.jobs, store=self.store,
            progress=lambda event: self.tell(_told(event)),
            engine=settings.engine, options=settings.beam,
        )  # fmt: skip
        self.tiers.append(retraining_data(self.retraining_found, clock.monotonic() - started))

    def left(self, share: float = 1.0) -> float:
        """Return how many seconds of the budget are left, or a share of them."""
        return share * max(0.0, self.ends - clock.monotonic())

    def _prior(self) -> dict[frozenset[str], tuple[float, float]]:
        """Return what the cheaper tier says, to say where retraining decides most."""
        found = self.permutation_found or self.linear_found
        if found is None:
            return {}
        groups = found.groups
        beside = groups if isinstance(groups, tuple) else chain.from_iterable(groups.values())
        return prior_of([*found.singles, *beside], found.margin)

    def _pairs(self) -> list[tuple[str, str]]:
        """Return pairs that the residuals of the linear models suggest to be more together."""
        linear = self.linear_found
        if linear is None or linear.residuals is None:
            return []
        self.tell("pairs that may matter only together")
        found = interaction_candidates(
            self.examples.frame, linear.residuals, weights=self.examples.weights,
            categorical=self.examples.categorical, seed=self.settings.seed,
            hashes=self.examples.hashes,
        )  # fmt: skip
        return [pair.features for pair in found]


def _told(event: Trials) -> str:
    """Return how far trainings are, as text."""
    left = event.seconds_left
    about = "" if left is None else f", about {duration_words(left)} left"
    return f"{event.done:,} of at most {event.planned:,} trainings{about}"


def duration_words(seconds: float) -> str:
    """Return a time to wait, roughly.

    Example:
        >>> duration_words(42.0), duration_words(200.0)
        ('42 s', '3 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _way_on(subject: Subject) -> str:
    """Return what to do where the roles that a spec gives leave no rows to hold out."""
    if subject.spec is None:
        return ""
    folder = subject.name if subject.kind == "run" else "RUN"
    finish = "" if subject.kind == "run" else "finish a run (featurekit run SPEC --out RUN), and "
    keys = "".join(f" --exclude {key}" for key in subject.spec.examples.keys)
    return (
        f"{finish}take its examples as a table, whose rows are dealt: "
        f"featurekit ablate '{folder}/examples/*/*.parquet' --label {LABEL}{keys}"
    )


def _frame(subject: Subject) -> pl.LazyFrame:
    """Return the table of a subject."""
    if isinstance(subject.table, pl.LazyFrame):
        return subject.table
    return open_given(subject.table).frame


def _families(subject: Subject, settings: Settings, features: Sequence[str]) -> Families:
    """Return the groups of a run and those that were asked for, of features that take part.

    Raises:
        UsageError: A name is no feature.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    if subject.run is not None:
        found = groups_of(subject.run.plan.resolved)
    for group, members in settings.groups.items():
        for name in members:
            if name not in features:
                raise UsageError(
                    f"{name!r} is no feature", where=f"group {group!r}",
                    hint=closest(name, features),
                )  # fmt: skip
    given = {group: tuple(members) for group, members in settings.groups.items()}
    found["declared"] = {**found.get("declared", {}), **given}
    kept: dict[str, dict[str, tuple[str, ...]]] = {}
    # What is idle in several groups is told of the first.
    for family in ("declared", "aggregation", "source", "column"):
        groups = found.get(family, {})
        left = {
            group: tuple(name for name in members if name in features)
            for group, members in groups.items()
        }
        if any(left.values()):
            kept[family] = {group: members for group, members in left.items() if members}
    return kept


def _dates(created: Mapping[str, Any], examples: Examples) -> dict[str, Any]:
    """Return when features were made, as dates or as numbers.

    Raises:
        UsageError: There is no such feature, or a value is neither; or there are both.
    """
    found: dict[str, Any] = {}
    for name, given in created.items():
        if name not in (*examples.features, *examples.constant):
            raise UsageError(
                f"{name!r} is no feature", where="created", hint=closest(name, examples.features)
            )
        try:
            value = date.fromisoformat(given) if isinstance(given, str) else given
        except ValueError:
            value = None
        value = value.date() if isinstance(value, datetime) else value
        if not isinstance(value, (date, int, float)):
            raise UsageError(f"{given!r} is no date such as 2024-05-01", where=f"created: {name!r}")
        found[name] = value
    if len({isinstance(value, date) for value in found.values()}) > 1:
        raise UsageError("some are dates, and some are numbers", where="created")
    return found


def _embargo(subject: Subject) -> int:
    """Return how long before a fold rows take no part, in microseconds."""
    text = embargo_of(subject)
    return 0 if text is None or subject.time is None else parse_duration(text)


def embargo_of(subject: Subject) -> str | None:
    """Return how long before a fold rows take no part, as the spec says it."""
    split = None if subject.spec is None else subject.spec.examples.split
    return None if split is None else split.embargo
