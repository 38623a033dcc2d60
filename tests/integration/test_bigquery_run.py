"""`engine="gcp"`: whole runs whose aggregations are computed over the wire, equal to local ones."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from google.auth.credentials import AnonymousCredentials
from polars.testing import assert_frame_equal

import featurekit as fk
from featurekit.cli import main
from featurekit.engines.bigquery import aggregates
from featurekit.engines.bigquery.aggregates import stored_types
from featurekit.engines.bigquery.client import Warehouse
from featurekit.engines.bigquery.load import load_table
from featurekit.engines.bigquery.read import export_parquet
from featurekit.spec.table_id import TableId
from tests.bucket import Bucket
from tests.emulator import Emulator

START = datetime(2020, 1, 1, tzinfo=UTC)
WINDOWS = ("7d", "lifetime", "14d..7d")
FUNCTIONS = {
    "rows": "count()", "values": "count(v)", "mean": "mean(v)", "sum": "sum(v)", "max": "max(v)",
    "min": "min(w)", "spread": "stddev(v)", "skew": "skewness(v)", "last": "last(v)",
    "first": "first(w)", "median": "median(v)", "mode": "most_frequent(w)", "lasts": "last_k(v, 2)",
    "tops": "top_k(v, 2)", "since": "time_since_last()", "high": "any(v > 1)",
    "late": "mean(v, where=w == 'x')",
}  # fmt: skip
"""The emulator cannot do the windows of `count_distinct`; the evaluator in tests/contract can."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Past rows, examples and a table without time, with nulls and NaN, as Parquet."""
    made, rng = tmp_path_factory.mktemp("gcp"), random.Random(3)

    def hours(count: int) -> list[datetime]:
        return [START + timedelta(hours=rng.randrange(24 * 40)) for _ in range(count)]

    pl.DataFrame(
        {
            "k": rng.choices(["a", "b", "c", None], k=300),
            "t": hours(300),
            "v": rng.choices([1.5, 2.25, None, float("nan"), -3.0], k=300),
            "w": rng.choices(["x", "y", None], k=300),
        }
    ).write_parquet(made / "past.parquet")
    pl.DataFrame(
        {"id": range(100), "k": rng.choices(["a", "b", "c", "d", None], k=100), "at": hours(100)}
    ).write_parquet(made / "examples.parquet")
    pl.DataFrame({"k": ["a", "b", "d"], "size": [1.0, None, 3.0]}).write_parquet(
        made / "kinds.parquet"
    )
    return made


@pytest.fixture(scope="module")
def settings(emulator: Emulator) -> fk.BigQuery:
    made = fk.BigQuery(
        "test-project", "runs", api_endpoint=emulator.rest, credentials=AnonymousCredentials(),
        storage=False, deadline=120.0, first_delay=0.01,
    )  # fmt: skip
    with Warehouse(made) as warehouse:
        warehouse.client.create_dataset("test-project.runs", exists_ok=True)
    return made


def spec(folder: Path, **sources: Any) -> fk.Spec:
    """Return a spec of all functions over the files, or over other sources of the same names."""
    columns = {"k": "string", "t": "timestamp", "v": "float32", "w": "string"}
    known = {
        "past": {"path": str(folder / "past.parquet"), "event_time": "t", "columns": columns},
        "examples": {"path": str(folder / "examples.parquet")},
        "kinds": {"path": str(folder / "kinds.parquet")},
    }
    outputs = [f"{name}_{window.replace('..', '_to_')}" for name in FUNCTIONS for window in WINDOWS]
    return fk.Spec.from_dict(
        {
            "name": "wire",
            "sources": known | sources,
            "examples": {"source": "examples", "keys": ["id"], "predict_at": "at"},
            "aggregations": {
                "h": {"source": "past", "by": "k", "windows": WINDOWS, "features": FUNCTIONS},
                "all": {"source": "past", "windows": ["1d"], "features": {"rows": "count()"}},
            },
            "lookups": {"kind": {"source": "kinds", "by": "k", "features": ["size"]}},
            "features": {name: f"h.{name}" for name in outputs}
            | {
                "everywhere": "all.rows_1d",
                "size": "kind.size",
                "mean_z": 'zscore(impute(h.mean_7d, "mean"))',
            },
        }
    )


@pytest.fixture(scope="module")
def local(folder: Path) -> pl.DataFrame:
    run = fk.run(spec(folder), folder / "local", tensorflow=False)
    return run.examples().to_polars()


def test_local_data_that_is_loaded_gives_what_the_embedded_engine_gives(
    folder: Path, settings: fk.BigQuery, local: pl.DataFrame
) -> None:
    told: list[str] = []
    made = fk.run(
        spec(folder), folder / "loaded", tensorflow=False, engine="gcp", bigquery=settings,
        load=True, progress=lambda stage: told.append(stage.text),
    )  # fmt: skip
    assert_frame_equal(made.examples().to_polars(), local, check_exact=False, rel_tol=1e-5)
    assert made.manifest["beam"]["runner"] == "FnApiRunner", "BigQuery feeds Beam"
    assert made.manifest["bigquery"]["dataset"] == settings.dataset
    assert any("bytes of the" in text for text in told), "the estimate is shown"
    assert not list(folder.glob(".loaded*")), "nothing is left beside the run"


def test_a_repeated_run_loads_and_computes_nothing_again(
    folder: Path, settings: fk.BigQuery, local: pl.DataFrame
) -> None:
    told: list[str] = []
    made = fk.run(
        spec(folder), folder / "again", tensorflow=False, engine="gcp", bigquery=settings,
        load=True, progress=lambda stage: told.append(stage.text),
    )  # fmt: skip
    assert_frame_equal(made.examples().to_polars(), local, check_exact=False, rel_tol=1e-5)
    assert not [text for text in told if text.startswith("loading")]
    assert [text for text in told if "from an earlier run" in text]


def test_sources_that_are_tables_give_the_same(
    folder: Path, settings: fk.BigQuery, local: pl.DataFrame
) -> None:
    with Warehouse(settings) as warehouse:
        for name in ("past", "examples", "kinds"):
            load_table(warehouse, folder / f"{name}.parquet", f"own_{name}")
    columns = {"k": "string", "t": "timestamp", "v": "float32", "w": "string"}
    remote = spec(
        folder,
        past={"table": "test-project.runs.own_past", "event_time": "t", "columns": columns},
        examples={"table": "test-project.runs.own_examples"},
        kinds={"table": "test-project.runs.own_kinds"},
    )
    made = fk.run(remote, folder / "remote", tensorflow=False, engine="gcp", bigquery=settings)
    assert_frame_equal(
        made.examples().to_polars().sort("id"), local.sort("id"), check_exact=False, rel_tol=1e-5
    )
    # The embedded engine reads the same tables.
    here = fk.run(remote, folder / "here", tensorflow=False, bigquery=settings)
    assert_frame_equal(here.examples().to_polars().sort("id"), local.sort("id"))


def test_examples_may_be_a_view(folder: Path, settings: fk.BigQuery, local: pl.DataFrame) -> None:
    with Warehouse(settings) as warehouse:
        load_table(warehouse, folder / "examples.parquet", "own_examples")
        warehouse.client.query(
            "CREATE OR REPLACE VIEW `test-project.runs.seen_examples` AS "
            "SELECT * FROM `test-project.runs.own_examples`"
        ).result()
    viewed = spec(folder, examples={"table": "test-project.runs.seen_examples"})
    made = fk.run(
        viewed, folder / "viewed", tensorflow=False, engine="gcp", bigquery=settings, load=True
    )
    assert_frame_equal(
        made.examples().to_polars().sort("id"), local.sort("id"), check_exact=False, rel_tol=1e-5
    )


def test_columns_that_no_feature_can_read_do_not_stop_a_table_from_being_read(
    folder: Path, settings: fk.BigQuery
) -> None:
    with Warehouse(settings) as warehouse:
        client = warehouse.client
        client.query(
            "CREATE OR REPLACE TABLE `test-project.runs.mixed` AS SELECT 1 AS id, "
            "NUMERIC '2.5' AS price, b'x' AS picture, DATETIME '2020-01-20 12:00:00' AS at "
            "UNION ALL SELECT 2, NULL, NULL, NULL"
        ).result()
        assert "picture" not in stored_types(warehouse, "test-project.runs.mixed")
    made = fk.Spec.from_dict({
        "sources": {"rows": {
            "table": "test-project.runs.mixed", "columns": {"at": {"zone": "Europe/Berlin"}},
        }},
        "examples": {"source": "rows", "keys": ["id"]},
        "features": {"price": "price", "hour": "hour(at)"},
    })  # fmt: skip
    run = fk.run(made, folder / "mixed", tensorflow=False, bigquery=settings)
    # Noon in Berlin is 11 o'clock UTC in winter.
    assert run.examples().to_polars().sort("id").rows() == [(1, 2.5, 11), (2, None, None)]


def test_a_snapshot_of_tables_is_that_of_the_same_files(
    folder: Path, settings: fk.BigQuery
) -> None:
    with Warehouse(settings) as warehouse:
        load_table(warehouse, folder / "past.parquet", "own_past")
        load_table(warehouse, folder / "kinds.parquet", "own_kinds")
    columns = {"k": "string", "t": "timestamp", "v": "float32", "w": "string"}
    remote = spec(
        folder,
        past={"table": "test-project.runs.own_past", "event_time": "t", "columns": columns},
        kinds={"table": "test-project.runs.own_kinds"},
    )
    found = fk.snapshot(remote, "2020-01-20", bigquery=settings)
    wanted = fk.snapshot(spec(folder), "2020-01-20")
    assert found.keys() == wanted.keys() == {"h", "all", "kind"}
    for name, frame in wanted.items():
        assert_frame_equal(found[name], frame)


def test_local_data_is_not_loaded_unless_that_is_said(folder: Path, settings: fk.BigQuery) -> None:
    with pytest.raises(fk.UsageError, match="--load loads it there first"):
        fk.run(spec(folder), folder / "refused", tensorflow=False, engine="gcp", bigquery=settings)
    assert not (folder / "refused").exists()


def test_a_table_that_is_not_there_is_named(folder: Path, settings: fk.BigQuery) -> None:
    gone = spec(folder, kinds={"table": "test-project.runs.gone"})
    with pytest.raises(fk.DataError, match=r"test-project\.runs\.gone"):
        fk.run(gone, folder / "gone", tensorflow=False, engine="gcp", bigquery=settings, load=True)
    assert not (folder / "gone").exists()


def test_a_column_that_the_table_lacks_is_named(folder: Path, settings: fk.BigQuery) -> None:
    with Warehouse(settings) as warehouse:
        load_table(warehouse, folder / "kinds.parquet", "own_kinds")
    wrong = replace(
        spec(folder, kinds={"table": "test-project.runs.own_kinds"}),
        lookups={"kind": fk.Lookup("kinds", "k", ["weight"])},  # type: ignore[arg-type]
        features={"weight": "kind.weight"},  # type: ignore[arg-type]
    )
    with pytest.raises(fk.FeatureKitError, match="'weight'"):
        fk.run(
            wrong, folder / "wrong", tensorflow=False, engine="gcp", bigquery=settings, load=True
        )
    assert not (folder / "wrong").exists()


def test_the_command_line_runs_in_an_emulator(
    folder: Path, settings: fk.BigQuery, emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", emulator.rest)
    text = spec(folder).to_yaml()
    (folder / "wire.yaml").write_text(text)
    code = main([
        "run", str(folder / "wire.yaml"), "--out", str(folder / "cli"), "--no-tensorflow", "--json",
        "--engine", "gcp", "--project", settings.project, "--dataset", settings.dataset, "--load",
        "--label", "team=tests", "--max-bytes", "1000000000",
    ])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said
    assert json.loads(said.out)["rows"]["written"] == 100
    code = main([
        "run", str(folder / "wire.yaml"), "--out", str(folder / "cli"), "--no-tensorflow",
        "--engine", "gcp", "--project", settings.project, "--dataset", settings.dataset, "--load",
        "--overwrite",
    ])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said
    assert "bytes of the 1,099,511,627,776 that they may" in said.err, "the estimate is printed"
    assert "bytes billed to test-project, dataset runs" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "gcp"], "--project and --dataset"),
        (["--engine", "spark"], "there is no engine 'spark'"),
        (["--engine", "gcp", "--project", "p"], "belong together"),
        (["--project", "p", "--dataset", "d", "--label", "team"], "a label is KEY=VALUE"),
        (["--project", "p", "--dataset", "d d"], "is not a dataset"),
        (["--max-bytes", "5"], "--max-bytes is about BigQuery"),
        (["--load"], "--load is about BigQuery"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wire.yaml").write_text(spec(folder).to_yaml())
    code = main(["run", str(folder / "wire.yaml"), "--out", str(folder / "no"), *arguments])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (folder / "no").exists()


_NO_ARRAYS = {name: text for name, text in FUNCTIONS.items() if name not in ("lasts", "tops")}


def test_examples_in_bigquery_are_exported_to_the_bucket_of_the_run(
    folder: Path, settings: fk.BigQuery, local: pl.DataFrame, emulator: Emulator, bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def shared(warehouse: Warehouse, table: TableId, uri: str, features: Any = ()) -> Any:
        # The two emulators keep buckets apart, as the real services do not.
        target = emulator.buckets / uri.removeprefix("gs://")
        target.parent.mkdir(parents=True)
        done = export_parquet(warehouse, table, uri, features)
        for file in target.parent.iterdir():
            name = file.relative_to(emulator.buckets / bucket.name)
            bucket.write(str(name), file.read_bytes())
        return done

    monkeypatch.setattr(aggregates, "export_parquet", shared)
    with Warehouse(settings) as warehouse:
        for name in ("past", "examples", "kinds"):
            load_table(warehouse, folder / f"{name}.parquet", f"own_{name}")
    plain = dict(spec(folder).as_plain())
    columns = {"k": "string", "t": "timestamp", "v": "float32", "w": "string"}
    project = "test-project.runs"
    plain["sources"] = {
        "past": {"table": f"{project}.own_past", "event_time": "t", "columns": columns},
        "examples": {"table": f"{project}.own_examples"},
        "kinds": {"table": f"{project}.own_kinds"},
    }
    plain["aggregations"]["h"]["features"] = _NO_ARRAYS
    # A duration is a number in BigQuery.
    plain["features"] = {
        name: text for name, text in plain["features"].items()
        if not name.startswith(("lasts", "tops", "since"))
    }  # fmt: skip
    told: list[str] = []
    made = fk.run(
        fk.Spec.from_dict(plain), f"gs://{bucket.name}/runs/1", tensorflow=False, engine="gcp",
        bigquery=settings, progress=lambda stage: told.append(stage.text),
    )  # fmt: skip
    assert "exporting the examples from BigQuery" in told
    names = [name for name in bucket.names() if name.startswith("runs/1/examples/")]
    read = pl.concat([pl.read_parquet(bucket.read(name)) for name in names]).sort("id")
    assert_frame_equal(read, local.select(read.columns).sort("id"), check_exact=False, rel_tol=1e-5)
    assert made.manifest["rows"]["read"] == 100
    assert not [name for name in bucket.names() if not name.startswith("runs/1/")]
