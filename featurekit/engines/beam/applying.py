"""Transforming batches on workers: the row graph of the SavedModel, with frozen statistics."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa

from featurekit.engines.beam.layout import Layout, to_columns
from featurekit.engines.beam.rows import ROW_LABEL, ROW_SPLIT
from featurekit.engines.beam.running import fitted_from
from featurekit.engines.rows import LABEL, SPLIT, TRAIN
from featurekit.engines.stacks import Frozen, column_name, compute
from featurekit.engines.tensorflow import lookup_tables
from featurekit.engines.wire import by_type
from featurekit.errors import EngineError
from featurekit.graph import AggregateNode, ColumnNode, StatisticRequest, cross_fitted, fitted_type
from featurekit.planner import Plan
from featurekit.stand_ins import stand_ins
from featurekit.transforms.base import tf
from featurekit.types import Type

__all__ = ["SAMPLE", "Apply", "Graph", "Transformed", "Typed", "graph_of"]

SAMPLE = "sample"
"""The tag of rows that the parity certificate compares."""
SAMPLED_BATCHES = 8
SAMPLED_ROWS = 512
SAMPLED_STAND_INS, SAMPLED_FIRST = 4, 32
"""So many rows of a batch in which an input holds a value that stands for a missing one."""


class Typed(NamedTuple):
    """Typed rows of one part of the input that follow each other; see `Batch`."""

    part: int
    start: int
    rows: int
    frame: pl.DataFrame


class Transformed(NamedTuple):
    """Examples: keys, features, label; and `split`, the split of each."""

    part: int
    start: int
    rows: int
    table: pa.Table


class Graph:
    """The features of a plan as a traced TensorFlow function over batches.

    Args:
        plan: The plan.
        fitted: Its statistics.
    """

    def __init__(self, plan: Plan, fitted: Mapping[StatisticRequest, Any]) -> None:
        self.plan, self.fitted = plan, fitted
        self.layout = Layout({**plan.serving_inputs, **plan.training_inputs})
        self.cross_fitted = bool(cross_fitted(plan.features.values()))
        self.tables = lookup_tables(plan.features.values(), fitted)
        self.types = {name: fitted_type(node, fitted) for name, node in plan.features.items()}
        # What is no computation stays as it is: NaN that an aggregate has made, which would enter
        # the graph as missing, and the missing elements of a vector.
        self.copied = {
            name: column_name(node)
            for name, node in plan.features.items()
            if isinstance(node, (AggregateNode, ColumnNode))
        }
        computed = {name: of for name, of in self.types.items() if name not in self.copied}
        self.groups: dict[Type, list[str]] = by_type(computed)
        self._call = self._traced()

    def _traced(self) -> Callable[..., Any]:
        signature = [self.layout.signature(), tf.TensorSpec([None], tf.bool)]

        @tf.function(input_signature=signature, autograph=False)
        def call(tensors: Mapping[str, Any], training: Any) -> list[tuple[Any, Any]]:
            stacks, rows = self.layout.stacks(tensors), self.layout.rows(tensors)
            frozen = Frozen(self.fitted, self.tables)
            roots = [self.plan.features[name] for names in self.groups.values() for name in names]
            compute(roots, stacks, frozen, rows, training if self.cross_fitted else None)
            return [
                stacks.get([self.plan.features[name] for name in names])
                for names in self.groups.values()
            ]

        return call  # type: ignore[no-any-return]

    def features(
        self, frame: pl.DataFrame, training: pl.Series | None = None
    ) -> dict[str, pa.Array]:
        """Return the features of typed rows, by their names.

        Args:
            frame: The rows.
            training: Which of them are training rows, whose features that see the label are
                cross-fitted; none by default.

        Raises:
            EngineError: TensorFlow fails; names the feature, and the row where it can.
        """
        arrays = {name: tf.constant(array) for name, array in self.layout.arrays(frame).items()}
        try:
            seen = np.zeros(frame.height, bool) if training is None else training.to_numpy()
            stacks = self._call(arrays, tf.constant(seen))
        except tf.errors.OpError as error:
            raise self._blamed(frame, error) from None
        made = {name: frame[column].to_arrow() for name, column in self.copied.items()}
        for (of, names), (values, valid) in zip(self.groups.items(), stacks, strict=True):
            made.update(to_columns(values.numpy(), valid.numpy(), names, of))
        return {name: made[name] for name in self.plan.features}

    def _blamed(self, frame: pl.DataFrame, error: Any) -> EngineError:
        """Find the feature and the first row that TensorFlow fails at, computing them eagerly."""
        for name, node in self.plan.features.items():
            if self._failure(frame, name) is None:
                continue
            row = self._first_failing(frame, name)
            read = [column for column in self.plan.resolved.inputs(node) if column in frame.columns]
            cells = zip(read, frame[row].select(read).row(0), strict=True)
            values = ", ".join(f"{column}={value!r}" for column, value in cells)
            return EngineError(
                f"TensorFlow cannot compute {node.text}: {self._failure(frame[row], name)}",
                where=f"feature {name!r} where {values}",
            )
        return EngineError(f"TensorFlow failed: {_first_line(error)}", where="the row graph")

    def _failure(self, rows: pl.DataFrame, name: str) -> str | None:
        """Return what TensorFlow says when it computes one feature, if it fails."""
        tensors = {key: tf.constant(array) for key, array in self.layout.arrays(rows).items()}
        try:
            stacks, count = self.layout.stacks(tensors), self.layout.rows(tensors)
            frozen = Frozen(self.fitted, self.tables)
            compute([self.plan.features[name]], stacks, frozen, count)
        except tf.errors.OpError as error:
            return _first_line(error)
        return None

    def _first_failing(self, frame: pl.DataFrame, name: str) -> int:
        """Return the first row at which a feature fails, by halves."""
        low, high = 0, frame.height
        while high - low > 1:
            middle = (low + high) // 2
            if self._failure(frame[low:middle], name) is not None:
                high = middle
            else:
                low = middle
        return low


def _first_line(error: Any) -> str:
    return str(error.message).strip().splitlines()[0]


_GRAPHS: dict[str, Graph] = {}
_LOCK = threading.Lock()


def graph_of(plan: Plan, texts: Sequence[str]) -> Graph:
    """Return the graph of a plan; it is traced once in a process."""
    digest = hashlib.sha256(plan.resolved.spec.fingerprint.encode())
    for text in texts:
        digest.update(text.encode())
    key = digest.hexdigest()
    with _LOCK:
        if key not in _GRAPHS:
            _GRAPHS.clear()
            _GRAPHS[key] = Graph(plan, fitted_from(plan, texts))
        return _GRAPHS[key]


class Apply(beam.DoFn):  # type: ignore[misc]
    """Transforms typed rows; some come out under the tag `sample`, with what was made of them.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._graph: Graph | None = None

    def process(self, typed: Typed, texts: Sequence[str]) -> Iterator[Any]:
        """Yield the examples of a batch."""
        # A job has one set of statistics; finding its graph hashes all of them.
        graph = self._graph = self._graph or graph_of(self.plan, texts)
        frame = typed.frame
        if not frame.height:
            yield Transformed(typed.part, typed.start, typed.rows, pa.table({}))
            return
        features = graph.features(frame, frame[ROW_SPLIT] == TRAIN)
        keys = frame.select(pl.col(f"~key {name}").alias(name) for name in self.plan.resolved.keys)
        columns = dict(zip(keys.columns, keys.to_arrow().columns, strict=True)) | features
        if self.plan.resolved.label is not None:
            columns[LABEL] = frame[ROW_LABEL].to_arrow()
        table = pa.table({**columns, SPLIT: frame[ROW_SPLIT].to_arrow()})
        yield Transformed(typed.part, typed.start, typed.rows, table)
        places, first = self._sampled(frame)
        some = frame[places]
        inputs = some.select(list(self.plan.serving_inputs))
        outputs = pl.DataFrame(pl.from_arrow(pa.table(features)))[places]
        if graph.cross_fitted:
            # Serving sees all labels, and examples of the train split do not.
            outputs = pl.DataFrame(pl.from_arrow(pa.table(graph.features(some))))
        order = (not first, zlib.crc32(f"{typed.part} {typed.start}".encode()))
        yield beam.pvalue.TaggedOutput(SAMPLE, (order, typed.part, typed.start, inputs, outputs))

    def _sampled(self, frame: pl.DataFrame) -> tuple[list[int], bool]:
        """Return the rows to sample, and whether some have values that stand for missing ones.

        Those come first.
        """
        flags = stand_ins(self.plan.serving_inputs).values()
        wanted = [flag & (flag.cum_sum() <= SAMPLED_STAND_INS) for flag in flags]
        first = frame.select(pl.any_horizontal(pl.lit(False), *wanted).arg_true()).to_series()
        step = max(frame.height // SAMPLED_ROWS, 1)
        every = range(0, frame.height, step)
        places = list(dict.fromkeys([*first.to_list()[:SAMPLED_FIRST], *every]))
        return places[:SAMPLED_ROWS], not first.is_empty()
