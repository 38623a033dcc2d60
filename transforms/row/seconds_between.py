"""`seconds_between(start, end)`: the seconds from one timestamp to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, RowOperation, tf
from featurekit.transforms.sql import cast, float32, function, infix, let
from featurekit.types import FLOAT32, FLOAT64, TIME, Type

__all__ = ["SecondsBetween"]

_MICROS = 1_000_000


@dataclass(frozen=True)
class SecondsBetween(RowOperation):
    """Seconds from a start to an end, negative when the end is before the start.

    Args:
        start: A timestamp.
        end: A timestamp.

    Returns:
        float32 seconds, computed in float64, one per row. Null where start or end is null.
    """

    inputs = (Input("start", TIME), Input("end", TIME))
    examples = (
        Example(
            "seconds_between(a, b)",
            {
                "a": [datetime(2024, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), None],
                "b": [datetime(2024, 1, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), None],
            },
            [3600.0, 86400.0, None],
        ),
        Example(
            "seconds_between(a, b)",
            {
                "a": [datetime(2024, 1, 1, 0, 0, 2, tzinfo=UTC)],
                "b": [datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)],
            },
            [-1.5],
        ),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return FLOAT32

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        start, end = inputs
        micros = end.to_physical() - start.to_physical()
        # Whole seconds stay exact even where a graph optimiser multiplies by 1 / 1,000,000.
        seconds = (micros // _MICROS).cast(pl.Float64)
        return (seconds + (micros % _MICROS).cast(pl.Float64) / _MICROS).cast(pl.Float32)

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        start, end = inputs
        micros = end - start
        seconds = tf.cast(micros // _MICROS, tf.float64)
        return tf.cast(seconds + tf.cast(micros % _MICROS, tf.float64) / _MICROS, tf.float32)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        start, end = (function("UNIX_MICROS", time) for time in inputs)

        def seconds(micros: Any) -> Any:
            rest = function("MOD", infix(function("MOD", micros, _MICROS), "+", _MICROS), _MICROS)
            return let([rest], lambda rest: summed(micros, rest))

        def summed(micros: Any, rest: Any) -> Any:
            full = function("DIV", infix(micros, "-", rest), _MICROS)
            return infix(cast(full, FLOAT64), "+", infix(rest, "/", _MICROS))

        return float32(let([infix(end, "-", start)], seconds))
