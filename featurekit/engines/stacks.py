"""Columns of a TensorFlow graph, stacked: what is computed alike for many is one operation.

A graph that scales two hundred columns one by one holds thousands of operations, and every one is
traced, optimised, saved and loaded. Here the columns that an operation is applied to are the rows
of one tensor of shape [columns, batch] (or [columns, batch, width]).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    LiteralNode,
    Node,
    OperationNode,
    TargetNode,
    read_by,
    topological,
)
from featurekit.transforms.base import FullPassOperation, Masked, RowOperation, tensorflow_dtype, tf
from featurekit.transforms.statistics import (
    ExtremesValue,
    MomentsValue,
    MostFrequentValue,
    QuantilesValue,
)
from featurekit.transforms.subnormal import flushed_number, tensorflow_flushed
from featurekit.transforms.targets import TargetOperation
from featurekit.types import FLOAT32

__all__ = ["Fitted", "Frozen", "Stacks", "column_name", "compute"]


class Fitted(Protocol):
    """The statistics that the operations of a graph look up."""

    def stacked(self, nodes: Sequence[OperationNode]) -> list[Any]:
        """Return, for each statistic of the nodes' operation, the values of all nodes as one.

        Fields of numbers have shape [columns, 1], boundaries [columns, boundaries].
        """

    def resource(self, node: OperationNode) -> Any:
        """Return the lookup table of an operation, or `None`."""

    def level(self, number: int, stacks: Stacks) -> None:
        """Be told that all that comes before the statistics of a level is computed."""


class Frozen:
    """Statistics that are fitted already.

    Args:
        values: The fitted value of each statistic.
        tables: The lookup table of each node that needs one.
    """

    def __init__(self, values: Mapping[Any, Any], tables: Mapping[Node, Any]) -> None:
        self.values, self.tables = values, tables

    def stacked(self, nodes: Sequence[OperationNode]) -> list[Any]:
        """Return the values of all nodes as one, for each statistic."""
        columns = zip(*(node.statistics for node in nodes), strict=True)
        return [_stacked([self.values[request] for request in column]) for column in columns]

    def resource(self, node: OperationNode) -> Any:
        """Return the lookup table of an operation, or `None`."""
        return self.tables.get(node)

    def level(self, number: int, stacks: Stacks) -> None:
        """Do nothing: nothing is left to be fitted."""


def _stacked(values: Sequence[Any]) -> Any:
    import numpy as np

    def column(name: str) -> Any:
        return np.array([[getattr(value, name)] for value in values])

    match values[0]:
        case MomentsValue():
            return MomentsValue(column("count"), column("mean"), column("variance"))
        case ExtremesValue():
            return ExtremesValue(column("minimum"), column("maximum"))
        case MostFrequentValue():
            return MostFrequentValue(column("value"), column("count"))
        case QuantilesValue():
            boundaries: Any = np.array([value.boundaries for value in values])
            return QuantilesValue(column("count"), boundaries)
    (value,) = values  # Words: their operations are applied one by one.
    return value


class Stacks:
    """What is known of a batch: the values of nodes, in stacks of columns."""

    def __init__(self) -> None:
        self._places: dict[Hashable, tuple[int, int]] = {}
        self._stacks: list[Masked] = []
        self._sizes: list[int] = []
        self._rows: dict[int, tuple[list[Any], list[Any]]] = {}

    def put(self, nodes: Sequence[Node | str], stack: Masked) -> None:
        """Add the rows of a stack: the values of nodes, or of columns by their names."""
        for row, node in enumerate(nodes):
            self._places[_key(node)] = len(self._stacks), row
        self._stacks.append(stack)
        self._sizes.append(len(nodes))

    def get(self, nodes: Sequence[Node]) -> Masked:
        """Return the values of nodes as one stack, in their order."""
        places = [self._places[_key(node)] for node in nodes]
        stacks = {stack for stack, _ in places}
        if len(stacks) > 1:
            values, valid = zip(*(self._row(*place) for place in places), strict=True)
            return Masked(tf.stack(values), tf.stack(valid))
        (stack,) = stacks
        whole, wanted = self._stacks[stack], [row for _, row in places]
        if wanted == list(range(self._sizes[stack])):
            return whole
        return Masked(tf.gather(whole.values, wanted), tf.gather(whole.valid, wanted))

    def one(self, node: Node) -> Masked:
        """Return the values of one node, of shape [batch] or [batch, width]."""
        return self._row(*self._places[_key(node)])

    def _row(self, stack: int, row: int) -> Masked:
        if stack not in self._rows:
            whole, size = self._stacks[stack], self._sizes[stack]
            self._rows[stack] = tf.unstack(whole.values, size), tf.unstack(whole.valid, size)
        values, valid = self._rows[stack]
        return Masked(values[row], valid[row])


def compute(
    roots: Iterable[Node], stacks: Stacks, fitted: Fitted, batch: Any, training: Any = None
) -> None:
    """Compute nodes and all below them, eagerly or in a graph.

    Args:
        roots: The nodes.
        stacks: Holds the columns that they read; gets all that is computed.
        fitted: The statistics.
        batch: The number of rows.
        training: Which rows are training rows, of shape [batch], where there are any: their
            features that see the label are cross-fitted.
    """
    level = 0
    for group in _groups(roots, training is not None):
        first = group[0]
        while level < first.level:
            fitted.level(level, stacks)
            level += 1
        if isinstance(first, LiteralNode):
            value = flushed_number(first.value) if first.type == FLOAT32 else first.value
            constant = tf.constant(value, tensorflow_dtype(first.type))
            shape = [1, batch]
            stacks.put(group, Masked(tf.fill(shape, constant), tf.ones(shape, tf.bool)))
        elif isinstance(first, OperationNode):
            nodes = [node for node in group if isinstance(node, OperationNode)]
            made = _applied(nodes, stacks, fitted, training)
            if first.operation.rounds:
                made = Masked(tensorflow_flushed(made.values, first.type), made.valid)
            stacks.put(nodes, made)


def _groups(roots: Iterable[Node], training: bool) -> list[list[Node]]:
    """Return nodes in the order of their computation, those that are computed alike together."""
    depth: dict[Node, int] = {}
    groups: dict[tuple[int, int, Hashable], list[Node]] = {}
    for node in topological(roots, training):
        below = max((depth[entry] for entry in read_by(node, training)), default=-1)
        depth[node] = below + 1
        groups.setdefault((node.level, depth[node], _alike(node)), []).append(node)
    return [group for _, group in sorted(groups.items(), key=lambda item: item[0][:2])]


def _alike(node: Node) -> Hashable:
    """Return what nodes of one depth have in common that one operation can compute."""
    if not isinstance(node, OperationNode):
        return node
    if any(request.statistic.of_words for request in node.statistics):
        return node  # It has a lookup table of its own.
    return type(node.operation), node.operation, tuple(entry.type for entry in node.sources)


def _applied(
    nodes: Sequence[OperationNode], stacks: Stacks, fitted: Fitted, training: Any
) -> Masked:
    first = nodes[0]
    operation, types = first.operation, [entry.type for entry in first.sources]
    inputs = [
        stacks.get(entries) for entries in zip(*(node.sources for node in nodes), strict=True)
    ]
    with tf.name_scope(operation.name()):
        if isinstance(operation, FullPassOperation):
            statistics, resource = fitted.stacked(nodes), fitted.resource(first)
            if training is not None and isinstance(first, TargetNode):
                assert isinstance(operation, TargetOperation)
                fold, known = stacks.one(first.fold)
                # A row without a time sees as little as the first block.
                view = tf.where(training, tf.where(known, fold, 0) + 1, 0)
                return operation.tensorflow_masked(inputs, types, statistics, resource, view)
            return operation.tensorflow_masked(inputs, types, statistics, resource)
        assert isinstance(operation, RowOperation)
        # To an operation that sees one row at a time, many columns are one long column.
        shape = tf.shape(inputs[0].valid)
        made = operation.tensorflow_masked([_flat(entry) for entry in inputs], types)
        return Masked(_as_stack(made.values, shape), _as_stack(made.valid, shape))


def _flat(stack: Masked) -> Masked:
    values = tf.reshape(stack.values, [-1, *stack.values.shape[2:]])
    return Masked(values, tf.reshape(stack.valid, [-1]))


def _as_stack(values: Any, shape: Any) -> Any:
    width = list(values.shape[1:])
    return tf.reshape(values, tf.concat([shape, width], 0) if width else shape)


def column_name(node: Node) -> str:
    """Return the name of a column, or of an aggregate, which enters like one."""
    return node.name if isinstance(node, ColumnNode) else node.text


def _key(node: Node | str) -> Hashable:
    return column_name(node) if isinstance(node, (ColumnNode, AggregateNode)) else node
