"""What float32 cannot hold is counted and said; what is too small for it is 0."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.errors import DataError, EngineError, FeatureKitWarning
from featurekit.job import run
from featurekit.read_errors import polars_errors
from featurekit.runs import Run, open_run
from featurekit.spec.objects import Column, Examples, Source, Spec

SUBNORMAL = float(np.float32(1e-40))


def finished(
    folder: Path, values: Sequence[float | None], of: Any = pl.Float64, column: str | None = None,
    **features: str,
) -> Run:  # fmt: skip
    rows = pl.DataFrame({"id": range(len(values)), "x": pl.Series(values, dtype=of)})
    columns = {} if column is None else {"x": Column(type=column)}
    source = Source(data=rows, columns=columns)
    spec = Spec({"rows": source}, Examples("rows", keys="id"), features)
    return run(spec, folder / "run", tensorflow=False)


def bits(values: Any) -> list[Any]:
    """Return numbers with the sign of their zeros."""
    return [None if value is None else (value, math.copysign(1, value)) for value in values]


def test_finite_numbers_beyond_float32_are_counted_and_said(tmp_path: Path) -> None:
    values = [1e39, -1e300, math.inf, 3.4e38, None, math.nan]
    made = finished(tmp_path, values, x="x")
    assert made.examples().to_polars()["x"].to_list()[:3] == [math.inf, -math.inf, math.inf]
    assert made.manifest["rows"]["beyond_float32_read_as_infinite"] == {"x": 2}
    (warning,) = made.manifest["warnings"]
    assert warning == (
        "column 'x': 2 values beyond float32 (3.4e38) were read as infinite; to keep them, declare "
        "x: {type: float64}"
    )


def test_numbers_too_small_for_float32_are_counted_and_said(tmp_path: Path) -> None:
    values = [1e-50, -1e-40, 0.0, -0.0, 1.2e-38, None]
    made = finished(tmp_path, values, x="x")
    found = made.examples().to_polars()["x"]
    assert bits(found) == [*bits([0.0, -0.0, 0.0, -0.0, float(np.float32(1.2e-38))]), None]
    assert made.manifest["rows"]["below_float32_read_as_zero"] == {"x": 2}
    (warning,) = made.manifest["warnings"]
    assert "2 values too small for float32 (1.2e-38) were read as 0" in warning


def test_declared_float64_as_the_warning_says_nothing_is_lost(tmp_path: Path) -> None:
    values = [1e39, 1e-50, -1e-40]
    made = finished(tmp_path, values, column="float64", x="x")
    assert made.examples().to_polars()["x"].to_list() == values
    assert made.manifest["warnings"] == []
    assert made.manifest["rows"]["beyond_float32_read_as_infinite"] == {}


def test_numbers_written_as_text_are_counted_too(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,x\n1,1e39\n2,5\n3,1e-60\n")
    spec = Spec({"rows": Source(path=str(tmp_path / "rows.csv"))}, Examples("rows"), {"x": "x"})
    rows = run(spec, tmp_path / "run", tensorflow=False).manifest["rows"]
    assert rows["beyond_float32_read_as_infinite"] == {"x": 1}
    assert rows["below_float32_read_as_zero"] == {"x": 1}


def test_a_column_wholly_beyond_float32_is_refused_with_what_to_declare(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 finite values of 'x' are beyond float32") as said:
        finished(tmp_path, [1e39, 1e40], z="zscore(x)")
    assert said.value.hint.endswith("declare it: x: {type: float64}")
    made = finished(tmp_path, [1e39, 1e40], column="float64", z="zscore(x)")
    assert made.examples().to_polars()["z"].to_list() == pytest.approx([-1, 1])


def test_an_aggregate_beyond_float32_is_counted(tmp_path: Path) -> None:
    day = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame({"who": [1, 2], "day": [day + timedelta(days=1)] * 2})
    rows.write_parquet(tmp_path / "rows.parquet")
    paid = pl.DataFrame({"who": [1, 1, 2], "paid": [3e38, 3e38, 1.0], "at": [day] * 3})
    paid.write_parquet(tmp_path / "paid.parquet")
    spec = Spec.from_dict({
        "sources": {
            "rows": {"path": str(tmp_path / "rows.parquet")},
            "paid": {"path": str(tmp_path / "paid.parquet"), "event_time": "at"},
        },
        "examples": {"source": "rows", "keys": ["who"], "predict_at": "day"},
        "aggregations": {
            "all": {
                "source": "paid", "by": "who", "windows": ["lifetime"],
                "features": {"paid": "sum(paid)"},
            }
        },
        "features": {"paid": "all.paid_lifetime"},
    })  # fmt: skip
    made = run(spec, tmp_path / "run", tensorflow=False)
    counted = made.manifest["rows"]["beyond_float32_read_as_infinite"]
    assert counted == {"all.paid_lifetime": 1}
    assert made.manifest["warnings"][0].startswith("aggregate 'all.paid_lifetime': 1 value beyond")


def test_a_subnormal_float32_is_zero_where_it_is_read_and_between_operations(
    tmp_path: Path,
) -> None:
    values = [SUBNORMAL, -SUBNORMAL, 1e-30, -1e-30]
    made = finished(
        tmp_path, values, pl.Float32, positive="x > 0", square="x * x", is_more="x * x > 0",
        back="x * 1e-9 * 1e30", small="fill(x, 1e-40)", bucket="apply_buckets(x, [1e-40])",
    ).examples().to_polars()  # fmt: skip
    assert made["positive"].to_list() == [0, 0, 1, 0]
    assert bits(made["square"]) == bits([0.0, 0.0, 0.0, 0.0])
    assert made["is_more"].to_list() == [0, 0, 0, 0]
    assert bits(made["back"]) == bits([0.0, -0.0, 0.0, -0.0])
    assert made["bucket"].to_list() == [1, 1, 1, 0]
    assert bits(made["small"])[:2] == bits([0.0, -0.0])


def test_statistics_of_zeros_and_subnormal_numbers_can_be_computed(tmp_path: Path) -> None:
    values = [None, 0.0, 3.783505853677006e-44, -0.0]
    made = finished(
        tmp_path, values, pl.Float32, a='robust_scale(impute(x, "median"))', b="robust_scale(x)",
        c='impute(x, "most_frequent")',
    ).examples().to_polars()  # fmt: skip
    assert made["a"].to_list() == [0, 0, 0, 0]
    assert made["b"].to_list() == [None, 0, 0, 0]
    assert bits(made["c"])[0] == bits([0.0])[0]


@pytest.mark.parametrize("of", [pl.Float32, pl.Float64])
def test_the_order_of_zeros_of_both_signs_changes_no_statistic(of: Any, tmp_path: Path) -> None:
    column = "float64" if of == pl.Float64 else None
    found = set()
    for place, values in enumerate(set(itertools.permutations([0.0, -0.0, -0.0, 1e-44, 2e-38]))):
        made = finished(
            tmp_path / str(place), list(values), of, column,
            q="bucketize(x, 3)", r="robust_scale(x)", s="scale_to_0_1(x)",
            m="impute(x, 'most_frequent')",
        )  # fmt: skip
        found.add((made.path / "statistics.json").read_text("utf-8"))
    assert len(found) == 1
    assert "-0.0" not in found.pop()


def test_an_index_error_of_polars_is_not_called_unreadable_data() -> None:
    with pytest.raises(EngineError, match="Polars failed: gather indices"), polars_errors("x"):
        pl.Series([1]).gather([7])


@pytest.mark.parametrize("semantics", [None, 1])
def test_an_old_run_goes_on_with_subnormal_numbers(semantics: int | None, tmp_path: Path) -> None:
    values: list[float | None] = [1.0, 2.0]
    made = finished(tmp_path, values, pl.Float32, x="x", positive="x > 0", square="x * x")
    new = ("semantics", "files", "digests")
    manifest = {key: value for key, value in made.manifest.items() if key not in new}
    manifest |= {} if semantics is None else {"semantics": semantics}
    (made.path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    rows = pl.DataFrame({"x": pl.Series([SUBNORMAL, 1e-20], dtype=pl.Float32)})
    with pytest.warns(FeatureKitWarning, match="an older version of FeatureKit"):
        got = open_run(made.path).apply(rows)
    square = float(np.float32(1e-20) * np.float32(1e-20))
    assert got["x"].to_list() == [SUBNORMAL, float(np.float32(1e-20))]
    assert got["positive"].to_list() == [1, 1]
    assert got["square"].to_list() == [0, square]
    assert 0 < square < 1e-39


def test_a_fitted_transformer_warns_of_numbers_beyond_float32() -> None:
    with pytest.warns(UserWarning, match="1 value beyond float32"):
        fk.FeatureTransformer({"x": "x"}).fit(pl.DataFrame({"x": [1e39, 1.0]}))
