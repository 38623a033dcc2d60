"""Leaks proven by replay: take the future away, compute again, and compare cell by cell.

What a feature may know at a prediction, the spec declares. Replay does not trust how features are
computed: for some predictions it deletes, and then poisons, every cell that became known later, and
computes their features again with the statistics frozen. A cell that differs is a leak, whatever
the reason; see `featurekit.analysis.leakage.replay_function` for features of one's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.leakage.replay_change import Mode
from featurekit.analysis.leakage.replay_compare import differing
from featurekit.analysis.leakage.replay_examples import choose
from featurekit.analysis.leakage.replay_graph import Graph
from featurekit.analysis.leakage.replay_known import Cell, Knowledge, Known
from featurekit.analysis.leakage.replay_result import (
    FeatureReplay,
    Mismatch,
    Replay,
    StatisticsReplay,
    Verdict,
)
from featurekit.analysis.leakage.replay_statistics import replay_statistics
from featurekit.analysis.leakage.replay_tables import AT
from featurekit.analysis.leakage.replay_worlds import Variant, Worlds
from featurekit.engines import history, local
from featurekit.engines.rows import lower, typed_rows
from featurekit.errors import UsageError, closest
from featurekit.opening import as_spec, open_sources
from featurekit.planner import Plan, make_plan
from featurekit.sources import Table, polars_errors
from featurekit.spec.objects import FrozenMapping, Spec

__all__ = ["FeatureReplay", "Mismatch", "Replay", "StatisticsReplay", "replay"]

Flags = npt.NDArray[np.bool_]

_BLAMED = 8
"""By so many mismatches the columns are found that are responsible."""


def replay(
    spec: Spec | str | Path,
    *,
    sample: int = 100,
    complete: bool = False,
    seed: int = 0,
    tables: Mapping[str, Any] | None = None,
    truth: Spec | str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Replay:
    """Compute the features of some examples again without the future, and compare.

    For each chosen example, predicted at t, all that was not known at t is deleted, then poisoned:

    - of past rows, those whose event lies at t or later, and cells known at t or later, by the
      `available_at` of the column, else of its source;
    - of the example's own row, cells known later than t, those declared `available: false`, and
      what the label is made of.

    Then the features are computed again with the same statistics. Integers, strings and vectors of
    them must be equal, floats within 1e-6 of the greater. Apart from that, all rows outside of the
    train split are poisoned and the statistics are fitted again; these must be equal to the bit.

    Args:
        spec: The spec, or the path of its file; its sources are read here, not in BigQuery.
        sample: So many examples are replayed; see `sample_examples` for how they are chosen.
        complete: Whether all are.
        seed: The seed of the choice.
        tables: Pandas, Polars or Arrow tables to read instead of what the sources name.
        truth: A spec that declares when columns become known, where the one that computes the
            features does not, or says something else. It declares the same sources and columns.
        progress: Told what is being done.

    Returns:
        The verdicts. Examples without a label or without a time of prediction are left out. The
        order of rows changes nothing.

    Raises:
        SpecErrors: The spec has problems; a leak that the spec shows is one.
        DataError: A source cannot be read, or holds what the spec does not allow.
        UsageError: `sample` is not positive, or a table is of no source.

    Example:
        >>> import polars as pl
        >>> from featurekit import Spec
        >>> from datetime import UTC, datetime, timedelta
        >>> days = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 9)]
        >>> visits = pl.DataFrame({"who": ["a"] * 8, "day": days, "spent": range(8)})
        >>> spec = Spec(
        ...     sources={"visits": {"event_time": "day", "available_at": "day - 1d",
        ...                         "columns": {"spent": {"available_at": "day + 1d"}}}},
        ...     examples={"source": "visits", "predict_at": "day"},
        ...     aggregations={"past": {"source": "visits", "by": "who", "windows": "3d",
        ...                            "features": {"spent": "sum(spent)"}}},
        ...     features={"spent": "past.spent_3d"},
        ... )
        >>> found = replay(spec, tables={"visits": visits})
        >>> found.verdict, found.features["spent"].changed
        ('clean', 8)
    """
    if sample < 1:
        raise UsageError(f"sample is at least 1, got {sample}")
    tell = progress or (lambda _: None)
    spec = _with_tables(as_spec(spec), tables or {})
    known = as_spec(truth) if truth is not None else spec
    _refuse_others(known, spec)
    resolved, opened = open_sources(spec)
    main = spec.examples.source
    graph = Graph(resolved, Knowledge(known, resolved.types))
    plan = make_plan(resolved, "local", saved_model=False)
    table = opened[main]
    if resolved.aggregates:
        tell("the past as a run sees it")
        past = history.compute(resolved.aggregates, spec, table, opened)
        table = history.with_columns(table, resolved.aggregates, past)
    fitted: Mapping[Any, Any] = {}
    statistics = StatisticsReplay("untested", 0, 0, {}, "no feature needs a statistic")
    if plan.statistics:
        tell("fitting statistics, and again without rows that are not trained on")
        fitted, _ = local.fit(plan, table)
        statistics = replay_statistics(plan, table, fitted)
    tell("choosing examples")
    examples, even = choose(graph, opened, sample if not complete else None, seed)
    baseline, keys = _baseline(plan, table, fitted, examples)
    tell(f"replaying {len(examples):,} examples")
    worlds = Worlds(graph, opened, fitted, examples)
    compared = _Compared(worlds, baseline, even)
    for rows in worlds.chunks():
        compared.add(rows)
    features = {name: compared.feature(name, keys) for name in resolved.features}
    moments = worlds.rows[AT].drop_nulls().n_unique()
    return Replay(features, statistics, len(examples), moments, complete, seed)


def _with_tables(spec: Spec, tables: Mapping[str, Any]) -> Spec:
    for name in tables:
        if name not in spec.sources:
            raise UsageError(f"there is no source {name!r}", hint=closest(name, spec.sources))
    if not tables:
        return spec
    sources = {
        name: replace(source, path=None, table=None, data=tables[name])
        if name in tables
        else source
        for name, source in spec.sources.items()
    }
    return replace(spec, sources=FrozenMapping(sources))


def _refuse_others(truth: Spec, spec: Spec) -> None:
    """Refuse a truth about other tables."""
    missing = [name for name in spec.sources if name not in truth.sources]
    if missing or truth.examples.source != spec.examples.source:
        what = f"no source {missing[0]!r}" if missing else "its examples in another source"
        raise UsageError(
            f"the truth has {what}", where="replay", hint="it is about the same sources and columns"
        )


def _baseline(
    plan: Plan, table: Table, fitted: Mapping[Any, Any], examples: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the features of examples as a run computes them, and their keys, in their order."""
    resolved = plan.resolved
    rows, _ = typed_rows(table, resolved)
    wanted = pl.DataFrame({"~row": examples})
    rows = rows.with_row_index("~row").filter(pl.col("~row").is_in(examples.implode()))
    names = {f"~key {name}": node for name, node in resolved.keys.items()}
    made = lower(rows, {**resolved.features, **names}, fitted)
    with polars_errors(f"source {table.name!r}"):
        found = made.select("~row", *resolved.features, *names).collect()
    found = wanted.join(found, on="~row", how="left", maintain_order="left")
    keys = found.select(
        pl.col(given).alias(name) for given, name in zip(names, resolved.keys, strict=True)
    )
    return found.select(list(resolved.features)), keys


class _Compared:
    """Counts cells that differ without the future, and finds what is to blame.

    Args:
        worlds: The examples in worlds of their own.
        baseline: Their features as a run computes them, in the order of the worlds.
        even: Which of them were drawn evenly over time.
    """

    def __init__(self, worlds: Worlds, baseline: pl.DataFrame, even: Flags) -> None:
        self.worlds, self.baseline, self.even = worlds, baseline, even
        self.graph = worlds.graph
        count = baseline.height
        names = baseline.columns
        self.differs = {(name, mode): np.zeros(count, bool) for name in names for mode in Mode}
        self.changed = {name: np.zeros(count, bool) for name in names}
        self.first: dict[str, tuple[int, Mode, Any]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Replay some worlds."""
        places = rows["~world"].to_numpy()
        unknown = self.worlds.changed(rows)
        for name, cells in self.graph.reads.items():
            for cell in cells:
                self.changed[name][places] |= unknown[cell].to_numpy()
        answers = self.worlds.compute(rows, [Variant(mode) for mode in Mode])
        for mode, found in zip(Mode, answers, strict=True):
            for name in found.columns:
                flags = self.differing(name, places, found[name])
                self.differs[name, mode][places] = flags
                at = np.flatnonzero(flags)
                if len(at) and (name not in self.first or places[at[0]] < self.first[name][0]):
                    value = found[name][int(at[0])]
                    self.first[name] = (int(places[at[0]]), mode, _plain(value))

    def differing(self, name: str, places: Any, found: pl.Series) -> Flags:
        """Return which values of a feature differ from those of a run."""
        return differing(self.baseline[name].gather(places), found)

    def feature(self, name: str, keys: pl.DataFrame) -> FeatureReplay:
        """Return the verdict of a feature."""
        cells = self.graph.reads[name]
        undeclared, undated = _unsaid(cells)
        differs = self.differs[name, Mode.DELETE] | self.differs[name, Mode.POISON]
        verdict: Verdict = "undated" if undated else "clean"
        if undeclared or not len(differs):
            verdict = "untested"
        first: Mismatch | None = None
        blamed: tuple[Cell, ...] = ()
        if differs.any():
            verdict = "leak"
            place, mode, value = self.first[name]
            at = self.worlds.rows[AT][place]
            row = keys.row(place, named=True) if keys.width else {}
            first = Mismatch(
                {key: _plain(value) for key, value in row.items()},
                at.isoformat() if isinstance(at, datetime) else None, mode.value,
                _plain(self.baseline[name][place]), value,
            )  # fmt: skip
            blamed = self.blamed(name, differs)
        return FeatureReplay(
            name, verdict, len(differs), int(differs.sum()), int(self.changed[name].sum()),
            int(self.even.sum()), int((differs & self.even).sum()), first,
            tuple(cell.text for cell in blamed), tuple(cell.said for cell in blamed), undeclared,
            undated,
        )  # fmt: skip

    def blamed(self, name: str, differs: Flags) -> tuple[Cell, ...]:
        """Return the cells whose future alone makes a difference; all it reads if none does."""
        places = np.flatnonzero(differs)[:_BLAMED]
        rows = self.worlds.rows.filter(pl.Series(np.isin(self.worlds.rows["~world"], places)))
        unknown = self.worlds.changed(rows)
        cells = [cell for cell in self.graph.reads[name] if unknown[cell].any()]
        if len(cells) == 1:
            return tuple(cells)
        alone = dict.fromkeys(cells, False)
        variants = [Variant(mode, (cell,)) for cell in cells for mode in Mode]
        answers = self.worlds.compute(rows, variants, (name,))
        at = rows["~world"].to_numpy()
        for number, answer in enumerate(answers):
            alone[cells[number // len(Mode)]] |= bool(self.differing(name, at, answer[name]).any())
        found = [cell for cell in cells if alone[cell]]
        return tuple(cell for cell in found if cell.column) or tuple(found) or tuple(cells)


def _unsaid(cells: Sequence[Cell]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what nobody says the time of, and the tables of which nobody needs to.

    Where all that is read of a table is declared to be always available, so are its rows.
    """
    unsaid = [cell for cell in cells if cell.known is Known.UNDECLARED]
    timed = {cell.source for cell in cells if cell.column and cell.known is not Known.ALWAYS}
    fine = [cell for cell in unsaid if not cell.column and cell.source not in timed]
    undeclared = dict.fromkeys(cell.text for cell in unsaid if cell not in fine)
    return tuple(undeclared), tuple(dict.fromkeys(cell.source for cell in fine))


def _plain(value: Any) -> Any:
    """Return a cell as JSON can say it."""
    if isinstance(value, pl.Series):
        return [_plain(entry) for entry in value.to_list()]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
