"""The latest values of aggregations, for every key: what an online store is filled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from featurekit import artifact
from featurekit.arguments import names_of
from featurekit.engines.history import compute, keys_before
from featurekit.errors import SpecError, UsageError
from featurekit.graph import AggregateNode, ColumnNode
from featurekit.opening import Space, as_spec, open_sources
from featurekit.resolved import Resolved
from featurekit.semantics import SEMANTICS
from featurekit.sources import Table, open_table, polars_errors
from featurekit.spec.objects import Column, Source, Spec
from featurekit.spec.problems import Place, Problems
from featurekit.spec.settings import instant
from featurekit.types import TIMESTAMP

if TYPE_CHECKING:
    from featurekit.engines.bigquery.settings import Settings

__all__ = ["snapshot", "write_snapshot"]

AS_OF = "as_of"


def snapshot(
    spec: Spec | str | Path,
    as_of: str | date,
    only: Sequence[str] = (),
    bigquery: Settings | None = None,
) -> dict[str, pl.DataFrame]:
    """Return what each aggregation and lookup knows of every key at a time.

    The values are those that an example of the key would get, were its prediction made at that
    time: a row that takes effect at the time itself does not count.

    Args:
        spec: The spec, or the path of its file.
        as_of: The time; a date is its midnight, and a time without an offset is UTC.
        only: The names of the aggregations and lookups to compute; all without it.
        bigquery: How to reach sources that are BigQuery tables; they are read, and computed here.

    Returns:
        A table for each, by name: the columns of its key as the examples call them, `as_of`, and
        every output. The keys are those of which a row had taken effect by then, in order.

    Raises:
        SpecErrors: The spec has problems.
        SpecError: The time is none, or the spec declares no such aggregation.
        DataError: A source cannot be read.

    Example:
        `fk.snapshot("flights.yaml", "2013-12-01")["tail"]`
    """
    moment, spec = _moment(as_of), as_spec(spec)
    with ExitStack() as stack:
        warehouse, space = None, None
        if bigquery is not None:
            from featurekit.engines.bigquery.client import Warehouse

            warehouse = stack.enter_context(Warehouse(bigquery))
            space = Space(stack, None)
        unread = set(spec.sources) - {owner.source for owner in spec.histories.values()}
        resolved, tables = open_sources(spec, warehouse, space, unread)
        return _chosen(resolved, tables, moment, only)


def _moment(as_of: str | date) -> datetime:
    """Return the time that is asked about."""
    try:
        return instant(as_of, Place(Problems()))
    except SpecError as error:
        hint = "2013-12-01T06:00Z is one, too; without an offset it is UTC"
        raise SpecError(error.message, where="--as-of", hint=hint) from None


def _chosen(
    resolved: Resolved, tables: Mapping[str, Table], moment: datetime, only: Sequence[str]
) -> dict[str, pl.DataFrame]:
    """Return the values of some aggregations and lookups, or of all, at a time."""
    only = names_of(only, "aggregations and lookups")
    unknown = [name for name in only if name not in resolved.outputs]
    if unknown:
        raise SpecError(
            f"there is no aggregation or lookup {unknown[0]!r}",
            hint=f"the spec declares {', '.join(resolved.outputs) or 'none'}",
        )
    if not resolved.outputs:
        raise SpecError("the spec declares no aggregations or lookups: there is no past to look at")
    chosen = {name: resolved.outputs[name] for name in only or resolved.outputs}
    return {
        name: _at(name, list(outputs.values()), resolved.spec, tables, moment)
        for name, outputs in chosen.items()
    }


def write_snapshot(
    spec: Spec | str | Path, as_of: str | date, out: Path, *, overwrite: bool = False,
    only: Sequence[str] = (), bigquery: Settings | None = None,
) -> dict[str, int]:  # fmt: skip
    """Write a snapshot as one Parquet file for each aggregation and lookup; see `snapshot`.

    Args:
        spec: The spec, or the path of its file.
        as_of: The time.
        out: The folder; it appears when all of it is complete, or not at all.
        overwrite: Whether a snapshot that stands there may be replaced.
        only: The names of the aggregations and lookups to compute; all without it.
        bigquery: How to reach sources that are BigQuery tables.

    Returns:
        The number of keys in each, by name.

    Raises:
        UsageError: `out` cannot be written.
    """
    target = out.absolute()
    artifact.check_target(target, overwrite, "snapshot")
    moment = _moment(as_of)
    made = snapshot(spec, moment, only, bigquery)
    with artifact.new_folder(target, overwrite, "snapshot") as folder:
        for name, frame in made.items():
            frame.write_parquet(folder / f"{name}.parquet")
        artifact.write_manifest(folder, {
            "format": artifact.FORMAT,
            "semantics": SEMANTICS,
            "as_of": moment.isoformat(),
            "keys": {name: frame.height for name, frame in made.items()},
        })  # fmt: skip
    return {name: frame.height for name, frame in made.items()}


def _at(
    name: str, nodes: Sequence[AggregateNode], spec: Spec, tables: Mapping[str, Table],
    moment: datetime,
) -> pl.DataFrame:  # fmt: skip
    """Return the values of one aggregation at a time."""
    keys = list(spec.histories[name].by)
    outputs = {node.name: node for node in nodes}
    taken = [key for key in (*keys, *outputs) if key == AS_OF]
    if taken:
        raise UsageError(f"{name!r} has a column {AS_OF!r}, which a snapshot writes itself",
                         hint="rename it")  # fmt: skip
    past = tables[nodes[0].aggregate.history.source]
    frame = keys_before(nodes, keys, spec, past, moment) if keys else pl.DataFrame({"~all": [True]})
    frame = frame.with_columns(pl.lit(moment).cast(pl.Datetime("us", "UTC")).alias(AS_OF)).select(
        *keys, AS_OF
    )
    asked = tuple(ColumnNode.of(key, of.type) for key, of in zip(keys, nodes[0].keys, strict=True))
    at = ColumnNode.of(AS_OF, TIMESTAMP)
    asking = [replace(node, keys=asked, at=node.at and at) for node in nodes]
    columns = {node.name: Column(type=node.type) for node in (*asked, at)}
    declared = Source(data=frame, columns=columns)
    table = open_table(name, declared, Path())
    with polars_errors(f"aggregation {name!r}"):
        made = compute(asking, spec, table, tables, declared=declared).collect()
    return frame.hstack([made[node.text].alias(node.name) for node in asking])
