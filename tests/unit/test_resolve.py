"""Typing a spec against its data: names, types, cycles, leaks, and aggregations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import featurekit as fk
from featurekit.errors import LeakageError, SpecError, SpecErrors
from featurekit.graph import AggregateNode, ColumnNode, OperationNode, topological
from featurekit.planner import make_plan
from featurekit.resolve import resolve
from featurekit.resolved import Resolved
from featurekit.spec.yaml import parse_spec
from featurekit.transforms.catalogue import aggregations
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Kind,
    Type,
)

TYPES = {
    "flight_id": INT64, "sched_dep": TIMESTAMP, "actual_dep": TIMESTAMP, "actual_arr": TIMESTAMP,
    "carrier": STRING, "origin": STRING, "dest": STRING, "tailnum": STRING, "distance": FLOAT32,
    "seats": INT64, "price": FLOAT64, "dep_delay": FLOAT32, "arr_delay": FLOAT32, "is_full": BOOL,
    "waited": DURATION,
}  # fmt: skip
WEATHER = {"time_hour": TIMESTAMP, "airport": STRING, "wind": FLOAT32, "gusts": INT64, "id": INT64}

HEAD = """\
sources:
  flights:
    path: flights.parquet
    event_time: sched_dep
    available_at: sched_dep - 30d
    columns:
      dep_delay: {available_at: actual_dep}
      arr_delay: {available_at: actual_arr}
      distance_km: {expr: distance * 1.609344}
  weather: {path: weather.parquet, event_time: time_hour, available_at: time_hour + 1h}
examples: {source: flights, keys: [flight_id], predict_at: sched_dep - 2h, label: arr_delay > 15}
"""
TAIL = """\
aggregations:
  tail: {source: flights, by: [tailnum], windows: [1d, 7d], features: {delay: mean(arr_delay)}}
"""


def resolved(
    features: str, head: str = HEAD, others: Mapping[str, Mapping[str, Type]] | None = None
) -> Resolved:
    lines = "".join(f"  {line}\n" for line in features.splitlines())
    spec = parse_spec(f"{head}features:\n{lines}", name="f.yaml")
    return resolve(spec, TYPES, {"weather": WEATHER} if others is None else others)


def problems(features: str, head: str = HEAD, **settings: Any) -> list[str]:
    """Return what is wrong, each problem without the name of the file."""
    with pytest.raises(SpecErrors) as caught:
        resolved(features, head, **settings)
    return [str(problem).removeprefix("f.yaml:") for problem in caught.value.problems]


def aggregates(
    features: str, source: str = "weather", by: str = "{origin: airport}", head: str = HEAD
) -> str:
    """Return the start of a spec with an aggregation of these features."""
    return (
        f"{head}aggregations:\n  a: {{source: {source}, by: {by}, windows: [6h], "
        f"features: {{{features}}}}}\n"
    )


@pytest.mark.parametrize(("text", "of"), [
    ("zscore(log1p(distance))", FLOAT32), ("zscore(price)", FLOAT64), ("seats + 1", INT64),
    ("seats + 0.5", FLOAT32), ("price * 2", FLOAT64), ("carrier", STRING),
    ("vocabulary(carrier)", INT64),
    ("is_full", INT64), ("distance > 100", INT64), ("one_hot(seats, 3)", Type(Kind.FLOAT32, 3)),
    ("distance_km", FLOAT32), ("other + 1", FLOAT32), ("hour(sched_dep - 2h)", INT64),
    ("'far' if distance > 100 else 'near'", STRING), ("hour(sched_dep) % 12", INT64),
])  # fmt: skip
def test_features_have_types(text: str, of: Type) -> None:
    made = resolved(f'x: "{text}"\nother: distance / 2')
    assert made.features["x"].type == of


def test_keys_label_and_types_are_resolved_with_the_features() -> None:
    made = resolved("x: distance")
    assert made.keys["flight_id"] == ColumnNode.of("flight_id", INT64)
    assert made.label is not None
    assert made.label.type == BOOL
    assert set(made.inputs(*made.features.values())) == {"distance"}
    assert set(made.inputs()) == {"distance", "flight_id", "arr_delay"}


def test_a_feature_may_use_features_that_follow_it_and_sees_their_own_type() -> None:
    made = resolved("a: 1.5 if late else 0.5\nlate: distance > 100\nb: a + 1")
    assert [(name, node.type) for name, node in made.features.items()] == [
        ("a", FLOAT32), ("late", INT64), ("b", FLOAT32)
    ]  # fmt: skip


def test_what_features_share_is_one_node() -> None:
    made = resolved("a: zscore(log1p(distance))\nb: log1p(distance)\nc: b + 1")
    inner = made.features["a"].inputs[0]
    assert inner is made.features["b"]
    assert made.features["c"].inputs[0] is inner


def test_a_column_hides_a_feature_of_its_name() -> None:
    made = resolved("distance: log1p(distance)\nagain: distance + 1")
    assert made.features["distance"].text == "log1p(distance)"
    assert made.features["again"].text == "distance + 1.0"


def test_a_constant_beside_a_float64_keeps_its_digits() -> None:
    node = resolved("x: price + 0.1").features["x"]
    assert isinstance(node, OperationNode)
    assert node.sources[1].type == FLOAT64


ONE_PROBLEM = {
    "x: log1p(distanse)": "there is no column or feature 'distanse'. "
    "Hint: did you mean 'distance'?",
    "x: log1p(x)": "there is no column or feature 'x'. Hint: known here: actual_arr, actual_dep",
    "x: zscore(carrier)": "zscore needs a number; 'carrier' is a string. "
    "Hint: vocabulary(carrier) first, or cast(carrier, 'float32') if it holds numbers",
    "x: zscore(sched_dep)": "zscore needs a number; 'sched_dep' is a timestamp. "
    "Hint: hour(sched_dep), day_of_week(sched_dep) or seconds_between first",
    "x: zscore(is_full)": "zscore needs a number; 'is_full' is a boolean. "
    "Hint: cast(is_full, 'int64') first",
    "x: vocabulary(distance)": "vocabulary needs a string",
    "x: hour(carrier)": "hour needs a timestamp; 'carrier' is a string. "
    "Hint: declare the column's type as timestamp; carrier is read as string",
    "x: 1 if distance else 2": "where needs a boolean as its condition; 'distance' is a float32. "
    "Hint: compare it, for example distance > 0",
    "x: distance + carrier": "add needs a number, a timestamp or a duration as its y; 'carrier' is",
    "x: sched_dep + 7": "'sched_dep + 7': a timestamp and an integer cannot be added. "
    "Hint: a time is moved by a duration: t + 7d; seconds_between(a, b) is a number",
    "x: 7 - sched_dep": "a timestamp cannot be subtracted from an integer. Hint: a time is moved",
    "x: sched_dep + actual_dep": "a timestamp and a timestamp cannot be added. Hint: a time is",
    "x: waited - 2.5": "a float32 cannot be subtracted from a duration. Hint: a duration is "
    "written 7d or 2h; seconds_between(a, b) is a number",
    "x: waited * distance": "a duration and a float32 cannot be multiplied, only a duration and an "
    "integer. Hint: a duration is written 7d",
    "x: seats == '3'": "an integer and a string cannot be compared. Hint: cast(..., 'string')",
    "x: sched_dep > '2013-01-31'": "a timestamp and a string cannot be compared. Hint: a text is "
    "no time; year(t), month(t), hour(t) and the like are numbers",
    "x: carrier == UA": "there is no column or feature 'UA'. Hint: known here: actual_arr, "
    "actual_dep, arr_delay, carrier, dep_delay, dest, distance, distance_km, ...; a text goes in "
    'quotes: "UA"',
    "x: dest == origine": "did you mean 'origin'? A text goes in quotes: \"origine\"",
    "x: vocabulary(origin if is_full else none)": 'a text goes in quotes: "none"',
    "x: coalesce(distance, carrier)": "'coalesce(distance, carrier)': float32 and string have no "
    "common type",
    "x: carrier < origin": "'carrier < origin': strings are not ordered; == and != compare them",
    "x: zscore(one_hot(seats, 3))": "zscore needs a number; 'one_hot(seats, depth=3)' is a vector "
    "(float32[3]). Hint: a vector can only be a feature of its own",
    "x: cast(distance, 'string')": "float32 cannot be cast to string",
    "x: sched_dep": "a feature cannot be a timestamp. Hint: hour(t)",
    "x: sched_dep - actual_dep": "a feature cannot be a duration. Hint: hour(t)",
    "x: 5": "it reads no column, so it is the same for every row",
    "x: zscore(1 + 1)": "zscore needs something that changes from row to row, got '1 + 1'",
    "x: flights.distance": "there is no aggregation or lookup 'flights'. Hint: 'flights' is a "
    "source; a feature uses its rows through an aggregation or a lookup",
    "x: tale.delay_7d": "there is no aggregation or lookup 'tale'",
    "x: arr_delay": "'arr_delay' is known at actual_arr; 'x' uses it at sched_dep - 2h, and which "
    "comes first cannot be proven from the spec. Hint: use past rows through an aggregation",
    "flight_id: distance": "the feature 'flight_id' has the same name. Hint: rename the feature",
    "Flight_ID: distance": "the feature 'Flight_ID' has the same name",
}


@pytest.mark.parametrize("feature", ONE_PROBLEM)
def test_a_feature_that_does_not_fit_is_refused(feature: str) -> None:
    (problem,) = problems(feature)
    assert ONE_PROBLEM[feature] in problem


@pytest.mark.parametrize(("feature", "hint"), [
    ("x: tail", "an aggregation; a feature uses its outputs: tail.delay_1d, tail.delay_7d"),
    ("x: log1p(gate) + 1", "'gate' is a lookup; a feature uses its outputs: gate.wind"),
])  # fmt: skip
def test_an_aggregation_or_lookup_alone_is_no_value(feature: str, hint: str) -> None:
    gate = "lookups: {gate: {source: weather, by: {origin: airport}, features: [wind]}}\n"
    (problem,) = problems(feature, HEAD + TAIL + gate)
    assert problem.endswith(hint)


def test_an_output_of_a_column_that_is_misspelt_is_not_suggested() -> None:
    gate = "lookups: {gate: {source: weather, by: {origin: airport}, features: [wnid, gusts]}}\n"
    (problem,) = problems("x: gate.wind\ny: gate.wnid", HEAD + gate)
    assert "lookup 'gate': feature 'wnid': there is no column 'wnid'" in problem
    assert "did you mean 'wind'?" in problem
    two = problems("x: gate.wind\ny: gate.gust", HEAD + gate)
    assert "the lookup 'gate' has no output 'gust'. Hint: did you mean 'gusts'?" in two[1]


def test_a_cycle_of_features_is_told_once_and_names_its_members() -> None:
    (problem,) = problems("a: b + 1\nb: c + 1\nc: a + 1\nd: a\ne: log1p(distance)")
    assert problem == "13: feature 'a': features refer to each other: a -> b -> c -> a"


def test_every_cycle_is_told() -> None:
    found = problems("a: b\nb: a\nc: d\nd: c")
    assert [line.split("other: ")[1] for line in found] == ["a -> b -> a", "c -> d -> c"]


def test_a_problem_is_told_where_it_stands_and_not_where_it_is_used() -> None:
    (problem,) = problems("a: b + 1\nb: zscore(c)\nc: log1p(distanse)\nd: c")
    assert problem.startswith("15: feature 'c': there is no column or feature 'distanse'")


def test_a_thousand_features_may_follow_from_each_other() -> None:
    lines = ["f0: log1p(distance)", *(f"f{i}: f{i - 1}" for i in range(1, 1000))]
    made = resolved("\n".join(reversed(lines)))
    assert made.features["f999"].text == "log1p(distance)"


def test_features_that_spell_out_too_large_are_refused() -> None:
    doubling = ["f0: distance", *(f"f{i}: f{i - 1} + f{i - 1}" for i in range(1, 60))]
    found = problems("\n".join(doubling))
    assert len(found) == 1
    assert "with the features and derived columns that it uses spelled out" in found[0]
    deep = ["f0: distance", *(f"f{i}: log1p(f{i - 1})" for i in range(1, 120))]
    assert "is nested 101 deep" in problems("\n".join(deep))[0]


SOURCES = {
    "sched: {type: timestamp}": "9: source 'flights': column 'sched': the data has no such column. "
    "Hint: did you mean 'sched_dep'?",
    "x: {expr: y}\n      y: {expr: x + 1}": "9: source 'flights': column 'x': derived columns "
    "refer to each other: x -> y -> x",
    "seats: {expr: seats + 1}": "9: source 'flights': column 'seats': the derived column 'seats' "
    "uses itself. Hint: read the stored one under another name: stored_seats: {column: seats}",
    "x: {expr: zscore(distance)}": "9: source 'flights': column 'x': the derived column 'x' uses "
    "statistics of the data. Hint: a derived column is a row expression; make it a feature",
    "x: {expr: hour(carrier)}": "9: source 'flights': column 'x': hour needs a timestamp",
    "x: {expr: late}": "9: source 'flights': column 'x': there is no column 'late'",
    "x: {expr: weather.wind_6h}": "9: source 'flights': column 'x': weather.wind_6h cannot be used "
    "here. Hint: only features can use the outputs of aggregations",
    "x: {expr: distance, type: timestamp}": "9: source 'flights': column 'x': the derived column "
    "'x' needs a timestamp; 'distance' is a float32",
    "seats: {available_at: distance}": "9: source 'flights': column 'seats': available_at: a "
    "timestamp is needed; 'distance' is a float32",
    "seats: {available_at: sched_deb}": "9: source 'flights': column 'seats': available_at: there "
    "is no column 'sched_deb'. Hint: did you mean 'sched_dep'?",
    "seats: {available_at: 'sched_dep if is_full else actual_dep'}": "9: source 'flights': column "
    "'seats': available_at: 'sched_dep if is_full else actual_dep' is not a time column plus or "
    "minus a duration. Hint: for example sched_dep - 2h",
}


@pytest.mark.parametrize("column", SOURCES)
def test_a_source_that_does_not_fit_its_data_is_refused(column: str) -> None:
    head = HEAD.replace("distance_km: {expr: distance * 1.609344}", column)
    (problem,) = problems("x: distance", head)
    assert problem.startswith(SOURCES[column])


def test_a_problem_of_a_derived_column_is_not_repeated_by_its_users() -> None:
    head = HEAD.replace("distance * 1.609344", "distanse * 1.609344")
    (problem,) = problems("x: distance_km\ny: log1p(distance_km)", head)
    assert problem.startswith("9: source 'flights': column 'distance_km': there is no column")


EXAMPLES = {
    ("source: flights", "source: flihgts"): "11: examples: there is no source 'flihgts'. "
    "Hint: did you mean 'flights'?",
    ("keys: [flight_id]", "keys: 'flight_id, tailnum'"): "11: examples: key 'flight_id, tailnum': "
    "there is no column 'flight_id, tailnum'. Hint: several columns are a list: "
    "[flight_id, tailnum]",
    ("keys: [flight_id]", "keys: [id]"): "11: examples: key 'id': there is no column 'id'",
    ("sched_dep - 2h", "hour(sched_dep)"): "11: examples: predict_at: a timestamp is needed; "
    "'hour(sched_dep)' is an integer",
    ("sched_dep - 2h", "seats"): "11: examples: predict_at: a timestamp is needed; 'seats' is an "
    "integer. Hint: declare it: seats: {type: timestamp}",
    ("label: arr_delay > 15", "label: zscore(arr_delay)"): "11: examples: label: "
    "'zscore(arr_delay)' uses statistics of the data; a row expression is needed",
    ("label: arr_delay > 15", "label: 'one_hot(seats, 2)'"): "11: examples: label: "
    "'one_hot(seats, depth=2)' is a vector (float32[2]); a scalar is needed",
    ("label: arr_delay > 15", "label: actual_arr"): "11: examples: label: a label cannot be a "
    "timestamp",
    ("label: arr_delay > 15", "label: x"): "11: examples: label: there is no column 'x'",
    ("label: arr_delay > 15", "split: {by: distance, eval_from: 2013-01-01}"): "11: examples: "
    "split: by: a timestamp is needed; 'distance' is a float32",
    ("label: arr_delay > 15", "split: {hash: sched_dep, eval: 0.1}"): "11: examples: split: hash: "
    "a split by hash needs a string; 'sched_dep' is a timestamp",
    ("label: arr_delay > 15", "split: {column: seats}"): "11: examples: split: column: a string is "
    "needed; 'seats' is an integer",
}


@pytest.mark.parametrize("change", EXAMPLES)
def test_examples_that_do_not_fit_are_refused(change: tuple[str, str]) -> None:
    (problem,) = problems("x: distance", HEAD.replace(*change))
    assert problem.startswith(EXAMPLES[change])


def test_a_key_of_a_reserved_name_is_refused() -> None:
    spec = fk.Spec({"rows": fk.Source(path="a")}, fk.Examples("rows", "split"), {"x": "distance"})
    with pytest.raises(SpecError, match="examples: key 'split': 'split' is a reserved name"):
        resolve(spec, {"split": STRING, "distance": FLOAT32})


@pytest.mark.parametrize("split", [
    "{by: sched_dep, test_from: 2013-01-01}", "{hash: [flight_id, tailnum], eval: 0.1}",
    "{column: carrier}",
])  # fmt: skip
def test_the_columns_of_a_split_are_resolved(split: str) -> None:
    made = resolved("x: distance", HEAD.replace("label: arr_delay > 15", f"split: {split}"))
    assert bool(made.hashed) == ("hash" in split)
    assert (made.split is None) == ("hash" in split)
    assert all(node.type == STRING for node in made.hashed)


NO_TIME = """\
sources: {flights: {path: a.csv, columns: {COLUMNS}}}
examples: {source: flights, label: arr_delay > 15}
"""


def test_the_label_used_as_input_is_a_leak_and_the_chain_is_named() -> None:
    head = NO_TIME.replace("COLUMNS", "late: {expr: arr_delay / 60}")
    found = problems("a: zscore(arr_delay)\nb: late\nc: b + 1", head)
    assert found[0] == (
        "4: feature 'a': 'arr_delay' makes the label, and 'a' uses it as an input. Hint: leave it "
        "out; if it is known at prediction time, declare available_at (or available: true) for the "
        "column 'arr_delay'"
    )
    assert "'b' uses it as an input (through b -> late -> arr_delay)" in found[1]
    assert "'c' uses it as an input (through c -> b -> late -> arr_delay)" in found[2]


def test_a_label_made_of_a_derived_column_taints_what_it_is_made_of() -> None:
    head = NO_TIME.replace("COLUMNS", "late: {expr: arr_delay > 15}").replace(
        "arr_delay > 15}\n", "late}\n"
    )
    first, second = problems("a: late\nb: arr_delay", head)
    assert "'late' makes the label, and 'a' uses it" in first
    assert "'arr_delay' makes the label, and 'b' uses it" in second


def test_a_column_of_the_label_that_is_known_in_time_may_be_used() -> None:
    assert (
        "a"
        in resolved(
            "a: arr_delay", NO_TIME.replace("COLUMNS", "arr_delay: {available: true}")
        ).features
    )


def test_a_column_that_is_not_available_is_a_leak() -> None:
    head = NO_TIME.replace("COLUMNS", "seats: {available: false}, half: {expr: seats / 2}")
    first, second = problems("a: seats\nb: half", head)
    assert first.startswith("4: feature 'a': 'seats' is not available at prediction time, and 'a'")
    assert "(through b -> half -> seats)" in second


@pytest.mark.parametrize(("known", "good"), [
    ("sched_dep - 3h", True), ("sched_dep - 2h", True), ("sched_dep - 1h", False),
    ("sched_dep", False),
    ("sched_dep + 1h - 4h", True), ("soon", False), ("early", True), ("actual_dep", False),
])  # fmt: skip
def test_a_column_may_be_used_if_it_is_known_by_the_time_of_prediction(
    known: str, good: bool
) -> None:
    columns = (
        f"seats: {{available_at: {known}}}\n      soon: {{expr: sched_dep - 1h}}\n"
        "      early: {expr: soon - 1d}"
    )
    head = HEAD.replace("distance_km: {expr: distance * 1.609344}", columns)
    if good:
        assert "x" in resolved("x: seats", head).features
    else:
        (problem,) = problems("x: seats", head)
        assert (
            f"'seats' is known at {known.replace('soon', 'sched_dep - 1h')}; 'x' uses it" in problem
        )


def test_a_source_says_when_its_columns_are_known() -> None:
    (problem,) = problems("x: seats", HEAD.replace("sched_dep - 30d", "sched_dep"))
    assert "'seats' is known at sched_dep; 'x' uses it at sched_dep - 2h." in problem


def test_a_derived_column_is_known_when_its_parts_are_unless_it_says_otherwise() -> None:
    column = "distance_km: {expr: distance * 1.609344}"
    parts = HEAD.replace(column, "gain: {expr: dep_delay - 1}")
    assert "(through x -> gain -> dep_delay)" in problems("x: gain", parts)[0]
    itself = HEAD.replace(column, "gain: {expr: dep_delay - 1, available_at: sched_dep - 1d}")
    assert "x" in resolved("x: gain", itself).features


def test_a_time_that_nothing_is_compared_with_is_refused() -> None:
    (problem,) = problems("x: dep_delay", HEAD.replace("predict_at: sched_dep - 2h, ", ""))
    assert "'dep_delay' declares available_at, and examples declare no predict_at" in problem


def test_leaks_alone_have_another_exit_code_than_other_problems() -> None:
    with pytest.raises(SpecErrors) as leaks:
        resolved("x: dep_delay")
    assert leaks.value.exit_code == LeakageError.exit_code == 1
    with pytest.raises(SpecErrors) as mixed:
        resolved("x: dep_delay\ny: zscore(carrier)")
    assert mixed.value.exit_code == 2


AGGREGATES = {
    "count()": INT64, "count(wind)": INT64, "count_distinct(airport)": INT64,
    "approx_count_distinct(id)": INT64, "sum(gusts)": INT64, "sum(wind)": FLOAT32,
    "mean(gusts)": FLOAT32, "mean(wind * gusts)": FLOAT32, "max(abs(wind))": FLOAT32,
    "min(airport)": STRING, "first(time_hour)": TIMESTAMP, "last(gusts)": INT64,
    "any(wind > 15)": BOOL, "all(wind > 15)": BOOL, "variance(wind)": FLOAT32,
    "stddev(wind)": FLOAT32, "skewness(wind)": FLOAT32, "kurtosis(wind)": FLOAT32,
    "median(gusts)": FLOAT32, "quantile(wind, 0.9)": FLOAT32, "most_frequent(airport)": STRING,
    "first_k(wind, 3)": Type(Kind.FLOAT32, 3), "last_k(airport, 2)": Type(Kind.STRING, 2),
    "top_k(gusts, 5)": Type(Kind.INT64, 5), "time_since_first()": FLOAT32,
    "time_since_last(wind)": FLOAT32, "max(time_hour - 2h)": TIMESTAMP,
    "sum(time_hour - time_hour)": DURATION,
}  # fmt: skip


@pytest.mark.parametrize("text", AGGREGATES)
def test_aggregates_have_types_and_enter_the_graph_as_float32(text: str) -> None:
    of = AGGREGATES[text]
    feature = {TIMESTAMP: "hour(a.f_6h)", DURATION: "a.f_6h > 2h"}.get(of, "a.f_6h")
    made = resolved(f"x: {feature}", aggregates(f'f: "{text}"'))
    (node,) = [n for n in topological(made.features.values()) if isinstance(n, AggregateNode)]
    assert (node.text, node.type) == ("a.f_6h", of)


def test_a_saved_model_has_no_vector_of_strings() -> None:
    made = resolved("x: a.f_6h", aggregates("f: 'last_k(airport, 2)'"))
    assert make_plan(made, saved_model=False).resolved is made
    with pytest.raises(SpecErrors, match=r"f\.yaml:15: feature 'x': a SavedModel has no vector of"):
        make_plan(made)


def test_every_aggregation_is_typed_by_a_test() -> None:
    assert {text.partition("(")[0] for text in AGGREGATES} == set(aggregations())


AGGREGATE_PROBLEMS = {
    "mean(carrier)": "feature 'f': there is no column 'carrier'",
    "mean(wnd)": "feature 'f': there is no column 'wnd'. Hint: did you mean 'wind'?",
    "mean(airport)": "feature 'f': mean needs a number or a boolean; 'airport' is a string",
    "median(wind > 15)": "feature 'f': median needs a number; 'wind > 15' is a boolean. "
    "Hint: cast(wind > 15, 'int64') first",
    "any(wind)": "feature 'f': any needs a boolean; 'wind' is a float64. "
    "Hint: compare it, for example wind > 0",
    "sum(airport)": "feature 'f': sum needs a number or a duration; 'airport' is a string",
    "most_frequent(wind)": "feature 'f': most_frequent needs a string, an integer or a boolean; "
    "'wind' is a float64. Hint: apply_buckets(wind, [...]) first",
    "top_k(airport, 2)": "feature 'f': top_k needs a number; 'airport' is a string",
    "mean(zscore(wind))": "feature 'f': 'mean(zscore(wind))' uses statistics of the training rows; "
    "an aggregate is computed from row expressions",
    "mean(a.f_6h)": "feature 'f': a.f_6h cannot be used here. "
    "Hint: only features can use the outputs of aggregations",
}


@pytest.mark.parametrize("text", AGGREGATE_PROBLEMS)
def test_an_aggregate_that_does_not_fit_its_source_is_refused_once(text: str) -> None:
    (problem,) = problems("x: a.f_6h\ny: x + 1", aggregates(f'f: "{text}"'))
    assert problem.startswith(f"13: aggregation 'a': {AGGREGATE_PROBLEMS[text]}")


def test_an_output_that_an_aggregation_does_not_have_names_the_closest() -> None:
    (problem,) = problems("x: tail.delay_30d", HEAD + TAIL)
    assert problem == (
        "15: feature 'x': the aggregation 'tail' has no output 'delay_30d'. "
        "Hint: did you mean 'delay_7d'?"
    )


KEYS = {
    "[airport]": "'airport' of 'flights': there is no column 'airport'",
    "{origin: airprot}": "'airprot' of 'weather': there is no column 'airprot'. Hint: did you mean",
    "{tailnum: id}": "'tailnum' of 'flights' is a string, and 'id' of 'weather' is an integer. "
    "Hint: keys need one type",
    "{distance: wind}": "'distance' of 'flights': a key is a string, an integer or a boolean, "
    "not a float32",
}


@pytest.mark.parametrize("by", KEYS)
def test_keys_must_be_columns_of_one_type_on_both_sides(by: str) -> None:
    found = problems("x: a.f_6h", aggregates("f: count()", by=by))
    assert found[0].startswith(f"13: aggregation 'a': {KEYS[by]}")


def test_a_derived_column_may_be_a_key() -> None:
    head = HEAD.replace("{expr: distance * 1.609344}", "{expr: 'lower(origin)'}")
    assert (
        "x"
        in resolved(
            "x: a.f_6h", aggregates("f: count()", by="{distance_km: airport}", head=head)
        ).features
    )


@pytest.mark.parametrize(
    ("rounded", "declared", "exact"),
    [
        ("cast(wind * 10, 'int64')", "wind: float32", "cast(wind * 10, 'int64')"),
        ("cast(gusts / 10, 'int64')", "gusts: int64", "gusts // 10"),
    ],
)
def test_a_key_is_rounded_alike_in_past_rows_and_in_examples(
    rounded: str, declared: str, exact: str
) -> None:
    def keyed(of: str, columns: str = "id: int64") -> str:
        columns = f'{columns}, z: {{expr: "{of}"}}'
        head = HEAD.replace("time_hour + 1h}", f"time_hour + 1h, columns: {{{columns}}}}}")
        return aggregates("f: count()", by="{flight_id: z}", head=head)

    (problem,) = problems("x: a.f_6h", keyed(rounded))
    assert problem.startswith("13: aggregation 'a': 'z' of 'weather' is computed from floats")
    assert "x" in resolved("x: a.f_6h", keyed(exact, declared)).features


def test_a_prediction_is_made_at_the_very_time_of_its_own_past_row() -> None:
    rounded = "sched_dep + cast(distance * 10, 'int64') * 1m"
    head = HEAD.replace("distance * 1.609344", f'"{rounded}"')
    head = head.replace("predict_at: sched_dep - 2h", "predict_at: distance_km")
    head = head.replace("_time: sched_dep", "_time: distance_km").replace(
        "sched_dep - 30d", "distance_km - 30d"
    )
    assert "x" in resolved("x: a.f_6h", aggregates("f: count()", head=head)).features
    (problem,) = problems("x: hour(distance_km)", head + TAIL)
    assert problem.startswith("11: examples: predict_at: 'distance_km' of 'flights' is computed")
    exact = head.replace("    columns:\n", "    columns:\n      distance: float32\n")
    assert "x" in resolved("x: hour(distance_km)", exact + TAIL).features


def test_an_aggregation_needs_a_source_with_times_and_a_time_of_prediction() -> None:
    (problem,) = problems("x: distance", aggregates("f: count()", source="wether"))
    assert problem == (
        "13: aggregation 'a': there is no source 'wether'. Hint: did you mean 'weather'?"
    )
    timeless = HEAD.replace(", event_time: time_hour, available_at: time_hour + 1h", "")
    (problem,) = problems("x: distance", aggregates("f: count()", head=timeless))
    assert problem == (
        "13: aggregation 'a': its source 'weather' declares no event_time. "
        "Hint: event_time: the column that says when a row's event happened; rows without time "
        "are looked up by key under lookups"
    )
    unpredicted = HEAD.replace("predict_at: sched_dep - 2h, ", "")
    (problem,) = problems("x: distance", aggregates("f: count()", head=unpredicted))
    assert problem == (
        "13: aggregation 'a': windows look back from the time of prediction, and examples declare "
        "no predict_at. Hint: for example predict_at: sched_dep - 2h"
    )


def test_the_source_of_an_aggregation_is_checked_too() -> None:
    head = HEAD.replace(
        "event_time: time_hour, available_at: time_hour + 1h",
        "event_time: wind, columns: {gust: int64, id: {available_at: time_our}}",
    )
    column, known_at, time = problems("x: a.f_6h", aggregates("f: count()", head=head))
    assert column == (
        "10: source 'weather': column 'gust': the data has no such column. "
        "Hint: did you mean 'gusts'?"
    )
    assert known_at == (
        "10: source 'weather': column 'id': available_at: there is no column 'time_our'. "
        "Hint: did you mean 'time_hour'?"
    )
    assert time == (
        "10: source 'weather': event_time: a timestamp is needed; 'wind' is a float32. "
        "Hint: declare it: wind: {type: timestamp}"
    )


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("known + 1d", "there is no column 'known'"),
        ("time_hour + 3", "'time_hour + 3': a timestamp and an integer cannot be added"),
        ("time_hour - time_hour", "a timestamp is needed; 'time_hour - time_hour' is a duration"),
        ("time_hour if wind > 1 else time_hour", "'time_hour if wind > 1 else time_hour' is not"),
    ],
)
def test_a_time_that_is_none_is_reported_once_and_where_it_stands(time: str, message: str) -> None:
    head = HEAD.replace("available_at: time_hour + 1h", f"available_at: {time}")
    (problem,) = problems("x: a.f_6h\ny: a.f_6h + 1", aggregates("f: count()", head=head))
    assert problem.startswith(f"10: source 'weather': available_at: {message}")


def test_a_derived_column_that_is_wrong_is_reported_once_wherever_it_is_used() -> None:
    head = HEAD.replace("time_hour + 1h}", "time_hour + 1h, columns: {z: {expr: lower(nope)}}}")
    for text, by in (("f: count(z)", "{origin: airport}"), ("f: count()", "{origin: z}")):
        (problem,) = problems("x: a.f_6h", aggregates(text, by=by, head=head))
        assert problem.startswith("10: source 'weather': column 'z': there is no column 'nope'")


def test_a_source_whose_data_was_not_read_is_typed_by_what_it_declares() -> None:
    declared = HEAD.replace(
        "time_hour + 1h}",
        "time_hour + 1h, columns: {time_hour: timestamp, airport: string, wind: float64}}",
    )  # fmt: skip
    made = resolved("x: a.f_6h", aggregates("f: mean(wind)", head=declared), {})
    assert made.features["x"].type == FLOAT32
    (problem,) = problems("x: a.f_6h", aggregates("f: mean(gusts)", head=declared), others={})
    assert (
        "the type of 'gusts' is not known: the spec does not declare it, and the data has"
        in problem
    )


def test_past_values_of_the_label_need_a_time_from_when_they_are_known() -> None:
    unsaid = HEAD.replace("arr_delay: {available_at: actual_arr}", "seats: int64")
    (problem,) = problems("x: tail.delay_7d", unsaid + TAIL)
    assert problem == (
        "13: aggregation 'tail': feature 'delay': 'arr_delay' makes the label, and nothing says "
        "when that of a past row became known. "
        "Hint: declare available_at for the column 'arr_delay'"
    )
    never = HEAD.replace("arr_delay: {available_at: actual_arr}", "arr_delay: {available: false}")
    (problem,) = problems("x: tail.delay_7d", never + TAIL)
    assert "'arr_delay' is declared available: false, and nothing says when" in problem
    assert "x" in resolved("x: tail.delay_7d", HEAD + TAIL).features


def test_the_key_of_an_aggregate_must_be_known_at_prediction_time() -> None:
    head = HEAD.replace(
        "distance_km: {expr: distance * 1.609344}", "tailnum: {available_at: sched_dep}"
    )
    (problem,) = problems("x: tail.delay_7d", head + TAIL)
    assert problem.startswith(
        "15: feature 'x': 'tailnum' is known at sched_dep; 'x' uses it at sched_dep - 2h "
        "(through x -> tail.delay_7d -> tailnum). Hint: past rows are looked up by 'tailnum': if "
        "it is known earlier, declare its available_at, or available: true; or predict later"
    )


def test_all_problems_come_together_in_the_order_of_the_file() -> None:
    head = HEAD.replace("distance * 1.609344", "distanse * 2").replace("[flight_id]", "[flight]")
    found = problems("a: zscore(carrier)\nb: dep_delay\nc: c2\nc2: c\nd: tail.m_7d", head + TAIL)
    assert [line.partition(":")[0] for line in found] == ["9", "11", "15", "16", "17", "19"]
