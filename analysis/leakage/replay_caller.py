"""Calling a function from tables to features, and putting its answers in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import polars as pl

from featurekit.analysis.leakage.replay_change import Mode
from featurekit.analysis.leakage.replay_compare import differing
from featurekit.analysis.leakage.replay_known import Cell
from featurekit.analysis.leakage.replay_truncated import Truncated
from featurekit.errors import DataError
from featurekit.serving import to_polars

__all__ = ["Caller", "Function"]

Function = Callable[[dict[str, Any]], Any]
"""Takes tables by name and returns a table of features."""


class Caller:
    """Calls the function, and puts its features in the order of the examples.

    Args:
        function: The function.
        tables: The tables as they were given.
        truncated: The same, to be taken the future from.
    """

    def __init__(self, function: Function, tables: Mapping[str, Any], truncated: Truncated) -> None:
        self.function, self.truncated = function, truncated
        self.kinds = {name: type(table).__module__.split(".")[0] for name, table in tables.items()}
        self.keys = list(truncated.spec.examples.keys)
        self.answers: dict[Any, pl.DataFrame] = {}

    def baseline(self) -> pl.DataFrame:
        """Return the features of all examples, and refuse a function that is not deterministic."""
        frames = self.truncated.frames
        one, other = (self._call(frames, "of all rows") for _ in range(2))
        for name in one.columns:
            if name not in other.columns or differing(one[name], other[name]).any():
                raise DataError(
                    f"the function gives different values of {name!r} for the same tables",
                    where="replay", hint="seed what it draws",
                )  # fmt: skip
        return one

    def at(self, moment: Any, mode: Mode, only: Collection[Cell] | None = None) -> pl.DataFrame:
        """Return the features without the future of a moment; the same call is made once."""
        key = (moment, mode, None if only is None else frozenset(only))
        if key not in self.answers:
            frames = self.truncated.at(moment, mode, only)
            self.answers[key] = self._call(frames, f"without what was not known at {moment}")
        return self.answers[key]

    def poisoned(self, columns: Collection[Cell], moment: Any) -> pl.DataFrame:
        """Return the features when some columns are poisoned, whatever the time."""
        return self._call(self.truncated.poisoned(columns, moment), "with poisoned columns")

    def beyond_train(self) -> tuple[pl.DataFrame, int]:
        """Return the features when rows outside of the train split are poisoned, and their number.

        Examples outside of the train split are missing.
        """
        frames, train, others = self.truncated.beyond_train()
        made = self._call(frames, "with other splits poisoned")
        return made.with_columns(pl.Series("~train", train)), others

    def _call(self, frames: Mapping[str, pl.DataFrame], what: str) -> pl.DataFrame:
        given = {name: self._as_given(name, frame) for name, frame in frames.items()}
        try:
            returned = self.function(given)
        except Exception as error:
            raise DataError(
                f"the function fails on tables {what}: {type(error).__name__}: {error}",
                where="replay", hint="it must work on tables of any length",
            ) from error  # fmt: skip
        made = to_polars(returned, "the function's result")
        missing = [key for key in self.keys if key not in made.columns]
        if missing:
            raise DataError(f"the function's result lacks the key {missing[0]!r}", where="replay")
        wanted = self.truncated.keys
        made = made.with_columns(pl.col(key).cast(wanted.schema[key]) for key in self.keys)
        # Names of rows that are poisoned are all the same, and nobody's.
        made = made.join(wanted, on=self.keys, how="semi", maintain_order="left")
        if made.select(self.keys).is_duplicated().any():
            raise DataError("the function returns several rows for one example", where="replay")
        return wanted.join(made, on=self.keys, how="left", maintain_order="left")

    def _as_given(self, name: str, frame: pl.DataFrame) -> Any:
        kind = self.kinds[name]
        if kind == "pandas":
            from featurekit.training import to_pandas

            return to_pandas(frame)
        return frame.to_arrow() if kind == "pyarrow" else frame.clone()
