"""Applying a run to new rows, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from featurekit.engines import local
from featurekit.errors import DataError
from featurekit.plan import Plan
from featurekit.sources import open_table, polars_errors
from featurekit.spec.objects import Source

__all__ = ["apply", "lazy_apply"]


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


def _here() -> Any:
    from pathlib import Path

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
