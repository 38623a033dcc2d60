"""The SQL of a spec as files one can read, each checked by Google's analyzer.

`python -m tests.golden.test_sql` writes the files again.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from featurekit.engines.bigquery.sql import statements, write_sql
from featurekit.planner import Plan, make_plan
from featurekit.resolve import resolve
from featurekit.spec.objects import Spec
from featurekit.transforms.base import polars_dtype
from featurekit.types import Kind, parse_type
from tests.zetasql import evaluate

FOLDER = Path(__file__).parent / "sql"

SPEC = {
    "name": "flight delay",
    "sources": {
        "flights": {
            "table": "airline.raw.flights",
            "event_time": "sched_dep",
            "available_at": "sched_dep - 30d",
            "columns": {
                "flight_id": "int64", "carrier": "string", "origin": "string", "dest": "string",
                "tailnum": {"type": "string", "column": "Tail Number"},
                "sched_dep": "timestamp", "actual_arr": "timestamp", "distance": "float64",
                "arr_delay": {"type": "float64", "available_at": "actual_arr"},
                "speed": {"expr": "distance / arr_delay"},
            },
        },
        "planes": {"table": "airline.raw.planes",
                   "columns": {"tailnum": "string", "seats": "int64", "weight": "float32"}},
        "crews": {
            "table": "airline.raw.crews", "event_time": "hired", "available_at": "hired + 1d",
            "columns": {"base": "string", "hired": "timestamp", "size": "int64"},
        },
    },
    "examples": {"source": "flights", "keys": ["flight_id"], "predict_at": "sched_dep - 2h",
                 "label": "arr_delay > 15"},
    "aggregations": {
        "tail": {
            "source": "flights", "by": "tailnum", "windows": ["7d", "14d..7d", "lifetime"],
            "features": {
                "delay": "mean(arr_delay)", "flights": "count()", "last": "last(arr_delay)",
                "ids": "sum(flight_id)", "carriers": "count_distinct(carrier)",
                "late": "count(where=arr_delay > 15)", "idle": "time_since_last(arr_delay)",
            },
        },
        "route": {
            "source": "flights", "by": ["origin", "dest"], "windows": ["30d"],
            "where": "carrier != 'XX'",
            "features": {
                "typical": "median(arr_delay)", "bad": "quantile(speed, 0.9)",
                "spread": "stddev(arr_delay)", "tails": "kurtosis(arr_delay)",
                "carrier": "most_frequent(carrier)", "recent": "last_k(arr_delay, 3)",
            },
        },
        "network": {
            "source": "flights", "windows": ["1d"], "features": {"worst": "max(arr_delay)"},
        },
    },
    "lookups": {
        "plane": {"source": "planes", "by": "tailnum", "features": ["seats", "weight"]},
        "crew": {"source": "crews", "by": {"origin": "base"}, "features": ["size"]},
    },
    "features": {
        "delay_week": "zscore(log1p(tail.delay_7d))", "delay_before": "tail.delay_14d_to_7d",
        "flights": "tail.flights_7d", "flights_ever": "tail.flights_lifetime",
        "last": "tail.last_lifetime", "ids": "tail.ids_7d", "carriers": "tail.carriers_7d",
        "carriers_ever": "tail.carriers_lifetime", "late": "tail.late_7d", "idle": "tail.idle_7d",
        "typical": "route.typical_30d", "bad": "route.bad_30d", "spread": "route.spread_30d",
        "tails": "route.tails_30d", "usual": "vocabulary(route.carrier_30d)",
        "recent": "route.recent_30d", "worst": "network.worst_1d", "seats": "plane.seats",
        "weight": "plane.weight", "crew": "crew.size", "distance": "distance",
    },
}  # fmt: skip


ONE = {
    Kind.INT64: 1, Kind.STRING: "a", Kind.FLOAT32: 1.5, Kind.FLOAT64: 2.5,
    Kind.TIMESTAMP: datetime(2013, 2, 3, tzinfo=UTC),
}  # fmt: skip
"""A value of each kind: every table has one row of them."""


def planned() -> Plan:
    spec = Spec.from_dict(SPEC)
    types = {
        name: {key: column.type for key, column in source.columns.items() if column.type}
        for name, source in spec.sources.items()
    }
    return make_plan(resolve(spec, types["flights"], types))


def written(folder: Path) -> list[Path]:
    plan = planned()
    tables = {name: str(source.table) for name, source in plan.resolved.spec.sources.items()}
    between = (datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 12, 31, tzinfo=UTC))
    return write_sql(statements(plan, tables, "airline.staging", between=between), folder)


def test_the_sql_of_a_spec_is_the_one_that_was_read_and_agreed(tmp_path: Path) -> None:
    made = written(tmp_path / "sql")
    assert [file.name for file in made] == sorted(file.name for file in FOLDER.iterdir())
    for file in made:
        assert file.read_text("utf-8") == (FOLDER / file.name).read_text("utf-8"), file.name


def test_every_golden_statement_is_accepted_by_the_analyzer() -> None:
    plan = planned()
    known: dict[str, pl.DataFrame] = {}
    for source in plan.resolved.spec.sources.values():
        columns = {
            column.column or name: pl.Series(
                [ONE[column.type.kind]], dtype=polars_dtype(column.type)
            )
            for name, column in source.columns.items()
            if column.type is not None
        }
        known[str(source.table)] = pl.DataFrame(columns)
    tables = {name: str(source.table) for name, source in plan.resolved.spec.sources.items()}
    between = (datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 12, 31, tzinfo=UTC))
    for statement in statements(plan, tables, "airline.staging", between=between):
        parameters = {
            name: (value, parse_type(kind.lower()))
            for name, (kind, value) in statement.parameters.items()
        }
        found = evaluate(statement.sql, known, parameters)
        known[f"airline.staging.{statement.destination}"] = found
        assert found.height == 1


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    for path in written(FOLDER):
        print(path)
