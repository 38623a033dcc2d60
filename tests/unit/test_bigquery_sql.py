"""The SQL of aggregates: in steps of bounded size, quoted, with parameters, the same every time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from featurekit.engines.bigquery.columns import Names, stored_column
from featurekit.engines.bigquery.jobs import Statement
from featurekit.engines.bigquery.sql import Spine, column_names, statements, write_sql
from featurekit.engines.bigquery.windows import MOST_COLLECTED, MOST_OUTPUTS
from featurekit.errors import SpecError, UsageError
from featurekit.planner import Plan, make_plan
from featurekit.resolve import resolve
from featurekit.spec.objects import Source, Spec
from featurekit.transforms.row.log1p import Log1p
from featurekit.transforms.sql import float32, function, null
from featurekit.types import BOOL, FLOAT32, FLOAT64, INT64, STRING, TIMESTAMP, Type
from tests.growth import growth

TABLES = {"events": "project.data.events", "places": "project.data.places"}
COLUMNS = {
    "id": "int64", "place": "string", "t": "timestamp", "x": "float64", "word": "string",
}  # fmt: skip


def planned(aggregations: Mapping[str, Any], features: Mapping[str, str], **more: Any) -> Plan:
    spec = Spec.from_dict({
        "name": "small",
        "sources": {
            "events": {"event_time": "t", "columns": {**COLUMNS, **more.pop("columns", {})}},
            "places": {
                "columns": {"place": "string", "size": "int64"}, **more.pop("places", {}),
            },
        },
        "examples": {"source": "events", "keys": ["id"], "predict_at": "t", **more},
        "aggregations": aggregations,
        "lookups": {"at": {"source": "places", "by": "place", "features": ["size"]}},
        "features": features,
    })  # fmt: skip
    types = {
        name: {key: column.type for key, column in source.columns.items() if column.type}
        for name, source in spec.sources.items()
    }
    return make_plan(resolve(spec, types["events"], types))


def one(call: str, **more: Any) -> Plan:
    """Return the plan of one aggregate."""
    tail = {"source": "events", "by": "place", "windows": ["7d"], "features": {"f": call}}
    return planned({"tail": tail}, {"x": "tail.f_7d"}, **more)


def written(plan: Plan, **options: Any) -> list[Statement]:
    return statements(plan, TABLES, "project.staging", **options)


def outputs_of(statement: Statement) -> list[str]:
    """Return the columns of a statement's result."""
    query = sqlglot.parse_one(statement.sql, read="bigquery")
    assert isinstance(query, sqlglot.exp.Query)
    return query.named_selects


def many(count: int) -> Plan:
    """Return the plan of so many aggregates, of three keys and functions of both kinds."""
    functions = {
        "n": "count()", "m": "mean(x)", "l": "last(x)", "v": "variance(x * 2.5)",
        "d": "count_distinct(word)", "q": "quantile(x, 0.9)", "w": "count(where=x > 3.5)",
        "s": "sum(x)", "a": "max(log1p(x))", "b": "min(x)",
    }  # fmt: skip
    windows = [f"{days}d" for days in range(1, count // (3 * len(functions)) + 2)]
    aggregations = {
        name: {"source": "events", "by": by, "windows": windows, "features": functions}
        for name, by in {"one": ["place"], "two": ["place", "word"], "all": []}.items()
    }
    used = [
        f"{name}.{feature}_{window}"
        for name in aggregations for window in windows for feature in functions
    ]  # fmt: skip
    return planned(aggregations, {f"f{place}": text for place, text in enumerate(used[:count])})


# Steps


def test_a_plan_without_aggregates_needs_no_statement() -> None:
    assert written(planned({}, {"x": "log1p(x)"})) == []


def test_the_time_of_planning_and_writing_aggregates_is_proportional_to_their_number() -> None:
    assert growth(lambda count: written(many(count)), 125) < 2


def test_five_hundred_aggregates_are_written_in_steps_of_bounded_size() -> None:
    plan = many(500)
    made = written(plan)
    assert len(plan.resolved.aggregates) == 500
    names, _ = column_names(plan.resolved.aggregates, ["id"])
    found: list[str] = []
    for statement in made[1:-1]:
        outputs = outputs_of(statement)[1:]
        assert len(outputs) <= (MOST_COLLECTED if "ARRAY_AGG" in statement.sql else MOST_OUTPUTS)
        found += outputs
    assert sorted(found) == sorted(names.values())
    assert outputs_of(made[-1]) == ["row_id", "id", *names.values()]


def test_every_result_has_a_row_for_each_example_and_is_checked_for_it() -> None:
    made = written(many(60))
    spine = f"project.staging.{made[0].destination}"
    assert (made[0].rows_of, made[0].keys) == ("project.data.events", ("id",))
    assert {(entry.rows_of, entry.keys) for entry in made[1:]} == {(spine, ("row_id",))}


def test_outputs_over_one_history_share_one_reading_of_it() -> None:
    features = {"m": "mean(x)", "n": "count(x)"}
    tail = {"source": "events", "by": "place", "windows": ["7d", "1d"], "features": features}
    plan = planned({"tail": tail, "other": tail}, {"a": "tail.m_7d", "b": "other.n_1d"})
    assert [statement.name for statement in written(plan)] == [
        "examples", "windows of events by place", "aggregates",
    ]  # fmt: skip


def test_what_collects_values_stands_apart_from_what_does_not() -> None:
    features = {"m": "mean(x)", "q": "median(x)"}
    tail = {"source": "events", "by": "place", "windows": ["7d"], "features": features}
    made = written(planned({"tail": tail}, {"a": "tail.m_7d", "b": "tail.q_7d"}))
    assert ["ARRAY_AGG" in statement.sql for statement in made] == [False, False, True, False]
    assert [statement.features for statement in made] == [("a", "b"), ("a",), ("b",), ("a", "b")]


def test_the_same_query_makes_the_same_table_whatever_else_a_spec_asks_for() -> None:
    features = {"m": "mean(x)", "q": "median(x)"}
    tail = {"source": "events", "by": "place", "windows": ["7d"], "features": features}
    small = written(planned({"tail": tail}, {"a": "tail.m_7d"}))
    large = written(planned({"tail": tail}, {"b": "tail.q_7d", "a": "tail.m_7d"}))
    assert [entry.destination for entry in small[:2]] == [entry.destination for entry in large[:2]]
    assert large == written(planned({"tail": tail}, {"b": "tail.q_7d", "a": "tail.m_7d"}))
    other = written(planned({"tail": {**tail, "windows": ["8d"]}}, {"a": "tail.m_8d"}))
    assert other[0].destination == small[0].destination
    assert other[1].destination != small[1].destination


def test_the_last_table_can_be_named() -> None:
    assert written(one("count()"), destination="mine")[-1].destination == "mine"


# Text


def test_constants_are_parameters_and_never_text() -> None:
    text = "it's \\\"; DROP TABLE x; --\n`"
    plan = one(f"count(where=word == {text!r})")
    made = written(plan)[1]
    assert ("STRING", text) in made.parameters.values()
    code = "\n".join(line for line in made.sql.splitlines() if not line.startswith("--"))
    assert "DROP" not in code
    assert re.findall(r"@\w+", code) == [f"@{name}" for name in made.parameters]


def test_equal_constants_are_one_parameter() -> None:
    made = written(one("count(where=x > 1.5 and x * 1.5 < 4.0)"))[1]
    assert sorted(made.parameters.values()) == [("FLOAT64", 1.5), ("FLOAT64", 4.0)]


def test_names_and_texts_cannot_break_out_of_a_comment() -> None:
    made = written(one("count(where=word == 'a\\nSELECT 1 */ \\u2028 SELECT 2')"))
    for statement in made:
        assert len(sqlglot.parse(statement.sql, read="bigquery")) == 1
        code = [line for line in statement.sql.splitlines() if not line.startswith("--")]
        assert code[0].startswith(("WITH", "SELECT"))


def test_columns_get_names_that_bigquery_tells_apart() -> None:
    names = Names("row_id")
    texts = ("a.b__c", "a__b.c", "A.B__c", "7d", "_x", "Ä", "ROW_ID")
    assert [names.new(text) for text in texts] == [
        "a__b__c", "a__b__c_2", "A__B__c_3", "c7d", "c_x", "c_", "ROW_ID_2",
    ]  # fmt: skip
    assert names.new("step_past") == "cstep_past"


@pytest.mark.parametrize("name", ["events", "past", "effect", "row_id", "value", "Examples"])
def test_a_column_may_have_a_name_that_the_query_uses(name: str) -> None:
    made = written(one(f"mean({name})", columns={name: "float64"}))[1]
    stored = sqlglot.parse_one(made.sql, read="bigquery").find(sqlglot.exp.CTE)
    assert stored is not None
    assert name in stored.this.named_selects
    table = stored.this.find(sqlglot.exp.Table)
    assert (table.alias != "") == (name == "events")


def test_partitions_are_filtered_by_constants_where_bounds_are_known() -> None:
    between = (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 9, 12, tzinfo=UTC))
    tail = {"source": "events", "by": "place", "features": {"m": "mean(x)"},
            "windows": ["7d", "lifetime"]}  # fmt: skip
    bounded = planned({"tail": tail}, {"a": "tail.m_7d"})
    unbounded = planned({"tail": tail}, {"a": "tail.m_lifetime"})
    low = "`t` >= CAST('2024-02-23 00:00:00+00:00' AS TIMESTAMP)"
    high = "`t` < CAST('2024-03-09 12:00:00+00:00' AS TIMESTAMP)"
    plain, first, second = (
        written(plan, **options)[1].sql
        for plan, options in (
            (bounded, {}), (bounded, {"between": between}), (unbounded, {"between": between}),
        )
    )  # fmt: skip
    assert (low in plain, high in plain) == (False, False)
    assert (low in first, high in first) == (True, True)
    assert (low in second, high in second) == (False, True)


def test_all_rows_of_a_lookup_are_read_so_that_a_key_with_several_is_found() -> None:
    places = {
        "columns": {"place": "string", "size": "int64", "known": "timestamp"},
        "available_at": "known",
    }
    plan = planned({}, {"a": "at.size"}, places=places)
    between = (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 9, 12, tzinfo=UTC))
    assert written(plan, between=between)[1].sql == written(plan)[1].sql


# Stored columns


@pytest.mark.parametrize(
    ("of", "stored", "declared", "sql"),
    [
        (FLOAT64, "FLOAT64", {}, "IF(IS_NAN(`c`), NULL, `c`)"),
        (FLOAT64, "FLOAT", {}, "IF(IS_NAN(`c`), NULL, `c`)"),
        (FLOAT64, "NUMERIC", {}, "CAST(`c` AS FLOAT64)"),
        (FLOAT64, "BOOL", {}, "CAST(CAST(`c` AS INT64) AS FLOAT64)"),
        (INT64, "INTEGER", {}, "`c`"),
        (INT64, "BOOL", {}, "CAST(`c` AS INT64)"),
        (STRING, "INT64", {}, "CAST(`c` AS STRING)"),
        (BOOL, "INT64", {}, "CASE WHEN `c` = 1 THEN TRUE WHEN `c` = 0 THEN FALSE END"),
        (TIMESTAMP, "TIMESTAMP", {}, "`c`"),
        (TIMESTAMP, "DATE", {}, "TIMESTAMP(`c`, 'UTC')"),
        (TIMESTAMP, "DATETIME", {"zone": "Asia/Tokyo"}, "TIMESTAMP(`c`, 'Asia/Tokyo')"),
        (TIMESTAMP, "INT64", {"unit": "ms"}, "TIMESTAMP_MICROS(`c` * 1000)"),
        (TIMESTAMP, None, {}, "`c`"),
        (STRING, None, {"column": "other name"}, "`other name`"),
    ],
)  # fmt: skip
def test_a_stored_column_is_read_as_its_type(
    of: Type, stored: str | None, declared: dict[str, Any], sql: str
) -> None:
    source = Source(columns={"c": {"type": str(of), **declared}})
    types = None if stored is None else {"C": stored}
    assert stored_column("c", of, "rows", source, types).sql("bigquery") == sql


def test_a_declared_float32_is_rounded() -> None:
    c = sqlglot.exp.column("c", quoted=True)
    read = stored_column("c", FLOAT32, "rows", Source(), {"c": "FLOAT64"}).sql("bigquery")
    assert read == float32(function("IF", function("IS_NAN", c), null(), c)).sql("bigquery")


@pytest.mark.parametrize(
    ("of", "stored", "hint"),
    [
        (INT64, "FLOAT64", "declare another type"),
        (TIMESTAMP, "DATETIME", "declare its zone"),
        (TIMESTAMP, "INT64", "unit: s, ms or us"),
        (STRING, "BYTES", "declare another type"),
        (FLOAT64, "STRING", "declare another type"),
    ],
)
def test_a_column_that_is_stored_as_something_else_is_refused(
    of: Type, stored: str, hint: str
) -> None:
    with pytest.raises(
        SpecError, match=rf"source 'rows': column 'c' is stored as {stored}.*{hint}"
    ):
        stored_column("c", of, "rows", Source(), {"c": stored})


def test_a_column_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no column 'colour'.*did you mean 'color'"):
        stored_column("colour", STRING, "rows", Source(), {"color": "STRING"})


# Refusals


def test_examples_without_keys_need_a_spine() -> None:
    plan = one("count()", keys=[])
    with pytest.raises(SpecError, match=r"told apart by keys, and the spec declares none.*Hint"):
        written(plan)
    made = written(plan, spine=Spine("project.staging.spine", "number"))
    assert made[0].rows_of == "project.staging.spine"
    assert "`number` AS `row_id`" in made[0].sql


def test_a_source_without_a_table_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="source 'places' has no BigQuery table"):
        statements(planned({}, {"a": "at.size"}), {"events": "p.d.events"}, "p.staging")


@pytest.mark.parametrize("table", ["events", "a.b.c.d e`", "project.data.ev`ents", ""])
def test_a_name_that_is_no_table_is_refused(table: str) -> None:
    with pytest.raises(SpecError):
        statements(one("count()"), {"events": table}, "project.staging")


def test_what_bigquery_cannot_compute_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = one("mean(log1p(x))")
    monkeypatch.setattr(Log1p, "bigquery_refused", "it has no such logarithm")
    message = r"BigQuery cannot compute 'log1p\(x\)': it has no such logarithm.*Hint"
    with pytest.raises(SpecError, match=message):
        written(plan)


# Files


def test_each_step_is_written_to_a_file_that_says_what_it_does(tmp_path: Path) -> None:
    made = written(one("count(where=x > 1.5)"))
    files = write_sql(made, tmp_path / "new" / "sql")
    assert [file.name for file in files] == [
        "1_examples.sql", "2_windows_of_events_by_place.sql", "3_aggregates.sql",
    ]  # fmt: skip
    text = files[1].read_text("utf-8")
    assert text.startswith(f"-- Step 2 of 3: makes {made[1].destination}\n")
    assert "-- For the features: x\n-- @p1 FLOAT64 = 1.5\n" in text
    assert "-- tail__f_7d = count() over 7d where x > 1.5\n" in text
    assert text.endswith(made[1].sql)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sql"]


def test_an_empty_folder_is_filled_and_any_other_is_left_alone(tmp_path: Path) -> None:
    made = written(one("count()"))
    (tmp_path / "empty").mkdir()
    assert len(write_sql(made, tmp_path / "empty")) == 3
    with pytest.raises(UsageError, match="not empty"):
        write_sql(made, tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="it is a file"):
        write_sql(made, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
