"""Small marks of effects in a line of text, drawn without a script."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["Track", "verdict_key"]

_SHAPES = {
    "matters": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "negligible": "M-3.5 -3.5H3.5V3.5H-3.5Z",
    "harmful": "M-4.5 -4L0 5L4.5 -4Z",
    "undecided": "M-4.5 4L0 -5L4.5 4Z",
}


def verdict_key(verdicts: Collection[str]) -> str:
    """Return what the marks of some verdicts look like, as HTML."""
    return "".join(
        f'<li class="{verdict}"><svg width="14" height="14" viewBox="-7 -7 14 14">'
        f'<path class="mark" d="{shape}"/></svg>{verdict}</li>'
        for verdict, shape in _SHAPES.items()
        if verdict in verdicts
    )


class Track:
    """Where effects stand, as shares of a width.

    Places are linear within the margin and logarithmic far beyond it, as in the charts.

    Args:
        ends: Everything that has to fit.
        margin: What is negligible, to both sides of 0.
    """

    def __init__(self, ends: Sequence[float], margin: float) -> None:
        self.margin = margin
        places = [self._stretched(end) for end in (*ends, 1.2 * margin, -1.2 * margin)]
        self.start, self.width = min(places), (max(places) - min(places)) or 1.0

    def _stretched(self, value: float) -> float:
        if self.margin <= 0:
            return value
        return math.copysign(math.log1p(abs(value) / self.margin), value)

    def at(self, value: float) -> float:
        """Return the place of an effect, in percent."""
        share = (self._stretched(value) - self.start) / self.width
        return 2 + 96 * min(1.0, max(0.0, share))

    def draw(self, one: Mapping[str, Any], verdict: str) -> str:
        """Return the margin, the zero, and an effect with its interval as SVG, 16 pixels high."""
        left, right, zero = self.at(-self.margin), self.at(self.margin), self.at(0.0)
        middle = self.at(one["effect"])
        low = middle if one["low"] is None else self.at(one["low"])
        high = middle if one["high"] is None else self.at(one["high"])
        return (
            f'<rect class="band" x="{left:.1f}%" width="{right - left:.1f}%" height="16"/>'
            f'<line class="track" x1="{zero:.1f}%" x2="{zero:.1f}%" y2="16"/>'
            f'<line class="stem" x1="{low:.1f}%" x2="{high:.1f}%" y1="8" y2="8"/>'
            f'<svg x="{middle:.1f}%" y="8"><path class="mark" d="{_SHAPES[verdict]}"/></svg>'
        )
