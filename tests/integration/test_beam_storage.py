"""Runs on Beam from and to a bucket: Google Cloud Storage's own client, and an emulator of it."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featurekit as fk
from tests.bucket import Bucket

pytest.importorskip("tensorflow_transform")

ROWS = pl.DataFrame(
    {
        "id": range(600),
        "x": [None if place % 7 == 0 else place / 3 for place in range(600)],
        "word": ["abc"[place % 3] for place in range(600)],
        "at": [place % 5 for place in range(600)],
        "t": [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=place) for place in range(600)],
    }
)
FEATURES = {"x_z": "zscore(impute(x, 'mean'))", "w": "vocabulary(word)", "b": "bucketize(x, 4)"}


@pytest.fixture(scope="module")
def source(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Parquet files, here and in the bucket."""
    folder = tmp_path_factory.mktemp("rows")
    for place in range(2):
        path = folder / f"rows-{place}.parquet"
        ROWS[place * 300 : place * 300 + 300].write_parquet(path)
        bucket.write(f"data/rows-{place}.parquet", path.read_bytes())
    return folder


def spec(path: str | Path, **source: Any) -> fk.Spec:
    """Return a spec over rows at a path."""
    return fk.Spec.from_dict(
        {
            "name": "away",
            "sources": {"rows": {"path": str(path), **source}},
            "examples": {
                "source": "rows", "keys": ["id"], "label": "at > 2",
                "split": {"hash": "id", "test": 0.3},
            },
            "features": FEATURES,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def here(source: Path, tmp_path_factory: pytest.TempPathFactory) -> fk.Run:
    """The run of the embedded engine."""
    out = tmp_path_factory.mktemp("local") / "run"
    return fk.run(spec(source / "*.parquet"), out, tensorflow=False)


def test_a_run_goes_from_a_bucket_to_a_bucket(bucket: Bucket, here: fk.Run, tmp_path: Path) -> None:
    address = "gs://test-bucket/runs/1"
    made = fk.run(
        spec("gs://test-bucket/data/rows-*.parquet"), address, engine="beam", tfrecord=True
    )
    files = [name for name in bucket.names() if name.startswith("runs/")]
    assert "runs/1/manifest.json" in files
    assert "runs/1/transform_fn/saved_model.pb" in files
    assert not [name for name in files if not name.startswith("runs/1/")], "nothing is left beside"
    for split in ("train", "test"):
        own = [name for name in files if f"split={split}/" in name]
        assert {name.rpartition(".")[2] for name in own} == {"parquet", "tfrecord"}
        read = [pl.read_parquet(bucket.read(name)) for name in own if name.endswith(".parquet")]
        assert_frame_equal(
            pl.concat(read), here.examples(split).to_polars(), check_exact=False, rel_tol=1e-5
        )
    assert json.loads(bucket.read("runs/1/manifest.json")) == made.manifest
    for name in files:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(bucket.read(name))
    copied = fk.open_run(tmp_path / "runs/1").verify()
    assert (copied.problems, copied.files) == ((), len(files) - 1), "a run may be copied here"
    assert set(copied.unhashed) == {name[len("runs/1/") :] for name in files if "split=" in name}
    assert fk.open_run(tmp_path / "runs/1").examples("test").to_polars().height > 0
    assert made.manifest["parity"]["rows"] > 0
    new = ROWS.head(5)
    assert_frame_equal(made.apply(new), here.apply(new), check_exact=False, rel_tol=1e-5)
    with pytest.raises(fk.UsageError, match="gcloud storage cp"):
        made.examples()
    with pytest.raises(fk.UsageError, match="holds a run already"):
        fk.run(spec("gs://test-bucket/data/rows-*.parquet"), address, engine="beam")
    fk.run(
        spec("gs://test-bucket/data/rows-0.parquet"), address, engine="beam", overwrite=True,
        tensorflow=False,
    )  # fmt: skip
    files = [name for name in bucket.names() if name.startswith("runs/")]
    assert json.loads(bucket.read("runs/1/manifest.json"))["rows"]["read"] == 300
    assert "runs/1/transform_fn/saved_model.pb" not in files, "nothing of the old run is left"


@pytest.mark.usefixtures("source")
def test_what_is_no_run_is_never_replaced(bucket: Bucket) -> None:
    bucket.write("other/file.txt", b"kept")
    with pytest.raises(fk.UsageError, match="holds something else than a run"):
        fk.run(
            spec("gs://test-bucket/data/rows-0.parquet"), "gs://test-bucket/other", engine="beam",
            overwrite=True,
        )  # fmt: skip
    assert bucket.read("other/file.txt") == b"kept"


@pytest.mark.usefixtures("source")
def test_a_run_that_fails_leaves_nothing_in_the_bucket(bucket: Bucket) -> None:
    before = bucket.names()
    bad = spec("gs://test-bucket/data/rows-*.parquet", columns={"word": "int64", "x": "float32"})
    with pytest.raises(fk.FeatureKitError):
        fk.run(bad, "gs://test-bucket/runs/bad", engine="beam", tensorflow=False)
    assert bucket.names() == before


@pytest.mark.usefixtures("bucket")
def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(fk.DataError, match=r"gs://test-bucket/none-\*.parquet"):
        fk.run(spec("gs://test-bucket/none-*.parquet"), "gs://test-bucket/runs/2", engine="beam")


@pytest.mark.usefixtures("bucket")
def test_past_rows_in_a_bucket_are_brought_here(source: Path, tmp_path: Path) -> None:
    def past(folder: str | Path) -> fk.Spec:
        plain = dict(spec(f"{folder}/rows-*.parquet").as_plain())
        plain["sources"] = {"rows": {"path": f"{folder}/rows-*.parquet", "event_time": "t"}}
        plain["examples"] = {**plain["examples"], "predict_at": "t"}
        plain["aggregations"] = {
            "w": {"source": "rows", "by": ["word"], "windows": ["3d", "lifetime"],
                  "features": {"n": "count()", "m": "mean(x)"}}
        }  # fmt: skip
        plain["features"] = {"n": "w.n_lifetime", "m": "zscore(w.m_3d)"}
        return fk.Spec.from_dict(plain)

    made = fk.run(past("gs://test-bucket/data"), tmp_path / "away", engine="beam", tensorflow=False)
    local = fk.run(past(source), tmp_path / "here", tensorflow=False)
    assert_frame_equal(
        made.examples().to_polars(), local.examples().to_polars(), check_exact=False, rel_tol=1e-5
    )


def test_what_dead_writers_left_beside_an_address_goes_after_24_hours(tmp_path: Path) -> None:
    from featurekit.engines.beam.publishing import remove_left

    places = {name: tmp_path / f".{name}.tmp" for name in ("out.0123456789ab", "out.0123456789ac",
              "other.0123456789ab", "out.mine", "out.x.0123456789ab")}  # fmt: skip
    old = time.time() - 25 * 3600
    for name, folder in places.items():
        (folder / "examples").mkdir(parents=True)
        (folder / "examples" / "part").write_text("unfinished")
        if name != "out.0123456789ac":
            os.utime(folder / "examples" / "part", (old, old))
    (tmp_path / "out").mkdir()
    assert remove_left(str(tmp_path / "out")) == [str(places.pop("out.0123456789ab"))]
    assert {path.name for path in tmp_path.iterdir()} == {
        "out",
        *(folder.name for folder in places.values()),
    }
