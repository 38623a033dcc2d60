"""How long features take: a stopwatch for nodes, and the row graph timed on some rows.

What several features use is computed once, so times are kept for sets of nodes; who shares them
is for the reader to say.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import polars as pl

from featurekit.engines.rows import Fitted, node_expression, typed_rows
from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    Node,
    OperationNode,
    fitted_type,
    topological,
)
from featurekit.resolved import Resolved
from featurekit.sources import Table, polars_errors

__all__ = ["Stopwatch", "time_row_graph"]

_ROWS = 16_384
"""So many rows are timed at most."""
_CELLS = 1 << 24
"""Fewer where vectors are wide: so many numbers are in memory at most."""


class Stopwatch:
    """Adds up how long was spent on nodes, each moment counted once.

    Time that passes within a block counts to the nodes of the innermost block of its thread. Of
    threads that work side by side the times add up.
    """

    def __init__(self) -> None:
        self.spent: dict[frozenset[Node], float] = defaultdict(float)
        """Seconds for each set of nodes that share them."""
        self._lock, self._thread = threading.Lock(), threading.local()

    def add(self, nodes: Iterable[Node], seconds: float) -> None:
        """Count seconds to some nodes together."""
        with self._lock:
            self.spent[frozenset(nodes)] += seconds

    @contextmanager
    def of(self, nodes: Iterable[Node]) -> Iterator[None]:
        """Count the time of a block to some nodes together, without that of blocks inside it."""
        before, self._thread.inside = getattr(self._thread, "inside", 0.0), 0.0
        begun = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begun
            self.add(nodes, took - self._thread.inside)
            self._thread.inside = before + took


def time_row_graph(
    watch: Stopwatch, resolved: Resolved, fitted: Fitted, table: Table, rows: int
) -> None:
    """Compute each operation of the features once for the first rows, and count what it takes.

    What is counted is the time for all rows, in proportion. Reading and typing columns, and
    writing features, is not in it; what a column costs that is only handed on is taken off.

    Args:
        watch: Where times are counted.
        resolved: The features.
        fitted: Their statistics.
        table: The opened source of the examples, with the columns of aggregates.
        rows: How many rows it has.
    """
    nodes = list(topological(resolved.features.values()))
    operations = [node for node in nodes if isinstance(node, OperationNode)]
    if not operations:
        return
    width = sum(fitted_type(node, fitted).width or 1 for node in operations)
    lazy, _ = typed_rows(table, resolved, *resolved.features.values())
    with polars_errors(f"source {table.name!r}"):
        block = lazy.head(max(1, min(_ROWS, _CELLS // width))).collect()
        for node, took in _times(nodes, block, fitted):
            watch.add([node], took * rows / block.height)


def _times(
    nodes: Iterable[Node], block: pl.DataFrame, fitted: Fitted
) -> Iterator[tuple[OperationNode, float]]:
    """Compute nodes one after the other for some rows, and yield how long each operation takes."""
    made: dict[Node, pl.Expr] = {}
    values: dict[Node, pl.Series] = {}
    idle = _idle(block)
    for place, node in enumerate(nodes):
        name, expression = f"~{place}", node_expression(node, made, fitted, None)
        if isinstance(node, OperationNode):
            read = [values[entry] for entry in dict.fromkeys(node.inputs) if entry in values]
            frame = pl.DataFrame(read or block.to_series(0))
            begun = time.perf_counter()
            frame = frame.with_columns(expression.alias(name))
            yield node, max(0.0, time.perf_counter() - begun - idle)
            values[node] = frame[name]
        elif isinstance(node, (ColumnNode, AggregateNode)):
            values[node] = block.select(expression.alias(name)).to_series()
        made[node] = pl.col(name) if node in values else expression


def _idle(block: pl.DataFrame) -> float:
    """Return how long Polars takes to hand a column on: the least of some tries."""
    frame, column = block.select(pl.first()), pl.first().alias("~same")
    tries = []
    for _ in range(5):
        begun = time.perf_counter()
        frame.with_columns(column)
        tries.append(time.perf_counter() - begun)
    return min(tries)
