"""What the project asks of itself, and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from measure import Measured
from suite import (
    CASES,
    DUCKDB,
    FEATUREKIT,
    FEATURETOOLS,
    HELP,
    HISTOGRAMS,
    LOFO,
    LOOP,
    NUMPY,
    ON_BEAM,
    PLAN,
    POLARS,
    PYARROW,
    SAVED_MODEL,
    SKLEARN,
    TF_TRANSFORM,
    TREES,
)  # fmt: skip

__all__ = ["TARGETS", "Target", "judge"]


@dataclass(frozen=True)
class Target:
    """What the project asks of itself: `measure` of one contender, or its ratio to another's.

    Args:
        of: Case and contender.
        measure: A field of `Measured`.
        limit: The number to reach.
        to: Case and contender to compare with; the ratio is `to / of` for "times as fast".
        least: Whether the ratio must be at least the limit (faster), or at most.
        each: Whether it is of the time for one row, for contenders that answer for fewer.
    """

    of: tuple[str, str]
    measure: str
    limit: float
    to: tuple[str, str] | None = None
    least: bool = False
    each: bool = False

    def value(
        self,
        medians: Mapping[tuple[str, str], Measured],
        rows: Mapping[tuple[str, str], int],
    ) -> float | None:
        """Return what was reached, if all that it needs was measured."""
        if self.of not in medians or (self.to is not None and self.to not in medians):
            return None
        own = getattr(medians[self.of], self.measure)
        if self.to is None:
            return own
        other = getattr(medians[self.to], self.measure)
        if self.each:
            own, other = own / rows[self.of], other / rows[self.to]
        return other / own if self.least else own / other

    def text(self) -> str:
        """Return the target in words."""
        case, who = self.of
        bound = f"{'at least' if self.least else 'at most'} {self.limit:g}"
        if self.to is None:
            unit = {"seconds": "s", "megabytes": "MB"}[self.measure]
            return f"{case}: {who}, {self.measure}, {bound} {unit}"
        other, peer = self.to
        if other != case:
            return f"{case}: {who}, {self.measure}, {bound} times those of '{other}'"
        if self.least:
            share = ", per example" if self.each else ""
            return f"{case}: {who} {bound} times as fast as {peer}{share}"
        return f"{case}: {who} {bound} times the {self.measure} of {peer}"


def _faster(case: str, who: str, limit: float, peer: str, each: bool = False) -> Target:
    return Target((case, who), "seconds", limit, (case, peer), least=True, each=each)


TARGETS = (
    Target(("help", HELP), "seconds", 0.4),
    _faster("small", SAVED_MODEL, 3, TF_TRANSFORM),
    _faster("flights", FEATUREKIT, 30, TF_TRANSFORM),
    _faster("flights", SAVED_MODEL, 7, TF_TRANSFORM),
    _faster("flights", FEATUREKIT, 6, SKLEARN),
    Target(("flights", FEATUREKIT), "seconds", 2, ("flights", PYARROW)),
    Target(("flights", FEATUREKIT), "megabytes", 1000),
    Target(("large", FEATUREKIT), "megabytes", 1.3, ("flights", FEATUREKIT)),
    _faster("windows", FEATUREKIT, 20, DUCKDB),
    _faster("windows", FEATUREKIT, 100, FEATURETOOLS, each=True),
    Target(("windows", FEATUREKIT), "seconds", 1.3, ("windows", POLARS)),
    Target(("windows-10", FEATUREKIT), "seconds", 12, ("windows", FEATUREKIT)),
    Target(("windows-hot", FEATUREKIT), "megabytes", 2000),
    Target(("sql", PLAN), "seconds", 2),
    Target(("ablation_linear", FEATUREKIT), "seconds", 2, ("ablation_linear", NUMPY)),
    _faster("ablation_linear", FEATUREKIT, 1000, SKLEARN, each=True),
    Target(("ablation_wide", FEATUREKIT), "seconds", 60),
    _faster("ablation_retrain", FEATUREKIT, 1.5, LOOP),
    _faster("ablation_retrain", FEATUREKIT, 3, LOFO),
    _faster("both", ON_BEAM, 4, TF_TRANSFORM),
    _faster("beam", ON_BEAM, 1.3, TF_TRANSFORM),
    _faster("scan", FEATUREKIT, 10, TREES, each=True),
    Target(("scan", HISTOGRAMS), "seconds", 5, ("scan", PYARROW)),
    Target(("both", ON_BEAM), "megabytes", 1, ("both", TF_TRANSFORM)),
    Target(("beam", ON_BEAM), "megabytes", 1, ("beam", TF_TRANSFORM)),
)


def judge(cases: Mapping[str, Any], quick: bool) -> list[dict[str, Any]]:
    """Say of every target what was reached; a smaller input is not judged."""
    medians = {
        (name, who): Measured(**entry["median"])
        for name, case in cases.items() for who, entry in case["contenders"].items()
    }  # fmt: skip
    rows = {
        (name, who): entry["rows"]
        for name, case in cases.items() for who, entry in case["contenders"].items()
    }  # fmt: skip
    verdicts = []
    for target in TARGETS:
        value = target.value(medians, rows)
        if value is None:
            verdict = "not measured"
        elif quick and CASES[target.of[0]].quick != CASES[target.of[0]].rows:
            verdict = "not judged"
        else:
            reached = value >= target.limit if target.least else value <= target.limit
            verdict = "PASS" if reached else "miss"
        verdicts.append(
            {"target": target.text(), "limit": target.limit,
             "value": None if value is None else round(value, 3), "verdict": verdict}
        )  # fmt: skip
    return verdicts
