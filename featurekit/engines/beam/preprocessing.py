"""The functions that tf.Transform traces: for the statistics of a run, and for a user's own use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow_transform as tft

from featurekit.engines.beam.analyzers import Analyzer, Output, value_key
from featurekit.engines.beam.cache import Cache
from featurekit.engines.beam.layout import FILE, Layout
from featurekit.engines.beam.statistics import Level
from featurekit.engines.stacks import Stacks, compute
from featurekit.engines.wire import as_column, outputs
from featurekit.errors import DataError, UsageError, closest
from featurekit.graph import Node, OperationNode, StatisticRequest, cross_fitted, topological
from featurekit.planner import Plan
from featurekit.transforms.base import FullPassOperation, Masked, tensorflow_dtype, tf
from featurekit.transforms.statistics import (
    Extremes,
    ExtremesValue,
    Moments,
    MomentsValue,
    MostFrequent,
    MostFrequentValue,
    Quantiles,
    QuantilesValue,
    WordCounts,
)
from featurekit.transforms.targets import TargetMeans
from featurekit.types import INT64, STRING, UNKNOWN_WIDTH, Kind, Type

__all__ = ["FITTED", "Analyzed", "features_fn", "statistics_fn"]

FITTED = "fitted_{}"
"""The output of a statistics graph with the fitted values of a level."""


@dataclass(frozen=True)
class _Words:
    """A vocabulary that is going to be fitted: a file of words, and how often each occurs."""

    path: Any
    counts: Any
    file_format: str

    @property
    def size(self) -> Any:
        """How many words are kept."""
        return tf.size(self.counts, tf.int64)

    def table(self, values: Any, unknown: float, dtype: Any) -> _Table:
        """Return what looks strings up; see `word_table`."""
        return _Table(self, values, tf.constant(unknown, dtype))


@dataclass(frozen=True)
class _Table:
    """Looks strings up in a vocabulary that is going to be fitted."""

    words: _Words
    values: Any
    unknown: Any

    def lookup(self, texts: Any) -> Any:
        """Return the value of each string."""
        place = tft.apply_vocabulary(
            texts, self.words.path, default_value=-1, file_format=self.words.file_format
        )
        if self.values is None:
            return tf.where(place < 0, self.unknown, place)
        values = tf.concat([self.values, self.unknown[tf.newaxis]], 0)
        return tf.gather(values, tf.where(place < 0, self.words.size, place))


@dataclass(frozen=True)
class _Means(_Words):
    """Means of the label that are going to be fitted: a file of categories, and the matrices."""

    parts: int
    earlier: bool

    def matrices(self) -> tuple[Any, Any]:
        """Return rows, and sums; see `TargetMeansValue`."""
        rows, sums = tf.unstack(self.counts, 2)
        return rows, sums


class Analyzed:
    """Statistics that tf.Transform is going to fit, as tensors.

    Args:
        plan: The plan.
        requests: The statistics of each level.
        symbolic: Those that the graph itself goes on with.
        shards: Into how many shards values are dealt to be counted.
        cache: What is kept of the first level, file by file.
        file: The tensor that says which file each row is from, for the cache.
    """

    def __init__(
        self,
        plan: Plan,
        requests: Sequence[Sequence[StatisticRequest]],
        symbolic: Sequence[StatisticRequest],
        shards: int = 1,
        cache: Cache | None = None,
        file: Any = None,
    ) -> None:
        self.plan, self.requests, self.shards = plan, requests, shards
        self.cache, self.file = cache, file
        self.symbolic = set(symbolic)
        self.texts: list[Any] = []
        self._found: dict[StatisticRequest, tuple[Any, int]] = {}

    def level(self, number: int, stacks: Stacks) -> None:
        """Add the analyzer of a level, whose inputs are computed."""
        if number >= len(self.requests):
            return
        level = Level(tuple(self.requests[number]))
        cache = self.cache if number == 0 else None
        inputs = [] if cache is None else [self.file]
        if level.numbers:
            floats = [node for node in level.numbers if node.type != INT64]
            inputs += [_floats(floats, stacks)] if floats else []
            whole = [node for node in level.numbers if node.type == INT64]
            inputs += [_integers(whole, stacks)] if whole else []
        inputs += [value_key(*stacks.one(node), node.type) for node in level.counted]
        for request in level.targets:
            categories, label, part = (stacks.one(node) for node in request.nodes)
            inputs += [
                value_key(*categories, STRING),
                tf.where(label.valid, label.values, tf.constant(math.nan, tf.float64)),
                value_key(*part, INT64),
            ]
        wanted = [Output("fitted"), *self._outputs(level)]
        users = [self.plan.users(request) for request in level.requests]
        described = [_described(output, level) for output in wanted]
        dtypes, shapes = zip(*described, strict=True)
        tensors = tft.experimental.ptransform_analyzer(
            inputs,
            Analyzer(level, wanted, users, self.shards, cache),
            dtypes,
            shapes,
            name=f"statistics_{number}",
        )
        self.texts.append(tensors[0])
        for output, tensor in zip(wanted[1:], tensors[1:], strict=True):
            for row, place in enumerate(output.places):
                request = level.requests[place]
                if output.kind == "counts":
                    path = _vocabulary(request, stacks.one(request.node))
                    self._found[request] = _Words(path, tensor, _file_format(request)), 0
                elif isinstance(request.statistic, TargetMeans):
                    statistic, path = request.statistic, _categories(request, stacks)
                    form = _file_format(request)
                    means = _Means(path, tensor, form, statistic.parts, statistic.earlier)
                    self._found[request] = means, 0
                else:
                    self._found[request] = tensor, row

    def _outputs(self, level: Level) -> list[Output]:
        kinds = {Moments: "moments", Extremes: "extremes"}
        grouped: dict[Any, list[int]] = {}
        found = []
        for place, request in enumerate(level.requests):
            if request not in self.symbolic:
                continue
            statistic = request.statistic
            if isinstance(statistic, WordCounts):
                found.append(Output("counts", (place,)))
            elif isinstance(statistic, TargetMeans):
                found.append(Output("targets", (place,)))
            elif isinstance(statistic, Quantiles):
                grouped.setdefault(("quantiles", statistic), []).append(place)
            elif isinstance(statistic, MostFrequent):
                grouped.setdefault(("value", request.node.type), []).append(place)
            else:
                grouped.setdefault((kinds[type(statistic)], None), []).append(place)
        return found + [Output(kind, tuple(places)) for (kind, _), places in grouped.items()]

    def stacked(self, nodes: Sequence[OperationNode]) -> list[Any]:
        """Return the values of all nodes as one, for each statistic."""
        columns = zip(*(node.statistics for node in nodes), strict=True)
        return [self._stacked(column) for column in columns]

    def _stacked(self, requests: Sequence[StatisticRequest]) -> Any:
        statistic = requests[0].statistic
        if statistic.of_words:
            return self._found[requests[0]][0]
        whole = self._found[requests[0]][0]
        rows = tf.gather(whole, [self._found[request][1] for request in requests])
        match statistic:
            case Moments():
                return MomentsValue(rows[:, 0:1], rows[:, 1:2], rows[:, 2:3])
            case Extremes():
                return ExtremesValue(rows[:, 0:1], rows[:, 1:2])
            case Quantiles():
                return QuantilesValue(0, rows)
        return MostFrequentValue(rows[:, tf.newaxis], 0)

    def resource(self, node: OperationNode) -> Any:
        """Return what looks words up, or `None`."""
        for request in node.statistics:
            if request.statistic.of_words:
                operation = node.operation
                assert isinstance(operation, FullPassOperation)
                types = [entry.type for entry in node.sources]
                return operation.tensorflow_resource(types, [self._found[request][0]])
        return None


def _integers(nodes: Sequence[Node], stacks: Stacks) -> Any:
    """Return columns as int64 [batch, columns]; the smallest there is for what is missing."""
    values, valid = stacks.get(nodes)
    return tf.transpose(tf.where(valid, values, tf.int64.min))


def _floats(nodes: Sequence[Node], stacks: Stacks) -> Any:
    """Return columns as float64 [batch, columns]; NaN for what is missing."""
    by_type: dict[Any, list[Node]] = {}
    for node in nodes:
        by_type.setdefault(node.type, []).append(node)
    made = []
    missing = tf.constant(math.nan, tf.float64)
    for members in by_type.values():
        values, valid = stacks.get(members)
        made.append(tf.where(valid, tf.cast(values, tf.float64), missing))
    order = [node for members in by_type.values() for node in members]
    whole = tf.concat(made, axis=0)
    places = [order.index(node) for node in nodes]
    if places != list(range(len(nodes))):
        whole = tf.gather(whole, places)
    return tf.transpose(whole)


def _vocabulary(request: StatisticRequest, column: Masked) -> Any:
    """Return the path of the file of words that tf.Transform is going to write."""
    statistic = request.statistic
    assert isinstance(statistic, WordCounts)
    return tft.vocabulary(
        tf.boolean_mask(column.values, column.valid), top_k=statistic.top_k,
        frequency_threshold=statistic.frequency_threshold or None,
        file_format=_file_format(request),
    )  # fmt: skip


def _file_format(request: StatisticRequest) -> str:
    """Return the format of files of words: only some can hold every text."""
    statistic = request.statistic
    every = statistic.every if isinstance(statistic, WordCounts) else True
    return "tfrecord_gzip" if every else "text"


def _categories(request: StatisticRequest, stacks: Stacks) -> Any:
    """Return the path of the file of categories, in the order of the fitted value."""
    categories, label = (stacks.one(node) for node in request.nodes[:2])
    counts = tf.logical_and(label.valid, tf.math.is_finite(label.values))
    seen = tf.logical_and(categories.valid, counts)
    words = tf.boolean_mask(categories.values, seen)
    return tft.vocabulary(words, file_format=_file_format(request))


def _described(output: Output, level: Level) -> tuple[Any, list[int | None]]:
    """Return the data type and the shape of an output."""
    rows = len(output.places)
    match output.kind:
        case "fitted":
            return tf.string, []
        case "moments":
            return tf.float64, [rows, 3]
        case "extremes":
            return tf.float64, [rows, 2]
        case "quantiles":
            statistic = level.requests[output.places[0]].statistic
            assert isinstance(statistic, Quantiles)
            return tf.float64, [rows, statistic.parts - 1]
        case "counts":
            return tf.int64, [None]
        case "targets":
            statistic = level.requests[output.places[0]].statistic
            assert isinstance(statistic, TargetMeans)
            return tf.float64, [2, statistic.parts, None]
    of = level.requests[output.places[0]].node.type
    return tf.string if of == STRING else tensorflow_dtype(of), [rows]


def statistics_fn(
    plan: Plan, layout: Layout, shards: int = 1, cache: Cache | None = None
) -> Callable[..., dict[str, Any]]:
    """Return a function for tf.Transform that fits all statistics of a plan.

    Its outputs hold the fitted values of each level as text, the same in every row.

    Args:
        plan: The plan.
        layout: How the columns of the batches travel.
        shards: Into how many shards values are dealt to be counted.
        cache: What is kept of the first level, file by file.
    """
    roots = [node for request in plan.statistics for node in request.nodes]
    below = {
        request
        for node in topological(roots, training=True)
        if isinstance(node, OperationNode)
        for request in node.statistics
    }

    def fit(inputs: Mapping[str, Any]) -> dict[str, Any]:
        stacks, rows = layout.stacks(inputs), layout.rows(inputs)
        analyzed = Analyzed(plan, plan.levels, tuple(below), shards, cache, inputs.get(FILE))
        compute(roots, stacks, analyzed, rows, tf.ones([rows], tf.bool))
        for number in range(len(analyzed.texts), len(plan.levels)):
            analyzed.level(number, stacks)
        return {
            FITTED.format(number): tf.fill([rows], text)
            for number, text in enumerate(analyzed.texts)
        }

    return fit


def features_fn(plan: Plan) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function for tf.Transform that computes all features of a plan.

    Args:
        plan: The plan.

    Raises:
        UsageError: A feature cannot be an output of tf.Transform.
    """
    _refuse_outputs(plan)

    def preprocess(inputs: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[Type, dict[str, Masked]] = {}
        for name, of in plan.serving_inputs.items():
            given = inputs.get(name, inputs.get(plan.input_names[name]))
            if given is None:
                raise DataError(
                    f"the inputs have no column {name!r}", where="preprocessing_fn",
                    hint=closest(name, inputs),
                )  # fmt: skip
            found.setdefault(of, {})[name] = _column(name, given, of)
        stacks = Stacks()
        for columns in found.values():
            values, valid = zip(*columns.values(), strict=True)
            stacks.put(list(columns), Masked(tf.stack(values), tf.stack(valid)))
        rows = tf.shape(next(iter(next(iter(found.values())).values())).valid)[0]
        analyzed = Analyzed(plan, plan.levels, plan.statistics)
        compute(plan.features.values(), stacks, analyzed, rows)
        return outputs(plan.features, stacks)

    return preprocess


def _refuse_outputs(plan: Plan) -> None:
    for name, node in plan.features.items():
        if cross_fitted([node]):
            raise UsageError(
                f"feature {name!r} sees the label, and tf.Transform computes all rows alike: a "
                "training row would see its own label",
                hint="featurekit run, or fk.beam.Transform",
            )
        if node.type.kind is Kind.FLOAT64:
            raise UsageError(
                f"feature {name!r} is float64, and tf.Transform gives float32",
                hint=f"{name}: cast({node.text}, 'float32')",
            )
        if node.type.width == UNKNOWN_WIDTH:
            raise UsageError(
                f"feature {name!r} is a vector as wide as a vocabulary, which tf.Transform does "
                "not know before it has seen the data",
                hint="leave vocabulary(x) as it is, and embed or one-hot it in the model",
            )


def _column(name: str, given: Any, of: Type) -> Masked:
    """Return an input as a column; see `as_column`."""
    try:
        return as_column(given, of)
    except ValueError:
        width = 1 if of.width is None else of.width
        raise DataError(
            f"the input {name!r} has shape {given.shape.as_list()}",
            where="preprocessing_fn",
            hint=f"give it dense, of shape [batch, {width}]{' or [batch]' * (width == 1)}, or "
            "sparse or ragged",
        ) from None
