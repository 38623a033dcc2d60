"""Fitting statistics on the training rows, and counting all rows on the way.

Each pass reads the rows once, in batches, and asks every batch everything. Polars can run many
queries over one scan by itself, but it runs their group-bys one after the other and holds the rows
for the later ones; so memory would grow with the rows.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import polars as pl

from featurekit.engines.lossy_casts import LossyCasts
from featurekit.engines.rows import (
    BLOCK,
    EMBARGO,
    FLAGS,
    LABEL,
    SPLIT,
    TRAIN,
    Fitted,
    read_as_others,
    read_columns,
    refuse_bad,
    small_pieces,
    with_split,
)
from featurekit.errors import DataError
from featurekit.graph import ColumnNode, Node, StatisticRequest, fitted_type, topological
from featurekit.planner import Plan
from featurekit.sources import Table, polars_errors
from featurekit.stand_ins import STANDS_IN, stand_ins
from featurekit.transforms.statistics import EmptyColumn, Fitting, Question

__all__ = ["Census", "check_census", "fit"]

_BATCH = 8 * BLOCK
"""Rows of a batch. The rounding of means depends on it, and on nothing else."""

_AT_ONCE = 2
"""So many batches are asked side by side: what one does alone, the other fills with its work."""

_SPLIT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

Frame = TypeVar("Frame", pl.LazyFrame, pl.DataFrame)
Answers = dict[StatisticRequest, list[pl.DataFrame]]
"""The answers to each statistic's question: those for earlier batches may be merged."""


@dataclass
class Census:
    """What the first pass over the input counted.

    Args:
        rows: Rows read.
        without_label: Rows left out because their label is null.
        embargoed: Rows left out because their label is known too late for their split.
        splits: Rows of each split.
        nan: NaN values that were read as missing, by column.
        stand_ins: Values that stand for missing ones in dense tensors, by input.
        stand_in_blocks: The blocks that hold the first of them of each input.
        lost: Values that casts made missing, by the text of the cast.
        lost_examples: One of them, by the same.
        beyond: Finite values beyond float32, by column; they were read as infinite. Of aggregates
            all that are infinite.
        below: Values too small for float32, by column or aggregate; they were read as 0.
        blocks: Rows written for each block of `BLOCK` input rows, by block and split.
    """

    rows: int = 0
    without_label: int = 0
    embargoed: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    nan: dict[str, int] = field(default_factory=dict)
    stand_ins: dict[str, int] = field(default_factory=dict)
    stand_in_blocks: set[int] = field(default_factory=set)
    lost: dict[str, int] = field(default_factory=dict)
    lost_examples: dict[str, str] = field(default_factory=dict)
    beyond: dict[str, int] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)
    blocks: dict[tuple[int, str], int] = field(default_factory=dict)


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
    table.refuse_ragged()
    rows = _Rows(plan, table)
    census: Census | None = None
    fitted: dict[StatisticRequest, Any] = {}
    levels = plan.levels or ((),)
    for number, level in enumerate(levels):
        progress(
            f"pass {number + 1} of {len(levels)}: {len(level)} statistics of the training rows"
        )
        running = {request: request.statistic.fit(request.node.type) for request in level}
        asked = {request: next(fitting) for request, fitting in running.items()}
        while asked or census is None:
            nodes = dict.fromkeys(node for request in asked for node in request.nodes)
            outputs = {f"~x{place}": node for place, node in enumerate(nodes)}
            names = {node: name for name, node in outputs.items()}
            if census is None:
                outputs |= rows.casts.outputs
            lazy = with_split(rows.lazy, plan.resolved, outputs, fitted)
            with polars_errors(rows.where), small_pieces():
                if census is None:
                    counting = _Counting(rows)
                    read = [*names.values(), *rows.flags, *rows.groups, *rows.casts.read]
                    read = read or [rows.any_column]
                    answers = _ask(asked, names, lazy.select(read), counting.training)
                    census = counting.census()
                else:
                    answers = _ask(asked, names, rows.training(lazy).select(names.values()))
            asked = _tell(plan, running, asked, answers, fitted, rows.where, census.beyond)
    assert census is not None
    _refuse_unfit(plan, fitted, rows.where)
    return fitted, census


def _refuse_unfit(plan: Plan, fitted: Fitted, where: str) -> None:
    """Refuse features that their fitted statistics leave without a type: vectors of no width."""
    for name, node in plan.features.items():
        try:
            fitted_type(node, fitted)
        except ValueError as error:
            raise DataError(f"feature {name!r}: {error}", where=where) from None


class _Rows:
    """The rows with all that a pass may read: typed columns, and flags to count.

    A flag is true for a value that a check refuses, or for one that is read as another.
    """

    def __init__(self, plan: Plan, table: Table) -> None:
        resolved = plan.resolved
        self.table, self.where = table, f"source {table.name!r}"
        columns, self.checks = read_columns(table, resolved)
        self.flags = {f"~bad{place}": check.bad for place, check in enumerate(self.checks)}
        self.flags |= read_as_others(table, resolved)
        for name, found in stand_ins(plan.serving_inputs, columns).items():
            self.flags[f"{STANDS_IN}{name}"] = found
        self.lazy = table.frame.select(*columns, **self.flags)
        self.groups = [LABEL] * (resolved.label is not None)
        self.groups += [SPLIT] * (resolved.spec.examples.split is not None)
        self.casts = LossyCasts(resolved)
        self.any_column = columns[0].meta.output_name()

    def training(self, frame: Frame) -> Frame:
        """Return the rows that have a label and fall in the train split."""
        if LABEL in self.groups:
            frame = frame.filter(pl.col(LABEL).is_not_null())
        return frame.filter(pl.col(SPLIT) == TRAIN) if SPLIT in self.groups else frame


class _Counting:
    """Counts all rows while batches of the training rows go by."""

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows
        self.counted = Census()
        self.flagged = dict.fromkeys(rows.flags, 0)
        self.without_split = 0

    def training(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Count the rows of the next batch, and return those to train on."""
        for name in self.flagged:
            count = int(batch[name].sum())
            if count and name.startswith(STANDS_IN) and not self.flagged[name]:
                first = self.counted.rows + (batch[name].arg_max() or 0)
                self.counted.stand_in_blocks.add(first // BLOCK)
            self.flagged[name] += count
        self.rows.casts.count(batch, self.counted.lost, self.counted.lost_examples)
        self._count_blocks(batch.select(self.rows.groups), batch.height)
        return self.rows.training(batch)

    def _count_blocks(self, groups: pl.DataFrame, height: int) -> None:
        counted = self.counted
        for start in range(0, height, BLOCK):
            block = (counted.rows + start) // BLOCK
            part = groups.slice(start, BLOCK)
            rows = min(BLOCK, height - start)
            if LABEL in groups.columns:
                part = part.filter(pl.col(LABEL).is_not_null())
                counted.without_label += rows - part.height
                rows = part.height
            splits = (
                part[SPLIT].value_counts().rows() if SPLIT in groups.columns else [(TRAIN, rows)]
            )
            for split, count in splits:
                if split is None:
                    self.without_split += count
                elif split == EMBARGO:
                    counted.embargoed += count
                else:
                    counted.splits[split] = counted.splits.get(split, 0) + count
                    counted.blocks[block, split] = count
        counted.rows += height

    def census(self) -> Census:
        """Return what was counted.

        Raises:
            DataError: There are no training rows, a check fails, or a split has a bad name.
        """
        counted, where = self.counted, self.rows.where
        bad = [self.flagged[f"~bad{place}"] for place in range(len(self.rows.checks))]
        refuse_bad(self.rows.table, self.rows.checks, bad, where)
        for flag, count in self.flagged.items():
            kind, _, name = flag.partition(" ")
            if count and kind in FLAGS:
                getattr(counted, FLAGS[kind])[name] = count
        counted.stand_ins = {
            name.removeprefix(STANDS_IN): count
            for name, count in self.flagged.items() if name.startswith(STANDS_IN) and count
        }  # fmt: skip
        if self.without_split:
            raise DataError(
                f"{self.without_split:,} rows have no value in the split column", where=where
            )
        check_census(counted, where)
        return counted


def check_census(counted: Census, where: str) -> None:
    """Refuse data without training rows, and splits that cannot name folders; put splits in order.

    Raises:
        DataError: See above.
    """
    if not counted.rows:
        raise DataError("the data has no rows", where=where)
    if counted.without_label == counted.rows:
        raise DataError("no row has a label", where=where)
    order = {TRAIN: 0, "eval": 1, "test": 2}
    names = sorted(counted.splits, key=lambda name: (order.get(name, 3), name))
    counted.splits = {name: counted.splits[name] for name in names}
    if TRAIN not in counted.splits:
        raise DataError(
            f"no row falls in the train split; the splits found are {', '.join(names)}",
            where=where, hint="statistics are fitted on the train rows only",
        )  # fmt: skip
    if len({name.lower() for name in names}) < len(names):
        raise DataError(f"splits differ only in case: {', '.join(names)}", where=where)
    for name in names:
        if not _SPLIT_NAME.fullmatch(name):
            raise DataError(f"{name!r} cannot name a split", where=where,
                            hint="letters, digits, '-', '_' and '.'")  # fmt: skip


def _ask(
    asked: Mapping[StatisticRequest, Question],
    names: Mapping[Node, str],
    rows: pl.LazyFrame,
    training: Callable[[pl.DataFrame], pl.DataFrame] = lambda batch: batch,
) -> Answers:
    """Put every question to every batch; the answers for earlier batches may come merged.

    Args:
        asked: The questions.
        names: The column of `rows` with each node's values.
        rows: The rows.
        training: Picks the training rows of a batch.
    """
    answers: Answers = {request: [] for request in asked}

    def ask(batch: pl.DataFrame) -> list[tuple[StatisticRequest, pl.DataFrame]]:
        return list(_ask_batch(asked, names, batch))

    def take(found: list[tuple[StatisticRequest, pl.DataFrame]]) -> None:
        for request, answer in found:
            parts = answers[request]
            parts.append(answer)
            if sum(part.height for part in parts) > max(_BATCH, 2 * parts[0].height):
                answers[request] = [asked[request].merge(pl.concat(parts))]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running: deque[Future[list[tuple[StatisticRequest, pl.DataFrame]]]] = deque()
        for batch in rows.collect_batches(chunk_size=_BATCH, maintain_order=True):
            running.append(pool.submit(ask, training(batch)))
            del batch  # The next one is made before the name is bound to it.
            if len(running) == _AT_ONCE:
                take(running.popleft().result())
        for last in running:
            take(last.result())
    return answers


def _ask_batch(
    asked: Mapping[StatisticRequest, Question], names: Mapping[Node, str], batch: pl.DataFrame
) -> Iterator[tuple[StatisticRequest, pl.DataFrame]]:
    """Yield the answers for the training rows of a batch, if it has any."""
    if not batch.height:
        return
    for ordered in (False, True):
        queries = {}
        for request, question in asked.items():
            if question.ordered == ordered:
                read = zip(request.statistic.reads, request.nodes, strict=True)
                column = batch.select(**{name: names[node] for name, node in read})
                # Sums of pieces depend on where the pieces end.
                column = column.rechunk() if ordered else column
                queries[request] = question.answer(column)
        # Streaming, Polars adds up a column in the order of its threads.
        engine: Literal["in-memory", "streaming"] = "in-memory" if ordered else "streaming"
        yield from zip(queries, pl.collect_all(queries.values(), engine=engine), strict=True)


def _tell(
    plan: Plan,
    running: Mapping[StatisticRequest, Fitting],
    asked: Mapping[StatisticRequest, Question],
    answers: Answers,
    fitted: dict[StatisticRequest, Any],
    where: str,
    beyond: Mapping[str, int],
) -> dict[StatisticRequest, Question]:
    """Give statistics their answers, and return what some of them ask next."""
    following: dict[StatisticRequest, Question] = {}
    failures: list[tuple[StatisticRequest, ValueError]] = []
    for request, question in asked.items():
        try:
            following[request] = running[request].send(question.merge(pl.concat(answers[request])))
        except StopIteration as stop:
            fitted[request] = stop.value
        except ValueError as error:
            failures.append((request, error))
    if failures:
        raise DataError(
            "; ".join(_failure(plan, request, error) for request, error in failures), where=where,
            hint=_hint(failures[0], beyond) if isinstance(failures[0][1], EmptyColumn) else "",
        )  # fmt: skip
    return following


def _failure(plan: Plan, request: StatisticRequest, error: ValueError) -> str:
    return f"feature {plan.users(request)}: {request.text}: {error}"


def _hint(failure: tuple[StatisticRequest, ValueError], beyond: Mapping[str, int]) -> str:
    """Say what to do about a column without a usable value."""
    request, _ = failure
    for node in topological(request.nodes):
        if isinstance(node, ColumnNode) and node.name in beyond:
            return (
                f"{beyond[node.name]:,} finite values of {node.name!r} are beyond float32; declare "
                f"it: {node.name}: {{type: float64}}"
            )
    return "fill, correct or leave out the column"
