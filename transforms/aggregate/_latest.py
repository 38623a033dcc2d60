"""The value of the row in effect: what a lookup takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import OneOfThem
from featurekit.transforms.base import AggregateOperation, Input
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import BOOL, SCALAR, Type

__all__: list[str] = []  # Lookups are made of it; a spec does not call it.


@dataclass(frozen=True)
class Latest(OneOfThem):
    """Value of the latest row of the window, null where that row has none.

    Args:
        x: A value of any scalar type.

    Returns:
        The type of x (float64 for a float). Null where the window holds no row.

    Note: rows are ordered by when they took effect, then by event time, then by what the lookup
    says (`order_by`), then by all values that it takes, in the order of their names; a missing
    value is less than any.
    """

    skips_null = False

    def windows(self, values: Values) -> Any:
        return values.data[values.spans.stop - 1]

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.in_effect()


@dataclass(frozen=True)
class Undecided(AggregateOperation):
    """Whether a lookup chose its row by the values alone, from several that differ.

    BigQuery answers it beside a lookup's values; the embedded engine counts as it sorts.

    Returns:
        A boolean. Null where the window holds no row.
    """

    inputs = (Input("x", SCALAR),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.undecided()
