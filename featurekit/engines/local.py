"""The embedded engine: Polars, streaming, no service.

Statistics of a level are fitted in one pass over the training rows; then one fused projection
computes all features and streams them to Parquet. Memory does not grow with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.errors import DataError, closest
from featurekit.graph import ColumnNode, LiteralNode, Node, OperationNode, StatisticRequest, topological
from featurekit.plan import Plan
from featurekit.resolve import Resolved
from featurekit.reading import Check, typed_columns
from featurekit.sources import Table, polars_errors
from featurekit.spec.objects import Split
from featurekit.transforms.base import FullPassOperation, RowOperation, polars_dtype
from featurekit.transforms.hashing import farmhash_bucket
from featurekit.transforms.statistics import EmptyColumn, Fitting

__all__ = ["Census", "Fitted", "LABEL", "SPLIT", "fit", "transform", "typed_rows", "write_examples"]

Fitted = Mapping[StatisticRequest, Any]
"""The fitted value of each statistic."""

LABEL = "label"
SPLIT = "split"
TRAIN = "train"
_HASH_RESOLUTION = 1_000_000
_ROW_GROUP = 131_072
BLOCK = 65_536
_SAMPLED_BLOCKS = 8
_SAMPLED_ROWS = 512


@dataclass
class Census:
    """What one pass over the input counted.

    Args:
        rows: Rows read.
        without_label: Rows left out because their label is null.
        splits: Rows of each split.
        nan: NaN values that were read as missing, by column.
        blocks: Rows written for each block of `BLOCK` input rows, by block and split.
    """

    rows: int = 0
    without_label: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    nan: dict[str, int] = field(default_factory=dict)
    blocks: dict[tuple[int, str], int] = field(default_factory=dict)


def lower(frame: pl.LazyFrame, outputs: Mapping[str, Node], fitted: Fitted) -> pl.LazyFrame:
    """Add columns that compute nodes; what several of them use is computed once."""
    uses: Counter[Node] = Counter(outputs.values())
    order = list(topological(outputs.values()))
    for node in order:
        uses.update(node.inputs)
    made: dict[Node, pl.Expr] = {}
    depth: dict[Node, int] = {}
    layers: dict[int, list[pl.Expr]] = {}
    for position, node in enumerate(order):
        expr = _expression(node, made, fitted)
        below = max((depth[entry] for entry in node.inputs), default=0)
        if uses[node] > 1 and isinstance(node, OperationNode):
            name = f"~{position}"
            layers.setdefault(below, []).append(expr.alias(name))
            expr, below = pl.col(name), below + 1
        made[node], depth[node] = expr, below
    for level in sorted(layers):
        frame = frame.with_columns(layers[level])
    return frame.with_columns(made[node].alias(name) for name, node in outputs.items())


def _expression(node: Node, made: Mapping[Node, pl.Expr], fitted: Fitted) -> pl.Expr:
    match node:
        case ColumnNode(name=name):
            return pl.col(name)
        case LiteralNode(value=value, type=of):
            return pl.lit(value).cast(polars_dtype(of))
        case OperationNode(operation=operation, sources=sources):
            inputs = [made[entry] for entry in sources]
            types = [entry.type for entry in sources]
            if isinstance(operation, FullPassOperation):
                values = [fitted[request] for request in node.statistics]
                return operation.polars(inputs, types, values)
            assert isinstance(operation, RowOperation)
            return operation.polars(inputs, types)
    raise AssertionError(f"{node} was not refused by the planner")


def typed_rows(table: Table, resolved: Resolved, *roots: Node) -> tuple[pl.LazyFrame, list[Check]]:
    """Return the rows with typed columns that some nodes (all by default) read, and checks."""
    source = resolved.spec.sources[resolved.spec.examples.source]
    wanted = resolved.inputs(*roots)
    columns, checks = typed_columns(table, source, wanted)
    if not columns:
        raise DataError("no column is used", where=f"source {table.name!r}")
    return table.frame.select(columns), checks


def fit(
    plan: Plan, table: Table, progress: Callable[[str], None] = lambda _: None
) -> tuple[dict[StatisticRequest, Any], Census]:
    """Count the rows, check their values, and fit every statistic on the training rows.

    Args:
        plan: The plan.
        table: The opened source of the examples.
        progress: Told what is being done.

    Returns:
        The fitted statistics and the census.

    Raises:
        DataError: The data is empty, unreadable, breaks a check, or a statistic has no value.
    """
    resolved = plan.resolved
    rows, checks = typed_rows(table, resolved)
    rows = with_split(rows, resolved)
    census = Census()
    train = rows
    if resolved.label is not None:
        train = train.filter(pl.col(LABEL).is_not_null())
    if resolved.spec.examples.split is not None:
        train = train.filter(pl.col(SPLIT) == TRAIN)

    def take(answers: list[pl.DataFrame]) -> None:
        _take_census(answers, census, resolved, table, checks)

    fitted: dict[StatisticRequest, Any] = {}
    levels = plan.levels or ((),)
    table.refuse_ragged()
    for number, level in enumerate(levels):
        progress(f"pass {number + 1} of {len(levels)}: {len(level)} statistics of the training rows")
        questions = _census_questions(table, rows, resolved, checks) if number == 0 else []
        _fit_level(plan, level, train, fitted, questions, take, f"source {table.name!r}")
    return fitted, census


def _fit_level(
    plan: Plan,
    level: Sequence[StatisticRequest],
    train: pl.LazyFrame,
    fitted: dict[StatisticRequest, Any],
    questions: list[pl.LazyFrame],
    take: Callable[[list[pl.DataFrame]], None],
    where: str,
) -> None:
    """Fit the statistics of a level; `take` gets the answers to other questions asked beside."""
    names = {request.node: f"s{i}" for i, request in enumerate(level)}
    prepared = lower(train, {name: node for node, name in names.items()}, fitted)
    running: dict[StatisticRequest, Fitting] = {
        request: request.statistic.fit(
            prepared.select(pl.col(names[request.node]).alias("x")), request.node.type
        )
        for request in level
    }
    asked = {request: next(fitting) for request, fitting in running.items()}
    while asked or questions:
        with polars_errors(where):
            answers = pl.collect_all([*asked.values(), *questions], engine="streaming")
        if questions:
            take(answers[len(asked) :])
            questions = []
        following: dict[StatisticRequest, pl.LazyFrame] = {}
        failures: list[tuple[StatisticRequest, ValueError]] = []
        for request, answer in zip(list(asked), answers, strict=False):
            try:
                following[request] = running[request].send(answer)
            except StopIteration as stop:
                fitted[request] = stop.value
            except ValueError as error:
                failures.append((request, error))
        if failures:
            raise DataError(
                "; ".join(_failure(plan, request, error) for request, error in failures), where=where,
                hint="fill, correct or leave out the column" if isinstance(failures[0][1], EmptyColumn) else "",
            )  # fmt: skip
        asked = following


def _failure(plan: Plan, request: StatisticRequest, error: ValueError) -> str:
    users = [
        name for name, node in plan.features.items()
        if any(isinstance(n, OperationNode) and request in n.statistics for n in topological([node]))
    ]  # fmt: skip
    return f"feature {', '.join(map(repr, users))}: {request.text}: {error}"


def with_split(rows: pl.LazyFrame, resolved: Resolved) -> pl.LazyFrame:
    """Add the columns `label` and `split` where the spec has them."""
    outputs: dict[str, Node] = {}
    if resolved.label is not None:
        outputs[LABEL] = resolved.label
    if resolved.split is not None:
        outputs["~split"] = resolved.split
    for position, node in enumerate(resolved.hashed):
        outputs[f"~hash{position}"] = node
    rows = lower(rows, outputs, {})
    split = resolved.spec.examples.split
    if split is None:
        return rows
    return rows.with_columns(_split_expression(split, len(resolved.hashed)).alias(SPLIT))


def _split_expression(split: Split, hashed: int) -> pl.Expr:
    if split.column:
        return pl.col("~split")
    if split.by:
        time = pl.col("~split")
        found = pl.lit(TRAIN)
        if split.eval_from is not None:
            found = pl.when(time >= split.eval_from).then(pl.lit("eval")).otherwise(found)
        if split.test_from is not None:
            found = pl.when(time >= split.test_from).then(pl.lit("test")).otherwise(found)
        return pl.when(time.is_not_null()).then(found)
    # Missing keys are a key of their own, so that such rows stay together too.
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


def _census_questions(
    table: Table, rows: pl.LazyFrame, resolved: Resolved, checks: Sequence[Check]
) -> list[pl.LazyFrame]:
    aggregates = [pl.len().alias("rows")]
    for position, check in enumerate(checks):
        aggregates.append(check.bad.sum().alias(f"bad{position}"))
        aggregates.append(check.shown.filter(check.bad).first().alias(f"shown{position}"))
    for name, of in resolved.inputs().items():
        stored = table.stored(name)
        if of.is_float and table.schema[stored].is_float():
            aggregates.append(pl.col(stored).is_nan().sum().alias(f"nan:{name}"))
    groups = []
    if resolved.label is not None:
        groups.append(pl.col(LABEL).is_not_null().alias("labelled"))
    if resolved.spec.examples.split is not None:
        groups.append(pl.col(SPLIT))
    questions = [table.frame.select(aggregates)]
    if groups:
        block = (pl.col("~row") // BLOCK).alias("block")
        questions.append(rows.with_row_index("~row").select(*groups, block).group_by(pl.all()).len())
    return questions


def _take_census(
    answers: list[pl.DataFrame], census: Census, resolved: Resolved, table: Table, checks: Sequence[Check]
) -> None:
    counts = answers[0].row(0, named=True)
    census.rows = counts["rows"]
    if not census.rows:
        raise DataError("the data has no rows", where=f"source {table.name!r}")
    raise_on(counts, checks, f"source {table.name!r}")
    census.nan = {
        name.removeprefix("nan:"): count
        for name, count in counts.items()
        if name.startswith("nan:") and count
    }
    if len(answers) == 1:
        census.splits = {TRAIN: census.rows}
        census.blocks = {
            (block, TRAIN): min(BLOCK, census.rows - block * BLOCK)
            for block in range(-(-census.rows // BLOCK))
        }
        return
    for group in answers[1].iter_rows(named=True):
        if not group.get("labelled", True):
            census.without_label += group["len"]
            continue
        split = group.get(SPLIT, TRAIN)
        if split is None:
            raise DataError(
                f"{group['len']:,} rows have no value in the split column", where=f"source {table.name!r}"
            )
        census.splits[split] = census.splits.get(split, 0) + group["len"]
        census.blocks[group["block"], split] = group["len"]
    order = {TRAIN: 0, "eval": 1, "test": 2}
    census.splits = dict(sorted(census.splits.items(), key=lambda item: (order.get(item[0], 3), item[0])))
    if not census.splits:
        raise DataError("no row has a label", where=f"source {table.name!r}")
    if TRAIN not in census.splits:
        raise DataError(
            f"no row falls in the train split; the splits found are {', '.join(census.splits)}",
            where=f"source {table.name!r}", hint="statistics are fitted on the train rows only",
        )  # fmt: skip
    for split in census.splits:
        if not split or not all(c.isalnum() or c in "-_." for c in split) or split.startswith("."):
            raise DataError(f"{split!r} cannot name a split", where=f"source {table.name!r}",
                            hint="letters, digits, '-', '_' and '.'")  # fmt: skip


def raise_on(counts: Mapping[str, Any], checks: Sequence[Check], where: str) -> None:
    """Raise one error for all checks that found an offending row."""
    found = []
    hints = []
    for position, check in enumerate(checks):
        count = counts[f"bad{position}"]
        if count:
            shown = counts[f"shown{position}"]
            example = "" if shown is None else f" (the first is {shown!r})"
            rows = "1 row" if count == 1 else f"{count:,} rows"
            found.append(f"column {check.column!r}: {check.message} in {rows}{example}")
            hints.append(check.hint)
    if found:
        raise DataError("; ".join(found), where=where, hint="; ".join(dict.fromkeys(hints)))


def refuse_missing(needed: Iterable[str], present: Iterable[str], where: str) -> None:
    """Raise `DataError` when rows lack columns, with the column that may have been meant."""
    there = set(present)
    missing = [name for name in needed if name not in there]
    if missing:
        raise DataError(f"the rows lack {', '.join(map(repr, missing))}", where=where,
                        hint=closest(missing[0], there))  # fmt: skip


def transform(plan: Plan, fitted: Fitted, table: Table) -> pl.LazyFrame:
    """Return new rows transformed with frozen statistics: keys that are there, and features.

    Raises:
        DataError: A value breaks a check.
    """
    resolved = plan.resolved
    needed = resolved.inputs(*resolved.features.values())
    refuse_missing([table.stored(name) for name in needed], table.schema, table.name)
    keys = {
        name: node for name, node in resolved.keys.items()
        if all(table.stored(column) in table.schema for column in resolved.inputs(node))
    }  # fmt: skip
    outputs = {**keys, **resolved.features}
    rows, checks = typed_rows(table, resolved, *outputs.values())
    table.refuse_ragged()
    if checks:
        aggregates = []
        for position, check in enumerate(checks):
            aggregates.append(check.bad.sum().alias(f"bad{position}"))
            aggregates.append(check.shown.filter(check.bad).first().alias(f"shown{position}"))
        with polars_errors(table.name):
            counts = table.frame.select(aggregates).collect(engine="streaming")
        raise_on(counts.row(0, named=True), checks, table.name)
    return lower(rows, outputs, fitted).select(list(outputs))


def write_examples(
    plan: Plan, fitted: Fitted, table: Table, folder: Path, census: Census
) -> None:
    """Stream keys, features and label to `folder/split=NAME/*.parquet`, in the input's order.

    Raises:
        DataError: The data cannot be read any more.
        EngineError: The disk is full.
    """
    resolved = plan.resolved
    rows, _ = typed_rows(table, resolved)
    rows = with_split(rows, resolved)
    outputs: dict[str, Node] = {**resolved.keys, **resolved.features}
    names = list(outputs)
    if resolved.label is not None:
        rows = rows.filter(pl.col(LABEL).is_not_null())
        names.append(LABEL)
    rows = lower(rows, outputs, fitted)
    with polars_errors(str(folder), writing=True):
        if resolved.spec.examples.split is None:
            target = folder / f"{SPLIT}={TRAIN}"
            target.mkdir(parents=True)
            _sink(rows.select(names), target / "00000000.parquet")
        else:
            _sink(
                rows.select(*names, SPLIT),
                pl.PartitionBy(folder, key=SPLIT, include_key=False),
            )
    for split in census.splits:
        assert (folder / f"{SPLIT}={split}").is_dir()


def sample(
    plan: Plan, table: Table, folder: Path, census: Census
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return some rows as serving would be given them, and what was written for them.

    Args:
        plan: The plan of the run.
        table: The opened source.
        folder: The folder of the written examples.
        census: What was counted while they were fitted.

    Returns:
        The serving inputs and the features of the same rows: the first rows of some blocks of the
        input, spread evenly.
    """
    resolved = plan.resolved
    rows, _ = typed_rows(table, resolved)
    rows = with_split(rows, resolved)
    last = (census.rows - 1) // BLOCK
    chosen = sorted({last * i // (_SAMPLED_BLOCKS - 1) for i in range(_SAMPLED_BLOCKS)})
    each = _SAMPLED_ROWS // len(chosen)
    files = {split: _scan_split(folder, split) for split in census.splits}
    inputs: list[pl.LazyFrame] = []
    written: list[pl.LazyFrame] = []
    with polars_errors(str(folder)):
        for block in chosen:
            found = rows.slice(block * BLOCK, each).collect()
            if resolved.label is not None:
                found = found.filter(pl.col(LABEL).is_not_null())
            for split in census.splits:
                part = found if SPLIT not in found.columns else found.filter(pl.col(SPLIT) == split)
                start = sum(n for (b, s), n in census.blocks.items() if s == split and b < block)
                inputs.append(part.lazy().select(list(plan.serving_inputs)))
                written.append(files[split].slice(start, part.height).select(list(resolved.features)))
        return pl.concat(inputs).collect(), pl.concat(written).collect()


def _scan_split(folder: Path, split: str) -> pl.LazyFrame:
    return pl.scan_parquet(sorted((folder / f"{SPLIT}={split}").glob("*.parquet")))


def _sink(rows: pl.LazyFrame, target: Any) -> None:
    rows.sink_parquet(
        target, mkdir=True, compression="snappy", row_group_size=_ROW_GROUP, maintain_order=True,
        engine="streaming",
    )  # fmt: skip


