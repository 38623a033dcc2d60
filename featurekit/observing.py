"""Asks the data what a spec cannot tell of its times: labels known late, effects at predictions.

The examples' source is read once for late labels, where times are over different columns. For
effects the first examples are compared with the past rows of their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import polars as pl

from featurekit.availability import moment
from featurekit.engines.rows import computed_rows
from featurekit.errors import FeatureKitError
from featurekit.graph import AggregateNode, Node
from featurekit.leaks import Leaks
from featurekit.observed import Coincidence, LateLabels, Observed
from featurekit.read_errors import polars_errors
from featurekit.resolved import Resolved
from featurekit.spec.expression import Name
from featurekit.table import Table
from featurekit.typecheck import Typer
from featurekit.types import parse_duration

__all__ = ["observe"]

_EXAMPLES = 20_000
"""So many examples are compared with past rows: what coincides, does so by how data is made."""


def observe(resolved: Resolved, tables: Mapping[str, Table]) -> Observed:
    """Return what the data shows of a spec's times.

    What is wrong with the data is told by those who read it, and not here.

    Args:
        resolved: The spec.
        tables: Its opened sources.
    """
    if resolved.spec.examples.source not in tables:
        return Observed()
    found: list[LateLabels] | None = None
    effects: list[Coincidence] = []
    with suppress(FeatureKitError):
        found = _late_labels(resolved, tables[resolved.spec.examples.source])
    with suppress(FeatureKitError):
        effects += _coincidences(resolved, tables)
    return Observed(tuple(found or ()), found is not None, tuple(effects))


def _late_labels(resolved: Resolved, table: Table) -> list[LateLabels] | None:
    """Return the borders of a split before which labels are known too late, as the data has it.

    Nothing, if the spec tells, or there is no data.
    """
    spec = resolved.spec
    split, examples = spec.examples.split, spec.examples
    source = spec.sources[examples.source]
    known = Leaks(spec, resolved.types).label_known_at()
    if resolved.label is None or resolved.split is None or split is None or split.by is None:
        return None
    by = Name(split.by)
    predicted = by if examples.predict_at is None else examples.predict_at
    times = [*known, predicted, by]
    if not known or len({moment(time, source.columns).base for time in times}) == 1:
        return None  # The spec tells.
    typer = Typer(source.columns, resolved.types)
    nodes = {f"known{place}": typer.node(time) for place, time in enumerate(known)}
    outputs = {
        **nodes, "label": resolved.label, "at": typer.node(predicted), "by": resolved.split
    }  # fmt: skip
    latest = pl.max_horizontal(*nodes).alias("known")
    there = pl.all_horizontal(pl.col(name).is_not_null() for name in (*nodes, "label"))
    frame = computed_rows(table, source, outputs)
    frame = frame.with_columns(pl.when(there).then(latest).alias("known")).select(
        "by", "at", "known"
    )
    gap = timedelta(microseconds=parse_duration(split.embargo) if split.embargo else 0)
    borders = [("eval_from", split.eval_from), ("test_from", split.test_from)]
    starts = {name: start for name, start in borders if start is not None}
    with polars_errors(f"source {table.name!r}"):
        begins = frame.select(
            pl.col("at").filter(_behind(name, starts)).min().alias(name) for name in starts
        ).collect(engine="streaming").row(0, named=True)  # fmt: skip
        counted = []
        for name, first in begins.items():
            if first is None:
                continue
            before = _before(name, starts, gap) & pl.col("known").is_not_null()
            late = before & (pl.col("known") > first)
            counted += [
                before.sum().alias(f"{name} rows"), late.sum().alias(f"{name} late"),
                pl.col("by").filter(late).min().alias(f"{name} from"),
            ]  # fmt: skip
        if not counted:
            return None
        found = frame.select(counted).collect(engine="streaming").row(0, named=True)
    made = []
    for name, first in begins.items():
        if first is not None and found[f"{name} late"]:
            embargo = (starts[name] - found[f"{name} from"]) // timedelta(microseconds=1)
            rows, late_rows = found[f"{name} rows"], found[f"{name} late"]
            made.append(LateLabels(name, rows, late_rows, first, _rounded(embargo)))
    return made


def _behind(border: str, starts: Mapping[str, datetime]) -> pl.Expr:
    """Whether a row lies behind a border, and before the next one."""
    found = pl.col("by") >= starts[border]
    later = [start for start in starts.values() if start > starts[border]]
    return found & (pl.col("by") < min(later)) if later else found


def _before(border: str, starts: Mapping[str, datetime], gap: timedelta) -> pl.Expr:
    """Whether a row lies before a border, and under no embargo."""
    found = pl.col("by") < starts[border] - gap
    for start in starts.values():
        if start < starts[border]:
            found &= (pl.col("by") < start - gap) | (pl.col("by") >= start)
    return found


def _rounded(micros: int) -> int:
    """Return a duration that is as long or little longer, and reads well."""
    for unit, from_ in (("1d", "2d"), ("1h", "2h"), ("1m", "2m"), ("1s", "1s")):
        size = parse_duration(unit)
        if micros >= parse_duration(from_):
            return -(-micros // size) * size
    return micros


def _coincidences(resolved: Resolved, tables: Mapping[str, Table]) -> Iterator[Coincidence]:
    """Yield the effects that coincide with predictions, for any example that is looked at."""
    main = resolved.spec.examples.source
    groups: dict[tuple[object, ...], list[AggregateNode]] = {}
    for node in resolved.aggregates:
        history = node.aggregate.history
        if node.at is None or history.source not in tables:
            continue
        # Where an example's own row takes effect as it is predicted, those of its time stay out.
        if history.source == main and history.effect == (node.at,):
            continue
        key = (history.source, history.keys, history.effect, node.asked)
        groups.setdefault(key, []).append(node)
    for nodes in groups.values():
        rows, examples, apart = _coinciding(resolved, tables, nodes[0])
        if rows:
            history = nodes[0].aggregate.history
            yield Coincidence(
                tuple(node.text for node in nodes), history.source,
                _as_declared(resolved, nodes[0]), history.effect == (history.event_time,), rows,
                examples, apart,
            )  # fmt: skip


def _as_declared(resolved: Resolved, node: AggregateNode) -> tuple[str, ...]:
    """Return when rows of an output take effect, in the words of the spec."""
    for use in (use for uses in resolved.uses.values() for use in uses):
        if use.column == node.text and use.known_at:
            return tuple(use.known_at.split(", "))
    return tuple(time.text for time in node.aggregate.history.effect)


def _coinciding(
    resolved: Resolved, tables: Mapping[str, Table], node: AggregateNode
) -> tuple[int, int, int]:
    """Return how many examples have a row that takes effect at their prediction, and of how many.

    An example's own row is none of them. Then how far apart rows of one key usually take effect.
    """
    history, spec = node.aggregate.history, resolved.spec
    main, source = spec.examples.source, history.source
    assert node.at is not None
    keys = [f"key{place}" for place in range(len(node.keys))]
    asked: dict[str, Node] = {**dict(zip(keys, node.keys, strict=True)), "at": node.at}
    past: dict[str, Node] = dict(zip(keys, history.keys, strict=True))
    times = {f"time{place}": time for place, time in enumerate(history.effect)}
    own = {f"own {name}": entry for name, entry in {**past, **times}.items()}
    read = {**asked, **own} if source == main else asked
    examples = computed_rows(tables[main], spec.sources[main], read).head(_EXAMPLES)
    examples = examples.drop_nulls([*asked])
    itself = pl.lit(0)
    if source == main:
        equal = [pl.col(f"own {key}") == pl.col(key) for key in keys]
        equal.append(_latest([f"own {name}" for name in times]) == pl.col("at"))
        itself = pl.all_horizontal(equal).fill_null(False).cast(pl.Int64)
    examples = examples.select(*asked, itself.alias("itself"))
    rows = computed_rows(tables[source], spec.sources[source], {**past, **times})
    rows = rows.select(*keys, _latest([*times]).alias("at"))
    with polars_errors(f"source {source!r}"):
        wanted = examples.collect(engine="streaming")
        counts = (
            rows.join(wanted.lazy().select(*keys, "at").unique(), on=[*keys, "at"], how="semi")
            .group_by(*keys, "at").agg(pl.len().cast(pl.Int64).alias("rows"))
            .collect(engine="streaming")
        )  # fmt: skip
        if keys:
            rows = rows.join(wanted.lazy().select(keys).unique(), on=keys, how="semi")
        apart = pl.col("at").diff()
        gaps = (
            rows.drop_nulls().unique().sort(*keys, "at")
            .select(apart.over(keys) if keys else apart).median().collect().item()
        )  # fmt: skip
    found = wanted.join(counts, on=[*keys, "at"], how="left")
    coinciding = (found["rows"].fill_null(0) - found["itself"] > 0).sum()
    return int(coinciding), wanted.height, 0 if gaps is None else gaps // timedelta(microseconds=1)


def _latest(times: Sequence[str]) -> pl.Expr:
    """Return the latest of some times, null where one is."""
    there = pl.all_horizontal(pl.col(name).is_not_null() for name in times)
    return pl.when(there).then(pl.max_horizontal(times))
