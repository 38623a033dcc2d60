"""`upper(x)`: a string in upper case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, tf
from featurekit.transforms.case_mapping import (
    bigquery_mapped,
    polars_mapped,
    tensorflow_mapped,
    upper_letters,
)
from featurekit.types import STRING, TEXT, Type

__all__ = ["Upper"]


@dataclass(frozen=True)
class Upper(RowOperation):
    """Upper case of a string, letter by letter, whatever the language or the machine.

    Args:
        x: A string.

    Returns:
        string, one per row, of as many characters as x. Null where x is null.

    Note: Letters of Unicode 3.2 (2002) with a single upper-case letter are mapped: Latin, Greek,
    Cyrillic, Armenian. "ß", "ŉ", ligatures such as "ﬁ", and letters that entered Unicode later
    stay.

    Source: The Unicode Standard, `UnicodeData.txt`, simple upper-case mapping.
    """

    inputs = (Input("x", TEXT),)
    examples = (
        Example("upper(x)", {"x": ["abc", "", None, "école"]}, ["ABC", "", None, "ÉCOLE"]),
        Example("upper(x)", {"x": ["straße", "ŉ", "ς"]}, ["STRAßE", "ŉ", "Σ"]),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return STRING

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        return polars_mapped(inputs[0], upper_letters())

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tensorflow_mapped(inputs[0], upper_letters(), tf.strings.upper)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return bigquery_mapped(inputs[0], upper_letters(), "UPPER")
