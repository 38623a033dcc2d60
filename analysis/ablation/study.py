"""An ablation from a run or a table to its conclusions."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from featurekit.analysis.ablation.course import Course, Settings
from featurekit.analysis.ablation.outcome import outcome_of
from featurekit.analysis.findings import Finding
from featurekit.analysis.subject import open_subject
from featurekit.job import Progress
from featurekit.scratch import scratch_folder
from featurekit.spec.objects import Spec

__all__ = ["Settings", "run_study"]


def run_study(
    of: Any, settings: Settings, progress: Callable[[Progress], None] | None
) -> tuple[tuple[Finding, ...], dict[str, Any], Spec | None, tuple[str, ...]]:
    """Carry out an ablation.

    Args:
        of: What `featurekit.ablate` takes.
        settings: What was asked for.
        progress: Told when a stage begins.

    Returns:
        The findings; all that a report shows, as plain data; the spec, if there is one;
        and the columns of its examples' source.

    Raises:
        FeatureKitError: See `featurekit.ablate`.
    """
    ends = math.inf if settings.budget is None else clock.monotonic() + settings.budget
    stages = _Stages(len(settings.tiers) + 2, progress)
    roles = dict(settings.roles)
    opened = open_subject(
        of, label=roles["label"], split=roles["split"], entity=roles["entity"], time=roles["time"],
        exclude=settings.exclude, progress=stages.before,
    )  # fmt: skip
    with opened as subject, scratch_folder() as folder:
        stages.begin(f"reading {subject.name}")
        store = settings.trials or folder / "trials"
        course = Course.of(subject, settings, stages.tell, store, ends)
        for tier in settings.tiers:
            stages.begin(f"{_STAGES[tier]} of {len(course.examples.features):,} features")
            getattr(course, tier)()
        stages.begin("checking a smaller set of features")
        found, data = outcome_of(course)
        columns = () if subject.run is None else tuple(subject.run.manifest["columns"])
        return found, data, subject.spec, columns


_STAGES = {
    "linear": "linear surrogate",
    "permutation": "shuffling",
    "retrain": "retraining without each",
}


class _Stages:
    """Tells which stage an ablation has come to."""

    def __init__(self, count: int, progress: Callable[[Progress], None] | None) -> None:
        self._count, self._done, self._progress = count, -1, progress
        self._earlier = 0
        self._text = ""

    def before(self, stage: Progress) -> None:
        """Pass on the stages of a run that comes first."""
        self._earlier = stage.stages
        if self._progress is not None:
            self._progress(replace(stage, stages=stage.stages + self._count))

    def begin(self, text: str) -> None:
        """Say that the next stage begins."""
        self._done += 1
        self._text = text
        self.tell("")

    def tell(self, more: str) -> None:
        """Say how far the stage is."""
        if self._progress is not None:
            text = f"{self._text}: {more}" if more else self._text
            total = self._earlier + self._count
            self._progress(Progress(self._earlier + self._done, total, text))
