"""The objects of a spec: what they hold, what they refuse, and that they can be written down."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.errors import SpecError, SpecErrors
from featurekit.spec import objects
from featurekit.spec.expression import parse
from featurekit.spec.objects import (
    Aggregation,
    Column,
    Examples,
    Feature,
    FrozenMapping,
    Source,
    Spec,
    Split,
)
from featurekit.spec.settings import Settings
from featurekit.spec.yaml import parse_spec
from featurekit.types import FLOAT64, STRING

KINDS = [Column, Source, Split, Examples, Aggregation, Feature, Spec]

FLIGHTS = """\
name: flight_delay
description: |-
  Two lines,
  one of them: quoted.
sources:
  flights:
    path: flights.parquet
    event_time: sched_dep
    available_at: sched_dep - 30d
    columns:
      dep_delay: {type: float64, unit: min, available_at: actual_dep}
      carrier: string
      "NO": {type: string, description: 'it is 12:30, say # "x"'}
      petal length (cm): {column: "petal length, (cm)"}
      late: {expr: arr_delay > 15, available: false}
  weather: {path: weather.csv, null_values: ["", NA], event_time: time_hour}
  large: {table: project.dataset.flights}
examples:
  source: flights
  keys: [flight_id]
  predict_at: sched_dep - 2h
  label: arr_delay > 15
  split: {by: sched_dep, eval_from: 2013-10-01, test_from: "2013-11-15T12:30:00Z"}
aggregations:
  tail:
    source: flights
    by: [tailnum]
    windows: [1d, 7d]
    features: {delay_mean: mean(arr_delay * 2), flights: count()}
  sky:
    source: weather
    by: {origin: airport}
    windows: [6h]
    features: {wind: last(wind_speed)}
features:
  distance_z: zscore(log1p(distance))
  route: cross(origin, dest, buckets=1000)
  day: "'weekend' if is_weekend(sched_dep) else 'weekday'"
  wind: {expr: sky.wind_6h, created: 2024-05-01, owner: weather-team}
"""


def flights() -> Spec:
    return parse_spec(FLIGHTS)


def rows(**settings: Any) -> Spec:
    """Return a small spec with other settings."""
    made: dict[str, Any] = {
        "sources": {"rows": Source(path="rows.csv")},
        "examples": Examples("rows"),
        "features": {"size": "log1p(bytes)"},
    }
    return Spec(**{**made, **settings})


def test_a_spec_in_python_equals_the_same_spec_in_yaml() -> None:
    built = fk.Spec(
        sources={"rows": fk.Source(path=Path("rows.csv"), columns={"a": "string", "b": FLOAT64})},
        examples={"source": "rows", "keys": "id", "split": {"hash": "id", "eval": 0.25}},
        aggregations={
            "per": fk.Aggregation("rows", by="a", windows="7d", features={"n": fk.count()})
        },
        features={"size": fk.log1p("bytes"), "one": fk.Feature("a", created=date(2024, 5, 1))},
    )  # fmt: skip
    text = """
sources: {rows: {path: rows.csv, columns: {a: string, b: {type: float64}}}}
examples: {source: rows, keys: [id], split: {hash: [id], eval: .25}}
aggregations: {per: {source: rows, by: {a: a}, windows: [7d], features: {n: count()}}}
features: {size: log1p(bytes), one: {expr: a, created: 2024-05-01}}
"""
    assert built == parse_spec(text)
    assert built.fingerprint == parse_spec(text).fingerprint
    assert hash(built) == hash(parse_spec(text))


def test_yaml_that_is_written_reads_back_to_the_same_spec() -> None:
    spec = flights()
    again = parse_spec(spec.to_yaml())
    assert again == spec
    assert again.fingerprint == spec.fingerprint
    assert again.to_yaml() == spec.to_yaml()


def test_yaml_is_written_as_a_person_would() -> None:
    assert flights().to_yaml() == FLIGHTS


def test_python_that_is_written_builds_the_same_spec() -> None:
    scope: dict[str, Any] = {}
    exec(flights().to_python(), scope)
    assert scope["spec"] == flights()


def test_python_is_written_as_a_person_would() -> None:
    spec = rows(
        features={"size": "log1p(bytes)", "kind": Feature("vocabulary(kind)", owner="a")},
        name="small",
    )
    assert (
        spec.to_python()
        == """\
import featurekit as fk

spec = fk.Spec(
    name="small",
    sources={"rows": fk.Source(path="rows.csv")},
    examples=fk.Examples(source="rows"),
    features={
        "size": "log1p(bytes)",
        "kind": fk.Feature(expr="vocabulary(kind)", owner="a"),
    },
)
"""
    )


def test_plain_data_reads_back_to_the_same_spec() -> None:
    assert Spec.from_dict(flights().to_dict()) == flights()


@pytest.mark.parametrize("write", [Spec.to_dict, Spec.to_yaml, Spec.to_python])
def test_a_table_in_memory_cannot_be_written(write: Any) -> None:
    spec = rows(sources={"rows": Source(data=pl.DataFrame({"bytes": [1]}))})
    with pytest.raises(SpecError, match="source 'rows' is a table in memory and cannot be written"):
        write(spec)
    assert spec.as_plain()["sources"] == {"rows": {}}


def test_places_folders_and_tables_are_not_compared() -> None:
    spec = rows()
    assert replace(spec, base=Path("/elsewhere"), places={(): "a.yaml:1"}) == spec
    assert Source(data=pl.DataFrame()) == Source()


def test_the_order_of_features_does_not_matter_to_equality_but_is_kept() -> None:
    one, other = rows(features={"a": "x", "b": "y"}), rows(features={"b": "y", "a": "x"})
    assert one == other
    assert one.fingerprint == other.fingerprint
    assert list(other.features) == ["b", "a"]


def test_everything_changed_changes_the_fingerprint() -> None:
    spec = flights()
    assert len({
        spec.fingerprint,
        replace(spec, name="other").fingerprint,
        replace(spec, examples=replace(spec.examples, label=parse("arr_delay > 16"))).fingerprint,
        replace(spec, features=FrozenMapping({"route": Feature("origin")})).fingerprint,
    }) == 4  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_type_checkers_are_told_are_the_fields(kind: type[Settings]) -> None:
    tree = ast.parse(inspect.getsource(objects))
    (body,) = [
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    (init,) = [
        node
        for part in body
        for node in ast.walk(part)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    declared = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    assert [argument.arg for argument in init.args.args[1:]] == declared
    assert set(declared) - set(kind.readers) <= {"data", "base", "places"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_documented(kind: type[Settings]) -> None:
    for entry in fields(kind):  # type: ignore[arg-type]
        assert f"{entry.name}" in str(kind.__doc__)


WEEK = {"source": "rows", "windows": "7d", "features": {"n": "count()"}}

REFUSED: dict[str, tuple[type[Settings], dict[str, Any], str]] = {
    "column of two kinds": (
        Column,
        {"expr": "a", "column": "b"},
        "either derived (expr) or read (column), not both",
    ),
    "column available twice": (
        Column,
        {"available": True, "available_at": "t"},
        "either available or available_at, not both",
    ),
    "unknown type": (
        Column,
        {"type": "int46"},
        "type: unknown type 'int46'; the types are bool, int64",
    ),
    "type that is no text": (
        Column,
        {"type": 5},
        "type: a text is needed, got 5. Hint: put it in quotes",
    ),
    "unknown zone": (
        Column,
        {"zone": "Mars/Olympus"},
        "zone: 'Mars/Olympus' is not a time zone. Hint: IANA names",
    ),
    "zone of a path": (Column, {"zone": "../../etc/passwd"}, "is not a time zone"),
    "flag that is no boolean": (
        Column,
        {"nullable": "no"},
        "nullable: true or false is needed, got 'no'",
    ),
    "empty name": (Column, {"column": ""}, "column: a name is needed, got an empty text"),
    "wrong expression": (
        Column,
        {"expr": "zscor(x)"},
        "there is no operation 'zscor'. Hint: did you mean 'zscore'?",
    ),
    "two places": (
        Source,
        {"path": "a.csv", "table": "p.d.t"},
        "a source has one of path, table or data, got path and table",
    ),
    "unknown format": (
        Source,
        {"path": "a", "format": "json"},
        "format is parquet, csv or tfrecord, got 'json'",
    ),
    "long separator": (Source, {"separator": "||"}, "separator is one character, got '||'"),
    "newline as separator": (Source, {"separator": "\n"}, "separator is one character, got '\\n'"),
    "path that is no text": (Source, {"path": 5}, "path: a text is needed, got 5"),
    "columns that are a list": (
        Source,
        {"columns": ["a"]},
        "columns are a mapping by name, got ['a']",
    ),
    "a wrong column": (
        Source,
        {"columns": {"a": {"typ": "string"}}},
        "column 'a': typ: there is no such setting in a column. Hint: did you mean 'type'?",
    ),
    "columns equal but for case": (
        Source,
        {"columns": {"a": "string", "A": "string"}},
        "the columns 'a' and 'A' differ only in case. Hint: BigQuery",
    ),
    "split of no kind": (
        Split,
        {},
        "a split needs exactly one of by, hash and column. Hint: {by: sched_dep",
    ),
    "split of two kinds": (
        Split,
        {"by": "t", "hash": "id"},
        "a split needs exactly one of by, hash and column",
    ),
    "split by time without a time": (Split, {"by": "t"}, "needs eval_from, test_from or both"),
    "split in the wrong order": (
        Split,
        {"by": "t", "eval_from": "2020-02-01", "test_from": "2020-01-01"},
        "eval_from must lie before test_from",
    ),
    "times without a time column": (
        Split,
        {"hash": "id", "eval": 0.1, "test_from": "2020-01-01"},
        "belong to a split by time (by: a column)",
    ),
    "no date": (
        Split,
        {"by": "t", "eval_from": "soon"},
        "eval_from: a date or time such as 2013-10-01 is needed, got 'soon'",
    ),
    "a date as a number": (
        Split,
        {"by": "t", "eval_from": 20130101},
        "eval_from: a date or time such as 2013-10-01 is needed, got 20130101",
    ),
    "shares without a hash": (
        Split,
        {"by": "t", "eval_from": "2020-01-01", "eval": 0.1},
        "belong to a split by hash (hash: a key)",
    ),
    "hash without shares": (
        Split,
        {"hash": "id"},
        "shares eval and test that sum to between 0 and 1, got 0 and 0",
    ),
    "shares of everything": (
        Split,
        {"hash": "id", "eval": 0.5, "test": 0.5},
        "sum to between 0 and 1, got 0.5 and 0.5",
    ),
    "a share above one": (
        Split,
        {"hash": "id", "eval": 20},
        "eval: a share from 0 to below 1 is needed, got 20",
    ),
    "a share that is no number": (
        Split,
        {"hash": "id", "eval": True},
        "eval: a share from 0 to below 1 is needed, got True",
    ),
    "key twice": (Examples, {"source": "rows", "keys": ["a", "a"]}, "keys: 'a' stands twice"),
    "key that is no text": (
        Examples,
        {"source": "rows", "keys": [5]},
        "keys: a list of texts is needed, got [5]",
    ),
    "an aggregate as label": (
        Examples,
        {"source": "rows", "label": fk.mean("x")},
        "label: 'mean(x)' summarises past rows",
    ),
    "a wrong split": (
        Examples,
        {"source": "rows", "split": {"bye": "t"}},
        "split: bye: there is no such setting in a split. Hint: did you mean 'by'?",
    ),
    "a split that is no mapping": (
        Examples,
        {"source": "rows", "split": "t"},
        "split: for a split a mapping of settings is needed, got 't'",
    ),
    "no source": (Examples, {"source": None}, "source: 'source' is missing in examples"),
    "no windows": (
        Aggregation,
        {"source": "rows", "features": {"n": "count()"}},
        "an aggregation needs windows, such as [1d, 7d]",
    ),
    "no aggregates": (Aggregation, {**WEEK, "features": {}}, "an aggregation needs features"),
    "no duration": (Aggregation, {**WEEK, "windows": "week"}, "windows: 'week' is not a window"),
    "an empty window": (
        Aggregation,
        {**WEEK, "windows": "0d"},
        "windows: a window begins before it ends and is longer than nothing, got '0d'",
    ),
    "a window before time": (
        Aggregation,
        {**WEEK, "windows": "99999999999999w"},
        "does not fit in 64 bits",
    ),
    "a number for a window": (
        Aggregation,
        {**WEEK, "windows": [7]},
        "windows: a list of windows is needed, got [7]. Hint: a window is a duration, such as 7d",
    ),
    "a number for a window beside a window": (
        Aggregation,
        {**WEEK, "windows": ["1d", 30]},
        "Hint: a window is a duration, such as 30d",
    ),
    "a key of mappings": (
        Aggregation,
        {**WEEK, "by": [{"home": "away"}, "day"]},
        (
            "by: a list of names, or a mapping of them, is needed, got [{'home': 'away'}, 'day']. "
            "Hint: columns of two names are one mapping: {home: away, day: day}"
        ),
    ),
    "a date as the time of prediction": (
        Examples,
        {"source": "rows", "predict_at": "2024-01-01"},
        (
            "predict_at: a time column plus or minus a duration is needed, got the date "
            "'2024-01-01'. Hint: each row has a time of its own, for example sched_dep - 2h"
        ),
    ),
    "a date and an hour as a time": (
        Column,
        {"available_at": "2024-10-11 12:00"},
        "available_at: a time column plus or minus a duration is needed, got the date",
    ),
    "a date within an expression": (
        Feature,
        {"expr": "t > 2024-01-01"},
        "'t > 2024-01-01' is not an expression: a date cannot be written in one. Hint: year(t)",
    ),
    "window twice": (Aggregation, {**WEEK, "windows": ["7d", "7d"]}, "windows: '7d' stands twice"),
    "aggregate of nothing": (
        Aggregation,
        {**WEEK, "features": {"n": "x + 1"}},
        "feature 'n': 'x + 1' does not summarise past rows. Hint: for example mean(arr_delay)",
    ),
    "aggregate of an aggregate": (
        Aggregation,
        {**WEEK, "features": {"n": "mean(sum(x))"}},
        "feature 'n': mean cannot be applied to 'sum(x)', which summarises past rows",
    ),
    "ratio of aggregates": (
        Aggregation,
        {**WEEK, "features": {"n": "sum(x) / sum(y)"}},
        "feature 'n': divide cannot be applied to 'sum(x)'",
    ),
    "unknown aggregate": (
        Aggregation,
        {**WEEK, "features": {"n": "mena(x)"}},
        "there is no operation 'mena'. Hint: did you mean 'mean'?",
    ),
    "wrong quantile": (
        Aggregation,
        {**WEEK, "features": {"n": "quantile(x, 50)"}},
        "quantile: q must be from 0 to 1, got 50. Hint: the call is quantile(x, q, where=None)",
    ),
    "wrong key": (Aggregation, {**WEEK, "by": {"a": 5}}, "by: a list of texts is needed, got [5]"),
    "key of two columns": (
        Aggregation,
        {**WEEK, "by": {"a": "c", "b": "c"}},
        "by: 'c' stands twice",
    ),
    "malformed aggregate name": (
        Aggregation,
        {**WEEK, "features": {"a.b": "count()"}},
        "'a.b' cannot be a name. Hint: a letter, then letters",
    ),
    "feature without expression": (Feature, {"expr": None}, "'expr' is missing in a feature"),
    "an aggregate as feature": (
        Feature,
        {"expr": fk.mean("x")},
        "'mean(x)' summarises past rows. Hint: it belongs under aggregations",
    ),
    "no creation date": (
        Feature,
        {"expr": "x", "created": "May"},
        "created: a date such as 2024-05-01 is needed, got 'May'",
    ),
    "a time of creation": (
        Feature,
        {"expr": "x", "created": datetime(2024, 5, 1, tzinfo=UTC)},
        "created: a date such as 2024-05-01 is needed",
    ),
    "owner that is no text": (Feature, {"expr": "x", "owner": 5}, "owner: a text is needed, got 5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_make_no_sense_are_refused(case: str) -> None:
    kind, settings, message = REFUSED[case]
    with pytest.raises(SpecErrors) as caught:
        kind(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(("settings", "message"), [
    ({"sources": {}}, "a spec needs sources"),
    ({"features": {}}, "a spec needs features"),
    ({"sources": ["rows"]}, "sources are a mapping by name, got ['rows']"),
    ({"examples": "rows"}, "examples: for examples a mapping of settings is needed, got 'rows'"),
    ({"name": 5}, "name: a text is needed, got 5"),
    ({"features": {"a": "x", "A": "y"}},
     "feature 'A': the features 'a' and 'A' differ only in case"),
    ({"sources": {"rows": {"path": "a"}, "Rows": {"path": "a"}}},
     "the sources 'rows' and 'Rows' differ only in case"),
    ({"sources": {"rows": {"data": [1]}}},
     "source 'rows': data: there is no such setting in a source"),
    ({"features": {"a": {"expr": "x", "base": "y"}}},
     "feature 'a': base: there is no such setting in a feature"),
    ({"features": {"a": {}}}, "feature 'a': 'expr' is missing in a feature"),
    ({"features": {"a": "=x"}}, "feature 'a': '=x' is not an expression: invalid syntax"),
    *(({"features": {name: "x"}}, f"{name!r} cannot be a name. Hint: a letter, then letters")
      for name in ("2nd", "a b", "a.b", "a-b", "_a", "", "é", "x" * 129)[:-1]),
    ({"features": {"x" * 129: "x"}}, "xxx... cannot be a name"),
    *(({"features": {name: "x"}}, f"feature {name!r}: {name!r} is a reserved name. Hint: choose")
      for name in ("label", "split", "predict_at", "col", "class", "None")),
    ({"sources": {"my rows": {"path": "a"}}}, "'my rows' cannot be a name"),
    ({"aggregations": {"a.b": {}}}, "'a.b' cannot be a name"),
])  # fmt: skip
def test_a_spec_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        rows(**settings)
    assert message in str(caught.value)


def test_python_collects_all_problems_too() -> None:
    with pytest.raises(SpecErrors) as caught:
        rows(
            sources={"rows": {"columns": {"a": "strng", "b": {"unit": 5}}}},
            features={"a": "zscor(x)", "b": "log(", "ok": "x"},
        )
    assert [problem.where for problem in caught.value.problems] == [
        "source 'rows': column 'a': type", "source 'rows': column 'b': unit",
        "feature 'a'", "feature 'b'",
    ]  # fmt: skip


def test_a_setting_that_is_none_is_as_if_it_were_not_given() -> None:
    assert Source(path="a.csv", columns=None, separator=None) == Source(path="a.csv")  # type: ignore[arg-type]
    assert parse_spec(FLIGHTS + "\n").sources == parse_spec(
        FLIGHTS.replace("{table: project", "{path: ~, table: project")
    ).sources  # fmt: skip


def test_times_are_kept_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    split = Split(
        by="t", eval_from=date(2013, 10, 1), test_from=datetime(2013, 11, 1, 1, tzinfo=east)
    )
    assert split.eval_from == datetime(2013, 10, 1, tzinfo=UTC)
    assert split.test_from == datetime(2013, 10, 31, 23, tzinfo=UTC)
    assert split.to_plain() == {
        "by": "t", "eval_from": "2013-10-01", "test_from": "2013-10-31T23:00:00Z"
    }  # fmt: skip


def test_an_aggregation_names_its_outputs() -> None:
    tail = flights().aggregations["tail"]
    assert [(name, of, window.text) for name, of, window in tail.outputs()] == [
        ("delay_mean_1d", "delay_mean", "1d"), ("delay_mean_7d", "delay_mean", "7d"),
        ("flights_1d", "flights", "1d"), ("flights_7d", "flights", "7d"),
    ]  # fmt: skip


def test_row_operations_stand_inside_of_aggregates() -> None:
    features = {
        "a": "mean(abs(x))",
        "b": "sum(price * quantity)",
        "c": "any(x > 15)",
        "d": "quantile(x, 0.9)",
    }
    made = Aggregation("rows", windows="7d", features=features)
    assert {name: expression.text for name, expression in made.features.items()} == {
        **features, "d": "quantile(x, q=0.9)"
    }  # fmt: skip


def test_a_column_may_be_given_by_its_type_alone() -> None:
    source = Source(path="a.csv", columns={"a": "string", "b": STRING, "c": Column(type="string")})
    assert len(set(source.columns.values())) == 1


@pytest.mark.parametrize("name", ["flights", "my project.data.flights", "p.d.t; DROP", "p..t"])
def test_a_source_names_a_table_by_its_whole_id(name: str) -> None:
    with pytest.raises(SpecErrors, match="is not a table id"):
        Source(table=name)
    assert Source(table="my-project.data.flights").table == "my-project.data.flights"
