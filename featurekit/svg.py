"""Draws a plan: lanes of boxes from left to right, joined by curves.

The features keep their order. Every other lane is ordered by what its boxes feed and placed as
near to it as the boxes' heights allow. An arrow that skips a lane crosses it on a track of its
own, so that it never runs into a box that it has nothing to do with. Many features are drawn in
bands below each other; what feeds several bands is drawn in each.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from featurekit.picture import Box, Flow
from featurekit.plan import Plan, Route, Step

__all__ = ["draw"]

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
_MANY = 40
"""So many features stand in a band; with more boxes in a lane, a box is one line high."""

_BOLD_12, _BOLD_13 = 12 * 1.08, 13 * 1.08
_MARGIN = 32.0
_TRACK = 5.0


@dataclass(eq=False)
class _Place:
    """A box, or the track of an arrow (no box), with its place."""

    box: Box
    track: bool
    height: float
    y: float = 0.0
    """The middle."""
    after: list[_Place] = field(default_factory=list)
    """What it leads to in the next lane."""


def draw(plan: Plan, flow: Flow) -> str:
    """Return the picture as the text of an SVG file.

    Args:
        plan: The plan, for its title.
        flow: Its boxes and arrows.
    """
    compact = max(map(len, flow.lanes)) > _MANY
    last = len(flow.lanes) - 1
    widths = [_lane_width(lane, number, compact, last) for number, lane in enumerate(flow.lanes)]
    gap = 130.0 if compact else 110.0
    lefts = [_MARGIN + sum(widths[:number]) + gap * number for number in range(last + 1)]
    routes = _routes(flow)
    width = max(lefts[-1] + widths[-1] + _MARGIN, _legend_width(routes))
    body: list[str] = []
    bottom = 98.0
    bands = list(_bands(flow))
    for number, band in enumerate(bands):
        if number:
            body.append(
                f'<path stroke="#e2e8f0" d="M{_MARGIN:g} {bottom:.1f}H{width - _MARGIN:.1f}"/>'
            )
            bottom += 10
        body.extend(_text(left, bottom + 20, heading, 13, weight=600, fill=_MUTED)
                    for left, heading in zip(lefts, flow.headings, strict=True))  # fmt: skip
        lanes = _lay_out(band, compact, bottom + 36)
        body.append(
            f'<g fill="none" stroke-opacity="0.65" stroke-width="{1.2 if compact else 1.6}">'
        )
        body.extend([*_arrows(lanes, lefts, widths), "</g>"])
        for lane, left, wide in zip(lanes, lefts, widths, strict=True):
            for place in lane:
                if not place.track:
                    body.extend(_draw_box(place, left, wide, compact))
        bottom = max(place.y + place.height / 2 for lane in lanes for place in lane) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {bottom:.0f}" '
        f'width="{width:.0f}" height="{bottom:.0f}" role="img" font-family="{_SANS}">',
        f"<title>{_escape(f'Plan of {plan.resolved.spec.name}')}</title>",
        f'<rect width="{width:.0f}" height="{bottom:.0f}" fill="#ffffff"/>',
        *_head(plan, flow, routes, width),
    ]
    return "\n".join([*parts, *body, "</svg>"]) + "\n"


def _bands(flow: Flow) -> Iterator[Flow]:
    """Divide many features into bands, each with what feeds it, so that arrows stay short."""
    features = flow.lanes[-1]
    number = max(1, math.ceil(len(features) / _MANY))
    feeds: dict[Box, list[Box]] = {}
    for source, target in flow.arrows:
        feeds.setdefault(target, []).append(source)
    for part in range(number):
        chosen = features[part * len(features) // number : (part + 1) * len(features) // number]
        kept = set(chosen)  # asked only, never gone through: its order differs from run to run
        stack = list(chosen)
        while stack:
            for source in feeds.get(stack.pop(), ()):
                if source not in kept:
                    kept.add(source)
                    stack.append(source)
        lanes = tuple(tuple(box for box in lane if box in kept) for lane in flow.lanes)
        yield Flow(lanes, tuple(arrow for arrow in flow.arrows if arrow[1] in kept))


def _routes(flow: Flow) -> list[Route]:
    used = {box.route for lane in flow.lanes[:-1] for box in lane}
    used |= {step.route for box in flow.lanes[-1] for step in box.steps}
    return [route for route in _LEGEND if route in used]


def _lay_out(flow: Flow, compact: bool, top: float) -> list[list[_Place]]:
    """Place the boxes and tracks of every lane, the last lane first."""
    tall = [26.0, *[26.0 if compact else 44.0] * (len(flow.lanes) - 2), 26.0 if compact else 52.0]
    lanes = [
        [_Place(box, False, height) for box in lane]
        for lane, height in zip(flow.lanes, tall, strict=True)
    ]
    at = {place.box: (number, place) for number, lane in enumerate(lanes) for place in lane}
    tracks: dict[tuple[Box, int], _Place] = {}
    for source, target in flow.arrows:
        start, place = at[source]
        end, goal = at[target]
        for number in range(start + 1, end):
            track = tracks.get((source, number))
            if track is None:
                track = tracks[source, number] = _Place(source, True, _TRACK)
                lanes[number].append(track)
                place.after.append(track)
            place = track
        place.after.append(goal)
    gap = 6.0 if compact else 14.0
    least = [sum(place.height + gap for place in lane) for lane in lanes]
    spread = gap + max(0.0, (max(least) - least[-1]) / max(1, len(lanes[-1])))
    _stack(lanes[-1], spread)
    for lane in reversed(lanes[:-1]):
        for place in lane:
            place.y = sum(goal.y for goal in place.after) / max(1, len(place.after))
        lane.sort(key=lambda place: place.y)
        _separate(lane, gap)
    highest = min(place.y - place.height / 2 for lane in lanes for place in lane)
    for lane in lanes:
        for place in lane:
            place.y += top - highest
    return lanes


def _stack(lane: list[_Place], gap: float) -> None:
    y = 0.0
    for place in lane:
        place.y = y + place.height / 2
        y += place.height + gap


def _separate(lane: list[_Place], gap: float) -> None:
    """Move places apart as little as possible, in squares, keeping their order.

    With the heights above each place subtracted this is isotonic regression, which pooling
    adjacent violators solves (Ayer et al. 1955).
    """
    offset, blocks = 0.0, []
    offsets = []
    for before, place in zip([None, *lane], lane, strict=False):
        if before is not None:
            offset += (before.height + place.height) / 2 + min(gap, before.height, place.height)
        offsets.append(offset)
        blocks.append([place.y - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            above, more = blocks[-1]
            blocks[-1] = [(mean * count + above * more) / (count + more), count + more]
    starts = [mean for mean, count in blocks for _ in range(int(count))]
    for place, start, below in zip(lane, starts, offsets, strict=True):
        place.y = start + below


def _arrows(
    lanes: list[list[_Place]], lefts: Sequence[float], widths: Sequence[float]
) -> Iterator[str]:
    for number, lane in enumerate(lanes[:-1]):
        start, end = lefts[number] + widths[number], lefts[number + 1]
        bend = (end - start) * 0.5
        for place in lane:
            colour = _COLOURS[place.box.route][0]
            path = [f"M{lefts[number]:.1f} {place.y:.1f}H{start:.1f}"] if place.track else []
            for goal in place.after:
                path.append(f"M{start:.1f} {place.y:.1f}C{start + bend:.1f} {place.y:.1f} "
                            f"{end - bend:.1f} {goal.y:.1f} {end:.1f} {goal.y:.1f}")  # fmt: skip
            if path:
                yield f'<path stroke="{colour}" d="{"".join(path)}"/>'


def _head(plan: Plan, flow: Flow, routes: Sequence[Route], width: float) -> Iterator[str]:
    passes = len(plan.levels)
    facts = [_count(len(flow.lanes[-1]), "feature"), _count(len(flow.lanes[0]), "input")]
    if plan.statistics:
        facts.append(f"{_count(len(plan.statistics), 'statistic')} in {_count(passes, 'pass')}")
    facts.append(f"{plan.engine} engine, {'with' if plan.saved_model else 'without'} a SavedModel")
    yield _text(_MARGIN, 42, _fit(plan.resolved.spec.name, width - 2 * _MARGIN, 20), 20, weight=700)
    yield _text(_MARGIN, 64, "  ·  ".join(facts), 13, fill=_MUTED)
    spans = (
        f'<tspan fill="{_COLOURS[route][0]}" dx="{18 if number else 0}">●</tspan><tspan dx="6">{_escape(_LEGEND[route])}</tspan>'
        for number, route in enumerate(routes)
    )
    yield f'<text x="{_MARGIN:g}" y="89" font-size="12" fill="#334155">{"".join(spans)}</text>'


def _legend_width(routes: Sequence[Route]) -> float:
    return 2 * _MARGIN + sum(36 + _width(_LEGEND[route], 12) for route in routes)


def _lane_width(lane: Sequence[Box], number: int, compact: bool, last: int) -> float:
    if number == 0:
        wanted = [_width(box.title, _BOLD_12) + _width(box.detail, 11) + 40 for box in lane]
        return _within(wanted, 130, 260)
    if number < last:
        titles = [_width(box.title, _BOLD_12) for box in lane]
        details = [_width(box.detail, 11, mono=True) for box in lane]
        wanted = [
            a + b + 40 if compact else max(a, b) + 24 for a, b in zip(titles, details, strict=True)
        ]
        return _within(wanted, 190, 440 if compact else 300)
    wanted = []
    for box in lane:
        name = _width(box.title, _BOLD_13) + _width(box.detail, 11) + 40
        chips = sum(_width(_chip(step), 11, mono=True) + 24 for step in box.steps)
        wanted.append(name + chips + 20 if compact else max(name, chips + 16))
    return _within(wanted, 240, 640 if compact else 440)


def _within(wanted: Sequence[float], least: float, most: float) -> float:
    return min(most, max(least, *wanted)) if wanted else least


def _draw_box(place: _Place, left: float, wide: float, compact: bool) -> Iterator[str]:
    box, top, tall = place.box, place.y - place.height / 2, place.height
    line, background, ink = _COLOURS[box.route]
    hint = "\n".join(
        [
            box.title,
            box.detail,
            *(f"{step.route.value}: {_chip(step)}: {step.reason}" for step in box.steps),
        ]
    )
    yield f"<g><title>{_escape(hint)}</title>"
    feature = bool(box.steps)
    fill, stroke = ("#ffffff", "#cbd5e1") if feature else (background, line)
    yield (f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="6" '
           f'fill="{fill}" stroke="{stroke}"/>')  # fmt: skip
    if feature:
        yield from _draw_feature(box, left, top, wide, tall, compact)
    elif box.route is Route.BEAM and not compact:
        yield _text(
            left + 12, top + 18, _fit(box.title, wide - 24, _BOLD_12), 12, weight=600, fill=ink
        )
        yield _text(
            left + 12,
            top + 34,
            _fit(box.detail, wide - 24, 11, mono=True),
            11,
            fill="#9a3412",
            mono=True,
        )
    else:
        mono = box.route is Route.BEAM
        detail = _fit(
            box.detail, max(wide - 40 - _width(box.title, _BOLD_12), wide * 0.4), 11, mono=mono
        )
        title = _fit(box.title, wide - 34 - _width(detail, 11, mono=mono), _BOLD_12)
        yield _text(left + 12, place.y + 4.3, title, 12, weight=600, fill=ink)
        yield _text(left + wide - 12, place.y + 4.3, detail, 11, fill="#9a3412" if mono else _MUTED,
                    mono=mono, anchor="end")  # fmt: skip
    yield "</g>"


def _draw_feature(
    box: Box, left: float, top: float, wide: float, tall: float, compact: bool
) -> Iterator[str]:
    kind = _width(box.detail, 11)
    if compact:
        name = _fit(box.title, wide * 0.45, _BOLD_12)
        yield _text(left + 12, top + 17.3, name, 12, weight=600)
        taken = 12 + _width(name, _BOLD_12) + 12
        yield from _chips(box.steps, left + taken, top + 4.0, wide - taken - kind - 20)
        yield _text(left + wide - 12, top + 17.3, box.detail, 11, fill=_MUTED, anchor="end")
        return
    yield _text(left + 12, top + 19, _fit(box.title, wide - kind - 36, _BOLD_13), 13, weight=600)
    yield _text(left + wide - 12, top + 19, box.detail, 11, fill=_MUTED, anchor="end")
    yield from _chips(box.steps, left + 12, top + tall - 24, wide - 24)


def _chips(steps: Sequence[Step], left: float, top: float, room: float) -> Iterator[str]:
    """Draw the pieces of a feature, in their order, shortening the longest until they fit."""
    wanted = [_width(_chip(step), 11, mono=True) + 14 for step in steps]
    arrows = 10 * (len(steps) - 1)
    while sum(wanted) + arrows > room and max(wanted) > 24:
        wanted[wanted.index(max(wanted))] -= 4
    for number, (step, wide) in enumerate(zip(steps, wanted, strict=True)):
        line, background, ink = _COLOURS[step.route]
        yield (f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="18" rx="9" '
               f'fill="{background}" stroke="{line}" stroke-opacity="0.6"/>')  # fmt: skip
        label = _fit(_chip(step), wide - 14, 11, mono=True)
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
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}"{extra}>{_escape(text)}</text>'


_UNSAFE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What XML does not allow, and what turns the direction of the text around it."""


def _escape(text: str) -> str:
    return html.escape(_UNSAFE.sub("\ufffd", text))


def _fit(text: str, room: float, size: float, mono: bool = False) -> str:
    """Shorten a text until it fits."""
    if _width(text, size, mono) <= room + 0.1:
        return text
    while text and _width(f"{text}…", size, mono) > room:
        text = text[:-1]
    return f"{text}…"


def _width(text: str, size: float, mono: bool = False) -> float:
    """Estimate the width of a text, rather too wide: fonts differ, and none is measured here."""
    return size * sum(_advance(letter, mono) for letter in text)


def _advance(letter: str, mono: bool) -> float:
    if not letter.isascii():
        return 1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.65
    if mono:
        return 0.61
    if letter in "ijl.,:;|'! ()[]":
        return 0.38
    return 0.92 if letter in "mwMW@%" else 0.66 if letter.isupper() else 0.61
