"""Reading BigQuery tables as Arrow: through the Storage Read API, else through REST; or exporting.

Whatever way is taken, the rows that arrive are counted against the table's own number: a page or
a stream that is lost is an error, never a shorter table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from featurekit.engines.bigquery.client import Done, Task, Warehouse
from featurekit.engines.bigquery.failures import place, translated
from featurekit.engines.bigquery.tables import content_hash, existing, fingerprint, is_described
from featurekit.errors import DataError, EngineError, UsageError
from featurekit.spec.table_id import TableId

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["arrow_types", "export_parquet", "read_batches", "read_table"]

_WHOLE_READS = 3
"""So often a table that arrived short is read again from its start."""

_REACHABLE = 20.0
"""Seconds that the Storage Read API may take to open a session before REST is used instead."""


class _Short(EngineError):
    """Fewer or more rows arrived than the table has, or it changed meanwhile."""


def read_table(warehouse: Warehouse, table: TableId, features: tuple[str, ...] = ()) -> pa.Table:
    """Return a table's rows.

    Args:
        warehouse: The connection.
        table: The table; not a view.
        features: The features that need it.

    Raises:
        DataError: The table does not exist, or has a column of a type that features cannot have.
        EngineError: Rows were lost on the way several times, or the service did not answer.
    """
    import pyarrow as pa

    for attempt in range(1, _WHOLE_READS + 1):
        try:
            found = existing(warehouse, table, features)
            batches = list(_batches(warehouse, table, found, features))
            return pa.Table.from_batches(batches, schema=_arrow_schema(found, table, features))
        except _Short as error:
            if attempt == _WHOLE_READS:
                raise EngineError(error.message, where=error.where, hint=error.hint) from None
            warehouse.tell(f"{error.message}: reading {table} again")
    raise AssertionError("unreachable")


def read_batches(
    warehouse: Warehouse,
    table: TableId,
    features: tuple[str, ...] = (),
    columns: Collection[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows, some at a time.

    Args:
        warehouse: The connection.
        table: The table; not a view.
        features: The features that need it.
        columns: The columns to read; all without it.

    Raises:
        DataError: The table does not exist, or has a column of a type that features cannot have.
        EngineError: Rows were lost on the way: raised at the end, so whoever writes the rows
            somewhere keeps them only if the iteration ends without it.
    """
    found = existing(warehouse, table, features)
    yield from _batches(warehouse, table, found, features, columns)


def export_parquet(
    warehouse: Warehouse, table: TableId, uri: str, features: tuple[str, ...] = ()
) -> Done:
    """Write a table as Parquet files into Cloud Storage; reading one back is not billed.

    Args:
        warehouse: The connection.
        table: The table.
        uri: `gs://bucket/path/name-*.parquet`; the star becomes the number of a file.
        features: The features that need it.

    Raises:
        UsageError: `uri` is not such an address.
        EngineError: The job failed.
    """
    from google.cloud import bigquery

    if not uri.startswith("gs://") or uri.count("*") > 1 or len(uri.split("/")) < 4:
        raise UsageError(f"{uri!r} is not gs://bucket/path/name-*.parquet", where="BigQuery")
    digest = content_hash([fingerprint(warehouse, table), uri])
    task = Task("extract", str(table), digest, features)
    config = bigquery.ExtractJobConfig(
        destination_format=bigquery.DestinationFormat.PARQUET, labels=warehouse.labels(task)
    )
    # Files may be gone or be others by now, and writing them costs nothing: never an earlier job.
    return warehouse.ensure(
        task,
        lambda job_id, timeout: warehouse.client.extract_table(
            str(table), uri, job_id=job_id, location=warehouse.location, job_config=config,
            retry=None, timeout=timeout,
        ),
        lambda job: job.labels.get("featurekit_run") == warehouse.run,
    )  # fmt: skip


def _batches(
    warehouse: Warehouse,
    table: TableId,
    found: Any,
    features: tuple[str, ...],
    columns: Collection[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    where = place(f"BigQuery table {table}", features)
    if not is_described(found):
        kind = "table that is being written to" if found.streaming_buffer else found.table_type
        raise DataError(f"it is a {kind.lower()}, of which no one knows the rows", where=where,
                        hint="copy it into a table")  # fmt: skip
    schema = _arrow_schema(found, table, features, columns)
    rows = 0
    with warehouse.errors(where):
        for batch in _source(warehouse, table, found, where, schema.names):
            rows += batch.num_rows
            yield _typed(batch, schema)
    after = existing(warehouse, table, features)
    if (after.modified, after.num_rows) != (found.modified, found.num_rows):
        raise _Short("the table was written to while it was read", where=where)
    if rows != found.num_rows:
        raise _Short(f"{rows:,} rows arrived of {found.num_rows:,}", where=where,
                     hint="run it again later")  # fmt: skip


def _source(
    warehouse: Warehouse, table: TableId, found: Any, where: str, columns: Collection[str]
) -> Iterator[pa.RecordBatch]:
    """Return the rows as they arrive, by the faster way if it is there."""
    from google.api_core.exceptions import GoogleAPIError

    settings = warehouse.settings
    wanted = settings.storage and (settings.storage_endpoint or not settings.api_endpoint)
    if wanted and find_spec("google.cloud.bigquery_storage") is not None:
        try:
            streams = _storage_session(warehouse, table, columns)
        except GoogleAPIError as error:
            text = translated(error, where).message
            warehouse.tell(f"the Storage Read API is not to be had ({text}); reading through REST")
        else:
            return streams
    return _rest(warehouse, found, columns)


def _rest(warehouse: Warehouse, found: Any, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    wanted = [column for column in found.schema if column.name in columns]
    rows = warehouse.client.list_rows(
        found, selected_fields=wanted, page_size=warehouse.settings.page_rows,
        retry=warehouse.retry(), timeout=warehouse.timeout,
    )  # fmt: skip
    batches: Iterator[pa.RecordBatch] = rows.to_arrow_iterable()
    return batches


def _storage_session(
    warehouse: Warehouse, table: TableId, columns: Collection[str]
) -> Iterator[pa.RecordBatch]:
    """Open a session of the Storage Read API and return the rows of its streams."""
    import pyarrow as pa
    from google.cloud import bigquery_storage

    settings = warehouse.settings
    client = _storage_client(warehouse)
    reachable = min(_REACHABLE, settings.retry_seconds, warehouse.timeout)
    path = f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}"
    session = client.create_read_session(
        parent=f"projects/{settings.project}",
        read_session=bigquery_storage.ReadSession(
            table=path,
            data_format=bigquery_storage.DataFormat.ARROW,
            read_options=bigquery_storage.ReadSession.TableReadOptions(
                selected_fields=list(columns)
            ),
        ),
        max_stream_count=1,
        retry=warehouse.retry().with_timeout(reachable),
        timeout=reachable,
    )

    def rows() -> Iterator[pa.RecordBatch]:
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        with client:
            for stream in session.streams:
                # The client takes up a stream that breaks where it broke.
                for message in client.read_rows(
                    stream.name, timeout=max(1.0, warehouse.seconds_left)
                ):
                    content = message.arrow_record_batch.serialized_record_batch
                    yield pa.ipc.read_record_batch(pa.py_buffer(content), schema)

    return rows()


def _storage_client(warehouse: Warehouse) -> Any:
    from google.cloud.bigquery_storage import BigQueryReadClient

    settings = warehouse.settings
    if settings.storage_endpoint is None:
        return BigQueryReadClient(credentials=settings.credentials)
    import grpc  # type: ignore[import-untyped]

    kind = BigQueryReadClient.get_transport_class("grpc")
    # Batches are larger than what gRPC takes by default; the client's own channels have no limit.
    unlimited = [("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(settings.storage_endpoint, options=unlimited)
    return BigQueryReadClient(transport=kind(channel=channel))


def arrow_types() -> dict[str, pa.DataType]:
    """Return the BigQuery types that features can have, with the Arrow types they are read as."""
    import pyarrow as pa

    return {
        "INTEGER": pa.int64(), "INT64": pa.int64(), "FLOAT": pa.float64(), "FLOAT64": pa.float64(),
        "STRING": pa.string(), "BOOLEAN": pa.bool_(), "BOOL": pa.bool_(), "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us", "UTC"), "DATETIME": pa.timestamp("us"),
        "NUMERIC": pa.float64(), "BIGNUMERIC": pa.float64(),
    }  # fmt: skip


def _arrow_schema(
    found: Any,
    table: TableId,
    features: tuple[str, ...],
    columns: Collection[str] | None = None,
) -> pa.Schema:
    """Return the Arrow types of some columns of a table, the same by every way of reading."""
    import pyarrow as pa

    types = arrow_types()
    fields = []
    for column in found.schema:
        if columns is not None and column.name not in columns:
            continue
        if column.field_type not in types:
            raise DataError(
                f"column {column.name!r} is of type {column.field_type}, which no feature has",
                where=place(f"BigQuery table {table}", features),
                hint=f"known types: {', '.join(sorted(types))}",
            )
        kind = types[column.field_type]
        fields.append((column.name, pa.list_(kind) if column.mode == "REPEATED" else kind))
    return pa.schema(fields)


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [batch.column(batch.schema.get_field_index(name)) for name in schema.names]
    return pa.RecordBatch.from_arrays(
        [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )
