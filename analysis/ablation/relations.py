"""Redundant, legacy and bundled features: what each word means, and which candidates earn it.

The margin is that of the ablation. Bounds are adjusted (Bonferroni) for as many relations as are
tested, and at least for as many as there are features, among which the tested ones were picked.
They are not adjusted for the conditions of one relation: all must hold, so that the chance of a
false word is at most that of one false condition (Berger, "Multiparameter hypothesis testing and
acceptance sampling", 1982).

- **Legacy**: o is superseded by the set N, of at most three, when (i) the upper bound of its effect
  is below the margin; (ii) the lower bound of effect(o and N) - effect(N) is above it: o would
  matter if N vanished; (iii) the lower bounds of effect(N) and of effect(N) - effect(o) are above
  0: N is not equally redundant; (iv) N is known to be newer. Of exact copies only (i), (ii) and
  (iv) are asked, the last one being all that tells them apart.
- **Redundant**: without (iv). Then (iii) asks that the lower bound of effect(N) is above the
  margin: of features that are all negligible, nothing says which one to keep.
- **Duplicate**: columns that are the same up to scale.
- **Substitutes**: every member's upper bound is below the margin, the lower bound of all together
  is above it.
- **Complements**: the lower bound of effect(j) + effect(k) - effect(j and k) is above 0, that of
  effect(j and k) above the margin (two columns of noise disturb a model less than twice one of
  them, and are worth nothing), and each alone adds to a model without the other at most the margin,
  or a tenth of what both are worth.
- **Free riders**: a group's lower bound is above the margin; a part's upper bound is below it,
  beside the rest of the group and in its absence.

Single ablations do not compose: of features that are each redundant, all together may matter. So
those that are flagged are left out once more together (`joint_set`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from featurekit.analysis.ablation.candidates import ADD_ONE
from featurekit.analysis.ablation.inference import Estimates, bounds
from featurekit.analysis.ablation.moderation import moderated
from featurekit.analysis.ablation.units import Candidate, Kind

__all__ = [
    "Bound", "Condition", "Joint", "Question", "Relation", "ask", "bounded", "conditions",
    "confirm", "evidence_of", "joint_set",
]  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """An effect, or a difference of effects, with the ends of its interval."""

    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Relation:
    """What features are to each other, confirmed by intervals.

    Args:
        kind: The word for it.
        features: What it is about: what is redundant, copies, a bundle, or a group's idle part.
        others: What supersedes them, or the rest of the group.
        group: The name of a declared group, or empty.
        evidence: Effects by what they are of.
        rescue_share: Of redundant features, `1 - effect(o) / effect(o | N gone)`: the share of
            their worth that the others have taken over.
        sums: What the evidence is of, by the same words: sums of effects, each a factor and the
            features that were left out together.
    """

    kind: Kind
    features: tuple[str, ...]
    others: tuple[str, ...]
    group: str
    evidence: Mapping[str, Bound]
    rescue_share: float | None = None
    sums: Mapping[str, tuple[tuple[int, tuple[str, ...]], ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True)
class Joint:
    """All flagged features, left out together: single ablations do not compose.

    Args:
        flagged: Legacy and redundant features, free riders, and all but one of exact copies.
        effect: Of leaving out all of them.
        removable: Those of them that can go together, as far as the tier sees.
        removable_effect: Of leaving out these.
    """

    flagged: tuple[str, ...]
    effect: Bound
    removable: tuple[str, ...]
    removable_effect: Bound


@dataclass(frozen=True)
class Condition:
    """What must be true of an effect for a relation to hold.

    Args:
        bound: The effect.
        above: Whether it must be above the limit, or below.
        limit: In units of the loss.
    """

    bound: Bound
    above: bool
    limit: float

    @property
    def holds(self) -> bool:
        """Whether all of the interval is where it must be."""
        return self.bound.low > self.limit if self.above else self.bound.high < self.limit

    @property
    def hopeless(self) -> bool:
        """Whether none of the interval is where it must be."""
        return self.bound.high < self.limit if self.above else self.bound.low > self.limit


@dataclass(frozen=True)
class Question:
    """What has to be measured.

    Args:
        sets: Places of features to leave out together.
        contrasts: Sums of their effects: factors by the place of the set.
    """

    sets: tuple[tuple[int, ...], ...]
    contrasts: tuple[Mapping[int, float], ...]


def ask(sets: Sequence[Sequence[int]], candidates: Sequence[Candidate]) -> Question:
    """Return what has to be measured for candidates, behind sets that are measured anyway.

    The contrasts are the evidence of the candidates, one after the other.
    """
    listed = [tuple(some) for some in sets]
    places: dict[frozenset[int], int] = {}
    for place, members in enumerate(listed):
        places.setdefault(frozenset(members), place)
    contrasts = []
    for candidate in candidates:
        for term in candidate.evidence.values():
            contrast: dict[int, float] = {}
            for factor, some in term:
                if some not in places:
                    places[some] = len(listed)
                    listed.append(tuple(sorted(some)))
                contrast[places[some]] = contrast.get(places[some], 0.0) + factor
            contrasts.append(contrast)
    return Question(tuple(listed), tuple(contrasts))


def confirm(
    candidates: Sequence[Candidate],
    names: Sequence[str],
    estimates: Estimates,
    margin: float,
    family: int | None = None,
) -> tuple[Relation, ...]:
    """Return the candidates whose conditions hold.

    Args:
        candidates: What was found by the closed form.
        names: Of the features.
        estimates: Of the contrasts that `ask` listed, in their order.
        margin: What is negligible, in units of the loss.
        family: For how many relations bounds are adjusted; by default for these, and at least for
            as many as there are features.
    """
    family = max(len(names), len(candidates)) if family is None else family
    out = []
    found = evidence_of(candidates, estimates, family)
    for candidate, evidence in zip(candidates, found, strict=True):
        needed = conditions(candidate, evidence, margin)
        if margin > 0.0 and all(condition.holds for condition in needed):
            out.append(_relation(candidate, names, evidence))
    # What is legacy is not called a substitute of what supersedes it as well.
    settled = [{*one.features, *one.others} for one in out if one.kind is Kind.LEGACY]
    return tuple(
        one for one in out if one.kind is not Kind.SUBSTITUTES or set(one.features) not in settled
    )


def bounded(estimates: Estimates, family: int = 1) -> tuple[Bound, ...]:
    """Return effects with their intervals, of which a family holds together."""
    ends = zip(estimates.effect, *bounds(estimates, family=family), strict=True)
    return tuple(Bound(float(effect), float(low), float(high)) for effect, low, high in ends)


def evidence_of(
    candidates: Sequence[Candidate], estimates: Estimates, family: int
) -> list[dict[str, Bound]]:
    """Return the evidence of each candidate, with intervals that are adjusted for a family."""
    ends = iter(bounded(moderated(estimates), family))
    return [{said: next(ends) for said in candidate.evidence} for candidate in candidates]


def joint_set(
    names: Sequence[str],
    relations: Sequence[Relation],
    margin: float,
    effects: Callable[[Sequence[Sequence[int]]], Sequence[float] | np.ndarray],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return all features that are flagged, and a part of them that can go together.

    Args:
        names: Of the features.
        relations: What was confirmed. Legacy and redundant features and free riders are flagged,
            and of exact copies all but one.
        margin: What is negligible, in units of the loss.
        effects: Returns the effects of leaving out sets, given the places of their features.

    Returns:
        Places of features: the flagged ones, and those of them that were taken, the least worth
        first, while the effect of all taken stays below the margin.
    """
    flagged: set[str] = set()
    for relation in relations:
        if relation.kind in (Kind.LEGACY, Kind.REDUNDANT, Kind.FREE_RIDERS):
            flagged.update(relation.features)
    for relation in relations:
        if relation.kind is Kind.DUPLICATE and not flagged.intersection(relation.features):
            flagged.update(relation.features[1:])
    every = [place for place, name in enumerate(names) if name in flagged]
    if not every or effects([every])[0] < margin:
        return tuple(every), tuple(every)
    alone = effects([[place] for place in every])
    taken: list[int] = []
    for _, _, place in sorted(
        (float(effect), names[place], place) for effect, place in zip(alone, every, strict=True)
    ):
        (effect,) = effects([[*taken, place]])
        if effect < margin:
            taken.append(place)
    return tuple(every), tuple(sorted(taken))


def conditions(
    candidate: Candidate, found: Mapping[str, Bound], margin: float
) -> tuple[Condition, ...]:
    """Return what must be true for a candidate to be what it would be; nothing of copies."""

    def above(name: str, limit: float) -> Condition:
        return Condition(found[name], True, limit)

    def below(name: str, limit: float) -> Condition:
        return Condition(found[name], False, limit)

    if candidate.kind is Kind.DUPLICATE:
        return ()
    if candidate.kind in (Kind.LEGACY, Kind.REDUNDANT):
        asked = [below("effect", margin), above("without the others", margin)]
        if "the others" in found:
            # They are not equally redundant; nothing is asked of exact copies.
            asked.append(above("the others", 0.0 if candidate.kind is Kind.LEGACY else margin))
            asked.append(above("the others less the effect", 0.0))
        return tuple(asked)
    if candidate.kind is Kind.SUBSTITUTES:
        members = [below(name, margin) for name in found if name != "together"]
        return *members, above("together", margin)
    if candidate.kind is Kind.COMPLEMENTS:
        most = max(margin, ADD_ONE * found["together"].effect)
        add_one = (below("first without second", most), below("second without first", most))
        return above("interaction", 0.0), above("together", margin), *add_one
    idle = (below("effect", margin), below("without the others", margin))
    return above("group", margin), *idle


def _relation(
    candidate: Candidate, names: Sequence[str], evidence: Mapping[str, Bound]
) -> Relation:
    share = None
    if candidate.kind in (Kind.LEGACY, Kind.REDUNDANT):
        without = evidence["without the others"].effect
        share = float(np.clip(1.0 - evidence["effect"].effect / without, 0.0, 1.0))
    return Relation(
        candidate.kind,
        tuple(names[place] for place in candidate.features),
        tuple(names[place] for place in candidate.others),
        candidate.group,
        evidence,
        share,
        {
            said: tuple(
                (factor, tuple(names[place] for place in sorted(some))) for factor, some in term
            )
            for said, term in candidate.evidence.items()
        },
    )
