"""Which rows of a source are looked at, and what is said of those that are not.

Examples may say `where`, and a column may say that rows with values that it does not allow are
left out. Both are done where a source is opened, so that whatever reads its rows sees the same.
Nothing is read here before somebody asks for the counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import polars as pl

from featurekit.checks import DROP, FAIL, Check
from featurekit.engines.rows import node_expression, refuse_bad, refuse_offending
from featurekit.graph import AggregateNode, ColumnNode, Node, OperationNode, topological
from featurekit.read_errors import polars_errors
from featurekit.reading import typed_columns
from featurekit.resolved import Resolved
from featurekit.spec.expression import shortened
from featurekit.spec.objects import Source
from featurekit.table import Table
from featurekit.time_columns import SAME
from featurekit.transforms.row.make_timestamp import MakeTimestamp

__all__ = ["Counted", "count_values", "look_at_values", "past_rows", "selected", "values_warnings"]

Counted = Mapping[str, Mapping[str, int]]
"""Rows counted by column and by what was found in it; under `where` those that it leaves out."""

FIRST_ROWS = 1_000
"""So many rows of each source are looked at before a run."""

WHERE = "where"
_NOT_TRUE = "rows for which it is not true, left out"


def selected(table: Table, resolved: Resolved) -> Table:
    """Return the source of the examples without the rows that the spec leaves out.

    Args:
        table: The source, opened.
        resolved: The spec.
    """
    past = past_rows(table, resolved)
    if resolved.where is None or table.elsewhere is not None:
        return past
    source = resolved.spec.sources[table.name]
    kept = _computed(table, source, resolved.where).fill_null(False)
    frame = past.frame.filter(kept)
    if past.kept is not None:
        kept = past.kept & kept
    return replace(table, frame=frame, whole=table, kept=kept, past=past)


def past_rows(table: Table, resolved: Resolved) -> Table:
    """Return a source without the rows that a column leaves out, but with those of `where`.

    Args:
        table: The source, opened.
        resolved: The spec.
    """
    kept = [
        ~check.bad.fill_null(False)
        for check in _checks(table, resolved) if check.action == DROP
    ]  # fmt: skip
    if not kept or table.elsewhere is not None:
        return table
    rows = pl.all_horizontal(kept)
    return replace(table, frame=table.frame.filter(rows), whole=table, kept=rows)


def look_at_values(tables: Mapping[str, Table], resolved: Resolved) -> None:
    """Look at the first rows of sources, and refuse what a run would refuse of them.

    Args:
        tables: The sources, opened, with all their rows.
        resolved: The spec.

    Raises:
        DataError: A value is not what its column allows.
    """
    for name, table in tables.items():
        # Of a BigQuery table there are columns here, and rows once a run reads them.
        remote = table.elsewhere is not None or resolved.spec.sources[name].table is not None
        if remote or name not in resolved.read():
            continue
        first = replace(table, frame=table.frame.head(FIRST_ROWS))
        of_examples = name == resolved.spec.examples.source
        rows = (selected if of_examples else past_rows)(first, resolved)
        count_values(rows, resolved)
        refuse_offending(rows, _checks(rows, resolved), f"source {name!r}")


def count_values(table: Table, resolved: Resolved) -> dict[str, dict[str, int]]:
    """Count what is read otherwise than it is stored, and the rows that are left out, by column.

    Nothing is read where the spec asks for nothing of this.

    Args:
        table: The source, as `selected` returns it.
        resolved: The spec.

    Raises:
        DataError: A value that `where` goes by is not what its column allows.
    """
    whole = table.whole or table
    source = resolved.spec.sources[table.name]
    found = _checks(whole, resolved)
    asked = {f"~{place}": check.bad for place, check in enumerate(found) if check.action != FAIL}
    where = resolved.where if table.name == resolved.spec.examples.source else None
    refused: list[Check] = []
    if where is not None:
        _, checks = typed_columns(whole, source, resolved.inputs(where), smallest=True)
        refused = [check for check in checks if check.action == FAIL]
        asked |= {f"~where {place}": check.bad for place, check in enumerate(refused)}
        asked["~not"] = _computed(whole, source, where).fill_null(False).not_()
    made = _shown_twice(whole, resolved)
    asked |= {f"~twice {place}": rows for place, (_, rows) in enumerate(made)}
    if not asked:
        return {}
    with polars_errors(f"source {table.name!r}"):
        counts = whole.frame.select(**{name: rows.sum() for name, rows in asked.items()}).collect(
            engine="streaming"
        )
    numbers = {name: int(counts[name].item()) for name in asked}
    refuse_bad(
        whole, refused, [numbers[f"~where {place}"] for place in range(len(refused))],
        f"source {table.name!r}",
    )  # fmt: skip
    out: dict[str, dict[str, int]] = {}
    for place, check in enumerate(found):
        if number := numbers.get(f"~{place}"):
            said = {"null": ", read as missing", "drop": ", left out"}.get(check.action, "")
            below = out.setdefault(check.column, {})
            text = f"{check.message.rstrip(',')}{said}"
            below[text] = below.get(text, 0) + number
    for place, (text, _) in enumerate(made):
        if number := numbers[f"~twice {place}"]:
            out[text] = {"times that the clock shows twice": number}
    if number := numbers.get("~not"):
        out[WHERE] = {_NOT_TRUE: number}
    return out


def values_warnings(counted: Mapping[str, Counted]) -> Iterator[str]:
    """Yield a sentence for everything that was counted, by source."""
    for source, columns in counted.items():
        for column, found in columns.items():
            for said, number in found.items():
                rows = "1 row" if number == 1 else f"{number:,} rows"
                what = "where of examples" if column == WHERE else f"column {column!r}"
                if "(" in column:
                    what = column
                yield f"source {source!r}: {what}: {said}: {rows}"


def _shown_twice(table: Table, resolved: Resolved) -> list[tuple[str, pl.Expr]]:
    """Return the texts of `make_timestamp`, and for which rows of a source two moments fit."""
    source = resolved.spec.sources[table.name]
    there = {name for name in table.dtypes if table.stored(name) in table.schema}
    out = []
    for node in topological(resolved.over(table.name)):
        if not isinstance(node, OperationNode) or not isinstance(node.operation, MakeTimestamp):
            continue
        columns = resolved.inputs(node)
        if node.operation.zone in SAME or node.level or not there.issuperset(columns):
            continue
        if any(isinstance(entry, AggregateNode) for entry in topological([node])):
            continue
        which = (replace(node.operation, ambiguous=word) for word in ("earliest", "latest"))
        first, last = (OperationNode.of(each, node.sources, node.type) for each in which)
        rows = _computed(table, source, first) != _computed(table, source, last)
        out.append((shortened(node.text), rows))
    return out


def _checks(table: Table, resolved: Resolved) -> list[Check]:
    """Return the checks of the columns that are read of a source."""
    source = resolved.spec.sources[table.name]
    columns = resolved.read().get(table.name, {})
    there = {name: of for name, of in columns.items() if table.stored(name) in table.schema}
    return typed_columns(table, source, there, smallest=True)[1]


def _computed(table: Table, source: Source, node: Node) -> pl.Expr:
    """Return the expression of a node over the raw columns of a table."""
    columns = {
        entry.name: entry.type for entry in topological([node]) if isinstance(entry, ColumnNode)
    }
    typed, _ = typed_columns(table, source, columns)
    by_name = dict(zip(columns, typed, strict=True))
    made: dict[Node, pl.Expr] = {}
    for entry in topological([node]):
        made[entry] = (
            by_name[entry.name] if isinstance(entry, ColumnNode)
            else node_expression(entry, made, {}, None)
        )  # fmt: skip
    return made[node]
