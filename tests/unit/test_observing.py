"""What is said of when labels are known and of effects at predictions, and the hints followed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.cli import main
from featurekit.threats import Threat
from featurekit.types import parse_duration

START = datetime(2024, 1, 1, tzinfo=UTC)
BORDER = START + timedelta(days=60)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


DAY = parse_duration("1d")

# Labels that are known too late


def labelled(
    known: Any = None, predict_at: str | None = None, embargo: str | None = None,
    source: dict[str, Any] | None = None, column: dict[str, Any] | None = None,
) -> fk.Spec:  # fmt: skip
    """Return a spec of a hundred days, split at the sixtieth."""
    days = [day(number) for number in range(100)]
    rows = pl.DataFrame({
        "id": range(100), "day": days, "y": [1.0 * number for number in range(100)],
        "known": known or days, "asked": [time - timedelta(days=3) for time in days],
    })  # fmt: skip
    split: dict[str, Any] = {"by": "day", "eval_from": BORDER}
    if embargo is not None:
        split["embargo"] = embargo
    return fk.Spec(
        sources={
            "spine": fk.Source(
                data=rows, columns={"id": {"available": True}, **({"y": column} if column else {})},
                **(source or {}),
            )
        },
        examples=fk.Examples("spine", keys=["id"], predict_at=predict_at, label="y", split=split),
        features={"id_z": "zscore(id)"},
    )  # fmt: skip


def embargo_threat(spec: fk.Spec) -> Threat | None:
    found = [each for each in fk.verdicts(spec).threats if each.kind == "missing_embargo"]
    assert len(found) <= 1
    return found[0] if found else None


def advised(threat: Threat | None) -> str:
    """Return the embargo that a warning hints at."""
    assert threat is not None
    found = re.search(r"Declare embargo: (\w+) in the split", threat.advice)
    assert found, threat.advice
    return found[1]


def too_late(spec: fk.Spec, label_known: str, predict_at: str) -> list[int]:
    """Return the rows to train on whose label is known after the first prediction to evaluate on.

    Both are columns of the data, or `day` and a number of days.
    """
    split = spec.examples.split
    assert split is not None
    gap = timedelta(microseconds=parse_duration(split.embargo) if split.embargo else 0)
    rows = spec.sources["spine"].data.to_dicts()

    def time(row: dict[str, Any], text: str) -> datetime:
        name, _, days = text.partition(" ")
        found = row[name]
        assert isinstance(found, datetime)
        return found + timedelta(days=float(days.replace(" ", "").removesuffix("d") or 0))

    first = min(time(row, predict_at) for row in rows if row["day"] >= BORDER)
    return [
        row["id"] for row in rows if row["day"] < BORDER - gap and time(row, label_known) > first
    ]


STATIC: dict[str, tuple[dict[str, Any], str, str, str | None]] = {
    "the source says when": (
        {"source": {"available_at": "day + 5d"}, "predict_at": "day"}, "day + 5d", "day", "5d",
    ),
    "the column says when": (
        {"column": {"available_at": "day + 5d"}, "predict_at": "day"}, "day + 5d", "day", "5d",
    ),
    "a column goes before its source": (
        {"source": {"available_at": "day + 9d"}, "column": {"available_at": "day + 1d"},
         "predict_at": "day"}, "day + 1d", "day", "1d",
    ),
    "the prediction leads": (
        {"source": {"event_time": "day", "available_at": "day"}, "predict_at": "day - 7d"},
        "day", "day - 7d", "7d",
    ),
    "it leads, and the label comes late": (
        {"column": {"available_at": "day + 2d"}, "predict_at": "day - 7d"},
        "day + 2d", "day - 7d", "9d",
    ),
    "nothing is declared but the event": (
        {"source": {"event_time": "day"}, "predict_at": "day - 7d"}, "day", "day - 7d", "7d",
    ),
    "predictions come later than labels": (
        {"column": {"available_at": "day + 2d"}, "predict_at": "day + 3d"},
        "day + 2d", "day + 3d", None,
    ),
    "no prediction is declared": (
        {"source": {"available_at": "day + 5d"}}, "day + 5d", "day", "5d",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STATIC)
@pytest.mark.parametrize("embargo", [None, "1d"])
def test_an_embargo_is_missing_where_labels_are_known_after_evaluation_begins(
    case: str, embargo: str | None
) -> None:
    given, known, predicted, needed = STATIC[case]
    spec = labelled(embargo=embargo, **given)
    found = embargo_threat(spec)
    short = needed is not None and parse_duration(needed) > parse_duration(embargo or "0s")
    assert (found is not None) == short
    # The data is a row a day: it shows all that is longer than the embargo by a day.
    longer = needed is not None and parse_duration(needed) > parse_duration(embargo or "0s") + DAY
    assert bool(too_late(spec, known, predicted)) == longer
    if found is not None:
        assert advised(found) == needed
        assert f"evaluation begins with the prediction at {predicted}" in found.message
        settled = labelled(embargo=advised(found), **given)
        assert embargo_threat(settled) is None
        assert not too_late(settled, known, predicted)


def test_a_lead_of_a_week_under_an_embargo_of_a_day_is_no_longer_passed() -> None:
    source = {"event_time": "day", "available_at": "day"}
    found = embargo_threat(labelled(predict_at="day - 7d", embargo="1d", source=source))
    assert found is not None
    assert found.message == (
        "The label is known at day, evaluation begins with the prediction at day - 7d, and the "
        "embargo is 1d, so labels of the last rows to train on are not known yet when evaluation "
        "begins."
    )


@pytest.mark.parametrize("predict_at", ["day", "asked"])
@pytest.mark.parametrize("seed", range(6))
def test_the_data_tells_how_long_an_embargo_must_be_where_the_spec_cannot(
    seed: int, predict_at: str
) -> None:
    random = Random(seed)
    longest = random.choice([0, 1, 4, 20])
    known = [day(number + random.choice([0, 0, 0.25, longest])) for number in range(100)]
    late: dict[str, Any] = {
        "known": known,
        "predict_at": predict_at,
        "column": {"available_at": "known"},
    }
    for embargo in (None, "1d", "6d"):
        spec = labelled(embargo=embargo, **late)
        found, rows = embargo_threat(spec), too_late(spec, "known", predict_at)
        assert (found is not None) == bool(rows)
        if found is not None:
            assert f"for {len(rows)} of " in found.message
            settled = labelled(embargo=advised(found), **late)
            assert embargo_threat(settled) is None
            assert not too_late(settled, "known", predict_at)


def test_labels_before_the_test_rows_count_too() -> None:
    spec = labelled(
        predict_at="day", column={"available_at": "known"},
        known=[day(number + (30 if 80 <= number < 90 else 0)) for number in range(100)],
    )  # fmt: skip
    assert embargo_threat(spec) is None
    split = fk.Split(by="day", eval_from=BORDER, test_from=day(90))
    examples = fk.Examples("spine", keys=["id"], predict_at="day", label="y", split=split)
    found = embargo_threat(fk.Spec(spec.sources, examples, spec.features))
    assert found is not None
    assert "the first prediction from test_from on (2024-03-31 00:00) for 10 of" in found.message
    assert advised(found) == "10d"


# Past rows that take effect at predictions


def daily(available_at: str, apart: bool = False, event_time: str = "day") -> fk.Spec:
    """Return a forecast of a daily series, by values of the days before."""
    days = [day(number) for number in range(60)]
    values = pl.DataFrame({
        "series": ["a", "b"] * 60, "day": [time for time in days for _ in range(2)],
        "y": [1.0 * number for number in range(60) for _ in range(2)],
    })  # fmt: skip
    past = fk.Source(
        data=values, event_time=event_time,
        columns={
            "y": {"available_at": available_at}, "series": {"available": True},
            "before": {"expr": "day - 1us"},
        },
    )  # fmt: skip
    main = "asked" if apart else "values"
    return fk.Spec(
        sources={"values": past, **({"asked": fk.Source(data=values)} if apart else {})},
        examples=fk.Examples(main, keys=["series", "day"], predict_at="day", label="y"),
        aggregations={
            "recent": fk.Aggregation("values", "series", ["1d", "7d"], {"y": "last(y)"})
        },
        features={"last": "recent.y_1d", "week": "recent.y_7d"},
    )  # fmt: skip


def lag(spec: fk.Spec, folder: Path) -> set[float]:
    """Return how many days old the value is that the last day's window holds, in all rows."""
    rows = fk.run(spec, folder, tensorflow=False).examples().to_polars().drop_nulls()
    return set((rows["label"] - rows["last"]).to_list())


@pytest.mark.parametrize("apart", [False, True], ids=["own source", "another source"])
def test_a_day_that_is_known_at_the_prediction_does_not_count_and_the_hint_makes_it_count(
    apart: bool, tmp_path: Path
) -> None:
    spec = daily("day + 1d", apart)
    assert lag(spec, tmp_path / "before") == {2.0}
    (found,) = [each for each in fk.verdicts(spec).threats if each.kind == "effect_at_prediction"]
    assert found.features == ("last", "week")
    # All but the first day of both series.
    assert "exactly when the prediction is made in 118 of 120 examples" in found.message
    assert "left out of recent.y_1d, recent.y_7d" in found.message
    written = re.search(r"write available_at: (.*) in 'values'", found.advice)
    assert written
    assert written[1] == "day + 1d - 1us"
    mended = daily(written[1], apart)
    assert lag(mended, tmp_path / "after") == {1.0}
    assert not [e for e in fk.verdicts(mended).threats if e.kind == "effect_at_prediction"]


def test_an_event_at_the_prediction_is_told_and_the_hint_makes_it_count(tmp_path: Path) -> None:
    # Values of a day stand under the midnight that ends it, and nothing else says when.
    spec = daily("day", apart=True)
    assert lag(spec, tmp_path / "before") == {1.0}
    (found,) = [each for each in fk.verdicts(spec).threats if each.kind == "effect_at_prediction"]
    assert "a column of 'values' with expr: day - 1us, and event_time: that column" in found.advice
    mended = daily("day - 1us", apart=True, event_time="before")
    assert lag(mended, tmp_path / "after") == {0.0}


def test_an_examples_own_row_is_no_row_that_is_left_out() -> None:
    # A row takes effect as it is predicted: that is how it stays out of its own past.
    spec = daily("day")
    assert not [e for e in fk.verdicts(spec).threats if e.kind == "effect_at_prediction"]


@pytest.mark.parametrize(("several", "told"), [(0, False), (1, True)])
def test_rows_known_at_their_own_prediction_are_told_apart_from_others(
    several: int, told: bool
) -> None:
    days = [day(number) for number in range(40)]
    rows = pl.DataFrame({
        "id": range(40), "who": ["a"] * 40, "day": days, "y": [1.0] * 40,
        "known": [time + timedelta(days=several) for time in days],
    })  # fmt: skip
    spec = fk.Spec(
        {"rows": fk.Source(data=rows, event_time="day",
                           columns={"y": {"available_at": "known"}, "who": {"available": True}})},
        fk.Examples("rows", keys=["id"], predict_at="day"),
        {"past": "a.n_7d"},
        aggregations={"a": fk.Aggregation("rows", "who", "7d", {"n": "sum(y)"})},
    )  # fmt: skip
    found = [e for e in fk.verdicts(spec).threats if e.kind == "effect_at_prediction"]
    assert bool(found) == told


def test_a_coincidence_now_and_then_is_not_told() -> None:
    days = [day(number) for number in range(300)]
    later = [time + timedelta(days=1, hours=0 if number == 7 else 1)
             for number, time in enumerate(days)]  # fmt: skip
    values = pl.DataFrame({"who": ["a"] * 300, "t": days, "known": later, "y": [1.0] * 300})
    asked = pl.DataFrame({"id": range(300), "who": ["a"] * 300, "now": days})
    spec = fk.Spec(
        {"values": fk.Source(data=values, event_time="t", available_at="known"),
         "asked": fk.Source(data=asked)},
        fk.Examples("asked", keys=["id"], predict_at="now"),
        {"past": "now_y.y"},
        lookups={"now_y": fk.Lookup("values", "who", ["y"])},
    )  # fmt: skip
    assert fk.check(spec).observed.coincidences[0].rows == 1
    assert not [e for e in fk.verdicts(spec).threats if e.kind == "effect_at_prediction"]


def test_check_plan_and_run_say_that_rows_take_effect_at_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daily("day + 1d").sources["values"].data.write_parquet(tmp_path / "values.parquet")
    path = tmp_path / "spec.yaml"
    path.write_text("""
sources:
  values:
    path: values.parquet
    event_time: day
    columns: {y: {available_at: day + 1d}, series: {available: true}}
examples: {source: values, keys: [series, day], predict_at: day, label: y}
aggregations:
  recent: {source: values, by: series, windows: [1d], features: {y: last(y)}}
features: {last: recent.y_1d}
""")
    out = str(tmp_path / "run")
    for command in (["check"], ["plan"], ["run", "--no-tensorflow", "--out", out]):
        assert main([command[0], str(path), *command[1:]]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "Rows of 'values' take effect at day + 1d, which is exactly when" in said, command
        assert "write available_at: day + 1d - 1us in 'values'" in said, command
    assert "take effect at day + 1d" in fk.open_run(out).manifest["warnings"][0]


@pytest.mark.parametrize(("apart", "share", "told"), [
    (timedelta(minutes=1), 0.5, False), (timedelta(minutes=1), 1.0, True),
    (timedelta(days=1), 0.5, True), (timedelta(days=1), 0.1, False),
])  # fmt: skip
def test_one_row_left_out_of_many_is_told_only_where_nearly_all_examples_have_one(
    apart: timedelta, share: float, told: bool
) -> None:
    begin, count = datetime(2024, 1, 1, tzinfo=UTC), 200
    times = [begin + apart * place for place in range(count)]
    events = pl.DataFrame({"key": ["a"] * count, "t": times, "x": [1.0] * count})
    off = [place >= share * count for place in range(count)]
    at = [time + apart / 3 if late else time for time, late in zip(times, off, strict=True)]
    examples = pl.DataFrame({"key": ["a"] * count, "at": at})
    spec = fk.Spec(
        sources={
            "events": fk.Source(data=events, event_time="t", available_at="t"),
            "asked": fk.Source(data=examples, event_time="at", available_at="at"),
        },
        examples=fk.Examples("asked", predict_at="at"),
        aggregations={"past": {"source": "events", "by": "key", "windows": ["7d"],
                               "features": {"last": "last(x)"}}},
        features={"f": "past.last_7d"},
    )  # fmt: skip
    messages = [threat.message for threat in fk.verdicts(spec).threats]
    assert any("exactly when the prediction is made" in text for text in messages) == told
