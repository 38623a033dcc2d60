"""`contains(x, pattern, literal=True)`: whether a text, or a match of a pattern, is in a string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, check, tf
from featurekit.transforms.patterns import escaped, regular_expression
from featurekit.transforms.sql import constant, function, infix
from featurekit.types import BOOL, STRING, TEXT, Type

__all__ = ["Contains"]


@dataclass(frozen=True)
class Contains(RowOperation):
    r"""Whether a string has a text, or a match of a regular expression, somewhere in it.

    Args:
        x: A string.
        pattern: The text, or the regular expression.
        literal: Whether `pattern` is a text (the default) and not a regular expression. Those are
            of the subset that Polars and TensorFlow understand alike; `\d`, `\w`, `\s` and `\b`
            mean ASCII.

    Returns:
        bool, one per row. Null where x is null.

    Raises:
        SpecError: `pattern` is empty, not a regular expression, or outside the common subset.

    Source: the syntax is what https://docs.rs/regex/latest/regex/#syntax and
    https://github.com/google/re2/wiki/Syntax have in common, see `transforms/patterns.py`.
    """

    pattern: str
    literal: bool = True

    inputs = (Input("x", TEXT),)
    examples = (
        Example("contains(x, 'a.')", {"x": ["a.b", "ab", "", None]}, [True, False, False, None]),
        Example(
            "contains(x, '^a.$', literal=False)", {"x": ["ab", "a", "xab"]}, [True, False, False]
        ),
    )

    def __post_init__(self) -> None:
        check(isinstance(self.literal, bool), f"literal must be a boolean, got {self.literal!r}")
        if self.literal:
            check(
                isinstance(self.pattern, str) and self.pattern != "",
                f"pattern must be text that is not empty, got {self.pattern!r}",
            )
        else:
            regular_expression(self.pattern)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        if self.literal:
            return inputs[0].str.contains(self.pattern, literal=True)
        return inputs[0].str.contains(regular_expression(self.pattern).polars)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        wanted = (
            escaped(self.pattern) if self.literal else regular_expression(self.pattern).tensorflow
        )
        return tf.strings.regex_full_match(inputs[0], f"(?s:.*?)(?:{wanted})(?s:.*)")

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        if self.literal:
            place = function("STRPOS", inputs[0], constant(self.pattern, STRING))
            return infix(place, ">", 0)
        pattern = regular_expression(self.pattern).tensorflow
        return function("REGEXP_CONTAINS", inputs[0], constant(pattern, STRING))
