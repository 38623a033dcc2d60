"""Whole tables that end at a moment, for functions that nobody can look into."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.leakage.replay_change import Mode, poison
from featurekit.analysis.leakage.replay_known import Cell, Knowledge, Known
from featurekit.analysis.leakage.replay_tables import AT, EVENT, LOW, Table, known_column
from featurekit.engines.rows import SPLIT, TRAIN, computed_rows, with_split
from featurekit.errors import DataError
from featurekit.graph import ColumnNode, Node, topological
from featurekit.resolved import Resolved
from featurekit.sources import Table as Stored
from featurekit.sources import column_types, open_table
from featurekit.spec.objects import Spec
from featurekit.typecheck import Typer
from featurekit.types import STRING

__all__ = ["Truncated", "plain_value"]

_OWN = "~own"


def plain_value(value: Any) -> Any:
    """Return a cell as JSON can say it."""
    if isinstance(value, pl.Series):
        return [plain_value(entry) for entry in value.to_list()]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


@dataclass(frozen=True)
class _Examples(Table):
    """The table of the examples: rows predicted at the moment are examples, others are the past.

    Args:
        own: Its columns as those of an example's own row.
        named: The columns that name an example, which are always known.
    """

    own: tuple[Cell, ...] = ()
    named: frozenset[str] = frozenset()

    @property
    def there(self) -> pl.Expr:
        """Whether a row is an example of the moment, or its event has happened before."""
        return pl.col(_OWN) | super().there

    def known(self, cell: Cell) -> pl.Expr:
        """Whether a cell is known, by whose row it is."""
        place = self.cells.index(cell)
        mine = self.own[place]
        known = pl.lit(mine.known is not Known.NEVER)
        if mine.known is Known.AT:
            known = (pl.col(known_column(place)) <= pl.col(AT)).fill_null(False)
        if cell.column in self.named:
            known = pl.lit(True)
        return pl.when(_OWN).then(known).otherwise(super().known(cell))


class Truncated:
    """Tables to take the future of a moment from.

    Args:
        spec: What is declared of them.
        frames: The tables.
        by: The columns by which rows of each are found.
    """

    def __init__(
        self, spec: Spec, frames: Mapping[str, pl.DataFrame], by: Mapping[str, Sequence[str]]
    ) -> None:
        self.spec, self.main = spec, spec.examples.source
        self.frames = dict(frames)
        if self.main not in frames:
            raise DataError(f"there is no table {self.main!r}", where="replay")
        self.stored = {
            name: open_table(name, replace(spec.sources[name], data=frame), Path())
            for name, frame in frames.items()
        }
        self.typers = {
            name: Typer(spec.sources[name].columns, column_types(table, spec.sources[name]))
            for name, table in self.stored.items()
        }
        self.knowledge = Knowledge(spec, frames[self.main].columns)
        self.tables: dict[str, Table] = {}
        self.timed: dict[str, pl.DataFrame] = {}
        for name in frames:
            self._prepare(name, by.get(name, ()))
        stored = [self.stored[self.main].stored(key) for key in spec.examples.keys]
        renamed = dict(zip(stored, spec.examples.keys, strict=True))
        self.keys = frames[self.main].select(pl.col(one).alias(key) for one, key in renamed.items())
        if self.keys.is_duplicated().any():
            raise DataError("several examples have the same keys", where=f"table {self.main!r}")
        self.predict = self.timed[self.main]["~predict"]

    def _prepare(self, name: str, by: Sequence[str]) -> None:
        source, stored, typer = self.spec.sources[name], self.stored[name], self.typers[name]
        named = {stored.stored(column): column for column in typer.types}
        columns = [(column, named.get(column, column)) for column in self.frames[name].columns]
        cells = [
            replace(self.knowledge.cell(name, spelled, own=False), column=column)
            for column, spelled in columns
        ]
        outputs: dict[str, Node] = {}
        for place, cell in enumerate(cells):
            if cell.at is not None:
                outputs[known_column(place)] = typer.node(cell.at)
        if source.event_time is not None:
            outputs[EVENT] = typer.name(source.event_time)
        keys = {*by, *_stored_below(stored, outputs.values())}
        table = Table(
            tuple(cells), self.knowledge.rows(name), frozenset(keys), source.event_time is not None
        )
        if name == self.main:
            assert self.spec.examples.predict_at is not None
            outputs["~predict"] = typer.node(self.spec.examples.predict_at)
            own = tuple(
                replace(self.knowledge.cell(name, spelled, own=True), column=column)
                for column, spelled in columns
            )
            example_keys = frozenset(stored.stored(key) for key in self.spec.examples.keys)
            keys |= example_keys
            table = _Examples(
                table.cells, table.rows, frozenset(keys), table.timed, own, example_keys
            )
        frame = self.frames[name]
        if outputs:
            frame = frame.hstack(computed_rows(stored, source, outputs).collect())
        self.tables[name], self.timed[name] = table, frame.with_columns(pl.lit(False).alias(LOW))

    def moments(self) -> tuple[pl.DataFrame, pl.Series | None]:
        """Return the distinct times of prediction, and how long after each the next event is."""
        at = self.predict.drop_nulls().unique().sort().alias(AT)
        frame = pl.DataFrame([at]).with_columns(pl.lit(0).alias("~order"))
        nearest: pl.Series | None = None
        for timed in self.timed.values():
            if EVENT not in timed.columns:
                continue
            events = timed.select(pl.col(EVENT).drop_nulls().sort())
            joined = frame.join_asof(events, left_on=AT, right_on=EVENT, strategy="forward")
            gap = (joined[EVENT] - joined[AT]).dt.total_microseconds()
            nearest = gap if nearest is None else pl.select(
                pl.min_horizontal(nearest, gap)
            ).to_series()  # fmt: skip
        return frame, nearest

    def predicted(self, moment: Any) -> npt.NDArray[np.int64]:
        """Return the places of the examples that are predicted at a moment."""
        return np.flatnonzero((self.predict == moment).fill_null(False).to_numpy())

    def _at(self, name: str, moment: Any) -> pl.LazyFrame:
        frame = self.timed[name].lazy()
        frame = frame.with_columns(pl.lit(moment).cast(pl.Datetime("us", "UTC")).alias(AT))
        if name == self.main:
            frame = frame.with_columns(
                (pl.col("~predict") == pl.col(AT)).fill_null(False).alias(_OWN)
            )
        return frame

    def at(
        self, moment: Any, mode: Mode, only: Collection[Cell] | None = None
    ) -> dict[str, pl.DataFrame]:
        """Return the tables without what was not known at a moment.

        Args:
            moment: The moment.
            mode: What becomes of what was not known.
            only: The columns, and rows, that are touched; all by default.
        """
        made = {}
        for name, table in self.tables.items():
            frame = table.without_future(self._at(name, moment), mode, only)
            made[name] = frame.select(self.frames[name].columns).collect()
        return made

    def candidates(self, moment: Any) -> tuple[list[Cell], list[Cell]]:
        """Return the columns, and the tables' rows, of which some were not known at a moment.

        Columns by which rows are found, and their times, count where the row is there already:
        that a later row cannot be found without them says nothing of themselves.
        """
        columns: list[Cell] = []
        rows: list[Cell] = []
        for name, table in self.tables.items():
            unknown = dict(zip(table.cells, table.unknown(), strict=False))
            named = table.named if isinstance(table, _Examples) else frozenset()
            flags = {
                cell.column: (flag & table.there if cell.column in table.keys else flag).any()
                for cell, flag in unknown.items() if cell.column not in named
            }  # fmt: skip
            missing = (~table.there).any().alias("~rows")
            by_name = [flag.alias(column) for column, flag in flags.items()]
            found = self._at(name, moment).select(*by_name, missing).collect().row(0, named=True)
            columns += [cell for cell in table.cells if found.get(cell.column)]
            if table.rows is not None and found["~rows"]:
                rows.append(table.rows)
        return columns, rows

    def anything(self, moment: Any) -> bool:
        """Whether anything was not known at a moment."""
        return any(self.candidates(moment))

    def undeclared(self) -> list[Cell]:
        """Return the columns of which nobody says when they are known.

        A column of the examples may be undeclared in an example's own row alone, and known with its
        row in the past: then the cell is one of own rows.
        """
        found = []
        for table in self.tables.values():
            own = table.own if isinstance(table, _Examples) else ()
            fixed = self.tables[self.main].keys | self._times() if own else frozenset()
            silent = [cell for cell in table.cells if cell.known is Known.UNDECLARED]
            mine = [cell for cell in own if cell.known is Known.UNDECLARED]
            silent += [cell for cell in mine if cell.column not in {one.column for one in silent}]
            found += [cell for cell in silent if cell.column not in fixed]
        return found

    def _times(self) -> set[str]:
        """Return the columns of the examples that say when their predictions are made."""
        at = self.spec.examples.predict_at
        assert at is not None
        return _stored_below(self.stored[self.main], [self.typers[self.main].node(at)])

    def poisoned(self, cells: Collection[Cell], moment: Any) -> dict[str, pl.DataFrame]:
        """Return the tables with some columns poisoned, the rest as it is.

        Args:
            cells: The columns: those of own rows in the rows of the examples that are predicted at
                the moment, others from top to bottom.
            moment: The moment.
        """
        made = dict(self.frames)
        for cell in cells:
            frame = made[cell.source]
            value = poison(cell.column, frame.schema[cell.column], pl.lit(False))
            if value is not None:
                mine = (self.predict == moment).fill_null(False) if cell.own else pl.lit(True)
                poisoned = pl.when(mine).then(value).otherwise(cell.column).alias(cell.column)
                made[cell.source] = frame.with_columns(poisoned)
        return made

    def beyond_train(self) -> tuple[dict[str, pl.DataFrame], npt.NDArray[np.bool_], int]:
        """Return the tables with other splits poisoned, which examples are train, and the others.

        What names an example, says when it is predicted or decides its split stays as it is.
        """
        spec, typer, stored = self.spec, self.typers[self.main], self.stored[self.main]
        split = spec.examples.split
        assert split is not None
        decides = split.by or split.column
        node = None if decides is None else typer.name(decides)
        hashed = tuple(typer.cast(typer.name(key), STRING, "a split by hash") for key in split.hash)
        resolved = Resolved(spec, typer.types, {}, {}, None, node, hashed)
        nodes = [*hashed, *(() if node is None else (node,))]
        read = {below.name: below for below in topological(nodes) if isinstance(below, ColumnNode)}
        rows = computed_rows(stored, spec.sources[self.main], read)
        train = (
            with_split(rows, resolved, {}, {}).select((pl.col(SPLIT) == TRAIN).fill_null(False))
            .collect().to_series().to_numpy()
        )  # fmt: skip
        frame = self.frames[self.main]
        kept = {*_stored_below(stored, nodes), *self._times(), *self.tables[self.main].keys}
        other = pl.Series("~other", ~train)
        made = []
        for name, dtype in frame.schema.items():
            value = poison(name, dtype, pl.lit(False))
            if name not in kept and value is not None:
                made.append(pl.when(other).then(value).otherwise(name).alias(name))
        return {**self.frames, self.main: frame.with_columns(made)}, train, int(other.sum())


def _stored_below(table: Stored, nodes: Collection[Node]) -> set[str]:
    """Return what the data calls the columns that some nodes read."""
    return {table.stored(node.name) for node in topological(nodes) if isinstance(node, ColumnNode)}
