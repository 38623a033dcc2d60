"""`first(x)`: the earliest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import OneOfThem
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["First"]


@dataclass(frozen=True)
class First(OneOfThem):
    """Earliest value of the window.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        The type of x (float64 for a float). Null where the window holds no value.

    Note: rows are ordered by when they took effect, then by event time, then by value.
    """

    def windows(self, values: Values) -> Any:
        return values.data[values.spans.start]

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.earliest()
