"""`top_k(x, k)`: the k greatest values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.aggregate._families import SeveralOfThem
from featurekit.transforms.base import Input
from featurekit.transforms.sql_windows import SqlWindow, greatest
from featurekit.transforms.windows import Values
from featurekit.types import NUMBER, Type

__all__ = ["TopK"]


@dataclass(frozen=True)
class TopK(SeveralOfThem):
    """Greatest k values of the window.

    Args:
        x: A number; null values are skipped.
        k: The length of the vector, from 1 to 1000.

    Returns:
        A vector of k of the type of x (float64 for a float), the greatest first.
        Padded with null where the window holds fewer values; null where it holds none.

    Raises:
        SpecError: `k` is not an integer from 1 to 1000.

    Note: a value that occurs twice counts twice.
    """

    inputs = (Input("x", NUMBER),)

    def windows(self, values: Values) -> Any:
        length = values.spans.length
        found = [values.smallest(np.maximum(length - 1 - place, 0)) for place in range(self.k)]
        return np.ma.array(np.stack(found, 1), mask=np.arange(self.k) >= length[:, None])

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return greatest(window.collected(), self.k)
