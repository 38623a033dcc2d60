"""Rows and values that would stop a run can be left out, and are counted then."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk

TIMES = ["2024-01-01T00:00:00Z", "", "2024-02-31T00:00:00Z", "2024-01-04T00:00:00Z", "soon"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A CSV file with an empty time, an impossible one, and one that is none."""
    lines = ["id,t,x", *(f"{i},{time},{i}" for i, time in enumerate(TIMES))]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "rows.csv"


def spec_of(path: Path, column: dict[str, Any], **examples: Any) -> fk.Spec:
    """Return a spec over the file."""
    source = fk.Source(path=str(path), columns={"t": {"type": "timestamp", **column}})
    features = {"hour": "hour(t)", "x": "x"}
    return fk.Spec({"rows": source}, fk.Examples("rows", keys="id", **examples), features)


def ran(tmp_path: Path, spec: fk.Spec) -> fk.Run:
    """Run a spec."""
    return fk.run(spec, tmp_path / "run", tensorflow=False, overwrite=True)


def test_a_value_that_is_no_time_stops_the_run_by_default(path: Path, tmp_path: Path) -> None:
    for column in ({}, {"on_violation": "fail"}):
        with pytest.raises(fk.DataError, match=r"not an ISO 8601 time in 2 rows .* in row 3\)"):
            ran(tmp_path, spec_of(path, column))


def test_a_value_that_is_not_allowed_can_be_missing_and_is_counted(
    path: Path, tmp_path: Path
) -> None:
    run = ran(tmp_path, spec_of(path, {"on_violation": "null"}))
    made = run.examples().to_polars()
    assert made["id"].to_list() == [0, 1, 2, 3, 4]
    assert made["hour"].to_list() == [0, None, None, 0, None]
    said = "text that is not an ISO 8601 time, read as missing"
    assert run.manifest["values"] == {"rows": {"t": {said: 2}}}
    assert f"source 'rows': column 't': {said}: 2 rows" in run.manifest["warnings"]
    fk.check(spec_of(path, {"on_violation": "null"}))


def test_a_row_with_a_value_that_is_not_allowed_can_be_left_out_and_is_counted(
    path: Path, tmp_path: Path
) -> None:
    run = ran(tmp_path, spec_of(path, {"on_violation": "drop"}))
    assert run.examples().to_polars()["id"].to_list() == [0, 1, 3]
    rows = run.manifest["rows"]
    assert (rows["read"], rows["left_out"], rows["written"]) == (5, 2, 3)
    assert run.manifest["values"]["rows"]["t"] == {"text that is not an ISO 8601 time, left out": 2}
    again = pl.DataFrame({"id": [9], "t": ["soon"], "x": [1]})
    with pytest.raises(fk.DataError, match="not an ISO 8601 time"):
        run.apply(again)
    strict = ran(tmp_path, spec_of(path, {"on_violation": "drop", "nullable": False}))
    assert strict.examples().to_polars()["id"].to_list() == [0, 3]


def test_numbers_and_times_out_of_range_can_be_left_out_too(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": ["1", "two", "3"], "t": [1, 10**18, 2]})
    source = fk.Source(
        data=frame,
        columns={
            "n": {"type": "float32", "on_violation": "null"},
            "t": {"type": "timestamp", "unit": "s", "on_violation": "drop"},
        },
    )  # fmt: skip
    spec = fk.Spec({"rows": source}, fk.Examples("rows"), {"n": "n", "second": "cast(t, 'int64')"})
    run = ran(tmp_path, spec)
    made = run.examples().to_polars()
    assert made["n"].to_list() == [1.0, 3.0]
    assert made["second"].to_list() == [10**6, 2 * 10**6]
    counted = run.manifest["values"]["rows"]
    assert {column: sum(found.values()) for column, found in counted.items()} == {"n": 1, "t": 1}


def test_a_number_that_becomes_text_late_in_a_csv_can_be_missing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n" + "1\n" * 120_000 + "oops\n")
    source = fk.Source(
        path=str(tmp_path / "rows.csv"),
        columns={"x": {"type": "float32", "on_violation": "null"}},
    )  # fmt: skip
    spec = fk.Spec({"rows": source}, fk.Examples("rows"), {"x": "x"})
    assert ran(tmp_path, spec).examples().to_polars()["x"].null_count() == 1


def test_null_makes_missing_values_and_so_needs_them_allowed() -> None:
    with pytest.raises(fk.SpecError, match="on_violation: null makes missing values"):
        fk.Column(on_violation="null", nullable=False)


def test_examples_are_the_rows_for_which_where_is_true(path: Path, tmp_path: Path) -> None:
    spec = spec_of(path, {}, where="x < 2 or x == 3")
    run = ran(tmp_path, spec)
    assert run.examples().to_polars()["id"].to_list() == [0, 1, 3], "bad rows are not looked at"
    rows = run.manifest["rows"]
    assert (rows["read"], rows["left_out"], rows["written"]) == (5, 2, 3)
    assert run.manifest["values"]["rows"]["where"] == {"rows for which it is not true, left out": 2}
    fk.check(spec)
    assert fk.Spec.from_dict(spec.as_plain(), Path()) == spec


def test_what_where_goes_by_must_be_readable_in_all_rows(path: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.DataError, match="not an ISO 8601 time in 2 rows"):
        ran(tmp_path, spec_of(path, {}, where="not is_missing(t)"))
    spec = spec_of(path, {"on_violation": "null"}, where="not is_missing(t)")
    assert ran(tmp_path, spec).examples().to_polars()["id"].to_list() == [0, 3]


def test_rows_in_errors_are_counted_as_they_stand_in_the_source(path: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.DataError, match=r"in 1 row \(the first is 'soon' in row 5\)"):
        ran(tmp_path, spec_of(path, {}, where="x != 2"))


def test_past_rows_of_the_source_stay(tmp_path: Path) -> None:
    day = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    frame = pl.DataFrame({"t": day, "who": [1, 1, 1], "kind": ["a", "a", "b"]})
    spec = fk.Spec(
        {"rows": fk.Source(data=frame, event_time="t")},
        fk.Examples("rows", keys="t", predict_at="t", where="kind == 'b'"),
        {"count": "seen.rows_7d"},
        aggregations={
            "seen": {
                "source": "rows", "by": "who", "windows": "7d", "features": {"rows": "count()"},
            },
        },
    )  # fmt: skip
    run = ran(tmp_path, spec)
    assert run.examples().to_polars()["count"].to_list() == [2]


def test_past_rows_that_are_not_allowed_are_left_out(tmp_path: Path) -> None:
    now = datetime(2024, 1, 9, tzinfo=UTC)
    past = pl.DataFrame({"t": ["2024-01-08T00:00:00Z", "never", "2024-01-07T00:00:00Z"]})
    columns = {"t": {"type": "timestamp", "on_violation": "drop"}}
    spec = fk.Spec(
        {
            "rows": fk.Source(data=pl.DataFrame({"now": [now]})),
            "past": fk.Source(data=past, event_time="t", columns=columns),
        },
        fk.Examples("rows", predict_at="now"), {"count": "seen.rows_7d"},
        aggregations={"seen": {"source": "past", "windows": "7d", "features": {"rows": "count()"}}},
    )  # fmt: skip
    run = ran(tmp_path, spec)
    assert run.examples().to_polars()["count"].to_list() == [2]
    assert [*run.manifest["values"]["past"]["t"].values()] == [1]


@pytest.mark.parametrize("engine", ["beam", "gcp"])
def test_other_engines_refuse_by_name_to_leave_rows_out(path: Path, engine: str) -> None:
    with pytest.raises(fk.SpecError, match=f"where: the engine {engine}"):
        fk.plan(spec_of(path, {}, where="x > 1"), engine)
    with pytest.raises(fk.SpecError, match=f"the engine {engine} does not know on_violation: drop"):
        fk.plan(spec_of(path, {"on_violation": "drop"}), engine)


def test_where_is_a_comparison(path: Path) -> None:
    with pytest.raises(fk.SpecError, match="examples: where: a comparison of a row's values"):
        fk.check(spec_of(path, {}, where="x + 1"))


def test_a_population_that_is_selected_by_the_future_is_said(path: Path, tmp_path: Path) -> None:
    source = fk.Source(
        path=str(path),
        columns={"t": {"type": "timestamp", "on_violation": "drop"}, "x": {"available": False}},
    )  # fmt: skip
    spec = fk.Spec(
        {"rows": source}, fk.Examples("rows", keys="id", where="x < 4"), {"h": "hour(t)"}
    )
    run = ran(tmp_path, spec)
    (said,) = [text for text in run.manifest["warnings"] if "by the future" in text]
    assert "'x' is not available at prediction time" in said
