"""Replay: what counts as known, what is found, what is to blame, and what cannot be tested."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.analysis.findings import Severity
from featurekit.analysis.leakage import replay_worlds
from featurekit.analysis.leakage.replay import Replay, replay
from featurekit.analysis.leakage.replay_change import poison
from featurekit.analysis.leakage.replay_compare import differing, rate_bound
from featurekit.analysis.leakage.replay_function import replay_function
from featurekit.analysis.leakage.replay_sample import sample_examples
from featurekit.engines import fitting
from featurekit.errors import DataError, SpecError, UsageError
from featurekit.serving import to_polars
from tests.leaks import in_sentences


def day(number: float) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


# Two versions of a value

PRICES = pl.DataFrame({
    "product": ["tea", "tea", "tea"],
    "valid": [day(0), day(0), day(9)],
    "created": [day(0.5), day(6), day(9)],  # The second corrects the first, six days later.
    "price": [10.0, 12.0, 15.0],
})  # fmt: skip
ORDERS = pl.DataFrame({
    "order": [1, 2, 3], "product": ["tea"] * 3, "at": [day(3), day(7), day(10)]
})  # fmt: skip


def prices(declared: bool) -> fk.Spec:
    """Return a spec that looks prices up, knowing when each version was created, or not."""
    created = {"available_at": "created"} if declared else {}
    return fk.Spec(
        sources={
            "prices": fk.Source(data=PRICES, event_time="valid", columns={"price": created}),
            "orders": fk.Source(data=ORDERS, available_at="at"),
        },
        examples={"source": "orders", "keys": ["order"], "predict_at": "at"},
        aggregations={
            "past": {"source": "prices", "by": "product", "windows": "lifetime",
                     "features": {"price": "last(price)"}}
        },
        lookups={"now": {"source": "prices", "by": "product", "features": ["price"]}},
        features={"now": "now.price", "past": "past.price_lifetime"},
    )  # fmt: skip


def test_of_two_versions_the_one_that_was_created_before_the_prediction_is_used(
    tmp_path: Path,
) -> None:
    run = fk.run(prices(declared=True), tmp_path / "run", tensorflow=False)
    made = run.examples("train").to_polars().sort("order")
    assert made["now"].to_list() == made["past"].to_list() == [10.0, 12.0, 15.0]
    found = replay(prices(declared=True))
    assert found.verdict == "clean"
    assert found.features["now"].changed == 2  # Orders 1 and 2, before all is known.


def test_a_version_that_was_created_later_is_found_where_only_its_validity_is_looked_at() -> None:
    found = replay(prices(declared=False), truth=prices(declared=True))
    assert found.leaks == ("now", "past")
    one = found.features["now"]
    assert (one.cells, one.mismatches) == (3, 1)
    assert one.responsible == ("prices.price",)
    assert one.reasons == ("known at created",)
    assert one.first is not None
    assert one.first.keys == {"order": 1}
    assert one.first.at == "2024-01-04T00:00:00+00:00"
    # At a validity of the same day, values decide: the greater is the last, which is the later one.
    assert (one.first.with_future, one.first.without_future) == (12.0, 10.0)


# Own rows

VISITS = pl.DataFrame({
    "visit": range(8), "who": ["a", "b"] * 4, "day": [day(n) for n in range(8)],
    "asked": [3.0, 1, 4, 1, 5, 9, 2, 6], "spent": [2, 7, 1, 8, 2, 8, 1, 8],
    "left": [day(n + 0.5) for n in range(8)],
})  # fmt: skip


def visits(
    features: dict[str, Any], columns: dict[str, Any] | None = None, **settings: Any
) -> fk.Spec:
    examples = {"source": "visits", "keys": ["visit"], "predict_at": "day"}
    made: dict[str, Any] = {"event_time": "day", "available_at": "day - 1d"}
    made |= {key: settings.pop(key) for key in ("available_at", "data") if key in settings}
    return fk.Spec(
        sources={"visits": fk.Source(**{"data": VISITS, "columns": columns or {}, **made})},
        examples=examples | settings.pop("examples", {}), features=features, **settings,
    )  # fmt: skip


def test_a_cell_of_the_own_row_is_known_at_the_prediction_itself_and_not_later() -> None:
    feature = {"spent": "spent + 1"}
    for available_at, verdict in (("day", "clean"), ("day + 1us", "leak")):
        truth = visits({"asked": "asked"}, {"spent": {"available_at": available_at}})
        assert replay(visits(feature), truth=truth).features["spent"].verdict == verdict


def test_what_makes_the_label_or_comes_after_the_outcome_is_known_to_no_prediction() -> None:
    declared = {"left": {"available": False}}
    truth = visits({"asked": "asked"}, declared, examples={"label": "spent > 3"})
    features = {"spent": "spent * 2", "left": "hour(left)", "asked": "asked"}
    found = replay(visits(features), truth=truth)
    assert found.leaks == ("spent", "left")
    assert found.features["spent"].reasons == ("what the label is made of",)
    assert found.features["left"].reasons == ("declared available: false",)
    assert found.features["asked"].verdict == "clean"


def test_a_past_row_counts_from_before_the_prediction_on() -> None:
    """An event at the prediction is none of the past, though its source says it is known."""
    aggregations = {
        "g": {"source": "visits", "windows": "lifetime", "features": {"rows": "count()"}}
    }
    assert replay(visits({"rows": "g.rows_lifetime"}, aggregations=aggregations)).verdict == "clean"


@pytest.mark.parametrize(("known", "verdict"), [(2.9, "clean"), (3, "leak"), (3.1, "leak")])
def test_a_value_of_a_past_row_that_becomes_known_at_the_prediction_is_not_known(
    known: float, verdict: str
) -> None:
    events = pl.DataFrame({"who": ["a"], "at": [day(1)], "known": [day(known)], "x": [7.0]})
    asking = pl.DataFrame({"who": ["a"], "at": [day(3)]})

    def spec(**settings: Any) -> fk.Spec:
        return fk.Spec(
            sources={
                "events": fk.Source(data=events, event_time="at", columns={"x": settings}),
                "asking": fk.Source(data=asking, available_at="at"),
            },
            examples={"source": "asking", "predict_at": "at"},
            aggregations={
                "g": {"source": "events", "by": "who", "windows": "9d",
                      "features": {"x": "sum(x)"}}
            },
            features={"x": "g.x_9d"},
        )  # fmt: skip

    truth = spec(available_at="known")
    assert replay(spec(), truth=truth).features["x"].verdict == verdict
    assert replay(truth).features["x"].verdict == "clean"


@pytest.mark.parametrize("function", ["max", "min"])
def test_an_extreme_that_no_later_value_has_passed_yet_is_found_by_poison(function: str) -> None:
    """Nothing is different without the later values, although they are looked at."""
    aggregations = {
        "g": {"source": "visits", "windows": "lifetime", "features": {"v": f"{function}(spent)"}}
    }
    features = {"v": "g.v_lifetime"}
    values = pl.Series("spent", [9, 1, *[5] * 6])
    data = VISITS.with_columns(values, left=pl.col("day") + pl.duration(hours=36))
    later = {"spent": {"available_at": "left"}, "day": {"available": True}}
    late = data.with_columns(
        left=pl.when(pl.col("visit") < 2).then("day").otherwise(pl.lit(day(90)))
    )
    truth = visits({"asked": "asked"}, later)
    spec = visits(features, {"spent": {"available": True}}, data=late, aggregations=aggregations)
    found = replay(spec, truth=truth).features["v"]
    assert found.first is not None
    assert found.first.mode == "poison"
    assert found.responsible == ("visits.spent",)


def test_a_derived_column_is_known_when_it_says_so_itself() -> None:
    long: dict[str, Any] = {"expr": "spent > 3", "available_at": "day - 1d"}
    spent = {"available_at": "left"}
    features = {"long": "cast(long, 'int64')"}
    spec = visits(features, {"spent": spent, "long": long})
    assert replay(spec).features["long"].verdict == "clean"
    # The same expression is another matter.
    written = visits(
        {"same": "cast(spent > 3, 'int64')", **features}, {"long": {"expr": "spent > 3"}}
    )
    assert replay(written, truth=spec).leaks == ("same",)
    later = visits({"asked": "asked"}, {"long": {**long, "available_at": "day + 1d"}})
    found = replay(visits(features, {"long": {"expr": "spent > 3"}}), truth=later)
    assert found.features["long"].responsible == ("visits.long",)


def test_a_table_without_time_is_replayed_by_what_is_declared_of_its_columns() -> None:
    rows = pl.DataFrame({"a": [1.0, 2, 3], "b": [3, 2, 1], "y": [0, 1, 0]})

    def spec(**columns: Any) -> fk.Spec:
        return fk.Spec(
            sources={"rows": fk.Source(data=rows, columns=columns)},
            examples={"source": "rows", "label": "y" if columns else None},
            features={"a": "a", "b": "b", "z": "zscore(y + b)"},
        )

    truth = spec(a={"available": True}, b={"available": False}, y={"available": True})
    found = replay(spec(), truth=truth)
    assert (found.examples, found.moments) == (3, 0)
    assert found.leaks == ("b", "z")
    assert found.features["a"].verdict == "clean"
    assert found.features["z"].responsible == ("rows.b",)
    assert found.features["b"].first is not None
    assert found.features["b"].first.at is None


def test_examples_without_a_label_or_a_time_of_prediction_are_left_out() -> None:
    holes = VISITS.with_columns(
        pl.when(pl.col("visit") != 2).then("spent").alias("spent"),
        pl.when(pl.col("visit") != 5).then("day").alias("day"),
    )
    spec = visits({"asked": "asked"}, data=holes, examples={"label": "spent > 3"})
    assert replay(spec).examples == 6


def test_a_column_of_which_nobody_says_when_it_is_known_leaves_its_features_untested() -> None:
    spec = visits({"asked": "asked", "hour": "hour(day)"}, available_at=None)
    found = replay(spec)
    assert found.verdict == "untested"
    assert found.features["asked"].undeclared == ("visits.asked",)
    (finding, *_) = found.findings
    assert finding.kind == "untested_by_replay"
    assert finding.severity is Severity.NOTE
    assert "nobody says when visits.asked became known" in finding.message
    in_sentences(finding.message, finding.advice)


def test_a_table_without_time_that_is_looked_up_is_untested() -> None:
    people = pl.DataFrame({"who": ["a", "b"], "age": [30, 40]})
    spec = fk.Spec(
        sources={
            "visits": fk.Source(data=VISITS, event_time="day", available_at="day - 1d"),
            "people": fk.Source(data=people),
        },
        examples={"source": "visits", "predict_at": "day"},
        lookups={"person": {"source": "people", "by": "who", "features": ["age"]}},
        features={"age": "person.age"},
    )  # fmt: skip
    found = replay(spec).features["age"]
    assert found.verdict == "untested"
    assert found.undeclared == ("people.age", "people.who", "people (rows)")


@pytest.mark.parametrize("declared", [{"age", "who"}, {"age"}])
def test_of_a_table_without_time_what_is_always_available_cannot_be_withheld(
    declared: set[str],
) -> None:
    people = pl.DataFrame({"who": ["a", "b"], "age": [30, 40]})
    columns = {name: {"available": True} for name in declared}
    spec = fk.Spec(
        sources={
            "visits": fk.Source(data=VISITS, event_time="day", available_at="day - 1d"),
            "people": fk.Source(data=people, columns=columns),
        },
        examples={"source": "visits", "predict_at": "day"},
        lookups={"person": {"source": "people", "by": "who", "features": ["age"]}},
        features={"age": "person.age", "hour": "hour(day)"},
    )  # fmt: skip
    found = replay(spec)
    age = found.features["age"]
    if declared == {"age"}:
        # Nobody says when it became known whose row it is.
        assert (age.verdict, age.undated) == ("untested", ())
        assert age.undeclared == ("people.who", "people (rows)")
        return
    assert (age.verdict, age.undeclared, age.undated) == ("undated", (), ("people",))
    assert (found.verdict, found.findings) == ("clean", ())
    assert found.features["hour"].verdict == "clean"


def test_vectors_words_and_statistics_are_replayed_from_files(tmp_path: Path) -> None:
    VISITS.write_csv(tmp_path / "visits.csv")
    columns = {"visit": "int64", "who": "string", "day": "timestamp", "left": "timestamp"}
    aggregations = {
        "g": {"source": "visits", "by": "who", "windows": "4d",
              "features": {"last": "last_k(asked, 2)", "mean": "mean(asked)"}}
    }  # fmt: skip
    features = {
        "last": "g.last_4d", "mean": "zscore(impute(g.mean_4d, 'mean'))",
        "who": "one_hot_vocabulary(who)", "text": "upper(who)",
    }  # fmt: skip
    spec = fk.Spec(
        sources={"visits": {"path": "visits.csv", "event_time": "day", "columns": columns}},
        examples={"source": "visits", "keys": ["visit"], "predict_at": "day"},
        aggregations=aggregations, features=features, base=tmp_path,
    )  # fmt: skip
    later = {"asked": {"available_at": "left"}}
    truth = fk.Spec(
        sources={"visits": {"path": "visits.csv", "event_time": "day", "available_at": "day - 1d",
                            "columns": {**columns, **later}}},
        examples=spec.examples, features={"who": "who"}, base=tmp_path,
    )  # fmt: skip
    assert (
        replay(spec, truth=truth).verdict == "clean"
    )  # Half a day later is before the next visit.
    late = VISITS.with_columns(pl.col("left") + pl.duration(days=3))
    found = replay(spec, truth=truth, tables={"visits": late})
    assert found.leaks == ("last", "mean")
    assert found.features["last"].first is not None
    assert found.features["last"].first.without_future is None


def test_many_worlds_are_replayed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, truth = prices(declared=False), prices(declared=True)
    wanted = replay(spec, truth=truth).to_dict()
    monkeypatch.setattr(replay_worlds, "_MOST", 1)
    assert replay(spec, truth=truth).to_dict() == wanted


def test_it_says_what_it_is_doing() -> None:
    told: list[str] = []
    replay(prices(declared=True), progress=told.append)
    assert told == ["the past as a run sees it", "choosing examples", "replaying 3 examples"]


# Findings


def leaking() -> Replay:
    truth = visits({"asked": "asked"}, {"spent": {"available_at": "left"}})
    return replay(visits({"spent": "spent", "asked": "asked"}), truth=truth)


def test_a_leak_is_a_critical_finding_that_says_what_to_leave_out() -> None:
    (finding,) = leaking().findings
    assert finding.features == ("spent",)
    assert (finding.kind, finding.severity) == ("leak_by_replay", Severity.CRITICAL)
    assert finding.message == (
        "'spent' uses what is not known at prediction time: the value of visit=0 at "
        "2024-01-01T00:00:00+00:00 is 2, and missing once what was not known then is deleted. It "
        "is different in 8 of 8 examples, because of visits.spent (known at left)."
    )
    in_sentences(finding.message, finding.advice)
    assert finding.advice.startswith("Leave visits.spent out, or use past rows alone")
    assert finding.effect is not None
    assert (finding.effect.value, finding.effect.high) == (1.0, 1.0)


def test_a_replay_is_plain_data() -> None:
    made = leaking().to_dict()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["verdict"] == "leak"
    assert [entry["verdict"] for entry in made["features"].values()] == ["leak", "clean"]


def test_a_sample_is_a_positive_number_and_tables_are_those_of_sources() -> None:
    with pytest.raises(UsageError, match="sample is at least 1, got 0"):
        replay(visits({"asked": "asked"}), sample=0)
    with pytest.raises(
        UsageError, match=r"there is no source 'visit'\. Hint: did you mean 'visits'"
    ):
        replay(visits({"asked": "asked"}), tables={"visit": VISITS})


def test_the_truth_is_about_the_same_sources() -> None:
    with pytest.raises(UsageError, match="the truth has no source 'visits'"):
        replay(visits({"asked": "asked"}), truth=prices(declared=True))
    two = {"visits": fk.Source(data=VISITS), "others": fk.Source(data=VISITS)}
    truth = fk.Spec(sources=two, examples={"source": "others"}, features={"a": "asked"})
    with pytest.raises(UsageError, match="the truth has its examples in another source"):
        replay(visits({"asked": "asked"}), truth=truth)


# Statistics

SPLIT = {"examples": {"split": {"by": "day", "eval_from": "2024-01-05", "test_from": "2024-01-07"}}}


def test_statistics_of_train_rows_hold_nothing_of_other_rows() -> None:
    features = {"z": "zscore(asked)", "id": "vocabulary(who)", "bin": "bucketize(asked, 2)"}
    found = replay(visits(features, **SPLIT)).statistics
    assert (found.verdict, found.statistics, found.rows) == ("clean", 3, 4)


def test_statistics_that_are_fitted_on_all_rows_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting._Rows, "training", lambda _, frame: frame)
    found = replay(visits({"z": "zscore(asked)", "asked": "asked"}, **SPLIT))
    assert found.verdict == found.statistics.verdict == "leak"
    (finding,) = found.findings
    assert (finding.kind, finding.features) == ("statistics_by_replay", ("z",))
    assert "moments(asked) is another when rows outside of the train split" in finding.message
    assert finding.message.endswith("poisoned.")


def test_without_a_split_or_a_statistic_there_is_nothing_to_poison() -> None:
    assert "declares no split" in replay(visits({"z": "zscore(asked)"})).statistics.why
    assert "no feature needs" in replay(visits({"asked": "asked"}, **SPLIT)).statistics.why


# Numbers


@pytest.mark.parametrize(("events", "trials"), [(0, 1), (0, 100), (1, 10), (7, 50), (99, 100)])
def test_at_the_bound_so_few_events_have_a_chance_of_one_in_twenty(
    events: int, trials: int
) -> None:
    rate = rate_bound(events, trials)
    chance = sum(
        comb(trials, count) * rate**count * (1 - rate) ** (trials - count)
        for count in range(events + 1)
    )
    assert chance == pytest.approx(0.05, rel=1e-9)


def test_where_nothing_was_tried_or_all_of_it_happened_the_bound_is_one() -> None:
    assert rate_bound(0, 0) == rate_bound(5, 5) == 1.0
    with pytest.raises(UsageError, match="6 of 5 is no share"):
        rate_bound(6, 5)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        (1.0, 1.0 + 9e-7, False), (1.0, 1.0 + 2e-6, True), (0.0, 1e-300, True), (0.0, -0.0, False),
        (NAN, NAN, False), (NAN, None, True), (None, None, False), (None, 0.0, True),
        (INF, INF, False), (INF, -INF, True), (INF, 1e308, True),
    ],
)  # fmt: skip
def test_floats_may_differ_by_a_millionth(
    one: float | None, other: float | None, differs: bool
) -> None:
    pair = [pl.Series([value], dtype=pl.Float64) for value in (one, other)]
    assert differing(*pair).tolist() == [differs]
    vectors = [pl.Series([[7.0, value]], dtype=pl.Array(pl.Float64, 2)) for value in (one, other)]
    assert differing(*vectors).tolist() == [differs]


def test_other_values_are_equal_or_not() -> None:
    big = 2**60
    assert differing(pl.Series([big, 1, None]), pl.Series([big + 1, 1, 1])).tolist() == [
        True, False, True
    ]  # fmt: skip
    assert differing(pl.Series(["a", None]), pl.Series(["A", None])).tolist() == [True, False]
    # Missing values make a pandas column of integers one of floats.
    assert differing(pl.Series([1, 2]), pl.Series([1.0, None])).tolist() == [False, True]
    one = pl.Series([None, [1.0, 2.0]], dtype=pl.Array(pl.Float64, 2))
    other = pl.Series([None, None], dtype=pl.Array(pl.Float64, 2))
    assert differing(one, other).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [
    pl.Int8(), pl.Int64(), pl.UInt16(), pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(),
    pl.Date(), pl.Datetime("us", "UTC"), pl.Datetime("ns"), pl.Duration("ms"),
])  # fmt: skip
def test_poison_of_every_type_is_a_value_of_it_that_is_not_missing(dtype: Any) -> None:
    frame = pl.DataFrame({"x": pl.Series([None, None], dtype=dtype), "low": [True, False]})
    value = poison("x", dtype, pl.col("low"))
    assert value is not None
    made = frame.with_columns(value.alias("x"))["x"]
    assert made.dtype == dtype
    assert made.null_count() == 0
    if dtype not in (pl.Boolean(), pl.String()):
        assert made[0] < made[1]


# The choice of examples


def moments(count: int) -> pl.DataFrame:
    at = pl.Series(np.arange(count) * 1_000_000).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"~at": at, "~order": range(count), "key": [n % 50 for n in range(count)]})


def test_a_sample_is_spread_over_time_and_keys_and_has_those_that_an_event_follows() -> None:
    near = pl.Series([0 if 300 <= place < 320 else 10**9 for place in range(1_000)])
    places, even = sample_examples(moments(1_000), ["key"], near, 100, seed=3)
    assert len(set(places.tolist())) == 100
    assert sorted(places) == places.tolist()
    # Sixty drawn evenly: one from each of sixty equal parts.
    assert even.sum() == 60
    parts = (places[even] * 60) // 1_000
    assert len(set(parts.tolist())) == 60
    assert len({place % 50 for place in places[~even].tolist()}) >= 20
    assert set(range(300, 320)) <= set(places.tolist())


def test_a_sample_that_is_larger_than_the_examples_is_all_of_them() -> None:
    places, even = sample_examples(moments(7), ["key"], None, 100, seed=3)
    assert places.tolist() == list(range(7))
    assert even.all()


# One's own code

LOG = pl.DataFrame({
    "id": range(60), "who": ["a", "b", "c"] * 20, "at": [day(n // 2) for n in range(60)],
    "known": [day(n // 2 + n % 5) for n in range(60)], "x": [float(n * n % 17) for n in range(60)],
    "y": [n % 3 for n in range(60)],
})  # fmt: skip
SOURCES = {
    "log": {
        "event_time": "at", "available_at": "at - 1d",
        "columns": {"x": {"available_at": "known"}, "y": {"available": False}},
    }
}  # fmt: skip
EXAMPLES = {"source": "log", "keys": ["id"], "predict_at": "at"}

Tables = dict[str, Any]


def mine(
    function: Callable[[Tables], Any], log: Any = LOG, sources: Any = SOURCES, **settings: Any
) -> Replay:
    examples = EXAMPLES | settings.pop("examples", {})
    return replay_function(function, {"log": log}, examples=examples, sources=sources, **settings)


def joined(log: pl.DataFrame, past: pl.DataFrame, before: str) -> pl.DataFrame:
    """Return the mean of what each example's past holds, past by one of its times."""
    pairs = log.select("id", "who", t="at").join(past.select("who", before, "x"), on="who")
    return pairs.filter(pl.col(before) < pl.col("t")).group_by("id").agg(mean=pl.col("x").mean())


def right(tables: Tables) -> Any:
    log = tables["log"]
    past = log.with_columns(effect=pl.max_horizontal("at", "known"))
    return log.select("id").join(joined(log, past, "effect"), on="id", how="left")


def by_event(tables: Tables) -> Any:
    return joined(tables["log"], tables["log"], "at")


def test_a_function_that_looks_only_back_is_clean() -> None:
    found = mine(right, complete=True)
    assert found.verdict == "clean"
    assert found.examples == 60
    assert found.features["mean"].changed == 60


def test_a_function_that_takes_late_values_for_known_ones_is_found() -> None:
    found = mine(by_event, complete=True).features["mean"]
    assert found.verdict == "leak"
    assert found.responsible == ("log.x",)
    assert found.reasons == ("known at known",)


FUTURE: dict[str, tuple[Callable[[Tables], Any], set[str]]] = {
    "the next value": (
        lambda t: t["log"].select("id", f=pl.col("x").shift(-1).over("who")), {"log.x"}
    ),
    "a scaler over all rows": (
        lambda t: t["log"].select("id", f=(pl.col("who") == "a") / pl.col("x").mean()), {"log.x"}
    ),
    "the own label": (lambda t: t["log"].select("id", f=pl.col("y") * 2), {"log.y"}),
    "an encoding of the label over all rows": (
        lambda t: t["log"].select("id", f=pl.col("y").mean().over("who")), {"log.y"}
    ),
    "how often there will be rows": (
        lambda t: t["log"].select("id", f=pl.len().over("who")), {"log (rows)"}
    ),
    "the greatest of all rows": (
        lambda t: t["log"].select("id", f=pl.col("x").max().over("who")), {"log.x"}
    ),
    "whether the value will be known": (
        lambda t: t["log"].select("id", f=pl.col("x").is_null().cast(pl.Int8)), {"log.x"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FUTURE)
def test_a_function_that_uses_the_future_is_found_and_the_column_named(kind: str) -> None:
    function, responsible = FUTURE[kind]
    found = mine(function, by={"log": ["who"]}).features["f"]
    assert found.verdict == "leak"
    assert set(found.responsible) == responsible
    assert found.finding is not None
    assert found.finding.severity is Severity.CRITICAL


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_a_function_gets_tables_of_the_kind_that_was_given(kind: str) -> None:
    log = {"pandas": LOG.to_pandas(), "polars": LOG, "pyarrow": LOG.to_arrow()}[kind]
    seen = set()

    def function(tables: Tables) -> Any:
        seen.add(type(tables["log"]).__module__.split(".")[0])
        made = to_polars(tables["log"])
        made = made.select("id", ahead=pl.col("x").shift(-1), known="who")
        return made.to_pandas() if kind == "pandas" else made

    found = mine(function, log)
    assert seen == {kind}
    assert found.leaks == ("ahead",)


def test_pandas_code_is_replayed() -> None:
    def function(tables: Tables) -> Any:
        log = tables["log"].sort_values(["who", "known"])
        log["before"] = log.groupby("who")["x"].shift(1)
        return log[["id", "before"]]

    found = mine(function, LOG.to_pandas())
    assert (
        found.features["before"].verdict == "leak"
    )  # Known before that row was, not the prediction.


def test_arrow_results_are_read() -> None:
    def function(tables: Tables) -> Any:
        return tables["log"].select(["id", "who"])

    assert mine(function, LOG.to_arrow()).verdict == "clean"


def test_what_names_an_example_is_there_however_late_its_columns_are_known() -> None:
    sources = {"log": {"event_time": "at", "available_at": "at + 1d"}}
    found = mine(lambda t: t["log"].select("id", one=pl.lit(1), who="who"), sources=sources)
    assert found.features["one"].verdict == "clean"
    assert found.features["who"].responsible == ("log.who",)


def test_features_that_depend_on_undeclared_columns_are_untested() -> None:
    silent = {"log": {"event_time": "at"}}
    found = mine(
        lambda t: t["log"].select(
            "id", own="x", past=pl.col("x").shift(1).over("who"), hour=pl.col("at").dt.hour()
        ),
        sources=silent,
    )  # fmt: skip
    assert found.features["own"].undeclared == ("log.x",)
    assert found.features["own"].verdict == "untested"
    assert found.features["hour"].verdict == "clean"
    # Values of rows before are known with their event, and whose row the own one is nobody says.
    assert found.features["past"].undeclared == ("log.who",)


def test_a_table_of_which_nothing_is_declared_is_untested_where_it_is_used() -> None:
    people = pl.DataFrame({"who": ["a", "b", "c"], "age": [30, 40, 50]})
    found = replay_function(
        lambda t: t["log"].join(t["people"], on="who", how="left").select("id", "age", w="who"),
        {"log": LOG, "people": people}, examples=EXAMPLES, sources=SOURCES,
    )  # fmt: skip
    assert found.features["age"].undeclared == ("people.who", "people.age")
    assert found.features["w"].verdict == "clean"


def test_features_of_train_rows_must_not_change_with_rows_of_other_splits() -> None:
    split = {"split": {"by": "at", "eval_from": "2024-01-20"}}
    sources = {"log": {"event_time": "at", "available_at": "at - 400d"}}

    def scaled(tables: Tables) -> Any:
        return tables["log"].select("id", z=pl.col("x") - pl.col("x").mean(), plain="x")

    found = mine(scaled, sources=sources, examples=split)
    assert found.statistics.verdict == "leak"
    assert list(found.statistics.changed) == ["the fit of z"]

    def trained(tables: Tables) -> Any:
        mean = LOG.filter(pl.col("at") < day(19))["x"].mean()
        return tables["log"].select("id", z=pl.col("x") - mean, plain="x")

    assert mine(trained, sources=sources, examples=split).statistics.verdict == "clean"


def test_a_function_that_cannot_be_compared_is_refused_with_the_reason() -> None:
    chance = np.random.default_rng(0)
    with pytest.raises(DataError, match="different values of 'f' for the same tables"):
        mine(lambda t: t["log"].select("id", f=pl.Series(chance.random(t["log"].height))))
    with pytest.raises(DataError, match="lacks the key 'id'"):
        mine(lambda t: t["log"].select("x"))
    with pytest.raises(DataError, match="several rows for one example"):
        mine(lambda t: pl.concat([t["log"], t["log"]]))
    with pytest.raises(DataError, match="fails on tables without what was not known at 2024-01-"):
        mine(lambda t: t["log"].select("id", f=1 / (t["log"].height == 60)) if t["log"].height == 60
             else t["log"].select("nothing"))  # fmt: skip
    with pytest.raises(UsageError, match="compared by the keys of the examples"):
        mine(right, examples={"keys": []})
    with pytest.raises(DataError, match="several examples have the same keys"):
        mine(right, examples={"keys": ["who"]})
    with pytest.raises(UsageError, match=r"there is no table 'logs'\. Hint: did you mean 'log'"):
        mine(right, sources={"logs": {}})
    with pytest.raises(UsageError, match="there is no table 'other'"):
        mine(right, by={"other": ["who"]})
    with pytest.raises(SpecError, match="no column 'nothing'"):
        mine(right, sources={"log": {"event_time": "nothing"}})


def test_a_row_or_a_column_that_only_the_future_brings_is_a_leak() -> None:
    def categories(tables: Tables) -> Any:
        return tables["log"].select("id", "who").to_dummies("who")

    log = LOG.with_columns(
        pl.when(pl.col("id") < 50).then("who").otherwise(pl.lit("z")).alias("who")
    )
    found = mine(categories, log)
    assert "who_z" in found.leaks
    assert found.features["who_z"].responsible


@pytest.mark.parametrize("by_time", [True, False])
def test_features_that_see_the_label_by_cross_fitting_are_replayed(by_time: bool) -> None:
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(60)]
    visits = pl.DataFrame(
        {"id": range(60), "day": days, "shop": ["north", "south", "east"] * 20,
         "back": [place % 4 == 0 for place in range(60)]}
    )  # fmt: skip
    examples = {"source": "visits", "keys": ["id"], "label": "back", "predict_at": "day",
                "split": {"by": "day", "test_from": "2024-02-15"}}  # fmt: skip
    if not by_time:
        examples["split"] = {"hash": "id", "test": 0.3}
    spec = fk.Spec.from_dict(
        {
            "sources": {"visits": {"event_time": "day", "available_at": "day",
                                   "columns": {"back": {"available_at": "day + 3d"}}}},
            "examples": examples,
            "features": {"m": "target_mean(shop, folds=3)", "z": "zscore(impute(m, 'mean'))"},
        }
    )  # fmt: skip
    found = replay(spec, tables={"visits": visits})
    assert {name: each.verdict for name, each in found.features.items()} == {
        "m": "clean", "z": "clean",
    }  # fmt: skip
    assert found.statistics.verdict == "clean", "labels of test rows move no statistic"
