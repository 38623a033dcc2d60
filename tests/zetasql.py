"""GoogleSQL as BigQuery speaks it, run on Google's reference evaluator: for tests of SQL.

The package `zetasql` holds Google's analyzer and reference evaluator as WebAssembly. It takes 19
seconds to compile, once a process, then milliseconds a query. `evaluate` runs a query over Polars
frames:

    evaluate("SELECT x + @n AS y FROM t ORDER BY x", {"t": frame}, {"n": (1, INT64)})

What it has and BigQuery has not (FLOAT32, INT32 and the names of types such as DOUBLE) is refused,
and the zone of a query is UTC, as in BigQuery. Without ORDER BY the order of rows is arbitrary.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from featurekit.transforms.base import polars_dtype
from featurekit.transforms.sql import bigquery_value
from featurekit.types import Kind, Type

__all__ = ["SqlError", "evaluate"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_TIMESTAMP = pl.Datetime("us", "UTC")


class SqlError(Exception):
    """The evaluator refused a query, or it failed on a row."""


def evaluate(
    sql: str,
    tables: Mapping[str, pl.DataFrame] | None = None,
    parameters: Mapping[str, tuple[Any, Type]] | None = None,
) -> pl.DataFrame:
    """Return the result of a query.

    Args:
        sql: One SELECT statement.
        tables: Frames by the name that the query uses. Columns may hold integers, floats, strings,
            booleans, timestamps (taken as UTC where they are naive), dates, durations (INT64
            microseconds), and lists or arrays of these, with nulls anywhere but in lists.
        parameters: Values of the query's named parameters with their types: a sequence for a
            vector; times may be given in microseconds; `None` is NULL.

    Returns:
        The result: Int64, Float64, String, Boolean, Datetime("us", "UTC"), Date, or List of these.

    Raises:
        SqlError: The query is not valid, or failed.
    """
    from zetasql.core.exceptions import ServerError
    from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2

    request = local_service_pb2.EvaluateQueryRequest(sql=sql)
    request.options.CopyFrom(_options())
    request.simple_catalog.name = "tests"
    request.simple_catalog.builtin_function_options.language_options.CopyFrom(
        _options().language_options
    )
    for name, frame in (tables or {}).items():
        table = request.simple_catalog.table.add(name=name)
        for column, dtype in frame.schema.items():
            _set_type(table.column.add(name=column).type, _held(dtype))
        rows = request.table_content[name].table_data
        rows.SetInParent()
        for values in _physical(frame).iter_rows():
            row = rows.row.add()
            for value in values:
                _set_value(row.cell.add(), value)
    for name, (value, of) in (parameters or {}).items():
        _set_type(request.options.query_parameters.add(name=name).type, _held(polars_dtype(of)))
        held = None if value is None else bigquery_value(value, of)
        if held is not None and of.kind is Kind.TIMESTAMP:
            held = _EPOCH + held * _MICRO
        _set_value(request.params.add(name=name).value, held)
    try:
        answer = _client().call_grpc_func(
            "ZetaSqlLocalService_EvaluateQuery", request, local_service_pb2.EvaluateQueryResponse
        )
    except ServerError as error:
        raise SqlError(f"{error}\n{sql}") from None
    columns = answer.prepared.columns
    dtypes = [_dtype(column.type) for column in columns]
    cells = [[_python(cell) for cell in row.cell] for row in answer.content.table_data.row]
    made = zip(*cells, strict=True) if cells else [()] * len(columns)
    return pl.DataFrame([
        pl.Series(column.name, list(values), dtype=dtype, strict=True)
        for column, values, dtype in zip(columns, made, dtypes, strict=True)
    ])  # fmt: skip


@functools.cache
def _client() -> Any:
    from zetasql.core.wasm_client import WasmClient
    from zetasql.wasi import get_wasm_path

    class Client(WasmClient):  # type: ignore[misc]
        """The package's client, which copies memory byte by byte, but in one piece."""

        def write_bytes(self, ptr: int, data: bytes) -> None:
            ctypes.memmove(self._address(ptr), data, len(data))

        def read_bytes(self, ptr: int, size: int) -> bytes:
            return ctypes.string_at(self._address(ptr), size)

        def _address(self, ptr: int) -> int:
            return ctypes.addressof(self.memory.data_ptr().contents) + ptr

    return Client(get_wasm_path())


@functools.cache
def _options() -> Any:
    from zetasql.types import AnalyzerOptions, LanguageOptions
    from zetasql.wasi._pb2.zetasql.public import options_pb2

    made = AnalyzerOptions(language_options=LanguageOptions.maximum_features()).to_proto()
    made.language_options.product_mode = options_pb2.PRODUCT_EXTERNAL
    made.default_timezone = "UTC"
    return made


def _kind(dtype: Any) -> int:
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    kinds: dict[Any, int] = {
        pl.Boolean(): type_pb2.TYPE_BOOL,
        pl.Int64(): type_pb2.TYPE_INT64,
        pl.Float64(): type_pb2.TYPE_DOUBLE,
        pl.String(): type_pb2.TYPE_STRING,
        pl.Date(): type_pb2.TYPE_DATE,
        _TIMESTAMP: type_pb2.TYPE_TIMESTAMP,
    }
    return kinds[dtype]


def _held(dtype: Any) -> Any:
    """Return the data type among those of results that holds the values of another."""
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.List(_held(dtype.inner))
    if dtype.is_integer() or isinstance(dtype, pl.Duration):
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    return _TIMESTAMP if isinstance(dtype, pl.Datetime) else dtype


def _physical(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        (
            pl.col(name).dt.total_microseconds()
            if isinstance(dtype, pl.Duration)
            else pl.col(name).dt.replace_time_zone("UTC")
            if isinstance(dtype, pl.Datetime) and dtype.time_zone is None
            else pl.col(name)
        ).cast(_held(dtype))
        for name, dtype in frame.schema.items()
    )


def _set_type(proto: Any, dtype: Any) -> None:
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    if isinstance(dtype, pl.List):
        proto.type_kind = type_pb2.TYPE_ARRAY
        _set_type(proto.array_type.element_type, dtype.inner)
    else:
        proto.type_kind = _kind(dtype)


def _set_value(proto: Any, value: Any) -> None:
    """Write one cell; a null leaves the message empty."""
    if isinstance(value, bool):
        proto.bool_value = value
    elif isinstance(value, int):
        proto.int64_value = value
    elif isinstance(value, float):
        proto.double_value = value
    elif isinstance(value, str):
        proto.string_value = value
    elif isinstance(value, datetime):
        seconds, micros = divmod((value - _EPOCH) // _MICRO, 1_000_000)
        proto.timestamp_value.seconds, proto.timestamp_value.nanos = seconds, micros * 1_000
    elif isinstance(value, date):
        proto.date_value = (value - _EPOCH.date()).days
    elif isinstance(value, (list, tuple)):
        proto.array_value.SetInParent()
        for entry in value:
            _set_value(proto.array_value.element.add(), entry)
    else:
        assert value is None, f"a cell holds {value!r}"


def _dtype(proto: Any) -> Any:
    from zetasql.wasi._pb2.zetasql.public import type_pb2

    if proto.type_kind == type_pb2.TYPE_ARRAY:
        return pl.List(_dtype(proto.array_type.element_type))
    dtypes = (pl.Boolean(), pl.Int64(), pl.Float64(), pl.String(), pl.Date(), _TIMESTAMP)
    kinds = {_kind(dtype): dtype for dtype in dtypes}
    if proto.type_kind not in kinds:
        raise SqlError(f"a column of the result has a type that is not read here:\n{proto}")
    return kinds[proto.type_kind]


def _python(proto: Any) -> Any:
    """Return the value of one cell."""
    field = proto.WhichOneof("value")
    if field is None:
        return None
    value = getattr(proto, field)
    if field == "array_value":
        return [_python(entry) for entry in value.element]
    if field == "timestamp_value":
        return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1_000)
    return _EPOCH.date() + timedelta(days=value) if field == "date_value" else value
