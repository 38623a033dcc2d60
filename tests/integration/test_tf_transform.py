"""Names taken from tf.Transform mean what tf.Transform means: the same columns through both.

The expected values are those of tensorflow-transform on a real Beam runner.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit.job import run
from featurekit.spec.objects import Examples, Source, Spec
from tests.engines import same

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
    "hash": ("hash_bucket(word, 10)", lambda tft, x: tft.hash_strings(x["word"], 10)),
    "given": (
        "apply_buckets(a, [-5.0, 0.0, 5.0])",
        lambda tft, x: tft.apply_buckets(x["a"], [[-5.0, 0.0, 5.0]]),
    ),
}


@pytest.fixture(scope="module")
def of_tf_transform(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What tf.Transform makes of the table."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

    kinds = {pl.Float32: tf.float32, pl.Int64: tf.int64, pl.String: tf.string}
    raw = {
        name: tf.io.FixedLenFeature([], kinds[type(dtype)]) for name, dtype in TABLE.schema.items()
    }
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(raw))

    def preprocessing(inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: make(tft, inputs) for name, (_, make) in PAIRS.items()}

    scratch = tmp_path_factory.mktemp("tft")
    target = str(scratch / "rows")
    with (
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(scratch / "temp")),
    ):
        rows = [{**row, "row": i} for i, row in enumerate(TABLE.to_dicts())]
        raw["row"] = tf.io.FixedLenFeature([], tf.int64)
        metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(raw))
        data = pipeline | beam.Create(rows)

        def with_row(inputs: dict[str, Any]) -> dict[str, Any]:
            return {**preprocessing(inputs), "row": tf.identity(inputs["row"])}

        (made, _), _ = (data, metadata) | tft_beam.AnalyzeAndTransformDataset(with_row)
        made | beam.Map(_plain) | beam.io.WriteToText(target, shard_name_template="")
    import json

    lines = Path(target).read_text().splitlines()
    found = sorted((json.loads(line) for line in lines), key=lambda row: row["row"])
    return {name: [row[name] for row in found] for name in PAIRS}


def _plain(row: dict[str, Any]) -> str:
    import json

    return json.dumps(
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
    )


@pytest.fixture(scope="module")
def of_featurekit(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What the embedded engine makes of the table."""
    spec = Spec(
        sources={"rows": Source(data=TABLE)},
        examples=Examples("rows"),
        features={name: expression for name, (expression, _) in PAIRS.items()},
    )
    made = run(spec, tmp_path_factory.mktemp("run") / "out", tensorflow=False)
    return made.examples().to_polars()


@pytest.mark.parametrize("name", PAIRS)
def test_a_name_of_tf_transform_gives_what_tf_transform_gives(
    name: str, of_featurekit: pl.DataFrame, of_tf_transform: dict[str, list[Any]]
) -> None:
    got, wanted = of_featurekit[name].to_list(), of_tf_transform[name]
    for row, (left, right) in enumerate(zip(got, wanted, strict=True)):
        # tf.Transform computes in float32 throughout, so values near 0 keep the rounding of the
        # larger numbers they are differences of.
        close = isinstance(right, float) and abs(left - right) <= 1e-6
        assert close or same(left, right), (
            f"row {row} {TABLE.row(row, named=True)}: {left!r}, tf.Transform {right!r}"
        )
