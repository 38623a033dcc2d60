"""What families of aggregations share: how results are typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.base import AggregateOperation, Input, integer_parameter
from featurekit.transforms.windows import Floats, Places, Values
from featurekit.types import FLOAT32, FLOAT64, INT64, NUMBER, SCALAR, STRING, Kind, Type, TypeSet

__all__: list[str] = []  # Helpers: the package exports what its modules list here.

LISTED = TypeSet("a number or a string", frozenset({INT64, FLOAT32, FLOAT64, STRING}))

MOST_VALUES = 1_000


def picked(data: Any, places: Places, there: Any) -> Any:
    """Return the values at places, masked where they are not there."""
    found = data[np.clip(places, 0, len(data) - 1)]
    return np.ma.array(found, mask=~there)


def interpolated(values: Values, q: float) -> Floats:
    """Return a quantile of each span, between the two values around the rank (n - 1) * q."""
    rank = (values.spans.length - 1) * q
    below = np.floor(rank).astype(np.int64)
    low = values.smallest(below).astype(np.float64)
    weight = rank - below
    if not weight.any():
        return low
    high = values.smallest(np.minimum(below + 1, values.spans.length - 1)).astype(np.float64)
    # Each side is weighted by itself: the difference of two huge or infinite values is none.
    with np.errstate(invalid="ignore"):
        between = low * (1 - weight) + high * weight
    return np.where((weight > 0) & (low != high), between, low)


def widened(of: Type) -> Type:
    """Return the type in which a value leaves an aggregation: a float32 as a float64."""
    return Type(Kind.FLOAT64, of.width) if of.is_float else of


@dataclass(frozen=True)
class Counting(AggregateOperation):
    """A number of rows or values; an empty window holds none of them."""

    inputs = (Input("x", SCALAR),)
    null_rule = "never null: 0 where the window holds no value"
    empty = 0

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64


@dataclass(frozen=True)
class FloatSummary(AggregateOperation):
    """A number computed from numbers in float64."""

    inputs = (Input("x", NUMBER),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return FLOAT64


@dataclass(frozen=True)
class OneOfThem(AggregateOperation):
    """One of the values of the window."""

    inputs = (Input("x", SCALAR),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return widened(types[0])


@dataclass(frozen=True)
class SeveralOfThem(AggregateOperation):
    """A vector of k of the values of the window."""

    k: int

    inputs = (Input("x", LISTED),)
    null_rule = "null where the window holds no value; null elements where it holds fewer than k"

    def __post_init__(self) -> None:
        integer_parameter("k", self.k, 1, MOST_VALUES)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return Type(widened(types[0]).kind, self.k)


@dataclass(frozen=True)
class Elapsed(AggregateOperation):
    """The seconds between a row of the window and the time of prediction."""

    inputs = (Input("x", SCALAR),)
    least_inputs = 0
    since = True

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return FLOAT64
