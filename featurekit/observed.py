"""What the data shows of times that a spec alone cannot tell: facts, and no verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Coincidence", "LateLabels", "Observed"]


@dataclass(frozen=True)
class LateLabels:
    """Rows before a border of the split whose label is known only after the rows behind it begin.

    Args:
        border: `eval_from` or `test_from`.
        rows: How many rows with a known label there are before the border and its embargo.
        late: How many of them are known too late.
        begins: The first prediction of the rows behind the border.
        embargo: The shortest embargo that leaves none of them, in microseconds.
    """

    border: str
    rows: int
    late: int
    begins: datetime
    embargo: int


@dataclass(frozen=True)
class Coincidence:
    """Past rows that take effect exactly when predictions are made, and so do not count.

    Args:
        outputs: The outputs of aggregations and lookups that they are left out of.
        source: The source of the rows.
        effect: The times the latest of which is when a row takes effect.
        event_time: Whether that is when its event happened, and nothing else.
        rows: How many of the examples that were looked at have such a row.
        examples: How many examples were looked at.
        apart: How far apart rows of one key usually take effect, the median in microseconds; 0
            where no key has two.
    """

    outputs: tuple[str, ...]
    source: str
    effect: tuple[str, ...]
    event_time: bool
    rows: int
    examples: int
    apart: int = 0


@dataclass(frozen=True)
class Observed:
    """All of it; empty where nothing was asked, or the data could not be.

    Args:
        late_labels: By border of the split.
        asked_labels: Whether the data was asked when labels are known.
        coincidences: By source, key and effect.
    """

    late_labels: tuple[LateLabels, ...] = ()
    asked_labels: bool = False
    coincidences: tuple[Coincidence, ...] = ()
