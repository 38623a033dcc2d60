"""The drill-down of an ablation report: families, their groups, and the features of each group.

It needs no script: drawers are `details` elements, and the marks are drawn in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurekit.report.amounts import Amounts, count
from featurekit.report.page import name, text
from featurekit.report.tiers import METHODS, VERDICTS, amounts_of, strongest
from featurekit.report.worths import tag

__all__ = ["group_drawers"]

Some = Mapping[str, Any]
MEMBERS = 40
"""So many features of a group are listed; the table has all."""

FAMILIES = {
    "declared": "Declared groups",
    "source": "By source",
    "aggregation": "By aggregation",
    "column": "By raw column",
    None: "Other groups",
}

_SHAPES = {
    "matters": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "negligible": "M-3.5 -3.5H3.5V3.5H-3.5Z",
    "undecided": "M-4.5 4L0 -5L4.5 4Z",
}


def group_drawers(report: Some) -> str:
    """Return every family of groups as a drawer of drawers, what is worth most first."""
    known = {one.get("family") for tier in report.get("tiers", ()) for one in tier["groups"]}
    parts = []
    for family in (family for family in FAMILIES if family in known):
        for tier, groups in strongest(report, "groups", family):
            parts.append(_family(FAMILIES[family], tier, groups))
    return "\n".join(parts)


def _family(title: str, tier: Some, groups: Sequence[Some]) -> str:
    singles = {one["name"]: one for one in tier["features"]}
    ends = [tier["margin"], -tier["margin"], 0.0]
    for group in groups:
        ends += [group["low"], group["high"]]
    scale = _Scale(min(ends), max(ends), tier["margin"])
    amounts = amounts_of(tier)
    verdicts = [group["verdict"] for group in groups]
    told = ", ".join(f"{verdicts.count(v):,} {v}" for v in VERDICTS if v in verdicts)
    body = "\n".join(_group(group, singles, scale, amounts) for group in groups)
    return (
        f'<details class="family" open><summary><h3>{title}</h3> '
        f'<span class="muted">{told}; {METHODS[tier["tier"]]}</span></summary>\n'
        f"{body}\n</details>"
    )


def _group(group: Some, singles: Mapping[str, Some], scale: _Scale, amounts: Amounts) -> str:
    members = sorted(
        group["features"],
        key=lambda each: (each not in singles, -singles.get(each, {"effect": 0})["effect"]),
    )
    rows = [_member(each, singles.get(each), scale, amounts) for each in members[:MEMBERS]]
    if len(members) > MEMBERS:
        rows.append(f'<p class="muted">and {len(members) - MEMBERS:,} more</p>')
    many = f'<small class="muted">{count(len(members), "feature")}</small>'
    return (
        f'<details class="group"><summary>{_line(group, many, scale, amounts)}</summary>\n'
        f"{''.join(rows)}\n</details>"
    )


def _member(called: str, one: Some | None, scale: _Scale, amounts: Amounts) -> str:
    if one is None:
        return (
            f'<div class="worth">{name(called)}<span class="muted">not measured alone</span></div>'
        )
    return _line(one, "", scale, amounts)


def _line(one: Some, beside: str, scale: _Scale, amounts: Amounts) -> str:
    whole = text(f"{one['name']}: {one['verdict']}, {amounts.whole(one)}")
    return (
        f'<span class="worth {one["verdict"]}"><span class="called">{name(one["name"])} {beside}'
        f'</span><svg height="16" role="img" aria-label="{whole}">{scale.draw(one)}</svg>'
        f'<span class="value">{amounts.signed(one["effect"])}</span>{tag(one["verdict"])}</span>'
    )


class _Scale:
    """Where effects of one family stand, as shares of the width."""

    def __init__(self, low: float, high: float, margin: float) -> None:
        self.low, self.width, self.margin = low, (high - low) or 1.0, margin

    def at(self, value: float) -> float:
        return 2 + 96 * min(1.0, max(0.0, (value - self.low) / self.width))

    def draw(self, one: Some) -> str:
        """Return the margin, the zero, and the effect with its interval as SVG."""
        left, right = self.at(-self.margin), self.at(self.margin)
        low, high, middle = self.at(one["low"]), self.at(one["high"]), self.at(one["effect"])
        zero = self.at(0.0)
        return (
            f'<rect class="band" x="{left:.1f}%" width="{right - left:.1f}%" height="16"/>'
            f'<line class="track" x1="{zero:.1f}%" x2="{zero:.1f}%" y2="16"/>'
            f'<line class="stem" x1="{low:.1f}%" x2="{high:.1f}%" y1="8" y2="8"/>'
            f'<svg x="{middle:.1f}%" y="8"><path class="mark" d="{_SHAPES[one["verdict"]]}"/></svg>'
        )
