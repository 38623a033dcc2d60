"""Charts of an ablation report: Vega-Lite specifications, made by Altair, drawn inside the page.

Names are values of the data and nothing else: they head rows through `names[row]`, never as fields
or scales, since Vega-Lite reads dots and brackets in a field's name as a path. Colours are the
page's own variables, so that a chart follows light, dark and print without being drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from featurekit.errors import require
from featurekit.picture.text import printable
from featurekit.report.page import embedded, text

__all__ = ["Interval", "Point", "chart_scripts", "heat_map", "intervals", "scatter"]

COLOURS = {
    "matters": "var(--note)", "negligible": "var(--muted)", "harmful": "var(--critical)",
    "undecided": "var(--warning)",
}  # fmt: skip
SHAPES = {
    "matters": "circle", "negligible": "square", "harmful": "triangle-down",
    "undecided": "triangle-up",
}  # fmt: skip
"""Verdicts have shapes, not colours alone."""
ROW = 22
FONT = 'Inter, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif'


@dataclass(frozen=True)
class Interval:
    """A row of an interval plot.

    Args:
        name: What it is of.
        verdict: `matters`, `negligible`, `harmful` or `undecided`.
        effect: The estimate.
        low: The lower end of its interval; `None` where it is not known.
        high: The upper end.
        beside: A short text at the end of the row.
        told: Lines that are shown where one points at it.
    """

    name: str
    verdict: str
    effect: float
    low: float | None
    high: float | None
    beside: str
    told: str


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot.

    Args:
        verdict: `matters`, `negligible`, `harmful` or `undecided`.
        cost: Its place from left to right.
        effect: Its place from the bottom up.
        told: Lines that are shown where one points at it.
    """

    verdict: str
    cost: float
    effect: float
    told: str


def intervals(rows: Sequence[Interval], margin: float, title: str, label: str) -> str:
    """Draw effects with their intervals, and the margin as a band.

    Args:
        rows: From the top.
        margin: What is negligible, to both sides of 0.
        title: Of the axis of effects.
        label: What the chart shows, for those who do not see it.
    """
    alt = _altair()
    data = alt.InlineData(
        values=[
            {"row": place, "verdict": row.verdict, "effect": row.effect, "low": row.low,
             "high": row.high, "beside": row.beside, "told": printable(row.told)}
            for place, row in enumerate(rows)
        ]
    )  # fmt: skip
    band = alt.InlineData(values=[{"from": -margin, "to": margin}])
    names = alt.param(name="names", value=[_short(row.name) for row in rows])
    row = alt.Y("row:O", axis=alt.Axis(title=None, labelExpr="names[datum.value]", **_NAMES))
    ends = [end for row in rows for end in (row.effect, row.low, row.high) if end is not None]
    scale = _stretched(alt, ends, margin)
    effect = alt.X("effect:Q", title=title, **scale)
    ground = (
        alt.Chart(band).mark_rect(color="var(--band)").encode(x=alt.X("from:Q", **scale), x2="to:Q")
    )
    zero = alt.Chart(band).mark_rule(color="var(--bar)").encode(x=alt.XDatum(0, **scale))
    base = alt.Chart(data).encode(y=row, tooltip="told:N")
    reach = base.mark_rule(strokeWidth=3, opacity=0.55, strokeCap="round").encode(
        x=alt.X("low:Q", **scale), x2="high:Q", color=_colour(alt)
    )
    mark = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=effect, color=_colour(alt), shape=_shape(alt)
    )
    layers = [ground, zero, reach, mark]
    if any(each.beside for each in rows):
        layers.append(
            base.mark_text(align="left", dx=12, color="var(--muted)").encode(
                x=alt.value("width"), text="beside:N"
            )
        )
    chart = alt.layer(*layers).add_params(names)
    chart = chart.properties(width="container", height=ROW * len(rows))
    side = 64 if any(each.beside for each in rows) else 12
    return _figure(chart, label, {"left": 4, "right": side, "top": 4, "bottom": 4})


def heat_map(names: Sequence[str], values: Sequence[Sequence[float]], told: Any, label: str) -> str:
    """Draw a number for every pair of names, by colour for its sign and by strength for its size.

    Args:
        names: Of rows and columns.
        values: Symmetric, of shape [names, names]; what is on the diagonal is not shown.
        told: Says what is shown where one points at a pair, given both places.
        label: What the chart shows, for those who do not see it.
    """
    alt = _altair()
    places = range(len(names))
    data = alt.InlineData(
        values=[
            {"row": row, "column": column, "size": abs(values[row][column]),
             "sign": "above" if values[row][column] >= 0 else "below",
             "told": printable(told(row, column))}
            for row in places for column in places if row != column
        ]
    )  # fmt: skip
    param = alt.param(name="names", value=[_short(each) for each in names])
    head = {"title": None, "labelExpr": "names[datum.value]", "grid": False}
    chart = (
        alt.Chart(data)
        .mark_rect(stroke="var(--paper)", strokeWidth=1)
        .encode(
            x=alt.X("column:O", axis=alt.Axis(**head, labelAngle=-90, labelLimit=130)),
            y=alt.Y("row:O", axis=alt.Axis(**head, **_NAMES)),
            color=alt.Color(
                "sign:N",
                scale=alt.Scale(domain=["below", "above"], range=["var(--warning)", "var(--note)"]),
                legend=None,
            ),
            opacity=alt.Opacity("size:Q", legend=None, scale=alt.Scale(range=[0.03, 1], zero=True)),
            tooltip="told:N",
        )
        .add_params(param)
        .properties(width="container", height=18 * len(names))
    )
    return _figure(chart, label, {"left": 4, "right": 8, "top": 4, "bottom": 4}, "wide")


def scatter(
    points: Sequence[Point], margin: float, cost: str, effect: str, form: str, label: str
) -> str:
    """Draw what features are worth against what they cost.

    Args:
        points: The features.
        margin: What is negligible, to both sides of 0.
        cost: The title of the axis of costs.
        effect: The title of the axis of effects.
        form: How costs are written on their axis, in D3's language.
        label: What the chart shows, for those who do not see it.
    """
    alt = _altair()
    data = alt.InlineData(
        values=[
            {"verdict": each.verdict, "cost": each.cost, "effect": each.effect,
             "told": printable(each.told)}
            for each in points
        ]
    )  # fmt: skip
    scale = alt.Scale(type="log" if all(each.cost > 0 for each in points) else "symlog")
    height = _stretched(alt, [each.effect for each in points], margin)
    band = alt.InlineData(values=[{"from": -margin, "to": margin}])
    ground = (
        alt.Chart(band)
        .mark_rect(color="var(--band)")
        .encode(y=alt.Y("from:Q", **height), y2="to:Q")
    )
    base = alt.Chart(data).encode(
        x=alt.X(
            "cost:Q", title=cost, scale=scale, axis=alt.Axis(format=form, tickCount=5, grid=False)
        ),
        y=alt.Y("effect:Q", title=effect, **height),
        tooltip="told:N",
    )
    mark = base.mark_point(filled=True, size=60, opacity=0.75).encode(
        color=_colour(alt), shape=_shape(alt)
    )
    chart = alt.layer(ground, mark).properties(width="container", height=260)
    return _figure(chart, label, {"left": 4, "right": 12, "top": 4, "bottom": 4})


@lru_cache(maxsize=1)
def chart_scripts() -> tuple[str, ...]:
    """Return the programs that draw the charts of a page: Vega and Vega-Lite, and what starts them.

    Raises:
        MissingExtra: Altair or vl-convert-python is not installed.
    """
    _altair()
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return f"(() => {{{bundle}}})();", DRAW


_NAMES: dict[str, Any] = {
    "labelLimit": {"expr": "room"}, "labelColor": "var(--ink)", "labelPadding": 6,
    "labelFontSize": 12,
}  # fmt: skip


def _altair() -> Any:
    require("altair", "analysis", "an ablation report")
    require("vl_convert", "analysis", "an ablation report")
    import altair

    return altair


def _short(name: str) -> str:
    """Return a name on one line, of a length that a label may have at all."""
    said = " ".join(printable(name).split()) or "(no name)"
    return said if len(said) <= 80 else f"{said[:79]}…"


def _stretched(alt: Any, effects: Sequence[float], margin: float) -> dict[str, Any]:
    """Return a scale that is linear within the margin and logarithmic far beyond, with its axis."""
    if margin <= 0:
        return {"scale": alt.Scale(zero=True), "axis": alt.Axis(tickCount=6, format="~g")}
    low, high = min(-margin, *effects), max(margin, *effects)
    powers = [margin * 10**power for power in range(-1, 9)][1:]
    ticks = [-each for each in powers if -each >= low] + [0.0]
    ticks += [each for each in powers if each <= high]
    return {
        "scale": alt.Scale(type="symlog", constant=margin, domain=[low, high], nice=False),
        "axis": alt.Axis(values=ticks, format="~g" if margin >= 1 else ".2~r", labelFlush=False),
    }


def _colour(alt: Any) -> Any:
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return alt.Color("verdict:N", scale=scale, legend=None)


def _shape(alt: Any) -> Any:
    scale = alt.Scale(domain=list(SHAPES), range=list(SHAPES.values()))
    return alt.Shape("verdict:N", scale=scale, legend=None)


def _figure(chart: Any, label: str, padding: Mapping[str, int], kind: str = "") -> str:
    alt = _altair()
    muted = {"labelColor": "var(--muted)", "titleColor": "var(--muted)"}
    chart = chart.configure(
        background="transparent", font=FONT, padding=padding, aria=False,
        params=[{"name": "room", "value": 200}],
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            grid=True, gridColor="var(--grid)", domain=False, ticks=False, labelFontSize=11,
            titleFontSize=12, titleFontWeight="normal", **muted,
        ),
        axisY=alt.AxisConfig(titleFontSize=12),
    )  # fmt: skip
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(autosize=fit, description=label).to_dict()
    return (
        f'<figure class="chart {kind}"><div class="drawn" role="img" aria-label="{text(label)}">'
        f'</div><script type="application/json">{embedded(spec)}</script></figure>'
    )


DRAW = """
"use strict";
{
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const tooltip = (_, event, __, told) => {
    tip.hidden = !told;
    if (!told) return;
    tip.textContent = told;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const above = event.clientY + 14 + tip.offsetHeight > innerHeight;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = event.clientY + (above ? -tip.offsetHeight - 8 : 14) + "px";
  };
  addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});
  const draw = async figure => {
    const at = figure.querySelector(".drawn");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const room = at.clientWidth || document.querySelector("main").clientWidth - 40;
    // What stands in a closed drawer has no width of its own yet.
    if (!at.clientWidth) spec.width = room;
    const names = spec.config.params.find(param => param.name === "room");
    names.value = Math.round(Math.max(90, Math.min(280, room * 0.34)));
    const options = {
      mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false, tooltip,
      logLevel: 1,
    };
    await vegaEmbed(at, spec, options);
    at.setAttribute("role", "img");
    figure.classList.add("done");
  };
  const figures = [...document.querySelectorAll("figure.chart")];
  (async () => { for (const figure of figures) await draw(figure); })();
  for (const drawer of document.querySelectorAll("details")) {
    drawer.addEventListener("toggle", async () => {
      if (!drawer.open) return;
      for (const figure of drawer.querySelectorAll("figure.chart")) await draw(figure);
    }, {once: true});
  }
}
"""
