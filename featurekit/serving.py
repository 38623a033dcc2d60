"""Applying a run to new rows, without TensorFlow."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.artifact import check_file_target, new_file
from featurekit.engines import local
from featurekit.errors import DataError, SpecError, UsageError
from featurekit.planner import Plan
from featurekit.selection import past_rows
from featurekit.sources import Table, open_table, polars_errors
from featurekit.spec.objects import CSV_SETTINGS, UNDECLARED, Column, FrozenMapping, Source
from featurekit.transforms.base import polars_dtype
from featurekit.types import Type

__all__ = ["apply", "apply_file", "apply_frame", "lazy_apply", "to_polars"]


def lazy_apply(
    plan: Plan, fitted: Mapping[Any, Any], rows: Source, name: str = "rows"
) -> pl.LazyFrame:
    """Return new rows transformed with frozen statistics, as a lazy frame.

    Args:
        plan: The plan of the run.
        fitted: Its statistics.
        rows: Where the rows are (path or table). Columns are read with the types of the run, CSV
            with the run's separator and null values; other columns are not looked at.
        name: What errors call the rows.

    Returns:
        The keys whose columns are there, and all features, in the order of the rows.

    Raises:
        DataError: Columns are missing or hold what the spec does not allow.
        SpecError: The format of a file cannot be told.
    """
    resolved = plan.resolved
    declared = resolved.spec.sources[resolved.spec.examples.source]
    source = replace(
        rows, format=rows.format or _format_of_the_run(declared, rows),
        **{name: getattr(declared, name) for name in CSV_SETTINGS},
    )  # fmt: skip
    try:
        table = open_table(name, source, Path())
    except DataError:
        if not source.header:
            raise
        # The header was given anew for files that have other columns, such as the label.
        source = replace(source, header=())
        table = open_table(name, source, Path())
    stored = stored_columns(plan)
    if table.csv:
        # Nothing is inferred from texts again: the identifier 007 must not become the number 7.
        types = {**_asked(plan, table.schema), **_read(plan)}
        columns = {
            f"column_{position}": Column(type=of, column=stored[column])
            for position, (column, of) in enumerate(types.items())
            if stored[column] in table.schema
        }
        table = open_table(name, replace(source, columns=FrozenMapping(columns)), Path())
    table = replace(table, renamed={key: entry for key, entry in stored.items() if key != entry})
    try:
        return local.transform(plan, fitted, _with_history(plan, table, name))
    except SpecError as error:
        raise DataError(error.message, where=name,
                        hint="give the column as the training data had it") from None  # fmt: skip


def stored_columns(plan: Plan) -> dict[str, str]:
    """Return the columns that features, keys and aggregates read, with what the data calls them."""
    resolved = plan.resolved
    declared = resolved.spec.sources[resolved.spec.examples.source].columns
    read = [*_asked(plan, ()), *_read(plan)]
    return {name: declared.get(name, UNDECLARED).column or name for name in read}


def _read(plan: Plan) -> dict[str, Type]:
    """Return the columns that features and keys read themselves, with their types."""
    resolved = plan.resolved
    return resolved.inputs(*resolved.features.values(), *resolved.keys.values())


def _asked(plan: Plan, there: Container[str]) -> dict[str, Type]:
    """Return the columns by which aggregates are looked up that are not among the columns there."""
    resolved = plan.resolved
    return resolved.asked(node for node in resolved.aggregates if node.text not in there)


def _with_history(plan: Plan, table: Table, name: str) -> Table:
    """Give new rows the aggregates and lookups that they do not bring, from the spec's sources.

    Those that they bring are columns such as `tail.delay_mean_7d`.

    Raises:
        DataError: A source is not there any more.
    """
    resolved = plan.resolved
    spec = resolved.spec
    brought = [node for node in resolved.aggregates if node.text in table.schema]
    columns = [pl.col(node.text).cast(polars_dtype(node.type)) for node in brought]
    table = replace(table, frame=table.frame.with_columns(columns))
    missing = [node for node in resolved.aggregates if node.text not in table.schema]
    if not missing:
        return table
    from featurekit.engines.history import compute, with_columns

    stored = stored_columns(plan)
    needed = [stored[column] for column in resolved.asked(missing)]
    local.refuse_missing(needed, table.schema, name)
    past = {}
    for source in sorted({node.aggregate.history.source for node in missing}):
        declared = spec.sources[source]
        if declared.path is None and declared.data is None:
            shown = ", ".join(node.text for node in missing[:3])
            raise DataError(
                f"past rows of {source!r} are needed, and the run does not say where they are",
                where=name, hint=f"give them as columns: {shown}{', ...' * (len(missing) > 3)}",
            )  # fmt: skip
        past[source] = past_rows(open_table(source, declared, spec.base), resolved)
    return with_columns(table, missing, compute(missing, spec, table, past))


def _typed(source: Source, types: Mapping[str, Type]) -> Source:
    """Return a source whose columns have the types that they had in the run, whatever CSV says."""
    if source.file_format != "csv":
        return source
    read = {
        name: replace(source.columns.get(name, UNDECLARED), type=of)
        for name, of in types.items()
        if source.columns.get(name, UNDECLARED).expr is None
    }
    return replace(source, columns=FrozenMapping({**source.columns, **read}))


def _format_of_the_run(declared: Source, rows: Source) -> str | None:
    """A file named like the run's own file has its format."""
    if declared.path is None or rows.path is None:
        return None
    same = Path(declared.path).suffix.lower() == Path(rows.path).suffix.lower()
    return declared.format if same else None


def apply(plan: Plan, fitted: Mapping[Any, Any], data: Any) -> Any:
    """Transform a pandas, Polars or Arrow table; the result is a table of the same kind.

    Rows keep their order, and pandas its index.

    Raises:
        DataError: See `lazy_apply`.
    """
    if isinstance(data, pl.LazyFrame):
        return lazy_apply(plan, fitted, Source(data=data))
    kind = type(data).__module__.split(".")[0]
    frame = to_polars(_needed(plan, data))
    made = apply_frame(plan, fitted, _dates(frame) if kind == "pandas" else frame)
    if kind == "pandas":
        from featurekit.training import to_pandas

        result = to_pandas(made)
        result.index = data.index
        return result
    return made.to_arrow() if kind == "pyarrow" else made


def apply_frame(
    plan: Plan, fitted: Mapping[Any, Any], frame: pl.DataFrame, name: str = "rows"
) -> pl.DataFrame:
    """Transform a Polars data frame.

    Raises:
        DataError: See `lazy_apply`.
    """
    # A column of missing values alone says nothing about its type (pandas makes it float).
    nothing = [series.name for series in frame if series.null_count() == frame.height]
    frame = frame.with_columns(pl.col(nothing).cast(pl.Null))
    made = lazy_apply(plan, fitted, Source(data=frame), name)
    with polars_errors(name):
        return made.collect()


def to_polars(data: Any, name: str = "rows") -> pl.DataFrame:
    """Return a pandas, Polars or Arrow table as a Polars data frame.

    Raises:
        DataError: It is something else, or holds what Arrow cannot.
    """
    if data is None:
        raise DataError("a table is a pandas, Polars or Arrow table, got None", where=name)
    return open_table(name, Source(data=data), Path()).frame.collect()


def _dates(frame: pl.DataFrame) -> pl.DataFrame:
    """Make times at midnight dates again: pandas has nothing else for them."""
    naive = pl.selectors.datetime(time_zone=None)
    dates = [series.name for series in frame.select(naive) if (series.dt.date() == series).all()]
    return frame.with_columns(pl.col(dates).cast(pl.Date))


def _needed(plan: Plan, data: Any) -> Any:
    """Leave out columns that nothing reads: they may hold what cannot be converted."""
    kind = type(data).__module__.split(".")[0]
    names = getattr(data, "columns", ()) if kind == "pandas" else getattr(data, "column_names", ())
    if not len(names):
        return data
    stored, resolved = stored_columns(plan), plan.resolved
    there = {str(name) for name in names}
    needed = {**_asked(plan, there), **resolved.inputs(*resolved.features.values())}
    local.refuse_missing([stored[name] for name in needed], there, "rows")
    read = {*stored.values(), *(node.text for node in resolved.aggregates)}
    kept = [name for name in dict.fromkeys(names) if name in read]
    return data[kept] if kind == "pandas" else data.select(kept)


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
            written = pl.scan_csv(temporary, infer_schema=False, glob=False)
        else:
            made.sink_parquet(temporary, engine="streaming")
            written = pl.scan_parquet(temporary, glob=False)
        return int(written.select(pl.len()).collect().item())
