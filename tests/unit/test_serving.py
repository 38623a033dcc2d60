"""New rows are read with the types of the run, whatever holds them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featurekit.errors import DataError
from featurekit.job import run
from featurekit.runs import Run, open_run
from featurekit.serving import apply_file, lazy_apply
from featurekit.spec.objects import Column, Examples, Source, Spec

NAIVE = datetime(2024, 1, 1, 12)  # noqa: DTZ001  (pandas often holds such)
ROWS = pl.DataFrame({
    "id": [2**60 + 1, 5, 6],
    "Carrier Name": ["AA", "007", None],
    "distance": [1.5, None, 3.0],
    "seats": [1, 2, 3],
    "sched": [datetime(2024, 1, 1, 5, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC), None],
    "day": [date(2024, 1, 1), date(2024, 1, 6), None],
    "full": [True, False, None],
    "wide": [0.1, 1e300, None],
    "taxi": [timedelta(seconds=90), timedelta(0), None],
})  # fmt: skip
FEATURES = {
    "carrier": "vocabulary(carrier_name)",
    "carrier_text": "lower(carrier_name)",
    "distance_z": "zscore(impute(distance, 'mean'))",
    "seats": "seats",
    "hour": "hour(sched)",
    "weekday": "day_of_week(day)",
    "full": "full",
    "wide": "wide",
    "start": "hour(sched + taxi)",
    "with_flag": "impute(distance, 'mean', indicator=True)",
}


def polars(table: Any) -> pl.DataFrame:
    """Return any table as a Polars data frame."""
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    made = pl.from_pandas(table) if isinstance(table, pd.DataFrame) else pl.DataFrame(table)
    assert isinstance(made, pl.DataFrame)
    return made


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    columns = {"carrier_name": Column(column="Carrier Name"), "wide": Column(type="float64")}
    spec = Spec({"rows": Source(data=ROWS, columns=columns)}, Examples("rows", keys="id"), FEATURES)
    return run(spec, tmp_path_factory.mktemp("serving") / "run", tensorflow=False)


@pytest.fixture(scope="module")
def expected(finished: Run) -> pl.DataFrame:
    return finished.examples().to_polars()


@pytest.mark.parametrize("convert", [
    pl.DataFrame.clone, pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas,
    lambda rows: rows.to_pandas(use_pyarrow_extension_array=True),
    lambda rows: rows.to_arrow().to_batches()[0],
])  # fmt: skip
def test_the_training_rows_applied_again_give_the_examples(
    finished: Run, expected: pl.DataFrame, convert: Callable[[pl.DataFrame], Any]
) -> None:
    data = convert(ROWS)
    made = finished.apply(data)
    if isinstance(data, pa.RecordBatch):
        assert isinstance(made, pa.Table)
    else:
        assert type(made) is type(data)
    frame = polars(made)
    assert frame["with_flag"].to_list() == expected["with_flag"].to_list()
    assert frame.drop("with_flag").equals(expected.drop("with_flag"))


@pytest.mark.parametrize(("column", "values"), [
    ("distance", pl.Series(["1.5", None, "3.0"])),
    ("distance", pl.Series(["1.5", None, "3.0"]).cast(pl.Decimal(10, 2))),
    ("seats", pl.Series([1.0, 2.0, 3.0])),
    ("seats", pl.Series([1, 2, 3], dtype=pl.UInt8)),
    ("seats", pl.Series(["1", "2", "3"])),
    ("Carrier Name", ROWS["Carrier Name"].cast(pl.Categorical)),
    ("Carrier Name", ROWS["Carrier Name"].cast(pl.Enum(["007", "AA", "B6"]))),
    ("sched", ROWS["sched"].cast(pl.Datetime("ns", "UTC"))),
    ("sched", ROWS["sched"].dt.convert_time_zone("Asia/Tokyo")),
    ("sched", ROWS["sched"].dt.to_string("%Y-%m-%dT%H:%M:%SZ")),
    ("day", ROWS["day"].cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")),
    ("full", pl.Series([1, 0, None])),
    ("full", pl.Series(["true", "No", None])),
    ("wide", pl.Series(["0.1", "1e300", None])),
    ("taxi", ROWS["taxi"].cast(pl.Duration("ms"))),
], ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else value)  # fmt: skip
def test_other_stored_types_of_the_same_values_give_the_same(
    finished: Run, expected: pl.DataFrame, column: str, values: pl.Series
) -> None:
    assert finished.apply(ROWS.with_columns(values.alias(column))).equals(expected)


def test_integers_may_stand_where_floats_were(finished: Run) -> None:
    whole = finished.apply(ROWS.with_columns(distance=pl.Series([1, None, 3])))
    assert whole.equals(finished.apply(ROWS.with_columns(distance=pl.Series([1.0, None, 3.0]))))


def test_times_at_midnight_of_pandas_may_stand_where_dates_were(finished: Run) -> None:
    frame = ROWS.to_pandas()
    assert str(frame["day"].dtype).startswith("datetime64")
    assert finished.apply(frame)["weekday"].tolist()[:2] == [0, 5]
    with pytest.raises(DataError, match="column 'day' holds times without a zone"):
        finished.apply(frame.assign(day=frame["day"] + pd.Timedelta("1h")))


@pytest.mark.parametrize("column", ROWS.columns)
def test_a_column_of_missing_values_alone_may_be_of_any_type(finished: Run, column: str) -> None:
    nothing = pl.Series(column, [None] * 3)
    wanted = finished.apply(ROWS.with_columns(nothing.cast(ROWS.schema[column])))
    for other in (pl.Null, pl.Float64, pl.String):
        assert finished.apply(ROWS.with_columns(nothing.cast(other))).equals(wanted)
    # pandas makes a float column of it, whatever it was.
    frame = ROWS.to_pandas().assign(**{column: np.nan})
    made = pl.from_pandas(finished.apply(frame).drop(columns="with_flag"))
    assert made.drop("carrier_text").equals(wanted.drop("with_flag", "carrier_text"))


@pytest.mark.parametrize("empty", [
    ROWS.clear(), ROWS.lazy().clear(), ROWS.clear().to_arrow(), ROWS.clear().to_pandas(),
    pd.DataFrame(columns=ROWS.columns),
], ids=["polars", "lazy", "arrow", "pandas", "pandas without types"])  # fmt: skip
def test_no_rows_give_no_rows_with_all_columns_and_types(
    finished: Run, expected: pl.DataFrame, empty: Any
) -> None:
    made = finished.apply(empty)
    if isinstance(made, pd.DataFrame):
        whole = finished.apply(ROWS.drop_nulls().to_pandas())
        assert made.shape == (0, 11)
        assert made.dtypes.equals(whole.dtypes)
        return
    assert polars(made).height == 0
    assert polars(made).schema == expected.schema


def test_pandas_keeps_its_index_and_the_order_of_its_rows(finished: Run) -> None:
    frame = ROWS.to_pandas().set_axis(["c", "a", "b"])
    made = finished.apply(frame.loc[["b", "c", "a"]])
    assert made.index.tolist() == ["b", "c", "a"]
    assert made["id"].tolist() == [6, 2**60 + 1, 5]


def test_many_rows_keep_their_order(finished: Run) -> None:
    rows = pl.concat([ROWS] * 70_000, rechunk=False).with_columns(id=pl.int_range(pl.len()))
    assert finished.apply(rows)["id"].is_sorted()


def test_columns_that_nothing_reads_are_ignored_whatever_they_hold(
    finished: Run, expected: pl.DataFrame
) -> None:
    assert finished.apply(
        ROWS.with_columns(more=pl.Series([object()] * 3, dtype=pl.Object))
    ).equals(expected)
    frame = ROWS.to_pandas().assign(more=pd.Series([{}, 1, "x"], dtype=object))
    frame = pd.concat([frame, frame[["more"]]], axis=1)
    assert finished.apply(frame)["id"].tolist() == expected["id"].to_list()


def test_keys_are_left_out_where_they_are_not_there(finished: Run, expected: pl.DataFrame) -> None:
    assert finished.apply(ROWS.drop("id")).equals(expected.drop("id"))


@pytest.mark.parametrize("convert", [
    pl.DataFrame.clone, pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas,
])  # fmt: skip
def test_a_missing_column_is_named_with_the_one_that_may_be_meant(
    finished: Run, convert: Callable[[pl.DataFrame], Any]
) -> None:
    rows = convert(ROWS.drop("seats").rename({"distance": "distanse"}))
    with pytest.raises(DataError) as caught:
        finished.apply(rows)
    assert caught.value.message == "the rows lack 'distance', 'seats'"
    assert caught.value.hint == "did you mean 'distanse'?"


@pytest.mark.parametrize(("column", "value", "message"), [
    ("seats", 1.5, "column 'seats': .* in 3 rows"),
    ("distance", "far", "column 'distance': .* in 3 rows"),
    ("Carrier Name", 1.5, "'carrier_name' is stored as Float64 and cannot be read as string"),
    ("sched", NAIVE, "column 'sched' holds times without a zone"),
    ("full", 2, "column 'full': .* in 3 rows"),
])  # fmt: skip
def test_values_that_do_not_fit_the_type_of_the_run_are_refused(
    finished: Run, column: str, value: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        finished.apply(ROWS.with_columns(pl.lit(value).alias(column)))
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize("data", [[1, 2], {"distance": [1.0]}, ROWS.to_pandas()["seats"], None])
def test_what_is_no_table_is_refused(finished: Run, data: Any) -> None:
    with pytest.raises(DataError, match=r"table|columns"):
        finished.apply(data)


CSV = """more,sched,Carrier Name,distance,seats,day,full,wide,id
x,2024-01-01T05:00:00Z,AA,1.5,1,2024-01-01,true,0.1,1152921504606846977
y,2024-01-02T00:00:00Z,007,,2,2024-01-06,false,1e300,5
z,,,3,3,,,,6
"""


@pytest.fixture(scope="module")
def without_durations(tmp_path_factory: pytest.TempPathFactory) -> Run:
    columns = {"carrier_name": Column(column="Carrier Name"), "wide": Column(type="float64"),
               "day": Column(type="timestamp", zone="UTC")}  # fmt: skip
    features = {name: text for name, text in FEATURES.items() if name not in ("start", "with_flag")}
    spec = Spec({"rows": Source(data=ROWS, columns=columns)}, Examples("rows", keys="id"), features)
    return run(spec, tmp_path_factory.mktemp("serving") / "csv", tensorflow=False)


def test_csv_is_read_with_the_types_of_a_run_of_typed_data(
    without_durations: Run, tmp_path: Path
) -> None:
    file = tmp_path / "new.csv"
    file.write_text(CSV)
    fitted = without_durations
    made = lazy_apply(fitted.plan, fitted.fitted, Source(path=str(file))).collect()
    assert made.equals(fitted.examples().to_polars())
    assert apply_file(fitted.plan, fitted.fitted, str(file), tmp_path / "out.parquet") == 3
    assert pl.read_parquet(tmp_path / "out.parquet").equals(made)


def test_csv_with_a_header_alone_gives_no_rows(without_durations: Run, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text(CSV.splitlines()[0] + "\n")
    fitted = without_durations
    made = lazy_apply(fitted.plan, fitted.fitted, Source(path=str(file))).collect()
    assert made.height == 0
    assert made.schema == fitted.examples().to_polars().schema


def test_an_identifier_of_digits_stays_text_in_csv(without_durations: Run, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    head, _, second, _ = CSV.splitlines()
    file.write_text(f"{head}\n{second}\n")
    fitted = without_durations
    made = lazy_apply(fitted.plan, fitted.fitted, Source(path=str(file))).collect()
    assert made["carrier_text"].to_list() == ["007"]


def test_new_files_are_read_as_the_files_of_the_run_were(tmp_path: Path) -> None:
    (tmp_path / "old.dat").write_text("x;y\n1;n/a\n3;2\n")
    (tmp_path / "new.dat").write_text("y;x\nn/a;5\n")
    spec = Spec(
        {"rows": Source(path="old.dat", format="csv", separator=";", null_values="n/a")},
        Examples("rows"), {"x": "x", "y": "fill(y, -1)"}, base=tmp_path,
    )  # fmt: skip
    fitted = run(spec, tmp_path / "run", tensorflow=False)
    source = Source(path=str(tmp_path / "new.dat"))
    assert lazy_apply(fitted.plan, fitted.fitted, source).collect().rows() == [(5, -1)]


def test_applying_does_not_change_the_table(finished: Run) -> None:
    frame = ROWS.to_pandas()
    before = frame.copy(deep=True)
    finished.apply(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_run_without_a_saved_model_may_have_vectors_of_strings(tmp_path: Path) -> None:
    visits = pl.DataFrame({
        "who": [1, 1, 2], "at": [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
        "shop": ["a", "b", "c"],
    })  # fmt: skip
    asked = pl.DataFrame({"who": [1, 2, 1], "when": [datetime(2024, 1, 4, tzinfo=UTC)] * 3})
    asked.write_parquet(tmp_path / "asked.parquet")
    visits.write_parquet(tmp_path / "visits.parquet")
    spec = Spec.from_dict({
        "sources": {
            "asked": {"path": str(tmp_path / "asked.parquet")},
            "visits": {"path": str(tmp_path / "visits.parquet"), "event_time": "at"},
        },
        "examples": {"source": "asked", "keys": ["who"], "predict_at": "when"},
        "aggregations": {
            "seen": {
                "source": "visits", "by": "who", "windows": ["lifetime"],
                "features": {"shops": "last_k(shop, 2)"},
            }
        },
        "features": {"shops": "seen.shops_lifetime"},
    })  # fmt: skip
    made = run(spec, tmp_path / "run", tensorflow=False)
    again = open_run(made.path)
    assert again.examples().to_polars()["shops"].to_list() == [["b", "a"], ["c", None], ["b", "a"]]
    assert again.apply(asked)["shops"].to_list() == [["b", "a"], ["c", None], ["b", "a"]]
