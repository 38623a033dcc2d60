"""What a smaller set of features loses: found on the folds, checked on rows kept apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from featurekit.analysis.ablation.estimators import Learner
from featurekit.analysis.ablation.examples import Examples
from featurekit.analysis.ablation.fingerprints import fingerprint
from featurekit.analysis.ablation.inference import margin_of
from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear
from featurekit.analysis.ablation.measurements import Measurements
from featurekit.analysis.ablation.parallel import local_runner
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.proposal import STEPS, Check, largest_removal
from featurekit.analysis.ablation.relations import Bound, bounded
from featurekit.analysis.ablation.scores import Metric
from featurekit.analysis.ablation.store import open_store
from featurekit.analysis.ablation.trials import make_study

__all__ = ["Trainer", "linear_removal", "retrained_removal"]


@dataclass(frozen=True)
class Trainer:
    """How models are trained.

    Args:
        learner: What is trained.
        metric: What its mistakes cost.
        seeds: How often, each time with another seed.
        share: The margin, as a share of the skill.
        jobs: How many at a time.
        store: A file that keeps trainings.
        left: Says how many seconds are left; `None` for no end.
    """

    learner: Learner
    metric: Metric
    seeds: int
    share: float
    jobs: int | None
    store: Path
    left: Callable[[], float] | None = None


def linear_removal(
    examples: Examples,
    found: LinearAblation,
    ranked: Sequence[str],
    share: float,
    steps: int = STEPS,
) -> tuple[tuple[str, ...], Check]:
    """Return which features of an order linear models can do without, and what that costs.

    Args:
        examples: All rows.
        found: What linear models say of the folds.
        ranked: Features, the least worth first.
        share: The margin, as a share of the skill.
        steps: How many sets are measured at most, each by a pass over the rows.
    """
    gone, joint = largest_removal(ranked, found.bound_of, found.margin, steps=steps)
    apart = ablate_linear(
        examples.frame, pl.Series(examples.label.values), folds=examples.apart, ordered=True,
        groups={"gone": gone} if gone else {}, weights=examples.weights,
        clusters=examples.clusters, categorical=examples.categorical,
        task=str(examples.label.task), penalty=found.penalty, margin=share, relations=False,
        pairs=False,
    )  # fmt: skip
    lost = Bound(0.0, 0.0, 0.0)
    if gone:
        lost = apart.bound_of(gone)
    return gone, Check(
        "linear surrogate", str(found.loss), apart.full_loss, apart.full_loss + lost.effect,
        apart.baseline_loss, lost, apart.margin, apart.rows, joint,
    )  # fmt: skip


def retrained_removal(
    problem: Problem,
    apart: Problem,
    ranked: Sequence[str],
    trainer: Trainer,
    tell: Callable[[str], None],
) -> tuple[tuple[str, ...], Check] | None:
    """Return which features of an order a model can do without, by training it again.

    `None` where the time that is left is not enough to say so.

    Args:
        problem: The rows in folds.
        apart: The rows that were kept apart, as one fold.
        ranked: Features, the least worth first.
        trainer: How models are trained.
        tell: Told what is tried.
    """
    gone: tuple[str, ...] = ()
    joint: Bound | None = None
    if ranked:
        with _measuring(problem, trainer) as measured:
            measured.measure([], range(trainer.seeds))
            full, constant = measured.losses(trainer.seeds)
            if math.isnan(full):
                return None
            limit = margin_of(full, constant, trainer.share)

            def bound_of(some: Sequence[str]) -> Bound:
                tell(f"without {len(some):,}")
                return _bound(measured, some)

            gone, joint = largest_removal(ranked, bound_of, limit)
            if measured.late:
                return None
    tell("on the rows that were kept apart")
    with _measuring(apart, trainer) as measured:
        lost = _bound(measured, gone)
        full, constant = measured.losses(trainer.seeds)
        if measured.late:
            return None
    return gone, Check(
        trainer.learner.name, trainer.metric.name, full, full + lost.effect, constant, lost,
        margin_of(full, constant, trainer.share), len(apart.held_rows(1)), joint,
    )  # fmt: skip


@contextmanager
def _measuring(problem: Problem, trainer: Trainer) -> Iterator[Measurements]:
    study = make_study(problem, trainer.learner, trainer.metric)
    names = (trainer.learner.name, trainer.metric.name)
    with (
        open_store(trainer.store, fingerprint(study), *names) as store,
        local_runner(study, trainer.jobs) as runner,
    ):
        left = None if trainer.left is None else trainer.left()
        yield Measurements(problem, trainer.seeds, runner, store, left)


def _bound(measured: Measurements, some: Sequence[str]) -> Bound:
    dropped = frozenset(some)
    measured.measure([dropped] if some else [], range(measured.looks))
    if not some:
        return Bound(0.0, 0.0, 0.0)
    rounds = measured.looks
    if measured.rounds(dropped) < rounds:
        return Bound(math.nan, math.nan, math.nan)
    return bounded(measured.estimates([[(1.0, dropped, rounds)]]))[0]
