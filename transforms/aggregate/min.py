"""`min(x)`: the least value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.aggregate._families import OneOfThem
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Min"]


@dataclass(frozen=True)
class Min(OneOfThem):
    """Least value over the window.

    Args:
        x: A value of any scalar type; null values are skipped.

    Returns:
        The type of x (float64 for a float). Null where the window holds no value.

    Note: strings are ordered by the bytes of their UTF-8 text, false comes before true.
    """

    def windows(self, values: Values) -> Any:
        return values.extreme(np.minimum)

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.over("MIN", window.value)
