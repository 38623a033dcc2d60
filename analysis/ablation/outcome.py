"""What an ablation came to: relations, verdicts, a smaller set, and all that a report shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from featurekit.analysis.ablation.checking import Trainer, linear_removal, retrained_removal
from featurekit.analysis.ablation.conclusions import findings_of, method_of
from featurekit.analysis.ablation.course import Course, embargo_of
from featurekit.analysis.ablation.inference import Contribution
from featurekit.analysis.ablation.plain_tiers import (
    bound_data,
    relation_data,
)
from featurekit.analysis.ablation.proposal import STEPS, candidates, compatible
from featurekit.analysis.ablation.relations import Relation
from featurekit.analysis.ablation.threads import one_thread
from featurekit.analysis.ablation.units import Kind
from featurekit.analysis.findings import Finding, plain
from featurekit.costs import costs_of, saved_by
from featurekit.runs import Run
from featurekit.smaller import smaller_spec, spec_diff

__all__ = ["outcome_of"]


def _relations(course: Course) -> list[dict[str, Any]]:
    """Return what features are to each other, with what retraining says of it."""
    linear, retraining = course.linear_found, course.retraining_found
    again = {} if retraining is None else {_key(one): one for one in retraining.relations}
    tried = retraining is not None and retraining.complete and retraining.margin > 0.0
    found = [] if linear is None else [
        relation_data(one, "linear", again.pop(_key(one), None),
                      tried and one.kind is not Kind.DUPLICATE)
        for one in linear.relations
    ]  # fmt: skip
    return [*found, *(relation_data(one, "retrain", one, True) for one in again.values())]


def _joint(course: Course) -> dict[str, Any] | None:
    """Return what all flagged features are worth together, by the strongest models."""
    tiers = (("retrain", course.retraining_found), ("linear", course.linear_found))
    for tier, found in tiers:
        if found is not None and found.joint is not None:
            joint = found.joint
            return {
                "flagged": list(joint.flagged), "effect": bound_data(joint.effect),
                "removable": list(joint.removable),
                "removable_effect": bound_data(joint.removable_effect), "tier": tier,
            }  # fmt: skip
    return None


def _strongest(course: Course) -> dict[str, tuple[str, Contribution]]:
    """Return what each feature is worth, by the strongest models that measured it."""
    out: dict[str, tuple[str, Contribution]] = {}
    tiers = (
        ("linear", course.linear_found), ("permutation", course.permutation_found),
        ("retrain", course.retraining_found),
    )  # fmt: skip
    for tier, found in tiers:
        for single in () if found is None else found.singles:
            out[single.name] = (tier, single)
    return {name: out[name] for name in course.examples.listed if name in out}


def _found_relations(course: Course) -> list[Relation]:
    """Return the relations that retraining confirmed, or those of the linear models."""
    if course.retraining_found is not None and course.retraining_found.complete:
        return list(course.retraining_found.relations)
    return [] if course.linear_found is None else list(course.linear_found.relations)


def outcome_of(course: Course) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    """Return findings and the whole content of the report, the smaller set included."""
    examples, subject = course.examples, course.subject
    relations = _relations(course)
    strongest = _strongest(course)
    verdicts = {
        name: plain({
            "verdict": str(worth.verdict), "tier": tier, "effect": worth.effect,
            "low": worth.low, "high": worth.high,
        })
        for name, (tier, worth) in strongest.items()
    }  # fmt: skip
    found = findings_of(relations, verdicts, examples.constant, course.tiers[-1]["loss"])
    checked = int((examples.apart == 1).sum())
    sampled = int((examples.folds >= 0).sum()) > course.settings.rows
    run, settings = subject.run, course.settings
    proposal = _proposal(course, strongest)
    complete = all(tier["complete"] for tier in course.tiers)
    return found, {
        "of": {
            "kind": subject.kind, "name": subject.name, "label": subject.label,
            "split": subject.split, "entity": subject.entity, "time": subject.time,
            "weights": course.settings.weights, "features": len(examples.features),
            "rows": int((examples.folds >= 0).sum()), "confirmation_rows": checked,
            "says": dict(subject.says), "exclude": list(subject.exclude),
            "constant": list(examples.constant), "skipped": list(examples.skipped),
        },
        "task": str(examples.label.task),
        "tiers": course.tiers,
        "verdicts": verdicts,
        "relations": relations,
        "joint": _joint(course),
        "costs": None if run is None else {
            name: cost.to_dict() for name, cost in costs_of(run).items()
            if name in examples.features
        },
        "proposal": proposal,
        "budget": {
            "seconds": settings.budget, "ended": not (complete and course.checked),
            "checked": course.checked, "kept": settings.trials is not None,
        },
        "findings": [finding.to_dict() for finding in found],
        "method": method_of(
            course.tiers, share=course.settings.margin, by=examples.by,
            sampled=course.settings.rows if sampled else None, embargo=embargo_of(subject),
            checked=checked, split=examples.split,
        ),
        "settings": course.settings.to_dict(),
    }  # fmt: skip


def _proposal(
    course: Course, strongest: Mapping[str, tuple[str, Contribution]]
) -> dict[str, Any] | None:
    """Return a smaller set of features; `None` where nothing can go."""
    settings, constant = course.settings, course.examples.constant
    worth = {name: single for name, (_, single) in strongest.items()}
    margin_of_tier = {tier["tier"]: tier["margin"] for tier in course.tiers}
    margins = {name: margin_of_tier[tier] for name, (tier, _) in strongest.items()}
    reasons = candidates(worth, _found_relations(course), margins)
    linear = course.linear_found
    ranked = list(reasons)
    if linear is not None:
        course.tell("what can go together")
        with one_thread():
            ranked = list(compatible(ranked, linear.effect_of, linear.margin))
    if len(ranked) == len(course.examples.features):
        # A set of features has at least one.
        ranked.pop()
    if not ranked and not constant:
        return None
    checked = None
    if settings.tiers != ("linear",):
        apart = course.examples.check(settings.rows)
        checked = retrained_removal(course.problem, apart, ranked, _trainer(course), course.tell)
        # With the time over, linear models say it of the whole set, or it is not said.
        course.checked = checked is not None
    if checked is None and linear is not None:
        course.tell("by linear models")
        steps = STEPS if settings.tiers == ("linear",) else 1
        checked = linear_removal(course.examples, linear, ranked, settings.margin, steps)
    if checked is None:
        return None
    gone, check = checked
    if not gone and not constant:
        return None
    remove = [*gone, *constant]
    run = course.subject.run
    return {
        "keep": [name for name in course.examples.listed if name not in gone],
        "remove": remove,
        "reasons": {name: reasons.get(name, "one value in all rows") for name in remove},
        **plain(asdict(check)),
        "saved": None if run is None else saved_by(run, remove).to_dict(),
        "diff": None if run is None else _diff(run, remove),
    }  # fmt: skip


def _trainer(course: Course) -> Trainer:
    settings, again = course.settings, course.retraining_found
    seeds = 1 if again is not None and again.seedless else settings.seeds
    return Trainer(
        course.learner, course.metric, seeds, settings.margin, settings.jobs, course.store,
        None if math.isinf(course.ends) else course.left,
    )  # fmt: skip


def _key(relation: Relation) -> tuple[Any, ...]:
    return relation.kind, relation.features, relation.others, relation.group


def _diff(run: Run, remove: Sequence[str]) -> str:
    """Return what changes in the spec of a run without some features."""
    smaller = smaller_spec(run.spec, remove, run.manifest["columns"])
    return spec_diff(run.spec.to_yaml(), smaller.to_yaml(), f"{run.spec.name}.yaml")
