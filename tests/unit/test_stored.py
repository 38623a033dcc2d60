"""What the stored types of columns refuse: check, plan and run say it alike, and read no rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.errors import SpecErrors
from featurekit.job import check, plan, run

SPEC = """\
sources:
  rows:
    path: rows.parquet
    event_time: at
    columns:
      at: {type: timestamp, zone: UTC}
      size: {type: timestamp}
  past:
    path: past.parquet
    event_time: at
    columns: {at: {type: timestamp, zone: UTC}}
examples: {source: rows, keys: [id], predict_at: at}
aggregations:
  seen: {source: past, by: id, windows: [7d], features: {n: count(), last: last(hour(day))}}
features:
  good: hour(at)
"""
START = datetime(2024, 1, 1)  # noqa: DTZ001  (a time without a zone is the point)
ROWS = pl.DataFrame({
    "id": range(20), "at": [START + timedelta(days=day) for day in range(20)],
    "naive": [START] * 20, "size": [float(day) for day in range(20)], "parts": [["a"]] * 20,
    "pair": [{"x": 1, "y": "a"}] * 20,
})  # fmt: skip
PAST = ROWS.rename({"naive": "day"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    PAST.write_parquet(tmp_path / "past.parquet")
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def refused(act: Callable[[], Any]) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        act()
    return [str(problem).rpartition("spec.yaml:")[2] for problem in caught.value.problems]


FEATURES = "  a: hour(naive)\n  b: year(size)\n  c: log1p(siez)\n  d: seen.last_7d\n"
PROBLEMS = [
    (
        "5: source 'rows': column 'naive' holds times without a zone. "
        "Hint: declare it: naive: {type: timestamp, zone: UTC}"
    ),
    (
        "7: source 'rows': column 'size' is stored as Float64 and cannot be read as timestamp. "
        "Hint: declare another type for it"
    ),
    (
        "11: source 'past': column 'day' holds times without a zone. "
        "Hint: declare it: day: {type: timestamp, zone: UTC}"
    ),
    "19: feature 'c': there is no column or feature 'siez'. Hint: did you mean 'size'?",
]


def test_what_cannot_be_read_is_told_with_all_other_problems(path: Path) -> None:
    path.write_text(SPEC + FEATURES)
    assert refused(lambda: check(path)) == PROBLEMS
    assert refused(lambda: plan(path)) == PROBLEMS
    assert refused(lambda: run(path, path.parent / "run", tensorflow=False)) == PROBLEMS


def test_what_no_feature_reads_may_be_stored_in_any_way(path: Path) -> None:
    head = SPEC.partition("aggregations:")[0].replace("{type: timestamp, zone: UTC}", "timestamp")
    path.write_text(f"{head}features: {{good: id * 2}}\n")
    assert set(check(path).inputs()) == {"id"}
    assert run(path, path.parent / "run", tensorflow=False).features


def test_what_the_data_is_asked_for_is_no_second_problem(path: Path) -> None:
    """Which of two times comes first is not asked of a source that cannot be read."""
    columns = "      size: {type: timestamp, available_at: naive}\n      naive: timestamp\n"
    text = SPEC.replace("      size: {type: timestamp}\n", columns)
    path.write_text(text + "  a: year(size)\n  b: hour(naive)\n")
    assert [problem.partition(":")[0] for problem in refused(lambda: check(path))] == ["7", "8"]


@pytest.mark.parametrize(("feature", "dtype"), [
    ("length(parts)", "List(String)"), ("log1p(pair)", "Struct({'x': Int64, 'y': String})"),
])  # fmt: skip
def test_a_column_that_is_left_out_is_there_all_the_same(
    feature: str, dtype: str, path: Path
) -> None:
    path.write_text(f"{SPEC}  a: {feature}\n")
    (problem,) = refused(lambda: check(path))
    name = feature.partition("(")[2][:-1]
    assert problem.startswith(
        f"17: feature 'a': {name!r} is stored as {dtype}, which no feature can read. "
    )
    path.write_text(SPEC.replace("size: {type: timestamp}", f"other: {{column: {name}}}"))
    (problem,) = refused(lambda: check(path))
    assert problem.startswith(f"7: source 'rows': column 'other': 'other' is stored as {dtype}")


def test_a_column_that_is_left_out_is_told_for_past_rows_too(path: Path) -> None:
    path.write_text(SPEC.replace("hour(day)", "parts"))
    (problem,) = refused(lambda: check(path))
    assert "aggregation 'seen': feature 'last': 'parts' is stored as List(String)" in problem


def test_no_rows_are_read_to_tell() -> None:
    def read(_: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("rows are read")

    rows = ROWS.lazy().map_batches(read, schema=ROWS.schema)
    spec = fk.Spec({"rows": fk.Source(data=rows)}, {"source": "rows"}, {"a": "hour(naive)"})
    with pytest.raises(SpecErrors, match="column 'naive' holds times without a zone"):
        check(spec)
