"""`impute(x, strategy)`: missing values replaced by one learnt from the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import (
    Example,
    FullPassOperation,
    Input,
    Masked,
    check,
    polars_dtype,
    tensorflow_dtype,
    tf,
)
from featurekit.transforms.families import constant_of, polars_constant, tensorflow_constant
from featurekit.transforms.statistics import Moments, MostFrequent, Quantiles, Statistic
from featurekit.types import BOOL, FLOAT32, FLOAT64, INT64, STRING, Kind, Type, TypeSet, described

__all__ = ["Impute"]

_STRATEGIES = ("mean", "median", "most_frequent", "constant")


@dataclass(frozen=True)
class Impute(FullPassOperation):
    """Missing values replaced by the training mean, median or most frequent value, or a constant.

    Only nulls are missing: a NaN that arithmetic produced stays NaN.

    Args:
        x: A number; for `most_frequent` and `constant` also a string or a boolean.
        strategy: `mean`, `median` (of an even number of values the midpoint of the middle two),
            `most_frequent` (the smallest among equally frequent ones) or `constant`.
        value: What `constant` puts in: a number for numbers, a string for strings, a boolean for
            booleans.
        indicator: Whether to give, beside the value, 1.0 where it was missing, else 0.0; for
            numbers only.

    Returns:
        The type of x, one per row; for an int64 x and `mean`, `median` or a float `value` float32.
        With `indicator` a float32 vector of width 2. Never null.

    Raises:
        SpecError: A parameter is wrong or does not fit the type of x.
        DataError: Except for `constant`: the training rows hold no (finite) value.

    Source: `SimpleImputer` of scikit-learn 1.9.
    """

    strategy: str = "mean"
    value: float | str | bool | None = None
    indicator: bool = False

    inputs = (
        Input("x", TypeSet("a number, a string or a boolean",
                           frozenset({INT64, FLOAT32, FLOAT64, STRING, BOOL}))),
    )  # fmt: skip
    null_rule = "never null"
    examples = (
        Example('impute(x, "mean")', {"x": [1.0, None, 4.0]}, [1.0, 2.5, 4.0]),
        Example('impute(x, "median")', {"x": [1, 2, None, 9, 3]}, [1.0, 2.0, 2.5, 9.0, 3.0]),
        Example('impute(x, "most_frequent")', {"x": ["a", "b", None, "b"]}, ["a", "b", "b", "b"]),
        Example('impute(x, "most_frequent")', {"x": [5, None, 4]}, [5, 4, 4]),
        Example('impute(x, "constant", value=-1)', {"x": [None, 3]}, [-1, 3]),
        Example('impute(x, "constant", value=True)', {"x": [False, None]}, [False, True],
                types={"x": "bool"}),
        Example(
            'impute(x, "mean", indicator=True)', {"x": [1, None, 3]}, [[1, 0], [2, 1], [3, 0]]
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        known = ", ".join(_STRATEGIES)
        check(self.strategy in _STRATEGIES,
              f"strategy must be one of {known}, got {self.strategy!r}")  # fmt: skip
        check(isinstance(self.indicator, bool),
              f"indicator must be True or False, got {self.indicator!r}")  # fmt: skip
        if self.strategy == "constant":
            check(self.value is not None, "strategy 'constant' needs a value")
        else:
            check(self.value is None, f"strategy {self.strategy!r} takes no value")

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        (x,) = types
        if self.strategy in ("mean", "median"):
            check(x.is_number, f"strategy {self.strategy!r} needs a number, got {described(x)}")
        check(not self.indicator or x.is_number, f"indicator needs a number, got {described(x)}")
        if self.strategy == "constant":
            constant_of("value", self.value, self._filled_type(x))
        return types

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return Type(Kind.FLOAT32, 2) if self.indicator else self._filled_type(types[0])

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        known: dict[str, tuple[Statistic, ...]] = {
            "mean": (Moments(),),
            "median": (Quantiles(2, linear=True),),
            "most_frequent": (MostFrequent(),),
        }
        return known.get(self.strategy, ())

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        (x,), of = inputs, self._filled_type(types[0])
        filled = x.cast(polars_dtype(of)).fill_null(polars_constant(self._fill(fitted, of), of))
        if not self.indicator:
            return filled
        return pl.concat_arr(filled.cast(pl.Float32), x.is_null().cast(pl.Float32))

    def tensorflow_masked(
        self, inputs: Sequence[Masked], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Masked:
        ((values, valid),), of = inputs, self._filled_type(types[0])
        if of != types[0]:
            values = tf.cast(values, tensorflow_dtype(of))
        fill = self._fill(fitted, of)
        if self.strategy == "constant":
            fill = tensorflow_constant(fill, of)
        elif of != STRING:
            fill = tf.cast(fill, tensorflow_dtype(of))
        filled = tf.where(valid, values, fill)
        if self.indicator:
            missing = tf.cast(tf.logical_not(valid), tf.float32)
            filled = tf.stack([tf.cast(filled, tf.float32), missing], axis=-1)
        return Masked(filled, tf.ones_like(valid))

    def _filled_type(self, x: Type) -> Type:
        to_float = self.strategy in ("mean", "median") or isinstance(self.value, float)
        return FLOAT32 if x == INT64 and to_float else x

    def _fill(self, fitted: Sequence[Any], of: Type) -> Any:
        if self.strategy == "constant":
            return constant_of("value", self.value, of)
        (statistic,) = fitted
        if self.strategy == "mean":
            return statistic.mean
        return statistic.boundary(0) if self.strategy == "median" else statistic.value
