"""Which examples of a spec are replayed: the choice is by their times, keys and contents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.leakage.replay_graph import Graph
from featurekit.analysis.leakage.replay_sample import sample_examples
from featurekit.analysis.leakage.replay_tables import AT, EVENT
from featurekit.engines.rows import computed_rows
from featurekit.graph import Node
from featurekit.sources import Table, polars_errors

__all__ = ["choose"]

Flags = npt.NDArray[np.bool_]


def choose(
    graph: Graph, opened: Mapping[str, Table], size: int | None, seed: int
) -> tuple[pl.Series, Flags]:
    """Return the rows of the examples to replay, and which were drawn evenly over time."""
    resolved, main = graph.resolved, graph.main
    spec = resolved.spec
    outputs: dict[str, Node] = {}
    if spec.examples.predict_at is not None:
        outputs[AT] = graph.column(main, True, spec.examples.predict_at)
    if resolved.label is not None:
        outputs["~label"] = resolved.label
    by = {key.fingerprint: key for node in resolved.aggregates for key in node.keys}
    named = {f"~by {mark}": key for mark, key in by.items()}
    content = {f"~content {place}": node for place, node in enumerate(resolved.keys.values())}
    content |= {
        f"~read {name}": graph.typer(main, True).name(name) for name in sorted(resolved.inputs())
    }
    outputs |= named | content
    with polars_errors(f"source {main!r}"):
        frame = computed_rows(opened[main], spec.sources[main], outputs).collect()
    frame = frame.with_row_index("~row")
    order = pl.struct(list(content)).hash(0) if content else pl.lit(0)
    if AT not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(AT))
    else:
        frame = frame.filter(pl.col(AT).is_not_null())
    if "~label" in frame.columns:
        frame = frame.filter(pl.col("~label").is_not_null())
    frame = frame.select("~row", AT, *named, order.alias("~order"))
    choosing = AT in outputs and size is not None and size < frame.height
    near = _nearness(graph, opened, frame) if choosing else None
    places, even = sample_examples(
        frame, list(named), near, frame.height if size is None else size, seed
    )
    return frame["~row"].gather(places), even


def _nearness(graph: Graph, opened: Mapping[str, Table], frame: pl.DataFrame) -> pl.Series | None:
    """Return for each example how long after it the next event of its keys is, in microseconds."""
    nearest: pl.Series | None = None
    done = set()
    frame = frame.with_row_index("~place")
    for node in graph.resolved.aggregates:
        past = node.aggregate.history
        if past.event_time is None or (past.source, past.keys) in done:
            continue
        done.add((past.source, past.keys))
        keys = {
            f"~by {key.fingerprint}": other for key, other in zip(node.keys, past.keys, strict=True)
        }
        source = graph.resolved.spec.sources[past.source]
        events = computed_rows(opened[past.source], source, {**keys, EVENT: past.event_time})
        events = events.filter(pl.col(EVENT).is_not_null()).sort(EVENT)
        joined = frame.lazy().sort(AT).join_asof(
            events, left_on=AT, right_on=EVENT, by=list(keys) or None, strategy="forward",
            check_sortedness=False,
        )  # fmt: skip
        gap = (pl.col(EVENT) - pl.col(AT)).dt.total_microseconds().alias("~gap")
        with polars_errors(f"source {past.source!r}"):
            found = joined.select("~place", gap).sort("~place").collect()["~gap"]
        nearest = (
            found if nearest is None else pl.select(pl.min_horizontal(nearest, found)).to_series()
        )
    return nearest
