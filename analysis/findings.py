"""What every analysis hands back: findings, which reports only render.

A finding says what was seen, how strong it is with its interval, by which numbers, and what to do.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Any, TypeAlias

from featurekit.summary import SHOWN, listed

__all__ = ["Effect", "Finding", "Json", "Severity", "by_severity", "plain", "summarised"]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What JSON can say."""


@total_ordering
class Severity(enum.Enum):
    """How much a finding weighs; a greater one is worse.

    `CRITICAL`: results cannot be believed until it is settled. `WARNING`: look at it. `NOTE`: good
    to know; nothing is flagged by a note.

    Example:
        >>> Severity.CRITICAL > Severity.WARNING > Severity.NOTE
        True
    """

    NOTE = "note"
    WARNING = "warning"
    CRITICAL = "critical"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Severity):
            return NotImplemented
        order = list(Severity)
        return order.index(self) < order.index(other)


@dataclass(frozen=True)
class Effect:
    """A number with its interval.

    Args:
        name: What it is, such as "AUC".
        value: The estimate, in `unit`.
        low: The lower end of its interval; `None` where there is no interval.
        high: The upper end.
        unit: Its unit; empty for a number without one.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; a number that JSON cannot say becomes `None`."""
        return {
            "name": self.name,
            "value": plain(self.value),
            "low": plain(self.low),
            "high": plain(self.high),
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Finding:
    """One thing that an analysis found.

    Args:
        features: The features that it is about; empty where it is about the whole table.
        kind: A word for what it is, the same in every release.
        severity: How much it weighs.
        message: What was seen, a sentence.
        effect: How strong it is.
        evidence: The numbers behind it.
        advice: What to do about it.

    Example:
        >>> found = Finding(("x",), "proxy", Severity.WARNING, "x gives the label away")
        >>> found.to_dict()["severity"]
        'warning'
    """

    features: tuple[str, ...]
    kind: str
    severity: Severity
    message: str
    effect: Effect | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for `--json` and reports."""
        return {
            "features": list(self.features),
            "kind": self.kind,
            "severity": self.severity.value,
            "message": self.message,
            "effect": None if self.effect is None else self.effect.to_dict(),
            "evidence": plain(self.evidence),
            "advice": self.advice,
        }


def by_severity(findings: Iterable[Finding], kinds: Sequence[str]) -> tuple[Finding, ...]:
    """Return findings with the worst first.

    Args:
        findings: In any order.
        kinds: Kinds in the order of the damage that they do, which decides among findings of one
            severity; the stronger effect decides after that, and names last.
    """
    place = {kind: order for order, kind in enumerate(kinds)}
    severities = list(Severity)

    def key(finding: Finding) -> tuple[Any, ...]:
        return (
            -severities.index(finding.severity),
            place.get(finding.kind, len(place)),
            0.0 if finding.effect is None else -finding.effect.value,
            finding.features,
        )

    return tuple(sorted(findings, key=key))


def summarised(findings: Sequence[Finding]) -> tuple[tuple[str, str], ...]:
    """Return findings as the facts of a summary: the first few, and how many there are besides."""
    shown, more = findings[:SHOWN], len(findings[SHOWN:])
    facts = tuple(
        (each.severity.value, f"{each.kind}: {listed(each.features) or 'the table'}")
        for each in shown
    )
    return (*facts, ("besides", f"{more:,} more")) if more else facts


def plain(value: Any) -> Any:
    """Return a value as JSON can say it: NaN and the infinities become `None`.

    Example:
        >>> plain({"auc": float("nan"), "pairs": (1, 2)})
        {'auc': None, 'pairs': [1, 2]}
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
