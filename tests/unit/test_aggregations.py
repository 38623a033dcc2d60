"""Aggregations and lookups of a spec: how they are written, named, refused, and run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.cli import main
from featurekit.engines import history
from featurekit.errors import DataError, FeatureKitError, LeakageError, SpecErrors
from featurekit.graph import AggregateNode
from featurekit.job import check, run
from featurekit.resolve import resolve
from featurekit.spec.objects import Spec
from featurekit.spec.yaml import parse_spec
from featurekit.types import Type

SPEC = """\
name: delays
sources:
  flights:
    path: flights.parquet
    event_time: sched
    columns:
      delay: {available_at: landed}
      status: {available: false}
  planes: {path: planes.parquet}
  prices:
    path: prices.parquet
    event_time: since
examples:
  source: flights
  keys: [id]
  predict_at: sched - 2h
  label: delay > 15
aggregations:
  tail:
    source: flights
    by: [tail]
    windows: [2d, lifetime, 7d..1d]
    features: {delay_mean: mean(delay), flights: count(), late: "count(delay, where=delay > 15)"}
    where: km > 100
  inbound:
    source: flights
    by: {origin: dest}
    windows: [lifetime..1d]
    features: {last: "last_k(delay, k=2)"}
  all:
    source: flights
    windows: [36h]
    features: {late: any(delay > 15)}
lookups:
  plane:
    source: planes
    by: [tail]
    features: {seats: seats, per_km: seats / 100}
  fare:
    source: prices
    by: {dest: airport}
    features: {price: price}
features:
  delay_mean: tail.delay_mean_2d
  delay_z: zscore(impute(tail.delay_mean_2d, 'mean'))
  flights: tail.flights_lifetime
  late: tail.late_7d_to_1d
  recent: inbound.last_lifetime_to_1d
  any_late: all.late_36h
  seats: plane.seats
  relative: fare.price / plane.per_km
"""


def hours(*days_and_hours: str) -> pl.Series:
    texts = [f"2013-01-{entry}:00Z" for entry in days_and_hours]
    return pl.Series(texts).str.to_datetime(time_unit="us", time_zone="UTC")


FLIGHTS = pl.DataFrame({
    "id": [1, 2, 3, 4, 5],
    "sched": hours("01T10:00", "02T10:00", "03T10:00", "04T10:00", "04T10:00"),
    "landed": hours("01T12:00", "02T13:00", "04T09:00", "04T11:00", "04T12:00"),
    "tail": ["N1", "N1", "N1", "N1", None],
    "origin": ["A", "B", "A", "B", "A"],
    "dest": ["B", "A", "B", "A", "B"],
    "delay": [10.0, 30.0, 50.0, -10.0, 0.0],
    "km": [500, 500, 500, 90, 500],
    "status": ["landed", "late", "late", "landed", "landed"],
})  # fmt: skip
PLANES = pl.DataFrame({"tail": ["N1", "N2", None], "seats": [200, 100, 1]})
PRICES = pl.DataFrame({
    "airport": ["A", "A", "B"], "since": hours("01T00:00", "03T00:00", "02T12:00"),
    "price": [40.0, 60.0, 80.0],
})  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("delays")
    for name, table in (("flights", FLIGHTS), ("planes", PLANES), ("prices", PRICES)):
        table.write_parquet(made / f"{name}.parquet")
    (made / "spec.yaml").write_text(SPEC, "utf-8")
    return made


def read(folder: Path, *changes: tuple[str, str]) -> Spec:
    """Return the spec with pieces of its text changed."""
    text = SPEC
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_spec(text, base=folder)


def values(folder: Path, features: dict[str, str], *changes: tuple[str, str]) -> dict[str, Any]:
    """Return the values of other features, by name."""
    spec = read(folder, *changes)
    made = Spec(**{**vars(spec), "features": features})
    out = folder / f"values-{len(list(folder.iterdir()))}"
    table = run(made, out, tensorflow=False).examples().to_polars()
    return {name: table[name].to_list() for name in features}


# How they are written


def test_python_and_yaml_write_the_same_aggregations_and_lookups(folder: Path) -> None:
    yaml = read(folder)
    python = Spec(
        **{
            **vars(yaml),
            "aggregations": {
                "tail": fk.Aggregation(
                    "flights", by="tail", windows=["2d", "lifetime", "7d..1d"],
                    features={
                        "delay_mean": fk.mean("delay"), "flights": fk.count(),
                        "late": fk.count("delay", where=fk.col("delay") > 15),
                    },
                    where=fk.col("km") > 100,
                ),
                "inbound": fk.Aggregation(
                    "flights", by={"origin": "dest"}, windows="lifetime..1d",
                    features={"last": fk.last_k("delay", 2)},
                ),
                "all": fk.Aggregation(
                    "flights", windows="36h", features={"late": fk.any(fk.col("delay") > 15)}
                ),
            },
            "lookups": {
                "plane": fk.Lookup(
                    "planes", "tail", {"seats": "seats", "per_km": fk.col("seats") / 100}
                ),
                "fare": fk.Lookup("prices", {"dest": "airport"}, ["price"]),
            },
        }
    )  # fmt: skip
    assert python == yaml
    assert python.fingerprint == yaml.fingerprint


def test_what_is_written_reads_back_to_the_same_spec(folder: Path) -> None:
    spec = read(folder)
    again = parse_spec(spec.to_yaml(), base=folder)
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()
    scope: dict[str, Any] = {}
    exec(spec.to_python(), scope)
    assert scope["spec"] == spec
    assert Spec.from_dict(spec.to_dict()) == spec


def test_outputs_are_called_by_feature_and_window(folder: Path) -> None:
    spec = read(folder)
    assert [name for name, _, _ in spec.aggregations["tail"].outputs()] == [
        "delay_mean_2d", "delay_mean_lifetime", "delay_mean_7d_to_1d", "flights_2d",
        "flights_lifetime", "flights_7d_to_1d", "late_2d", "late_lifetime", "late_7d_to_1d",
    ]  # fmt: skip
    (name,) = spec.aggregations["inbound"].outputs()
    assert name[0] == "last_lifetime_to_1d"


# What they give


def test_a_run_sees_what_was_known_at_each_prediction(folder: Path) -> None:
    table = run(folder / "spec.yaml", folder / "run", tensorflow=False).examples().to_polars()
    # Predictions are made at 08:00 of days 1, 2, 3, 4 and 4; by day 4 flight 3 had not landed.
    assert table["delay_mean"].to_list() == [None, 10.0, 20.0, 30.0, None]
    assert table["flights"].to_list() == [0, 1, 2, 3, 0]
    assert table["late"].to_list() == [0, 0, 0, 1, 0]
    assert table["recent"].to_list() == [None, None, None, [10.0, None], [30.0, None]]
    assert table["any_late"].to_list() == [None, 0, 1, None, None]
    assert table["seats"].to_list() == [200, 200, 200, 200, None]
    assert table["relative"].to_list() == [None, 40.0 / 2.0, 80.0 / 2.0, 60.0 / 2.0, None]


def test_row_and_full_pass_operations_work_over_aggregates(folder: Path) -> None:
    table = run(folder / "spec.yaml", folder / "again", tensorflow=False).examples().to_polars()
    means = table["delay_mean"].to_list()
    known = [mean for mean in means if mean is not None]
    filled = [statistics.fmean(known) if mean is None else mean for mean in means]
    middle, spread = statistics.fmean(filled), statistics.pstdev(filled)
    wanted = [(value - middle) / spread for value in filled]
    assert table["delay_z"].to_list() == pytest.approx(wanted, abs=1e-6)
    found = values(folder, {"twice": "2 * tail.delay_mean_2d", "bin": "tail.flights_2d > 0"})
    assert found["twice"] == [None, 20.0, 40.0, 60.0, None]
    assert found["bin"] == [0, 1, 1, 1, 0]


def test_aggregates_reach_the_features_as_float32(folder: Path) -> None:
    found = values(folder, {"f": "tail.delay_mean_lifetime"}, ("mean(delay)", "mean(delay / 7)"))
    third = np.float32((10 / 7 + 30 / 7) / 2)
    assert found["f"][2] == third


def test_a_source_gives_the_same_from_a_file_and_from_memory(folder: Path) -> None:
    spec = read(folder)
    memory = fk.Source(**{**vars(spec.sources["flights"]), "path": None, "data": FLIGHTS})
    made = Spec(**{**vars(spec), "sources": {**spec.sources, "flights": memory}})
    one = run(made, folder / "memory", tensorflow=False).examples().to_polars()
    other = run(spec, folder / "file", tensorflow=False).examples().to_polars()
    assert one.equals(other)


# What is computed once


def nodes(folder: Path, features: dict[str, str], *changes: tuple[str, str]) -> list[AggregateNode]:
    spec = read(folder, *changes)
    return list(check(Spec(**{**vars(spec), "features": features})).aggregates)


def test_an_aggregate_that_two_features_use_is_computed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = {"a": "tail.delay_mean_2d", "b": "zscore(tail.delay_mean_2d)", "c": "again.m_48h"}
    same = """\
  again: {source: flights, by: tail, windows: 48h, features: {m: mean(delay)}, where: km > 100}
  inbound:
"""
    again = ("  inbound:\n", same)
    assert [node.text for node in nodes(folder, features, again)] == ["tail.delay_mean_2d"]
    asked: list[int] = []
    original = history._Group.results

    def counting(group: history._Group) -> pl.DataFrame:
        asked.append(len(group.nodes))
        return original(group)

    monkeypatch.setattr(history._Group, "results", counting)
    found = values(folder, features, again)
    assert asked == [1]
    assert found["a"] == found["c"]


CHANGED = {
    "another window": ("[2d, lifetime, 7d..1d]", "[3d, lifetime, 7d..1d]"),
    "another end of the window": ("[2d, lifetime, 7d..1d]", "[2d..1h, lifetime, 7d..1d]"),
    "another function": ("mean(delay)", "median(delay)"),
    "another value": ("mean(delay)", "mean(km)"),
    "another filter": ("where: km > 100", "where: km > 101"),
    "a filter of its own": ("mean(delay)", '"mean(delay, where=km > 1)"'),
    "another key": ("by: [tail]\n    windows", "by: [origin]\n    windows"),
    "another column as key": ("by: [tail]\n    windows", "by: {tail: dest}\n    windows"),
    "another time of effect": ("delay: {available_at: landed}", "delay: {available_at: sched}"),
    "another time of prediction": ("sched - 2h", "sched - 3h"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_changes_an_aggregate_changes_its_fingerprint(folder: Path, change: str) -> None:
    old, new = CHANGED[change]
    (before,) = nodes(folder, {"x": "tail.delay_mean_2d"})
    window = {"another window": "3d", "another end of the window": "2d_to_1h"}.get(change, "2d")
    (after,) = nodes(folder, {"x": f"tail.delay_mean_{window}"}, (old, new))
    assert before.fingerprint != after.fingerprint


def test_names_do_not_change_a_fingerprint(folder: Path) -> None:
    (before,) = nodes(folder, {"x": "tail.delay_mean_2d"})
    renamed = ("  tail:\n    source", "  plane_past:\n    source"), ("delay_mean: mean", "m: mean")
    (after,) = nodes(folder, {"x": "plane_past.m_48h"}, *renamed, ("[2d, ", "[48h, "))
    assert before == after
    assert before.text != after.text


def test_every_parameter_of_an_aggregate_is_in_its_fingerprint(folder: Path) -> None:
    seen = set()
    for text in ("last_k(delay, k=2)", "last_k(delay, k=3)", "first_k(delay, k=2)"):
        change = ("last_k(delay, k=2)", text)
        (node,) = nodes(folder, {"x": "inbound.last_lifetime_to_1d"}, change)
        seen.add(node.fingerprint)
    assert len(seen) == 3


# What is refused

BAD = {
    "an unknown source": (
        "tail:\n    source: flights", "tail:\n    source: flihgts",
        "aggregation 'tail': there is no source 'flihgts'. Hint: did you mean 'flights'?",
    ),
    "an unknown source of a lookup": (
        "source: planes", "source: plane",
        "lookup 'plane': there is no source 'plane'. Hint: did you mean 'planes'?",
    ),
    "an unknown key": (
        "{origin: dest}", "{orign: dest}",
        "aggregation 'inbound': 'orign' of 'flights': there is no column 'orign'. Hint: did you",
    ),
    "a key unknown to both sides": (
        "by: [tail]\n    windows", "by: [tial]\n    windows",
        "aggregation 'tail': 'tial' of 'flights': there is no column 'tial'. Hint: did you mean",
    ),
    "an unknown key of past rows": (
        "{origin: dest}", "{origin: airport}",
        "aggregation 'inbound': 'airport' of 'flights': there is no column 'airport'",
    ),
    "an unknown key of a lookup": (
        "{dest: airport}", "{dest: airprot}",
        "lookup 'fare': 'airprot' of 'prices': there is no column 'airprot'. Hint: did you mean",
    ),
    "keys of two types": (
        "{origin: dest}", "{id: dest}",
        "aggregation 'inbound': 'id' of 'flights' is an integer, and 'dest' of 'flights' is a str",
    ),
    "keys of two types in a lookup": (
        "{dest: airport}", "{id: airport}",
        "lookup 'fare': 'id' of 'flights' is an integer, and 'airport' of 'prices' is a string",
    ),
    "a key that is no key": (
        "{dest: airport}", "{dest: price}",
        "lookup 'fare': 'dest' of 'flights' is a string, and 'price' of 'prices' is an integer",
    ),
    "a lookup without a key": (
        "by: {dest: airport}", "by: []",
        "lookup 'fare': a lookup needs a key. Hint: by: the columns that name a row",
    ),
    "a lookup of nothing": (
        "features: {price: price}", "features: []",
        "lookup 'fare': a lookup needs features, such as [seats]",
    ),
    "a lookup of no value of a row": (
        "{price: price}", "{price: zscore(price)}",
        "lookup 'fare': feature 'price': 'zscore(price)' is no value of a row",
    ),
    "a lookup of an aggregate": (
        "{price: price}", "{price: mean(price)}",
        "lookup 'fare': feature 'price': there is no operation 'mean'",
    ),
    "one name for two": (
        "  plane:\n", "  tail:\n", "an aggregation and a lookup are both called 'tail'",
    ),
    "rows without time": (
        "source: flights\n    windows: [36h]\n    features: {late: any(delay > 15)}",
        "source: planes\n    windows: [36h]\n    features: {late: any(seats > 15)}",
        "aggregation 'all': its source 'planes' declares no event_time. Hint: event_time: the col",
    ),
    "a filter that is a number": (
        "where: km > 100", "where: km",
        "aggregation 'tail': where: a filter is a comparison of a row's values; 'km' is an integer",
    ),
    "a filter of an aggregate that is a number": (
        "where=delay > 15", "where=km",
        "aggregation 'tail': feature 'late': a filter is a comparison of a row's values; 'km' is",
    ),
    "a filter that needs statistics": (
        "where: km > 100", "where: zscore(km) > 1",
        "aggregation 'tail': where: a filter is a comparison of a row's values",
    ),
    "a filter of an unknown column": (
        "where: km > 100", "where: landet > sched",
        "aggregation 'tail': where: there is no column 'landet'. Hint: did you mean 'landed'?",
    ),
    "a filter that summarises": (
        "where: km > 100", "where: mean(km) > 100",
        "aggregation 'tail': where: there is no operation 'mean'",
    ),
    "an aggregate of text": (
        "mean(delay)", "mean(tail)",
        (
            "aggregation 'tail': feature 'delay_mean': mean needs a number or a boolean; "
            "'tail' is a string"
        ),
    ),
    "an unknown output": (
        "plane.seats", "plane.seat",
        "feature 'seats': the lookup 'plane' has no output 'seat'. Hint: did you mean 'seats'?",
    ),
    "an unknown window of an output": (
        "flights_lifetime", "flights_30d",
        "feature 'flights': the aggregation 'tail' has no output 'flights_30d'",
    ),
    "an unknown aggregation": (
        "fare.price", "fair.price",
        "feature 'relative': there is no aggregation or lookup 'fair'. Hint: did you mean 'fare'?",
    ),
    "two outputs of one name": (
        "[36h]\n    features: {", "[36h, 7d..36h]\n    features: {late_7d_to: count(), ",
        "aggregation 'all': two outputs are called 'late_7d_to_36h'. Hint: rename a feature",
    ),
}  # fmt: skip


@pytest.fixture
def refuse(folder: Path, tmp_path: Path) -> Callable[..., FeatureKitError]:
    """Run a spec that is changed, expect one error, and check that nothing was written."""

    def refuse(*changes: tuple[str, str], kind: type[FeatureKitError] = SpecErrors) -> Any:
        before = sorted(folder.rglob("*"))
        with pytest.raises(kind) as caught:
            run(read(folder, *changes), tmp_path / "out", tensorflow=False)
        assert sorted(folder.rglob("*")) == before
        assert not list(tmp_path.iterdir())
        return caught.value

    return refuse


def told(error: SpecErrors) -> list[str]:
    """Return the problems without their lines."""
    return [str(problem).partition(": ")[2] for problem in error.problems]


@pytest.mark.parametrize("case", BAD)
def test_one_mistake_is_one_error_that_names_it(
    case: str, refuse: Callable[..., SpecErrors]
) -> None:
    old, new, message = BAD[case]
    (problem,) = told(refuse((old, new)))
    assert problem.startswith(message)


def test_everything_that_looks_back_needs_a_time_of_prediction(
    refuse: Callable[..., SpecErrors],
) -> None:
    found = told(refuse(("  predict_at: sched - 2h\n", "")))
    assert found[0] == (
        "aggregation 'tail': windows look back from the time of prediction, and examples declare "
        "no predict_at. Hint: for example predict_at: sched_dep - 2h"
    )
    assert [problem.partition(": ")[0] for problem in found] == [
        "aggregation 'tail'", "aggregation 'inbound'", "aggregation 'all'", "lookup 'fare'"
    ]  # fmt: skip


BAD_WINDOWS = {
    "0d": "a window begins before it ends and is longer than nothing, got '0d'",
    "-7d": "'-7d' is not a window",
    "7 days": "'7 days' is not a window; write a duration such as '7d', 'lifetime', or for the "
    "week before the last '14d..7d'",
    "week": "'week' is not a window",
    "1.5d": "'1.5d' is not a window",
    "7D": "'7D' is not a window",
    "": "a name is needed",
    "7x": "'7x' is not a duration",
    "7d..14d": "a window begins before it ends and is longer than nothing, got '7d..14d'",
    "7d..7d": "a window begins before it ends and is longer than nothing, got '7d..7d'",
    "14d..0d": "the window '14d..0d' ends at the prediction: write '14d'",
    "14d..": "'14d..' is not a window",
    "..7d": "'..7d' is not a window",
    "7d..lifetime": "'7d..lifetime' is not a window",
    "21d..14d..7d": "'21d..14d..7d' is not a window",
    "14d..-7d": "'14d..-7d' is not a window",
    "99999999999999w": "the window '99999999999999w' does not fit in 64 bits",
    "lifetime..99999999999999w": "the window 'lifetime..99999999999999w' does not fit in 64 bits",
}


@pytest.mark.parametrize("window", BAD_WINDOWS)
def test_a_window_that_is_none_is_refused(window: str, refuse: Callable[..., SpecErrors]) -> None:
    (problem,) = told(refuse(("windows: [36h]", f"windows: ['{window}']")))
    assert problem.startswith(f"aggregation 'all': windows: {BAD_WINDOWS[window]}")


def test_a_lookup_into_rows_of_one_key_names_the_key(folder: Path, tmp_path: Path) -> None:
    spec = read(folder)
    twice = fk.Source(data=pl.concat([PLANES, PLANES.head(1)]))
    made = Spec(**{**vars(spec), "sources": {**spec.sources, "planes": twice}})
    with pytest.raises(DataError) as caught:
        run(made, tmp_path / "out", tensorflow=False)
    assert str(caught.value) == (
        "source 'planes': a lookup needs one row for each key; tail='N1' has several. Hint: leave "
        "out the others; or declare event_time, and the row in effect at the prediction is taken"
    )
    assert not list(tmp_path.iterdir())


def test_rows_without_a_key_may_be_several_in_a_lookup(folder: Path) -> None:
    spec = read(folder)
    missing = pl.DataFrame({"tail": [None, None, "N1"], "seats": [1, 2, 3]})
    sources = {**spec.sources, "planes": fk.Source(data=missing)}
    made = Spec(**{**vars(spec), "sources": sources, "features": {"s": "plane.seats"}})
    found = run(made, folder / "missing", tensorflow=False).examples().to_polars()
    assert found["s"].to_list() == [3, 3, 3, 3, None]


# Leaks


def test_the_label_of_past_rows_needs_a_time_from_when_it_was_known(
    refuse: Callable[..., SpecErrors],
) -> None:
    error = refuse(("      delay: {available_at: landed}\n", ""))
    found = told(error)
    assert len(found) == 4
    assert found[0] == (
        "aggregation 'tail': feature 'delay_mean': 'delay' makes the label, and nothing says when "
        "that of a past row became known. Hint: declare available_at for the column 'delay'"
    )
    assert all(isinstance(problem, LeakageError) for problem in error.problems)
    assert error.exit_code == 1


NEVER = {
    "as a value": ("mean(delay)", "count(status)"),
    "in a filter": ("where: km > 100", "where: status == 'late'"),
    "in a filter of its own": ("mean(delay)", "\"count(where=status == 'late')\""),
    "in a lookup": (
        "source: prices\n    by: {dest: airport}\n    features: {price: price}",
        "source: flights\n    by: [dest]\n    features: {price: length(status)}",
    ),
}


@pytest.mark.parametrize("use", NEVER)
def test_a_column_that_is_never_available_is_not_looked_back_at(
    use: str, refuse: Callable[..., SpecErrors]
) -> None:
    error = refuse(NEVER[use])
    assert "'status' is declared available: false, and nothing says when that of" in told(error)[0]
    assert {type(problem) for problem in error.problems} == {LeakageError}


def test_a_key_of_past_rows_must_become_known_at_some_time(
    refuse: Callable[..., SpecErrors],
) -> None:
    (problem,) = refuse(("{origin: dest}", "{origin: status}")).problems
    assert isinstance(problem, LeakageError)
    assert "'status' is declared available: false" in str(problem)


def test_a_key_of_the_examples_must_be_known_at_the_prediction(
    refuse: Callable[..., SpecErrors],
) -> None:
    late = ("delay: {available_at: landed}",
            "delay: {available_at: landed}\n      tail: {available_at: sched}")  # fmt: skip
    error = refuse(late)
    assert len(error.problems) == 6  # Of eight features, those that use tail or plane.
    assert told(error)[0].startswith(
        "feature 'delay_mean': 'tail' is known at sched; 'delay_mean' uses it at sched - 2h "
        "(through delay_mean -> tail.delay_mean_2d -> tail)"
    )
    assert error.exit_code == 1


def test_a_filter_delays_a_row_until_it_is_known(folder: Path) -> None:
    feature = {"n": "tail.flights_lifetime"}
    known = ("delay: {available_at: landed}",
             "delay: {available_at: landed}\n      km: {available_at: sched + 2d}")  # fmt: skip
    assert values(folder, feature)["n"] == [0, 1, 2, 3, 0]
    assert values(folder, feature, known)["n"] == [0, 0, 0, 1, 0]


def test_a_key_of_past_rows_delays_them_until_it_is_known(folder: Path) -> None:
    feature = {"m": "inbound.last_lifetime_to_1d"}
    known = ("delay: {available_at: landed}",
             "delay: {available_at: landed}\n      dest: {available_at: sched + 2d}")  # fmt: skip
    assert values(folder, feature)["m"][3:] == [[10.0, None], [30.0, None]]
    assert values(folder, feature, known)["m"][3:] == [None, None]


# What the command line says of them


def test_check_and_plan_show_aggregates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder / "spec.yaml")]) == 0
    assert "8 features" in capsys.readouterr().out
    assert main(["plan", str(folder / "spec.yaml")]) == 0
    shown = capsys.readouterr().out
    for text in (
        "history flights by tail: 3 aggregates", "history planes by tail: 2 aggregates",
        "history flights by dest as origin: 1 aggregate", "past rows of flights by tail (7d..1d)",
        "past rows of flights by tail (lifetime)", "the row of planes by tail",
    ):  # fmt: skip
        assert text in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith("delay_z")]
    assert rows[0][:6] == ["delay_z", "float32", "-", "BigQuery", "Polars", "mean"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("event_time: sched", "event_time: sched\n    available_at: 1h", 6),
        ("delay: {available_at: landed}", "delay: {available_at: lnaded}", 7),
        ("event_time: since", "event_time: sicne", 12),
        ("event_time: since", "event_time: since\n    available_at: 1h", 13),
    ],
)
def test_what_is_wrong_with_a_time_is_told_once_where_it_stands(
    folder: Path, old: str, new: str, line: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace(old, new, 1))
    assert main(["check", str(folder / "spec.yaml")]) == 2
    problem, end = capsys.readouterr().err.splitlines()
    assert f"spec.yaml:{line}: source " in problem
    assert "1 problem in" in end


def test_an_aggregation_is_no_source(folder: Path) -> None:
    (folder / "spec.yaml").write_text(
        SPEC.replace("source: flights\n    by: {origin", "source: tail\n    by: {origin")
    )
    with pytest.raises(fk.SpecErrors, match=r"no source 'tail'.* not outputs of another one"):
        fk.check(folder / "spec.yaml")


def test_a_duration_by_a_duration_is_no_number_yet(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("seats / 100", "seats / 100d"))
    with pytest.raises(fk.SpecErrors, match=r"'100d' is a duration. Hint: .*seconds_between"):
        fk.check(folder / "spec.yaml")


def test_a_check_tells_all_that_is_wrong_with_aggregations_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SPEC.replace("mean(delay)", "mean(dealy)").replace("any(delay > 15)", "any(delay)")
    text = text.replace("{price: price}", "{price: prise}")
    (folder / "wrong.yaml").write_text(text, "utf-8")
    assert main(["check", str(folder / "wrong.yaml")]) == 2
    *problems, last = capsys.readouterr().err.splitlines()
    lines = [number for number, line in enumerate(text.splitlines(), 1)
             if "dealy" in line or "any(delay)" in line or "prise" in line]  # fmt: skip
    assert [int(line.rpartition(".yaml:")[2].partition(":")[0]) for line in problems] == lines
    assert last.startswith("featurekit: error: 3 problems in ")


OWN_ROW = """\
sources:
  loans:
    path: loans.parquet
    event_time: granted
    columns:
      {granted: timestamp, asked: timestamp, due: timestamp, user: string,
       repaid: {type: bool, available_at: due}}
examples: {source: loans, predict_at: PREDICT, label: repaid}
aggregations:
  user: {source: loans, by: user, windows: [365d], features: {repaid: any(repaid), loans: count()}}
features: {repaid: user.repaid_365d, loans: user.loans_365d}
"""


def declared(spec: Spec) -> dict[str, Type]:
    """Return the types that a spec declares of the columns of its examples."""
    columns = spec.sources[spec.examples.source].columns
    return {name: column.type for name, column in columns.items() if column.type is not None}


@pytest.mark.parametrize("predict_at", ["granted", "granted - 1h", "due"])
def test_a_label_of_past_rows_counts_where_the_own_row_provably_does_not(predict_at: str) -> None:
    spec = parse_spec(OWN_ROW.replace("PREDICT", predict_at))
    assert len(resolve(spec, declared(spec)).aggregates) == 2


@pytest.mark.parametrize("predict_at", ["asked", "granted + 1h", "due + 1h"])
def test_a_label_of_past_rows_is_refused_where_the_own_row_may_count(predict_at: str) -> None:
    spec = parse_spec(OWN_ROW.replace("PREDICT", predict_at))
    with pytest.raises(SpecErrors) as caught:
        resolve(spec, declared(spec))
    (problem,) = caught.value.problems
    assert isinstance(problem, LeakageError)
    assert "'repaid' makes the label, and an example's own row may count" in str(problem)
    assert "granted and due" in str(problem)


@pytest.mark.parametrize(("right", "wrong", "part"), [
    ("event_time: granted", "event_time: grantd", "source 'loans': event_time"),
    ("PREDICT", "grantd", "examples: predict_at"),
    ("PREDICT", "user", "examples: predict_at"),
    ("PREDICT", "due if repaid else granted", "examples: predict_at"),
])  # fmt: skip
def test_a_time_that_is_none_is_all_that_is_told_of_it(right: str, wrong: str, part: str) -> None:
    """Leaks cannot be looked for without it: nothing is proven of any aggregate."""
    spec = parse_spec(OWN_ROW.replace(right, wrong).replace("PREDICT", "granted"))
    with pytest.raises(SpecErrors) as caught:
        resolve(spec, declared(spec))
    (problem,) = caught.value.problems
    assert part in str(problem)


def test_a_key_of_several_columns_in_one_text_is_told_to_be_a_list() -> None:
    text = OWN_ROW.replace("PREDICT", "granted").replace("by: user", "by: 'user, asked'")
    spec = parse_spec(text)
    with pytest.raises(SpecErrors) as caught:
        resolve(spec, declared(spec))
    (problem,) = caught.value.problems
    assert str(problem).endswith("Hint: several columns are a list: [user, asked]")


def test_the_mean_of_a_condition_is_the_share_of_rows_where_it_holds(tmp_path: Path) -> None:
    rows = pl.DataFrame({"t": [1, 2, 3, 4], "b": [True, False, None, True]})
    rows = rows.with_columns(pl.from_epoch("t", "s").dt.replace_time_zone("UTC"))
    spec = Spec.from_dict({
        "sources": {"rows": {"path": "rows.parquet", "event_time": "t"}},
        "examples": {"source": "rows", "predict_at": "t"},
        "aggregations": {"all": {
            "source": "rows", "windows": ["lifetime"], "features": {"share": "mean(b)"},
        }},
        "features": {"share": "all.share_lifetime"},
    }, base=tmp_path)  # fmt: skip
    rows.write_parquet(tmp_path / "rows.parquet")
    made = run(spec, tmp_path / "run", tensorflow=False)
    # One of one, one of two, and again one of two: a missing value is no value.
    assert made.examples().to_polars()["share"].to_list() == [None, 1.0, 0.5, 0.5]


def test_data_that_is_missing_is_what_is_reported(tmp_path: Path) -> None:
    spec = Spec.from_dict({
        "sources": {"rows": {"path": "rows.parquet", "columns": {"label": "bool"}}},
        "examples": {"source": "rows", "label": "label"},
        "features": {"x": "log1p(size)", "y": "upper(name)"},
    }, base=tmp_path)  # fmt: skip
    with pytest.raises(DataError, match=r"there is no file .*rows\.parquet"):
        check(spec)
