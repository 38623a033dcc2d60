"""The windows of aggregations as queries: past rows and examples in one table, in order of time.

Each query reads the past rows once, puts the examples among them (UNION ALL), and lets frame
functions look back from each example: `RANGE BETWEEN 604800000000 PRECEDING AND 1 PRECEDING` over
INT64 microseconds is `t - 7d <= effect < t`. No row is joined with another, so nothing multiplies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featurekit.engines.bigquery.columns import ROW_ID, Names, column
from featurekit.engines.bigquery.rows import Bounds, Input, Steps, computed, select, within
from featurekit.graph import AggregateNode, ColumnNode, History, Node
from featurekit.spec.window import LIFETIME
from featurekit.transforms.sql import (
    exp,
    function,
    infix,
    is_null,
    literal,
    null,
)
from featurekit.transforms.sql_windows import SqlWindow, ordered, there
from featurekit.types import parse_duration

__all__ = ["EFFECT", "Asked", "Part", "counted_value", "micros_of_latest", "window_parts"]

EFFECT, _EVENT = "effect", "event_time"

MOST_OUTPUTS = 100
"""So many outputs are computed by one statement at most: BigQuery refuses what is too complex."""
MOST_COLLECTED = 20
"""So many of those that collect all values of their window."""

_EVER = parse_duration("3660000d")
"""Longer than the time between any two timestamps of BigQuery, which has the years 1 to 9999."""


@dataclass(frozen=True)
class Asked:
    """The examples, as the table that says what is to be looked up for them.

    Args:
        table: Its id. Besides these columns it has `row_id`.
        at: The column of the time of prediction, INT64 microseconds; none where there is none.
        keys: The columns of the key, in the order of the history's.
    """

    table: str
    at: str | None
    keys: tuple[str, ...]

    def missing(self) -> Any:
        """Return whether an example's key or time is null, so that it matches nothing."""
        return exp.or_(*(is_null(column(name)) for name in self.columns()), copy=False)

    def known(self) -> Any:
        """Return whether an example's key and time are there."""
        return there(*map(column, self.columns()))

    def columns(self) -> list[str]:
        """Return the columns that are asked for."""
        return [*self.keys, *([] if self.at is None else [self.at])]


@dataclass(frozen=True)
class Part:
    """One query, of some outputs.

    Args:
        query: A tree; its result has `row_id` and a column for each output.
        nodes: The outputs.
        collects: Whether it collects values into arrays.
    """

    query: Any
    nodes: tuple[AggregateNode, ...]
    collects: bool


@dataclass(frozen=True)
class _Output:
    """One output in two steps: the frame functions that it needs, by name, and what it makes."""

    node: AggregateNode
    tree: Any
    calls: tuple[str, ...]
    collects: bool


def micros_of_latest(times: Sequence[Any]) -> Any:
    """Return the latest of some times in microseconds, null where one of them is."""
    latest = times[0] if len(times) == 1 else function("GREATEST", *times)
    return function("UNIX_MICROS", latest)


def window_parts(
    nodes: Sequence[AggregateNode],
    names: Mapping[AggregateNode, str],
    given: Input,
    asked: Asked,
    between: tuple[int, int] | None,
) -> Iterator[Part]:
    """Yield the queries that answer aggregates over one history, for the same examples.

    Args:
        nodes: The aggregates.
        names: Their columns.
        given: The past rows.
        asked: The examples.
        between: The earliest and the latest time of prediction, in microseconds, if known.
    """
    history = _History(nodes, names, given, asked, between)
    for collects, most in ((False, MOST_OUTPUTS), (True, MOST_COLLECTED)):
        chosen = [output for output in history.outputs if output.collects == collects]
        for start in range(0, len(chosen), most):
            some = chosen[start : start + most]
            yield Part(history.query(some), tuple(output.node for output in some), collects)


class _History:
    """The outputs over one history, and the columns of which their queries are made."""

    def __init__(
        self,
        nodes: Sequence[AggregateNode],
        names: Mapping[AggregateNode, str],
        given: Input,
        asked: Asked,
        between: tuple[int, int] | None,
    ) -> None:
        self.given, self.asked, self.between, self.named = given, asked, between, names
        self.history: History = nodes[0].aggregate.history
        self.names = Names(ROW_ID, EFFECT, _EVENT)
        self.keys = {self.names.new(node.text): node for node in self.history.keys}
        self.measures: dict[tuple[Any, ...], str] = {}
        self.made_of: dict[str, AggregateNode] = {}
        self.deciding: dict[str, tuple[Any, ...]] = {}
        self.shared: dict[str, str] = {}
        self.besides = _Columns(self.names)
        self.calls = _Columns(self.names)
        self.windows: dict[tuple[int | None, int], str] = {}
        self.outputs = [self.output(node) for node in nodes]

    @property
    def event(self) -> Node | None:
        """When a row's event happened, where that is not when it took effect."""
        event = self.history.event_time
        return None if event is None or (event,) == self.history.effect else event

    def output(self, node: AggregateNode) -> _Output:
        """Build one output, noting which columns it needs."""
        aggregate = node.aggregate
        span = (aggregate.window.start, aggregate.window.end)
        if span not in self.windows:
            self.windows[span] = self.names.new(f"past_{aggregate.window.name or LIFETIME}")
        over, used = self.windows[span], list[str]()

        def frame(call: Any) -> Any:
            tree = exp.Window(this=call, alias=exp.to_identifier(over, quoted=True))
            used.append(self.calls.name(tree, self.named[node]))
            return column(used[-1])

        value = column(self.measure(node))
        window = SqlWindow(
            value=value,
            effect=column(EFFECT),
            event=None if self.event is None else column(_EVENT),
            keys=tuple(column(name) for name in self.keys),
            at=column(EFFECT),
            lifetime=aggregate.window.start is None,
            frame=frame,
            beside=lambda tree: column(self.besides.name(tree, value.name)),
            order_by=self.decides(node, "order_by"),
            row=self.decides(node, "row"),
            once=self.once,
        )
        tree = aggregate.operation.bigquery(window, [entry.type for entry in aggregate.values])
        collects = any(_collects(self.calls.trees[name]) for name in used)
        return _Output(node, tree, tuple(used), collects)

    def decides(self, node: AggregateNode, what: str) -> tuple[Any, ...]:
        """Return the columns of a history's `order_by` or `row`, by which a row is chosen."""
        if what not in self.deciding:
            of = [
                replace(node, aggregate=replace(node.aggregate, values=(entry,)))
                for entry in getattr(self.history, what)
            ]
            self.deciding[what] = tuple(column(self.measure(entry)) for entry in of)
        return self.deciding[what]

    def once(self, what: str, make: Callable[[], Any]) -> Any:
        """Add a column to the past rows that is made the first time it is asked for."""
        if what not in self.shared:
            self.shared[what] = self.besides.name(make(), what)
        return column(self.shared[what])

    def measure(self, node: AggregateNode) -> str:
        """Name the column of what an aggregate summarises."""
        aggregate = node.aggregate
        what = (aggregate.values, aggregate.where)
        if what not in self.measures:
            value = aggregate.values[0] if aggregate.values else None
            plain = value.name if isinstance(value, ColumnNode) else "value"
            self.measures[what] = self.names.new(plain if aggregate.values else "counted")
            self.made_of[self.measures[what]] = node
        return self.measures[what]

    def query(self, outputs: Sequence[_Output]) -> Any:
        """Return the query of some outputs."""
        calls = {name: self.calls.trees[name] for output in outputs for name in output.calls}
        read = _columns(calls.values())
        besides = {name: tree for name, tree in self.besides.trees.items() if name in read}
        read |= _columns(besides.values())
        measures = [name for name in self.made_of if name in read]
        bounds = self.bounds(outputs)
        steps = Steps()
        past = self.past(steps, measures, _EVENT in read, bounds)
        counting = [there(column(EFFECT))]
        if bounds.least is not None:
            counting.append(infix(column(EFFECT), ">=", bounds.least))
        if bounds.below is not None:
            counting.append(infix(column(EFFECT), "<", bounds.below))
        if besides:
            past, counting = steps.add("decided", select(past, besides, *counting, star=True)), []
        kept = [name for name in (*measures, *besides) if name in _columns(calls.values())]
        if _EVENT in _columns(calls.values()):
            kept.insert(0, _EVENT)
        timeline = steps.add("timeline", self.timeline(past, counting, kept))
        answered = select(timeline, {ROW_ID: column(ROW_ID), EFFECT: column(EFFECT), **calls})
        spans = {self.span(output): None for output in outputs}
        answered.set("windows", [self.window(span) for span in spans])
        answered = steps.add("windows", answered)
        columns = {self.named[output.node]: output.tree.copy() for output in outputs}
        found = select(answered, {ROW_ID: column(ROW_ID), **columns}, there(column(ROW_ID)))
        empty = {self.named[output.node]: _empty(output.node) for output in outputs}
        nothing = select(self.asked.table, {ROW_ID: column(ROW_ID), **empty}, self.asked.missing())
        return steps.finish(_union(found, nothing))

    def past(self, steps: Steps, measures: Sequence[str], event: bool, bounds: Bounds) -> str:
        """Add the steps that compute keys, times and values of the past rows."""
        history, nodes = self.history, [self.made_of[name] for name in measures]
        uses = Counter([*history.keys, *history.effect])
        uses.update(self.event for _ in range(event) if self.event is not None)
        for node in nodes:
            uses.update(node.aggregate.values * (2 if _may_be_nan(node) else 1))
            uses.update([] if node.aggregate.where is None else [node.aggregate.where])
        conditions = within(self.given, history.effect, bounds)
        last, made = computed(steps, Names(), self.given, uses, conditions)
        keys = {name: made[node].copy() for name, node in self.keys.items()}
        columns = {**keys, EFFECT: micros_of_latest([made[time].copy() for time in history.effect])}
        if event and self.event is not None:
            columns[_EVENT] = function("UNIX_MICROS", made[self.event].copy())
        columns |= {
            name: counted_value(node, made) for name, node in zip(measures, nodes, strict=True)
        }
        known = [there(tree) for tree in keys.values()]
        return steps.add("past", select(last, columns, *known))

    def timeline(self, past: str, counting: Sequence[Any], kept: Sequence[str]) -> Any:
        """Return the past rows with the examples among them."""
        asked = self.asked
        assert asked.at is not None, "windows look back from a time"
        keys = dict(zip(self.keys, asked.keys, strict=True))
        rows = {name: column(name) for name in (*self.keys, EFFECT, *kept)}
        examples = {name: column(entry) for name, entry in keys.items()}
        examples |= {EFFECT: column(asked.at), **{name: null() for name in kept}}
        return _union(
            select(past, {**rows, ROW_ID: null()}, *counting),
            select(asked.table, {**examples, ROW_ID: column(ROW_ID)}, asked.known()),
        )

    def span(self, output: _Output) -> tuple[int | None, int]:
        """Return how far back an output looks."""
        window = output.node.aggregate.window
        return window.start, window.end

    def window(self, span: tuple[int | None, int]) -> Any:
        """Return a named window: `t - start <= effect < t - end`."""
        start, end = span
        far = start is None or start > _EVER
        keys = [column(name) for name in self.keys]
        return exp.Window(
            this=exp.to_identifier(self.windows[span], quoted=True),
            partition_by=keys or None,
            order=ordered(column(EFFECT)),
            spec=exp.WindowSpec(
                kind="RANGE", start="UNBOUNDED" if far else literal(start or 0),
                start_side="PRECEDING", end=literal(min(end, _EVER) + 1), end_side="PRECEDING",
            ),
        )  # fmt: skip

    def bounds(self, outputs: Sequence[_Output]) -> Bounds:
        """Return when the rows took effect that some outputs can see."""
        if self.between is None:
            return Bounds()
        earliest, latest = self.between
        spans = [self.span(output) for output in outputs]
        starts = [start for start, _ in spans if start is not None]
        least = earliest - max(starts) if len(starts) == len(spans) else None
        return Bounds(least, latest - min(end for _, end in spans))


class _Columns:
    """Trees by the names of the columns that they make; equal trees have one name."""

    def __init__(self, names: Names) -> None:
        self.trees: dict[str, Any] = {}
        self._names, self._known = names, dict[Any, str]()

    def name(self, tree: Any, near: str) -> str:
        """Return the name of a tree's column, near to a text where it is new."""
        if tree not in self._known:
            self._known[tree] = self._names.new(near)
            self.trees[self._known[tree]] = tree
        return self._known[tree]


def _collects(tree: Any) -> bool:
    return any(call.name.upper() == "ARRAY_AGG" for call in tree.find_all(exp.Anonymous))


def _columns(trees: Iterable[Any]) -> set[str]:
    return {entry.name for tree in trees for entry in tree.find_all(exp.Column)}


def _may_be_nan(node: AggregateNode) -> bool:
    values = node.aggregate.values
    return bool(values) and values[0].type.is_float and not isinstance(values[0], ColumnNode)


def counted_value(node: AggregateNode, made: Mapping[Node, Any]) -> Any:
    """Return the value of a row, null if it does not count; true where there is no value."""
    values, where = node.aggregate.values, node.aggregate.where
    value = made[values[0]].copy() if values else literal(True)
    conditions = [] if where is None else [made[where].copy()]
    if _may_be_nan(node):
        conditions.append(exp.Not(this=function("IS_NAN", value.copy())))
    return function("IF", exp.and_(*conditions, copy=False), value, null()) if conditions else value


def _empty(node: AggregateNode) -> Any:
    operation = node.aggregate.operation
    return null() if operation.empty is None else literal(operation.empty)


def _union(*queries: Any) -> Any:
    made = queries[0]
    for query in queries[1:]:
        made = exp.Union(this=made, expression=query, distinct=False)
    return made
