"""What threatens features because of when labels are known, and when past rows take effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.availability import Moment, moment
from featurekit.graph import AggregateNode, topological
from featurekit.leaks import Leaks
from featurekit.resolved import Resolved
from featurekit.spec.expression import Name
from featurekit.summary import listed
from featurekit.types import duration_text, parse_duration

__all__ = ["Threat", "effects_at_predictions", "late_labels"]

NOTABLE = 0.25
"""From this share of the examples on it is told that past rows take effect at predictions.

Where rows of one key are minutes apart, one that is left out is one of many, and some fall on any
minute by chance: then it is told if nearly all examples have such a row.
"""
NEARLY_ALL = 0.9
_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Threat:
    """Something that the spec as a whole lets happen, and that no single use shows.

    Args:
        kind: What it is.
        features: The features that it touches.
        message: The same in a sentence.
        advice: What to do about it.
        severity: `critical` where results cannot be believed, else `warning`.
    """

    kind: str
    features: tuple[str, ...]
    message: str
    advice: str
    severity: str = "warning"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**vars(self), "features": list(self.features)}


def late_labels(
    resolved: Resolved, by: str, embargo: str | None, features: tuple[str, ...]
) -> Iterator[Threat]:
    """Yield a threat if an embargo is missing, or too short for when labels are known.

    A row before a border of the split may lie a moment before it, and the first prediction behind
    it is made for a row of the border itself: so the embargo must be as long as the label takes
    after that prediction. Where the times are over different columns, the data tells how long.

    Args:
        resolved: The spec.
        by: The column of the split.
        embargo: Its embargo.
        features: The features that see labels.
    """
    spec = resolved.spec
    columns = spec.sources[spec.examples.source].columns
    if resolved.label is None:
        return
    start = moment(Name(by), columns)
    predict_at = spec.examples.predict_at
    predicted = start if predict_at is None else moment(predict_at, columns)
    known = [moment(time, columns) for time in Leaks(spec, resolved.types).label_known_at()]
    gap = parse_duration(embargo) if embargo is not None else 0
    short = f", and the embargo is {embargo}" if embargo is not None else ""
    unknown = (
        "so labels of the last rows to train on are not known yet when evaluation begins."
    )  # fmt: skip
    apart = [at for at in known if at.base != start.base]
    needed = 0
    if predicted.base == start.base:
        lags = [at.offset - predicted.offset for at in known if at.base == start.base]
        needed = max(lags, default=0)
    observed = resolved.observed.late_labels
    longest = max([needed, *(each.embargo for each in observed)])
    advice = (
        f"Declare embargo: {duration_text(longest)} in the split: so long before eval_from and "
        "test_from, rows are left out."
    )
    if needed > gap:
        late = [at for at in known if at.base == start.base and at.offset - predicted.offset > gap]
        yield Threat(
            "missing_embargo",
            features,
            f"The label is known at {_joined(late)}, evaluation begins with the prediction at "
            f"{predicted}{short}, {unknown}",
            advice,
        )
    elif observed:
        found = max(observed, key=lambda each: each.embargo)
        yield Threat(
            "missing_embargo",
            features,
            f"The label is known at {_joined(known)}: in the data that is after the first "
            f"prediction from {found.border} on ({found.begins:%Y-%m-%d %H:%M}) for "
            f"{found.late:,} of {found.rows:,} rows before it{short}, {unknown}",
            advice,
        )
    elif apart and not gap and not resolved.observed.asked_labels:
        yield Threat(
            "missing_embargo",
            features,
            f"The label is known at {_joined(apart)}, {unknown}",
            "Declare embargo in the split: so long before eval_from and test_from, rows are left "
            "out.",
        )


def _joined(times: Sequence[Moment]) -> str:
    return " and ".join(sorted(map(str, set(times))))


def effects_at_predictions(resolved: Resolved) -> Iterator[Threat]:
    """Yield where past rows take effect exactly at predictions, and so do not count."""
    for found in resolved.observed.coincidences:
        if found.rows < (NOTABLE if found.apart >= _HOUR else NEARLY_ALL) * found.examples:
            continue
        outputs = {node.text for node in resolved.aggregates} & set(found.outputs)
        features = tuple(
            name for name, root in resolved.features.items()
            if any(isinstance(node, AggregateNode) and node.text in outputs
                   for node in topological([root]))
        )  # fmt: skip
        source, times = found.source, found.effect
        latest = "the latest of " if len(times) > 1 else ""
        if found.event_time:
            advice = (
                "If they are known just before it, make a time that is: a column of "
                f"{source!r} with expr: {times[0]} - 1us, and event_time: that column."
            )
        else:
            own = resolved.spec.sources[source].event_time
            shifted = " and ".join(f"available_at: {time} - 1us" for time in times if time != own)
            advice = f"If they are known just before it, write {shifted} in {source!r}."
        yield Threat(
            "effect_at_prediction", features,
            f"Rows of {source!r} take effect at {latest}{' and '.join(times)}, which is exactly "
            f"when the prediction is made in {found.rows:,} of {found.examples:,} examples that "
            "were looked at. A row that takes effect at the prediction itself does not count, so "
            f"the newest one is left out of {listed(sorted(outputs))}.",
            advice,
        )  # fmt: skip
