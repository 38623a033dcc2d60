"""Rows of a table in SQL: typed, computed, in named steps that a reader can follow."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from featurekit.engines.bigquery.columns import STEP, Names, column, stored_column
from featurekit.errors import SpecError
from featurekit.graph import ColumnNode, LiteralNode, Node, OperationNode, topological
from featurekit.spec.expression import shortened
from featurekit.spec.objects import Source
from featurekit.spec.table_id import table_id
from featurekit.transforms.base import RowOperation
from featurekit.transforms.sql import cast, constant, exp, infix
from featurekit.types import DURATION, TIMESTAMP

__all__ = ["Bounds", "Input", "Steps", "computed", "select", "table", "within"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Input:
    """A source as a BigQuery table.

    Args:
        name: The source's name.
        source: Its declaration.
        table: The table's id.
        stored: The BigQuery types of its columns, where they are known.
    """

    name: str
    source: Source
    table: str
    stored: Mapping[str, str] | None = None

    def column(self, node: ColumnNode) -> Any:
        """Return a tree that reads a column as its type."""
        return stored_column(node.name, node.type, self.name, self.source, self.stored, whole=True)

    def read(self, columns: Iterable[Any]) -> Any:
        """Return the table, to be read; its name hides none of the columns that trees read."""
        used = {entry.name.lower() for tree in columns for entry in tree.find_all(exp.Column)}
        hidden = table_id(self.table).table.lower() in used
        free = (f"{STEP}{count}" for count in itertools.count(1) if f"{STEP}{count}" not in used)
        return table(self.table, next(free) if hidden else None)


@dataclass(frozen=True)
class Bounds:
    """When the rows took effect that can matter, in microseconds.

    Args:
        least: The earliest time; none where any row may matter.
        below: All rows are earlier than this; none where any row may matter.
    """

    least: int | None = None
    below: int | None = None


@dataclass
class Steps:
    """A query under construction: named steps, of which each may read those before it."""

    _done: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, name: str, query: Any) -> str:
        """Add a step, and return the name that it got."""
        again = sum(known.startswith(f"{STEP}{name}") for known, _ in self._done)
        name = f"{STEP}{name}_{again + 1}" if again else f"{STEP}{name}"
        self._done.append((name, query))
        return name

    def finish(self, query: Any) -> Any:
        """Return the whole query, given its last step."""
        if self._done:
            query.set("with_", exp.With(expressions=[
                exp.CTE(this=step, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
                for name, step in self._done
            ]))  # fmt: skip
        return query


def computed(
    steps: Steps,
    names: Names,
    given: Input,
    uses: Counter[Node],
    conditions: Iterable[Any] = (),
    carried: Mapping[str, Any] | None = None,
) -> tuple[str, dict[Node, Any]]:
    """Add steps that read a table and compute what several nodes use.

    Args:
        steps: The query.
        names: Gives out the names of its columns.
        given: The table.
        uses: The nodes that are wanted, and how often each is going to be written.
        conditions: What must hold for a row, over stored columns.
        carried: Columns that are read beside those of nodes, by the names that they get.

    Returns:
        The last step, and a tree over its columns for each node; copy it to use it twice.

    Raises:
        SpecError: BigQuery cannot compute a node.
    """
    order = list(topological(uses))
    for node in order:
        uses.update(node.inputs)
    made: dict[Node, Any] = {}
    stored = dict(carried or {})
    depth: dict[Node, int] = {}
    layers: dict[int, dict[str, Any]] = {}
    for node in order:
        below = max((depth[entry] for entry in node.inputs), default=0)
        if isinstance(node, ColumnNode):
            name = names.new(node.name)
            stored[name], tree = given.column(node), column(name)
        else:
            tree = _tree(node, made, given.name)
        if uses[node] > 1 and isinstance(node, OperationNode):
            name = names.new("shared")
            layers.setdefault(below, {})[name] = tree
            tree, below = column(name), below + 1
        made[node], depth[node] = tree, below
    last = steps.add("stored", select(given.read(stored.values()), stored, *conditions))
    for level in sorted(layers):
        last = steps.add("shared", select(last, layers[level], star=True))
    return last, made


def _tree(node: Node, made: Mapping[Node, Any], owner: str) -> Any:
    if isinstance(node, LiteralNode):
        return constant(node.value, node.type)
    assert isinstance(node, OperationNode), f"{node.text} is no row expression"
    operation = node.operation
    assert isinstance(operation, RowOperation), f"{node.text} is no row expression"
    reason = operation.bigquery_refused
    if not reason:
        try:
            inputs = [made[entry].copy() for entry in node.sources]
            return operation.bigquery(inputs, [entry.type for entry in node.sources])
        except ValueError as error:
            reason = str(error)
    raise SpecError(
        f"BigQuery cannot compute {shortened(node.text)!r}: {reason}",
        where=f"source {owner!r}",
        hint="run aggregations with the embedded engine, or store it as a column",
    )


def within(given: Input, times: Iterable[Node], bounds: Bounds) -> list[Any]:
    """Return conditions that spare BigQuery the partitions of which no row can matter.

    They compare stored columns with constants, as pruning asks for. A row takes effect at the
    latest of its times: all of them lie before the end, and if there is one it is not before the
    beginning.

    Args:
        given: The table.
        times: When a row takes effect: the latest of these.
        bounds: When the rows that can matter took effect.
    """
    times, found = list(times), []
    for time in times:
        base, offset = _moved(time)
        if base is None:
            continue
        for symbol, bound in (("<", bounds.below), (">=", bounds.least)):
            if bound is None or (symbol == ">=" and len(times) > 1):
                continue
            moment = bound - offset
            if _FIRST < moment < _LAST:
                text = str(_EPOCH + timedelta(microseconds=moment))
                found.append(infix(given.column(base), symbol, cast(text, TIMESTAMP)))
    return found


def _moved(node: Node) -> tuple[ColumnNode | None, int]:
    """Return a time as a stored column and microseconds after it, if it is that."""
    if isinstance(node, ColumnNode):
        return node, 0
    if isinstance(node, OperationNode) and len(node.sources) == 2:
        left, right = node.sources
        sign = {"add": 1, "subtract": -1}.get(node.operation.name(), 0)
        if sign == 1 and isinstance(left, LiteralNode):
            left, right = right, left
        if sign and isinstance(right, LiteralNode) and right.type == DURATION:
            base, offset = _moved(left)
            return base, offset + sign * int(right.value)
    return None, 0


def table(name: str, alias: str | None = None) -> Any:
    """Return a table, or a step, to be read."""
    made = exp.Table(this=exp.to_identifier(name, quoted=True))
    if alias is not None:
        made.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return made


def select(source: Any, columns: Mapping[str, Any], *conditions: Any, star: bool = False) -> Any:
    """Return a SELECT of named trees.

    Args:
        source: A table's or step's name, or a tree.
        columns: A tree for each name.
        conditions: What must hold for a row.
        star: Whether all columns of the source are selected, too.
    """
    chosen = [exp.Star()] if star else []
    for name, tree in columns.items():
        own = tree if tree.parent is None else tree.copy()
        bare = isinstance(own, exp.Column) and own.name == name and not own.table
        chosen.append(own if bare else exp.alias_(own, name, quoted=True, copy=False))
    made = exp.Select(expressions=chosen)
    made.set("from_", exp.From(this=table(source) if isinstance(source, str) else source))
    if conditions:
        made.set("where", exp.Where(this=exp.and_(*conditions, copy=False)))
    return made
