"""When each cell of a table became known, by what a spec declares of its column.

Whose row it is makes a difference. Of an example's own row a prediction may use what was known by
then (`<=`); of any other row, what took effect before (`<`), as windows have it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from featurekit.leaks import Leaks
from featurekit.spec.expression import Expression
from featurekit.spec.objects import UNDECLARED, Column, Spec

__all__ = ["Cell", "Knowledge", "Known"]


class Known(enum.Enum):
    """How it is told whether a cell is known."""

    ALWAYS = "always"
    """It is declared so; in a row of the past, as soon as the event has happened."""
    NEVER = "never"
    """It is declared to be known after the outcome alone, or makes the label."""
    AT = "at"
    """From a time on."""
    UNDECLARED = "undeclared"
    """Nobody says. It is left as it is, so nothing is proven of it."""


@dataclass(frozen=True)
class Cell:
    """A column of a table, and when what stands in it became known.

    Args:
        source: The table.
        column: The column; empty for its rows as such, which appear and disappear.
        own: Whether it is about the example's own row.
        known: How it is told.
        at: The time, where there is one.
        said: The same in words, such as "known at actual_dep".
    """

    source: str
    column: str
    own: bool
    known: Known
    at: Expression | None = None
    said: str = ""

    @property
    def text(self) -> str:
        """What reports call it: `flights.dep_delay`, `weather (rows)`."""
        return f"{self.source}.{self.column}" if self.column else f"{self.source} (rows)"


class Knowledge:
    """Says of every column when its cells became known.

    Args:
        truth: The spec that declares it.
        data: The columns that the data of the examples' source holds.
    """

    def __init__(self, truth: Spec, data: Iterable[str]) -> None:
        self.spec, self.main = truth, truth.examples.source
        self.label = Leaks(truth, frozenset(data)).label

    def cell(self, source: str, column: str, own: bool) -> Cell:
        """Return a column as cells that become known.

        Args:
            source: The source.
            column: Its column.
            own: Whether the row is the example's own.
        """
        declared = self.spec.sources[source]
        settings = declared.columns.get(column, UNDECLARED)
        known, at = Known.AT, settings.available_at
        if settings.available is True:
            known, said = Known.ALWAYS, "declared available: true"
        elif settings.available is False:
            known, said = Known.NEVER, "declared available: false"
        elif at is not None:
            said = f"known at {at.text}"
        elif source == self.main and column in self.label:
            known, said = Known.NEVER, "what the label is made of"
        elif declared.available_at is not None:
            at = declared.available_at
            said = f"known at {at.text}"
        elif declared.event_time is not None and not own:
            known, said = Known.ALWAYS, f"known with its row, at {declared.event_time}"
        else:
            known, said = Known.UNDECLARED, "of no declared availability"
        return Cell(source, column, own, known, at, said)

    def rows(self, source: str) -> Cell:
        """Return the rows of a source as something that appears at a time."""
        declared = self.spec.sources[source]
        if declared.event_time is not None:
            said = f"known from {declared.event_time} on"
            return Cell(source, "", False, Known.ALWAYS, None, said)
        if declared.available_at is not None:
            said = f"known at {declared.available_at.text}"
            return Cell(source, "", False, Known.AT, declared.available_at, said)
        return Cell(source, "", False, Known.UNDECLARED, None, "of no declared time")

    def speaks(self, column: Column) -> bool:
        """Whether a derived column says itself when it is known, instead of its parts."""
        return column.expr is not None and (
            column.available_at is not None or column.available is not None
        )
