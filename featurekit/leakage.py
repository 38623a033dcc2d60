"""Leakage: one call that scans a run, a spec or a table, and what it found, as JSON and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featurekit.analysis.findings import Severity, plain, summarised
from featurekit.analysis.leakage.kinds import Thresholds
from featurekit.analysis.leakage.replay import replay as run_replay
from featurekit.analysis.leakage.replay_result import Replay
from featurekit.analysis.leakage.scan import Scan, scan
from featurekit.analysis.subject import Subject, open_subject
from featurekit.arguments import expect, names_of, number_of, path_of, shown
from featurekit.artifact import versions
from featurekit.errors import UsageError
from featurekit.job import Progress
from featurekit.report.leakage import leakage_page, severities, verdict
from featurekit.report.page import write_report
from featurekit.summary import Described, Summary

__all__ = ["LeakageReport", "Thresholds", "scan_leakage"]

FORMAT = 1
NEVER = "never"
FAIL_ON = (Severity.CRITICAL.value, Severity.WARNING.value, NEVER)
"""From which severity on a gate fails."""


@dataclass(frozen=True, repr=False)
class LeakageReport(Described):
    """What was found, of what, and how.

    Args:
        subject: What was scanned.
        scan: The findings of the scan and the numbers of each feature.
        thresholds: From where on the scan spoke up.
        replay: What came of computing features again without the future, if that was asked for.
    """

    subject: Subject
    scan: Scan
    thresholds: Thresholds
    replay: Replay | None = None

    def _summary(self) -> Summary:
        return Summary(
            f"Leakage report of {self.subject.name}",
            (("found", self.verdict), *summarised(self.scan.findings)),
        )

    @property
    def verdict(self) -> str:
        """One line: how many findings there are of each severity, and of what."""
        return verdict(self.to_dict())

    def fails(self, on: str = Severity.CRITICAL.value) -> int:
        """Return how many findings make a gate fail; 0 means that it passes.

        Args:
            on: `critical`, `warning` (or worse), or `never`.
        """
        if on not in FAIL_ON:
            raise UsageError(f"one of {', '.join(FAIL_ON)} is needed, got {shown(on)}")
        if on == NEVER:
            return 0
        found = severities(self.to_dict())
        return sum(count for name, count in found.items() if Severity(name) >= Severity(on))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        subject = self.subject
        roles = {name: getattr(subject, name) for name in ("label", "split", "entity", "time")}
        features = len(self.scan.features) if subject.features is None else subject.features
        parts: dict[str, Any] = {"scan": self.scan.to_dict()}
        if subject.static is not None:
            parts["static"] = dict(subject.static)
        if self.replay is not None:
            parts["replay"] = self.replay.to_dict()
        return {
            "format": FORMAT,
            "kind": "leakage",
            "of": {
                "kind": subject.kind, "name": subject.name, "features": features,
                "rows": self.scan.rows, **roles, "says": dict(subject.says),
                "exclude": list(subject.exclude),
            },
            **parts,
            "thresholds": plain(asdict(self.thresholds)),
            "versions": versions(),
        }  # fmt: skip

    def to_html(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the report as one HTML file, and the same content as JSON beside it.

        Args:
            path: An `.html` file; the JSON has the same name with `.json`.
            overwrite: Whether files that stand there may be replaced.

        Raises:
            UsageError: A file cannot be written.
            EngineError: The disk is full or fails.
        """
        write_report(self.to_dict(), leakage_page, path_of(path, "a report"), overwrite)


def scan_leakage(
    of: Any,
    *,
    label: str | None = None,
    split: str | None = None,
    entity: str | None = None,
    time: str | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
    thresholds: Thresholds | None = None,
    replay: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LeakageReport:
    """Look for features that know more of the label than they can when it matters.

    Args:
        of: A run or its folder; a spec or its file, whose features are computed and not kept; or a
            table: pandas, Polars, Arrow, or the path of a Parquet or CSV file, or a glob; or a
            `Source` that says how CSV is written.
        label: The column of the label; needed for a table, and only there.
        split: The column of the split, of a table.
        entity: The column that names whose row it is. Of a run and a spec it is one of the keys,
            and the one that aggregations go by without it.
        time: The column of the prediction's time. Of a run and a spec it is one of the keys, and
            what `predict_at` or the split goes by without it.
        exclude: Columns that are no features.
        seed: The seed of all that is drawn.
        thresholds: From where on to speak up.
        replay: Compute the features of so many examples again without what was not known when they
            were predicted, and compare; of all examples with 0. Of a run and a spec.
        progress: Told when a stage begins.

    Returns:
        What was found. The same data and seed give the same.

    Raises:
        SpecErrors: The spec has problems, refused leaks among them.
        DataError: The data cannot be read, or its label says nothing.
        UsageError: A column has to be named, or is not there.

    Example:
        >>> import polars as pl
        >>> late = [i % 3 == 0 for i in range(300)]
        >>> table = pl.DataFrame({"late": late, "refund": [5.0 * x for x in late]})
        >>> scan_leakage(table, label="late").verdict
        '1 critical in 1 feature of 300 rows'
    """
    thresholds = thresholds or Thresholds()
    if replay is not None:
        number_of(replay, "replay, or 0 for all examples,", whole=True, least=0)
    number_of(seed, "the seed", whole=True, least=0)
    exclude = names_of(exclude, "columns to exclude")
    for name, column in (("label", label), ("split", split), ("entity", entity), ("time", time)):
        expect(column, (str, type(None)), name, "the name of a column")
    expect(thresholds, Thresholds, "thresholds", "a Thresholds")
    last = [Progress(0, 0, "")]

    def tell(stage: Progress) -> None:
        """Pass on the stages of a run, after which there is one more."""
        last[0] = stage
        if progress is not None:
            progress(Progress(stage.done, stage.stages + 1, stage.text, stage.note))

    opened = open_subject(
        of, label=label, split=split, entity=entity, time=time, exclude=exclude, progress=tell
    )
    with opened as subject:
        if progress is not None:
            stages = last[0].stages
            progress(Progress(stages, stages + 1, f"looking for leaks in {subject.name}"))
        found = scan(
            subject.table, label=subject.label, split=subject.split, entity=subject.entity,
            time=subject.time, exclude=subject.exclude, in_time=subject.in_time, seed=seed,
            thresholds=thresholds,
        )  # fmt: skip
    replayed = None
    if replay is not None:
        replayed = _replayed(subject, replay, seed, progress)
    return LeakageReport(subject, found, thresholds, replayed)


def _replayed(
    subject: Subject, sample: int, seed: int, progress: Callable[[Progress], None] | None
) -> Replay:
    """Replay the spec of a subject.

    Raises:
        UsageError: It has none.
    """
    if subject.spec is None:
        raise UsageError(
            "a table does not say how its columns were computed", where=subject.name,
            hint="replay a spec or a run; for code of your own there is "
            "featurekit.analysis.leakage.replay_function",
        )  # fmt: skip

    def tell(text: str) -> None:
        if progress is not None:
            progress(Progress(0, 1, text))

    return run_replay(
        subject.spec, sample=sample or 1, complete=sample == 0, seed=seed, progress=tell
    )
