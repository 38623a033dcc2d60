"""The analyzer of a level: all its statistics in one Beam transform, whatever their number.

tf.Transform gives it batches of arrays, and binds what it gives to tensors. Numbers are described
column by column into one small part; values are counted by column and by shards of their hash, so
that large vocabularies are merged on many workers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa

from featurekit.engines.beam.cache import Cache, Load, Save
from featurekit.engines.beam.statistics import Counts, Level, Numbers
from featurekit.engines.beam.storage import created
from featurekit.errors import DataError
from featurekit.transforms.base import tf
from featurekit.transforms.statistics import EmptyColumn
from featurekit.transforms.targets import added_up
from featurekit.types import BOOL, INT64, STRING, Kind, Type

__all__ = ["SHARDS", "Analyzer", "Output", "value_key"]

SHARDS = 8
"""Into so many shards the values of a column are dealt to be counted by many workers."""


@dataclass(frozen=True)
class Output:
    """One tensor that an analyzer gives.

    Args:
        kind: `fitted` for all fitted values as text; `moments` (count, mean, variance) of the
            requests at `places`, [requests, 3]; `extremes`, [requests, 2]; `quantiles`, [requests,
            boundaries]; `value` for the most frequent values, [requests]; `counts` for how often
            each word of one request occurs, the most frequent first; `targets` for the matrices of
            one request, [2, parts, categories + 2].
        places: Places among the requests of the level.
    """

    kind: str
    places: tuple[int, ...] = ()


class Analyzer(beam.PTransform):  # type: ignore[misc]
    """Turns batches of arrays into the statistics of a level.

    Args:
        level: The statistics.
        outputs: What to give, each a collection of one array.
        users: The features that use each request, as errors name them.
        shards: Into how many shards values are dealt.
        cache: What is kept of files; the first array of a batch says then which file it is from.
    """

    def __init__(
        self, level: Level, outputs: Sequence[Output], users: Sequence[str], shards: int = 1,
        cache: Cache | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.level, self.outputs, self.users, self.shards = level, outputs, users, shards
        self.cache = cache

    def expand(self, batches: Any) -> Any:
        """Return a collection of one array for each output."""
        pipeline = batches.pipeline
        if self.cache is None:
            numbers, counts = self._described(batches)
        else:
            numbers, counts = self._described_by_file(batches, self.cache)
        made = (
            pipeline
            | beam.Create([0])
            | "Finish"
            >> beam.ParDo(
                _Finish(self.level, self.outputs, self.users),
                beam.pvalue.AsSingleton(numbers, default_value=None)
                if numbers is not None
                else None,
                beam.pvalue.AsList(counts) if counts is not None else [],
            )
        )
        return tuple(
            made | f"Output{place}" >> beam.Map(lambda outputs, place=place: outputs[place])
            for place in range(len(self.outputs))
        )

    def _described(self, batches: Any) -> tuple[Any, Any]:
        """Return what is known of the columns of numbers, and the counts of the others."""
        numbers = counts = None
        if self.level.numbers:
            numbers = batches | "Describe" >> beam.CombineGlobally(_Describe(self.level))
        if self.level.counted or self.level.targets:
            counts = (
                batches
                | "Count" >> beam.ParDo(self._count())
                | "MergeCounts" >> beam.CombinePerKey(_MergeCounts())
            )
        return numbers, counts

    def _count(self) -> _Count:
        types = [node.type for node in self.level.counted]
        targets = [request.node.type for request in self.level.targets]
        return _Count(types, targets, self.level.matrices, self.shards)

    def _described_by_file(self, batches: Any, cache: Cache) -> tuple[Any, Any]:
        """Return the same, file by file: those that are kept are loaded, the others kept."""
        fresh = batches | "NewFiles" >> beam.FlatMap(_of_new_file, cache)
        kept = [
            (file, *part) for file, parts in enumerate(cache.kept) for part in parts or ()
        ]  # fmt: skip
        loaded = (
            batches.pipeline
            | "Kept" >> beam.Create(kept)
            | "SpreadKept" >> beam.Reshuffle()
            | "Load" >> beam.ParDo(Load(cache, self.level.columns))
        )
        numbers = counts = None
        saved = []
        if self.level.numbers:
            described = (
                fresh
                | "Describe" >> beam.CombinePerKey(_Describe(self.level))
                | "NameNumbers" >> beam.MapTuple(lambda file, part: ((file, None), part))
            )
            saved.append(described)
            old = loaded | "KeptNumbers" >> beam.Filter(lambda part: part[0] is None)
            numbers = (
                (described, old)
                | "AllNumbers" >> beam.Flatten()
                | "NumbersAlone" >> beam.Values()
                | "MergeNumbers" >> beam.CombineGlobally(_MergeNumbers(self.level))
            )
        if self.level.counted or self.level.targets:
            counted = (
                fresh
                | "Count" >> beam.ParDo(_CountFile(self._count()))
                | "CountsOfFile" >> beam.CombinePerKey(_MergeCounts())
            )
            saved.append(counted)
            old = loaded | "KeptCounts" >> beam.Filter(lambda part: part[0] is not None)
            new = counted | "WithoutFile" >> beam.MapTuple(lambda key, part: (key[1], part))
            counts = (
                (new, old)
                | "AllCounts" >> beam.Flatten()
                | "MergeCounts" >> beam.CombinePerKey(_MergeCounts())
            )
        _ = (
            tuple(saved)
            | "NewParts" >> beam.Flatten(pipeline=batches.pipeline)
            | "Save" >> beam.ParDo(Save(cache))
            | "Saved" >> beam.combiners.ToList()
            | "SaveNames" >> beam.Map(_report, cache.report)
        )
        return numbers, counts


class _Describe(beam.CombineFn):  # type: ignore[misc]
    """Describes the numbers of batches."""

    def __init__(self, level: Level) -> None:
        self.columns, self.matrices = level.columns, level.matrices

    def create_accumulator(self) -> Any:
        return Numbers(self.columns)

    def add_input(self, part: Numbers, batch: Sequence[Any]) -> Numbers:
        part.add(batch[: self.matrices])
        return part

    def merge_accumulators(self, parts: Iterable[Numbers]) -> Numbers:
        found = iter(parts)
        whole = next(found)
        for part in found:
            whole.merge(part)
        return whole

    def compact(self, part: Numbers) -> Numbers:
        part.compact()
        return part

    def extract_output(self, part: Numbers) -> Numbers:
        return part


def _of_new_file(batch: Sequence[Any], cache: Cache) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield a batch with its file, if nothing is kept of that."""
    file = int(batch[0][0])
    if cache.kept[file] is None:
        yield file, batch[1:]


def _report(saved: list[tuple[int, str, str, int]], path: str) -> None:
    with created(path) as stream:
        stream.write(json.dumps(saved).encode())


class _MergeNumbers(_Describe):
    """Merges what is known of different files."""

    def add_input(self, whole: Numbers, part: Numbers) -> Numbers:  # type: ignore[override]
        whole.merge(part)
        return whole


class _CountFile(beam.DoFn):  # type: ignore[misc]
    """Counts the values of a batch, by its file as well."""

    def __init__(self, count: _Count) -> None:
        self.count = count

    def process(self, keyed: tuple[int, Sequence[Any]]) -> Iterator[Any]:
        file, batch = keyed
        for place, frame in self.count.process(batch):
            yield (file, place), frame


class _Count(beam.DoFn):  # type: ignore[misc]
    """Counts the values of a batch, column by column; then adds the label up by categories."""

    def __init__(
        self, types: Sequence[Type], targets: Sequence[Type], first: int, shards: int
    ) -> None:
        self.types, self.targets, self.first, self.shards = types, targets, first, shards

    def process(self, batch: Sequence[Any]) -> Iterator[tuple[tuple[int, int], pl.DataFrame]]:
        for column, frame in enumerate(self._frames(batch)):
            if self.shards == 1:
                yield (column, 0), frame
                continue
            shard = pl.col("x").hash() % self.shards
            for (number,), part in (
                frame.with_columns(shard=shard)
                .partition_by("shard", as_dict=True, include_key=False)
                .items()
            ):
                yield (column, int(number)), part

    def _frames(self, batch: Sequence[Any]) -> Iterator[pl.DataFrame]:
        arrays = iter(batch[self.first :])
        for of in self.types:
            yield Counts.of(_decoded(next(arrays), of))
        for of in self.targets:
            categories, label, part = (next(arrays) for _ in range(3))
            rows = pl.DataFrame({
                "x": _decoded(categories, of), "label": pl.Series(label),
                "part": _decoded(part, INT64),
            })  # fmt: skip
            yield added_up(rows).collect()


class _MergeCounts(beam.CombineFn):  # type: ignore[misc]
    """Merges counts, many at a time."""

    def create_accumulator(self) -> Any:
        return []

    def add_input(self, parts: list[pl.DataFrame], part: pl.DataFrame) -> list[pl.DataFrame]:
        return self._compact([*parts, part])

    def merge_accumulators(self, found: Iterable[list[pl.DataFrame]]) -> list[pl.DataFrame]:
        return self._compact([part for parts in found for part in parts])

    def extract_output(self, parts: list[pl.DataFrame]) -> pl.DataFrame:
        return Counts.merge(parts)

    def _compact(self, parts: list[pl.DataFrame]) -> list[pl.DataFrame]:
        rows = sum(part.height for part in parts)
        if len(parts) > 64 or rows > max(1 << 20, 2 * parts[0].height):
            return [Counts.merge(parts)]
        return parts


class _Finish(beam.DoFn):  # type: ignore[misc]
    """Turns what is merged into fitted values, and those into arrays."""

    def __init__(self, level: Level, outputs: Sequence[Output], users: Sequence[str]) -> None:
        self.level, self.outputs, self.users = level, outputs, users

    def process(
        self, _: int, numbers: Numbers | None, counts: list[tuple[tuple[int, int], pl.DataFrame]]
    ) -> Iterator[list[Any]]:
        merged: dict[int, list[pl.DataFrame]] = {}
        for (column, _shard), frame in counts:
            merged.setdefault(column, []).append(frame)
        frames = {column: pl.concat(parts) for column, parts in merged.items()}
        fitted, failures = self.level.values(numbers, frames)
        if failures:
            found = "; ".join(
                f"feature {self.users[place]}: {self.level.requests[place].text}: {error}"
                for place, error in failures
            )
            empty = isinstance(failures[0][1], EmptyColumn)
            hint = (
                "fill, correct or leave out the column, or declare it float64 if its numbers are "
            )
            hint += "beyond float32 (3.4e38)"
            raise DataError(found, hint=hint if empty else "")
        yield [self._array(output, fitted) for output in self.outputs]

    def _array(self, output: Output, fitted: Sequence[Any]) -> Any:
        chosen = [fitted[place] for place in output.places]
        match output.kind:
            case "fitted":
                return np.array(json.dumps([asdict(value) for value in fitted]), dtype=object)
            case "moments":
                parts = [(value.count, value.mean, value.variance) for value in chosen]
                return np.array(parts, np.float64)
            case "extremes":
                return np.array([(value.minimum, value.maximum) for value in chosen], np.float64)
            case "value":
                return np.array([value.value for value in chosen])
            case "quantiles":
                return np.array([value.boundaries for value in chosen], np.float64)
            case "counts":
                return np.array(chosen[0].counts, np.int64)
            case "targets":
                return np.stack(chosen[0].matrices())
        raise AssertionError(f"no output is called {output.kind}")


def value_key(values: Any, valid: Any, of: Type) -> Any:
    """Return a tensor from which `_decoded` tells a column's values, and which are null.

    Strings begin with a mark, so that an empty one is not taken for a missing one.
    """
    if of == STRING:
        return tf.where(valid, tf.strings.join(["=", values]), "")
    if of.is_float:
        wide = tf.cast(values, tf.float64)
        return tf.where(
            tf.logical_and(valid, tf.math.is_finite(wide)), wide, tf.constant(math.nan, tf.float64)
        )
    return tf.where(valid, tf.cast(values, tf.int64), tf.constant(_NOTHING, tf.int64))


_NOTHING = -(2**63)


def _decoded(array: Any, of: Type) -> pl.Series:
    """Return the values of `value_key` as a series of the column's type."""
    if of == STRING:
        texts = pl.Series("x", pa.array(array, pa.large_binary()).cast(pa.large_string()))
        return (
            texts.to_frame()
            .select(pl.when(pl.col("x") != "").then(pl.col("x").str.slice(1)))
            .to_series()
        )
    series = pl.Series("x", array)
    if of.is_float:
        dtype = pl.Float32 if of.kind is Kind.FLOAT32 else pl.Float64
        return series.fill_nan(None).cast(dtype)
    series = (
        series.to_frame().select(pl.when(pl.col("x") != _NOTHING).then(pl.col("x"))).to_series()
    )
    return series.cast(pl.Boolean) if of == BOOL else series
