"""What the tiers found, as plain data for reports: one form for all three."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from featurekit.analysis.ablation.inference import Contribution
from featurekit.analysis.ablation.linear import LinearAblation
from featurekit.analysis.ablation.permutation import Permutation
from featurekit.analysis.ablation.relations import Bound, Relation
from featurekit.analysis.ablation.retrain import Retraining
from featurekit.analysis.findings import plain

__all__ = [
    "Families", "bound_data", "flat", "linear_data", "permutation_data", "relation_data",
    "retraining_data", "worth_data",
]  # fmt: skip

Families = Mapping[str, Mapping[str, Sequence[str]]]
"""Members of groups by the group's name, by the name of the family: source, column, aggregation,
declared."""

PAIRS = 40
"""A heat map shows so many features, those with the strongest interactions."""


def flat(families: Families) -> dict[str, tuple[str, ...]]:
    """Return the groups of all families under names of their own.

    Example:
        >>> flat({"source": {"weather": ["wind"]}})
        {'source weather': ('wind',)}
    """
    return {
        f"{family} {name}": tuple(members)
        for family, groups in families.items()
        for name, members in groups.items()
    }


def worth_data(worth: Contribution, family: str | None = None, name: str = "") -> dict[str, Any]:
    """Return what a feature or a group is worth.

    Args:
        worth: As it was measured.
        family: Of a group.
        name: What to call it, if not by its own name.
    """
    held = {**asdict(worth), "name": name or worth.name, "features": list(worth.features)}
    return {**plain(held), "verdict": str(worth.verdict), "family": family}


def bound_data(bound: Bound) -> dict[str, Any]:
    """Return an effect with its interval."""
    made: dict[str, Any] = plain(asdict(bound))
    return made


def relation_data(
    relation: Relation, tier: str, confirmed: Relation | None = None, tried: bool = False
) -> dict[str, Any]:
    """Return what features are to each other.

    Args:
        relation: As a tier found it.
        tier: Which one.
        confirmed: The same, by retraining.
        tried: Whether retraining was asked.
    """
    return {
        "kind": str(relation.kind),
        "features": list(relation.features),
        "others": list(relation.others),
        "group": relation.group,
        "evidence": {name: bound_data(bound) for name, bound in relation.evidence.items()},
        "rescue_share": plain(relation.rescue_share),
        "tier": tier,
        "confirmed": confirmed is not None if tried else None,
        "confirmation": None
        if confirmed is None
        else {name: bound_data(bound) for name, bound in confirmed.evidence.items()},
    }


def linear_data(found: LinearAblation, families: Families, seconds: float) -> dict[str, Any]:
    """Return what the linear surrogate found."""
    named = iter(found.groups)
    groups = [
        worth_data(next(named), family, name)
        for family, members in families.items()
        for name in members
    ]
    return {
        "tier": "linear",
        "model": f"{_KINDS.get(str(found.loss), 'ridge regression')}, penalty {found.penalty:g}",
        "loss": str(found.loss),
        **_losses(found.full_loss, found.baseline_loss, found.margin),
        "rows": found.rows, "clusters": found.clusters, "folds": found.folds, "seeds": 1,
        "ordered": found.ordered, "seconds": seconds, "complete": True, "trials": None,
        "features": [worth_data(single) for single in found.singles],
        "groups": groups,
        "pairs": _strongest_pairs(found),
    }  # fmt: skip


_KINDS = {"log loss": "logistic regression"}


def permutation_data(
    found: Permutation, model: str, loss: str, ordered: bool, given: bool, seconds: float
) -> dict[str, Any]:
    """Return what shuffling found; `given` says that the model was trained before."""
    return {
        "tier": "permutation",
        "model": model,
        "loss": loss,
        **_losses(found.full_loss, found.baseline_loss, found.margin),
        "rows": found.rows, "clusters": found.clusters, "folds": found.folds,
        "seeds": found.repeats, "ordered": ordered, "seconds": seconds,
        "complete": found.complete,
        "trials": None, "given": given,
        "features": [worth_data(single) for single in found.singles],
        "groups": list(_groups(found.groups)),
        "pairs": None,
    }  # fmt: skip


def retraining_data(found: Retraining, seconds: float) -> dict[str, Any]:
    """Return what retraining found."""
    planned = found.trials + found.spared + found.left
    return {
        "tier": "retrain",
        "model": found.learner,
        "loss": found.metric,
        **_losses(found.full_loss, found.baseline_loss, found.margin),
        "rows": found.rows, "clusters": found.clusters, "folds": found.folds,
        "seeds": found.rounds, "ordered": found.ordered, "seconds": seconds,
        "complete": found.complete,
        "trials": {"done": found.trials, "planned": planned, "spared": found.spared},
        "features": [worth_data(single) for single in found.singles],
        "groups": list(_groups(found.groups)),
        "pairs": None,
    }  # fmt: skip


def _groups(groups: Mapping[str, Iterable[Contribution]]) -> Iterable[dict[str, Any]]:
    for family, members in groups.items():
        for worth in members:
            yield worth_data(worth, family)


def _losses(full: float, baseline: float, margin: float) -> dict[str, Any]:
    known = {"full": full, "baseline": baseline, "skill": baseline - full, "margin": margin}
    made: dict[str, Any] = plain(known)
    return made


def _strongest_pairs(found: LinearAblation) -> dict[str, Any] | None:
    """Return the interactions of the features that have the strongest ones."""
    table = found.interactions
    if table is None:
        return None
    strength = np.abs(table).max(axis=1)
    order = sorted(
        range(len(strength)), key=lambda place: (-strength[place], found.features[place])
    )
    taken = sorted(order[:PAIRS], key=lambda place: found.features[place])
    return {
        "names": [found.features[place] for place in taken],
        "interactions": table[np.ix_(taken, taken)].tolist(),
    }
