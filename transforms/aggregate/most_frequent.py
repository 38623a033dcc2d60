"""`most_frequent(x)`: the value that occurs most often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import OneOfThem
from featurekit.transforms.base import Input
from featurekit.transforms.sql_windows import SqlWindow, most_frequent
from featurekit.transforms.windows import Values
from featurekit.types import KEY, Type

__all__ = ["MostFrequent"]


@dataclass(frozen=True)
class MostFrequent(OneOfThem):
    """Value that occurs most often in the window.

    Args:
        x: A string, an integer or a boolean; null values are skipped.

    Returns:
        The type of x. Of values that are equally frequent the greatest, as in a vocabulary.
        Null where the window holds no value.
    """

    inputs = (Input("x", KEY),)

    def windows(self, values: Values) -> Any:
        return values.most_frequent()

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return most_frequent(window.collected())
