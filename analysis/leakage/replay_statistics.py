"""Whether fitted statistics hold anything of rows that are not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import polars as pl

from featurekit.analysis.leakage.replay_change import poison
from featurekit.analysis.leakage.replay_result import StatisticsReplay
from featurekit.engines import local
from featurekit.engines.rows import SPLIT, TRAIN, typed_rows, with_split
from featurekit.graph import ColumnNode, OperationNode, StatisticRequest, topological
from featurekit.planner import Plan
from featurekit.sources import Table, polars_errors

__all__ = ["replay_statistics"]


def replay_statistics(
    plan: Plan, table: Table, fitted: Mapping[StatisticRequest, Any]
) -> StatisticsReplay:
    """Poison all rows outside of the train split, fit again, and compare to the bit.

    Args:
        plan: The plan.
        table: The examples with their aggregates, as a run has them.
        fitted: The statistics as they were fitted.
    """
    resolved = plan.resolved
    if not plan.statistics:
        return StatisticsReplay("untested", 0, 0, {}, "no feature needs a statistic")
    if resolved.spec.examples.split is None:
        why = "the spec declares no split, so all rows are trained on"
        return StatisticsReplay("untested", len(fitted), 0, {}, why)
    rows, _ = typed_rows(table, resolved)
    names = rows.collect_schema().names()
    decides = [node for node in (resolved.split, *resolved.hashed) if node is not None]
    kept = {node.name for node in topological(decides) if isinstance(node, ColumnNode)}
    split = with_split(rows, resolved, {}, {})
    with polars_errors(f"source {table.name!r}"):
        frame = split.select(*names, (pl.col(SPLIT) != TRAIN).fill_null(True).alias("~other"),
                             pl.int_range(pl.len()).alias("~place")).collect()  # fmt: skip
    others = int(frame["~other"].sum())
    if not others:
        return StatisticsReplay("untested", len(fitted), 0, {}, "all rows are in the train split")
    changed = []
    for name in names:
        value = poison(name, frame.schema[name], pl.col("~place") % 2 == 0)
        if name not in kept and value is not None:
            changed.append(pl.when("~other").then(value).otherwise(name).alias(name))
    poisoned = frame.with_columns(changed).drop("~other", "~place")
    again = replace(
        table, frame=poisoned.lazy(), schema=dict(poisoned.schema), renamed={}, files=(),
        format=None,
    )  # fmt: skip
    refitted, _ = local.fit(plan, again)
    different = {
        request.text: _users(plan, request)
        for request, value in fitted.items() if _bits(value) != _bits(refitted[request])
    }  # fmt: skip
    return StatisticsReplay("leak" if different else "clean", len(fitted), others, different)


def _users(plan: Plan, request: StatisticRequest) -> tuple[str, ...]:
    return tuple(
        name for name, root in plan.features.items()
        if any(isinstance(node, OperationNode) and request in node.statistics
               for node in topological([root]))
    )  # fmt: skip


def _bits(value: Any) -> Any:
    """Return a fitted value so that it equals another when all of its bits do."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = ((entry.name, _bits(getattr(value, entry.name))) for entry in fields(value))
        return (type(value).__name__, *parts)
    if isinstance(value, float):
        return value.hex()  # Tells negative zero, and NaN equals itself.
    if isinstance(value, Mapping):
        return tuple((key, _bits(entry)) for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_bits(entry) for entry in value)
    return repr(value.tolist()) if hasattr(value, "tolist") else value
