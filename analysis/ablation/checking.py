"""What a smaller set of features loses: found on the folds, checked on rows kept apart."""

from __future__ import annotations

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
from featurekit.analysis.ablation.proposal import Check, largest_removal
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
    """

    learner: Learner
    metric: Metric
    seeds: int
    share: float
    jobs: int | None
    store: Path


def linear_removal(
    examples: Examples, found: LinearAblation, ranked: Sequence[str], share: float
) -> tuple[tuple[str, ...], Check]:
    """Return which features of an order linear models can do without, and what that costs.

    Args:
        examples: All rows.
        found: What linear models say of the folds.
        ranked: Features, the least worth first.
        share: The margin, as a share of the skill.
    """
    gone, joint = largest_removal(ranked, found.bound_of, found.margin)
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
) -> tuple[tuple[str, ...], Check]:
    """Return which features of an order a model can do without, by training it again.

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
            limit = margin_of(*measured.losses(trainer.seeds), trainer.share)

            def bound_of(some: Sequence[str]) -> Bound:
                tell(f"without {len(some):,}")
                return _bound(measured, some)

            gone, joint = largest_removal(ranked, bound_of, limit)
    tell("on the rows that were kept apart")
    with _measuring(apart, trainer) as measured:
        lost = _bound(measured, gone)
        full, constant = measured.losses(trainer.seeds)
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
        yield Measurements(problem, trainer.seeds, runner, store)


def _bound(measured: Measurements, some: Sequence[str]) -> Bound:
    rounds = measured.looks
    dropped = frozenset(some)
    measured.measure([dropped] if some else [], range(rounds))
    if not some:
        return Bound(0.0, 0.0, 0.0)
    return bounded(measured.estimates([[(1.0, dropped, rounds)]]))[0]
