"""Rows with all that was not known at a time taken out of them, as lazy frames.

A frame holds a column for each cell, under its own name, and beside them what decides their fate,
computed from the data as it is: `~at`, the time of the prediction; `~event`, when a row's event
happened; `~known0`, ..., when its cells became known; `~low`, which way numbers are poisoned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from featurekit.analysis.leakage.replay_change import Mode, poison
from featurekit.analysis.leakage.replay_known import Cell, Known

__all__ = ["AT", "EVENT", "LOW", "Table", "known_column"]

AT, EVENT, LOW = "~at", "~event", "~low"


def known_column(place: int) -> str:
    """Return the column of the times of a cell."""
    return f"~known{place}"


@dataclass(frozen=True)
class Table:
    """The cells of rows of one source.

    Args:
        cells: Its columns; the time of the one at place 3 stands in `~known3`.
        rows: Its rows, for the past; `None` for examples' own rows, which are always there.
        keys: Columns by which rows are found. They are kept in rows of the future, whose poison
            could not be met otherwise.
        timed: Whether rows have a time of their event.
    """

    cells: tuple[Cell, ...]
    rows: Cell | None = None
    keys: frozenset[str] = frozenset()
    timed: bool = False

    @property
    def there(self) -> pl.Expr:
        """Whether a row's event has happened before the prediction."""
        return (pl.col(EVENT) < pl.col(AT)).fill_null(False) if self.timed else pl.lit(True)

    def known(self, cell: Cell) -> pl.Expr:
        """Whether a cell is known: by the prediction in the own row, before it in others."""
        if cell.known is Known.NEVER:
            return pl.lit(False)
        if cell.known is not Known.AT:
            return self.there
        time = pl.col(known_column(self.cells.index(cell)))
        by = time <= pl.col(AT) if cell.own else time < pl.col(AT)
        return self.there & by.fill_null(False)

    def without_future(
        self, frame: pl.LazyFrame, mode: Mode, only: Collection[Cell] | None = None
    ) -> pl.LazyFrame:
        """Return rows without what was not known at their `~at`.

        Args:
            frame: The rows.
            mode: What becomes of what was not known.
            only: The cells that are touched; all by default.
        """
        if mode is Mode.DELETE and self.rows is not None and (only is None or self.rows in only):
            anything = [self.known(cell) for cell in self.cells]
            frame = frame.filter(self.there & (pl.any_horizontal(anything) if anything else True))
        schema = frame.collect_schema()
        made = []
        for cell in self.cells:
            if only is not None and cell not in only:
                continue
            known = self.known(cell)
            if mode is Mode.DELETE:
                made.append(pl.when(known).then(cell.column).alias(cell.column))
                continue
            value = poison(cell.column, schema[cell.column], pl.col(LOW))
            if value is None:
                continue
            kept = known | ~self.there if cell.column in self.keys else known
            made.append(pl.when(kept).then(cell.column).otherwise(value).alias(cell.column))
        return frame.with_columns(made)

    def unknown(self) -> list[pl.Expr]:
        """Return for each cell, and for the rows, whether it was not known."""
        cells: Sequence[Cell] = self.cells if self.rows is None else (*self.cells, self.rows)
        return [
            (~(self.there if cell is self.rows else self.known(cell))).alias(f"~unknown{place}")
            for place, cell in enumerate(cells)
        ]
