"""What the budget of an ablation did not allow, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurekit.report.amounts import count, duration, listed
from featurekit.report.tiers import TIERS

__all__ = ["budget_text"]


def budget_text(report: Mapping[str, Any]) -> str:
    """Return what the budget did not allow, and what follows; nothing where all was done.

    Example:
        >>> budget = {"seconds": 2.0, "ended": True, "checked": False, "kept": False}
        >>> told = budget_text({"budget": budget, "tiers": [], "of": {"features": 3}})
        >>> told.partition(". ")[0]
        'The budget of 2.0 s ended first: no smaller set was checked'
    """
    budget = report.get("budget")
    if not budget or not budget["ended"]:
        return ""
    told = [*_tiers(report)]
    if not budget["checked"]:
        told.append(
            "what the smaller set loses is told by linear models alone"
            if report.get("proposal")
            else "no smaller set was checked"
        )
    after = (
        "The same command with a longer --budget goes on from the trainings that are kept."
        if budget["kept"]
        else "A longer budget would tell more."
    )
    return f"The budget of {duration(budget['seconds'])} ended first: {listed(told)}. {after}"


def _tiers(report: Mapping[str, Any]) -> Iterator[str]:
    features = report["of"]["features"]
    for tier in report["tiers"]:
        if not tier["complete"]:
            many = len(tier["features"])
            yield f"{TIERS[tier['tier']]} measured {many:,} of {count(features, 'feature')}"
