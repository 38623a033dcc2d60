"""The SavedModel of a run, used as TensorFlow, tf.Transform and Keras programs use it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit import artifact
from featurekit.engines.dense import dense
from featurekit.errors import ParityError, UsageError
from featurekit.job import run
from featurekit.runs import Run, open_run
from featurekit.spec.objects import Column, Examples, Source, Spec

INPUTS = ("distance", "carrier", "seats", "sched")

SERVER = """
import json, sys
import tensorflow as tf

job = json.load(sys.stdin)
model = tf.saved_model.load(job["model"])
kinds = {"distance": tf.float32, "carrier": tf.string, "seats": tf.int64, "sched": tf.int64}
columns = {name: tf.constant(values, kinds[name]) for name, values in job["columns"].items()}

def example(row):
    message = tf.train.Example()
    for name, value in row.items():
        feature = message.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        elif value is not None:
            feature.int64_list.value.append(value)
    return message.SerializeToString()

def plain(tensor):
    values = tensor.numpy().tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]

serve, parse = model.signatures["serving_default"], model.signatures["serving_examples"]
answers = {
    "serving_default": serve(**columns),
    "serving_examples": parse(examples=tf.constant([example(row) for row in job["rows"]])),
}
json.dump({
    "modules": [name for name in sys.modules if name.startswith("featurekit")],
    "answers": {key: {name: plain(values) for name, values in answer.items()}
                for key, answer in answers.items()},
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def written(small_run: Run) -> pl.DataFrame:
    """The examples of all splits."""
    return pl.concat([small_run.examples(split).to_polars() for split in small_run.splits])


@pytest.fixture(scope="module")
def raw(written: pl.DataFrame, flights_like: pl.DataFrame) -> pl.DataFrame:
    """The rows that the examples were made of, as serving is given them."""
    rows = written.select("flight").join(
        flights_like, on="flight", how="left", maintain_order="left"
    )
    return rows.select(
        pl.col("distance").cast(pl.Float32), "carrier", "seats", pl.col("sched").dt.timestamp("us")
    )


@pytest.fixture(scope="module")
def served(small_run: Run, raw: pl.DataFrame) -> Mapping[str, Mapping[str, list[Any]]]:
    """What each signature answers in a process that has never heard of FeatureKit."""
    job = {
        "model": str(small_run.saved_model),
        "columns": {name: dense(raw[name]).tolist() for name in INPUTS},
        "rows": raw.to_dicts(),
    }
    done = subprocess.run(
        [sys.executable, "-c", SERVER],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["modules"] == []
    answers: Mapping[str, Mapping[str, list[Any]]] = result["answers"]
    return answers


def assert_same(got: Mapping[str, Any], expected: pl.DataFrame) -> None:
    """Compare outputs with columns of the examples: floats to the certificate's tolerance."""
    assert set(got) == set(expected.columns)
    for series in expected:
        found, wanted = np.asarray(got[series.name]), dense(series)
        assert found.shape == wanted.shape, series.name
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, rtol=1e-6, err_msg=series.name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=series.name)


def test_serving_default_in_a_fresh_process_gives_what_the_examples_hold(
    small_run: Run,
    served: Mapping[str, Mapping[str, list[Any]]],
    written: pl.DataFrame,
    raw: pl.DataFrame,
) -> None:
    # The empty text stands for null there; it is a text in the examples.
    keep = raw.select(pl.col("carrier").ne_missing("")).to_series()
    assert 0 < keep.sum() < keep.len()
    answer = {
        name: [value for value, kept in zip(values, keep, strict=True) if kept]
        for name, values in served["serving_default"].items()
    }
    assert_same(answer, written.select(small_run.features).filter(keep))


def test_serving_examples_in_a_fresh_process_gives_what_the_examples_hold(
    small_run: Run, served: Mapping[str, Mapping[str, list[Any]]], written: pl.DataFrame
) -> None:
    assert_same(served["serving_examples"], written.select(small_run.features))


def test_the_manifest_holds_a_certificate_for_every_signature(small_run: Run) -> None:
    certificate = small_run.manifest["parity"]
    assert set(certificate["signatures"]) == {
        "serving_default", "serving_masked", "serving_examples", "transform_fn"
    }  # fmt: skip
    for found in certificate["signatures"].values():
        assert found["rows"] > 400
        assert found["mismatches"] == []
        assert found["largest_relative_difference"] <= certificate["tolerance"] == 1e-6


def test_tf_transform_loads_the_run(
    small_run: Run, written: pl.DataFrame, raw: pl.DataFrame
) -> None:
    import tensorflow as tf
    import tensorflow_transform as tft

    output = tft.TFTransformOutput(str(small_run.path))
    spec = output.transformed_feature_spec()
    assert set(spec) == set(small_run.features)
    assert spec["carrier_flags"] == tf.io.FixedLenFeature([5], tf.float32)
    assert spec["carrier_text"] == tf.io.FixedLenFeature([], tf.string)
    assert spec["seats"] == tf.io.FixedLenFeature([], tf.int64)

    columns = {
        name: tf.ragged.constant(
            [[] if value is None else [value] for value in raw[name].to_list()],
            tf.constant(dense(raw[name].head(1))).dtype, ragged_rank=1,
        ).to_sparse()
        for name in INPUTS
    }  # fmt: skip
    assert output.raw_feature_spec().keys() == {*INPUTS, "delay"}
    expected = written.select(small_run.features)
    for made in (
        output.transform_raw_features(columns),
        output.transform_features_layer()(columns),
    ):
        assert_same({name: _texts(values.numpy()) for name, values in made.items()}, expected)


def test_tf_transforms_feature_spec_parses_the_tfrecord_files(small_run: Run) -> None:
    import tensorflow as tf
    import tensorflow_transform as tft

    spec = dict(tft.TFTransformOutput(str(small_run.path)).transformed_feature_spec())
    spec["flight"] = spec["label"] = tf.io.FixedLenFeature([], tf.int64)
    for split in small_run.splits:
        examples = small_run.examples(split)
        files = [str(file.with_suffix(".tfrecord")) for file in examples.files]
        records = list(tf.data.TFRecordDataset(files, buffer_size=1 << 20).as_numpy_iterator())
        parsed = tf.io.parse_example(records, spec)
        assert_same(
            {name: _texts(values.numpy()) for name, values in parsed.items()}, examples.to_polars()
        )


def test_tfrecord_files_hold_the_bytes_that_tensorflow_itself_writes(small_run: Run) -> None:
    import tensorflow as tf

    file = str(small_run.examples().files[0].with_suffix(".tfrecord"))
    for record in tf.data.TFRecordDataset(file, buffer_size=1 << 20).as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        assert len(record) == len(example.SerializeToString())
        assert set(example.features.feature) == {"flight", *small_run.features, "label"}


def test_a_float64_feature_cannot_be_written_as_tfrecord(tmp_path: Path) -> None:
    spec = Spec(
        sources={"rows": Source(data=pl.DataFrame({"x": [0.1]}), columns={"x": Column("float64")})},
        examples=Examples("rows"), features={"same": "x", "narrow": "cast(x, 'float32')"},
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"TFRecord files cannot hold same: .*float32 only"):
        run(spec, tmp_path / "run", tensorflow=False, tfrecord=True)
    assert list(tmp_path.iterdir()) == []


def test_a_keras_model_trains_on_the_dataset_and_serves_raw_columns(
    small_run: Run, raw: pl.DataFrame, tmp_path: Path
) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    names = ["distance_z", "carrier_flags", "full"]
    train = small_run.examples().to_dataset(256, shuffle=1000, seed=1)
    train = train.map(lambda row, late: ({name: row[name] for name in names}, late))
    inputs = {
        name: keras.Input(spec.shape[1:], name=name, dtype=spec.dtype.name)
        for name, spec in train.element_spec[0].items()
    }
    known = keras.ops.cast(inputs["full"] > 0, "float32")
    parts = [
        keras.ops.expand_dims(inputs["distance_z"], -1),
        inputs["carrier_flags"],
        keras.ops.expand_dims(known, -1),
    ]
    # A missing vector is NaN.
    hidden = keras.ops.nan_to_num(keras.layers.Concatenate()(parts))
    network = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    network.compile("adam", "binary_crossentropy")
    losses = network.fit(train, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]

    # Raw columns -> the run's SavedModel -> the network, as one model.
    kinds = {"distance": "float32", "carrier": "string", "seats": "int64", "sched": "int64"}
    columns = {name: keras.Input((), name=name, dtype=kind) for name, kind in kinds.items()}
    features = small_run.keras_layer()(columns)
    full = keras.Model(columns, network({name: features[name] for name in names}))
    full.export(str(tmp_path / "model"), verbose=False)

    first, _ = next(iter(small_run.examples().to_dataset(8)))
    rows = {name: tf.constant(dense(raw[name].head(8))) for name in INPUTS}
    (answer,) = (
        tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"](**rows).values()
    )
    np.testing.assert_allclose(answer, network({name: first[name] for name in names}), rtol=1e-5)


def test_a_model_that_differs_from_the_examples_is_refused_and_the_older_run_stays(
    flights_spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run"
    run(flights_spec, target, tensorflow=False)
    before = open_run(target).manifest
    honest = artifact.write_statistics

    def tampered(folder: Path, fitted: Mapping[Any, Any]) -> None:
        """The model is built from what is on disk, the examples from what is in memory."""
        honest(folder, fitted)
        file = folder / "statistics.json"
        data = json.loads(file.read_text())
        (moments,) = (entry for entry in data.values() if entry["kind"] == "Moments")
        moments["mean"] += 1e-3
        file.write_text(json.dumps(data))

    monkeypatch.setattr(artifact, "write_statistics", tampered)
    with pytest.raises(
        ParityError, match=r"'distance_z' in \d+ of \d+ rows of serving_default"
    ) as caught:
        run(flights_spec, target, tensorflow=True, overwrite=True)
    assert caught.value.exit_code == 1
    assert "carrier_id" not in str(caught.value)
    assert open_run(target).manifest == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def _texts(values: np.ndarray) -> np.ndarray:
    """Decode an array of bytes; others stay."""
    return (
        np.array([value.decode() for value in values], object) if values.dtype == object else values
    )
