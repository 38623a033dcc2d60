"""The drill-down of an ablation report: families, their groups, and the features of each group.

It needs no script: drawers are `details` elements, and the marks are drawn in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurekit.report.amounts import Amounts, count
from featurekit.report.page import name, text
from featurekit.report.tiers import METHODS, amounts_of, strongest, tally_text
from featurekit.report.tracks import Track
from featurekit.report.worths import tag

__all__ = ["group_drawers"]

Some = Mapping[str, Any]
MEMBERS = 40
"""So many features of a group are listed; the table has all."""
OPEN = 12
"""A family of so many groups is open from the start."""

FAMILIES = {
    "declared": "Declared groups",
    "source": "By source",
    "aggregation": "By aggregation",
    "column": "By raw column",
    None: "Other groups",
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
    # Groups of every family stand on one scale, so that they can be compared.
    ends = [
        end for each in tier["groups"] for end in (each["low"], each["high"]) if end is not None
    ]
    scale = Track(ends, tier["margin"])
    amounts = amounts_of(tier)
    told = tally_text([group["verdict"] for group in groups])
    opened = " open" if len(groups) <= OPEN else ""
    body = "\n".join(_group(group, singles, scale, amounts) for group in groups)
    return (
        f'<details class="family"{opened}><summary><h3>{title}</h3> '
        f'<span class="muted">{told}; {METHODS[tier["tier"]]}</span></summary>\n'
        f"{body}\n</details>"
    )


def _group(group: Some, singles: Mapping[str, Some], scale: Track, amounts: Amounts) -> str:
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


def _member(called: str, one: Some | None, scale: Track, amounts: Amounts) -> str:
    if one is None:
        return (
            f'<span class="worth"><span class="called">{name(called)}</span>'
            '<span class="muted">not measured alone</span></span>'
        )
    return _line(one, "", scale, amounts)


def _line(one: Some, beside: str, scale: Track, amounts: Amounts) -> str:
    whole = text(f"{one['name']}: {one['verdict']}, {amounts.whole(one)}")
    return (
        f'<span class="worth {one["verdict"]}"><span class="called">{name(one["name"])} {beside}'
        f'</span><svg height="16" role="img" aria-label="{whole}">'
        f"{scale.draw(one, one['verdict'])}</svg>"
        f'<span class="value">{amounts.signed(one["effect"])}</span>{tag(one["verdict"])}</span>'
    )
