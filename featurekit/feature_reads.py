"""What each feature reads of every source: columns as they are stored, and outputs over the past.

A feature's node has the features and derived columns that it uses spelled out, so what it reads is
what stands at the bottom of its graph; of an aggregation or a lookup, what is read of the rows that
are looked up, and what is asked of the example. A feature that sees the label reads what makes the
label and its folds, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    Node,
    cross_fitted,
    past_reads,
    topological,
)
from featurekit.resolved import Resolved
from featurekit.spec.expression import Expression, Name
from featurekit.spec.objects import UNDECLARED, Source

__all__ = ["StoredColumn", "columns_read", "feature_columns", "needed_anyway", "outputs_used"]


class StoredColumn(NamedTuple):
    """A column of a source, as its data calls it."""

    source: str
    name: str

    @property
    def text(self) -> str:
        """The source and the column: `flights.carrier`."""
        return f"{self.source}.{self.name}"


def feature_columns(resolved: Resolved) -> dict[str, tuple[StoredColumn, ...]]:
    """Return the columns that each feature reads, directly or through the past, in some order."""
    return {name: columns_read(resolved, node) for name, node in resolved.features.items()}


def columns_read(resolved: Resolved, *roots: Node) -> tuple[StoredColumn, ...]:
    """Return the columns that some nodes over the examples read, each once.

    Args:
        resolved: The spec that they belong to.
        roots: The nodes; without any, nothing is read.
    """
    spec = resolved.spec
    beside = [entry for node in cross_fitted(roots) for entry in node.beside]
    found = _stored(spec.examples.source, spec.sources, [*roots, *beside])
    for node in outputs_used(*roots):
        history = node.aggregate.history
        found |= _stored(spec.examples.source, spec.sources, node.asked)
        found |= _stored(history.source, spec.sources, past_reads([node]))
    return tuple(found)


def outputs_used(*roots: Node) -> tuple[AggregateNode, ...]:
    """Return the outputs of aggregations and lookups that some nodes use."""
    return tuple(node for node in topological(roots) if isinstance(node, AggregateNode))


def needed_anyway(resolved: Resolved) -> frozenset[StoredColumn]:
    """Return the columns of the examples' source that are read whatever the features are.

    They are those of the keys, the label, the split, and of the times: of the prediction, of the
    event, and of when the source's columns become known.
    """
    spec, examples = resolved.spec, resolved.spec.examples
    source = spec.sources[examples.source]
    roots = (node for node in (resolved.label, resolved.split, resolved.where) if node is not None)
    found = _stored(
        examples.source, spec.sources, [*resolved.keys.values(), *resolved.hashed, *roots]
    )
    times = [examples.predict_at, source.available_at]
    times += [None if source.event_time is None else Name(source.event_time)]
    for time in times:
        names = () if time is None else _names_below(time, source)
        found |= dict.fromkeys(_as_stored(examples.source, source, names))
    return frozenset(found)


def _stored(
    source: str, sources: Mapping[str, Source], nodes: Iterable[Node]
) -> dict[StoredColumn, None]:
    """Return the columns of a source that nodes over its rows read."""
    names = (node.name for node in topological(nodes) if isinstance(node, ColumnNode))
    return dict.fromkeys(_as_stored(source, sources[source], names))


def _as_stored(source: str, declared: Source, names: Iterable[str]) -> Iterator[StoredColumn]:
    for name in names:
        yield StoredColumn(source, declared.columns.get(name, UNDECLARED).column or name)


def _names_below(expression: Expression, source: Source) -> Iterator[str]:
    """Yield the stored columns that an expression reads, derived columns looked through."""
    seen: set[str] = set()
    stack = [expression]
    while stack:
        for part in stack.pop().walk():
            if not isinstance(part, Name) or part.name in seen:
                continue
            seen.add(part.name)
            made_of = source.columns.get(part.name, UNDECLARED).expr
            if made_of is None:
                yield part.name
            else:
                stack.append(made_of)
