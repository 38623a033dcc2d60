"""Values of the data that a dense tensor takes for missing ones, since they stand for those there.

The row graph tells them from missing values, and so do all signatures but `serving_default`. NaN is
none of them: in what enters the graph it is missing on every engine, and counted as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from featurekit.types import INT64, STRING, Type

__all__ = ["STANDS_IN", "said", "stand_ins"]

STANDS_IN = "~stands in "
"""What the names of columns begin with that say where a value stands for a missing one."""

SMALLEST = -(2**63)
_SAID = {STRING: "the empty text", INT64: "the smallest integer"}


def stand_ins(
    inputs: Mapping[str, Type], columns: Iterable[pl.Expr] | None = None
) -> dict[str, pl.Expr]:
    """Return, for each input that may hold such a value, an expression that is true where it does.

    Args:
        inputs: The inputs of a SavedModel, with their types.
        columns: Expressions that read them as their types, named like them; by default the typed
            columns themselves.
    """
    read = {name: pl.col(name) for name in inputs}
    read |= {column.meta.output_name(): column for column in columns or ()}
    made = {}
    for name, of in inputs.items():
        if of == STRING:
            made[name] = read[name] == ""
        elif of == INT64:
            made[name] = read[name] == SMALLEST
    return {name: found.fill_null(False) for name, found in made.items()}


def said(of: Type) -> str:
    """Say which value of a type stands for a missing one."""
    return _SAID[of]
