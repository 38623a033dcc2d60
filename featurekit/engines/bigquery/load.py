"""Loading local data into BigQuery: as Parquet, once, and whole.

The data goes into a staging table first and replaces the destination in one step, as the result
of a statement does. The ids of the jobs come from the content, so loading it again costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.engines.bigquery.client import Task, Warehouse
from featurekit.engines.bigquery.failures import place
from featurekit.engines.bigquery.jobs import Result
from featurekit.engines.bigquery.tables import (
    content_hash,
    existing,
    put_in_place,
    row_count,
    staging_table,
    unchanged,
)
from featurekit.errors import DataError, EngineError
from featurekit.scratch import scratch_folder
from featurekit.sources import polars_errors
from featurekit.spec.table_id import TableId, column_problem

__all__ = ["load_table"]

_TIME = pl.Datetime("us", "UTC")


def load_table(
    warehouse: Warehouse,
    data: pl.DataFrame | pl.LazyFrame | Path,
    table: str,
    features: tuple[str, ...] = (),
    *,
    passing: bool = False,
) -> Result:
    """Load local data as a table of the run's dataset.

    Integers become INT64, floats FLOAT64, text STRING, times TIMESTAMP (microseconds, UTC) and
    durations INT64 (microseconds); lists become arrays. BigQuery has no null arrays: they arrive
    empty.

    Args:
        warehouse: The connection.
        data: A frame, or a Parquet file.
        table: The table's name; what has this name already is replaced.
        features: The features that need it.
        passing: Whether it is needed for this run alone: it then gets a name of its own, made of
            `table` and a hash of the content, replaces nothing and expires by itself.

    Raises:
        DataError: A column has no such type, or a name that BigQuery does not take.
        EngineError: The job failed, or the service did not answer in time.
    """
    destination = warehouse.settings.table(table)
    where = place(f"BigQuery table {destination}", features)
    if isinstance(data, Path):
        with polars_errors(f"{where}, {data}"):
            frame = pl.scan_parquet(data, glob=False)
    else:
        frame = data.lazy()
    with polars_errors(where):
        columns = _columns(frame.collect_schema(), where)
    with _parquet(frame, columns, where) as path:
        return _load(
            warehouse, path, destination, {n: t for n, (_, t) in columns.items()}, features, passing
        )


def _load(
    warehouse: Warehouse,
    path: Path,
    destination: TableId,
    types: dict[str, str],
    features: tuple[str, ...],
    passing: bool,
) -> Result:
    from google.cloud import bigquery

    schema = [
        bigquery.SchemaField(
            name, kind.removesuffix("[]"), mode="REPEATED" if kind.endswith("[]") else "NULLABLE"
        )
        for name, kind in types.items()
    ]
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    digest = content_hash([content, types, str(destination)])
    copying = Task("copy", destination.table, digest, features)
    there = None
    if not passing:
        there = warehouse.earlier(copying, lambda job: unchanged(warehouse, destination, job))
    if there is not None:
        warehouse.tell(f"{destination} is in place from an earlier run")
        rows = row_count(warehouse, destination, features)
        return Result(destination.table, destination, rows, there.job.job_id, 0, True)
    task = Task("load", destination.table, digest, features)
    staging = staging_table(warehouse, destination.table, digest)
    rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    if passing and _lasts(warehouse, warehouse.table(staging), rows):
        warehouse.tell(f"{staging} is there from an earlier run")
        return Result(destination.table, staging, rows, task.job_id(1), 0, True)
    warehouse.tell(f"loading {path.stat().st_size:,} bytes into {destination}")
    _make(warehouse, staging, schema, task)

    def whole(_: Any) -> bool:
        found = warehouse.table(staging)
        if found is None:
            _make(warehouse, staging, schema, task)
        return found is not None and found.num_rows == rows

    done = warehouse.ensure(task, partial(_begin, warehouse, task, path, staging, schema), whole)
    counted = int(existing(warehouse, staging, features).num_rows)
    if counted != rows:
        raise EngineError(
            f"{counted:,} rows arrived of {rows:,}",
            where=task.where(done.job.job_id),
            hint="is another program writing to the dataset?",
        )
    if passing:
        destination = staging
    else:
        put_in_place(warehouse, copying, staging, destination)
    warehouse.tell(f"{rows:,} rows in {destination}")
    return Result(destination.table, destination, rows, done.job.job_id, 0, done.reused)


def _lasts(warehouse: Warehouse, found: Any | None, rows: int) -> bool:
    """Whether a table that is named by its content holds it, and will until the run must end."""
    if found is None or found.num_rows != rows:
        return False
    end = datetime.now(UTC) + timedelta(seconds=warehouse.seconds_left)
    return found.expires is None or found.expires > end


def _begin(
    warehouse: Warehouse,
    task: Task,
    path: Path,
    staging: TableId,
    schema: list[Any],
    job_id: str,
    timeout: float,
) -> Any:
    """Send the file and the job; a file that was sent in part is sent again from its start."""
    from google.cloud import bigquery

    options = bigquery.format_options.ParquetOptions()
    options.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        # A table that holds rows is refused: loading twice cannot add them twice.
        write_disposition=bigquery.WriteDisposition.WRITE_EMPTY,
        schema=schema,
        labels=warehouse.labels(task),
    )
    config.parquet_options = options
    with path.open("rb") as file:
        # The client would repeat on its own, without regard to the deadline.
        return warehouse.client.load_table_from_file(
            file, str(staging), job_id=job_id, location=warehouse.location, job_config=config,
            num_retries=0, timeout=timeout,
        )  # fmt: skip


def _make(warehouse: Warehouse, staging: TableId, schema: list[Any], task: Task) -> None:
    """Make an empty table that expires, unless it exists."""
    from google.cloud import bigquery

    made = bigquery.Table(str(staging), schema)
    made.expires = datetime.now(UTC) + timedelta(hours=warehouse.settings.staging_hours)
    warehouse.call(
        place(f"BigQuery table {staging}", task.features),
        lambda timeout: warehouse.client.create_table(
            made, exists_ok=True, retry=None, timeout=timeout
        ),
    )


def _columns(schema: pl.Schema, where: str) -> dict[str, tuple[pl.Expr, str]]:
    """Return how each column is written, and its BigQuery type, `[]` after that of an array."""
    problem = column_problem(list(schema))
    if problem is not None:
        raise DataError(f"column {problem}", where=where, hint="rename it in the data")
    out: dict[str, tuple[pl.Expr, str]] = {}
    for name, dtype in schema.items():
        inner = dtype.inner if isinstance(dtype, (pl.List, pl.Array)) else dtype
        found = _type(inner)
        if found is None or not isinstance(inner, pl.DataType):
            raise DataError(
                f"column {name!r} is a {dtype}, which has no BigQuery type here",
                where=where,
                hint="give times a zone" if isinstance(inner, pl.Datetime) else "convert it",
            )
        target, kind = found
        column = pl.col(name)
        if inner is dtype:
            out[name] = (_written(column, dtype).cast(target), kind)
        else:
            lists = column.arr.to_list() if isinstance(dtype, pl.Array) else column
            each = lists.list.eval(_written(pl.element(), inner).cast(target))
            out[name] = (each, f"{kind}[]")
    return out


def _written(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return column.dt.total_microseconds() if isinstance(dtype, pl.Duration) else column


def _type(dtype: Any) -> tuple[Any, str] | None:
    """Return a column's type in Parquet and in BigQuery."""
    if dtype.is_integer() or isinstance(dtype, pl.Duration):
        return pl.Int64, "INT64"
    if dtype.is_float():
        return pl.Float64, "FLOAT64"
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return pl.String, "STRING"
    if isinstance(dtype, pl.Boolean):
        return pl.Boolean, "BOOL"
    if isinstance(dtype, pl.Date):
        return pl.Date, "DATE"
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return _TIME, "TIMESTAMP"
    return None


@contextmanager
def _parquet(
    frame: pl.LazyFrame, columns: dict[str, tuple[pl.Expr, str]], where: str
) -> Iterator[Path]:
    """Write a frame as a Parquet file of types that BigQuery reads, and remove it afterwards."""
    with scratch_folder() as folder:
        path = folder / "rows.parquet"
        with polars_errors(where, writing=True):
            written = frame.select(each.alias(name) for name, (each, _) in columns.items())
            written.sink_parquet(path, compression="zstd", maintain_order=True)
        yield path
