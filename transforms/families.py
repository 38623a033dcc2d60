"""What families of operations share: typing rules, and the float64-then-round discipline."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from featurekit.transforms.base import (
    Input,
    Masked,
    RowOperation,
    check,
    number_parameter,
    polars_dtype,
    tensorflow_dtype,
    tf,
)
from featurekit.transforms.sql import case, cast, constant, function, infix, let, rounded
from featurekit.types import (
    BOOL,
    BOOLEAN,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    NUMBER,
    SCALAR,
    STRING,
    Type,
    TypeSet,
    common_number,
    described,
)

__all__ = [
    "AMOUNT", "CommonNumber", "CommonType", "Comparison", "Cyclic", "Extreme", "FloatFunction",
    "IntegerDivision", "Logical", "Ordering", "SameType", "common_type", "constant_of",
    "float_of", "polars_constant", "polars_quotient", "polars_rounded", "tensorflow_constant",
    "tensorflow_quotient", "tensorflow_rounded",
]  # fmt: skip

AMOUNT = TypeSet("a number or a duration", frozenset({INT64, FLOAT32, FLOAT64, DURATION}))

_TURN = 2 * math.pi
_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


def float_of(types: Sequence[Type]) -> Type:
    """Return the float type of a computation over numbers: float64 only where one is float64."""
    return FLOAT64 if FLOAT64 in types else FLOAT32


def common_type(types: Sequence[Type]) -> Type:
    """Return the type that alternatives are cast to: a number type, or the one they all have.

    Raises:
        ValueError: The types have nothing in common.
    """
    if all(entry.is_number for entry in types):
        return common_number(tuple(types))
    if len(set(types)) == 1:
        return types[0]
    names = " and ".join(dict.fromkeys(map(str, types)))
    raise ValueError(f"{names} have no common type")


def constant_of(name: str, value: object, of: Type) -> bool | int | float | str:
    """Return a constant parameter as a value of a column's type.

    Args:
        name: The parameter's name, for the message.
        value: What the spec gave.
        of: A number, string or boolean type.

    Raises:
        ValueError: The value is of another type, or does not fit.
    """
    if of.is_number:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number for a column of {of}, got {value!r}")
        if of == INT64:
            whole = value == value and abs(value) != float("inf") and value == int(value)
            check(
                whole and -(2**63) <= value < 2**63,
                f"{name} must be a whole number of 64 bits for a column of int64, got {value!r}",
            )
            return int(value)
        most = _LARGEST_FLOAT32 if of == FLOAT32 else sys.float_info.max
        check(abs(value) <= most, f"{name} does not fit in a {of}: {value!r}")
        return float(value)
    if of == STRING and isinstance(value, str):
        return value
    if of == BOOL and isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be {described(of)} for a column of {of}, got {value!r}")


def polars_constant(value: object, of: Type) -> pl.Expr:
    """Return a constant of a type."""
    return pl.lit(value, dtype=polars_dtype(of))


def tensorflow_constant(value: object, of: Type) -> Any:
    """Return a constant of a type."""
    return tf.constant(value, tensorflow_dtype(of))


def polars_rounded(value: pl.Expr, to: Type) -> pl.Expr:
    """Round a float64 result to the float type that the operation declares."""
    return value if to == FLOAT64 else value.cast(polars_dtype(to))


def tensorflow_rounded(value: Any, to: Type) -> Any:
    """Round a float64 result to the float type that the operation declares."""
    return tf.cast(value, tensorflow_dtype(to))


def polars_quotient(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    """Return x / y in float64, correctly rounded even where y is a constant.

    Polars makes `x / 49.0` a product with 1 / 49.0, so that 49 / 49 is not 1. Only a divisor that
    is computed for each row prevents that: `when(...)` is a constant again in a batch without
    nulls. Where x is NaN the divisor does not matter.
    """
    return x / (y * x.is_not_nan().cast(pl.Float64))


def tensorflow_quotient(x: Any, y: Any) -> Any:
    """Return x / y in float64, correctly rounded even where y is a constant.

    Grappler turns the division by a constant into a product, but leaves `divide_no_nan` alone.
    """
    return tf.where(tf.equal(y, 0.0), x / y, tf.math.divide_no_nan(x, y))


@dataclass(frozen=True)
class FloatFunction(RowOperation):
    """A function of numbers computed in float64.

    Subclasses give `_polars`, `_tensorflow` and `_bigquery`.
    """

    inputs: ClassVar[tuple[Input, ...]] = (Input("x", NUMBER),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return float_of(types)

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        wide = [value.cast(pl.Float64) for value in inputs]
        return polars_rounded(self._polars(*wide), float_of(types))

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        wide = [tf.cast(value, tf.float64) for value in inputs]
        return tensorflow_rounded(self._tensorflow(*wide), float_of(types))

    def _polars(self, *inputs: Any) -> pl.Expr:
        raise TypeError(f"{type(self).__name__} has no Polars implementation")

    def _tensorflow(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        wide = [
            cast(value, FLOAT64) if of == INT64 else value
            for value, of in zip(inputs, types, strict=True)
        ]
        return rounded(let(wide, self._bigquery), float_of(types))

    def _bigquery(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no BigQuery implementation")


@dataclass(frozen=True)
class CommonNumber(RowOperation):
    """An operation whose number inputs are cast to one common type, which is also the result's."""

    inputs = (Input("x", NUMBER), Input("y", NUMBER))

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (common_number(types),) * len(types)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return types[0]


@dataclass(frozen=True)
class IntegerDivision(CommonNumber):
    """What a division makes whole: null for integers divided by zero, IEEE 754 for floats.

    Subclasses give `_tensorflow_integers`, whose divisor is never 0, and `_tensorflow_floats`,
    which computes in float64; the same for BigQuery, where a divisor may be 0.
    """

    null_rule = "null where any input is null, and where an integer is divided by 0"

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        x, y = inputs
        valid = tf.logical_and(x.valid, y.valid)
        if types[0] != INT64:
            wide = [tf.cast(entry.values, tf.float64) for entry in inputs]
            return Masked(tensorflow_rounded(self._tensorflow_floats(*wide), types[0]), valid)
        zero = tf.equal(y.values, 0)
        divisor = tf.where(zero, tf.ones_like(y.values), y.values)
        values = self._tensorflow_integers(x.values, divisor)
        return Masked(values, tf.logical_and(valid, tf.logical_not(zero)))

    def _tensorflow_integers(self, x: Any, y: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def _tensorflow_floats(self, x: Any, y: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        if types[0] == INT64:
            return let(inputs, self._bigquery_integers)
        return rounded(let(inputs, lambda x, y: self._bigquery_floats(x, y, types[0])), types[0])

    def _bigquery_integers(self, x: Any, y: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no BigQuery implementation")

    def _bigquery_floats(self, x: Any, y: Any, of: Type) -> Any:
        raise TypeError(f"{type(self).__name__} has no BigQuery implementation")


@dataclass(frozen=True)
class SameType(RowOperation):
    """An operation of one input whose result has the input's type."""

    inputs: ClassVar[tuple[Input, ...]] = (Input("x", NUMBER),)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return types[0]


@dataclass(frozen=True)
class CommonType(RowOperation):
    """An operation whose result is one of its inputs, all cast to their common type."""

    inputs: ClassVar[tuple[Input, ...]] = (Input("x", SCALAR),)
    variadic = True
    least_inputs = 2

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        return (common_type(types),) * len(types)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return types[0]


@dataclass(frozen=True)
class Extreme(CommonType):
    """The least or the greatest of its inputs: subclasses say which of two comes before.

    Built from comparisons, so that of 0.0 and -0.0 every engine keeps the earlier input.
    """

    _sql: ClassVar[str]
    """The GoogleSQL function; null where an input is null, NaN where one is NaN."""

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        best = inputs[0]
        for entry in inputs[1:]:
            best = pl.when(self._before(entry, best)).then(entry).otherwise(best)
        if types[0].is_float:
            # To Polars NaN is the greatest number, so that the comparisons alone may drop it.
            nan = pl.any_horizontal([entry.is_nan() for entry in inputs])
            best = pl.when(nan).then(polars_constant(float("nan"), types[0])).otherwise(best)
        return pl.when(pl.all_horizontal([entry.is_not_null() for entry in inputs])).then(best)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        best = inputs[0]
        for entry in inputs[1:]:
            before = self._before(entry, best)
            if types[0].is_float:
                before = tf.logical_or(before, tf.math.is_nan(entry))
            best = tf.where(before, entry, best)
        return best

    def _before(self, x: Any, y: Any) -> Any:
        raise TypeError(f"{type(self).__name__} does not say which of two comes before")

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        if not types[0].is_float:
            return function(self._sql, *inputs)

        def kept(best: Any, *inputs: Any) -> Any:
            # Of zeros the first one given, which GoogleSQL does not promise.
            zeros = case(*((infix(entry, "=", 0.0), entry) for entry in inputs))
            return case((infix(best, "=", 0.0), zeros), otherwise=best)

        return let(inputs, lambda *xs: let([function(self._sql, *xs)], lambda x: kept(x, *xs)))


@dataclass(frozen=True)
class Comparison(RowOperation):
    """A comparison of two values of one kind: subclasses give `_compare`.

    Numbers of two types are compared in float64, so that an integer is not rounded to float32.
    """

    _sql: ClassVar[str]
    """The operator of GoogleSQL, which compares NaN as IEEE 754 does."""

    inputs = (Input("x", SCALAR), Input("y", SCALAR))

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        x, y = types
        if x == y:
            return types
        if x.is_number and y.is_number:
            return (FLOAT64, FLOAT64)
        raise ValueError(f"{described(x)} and {described(y)} cannot be compared")

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        x, y = inputs
        result: pl.Expr = self._compare(x, y)
        if types[0].is_float:
            # To Polars NaN equals itself and is the greatest number, so it can make a comparison
            # true only from the greater side; a null on the other side keeps the result null.
            lesser, greater = self._sides(x, y)
            result = result & ~(greater.is_nan() & lesser.is_not_null())
        return result

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return self._compare(*inputs)

    def _compare(self, x: Any, y: Any) -> Any:
        raise TypeError(f"{type(self).__name__} does not compare")

    def _sides(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, y

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        x, y = inputs
        return infix(x, self._sql, y)


@dataclass(frozen=True)
class Ordering(Comparison):
    """A comparison by order, of numbers or of times."""

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        for of, plural in ((STRING, "strings"), (BOOL, "booleans")):
            if types == (of, of):
                raise ValueError(f"{plural} are not ordered; == and != compare them")
        return super().coerce(types)


@dataclass(frozen=True)
class Logical(RowOperation):
    """A connection of two or more booleans."""

    inputs = (Input("x", BOOLEAN),)
    variadic = True
    least_inputs = 2

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL


@dataclass(frozen=True)
class Cyclic(FloatFunction):
    """A wave of x with a period; subclasses give it as a function of the angle."""

    period: float

    _sql: ClassVar[str]
    """The function of GoogleSQL; NaN where the angle is not finite."""

    def __post_init__(self) -> None:
        number_parameter("period", self.period)
        check(self.period > 0, f"period must be greater than 0, got {self.period!r}")

    def _polars(self, x: pl.Expr) -> pl.Expr:
        turns = polars_quotient(x, pl.lit(float(self.period)))
        return self._polars_wave((turns - turns.floor()) * _TURN)

    def _tensorflow(self, x: Any) -> Any:
        turns = tensorflow_quotient(x, tf.constant(float(self.period), tf.float64))
        return self._tensorflow_wave((turns - tf.floor(turns)) * _TURN)

    def _polars_wave(self, angle: pl.Expr) -> pl.Expr:
        raise TypeError(f"{type(self).__name__} has no Polars implementation")

    def _tensorflow_wave(self, angle: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def _bigquery(self, x: Any) -> Any:
        turns = function("IEEE_DIVIDE", x, constant(self.period, FLOAT64))
        wave = let(
            [turns], lambda turns: infix(infix(turns, "-", function("FLOOR", turns)), "*", _TURN)
        )
        return function(self._sql, wave)
