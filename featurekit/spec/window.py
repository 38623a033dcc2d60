"""Windows: how far back from the time of prediction an aggregation looks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from featurekit.types import parse_duration

__all__ = ["LIFETIME", "Window"]

LIFETIME = "lifetime"
"""The window that never began."""

_MOST = 2**63


@dataclass(frozen=True)
class Window:
    """The rows that took effect from `start` before the prediction on, and until `end` before it.

    With prediction time t these are the rows with `t - start <= effect < t - end`.

    Args:
        start: In microseconds; `None` for all rows from the first.
        end: In microseconds; 0 for a window that reaches up to the prediction.

    Example:
        >>> Window.parse("7d").end
        0
        >>> Window.parse("14d..7d").name  # the week before the last
        '14d_to_7d'
    """

    start: int | None
    end: int = 0
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `7d`, `14d..7d`, `lifetime` or `lifetime..7d`.

        Raises:
            ValueError: It is none of these, or the window holds no time.
        """
        far, dots, near = text.partition("..")
        start = None if far == LIFETIME else _micros(far, text)
        end = _micros(near, text) if dots else 0
        if dots and end == 0:
            raise ValueError(f"the window {text!r} ends at the prediction: write {far!r}")
        if start is not None and start <= end:
            raise ValueError(
                f"a window begins before it ends and is longer than nothing, got {text!r}"
            )
        return cls(start, end, text)

    @property
    def name(self) -> str:
        """What the window adds to the name of an output."""
        return self.text.replace("..", "_to_")


def _micros(part: str, text: str) -> int:
    if not re.fullmatch(r"\d+[a-z]+", part):
        raise ValueError(
            f"{text!r} is not a window; write a duration such as '7d', 'lifetime', or for the week "
            "before the last '14d..7d'"
        )
    micros = parse_duration(part)
    if micros >= _MOST:
        raise ValueError(f"the window {text!r} does not fit in 64 bits")
    return micros
