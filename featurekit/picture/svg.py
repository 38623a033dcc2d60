"""Draws a plan: lanes of boxes from left to right, joined by curves.

Many features are drawn in bands below each other; what feeds several bands is drawn in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from featurekit.picture.flow import Box, Flow, flow
from featurekit.picture.layout import MANY, Place, bands, lay_out
from featurekit.picture.text import escape, fit, width
from featurekit.planner import Plan, Route, Step

__all__ = ["as_svg"]

_SANS = "Inter, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
_MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_INK, _MUTED = "#0f172a", "#64748b"
_COLOURS = {  # line, background, text: told apart by colour-blind readers too
    Route.SOURCE: ("#64748b", "#f1f5f9", "#0f172a"),
    Route.TENSORFLOW: ("#2563eb", "#dbeafe", "#1e3a8a"),
    Route.BEAM: ("#ea580c", "#ffedd5", "#7c2d12"),
    Route.BIGQUERY: ("#059669", "#d1fae5", "#064e3b"),
}
_LEGEND = {
    Route.SOURCE: "column of the source",
    Route.BIGQUERY: "BigQuery: summaries of past rows",
    Route.BEAM: "tf.Transform on Beam: what needs statistics of the train rows",
    Route.TENSORFLOW: "TensorFlow: what sees one row",
}
_BOLD_12, _BOLD_13 = 12 * 1.08, 13 * 1.08
_MARGIN = 32.0


def as_svg(plan: Plan) -> str:
    """Return a plan as an SVG picture that needs nothing beside it."""
    picture = flow(plan)
    compact = max(map(len, picture.lanes)) > MANY
    last = len(picture.lanes) - 1
    widths = [_lane_width(lane, number, compact, last) for number, lane in enumerate(picture.lanes)]
    gap = 130.0 if compact else 110.0
    lefts = [_MARGIN + sum(widths[:number]) + gap * number for number in range(last + 1)]
    routes = _routes(picture)
    across = max(lefts[-1] + widths[-1] + _MARGIN, _legend_width(routes))
    body: list[str] = []
    bottom = 98.0
    for number, band in enumerate(bands(picture)):
        if number:
            body.append(
                f'<path stroke="#e2e8f0" d="M{_MARGIN:g} {bottom:.1f}H{across - _MARGIN:.1f}"/>'
            )
            bottom += 10
        body.extend(_text(left, bottom + 20, heading, 13, weight=600, fill=_MUTED)
                    for left, heading in zip(lefts, picture.headings, strict=True))  # fmt: skip
        lanes = lay_out(band, compact, bottom + 36)
        body.append(
            f'<g fill="none" stroke-opacity="0.65" stroke-width="{1.2 if compact else 1.6}">'
        )
        body.extend([*_arrows(lanes, lefts, widths), "</g>"])
        for lane, left, wide in zip(lanes, lefts, widths, strict=True):
            for place in lane:
                if not place.track:
                    body.extend(_draw_box(place, left, wide, compact))
        bottom = max(place.y + place.height / 2 for lane in lanes for place in lane) + 24
    size = f'width="{across:.0f}" height="{bottom:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {across:.0f} {bottom:.0f}"',
        f'role="img" font-family="{_SANS}">',
        f"<title>{escape(f'Plan of {plan.resolved.spec.name}')}</title>",
        f'<rect {size} fill="#ffffff"/>',
        *_head(plan, picture, routes, across),
    ]
    return "\n".join([*parts, *body, "</svg>"]) + "\n"


def _routes(flow: Flow) -> list[Route]:
    used = {box.route for lane in flow.lanes[:-1] for box in lane}
    used |= {step.route for box in flow.lanes[-1] for step in box.steps}
    return [route for route in _LEGEND if route in used]


def _arrows(
    lanes: list[list[Place]], lefts: Sequence[float], widths: Sequence[float]
) -> Iterator[str]:
    for number, lane in enumerate(lanes[:-1]):
        start, end = lefts[number] + widths[number], lefts[number + 1]
        bend = (end - start) * 0.5
        for place in lane:
            colour = _COLOURS[place.box.route][0]
            path = [f"M{lefts[number]:.1f} {place.y:.1f}H{start:.1f}"] if place.track else []
            path.extend(
                f"M{start:.1f} {place.y:.1f}C{start + bend:.1f} {place.y:.1f} "
                f"{end - bend:.1f} {goal.y:.1f} {end:.1f} {goal.y:.1f}"
                for goal in place.after
            )
            if path:
                yield f'<path stroke="{colour}" d="{"".join(path)}"/>'


def _head(plan: Plan, picture: Flow, routes: Sequence[Route], across: float) -> Iterator[str]:
    passes = len(plan.levels)
    facts = [_count(len(picture.lanes[-1]), "feature"), _count(len(picture.lanes[0]), "input")]
    if plan.statistics:
        facts.append(f"{_count(len(plan.statistics), 'statistic')} in {_count(passes, 'pass')}")
    facts.append(f"{plan.engine} engine, {'with' if plan.saved_model else 'without'} a SavedModel")
    yield _text(_MARGIN, 42, fit(plan.resolved.spec.name, across - 2 * _MARGIN, 20), 20, weight=700)
    yield _text(_MARGIN, 64, "  ·  ".join(facts), 13, fill=_MUTED)
    spans = (
        f'<tspan fill="{_COLOURS[route][0]}" dx="{18 if number else 0}">●</tspan>'
        f'<tspan dx="6">{escape(_LEGEND[route])}</tspan>'
        for number, route in enumerate(routes)
    )
    yield f'<text x="{_MARGIN:g}" y="89" font-size="12" fill="#334155">{"".join(spans)}</text>'


def _legend_width(routes: Sequence[Route]) -> float:
    return 2 * _MARGIN + sum(36 + width(_LEGEND[route], 12) for route in routes)


def _lane_width(lane: Sequence[Box], number: int, compact: bool, last: int) -> float:
    if number == 0:
        wanted = [width(box.title, _BOLD_12) + width(box.detail, 11) + 40 for box in lane]
        return _within(wanted, 130, 260)
    if number < last:
        titles = [width(box.title, _BOLD_12) for box in lane]
        details = [width(box.detail, 11, mono=True) for box in lane]
        wanted = [
            a + b + 40 if compact else max(a, b) + 24 for a, b in zip(titles, details, strict=True)
        ]
        return _within(wanted, 190, 440 if compact else 300)
    wanted = []
    for box in lane:
        name = width(box.title, _BOLD_13) + width(box.detail, 11) + 40
        chips = sum(width(_chip(step), 11, mono=True) + 24 for step in box.steps)
        wanted.append(name + chips + 20 if compact else max(name, chips + 16))
    return _within(wanted, 240, 640 if compact else 440)


def _within(wanted: Sequence[float], least: float, most: float) -> float:
    return min(most, max(least, *wanted)) if wanted else least


def _draw_box(place: Place, left: float, wide: float, compact: bool) -> Iterator[str]:
    box, top, tall = place.box, place.y - place.height / 2, place.height
    line, background, ink = _COLOURS[box.route]
    hint = "\n".join(
        [
            box.title,
            box.detail,
            *(f"{step.route.value}: {_chip(step)}: {step.reason}" for step in box.steps),
        ]
    )
    yield f"<g><title>{escape(hint)}</title>"
    feature = bool(box.steps)
    fill, stroke = ("#ffffff", "#cbd5e1") if feature else (background, line)
    yield (f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="6" '
           f'fill="{fill}" stroke="{stroke}"/>')  # fmt: skip
    if feature:
        yield from _draw_feature(box, left, top, wide, tall, compact)
    elif box.route is Route.BEAM and not compact:
        yield _text(
            left + 12, top + 18, fit(box.title, wide - 24, _BOLD_12), 12, weight=600, fill=ink
        )
        yield _text(
            left + 12,
            top + 34,
            fit(box.detail, wide - 24, 11, mono=True),
            11,
            fill="#9a3412",
            mono=True,
        )
    else:
        mono = box.route is Route.BEAM
        detail = fit(
            box.detail, max(wide - 40 - width(box.title, _BOLD_12), wide * 0.4), 11, mono=mono
        )
        title = fit(box.title, wide - 34 - width(detail, 11, mono=mono), _BOLD_12)
        yield _text(left + 12, place.y + 4.3, title, 12, weight=600, fill=ink)
        yield _text(left + wide - 12, place.y + 4.3, detail, 11, fill="#9a3412" if mono else _MUTED,
                    mono=mono, anchor="end")  # fmt: skip
    yield "</g>"


def _draw_feature(
    box: Box, left: float, top: float, wide: float, tall: float, compact: bool
) -> Iterator[str]:
    kind = width(box.detail, 11)
    if compact:
        name = fit(box.title, wide * 0.45, _BOLD_12)
        yield _text(left + 12, top + 17.3, name, 12, weight=600)
        taken = 12 + width(name, _BOLD_12) + 12
        yield from _chips(box.steps, left + taken, top + 4.0, wide - taken - kind - 20)
        yield _text(left + wide - 12, top + 17.3, box.detail, 11, fill=_MUTED, anchor="end")
        return
    yield _text(left + 12, top + 19, fit(box.title, wide - kind - 36, _BOLD_13), 13, weight=600)
    yield _text(left + wide - 12, top + 19, box.detail, 11, fill=_MUTED, anchor="end")
    yield from _chips(box.steps, left + 12, top + tall - 24, wide - 24)


def _chips(steps: Sequence[Step], left: float, top: float, room: float) -> Iterator[str]:
    """Draw the pieces of a feature, in their order, shortening the longest until they fit."""
    wanted = [width(_chip(step), 11, mono=True) + 14 for step in steps]
    arrows = 10 * (len(steps) - 1)
    while sum(wanted) + arrows > room and max(wanted) > 24:
        wanted[wanted.index(max(wanted))] -= 4
    for number, (step, wide) in enumerate(zip(steps, wanted, strict=True)):
        line, background, ink = _COLOURS[step.route]
        yield (f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="18" rx="9" '
               f'fill="{background}" stroke="{line}" stroke-opacity="0.6"/>')  # fmt: skip
        label = fit(_chip(step), wide - 14, 11, mono=True)
        yield _text(left + wide / 2, top + 12.8, label, 11, fill=ink, mono=True, anchor="middle")
        left += wide + 10
        if number < len(steps) - 1:
            yield _text(left - 5, top + 13, "›", 12, fill=_MUTED, anchor="middle")


def _chip(step: Step) -> str:
    return ", ".join(step.operations) or "as it is"


def _count(number: int, what: str) -> str:
    plural = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{'' if number == 1 else plural}"


def _text(
    x: float, y: float, text: str, size: float, *, weight: int = 400, fill: str = _INK,
    mono: bool = False, anchor: str = "start",
) -> str:  # fmt: skip
    extra = f' font-weight="{weight}"' if weight != 400 else ""
    extra += f' font-family="{_MONO}"' if mono else ""
    extra += f' text-anchor="{anchor}"' if anchor != "start" else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"'
    return f'<text {place} fill="{fill}"{extra}>{escape(text)}</text>'
