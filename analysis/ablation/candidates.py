"""Which features may be redundant or bundled: a search among closed-form effects, no data read.

What is found here are point estimates and thus candidates. `relations.py` says what each kind of
relation is and which of its conditions hold with an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from featurekit.analysis.ablation.superseded import superseded
from featurekit.analysis.ablation.surrogate import (
    Surrogate,
    closed_effects,
    closed_effects_of_rests,
)
from featurekit.analysis.ablation.units import (
    Candidate,
    Kind,
    Search,
    Term,
    complements,
    make_search,
    substitutes,
)

__all__ = ["find_candidates"]

COMPLEMENTS = 20
"""So many pairs at most are tested for being worth something only together."""
ADD_ONE = 0.1
"""Alone, a complement adds at most this share of what the pair is worth."""


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
    search = make_search(surrogate, pairs, created, margin * float(skill))
    copies = [unit for unit in search.units if len(unit) > 1]
    found = [*_duplicates(surrogate, copies, created), *superseded(search)]
    found += [
        *_complements(search),
        *_group_relations(surrogate, pairs, groups, search.limit, found),
    ]
    return tuple(found)


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


def _complements(search: Search) -> Iterator[Candidate]:
    """Yield pairs that are worth something only together."""
    alone, pairs = search.alone, search.pairs
    interaction = alone[:, None] + alone - pairs
    add_one = pairs - alone
    small = np.maximum(add_one, add_one.T) < np.maximum(search.limit, ADD_ONE * pairs)
    one, two = np.nonzero(np.triu(small & (interaction > search.limit), k=1))
    for place in np.argsort(-interaction[one, two], kind="stable")[:COMPLEMENTS]:
        first, second = search.features([one[place]]), search.features([two[place]])
        yield complements(first, second)


def _group_relations(
    surrogate: Surrogate,
    pairs: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    limit: float,
    found: Sequence[Candidate],
) -> Iterator[Candidate]:
    """Yield declared groups whose members are substitutes, and parts of groups that do nothing.

    Groups of the same features are one, and what is idle in several groups is told of the first.
    """
    bundles = [set(one.features) for one in found if one.kind is Kind.SUBSTITUTES]
    told: set[frozenset[int]] = set()
    for group, members in groups.items():
        whole = frozenset(members)
        if len(whole) < 2 or whole in told:
            continue
        told.add(whole)
        (effect,) = closed_effects(surrogate, [members])
        if effect <= limit:
            continue
        alone = {place: float(pairs[place, place]) for place in members}
        if max(alone.values()) < limit and not any(some <= whole for some in bundles):
            yield substitutes([frozenset({place}) for place in members], group)
            continue
        rests = closed_effects_of_rests(surrogate, members).tolist()
        idle = [
            place for place, rest in zip(members, rests, strict=True)
            if alone[place] < limit and effect - rest < limit
        ]  # fmt: skip
        riders = _together(surrogate, whole, idle, float(effect), limit)
        if riders and riders not in told:
            told.add(riders)
            kept = whole - riders
            evidence: dict[str, Term] = {
                "group": ((1, whole),),
                "effect": ((1, riders),),
                "without the others": ((1, whole), (-1, kept)),
            }
            yield Candidate(
                Kind.FREE_RIDERS, tuple(sorted(riders)), tuple(sorted(kept)), group, evidence
            )


def _together(
    surrogate: Surrogate, group: frozenset[int], idle: Sequence[int], effect: float, limit: float
) -> frozenset[int]:
    """Return as many idle members of a group as do nothing together, found by bisection.

    Members that are idle one by one may hold the same information.
    """
    names = surrogate.design.names
    alone = closed_effects(surrogate, [[place] for place in idle])
    ranked = [
        place for _, _, place in sorted(
            (float(own), names[place], place) for own, place in zip(alone, idle, strict=True)
        )
    ]  # fmt: skip
    enough, too_many = 0, min(len(ranked), len(group) - 1) + 1
    count = too_many - 1
    while enough < count < too_many:
        riders = frozenset(ranked[:count])
        own, of_rest = closed_effects(surrogate, [sorted(riders), sorted(group - riders)])
        if own < limit and effect - of_rest < limit:
            enough = count
        else:
            too_many = count
        count = (enough + too_many) // 2
    return frozenset(ranked[:enough])
