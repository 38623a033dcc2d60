"""`lower(x)`: a string in lower case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, tf
from featurekit.transforms.case_mapping import (
    bigquery_mapped,
    lower_letters,
    polars_mapped,
    tensorflow_mapped,
)
from featurekit.types import STRING, TEXT, Type

__all__ = ["Lower"]


@dataclass(frozen=True)
class Lower(RowOperation):
    """Lower case of a string, letter by letter, whatever the language or the machine.

    Args:
        x: A string.

    Returns:
        string, one per row, of as many characters as x. Null where x is null.

    Note: Letters of Unicode 3.2 (2002) with a single lower-case letter are mapped: Latin, Greek,
    Cyrillic, Armenian. "Σ" is "σ", at the end of a word too; "İ" and letters that entered
    Unicode later, such as "ẞ", stay.

    Source: The Unicode Standard, `UnicodeData.txt`, simple lower-case mapping.
    """

    inputs = (Input("x", TEXT),)
    examples = (
        Example("lower(x)", {"x": ["ABC", "", None, "École"]}, ["abc", "", None, "école"]),
        Example("lower(x)", {"x": ["ΟΔΟΣ", "İ", "STRAßE"]}, ["οδοσ", "İ", "straße"]),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return STRING

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return polars_mapped(inputs[0], lower_letters())

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tensorflow_mapped(inputs[0], lower_letters(), tf.strings.lower)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return bigquery_mapped(inputs[0], lower_letters(), "LOWER")
