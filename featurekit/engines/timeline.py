"""Past rows as a timeline, and what examples see of it: windows are spans of places.

The events of a part are sorted once for each meaning of "took effect"; a window of an example is
then a span of places, and all windows of all aggregations over the same values are answered
together (see `featurekit.transforms.windows`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.engines.timing import Stopwatch
from featurekit.errors import DataError
from featurekit.graph import AggregateNode, History, Node
from featurekit.transforms.base import AggregateOperation, polars_dtype
from featurekit.transforms.windows import Places, Spans, Values
from featurekit.types import BOOL, STRING, Kind, Type

__all__ = ["AT", "ROW", "Part", "Result"]

ROW = "~row"
"""The column with the place of an example among all."""
AT = "~at"
"""The column with the time of its prediction."""
_BEFORE_ALL = np.iinfo(np.int64).min // 4
_LONGEST = 1 << 61
"""A window that is longer holds no other rows: this is longer than all years that are allowed."""

Array = npt.NDArray[Any]


@dataclass
class Result:
    """The values of one output, filled in for the examples of each part, in any order."""

    node: AggregateNode
    rows: int

    def __post_init__(self) -> None:
        of, operation = self.node.type, self.node.aggregate.operation
        shape = (self.rows,) if of.width is None else (self.rows, of.width)
        self.dtype = _numpy_dtype(of)
        self.values: Array = np.zeros(shape, self.dtype)
        if operation.empty is not None:
            self.values[:] = operation.empty
        self.valid = np.full(shape, operation.empty is not None)
        self.words: list[pl.Series] = []
        self.lock = Lock()

    def put(self, rows: Places, found: Any, words: pl.Series | None) -> None:
        """Take the values of some examples; those that are strings are codes of words."""
        if words is not None and self.node.type.kind is Kind.STRING:
            with self.lock:
                found = found + sum(map(len, self.words))
                self.words.append(words)
        with np.errstate(over="ignore", invalid="ignore"):
            self.values[rows] = np.ma.getdata(found).astype(self.dtype, copy=False)
        self.valid[rows] = ~np.ma.getmaskarray(found) if np.ma.isMA(found) else True

    def series(self) -> pl.Series:
        """Return the values as a Polars column of the output's type."""
        of, width = self.node.type, self.node.type.width
        there = pl.Series(self.valid.reshape(-1))
        flat = pl.Series(self.values.reshape(-1))
        if of.kind is Kind.STRING:
            words = pl.concat(self.words) if self.words else pl.Series([], dtype=pl.String)
            flat = words.gather(flat.set(~there, None))
        elif not self.valid.all():
            flat = pl.select(pl.when(there).then(flat)).to_series()
        made = flat.cast(polars_dtype(Type(of.kind)))
        if width is not None:
            whole = pl.Series(self.valid.any(axis=1))
            made = pl.select(pl.when(whole).then(made.reshape((self.rows, width)))).to_series()
            made = made.cast(polars_dtype(of))
        return made.alias(self.node.text)


class Part:
    """Events and examples of some keys.

    Args:
        events: Keys, and the columns that aggregates read.
        examples: `ROW`, keys, and `AT` unless they are looked up at no time.
        keys: The names of the keys in both.
        columns: The events' column of each node that aggregates read.
        watch: Counts how long each aggregate takes.
    """

    def __init__(
        self, events: pl.DataFrame, examples: pl.DataFrame, keys: Sequence[str],
        columns: Mapping[Node, str], watch: Stopwatch,
    ) -> None:  # fmt: skip
        self.events, self.keys, self.columns, self.watch = events, keys, columns, watch
        if keys:
            known = events.select(keys).unique().with_row_index("~code")
            self.codes: Places = _codes(events, known, keys).to_numpy().astype(np.int64)
            examples = examples.with_columns(_codes(examples, known, keys)).drop_nulls("~code")
            asking = examples["~code"].to_numpy().astype(np.int64)
        else:
            self.codes = np.zeros(events.height, np.int64)
            asking = np.zeros(examples.height, np.int64)
        rows = examples[ROW].to_numpy().astype(np.int64)
        at = np.zeros(len(rows), np.int64)
        if AT in examples.columns:
            at = _micros(examples[AT])
        order = _by_key_and_time(asking, at)
        self.asking, self.rows, self.at = asking[order], rows[order], at[order]

    def compute(self, results: Sequence[Result]) -> Counter[str]:
        """Fill in the results of this part's examples.

        Returns:
            For each lookup, for how many examples it had to choose between rows that differ by
            their values alone.
        """
        undecided: Counter[str] = Counter()
        if not self.events.height or not len(self.rows):
            return undecided
        by_history: dict[History, list[Result]] = {}
        for result in results:
            by_history.setdefault(result.node.aggregate.history, []).append(result)
        for history, some in by_history.items():
            with self.watch.of(result.node for result in some):
                events = _Sorted(self, history, [result.node for result in some])
                if len(events.order):
                    events.compute(some)
                    outputs = {result.node.aggregation: result.node for result in some}
                    for name, node in outputs.items():
                        undecided[name] += events.count_undecided(node)
        return undecided

    def column(self, node: Node) -> pl.Series:
        """Return the values of a node of the past rows."""
        return self.events[self.columns[node]]


class _Sorted:
    """The events of a part that ever took effect, by key and effect, then by event time."""

    def __init__(self, part: Part, history: History, nodes: Sequence[AggregateNode]) -> None:
        self.part, self.history, self.nodes = part, history, nodes
        effect, there = _latest([part.column(node) for node in history.effect], len(part.codes))
        event = effect
        if history.event_time is not None and (history.event_time,) != history.effect:
            event = _micros(part.column(history.event_time))
        places = np.arange(len(effect)) if there.all() else np.flatnonzero(there)
        codes, effect, event = part.codes[places], effect[places], event[places]
        if event is effect:
            order = _by_key_and_time(codes, effect)
        else:
            order = np.argsort(event, kind="stable")
            order = order[_by_key_and_time(codes[order], effect[order])]
        self.codes, self.effect, self.event = codes[order], effect[order], event[order]
        self.order: Places = places[order]
        self.undecided: npt.NDArray[np.bool_] | None = None
        """Of rows that are taken whole: the places where others differ, and come as late."""
        if history.row:
            self._decide()
        self._places: dict[int, Places] = {}
        if history.unique:
            self._refuse_several()

    def _decide(self) -> None:
        """Put rows that took effect and happened at once in the order that the history says."""
        self.undecided = np.zeros(len(self.order), bool)
        same = (self.effect[1:] == self.effect[:-1]) & (self.codes[1:] == self.codes[:-1])
        if self.event is not self.effect:
            same &= self.event[1:] == self.event[:-1]
        if not same.any():
            return
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        group = np.cumsum(np.append(True, ~same))[tied]
        rows = self.order[tied]
        by = [self._ranks(node, rows) for node in self.history.order]
        order = np.lexsort((*reversed(by), group))
        self.order[tied] = rows[order]
        by, group = [ranks[order] for ranks in by], group[order]
        declared = len(self.history.order_by)
        alike = group[1:] == group[:-1]
        for ranks in by[:declared]:
            alike &= ranks[1:] == ranks[:-1]
        other = np.zeros(len(alike), bool)
        for ranks in by[declared:]:
            other |= ranks[1:] != ranks[:-1]
        together = np.cumsum(np.append(True, ~alike)) - 1
        differ = np.zeros(int(together[-1]) + 1, bool)
        differ[together[1:][alike & other]] = True
        self.undecided[tied] = differ[together]

    def _ranks(self, node: Node, rows: Places) -> Places:
        """Return numbers in the order of some rows' values, 0 where the value is missing."""
        data, there, _ = _array(self.part.column(node).gather(rows), node.type)
        ranks = np.unique(data, return_inverse=True)[1] + 1
        return np.where(there, ranks, 0)

    def count_undecided(self, node: AggregateNode) -> int:
        """Return for how many examples the row was taken by its values alone, and others differ."""
        if self.undecided is None:
            return 0
        start, stop = self.bounds(node)
        return int(self.undecided[stop[stop > start] - 1].sum())

    def _refuse_several(self) -> None:
        again = np.flatnonzero(self.codes[1:] == self.codes[:-1])
        if not len(again):
            return
        part = self.part
        names = [node.text for node in self.history.keys]
        row = part.events.select(part.keys).row(int(self.order[again[0]]))
        key = ", ".join(f"{name}={value!r}" for name, value in zip(names, row, strict=True))
        raise DataError(
            f"a lookup needs one row for each key; {key} has several",
            where=f"source {self.history.source!r}",
            hint="leave out the others; or declare event_time, and the row in effect at the "
            "prediction is taken",
        )

    @cached_property
    def sought(self) -> tuple[Places, int, int]:
        """The events as sorted numbers made of key and effect, the earliest effect, the span."""
        low = int(self.effect.min())
        span = int(self.effect.max()) - low + 1
        keys = int(max(self.codes[-1], self.part.asking[-1])) + 1
        if keys * (span + 1) < 2**63:
            return self.codes * span + (self.effect - low), low, span
        return np.empty(0, np.int64), low, span

    def places(self, before: int) -> Places:
        """Return for each example how many events took effect earlier than so long before it.

        Events of smaller keys count too, so that the numbers are places.
        """
        numbers, low, span = self.sought
        asking, at = self.part.asking, self.part.at
        moment = np.clip(at - min(before, _LONGEST), low, low + span)
        if len(numbers):
            return np.searchsorted(numbers, asking * span + (moment - low), "left")
        return self._by_rank(asking, moment)

    def _by_rank(self, asking: Places, moment: Places) -> Places:
        """The same where key and time do not fit in 64 bits together: times become ranks."""
        times, ranks = np.unique(self.effect, return_inverse=True)
        size = len(times) + 1
        sought = asking * size + np.searchsorted(times, moment, "left")
        return np.searchsorted(self.codes * size + ranks, sought, "left")

    @cached_property
    def beginnings(self) -> Places:
        """For each example, the place of the first event of its key."""
        return np.searchsorted(self.codes, self.part.asking, "left")

    def bounds(self, node: AggregateNode) -> tuple[Places, Places]:
        """Return where the window of each example begins and ends."""
        window = node.aggregate.window
        if node.at is None:
            return self.beginnings, np.searchsorted(self.codes, self.part.asking, "right")
        start = self.beginnings if window.start is None else self._place(window.start)
        return start, self._place(window.end)

    def _place(self, before: int) -> Places:
        if before not in self._places:
            sharing = (node for node in self.nodes if before in _bounds(node))
            with self.part.watch.of(sharing):
                self._places[before] = self.places(before)
        return self._places[before]

    def compute(self, results: Sequence[Result]) -> None:
        """Fill in the results that read these events, those of the same values together."""
        alike: dict[Any, list[Result]] = {}
        for result in results:
            aggregate = result.node.aggregate
            skips = aggregate.operation.skips_null
            alike.setdefault((aggregate.values, aggregate.where, skips), []).append(result)
        for (values, where, skips), some in alike.items():
            with self.part.watch.of(result.node for result in some):
                _Column(self, values[0] if values else None, where, skips).compute(some)


class _Column:
    """The values that some aggregates summarise, without those that they skip."""

    def __init__(
        self, events: _Sorted, value: Node | None, where: Node | None, skips_null: bool
    ) -> None:
        self.events = events
        part, order = events.part, events.order
        chosen = np.ones(len(order), bool)
        if where is not None:
            chosen &= part.column(where).fill_null(False).to_numpy()[order]
        self.words: pl.Series | None = None
        self.there: Array | None = None
        data = np.zeros(len(order), bool)
        if value is not None:
            stored, present, self.words = _array(part.column(value), value.type)
            data, present = stored[order], present[order]
            if skips_null:
                chosen &= present
            else:
                self.there = present
        self.before: Places | None = None
        effect, event, codes = events.effect, events.event, events.codes
        if not chosen.all():
            self.before = np.concatenate((np.zeros(1, np.int64), np.cumsum(chosen)))
            data, effect, event, codes = data[chosen], effect[chosen], event[chosen], codes[chosen]
            if self.there is not None:
                self.there = self.there[chosen]
        self.effect, self.codes = effect, codes
        self.data = self._tied(data, codes, effect, event) if value is not None else data

    def _tied(self, data: Array, codes: Places, effect: Places, event: Places) -> Array:
        """Put values that took effect and happened at once in the order of the values."""
        if self.events.history.row:
            return data  # Whole rows are in their order.
        same = (effect[1:] == effect[:-1]) & (codes[1:] == codes[:-1])
        if event is not effect:
            same &= event[1:] == event[:-1]
        if not same.any():
            return data
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        group = np.cumsum(np.append(True, ~same))[tied]
        there = np.ones(len(tied), bool) if self.there is None else self.there[tied]
        order = tied[np.lexsort((data[tied], there, group))]
        data = data.copy()
        data[tied] = data[order]
        if self.there is not None:
            self.there = self.there.copy()
            self.there[tied] = self.there[order]
        return data

    def compute(self, results: Sequence[Result]) -> None:
        """Fill in the results: all windows of all operations over these values."""
        windows = {_bounds(result.node): result.node for result in results}
        operations: dict[AggregateOperation, list[Result]] = {}
        for result in results:
            operations.setdefault(result.node.aggregate.operation, []).append(result)
        spans = [self._spans(node) for node in windows.values()]
        start, stop = (np.concatenate(ends) for ends in zip(*spans, strict=True))
        held = np.flatnonzero(stop > start)
        if not len(held):
            return
        start, stop = start[held], stop[held]
        # Between examples of a key often nothing took effect: what both see is answered once.
        other = np.append(True, (start[1:] != start[:-1]) | (stop[1:] != stop[:-1]))
        number = np.cumsum(other) - 1
        data = self.data if self.there is None else np.arange(len(self.data))
        values = Values(data, self.effect, self.codes, Spans(start[other], stop[other]))
        # Of each window: the examples for which it holds a value, and the numbers of their answers.
        part = self.events.part
        bounds = np.searchsorted(held, np.arange(len(windows) + 1) * len(part.rows))
        answers: dict[Any, tuple[Places, Places]] = {}
        for place, window in enumerate(windows):
            mine = slice(bounds[place], bounds[place + 1])
            answers[window] = held[mine] - place * len(part.rows), number[mine]
        for operation, outputs in operations.items():
            with part.watch.of(result.node for result in outputs):
                found = operation.windows(values)
                if self.there is not None:
                    found = np.ma.array(self.data[found], mask=~self.there[found])
                for result in outputs:
                    examples, numbers = answers[_bounds(result.node)]
                    answer = found[numbers]
                    if operation.since:
                        answer = (part.at[examples] - answer) / 1e6
                    result.put(part.rows[examples], answer, self.words)

    def _spans(self, node: AggregateNode) -> tuple[Places, Places]:
        """Return where the window of each example begins and ends among these values."""
        start, stop = self.events.bounds(node)
        return (start, stop) if self.before is None else (self.before[start], self.before[stop])


def _bounds(node: AggregateNode) -> tuple[int | None, int]:
    window = node.aggregate.window
    return window.start, window.end


def _codes(rows: pl.DataFrame, known: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Return the number of each row's key, null where it is not known."""
    if len(keys) == 1 and rows.schema[keys[0]] == pl.String:
        # The same as the join, at half the time.
        words = pl.Enum(known[keys[0]])
        return rows[keys[0]].cast(words, strict=False).to_physical().alias("~code")
    return rows.join(known, on=keys, how="left", maintain_order="left")["~code"]


def _by_key_and_time(codes: Places, times: Places) -> Places:
    """Return the places of rows in the order of key, then time, then place."""
    if not len(codes):
        return codes
    low = int(times.min())
    span = int(times.max()) - low + 1
    if (int(codes.max()) + 1) * span >= 2**63:
        return np.lexsort((times, codes))
    # One number to sort by is twice as fast.
    return np.argsort(codes * span + (times - low), kind="stable")


def _latest(times: Sequence[pl.Series], rows: int) -> tuple[Places, npt.NDArray[np.bool_]]:
    """Return the latest of some times of each row, and whether all of them are there."""
    if not times:
        return np.full(rows, _BEFORE_ALL), np.ones(rows, bool)
    there = np.ones(rows, bool)
    latest = _micros(times[0])
    for time in times:
        there &= time.is_not_null().to_numpy()
        latest = np.maximum(latest, _micros(time))
    return latest, there


def _micros(times: pl.Series) -> Places:
    """Return times in microseconds, a missing one as if before all."""
    return times.to_physical().fill_null(_BEFORE_ALL).to_numpy()


def _array(column: pl.Series, of: Type) -> tuple[Array, npt.NDArray[np.bool_], pl.Series | None]:
    """Return a column as an array, whether each value is there, and the words of a string's codes.

    Codes are places in the order of the words' UTF-8 bytes. NaN is not there.
    """
    words = None
    if of == STRING:
        words = column.drop_nulls().unique().sort()
        column = column.cast(pl.Enum(words)).to_physical().cast(pl.Int64)
    present = column.is_not_null().to_numpy()
    if of.is_float:
        # Negative zero equals zero; adding zero makes it so to the bit.
        data = column.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0
        nan = np.isnan(data)
        return data, present & ~nan if nan.any() else present, None
    if of == BOOL:
        return column.fill_null(False).to_numpy(), present, None
    return column.to_physical().fill_null(0).to_numpy(), present, words


def _numpy_dtype(of: Type) -> Any:
    """Return the NumPy type of results; those that are strings are held as codes."""
    kinds: dict[Kind, Any] = {Kind.FLOAT32: np.float32, Kind.FLOAT64: np.float64, Kind.BOOL: bool}
    return kinds.get(of.kind, np.int64)
