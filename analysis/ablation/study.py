"""An ablation from a run or a table to its conclusions: which tiers are asked, and what of."""

from __future__ import annotations

import tempfile
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.analysis.ablation.checking import Trainer, linear_removal, retrained_removal
from featurekit.analysis.ablation.conclusions import findings_of, method_of
from featurekit.analysis.ablation.confirm import candidates_of
from featurekit.analysis.ablation.estimators import Learner, read_learner
from featurekit.analysis.ablation.examples import Examples, Roles, read_examples
from featurekit.analysis.ablation.inference import Contribution
from featurekit.analysis.ablation.interactions import interaction_candidates
from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear
from featurekit.analysis.ablation.measurements import Progress as Trials
from featurekit.analysis.ablation.permutation import Permutation, permute
from featurekit.analysis.ablation.plain_tiers import (
    Families,
    bound_data,
    flat,
    linear_data,
    permutation_data,
    relation_data,
    retraining_data,
)
from featurekit.analysis.ablation.proposal import candidates, compatible
from featurekit.analysis.ablation.relations import Relation
from featurekit.analysis.ablation.retrain import Retraining, retrain
from featurekit.analysis.ablation.rounds import prior_of
from featurekit.analysis.ablation.scores import Metric, read_metric
from featurekit.analysis.ablation.threads import one_thread
from featurekit.analysis.findings import Finding, plain
from featurekit.analysis.leakage.subject import Subject, open_subject
from featurekit.costs import costs_of, saved_by
from featurekit.errors import UsageError, closest
from featurekit.feature_groups import groups_of
from featurekit.job import Progress
from featurekit.runs import Run
from featurekit.smaller import smaller_spec, spec_diff
from featurekit.sources import open_table
from featurekit.spec.objects import Source, Spec
from featurekit.types import parse_duration

__all__ = ["Settings", "run_study"]


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


def run_study(
    of: Any, settings: Settings, progress: Callable[[Progress], None] | None
) -> tuple[tuple[Finding, ...], dict[str, Any], Spec | None, tuple[str, ...]]:
    """Carry out an ablation.

    Args:
        of: What `featurekit.ablate` takes.
        settings: What was asked for.
        progress: Told when a stage begins.

    Returns:
        The findings; all that a report shows, as plain data; the spec, if there is one;
        and the columns of its examples' source.

    Raises:
        FeatureKitError: See `featurekit.ablate`.
    """
    stages = _Stages(len(settings.tiers) + 2, progress)
    roles = dict(settings.roles)
    opened = open_subject(
        of, label=roles["label"], split=roles["split"], entity=roles["entity"], time=roles["time"],
        exclude=settings.exclude, progress=stages.before,
    )  # fmt: skip
    with opened as subject, tempfile.TemporaryDirectory(prefix="featurekit-") as folder:
        stages.begin(f"reading {subject.name}")
        store = settings.trials or Path(folder) / "trials"
        study = _Study.of(subject, settings, stages, store)
        for tier in settings.tiers:
            stages.begin(f"{_STAGES[tier]} of {len(study.examples.features):,} features")
            getattr(study, tier)()
        stages.begin("checking a smaller set of features")
        found, data = study.concluded()
        columns = () if subject.run is None else tuple(subject.run.manifest["columns"])
        return found, data, subject.spec, columns


_STAGES = {
    "linear": "linear surrogate",
    "permutation": "shuffling",
    "retrain": "retraining without each",
}


class _Stages:
    """Tells which stage an ablation has come to."""

    def __init__(self, count: int, progress: Callable[[Progress], None] | None) -> None:
        self._count, self._done, self._progress = count, -1, progress
        self._earlier = 0
        self._text = ""

    def before(self, stage: Progress) -> None:
        """Pass on the stages of a run that comes first."""
        self._earlier = stage.stages
        if self._progress is not None:
            self._progress(replace(stage, stages=stage.stages + self._count))

    def begin(self, text: str) -> None:
        """Say that the next stage begins."""
        self._done += 1
        self._text = text
        self.tell("")

    def tell(self, more: str) -> None:
        """Say how far the stage is."""
        if self._progress is not None:
            text = f"{self._text}: {more}" if more else self._text
            total = self._earlier + self._count
            self._progress(Progress(self._earlier + self._done, total, text))


@dataclass
class _Study:
    """What is known so far."""

    settings: Settings
    subject: Subject
    examples: Examples
    families: Families
    created: Mapping[str, Any]
    learner: Learner
    metric: Metric
    stages: _Stages
    store: Path
    linear_found: LinearAblation | None = None
    permutation_found: Permutation | None = None
    retraining_found: Retraining | None = None
    tiers: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, subject: Subject, settings: Settings, stages: _Stages, store: Path) -> _Study:
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
            seed=settings.seed,
        )  # fmt: skip
        created = {} if run is None else {
            name: feature.created for name, feature in run.spec.features.items()
            if feature.created is not None
        }  # fmt: skip
        task = examples.label.task
        return cls(
            settings, subject, examples, _families(subject, settings, examples.features),
            {**created, **settings.created}, read_learner(settings.model, task),
            read_metric(settings.metric, task), stages, store,
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
            newton_steps=4 if "retrain" in settings.tiers else 2,
        )  # fmt: skip
        self.tiers.append(
            linear_data(self.linear_found, self.families, clock.monotonic() - started)
        )

    def permutation(self) -> None:
        """Shuffle features in the trained model."""
        started = clock.monotonic()
        settings = self.settings
        self.permutation_found = permute(
            self.examples.problem(settings.rows), self.learner, self.metric,
            families=self.families, repeats=settings.seeds, margin=settings.margin,
            jobs=settings.jobs or 1,
            progress=lambda done, of: self.stages.tell(f"{done:,} of {of:,}"),
        )  # fmt: skip
        self.tiers.append(
            permutation_data(
                self.permutation_found, self.learner.name, self.metric.name,
                self.examples.ordered, clock.monotonic() - started,
            )
        )  # fmt: skip

    def retrain(self) -> None:
        """Train the model again without each feature and group."""
        started = clock.monotonic()
        settings = self.settings
        problem = self.examples.problem(settings.rows)
        linear = self.linear_found
        cheaper = self.tiers[-1] if self.tiers else None
        self.retraining_found = retrain(
            problem, self.learner, self.metric,
            groups={family: groups for family, groups in self.families.items() if groups},
            rounds=settings.seeds, margin=settings.margin,
            prior={} if cheaper is None else self._prior(),
            candidates=() if linear is None else candidates_of(linear.relations, problem.features),
            pairs=self._pairs(),
            budget=settings.budget, jobs=settings.jobs, store=self.store,
            progress=lambda event: self.stages.tell(_told(event)),
            engine=settings.engine, options=settings.beam,
        )  # fmt: skip
        self.tiers.append(retraining_data(self.retraining_found, clock.monotonic() - started))

    def _prior(self) -> dict[frozenset[str], tuple[float, float]]:
        """Return what the cheaper tier says, to say where retraining decides most."""
        found = self.permutation_found or self.linear_found
        assert found is not None
        groups = found.groups
        beside = groups if isinstance(groups, tuple) else chain.from_iterable(groups.values())
        return prior_of([*found.singles, *beside], found.margin)

    def _pairs(self) -> list[tuple[str, str]]:
        """Return pairs that the residuals of the linear models suggest to be more together."""
        linear = self.linear_found
        if linear is None or linear.residuals is None:
            return []
        found = interaction_candidates(
            self.examples.frame, linear.residuals, weights=self.examples.weights,
            categorical=self.examples.categorical, seed=self.settings.seed,
        )  # fmt: skip
        return [pair.features for pair in found]

    def _relations(self) -> list[dict[str, Any]]:
        """Return what features are to each other, with what retraining says of it."""
        linear, retraining = self.linear_found, self.retraining_found
        again = {} if retraining is None else {_key(one): one for one in retraining.relations}
        tried = retraining is not None and retraining.complete
        found = [] if linear is None else [
            relation_data(one, "linear", again.pop(_key(one), None), tried)
            for one in linear.relations
        ]  # fmt: skip
        return [*found, *(relation_data(one, "retrain", one, True) for one in again.values())]

    def _joint(self) -> dict[str, Any] | None:
        """Return what all flagged features are worth together, by the strongest models."""
        tiers = (("retrain", self.retraining_found), ("linear", self.linear_found))
        for tier, found in tiers:
            if found is not None and found.joint is not None:
                joint = found.joint
                return {
                    "flagged": list(joint.flagged), "effect": bound_data(joint.effect),
                    "removable": list(joint.removable),
                    "removable_effect": bound_data(joint.removable_effect), "tier": tier,
                }  # fmt: skip
        return None

    def _strongest(self) -> dict[str, tuple[str, Contribution]]:
        """Return what each feature is worth, by the strongest models that measured it."""
        out: dict[str, tuple[str, Contribution]] = {}
        tiers = (
            ("linear", self.linear_found), ("permutation", self.permutation_found),
            ("retrain", self.retraining_found),
        )  # fmt: skip
        for tier, found in tiers:
            for single in () if found is None else found.singles:
                out[single.name] = (tier, single)
        return {name: out[name] for name in self.examples.features if name in out}

    def _found_relations(self) -> list[Relation]:
        """Return the relations that retraining confirmed, or those of the linear models."""
        if self.retraining_found is not None and self.retraining_found.complete:
            return list(self.retraining_found.relations)
        return [] if self.linear_found is None else list(self.linear_found.relations)

    def concluded(self) -> tuple[tuple[Finding, ...], dict[str, Any]]:
        """Return findings and the whole content of the report, the smaller set included."""
        examples, subject = self.examples, self.subject
        relations = self._relations()
        strongest = self._strongest()
        verdicts = {
            name: plain({
                "verdict": str(worth.verdict), "tier": tier, "effect": worth.effect,
                "low": worth.low, "high": worth.high,
            })
            for name, (tier, worth) in strongest.items()
        }  # fmt: skip
        found = findings_of(relations, verdicts, examples.constant, self.tiers[-1]["loss"])
        checked = int((examples.apart == 1).sum())
        sampled = int((examples.folds >= 0).sum()) > self.settings.rows
        run = subject.run
        return found, {
            "of": {
                "kind": subject.kind, "name": subject.name, "label": subject.label,
                "split": subject.split, "entity": subject.entity, "time": subject.time,
                "weights": self.settings.weights, "features": len(examples.features),
                "rows": int((examples.folds >= 0).sum()), "confirmation_rows": checked,
                "says": dict(subject.says), "exclude": list(subject.exclude),
                "constant": list(examples.constant), "skipped": list(examples.skipped),
            },
            "task": str(examples.label.task),
            "tiers": self.tiers,
            "verdicts": verdicts,
            "relations": relations,
            "joint": self._joint(),
            "costs": None if run is None else {
                name: cost.to_dict() for name, cost in costs_of(run).items()
                if name in examples.features
            },
            "proposal": self._proposal(strongest),
            "findings": [finding.to_dict() for finding in found],
            "method": method_of(
                self.tiers, share=self.settings.margin, by=examples.by,
                sampled=self.settings.rows if sampled else None, embargo=_embargo_text(subject),
                checked=checked, split=examples.split,
            ),
            "settings": self.settings.to_dict(),
        }  # fmt: skip

    def _proposal(self, strongest: Mapping[str, tuple[str, Contribution]]) -> dict[str, Any] | None:
        """Return a smaller set of features; `None` where nothing can go."""
        settings, constant = self.settings, self.examples.constant
        worth = {name: single for name, (_, single) in strongest.items()}
        margin_of_tier = {tier["tier"]: tier["margin"] for tier in self.tiers}
        margins = {name: margin_of_tier[tier] for name, (tier, _) in strongest.items()}
        reasons = candidates(worth, self._found_relations(), margins)
        linear = self.linear_found
        ranked = list(reasons)
        if linear is not None:
            with one_thread():
                ranked = list(compatible(ranked, linear.effect_of, linear.margin))
        if not ranked and not constant:
            return None
        if settings.tiers == ("linear",):
            assert linear is not None
            gone, check = linear_removal(self.examples, linear, ranked, settings.margin)
        else:
            gone, check = retrained_removal(
                self.examples, ranked, self._trainer(), self.stages.tell
            )
        if not gone and not constant:
            return None
        remove = [*gone, *constant]
        run = self.subject.run
        return {
            "keep": [name for name in self.examples.features if name not in gone],
            "remove": remove,
            "reasons": {name: reasons.get(name, "one value in all rows") for name in remove},
            **plain(asdict(check)),
            "saved": None if run is None else saved_by(run, remove).to_dict(),
            "diff": None if run is None else _diff(run, remove),
        }  # fmt: skip

    def _trainer(self) -> Trainer:
        settings = self.settings
        return Trainer(
            self.learner, self.metric, settings.rows, settings.seeds, settings.margin,
            settings.jobs, self.store,
        )  # fmt: skip


def _key(relation: Relation) -> tuple[Any, ...]:
    return relation.kind, relation.features, relation.others, relation.group


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


def _diff(run: Run, remove: Sequence[str]) -> str:
    """Return what changes in the spec of a run without some features."""
    smaller = smaller_spec(run.spec, remove, run.manifest["columns"])
    return spec_diff(run.spec.to_yaml(), smaller.to_yaml(), f"{run.spec.name}.yaml")


def _frame(subject: Subject) -> pl.LazyFrame:
    """Return the table of a subject."""
    if isinstance(subject.table, pl.LazyFrame):
        return subject.table
    path = isinstance(subject.table, (str, Path))
    source = Source(path=subject.table) if path else Source(data=subject.table)
    return open_table("table", source, Path.cwd()).frame


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


def _embargo(subject: Subject) -> int:
    """Return how long before a fold rows take no part, in microseconds."""
    text = _embargo_text(subject)
    return 0 if text is None or subject.time is None else parse_duration(text)


def _embargo_text(subject: Subject) -> str | None:
    split = None if subject.spec is None else subject.spec.examples.split
    return None if split is None else split.embargo
