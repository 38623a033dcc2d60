"""A smaller set of features: what can go together, and what is lost without it.

Features are put in order, the least worth first. The closed form of the linear models sorts out
those that cannot go together, as one of two that say the same has to stay. Of the sets that begin
the order of the rest, the largest is taken whose joint effect is below the margin, surely so if any
is. What that set loses is then measured once on rows on which nothing was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from featurekit.analysis.ablation.inference import Contribution, Verdict
from featurekit.analysis.ablation.relations import Bound, Relation
from featurekit.analysis.ablation.units import Kind

__all__ = ["STEPS", "Check", "candidates", "compatible", "largest_removal"]

STEPS = 6
"""So many sets at most are tried."""


@dataclass(frozen=True)
class Check:
    """What is lost without some features, on rows that were kept apart.

    Args:
        model: What was trained.
        loss: What the numbers are.
        full: The mean loss with all features.
        smaller: The mean loss without those that go.
        baseline: The mean loss of a constant.
        difference: Of both, with its interval.
        margin: What is negligible there, in units of the loss.
        rows: How many rows it was measured on.
        joint: The difference on the rows of the folds, by which the set was chosen; `None` of an
            empty one.
    """

    model: str
    loss: str
    full: float
    smaller: float
    baseline: float
    difference: Bound
    margin: float
    rows: int
    joint: Bound | None


def candidates(
    strongest: Mapping[str, Contribution],
    relations: Iterable[Relation],
    margins: Mapping[str, float],
) -> dict[str, str]:
    """Return the features that may go, with the reason, the least worth first.

    Beside those that are negligible these are the ones whose whole interval is below the margin: a
    model may lose by a feature, more than the margin, and is better without it then.

    Args:
        strongest: What each feature is worth, by the strongest models that measured it.
        relations: What was found of features together.
        margins: What is negligible to these models, by feature.
    """
    reasons: dict[str, str] = {}
    copies: list[Relation] = []
    for relation in relations:
        if relation.kind is Kind.DUPLICATE:
            copies.append(relation)
            continue
        reason = _REASONS.get(relation.kind)
        for name in relation.features if reason is not None else ():
            assert reason is not None
            others = ", ".join(relation.others) if relation.others else relation.group
            reasons.setdefault(name, reason.format(others=others, group=relation.group))
    for relation in copies:
        if not any(name in reasons for name in relation.features):
            reasons |= dict.fromkeys(relation.features[1:], f"the same as {relation.features[0]}")
    for name, worth in strongest.items():
        if worth.verdict is Verdict.HARMFUL:
            reasons.setdefault(name, "harmful: the model is better without it")
        elif worth.verdict is Verdict.NEGLIGIBLE:
            reasons.setdefault(name, "negligible beside the others")
        elif worth.high < margins[name]:
            reasons.setdefault(name, "worth less than the margin at most")
    ranked = sorted(
        (name for name in reasons if name in strongest),
        key=lambda name: (strongest[name].effect, name),
    )
    return {name: reasons[name] for name in ranked}


_REASONS = {
    Kind.LEGACY: "superseded by {others}",
    Kind.REDUNDANT: "redundant beside {others}",
    Kind.FREE_RIDERS: "idle part of {group}",
}


def compatible(
    ranked: Sequence[str], effect_of: Callable[[Sequence[str]], float], margin: float
) -> tuple[str, ...]:
    """Return features that can go together as far as point estimates say, the first ones first.

    Args:
        ranked: Features, the least worth first.
        effect_of: The effect of leaving out a set.
        margin: What that must stay below.

    Example:
        >>> def twins(some):  # a and b say the same; c says nothing
        ...     return 1.0 if {"a", "b"} <= set(some) else 0.0
        >>> compatible(["a", "b", "c"], twins, margin=0.1)
        ('a', 'c')
    """
    taken: list[str] = []

    def take(some: Sequence[str]) -> None:
        """Take all of them, or those of each half that fit."""
        if some and effect_of([*taken, *some]) < margin:
            taken.extend(some)
        elif len(some) > 1:
            half = len(some) // 2
            take(some[:half])
            take(some[half:])

    take(ranked)
    return tuple(taken)


def largest_removal(
    ranked: Sequence[str],
    bound_of: Callable[[Sequence[str]], Bound],
    margin: float,
    *,
    steps: int = STEPS,
) -> tuple[tuple[str, ...], Bound | None]:
    """Return the largest beginning of an order that can go, found by bisection.

    Best is one whose joint effect is surely below the margin. Where models vary so much that no
    interval gets there, it is one whose estimate is below it: what it costs on rows that were kept
    apart has an interval, too, which then says how sure that is.

    Args:
        ranked: Features, the least worth first.
        bound_of: Measures the effect of leaving out a set.
        margin: What is negligible.
        steps: How many sets are measured at most, for either.

    Returns:
        The features, and their joint effect; none and `None` where no set that was tried can go.

    Example:
        >>> cost = {"a": 0.0, "b": 0.01, "c": 0.5}
        >>> def bound_of(some):
        ...     return Bound(sum(cost[x] for x in some), 0.0, sum(cost[x] for x in some))
        >>> largest_removal(["a", "b", "c"], bound_of, margin=0.1)[0]
        ('a', 'b')
    """
    known: dict[int, Bound] = {}

    def bisected(value: Callable[[Bound], float]) -> int:
        enough, too_many = 0, len(ranked) + 1
        count = len(ranked)
        for _ in range(steps):
            if not enough < count < too_many:
                break
            if count not in known:
                known[count] = bound_of(ranked[:count])
            if value(known[count]) < margin:
                enough = count
            else:
                too_many = count
            count = (enough + too_many) // 2
        return enough

    count = bisected(lambda bound: bound.high) or bisected(lambda bound: bound.effect)
    return tuple(ranked[:count]), known.get(count)
