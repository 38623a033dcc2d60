"""A run's full pass on Beam, seen from the run's own process, which imports none of it."""

from __future__ import annotations

import glob
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.engines.beam.publishing import numbered
from featurekit.engines.fitting import Census, check_census
from featurekit.engines.workers import Worker
from featurekit.errors import DataError
from featurekit.graph import StatisticRequest
from featurekit.planner import Plan
from featurekit.sources import Table, polars_errors, stored_types
from featurekit.spec.objects import Spec

__all__ = [
    "Request",
    "Result",
    "check_options",
    "columns_read",
    "dry_run",
    "fitted_from",
    "run_pipeline",
    "worker",
]


def worker(scratch: Path) -> Worker:
    """Return a process that has Beam, tf.Transform and TensorFlow ready.

    Args:
        scratch: A folder for its temporary files.
    """
    return Worker("featurekit.beam_program", "Beam", scratch=scratch)


_notes = logging.getLogger("featurekit")


@dataclass(frozen=True)
class Request:
    """How the full pass is to run.

    Args:
        out: The run's folder or address, as it was given.
        arguments: Options for Beam.
        max_bad_rows: So many rows may be set aside.
        cache: The folder of kept statistics, if there is one.
        tfrecord: Whether examples are written as TFRecord, too.
        work: Where the pipeline writes, if that is not on this machine.
    """

    out: str
    arguments: Sequence[str] = ()
    max_bad_rows: int = 0
    cache: str | None = None
    tfrecord: bool = False
    work: str | None = None


@dataclass(frozen=True)
class Result:
    """What the full pass gave.

    Args:
        fitted: The fitted statistics.
        census: What was counted.
        sample: Some rows as serving would be given them, and what was made of them.
        bad: How many rows were set aside, and how many for each reason.
        beam: How Beam ran: its runner, options and counters.
        elsewhere: What the manifest says of files that never were on this machine.
    """

    fitted: dict[StatisticRequest, Any]
    census: Census
    sample: tuple[pl.DataFrame, pl.DataFrame]
    bad: Mapping[str, Any]
    beam: Mapping[str, Any]
    elsewhere: Mapping[str, Any] = field(default_factory=dict)


def check_options(
    process: Worker, spec: Spec, out: str, arguments: Sequence[str], cache: str | Path | None
) -> None:
    """Refuse options that do not fit a run, before anything is read or computed.

    Args:
        process: What `worker` gave.
        spec: The spec.
        out: The run's folder or address.
        arguments: Options for Beam.
        cache: The folder of kept statistics, if there is one.

    Raises:
        UsageError: They do not fit; all problems together.
    """
    path = spec.sources[spec.examples.source].path if spec.examples.source in spec.sources else None
    # Rows that are computed here first are brought to where workers see them.
    inputs = [path] if path is not None and not spec.histories else []
    process.start(
        {
            "task": "check", "out": out, "arguments": list(arguments), "inputs": inputs,
            "cache": None if cache is None else str(cache),
        }
    )  # fmt: skip
    process.answer()


def run_pipeline(
    process: Worker,
    plan: Plan,
    described: Mapping[str, Any],
    table: Table,
    scratch: Path,
    folder: Path,
    request: Request,
) -> Result:
    """Fit the statistics and write the examples with Beam.

    Args:
        process: What `worker` gave.
        plan: The plan.
        described: The plan as plain data, as a manifest holds it.
        table: The examples' source, with the columns of its aggregates.
        scratch: A folder for what only this run needs.
        folder: The folder to write `split=NAME/*.parquet` to, and beside it `bad_rows`.
        request: How it is to run.

    Raises:
        DataError: The data is not what the spec says, or too much of it is bad.
        EngineError: The pipeline fails.
    """
    work = scratch / "beam"
    (work / "examples").mkdir(parents=True)
    files = _files(plan, table, scratch, by_file=request.cache is not None)
    process.start(_task("run", plan, described, table, request, files, work))
    answer = process.answer()
    if damaged := answer.get("cache", {}).get("damaged"):
        said = "%s: what is kept of %s input files does not check out, and was computed again"
        _notes.warning(said, request.cache, len(damaged))
    where = f"source {table.name!r}"
    tally = json.loads((work / "tally.json").read_text())
    census = Census(
        tally["rows"],
        tally["without_label"],
        tally["embargoed"],
        tally["splits"],
        tally["nan"],
        tally["stand_ins"],
        beyond=tally["beyond"],
        below=tally["below"],
        lost=tally["lost"],
        lost_examples=tally["lost_examples"],
    )
    if tally["bad"] > request.max_bad_rows:
        reasons = ", ".join(f"{reason} in {count:,}" for reason, count in tally["reasons"].items())
        raise DataError(
            f"{tally['bad']:,} rows cannot be used ({reasons}); at most {request.max_bad_rows:,} "
            "may be", where=where, hint="correct the data, or raise --max-bad-rows",
        )  # fmt: skip
    check_census(census, where)
    if request.work is None:
        _publish(work, folder)
    fitted = fitted_from(plan, json.loads((work / "fitted.json").read_text()))
    with polars_errors(where):
        sample = (pl.read_parquet(work / "inputs"), pl.read_parquet(work / "outputs"))
    bad = {"rows": tally["bad"], "reasons": tally["reasons"]}
    elsewhere = {} if request.work is None else _sizes(work)
    return Result(fitted, census, sample, bad, answer, elsewhere)


def _sizes(work: Path) -> dict[str, Any]:
    """Return what a manifest says of examples in a bucket, by their names in the run."""
    written = json.loads((work / "written.json").read_text())
    sizes = {entry["path"]: entry["bytes"] for entry in written}
    sizes |= {entry["records"]: entry["records_bytes"] for entry in written}
    return {
        "/".join(("examples", *target)): {"bytes": sizes[path], "sha256": None}
        for path, target in numbered(written)
    }


def dry_run(
    process: Worker, plan: Plan, described: Mapping[str, Any], table: Table, request: Request
) -> dict[str, Any]:
    """Return what `run_pipeline` would send: runner, options, steps and packages.

    Rows that a run would compute first, and stage, are not computed.

    Raises:
        UsageError: The options do not fit the run.
        EngineError: Beam cannot build the job.
    """
    work = Path(request.work or "work")
    files = _sources(table) if not plan.resolved.aggregates else None
    rows = [str(work / "rows.parquet")]
    process.start(_task("dry_run", plan, described, table, request, (files, rows), work))
    return process.answer()


_Files = tuple[list[str] | None, list[str]]
"""The files of the source, if workers read those; and files of rows made for them, if not."""


def _task(
    name: str, plan: Plan, described: Mapping[str, Any], table: Table, request: Request,
    files: _Files, local: Path,
) -> dict[str, Any]:  # fmt: skip
    """Return what the process is told."""
    own, made = files
    source = plan.resolved.spec.sources[plan.resolved.spec.examples.source]
    declared = {column: str(of) for column, of in stored_types(source).items()}
    form = {
        "format": (table.format or "parquet") if own is not None else "parquet",
        "separator": table.separator, "null_values": list(source.null_values), "types": declared,
    }  # fmt: skip
    return {
        "task": name, "plan": described, "files": made if own is None else own,
        "staged": own is None, "form": form, "renamed": dict(table.renamed),
        "work": request.work or str(local), "local": str(local), "out": request.out,
        "arguments": list(request.arguments), "max_bad_rows": request.max_bad_rows,
        "cache": request.cache, "tfrecord": request.tfrecord,
    }  # fmt: skip


def _sources(table: Table) -> list[str] | None:
    """Return the files that the rows of a table are in, if workers read these as they are."""
    if table.elsewhere is not None:
        return [table.elsewhere]
    if not table.as_it_is:
        return None
    return [glob.escape(str(path.absolute())) for path in table.files] or None


def _files(plan: Plan, table: Table, scratch: Path, by_file: bool) -> _Files:
    """Return files that workers can read: those of the source, unless rows are made here.

    Args:
        plan: The plan.
        table: The examples' source, with the columns of its aggregates.
        scratch: A folder for what only this run needs.
        by_file: Whether rows that are made here are to stay apart by the file they come from.
    """
    own = _sources(table)
    if own is not None and (table.elsewhere is not None or not plan.resolved.aggregates):
        return own, []
    if not plan.resolved.aggregates:
        table.refuse_ragged()
    target = scratch / "rows.parquet"
    with polars_errors(f"source {table.name!r}"):
        # Arrow cannot read back what Polars writes of arrays of which some are missing.
        arrays = pl.selectors.array()
        rows = table.frame.select(columns_read(plan, table.renamed))
        rows = rows.with_columns(arrays.arr.to_list())
        _sink(rows, target)
        if not by_file or len(table.files) < 2:
            return None, [str(target)]
        start, parts = 0, []
        for place, height in enumerate(table.heights):
            part = scratch / f"rows-{place:08}.parquet"
            _sink(pl.scan_parquet(target, glob=False).slice(start, height), part)
            parts.append(str(part))
            start += height
    return None, parts


def _sink(rows: pl.LazyFrame, target: Path) -> None:
    rows.sink_parquet(target, compression="snappy", row_group_size=1 << 17, engine="streaming")


def columns_read(plan: Plan, renamed: Mapping[str, str]) -> list[str]:
    """Return what the data calls the columns that a plan reads, aggregates included."""
    resolved = plan.resolved
    stored = [renamed.get(name, name) for name in resolved.inputs()]
    past = [renamed.get(node.text, node.text) for node in resolved.aggregates]
    return list(dict.fromkeys([*stored, *past]))


def fitted_from(plan: Plan, texts: Sequence[str]) -> dict[StatisticRequest, Any]:
    """Return the fitted statistics of a plan from the texts of its levels."""
    fitted: dict[StatisticRequest, Any] = {}
    for level, text in zip(plan.levels, texts, strict=True):
        for request, value in zip(level, json.loads(text), strict=True):
            fitted[request] = request.statistic.restored(value)
    return fitted


def _publish(work: Path, folder: Path) -> None:
    """Move what was written in the order of the rows, and forget what nobody reported."""
    for path, (split, name) in numbered(json.loads((work / "written.json").read_text())):
        (folder / split).mkdir(parents=True, exist_ok=True)
        shutil.move(path, folder / split / name)
    if any((work / "bad_rows").glob("*")):
        shutil.move(work / "bad_rows", folder.parent / "bad_rows")
