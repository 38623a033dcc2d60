"""Tier 2: the user's model, trained again without each feature and group.

Every trial is a training without some features, with one fold held out and one seed. Each round
leaves out all that is still open, once in each fold, with other seeds than the rounds before; what
is decided stops (`rounds.py`). Trials
run side by side (`parallel.py`) or on Beam (`on_beam.py`), are kept in a file as they are done
(`store.py`), and are never run twice, however many families ask for them.

In the end relations that a cheaper tier suggests are confirmed (`confirm.py`), and all flagged
features are left out together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from featurekit.analysis.ablation.confirm import (
    confirm_candidates,
    confirm_pairs,
    leave_out_flagged,
    needed_sets,
    pair_candidates,
)
from featurekit.analysis.ablation.estimators import Learner
from featurekit.analysis.ablation.fingerprints import fingerprint
from featurekit.analysis.ablation.inference import MARGIN
from featurekit.analysis.ablation.measurements import Dropped, Measurements, Progress
from featurekit.analysis.ablation.parallel import Runner, local_runner
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.relations import Joint, Relation
from featurekit.analysis.ablation.rounds import Family, Prior, Retrained, eliminate
from featurekit.analysis.ablation.scores import Metric
from featurekit.analysis.ablation.store import Store, open_store
from featurekit.analysis.ablation.trials import Study, make_study
from featurekit.analysis.ablation.units import Candidate
from featurekit.errors import UsageError, closest

__all__ = ["FEATURES", "Retraining", "retrain"]

FEATURES = "features"
"""The family of single features."""


@dataclass(frozen=True, eq=False)
class Retraining:
    """What the user's model loses without each feature and group.

    Args:
        learner: What the model is called.
        metric: What the loss is called; effects are in its units.
        features: Their names, in the order of the table.
        rows: Rows held out once each in every round.
        clusters: Independent parts of the rows behind the standard errors.
        folds: How many folds are held out.
        ordered: Whether each fold was held out from a model of the earlier ones only.
        rounds: How many rounds there are at most.
        seedless: Whether the model is the same with any seed, so that one round is all there is.
        full_loss: Mean held-out loss with all features; NaN where time did not even allow that.
        baseline_loss: Of a model without features; NaN likewise.
        margin: What is negligible, in units of the loss; 0 where there is no skill, or none known.
        singles: The features that have a complete round, in the order of the table.
        groups: By family, the groups that have one.
        relations: Redundant, legacy and bundled features, confirmed by retraining.
        joint: All flagged features left out together; `None` where nothing is flagged.
        complete: Whether all was done, and not cut off by the budget.
        trials: Trials whose results were used.
        trained: How many of them were trained now, and not found in the file of earlier ones.
        spared: Trials that were planned and not needed, since sets were decided before.
        left: Trials that the budget did not allow and that may be needed.
    """

    learner: str
    metric: str
    features: tuple[str, ...]
    rows: int
    clusters: int
    folds: int
    ordered: bool
    rounds: int
    seedless: bool
    full_loss: float
    baseline_loss: float
    margin: float
    singles: tuple[Retrained, ...]
    groups: Mapping[str, tuple[Retrained, ...]]
    relations: tuple[Relation, ...]
    joint: Joint | None
    complete: bool
    trials: int
    trained: int
    spared: int
    left: int


def retrain(
    problem: Problem,
    learner: Learner,
    metric: Metric,
    *,
    groups: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    rounds: int = 3,
    margin: float = MARGIN,
    prior: Prior = MappingProxyType({}),
    candidates: Sequence[Candidate] = (),
    pairs: Sequence[tuple[str, str]] = (),
    budget: float | None = None,
    jobs: int | None = None,
    store: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    engine: str = "local",
    options: Sequence[str] = (),
    scratch: str | None = None,
) -> Retraining:
    """Train the user's model without each feature and group.

    Args:
        problem: What is learnt, and how rows are held out; all of its rows take part.
        learner: What is trained; see `read_learner`.
        metric: How predictions are judged; see `read_metric`.
        groups: Families of groups by name (`source`, `column`, `declared`, ...): names of features
            by the group's name. Each family is judged by itself. By default the problem's own
            groups, as `declared`.
        rounds: How often a set is left out in each fold at most, with another seed each time. Once,
            if seeds turn out to change nothing.
        margin: What is negligible, as a share of the skill.
        prior: What a cheaper tier says of sets (`prior_of`): those that it is least sure of come
            first.
        candidates: Relations to be confirmed, which hold places in `problem.features`;
            `candidates_of` makes them from the relations of the linear tier.
        pairs: Names of features that may be worth something only together, the likeliest first;
            the first `MAX_PAIRS` are measured.
        budget: Seconds of wall time: no trial is begun that is expected to end later. On Beam it is
            looked at between rounds.
        jobs: How many trials at a time, by default as many as there are cores; 1 runs in this
            process.
        store: A file that keeps trials: with it, another run goes on where this one ended, however
            it ended.
        progress: Is told how far it is after every trial.
        engine: `local` or `beam`.
        options: Beam's, as on its command line.
        scratch: A folder or bucket that Beam's workers can read and write; by default a temporary
            folder, which is enough for workers on this machine.

    Returns:
        What was found, as far as the budget allowed.

    Raises:
        UsageError: An argument cannot be, or the model cannot be trained.
        DataError: The file of trials is damaged or another program's, or there are fewer than two
            folds.
        EngineError: A process was ended, or Beam failed.

    Example:
        >>> import numpy as np
        >>> import polars as pl
        >>> from featurekit.analysis.ablation.estimators import read_learner
        >>> from featurekit.analysis.ablation.scores import read_metric
        >>> from featurekit.analysis.ablation.tasks import read_label
        >>> random = np.random.default_rng(7)
        >>> table = pl.DataFrame({"x": random.normal(size=2000), "z": random.normal(size=2000)})
        >>> label = read_label(table["x"] + random.normal(size=2000))
        >>> parts = np.arange(2000) % 500
        >>> problem = Problem(table, label, np.arange(2000) % 5, parts)
        >>> model = read_learner("sklearn.linear_model:Ridge", label.task)
        >>> found = retrain(problem, model, read_metric(None, label.task), jobs=1)
        >>> [(one.name, str(one.verdict), one.seeds) for one in found.singles]
        [('x', 'matters', 1), ('z', 'negligible', 1)]
        >>> found.seedless  # a ridge regression has no seed: one round is all there is
        True
        >>> found.trials  # all features, none, without x, without z in 5 folds; another seed
        21
    """
    if rounds < 1:
        raise UsageError(f"{rounds} rounds; expected at least 1", where="rounds")
    if engine not in ("local", "beam"):
        raise UsageError(f"engine {engine!r}; expected 'local' or 'beam'", where="engine")
    if options and engine != "beam":
        raise UsageError("options are Beam's, which does not run this", where="options")
    families = _families(problem, groups)
    names = problem.features
    couples = pair_candidates(pairs, names, candidates)
    later = needed_sets([*candidates, *couples], names)
    study = make_study(problem, learner, metric)
    runner = _runner(study, engine, jobs, options, scratch)
    with _store(study, store) as kept, runner as running:
        measured = Measurements(problem, rounds, running, kept, budget, progress)
        limit, found = eliminate(measured, families, margin, prior, later)
        relations: tuple[Relation, ...] = ()
        joint = None
        if limit > 0.0:
            relations = (
                *confirm_candidates(measured, candidates, names, limit),
                *confirm_pairs(measured, couples, names, limit),
            )
            joint = leave_out_flagged(measured, relations, names, limit)
        if not measured.late:
            measured.plan(())
        full, constant = measured.losses(measured.looks)
    return Retraining(
        learner=learner.name,
        metric=metric.name,
        features=names,
        rows=int(np.isin(problem.folds, problem.held_out).sum()),
        clusters=len(np.unique(problem.parts[np.isin(problem.folds, problem.held_out)])),
        folds=len(problem.held_out),
        ordered=problem.ordered,
        rounds=measured.looks,
        seedless=measured.seedless,
        full_loss=full,
        baseline_loss=constant,
        margin=max(0.0, limit),
        singles=found.pop(FEATURES),
        groups=found,
        relations=relations,
        joint=joint,
        complete=not measured.late,
        trials=measured.done,
        trained=measured.trained,
        spared=measured.spared,
        left=measured.left,
    )


def _families(
    problem: Problem, groups: Mapping[str, Mapping[str, Sequence[str]]] | None
) -> list[Family]:
    """Return what is left out, family by family.

    Raises:
        UsageError: A group has no feature, or a name is none; or a family has a name that is taken.
    """
    known = problem.features
    if not known:
        raise UsageError("there is no feature to leave out")
    if groups is None:
        groups = {"declared": problem.groups} if problem.groups else {}
    found = [Family(FEATURES, known, tuple(frozenset({name}) for name in known))]
    for family, named in groups.items():
        if family == FEATURES:
            raise UsageError("the features themselves are a family already", where=family)
        sets: list[Dropped] = []
        for group, members in named.items():
            strange = [name for name in members if name not in known]
            if strange or not members:
                raise UsageError(
                    f"{strange[0]!r} is no feature" if strange else "a group needs a member",
                    where=f"group {group!r}",
                    hint=closest(strange[0], known) if strange else "",
                )
            sets.append(frozenset(members))
        found.append(Family(family, tuple(named), tuple(sets)))
    return found


@contextmanager
def _store(study: Study, path: str | Path | None) -> Iterator[Store | None]:
    if path is None:
        yield None
        return
    opened = open_store(Path(path), fingerprint(study), study.learner.name, study.metric.name)
    with opened as store:
        yield store


def _runner(
    study: Study, engine: str, jobs: int | None, options: Sequence[str], scratch: str | None
) -> AbstractContextManager[Runner]:
    if engine == "local":
        return local_runner(study, jobs)
    from featurekit.analysis.ablation.on_beam import beam_runner

    return beam_runner(study, options, scratch)
