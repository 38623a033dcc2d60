"""TFRecord files as input, written here by TensorFlow itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featurekit as fk

pytest.importorskip("tensorflow_transform")

COLUMNS = {"id": "int64", "x": "float32", "word": "string", "yes": "bool", "t": "timestamp"}
FEATURES = {
    "x_z": "zscore(x)", "w": "vocabulary(word)", "y": "yes", "h": "hour(t)",
    "b": "bucketize(x, 3)", "there": "is_missing(x)",
}  # fmt: skip
WRITE = """
import json, sys
import tensorflow as tf
rows, path, kind = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3] or None
with tf.io.TFRecordWriter(path, kind) as writer:
    for row in rows:
        if isinstance(row, str):
            writer.write(bytes.fromhex(row))
            continue
        example = tf.train.Example()
        for name, value in row.items():
            feature = example.features.feature[name]
            values = value if isinstance(value, list) else [value]
            if not values:
                feature.float_list.SetInParent()
            elif isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            elif isinstance(values[0], float):
                feature.float_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(text.encode("latin-1") for text in values)
        writer.write(example.SerializeToString())
"""
ROWS: list[dict[str, Any]] = [
    {"id": place, "x": place / 4, "word": "abc"[place % 3], "yes": place % 2,
     "t": place * 3_600_000_000}
    for place in range(50)
]  # fmt: skip
ROWS[3] = {"id": 3}
ROWS[4]["x"] = []
ROWS[5]["word"] = "\xc3\xa9"  # the bytes of é in UTF-8


def write(rows: list[Any], path: Path, kind: str = "") -> Path:
    """Write tf.Examples as TensorFlow does."""
    subprocess.run([sys.executable, "-c", WRITE, json.dumps(rows), path, kind], check=True)
    return path


def spec(path: Path, **changed: Any) -> fk.Spec:
    """Return a spec over rows of a path."""
    return fk.Spec.from_dict(
        {
            "name": "records",
            "sources": {"rows": {"path": str(path), "columns": COLUMNS, **changed}},
            "examples": {"source": "rows", "keys": ["id"], "split": {"hash": "id", "test": 0.2}},
            "features": FEATURES,
        }
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of rows, and the same rows as Parquet."""
    folder = tmp_path_factory.mktemp("records")
    write(ROWS[:30], folder / "rows-0.tfrecord")
    write(ROWS[30:], folder / "rows-1.tfrecord")
    texts = [{**row, "word": row.get("word")} for row in ROWS]
    texts[5]["word"] = "é"
    texts[4]["x"] = None
    frame = pl.DataFrame(texts, schema={"id": pl.Int64, "x": pl.Float32, "word": pl.String,
                                        "yes": pl.Int64, "t": pl.Int64})  # fmt: skip
    frame = frame.with_columns(
        pl.col("yes").cast(pl.Boolean), pl.col("t").cast(pl.Datetime("us", "UTC"))
    )
    frame.write_parquet(folder / "rows.parquet")
    return folder


@pytest.fixture(scope="module")
def expected(records: Path, tmp_path_factory: pytest.TempPathFactory) -> fk.Run:
    """The embedded run over the Parquet file."""
    out = tmp_path_factory.mktemp("expected") / "run"
    return fk.run(spec(records / "rows.parquet"), out, tensorflow=False)


def test_records_give_what_the_same_rows_as_parquet_give(
    records: Path, expected: fk.Run, tmp_path: Path
) -> None:
    made = fk.run(spec(records / "*.tfrecord"), tmp_path / "run", engine="beam")
    for split in expected.splits:
        assert_frame_equal(
            made.examples(split).to_polars(), expected.examples(split).to_polars(),
            check_exact=False, rel_tol=1e-5,
        )  # fmt: skip
    assert made.manifest["inputs"]["rows"][0]["path"].endswith("*.tfrecord")


def test_compressed_records_are_read(records: Path, expected: fk.Run, tmp_path: Path) -> None:
    del records
    path = write(ROWS, tmp_path / "rows.tfrecord.gz", "GZIP")
    made = fk.run(spec(path), tmp_path / "run", engine="beam", tensorflow=False)
    assert made.manifest["rows"] | {"bad": 0} == expected.manifest["rows"] | {"bad": 0}


def test_records_that_are_no_rows_are_set_aside(tmp_path: Path) -> None:
    bad = [{"id": 90, "x": [1.0, 2.0]}, {"id": 91, "x": 7}, "ffff", "", {"id": 92, "word": "\xff"},
           {"id": 93, "yes": 2}]  # fmt: skip
    path = write([*ROWS, *bad], tmp_path / "rows.tfrecord")
    made = fk.run(spec(path), tmp_path / "run", engine="beam", tensorflow=False, max_bad_rows=10)
    told = [
        json.loads(line)
        for file in sorted((tmp_path / "run" / "bad_rows").iterdir())
        for line in file.read_text().splitlines()
    ]
    reasons = " ".join(reason for entry in told for reason in entry["reasons"])
    for part in (
        "2 values of 'x' instead of one", 'for feature "x"', "Unable to parse example",
        "'word': the value is not UTF-8", "'yes': the value is not of type bool",
    ):  # fmt: skip
        assert part in reasons
    # A record of no bytes is an example of which every feature is missing.
    assert made.manifest["rows"]["bad"]["rows"] == len(told) == 5
    with pytest.raises(fk.DataError, match="cannot be used"):
        fk.run(spec(path), tmp_path / "none", engine="beam", tensorflow=False)
    assert not (tmp_path / "none").exists()


def test_a_truncated_file_is_named(records: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.tfrecord"
    path.write_bytes((records / "rows-0.tfrecord").read_bytes()[:-7])
    with pytest.raises(fk.DataError, match=r"rows\.tfrecord: the data cannot be read"):
        fk.run(spec(path), tmp_path / "run", engine="beam", tensorflow=False)


def test_records_with_aggregations_are_decoded_first(records: Path, tmp_path: Path) -> None:
    def past(path: Path) -> fk.Spec:
        plain = dict(spec(path).as_plain())
        source = {"path": str(path), "columns": COLUMNS, "event_time": "t"}
        plain["sources"] = {"rows": source}
        plain["examples"] = {"source": "rows", "keys": ["id"], "predict_at": "t"}
        plain["aggregations"] = {
            "past": {"source": "rows", "by": ["word"], "windows": ["5h"],
                     "features": {"m": "mean(x)"}}
        }  # fmt: skip
        plain["features"] = {"m": "past.m_5h"}
        return fk.Spec.from_dict(plain)

    made = fk.run(past(records / "*.tfrecord"), tmp_path / "run", engine="beam", tensorflow=False)
    here = fk.run(past(records / "rows.parquet"), tmp_path / "here", tensorflow=False)
    assert_frame_equal(made.examples().to_polars(), here.examples().to_polars())


def test_the_embedded_engine_says_who_reads_records(records: Path, tmp_path: Path) -> None:
    with pytest.raises(fk.DataError, match=r"read by Beam's workers.*--engine beam"):
        fk.run(spec(records / "*.tfrecord"), tmp_path / "run", tensorflow=False)
    with pytest.raises(fk.FeatureKitError, match="x"):
        fk.check(spec(records / "*.tfrecord", columns={"id": "int64"}))
