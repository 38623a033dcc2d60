"""Features computed again, each example in a world of its own that ends at its prediction.

The past rows of every example's keys are laid out under the number of its world, and the world is
one more key of every aggregation: so one run of the engine computes hundreds of worlds, each with a
future that is deleted or poisoned at another time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.leakage.replay_change import Mode
from featurekit.analysis.leakage.replay_graph import Graph
from featurekit.analysis.leakage.replay_known import Cell, Known
from featurekit.analysis.leakage.replay_tables import AT, EVENT, LOW, Table, known_column
from featurekit.engines import history
from featurekit.engines.rows import computed_rows, lower
from featurekit.graph import AggregateNode, ColumnNode, Node, StatisticRequest, topological
from featurekit.sources import Table as Stored
from featurekit.sources import polars_errors
from featurekit.spec.objects import Examples, Source, Spec
from featurekit.transforms.base import polars_dtype
from featurekit.types import INT64, TIMESTAMP

__all__ = ["Variant", "Worlds"]

WORLD, ROW, HASH = "~world", "~row", "~hash"
_MOST = 2_000_000
"""So many rows of the past are laid out at once."""


@dataclass(frozen=True)
class Variant:
    """What becomes of the future of some worlds.

    Args:
        mode: Whether it is deleted or poisoned; `None` leaves it as it is.
        only: The cells that are touched; all by default.
    """

    mode: Mode | None
    only: Collection[Cell] | None = None


@dataclass(frozen=True)
class _Group:
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


class Worlds:
    """Computes the features of examples again, without the future.

    Args:
        graph: The features.
        tables: The opened sources.
        fitted: The statistics, frozen.
        examples: The numbers of the examples' rows.
    """

    def __init__(
        self,
        graph: Graph,
        tables: Mapping[str, Stored],
        fitted: Mapping[StatisticRequest, Any],
        examples: pl.Series,
    ) -> None:
        self.graph, self.stored = graph, tables
        self.spec, self.main = graph.resolved.spec, graph.main
        self.fitted = graph.fitted(fitted)
        taken = {name for table in tables.values() for name in table.schema}
        taken |= {name for source in self.spec.sources.values() for name in source.columns}
        self.world, self.at, self.effect, self.event = (
            _fresh(name, taken) for name in ("world", "at", "effect", "event")
        )
        self.own = self._own_table()
        self.rows = self._own_rows(examples)
        self.groups = [
            self._group(f"past{place}", nodes) for place, nodes in enumerate(self._alike())
        ]
        self.sizes = self._sizes()

    # The rows

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
                roots = [*aggregate.values, *where, *aggregate.history.keys]
            for below in topological(roots):
                if isinstance(below, ColumnNode):
                    found[below.name] = below
        return found

    def _own_rows(self, examples: pl.Series) -> pl.DataFrame:
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
            _low(), pl.col(WORLD).cast(pl.Int64)
        )

    def _alike(self) -> Iterator[tuple[AggregateNode, ...]]:
        found: dict[Any, list[AggregateNode]] = {}
        for node in self.graph.aggregates:
            of = node.aggregate.history
            # Windows with an end in the past need no older rows, which are most of them.
            lifetime = node.aggregate.window.start is None or not of.effect
            found.setdefault((of.source, of.keys, node.keys, lifetime), []).append(node)
        yield from (tuple(nodes) for nodes in found.values())

    def _group(self, called: str, nodes: tuple[AggregateNode, ...]) -> _Group:
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
        return _Group(
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

    # Worlds

    def _asked(self, group: _Group, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(
            WORLD, AT, *(pl.col(name).alias(f"~key{at}") for at, name in enumerate(group.asking))
        )

    def _past(self, group: _Group, rows: pl.DataFrame) -> pl.LazyFrame:
        """Return the past rows of the keys of some examples, each under the number of its world."""
        asked = self._asked(group, rows).lazy()
        if not group.asking:
            laid = group.frame.lazy().join(asked, how="cross")
        else:
            keys = [f"~key{place}" for place in range(len(group.asking))]
            laid = group.frame.lazy().join(asked, on=keys)
        return laid.filter(group.within_reach).with_columns(_low())

    def _sizes(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return for each world how many past rows it has."""
        total = np.ones(self.rows.height, np.int64)
        for group in self.groups:
            if not group.asking:
                total += group.frame.height
                continue
            keys = [f"~key{place}" for place in range(len(group.asking))]
            counts = group.frame.lazy().group_by(keys).len()
            asked = self._asked(group, self.rows).lazy()
            found = asked.join(counts, on=keys, how="left", maintain_order="left").collect()
            total += found["len"].fill_null(0).cast(pl.Int64).to_numpy()
        return total

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the own rows of all worlds, so many at once that their pasts fit in memory."""
        part = (np.cumsum(self.sizes) - self.sizes) // _MOST
        for number in np.unique(part):
            yield self.rows.filter(pl.Series(part == number))

    def compute(
        self,
        rows: pl.DataFrame,
        variants: Sequence[Variant],
        names: Collection[str] | None = None,
    ) -> list[pl.DataFrame]:
        """Return the features of some worlds, a row for each, in several variants.

        Args:
            rows: Their own rows.
            variants: What becomes of the future. All variants are computed together.
            names: The features; all by default.
        """
        features = {
            name: node for name, node in self.graph.features.items()
            if names is None or name in names
        }  # fmt: skip
        used = {node.text for node in topological(features.values())}
        groups = [
            group for group in self.groups
            if not used.isdisjoint(node.text for node in group.nodes)
        ]  # fmt: skip
        own = [self._varied(self.own, rows.lazy(), place, of) for place, of in enumerate(variants)]
        kept = [*(cell.column for cell in self.own.cells), self.world, self.at]
        at = pl.col(AT).cast(pl.Datetime("us", "UTC")).alias(self.at)
        examples = pl.concat([frame.with_columns(at).select(kept) for frame in own]).collect()
        made = examples
        if groups:
            pasts = {}
            for group in groups:
                laid = self._past(group, rows).collect().lazy()
                frames = [
                    self._varied(group.table, laid, place, of) for place, of in enumerate(variants)
                ]
                past = pl.concat(frames)
                stored = [name for name in past.collect_schema() if not name.startswith("~")]
                pasts[group.name] = past.select(stored).collect()
            values = self._values(groups, examples, pasts)
            # A column that is called like an output stands back, as in a run.
            made = made.drop([column.name for column in values], strict=False).hstack(values)
        found = lower(made.lazy(), features, self.fitted).select(list(features)).collect()
        return [found.slice(place * rows.height, rows.height) for place in range(len(variants))]

    def _varied(
        self, table: Table, frame: pl.LazyFrame, place: int, variant: Variant
    ) -> pl.LazyFrame:
        """Return rows in a variant, under numbers of worlds that are its own."""
        if variant.mode is not None:
            frame = table.without_future(frame, variant.mode, variant.only)
        number = pl.col(WORLD) + place * self.rows.height
        return frame.with_columns(number.alias(self.world))

    def _values(
        self,
        groups: Sequence[_Group],
        examples: pl.DataFrame,
        pasts: Mapping[str, pl.DataFrame],
    ) -> list[pl.Series]:
        # Typed already: what the spec declares of them does not apply any more.
        sources = {name: Source(data=frame) for name, frame in pasts.items()}
        spec = Spec(sources, Examples(groups[0].name), {"none": "none"})
        nodes = [node for group in groups for node in group.nodes]
        tables = {name: _opened(name, frame) for name, frame in pasts.items()}
        own = Source(data=examples)
        frame = history.compute(
            nodes, spec, _opened("~examples", examples), tables, declared=own
        ).collect()
        made = []
        for node in nodes:
            column = frame[node.text].cast(polars_dtype(node.type))
            if node.type.is_float and node.type.width is None:
                column = column.fill_nan(None)
            made.append(column)
        return made

    def changed(self, rows: pl.DataFrame) -> dict[Cell, pl.Series]:
        """Return for each cell in which worlds some of it was not known, in the order of rows."""
        found: dict[Cell, pl.Series] = {}
        flags = rows.with_columns(self.own.unknown())
        for place, cell in enumerate(self.own.cells):
            found[cell] = flags[f"~unknown{place}"]
        for group in self.groups:
            unknown = group.table.unknown()
            any_of = self._past(group, rows).group_by(WORLD).agg(each.any() for each in unknown)
            by_world = rows.select(WORLD).lazy().join(
                any_of, on=WORLD, how="left", maintain_order="left"
            ).collect()  # fmt: skip
            rows_cell = group.table.rows
            assert rows_cell is not None
            for place, cell in enumerate((*group.table.cells, rows_cell)):
                flag = by_world[f"~unknown{place}"].fill_null(False)
                found[cell] = found[cell] | flag if cell in found else flag
        return found


def _opened(name: str, frame: pl.DataFrame) -> Stored:
    return Stored(name, frame.lazy(), dict(frame.schema), {})


def _fresh(name: str, taken: Collection[str]) -> str:
    """Return a name that no column has, nor begins with."""
    while any(other.startswith(name) for other in taken):
        name += "_"
    return name


def _with_hash(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Add a hash of each row's values, and of when its event happened."""
    mixed = [*columns, EVENT] if EVENT in frame.columns else columns
    return frame.with_columns((pl.struct(mixed).hash(1) if mixed else pl.lit(0)).alias(HASH))


def _low() -> pl.Expr:
    """Whether a row's numbers are poisoned downwards, by its values and the prediction.

    So both directions are met in most worlds, and each row in both.
    """
    return (pl.struct(HASH, AT).hash(2) % 2 == 0).alias(LOW)
