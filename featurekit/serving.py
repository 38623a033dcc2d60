"""Applying a run to new rows, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.artifact import check_file_target, new_file
from featurekit.engines import local
from featurekit.errors import DataError, UsageError
from featurekit.plan import Plan
from featurekit.sources import open_table, polars_errors
from featurekit.spec.objects import Source

__all__ = ["apply", "apply_file", "lazy_apply"]


def lazy_apply(plan: Plan, fitted: Mapping[Any, Any], rows: Source, name: str = "rows") -> pl.LazyFrame:
    """Return new rows transformed with frozen statistics, as a lazy frame.

    Args:
        plan: The plan of the run.
        fitted: Its statistics.
        rows: Where the rows are (path or table); columns are read as the run's spec declares them.
        name: What errors call the rows.

    Raises:
        DataError: Columns are missing or hold what the spec does not allow.
    """
    spec = plan.resolved.spec
    declared = spec.sources[spec.examples.source]
    # Types are those of the run: nothing is inferred again from the new rows.
    types = plan.resolved.types
    columns = {
        column: replace(entry, type=entry.type or types.get(column))
        if entry.expr is None else entry
        for column, entry in declared.columns.items()
    }  # fmt: skip
    source = replace(
        declared, path=rows.path, table=rows.table, data=rows.data, columns=columns,
        format=rows.format or (declared.format if rows.path is None else None),
    )  # fmt: skip
    table = open_table(name, _only_present(source, plan), spec.base if rows.path is None else _here())
    return local.transform(plan, fitted, table)


def _here() -> Path:
    return Path()


def _only_present(source: Source, plan: Plan) -> Source:
    """Leave out declarations of renamed columns that features do not read."""
    needed = set(plan.serving_inputs) | set(plan.resolved.inputs(*plan.resolved.keys.values()) if plan.resolved.keys else {})
    kept = {name: column for name, column in source.columns.items() if column.expr or name in needed}
    return replace(source, columns=kept)


def apply(plan: Plan, fitted: Mapping[Any, Any], data: Any) -> Any:
    """Transform a pandas, Polars or Arrow table; the result is a table of the same kind.

    Raises:
        DataError: See `lazy_apply`.
    """
    made = lazy_apply(plan, fitted, Source(data=data))
    if isinstance(data, pl.LazyFrame):
        return made
    with polars_errors("rows"):
        frame = made.collect(engine="streaming")
    if isinstance(data, pl.DataFrame):
        return frame
    kind = type(data).__module__.split(".")[0]
    if kind == "pandas":
        from featurekit.training import to_pandas

        result = to_pandas(frame)
        result.index = data.index
        return result
    if kind == "pyarrow":
        return frame.to_arrow()
    raise DataError(f"a table is a pandas, Polars or Arrow table, got {type(data).__name__}")


def apply_file(
    plan: Plan, fitted: Mapping[Any, Any], rows: str, target: Path, overwrite: bool = False
) -> int:
    """Transform the rows of files and write them as one file, in the order they are read.

    Args:
        plan: The plan of the run.
        fitted: Its statistics.
        rows: A Parquet or CSV file, or a glob of either.
        target: The file to write, Parquet or CSV by its suffix; complete, or not at all.
        overwrite: Whether a file that stands there may be replaced.

    Returns:
        How many rows were written.

    Raises:
        UsageError: The target cannot be written, or its format cannot hold the features.
        DataError: See `lazy_apply`.
    """
    suffix = target.suffix.lower()
    where = str(target)
    if suffix not in (".parquet", ".csv"):
        raise UsageError("the output is a .parquet or a .csv file", where=where)
    vectors = [name for name, node in plan.features.items() if node.type.width is not None]
    if suffix == ".csv" and vectors:
        raise UsageError(f"CSV cannot hold vectors: {', '.join(vectors)}", where=where,
                         hint="write .parquet")  # fmt: skip
    check_file_target(target, overwrite)
    made = lazy_apply(plan, fitted, Source(path=rows), name=rows)
    with new_file(target, overwrite) as temporary, polars_errors(rows):
        if suffix == ".csv":
            made.sink_csv(temporary, engine="streaming")
            written = pl.scan_csv(temporary, infer_schema=False)
        else:
            made.sink_parquet(temporary, engine="streaming")
            written = pl.scan_parquet(temporary)
        return int(written.select(pl.len()).collect().item())
