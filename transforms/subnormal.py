"""Numbers too small for a normal float32 are zero, of the same sign, in every engine.

TensorFlow's kernels flush subnormal numbers: to them 1e-40 is not greater than 0. So nothing else
may tell such a number from zero either. Numbers are flushed where they are read as float32, and
where they are rounded to it.
"""

from __future__ import annotations

import math
from ctypes import c_float
from typing import Any

import polars as pl

from featurekit.transforms.base import tf
from featurekit.types import FLOAT32, Kind, Type

__all__ = [
    "FLOAT32_LIMIT", "SMALLEST_FLOAT32", "SUBNORMAL_LIMIT", "flushed", "flushed_number",
    "tensorflow_flushed",
]  # fmt: skip

SMALLEST_FLOAT32 = 2.0**-126
"""The smallest positive float32 that is not subnormal: 1.1754944e-38."""

FLOAT32_LIMIT = 2.0**128 - 2.0**103
"""Halfway from the greatest float32 to 2**128: from here on numbers round to infinity."""

SUBNORMAL_LIMIT = SMALLEST_FLOAT32 - 2.0**-150
"""Halfway from the greatest subnormal float32 to the smallest other one: below it numbers are 0."""


def flushed(x: pl.Expr, of: Type) -> pl.Expr:
    """Return numbers of a type without subnormal float32; vectors element by element."""
    if of.kind is not Kind.FLOAT32:
        return x
    if of.width is not None:
        return x.arr.eval(flushed(pl.element(), FLOAT32))
    # The product keeps the sign; NaN is not smaller than anything.
    return pl.when(x.abs() < SMALLEST_FLOAT32).then(x * 0.0).otherwise(x)


def tensorflow_flushed(values: Any, of: Type) -> Any:
    """Return the same in a TensorFlow graph, which passes on what it does not compute with."""
    if of.kind is not Kind.FLOAT32:
        return values
    return tf.where(tf.abs(values) < SMALLEST_FLOAT32, values * 0.0, values)


def flushed_number(value: float) -> float:
    """Return a constant as the nearest float32, zero where that is subnormal."""
    rounded = c_float(value).value
    return math.copysign(0.0, value) if abs(rounded) < SMALLEST_FLOAT32 else rounded
