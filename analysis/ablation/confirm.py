"""Relations confirmed by retraining: what a cheaper tier suggests, measured with the user's model.

Candidates of the linear tier are confirmed together, with the conditions and the adjustment of
`relations.py`. Pairs from a scan for interactions are confirmed as complements by Holm's method,
step by step: the bounds of those that are left are adjusted for as many as are left.

A candidate is given up after a round in which a condition is out of reach: all of an interval is
on the wrong side, or a pair interacts by less than the margin. To give up confirms nothing, so
that it needs no adjustment.

Source of the steps: Goeman and Solari, "The sequential rejection principle of familywise error
control", 2010.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from featurekit.analysis.ablation.inference import Estimates
from featurekit.analysis.ablation.measurements import Dropped, Measurements
from featurekit.analysis.ablation.relations import (
    Bound,
    Joint,
    Relation,
    bounded,
    conditions,
    confirm,
    evidence_of,
    joint_set,
)
from featurekit.analysis.ablation.units import Candidate, Kind, complements
from featurekit.errors import UsageError, closest

__all__ = [
    "MAX_PAIRS", "candidates_of", "confirm_candidates", "confirm_pairs", "leave_out_flagged",
    "needed_sets", "pair_candidates",
]  # fmt: skip

MAX_PAIRS = 20
"""So many pairs at most are retrained, the first ones given."""


def candidates_of(relations: Iterable[Relation], features: Sequence[str]) -> tuple[Candidate, ...]:
    """Return relations that another tier confirmed, as candidates to be measured again.

    Args:
        relations: Of features that are all known.
        features: The names of all features; candidates hold their places.
    """
    places = {name: place for place, name in enumerate(features)}
    return tuple(
        Candidate(
            relation.kind,
            tuple(places[name] for name in relation.features),
            tuple(places[name] for name in relation.others),
            relation.group,
            {
                said: tuple(
                    (factor, frozenset(places[name] for name in some)) for factor, some in term
                )
                for said, term in relation.sums.items()
            },
        )
        for relation in relations
    )


def pair_candidates(
    pairs: Sequence[tuple[str, str]], features: Sequence[str], known: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """Return the first pairs of features as possible complements, those left out that are known.

    Raises:
        UsageError: A name is no feature, or a pair is of one.
    """
    places = {name: place for place, name in enumerate(features)}
    told = {frozenset(one.features) for one in known if one.kind is Kind.COMPLEMENTS}
    found: dict[frozenset[int], Candidate] = {}
    for pair in pairs:
        for name in pair:
            if name not in places:
                raise UsageError(
                    f"{name!r} is no feature", where="pairs", hint=closest(name, places)
                )
        both = frozenset(places[name] for name in pair)
        if len(both) != 2:
            raise UsageError(f"{pair[0]!r} is no pair", where="pairs")
        if both not in told:
            first, second = sorted(both)
            found[both] = complements(frozenset({first}), frozenset({second}))
    return tuple(found.values())[:MAX_PAIRS]


def needed_sets(candidates: Sequence[Candidate], features: Sequence[str]) -> list[Dropped]:
    """Return the sets of features whose effects the evidence of candidates is made of."""
    found = (
        frozenset(features[place] for place in some)
        for one in candidates for term in one.evidence.values() for _, some in term
    )  # fmt: skip
    return list(dict.fromkeys(found))


def confirm_candidates(
    measurements: Measurements,
    candidates: Sequence[Candidate],
    features: Sequence[str],
    margin: float,
) -> tuple[Relation, ...]:
    """Return the candidates whose conditions hold in all rounds.

    Args:
        measurements: What runs the trials.
        candidates: Of the linear tier.
        features: The names of all features, whose places candidates hold.
        margin: In units of the loss.
    """
    family = max(len(features), len(candidates))
    left = _measured(measurements, candidates, features, margin, family)
    if not left:
        return ()
    estimates = _evidence(measurements, left, features, measurements.looks)
    return confirm(left, features, estimates, margin, family)


def confirm_pairs(
    measurements: Measurements,
    candidates: Sequence[Candidate],
    features: Sequence[str],
    margin: float,
) -> tuple[Relation, ...]:
    """Return the pairs that are complements in all rounds, by Holm's method over the given ones."""
    left = _measured(measurements, candidates, features, margin, max(len(candidates), 1))
    found: dict[frozenset[int], Relation] = {}
    while left:
        family = len(candidates) - len(found)
        estimates = _evidence(measurements, left, features, measurements.looks)
        confirmed = {
            frozenset(features.index(name) for name in one.features): one
            for one in confirm(left, features, estimates, margin, family)
        }
        if not confirmed:
            break
        found |= confirmed
        left = [one for one in left if frozenset(one.features) not in found]
    return tuple(
        found[frozenset(one.features)] for one in candidates if frozenset(one.features) in found
    )


def leave_out_flagged(
    measurements: Measurements,
    relations: Sequence[Relation],
    features: Sequence[str],
    margin: float,
) -> Joint | None:
    """Leave out all flagged features together, and else as many of them as can go.

    Returns:
        What that costs; `None` where nothing is flagged, or time ran out.
    """
    rounds = measurements.looks

    def named(places: Sequence[int]) -> Dropped:
        return frozenset(features[place] for place in places)

    def measured(sets: Sequence[Sequence[int]]) -> Estimates:
        dropped = [named(places) for places in sets]
        measurements.measure(dropped, range(rounds))
        complete = all(measurements.rounds(some) == rounds for some in dropped)
        kept = [[(1.0, some, rounds if complete else 0)] for some in dropped]
        return measurements.estimates(kept)

    def effects(sets: Sequence[Sequence[int]]) -> np.ndarray:
        return measured(sets).effect

    every, taken = joint_set(features, relations, margin, effects)
    if not every:
        return None
    found = measured([every, taken])
    if measurements.late and not np.isfinite(found.effect).all():
        return None
    together, removable = bounded(found, family=2)
    return Joint(
        tuple(features[place] for place in every), together,
        tuple(features[place] for place in taken), removable,
    )  # fmt: skip


def _measured(
    measurements: Measurements,
    candidates: Sequence[Candidate],
    features: Sequence[str],
    margin: float,
    family: int,
) -> list[Candidate]:
    """Measure candidates in all rounds; return those that are not given up, if time allows."""
    left = list(candidates)
    for place in range(measurements.looks):
        if not left:
            break
        sets = needed_sets(left, features)
        measurements.measure(sets, [place])
        left = [
            one for one in left
            if all(
                measurements.rounds(some) > place for some in needed_sets([one], features)
            )
        ]  # fmt: skip
        if left:
            estimates = _evidence(measurements, left, features, place + 1)
            evidence = evidence_of(left, estimates, family)
            left = [
                one for one, found in zip(left, evidence, strict=True)
                if not _out_of_reach(one, found, margin)
            ]  # fmt: skip
    return left


def _out_of_reach(candidate: Candidate, found: dict[str, Bound], margin: float) -> bool:
    if candidate.kind is Kind.COMPLEMENTS and found["interaction"].high < margin:
        return True
    return any(condition.hopeless for condition in conditions(candidate, found, margin))


def _evidence(
    measurements: Measurements,
    candidates: Sequence[Candidate],
    features: Sequence[str],
    rounds: int,
) -> Estimates:
    """Return the evidence of candidates, one after the other, from so many rounds."""
    return measurements.estimates(
        [
            [
                (float(factor), frozenset(features[place] for place in some), rounds)
                for factor, some in term
            ]
            for one in candidates for term in one.evidence.values()
        ]
    )  # fmt: skip
