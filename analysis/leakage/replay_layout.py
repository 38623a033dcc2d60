"""The rows that worlds are made of: examples' own rows, and the past of each key.

All that decides what is known when is computed here, from the data as it is, so that poison cannot
move it: a poisoned delay does not make a flight land earlier.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from featurekit.analysis.leakage.replay_graph import Graph
from featurekit.analysis.leakage.replay_known import Cell, Known
from featurekit.analysis.leakage.replay_tables import AT, EVENT, LOW, Table, known_column
from featurekit.engines.rows import computed_rows
from featurekit.graph import AggregateNode, ColumnNode, Node, topological
from featurekit.sources import Table as Stored
from featurekit.sources import polars_errors
from featurekit.types import INT64, TIMESTAMP

__all__ = ["WORLD", "Group", "Layout", "low"]

WORLD, ROW, HASH = "~world", "~row", "~hash"


@dataclass(frozen=True)
class Group:
    """Aggregates over one source by one key, and the rows of that source."""

    name: str
    nodes: tuple[AggregateNode, ...]
    table: Table
    frame: pl.DataFrame
    asking: tuple[str, ...]
    """Columns of the own rows with the example's keys; those of the past are `~key0`, ..."""
    effects: tuple[str, ...] = ()
    """Columns with the times at which rows take effect."""
    longest: int | None = None
    """How far windows look back, in microseconds; `None` for ever."""

    @property
    def within_reach(self) -> pl.Expr:
        """Whether a row may be in a window, or took effect after it or never."""
        if self.longest is None:
            return pl.lit(True)
        start = pl.col(AT).to_physical() - self.longest
        within = [(pl.col(name).to_physical() >= start).fill_null(True) for name in self.effects]
        return pl.any_horizontal(within).fill_null(True)


class Layout:
    """Reads the rows that worlds are made of.

    Args:
        graph: The features.
        tables: The opened sources.
    """

    def __init__(self, graph: Graph, tables: Mapping[str, Stored]) -> None:
        self.graph, self.stored = graph, tables
        self.spec, self.main = graph.resolved.spec, graph.main
        taken = {name for table in tables.values() for name in table.schema}
        taken |= {name for source in self.spec.sources.values() for name in source.columns}
        self.world, self.at, self.effect, self.event = (
            _fresh(name, taken) for name in ("world", "at", "effect", "event")
        )
        self.own = self._own_table()

    def groups(self) -> list[Group]:
        """Return the aggregates of the features, those of one source and key together."""
        return [self._group(f"past{place}", nodes) for place, nodes in enumerate(self._alike())]

    def _own_table(self) -> Table:
        reads = {cell: None for cells in self.graph.reads.values() for cell in cells if cell.own}
        return Table(tuple(reads))

    def _outputs(self, table: Table, source: str, own: bool) -> dict[str, Node]:
        """Return the nodes of the columns of a table's frame."""
        derived, typed = self.graph.derived(source, own), self._typed(source, own)
        outputs: dict[str, Node] = {}
        for place, cell in enumerate(table.cells):
            outputs[cell.column] = derived.get(cell.column) or typed[cell.column]
            time = self.graph.time(cell) if cell.known is Known.AT else None
            if time is not None:
                outputs[known_column(place)] = time
        return outputs

    def _typed(self, source: str, own: bool) -> dict[str, Node]:
        """Return the columns that features read of a source, as nodes of the types they read."""
        found: dict[str, Node] = {}
        for node in topological(self.graph.features.values()):
            roots: list[Node] = []
            if own and isinstance(node, ColumnNode):
                found[node.name] = node
            elif isinstance(node, AggregateNode) and own:
                roots = list(node.keys)
            elif isinstance(node, AggregateNode) and node.aggregate.history.source == source:
                aggregate = node.aggregate
                where = () if aggregate.where is None else (aggregate.where,)
                history = aggregate.history
                roots = [*aggregate.values, *where, *history.keys, *history.order]
            for below in topological(roots):
                if isinstance(below, ColumnNode):
                    found[below.name] = below
        return found

    def own_rows(self, examples: pl.Series) -> pl.DataFrame:
        """Return the own rows of examples, in their order, each under the number of its world.

        Args:
            examples: The numbers of the examples' rows.
        """
        outputs = self._outputs(self.own, self.main, True)
        predict_at = self.spec.examples.predict_at
        timed = predict_at is not None
        if predict_at is not None:
            outputs[AT] = self.graph.column(self.main, True, predict_at)
        keys: dict[str, Node] = {}
        for node in self.graph.resolved.aggregates:
            for key in node.keys:
                keys.setdefault(f"~own {key.fingerprint}", key)
        outputs |= keys
        frame = computed_rows(
            self.stored[self.main], self.spec.sources[self.main], outputs
        ).with_row_index(ROW)
        wanted = pl.DataFrame({ROW: examples.cast(pl.get_index_type())}).with_row_index(WORLD)
        with polars_errors(f"source {self.main!r}"):
            picked = frame.filter(pl.col(ROW).is_in(wanted[ROW].implode())).collect(
                engine="streaming"
            )
        picked = wanted.join(picked, on=ROW, how="left", maintain_order="left")
        if not timed:
            picked = picked.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(AT))
        return _with_hash(picked, [cell.column for cell in self.own.cells]).with_columns(
            low(), pl.col(WORLD).cast(pl.Int64)
        )

    def _alike(self) -> Iterator[tuple[AggregateNode, ...]]:
        found: dict[Any, list[AggregateNode]] = {}
        for node in self.graph.aggregates:
            of = node.aggregate.history
            # Windows with an end in the past need no older rows, which are most of them.
            lifetime = node.aggregate.window.start is None or not of.effect
            found.setdefault((of.source, of.keys, node.keys, lifetime), []).append(node)
        yield from (tuple(nodes) for nodes in found.values())

    def _group(self, called: str, nodes: tuple[AggregateNode, ...]) -> Group:
        name = nodes[0].aggregate.history.source
        cells: dict[Cell, None] = {}
        for node in nodes:
            cells |= dict.fromkeys(self.graph.cells_of(node))
        columns = tuple(cell for cell in cells if cell.column)
        event_time = self.graph.knowledge.spec.sources[name].event_time
        keyed = [
            below.name for key in nodes[0].aggregate.history.keys
            for below in topological([key]) if isinstance(below, ColumnNode)
        ]  # fmt: skip
        table = Table(
            columns, self.graph.knowledge.rows(name), frozenset(keyed), event_time is not None
        )
        outputs = self._outputs(table, name, False)
        if event_time is not None:
            outputs[EVENT] = self.graph.typer(name, False).name(event_time)
        # As the engine knows them, which looks at the graph before it was cut.
        originals = {node.text: node for node in self.graph.resolved.aggregates}
        times: dict[Node, str] = {}
        for node in nodes:
            of = originals[node.text].aggregate.history
            for time in (*of.effect, *(() if of.event_time is None else (of.event_time,))):
                times.setdefault(time, f"~time{len(times)}")
        outputs |= {name: node for node, name in times.items()}
        first = originals[nodes[0].text]
        keys = {f"~key{place}": key for place, key in enumerate(first.aggregate.history.keys)}
        outputs |= keys
        with polars_errors(f"source {name!r}"):
            rows = computed_rows(self.stored[name], self.spec.sources[name], outputs)
            frame = rows.collect(engine="streaming")
        effects: dict[tuple[Node, ...], str] = {}
        made = []
        for node in nodes:
            of = originals[node.text].aggregate.history
            column = effects.setdefault(of.effect, f"{self.effect}{len(effects)}")
            happened = f"{self.event}{column}"
            parts = [pl.col(times[time]) for time in of.effect]
            if parts:
                there = pl.all_horizontal(part.is_not_null() for part in parts)
                latest = pl.when(there).then(pl.max_horizontal(parts)).alias(column)
                frame = frame.with_columns(latest)
            event = None
            if of.event_time is not None:
                event = ColumnNode.of(happened, TIMESTAMP)
                frame = frame.with_columns(pl.col(times[of.event_time]).alias(happened))
            made.append(self._in_a_world(called, node, column if parts else None, event))
        frame = frame.drop(times.values())
        asking = tuple(f"~own {key.fingerprint}" for key in first.keys)
        starts = [node.aggregate.window.start for node in nodes]
        finite = [start for start in starts if start is not None]
        longest = max(finite) if len(finite) == len(starts) else None
        held = tuple(column for column in effects.values() if column in frame.columns)
        return Group(
            called, tuple(made), table, _with_hash(frame, [cell.column for cell in columns]),
            asking, held, longest if held else None,
        )  # fmt: skip

    def _in_a_world(
        self, called: str, node: AggregateNode, effect: str | None, event: ColumnNode | None
    ) -> AggregateNode:
        world = ColumnNode.of(self.world, INT64)
        past = node.aggregate.history
        past = replace(
            past, source=called, keys=(*past.keys, world), event_time=event,
            effect=() if effect is None else (ColumnNode.of(effect, TIMESTAMP),),
        )  # fmt: skip
        return replace(
            node, aggregate=replace(node.aggregate, history=past), keys=(*node.keys, world),
            at=node.at and ColumnNode.of(self.at, TIMESTAMP),
        )  # fmt: skip


def _fresh(name: str, taken: Collection[str]) -> str:
    """Return a name that no column has, nor begins with."""
    while any(other.startswith(name) for other in taken):
        name += "_"
    return name


def _with_hash(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Add a hash of each row's values, and of when its event happened."""
    mixed = [*columns, EVENT] if EVENT in frame.columns else columns
    return frame.with_columns((pl.struct(mixed).hash(1) if mixed else pl.lit(0)).alias(HASH))


def low() -> pl.Expr:
    """Whether a row's numbers are poisoned downwards, by its values and the prediction.

    So both directions are met in most worlds, and each row in both.
    """
    return (pl.struct(HASH, AT).hash(2) % 2 == 0).alias(LOW)
