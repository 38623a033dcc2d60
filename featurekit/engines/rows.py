"""The rows of a source as lazy frames: typed, computed, labelled, split. Nothing is read here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from featurekit.checks import DROP, FAIL, Check
from featurekit.csv_types import text_hint
from featurekit.errors import DataError, closest
from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    LiteralNode,
    Node,
    OperationNode,
    StatisticRequest,
    TargetNode,
    cross_fitted,
    fitted_type,
    read_by,
    topological,
)
from featurekit.reading import float32_losses, lost_in_float32, typed_columns
from featurekit.resolved import Resolved
from featurekit.semantics import SEMANTICS
from featurekit.sources import Table, polars_errors
from featurekit.spec.objects import Source, Split
from featurekit.transforms.base import FullPassOperation, RowOperation, polars_dtype
from featurekit.transforms.hashing import farmhash_bucket
from featurekit.transforms.subnormal import flushed, flushed_number
from featurekit.transforms.targets import TargetOperation
from featurekit.types import FLOAT32, Type, parse_duration

__all__ = [
    "BLOCK", "EMBARGO", "FLAGS", "LABEL", "SPLIT", "TRAIN", "Fitted", "check_rows",
    "computed_rows", "lower", "node_expression", "read_as_others", "read_columns", "refuse_bad",
    "refuse_missing", "refuse_offending", "small_pieces", "typed_rows", "with_split",
]  # fmt: skip

Fitted = Mapping[StatisticRequest, Any]
"""The fitted value of each statistic."""

LABEL = "label"
SPLIT = "split"
TRAIN = "train"
EMBARGO = "~embargo"
"""The split of rows that are left out, since their labels are known too late."""

BLOCK = 65_536
"""Rows of the input are counted in blocks of so many."""

_REFUSED = (FAIL, DROP)
"""What a row may not have: where rows are left out for it, none that has it is left to be read."""

_HASH_RESOLUTION = 1_000_000
_TEXTS = 20


def small_pieces() -> pl.Config:
    """Return a context in which Polars streams smaller pieces: of many, some are in memory at once.

    With pieces of this size that is two thirds of the memory, at the same speed.
    """
    return pl.Config(apply_on_context_enter=True, streaming_chunk_size=BLOCK // 4)


def lower(
    frame: pl.LazyFrame,
    outputs: Mapping[str, Node],
    fitted: Fitted,
    training: pl.Expr | None = None,
    semantics: int = SEMANTICS,
) -> pl.LazyFrame:
    """Add columns that compute nodes; what several of them use is computed once.

    Args:
        frame: The rows, typed.
        outputs: The nodes, by the names of the columns.
        fitted: The statistics.
        training: Which rows are training rows, where there are any: their features that see the
            label are cross-fitted.
        semantics: By which version of `featurekit.semantics` numbers are made.
    """
    uses: Counter[Node] = Counter(outputs.values())
    order = list(topological(outputs.values(), training is not None))
    for node in order:
        uses.update(read_by(node, training is not None))
    made: dict[Node, pl.Expr] = {}
    depth: dict[Node, int] = {}
    layers: dict[int, list[pl.Expr]] = {}
    for position, node in enumerate(order):
        expr = node_expression(node, made, fitted, training, semantics)
        read = read_by(node, training is not None)
        below = max((depth[entry] for entry in read), default=0)
        if uses[node] > 1 and isinstance(node, OperationNode):
            name = f"~{position}"
            layers.setdefault(below, []).append(expr.alias(name))
            expr, below = pl.col(name), below + 1
        made[node], depth[node] = expr, below
    for level in sorted(layers):
        frame = frame.with_columns(layers[level])
    return frame.with_columns(made[node].alias(name) for name, node in outputs.items())


def node_expression(
    node: Node, made: Mapping[Node, pl.Expr], fitted: Fitted, training: pl.Expr | None,
    semantics: int = SEMANTICS,
) -> pl.Expr:  # fmt: skip
    """Return the expression of one node over those of its inputs; see `lower`."""
    found = _computed(node, made, fitted, training)
    if semantics == 1 or not (isinstance(node, OperationNode) and node.operation.rounds):
        return found
    return flushed(found, fitted_type(node, fitted))


def _computed(
    node: Node, made: Mapping[Node, pl.Expr], fitted: Fitted, training: pl.Expr | None
) -> pl.Expr:
    match node:
        case ColumnNode(name=name):
            return pl.col(name)
        case AggregateNode():
            return pl.col(node.text)
        case LiteralNode(value=value, type=of):
            value = flushed_number(value) if of == FLOAT32 else value
            return pl.lit(value).cast(polars_dtype(of))
        case OperationNode(operation=operation, sources=sources):
            inputs = [made[entry] for entry in sources]
            types = [entry.type for entry in sources]
            if isinstance(operation, FullPassOperation):
                values = [fitted[request] for request in node.statistics]
                if isinstance(node, TargetNode) and training is not None:
                    assert isinstance(operation, TargetOperation)
                    # A row without a time sees as little as the first block.
                    fold = made[node.fold].fill_null(0)
                    view = pl.when(training).then(fold + 1).otherwise(0)
                    return operation.polars(inputs, types, values, view)
                return operation.polars(inputs, types, values)
            assert isinstance(operation, RowOperation)
            return operation.polars(inputs, types)
    raise AssertionError(f"{node} is no node that Polars computes")


def read_columns(
    table: Table, resolved: Resolved, *roots: Node, smallest: bool = True
) -> tuple[list[pl.Expr], list[Check]]:
    """Return the typed columns that some nodes (all by default) read, and what they must hold.

    Args:
        table: The opened source.
        resolved: The typed graph.
        roots: The nodes.
        smallest: Whether integers may be the smallest there is, which on Beam stands for missing.

    Raises:
        DataError: No column is read at all.
        SpecError: A column cannot be read as its type.
    """
    source = resolved.spec.sources[resolved.spec.examples.source]
    columns, found = typed_columns(
        table, source, resolved.inputs(*roots), smallest, resolved.semantics
    )
    checks = [check for check in found if check.action in _REFUSED]
    # Computed and typed already: see featurekit.engines.history.
    aggregates = resolved.aggregates_of(*roots)
    columns += [_aggregate(node, resolved.semantics) for node in aggregates]
    if not columns:
        raise DataError("no column is used", where=f"source {table.name!r}")
    return columns, checks


FLAGS = {"~nan": "nan", "~beyond": "beyond", "~below": "below"}
"""How flags of `read_as_others` begin, and what counts them."""


def read_as_others(table: Table, resolved: Resolved) -> dict[str, pl.Expr]:
    """Return flags of raw rows whose values are read as others, by names that tell column and kind.

    NaN is read as missing, what is beyond float32 as infinite, and what is too small for it as 0.
    """
    inputs = resolved.inputs()
    flags = {
        f"~nan {name}": pl.col(stored).is_nan()
        for name in inputs if table.schema[stored := table.stored(name)].is_float()
    }  # fmt: skip
    flags |= {f"~nan {name}": found for name, found in nan_aggregates(resolved).items()}
    source = resolved.spec.sources[resolved.spec.examples.source]
    losses = float32_losses(table, source, inputs)
    for node in resolved.aggregates:
        if node.type == FLOAT32:
            # Rounded by their engine: what was beyond float32 is infinite already.
            value = pl.col(node.text)
            losses[node.text] = value.is_infinite(), lost_in_float32(value)[1]
    for name, (beyond, below) in losses.items():
        flags |= {f"~beyond {name}": beyond, f"~below {name}": below}
    return flags


def _aggregate(node: AggregateNode, semantics: int) -> pl.Expr:
    """Read an aggregate as its type; like that of a source column, its NaN is missing."""
    column = pl.col(node.text).cast(polars_dtype(node.type))
    if semantics != 1:
        column = flushed(column, node.type)
    return column.fill_nan(None) if node.type.is_float and node.type.width is None else column


def nan_aggregates(resolved: Resolved) -> dict[str, pl.Expr]:
    """Return expressions that are true where arithmetic over past rows has made NaN."""
    return {
        node.text: pl.col(node.text).cast(polars_dtype(node.type)).is_nan()
        for node in resolved.aggregates
        if node.type.is_float and node.type.width is None
    }


def typed_rows(table: Table, resolved: Resolved, *roots: Node) -> tuple[pl.LazyFrame, list[Check]]:
    """Return the rows with the typed columns that some nodes (all by default) read, and checks."""
    columns, checks = read_columns(table, resolved, *roots)
    return table.frame.select(columns), checks


def with_split(
    rows: pl.LazyFrame, resolved: Resolved, outputs: Mapping[str, Node], fitted: Fitted
) -> pl.LazyFrame:
    """Add columns that compute nodes, and `label` and `split` where the spec has them.

    All are lowered together, so that what the split and a feature share is computed once; unless
    the split decides how features are computed, those that see the label.
    """
    outputs, split = dict(outputs), resolved.spec.examples.split
    if resolved.label is not None:
        outputs[LABEL] = resolved.label
    asked = {f"~hash{position}": node for position, node in enumerate(resolved.hashed)}
    if resolved.split is not None:
        asked["~split"] = resolved.split
    if split is None:
        return lower(rows, outputs, fitted, pl.lit(True), resolved.semantics)
    found = _split_expression(split, len(resolved.hashed))
    if not cross_fitted(outputs.values()):
        rows = lower(rows, {**outputs, **asked}, fitted, semantics=resolved.semantics)
        return rows.with_columns(found.alias(SPLIT))
    rows = lower(rows, asked, fitted, semantics=resolved.semantics)
    rows = rows.with_columns((found == TRAIN).alias("~training"))
    rows = lower(rows, outputs, fitted, pl.col("~training"), resolved.semantics)
    return rows.with_columns(found.alias(SPLIT))


def _split_expression(split: Split, hashed: int) -> pl.Expr:
    if split.column:
        return pl.col("~split")
    if split.by:
        time = pl.col("~split")
        gap = timedelta(microseconds=parse_duration(split.embargo) if split.embargo else 0)
        found = pl.lit(TRAIN)
        for name, start in (("eval", split.eval_from), ("test", split.test_from)):
            if start is not None:
                if gap:
                    found = pl.when(time >= start - gap).then(pl.lit(EMBARGO)).otherwise(found)
                found = pl.when(time >= start).then(pl.lit(name)).otherwise(found)
        return pl.when(time.is_not_null()).then(found)
    # A missing key counts as the empty text, so that such rows stay together too.
    parts = [pl.col(f"~hash{position}").fill_null("") for position in range(hashed)]
    key = pl.concat_str(parts, separator="\x1f")
    place = farmhash_bucket(key, _HASH_RESOLUTION)
    test = round(split.test * _HASH_RESOLUTION)
    evaluation = round(split.eval * _HASH_RESOLUTION)
    return (
        pl.when(place < test).then(pl.lit("test"))
        .when(place < test + evaluation).then(pl.lit("eval"))
        .otherwise(pl.lit(TRAIN))
    )  # fmt: skip


def refuse_bad(table: Table, checks: Sequence[Check], counts: Sequence[int], where: str) -> None:
    """Raise one error for all checks that rows offend.

    Args:
        table: The rows; only read again to quote the first value that offends each check.
        checks: The checks.
        counts: How many rows offend each.
        where: What the error calls the rows.

    Raises:
        DataError: A count is not zero.
    """
    broken = [
        (check, count) for check, count in zip(checks, counts, strict=True)
        if count and check.action in _REFUSED
    ]  # fmt: skip
    if not broken:
        return
    # Rows are counted as they stand in the source, those included that are left out.
    frame = table.frame if table.whole is None else table.whole.frame
    bad = [
        check.bad if table.whole is None or table.kept is None else check.bad & table.kept
        for check, _ in broken
    ]
    shown = [
        check.shown.filter(bad[place]).first().alias(str(place))
        for place, (check, _) in enumerate(broken)
    ]
    rows = [pl.arg_where(bad[place]).first().alias(f"row {place}") for place in range(len(broken))]
    texts = [
        check.shown.filter(bad[place]).drop_nulls().unique(maintain_order=True).head(_TEXTS)
        .implode().alias(f"texts {place}")
        for place, (check, _) in enumerate(broken)
    ]  # fmt: skip
    with polars_errors(where):
        answer = frame.select(*shown, *rows, *texts).collect(engine="streaming").row(0)
    found = []
    for (check, count), first, row in zip(
        broken, answer[: len(broken)], answer[len(broken) : 2 * len(broken)], strict=True
    ):
        quoted = "" if first is None else f" is {first!r}"
        example = f" (the first{quoted} in row {row + 1:,})"
        number = "1 row" if count == 1 else f"{count:,} rows"
        found.append(f"column {check.column!r}: {check.message} in {number}{example}")
    hints = []
    for (check, _), values in zip(broken, answer[2 * len(broken) :], strict=True):
        advice = (
            text_hint(check.column, values, table.numbers, table.null_values) if table.csv else ""
        )
        if check.advise is not None:
            advice = check.advise(values) or advice
        hints.append(advice or check.hint)
    raise DataError("; ".join(found), where=where, hint="; ".join(dict.fromkeys(hints)))


def computed_rows(table: Table, source: Source, outputs: Mapping[str, Node]) -> pl.LazyFrame:
    """Return columns that compute nodes over a table; nothing is checked, see `check_rows`."""
    columns, _ = typed_columns(table, source, _columns_below(outputs.values()))
    return lower(table.frame.select(columns), outputs, {}).select(list(outputs))


def check_rows(table: Table, source: Source, nodes: Iterable[Node]) -> None:
    """Read the columns below some nodes once, and refuse what a check does not allow.

    Raises:
        DataError: A row breaks a check.
    """
    _, checks = typed_columns(table, source, _columns_below(nodes))
    refuse_offending(table, checks, f"source {table.name!r}")


def _columns_below(nodes: Iterable[Node]) -> dict[str, Type]:
    found = (node for node in topological(nodes) if isinstance(node, ColumnNode))
    return {node.name: node.type for node in found}


def refuse_offending(table: Table, checks: Sequence[Check], where: str) -> None:
    """Count the rows that offend each check, in one reading, and refuse the table if there are any.

    Raises:
        DataError: See `refuse_bad`.
    """
    checks = [check for check in checks if check.action in _REFUSED]
    if not checks:
        return
    bad = [check.bad.sum().alias(str(place)) for place, check in enumerate(checks)]
    with polars_errors(where):
        counts = table.frame.select(bad).collect(engine="streaming").row(0)
    refuse_bad(table, checks, counts, where)


def refuse_missing(needed: Iterable[str], present: Iterable[str], where: str) -> None:
    """Raise `DataError` when rows lack columns, with the column that may have been meant."""
    there = set(present)
    missing = [name for name in needed if name not in there]
    if missing:
        raise DataError(f"the rows lack {', '.join(map(repr, missing))}", where=where,
                        hint=closest(missing[0], there))  # fmt: skip
