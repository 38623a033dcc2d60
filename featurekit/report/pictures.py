"""Pictures in a report: rows of a name, a drawing, and a value.

Each row's drawing is an inline SVG whose places are shares of its width, so that it fits a phone
and a sheet of paper while texts keep their size; names are texts of the page, which wrap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from featurekit.report.page import name, text

__all__ = ["Bar", "Event", "bars", "time_line"]

SHOWN = 40
"""So many rows of a picture are seen at once; the others unfold."""

_SHAPES = {
    "critical": "M-6 0L0 -6L6 0L0 6Z",
    "warning": "M-6 5L0 -6L6 5Z",
    "note": "M-4 -4H4V4H-4Z",
    "label": "M0 -5L5 0L0 5L-5 0Z",
    "good": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "plain": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
}
"""Severities have shapes, not colours alone."""

_SIDES = {"good": (0, 50), "critical": (50, 50), "label": (50, 50)}
"""Where a value is known that is declared to be known before, or after; anywhere, otherwise."""


@dataclass(frozen=True)
class Bar:
    """A number with its interval.

    Args:
        name: What it is of.
        value: The number.
        low: The lower end; `None` without an interval.
        high: The upper end.
        tone: The colour: a severity, or `plain`.
        shown: The number as text.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    tone: str
    shown: str


@dataclass(frozen=True)
class Event:
    """When a value is known, before (negative) or after the prediction.

    Args:
        name: The value.
        offset: Microseconds after the prediction; `None` where that cannot be said.
        tone: The colour.
        shown: The offset as text.
    """

    name: str
    offset: float | None
    tone: str
    shown: str


def bars(
    rows: Sequence[Bar], ends: tuple[float, float], limits: Sequence[tuple[float, str]]
) -> str:
    """Draw numbers with their intervals.

    Args:
        rows: From the top.
        ends: The two ends of the scale.
        limits: Thresholds to draw, each with its severity.
    """
    start, width = ends[0], ends[1] - ends[0]

    def at(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - start) / width))

    ticks = [(at(start + width * k / 5), f"{start + width * k / 5:.1f}") for k in range(6)]
    lines = [(at(value), tone) for value, tone in limits]

    def draw(row: Bar) -> str:
        low = row.value if row.low is None else row.low
        high = row.value if row.high is None else row.high
        reach = (
            f'<rect class="reach" x="{at(low):.2f}%" y="4" height="10" '
            f'width="{at(high) - at(low):.2f}%"/>'
        )
        stem = f'<line class="stem" x1="0" x2="{at(row.value):.2f}%" y1="9" y2="9"/>'
        return stem + reach + _mark(at(row.value), row.tone)

    drawn = [(row.name, row.tone, draw(row), row.shown) for row in rows]
    return _plot(drawn, ticks, lines)


def time_line(rows: Sequence[Event]) -> str:
    """Draw when values are known; the prediction is the line in the middle of it all.

    An hour and a month fit one scale: places go with the logarithm of the hours.
    """
    known = [_squeezed(row.offset) for row in rows if row.offset is not None]
    reach = max([1.0, *(abs(place) for place in known)]) * 1.1

    def at(offset: float) -> float:
        return 50 + 50 * _squeezed(offset) / reach

    def draw(row: Event) -> str:
        if row.offset is None:
            start, width = _SIDES.get(row.tone, (0, 100))
            return f'<rect class="unknown" x="{start}%" y="3" width="{width}%" height="12"/>'
        stem = f'<line class="stem" x1="50%" x2="{at(row.offset):.2f}%" y1="9" y2="9"/>'
        return stem + _mark(at(row.offset), row.tone)

    drawn = [(row.name, row.tone, draw(row), row.shown) for row in rows]
    ticks = [(0.0, "before"), (50.0, "prediction"), (100.0, "after")]
    return _plot(drawn, ticks, [(50.0, "now")])


def _squeezed(offset: float) -> float:
    return math.copysign(math.log1p(abs(offset) / 3_600e6), offset)


def _mark(place: float, tone: str) -> str:
    return f'<svg x="{place:.2f}%" y="9"><path class="mark" d="{_SHAPES[tone]}"/></svg>'


def _plot(
    rows: Sequence[tuple[str, str, str, str]], ticks: Sequence[tuple[float, str]],
    lines: Sequence[tuple[float, str]],
) -> str:  # fmt: skip
    ground = '<line class="track" x1="0" x2="100%" y1="9" y2="9"/>' + "".join(
        f'<line class="limit {tone}" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="18"/>'
        for place, tone in lines
    )

    def part(some: Sequence[tuple[str, str, str, str]]) -> str:
        return f'<div class="plot">\n{_axis(ticks)}\n{chr(10).join(_rows(some, ground))}\n</div>'

    if len(rows) <= SHOWN:
        return part(rows)
    more = len(rows) - SHOWN
    return (
        f"{part(rows[:SHOWN])}\n<details><summary>{more:,} more</summary>\n"
        f"{part(rows[SHOWN:])}\n</details>"
    )


def _axis(ticks: Sequence[tuple[float, str]]) -> str:
    def anchor(place: float) -> str:
        return "start" if place <= 0 else "end" if place >= 100 else "middle"

    marks = "".join(
        f'<text x="{place:.2f}%" y="12" text-anchor="{anchor(place)}">{text(said)}</text>'
        for place, said in ticks
    )
    return (
        '<div class="row"><span class="name"></span><div class="pad">'
        f'<svg height="16" aria-hidden="true">{marks}</svg></div><span class="value"></span></div>'
    )


def _rows(rows: Sequence[tuple[str, str, str, str]], ground: str) -> Iterator[str]:
    for called, tone, drawing, shown in rows:
        label = text(f"{called}: {shown}")
        yield (
            f'<div class="row {tone}">{name(called)}<div class="pad">'
            f'<svg height="18" role="img" aria-label="{label}">{ground}{drawing}</svg></div>'
            f'<span class="value">{text(shown)}</span></div>'
        )
