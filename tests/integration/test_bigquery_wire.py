"""A real BigQuery client talking to a real emulator: load, run, replace, read back, export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from featurekit.engines.bigquery.client import Warehouse
from featurekit.engines.bigquery.jobs import Estimate, Statement, estimate, run_statements
from featurekit.engines.bigquery.load import load_table
from featurekit.engines.bigquery.read import export_parquet, read_batches, read_table
from featurekit.engines.bigquery.settings import Settings
from featurekit.engines.bigquery.tables import row_count
from featurekit.errors import DataError, UsageError
from featurekit.spec.table_id import TableId
from tests.emulator import Emulator

INF, NAN = float("inf"), float("nan")
PROJECT, DATASET = "test-project", "work"

# Every type, with null, NaN, infinities, an integer beyond floats, and the ends of time.
ROWS = pl.DataFrame(
    {
        "row": [0, 1, 2, 3],
        "integer": [2**60 + 1, None, -(2**63), 0],
        "float": [NAN, INF, None, -INF],
        "other": [-0.0, 5e-324, 1.7976931348623157e308, 0.1],
        "text": ["Å9 'quoted' `ticks`", None, "", "two\nlines"],
        "flag": [True, None, False, True],
        "time": pl.Series(
            [datetime(2013, 1, 1, 5, 15, 0, 123456, UTC), None, datetime(1, 1, 1, tzinfo=UTC),
             datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)],
            dtype=pl.Datetime("us", "UTC"),
        ),
        "integers": [[1, 2**60 + 1], [], [3], [-1]],
        "floats": [[0.5, NAN], [INF], [], [-INF]],
        "texts": [["a", ""], ["Å"], ["b"], []],
    }
)  # fmt: skip
TABLE = "`test-project.work.rows`"


@pytest.fixture(scope="module")
def settings(emulator: Emulator) -> Settings:
    from google.auth.credentials import AnonymousCredentials

    made = Settings(
        PROJECT, DATASET, api_endpoint=emulator.rest, credentials=AnonymousCredentials(),
        deadline=60.0, first_delay=0.01, page_rows=3,
    )  # fmt: skip
    with Warehouse(made) as warehouse:
        warehouse.client.create_dataset(f"{PROJECT}.{DATASET}")
        load_table(warehouse, ROWS, "rows")
    return made


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    with Warehouse(settings) as warehouse:
        yield warehouse


def read(warehouse: Warehouse, table: str) -> pl.DataFrame:
    arrow = read_table(warehouse, warehouse.settings.table(table))
    frame = pl.from_arrow(arrow)
    assert isinstance(frame, pl.DataFrame)
    return frame.sort("row")


def assert_same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert_frame_equal(left, right, check_exact=True, check_row_order=False)
    # Equality does not tell -0.0 from 0.0.
    zero = right["other"].to_list().index(0.0) if 0.0 in right["other"].to_list() else None
    if zero is not None:
        assert str(left["other"][zero]) == str(right["other"][zero]) == "-0.0"


def test_what_is_loaded_is_read_back_through_rest(warehouse: Warehouse) -> None:
    assert_same(read(warehouse, "rows"), ROWS)


def test_what_is_loaded_is_read_back_through_storage_read(
    settings: Settings, emulator: Emulator
) -> None:
    said: list[str] = []
    with Warehouse(replace(settings, storage_endpoint=emulator.storage), said.append) as warehouse:
        got = read(warehouse, "rows")
    assert said == []  # no word of REST
    # The emulator gives a null for an empty array here; BigQuery has no null arrays.
    lists = [name for name, dtype in got.schema.items() if isinstance(dtype, pl.List)]
    got = got.with_columns(
        pl.when(pl.col(name).is_null()).then([]).otherwise(pl.col(name)).alias(name)
        for name in lists
    )
    assert_same(got, ROWS)


def test_many_rows_arrive_by_either_way(settings: Settings, emulator: Emulator) -> None:
    many = pl.select(row=pl.int_range(100_000)).with_columns(
        *(pl.col("row").hash(seed).cast(pl.Float64).alias(f"f{seed}") for seed in range(8))
    )
    storage = replace(settings, storage_endpoint=emulator.storage, page_rows=30_000)
    for way in (storage, replace(storage, storage=False)):
        with Warehouse(way) as warehouse:
            load_table(warehouse, many, "many")
            assert_frame_equal(read(warehouse, "many"), many, check_exact=True)


def test_rest_steps_in_where_storage_read_cannot_be_reached(settings: Settings) -> None:
    said: list[str] = []
    unreachable = replace(settings, storage_endpoint="127.0.0.1:1", retry_seconds=0.5)
    with Warehouse(unreachable, said.append) as warehouse:
        assert_same(read(warehouse, "rows"), ROWS)
    assert len(said) == 1
    assert said[0].startswith("the Storage Read API is not to be had")


def test_a_parquet_file_is_loaded_like_a_frame(warehouse: Warehouse, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    result = load_table(warehouse, tmp_path / "rows.parquet", "from_file")
    assert (result.table, result.rows) == (TableId(PROJECT, DATASET, "from_file"), 4)
    assert_same(read(warehouse, "from_file"), ROWS)


def test_other_types_are_loaded_as_those_that_bigquery_has(warehouse: Warehouse) -> None:
    start = datetime(2013, 1, 1, tzinfo=UTC)
    load_table(
        warehouse,
        pl.DataFrame({
            "row": pl.Series([0, 1], dtype=pl.UInt8),
            "single": pl.Series([0.1, None], dtype=pl.Float32),
            "category": pl.Series(["a", None], dtype=pl.Categorical),
            "length": pl.Series([1_500, None], dtype=pl.Duration("ms")),
            "local": pl.Series([start, None], dtype=pl.Datetime("ms", "UTC")).dt.convert_time_zone(
                "America/New_York"
            ),
        }),
        "others",
    )  # fmt: skip
    assert read(warehouse, "others").to_dicts() == [
        # A float32 becomes the float64 of the same value.
        {"row": 0, "single": 0.10000000149011612, "category": "a", "length": 1_500_000,
         "local": start},
        {"row": 1, "single": None, "category": None, "length": None, "local": None},
    ]  # fmt: skip


def test_an_empty_frame_is_an_empty_table(warehouse: Warehouse) -> None:
    assert load_table(warehouse, ROWS.clear(), "nothing").rows == 0
    assert_same(read(warehouse, "nothing"), ROWS.clear())


def test_statements_run_are_checked_replace_and_are_read_back(warehouse: Warehouse) -> None:
    # An earlier result, to be replaced. The emulator copies over a table of the same columns only,
    # and goes on telling the number of rows that it had.
    old = pl.DataFrame({"row": [6, 7, 8, 9], "f": [7.0] * 4, "text": ["old"] * 4})
    load_table(warehouse, old, "result")
    statements = (
        Statement(
            "some",
            f"SELECT row, float AS f, @text AS text FROM {TABLE} WHERE row IN UNNEST(@rows)",
            {"text": ("STRING", "it's `this`"), "rows": ("ARRAY<INT64>", [0, 1, 3])}, ("f",),
            "some", ("row",),
        ),
        Statement(
            "result",
            f"SELECT r.row, s.f, s.text FROM {TABLE} AS r "
            "LEFT JOIN `test-project.work.some` AS s ON r.row = s.row;",
            {}, ("f",), "result", ("row",), "test-project.work.rows",
        ),
    )  # fmt: skip
    assert estimate(warehouse, statements) == Estimate(0, ("result",))
    some, result = run_statements(warehouse, statements)
    assert (some.rows, result.rows) == (3, 4)
    expected = pl.DataFrame({
        "row": [0, 1, 2, 3], "f": [NAN, INF, None, -INF],
        "text": ["it's `this`", "it's `this`", None, "it's `this`"],
    })  # fmt: skip
    assert_frame_equal(read(warehouse, "result"), expected)
    assert [each.reused for each in run_statements(warehouse, statements)] == [True, True]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT64", 2**60 + 1), ("FLOAT64", 0.1), ("STRING", "Å'`\\"), ("BOOL", True),
     ("TIMESTAMP", datetime(2013, 1, 1, 5, 15, 0, 123456, UTC))],
)  # fmt: skip
def test_a_parameter_of_each_type_arrives_as_it_is(
    warehouse: Warehouse, kind: str, value: Any
) -> None:
    name = f"value_{kind.lower()}"
    statement = Statement(name, "SELECT 0 AS row, @v AS v", {"v": (kind, value)}, (), name)
    run_statements(warehouse, [statement])
    assert read(warehouse, name)["v"].to_list() == [value]


def test_keys_that_repeat_leave_the_destination_as_it_was(warehouse: Warehouse) -> None:
    load_table(warehouse, ROWS, "kept")
    twice = f"SELECT flag, 0 AS row FROM {TABLE}"
    statement = Statement("twice", twice, {}, ("f",), "kept", ("flag",))
    with pytest.raises(DataError) as caught:
        run_statements(warehouse, [statement])
    assert "1 values of the key (flag) occur in more than one row" in str(caught.value)
    assert "(feature f)" in str(caught.value)
    assert_same(read(warehouse, "kept"), ROWS)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM `test-project.work.nowhere`", "does not have it: Not found: Table"),
        (f"SELECT nothing FROM {TABLE}", "does not have the column"),
    ],
)
def test_what_bigquery_does_not_have_is_one_error(
    warehouse: Warehouse, sql: str, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        run_statements(warehouse, [Statement("bad", sql, {}, ("f", "g"), "bad")])
    assert "(features f, g)" in str(caught.value)
    assert warehouse.table(TableId(PROJECT, DATASET, "bad")) is None


def test_a_view_is_counted_by_a_query(warehouse: Warehouse) -> None:
    from google.cloud import bigquery

    view = bigquery.Table(f"{PROJECT}.{DATASET}.seen")
    view.view_query = f"SELECT * FROM {TABLE} WHERE row > 0"
    warehouse.client.create_table(view)
    assert row_count(warehouse, TableId(PROJECT, DATASET, "seen")) == 3
    with pytest.raises(DataError, match="it is a view, of which no one knows the rows"):
        list(read_batches(warehouse, TableId(PROJECT, DATASET, "seen")))


def test_a_table_is_exported_as_parquet(warehouse: Warehouse, emulator: Emulator) -> None:
    (emulator.buckets / "bucket").mkdir()
    table = TableId(PROJECT, DATASET, "rows")
    for _ in range(2):  # each export writes, whatever an earlier one wrote
        export_parquet(warehouse, table, "gs://bucket/rows.parquet")
        (file,) = (emulator.buckets / "bucket").iterdir()
        assert_same(pl.read_parquet(file).select(ROWS.columns).cast(ROWS.schema), ROWS)
        file.unlink()


@pytest.mark.parametrize("uri", ["rows.parquet", "gs://bucket", "gs://bucket/*/*.parquet", ""])
def test_an_address_outside_of_cloud_storage_is_refused(warehouse: Warehouse, uri: str) -> None:
    with pytest.raises(UsageError, match="is not gs://bucket"):
        export_parquet(warehouse, TableId(PROJECT, DATASET, "rows"), uri)
