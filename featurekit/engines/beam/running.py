"""A run's full pass on Beam, seen from the run's own process, which imports none of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.engines.fitting import Census, check_census
from featurekit.engines.rows import SPLIT
from featurekit.engines.workers import Worker
from featurekit.errors import DataError
from featurekit.graph import StatisticRequest
from featurekit.planner import Plan
from featurekit.sources import Table, polars_errors
from featurekit.transforms.statistics import statistic_value

__all__ = ["Request", "Result", "columns_read", "fitted_from", "run_pipeline", "worker"]


def worker() -> Worker:
    """Return a process that has Beam, tf.Transform and TensorFlow ready."""
    return Worker("featurekit.beam_program", "Beam")


@dataclass(frozen=True)
class Request:
    """How the full pass is to run.

    Args:
        arguments: Options for Beam.
        max_bad_rows: So many rows may be set aside.
    """

    arguments: Sequence[str] = ()
    max_bad_rows: int = 0


@dataclass(frozen=True)
class Result:
    """What the full pass gave.

    Args:
        fitted: The fitted statistics.
        census: What was counted.
        sample: Some rows as serving would be given them, and what was made of them.
        bad: How many rows were set aside, and how many for each reason.
        beam: How Beam ran: its runner, options and counters.
    """

    fitted: dict[StatisticRequest, Any]
    census: Census
    sample: tuple[pl.DataFrame, pl.DataFrame]
    bad: Mapping[str, Any]
    beam: Mapping[str, Any]


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
    files, renamed = _files(plan, table, scratch)
    work = scratch / "beam"
    (work / "examples").mkdir(parents=True)
    source = plan.resolved.spec.sources[plan.resolved.spec.examples.source]
    as_csv = {"separator": table.separator, "null_values": list(source.null_values)}
    process.start(
        {
            "task": "run", "plan": described, "files": files, "csv": as_csv if table.csv else None,
            "renamed": renamed, "folder": str(work), "arguments": list(request.arguments),
            "max_bad_rows": request.max_bad_rows,
        }
    )  # fmt: skip
    answer = process.answer()
    where = f"source {table.name!r}"
    tally = json.loads((work / "tally.json").read_text())
    census = Census(tally["rows"], tally["without_label"], tally["splits"], tally["nan"])
    if tally["bad"] > request.max_bad_rows:
        reasons = ", ".join(f"{reason} in {count:,}" for reason, count in tally["reasons"].items())
        raise DataError(
            f"{tally['bad']:,} rows cannot be used ({reasons}); at most {request.max_bad_rows:,} "
            "may be", where=where, hint="correct the data, or raise --max-bad-rows",
        )  # fmt: skip
    check_census(census, where)
    _publish(work, folder)
    fitted = fitted_from(plan, json.loads((work / "fitted.json").read_text()))
    with polars_errors(where):
        sample = (pl.read_parquet(work / "inputs"), pl.read_parquet(work / "outputs"))
    bad = {"rows": tally["bad"], "reasons": tally["reasons"]}
    return Result(fitted, census, sample, bad, answer)


def _files(plan: Plan, table: Table, scratch: Path) -> tuple[list[str], dict[str, str]]:
    """Return files that workers can read: those of the source, unless rows are made here."""
    if table.files and not plan.resolved.aggregates:
        return [str(path.absolute()) for path in table.files], dict(table.renamed)
    target = scratch / "rows.parquet"
    with polars_errors(f"source {table.name!r}"):
        # Arrow cannot read back what Polars writes of arrays of which some are missing.
        arrays = pl.selectors.array()
        rows = table.frame.select(columns_read(plan, table.renamed))
        rows = rows.with_columns(arrays.arr.to_list())
        rows.sink_parquet(target, compression="snappy", row_group_size=1 << 17, engine="streaming")
    return [str(target)], dict(table.renamed)


def columns_read(plan: Plan, renamed: Mapping[str, str]) -> list[str]:
    """Return what the data calls the columns that a plan reads, aggregates included."""
    resolved = plan.resolved
    stored = [renamed.get(name, name) for name in resolved.inputs()]
    return list(dict.fromkeys([*stored, *(node.text for node in resolved.aggregates)]))


def fitted_from(plan: Plan, texts: Sequence[str]) -> dict[StatisticRequest, Any]:
    """Return the fitted statistics of a plan from the texts of its levels."""
    fitted: dict[StatisticRequest, Any] = {}
    for level, text in zip(plan.levels, texts, strict=True):
        for request, value in zip(level, json.loads(text), strict=True):
            fitted[request] = statistic_value(type(request.statistic).__name__, value)
    return fitted


def _publish(work: Path, folder: Path) -> None:
    """Move what was written in the order of the rows, and forget what nobody reported."""
    written = json.loads((work / "written.json").read_text())
    counts: dict[str, int] = {}
    for entry in sorted(written, key=lambda entry: (entry["part"], entry["start"])):
        split = folder / f"{SPLIT}={entry['split']}"
        split.mkdir(parents=True, exist_ok=True)
        number = counts[entry["split"]] = counts.get(entry["split"], -1) + 1
        shutil.move(entry["path"], split / f"{number:08}.parquet")
    if any((work / "bad_rows").glob("*")):
        shutil.move(work / "bad_rows", folder.parent / "bad_rows")
