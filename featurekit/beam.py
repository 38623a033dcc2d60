"""Features inside of your own Apache Beam and tf.Transform pipelines.

`Transform` is a PTransform: rows in, examples and the transform function out. `preprocessing_fn`
is what a plain tf.Transform pipeline, or TFX's Transform component, asks for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from featurekit.errors import require

require("apache_beam", "beam", "a Beam pipeline")
require("tensorflow_transform", "beam", "a Beam pipeline")

import apache_beam as beam  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
from apache_beam.transforms.window import GlobalWindow  # noqa: E402
from apache_beam.utils.windowed_value import WindowedValue  # noqa: E402

from featurekit.engines.beam.analysis import Analyze  # noqa: E402
from featurekit.engines.beam.applying import SAMPLE, Apply  # noqa: E402
from featurekit.engines.beam.pipeline import MakeTyped  # noqa: E402
from featurekit.engines.beam.preprocessing import features_fn  # noqa: E402
from featurekit.engines.beam.reading import BAD, batch_rows  # noqa: E402
from featurekit.engines.beam.rows import BadRow, Batch  # noqa: E402
from featurekit.engines.beam.running import fitted_from  # noqa: E402
from featurekit.engines.schemas import output_schema  # noqa: E402
from featurekit.engines.tensorflow import save  # noqa: E402
from featurekit.job import check  # noqa: E402
from featurekit.planner import Plan, make_plan  # noqa: E402
from featurekit.spec.objects import FrozenMapping, Spec  # noqa: E402

__all__ = ["Result", "Transform", "preprocessing_fn"]


class Result(NamedTuple):
    """What `Transform` gives.

    Args:
        examples: Arrow tables: keys, features, `label` and `split`.
        transform_fn: The transform function, for `tft_beam.WriteTransformFn`.
        bad_rows: Rows that were set aside, as JSON text with their reasons.
    """

    examples: Any
    transform_fn: Any
    bad_rows: Any


class Transform(beam.PTransform):  # type: ignore[misc]
    """Fits the statistics of a spec on the training rows, and transforms all rows.

    Rows are Arrow record batches or tables, as `beam.io.ReadFromParquetBatched` gives them, or
    dictionaries, which are slower. Aggregates of the past enter as columns such as
    `tail.delay_mean_7d`.

    Args:
        spec: The spec, or the path of its file. The types of its columns are those that it
            declares, or those of its data where that can be opened.
        temp_dir: A folder that all workers can reach, for what the pipeline needs while it runs;
            by default one on this machine.
        max_bad_rows: So many rows of a batch may break the spec before the pipeline fails.

    Returns:
        A `Result`.

    Raises:
        SpecErrors: The spec has problems.
        DataError: The data whose types are needed cannot be read; in the pipeline: a row breaks
            the spec, or a statistic has no value.

    Example:
        ```python
        with beam.Pipeline() as pipeline:
            rows = pipeline | beam.io.ReadFromParquetBatched("rows.parquet")
            made = rows | fk.beam.Transform("spec.yaml")
            made.examples | beam.Map(print)
            made.transform_fn | tft_beam.WriteTransformFn("out")
        ```
    """

    def __init__(
        self, spec: Spec | str | Path, *, temp_dir: str | None = None, max_bad_rows: int = 0
    ) -> None:
        super().__init__()
        self.plan = _plan(spec)
        self.temp_dir, self.max_bad_rows = temp_dir, max_bad_rows

    def expand(self, rows: Any) -> Result:
        """Add the steps to the pipeline."""
        plan, folder = self.plan, self.temp_dir or tempfile.mkdtemp(prefix="featurekit-")
        typing = MakeTyped(plan, None, self.max_bad_rows, counted=True)
        made = (
            rows
            | "Batch" >> beam.ParDo(_Batches())
            | "Type" >> beam.ParDo(typing).with_outputs(BAD, "tally", main="typed")
        )
        fitted = made["typed"] | Analyze(plan, folder)
        applied = made["typed"] | "Transform" >> beam.ParDo(
            Apply(plan), beam.pvalue.AsSingleton(fitted)
        ).with_outputs(SAMPLE, main="examples")
        bad = made[BAD] | "BadRows" >> beam.Map(_bad_text)
        examples = applied["examples"] | "Tables" >> beam.FlatMap(
            lambda batch: [batch.table] if batch.table.num_rows else []
        )
        return Result(examples, _transform_fn(plan, fitted, folder), bad)


def preprocessing_fn(
    spec: Spec | str | Path,
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return the preprocessing function of a spec, for tf.Transform and TFX.

    Its inputs are the columns that the features read, under their own names or those of the
    signatures (`tail_delay_mean_7d`): dense, of shape [batch] or [batch, 1], sparse or ragged.
    What is absent in a sparse or ragged one is missing. As in `serving_default`, NaN, the empty
    string and the smallest integer stand for a missing value in dense inputs and in outputs.
    Statistics of a level are fitted by one analyzer, vocabularies by one each.

    Args:
        spec: The spec, or the path of its file.

    Returns:
        A function from a dictionary of tensors to a dictionary of the features.

    Raises:
        SpecErrors: The spec has problems.
        UsageError: A feature cannot be an output of tf.Transform: float64, or a vector as wide as
            a vocabulary.

    Example:
        ```python
        (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(fk.beam.preprocessing_fn(spec))
        ```
    """
    return features_fn(_plan(spec))


def _plan(spec: Spec | str | Path) -> Plan:
    """Return a plan that travels to workers: without any data."""
    resolved = check(spec)
    sources = {name: replace(source, data=None) for name, source in resolved.spec.sources.items()}
    bare = replace(resolved.spec, sources=FrozenMapping(sources))
    return make_plan(replace(resolved, spec=bare), "beam")


class _Batches(beam.DoFn):  # type: ignore[misc]
    """Makes batches of what rows come as."""

    def start_bundle(self) -> None:
        self._rows: list[Mapping[str, Any]] = []

    def process(self, element: Any) -> Iterator[Batch]:
        if isinstance(element, Mapping):
            self._rows.append(element)
            if len(self._rows) >= batch_rows(len(element)):
                yield self._flushed()
            return
        table = element
        if isinstance(element, pa.RecordBatch):
            table = pa.Table.from_batches([element])
        size = batch_rows(table.num_columns)
        for start in range(0, table.num_rows, size):
            part = table.slice(start, size)
            yield Batch(0, start, part.num_rows, part)

    def finish_bundle(self) -> Iterator[Any]:
        if self._rows:
            yield WindowedValue(self._flushed(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def _flushed(self) -> Batch:
        frame = pl.DataFrame(self._rows, infer_schema_length=None)
        self._rows = []
        return Batch(0, 0, frame.height, frame.to_arrow())


def _bad_text(row: BadRow) -> str:
    return row.to_json("")


def _transform_fn(plan: Plan, fitted: Any, folder: str) -> Any:
    """Return the transform function as tf.Transform hands it on: a model, and its schema."""
    from tensorflow_transform.beam.tft_beam_io.beam_metadata_io import BeamDatasetMetadata
    from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata

    model = fitted | "SaveModel" >> beam.Map(_saved, plan, folder)
    deferred = fitted | "Schema" >> beam.Map(_metadata, plan)
    return model, BeamDatasetMetadata(DatasetMetadata({}), deferred, {})


def _saved(texts: Sequence[str], plan: Plan, folder: str) -> str:
    """Write the SavedModel, and return its folder."""
    from apache_beam.io.filesystems import FileSystems

    here = Path(tempfile.mkdtemp(prefix="featurekit-"))
    save(plan, fitted_from(plan, texts), here)
    if "://" not in folder:
        return str(here / "transform_fn")
    target = FileSystems.join(folder, here.name)
    for path in sorted(here.rglob("*")):
        if path.is_file():
            with FileSystems.create(
                FileSystems.join(target, *path.relative_to(here).parts)
            ) as file:
                file.write(path.read_bytes())
    shutil.rmtree(here)
    return str(FileSystems.join(target, "transform_fn"))


def _metadata(texts: Sequence[str], plan: Plan) -> Any:
    from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata

    return DatasetMetadata(output_schema(plan, fitted_from(plan, texts)))
