"""What an ablation report shows of single features: plots, cost beside worth, the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from featurekit.report.amounts import count, duration, p_value, size
from featurekit.report.charts import Interval, Point, intervals, scatter
from featurekit.report.page import ABSENT, name, table, text
from featurekit.report.tiers import (
    METHODS,
    TIERS,
    VERDICTS,
    amounts_of,
    finished,
    strongest,
    tally_text,
)
from featurekit.report.tracks import verdict_key

__all__ = ["cost_charts", "feature_table", "tag", "worth_charts"]

SHOWN = 40
"""So many features stand in the first plot; the others unfold."""
DEAREST = 3
"""So many dear features without worth are named."""

Some = Mapping[str, Any]


def tag(verdict: str) -> str:
    """Return a verdict as a label in its colour."""
    return f'<span class="tag {verdict}">{text(verdict)}</span>'


def worth_charts(report: Some) -> str:
    """Return the interval plots of the features, those of the strongest tier first."""
    parts = ["<noscript><p>Charts need scripts; the tables have the same numbers.</p></noscript>"]
    for place, (tier, rows) in enumerate(strongest(report, "features")):
        how = METHODS[tier["tier"]]
        many = count(len(rows), "feature")
        if place:
            parts.append(f"<h3>{many} more, measured {how}</h3>")
        parts.append(_introduction(tier, many, first=not place, costs=report.get("costs")))
        parts.append(f'<ul class="key">{verdict_key([one["verdict"] for one in rows])}</ul>')
        parts.append(_chart(report, tier, rows[:SHOWN]))
        if more := rows[SHOWN:]:
            drawn = _chart(report, tier, more)
            parts.append(
                f"<details><summary>{len(more):,} more, of less worth</summary>{drawn}</details>"
            )
    return "\n".join(parts) if len(parts) > 1 else ""


def _introduction(tier: Some, many: str, *, first: bool, costs: Some | None) -> str:
    margin, how = amounts_of(tier).plain(tier["margin"]), METHODS[tier["tier"]]
    ended = "" if tier["complete"] else f" Not finished: {finished(tier)}."
    if not first:
        told = f"With {text(tier['model'])}; the margin is ±{margin} of {text(tier['loss'])}."
        return f'<p class="muted">{told}{ended}</p>'
    if tier["tier"] == "linear":
        ended += " It stands in for your model, and cannot see what is not linear."
    unit, _ = _cost_unit(costs)
    beside = f" At the right stands the {_COSTS[unit][0]}." if unit else ""
    return (
        f'<p class="muted">{many} measured {how}, with {text(tier["model"])}.{ended} Worth is how '
        f"much the held-out {text(tier['loss'])} rises when a feature is left out. Lines are "
        f"simultaneous 95% intervals; the band is the margin of ±{margin}, in which a difference "
        "is negligible. Verdicts are tests of their own, so that such an interval may reach beyond "
        "the band of a negligible feature. The scale is logarithmic far from 0, so that small and "
        f"large differences are seen at once.{beside}</p>"
    )


def _chart(report: Some, tier: Some, rows: Sequence[Some]) -> str:
    amounts, costs = amounts_of(tier), report.get("costs")
    unit, write = _cost_unit(costs)
    drawn = [
        Interval(
            one["name"], one["verdict"], one["effect"], one["low"], one["high"],
            write((costs or {}).get(one["name"], {}).get(unit)) if unit else "",
            _told(report, one, amounts.whole(one)),
        )
        for one in rows
    ]  # fmt: skip
    verdicts = [one["verdict"] for one in rows]
    counts = tally_text(verdicts)
    label = (
        f"Interval plot of the worth of {count(len(rows), 'feature')}, the most worth first: "
        f"{counts}. The table of features has the same numbers."
    )
    return intervals(drawn, tier["margin"], f"rise of the {tier['loss']}", label)


def _told(report: Some, one: Some, worth: str) -> str:
    cost = (report.get("costs") or {}).get(one["name"]) or {}
    lines = [one["name"], f"{one['verdict']}: {worth}"]
    lines += [
        f"{label}: {write(cost[unit])}"
        for unit, (label, write) in _COSTS.items()
        if cost.get(unit) is not None
    ]
    return "\n".join(lines)


_COSTS = {
    "bytes": ("bytes read", size),
    "own_bytes": ("read for it alone", size),
    "seconds": ("time per million rows", duration),
}


def _known(costs: Some | None, unit: str) -> bool:
    return any(cost.get(unit) is not None for cost in (costs or {}).values())


def _cost_unit(costs: Some | None) -> tuple[str, Any]:
    """Return the cost that stands beside worth, with what writes it; time where it is known."""
    for unit in ("seconds", "bytes"):
        if _known(costs, unit):
            return unit, _COSTS[unit][1]
    return "", str


def cost_charts(report: Some) -> str:
    """Return what features are worth against what they cost, for every cost that is known."""
    costs, tiers = report.get("costs"), list(strongest(report, "features"))
    if not costs or not tiers:
        return ""
    tier, rows = tiers[0]
    parts = [
        _cost_chart(report, tier, held, unit)
        for unit in ("seconds", "bytes")
        if (held := [one for one in rows if (costs.get(one["name"]) or {}).get(unit) is not None])
    ]
    if not parts:
        return ""
    return (
        '<p class="muted">Low and to the right is what costs much and is worth little; the band is '
        f'the margin.</p>\n<ul class="key">{verdict_key([one["verdict"] for one in rows])}</ul>'
        f'<div class="cards">{"".join(parts)}</div>'
    )


def _cost_chart(report: Some, tier: Some, rows: Sequence[Some], unit: str) -> str:
    costs, amounts, (label, write) = report["costs"], amounts_of(tier), _COSTS[unit]
    points = [
        Point(one["verdict"], costs[one["name"]][unit], one["effect"],
              _told(report, one, amounts.whole(one)))
        for one in rows
    ]  # fmt: skip
    told = f"Worth against {label} of {count(len(points), 'feature')}."
    drawn = scatter(
        points, tier["margin"], label, f"rise of the {tier['loss']}",
        "~s" if unit == "bytes" else "~g", f"{told} The table of features has the same numbers.",
    )  # fmt: skip
    idle = [one["name"] for one in rows if one["verdict"] == "negligible"]
    dear = sorted(idle, key=lambda called: -costs[called][unit])[:DEAREST]
    named = ", ".join(f"{name(called)} ({write(costs[called][unit])})" for called in dear)
    dearest = f'<p class="muted">Dearest negligible: {named}</p>' if dear else ""
    return f"<div><h3>{label.capitalize()}</h3>{drawn}{dearest}</div>"


def feature_table(report: Some) -> str:
    """Return a table of every feature with what each tier says of it, side by side."""
    tiers = report.get("tiers", ())
    found = {
        tier["tier"]: {one["name"]: one for one in tier["features"]} for tier in tiers
    }  # fmt: skip
    costs = report.get("costs") or {}
    units = [unit for unit in _COSTS if _known(costs, unit)]
    removed = set((report.get("proposal") or {}).get("remove", ()))
    heads = ["feature", "verdict", *(["proposal"] if removed else [])]
    for tier in reversed(tiers):
        heads += [f"{TIERS[tier['tier']]}: worth", "p matters", "p negligible"]
    heads += [_COSTS[unit][0] for unit in units]

    def rows() -> Iterator[list[tuple[str, object]]]:
        verdicts = report.get("verdicts", {})
        order = {verdict: place for place, verdict in enumerate(VERDICTS)}
        for called, held in sorted(verdicts.items(), key=lambda item: -item[1]["effect"]):
            row: list[tuple[str, object]] = [
                (name(called), called),
                (tag(held["verdict"]), order.get(held["verdict"], 9)),
            ]
            if removed:
                gone = called in removed
                row.append(("remove" if gone else "keep", int(gone)))
            for tier in reversed(tiers):
                row += _cells(tier, found[tier["tier"]].get(called))
            cost = costs.get(called) or {}
            row += [(_COSTS[unit][1](cost.get(unit)), cost.get(unit)) for unit in units]
            yield row

    return table("All features, the most worth first", heads, rows())


def _cells(tier: Some, one: Some | None) -> list[tuple[str, object]]:
    if one is None:
        return [(ABSENT, None)] * 3
    amounts = amounts_of(tier)
    interval = f'<div class="muted fixed">{amounts.interval(one)}</div>'
    return [
        (f"<div>{amounts.signed(one['effect'])}{interval}</div>", one["effect"]),
        (text(p_value(one["p_value"])), one["p_value"]),
        (text(p_value(one["negligible_p_value"])), one["negligible_p_value"]),
    ]
