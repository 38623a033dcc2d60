"""Aggregates of a plan computed in BigQuery, for examples that are local or in BigQuery."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.engines.bigquery.client import Warehouse
from featurekit.engines.bigquery.columns import ROW_ID, Names
from featurekit.engines.bigquery.jobs import Result, Statement, passing_copy, run_statements
from featurekit.engines.bigquery.load import load_table
from featurekit.engines.bigquery.read import arrow_types, export_parquet, read_batches, read_table
from featurekit.engines.bigquery.sql import (
    Spine,
    column_names,
    statements,
    undecided_rows,
)
from featurekit.engines.bigquery.tables import content_hash, existing, fingerprint, is_described
from featurekit.engines.rows import check_rows, computed_rows
from featurekit.errors import UsageError
from featurekit.graph import AggregateNode, ColumnNode, Node, past_reads, topological
from featurekit.planner import Plan
from featurekit.sources import Table, polars_errors, renamed_columns
from featurekit.spec.objects import Spec
from featurekit.spec.table_id import TableId, table_id
from featurekit.transforms.base import polars_dtype
from featurekit.transforms.sql import bigquery_type
from featurekit.types import Kind, Type

__all__ = [
    "can_export",
    "compute",
    "download",
    "empty_frame",
    "export",
    "left_out_types",
    "planned_statements",
    "stored_types",
]


def stored_types(warehouse: Warehouse, table: str) -> dict[str, str]:
    """Return the BigQuery types of a table's columns; those that no feature can read are left out.

    Raises:
        DataError: There is no such table.
        EngineError: The service does not answer.
    """
    return _readable(existing(warehouse, table_id(table, project=warehouse.settings.project)))


def left_out_types(warehouse: Warehouse, table: str) -> dict[str, str]:
    """Return the BigQuery types of a table's columns that no feature can read.

    Raises:
        DataError: There is no such table.
        EngineError: The service does not answer.
    """
    found = existing(warehouse, table_id(table, project=warehouse.settings.project))
    readable = _readable(found)
    return {
        column.name: f"ARRAY of {column.field_type}" if column.mode == "REPEATED"
        else str(column.field_type)
        for column in found.schema
        if column.name not in readable
    }  # fmt: skip


def _readable(found: Any) -> dict[str, str]:
    readable = arrow_types()
    return {
        column.name: column.field_type
        for column in found.schema
        if column.mode != "REPEATED" and column.field_type in readable
    }


def empty_frame(types: Mapping[str, str]) -> pl.LazyFrame:
    """Return a frame of a table's columns without rows: enough to plan with."""
    import pyarrow as pa

    known = arrow_types()
    empty = pa.schema([(name, known[kind]) for name, kind in types.items()]).empty_table()
    frame = pl.from_arrow(empty)
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy()


def download(warehouse: Warehouse, table: str, folder: Path) -> pl.LazyFrame:
    """Read a table or view into a Parquet file of a folder, and return its rows.

    Raises:
        DataError: There is no such table.
        BudgetError: It is a view, or is being written to, and is too large to be copied first.
        EngineError: Rows were lost on the way, or the service does not answer.
    """
    import pyarrow.parquet as pq

    name = table_id(table, project=warehouse.settings.project)
    path = folder / f"{content_hash([str(name)])}.parquet"
    name, columns = _standing(warehouse, name)
    writer = None
    with polars_errors(str(folder), writing=True):
        for batch in read_batches(warehouse, name, columns=columns):
            writer = writer or pq.ParquetWriter(path, batch.schema)
            writer.write_batch(batch)
    if writer is None:
        return empty_frame(columns)
    writer.close()
    return pl.scan_parquet(path, glob=False)


def _standing(warehouse: Warehouse, table: TableId) -> tuple[TableId, dict[str, str]]:
    """Return a table, or a copy of what cannot be read as it is, and the types of its columns."""
    found = existing(warehouse, table)
    columns = _readable(found)
    if not is_described(found):
        table = passing_copy(warehouse, table, list(columns))
    return table, columns


def planned_statements(plan: Plan, staging: str) -> list[Statement]:
    """Return the statements of a plan without asking BigQuery for anything.

    A local source stands as a table of its name in the dataset that it would be loaded into.

    Args:
        plan: The plan.
        staging: The dataset, `project.dataset`.
    """
    spec = plan.resolved.spec
    aggregates = plan.resolved.aggregates
    tables = {name: source.table or f"{staging}.{name}" for name, source in spec.sources.items()}
    spine = None
    if spec.sources[spec.examples.source].table is None:
        spine = Spine(f"{staging}.{_spine_table(spec)}", asked=_asked(aggregates))
    return statements(plan, tables, staging, spine=spine)


def compute(
    plan: Plan,
    warehouse: Warehouse,
    examples: Table,
    sources: Mapping[str, Table],
    *,
    load: bool = False,
    undecided: dict[str, int] | None = None,
) -> pl.LazyFrame:
    """Return a column for each aggregate, named as features write it, a row for each example.

    Args:
        plan: The plan.
        warehouse: The connection.
        examples: The examples' rows: local, or read from BigQuery.
        sources: The local sources of past rows, opened.
        load: Whether local data may be loaded into BigQuery.
        undecided: Filled with the lookups over time that found rows which took effect and happened
            at once and differ: for how many examples, by the lookup's name.

    Raises:
        UsageError: Data is local, and nobody said that it may be loaded.
        BudgetError: It would read more than is allowed; nothing has run.
        DataError: A table or column does not exist, or a lookup finds several rows.
        EngineError: A job failed, or the service did not answer in time.
    """
    computing = _Computing(plan, warehouse, examples, sources, load)
    made, counts = computing.compute()
    if undecided is not None:
        undecided |= counts
    return made


def can_export(plan: Plan) -> bool:
    """Whether what workers read of a plan can be exported: no vectors of the past, no durations.

    BigQuery holds an array without its missing places, and a duration as a number.
    """
    types = [*plan.resolved.inputs().values(), *(node.type for node in plan.resolved.aggregates)]
    return all(of.width is None and of.kind is not Kind.DURATION for of in types)


def export(
    plan: Plan,
    warehouse: Warehouse,
    sources: Mapping[str, Table],
    uri: str,
    *,
    load: bool = False,
    undecided: dict[str, int] | None = None,
) -> dict[str, str]:
    """Write the examples of a BigQuery table, with their aggregates, into Cloud Storage.

    Args:
        plan: The plan; see `can_export`.
        warehouse: The connection.
        sources: The local sources of past rows, opened.
        uri: `gs://bucket/path/name-*.parquet`.
        load: Whether local data may be loaded into BigQuery.
        undecided: See `compute`.

    Returns:
        What the files call each column that has another name there: columns of the source, and
        aggregates by the name that features write.

    Raises:
        FeatureKitError: See `compute`.
    """
    spec = plan.resolved.spec
    main = spec.examples.source
    if not plan.resolved.aggregates:
        own = spec.sources[main]
        assert own.table is not None
        name = table_id(own.table, project=warehouse.settings.project)
        export_parquet(warehouse, _standing(warehouse, name)[0], uri)
        return renamed_columns(own)
    examples = sources[main]
    computing = _Computing(plan, warehouse, examples, sources, load)
    nodes = {
        f"column {name}": ColumnNode.of(name, of) for name, of in plan.resolved.inputs().items()
    }
    result = computing.result(None, None, nodes)
    names, carried = column_names(plan.resolved.aggregates, [*plan.resolved.keys, *nodes])
    export_parquet(warehouse, result.table, uri, computing.features)
    if undecided is not None:
        undecided |= computing.counted(result.table, nodes)
    columns = {name: carried[f"column {name}"] for name in plan.resolved.inputs()}
    return columns | {node.text: name for node, name in names.items()}


class _Computing:
    """The aggregates of one plan on their way through BigQuery."""

    def __init__(
        self, plan: Plan, warehouse: Warehouse, examples: Table, sources: Mapping[str, Table],
        load: bool,
    ) -> None:  # fmt: skip
        self.plan, self.warehouse, self.examples = plan, warehouse, examples
        self.sources, self.load = sources, load
        self.spec: Spec = plan.resolved.spec
        self.nodes = plan.resolved.aggregates
        self.features = tuple(
            name for name, root in plan.features.items()
            if any(isinstance(node, AggregateNode) for node in topological([root]))
        )  # fmt: skip
        self.asked = _asked(self.nodes)
        self.remote = self.spec.sources[self.spec.examples.source].table is not None

    def compute(self) -> tuple[pl.LazyFrame, dict[str, int]]:
        """Return the columns, and for how many examples each lookup chose by values alone."""
        main = self.spec.examples.source
        outputs = {name: node for node, name in self.asked.items()} | self._keys()
        rows = self._checked(self.examples, main, outputs)
        rows = rows.with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
        own = None
        if not self.remote:
            own = rows.select(ROW_ID, *self.asked.values())
        result = self.result(own, self._between(rows), {})
        frame = pl.from_arrow(read_table(self.warehouse, result.table, self.features))
        assert isinstance(frame, pl.DataFrame)
        return self._columns(frame, rows), _counts(self.flags(), [frame])

    def counted(self, table: TableId, carry: Iterable[str]) -> dict[str, int]:
        """Return the same counts of a result that stays in BigQuery."""
        flags = self.flags(carry)
        if not flags:
            return {}
        kept = [*flags.values()]
        batches = read_batches(self.warehouse, table, self.features, columns=kept)
        return _counts(flags, (pl.from_arrow(batch) for batch in batches))

    def flags(self, carry: Iterable[str] = ()) -> dict[str, str]:
        """Return the result's column of each lookup that says whether it chose by values alone.

        Args:
            carry: What the result has beside the keys of the examples.
        """
        undecided = undecided_rows(self.nodes)
        names, _ = column_names([*self.nodes, *undecided.values()], [*self._keys(), *carry])
        return {name: names[node] for name, node in undecided.items()}

    def result(
        self,
        own: pl.LazyFrame | None,
        between: tuple[datetime, datetime] | None,
        carry: Mapping[str, Node],
    ) -> Result:
        """Run the statements, and return what the last one made.

        Args:
            own: What the aggregates ask of local examples, which is loaded.
            between: The earliest and the latest time of prediction, if known.
            carry: Columns of examples in BigQuery that the result has as well.
        """
        tables, stored, seen = self._tables()
        spine = None
        if own is not None:
            loaded = self._loaded(own, self.spec.examples.source, _spine_table(self.spec))
            seen.append(str(loaded.table))
            spine = Spine(str(loaded.table), asked=self.asked)
        made = statements(
            self.plan, tables, self.warehouse.settings.staging, spine=spine, between=between,
            stored=stored, carry=carry,
        )  # fmt: skip
        return run_statements(self.warehouse, made, fingerprint=content_hash(seen))[-1]

    def _tables(self) -> tuple[dict[str, str], dict[str, dict[str, str]], list[str]]:
        """Return each source's table, the types of its columns, and what its data is now.

        A table that was loaded has a name that is made of its content.
        """
        tables: dict[str, str] = {}
        stored: dict[str, dict[str, str]] = {}
        seen: list[str] = []
        main = self.spec.examples.source
        wanted = {node.aggregate.history.source for node in self.nodes}
        for name in sorted(wanted | ({main} if self.remote else set())):
            table = self.spec.sources[name].table
            if table is not None:
                found = table_id(table, project=self.warehouse.settings.project)
                tables[name], stored[name] = str(found), stored_types(self.warehouse, str(found))
                seen.append(fingerprint(self.warehouse, found))
            else:
                loaded, stored[name] = self._load_source(name)
                tables[name] = str(loaded.table)
                seen.append(tables[name])
        return tables, stored, seen

    def _load_source(self, name: str) -> tuple[Result, dict[str, str]]:
        """Load the columns of a local source that aggregates read, typed as the spec says."""
        table = self.sources[name]
        read = past_reads(n for n in self.nodes if n.aggregate.history.source == name)
        columns: dict[str, Node] = {
            table.stored(entry.name): entry
            for entry in topological(read) if isinstance(entry, ColumnNode)
        }  # fmt: skip
        rows = self._checked(table, name, columns)
        loaded = self._loaded(rows, name, _loaded_table(self.spec, name))
        return loaded, {column: bigquery_type(node.type) for column, node in columns.items()}

    def _checked(self, table: Table, name: str, outputs: Mapping[str, Node]) -> pl.LazyFrame:
        """Return computed columns of a source's rows, once these have been checked."""
        table.refuse_ragged()
        check_rows(table, self.spec.sources[name], outputs.values())
        return computed_rows(table, self.spec.sources[name], outputs)

    def _loaded(self, rows: pl.LazyFrame, source: str, name: str) -> Result:
        if not self.load:
            raise UsageError(
                "the aggregations run in BigQuery, and their data is here",
                where=f"source {source!r}",
                hint="--load loads it there first; or declare table: project.dataset.table",
            )
        return load_table(self.warehouse, rows, name, self.features, passing=True)

    def _keys(self) -> dict[str, Node]:
        return dict(self.plan.resolved.keys) if self.remote else {}

    def _between(self, rows: pl.LazyFrame) -> tuple[datetime, datetime] | None:
        """Return the earliest and the latest time of prediction."""
        times = {self.asked[node.at] for node in self.nodes if node.at is not None}
        if not times:
            return None
        with polars_errors(f"source {self.examples.name!r}"):
            found = rows.select(
                low=pl.min_horizontal(pl.col(name).min() for name in times),
                high=pl.max_horizontal(pl.col(name).max() for name in times),
            ).collect(engine="streaming").row(0)  # fmt: skip
        return None if None in found else (found[0], found[1])

    def _columns(self, result: pl.DataFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the result's columns as the types of their nodes, in the order of the examples."""
        names, carried = column_names(self.nodes, self._keys())
        if self.remote:
            on = {key: f"~{place}" for place, key in enumerate(carried)}
            own = rows.select(pl.col(key).alias(name) for key, name in on.items()).collect()
            theirs = result.rename({carried[key]: name for key, name in on.items()})
            ordered = own.join(
                theirs, on=list(on.values()), how="left", maintain_order="left", nulls_equal=True
            )
        else:
            ordered = result.sort(ROW_ID)
        return ordered.lazy().select(
            _as_typed(ordered[names[node]], node).alias(node.text) for node in self.nodes
        )


def _counts(flags: Mapping[str, str], frames: Iterable[Any]) -> dict[str, int]:
    """Return how often each column of some frames is true, by the name of its lookup."""
    counts: Counter[str] = Counter()
    for frame in frames:
        counts.update({name: int(frame[flag].sum()) for name, flag in flags.items()})
    return {name: count for name, count in counts.items() if count}


def _spine_table(spec: Spec) -> str:
    """Return what the examples are called where they are loaded."""
    return f"{Names().new(spec.name)}__spine"


def _loaded_table(spec: Spec, source: str) -> str:
    """Return what a local source is called where it is loaded."""
    return f"{Names().new(spec.name)}__{Names().new(source)}"


def _asked(nodes: Sequence[AggregateNode]) -> dict[Node, str]:
    """Name what aggregates ask of an example, each once."""
    names, found = Names(ROW_ID), dict[Node, str]()
    times = {node.at for node in nodes}
    for entry in itertools.chain.from_iterable(node.asked for node in nodes):
        if entry not in found:
            found[entry] = names.new("predict_at" if entry in times else entry.text)
    return found


def _as_typed(series: pl.Series, node: AggregateNode) -> pl.Series:
    """Return a column that BigQuery made as its node's type."""
    of = node.type
    if of.width is None:
        if of.kind is Kind.DURATION:
            return series.cast(pl.Duration("us"))
        return series.cast(polars_dtype(of))
    # An array holds the values that are there, and none of them where it is null.
    places = [series.list.get(place, null_on_oob=True) for place in range(of.width)]
    inner = polars_dtype(Type(of.kind))
    frame = pl.DataFrame([entry.alias(str(place)) for place, entry in enumerate(places)])
    made = frame.select(pl.concat_arr(pl.all().cast(inner))).to_series()
    empty = series.list.len().fill_null(0) == 0
    return pl.select(pl.when(~empty).then(made)).to_series()
