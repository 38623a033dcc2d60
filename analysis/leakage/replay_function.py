"""Replay of features that one's own code computes: a function from tables to features.

Nobody can see what a function reads. So it is called on tables that end at a prediction, once for
each moment that is replayed, with nothing but the declarations of when cells became known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.leakage.replay_caller import Caller, Function
from featurekit.analysis.leakage.replay_change import Mode
from featurekit.analysis.leakage.replay_compare import differing
from featurekit.analysis.leakage.replay_known import Cell
from featurekit.analysis.leakage.replay_result import (
    FeatureReplay,
    Mismatch,
    Replay,
    StatisticsReplay,
    Verdict,
)
from featurekit.analysis.leakage.replay_sample import sample_examples
from featurekit.analysis.leakage.replay_truncated import Truncated, plain_value
from featurekit.errors import DataError, UsageError, closest
from featurekit.serving import to_polars
from featurekit.spec.objects import Examples, Source, Spec

__all__ = ["replay_function"]

Flags = npt.NDArray[np.bool_]
_NOT_SEEN = "what a function fits is not seen; declare a split, and rows outside of it are poisoned"


def replay_function(
    function: Function,
    tables: Mapping[str, Any],
    *,
    examples: Examples | Mapping[str, Any],
    sources: Mapping[str, Source | Mapping[str, Any]],
    by: Mapping[str, Sequence[str]] | None = None,
    sample: int = 20,
    complete: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Replay:
    """Call a function on tables without the future, and compare the features that it returns.

    For each chosen time of prediction t, all that was not known at t is deleted from the tables,
    then poisoned, as `replay` does it; the function is called on what is left, and its features of
    the examples predicted at t are compared with those that it computes from all of the tables.
    What it fits is fitted again each time: a mean over all rows is the future of most of them. A
    statistic of the train rows belongs outside of the function.

    Args:
        function: Takes tables by name, of the kind that was given, and returns a table of that or
            another kind: the keys of the examples, and a column for each feature. It must give the
            same for the same tables.
        tables: Pandas, Polars or Arrow tables by name. What a pandas index holds is not passed on.
        examples: As in a spec: the table whose rows are the examples, their keys, `predict_at`,
            and `label` and `split` if there are any. With a split, rows outside of train are
            poisoned once, and the features of train rows must stay as they are.
        sources: As in a spec, for each table: `event_time`, `available_at`, and
            `columns: {name: {available_at: ...}}`. A table that is not named is taken as it is.
        by: For each table, the columns by which the function finds rows. They are not poisoned in
            rows of the future, so that their poison is met where it should not be.
        sample: So many times of prediction are replayed, each with two calls.
        complete: Whether all are.
        seed: The seed of their choice.
        progress: Told what is being done.

    Returns:
        The verdicts. `responsible` names the columns whose future alone makes a difference, found
        by halving. A feature is `untested` when it changes with a column of which nobody says when
        it is known.

    Raises:
        DataError: The function fails without the future, does not return the keys, or gives
            different features for the same tables.
        UsageError: The examples declare no keys or no `predict_at`, or `sample` is not positive.
        SpecErrors: The declarations do not fit the tables.

    Example:
        >>> from datetime import UTC, datetime
        >>> import polars as pl
        >>> days = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 5)]
        >>> sales = pl.DataFrame({"id": range(4), "day": days, "sold": [3, 1, 4, 1]})
        >>> def features(tables):
        ...     return tables["sales"].select("id", next_day=pl.col("sold").shift(-1))
        >>> found = replay_function(
        ...     features, {"sales": sales}, sources={"sales": {"event_time": "day"}},
        ...     examples={"source": "sales", "keys": "id", "predict_at": "day"},
        ... )
        >>> found.leaks, found.features["next_day"].responsible
        (('next_day',), ('sales.sold',))
    """
    if sample < 1:
        raise UsageError(f"sample is at least 1, got {sample}")
    for name in (*sources, *(by or {})):
        if name not in tables:
            raise UsageError(f"there is no table {name!r}", hint=closest(name, tables))
    declared = {name: sources.get(name, {}) for name in tables}
    spec = Spec(declared, examples, {"none": "none"})
    if not spec.examples.keys or spec.examples.predict_at is None:
        raise UsageError(
            "features of a function are compared by the keys of the examples, at predict_at",
            hint="examples={'source': ..., 'keys': ..., 'predict_at': ...}",
        )
    frames = {name: to_polars(table, f"table {name!r}") for name, table in tables.items()}
    truncated = Truncated(spec, frames, by or {})
    caller = Caller(function, tables, truncated)
    tell = progress or (lambda _: None)
    tell("the features of all of the tables")
    baseline = caller.baseline()
    at, even = _moments(truncated, len(baseline) if complete else sample, seed)
    tell(f"replaying {len(at)} moments")
    replayed = _Replayed(caller, baseline, at, even)
    for number in range(len(at)):
        replayed.add(number)
    tell("what the features depend on")
    depends = replayed.undeclared()
    names = [name for name in baseline.columns if name not in spec.examples.keys]
    features = {name: replayed.feature(name, depends.get(name, ())) for name in names}
    return Replay(
        features, replayed.statistics(names), replayed.count, len(at), complete, seed
    )  # fmt: skip


def _moments(truncated: Truncated, size: int, seed: int) -> tuple[list[Any], set[Any]]:
    """Return times of prediction in their order, and those drawn evenly over time."""
    frame, near = truncated.moments()
    places, even = sample_examples(frame, (), near, min(size, frame.height), seed)
    chosen = frame["~at"].gather(places)
    return chosen.to_list(), set(chosen.filter(pl.Series(even)).to_list())


class _Replayed:
    """Compares features moment by moment, and finds what is to blame."""

    def __init__(
        self, caller: Caller, baseline: pl.DataFrame, at: Sequence[Any], even: set[Any]
    ) -> None:
        self.caller, self.baseline, self.at, self.even = caller, baseline, at, even
        self.truncated = caller.truncated
        self.count = 0
        self.changed = 0
        self.drawn = 0
        self.mismatches: dict[str, int] = {}
        self.drawn_mismatches: dict[str, int] = {}
        self.first: dict[str, tuple[Any, Mode, int, Any]] = {}

    def add(self, number: int) -> None:
        """Replay one moment."""
        moment = self.at[number]
        places = self.truncated.predicted(moment)
        self.count += len(places)
        self.drawn += len(places) * (moment in self.even)
        self.changed += len(places) * self.truncated.anything(moment)
        together: dict[str, Flags] = {}
        for mode in Mode:
            found = self.caller.at(moment, mode)
            for name in self.names():
                flags = self._differing(name, places, found)
                if flags.any() and name not in self.first:
                    place = int(places[np.flatnonzero(flags)[0]])
                    value = found[name][place] if name in found.columns else None
                    self.first[name] = (moment, mode, place, plain_value(value))
                together[name] = together.get(name, np.zeros(len(places), bool)) | flags
        for name, flags in together.items():
            self.mismatches[name] = self.mismatches.get(name, 0) + int(flags.sum())
            if moment in self.even:
                self.drawn_mismatches[name] = self.drawn_mismatches.get(name, 0) + int(flags.sum())

    def names(self) -> list[str]:
        """Return the features."""
        return [name for name in self.baseline.columns if name not in self.caller.keys]

    def _differing(self, name: str, places: Any, found: pl.DataFrame) -> Flags:
        mine = self.baseline[name].gather(places)
        if name not in found.columns:  # A column that only the future has, such as a rare word's.
            return np.asarray(mine.is_not_null().to_numpy(), bool)
        return differing(mine, found[name].gather(places))

    def feature(self, name: str, undeclared: tuple[str, ...]) -> FeatureReplay:
        """Return the verdict of a feature."""
        verdict: Verdict = "untested" if undeclared or not self.count else "clean"
        first: Mismatch | None = None
        blamed: tuple[Cell, ...] = ()
        if name in self.first:
            moment, mode, place, value = self.first[name]
            keys = self.truncated.keys.row(place, named=True)
            first = Mismatch(
                {key: plain_value(entry) for key, entry in keys.items()}, moment.isoformat(),
                mode.value, plain_value(self.baseline[name][place]), value,
            )  # fmt: skip
            verdict, blamed = "leak", self._blamed(name, moment)
        return FeatureReplay(
            name, verdict, self.count, self.mismatches.get(name, 0), self.changed, self.drawn,
            self.drawn_mismatches.get(name, 0), first, tuple(cell.text for cell in blamed),
            tuple(cell.said for cell in blamed), undeclared,
        )  # fmt: skip

    def _blamed(self, name: str, moment: Any) -> tuple[Cell, ...]:
        """Return the columns whose future alone makes a difference, else the tables' rows."""
        places = self.truncated.predicted(moment)
        columns, rows = self.truncated.candidates(moment)

        def alone(cells: Sequence[Cell]) -> bool:
            return any(self._breaks(name, places, moment, mode, cells) for mode in Mode)

        found = _culprits(columns, alone)
        if found:
            return tuple(found)
        return tuple(_culprits(rows, alone)) or (*columns, *rows)

    def _breaks(
        self, name: str, places: Any, moment: Any, mode: Mode, cells: Sequence[Cell]
    ) -> bool:
        try:
            found = self.caller.at(moment, mode, cells)
        except DataError:
            return True  # A function that cannot do without it depends on it.
        return bool(self._differing(name, places, found).any())

    def undeclared(self) -> dict[str, tuple[str, ...]]:
        """Return what each feature depends on of which nobody says when it is known."""
        cells = self.truncated.undeclared()
        depends: dict[str, list[str]] = {}
        # One of the first, one of the last, and one between them.
        moments = dict.fromkeys(self.at[place] for place in (0, len(self.at) // 2, -1) if self.at)

        def changing(some: Sequence[Cell]) -> set[str]:
            names: set[str] = set()
            for moment in moments:
                places = self.truncated.predicted(moment)
                try:
                    found = self.caller.poisoned(some, moment)
                except DataError:
                    return set(self.names())
                names |= {
                    name for name in self.names() if self._differing(name, places, found).any()
                }
            return names

        def visit(some: Sequence[Cell]) -> None:
            names = changing(some) if some else set()
            if not names:
                return
            if len(some) == 1:
                for name in names:
                    depends.setdefault(name, []).append(some[0].text)
                return
            visit(some[: len(some) // 2])
            visit(some[len(some) // 2 :])

        visit(cells)
        return {name: tuple(found) for name, found in depends.items()}

    def statistics(self, names: Sequence[str]) -> StatisticsReplay:
        """Return whether features of train rows hold anything of rows of other splits."""
        if self.truncated.spec.examples.split is None:
            return StatisticsReplay("untested", 0, 0, {}, _NOT_SEEN)
        found, others = self.caller.beyond_train()
        if not others:
            return StatisticsReplay("untested", 0, 0, {}, "all rows are in the train split")
        places = np.flatnonzero(found["~train"].to_numpy())
        different = {
            f"the fit of {name}": (name,)
            for name in names if self._differing(name, places, found).any()
        }  # fmt: skip
        return StatisticsReplay("leak" if different else "clean", len(names), others, different)


def _culprits(cells: Sequence[Cell], alone: Callable[[Sequence[Cell]], bool]) -> list[Cell]:
    """Return the cells that make a difference alone, found by halving.

    Where it takes several of them together, those are returned.
    """
    if not cells or not alone(cells):
        return []
    if len(cells) == 1:
        return list(cells)
    half = len(cells) // 2
    found = [*_culprits(cells[:half], alone), *_culprits(cells[half:], alone)]
    return found or list(cells)
