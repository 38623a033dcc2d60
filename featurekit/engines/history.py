"""Aggregations over past rows in the embedded engine: Polars reads and types, NumPy does windows.

For each key that examples are looked up by, events and examples are read in parts of bounded size,
by a hash of the key; all windows of a part are answered together (`featurekit.engines.timeline`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from threading import Lock
from typing import Any

import polars as pl

from featurekit.engines.rows import check_rows, computed_rows
from featurekit.engines.timeline import AT, ROW, Part, Result
from featurekit.engines.timing import Stopwatch
from featurekit.graph import AggregateNode, Node, past_reads
from featurekit.scratch import process_folder
from featurekit.sources import Table, polars_errors
from featurekit.spec.objects import Source, Spec
from featurekit.transforms.base import polars_dtype

__all__ = ["compute", "keys_before", "with_columns"]

_PART = 2_000_000
"""About so many events and examples are a part of the work; those of one key stay together."""
_ALONE = 500_000
"""Fewer are not worth a second reading."""
_READINGS = 6
"""In at most so many parts the rows are read again for each; those of more are written apart."""
_RESULTS = 1 << 27
"""At most so many results are in memory before they are written to a file."""


def with_columns(table: Table, nodes: Sequence[AggregateNode], columns: pl.LazyFrame) -> Table:
    """Return the examples' table with the columns of its aggregates, in the place of its own.

    Args:
        table: The examples, as they are stored.
        nodes: The aggregates.
        columns: Their values, named as features write them, a row for each example.
    """
    own = table.frame.drop([node.text for node in nodes if node.text in table.schema])
    schema = {**table.schema, **{node.text: polars_dtype(node.type) for node in nodes}}
    # Nobody needs to count the fields of its files again.
    frame = pl.concat([own, columns], how="horizontal")
    return replace(table, frame=frame, schema=schema, format=None)


def compute(
    nodes: Sequence[AggregateNode],
    spec: Spec,
    table: Table,
    sources: Mapping[str, Table],
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
    declared: Source | None = None,
    watch: Stopwatch | None = None,
    undecided: dict[str, int] | None = None,
) -> pl.LazyFrame:
    """Return a column for each aggregate, named as features write it, a row for each example.

    Args:
        nodes: The aggregates.
        spec: The spec.
        table: The examples, as they are stored.
        sources: The opened tables of past rows, by source.
        folder: Where results may be written that are too many for memory; without it all are held.
            Very many rows are also put there while they are worked on, or where the system keeps
            temporary files.
        progress: Told what is being done.
        declared: How the examples' columns are to be read; by default as those of the spec's
            examples.
        watch: Counts how long each aggregate takes.
        undecided: Filled with the lookups over time that found rows which took effect and happened
            at once and differ: for how many examples, by the lookup's name.

    Raises:
        DataError: A source cannot be read or breaks a check, or a lookup finds several rows.
    """
    declared = declared or spec.sources[spec.examples.source]
    watch = watch or Stopwatch()
    with watch.of(nodes):
        table.refuse_ragged()
        check_rows(table, declared, [asked for node in nodes for asked in node.asked])
    by_source: dict[str, list[AggregateNode]] = {}
    for node in nodes:
        by_source.setdefault(node.aggregate.history.source, []).append(node)
    for name, over in by_source.items():
        read = past_reads(over)
        with watch.of(over):
            if name != table.name:
                sources[name].refuse_ragged()
            check_rows(sources[name].past or sources[name], spec.sources[name], read)
    rows = table.height
    frames: list[pl.LazyFrame] = []
    spilling = folder is not None and rows * len(nodes) > _RESULTS
    alike = list(_groups(nodes, max(1, _RESULTS // rows) if spilling else len(nodes)))

    def made_group(nodes: Sequence[AggregateNode]) -> _Group:
        name = nodes[0].aggregate.history.source
        past = sources[name].past or sources[name]
        return _Group(nodes, table, declared, past, spec.sources[name], rows, watch)

    # What is written to a file is done alone, so that only its results are in memory.
    for number, several in enumerate([[some] for some in alike] if spilling else [alike]):
        groups = [made_group(some) for some in several]
        made = _results(groups, folder, progress)
        if undecided is not None:
            for name, count in itertools.chain(*(group.undecided.items() for group in groups)):
                # Groups with other outputs of the same lookup have looked at the same rows.
                if count:
                    undecided[name] = max(count, undecided.get(name, 0))
        if folder is not None and spilling:
            path = folder / f"aggregates-{number}.parquet"
            with polars_errors(str(folder), writing=True):
                made.write_parquet(path, compression="uncompressed")
            frames.append(pl.scan_parquet(path, glob=False))
        else:
            frames.append(made.lazy())
    return pl.concat(frames, how="horizontal").select(node.text for node in nodes)


def _results(
    groups: Sequence[_Group], folder: Path | None, progress: Callable[[str], None]
) -> pl.DataFrame:
    """Return the values of groups of aggregates, a row for each example."""
    workers = pl.thread_pool_size()
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:

        def new_folder() -> Path:
            with polars_errors(str(folder or gettempdir()), writing=True):
                within = folder or process_folder()
                return Path(stack.enter_context(TemporaryDirectory(dir=within)))

        tasks: list[Callable[[], None]] = []
        for group in groups:
            progress(group.described)
            tasks += group.tasks(workers if len(groups) == 1 else 1, new_folder)
        for _ in pool.map(lambda task: task(), tasks):
            pass
    return pl.concat([group.results() for group in groups], how="horizontal")


def keys_before(
    nodes: Sequence[AggregateNode], names: Sequence[str], spec: Spec, past: Table, before: datetime
) -> pl.DataFrame:
    """Return the keys of which a row had taken effect before a time, in order.

    Args:
        nodes: Aggregates over one source by one key.
        names: What the columns of the key are called in the result.
        spec: The spec.
        past: The opened table of past rows.
        before: The time.

    Raises:
        DataError: The source cannot be read or breaks a check.
    """
    read: dict[str, Node] = dict(zip(names, nodes[0].aggregate.history.keys, strict=True))
    times: dict[Node, str] = {}
    for node in nodes:
        for time in node.aggregate.history.effect:
            times.setdefault(time, f"~time{len(times)}")
    outputs = read | {name: time for time, name in times.items()}
    check_rows(past, spec.sources[past.name], outputs.values())
    rows = computed_rows(past, spec.sources[past.name], outputs)
    counts = pl.lit(False)
    for history in {node.aggregate.history for node in nodes}:
        known = (pl.col(times[time]) < before for time in history.effect)
        counts |= pl.all_horizontal(pl.lit(True), *known)
    present = pl.all_horizontal(pl.lit(True), *(pl.col(name).is_not_null() for name in names))
    with polars_errors(f"source {past.name!r}"):
        return (
            rows.filter(counts & present).select(names).unique().sort(names)
            .collect(engine="streaming")
        )  # fmt: skip


def _groups(nodes: Sequence[AggregateNode], most: int) -> Iterator[list[AggregateNode]]:
    """Yield the aggregates in groups of one source and key, of at most so many."""
    found: dict[Any, list[AggregateNode]] = {}
    for node in nodes:
        history = node.aggregate.history
        found.setdefault((history.source, history.keys, node.asked), []).append(node)
    for group in found.values():
        # What is sorted alike and summarises the same values stays together.
        group.sort(key=_reading)
        for start in range(0, len(group), most):
            yield group[start : start + most]


def _reading(node: AggregateNode) -> tuple[str, ...]:
    aggregate = node.aggregate
    parts = [*aggregate.history.effect, *aggregate.values]
    return tuple(part.fingerprint for part in parts)


class _Group:
    """Aggregates over one source, looked up by one key at one time."""

    def __init__(
        self, nodes: Sequence[AggregateNode], table: Table, declared: Source, past: Table,
        source: Source, rows: int, watch: Stopwatch,
    ) -> None:  # fmt: skip
        self.nodes, self.table, self.past, self.rows, self.watch = nodes, table, past, rows, watch
        self.declared, self.source = declared, source
        self.filled = [Result(node, rows) for node in nodes]
        self.undecided: Counter[str] = Counter()
        self.lock = Lock()
        first = nodes[0]
        self.keys = [f"~key{place}" for place in range(len(first.keys))]
        self.asked = dict(zip(self.keys, first.keys, strict=True))
        if first.at is not None:
            self.asked[AT] = first.at
        read_apart = past_reads(nodes, keys=False)
        self.columns = {part: f"~value{place}" for place, part in enumerate(read_apart)}
        read = dict(zip(self.keys, first.aggregate.history.keys, strict=True))
        self.read = {**read, **{name: node for node, name in self.columns.items()}}

    @property
    def described(self) -> str:
        """What it does, for the progress."""
        by = ", ".join(key.text for key in self.nodes[0].aggregate.history.keys) or "all rows"
        return f"past rows of {self.past.name!r} by {by}: {len(self.nodes)} values an example"

    def tasks(self, workers: int, new_folder: Callable[[], Path]) -> list[Callable[[], None]]:
        """Return the work as parts that may be done side by side.

        Args:
            workers: In at least so many parts the work is cut if it is worth it.
            new_folder: Makes an empty folder for the rows of many parts, kept until all is done.
        """
        examples = computed_rows(self.table, self.declared, self.asked).with_row_index(ROW)
        events = computed_rows(self.past, self.source, self.read)
        for name in self.asked:
            examples = examples.filter(pl.col(name).is_not_null())
        for name in self.keys:
            events = events.filter(pl.col(name).is_not_null())
        parts = self._parts(workers)
        with self.watch.of(self.nodes):
            taken = self._apart(self.past.name, events, parts, new_folder)
            asking = self._apart(self.table.name, examples, parts, new_folder)

        def task(number: int) -> None:
            with self.watch.of(self.nodes):
                with polars_errors(f"source {self.past.name!r}"):
                    some = taken(number).collect(engine="streaming")
                with polars_errors(f"source {self.table.name!r}"):
                    asked = asking(number).collect(engine="streaming")
                part = Part(some, asked, self.keys, self.columns, self.watch)
                undecided = part.compute(self.filled)
                with self.lock:
                    self.undecided += undecided

        return [partial(task, number) for number in range(parts)]

    def _apart(
        self, source: str, rows: pl.LazyFrame, parts: int, new_folder: Callable[[], Path]
    ) -> Callable[[int], pl.LazyFrame]:
        """Return how to read the rows of a part; those of many are written to files of their own.

        To read all rows again for each part would take time that grows with their square.
        """
        if parts == 1:
            return lambda _: rows
        one = len(self.keys) == 1  # The hash of a single column is made faster.
        part = (pl.col(self.keys[0]) if one else pl.struct(self.keys)).hash(0) % parts
        if parts <= _READINGS:
            return lambda number: rows.filter(part == number)
        folder = new_folder()
        files = pl.PartitionBy(
            folder, key={"part": part}, include_key=False, approximate_bytes_per_file=None
        )
        with polars_errors(f"source {source!r}", writing=True):
            rows.sink_parquet(files, mkdir=True, compression="uncompressed")

        def read(number: int) -> pl.LazyFrame:
            found = sorted((folder / f"part={number}").glob("*.parquet"))
            if not found:
                return rows.clear()
            return pl.scan_parquet(found, glob=False, hive_partitioning=False)

        return read

    def results(self) -> pl.DataFrame:
        """Return the aggregates' values, a row for each example, once all parts are done."""
        columns = []
        for result in self.filled:
            with self.watch.of([result.node]):
                columns.append(result.series())
        return pl.DataFrame(columns)

    def _parts(self, workers: int) -> int:
        """Return in how many parts of the keys the rows are worked on."""
        if not self.keys:
            return 1
        rows = self.past.height + self.rows
        return max(-(-rows // _PART), workers if rows > _ALONE else 1)
