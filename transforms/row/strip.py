"""`strip(x, characters=None)`: a string without white space, or given characters, at its ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, check, tf
from featurekit.transforms.patterns import escaped
from featurekit.transforms.sql import constant, function
from featurekit.types import STRING, TEXT, Type

__all__ = ["Strip"]

_WHITE_SPACE = " \t\n\v\f\r"


@dataclass(frozen=True)
class Strip(RowOperation):
    """String without the given characters at its start and end.

    Args:
        x: A string.
        characters: The characters to take away, in any order; `None` for the ASCII white space:
            space, tab, line feed, vertical tab, form feed, carriage return.

    Returns:
        string, one per row. Null where x is null.

    Raises:
        SpecError: `characters` is empty or not a string.
    """

    characters: str | None = None

    inputs = (Input("x", TEXT),)
    examples = (
        Example("strip(x)", {"x": [" a b\n", "\t", "", None]}, ["a b", "", "", None]),
        Example("strip(x, '-^]')", {"x": ["--a-b^", "]a"]}, ["a-b", "a"]),
        Example("strip(x)", {"x": ["\u00a0a"]}, ["\u00a0a"]),
    )

    def __post_init__(self) -> None:
        given = self.characters
        check(
            given is None or (isinstance(given, str) and given != ""),
            f"characters must be text that is not empty, got {given!r}",
        )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return STRING

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return inputs[0].str.strip_chars(self.characters or _WHITE_SPACE)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        unwanted = f"[{escaped(self.characters or _WHITE_SPACE)}]+"
        return tf.strings.regex_replace(inputs[0], rf"\A{unwanted}|{unwanted}\z", "")

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return function("TRIM", inputs[0], constant(self.characters or _WHITE_SPACE, STRING))
