"""What the search for redundant and bundled features looks at: units of features, and candidates.

Exact copies are one unit: each of them stands in for the others, which would hide what they do.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.surrogate import (
    Surrogate,
    closed_effects,
    closed_gains,
    correlations,
)

__all__ = [
    "Candidate", "Kind", "Search", "Term", "Units", "complements", "make_search", "substitutes",
]  # fmt: skip

COPY = 1e-10
"""A correlation this close to 1 or -1 is a copy, up to scale and the rounding of a float32."""

Units = frozenset[int]
"""Places of units."""


class Kind(enum.StrEnum):
    """What features are to each other."""

    DUPLICATE = "duplicate"
    LEGACY = "legacy"
    REDUNDANT = "redundant"
    SUBSTITUTES = "substitutes"
    COMPLEMENTS = "complements"
    FREE_RIDERS = "free riders"


Term = tuple[tuple[int, frozenset[int]], ...]
"""A sum of effects of sets of features, each with a factor."""


@dataclass(frozen=True)
class Candidate:
    """A relation to be confirmed.

    Args:
        kind: What it would be.
        features: Places of the features that it is about.
        others: Places of those that supersede them, or of the rest of the group.
        group: The name of a declared group, or empty.
        evidence: Effects, and differences of effects, to be measured.
    """

    kind: Kind
    features: tuple[int, ...]
    others: tuple[int, ...]
    group: str
    evidence: Mapping[str, Term]


@dataclass(frozen=True)
class Search:
    """What the search looks at, by units in the order of their names.

    Args:
        surrogate: The models.
        units: Places of features: one, or several that are copies.
        alone: Effects, float64 of shape [units].
        pairs: Effects of two units together, float64 of shape [units, units].
        resemblance: Absolute correlations, the largest of their columns, of the same shape.
        explained: The share of each unit's variance that all other features explain.
        created: When units were made, `None` where not known.
        limit: What is negligible, in units of the loss.
        chance: What a unit that does nothing may gain beside a few others.
    """

    surrogate: Surrogate
    units: tuple[tuple[int, ...], ...]
    alone: np.ndarray
    pairs: np.ndarray
    resemblance: np.ndarray
    explained: np.ndarray
    created: tuple[Any, ...]
    limit: float
    chance: float

    def features(self, units: Sequence[int] | Units) -> frozenset[int]:
        """Return the features of some units."""
        return frozenset(place for unit in units for place in self.units[unit])

    def effects(self, sets: Sequence[Sequence[int] | Units]) -> np.ndarray:
        """Return the effects of leaving out sets of units."""
        return closed_effects(self.surrogate, [sorted(self.features(units)) for units in sets])

    def gains(self, sets: Sequence[Sequence[int] | Units]) -> np.ndarray:
        """Return what sets of units achieve alone."""
        return closed_gains(self.surrogate, [sorted(self.features(units)) for units in sets])

    def older(self, unit: int, others: Sequence[int] | Units) -> bool:
        """Whether a unit is known to have been made before others."""
        known = [self.created[place] for place in others]
        mine = self.created[unit]
        return mine is not None and None not in known and all(mine < other for other in known)


def make_search(
    surrogate: Surrogate,
    pairs: np.ndarray,
    created: Mapping[str, Any],
    limit: float,
) -> Search:
    """Return what the search looks at, given the effects of all pairs (see `find_candidates`)."""
    names = surrogate.design.names
    likeness = correlations(surrogate)
    copies = _copies(surrogate, likeness)
    copied = {place for group in copies for place in group}
    units: list[tuple[int, ...]] = [
        *((place,) for place in range(len(names)) if place not in copied),
        *copies,
    ]
    # By name, so that the order of the columns decides nothing.
    units.sort(key=lambda unit: min(names[place] for place in unit))
    first = np.array([unit[0] for unit in units])
    of_pairs = pairs[np.ix_(first, first)].copy()
    several = [place for place, unit in enumerate(units) if len(unit) > 1]
    for one in several:
        sets = [sorted({*units[one], *unit}) for unit in units]
        of_pairs[one] = of_pairs[:, one] = closed_effects(surrogate, sets)
    resemblance = _by_feature(surrogate, np.abs(likeness))[np.ix_(first, first)]
    # A little noise beside copies, so that the others' share can be computed.
    noise = 1e-6 * np.eye(len(likeness))
    tolerance = 1.0 / np.diag(np.linalg.inv(likeness + noise))
    starts = np.array(surrogate.design.starts[:-1])
    explained = np.maximum.reduceat(np.diag(likeness) - tolerance, starts)[first]
    # What a column of noise gains beside few others: it is above this about once in 400, and with
    # several labels, whose gains are not all large at once, less often.
    unit_loss = surrogate.label_variance if surrogate.loss is Loss.SQUARED else 0.5
    chance = 9 * unit_loss / surrogate.whole.rows
    dates: list[Any] = []
    for unit in units:
        known: list[Any] = [created.get(names[place]) for place in unit]
        dates.append(None if None in known else max(known))
    return Search(
        surrogate, tuple(units), np.diag(of_pairs), of_pairs, resemblance, explained, tuple(dates),
        limit,
        chance,
    )  # fmt: skip


def _by_feature(surrogate: Surrogate, columns: np.ndarray) -> np.ndarray:
    """Return the largest entry of each block of two features."""
    starts = np.array(surrogate.design.starts[:-1])
    return np.maximum.reduceat(np.maximum.reduceat(columns, starts, axis=0), starts, axis=1)


def _copies(surrogate: Surrogate, likeness: np.ndarray) -> list[tuple[int, ...]]:
    """Return the groups of features whose columns are the same up to scale, each sorted by name."""
    design = surrogate.design
    starts = design.starts
    widths = np.diff(starts)
    live = np.diag(likeness) > 0.0
    leader: dict[int, list[int]] = {}
    for place in sorted(range(len(widths)), key=lambda place: design.names[place]):
        columns = np.arange(starts[place], starts[place + 1])
        if not live[columns].any():
            continue
        for other, group in leader.items():
            if widths[other] != widths[place]:
                continue
            beside = np.arange(starts[other], starts[other + 1])
            same = np.abs(likeness[columns, beside]) > 1.0 - COPY
            if (same | ~(live[columns] | live[beside])).all():
                group.append(place)
                break
        else:
            leader[place] = [place]
    return [tuple(group) for group in leader.values() if len(group) > 1]


def substitutes(parts: Sequence[frozenset[int]], group: str = "") -> Candidate:
    """Return the candidate that parts, each negligible, stand in for each other."""
    whole = frozenset().union(*parts)
    evidence: dict[str, Term] = {f"member {place}": ((1, one),) for place, one in enumerate(parts)}
    evidence["together"] = ((1, whole),)
    return Candidate(Kind.SUBSTITUTES, tuple(sorted(whole)), (), group, evidence)


def complements(first: frozenset[int], second: frozenset[int]) -> Candidate:
    """Return the candidate that two parts are worth something only together."""
    both = first | second
    evidence: dict[str, Term] = {
        "interaction": ((1, first), (1, second), (-1, both)),
        "together": ((1, both),),
        "first without second": ((1, both), (-1, second)),
        "second without first": ((1, both), (-1, first)),
    }
    return Candidate(Kind.COMPLEMENTS, tuple(sorted(both)), (), "", evidence)
