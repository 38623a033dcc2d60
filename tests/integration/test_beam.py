"""Whole runs on Beam's own runner, compared with the embedded engine's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.costs import costs_of
from tests.engines import same

ROWS = 3_000


def table(rows: int = ROWS) -> pl.DataFrame:
    """Return rows of every type, some values of which are missing, NaN, infinite or empty."""
    random = np.random.default_rng(rows)
    frame = pl.DataFrame(
        {
            "id": np.arange(rows) + 2**53,
            "a": random.normal(5, 3, rows).astype(np.float32),
            "b": random.exponential(2, rows),
            "n": random.integers(-50, 50, rows),
            "s": random.choice(["x", "y", "zz zz", "", "ß", "w"], rows),
            "flag": random.random(rows) < 0.3,
            "t": pl.Series(random.integers(0, 10**9, rows)).cast(pl.Datetime("us", "UTC")),
            "part": random.choice(["train", "eval", "test"], rows, p=[0.7, 0.2, 0.1]),
            "y": random.integers(0, 2, rows),
        }
    )
    gaps = {name: pl.Series(random.random(rows) < 0.1) for name in ("a", "b", "n", "s", "t", "y")}
    frame = frame.with_columns(
        pl.when(~missing).then(pl.col(name)).alias(name) for name, missing in gaps.items()
    )
    place = pl.int_range(pl.len())
    odd = pl.when(place % 97 == 0).then(float("nan")).when(place % 89 == 0).then(float("inf"))
    return frame.with_columns(odd.otherwise(pl.col("b")).alias("b"))


FEATURES = [
    "n", "s", "cast(flag, 'int64')", "log1p(abs(n))", "upper(s)", "a / n", "hour(t)", "b > a",
    "one_hot(n % 3, 3)", "cross(s, n, buckets=17)", "cast(is_missing(s), 'int64')", "a",
    "coalesce(a, n)", "zscore(a)", "zscore(n)", "zscore(log1p(abs(b)))",
    "scale_to_0_1(a)", "scale_to_0_1(n)",
    "scale_by_min_max(b, -1, 2)", "max_abs_scale(n)", "robust_scale(a)", "robust_scale(n)",
    "bucketize(a, 10)", "bucketize(b, 3)", "bucketize(n, 7)", "impute(a, 'mean')",
    "impute(n, 'median')", "impute(b, 'median', indicator=True)", "impute(s, 'most_frequent')",
    "impute(n, 'most_frequent')", "impute(a, 'most_frequent')", "impute(s, 'constant', value='q')",
    "vocabulary(s)", "vocabulary(s, top_k=2, oov_buckets=3)",
    "vocabulary(n, frequency_threshold=9)",
    "one_hot_vocabulary(s, oov_buckets=2)", "count_encode(s)", "count_encode(n, normalize=True)",
    "zscore(impute(a, 'mean'))", "zscore(zscore(a) * zscore(b))",
    "bucketize(robust_scale(n) + scale_to_0_1(a), 4)", "zscore(cast(vocabulary(s), 'float32'))",
    "zscore(count_encode(s))", "zscore(cast(bucketize(a, 3), 'float32'))",
    "vocabulary(cast(bucketize(n, 4), 'string'))", "zscore(impute(n, 'most_frequent'))",
]  # fmt: skip


def spec(path: Path, features: list[str] = FEATURES, **source: Any) -> fk.Spec:
    columns = source.pop("columns", {})
    return fk.Spec.from_dict(
        {
            "name": "beam",
            "sources": {"rows": {"path": str(path), "columns": columns, **source}},
            "examples": {
                "source": "rows", "keys": ["id"], "label": "y", "split": {"column": "part"},
            },
            "features": {f"f{place}": text for place, text in enumerate(features)},
        }
    )  # fmt: skip


def compare(one: fk.Run, other: fk.Run, tolerance: float = 1e-5) -> None:
    """Compare all examples, row by row."""
    assert one.splits == other.splits
    for split in other.splits:
        left, right = one.examples(split).to_polars(), other.examples(split).to_polars()
        assert left.schema == right.schema
        for name in right.columns:
            if left[name].equals(right[name]):
                continue
            text = one.manifest["features"].get(name, {}).get("expression", name)
            assert right[name].dtype.is_float() or isinstance(right[name].dtype, pl.Array), text
            for row, (got, wanted) in enumerate(zip(left[name], right[name], strict=True)):
                near = isinstance(wanted, float) and abs(got - wanted) < 1e-7
                assert near or same(got, wanted, tolerance), (
                    f"{text}: {got} for {wanted}, row {row}"
                )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows in three Parquet files of several row groups."""
    folder = tmp_path_factory.mktemp("data")
    frame = table()
    for place, start in enumerate((0, 700, 1900)):
        end = (700, 1900, ROWS)[place]
        frame[start:end].write_parquet(folder / f"part-{place}.parquet", row_group_size=256)
    return folder


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[fk.Run, fk.Run]:
    """The same spec run on Beam and embedded."""
    folder = tmp_path_factory.mktemp("runs")
    made = spec(data / "*.parquet")
    return (
        fk.run(made, folder / "beam", engine="beam"),
        fk.run(made, folder / "local", tensorflow=False),
    )


def test_on_beam_bytes_are_noted_and_no_seconds(runs: tuple[fk.Run, fk.Run]) -> None:
    on_beam, local = (run.manifest["costs"] for run in runs)
    assert on_beam == {"sources": local["sources"], "seconds": None}
    assert all(of["bytes"] and of["columns"] for of in on_beam["sources"].values())
    costs, embedded = map(costs_of, runs)
    for name, cost in costs.items():
        assert cost == replace(embedded[name], seconds=None)
        assert embedded[name].seconds is not None


def test_the_examples_are_those_of_the_embedded_engine_in_the_same_order(
    runs: tuple[fk.Run, fk.Run],
) -> None:
    compare(*runs)


def test_the_statistics_are_those_of_the_embedded_engine(runs: tuple[fk.Run, fk.Run]) -> None:
    beam, local = (json.loads((run.path / "statistics.json").read_text()) for run in runs)
    assert beam.keys() == local.keys()
    for name, wanted in local.items():
        got = beam[name]
        assert got.keys() == wanted.keys()
        for key, value in wanted.items():
            assert same(got[key], value, 1e-9), f"{name}: {key}"


def test_the_manifest_says_what_ran_and_what_was_counted(runs: tuple[fk.Run, fk.Run]) -> None:
    beam, local = (run.manifest for run in runs)
    counted = beam["rows"].pop("bad")
    assert counted == {"rows": 0, "reasons": {}}
    assert beam["rows"] == local["rows"]
    assert beam["beam"]["runner"] == "FnApiRunner"
    assert beam["beam"]["counters"]["rows_read"] == ROWS
    assert beam["plan"]["engine"] == "beam"
    assert beam["saved_model"]["exported"]
    assert beam["parity"]["signatures"]["serving_default"]["rows"] > 300


def test_two_processes_give_the_same(
    data: Path, runs: tuple[fk.Run, fk.Run], tmp_path: Path
) -> None:
    arguments = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    made = fk.run(
        spec(data / "*.parquet"), tmp_path / "out", engine="beam", beam=arguments, tensorflow=False
    )
    compare(made, runs[1])


def test_csv_is_read_as_the_embedded_engine_reads_it(tmp_path: Path) -> None:
    frame = table(500).with_columns(
        pl.col("t").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        pl.when(pl.col("b").is_finite()).then(pl.col("b")),
    )
    path = tmp_path / "rows.csv"
    frame.write_csv(path)
    columns = {"t": {"type": "timestamp"}, "id": {"type": "int64"}}
    made = spec(path, FEATURES[:20], columns=columns)
    compare(
        fk.run(made, tmp_path / "beam", engine="beam", tensorflow=False),
        fk.run(made, tmp_path / "local", tensorflow=False),
    )


def test_aggregations_feed_the_pipeline(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rows = 800
    pl.DataFrame(
        {
            "key": random.choice(["p", "q", "r"], rows),
            "t": pl.Series(np.sort(random.integers(0, 10**7, rows)) * 10**6).cast(
                pl.Datetime("us", "UTC")
            ),
            "v": random.normal(size=rows),
        }
    ).write_parquet(tmp_path / "rows.parquet")
    made = fk.Spec.from_dict(
        {
            "name": "past",
            "sources": {"rows": {"path": str(tmp_path / "rows.parquet"), "event_time": "t",
                                 "available_at": "t"}},
            "examples": {"source": "rows", "predict_at": "t"},
            "aggregations": {
                "past": {"source": "rows", "by": "key", "windows": ["1d", "lifetime"],
                         "features": {"m": "mean(v)", "n": "count()", "last": "last_k(v, 3)"}}
            },
            "features": {"z": "zscore(past.m_1d)", "n": "past.n_lifetime", "k": "past.last_1d"},
        }
    )  # fmt: skip
    compare(
        fk.run(made, tmp_path / "beam", engine="beam"),
        fk.run(made, tmp_path / "local", tensorflow=False),
    )


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """A CSV file with one row of too many fields, and one number that is none."""
    lines = ["id,x,y,part"]
    lines += [f"{row},{row / 2},{row % 2},train" for row in range(50)]
    lines[7] = "6,3.0,0,train,more"
    lines[20] = "19,abc,1,train"
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def small(path: Path) -> fk.Spec:
    return spec(path, ["zscore(x)"], columns={"x": {"type": "float32"}})


def test_a_bad_row_fails_the_run_and_is_named(spoilt: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.DataError) as raised:
        fk.run(small(spoilt), tmp_path / "out", engine="beam", tensorflow=False)
    text = str(raised.value)
    assert "5 fields instead of 4" in text or "text that is not a number ('abc')" in text
    assert "--max-bad-rows" in text
    assert not (tmp_path / "out").exists()


def test_bad_rows_that_are_allowed_are_kept_with_their_reasons(
    spoilt: Path, tmp_path: Path
) -> None:
    made = fk.run(small(spoilt), tmp_path / "out", engine="beam", tensorflow=False, max_bad_rows=2)
    rows = made.manifest["rows"]
    assert (rows["read"], rows["written"], rows["bad"]["rows"]) == (50, 48, 2)
    assert made.manifest["beam"]["counters"]["rows_bad"] == 2
    kept = [
        json.loads(line)
        for path in sorted((made.path / "bad_rows").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    reasons = sorted(reason for entry in kept for reason in entry["reasons"])
    assert reasons == [
        "5 fields instead of 4", "column 'x': text that is not a number ('abc')",
    ]  # fmt: skip
    assert {entry["source"] for entry in kept} == {str(spoilt)}
    assert made.examples().to_polars()["id"].to_list() == [
        row for row in range(50) if row not in (6, 19)
    ]


def test_more_bad_rows_than_allowed_fail_the_run(spoilt: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.DataError, match="2 rows cannot be used"):
        fk.run(small(spoilt), tmp_path / "out", engine="beam", tensorflow=False, max_bad_rows=1)
    assert not (tmp_path / "out").exists()


def test_a_column_without_values_is_named_with_its_feature(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    empty = pl.lit(None, dtype=pl.Float32).alias("a")
    table(100).with_columns(empty).write_parquet(path)
    with pytest.raises(fk.DataError, match=r"feature 'f0': moments\(a\): the training rows hold"):
        fk.run(spec(path, ["zscore(a)"]), tmp_path / "out", engine="beam", tensorflow=False)


def test_rows_of_other_splits_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table(100).filter(pl.col("part") != "train").write_parquet(path)
    with pytest.raises(fk.DataError):
        fk.run(spec(path, ["zscore(a)"]), tmp_path / "out", engine="beam", tensorflow=False)


def test_options_that_beam_does_not_know_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.UsageError, match="direct_num_worker"):
        fk.run(
            spec(data / "*.parquet"), tmp_path / "out", engine="beam",
            beam=["--direct_num_worker=2"],
        )  # fmt: skip


def test_the_embedded_engine_writes_to_no_bucket(data: Path) -> None:
    with pytest.raises(fk.UsageError, match="gs://bucket/run: the engine local writes to a folder"):
        fk.run(spec(data / "*.parquet"), "gs://bucket/run")
    with pytest.raises(fk.UsageError, match="takes no cache"):
        fk.run(spec(data / "*.parquet"), "run", cache="cache")


def test_the_engine_local_takes_nothing_for_beam(data: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.UsageError, match="takes no options for Beam"):
        fk.run(spec(data / "*.parquet"), tmp_path / "out", beam=["--runner=FnApiRunner"])


def steps(features: int) -> int:
    """Return how many steps the job graph has for so many scaled and bucketized features."""
    made = subprocess.run(
        [sys.executable, "-c", _STEPS, str(features)], capture_output=True, text=True, check=True
    )
    return int(made.stdout.split()[-1])


_STEPS = """
import os, sys, tempfile
import apache_beam as beam, polars as pl
from dataclasses import replace
from pathlib import Path
import featurekit as fk
from featurekit.engines.beam.pipeline import Job, build
from featurekit.engines.beam.reading import Form, parts_of

count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    names = [f"c{place}" for place in range(count)]
    path = Path(folder) / "rows.parquet"
    pl.DataFrame({name: [1.0, 2.0] for name in names}).write_parquet(path)
    forms = ("zscore({})", "bucketize({}, 10)")
    spec = fk.Spec.from_dict({
        "name": "wide", "sources": {"rows": {"path": str(path)}}, "examples": {"source": "rows"},
        "features": {n: forms[place % 2].format(n) for place, n in enumerate(names)}})
    pipeline = beam.Pipeline(runner="FnApiRunner")
    build(pipeline, Job(fk.plan(spec), tuple(parts_of([str(path)], Form())), Form(), {}, folder,
                        folder))
    print(len(pipeline.to_runner_api().components.transforms), flush=True)
    os._exit(0)
"""


def test_the_job_graph_does_not_grow_with_the_features() -> None:
    assert steps(200) <= 1.1 * steps(20)
