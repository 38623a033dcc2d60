"""The value of the row in effect: what a lookup takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import OneOfThem
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__: list[str] = []  # Lookups are made of it; a spec does not call it.


@dataclass(frozen=True)
class Latest(OneOfThem):
    """Value of the latest row of the window, null where that row has none.

    Args:
        x: A value of any scalar type.

    Returns:
        The type of x (float64 for a float). Null where the window holds no row.

    Note: rows are ordered by when they took effect, then by event time, then by value.
    """

    skips_null = False

    def windows(self, values: Values) -> Any:
        return values.data[values.spans.stop - 1]

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.in_effect()
