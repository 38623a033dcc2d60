"""`cast(x, to)`: a value as another type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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
from featurekit.transforms.sql import (
    all_of,
    case,
    cast,
    constant,
    float32,
    function,
    infix,
    let,
    rounded,
    safe,
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

_UNIT = 2**11
"""What a FLOAT64 drops at most of an INT64."""
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

    Note:
        BigQuery has timestamps of the years 1 to 9999 only; others are null there. It reads a
        string as float64 before it is rounded to float32, so one of more than 17 digits that is
        just beside the middle of two float32 may become the other one.

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

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        (x,), of, to = inputs, types[0], parse_type(self.to)
        if of == to or {of, to} == {INT64, DURATION}:
            return x
        if TIMESTAMP in (of, to):
            return function("UNIX_MICROS", x) if of == TIMESTAMP else safe("TIMESTAMP_MICROS", x)
        if to == STRING:
            return cast(x, STRING)
        if to == BOOL:
            return infix(x, "!=", 0)
        if of == STRING:
            pattern = constant(f"^(?:{_TEXT[to]})$", STRING)
            return rounded(
                let(
                    [x],
                    lambda x: case(
                        (function("REGEXP_CONTAINS", x, pattern), cast(x, to, or_null=True))
                    ),
                ),
                to,
            )
        if to == INT64:
            return cast(function("TRUNC", x) if of.is_float else x, INT64, or_null=True)
        if of == BOOL:
            return cast(cast(x, INT64), to)
        if (of, to) == (INT64, FLOAT32):
            return float32(let([x], _float64_to_round))
        return rounded(x if of.is_float else cast(x, to), to)


def _float64_to_round(x: Any) -> Any:
    """Return a FLOAT64 near an INT64, in a tree of GoogleSQL, that rounds to the same float32.

    Where an integer has too many digits for a FLOAT64, the last of those that fit is made odd, so
    that a number just beside the middle of two float32 does not fall on it.
    """
    kept, lost = function("DIV", x, _UNIT), function("MOD", x, _UNIT)

    def odd(kept: Any) -> Any:
        even = infix(function("MOD", kept, 2), "=", 0)
        away = case((all_of(infix(lost, "!=", 0), even), function("SIGN", x)), otherwise=0)
        return infix(cast(infix(kept, "+", away), FLOAT64), "*", float(_UNIT))

    fits = all_of(infix(x, ">=", -(2**53)), infix(x, "<=", 2**53))
    return case((fits, cast(x, FLOAT64)), otherwise=let([kept], odd))
