"""The aggregates and lookups of a plan as GoogleSQL statements, each of which makes one table.

1. The *spine*: a row for each example, with its number, time of prediction and keys.
2. For each history of past rows: its windows, a row for each example. What must collect all values
   of a window stands in statements of its own, and no statement has too many outputs.
3. For each lookup without time: the rows that are looked up, whose keys must be different.
4. All of it side by side, a row for each example.

A vector is an array of the values that are there: it is shorter than its type says where there are
fewer, and empty where it is null. Numbers are FLOAT64, durations INT64 microseconds.

A table's name holds the hash of its query, so the same query makes the same table, whatever else a
spec asks for.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from featurekit.engines.bigquery.columns import ROW_ID, Names, column, column_names, slug
from featurekit.engines.bigquery.jobs import Statement
from featurekit.engines.bigquery.rows import Input, Steps, computed, select, table
from featurekit.engines.bigquery.tables import content_hash
from featurekit.engines.bigquery.text import printed, write_sql
from featurekit.engines.bigquery.windows import (
    EFFECT,
    Asked,
    counted_value,
    micros_of_latest,
    window_parts,
)
from featurekit.errors import SpecError
from featurekit.graph import AggregateNode, Node, topological
from featurekit.planner import Plan
from featurekit.spec.expression import Attribute, Call
from featurekit.spec.table_id import TableId, table_id
from featurekit.transforms.aggregate._latest import Undecided
from featurekit.transforms.sql import bigquery_value, exp, function, infix, literal
from featurekit.transforms.sql_windows import ordered, there
from featurekit.types import BOOL, TIMESTAMP

__all__ = ["Spine", "column_names", "statements", "undecided_rows", "write_sql"]

_BUCKETS = 1024
"""Examples are numbered in so many groups, so that no single worker must see all of them."""


@dataclass(frozen=True)
class Spine:
    """Examples that have been numbered, as a BigQuery table.

    Args:
        table: Its id, `project.dataset.table`.
        row_id: The INT64 column that numbers the examples.
        asked: The column that holds each node of what aggregates ask of an example (see
            `AggregateNode.asked`), times as TIMESTAMP. Without it the table has the columns of the
            examples' source, and they are computed.
    """

    table: str
    row_id: str = ROW_ID
    asked: Mapping[Node, str] | None = None


def statements(
    plan: Plan,
    tables: Mapping[str, str],
    staging: str,
    *,
    spine: Spine | None = None,
    between: tuple[datetime, datetime] | None = None,
    stored: Mapping[str, Mapping[str, str]] | None = None,
    destination: str | None = None,
    carry: Mapping[str, Node] | None = None,
) -> list[Statement]:
    """Return the statements that compute every aggregate and lookup that a plan's features use.

    The last one makes a table with a row for each example: `row_id`, the keys of the examples
    where there is no spine, and a column for each aggregate, named as `column_names` says.

    Args:
        plan: The plan.
        tables: The id, `project.dataset.table`, of each source's table.
        staging: The dataset that the tables are made in, `project.dataset`.
        spine: The examples, numbered. Without it they are read from the table of their source, and
            told apart by the keys that the spec declares.
        between: The earliest and the latest time of prediction (UTC), if known: partitions of past
            rows that no window reaches are not read then.
        stored: The BigQuery types of the columns of each source's table, by source, where known.
        destination: The name of the last table; by default it is made of the hash of its query.
        carry: Columns of the examples that the last table has beside their keys, by name, for
            examples that are read from their source's table.

    Returns:
        The statements, in their order; none if the features use no aggregates.

    Raises:
        SpecError: A table is not known or not a name, the examples have no keys, or BigQuery cannot
            compute something.
    """
    if not plan.resolved.aggregates:
        return []
    writer = _Writer(plan, tables, staging, spine, between, stored or {}, carry or {})
    return writer.write(destination)


def undecided_rows(nodes: Sequence[AggregateNode]) -> dict[str, AggregateNode]:
    """Return what says for which examples a lookup's row was chosen by its values alone.

    Args:
        nodes: The aggregates of a plan, all of them.

    Returns:
        A node for each lookup over time, by its name.
    """
    found: dict[str, AggregateNode] = {}
    for node in nodes:
        aggregate, name = node.aggregate, node.aggregation
        if aggregate.history.row and name not in found:
            found[name] = replace(
                node, type=BOOL, expression=Attribute(name, "undecided"), name="undecided",
                aggregate=replace(aggregate, operation=Undecided()),
            )  # fmt: skip
    return found


@dataclass(frozen=True)
class _Joined:
    """A table that stands beside the spine in the last statement."""

    table: str
    nodes: Sequence[AggregateNode]
    on: Sequence[tuple[str, str]]
    """Columns of the spine and of the table that are equal."""
    after: str | None = None
    """The column of the spine that must be later than when the row took effect."""


class _Writer:
    """Writes the statements of one plan."""

    def __init__(
        self,
        plan: Plan,
        tables: Mapping[str, str],
        staging: str,
        spine: Spine | None,
        between: tuple[datetime, datetime] | None,
        stored: Mapping[str, Mapping[str, str]],
        carry: Mapping[str, Node],
    ) -> None:
        self.resolved = plan.resolved
        self.spec = plan.resolved.spec
        self.tables, self.stored, self.spine = tables, stored, spine
        self.staging = table_id(f"{staging}.t")
        self.between: tuple[int, int] | None = None
        if between is not None:
            earliest, latest = (bigquery_value(time, TIMESTAMP) for time in between)
            self.between = (earliest, latest)
        self.keys = {} if spine is not None else dict(self.resolved.keys)
        if spine is None and not self.keys:
            raise SpecError(
                "examples in BigQuery are told apart by keys, and the spec declares none",
                where=self.spec.place("examples") or "examples",
                hint="keys: the columns that name an example, such as [flight_id]",
            )
        self.beside = {**self.keys, **carry}
        self.undecided = undecided_rows(self.resolved.aggregates)
        self.nodes = (*self.resolved.aggregates, *self.undecided.values())
        self.names, self.carried = column_names(self.nodes, self.beside)
        self.users: dict[AggregateNode, list[str]] = {}
        for name, root in self.resolved.features.items():
            for node in topological([root]):
                if isinstance(node, AggregateNode):
                    self.users.setdefault(node, []).append(name)
                    if node.aggregation in self.undecided:
                        self.users.setdefault(self.undecided[node.aggregation], []).append(name)
        self.made: list[Statement] = []
        self.asked: dict[Node, str] = {}

    def write(self, destination: str | None) -> list[Statement]:
        """Return the statements."""
        spine = self.write_spine()
        groups: dict[Any, list[AggregateNode]] = {}
        for node in self.nodes:
            key = (node.aggregate.history.identity, *(entry.fingerprint for entry in node.asked))
            groups.setdefault(key, []).append(node)
        joined: list[_Joined] = []
        for nodes in groups.values():
            unique = nodes[0].aggregate.history.unique
            joined += [self.write_rows(nodes)] if unique else self.write_windows(nodes, spine)
        self.write_last(spine, joined, destination)
        return self.made

    def source(self, name: str, table: str | None = None) -> Input:
        """Return a source as a table."""
        found = table or self.tables.get(name)
        if found is None:
            raise SpecError(
                f"source {name!r} has no BigQuery table",
                where=self.spec.place("sources", name),
                hint="declare table: project.dataset.table, or let its data be loaded",
            )
        stored = self.stored.get(name) if table is None else None
        return Input(name, self.spec.sources[name], str(table_id(found)), stored)

    def add(
        self,
        name: str,
        query: Any,
        head: Sequence[str],
        nodes: Sequence[AggregateNode],
        keys: tuple[str, ...],
        rows_of: str | None = None,
        destination: str | None = None,
    ) -> str:
        """Add a statement, and return the id of the table that it makes."""
        label, taken = slug(name), {statement.name for statement in self.made}
        free = (name if count == 1 else f"{name} ({count})" for count in itertools.count(1))
        name = next(entry for entry in free if entry not in taken)
        sql, parameters = printed(query, head)
        if destination is None:
            digest = content_hash([sql, {key: list(map(str, p)) for key, p in parameters.items()}])
            destination = f"{slug(self.spec.name)}__{label}__{digest[:12]}"
        users = dict.fromkeys(user for node in nodes for user in self.users[node])
        features = tuple(feature for feature in self.resolved.features if feature in users)
        self.made.append(Statement(name, sql, parameters, features, destination, keys, rows_of))
        return str(TableId(self.staging.project, self.staging.dataset, destination))

    def write_spine(self) -> str:
        """Add the statement of the examples."""
        main, spine = self.spec.examples.source, self.spine
        names = Names(ROW_ID, *self.carried.values())
        times = {node.at for node in self.resolved.aggregates}
        own = {self.beside[key]: name for key, name in self.carried.items()}
        own = {node: name for node, name in own.items() if node not in times}
        for node in self.resolved.aggregates:
            for entry in node.asked:
                if entry not in self.asked:
                    near = "predict_at" if entry in times else entry.text
                    self.asked[entry] = own.get(entry) or names.new(near)
        given = self.source(main, None if spine is None else spine.table)
        steps = Steps()
        if spine is not None and spine.asked is not None:
            made = {node: column(spine.asked[node]) for node in self.asked}
            last = given.read([column(spine.row_id), *made.values()])
        else:
            wanted = Counter([*self.asked, *self.beside.values()])
            carried = {} if spine is None else {ROW_ID: column(spine.row_id)}
            last, made = computed(steps, Names(ROW_ID), given, wanted, carried=carried)
        columns = {name: made[self.beside[key]].copy() for key, name in self.carried.items()}
        keys = tuple(self.carried[key] for key in self.keys)
        columns |= {
            name: function("UNIX_MICROS", made[node].copy()) if node in times else made[node].copy()
            for node, name in self.asked.items()
            if node not in own
        }
        if spine is None:
            query = _numbered_rows(steps, last, columns, keys)
        else:
            row_id = column(spine.row_id if spine.asked is not None else ROW_ID)
            query = select(last, {ROW_ID: row_id, **columns})
        head = [f"The examples: {main}, a row for each, numbered, and what is looked up for them."]
        head += [f"{name} = {node.text}" for node, name in self.asked.items() if name != node.text]
        query = steps.finish(query)
        unique = keys if spine is None else (ROW_ID,)
        return self.add("examples", query, head, self.resolved.aggregates, unique, given.table)

    def write_windows(self, nodes: Sequence[AggregateNode], spine: str) -> list[_Joined]:
        """Add the statements of windows over one history."""
        first = nodes[0]
        history = first.aggregate.history
        at = None if first.at is None else self.asked[first.at]
        asked = Asked(spine, at, tuple(self.asked[key] for key in first.keys))
        given = self.source(history.source)
        parts = window_parts(nodes, self.names, given, asked, self.between)
        joined = []
        for part in parts:
            what = "values of windows" if part.collects else "windows"
            known = " and ".join(time.text for time in history.effect)
            latest = "the latest of " if len(history.effect) > 1 else ""
            name = f"{what} of {self.described(first)}"
            head = [
                f"{name}, for each example.",
                f"A row counts from {latest}{known}.",
                *(f"{self.names[node]} = {_meaning(node)}" for node in part.nodes),
            ]
            made = self.add(name, part.query, head, part.nodes, (ROW_ID,), spine)
            joined.append(_Joined(made, part.nodes, [(ROW_ID, ROW_ID)]))
        return joined

    def write_rows(self, nodes: Sequence[AggregateNode]) -> _Joined:
        """Add the statement of the rows that a lookup finds, one for each key."""
        first = nodes[0]
        history = first.aggregate.history
        given, steps = self.source(history.source), Steps()
        uses = Counter([*history.keys, *history.effect])
        uses.update(value for node in nodes for value in node.aggregate.values * 2)
        # Later rows, too: that a key has one row is checked of all of them.
        last, made = computed(steps, Names(), given, uses)
        names = Names(EFFECT, *(self.names[node] for node in nodes))
        keys = {names.new(node.text): node for node in history.keys}
        columns = {name: made[node].copy() for name, node in keys.items()}
        if history.effect:
            times = [made[time].copy() for time in history.effect]
            columns[EFFECT] = micros_of_latest(times)
        columns |= {self.names[node]: counted_value(node, made) for node in nodes}
        needed = [made[node] for node in (*history.keys, *history.effect)]
        query = select(last, columns, there(*needed))
        name = f"rows of {self.described(first)}"
        head = [
            f"{name}, one for each key.",
            *(f"{self.names[node]} = {_meaning(node)}" for node in nodes),
        ]
        made_table = self.add(name, steps.finish(query), head, nodes, tuple(keys))
        on = [(self.asked[mine], theirs) for mine, theirs in zip(first.keys, keys, strict=True)]
        after = None if first.at is None else self.asked[first.at]
        return _Joined(made_table, nodes, on, after)

    def write_last(self, spine: str, joined: Sequence[_Joined], destination: str | None) -> None:
        """Add the statement that puts all tables side by side."""
        columns = {name: column(name, _SPINE) for name in (ROW_ID, *self.carried.values())}
        places: dict[AggregateNode, str] = {}
        joins = []
        for number, entry in enumerate(joined, 1):
            alias = f"part_{number}"
            places |= dict.fromkeys(entry.nodes, alias)
            on = [
                infix(column(mine, _SPINE), "=", column(theirs, alias)) for mine, theirs in entry.on
            ]
            if entry.after is not None:
                on.append(infix(column(EFFECT, alias), "<", column(entry.after, _SPINE)))
            joins.append(
                exp.Join(this=table(entry.table, alias), side="LEFT", on=exp.and_(*on, copy=False))
            )
        for node in self.nodes:
            columns[self.names[node]] = column(self.names[node], places[node])
        query = select(table(spine, _SPINE), columns)
        query.set("joins", joins)
        head = ["All aggregates and lookups, a row for each example."]
        self.add("aggregates", query, head, self.nodes, (ROW_ID,), spine, destination)

    def described(self, node: AggregateNode) -> str:
        """Return which past rows an aggregate looks at: `flights by tailnum`."""
        history = node.aggregate.history
        keys = ", ".join(key.text for key in history.keys)
        return f"{history.source} by {keys}" if keys else f"all {history.source}"


_SPINE = "examples"


def _meaning(node: AggregateNode) -> str:
    """Return what an output is, in words: `mean(arr_delay) over 7d`."""
    aggregate = node.aggregate
    if isinstance(aggregate.operation, Undecided):
        return "whether another row came as late as the one that is taken, and differs"
    if aggregate.history.unique or not aggregate.window.text:
        return aggregate.values[0].text
    call = Call(aggregate.operation, tuple(value.expression for value in aggregate.values)).text
    where = "" if aggregate.where is None else f" where {aggregate.where.text}"
    return f"{call} over {aggregate.window.text}{where}"


def _numbered_rows(steps: Steps, last: str, columns: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return a SELECT that numbers rows by their keys, however many there are.

    Rows are numbered within groups of about equal size by a hash of the keys, and the group is the
    last part of the number, so that no number occurs twice.
    """
    group = Names(*columns).new("bucket")
    values = exp.Struct(expressions=[columns[key].copy() for key in keys])
    hashed = function("FARM_FINGERPRINT", function("TO_JSON_STRING", values))
    bucket = exp.BitwiseAnd(this=hashed, expression=literal(_BUCKETS - 1))
    last = steps.add("grouped", select(last, {**columns, group: bucket}))
    place = exp.Window(
        this=function("ROW_NUMBER"),
        partition_by=[column(group)],
        order=ordered(*(column(key) for key in keys)),
    )
    number = infix(infix(place, "*", _BUCKETS), "+", column(group))
    return select(last, {ROW_ID: number, **{name: column(name) for name in columns}})
