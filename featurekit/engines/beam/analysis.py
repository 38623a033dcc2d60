"""Fitting the statistics of a plan with tf.Transform, over batches of typed training rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import polars as pl
import tensorflow_transform.beam as tft_beam
from apache_beam.metrics import Metrics

from featurekit.engines.beam.applying import Typed
from featurekit.engines.beam.cache import Cache
from featurekit.engines.beam.layout import Layout
from featurekit.engines.beam.preprocessing import FITTED, statistics_fn
from featurekit.engines.beam.rows import NAMESPACE, ROW_SPLIT
from featurekit.engines.rows import TRAIN
from featurekit.engines.stacks import column_name
from featurekit.graph import AggregateNode, ColumnNode, topological
from featurekit.planner import Plan
from featurekit.transforms.base import tf

__all__ = ["Analyze"]


class Analyze(beam.PTransform):  # type: ignore[misc]
    """Turns typed rows into the fitted statistics: one list with a text for each level.

    Args:
        plan: The plan.
        folder: Where tf.Transform may keep files that only the job needs.
        shards: Into how many shards values are dealt to be counted.
        cache: What is kept of the first level, file by file.
        files: The file of each part of the input, for the cache.
    """

    def __init__(
        self, plan: Plan, folder: str, shards: int = 1, cache: Cache | None = None,
        files: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.plan, self.folder, self.shards = plan, folder, shards
        self.cache, self.files = cache, tuple(files)

    def expand(self, typed: Any) -> Any:
        """Return a collection of one list."""
        if not self.plan.levels:
            return typed.pipeline | "NothingToFit" >> beam.Create([[]])
        layout = Layout(_columns(self.plan), with_file=self.cache is not None)
        batches = typed | "TrainingRows" >> beam.ParDo(_Training(layout, self.files))
        with tft_beam.Context(temp_dir=self.folder):
            model, _ = (batches, layout.adapter()) | "Fit" >> tft_beam.AnalyzeDataset(
                statistics_fn(self.plan, layout, self.shards, self.cache)
            )
        return model | "ReadStatistics" >> beam.Map(_texts, layout, len(self.plan.levels))


def _columns(plan: Plan) -> dict[str, Any]:
    """Return the columns that statistics read, with their types."""
    roots = [node for request in plan.statistics for node in request.nodes]
    nodes = topological(roots, training=True)
    return {
        column_name(node): node.type
        for node in nodes if isinstance(node, (ColumnNode, AggregateNode))
    }  # fmt: skip


class _Training(beam.DoFn):  # type: ignore[misc]
    """Picks the rows of the train split, as tf.Transform takes them."""

    def __init__(self, layout: Layout, files: Sequence[int] = ()) -> None:
        self.layout, self.files = layout, files
        self._described = Metrics.counter(NAMESPACE, "rows_described")

    def process(self, typed: Typed) -> Iterator[Any]:
        rows = typed.frame.filter(pl.col(ROW_SPLIT) == TRAIN)
        if rows.height:
            self._described.inc(rows.height)
            yield self.layout.to_arrow(rows, self.files[typed.part] if self.files else 0)


def _texts(model: str, layout: Layout, levels: int) -> list[str]:
    """Return the constants of the graph that tf.Transform made."""
    loaded = tf.saved_model.load(model)
    inputs = {
        name: tf.zeros([1, *spec.shape[1:]], spec.dtype) if spec.dtype != tf.string
        else tf.fill([1, *spec.shape[1:]], "")
        for name, spec in layout.signature().items()
    }  # fmt: skip
    outputs = loaded.transform_fn(inputs)
    return [outputs[FITTED.format(level)].numpy()[0].decode() for level in range(levels)]
