"""Features inside of a user's own Beam and tf.Transform pipelines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.engines.dense import dense
from tests.engines import same

PROGRAM = Path(__file__).with_name("beam_pipelines.py")
FEATURES = {
    "z": "zscore(a)", "zn": "zscore(log1p(abs(n)))", "bucket": "bucketize(a, 4)",
    "word": "vocabulary(s)", "top": "vocabulary(s, top_k=2, oov_buckets=3)",
    "often": "count_encode(s)", "how_often": "zscore(count_encode(s, normalize=True))",
    "every": "vocabulary(s, file_format='tfrecord_gzip', oov_buckets=2)",
    "share": "count_encode(n, normalize=True)",
    "full": "impute(a, 'mean')", "middle": "impute(n, 'median', indicator=True)",
    "most": "impute(s, 'most_frequent')", "unit": "scale_to_0_1(n)", "robust": "robust_scale(a)",
    "nested": "zscore(zscore(a) * scale_to_0_1(n))", "upper": "upper(s)",
    "coded": "zscore(cast(vocabulary(s), 'float32'))", "sum": "a + n",
}  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pl.DataFrame]:
    """A spec, its data, and what the embedded engine makes of it."""
    folder = tmp_path_factory.mktemp("given")
    random = np.random.default_rng(5)
    rows = 500
    frame = pl.DataFrame(
        {
            "id": np.arange(rows),
            "a": random.normal(2, 5, rows).astype(np.float32),
            "n": random.integers(-9, 9, rows),
            "s": random.choice(["x", "yy", "z z", "ß", "", "1 St\nYork", "c\r"], rows),
        }
    )
    frame = frame.with_columns(
        pl.when(pl.Series(random.random(rows) > 0.1)).then(pl.col(name)).alias(name)
        for name in ("a", "n", "s")
    )
    frame.write_parquet(folder / "rows.parquet")
    lines = ["sources:", "  rows: {path: rows.parquet}", "examples: {source: rows, keys: [id]}"]
    lines += ["features:", *(f'  {name}: "{text}"' for name, text in FEATURES.items())]
    (folder / "spec.yaml").write_text("\n".join(lines))
    made = fk.run(folder / "spec.yaml", folder / "run", tensorflow=False)
    return folder / "spec.yaml", folder / "rows.parquet", made.examples().to_polars()


def run(name: str, given: tuple[Path, Path, pl.DataFrame], out: Path) -> None:
    spec, data, _ = given
    done = subprocess.run(
        [sys.executable, PROGRAM, name, spec, data, out],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def check(got: pl.DataFrame, wanted: pl.DataFrame) -> None:
    got, wanted = got.sort("id"), wanted.sort("id")
    for name in wanted.columns:
        for one, other in zip(got[name], wanted[name], strict=True):
            near = isinstance(other, float) and abs(one - other) < 1e-6
            assert near or same(one, other, 1e-5), f"{name}: {one} for {other}"


@pytest.mark.parametrize("name", ["transform", "dictionaries"])
def test_transform_gives_the_examples_of_the_embedded_engine(
    name: str, given: tuple[Path, Path, pl.DataFrame], tmp_path: Path
) -> None:
    run(name, given, tmp_path)
    check(pl.read_parquet(tmp_path / "examples.parquet"), given[2])
    if name == "transform":
        tensors = np.load(tmp_path / "tensors.npz", allow_pickle=True)
        np.testing.assert_allclose(tensors["z"], dense(given[2]["z"]), rtol=1e-5, atol=1e-6)


def test_preprocessing_fn_gives_tf_transform_the_features(
    given: tuple[Path, Path, pl.DataFrame], tmp_path: Path
) -> None:
    run("preprocessing", given, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    rows.sort(key=lambda row: int(row["id"]))
    wanted = given[2].sort("id")
    assert [row["id"] for row in rows] == wanted["id"].to_list()
    for name in FEATURES:
        # As at serving, something else stands for what is missing.
        for row, other in zip(rows, dense(wanted[name]).tolist(), strict=True):
            one = row[name]
            near = isinstance(other, float) and abs(one - other) < 1e-6
            assert near or same(one, other, 1e-5), f"{name}: {one} for {other}"


def test_no_row_is_lost_where_a_column_is_missing_in_every_row_of_a_batch(
    given: tuple[Path, Path, pl.DataFrame], tmp_path: Path
) -> None:
    features = {
        "z": "zscore(a)", "bucket": "bucketize(a, 4)", "word": "vocabulary(s)", "more": "n + 1",
        "full": "impute(a, 'mean')", "gone": "is_missing(n)", "upper": "upper(s)", "sum": "a + n",
    }  # fmt: skip
    # An empty text is missing in dense inputs.
    rows = pl.read_parquet(given[1]).filter(pl.col("s").ne_missing("")).head(36)
    first = pl.int_range(pl.len()) < 24
    rows = rows.with_columns(pl.when(~first).then(pl.col(n)).alias(n) for n in ("a", "n", "s"))
    rows.write_parquet(tmp_path / "rows.parquet")
    lines = ["sources: {rows: {path: rows.parquet}}", "examples: {source: rows, keys: [id]}"]
    lines += ["features:", *(f'  {name}: "{text}"' for name, text in features.items())]
    (tmp_path / "spec.yaml").write_text("\n".join(lines))
    made = fk.run(tmp_path / "spec.yaml", tmp_path / "run", tensorflow=False)
    wanted = made.examples().to_polars().sort("id")
    run("absent", (tmp_path / "spec.yaml", tmp_path / "rows.parquet", wanted), tmp_path)
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) == 8, "four forms, each one at a time and in batches"
    for file in files:
        got = [json.loads(line) for line in file.read_text().splitlines()]
        got.sort(key=lambda row: int(row["id"]))
        assert [row["id"] for row in got] == wanted["id"].to_list(), file.name
        for name in features:
            for row, other in zip(got, dense(wanted[name]).tolist(), strict=True):
                near = isinstance(other, float) and abs(row[name] - other) < 1e-5
                assert near or same(row[name], other, 1e-5), f"{file.name}: {name} {row} {other}"


def test_a_failure_of_tensorflow_names_the_feature_and_the_value(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PROGRAM, "failing", tmp_path], check=True, capture_output=True)
    text = (tmp_path / "error.txt").read_text()
    assert text.startswith(
        "feature 'bad' where a=inf, b=1.0: TensorFlow cannot compute log1p(a + b): "
    )
    assert "a test's own check" in text


def test_features_that_see_the_label_are_cross_fitted_by_transform_and_refused_elsewhere(
    given: tuple[Path, Path, pl.DataFrame], tmp_path: Path
) -> None:
    _, data, _ = given
    lines = [
        f"sources: {{rows: {{path: {data}}}}}",
        "examples: {source: rows, keys: [id], label: n > 0}",
        "features: {seen: target_mean(s), scaled: 'zscore(target_mean(s, folds=3))'}",
    ]
    (tmp_path / "spec.yaml").write_text("\n".join(lines))
    run("refused", (tmp_path / "spec.yaml", data, given[2]), tmp_path)
    wanted = fk.run(tmp_path / "spec.yaml", tmp_path / "run", tensorflow=False)
    check(pl.read_parquet(tmp_path / "examples.parquet"), wanted.examples().to_polars())
    assert "would see its own label" in (tmp_path / "error.txt").read_text()


def test_categories_that_are_dealt_into_shards_add_up_to_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "shards", tmp_path], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = json.loads((tmp_path / "found.json").read_text())
    assert one == other
    assert len(one["categories"]) == 21
    assert "" in one["categories"]
    assert sum(one["rows"]) > sum(map(sum, one["category_rows"])) > 100
