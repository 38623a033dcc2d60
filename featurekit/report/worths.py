"""What an ablation report shows of single features: interval plots, cost beside worth, the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from featurekit.report.amounts import count, duration, p_value, size
from featurekit.report.charts import Interval, Point, intervals, scatter
from featurekit.report.page import ABSENT, name, table, text
from featurekit.report.tiers import METHODS, TIERS, VERDICTS, amounts_of, strongest

__all__ = ["cost_charts", "feature_table", "tag", "worth_charts"]

SHOWN = 40
"""So many features stand in the first plot; the others unfold."""
MARKED = 4
"""So many dear features without worth are named in the plot of costs."""

Some = Mapping[str, Any]


def tag(verdict: str) -> str:
    """Return a verdict as a label in its colour."""
    return f'<span class="tag {verdict}">{text(verdict)}</span>'


def worth_charts(report: Some) -> str:
    """Return the interval plots of the features, those of the strongest tier first."""
    parts = []
    for place, (tier, rows) in enumerate(strongest(report, "features")):
        how = METHODS[tier["tier"]]
        many = count(len(rows), "feature")
        if place:
            parts.append(f"<h3>{many} measured {how} only</h3>")
        parts.append(_introduction(tier, many if not place else ""))
        parts.append(_chart(report, tier, rows[:SHOWN]))
        if more := rows[SHOWN:]:
            drawn = _chart(report, tier, more)
            parts.append(
                f"<details><summary>{len(more):,} more, of less worth</summary>{drawn}</details>"
            )
    return "\n".join(parts)


def _introduction(tier: Some, many: str) -> str:
    amounts = amounts_of(tier)
    what = f"{many} measured {METHODS[tier['tier']]}, " if many else "Measured with "
    what += f"{'with ' if many else ''}{text(tier['model'])}. "
    return (
        f'<p class="muted">{what}Worth is how much the held-out {text(tier["loss"])} rises when a '
        "feature is left out. Lines are simultaneous 95% intervals; the band is the margin of "
        f"±{amounts.plain(tier['margin'])}, in which a difference is negligible.</p>"
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
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS if v in verdicts)
    label = (
        f"Interval plot of the worth of {count(len(rows), 'feature')}, the most worth first: "
        f"{counts}. The table of features has the same numbers."
    )
    beside = f"; at the right, {_COSTS[unit][0]}" if unit else ""
    title = f"rise of the {tier['loss']} without it{beside}"
    return intervals(drawn, tier["margin"], title, label)


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
    amounts, parts = amounts_of(tier), []
    for unit, form in (("seconds", "~s"), ("bytes", "~s")):
        held = [one for one in rows if (costs.get(one["name"]) or {}).get(unit) is not None]
        if not held:
            continue
        label, _ = _COSTS[unit]
        idle = [one for one in held if one["verdict"] == "negligible"]
        dear = sorted(idle, key=lambda one: -costs[one["name"]][unit])[:MARKED]
        points = [
            Point(
                one["name"], one["verdict"], costs[one["name"]][unit], one["effect"],
                any(one is other for other in dear), _told(report, one, amounts.whole(one)),
            )
            for one in held
        ]  # fmt: skip
        axis = f"{label}, {'seconds' if unit == 'seconds' else 'in powers of ten'}"
        told = f"Worth against {label} of {count(len(points), 'feature')}."
        said = f"{told} The table of features has the same numbers."
        effect = f"rise of the {tier['loss']} without it"
        parts.append(f"<h3>{label.capitalize()}</h3>\n")
        parts.append(scatter(points, axis, effect, form, said))
    if not parts:
        return ""
    return (
        '<p class="muted">Low and to the right is what costs much and is worth little. The dearest '
        f"negligible features are named.</p>\n{''.join(parts)}"
    )


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
    interval = f'<div class="muted">{amounts.interval(one)}</div>'
    return [
        (f"<div>{amounts.signed(one['effect'])}{interval}</div>", one["effect"]),
        (text(p_value(one["p_value"])), one["p_value"]),
        (text(p_value(one["negligible_p_value"])), one["negligible_p_value"]),
    ]
