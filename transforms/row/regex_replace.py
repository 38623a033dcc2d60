r"""`regex_replace(x, pattern, replacement)`: every match of a pattern replaced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, check, tf
from featurekit.transforms.patterns import regular_expression
from featurekit.transforms.sql import constant, function
from featurekit.types import STRING, TEXT, Type

__all__ = ["RegexReplace"]


@dataclass(frozen=True)
class RegexReplace(RowOperation):
    r"""String with every match of a regular expression replaced, from left to right.

    Args:
        x: A string.
        pattern: A regular expression of the subset that Polars and TensorFlow understand alike;
            `\d`, `\w`, `\s` and `\b` mean ASCII.
        replacement: What is put in place: text, where `\0` is the whole match, `\1` to `\9` are
            its groups (a group that took no part is empty) and `\\` is a backslash.

    Returns:
        string, one per row. Null where x is null.

    Raises:
        SpecError: `pattern` is empty, not a regular expression, or outside the common subset;
            `replacement` names a group that `pattern` does not have.

    Source: the syntax is what https://docs.rs/regex/latest/regex/#syntax and
    https://github.com/google/re2/wiki/Syntax have in common, see `transforms/patterns.py`.
    """

    pattern: str
    replacement: str

    inputs = (Input("x", TEXT),)
    examples = (
        Example(
            r"regex_replace(x, '[0-9]+', '#')",
            {"x": ["a12b3", "ab", "", None]},
            ["a#b#", "ab", "", None],
        ),
        Example(
            r"regex_replace(x, '(\\w+)@(\\w+)', '\\2: \\1 $1')", {"x": ["me@home"]}, ["home: me $1"]
        ),
    )

    def __post_init__(self) -> None:
        groups = regular_expression(self.pattern).groups
        check(
            isinstance(self.replacement, str),
            f"replacement must be a string, got {self.replacement!r}",
        )
        for escape in re.findall(r"\\(?s:.?)", self.replacement):
            check(
                escape == "\\\\" or (escape[1:].isdecimal() and escape.isascii()),
                rf"replacement has {escape!r}; after a backslash it takes a digit or a backslash",
            )
            check(
                escape == "\\\\" or int(escape[1:]) <= groups,
                f"replacement has {escape!r}, but the number of groups of the pattern is {groups}",
            )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return STRING

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].str.replace_all(
            regular_expression(self.pattern).polars,
            re.sub(r"\\(.)|\$", _rust_replacement, self.replacement),
        )

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        pattern = regular_expression(self.pattern).tensorflow
        return tf.strings.regex_replace(inputs[0], pattern, self.replacement)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        pattern = regular_expression(self.pattern).tensorflow
        return function(
            "REGEXP_REPLACE",
            inputs[0],
            constant(pattern, STRING),
            constant(self.replacement, STRING),
        )


def _rust_replacement(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return "$$"
    return "\\" if escape[1] == "\\" else f"${{{escape[1]}}}"
