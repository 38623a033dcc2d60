"""Typed nodes: what a spec means once its names and types are resolved.

A node is immutable and knows its type, its inputs, its canonical text and a fingerprint of all
that determines its values. Two nodes with the same fingerprint are the same computation, so
common sub-expressions are found by looking the fingerprint up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from featurekit.spec.expression import Call, Expression, Literal, Name
from featurekit.spec.window import Window
from featurekit.transforms.base import AggregateOperation, FullPassOperation, Operation
from featurekit.transforms.statistics import Statistic, WordCounts
from featurekit.transforms.targets import TargetMeans
from featurekit.types import Type

__all__ = [
    "Aggregate", "AggregateNode", "ColumnNode", "History", "LiteralNode", "Node", "OperationNode",
    "StatisticRequest", "TargetNode",
    "code_domain", "cross_fitted", "fitted_type", "past_reads", "read_by", "topological",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Node:
    """The root of nodes; equal when their fingerprints are.

    Args:
        type: The type of its values.
        expression: Its text in the spec's language, derived columns and features spelled out.
    """

    type: Type
    expression: Expression
    fingerprint: str = field(init=False, repr=False)
    level: int = field(init=False, repr=False)
    """How many passes over the training rows must be done before its values can be computed."""

    def __post_init__(self) -> None:
        digest = hashlib.sha256(repr(self._identity()).encode()).hexdigest()
        object.__setattr__(self, "fingerprint", digest)
        object.__setattr__(self, "level", self._level())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes whose values this one reads."""
        return ()

    @property
    def text(self) -> str:
        """The canonical text of the computation."""
        return self.expression.text

    def _identity(self) -> tuple[Any, ...]:
        return (type(self).__name__, str(self.type), self.expression.text)

    def _level(self) -> int:
        return 0


@dataclass(frozen=True, eq=False)
class ColumnNode(Node):
    """A column that is read from the source of the examples."""

    name: str

    @classmethod
    def of(cls, name: str, type: Type) -> ColumnNode:
        """Return the node of a source column."""
        return cls(type, Name(name), name)


@dataclass(frozen=True, eq=False)
class LiteralNode(Node):
    """A constant."""

    value: Any

    @classmethod
    def of(cls, value: Any, type: Type) -> LiteralNode:
        """Return the node of a constant of a type."""
        return cls(type, Literal(value, type), value)


@dataclass(frozen=True)
class History:
    """Rows of a source in the order in which they took effect, by key.

    All nodes are computed from rows of that source, in float64.

    Args:
        source: The source's name.
        keys: What names the entity that a row is about; none if all rows are about one.
        effect: Times, the latest of which is when a row counts from; none if it always did.
        event_time: When a row's event happened; decides between rows of one effect.
        unique: Whether there is one row for each key.
        order_by: What decides between rows of one effect and event time, where a lookup says so.
        row: All values of a row that is taken whole, the last to decide; none where each value is
            taken for itself.
    """

    source: str
    keys: tuple[Node, ...]
    effect: tuple[Node, ...] = ()
    event_time: Node | None = None
    unique: bool = False
    order_by: tuple[Node, ...] = ()
    row: tuple[Node, ...] = ()

    @property
    def order(self) -> tuple[Node, ...]:
        """What decides between rows of one effect and event time: the greatest is the latest."""
        return (*self.order_by, *self.row)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that it is made of, as fingerprints."""
        parts = [tuple(node.fingerprint for node in nodes) for nodes in (self.keys, self.effect)]
        event = self.event_time.fingerprint if self.event_time is not None else None
        plain = (self.source, *parts, event, self.unique)
        return plain if not self.row else (*plain, self._ties)

    @cached_property
    def _ties(self) -> str:
        """A digest of what decides between rows: each of many values of a row has all of them."""
        ties = [[node.fingerprint for node in nodes] for nodes in (self.order_by, self.row)]
        return hashlib.sha256(repr(ties).encode()).hexdigest()


@dataclass(frozen=True)
class Aggregate:
    """What one output of an aggregation is computed from.

    Args:
        operation: What summarises the rows.
        values: What it summarises, over rows of the history.
        where: Which rows it looks at; all, if there is none.
        history: The rows.
        window: How far back it looks.
    """

    operation: AggregateOperation
    values: tuple[Node, ...]
    where: Node | None
    history: History
    window: Window

    @property
    def read(self) -> tuple[Node, ...]:
        """What it reads of past rows itself, apart from the key; see `past_reads`."""
        optional = (self.history.event_time, self.where)
        present = (node for node in optional if node is not None)
        return (*self.history.effect, *self.values, *present)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that determines its values."""
        nodes = (*self.values, *(() if self.where is None else (self.where,)))
        return (
            type(self.operation).__name__, self.operation, len(self.values),
            *(node.fingerprint for node in nodes), self.history.identity,
            (self.window.start, self.window.end),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class AggregateNode(Node):
    """One output of an aggregation over past rows, or of a lookup.

    Args:
        aggregation: The aggregation's name.
        name: The output's name.
        aggregate: How it is computed.
        keys: The example's entity, in the order of the history's keys.
        at: The time of prediction; `None` where rows have no time.
    """

    aggregation: str
    name: str
    aggregate: Aggregate
    keys: tuple[Node, ...]
    at: Node | None

    @property
    def asked(self) -> tuple[Node, ...]:
        """What must be known of an example to look its past up; the row graph reads none of it."""
        return self.keys if self.at is None else (self.at, *self.keys)

    def _identity(self) -> tuple[Any, ...]:
        mine = tuple(entry.fingerprint for entry in self.asked)
        return ("AggregateNode", str(self.type), self.aggregate.identity, self.at is None, mine)


@dataclass(frozen=True, eq=False)
class OperationNode(Node):
    """An operation applied to nodes."""

    operation: Operation
    sources: tuple[Node, ...]

    @classmethod
    def of(cls, operation: Operation, inputs: tuple[Node, ...], type: Type) -> OperationNode:
        """Return the node of an operation over inputs whose types are already coerced."""
        text = Call(operation, tuple(entry.expression for entry in inputs))
        return cls(type, text, operation, inputs)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that the operation is applied to."""
        return self.sources

    @property
    def statistics(self) -> tuple[StatisticRequest, ...]:
        """What a full-pass operation must know about the training rows; else nothing."""
        if not isinstance(self.operation, FullPassOperation):
            return ()
        types = tuple(entry.type for entry in self.sources)
        return tuple(
            StatisticRequest(statistic, self.sources[0])
            for statistic in self.operation.statistics(types)
        )

    def _identity(self) -> tuple[Any, ...]:
        operation = (type(self.operation).__name__, self.operation)
        return (operation, str(self.type), *(entry.fingerprint for entry in self.sources))

    def _level(self) -> int:
        below = max((entry.level for entry in self.sources), default=0)
        return below + bool(self.statistics)


@dataclass(frozen=True, eq=False)
class TargetNode(OperationNode):
    """An operation that sees the label, cross-fitted: its value for a training row is another.

    Only training reads the nodes beside its inputs.

    Args:
        label: What it is the mean of, in float64.
        part: Which part of the training rows a row's label counts to.
        fold: The fold of a row; it says which parts the row may see.
        earlier: Whether folds follow each other in time; see `featurekit.transforms.targets.views`.
    """

    label: Node
    part: Node
    fold: Node
    earlier: bool

    @property
    def beside(self) -> tuple[Node, ...]:
        """What training reads, and serving does not."""
        return self.label, self.part, self.fold

    @property
    def statistics(self) -> tuple[StatisticRequest, ...]:
        """What it must know about the training rows."""
        (request,) = super().statistics
        statistic = request.statistic
        assert isinstance(statistic, TargetMeans)
        if self.earlier:  # The last part are the labels that no fold knows in time.
            statistic = replace(statistic, parts=statistic.parts + 1, earlier=True)
        return (StatisticRequest(statistic, request.node, (self.label, self.part)),)

    def _identity(self) -> tuple[Any, ...]:
        beside = tuple(node.fingerprint for node in self.beside)
        return (*super()._identity(), beside, self.earlier)

    def _level(self) -> int:
        (request,) = self.statistics
        return max(request.level, self.fold.level) + 1


@dataclass(frozen=True)
class StatisticRequest:
    """A statistic of a node's values over the training rows.

    Args:
        statistic: The statistic.
        node: The node.
        beside: What else it sees of each row.
    """

    statistic: Statistic
    node: Node
    beside: tuple[Node, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes whose values it sees."""
        return (self.node, *self.beside)

    @property
    def level(self) -> int:
        """How many passes over the training rows must be done before it can be fitted."""
        return max(node.level for node in self.nodes)

    @property
    def text(self) -> str:
        """A readable, unique name: `quantiles(log1p(distance), parts=10)`."""
        of = ", ".join(node.text for node in self.nodes)
        settings = "".join(
            f", {name}={value!r}"
            for name, value in vars(self.statistic).items()
            if value != type(self.statistic).__dataclass_fields__[name].default
        )
        return f"{type(self.statistic).__name__.lower()}({of}{settings})"

    def text_in(self, semantics: int) -> str:
        """Return its name in a run of a version of `featurekit.semantics`."""
        if semantics == 1 and isinstance(self.statistic, WordCounts):
            return replace(self, statistic=replace(self.statistic, every=False)).text
        return self.text


def past_reads(nodes: Iterable[AggregateNode], keys: bool = True) -> list[Node]:
    """Return what aggregates read of past rows, each once.

    Args:
        nodes: The aggregates.
        keys: Whether the keys are among it.
    """
    found: dict[Node, None] = {}
    seen: set[int] = set()
    for node in nodes:
        history = node.aggregate.history
        if id(history) not in seen:  # Many values of a row share one.
            seen.add(id(history))
            found |= dict.fromkeys((*(history.keys if keys else ()), *history.order))
        found |= dict.fromkeys(node.aggregate.read)
    return list(found)


def topological(roots: Iterable[Node], training: bool = False) -> Iterator[Node]:
    """Yield every node below the roots once, inputs before the nodes that read them.

    Args:
        roots: The nodes.
        training: Whether to go below the folds of cross-fitted nodes, which training rows read.
    """
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            below = read_by(node, training)
            stack.extend((entry, False) for entry in reversed(below) if entry not in seen)


def read_by(node: Node, training: bool) -> tuple[Node, ...]:
    """Return the nodes whose values one reads, in training rows or in others."""
    return (*node.inputs, node.fold) if training and isinstance(node, TargetNode) else node.inputs


def cross_fitted(roots: Iterable[Node]) -> tuple[TargetNode, ...]:
    """Return the nodes below the roots whose values differ between training and serving."""
    return tuple(node for node in topological(roots) if isinstance(node, TargetNode))


def fitted_type(node: Node, fitted: Mapping[StatisticRequest, Any]) -> Type:
    """Return a node's type once statistics are known: vectors have their width then."""
    if isinstance(node, OperationNode) and isinstance(node.operation, FullPassOperation):
        types = tuple(entry.type for entry in node.sources)
        return node.operation.fitted_type(types, [fitted[request] for request in node.statistics])
    return node.type


def code_domain(node: Node, fitted: Mapping[StatisticRequest, Any]) -> tuple[int, int] | None:
    """Return the smallest and the largest code of a node whose values are codes, else `None`."""
    if not isinstance(node, OperationNode):
        return None
    return node.operation.domain([fitted[request] for request in node.statistics])
