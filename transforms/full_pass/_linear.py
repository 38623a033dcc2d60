"""What scalings of the form `(x - shift) / scale` share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.arithmetic import Scalars
from featurekit.transforms.base import FullPassOperation, Input, tf
from featurekit.transforms.families import float_of, polars_rounded, tensorflow_rounded
from featurekit.types import NUMBER, Type

__all__: list[str] = []  # Helpers: the package exports what its modules list here.


@dataclass(frozen=True)
class LinearScaling(FullPassOperation):
    """Computes `(x - shift) / scale` in float64; subclasses give both from the statistics.

    The quotient is a product with the reciprocal of the scale: Polars and Grappler make that of a
    division by a constant anyway, and written out it is the same in every engine and mode.
    """

    inputs = (Input("x", NUMBER),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return float_of(types)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        shift, scale = self._shift_and_scale(fitted, Scalars)
        scaled = (inputs[0].cast(pl.Float64) - float(shift)) * (1.0 / scale)
        return polars_rounded(scaled, float_of(types))

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        shift, scale = self._shift_and_scale(fitted, tf)
        scaled = (tf.cast(inputs[0], tf.float64) - tf.cast(shift, tf.float64)) * (1.0 / scale)
        return tensorflow_rounded(scaled, float_of(types))

    def _shift_and_scale(self, fitted: Sequence[Any], m: Any) -> tuple[Any, Any]:
        """Return both as float64, in the arithmetic `m` of one number or of many."""
        raise TypeError(f"{type(self).__name__} has no shift and scale")


def nonzero_scale(scale: Any, m: Any) -> Any:
    """Return the scale, or 1 for one that is zero up to rounding, in the arithmetic `m`.

    Source: scikit-learn's `_handle_zeros_in_scale`, at float64.
    """
    return m.where(scale < 10 * sys.float_info.epsilon, m.ones_like(scale), scale)
