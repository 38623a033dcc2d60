"""`most_frequent(x)`: the value that occurs most often."""

from __future__ import annotations

from dataclasses import dataclass

from featurekit.transforms.aggregate._families import OneOfThem
from featurekit.transforms.base import Input
from featurekit.types import KEY

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
