"""Draws when what features use becomes known, on a line on which predictions are made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from featurekit.picture.text import escape, fit
from featurekit.types import duration_text
from featurekit.uses import Proof, Use
from featurekit.verdict import Verdicts

__all__ = ["draw_timeline"]

_SANS = "Inter, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
_COLOURS = {Proof.CONSISTENT: "#059669", Proof.UNPROVEN: "#d97706", Proof.LEAK: "#dc2626"}
_WORDS = {
    Proof.CONSISTENT: "known by then, as declared",
    Proof.UNPROVEN: "nothing proves it",
    Proof.LEAK: "not known by then",
}
_LABEL = "#7c3aed"
"""A label of other rows is neither known by then nor a leak: it is cross-fitted."""
_INK, _MUTED, _GRID = "#0f172a", "#64748b", "#cbd5e1"
_NAMES, _WIDE, _RIGHT, _ROW, _TOP = 230.0, 520.0, 340.0, 26.0, 112.0
_TICKS = tuple(
    step * 1_000_000 for step in (60, 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
)


@dataclass(frozen=True)
class _Row:
    """One thing that is used, or several outputs over the same rows, and by how many features."""

    use: Use
    name: str
    features: int

    @property
    def label(self) -> bool:
        """Whether it is the label of other rows, which is known later."""
        return self.use.kind == "cross_fitted"


def draw_timeline(verdicts: Verdicts) -> str:
    """Return a picture of when columns and outputs become known: SVG that stands for itself.

    What is known at a time that can be compared with the prediction stands at its distance, on a
    scale that is logarithmic to both sides; of the rest the picture says that nobody can tell. What
    is not consistent with the declarations comes first.

    Args:
        verdicts: What a spec shows of its features.
    """
    rows = _rows(verdicts)
    reach = max((abs(row.use.ahead or 0) for row in rows), default=0) or 3_600_000_000
    late = any((row.use.ahead or 0) < 0 or row.label for row in rows)
    middle = _NAMES + (_WIDE / 2 if late else _WIDE - 40)
    scale = (middle - _NAMES - 10) / _place(reach)
    across, bottom = _NAMES + _WIDE + _RIGHT, _TOP + _ROW * len(rows) + 20
    used = next((row.use.used_at for row in rows if row.use.used_at), None)
    size = f'width="{across:.0f}" height="{bottom:.0f}"'
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {across:.0f} {bottom:.0f}"',
        f'role="img" font-family="{_SANS}" font-size="12">',
        "<title>When what features use becomes known</title>",
        f'<rect {size} fill="#ffffff"/>',
        _text(24, 32, "When what features use becomes known", size=16, weight=600),
        _text(24, 54, f"{verdicts.summary()} of {len(verdicts.features):,} features", fill=_MUTED),
        *_axis(middle, scale, reach, late, bottom, used),
    ]
    for number, row in enumerate(rows):
        body += _drawn(row, _TOP + _ROW * number + 18, middle, scale)
    return "\n".join([*body, "</svg>"]) + "\n"


def _rows(verdicts: Verdicts) -> list[_Row]:
    found: dict[tuple[str, ...], list[Use]] = {}
    for verdict in verdicts.features.values():
        for use in verdict.uses:
            # Outputs of one aggregation or lookup become known alike.
            what = use.column.partition(".")[0] if use.entity or use.ahead is None else use.column
            key = use.source, what, use.kind, use.known_at or "", str(use.proof)
            found.setdefault(key, []).append(use)
    order = (Proof.LEAK, Proof.UNPROVEN, Proof.CONSISTENT)
    rows = []
    for (_, what, *_), uses in found.items():
        columns = {use.column for use in uses}
        name = uses[0].column if len(columns) == 1 else f"{what}, {len(columns)} outputs"
        rows.append(_Row(uses[0], name, len({use.feature for use in uses})))
    return sorted(
        rows, key=lambda row: (order.index(row.use.proof), not row.label, row.use.ahead or 0)
    )


def _place(micros: float) -> float:
    """Return how far from the prediction a time lies: logarithmic from a minute on."""
    return math.copysign(math.log10(1 + abs(micros) / 60_000_000), micros)


def _axis(
    middle: float, scale: float, reach: int, late: bool, bottom: float, used: str | None
) -> Iterator[str]:
    end = bottom - 12
    yield _line(middle, _TOP - 24, f"V{end:.1f}", _INK, 1.5)
    label = "prediction" if used is None else f"prediction, {used}"
    yield _text(middle, _TOP - 30, label, anchor="middle", weight=600)
    for tick in (tick for tick in _TICKS if tick <= reach):
        for side in (-1, 1) if late else (-1,):
            x = middle + side * _place(tick) * scale
            yield _line(x, _TOP, f"V{end:.1f}", _GRID, 1, "2 3")
            yield _text(x, _TOP - 10, duration_text(tick), anchor="middle", fill=_MUTED, size=10)


def _drawn(row: _Row, y: float, middle: float, scale: float) -> Iterator[str]:
    use, colour = row.use, _LABEL if row.label else _COLOURS[row.use.proof]
    yield _text(24, y + 4, fit(row.name, 200, 12))
    users = "1 feature" if row.features == 1 else f"{row.features:,} features"
    said = _WORDS[use.proof]
    if use.ahead is not None:
        x = middle - _place(use.ahead) * scale
        yield _line(x, y, f"H{middle:.1f}", colour, 3)
        yield _dot(x, y, colour, colour)
        if use.ahead:
            said = f"{duration_text(abs(use.ahead))} {'before' if use.ahead > 0 else 'after'}"
    elif row.label:
        yield _line(middle + 6, y, f"H{_NAMES + _WIDE - 10:.1f}", colour, 3, "7 4")
        said = f"known at {use.known_at}" if use.known_at else "known later"
    elif use.kind == "past_rows":
        yield _line(_NAMES + 10, y, f"H{middle - 6:.1f}", colour, 3, "7 4")
        said = "past rows, each once it is known"
    else:
        yield _dot(middle - 6, y, colour if use.proof is Proof.CONSISTENT else "#ffffff", colour)
    if row.label:
        said = f"label, cross-fitted; {said}"
    words = _text(_NAMES + _WIDE + 16, y + 4, f"{said}; {users}", fill=_MUTED)
    yield f"<g><title>{escape(use.reason)}</title>{words}</g>"


def _line(x: float, y: float, to: str, colour: str, wide: float, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path stroke="{colour}" stroke-width="{wide:g}"{dashed} d="M{x:.1f} {y:.1f}{to}"/>'


def _dot(x: float, y: float, fill: str, colour: str) -> str:
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="5"'
    return f'<circle {place} fill="{fill}" stroke="{colour}" stroke-width="2"/>'


def _text(
    x: float, y: float, text: str, *, size: int = 12, weight: int = 400, fill: str = _INK,
    anchor: str = "start",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
