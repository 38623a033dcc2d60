"""What a replay hands back: a verdict for each feature, and findings of those that leak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featurekit.analysis.findings import Effect, Finding, Json, Severity, by_severity, plain
from featurekit.analysis.leakage.replay_compare import rate_bound

__all__ = ["KINDS", "FeatureReplay", "Mismatch", "Replay", "StatisticsReplay", "Verdict"]

Verdict = Literal["clean", "leak", "undated", "untested"]

KINDS = ("leak_by_replay", "statistics_by_replay", "untested_by_replay")
"""The kinds of findings, in the order of the damage that they do."""


@dataclass(frozen=True)
class Mismatch:
    """A cell that was different without the future.

    Args:
        keys: The keys of the example.
        at: When its prediction is made, ISO 8601 in UTC; `None` where the spec does not say.
        mode: `delete` or `poison`: what was done to the future.
        with_future: The value as it is computed from all of the data.
        without_future: The value that is computed when what was not known yet is gone or poisoned.
    """

    keys: Mapping[str, Json]
    at: str | None
    mode: str
    with_future: Json
    without_future: Json

    @property
    def text(self) -> str:
        """The mismatch in words."""
        keys = ", ".join(f"{name}={value}" for name, value in self.keys.items())
        of = f" of {keys}" if keys else ""
        when = f" at {self.at}" if self.at else ""
        done = {"delete": "deleted", "poison": "poisoned"}.get(self.mode, self.mode)
        return (
            f"the value{of}{when} is {_shown(self.with_future)}, and "
            f"{_shown(self.without_future)} once what was not known then is {done}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; a number that JSON cannot say becomes `None`."""
        return {
            "keys": plain(self.keys), "at": self.at, "mode": self.mode,
            "with_future": plain(self.with_future), "without_future": plain(self.without_future),
        }  # fmt: skip


@dataclass(frozen=True)
class FeatureReplay:
    """What replay says of one feature.

    Args:
        feature: Its name.
        verdict: `leak` when a cell was different without the future; `untested` when none was and
            something that it reads has no declared availability; `undated` when that is only since
            when a table has its rows, and all that is read of it is declared `available: true`, so
            that there is nothing to withhold; else `clean`.
        cells: So many examples were compared.
        mismatches: In so many of them the cell was different.
        changed: In so many of them something that the feature reads was not known yet, so that the
            comparison was put to the test.
        drawn: So many of the compared examples were drawn evenly over time, and not because a leak
            would show there.
        drawn_mismatches: In so many of those the cell was different.
        first: The first mismatch.
        responsible: The columns whose future values alone make a difference, as `source.column`;
            `source (rows)` where that there is a row makes it.
        reasons: What is declared of each of them, such as "known at actual_dep".
        undeclared: What it reads of which nobody says when it is known, as `source.column`.
        undated: The tables of which nobody says since when their rows are there, and need not.
    """

    feature: str
    verdict: Verdict
    cells: int
    mismatches: int
    changed: int
    drawn: int
    drawn_mismatches: int
    first: Mismatch | None = None
    responsible: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    undated: tuple[str, ...] = ()

    @property
    def bound(self) -> float:
        """The upper 95% Clopper-Pearson bound of the share of examples that leak.

        It is that of the examples drawn evenly over time; 1 where none was compared.
        """
        return rate_bound(self.drawn_mismatches, self.drawn)

    @property
    def finding(self) -> Finding | None:
        """The finding, if there is something to say."""
        if self.verdict == "leak":
            return self._leak()
        if self.verdict in ("clean", "undated"):
            return None
        shown = ", ".join(self.undeclared) or "what it reads"
        message = (
            f"{self.feature!r} is not proven: nobody says when {shown} became known."
            if self.undeclared
            else f"{self.feature!r} could not be compared: no example has a time of prediction."
        )
        return Finding(
            (self.feature,), "untested_by_replay", Severity.NOTE, message,
            evidence={"cells": self.cells, "undeclared": list(self.undeclared)},
            advice="Declare available_at for the source or its columns, or event_time for rows of "
            "the past.",
        )  # fmt: skip

    def _leak(self) -> Finding:
        first = self.first
        assert first is not None
        pairs = zip(self.responsible, self.reasons, strict=True)
        said = [f"{column} ({reason})" if reason else column for column, reason in pairs]
        message = (
            f"{self.feature!r} uses what is not known at prediction time: {first.text}. "
            f"It is different in {self.mismatches:,} of {self.cells:,} examples"
        )
        if said:
            message += f", because of {', '.join(said)}"
        message += "."
        share = self.drawn_mismatches / self.drawn if self.drawn else 0.0
        return Finding(
            (self.feature,), "leak_by_replay", Severity.CRITICAL, message,
            Effect("share of examples that leak", share, None, self.bound),
            {
                "cells": self.cells, "mismatches": self.mismatches, "first": first.to_dict(),
                "responsible": list(self.responsible), "reasons": list(self.reasons),
            },
            _advice(self.responsible),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "feature": self.feature, "verdict": self.verdict, "cells": self.cells,
            "mismatches": self.mismatches, "changed": self.changed, "drawn": self.drawn,
            "drawn_mismatches": self.drawn_mismatches, "bound": self.bound,
            "first": None if self.first is None else self.first.to_dict(),
            "responsible": list(self.responsible), "reasons": list(self.reasons),
            "undeclared": list(self.undeclared), "undated": list(self.undated),
        }  # fmt: skip


def _advice(responsible: tuple[str, ...]) -> str:
    columns = [text for text in responsible if not text.endswith(" (rows)")]
    if columns:
        return (
            f"Leave {', '.join(columns)} out, or use past rows alone: those that were known before "
            "the prediction. If it is known earlier than declared, correct available_at."
        )
    if responsible:
        of = ", ".join(text.removesuffix(" (rows)") for text in responsible)
        return f"Look only at rows of {of} that were there before the prediction."
    return "Use only what was known before the prediction."


@dataclass(frozen=True)
class StatisticsReplay:
    """Whether fitted statistics hold nothing of rows that are not trained on.

    Args:
        verdict: `leak` when one changed; `untested` when there is nothing to poison or to fit.
        statistics: So many were fitted again.
        rows: So many rows outside of the train split were poisoned.
        changed: Those that were not the same to the bit, with the features that use them.
        why: Why it was not tested.
    """

    verdict: Verdict
    statistics: int
    rows: int
    changed: Mapping[str, tuple[str, ...]]
    why: str = ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A finding for each statistic that changed."""
        return tuple(
            Finding(
                features, "statistics_by_replay", Severity.CRITICAL,
                f"{statistic} is another when rows outside of the train split are poisoned.",
                evidence={"statistic": statistic, "rows": self.rows},
                advice="Fit it on the train rows alone.",
            )
            for statistic, features in self.changed.items()
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "verdict": self.verdict, "statistics": self.statistics, "rows": self.rows,
            "changed": {name: list(features) for name, features in self.changed.items()},
            "why": self.why or None,
        }  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Args:
        features: The verdict of each feature, by its name.
        statistics: The verdict of the fitted statistics.
        examples: So many examples were replayed.
        moments: At so many different times of prediction.
        complete: Whether those were all.
        seed: The seed of all that was drawn.
    """

    features: Mapping[str, FeatureReplay]
    statistics: StatisticsReplay
    examples: int
    moments: int
    complete: bool
    seed: int

    @property
    def verdict(self) -> Verdict:
        """`leak` if anything leaks; else `untested` if a feature is; else `clean`."""
        verdicts = {entry.verdict for entry in self.features.values()}
        if "leak" in verdicts or self.statistics.verdict == "leak":
            return "leak"
        return "untested" if "untested" in verdicts else "clean"

    @property
    def leaks(self) -> tuple[str, ...]:
        """The features that leak, in the order of the spec."""
        return tuple(name for name, entry in self.features.items() if entry.verdict == "leak")

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found, the worst first."""
        found = [entry.finding for entry in self.features.values()]
        made = [entry for entry in found if entry is not None]
        return by_severity([*made, *self.statistics.findings], KINDS)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for `--json` and reports."""
        return {
            "verdict": self.verdict, "examples": self.examples, "moments": self.moments,
            "complete": self.complete, "seed": self.seed,
            "features": {name: entry.to_dict() for name, entry in self.features.items()},
            "statistics": self.statistics.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }  # fmt: skip


def _shown(value: Json) -> str:
    if value is None:
        return "missing"
    return f"{value:.7g}" if isinstance(value, float) else repr(value)
