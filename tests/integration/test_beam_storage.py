"""Runs on Beam from and to a bucket: Google Cloud Storage's own client, and an emulator of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featurekit as fk

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


class Bucket:
    """A bucket of the emulator, seen through its HTTP interface alone."""

    def __init__(self, host: str, name: str) -> None:
        self.host, self.name = host, name

    def names(self) -> list[str]:
        """Return the names of all objects."""
        with urllib.request.urlopen(f"{self.host}/storage/v1/b/{self.name}/o") as answer:
            return sorted(entry["name"] for entry in json.load(answer).get("items", ()))

    def read(self, name: str) -> bytes:
        """Return what an object holds."""
        path = f"{self.host}/storage/v1/b/{self.name}/o/{quote(name, safe='')}?alt=media"
        with urllib.request.urlopen(path) as answer:
            return bytes(answer.read())

    def write(self, name: str, data: bytes) -> None:
        """Make an object."""
        path = f"{self.host}/upload/storage/v1/b/{self.name}/o?uploadType=media&name={quote(name)}"
        kind = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(path, data=data, method="POST", headers=kind)
        urllib.request.urlopen(request).close()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """An empty bucket, which every process started meanwhile finds instead of Google's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gcp_storage_emulator", *command, "--default-bucket", "test-bucket"],
        stderr=subprocess.DEVNULL,
    )
    host = f"http://127.0.0.1:{port}"
    made = Bucket(host, "test-bucket")
    before = dict(os.environ)
    # Without credentials, Beam looks for them for half a minute before it goes on.
    user = tmp_path_factory.mktemp("user") / "credentials.json"
    token = {"type": "authorized_user", "token": "test", "expiry": "2100-01-01T00:00:00Z"}
    none = dict.fromkeys(("client_id", "client_secret", "refresh_token"), "none")
    user.write_text(json.dumps({**token, **none}))
    os.environ.update(
        STORAGE_EMULATOR_HOST=host, GOOGLE_APPLICATION_CREDENTIALS=str(user),
        GOOGLE_CLOUD_PROJECT="test-project",
    )  # fmt: skip
    try:
        for _ in range(100):
            try:
                made.names()
                break
            except OSError:
                time.sleep(0.1)
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.kill()
        process.wait()


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


def test_a_run_goes_from_a_bucket_to_a_bucket(bucket: Bucket, here: fk.Run) -> None:
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
