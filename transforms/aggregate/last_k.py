"""`last_k(x, k)`: the k latest values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.aggregate._families import SeveralOfThem, picked
from featurekit.transforms.sql_windows import SqlWindow
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["LastK"]


@dataclass(frozen=True)
class LastK(SeveralOfThem):
    """Latest k values of the window.

    Args:
        x: A number or a string; null values are skipped.
        k: The length of the vector, from 1 to 1000.

    Returns:
        A vector of k of the type of x (float64 for a float), the latest first.
        Padded with null where the window holds fewer values; null where it holds none.

    Raises:
        SpecError: `k` is not an integer from 1 to 1000.

    Note: rows are ordered by when they took effect, then by event time, then by value.
    """

    def windows(self, values: Values) -> Any:
        spans = values.spans
        places = spans.stop[:, None] - 1 - np.arange(self.k)
        return picked(values.data, places, places >= spans.start[:, None])

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return window.listed(self.k, latest_first=True)
