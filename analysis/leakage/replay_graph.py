"""The graph of a spec as replay sees it: what each feature reads, as cells that become known.

A derived column that declares itself when it is available is a cell of its own: `waiting`, known an
hour after the planned departure, is not taken apart into a delay that is known when the aircraft
has left. Its node is cut off, and read like a stored column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from featurekit.analysis.leakage.replay_known import Cell, Knowledge
from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    Node,
    OperationNode,
    StatisticRequest,
    topological,
)
from featurekit.resolve import Resolved
from featurekit.spec.expression import Expression
from featurekit.typecheck import Typer

__all__ = ["Graph"]


@dataclass(frozen=True)
class _Side:
    """The rows of one source, as examples or as the past: how its expressions are typed and cut."""

    typer: Typer
    cuts: Mapping[Node, ColumnNode]


class Graph:
    """The features of a spec, cut at derived columns that speak for themselves.

    Args:
        resolved: The typed graph.
        knowledge: When cells became known.
    """

    def __init__(self, resolved: Resolved, knowledge: Knowledge) -> None:
        self.resolved, self.knowledge = resolved, knowledge
        self.main = resolved.spec.examples.source
        self._sides: dict[tuple[str, bool], _Side] = {}
        self._cut: dict[tuple[Node, str, bool], Node] = {}
        self.features = {
            name: self.cut(node, self.main, True) for name, node in resolved.features.items()
        }
        self.aggregates = tuple(
            node for node in topological(self.features.values()) if isinstance(node, AggregateNode)
        )
        self.reads = {name: tuple(self._reads(node)) for name, node in self.features.items()}

    def typer(self, source: str, own: bool) -> Typer:
        """Return what types the truth's expressions over a source."""
        return self._side(source, own).typer

    def time(self, cell: Cell) -> Node | None:
        """Return the node of the time at which cells became known, where there is one."""
        return None if cell.at is None else self.typer(cell.source, cell.own).node(cell.at)

    def column(self, source: str, own: bool, expression: Expression) -> Node:
        """Return the node of an expression of the truth, not cut."""
        return self.typer(source, own).node(expression)

    def derived(self, source: str, own: bool) -> dict[str, Node]:
        """Return the nodes that were cut off, by the name of their column."""
        return {column.name: node for node, column in self._side(source, own).cuts.items()}

    def fitted(self, fitted: Mapping[StatisticRequest, Any]) -> dict[StatisticRequest, Any]:
        """Return fitted statistics under the names that they have in the cut graph."""
        made = dict(fitted)
        for node in topological(self.resolved.features.values()):
            if isinstance(node, OperationNode) and node.statistics:
                cut = self.cut(node, self.main, True)
                assert isinstance(cut, OperationNode)
                for old, new in zip(node.statistics, cut.statistics, strict=True):
                    made[new] = fitted[old]
        return made

    def _side(self, source: str, own: bool) -> _Side:
        if (source, own) not in self._sides:
            resolved, truth = self.resolved, self.knowledge.spec.sources[source]
            types = resolved.types if source == self.main else resolved.past.get(source, {})
            typer = Typer(truth.columns, types)
            typer = typer if own else typer.widened()
            cuts: dict[Node, ColumnNode] = {}
            for name, column in truth.columns.items():
                if self.knowledge.speaks(column):
                    node = typer.name(name)
                    cuts[node] = ColumnNode.of(name, node.type)
            self._sides[source, own] = _Side(typer, cuts)
        return self._sides[source, own]

    def cut(self, node: Node, source: str, own: bool) -> Node:
        """Return a node over the rows of a source with its derived columns cut off."""
        key = (node, source, own)
        if key not in self._cut:
            self._cut[key] = self._made(node, source, own)
        return self._cut[key]

    def _made(self, node: Node, source: str, own: bool) -> Node:
        side = self._side(source, own)
        if node in side.cuts:
            return side.cuts[node]
        if isinstance(node, OperationNode):
            inputs = tuple(self.cut(entry, source, own) for entry in node.sources)
            if inputs == node.sources:
                return node
            return OperationNode.of(node.operation, inputs, node.type)
        if isinstance(node, AggregateNode):
            aggregate = node.aggregate
            of = aggregate.history.source
            history = replace(
                aggregate.history,
                keys=tuple(self.cut(key, of, False) for key in aggregate.history.keys),
            )
            aggregate = replace(
                aggregate,
                values=tuple(self.cut(value, of, False) for value in aggregate.values),
                where=None if aggregate.where is None else self.cut(aggregate.where, of, False),
                history=history,
            )
            keys = tuple(self.cut(key, source, own) for key in node.keys)
            return replace(node, aggregate=aggregate, keys=keys)
        return node

    def _reads(self, feature: Node) -> Iterator[Cell]:
        """Yield every cell below a feature once: of the own row, and of past rows."""
        seen: dict[Cell, None] = {}
        for node in topological([feature]):
            if isinstance(node, ColumnNode):
                seen[self.knowledge.cell(self.main, node.name, own=True)] = None
            elif isinstance(node, AggregateNode):
                seen |= dict.fromkeys(self.cells_of(node))
                for key in topological(node.keys):
                    if isinstance(key, ColumnNode):
                        seen[self.knowledge.cell(self.main, key.name, own=True)] = None
        yield from seen

    def cells_of(self, node: AggregateNode) -> Iterator[Cell]:
        """Yield the cells of past rows that an aggregate reads, and the rows themselves."""
        aggregate = node.aggregate
        of = aggregate.history.source
        where = () if aggregate.where is None else (aggregate.where,)
        for below in topological([*aggregate.values, *where, *aggregate.history.keys]):
            if isinstance(below, ColumnNode):
                yield self.knowledge.cell(of, below.name, own=False)
        yield self.knowledge.rows(of)
