"""Which features may be redundant or bundled: a search among closed-form effects, no data read.

What is found here are point estimates and thus candidates. `relations.py` says what each kind of
relation is and which of its conditions hold with an interval.

Exact copies are one unit in all that follows: each of them stands in for the others, which would
hide what the unit does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.surrogate import (
    Surrogate,
    closed_effects,
    closed_gains,
    correlations,
)

__all__ = ["Candidate", "Kind", "Term", "find_candidates"]

LARGEST_SET = 3
"""A feature is superseded by so many others at most."""
POOL = 12
"""Sets are made of so many others, those that it stands in for most and those it resembles most."""
SEARCHED = 200
"""So many features at most are compared with sets of others; those that the others explain best."""
LEAST_EXPLAINED = 0.05
"""A feature of which all others explain less of the variance stands in for nothing."""
PART = 0.1
"""Each member of a set that supersedes a feature takes over at least this share of its worth."""
COPY = 1e-10
"""A correlation this close to 1 or -1 is a copy, up to scale and the rounding of a float32."""
COMPLEMENTS = 20
"""So many pairs at most are tested for being worth something only together."""
ADD_ONE = 0.1
"""Alone, a complement adds at most this share of what the pair is worth."""

Units = frozenset[int]


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
class _Search:
    """What the search looks at: units of features with their effects, alone and in pairs."""

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


def find_candidates(
    surrogate: Surrogate,
    pairs: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    created: Mapping[str, Any],
    margin: float,
) -> tuple[Candidate, ...]:
    """Return the relations that closed-form effects suggest.

    Args:
        surrogate: The models.
        pairs: The effects of all pairs, and of single features on the diagonal.
        groups: Places of features by the group's name.
        created: When features were made, by name.
        margin: What is negligible, as a share of the skill.

    Returns:
        Candidates, in an order that depends on names and effects only; none without skill.
    """
    names = surrogate.design.names
    (skill,) = closed_effects(surrogate, [range(len(names))])
    if skill <= 0.0 or len(names) < 2:
        return ()
    likeness = correlations(surrogate)
    copies = _copies(surrogate, likeness)
    search = _search(surrogate, pairs, likeness, copies, created, margin * float(skill))
    found = [*_duplicates(surrogate, copies, created), *_superseded(search)]
    found += [
        *_complements(search),
        *_group_relations(surrogate, pairs, groups, search.limit, found),
    ]
    return tuple(found)


def _search(
    surrogate: Surrogate,
    pairs: np.ndarray,
    likeness: np.ndarray,
    copies: Sequence[tuple[int, ...]],
    created: Mapping[str, Any],
    limit: float,
) -> _Search:
    names = surrogate.design.names
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
    # What a column of noise gains beside few others: it is above this about once in 400.
    unit_loss = 0.5
    if surrogate.loss is Loss.SQUARED:
        unit_loss = float(surrogate.whole.scatter[-1, -1]) / surrogate.whole.weight
    chance = 9 * unit_loss / surrogate.whole.rows
    dates: list[Any] = []
    for unit in units:
        known: list[Any] = [created.get(names[place]) for place in unit]
        dates.append(None if None in known else max(known))
    return _Search(
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


def _duplicates(
    surrogate: Surrogate, copies: Sequence[tuple[int, ...]], created: Mapping[str, Any]
) -> Iterator[Candidate]:
    names = surrogate.design.names
    for group in copies:
        yield Candidate(Kind.DUPLICATE, group, (), "", {"together": ((1, frozenset(group)),)})
        dates: list[Any] = [created.get(names[place]) for place in group]
        if None in dates or dates.count(max(dates)) > 1:
            continue
        newest = group[dates.index(max(dates))]
        for place in group:
            if place != newest:
                others = (newest,)
                # Of copies, any one holds all that the others say.
                evidence = {
                    "effect": ((1, frozenset({place})),),
                    "without the others": ((1, frozenset(group)),),
                }
                yield Candidate(Kind.LEGACY, (place,), others, "", evidence)


def _superseded(search: _Search) -> Iterator[Candidate]:
    """Yield units that others supersede, and sets of units that stand in for each other."""
    quiet = np.flatnonzero((search.alone < search.limit) & (search.explained > LEAST_EXPLAINED))
    quiet = quiet[np.argsort(-search.explained[quiet], kind="stable")][:SEARCHED]
    told: set[Units] = set()
    for unit in sorted(int(place) for place in quiet):
        others, effect = _supersedes(search, unit)
        if not others:
            continue
        small = all(search.alone[other] < search.limit for other in others)
        older = search.older(unit, others)
        features, by = search.features([unit]), search.features(others)
        if older or (effect > search.limit and not small):
            evidence: dict[str, Term] = {
                "effect": ((1, features),),
                "the others": ((1, by),),
                "without the others": ((1, features | by), (-1, by)),
                "the others less the effect": ((1, by), (-1, features)),
            }
            kind = Kind.LEGACY if older else Kind.REDUNDANT
            yield Candidate(kind, tuple(sorted(features)), tuple(sorted(by)), "", evidence)
        bundle = frozenset({unit, *others})
        if small and bundle not in told:
            told.add(bundle)
            yield _substitutes([search.features([place]) for place in sorted(bundle)])


def _supersedes(search: _Search, unit: int) -> tuple[Units, float]:
    """Return the smallest set that supersedes a unit, and the effect of that set.

    In its absence the unit would matter; beside the set alone, the unit adds nothing. That the
    unit is worth nothing beside all other features is not enough to name some of these: x alone
    does not say what x + z says. Where no set has both properties, the smallest with the first one
    is taken.

    Among sets of one size: first those than which the unit is older, then those that matter
    themselves, then those that leave the unit the most to do.
    """
    rescue = search.pairs[unit] - search.alone
    rescue[unit] = -np.inf
    order = [*np.argsort(-rescue, kind="stable")[: POOL // 2]]
    order += [*np.argsort(-search.resemblance[unit], kind="stable")[: POOL // 2 + 1]]
    pool = sorted({int(place) for place in order} - {unit})
    best: tuple[Units, float] = frozenset(), 0.0
    nothing = frozenset[int]()
    # What the unit is worth when a set is gone, and what it adds to a set alone.
    worth = {nothing: float(search.alone[unit])}
    adds = {nothing: float(search.gains([[unit]])[0])}
    for size in range(1, min(LARGEST_SET, len(pool)) + 1):
        sets = [frozenset(some) for some in combinations(pool, size)]
        more = [some | {unit} for some in sets]
        gone = search.effects(sets)
        worth |= zip(sets, (search.effects(more) - gone).tolist(), strict=True)
        adds |= zip(sets, (search.gains(more) - search.gains(sets)).tolist(), strict=True)
        noticed = search.limit + search.chance
        hits = []
        for place, some in enumerate(sets):
            part = max(search.limit, PART * worth[some])
            # Every member takes over some of the worth, or else it has no part in this.
            if worth[some] > search.limit and all(
                worth[some] - worth[some - {member}] > part
                or adds[some - {member}] - adds[some] > noticed
                for member in some
            ):
                strong = bool(gone[place] > search.limit)
                enough = adds[some] < noticed
                hits.append((enough, search.older(unit, some), strong, worth[some], -place))
        if hits:
            enough, _, _, _, place = max(hits)
            found = sets[-place], float(gone[-place])
            if enough:
                return found
            best = best if best[0] else found
    return best


def _substitutes(parts: Sequence[frozenset[int]], group: str = "") -> Candidate:
    whole = frozenset().union(*parts)
    evidence: dict[str, Term] = {f"member {place}": ((1, one),) for place, one in enumerate(parts)}
    evidence["together"] = ((1, whole),)
    return Candidate(Kind.SUBSTITUTES, tuple(sorted(whole)), (), group, evidence)


def _complements(search: _Search) -> Iterator[Candidate]:
    """Yield pairs that are worth something only together."""
    alone, pairs = search.alone, search.pairs
    interaction = alone[:, None] + alone - pairs
    add_one = pairs - alone
    small = np.maximum(add_one, add_one.T) < np.maximum(search.limit, ADD_ONE * pairs)
    one, two = np.nonzero(np.triu(small & (interaction > search.limit), k=1))
    for place in np.argsort(-interaction[one, two], kind="stable")[:COMPLEMENTS]:
        first, second = search.features([one[place]]), search.features([two[place]])
        both = first | second
        evidence: dict[str, Term] = {
            "interaction": ((1, first), (1, second), (-1, both)),
            "together": ((1, both),),
            "first without second": ((1, both), (-1, second)),
            "second without first": ((1, both), (-1, first)),
        }
        yield Candidate(Kind.COMPLEMENTS, tuple(sorted(both)), (), "", evidence)


def _group_relations(
    surrogate: Surrogate,
    pairs: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    limit: float,
    found: Sequence[Candidate],
) -> Iterator[Candidate]:
    """Yield declared groups whose members are substitutes, and parts of groups that do nothing."""
    names = surrogate.design.names
    bundles = [set(one.features) for one in found if one.kind is Kind.SUBSTITUTES]
    for group, members in groups.items():
        whole = frozenset(members)
        rests = [whole - {place} for place in members]
        effect, *of_rests = closed_effects(surrogate, [sorted(some) for some in (whole, *rests)])
        if effect <= limit or len(whole) < 2:
            continue
        alone = {place: float(pairs[place, place]) for place in members}
        if max(alone.values()) < limit and not any(some <= whole for some in bundles):
            yield _substitutes([frozenset({place}) for place in members], group)
            continue
        idle = [
            place for place, rest in zip(members, of_rests, strict=True)
            if alone[place] < limit and effect - rest < limit
        ]  # fmt: skip
        riders: frozenset[int] = frozenset()
        for place in sorted(idle, key=lambda place: (alone[place], names[place])):
            more = riders | {place}
            kept = whole - more
            own, of_kept = closed_effects(surrogate, [sorted(more), sorted(kept)])
            if kept and own < limit and effect - of_kept < limit:
                riders = more
        if riders:
            kept = whole - riders
            evidence: dict[str, Term] = {
                "group": ((1, whole),),
                "effect": ((1, riders),),
                "without the others": ((1, whole), (-1, kept)),
            }
            yield Candidate(
                Kind.FREE_RIDERS, tuple(sorted(riders)), tuple(sorted(kept)), group, evidence
            )
