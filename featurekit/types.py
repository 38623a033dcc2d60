"""The data types a spec can speak of, and nothing that computes with them.

A value is missing (null) or belongs to one of seven kinds. Every engine has exactly one
representation of each kind, written down here so that no engine invents its own:

| kind        | Polars                 | TensorFlow graph | at serving, null is      |
| ----------- | ---------------------- | ---------------- | ------------------------ |
| `bool`      | `Boolean`              | `tf.bool`        | int64 minimum (as int64) |
| `int64`     | `Int64`                | `tf.int64`       | int64 minimum            |
| `float32`   | `Float32`              | `tf.float32`     | NaN                      |
| `float64`   | `Float64`              | `tf.float64`     | NaN                      |
| `string`    | `String`               | `tf.string`      | the empty string         |
| `timestamp` | `Datetime("us","UTC")` | `tf.int64` micros| int64 minimum            |
| `duration`  | `Duration("us")`       | `tf.int64` micros| int64 minimum            |
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

__all__ = [
    "ANY",
    "ARITHMETIC",
    "BOOL",
    "BOOLEAN",
    "DURATION",
    "FLOAT32",
    "FLOAT64",
    "INT64",
    "INTEGER",
    "KEY",
    "NUMBER",
    "ORDERED",
    "SCALAR",
    "STRING",
    "STRING_LIKE",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "UNKNOWN_WIDTH",
    "Kind",
    "Type",
    "TypeSet",
    "common_number",
    "described",
    "duration_text",
    "parse_duration",
    "parse_type",
]  # fmt: skip

UNKNOWN_WIDTH = -1
"""The width of a vector whose length is only known once its statistics are fitted."""


class Kind(enum.Enum):
    """What one cell of a column holds."""

    BOOL = "bool"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    TIMESTAMP = "timestamp"
    DURATION = "duration"


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a column: a kind, and a width when a cell is a fixed-size vector.

    Args:
        kind: What one element holds.
        width: `None` for a scalar, the number of elements for a vector, `UNKNOWN_WIDTH` for a
            vector whose length depends on the data (one-hot of a vocabulary before fitting).
    """

    kind: Kind
    width: int | None = None

    def __str__(self) -> str:
        if self.width is None:
            return self.kind.value
        return f"{self.kind.value}[{'?' if self.width == UNKNOWN_WIDTH else self.width}]"

    @property
    def is_float(self) -> bool:
        """Whether an element is a floating-point number, so that it can be NaN or infinite."""
        return self.kind in (Kind.FLOAT32, Kind.FLOAT64)

    @property
    def is_number(self) -> bool:
        """Whether a cell is one number."""
        return self.width is None and (self.is_float or self.kind is Kind.INT64)


BOOL = Type(Kind.BOOL)
INT64 = Type(Kind.INT64)
FLOAT32 = Type(Kind.FLOAT32)
FLOAT64 = Type(Kind.FLOAT64)
STRING = Type(Kind.STRING)
TIMESTAMP = Type(Kind.TIMESTAMP)
DURATION = Type(Kind.DURATION)


@dataclass(frozen=True, slots=True)
class TypeSet:
    """A named set of types that an input accepts, as error messages call it."""

    name: str
    types: frozenset[Type]

    def __contains__(self, item: Type) -> bool:
        return item in self.types

    def __str__(self) -> str:
        return self.name


NUMBER = TypeSet("a number", frozenset({INT64, FLOAT32, FLOAT64}))
INTEGER = TypeSet("an integer", frozenset({INT64}))
TEXT = TypeSet("a string", frozenset({STRING}))
TIME = TypeSet("a timestamp", frozenset({TIMESTAMP}))
BOOLEAN = TypeSet("a boolean", frozenset({BOOL}))
KEY = TypeSet("a string, an integer or a boolean", frozenset({STRING, INT64, BOOL}))
STRING_LIKE = TypeSet("a string or an integer", frozenset({STRING, INT64}))
ORDERED = TypeSet(
    "a number, a string, a boolean or a time",
    frozenset({BOOL, INT64, FLOAT32, FLOAT64, STRING, TIMESTAMP, DURATION}),
)
ARITHMETIC = TypeSet(
    "a number, a timestamp or a duration",
    frozenset({INT64, FLOAT32, FLOAT64, TIMESTAMP, DURATION}),
)
SCALAR = TypeSet("a scalar", ORDERED.types)
ANY = SCALAR

_NAMES = {
    **{kind.value: Type(kind) for kind in Kind},
    "boolean": BOOL, "int": INT64, "integer": INT64, "float": FLOAT32, "double": FLOAT64,
    "str": STRING, "datetime": TIMESTAMP,
}  # fmt: skip


def described(of: Type) -> str:
    """Return a type as messages say it: `an integer`, `a string`, `a float32`.

    Example:
        >>> described(INT64), described(Type(Kind.FLOAT32, 3))
        ('an integer', 'a vector (float32[3])')
    """
    if of.width is not None:
        return f"a vector ({of})"
    return {INT64: "an integer", STRING: "a string", BOOL: "a boolean"}.get(of, f"a {of}")


def parse_type(text: str) -> Type:
    """Return the type that a spec names, such as `int64`, `float32`, `string` or `timestamp`.

    Raises:
        ValueError: The name is not one of the known ones; the message lists them.
    """
    vector = re.fullmatch(r"(\w+)\[(\d+)\]", text)
    if vector is not None and vector[1] in _NAMES:
        return Type(_NAMES[vector[1]].kind, int(vector[2]))
    try:
        return _NAMES[text]
    except KeyError:
        known = ", ".join(kind.value for kind in Kind)
        raise ValueError(f"unknown type {text!r}; the types are {known}") from None


def common_number(types: tuple[Type, ...]) -> Type:
    """Return the narrowest number type that every given number type is cast to.

    Integers stay integers among themselves; with a float they become that float; a float64
    anywhere makes the result float64.
    """
    if FLOAT64 in types:
        return FLOAT64
    return FLOAT32 if FLOAT32 in types else INT64


_UNITS = {
    "us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000,
    "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip
_DURATION = re.compile(r"(-?\d+)(us|ms|s|m|h|d|w)")


def parse_duration(text: str) -> int:
    """Return a duration such as `30d`, `2h` or `15m` in microseconds.

    Units: `us`, `ms`, `s`, `m` (minutes), `h`, `d` (24 hours), `w`.

    Raises:
        ValueError: The text is not an integer followed by one of the units.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration; write an integer and one of {', '.join(_UNITS)}"
        )
    return int(match[1]) * _UNITS[match[2]]


def duration_text(micros: int) -> str:
    """Return microseconds as the shortest duration text that `parse_duration` reads back."""
    for unit in ("d", "h", "m", "s", "ms"):
        if micros and micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    return f"{micros}us" if micros else "0s"
