"""The kinds of leaks that data show, the worst first, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurekit.analysis.findings import Effect, Finding, Json, Severity
from featurekit.arguments import shown
from featurekit.errors import UsageError

__all__ = ["ADVICE", "CAVEAT", "KINDS", "Thresholds", "found"]

CAVEAT = (
    "A strong legitimate feature looks the same; when each column becomes known settles it: "
    "declare its available_at"
)
"""What is true of everything that is concluded from strength alone."""

ADVICE = {
    "proxy": "Find out when this value is written. If that is after the prediction, or from the "
    "outcome itself, drop it or take its last value before the prediction.",
    "pair": "One of the two is likely written after the outcome, as a balance and its change are. "
    "Find out which, and drop it.",
    "identifier": "Leave identifiers out; where the part of it means something known in advance, "
    "make that a feature of its own.",
    "future_label": "The feature holds what happens after the row's time. Join it as of the time "
    "of the prediction, not by the nearest or the next row.",
    "own_label": "The window ends one row too late. Let it end before the row itself, as an "
    "aggregation of a spec does.",
    "leave_one_out": "Within a category this encoding gives the label away, reversed. Encode out "
    "of fold (cross-fitted) on the training rows.",
    "target_encoding": "Fit the encoding on the training rows alone, out of fold (cross-fitted).",
    "missingness": "Find out which process fills the column. If it runs after the outcome, drop "
    "the column and every indicator made of it.",
    "pure_value": "Find out when this value is written. If it stands for the outcome (a status, a "
    "code, a default for rows that were never finished), drop it.",
    "duplicate_rows": "Remove duplicates before splitting, or split by a hash of what they share.",
    "entity_overlap": "Split by entity (a hash of it), or by time with statistics that stop there.",
    "scaler": "Fit the scaling on the training rows alone, and apply it to all.",
    "imputation": "Fill in from the training rows alone: fit the mean or the median on them.",
    "adversarial_split": "Where the split is by time, features that drift do this, and so it is "
    "expected; where it keeps entities together, so do features that tell entities apart. "
    "Otherwise look at how rows were put into splits, and at features that were computed for each "
    "split apart.",
    "split_shift": "Where the split is by time, features that drift do this. Otherwise look at "
    "how rows were put into splits, and at features that were computed for each split apart.",
}
"""For each kind of finding, what to do; in the order of the damage that they do.

First what hands over the label of every row, then of some, then what only makes held-out rows less
than new.
"""

KINDS = tuple(ADVICE)


@dataclass(frozen=True)
class Thresholds:
    """From where on the scan speaks up.

    Args:
        warning: The area under the ROC curve of a feature (or 1 minus it), and the R2 for a
            quantity, from which it is a warning. An R2 of .90 is a correlation of .95.
        critical: The same for critical.
        false_alarms: The chance that pure noise raises any warning by strength, and any by a pure
            value, over the whole scan: each test is held to it divided by the number of tests
            (Bonferroni).
        value_rows: A value is judged from so many rows on.
        value_share: And from such a share of all rows on; 0 leaves it to chance alone, as
            `false_alarms` limits it, how small a value may be.
        purity: The share of its rows that must be of one class.
        lift: So much more often than in all rows; or, of a class that is frequent anyway, where 50
            rows of other classes or more were to be expected and next to none is there.
        duplicates: The share of held-out rows that repeat training rows, from which it is a
            warning; below, a note.
        pairs: So many of the strongest features are tried in pairs.
        shift: The area of telling held-out rows from training rows by all features, from which it
            is a warning where the split is known to be by chance; else it is a note.
    """

    warning: float = 0.90
    critical: float = 0.98
    false_alarms: float = 0.05
    value_rows: int = 20
    value_share: float = 0.0
    purity: float = 0.995
    lift: float = 0.25
    duplicates: float = 0.005
    pairs: int = 50
    shift: float = 0.75

    def __post_init__(self) -> None:
        """Refuse what is no number, or none in its range.

        Raises:
            UsageError: Names it.
        """
        for name, value in vars(self).items():
            counts = name in ("value_rows", "pairs")
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if counts and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise UsageError(f"{name} is a whole number from 0, got {shown(value)}")
            if not counts and not (number and 0 <= value <= 1):
                raise UsageError(f"{name} is a number from 0 to 1, got {shown(value)}")

    def severity(self, strength: float) -> Severity | None:
        """Return how much such a strength weighs, or `None`.

        Args:
            strength: An area of at least 1/2, or an R2.
        """
        if strength >= self.critical:
            return Severity.CRITICAL
        return Severity.WARNING if strength >= self.warning else None


def found(
    kind: str,
    severity: Severity,
    features: tuple[str, ...],
    message: str,
    effect: Effect | None = None,
    **evidence: Json,
) -> Finding:
    """Return a finding with the advice of its kind."""
    held: Mapping[str, Json] = evidence
    return Finding(features, kind, severity, message, effect, held, ADVICE[kind])
