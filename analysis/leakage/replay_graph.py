"""The graph of a spec as replay sees it: what each feature reads, as cells that become known.

A derived column that declares itself when it is available is a cell of its own: `waiting`, known an
hour after the planned departure, is not taken apart into a delay that is known when the aircraft
has left. So the spec is resolved once more, with such columns as if they were stored, and without
anything about availability: that is what is replayed, not what the graph is made by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
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
from featurekit.resolve import resolve
from featurekit.resolved import Resolved
from featurekit.spec.expression import Expression, Name
from featurekit.spec.objects import Column, FrozenMapping, Source, Spec
from featurekit.typecheck import Typer
from featurekit.types import Type

__all__ = ["Graph"]

_LABEL = "~label"


class Graph:
    """The features of a spec, cut at derived columns that speak for themselves.

    Args:
        resolved: The typed graph.
        knowledge: When cells became known.
    """

    def __init__(self, resolved: Resolved, knowledge: Knowledge) -> None:
        self.resolved, self.knowledge = resolved, knowledge
        self.main = resolved.spec.examples.source
        self._typers: dict[tuple[str, bool], Typer] = {}
        self.features = self._cut()
        self.aggregates = tuple(
            node for node in topological(self.features.values()) if isinstance(node, AggregateNode)
        )
        self.reads = {name: tuple(self._reads(node)) for name, node in self.features.items()}

    def typer(self, source: str, own: bool) -> Typer:
        """Return what types the truth's expressions over a source, its columns not cut."""
        if (source, own) not in self._typers:
            typer = Typer(self.knowledge.spec.sources[source].columns, self._types(source))
            self._typers[source, own] = typer if own else typer.widened()
        return self._typers[source, own]

    def _types(self, source: str) -> Mapping[str, Type]:
        resolved = self.resolved
        return resolved.types if source == self.main else resolved.past.get(source, {})

    def time(self, cell: Cell) -> Node | None:
        """Return the node of the time at which cells became known, where there is one."""
        return None if cell.at is None else self.typer(cell.source, cell.own).node(cell.at)

    def column(self, source: str, own: bool, expression: Expression) -> Node:
        """Return the node of an expression of the truth, not cut."""
        return self.typer(source, own).node(expression)

    def speaking(self, source: str) -> list[str]:
        """Return the derived columns of a source that say themselves when they are known."""
        columns = self.knowledge.spec.sources[source].columns
        return [name for name, column in columns.items() if self.knowledge.speaks(column)]

    def derived(self, source: str, own: bool) -> dict[str, Node]:
        """Return the nodes that were cut off, by the name of their column."""
        return {name: self.typer(source, own).name(name) for name in self.speaking(source)}

    def fitted(self, fitted: Mapping[StatisticRequest, Any]) -> dict[StatisticRequest, Any]:
        """Return fitted statistics under the names that they have in the cut graph."""
        made: dict[StatisticRequest, Any] = {}
        seen: set[tuple[Node, Node]] = set()
        stack = [(self.resolved.features[name], cut) for name, cut in self.features.items()]
        while stack:
            whole, cut = stack.pop()
            if (whole, cut) in seen or not isinstance(cut, OperationNode):
                continue
            seen.add((whole, cut))
            assert isinstance(whole, OperationNode)
            for old, new in zip(whole.statistics, cut.statistics, strict=True):
                made[new] = fitted[old]
            stack.extend(zip(whole.sources, cut.sources, strict=True))
        return made

    def _cut(self) -> Mapping[str, Node]:
        """Return the features with the columns that speak for themselves as if they were stored."""
        spec = self.resolved.spec
        sources, types = {}, {}
        for name, source in spec.sources.items():
            if name not in self.knowledge.spec.sources:
                continue
            stored = self.derived(name, own=True) if self._types(name) else {}
            sources[name] = _silent(source, stored)
            types[name] = {**self._types(name), **{key: of.type for key, of in stored.items()}}
        examples = replace(spec.examples, label=None)
        if self.resolved.label is not None:
            # Features that see the label do so through their statistics, which are given. What it
            # is made of would count as leaking here, so that it is a column of its own.
            main, of = sources[self.main], self.resolved.label.type
            columns = {**main.columns, _LABEL: Column(type=of, available=True)}
            sources[self.main] = replace(main, columns=FrozenMapping(columns))
            types[self.main][_LABEL] = of
            examples = replace(examples, label=Name(_LABEL))
        silent = Spec(
            sources, examples, spec.features, spec.aggregations, spec.lookups, base=spec.base
        )
        others = {name: of for name, of in types.items() if name != self.main and of}
        meaning = self.resolved.semantics
        return resolve(silent, types[self.main], others, semantics=meaning).features

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
        history = aggregate.history
        for below in topological([*aggregate.values, *where, *history.keys, *history.order]):
            if isinstance(below, ColumnNode):
                yield self.knowledge.cell(of, below.name, own=False)
        yield self.knowledge.rows(of)


def _silent(source: Source, stored: Mapping[str, Node]) -> Source:
    """Return a source that says nothing of availability, with some derived columns as stored."""
    columns = {
        name: Column(type=column.type)
        if name in stored
        else replace(column, available=None, available_at=None)
        for name, column in source.columns.items()
    }
    return replace(source, available_at=None, columns=FrozenMapping(columns))
