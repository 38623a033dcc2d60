"""Features computed again, each example in a world of its own that ends at its prediction.

The past rows of every example's keys are laid out under the number of its world, and the world is
one more key of every aggregation: so one run of the engine computes hundreds of worlds, each with a
future that is deleted or poisoned at another time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.leakage.replay_change import Mode
from featurekit.analysis.leakage.replay_graph import Graph
from featurekit.analysis.leakage.replay_known import Cell
from featurekit.analysis.leakage.replay_layout import WORLD, Group, Layout, low
from featurekit.analysis.leakage.replay_tables import AT, Table
from featurekit.engines import history
from featurekit.engines.rows import lower
from featurekit.graph import StatisticRequest, topological
from featurekit.sources import Table as Stored
from featurekit.spec.objects import Examples, Source, Spec
from featurekit.transforms.base import polars_dtype

__all__ = ["Variant", "Worlds"]

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
        self.graph = graph
        self.fitted = graph.fitted(fitted)
        layout = Layout(graph, tables)
        self.world, self.at, self.own = layout.world, layout.at, layout.own
        self.rows = layout.own_rows(examples)
        self.groups = layout.groups()
        self.sizes = self._sizes()

    def _asked(self, group: Group, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(
            WORLD, AT, *(pl.col(name).alias(f"~key{at}") for at, name in enumerate(group.asking))
        )

    def _past(self, group: Group, rows: pl.DataFrame) -> pl.LazyFrame:
        """Return the past rows of the keys of some examples, each under the number of its world."""
        asked = self._asked(group, rows).lazy()
        if not group.asking:
            laid = group.frame.lazy().join(asked, how="cross")
        else:
            keys = [f"~key{place}" for place in range(len(group.asking))]
            laid = group.frame.lazy().join(asked, on=keys)
        return laid.filter(group.within_reach).with_columns(low())

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
        groups: Sequence[Group],
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
