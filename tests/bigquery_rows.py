"""Comparing row operations as GoogleSQL with Polars, cell for cell."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from featurekit.engines import local
from featurekit.graph import ColumnNode, LiteralNode, Node, OperationNode
from featurekit.spec.expression import parse
from featurekit.transforms.base import Operation, RowOperation, polars_dtype
from featurekit.transforms.calendar_parts import TimePart
from featurekit.transforms.sql import bigquery_value, constant, exp
from featurekit.typecheck import Typer
from featurekit.types import DURATION, FLOAT32, TIMESTAMP, Kind, Type
from tests.zetasql import evaluate

ROUNDED_BY_A_LIBRARY = {
    **dict.fromkeys(["exp", "log", "log1p", "power", "cyclic_sine", "cyclic_cosine"], 1e-12),
    # Near antipodes a digit of the haversine decides about half of the digits of the angle.
    "great_circle_distance": 2e-8,
}
"""Relative tolerance in float64 of functions that mathematical libraries round differently."""

FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""BigQuery's first and last timestamp in microseconds."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 7.25, 0.1, -8.0, 1e6, 45.0, 180.0,
          math.inf, -math.inf, math.nan, None]  # fmt: skip
POOLS: dict[Kind, list[Any]] = {
    Kind.BOOL: [True, False, None],
    Kind.INT64: [
        0, 1, -1, 2, -2, 3, 7, -7, 12, 29, 2013, 10**6, 2**24 + 1, 2**53 + 1, 2**60 + 2**36 + 1,
        -(2**60) - 2**36 - 1, 2**62, 2**63 - 1, -(2**63) + 1, -(2**63), None,
    ],
    # There are no subnormal ones: where a float32 is read, they become 0.
    Kind.FLOAT32: [*FLOATS, 3.4028234663852886e38, -3.4028234663852886e38, 2.3509887016445750e-38,
                   -1.1754943508222875e-38, 88.75, 2.0**24 - 1],
    Kind.FLOAT64: [*FLOATS, 1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 1e-300, 1e300,
                   -1e300, 2.0**52 - 0.5, 2.0**63, -(2.0**63), 709.79, 1 + 2.0**-24, 1e-8],
    Kind.STRING: [
        "", "a", "A", "b", " b ", "a_X_b", "a-b-c", "a::b", "-", "12", "-7", "+007", "1e3", "1e999",
        "-.5", "nan", "0x1F", "9223372036854775807", "9223372036854775808", "ß", "éÉe\u0301",
        "日本", "👍🏽", "İıſ", "x" * 70, "\t\u00a0\n", "it's \"so\" \\n", "line\nline\r\x00\x7f",
        "a.b$1", None,
    ],
    Kind.TIMESTAMP: [
        moment(1970, 1, 1), moment(1969, 12, 31, 23, 59, 59, 999999), moment(2000, 2, 29, 12),
        moment(2024, 12, 30, 1, 2, 3), moment(1900, 1, 1), moment(2100, 3, 1), moment(1, 1, 1),
        moment(9999, 12, 31, 23, 59, 59, 999999), moment(2021, 1, 3, 15), moment(1600, 12, 31),
        moment(2024, 3, 31, 0, 59, 59, 999999), moment(2024, 3, 31, 1), moment(2024, 11, 3, 6, 30),
        None,
    ],
    Kind.DURATION: [
        timedelta(0), timedelta(hours=-5), timedelta(days=400, microseconds=1), 2**63 - 1,
        -(2**63), timedelta(microseconds=-1), None,
    ],
}  # fmt: skip
POSITIONS = 5
BATCH = 40
"""So many expressions are sent in one query."""
SIDE = max(map(len, POOLS.values()))


def series(values: Sequence[Any], of: Type) -> pl.Series:
    """Return a typed column; a duration may be beyond what Python's can be, in microseconds."""
    if of != DURATION:
        return pl.Series(values, dtype=polars_dtype(of))
    micros = [None if value is None else bigquery_value(value, of) for value in values]
    return pl.Series(micros, dtype=pl.Int64).cast(polars_dtype(of))


@cache
def wide() -> pl.DataFrame:
    """All pairs of hostile values in the first two columns of each type, the others at random."""
    chance = random.Random(7)
    columns: dict[str, pl.Series] = {
        "row": pl.Series(range(SIDE * SIDE), dtype=pl.Int64),
    }
    for kind, pool in POOLS.items():
        padded = [*pool, *chance.choices(pool, k=SIDE - len(pool))]
        for position in range(POSITIONS):
            values = [padded[row // SIDE if position == 0 else row % SIDE]
                      for row in range(SIDE * SIDE)]  # fmt: skip
            if position > 1:
                chance.shuffle(values)
            columns[f"{kind.value}_{position}"] = series(values, Type(kind))
    return pl.DataFrame(columns)


@dataclass(frozen=True)
class Case:
    """An expression over columns of the wide table.

    Args:
        label: What a failure shows.
        node: The typed expression.
        tolerance: Relative, in float64; 0 for bit by bit.
    """

    label: str
    node: Node
    tolerance: float = 0.0


def tree_of(node: Node, table: str = "t") -> Any:
    """Return a node as a tree of GoogleSQL."""
    if isinstance(node, ColumnNode):
        return exp.column(node.name, table=table, quoted=True)
    if isinstance(node, LiteralNode):
        return constant(node.value, node.type)
    assert isinstance(node, OperationNode)
    assert isinstance(node.operation, RowOperation)
    inputs = [tree_of(entry, table) for entry in node.sources]
    return node.operation.bigquery(inputs, [entry.type for entry in node.sources])


def operations_in(node: Node) -> Iterator[Operation]:
    if isinstance(node, OperationNode):
        yield node.operation
        for entry in node.sources:
            yield from operations_in(entry)


def columns_in(node: Node) -> set[str]:
    if isinstance(node, ColumnNode):
        return {node.name}
    return set().union(*(columns_in(entry) for entry in getattr(node, "sources", ())))


def tolerance_of(node: Node) -> float:
    return max((ROUNDED_BY_A_LIBRARY.get(op.name(), 0.0) for op in operations_in(node)), default=0)


def polars_of(cases: Sequence[Case], frame: pl.DataFrame) -> pl.DataFrame:
    outputs = {f"f{place}": case.node for place, case in enumerate(cases)}
    return local.lower(frame.lazy(), outputs, {}).select(list(outputs)).collect()


def bigquery_of(cases: Sequence[Case], frame: pl.DataFrame) -> pl.DataFrame:
    outputs = [exp.column("row", table="t", quoted=True)]
    outputs += [
        exp.alias_(tree_of(case.node), f"f{place}", quoted=True) for place, case in enumerate(cases)
    ]
    query = exp.select(*outputs).from_(exp.to_table("t"))
    read = set().union(*(columns_in(case.node) for case in cases))
    table = frame.select("row", *sorted(read))
    return evaluate(query.sql(dialect="bigquery"), {"t": table}).sort("row").drop("row")


def cells(values: pl.Series, of: Type) -> list[Any]:
    """Return what BigQuery can hold of a result: times in microseconds, null beyond its years."""
    if of.kind not in (Kind.TIMESTAMP, Kind.DURATION):
        return values.to_list()
    micros = values.to_physical().to_list()
    if of == TIMESTAMP:
        return [cell if cell is not None and FIRST <= cell <= LAST else None for cell in micros]
    return micros


def alike(got: Any, wanted: Any, of: Type, tolerance: float) -> bool:
    """Whether two cells are the same: bit by bit, or close where a library decides."""
    if wanted is None or not of.is_float:
        return bool(got == wanted)
    if of.width is not None:
        return list(got) == list(wanted)
    if got is None or math.isnan(wanted) or math.isnan(got):
        return got is not None and math.isnan(wanted) and math.isnan(got)
    if got == wanted:
        return math.copysign(1, got) == math.copysign(1, wanted)
    if tolerance == 0 or math.isinf(wanted) or math.isinf(got):
        return False
    unit = float(np.spacing(np.float32(abs(wanted)))) if of == FLOAT32 else 4 * 5e-324
    return bool(abs(got - wanted) <= max(unit, abs(wanted) * tolerance))


def differences(cases: Sequence[Case], frame: pl.DataFrame) -> list[str]:
    """Return a line for each case that differs, with the first row that does."""
    lines = []
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        expected, answers = polars_of(batch, frame), bigquery_of(batch, frame)
        for case, left, right in zip(batch, expected, answers, strict=True):
            of = case.node.type
            rows = zip(cells(left, of), cells(right, of), beyond(case.node, frame), strict=True)
            wrong = [
                (row, wanted, got)
                for row, (wanted, got, outside) in enumerate(rows)
                if not alike(got, None if outside else wanted, of, case.tolerance)
            ]
            if wrong:
                row, wanted, got = wrong[0]
                names = sorted(columns_in(case.node))
                shown = frame.select(names).to_dicts()[row] if names else {}
                lines.append(
                    f"{case.label} of {shown}: Polars {wanted!r}, BigQuery {got!r} "
                    f"({len(wrong)} rows differ)"
                )
    return lines


def beyond(node: Node, frame: pl.DataFrame) -> pl.Series:
    """Return the rows where the clock of a zone shows a year that BigQuery does not have."""
    operation = next(operations_in(node), None)
    if not isinstance(operation, TimePart) or operation.zone == "UTC":
        return pl.repeat(False, frame.height, eager=True)
    (name,) = columns_in(node)
    year = frame[name].dt.convert_time_zone(operation.zone).dt.year()
    return ((year < 1) | (year > 9999)).fill_null(False)


def table_of(columns: dict[str, list[Any]], types: dict[str, Type]) -> pl.DataFrame:
    """Return a frame of typed columns with row numbers."""
    made = {name: series(values, types[name]) for name, values in columns.items()}
    return pl.DataFrame(made).with_row_index("row")


def differences_of(
    expressions: Sequence[str], columns: dict[str, list[Any]], types: dict[str, Type]
) -> list[str]:
    nodes = {text: Typer({}, types).node(parse(text)) for text in expressions}
    return differences(
        [Case(text, node, tolerance_of(node)) for text, node in nodes.items()],
        table_of(columns, types),
    )
