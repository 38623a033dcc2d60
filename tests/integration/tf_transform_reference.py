"""What tf.Transform makes of the table that `test_tf_transform.py` compares: a program of its own.

Beam, tf.Transform and Arrow's copy inside of tfx_bsl crash the interpreter when it ends with all
of them loaded, so this one leaves without ending.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RANDOM = np.random.default_rng(11)
ROWS = 400
TABLE = pl.DataFrame(
    {
        "a": RANDOM.normal(3, 10, ROWS).astype(np.float32),
        "constant": np.full(ROWS, 7.5, np.float32),
        "ties": RANDOM.integers(0, 6, ROWS).astype(np.float32),
        "n": RANDOM.integers(-1000, 1000, ROWS),
        "word": RANDOM.choice(
            ["b", "a", "cc", "ß", "é", "zz zz", ""], ROWS, p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.05, 0.05]
        ),
        "rare": [f"r{i // 3 if i < 30 else i}" for i in range(ROWS)],
        "line": RANDOM.choice(["York", "", "12 High St\nLeeds", "Hull\r", "\n", " "], ROWS),
    }
)

PAIRS: dict[str, tuple[str, Any]] = {
    "z_a": ("zscore(a)", lambda tft, x: tft.scale_to_z_score(x["a"])),
    "z_constant": ("zscore(constant)", lambda tft, x: tft.scale_to_z_score(x["constant"])),
    "z_n": ("zscore(n)", lambda tft, x: tft.scale_to_z_score(x["n"])),
    "unit_a": ("scale_to_0_1(a)", lambda tft, x: tft.scale_to_0_1(x["a"])),
    "unit_constant": ("scale_to_0_1(constant)", lambda tft, x: tft.scale_to_0_1(x["constant"])),
    "range_n": (
        "scale_by_min_max(n, -2.0, 5.0)",
        lambda tft, x: tft.scale_by_min_max(x["n"], -2.0, 5.0),
    ),
    "range_constant": (
        "scale_by_min_max(constant, -2.0, 5.0)",
        lambda tft, x: tft.scale_by_min_max(x["constant"], -2.0, 5.0),
    ),
    # tf.Transform's quantiles are exact at this size with a small epsilon.
    "bucket_a": ("bucketize(a, 10)", lambda tft, x: tft.bucketize(x["a"], 10, epsilon=1e-4)),
    "bucket_ties": ("bucketize(ties, 4)", lambda tft, x: tft.bucketize(x["ties"], 4, epsilon=1e-4)),
    "vocabulary": ("vocabulary(word)", lambda tft, x: tft.compute_and_apply_vocabulary(x["word"])),
    "top": (
        "vocabulary(word, top_k=2)",
        lambda tft, x: tft.compute_and_apply_vocabulary(x["word"], top_k=2),
    ),
    "oov": (
        "vocabulary(word, top_k=2, oov_buckets=5)",
        lambda tft, x: tft.compute_and_apply_vocabulary(x["word"], top_k=2, num_oov_buckets=5),
    ),
    "frequent": (
        "vocabulary(rare, frequency_threshold=2)",
        lambda tft, x: tft.compute_and_apply_vocabulary(x["rare"], frequency_threshold=2),
    ),
    "lines": ("vocabulary(line)", lambda tft, x: tft.compute_and_apply_vocabulary(x["line"])),
    "every_text": (
        "vocabulary(line, file_format='tfrecord_gzip')",
        lambda tft, x: tft.compute_and_apply_vocabulary(x["line"], file_format="tfrecord_gzip"),
    ),
    "top_of_every_text": (
        "vocabulary(line, top_k=3, oov_buckets=4, file_format='tfrecord_gzip')",
        lambda tft, x: tft.compute_and_apply_vocabulary(
            x["line"], top_k=3, num_oov_buckets=4, file_format="tfrecord_gzip"
        ),
    ),
    "hash": ("hash_bucket(word, 10)", lambda tft, x: tft.hash_strings(x["word"], 10)),
    "given": (
        "apply_buckets(a, [-5.0, 0.0, 5.0])",
        lambda tft, x: tft.apply_buckets(x["a"], [[-5.0, 0.0, 5.0]]),
    ),
}


def main(target: Path) -> None:
    """Write the rows that tf.Transform makes of the table, one JSON object a line."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    kinds = {pl.Float32: tf.float32, pl.Int64: tf.int64, pl.String: tf.string}
    raw = {
        name: tf.io.FixedLenFeature([], kinds[type(dtype)]) for name, dtype in TABLE.schema.items()
    }
    raw["row"] = tf.io.FixedLenFeature([], tf.int64)
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(raw))

    def preprocessing(inputs: dict[str, Any]) -> dict[str, Any]:
        made = {name: make(tft, inputs) for name, (_, make) in PAIRS.items()}
        return {**made, "row": tf.identity(inputs["row"])}

    with (
        tempfile.TemporaryDirectory() as scratch,
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=scratch),
    ):
        rows = pipeline | beam.Create(TABLE.with_row_index("row").to_dicts())
        (made, _), _ = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(preprocessing)
        made | beam.Map(_plain) | beam.io.WriteToText(str(target), shard_name_template="")


def _plain(row: dict[str, Any]) -> str:
    return json.dumps(
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
