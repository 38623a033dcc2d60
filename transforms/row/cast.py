"""`cast(x, to)`: a value as another type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from featurekit.transforms.base import (
    Example,
    Input,
    Masked,
    RowOperation,
    check,
    polars_dtype,
    tensorflow_dtype,
    tf,
)
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    SCALAR,
    STRING,
    TIMESTAMP,
    Type,
    parse_type,
)

__all__ = ["Cast"]


def _up_to(limit: str) -> str:
    """Return a regular expression of the numbers of as many digits as a limit, up to the limit."""
    smaller = (
        f"{limit[:place]}[0-{int(digit) - 1}][0-9]{{{len(limit) - place - 1}}}"
        for place, digit in enumerate(limit)
        if digit != "0"
    )
    return "|".join([*smaller, limit])


_INTEGER = f"[+-]?0*[0-9]{{1,18}}|[+]?0*(?:{_up_to(str(2**63 - 1))})|-0*(?:{_up_to(str(2**63))})"
_FLOAT = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_TEXT = {INT64: _INTEGER, FLOAT32: _FLOAT, FLOAT64: _FLOAT}

_NUMBERS = (INT64, FLOAT32, FLOAT64)
_ALLOWED = {
    BOOL: {*_NUMBERS, STRING},
    INT64: {BOOL, FLOAT32, FLOAT64, STRING, TIMESTAMP, DURATION},
    FLOAT32: {BOOL, INT64, FLOAT64},
    FLOAT64: {BOOL, INT64, FLOAT32},
    STRING: {*_NUMBERS},
    TIMESTAMP: {INT64},
    DURATION: {INT64},
}
_REASONS: dict[tuple[Type, Type], str] = {
    **dict.fromkeys(
        [(FLOAT32, STRING), (FLOAT64, STRING)],
        "engines write the digits of a float differently; cast it to int64 first, or bucketize it",
    ),
    (STRING, TIMESTAMP): "declare the column as timestamp in its source, with its format and zone",
    (STRING, BOOL): "compare it, for example x == 'true'",
}


@dataclass(frozen=True)
class Cast(RowOperation):
    """x as another type.

    Args:
        x: A value of any scalar type.
        to: The type: `bool`, `int64`, `float32`, `float64`, `string`, `timestamp` or `duration`.

    Returns:
        The type `to`, one per row. Null where x is null, and where x has no value of that type.

        - To `int64`: a float loses its fraction and is null if it is NaN, infinite or out of range;
          a string is decimal digits with or without a sign, and null if it is anything else (spaces
          included) or out of range; true is 1; a timestamp is microseconds since 1970-01-01 UTC and
          a duration microseconds.
        - To `float32` and `float64`: the nearest number, infinite beyond the range; a string is a
          decimal number such as `-12.5` or `1e-3`, and null if it is anything else, `nan` and `inf`
          included; true is 1.
        - To `bool`: whether a number is not 0, so true for NaN.
        - To `string`: an integer in decimal, a boolean as `true` or `false`.
        - To `timestamp` and `duration`: an integer counts microseconds.

    Raises:
        SpecError: There is no such type, or no such conversion (float to string, string to
            timestamp, and between times and anything but int64).
    """

    to: str

    inputs = (Input("x", SCALAR),)
    null_rule = "null where x is null or has no value of the type"
    examples = (
        Example("cast(x, 'int64')", {"x": [2.9, -2.9, 1e30, None]}, [2, -2, None, None]),
        Example(
            "cast(x, 'int64')",
            {"x": ["12", "-007", "9223372036854775808", " 12", "1.0", "", None]},
            [12, -7, None, None, None, None, None],
        ),
        Example(
            "cast(x, 'float32')",
            {"x": ["1.5", "+.5e1", "1e999", "nan", "1,5", None]},
            [1.5, 5.0, float("inf"), None, None, None],
        ),
        Example("cast(x, 'bool')", {"x": [0.0, -0.5, None]}, [False, True, None]),
        Example("cast(x, 'string')", {"x": [-12, 0, None]}, ["-12", "0", None]),
        Example("cast(x > 0, 'string')", {"x": [1, 0, None]}, ["true", "false", None]),
        Example(
            "cast(t, 'int64')",
            {"t": [datetime(1970, 1, 2, tzinfo=UTC), None]},
            [86_400_000_000, None],
        ),
    )

    def __post_init__(self) -> None:
        check(isinstance(self.to, str), f"to must be the name of a type, got {self.to!r}")
        # One name for each type, so that cast(x, 'int') and cast(x, 'int64') are the same.
        object.__setattr__(self, "to", str(parse_type(self.to)))

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        of, to = types[0], parse_type(self.to)
        if of != to and to not in _ALLOWED[of]:
            times = {of, to} & {TIMESTAMP, DURATION}
            reason = _REASONS.get(
                (of, to), "times are cast to and from int64 only" if times else ""
            )
            raise ValueError(f"{of} cannot be cast to {to}: {reason}")
        return types

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return parse_type(self.to)

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        (x,), of, to = inputs, types[0], parse_type(self.to)
        if of == to:
            return x
        if of == STRING:
            x = pl.when(x.str.contains(f"^(?:{_TEXT[to]})$")).then(x)
        if to == BOOL:
            return x != 0
        return x.cast(polars_dtype(to), strict=False)

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        (values, valid), of, to = inputs[0], types[0], parse_type(self.to)
        if of == to or tensorflow_dtype(of) == tensorflow_dtype(to):
            return inputs[0]
        if of == STRING:
            fits = tf.strings.regex_full_match(values, _TEXT[to])
            digits = tf.where(fits, values, "0")
            return Masked(
                tf.strings.to_number(digits, tensorflow_dtype(to)), tf.logical_and(valid, fits)
            )
        if to == STRING:
            return Masked(tf.strings.as_string(values), valid)
        if to == INT64 and of.is_float:
            fits = tf.logical_and(values >= -(2.0**63), values < 2.0**63)
            whole = tf.cast(tf.where(fits, values, tf.zeros_like(values)), tf.int64)
            return Masked(whole, tf.logical_and(valid, fits))
        if to == BOOL:
            return Masked(tf.not_equal(values, tf.zeros_like(values)), valid)
        return Masked(tf.cast(values, tensorflow_dtype(to)), valid)
