"""Which features others supersede or stand in for: a search among sets of up to three."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from featurekit.analysis.ablation.units import Candidate, Kind, Search, Term, Units, substitutes

__all__ = ["superseded"]

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


def superseded(search: Search) -> Iterator[Candidate]:
    """Yield units that others supersede, and sets of units that stand in for each other."""
    quiet = np.flatnonzero((search.alone < search.limit) & (search.explained > LEAST_EXPLAINED))
    quiet = quiet[np.argsort(-search.explained[quiet], kind="stable")][:SEARCHED]
    told: set[Units] = set()
    for unit, pool in _pools(search, sorted(quiet.tolist())):
        others, effect = _supersedes(search, unit, pool)
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
            yield substitutes([search.features([place]) for place in sorted(bundle)])


def _pools(search: Search, quiet: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield the units that may stand in for others, with those that they may stand in for."""
    pools = []
    most = []
    for unit in quiet:
        rescue = search.pairs[unit] - search.alone
        rescue[unit] = -np.inf
        most.append(rescue.max())
        order = [*np.argsort(-rescue, kind="stable")[: POOL // 2]]
        order += [*np.argsort(-search.resemblance[unit], kind="stable")[: POOL // 2 + 1]]
        pools.append(sorted({int(place) for place in order} - {unit}))
    alone = search.effects(pools)
    worth = search.effects([[*pool, unit] for unit, pool in zip(quiet, pools, strict=True)]) - alone
    for unit, pool, *reach in zip(quiet, pools, worth, most, strict=True):
        # Where it stands in for none of these alone, nor for all of them, sets need no search.
        if max(reach) > search.limit:
            yield unit, pool


def _supersedes(search: Search, unit: int, pool: list[int]) -> tuple[Units, float]:
    """Return the smallest set that supersedes a unit, and the effect of that set.

    In its absence the unit would matter; beside the set alone, the unit adds nothing. That the
    unit is worth nothing beside all other features is not enough to name some of these: x alone
    does not say what x + z says. Where no set has both properties, the smallest with the first one
    is taken.

    Among sets of one size: first those than which the unit is older, then those that matter
    themselves, then those that leave the unit the most to do.
    """
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
