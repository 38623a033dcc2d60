"""Round after round, the sets that are decided stop: successive elimination, with its error rates.

A round trains without every set that is still open, once in each fold, with another seed in each:
what a seed does is then seen in the differences between folds, from the first round on.
After it each family is judged from all its rounds so far. Where R rounds are planned, p-values
count R times (Bonferroni), so that it does no harm to have looked after each:

- where seeds change nothing, which is known before any effect is looked at, R is 1;
- the p-value that a set stops with, times R, is valid whenever it stops;
- what is decided stays decided. A set that stops keeps its p-values; those of the others can only
  move their ranks to where more is allowed. So what is called *negligible* stays it, and what
  matters can at most turn out to be too small to keep as well.

Source: Even-Dar, Mannor and Mansour, "Action Elimination and Stopping Conditions for the
Multi-Armed Bandit and Reinforcement Learning Problems", 2006, for the scheme; the tests are those
of `inference.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featurekit.analysis.ablation.inference import (
    Contribution,
    Verdict,
    contributions,
    margin_of,
)
from featurekit.analysis.ablation.measurements import NOTHING, Dropped, Measurements
from featurekit.analysis.ablation.moderation import moderated
from featurekit.analysis.ablation.trials import Trial

__all__ = ["Family", "Prior", "Retrained", "eliminate", "prior_of"]

Prior = Mapping[Dropped, tuple[float, float]]
"""What a cheaper tier says of sets: effects and their standard errors, in units of its margin."""


@dataclass(frozen=True)
class Retrained(Contribution):
    """What a feature or a group is worth to a model that was trained without it.

    Args:
        seeds: In how many rounds it was left out: the fewer, the earlier it was decided.
    """

    seeds: int = 0


@dataclass(frozen=True)
class Family:
    """Sets of features that are judged together.

    Args:
        name: Such as `features`, `source` or `declared`.
        members: What each set is called.
        sets: The features of each.
    """

    name: str
    members: tuple[str, ...]
    sets: tuple[Dropped, ...]


def prior_of(found: Iterable[Contribution], margin: float) -> dict[Dropped, tuple[float, float]]:
    """Return what a cheaper tier found, to say where retraining decides most.

    Args:
        found: Its features and groups.
        margin: In units of its loss; without one it says nothing.
    """
    if margin <= 0.0:
        return {}
    return {
        frozenset(one.features): (one.effect / margin, one.standard_error / margin)
        for one in found if math.isfinite(one.effect)
    }  # fmt: skip


def eliminate(
    measurements: Measurements,
    families: Sequence[Family],
    share: float,
    prior: Prior,
    later: Sequence[Dropped] = (),
) -> tuple[float, dict[str, tuple[Retrained, ...]]]:
    """Leave sets out, round after round, until each is decided or time is up.

    Args:
        measurements: What runs the trials.
        families: What is left out.
        share: The margin, as a share of the full model's skill in the first round: so it is the
            same whenever one looks.
        prior: Of these sets, those that it is least sure of come first. The others of its sets
            follow, and those that it does not know.
        later: Sets that are needed in all rounds in any case, for the plan.

    Returns:
        The margin in units of the loss, NaN where not even the full model was trained; and by the
        name of the family, those of its sets that have a complete round.
    """
    open_sets = _first_order([some for family in families for some in family.sets], prior)
    states = [_State(family, [0] * len(family.sets)) for family in families]
    margin = math.nan
    for place in range(measurements.looks):
        measurements.plan(_needed(measurements, open_sets, later, place))
        measurements.measure(open_sets, [place])
        if place == 0:
            full, constant = measurements.losses(1)
            margin = margin_of(full, constant, share) if math.isfinite(full) else math.nan
        if math.isnan(margin):
            return margin, {family.name: () for family in families}
        for state in states:
            state.judge(measurements, margin)
        open_sets = _by_nearness(states, margin)
        if measurements.late or measurements.looks == 1 or not open_sets:
            break
    still = list(dict.fromkeys(some for state in states for some, _ in state.undecided()))
    measurements.plan(_needed(measurements, still, later, 0))
    return margin, {state.family.name: state.known() for state in states}


class _State:
    """How far a family is."""

    def __init__(self, family: Family, rounds: list[int]) -> None:
        self.family = family
        self.rounds = rounds
        self.found: tuple[Contribution, ...] = ()

    def judge(self, measurements: Measurements, margin: float) -> None:
        """Look at all complete rounds of the sets that are still open."""
        for place, some in enumerate(self.family.sets):
            if not self.found or self.found[place].verdict is Verdict.UNDECIDED:
                self.rounds[place] = measurements.rounds(some)
        sums = [
            [(1.0, some, rounds)]
            for some, rounds in zip(self.family.sets, self.rounds, strict=True)
        ]
        found = contributions(
            self.family.members,
            [tuple(sorted(some)) for some in self.family.sets],
            moderated(measurements.estimates(sums)),
            margin,
            looks=measurements.looks,
        )
        # What is decided stays so, whatever others say of its error later.
        self.found = tuple(
            new if old.verdict is Verdict.UNDECIDED else old
            for old, new in zip(self.found or found, found, strict=True)
        )

    def undecided(self) -> list[tuple[Dropped, Contribution]]:
        pairs = zip(self.family.sets, self.found, strict=True)
        return [(some, one) for some, one in pairs if one.verdict is Verdict.UNDECIDED]

    def known(self) -> tuple[Retrained, ...]:
        return tuple(
            Retrained(**vars(one), seeds=rounds)
            for one, rounds in zip(self.found, self.rounds, strict=True) if rounds
        )  # fmt: skip


def _needed(
    measurements: Measurements, sets: Sequence[Dropped], later: Sequence[Dropped], start: int
) -> list[Trial]:
    """Return the trials that may be needed: of open sets from a round on."""
    every = range(measurements.looks)
    found = measurements.trials([measurements.everything], [0])
    if sets:
        found += measurements.trials([NOTHING, *sets], every[start:])
    if later:
        found += measurements.trials([NOTHING, *later], every)
    return found


def _first_order(sets: Sequence[Dropped], prior: Prior) -> list[Dropped]:
    """Return sets, each once: first those that a cheaper tier is least sure of."""

    def unsure(some: Dropped) -> tuple[float, list[str]]:
        effect, error = prior.get(some, (math.nan, math.nan))
        found = _clarity(effect, error, 1.0)
        return (math.inf if math.isnan(found) else found), sorted(some)

    return sorted(set(sets), key=unsure)


def _by_nearness(states: Sequence[_State], margin: float) -> list[Dropped]:
    """Return the sets that are open in any family: first those that are nearest to a verdict."""
    nearness: dict[Dropped, float] = {}
    for state in states:
        for some, one in state.undecided():
            found = _clarity(one.effect, one.standard_error, margin)
            nearness[some] = max(found, nearness.get(some, -math.inf))
    return sorted(nearness, key=lambda some: (-nearness[some], sorted(some)))


def _clarity(effect: float, error: float, margin: float) -> float:
    """Return by how many standard errors an effect is above 0, or inside the margin."""
    if error == 0.0 or math.isnan(effect):
        return math.inf if error == 0.0 else math.nan
    return float(np.maximum(effect, margin - abs(effect)) / error)
