"""The pipeline of a run: two readings of the input, one for statistics and one for the examples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.metrics import Metrics

from featurekit.engines.beam.analysis import Analyze
from featurekit.engines.beam.applying import SAMPLE, SAMPLED_BATCHES, SAMPLED_ROWS, Apply, Typed
from featurekit.engines.beam.cache import Cache
from featurekit.engines.beam.reading import BAD, Form, Part, Read
from featurekit.engines.beam.rows import NAMESPACE, BadRow, Batch, Tally, Typing
from featurekit.engines.beam.running import columns_read
from featurekit.engines.beam.storage import created, join
from featurekit.engines.beam.writing import Write
from featurekit.errors import DataError
from featurekit.planner import Plan

__all__ = ["BAD_ROWS", "Job", "MakeTyped", "build"]

TALLY = "tally"
BAD_ROWS = "bad_rows"


@dataclass(frozen=True)
class Job:
    """What a pipeline has to do.

    Args:
        plan: The plan.
        parts: The input.
        form: How its files are written.
        renamed: What the data calls columns that have another name in the spec.
        folder: Where it writes: examples, statistics, and what was counted.
        work: Where tf.Transform keeps files that only the job needs; all workers see it.
        max_bad_rows: So many rows may be set aside.
        tfrecord: Whether to write examples as TFRecord, too.
        shards: Into how many shards values are dealt to be counted.
        cache: What is kept of statistics, file by file.
    """

    plan: Plan
    parts: tuple[Part, ...]
    form: Form
    renamed: dict[str, str]
    folder: str
    work: str
    max_bad_rows: int = 0
    tfrecord: bool = False
    shards: int = 1
    cache: Cache | None = None

    def file(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return join(self.folder, name)

    @property
    def described(self) -> tuple[Part, ...]:
        """The parts of the input that statistics must be computed from.

        Of a file whose statistics are kept they need not, unless a second level needs all rows.
        """
        if self.cache is None or len(self.plan.levels) > 1:
            return self.parts
        return tuple(part for part in self.parts if self.cache.kept[part.file] is None)


def build(pipeline: Any, job: Job) -> None:
    """Add the steps of a run to a pipeline."""
    plan = job.plan
    fitted = _typed(pipeline, "Statistics", job, job.described, counted=False)[0] | Analyze(
        plan, job.work, job.shards, job.cache, [part.file for part in job.parts]
    )
    typed, bad, tallies = _typed(pipeline, "Examples", job, job.parts, counted=True)
    made = typed | "Transform" >> beam.ParDo(
        Apply(plan), beam.pvalue.AsSingleton(fitted)
    ).with_outputs(SAMPLE, main="examples")
    written = made["examples"] | "Write" >> beam.ParDo(Write(job.file("examples"), job.tfrecord))
    for name, found in (
        ("fitted.json", fitted),
        ("written.json", written | "Files" >> beam.combiners.ToList()),
        ("tally.json", tallies | "AddUp" >> beam.CombineGlobally(_AddUp())),
    ):
        _ = found | f"Save {name}" >> beam.ParDo(_Save(job.file(name)))
    _ = (
        made[SAMPLE]
        | "Some" >> beam.combiners.Top.Smallest(SAMPLED_BATCHES, key=lambda rows: rows[:3])
        | "SaveSample" >> beam.ParDo(_SaveSample(job.file("inputs"), job.file("outputs")))
    )
    _ = (
        bad
        | "BadRowText" >> beam.Map(_text, [part.path for part in job.parts])
        | "WriteBadRows"
        >> beam.io.WriteToText(
            job.file(f"{BAD_ROWS}/rows"), file_name_suffix=".jsonl", skip_if_empty=True
        )
    )


def _typed(
    pipeline: Any, name: str, job: Job, parts: Sequence[Part], counted: bool
) -> tuple[Any, Any, Any]:
    """Read the input and make it typed; return rows, bad rows, and tallies."""
    columns = columns_read(job.plan, job.renamed)
    read = (
        pipeline
        | f"{name}Parts" >> beam.Create(parts)
        | f"{name}Spread" >> beam.Reshuffle()
        | f"{name}Read" >> beam.ParDo(Read(columns, job.form)).with_outputs(BAD, main="batches")
    )
    typing = MakeTyped(job.plan, job.renamed, job.max_bad_rows, counted)
    made = read["batches"] | f"{name}Type" >> beam.ParDo(typing).with_outputs(
        BAD, TALLY, main="typed"
    )
    counting = _CountBroken(job.max_bad_rows, counted)
    broken = read[BAD] | f"{name}Broken" >> beam.ParDo(counting).with_outputs(TALLY, main=BAD)
    bad = (made[BAD], broken[BAD]) | f"{name}Bad" >> beam.Flatten()
    tallies = (made[TALLY], broken[TALLY]) | f"{name}Tallies" >> beam.Flatten()
    return made["typed"], bad, tallies


class MakeTyped(beam.DoFn):  # type: ignore[misc]
    """Makes batches typed, and sets aside what the spec does not allow."""

    def __init__(
        self, plan: Plan, renamed: dict[str, str] | None, max_bad_rows: int, counted: bool
    ) -> None:
        self.plan, self.renamed, self.max_bad_rows = plan, renamed, max_bad_rows
        self.counted = counted
        self._typing: Typing | None = None
        self._read = Metrics.counter(NAMESPACE, "rows_read")
        self._bad = Metrics.counter(NAMESPACE, "rows_bad")
        self._kept = Metrics.counter(NAMESPACE, "rows_kept")

    def setup(self) -> None:
        """Begin without a schema."""
        self._typing = Typing(self.plan, self.renamed)

    def process(self, batch: Batch) -> Iterator[Any]:
        """Yield the typed rows; what is bad and what was counted under tags."""
        assert self._typing is not None
        frame, bad, tally = self._typing.typed(batch)
        if self.counted:
            self._read.inc(batch.rows)
            self._bad.inc(len(bad))
            self._kept.inc(frame.height)
            yield beam.pvalue.TaggedOutput(TALLY, tally)
            if not self.max_bad_rows:
                _refuse_bad_rows(tally, bad)
            yield from (beam.pvalue.TaggedOutput(BAD, row) for row in bad)
        yield Typed(batch.part, batch.start, batch.rows, frame)


class _CountBroken(beam.DoFn):  # type: ignore[misc]
    """Counts rows that are no rows."""

    def __init__(self, max_bad_rows: int, counted: bool) -> None:
        self.max_bad_rows, self.counted = max_bad_rows, counted
        self._read = Metrics.counter(NAMESPACE, "rows_read")
        self._bad = Metrics.counter(NAMESPACE, "rows_bad")

    def process(self, row: BadRow) -> Iterator[Any]:
        tally = Tally(rows=1, bad=1, reasons=dict.fromkeys(row.reasons, 1))
        if self.counted:
            self._read.inc()
            self._bad.inc()
        if not self.max_bad_rows:
            _refuse_bad_rows(tally, [row])
        if self.counted:
            yield beam.pvalue.TaggedOutput(TALLY, tally)
            yield row


def _refuse_bad_rows(tally: Tally, rows: Sequence[BadRow]) -> None:
    """Refuse rows that were set aside.

    Raises:
        DataError: There are some; says why they were, and quotes the first.
    """
    if not rows:
        return
    found = ", ".join(f"{reason} in {_rows(count)}" for reason, count in tally.reasons.items())
    first = f"the first: row {rows[0].row}: {rows[0].reasons[0]}"
    raise DataError(
        f"{_rows(tally.bad)} cannot be used: {found} ({first})",
        hint=f"correct the data, or allow some with --max-bad-rows; they are kept in {BAD_ROWS}/",
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


class _AddUp(beam.CombineFn):  # type: ignore[misc]
    """Adds tallies up."""

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, whole: Tally, part: Tally) -> Tally:
        return whole.add(part)

    def merge_accumulators(self, tallies: Iterable[Tally]) -> Tally:
        whole = Tally()
        for tally in tallies:
            whole.add(tally)
        return whole

    def extract_output(self, whole: Tally) -> dict[str, Any]:
        return asdict(whole)


class _Save(beam.DoFn):  # type: ignore[misc]
    """Writes plain data as a JSON file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, data: Any) -> None:
        text = json.dumps(data, default=asdict)
        with created(self.path) as file:
            file.write(text.encode())


class _SaveSample(beam.DoFn):  # type: ignore[misc]
    """Writes sampled rows, and what was made of them, as two Parquet files."""

    def __init__(self, inputs: str, outputs: str) -> None:
        self.paths = inputs, outputs

    def process(self, sampled: Sequence[Any]) -> None:
        for place, path in enumerate(self.paths, start=3):
            if sampled:
                each = SAMPLED_ROWS // len(sampled)
                frame = pl.concat([rows[place].head(each) for rows in sampled])
                with created(path) as file:
                    frame.write_parquet(file)


def _text(row: BadRow, paths: Sequence[str]) -> str:
    return row.to_json(paths[row.part])
