"""Pipelines of a user's own, for `test_beam_pipelines.py`: a program, which leaves without ending.

Beam, tf.Transform and Arrow's copy inside of tfx_bsl crash the interpreter when it ends with all
of them loaded.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import featurekit as fk


def transform(spec: Path, data: Path, out: Path) -> None:
    """Use `Transform` over Parquet batches, and write examples and the transform function."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = pipeline | beam.io.ReadFromParquetBatched(str(data))
        made = rows | fk.beam.Transform(spec)
        _ = made.examples | beam.Map(save, out)
        _ = made.transform_fn | tft_beam.WriteTransformFn(str(out / "tft"))
    as_tensors(out / "tft", data, out)


def save(table: pa.Table, out: Path) -> None:
    """Write examples; there is one batch."""
    pl.DataFrame(pl.from_arrow(table)).write_parquet(out / "examples.parquet")


def dictionaries(spec: Path, data: Path, out: Path) -> None:
    """Use `Transform` over rows that are dictionaries."""
    import apache_beam as beam

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = pipeline | beam.Create(pl.read_parquet(data).to_dicts(), reshuffle=False)
        made = rows | fk.beam.Transform(spec)
        _ = made.examples | beam.Map(save, out)


def preprocessing(spec: Path, data: Path, out: Path) -> None:
    """Use `preprocessing_fn` in tf.Transform, with inputs that may be missing."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata

    frame = pl.read_parquet(data)
    kinds: dict[Any, Any] = {pl.Float32: tf.float32, pl.Int64: tf.int64, pl.String: tf.string}
    columns = [name for name, dtype in frame.schema.items() if type(dtype) in kinds]
    features = {name: tf.io.VarLenFeature(kinds[type(frame.schema[name])]) for name in columns}
    features["id"] = tf.io.FixedLenFeature([], tf.int64)
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(features)
    rows = [
        {name: value if name == "id" else [] if value is None else [value]
         for name, value in row.items()}
        for row in frame.select(columns).to_dicts()
    ]  # fmt: skip
    function = fk.beam.preprocessing_fn(spec)

    def keyed(inputs: dict[str, Any]) -> dict[str, Any]:
        return {**function(inputs), "id": tf.identity(inputs["id"])}

    with (
        tempfile.TemporaryDirectory() as scratch,
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=scratch),
    ):
        made = (pipeline | beam.Create(rows), metadata)
        (transformed, _), function_out = made | tft_beam.AnalyzeAndTransformDataset(keyed)
        _ = (
            transformed
            | beam.Map(plain)
            | beam.io.WriteToText(str(out / "rows.jsonl"), shard_name_template="")
        )
        _ = function_out | tft_beam.WriteTransformFn(str(out / "tft"))


FORMS = ("sparse", "ragged", "width_1", "rank_1")


def absent(spec: Path, data: Path, out: Path) -> None:
    """Use `preprocessing_fn` over inputs of every form, some missing in all rows of a batch.

    Rows come as dictionaries, one at a time, and as batches of which some are empty. Writes a file
    for each way.
    """
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata

    kinds = {"id": tf.int64, "a": tf.float32, "n": tf.int64, "s": tf.string}
    stand_ins = {"a": float("nan"), "n": -(2**63), "s": ""}
    rows = pl.read_parquet(data).select(list(kinds)).to_dicts()
    function = fk.beam.preprocessing_fn(spec)

    def keyed(inputs: dict[str, Any]) -> dict[str, Any]:
        return {**function(inputs), "id": tf.reshape(inputs["id"], [-1])}

    for form in FORMS:
        specs = {
            name: tf.io.VarLenFeature(kind) if form == "sparse" and name != "id"
            else tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64)
            if form == "ragged" and name != "id"
            else tf.io.FixedLenFeature([1] if form == "width_1" else [], kind)
            for name, kind in kinds.items()
        }  # fmt: skip
        metadata = dataset_metadata.DatasetMetadata.from_feature_spec(specs)

        def cell(name: str, value: Any, form: str = form) -> Any:
            if form in ("sparse", "ragged") and name != "id":
                return [] if value is None else [value]
            value = stand_ins[name] if value is None else value
            return [value] if form == "width_1" else value

        given = [{name: cell(name, value) for name, value in row.items()} for row in rows]
        ways = {
            "each": (1, given, metadata),
            "batches": (None, *arrow_batches(rows, form, stand_ins)),
        }
        for way, (size, values, described) in ways.items():
            with (
                tempfile.TemporaryDirectory() as scratch,
                beam.Pipeline(runner="FnApiRunner") as pipeline,
                tft_beam.Context(temp_dir=scratch, desired_batch_size=size),
            ):
                made = (pipeline | beam.Create(values, reshuffle=False), described)
                (transformed, _), _ = made | tft_beam.AnalyzeAndTransformDataset(keyed)
                _ = (
                    transformed
                    | beam.Map(plain)
                    | beam.io.WriteToText(str(out / f"{form}_{way}.jsonl"), shard_name_template="")
                )


def arrow_batches(
    rows: list[dict[str, Any]], form: str, stand_ins: dict[str, Any]
) -> tuple[list[pa.RecordBatch], Any]:
    """Return rows as record batches, the first and the last of them empty, and how to read them."""
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

    types = {"id": pa.int64(), "a": pa.float32(), "n": pa.int64(), "s": pa.large_binary()}
    found = schema_pb2.TensorRepresentation

    def column(name: str, part: list[dict[str, Any]]) -> pa.Array:
        cells = []
        for row in part:
            value = row[name]
            if value is None and form not in ("sparse", "ragged"):
                value = stand_ins[name]
            value = value.encode() if isinstance(value, str) else value
            cells.append([] if value is None else [value])
        return pa.array(cells, pa.large_list(types[name]))

    def read_as(name: str) -> Any:
        if form == "sparse" and name != "id":
            return found(varlen_sparse_tensor={"column_name": name})
        if form == "ragged" and name != "id":
            ragged = {"feature_path": {"step": [name]}, "row_partition_dtype": "INT64"}
            return found(ragged_tensor=ragged)
        made = found(dense_tensor={"column_name": name})
        made.dense_tensor.shape.SetInParent()
        if form == "width_1":
            made.dense_tensor.shape.dim.add(size=1)
        return made

    parts = [[], *(rows[start : start + 12] for start in range(0, len(rows), 12)), []]
    batches = [
        pa.RecordBatch.from_arrays([column(name, part) for name in types], list(types))
        for part in parts
    ]
    return batches, TensorAdapterConfig(batches[0].schema, {name: read_as(name) for name in types})


def refused(spec: Path, data: Path, out: Path) -> None:
    """Use `Transform` and `preprocessing_fn` where features see the label."""
    dictionaries(spec, data, out)
    try:
        fk.beam.preprocessing_fn(spec)
    except fk.UsageError as error:
        (out / "error.txt").write_text(str(error))


def shards(out: Path) -> None:
    """Add the label up with categories dealt into shards; write what all shards together say."""
    from featurekit.engines.beam.analyzers import _Count
    from featurekit.engines.beam.statistics import Counts
    from featurekit.transforms.targets import TargetMeans
    from featurekit.types import STRING

    chance = np.random.default_rng(8)
    words = np.array([b"", b"=", *(b"=%d" % place for place in range(20))], dtype=object)
    batches = [
        [
            chance.choice(words, 50),
            chance.choice([0.0, 1.0, 7.0, np.nan], 50),
            chance.choice([0, 1, -(2**63)], 50),
        ]
        for _ in range(4)
    ]
    found = []
    for number in (1, 3):
        parts: dict[tuple[int, int], list[pl.DataFrame]] = {}
        for batch in batches:
            for key, part in _Count([], [STRING], 0, number).process(batch):
                parts.setdefault(key, []).append(part)
        merged = [Counts.merge(each) for each in parts.values()]
        assert len(merged) == number
        found.append(TargetMeans(3).value_of(pl.concat(merged)))
    (out / "found.json").write_text(json.dumps([asdict(value) for value in found]))


def plain(row: dict[str, Any]) -> str:
    """Return a row as JSON; NaN stands for a missing number."""
    return json.dumps(
        {name: value.decode() if isinstance(value, bytes) else np.asarray(value).tolist()
         for name, value in row.items()}
    )  # fmt: skip


def as_tensors(folder: Path, data: Path, out: Path) -> None:
    """Apply the written transform function as a trainer would."""
    import tensorflow as tf
    import tensorflow_transform as tft

    loaded = tft.TFTransformOutput(str(folder))
    frame = pl.read_parquet(data)
    kinds = {"a": tf.float32, "n": tf.int64, "s": tf.string}
    raw = {
        name: tf.ragged.constant(
            [[] if value is None else [value] for value in frame[name].to_list()],
            kind, ragged_rank=1,
        ).to_sparse()
        for name, kind in kinds.items()
    }  # fmt: skip
    made = loaded.transform_raw_features(raw)
    spec = loaded.transformed_feature_spec()
    assert spec.keys() == made.keys()
    np.savez(out / "tensors.npz", **{name: value.numpy() for name, value in made.items()})


def failing(out: Path) -> None:
    """Let TensorFlow fail at one value of one feature; write what the error says."""
    import tensorflow as tf

    from featurekit.engines.beam.applying import Graph
    from featurekit.transforms.row.log1p import Log1p

    frame = pl.DataFrame(
        {"a": [1.0] * 500 + [float("inf")] + [2.0] * 400, "b": [1.0] * 901},
        schema={"a": pl.Float32, "b": pl.Float32},
    )
    spec = fk.Spec.from_dict(
        {
            "name": "failing", "sources": {"rows": {"path": str(out / "rows.parquet")}},
            "examples": {"source": "rows"},
            "features": {"good": "log1p(b)", "sum": "a + b", "bad": "log1p(a + b)"},
        }
    )  # fmt: skip
    frame.write_parquet(out / "rows.parquet")

    def checked(_: Any, inputs: Any, types: Any) -> Any:  # noqa: ARG001
        return tf.debugging.check_numerics(inputs[0], "a test's own check")

    Log1p.tensorflow = checked  # type: ignore[method-assign, assignment]
    try:
        Graph(fk.plan(spec), {}).features(frame)
    except fk.EngineError as error:
        (out / "error.txt").write_text(str(error))


if __name__ == "__main__":
    globals()[sys.argv[1]](*(Path(text) for text in sys.argv[2:]))
    sys.stdout.flush()
    os._exit(0)
