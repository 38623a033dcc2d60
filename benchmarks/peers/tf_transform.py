"""tf.Transform on Beam's FnApiRunner, written by hand as its guide advises and as fast as it goes.

Parquet is read in batches and handed on as RecordBatches with list columns, which is what tfx-bsl's
tensor adapter takes without a Python object per value. A missing value is an absent value of a
sparse feature: statistics skip it and results stay missing; columns without any missing value are
dense, which is faster. Written are the transformed rows as Parquet with one flat column for each
feature, and the transform function.

`--check` transforms the rows here and with FeatureKit and compares the two.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio import tensor_adapter

from benchmarks.workloads import DECILES, WORKLOADS, Workload

BATCH = 65_536
"""Rows of a RecordBatch."""
ROW = "row"
"""The number of a row, which only the comparison adds."""


def preprocessing(workload: Workload) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that tf.Transform traces."""

    def preprocess(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = {f"{name}_z": tft.scale_to_z_score(inputs[name]) for name in workload.zscores}
        for name in workload.deciles:
            outputs[f"{name}_decile"] = tft.bucketize(inputs[name], DECILES)
        for name in workload.vocabularies:
            outputs[f"{name}_id"] = tft.compute_and_apply_vocabulary(
                inputs[name], vocab_filename=name
            )
        if ROW in inputs:
            outputs[ROW] = tf.identity(inputs[ROW])
        return outputs

    return preprocess


def to_lists(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Turn each value into a list of one, and each null into an empty list."""
    for batch in table.to_batches(max_chunksize=BATCH):
        columns = []
        for column in batch.columns:
            counts = pc.is_valid(column).to_numpy(zero_copy_only=False)
            offsets = np.zeros(len(column) + 1, np.int64)
            np.cumsum(counts, out=offsets[1:])
            values = column.drop_null()
            if pa.types.is_floating(values.type):
                values = values.cast(pa.float32())
            elif pa.types.is_string(values.type):
                values = values.cast(pa.large_binary())
            columns.append(pa.LargeListArray.from_arrays(offsets, values))
        yield pa.RecordBatch.from_arrays(columns, batch.schema.names)


def to_columns(element: tuple[pa.RecordBatch, Any], order: pa.Schema) -> pa.Table:
    """Turn lists of at most one value back into flat columns."""
    batch, _ = element
    columns = []
    for field in order:
        lists = batch.column(field.name)
        counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        there = counts > 0
        values = np.zeros(len(lists), field.type.to_pandas_dtype())
        values[there] = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
        columns.append(pa.array(values, mask=~there))
    return pa.Table.from_arrays(columns, schema=order)


def adapter(data: Path, columns: list[str]) -> tensor_adapter.TensorAdapterConfig:
    """Say how the lists become tensors: dense where the file holds no null, else sparse."""
    metadata = pq.read_metadata(data)
    schema = pq.read_schema(data)
    nulls = dict.fromkeys(columns, 0)
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema in nulls:
                nulls[chunk.path_in_schema] += chunk.statistics.null_count
    representations = {}
    for name in columns:
        made = schema_pb2.TensorRepresentation()
        if nulls[name]:
            made.varlen_sparse_tensor.column_name = name
        else:
            made.dense_tensor.column_name = name
            made.dense_tensor.shape.SetInParent()
        representations[name] = made
    empty = pa.table({name: pa.array([None], schema.field(name).type) for name in columns})
    (batch,) = to_lists(empty)
    return tensor_adapter.TensorAdapterConfig(batch.schema, representations)


def transform(workload: Workload, data: Path, out: Path, workers: int = 1) -> None:
    """Fit and transform; write `examples*.parquet` and the transform function into a folder."""
    columns = [*workload.columns, *({ROW} & set(pq.read_schema(data).names))]
    config = adapter(data, columns)
    written = pa.schema(
        [(f"{name}_z", pa.float32()) for name in workload.zscores]
        + [(f"{name}_decile", pa.int64()) for name in workload.deciles]
        + [(f"{name}_id", pa.int64()) for name in workload.vocabularies]
        + [(name, pa.int64()) for name in columns if name == ROW]
    )
    mode = {"direct_running_mode": "multi_processing", "direct_num_workers": workers}
    options = PipelineOptions([], **(mode if workers > 1 else {}))
    with (
        tempfile.TemporaryDirectory() as temporary,
        tft_beam.Context(temp_dir=temporary),
        beam.Pipeline(FnApiRunner(), options) as pipeline,
    ):
        tables = pipeline | beam.io.ReadFromParquetBatched(str(data), columns=columns)
        batches = tables | "ToLists" >> beam.FlatMap(to_lists)
        (transformed, _), transform_fn = (
            batches,
            config,
        ) | tft_beam.AnalyzeAndTransformDataset(preprocessing(workload), output_record_batches=True)
        _ = (
            transformed
            | "ToColumns" >> beam.Map(to_columns, written)
            | beam.io.WriteToParquetBatched(
                str(out / "examples"), written, codec="snappy", file_name_suffix=".parquet"
            )
        )
        _ = transform_fn | tft_beam.WriteTransformFn(str(out))


def check(workload: Workload, data: Path) -> None:
    """Compare with FeatureKit, row by row; raise `SystemExit` where they disagree."""
    import polars as pl

    import featurekit as fk
    from benchmarks.cases.featurekit_run import spec

    with tempfile.TemporaryDirectory() as temporary:
        rows, theirs, ours = (Path(temporary) / name for name in ("rows.parquet", "tft", "fk"))
        table = pq.read_table(data)
        table = table.append_column(ROW, pa.array(range(table.num_rows), pa.int64()))
        pq.write_table(table, rows)
        transform(workload, rows, theirs)
        fk.run(spec(workload, rows, (ROW,)), ours, tensorflow=False)
        raw = pl.DataFrame(pl.from_arrow(table))
        left = pl.read_parquet(theirs / "examples*.parquet").sort(ROW)
        right = fk.open_run(ours).examples().to_polars().sort(ROW)
    failed = not left[ROW].equals(right[ROW])
    for name in left.columns:
        column, _, made = name.rpartition("_")
        if made in ("z", "decile"):
            compare = differing_scores if made == "z" else differing_deciles
            message = compare(raw[column].to_numpy(), left[name].to_numpy(), right[name].to_numpy())
        else:
            message = "" if left[name].equals(right[name]) else "FAILED: other codes"
        failed = failed or message.startswith("FAILED")
        print(f"{name:20} {message or 'equal'}")
    if failed:
        raise SystemExit("tf.Transform and FeatureKit disagree")


def differing_scores(raw: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> str:
    """Compare z-scores: missing in the same rows, and equal but for rounding.

    Allowed is 1e-5 relative, and what float32 rounding of x and of the mean makes of a score near
    zero: tf.Transform subtracts in float32, FeatureKit in float64.
    """
    if not np.array_equal(np.isnan(theirs), np.isnan(ours)):
        return "FAILED: missing in other rows"
    there = ~np.isnan(ours)
    values, scores = raw[there], ours[there].astype(np.float64)
    apart = np.abs(theirs[there].astype(np.float64) - scores)
    rounding = np.finfo(np.float32).eps * (1 + abs(values.mean()) / values.std())
    failed = bool((apart > 1e-5 * np.abs(scores) + rounding).any())
    return f"{'FAILED: ' if failed else ''}within {apart.max():.1e} of each other"


def differing_deciles(raw: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> str:
    """Compare deciles: tf.Transform may miss the rank of a boundary by a hundredth of the rows."""
    there = ~np.isnan(raw)
    if np.isnan(theirs[there]).any() or not np.array_equal(np.isnan(theirs), np.isnan(ours)):
        return "FAILED: missing in other rows"
    raw, theirs, ours = raw[there], theirs[there], ours[there]
    worst = 0.0
    for place in range(1, DECILES):
        above = theirs >= place
        # The boundary lies above the largest value below it, and at most at the smallest above.
        least, most = np.mean(~above), np.mean(raw <= raw[above].min(initial=np.inf))
        rank = place / DECILES
        worst = max(worst, least - rank, rank - most)
    differ = np.mean(theirs != ours)
    return (
        f"{'FAILED: ' if worst > 0.01 + 1 / len(raw) else ''}"
        f"ranks within {worst:.4f}; {differ:.2%} of the rows in another decile"
    )


def main() -> None:
    """Run once, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?", help="the folder to write")
    parser.add_argument("--check", action="store_true", help="compare with FeatureKit instead")
    parser.add_argument("--workers", type=int, default=1, help="processes of the runner")
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    if arguments.check:
        check(workload, arguments.data)
    else:
        transform(workload, arguments.data, arguments.out, arguments.workers)


if __name__ == "__main__":
    main()
