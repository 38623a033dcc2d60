"""What is done with whole tables: counting rows, checking keys, putting a table in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from featurekit.engines.bigquery.client import Done, Task, Warehouse
from featurekit.engines.bigquery.columns import column
from featurekit.engines.bigquery.failures import place
from featurekit.engines.bigquery.rows import select
from featurekit.errors import DataError
from featurekit.spec.table_id import TableId
from featurekit.transforms.sql import exp, infix, literal

__all__ = [
    "content_hash", "existing", "fingerprint", "into", "is_described", "make_table",
    "put_in_place", "repeated_keys", "row_count", "staging_table", "unchanged",
]  # fmt: skip


def content_hash(parts: Any) -> str:
    """Return a hash of plain data, short enough for a label and a table's name."""
    text = json.dumps(["1", parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def staging_table(warehouse: Warehouse, name: str, digest: str) -> TableId:
    """Return the table that holds a result until it has been checked."""
    return warehouse.settings.table(f"{name}__staging_{digest}")


def existing(warehouse: Warehouse, table: TableId, features: tuple[str, ...] = ()) -> Any:
    """Return the client's description of a table.

    Raises:
        DataError: It does not exist.
    """
    found = warehouse.table(table, features)
    if found is None:
        raise DataError(
            "BigQuery does not have this table",
            where=place(f"BigQuery table {table}", features),
            hint="correct the name, or create it",
        )
    return found


def is_described(found: Any) -> bool:
    """Whether a description says how many rows there are, and when they were written.

    That of a view does not, and that of a table leaves out the rows that are being streamed in.
    """
    return found.table_type in ("TABLE", "SNAPSHOT") and found.streaming_buffer is None


def fingerprint(warehouse: Warehouse, table: TableId) -> str:
    """Describe the content of a table as it is now: another one after every write.

    Of what is not described the description is the same after a write: what is read of it holds
    for this run alone.

    Raises:
        DataError: The table does not exist.
    """
    found = existing(warehouse, table)
    counts = (found.num_rows, found.num_bytes)
    run = None if is_described(found) else warehouse.run
    return content_hash([str(table), found.created, found.modified, counts, found.etag, run])


def make_table(
    warehouse: Warehouse, task: Task, sql: str, table: TableId, parameters: Sequence[Any] = ()
) -> Done:
    """Have a query's result become a table that expires.

    Args:
        warehouse: The connection.
        task: What the query does; its digest decides whether that was done before.
        sql: The query.
        table: The table to make; its name holds the digest.
        parameters: The query's parameters, as the client's objects.
    """
    from google.cloud import bigquery

    def begin(job_id: str, timeout: float) -> Any:
        config = bigquery.QueryJobConfig(
            query_parameters=parameters,
            maximum_bytes_billed=warehouse.allowance(task.where(job_id)),
            labels=warehouse.labels(task),
        )
        return warehouse.client.query(
            into(warehouse, sql, table), job_config=config, job_id=job_id,
            location=warehouse.location, retry=None, timeout=timeout, job_retry=None,
        )  # fmt: skip

    return warehouse.ensure(task, begin, lambda _: warehouse.table(table) is not None)


def into(warehouse: Warehouse, sql: str, table: TableId) -> str:
    """Return the SQL that makes a table of a query's result, which expires whatever happens.

    A statement makes the table and its expiration in one step; a job's destination would get its
    expiration afterwards, and keep none if the run broke in between.
    """
    return (
        f"CREATE OR REPLACE TABLE {table.sql}\nOPTIONS (expiration_timestamp = TIMESTAMP_ADD("
        f"CURRENT_TIMESTAMP(), INTERVAL {warehouse.settings.staging_hours} HOUR))\nAS\n"
        + sql.rstrip().removesuffix(";")
    )


def row_count(warehouse: Warehouse, table: TableId, features: tuple[str, ...] = ()) -> int:
    """Return how many rows a table or view has: by its description, or by a query.

    Raises:
        DataError: The table does not exist.
    """
    found = existing(warehouse, table, features)
    if is_described(found):
        return int(found.num_rows)
    # Counted once a run: the rows may be others by the next one.
    digest = content_hash([str(table), warehouse.run])
    task = Task("check", f"rows of {table}", digest, features)
    counted = warehouse.settings.table(f"rows__{digest}")
    query = select(str(table), {"counted": exp.Count(this=exp.Star())})
    make_table(warehouse, task, query.sql("bigquery"), counted)
    described = existing(warehouse, counted, features)
    # Not job.result(): it lets one request wait for two minutes, whatever timeout it is given.
    ((count,),) = warehouse.call(
        place(f"BigQuery table {counted}", features),
        lambda timeout: list(warehouse.client.list_rows(described, retry=None, timeout=timeout)),
    )
    return int(count)


def repeated_keys(
    warehouse: Warehouse, table: TableId, keys: Sequence[str], job_id: str, task: Task
) -> tuple[int, TableId]:
    """Return how many values of a key occur in more than one row, and a table of them.

    Args:
        warehouse: The connection.
        table: The table.
        keys: The columns of the key.
        job_id: The job that made the table: what was found for it once holds.
        task: What that job does, for messages.
    """
    columns = {key: column(key) for key in keys}
    several = infix(exp.Count(this=exp.Star()), ">", literal(1))
    query = select(str(table), columns).group_by(*map(column, keys)).having(several)
    digest = content_hash([job_id, keys])
    repeated = warehouse.settings.table(f"repeated_keys__{digest}")
    make_table(
        warehouse,
        Task("check", f"keys of {task.name}", digest, task.features),
        query.sql("bigquery"),
        repeated,
    )
    return int(existing(warehouse, repeated, task.features).num_rows), repeated


def put_in_place(warehouse: Warehouse, task: Task, staging: TableId, destination: TableId) -> Done:
    """Replace a table by a staging table in one step.

    Args:
        warehouse: The connection.
        task: The copying; its digest is that of the staging table's content.
        staging: The table to take.
        destination: The table to replace, or to make.
    """
    from google.cloud import bigquery

    config = bigquery.CopyJobConfig(
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE, labels=warehouse.labels(task)
    )
    done = warehouse.ensure(
        task,
        lambda job_id, timeout: warehouse.client.copy_table(
            str(staging), str(destination), job_id=job_id, location=warehouse.location,
            job_config=config, retry=None, timeout=timeout,
        ),
        lambda job: unchanged(warehouse, destination, job),
    )  # fmt: skip
    _keep(warehouse, task, staging, destination)
    return done


def _keep(warehouse: Warehouse, task: Task, staging: TableId, destination: TableId) -> None:
    """Take the staging table's expiration off a table that has got it by the copying.

    What a copy inherits is not documented, and a result that vanishes after a day would be worse
    than a request too many. The default expiration of a dataset stays.
    """
    found = existing(warehouse, destination, task.features)
    source = warehouse.table(staging) if found.expires is not None else None
    if source is not None and source.expires == found.expires:
        found.expires = None
        warehouse.call(
            place(f"BigQuery table {destination}", task.features),
            lambda timeout: warehouse.client.update_table(
                found, ["expires"], retry=None, timeout=timeout
            ),
        )


def unchanged(warehouse: Warehouse, table: TableId, job: Any) -> bool:
    """Whether nothing has been written to a table since a job wrote it."""
    found = warehouse.table(table)
    return found is not None and (not job.ended or found.modified <= job.ended)
