"""How the parts of an ablation report read its tiers, of which the last one is the strongest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from featurekit.report.amounts import Amounts

__all__ = [
    "METHODS", "TIERS", "VERDICTS", "amounts_of", "finished", "plural", "proposal_holds",
    "strongest", "tally", "tally_text",
]  # fmt: skip

VERDICTS = ("matters", "negligible", "harmful", "undecided")
TIERS = {"linear": "linear surrogate", "permutation": "permutation", "retrain": "retraining"}
METHODS = {
    "linear": "by a linear surrogate", "permutation": "by permutation", "retrain": "by retraining",
}  # fmt: skip

Some = Mapping[str, Any]


def amounts_of(measured: Some | None) -> Amounts:
    """Return how numbers of a tier, or of a proposal, are written."""
    measured = measured or {}
    return Amounts.of(measured.get("margin"), measured.get("full"))


def tally(report: Some) -> dict[str, int]:
    """Return how many features have each verdict."""
    every = [one["verdict"] for one in report.get("verdicts", {}).values()]
    return {verdict: every.count(verdict) for verdict in VERDICTS}


def tally_text(verdicts: Sequence[str]) -> str:
    """Return how many there are of each verdict, as text.

    Example:
        >>> tally_text(["matters", "undecided", "matters"])
        '2 matter, 1 undecided'
    """
    counts = ((verdict, verdicts.count(verdict)) for verdict in VERDICTS)
    return ", ".join(f"{many:,} {plural(verdict, many)}" for verdict, many in counts if many)


def plural(verdict: str, many: int) -> str:
    """Return a verdict as it is said of so many."""
    return "matter" if verdict == "matters" and many != 1 else verdict


def strongest(report: Some, part: str, family: object = ...) -> Iterator[tuple[Some, list[Some]]]:
    """Yield tiers with what none of the stronger ones has measured, the strongest first.

    Args:
        report: The content of an ablation report.
        part: `features` or `groups`.
        family: Groups of this family alone.
    """
    seen: set[tuple[object, object]] = set()
    for tier in reversed(report.get("tiers", ())):
        some = [
            one
            for one in tier.get(part, ())
            if (one.get("family"), one["name"]) not in seen
            and (family is ... or one.get("family") == family)
        ]
        seen.update((one.get("family"), one["name"]) for one in some)
        if some:
            yield tier, sorted(some, key=lambda one: -one["effect"])


def proposal_holds(proposal: Some) -> bool:
    """Whether all of the interval says that the smaller set loses at most the margin."""
    high = proposal["difference"].get("high")
    return high is not None and high <= proposal["margin"]


def finished(tier: Mapping[str, Any]) -> str:
    """Return whether a tier was measured to its end, as text."""
    trials = tier.get("trials")
    told = "yes" if tier["complete"] else "the budget ended first"
    if trials:
        told += f"; {trials['done']:,} of {trials['planned']:,} trials"
        told += f", {trials['spared']:,} spared" if trials["spared"] else ""
    return told
