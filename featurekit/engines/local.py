"""The embedded engine: Polars, streaming, no service.

Statistics of a level are fitted in one pass over the training rows; then one fused projection
computes all features and streams them to Parquet. Memory does not grow with the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from featurekit.engines.fitting import Census, fit
from featurekit.engines.rows import (
    BLOCK,
    EMBARGO,
    LABEL,
    SPLIT,
    TRAIN,
    Fitted,
    lower,
    refuse_missing,
    refuse_offending,
    small_pieces,
    typed_rows,
    with_split,
)
from featurekit.graph import Node, cross_fitted
from featurekit.planner import Plan
from featurekit.sources import Table, polars_errors
from featurekit.stand_ins import stand_ins

__all__ = [
    "LABEL",
    "SPLIT",
    "Census",
    "Fitted",
    "fit",
    "lower",
    "refuse_missing",
    "sample",
    "training_features",
    "transform",
    "typed_rows",
    "write_examples",
]  # fmt: skip

_ROW_GROUP = 131_072
_STATISTICS = {"null_count": True, "min": False, "max": False, "distinct_count": False}
"""Examples are read whole; the extremes of a column would cost a tenth of the time to write it."""
_SAMPLED_BLOCKS = 8
_SAMPLED_ROWS = 512
_SAMPLED_STAND_INS = 4
"""So many rows of a block in which an input holds a value that stands for a missing one."""


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
    refuse_offending(table, checks, table.name)
    made = lower(rows, outputs, fitted, semantics=resolved.semantics)
    return made.select(list(outputs))


def training_features(plan: Plan, fitted: Fitted, table: Table) -> pl.LazyFrame:
    """Return the features of the rows that the statistics were fitted on, as examples hold them."""
    features = plan.resolved.features
    rows, _ = typed_rows(table, plan.resolved)
    made = lower(rows, features, fitted, pl.lit(True), plan.resolved.semantics)
    return made.select(list(features))


def write_examples(plan: Plan, fitted: Fitted, table: Table, folder: Path, census: Census) -> None:
    """Stream keys, features and label to `folder/split=NAME/*.parquet`, in the input's order.

    Raises:
        DataError: The data cannot be read any more.
        EngineError: The disk is full.
    """
    resolved = plan.resolved
    rows, _ = typed_rows(table, resolved)
    outputs: dict[str, Node] = {**resolved.keys, **resolved.features}
    names = list(outputs)
    rows = with_split(rows, resolved, outputs, fitted)
    if resolved.label is not None:
        rows = rows.filter(pl.col(LABEL).is_not_null())
        names.append(LABEL)
    if census.embargoed:
        rows = rows.filter(pl.col(SPLIT) != EMBARGO)
    with polars_errors(str(folder), writing=True), small_pieces():
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
    plan: Plan, fitted: Fitted, table: Table, folder: Path, census: Census
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return some rows as serving would be given them, and what was written for them.

    What is cross-fitted in examples of the train split is computed again, as serving sees it.

    Args:
        plan: The plan of the run.
        fitted: Its statistics.
        table: The opened source.
        folder: The folder of the written examples.
        census: What was counted while they were fitted.

    Returns:
        The serving inputs and the features of the same rows: the first rows of some blocks of the
        input, spread evenly; and rows with values that stand for missing ones in dense tensors.
    """
    resolved = plan.resolved
    rows, _ = typed_rows(table, resolved)
    # Under names of their own, because columns of the source may be called label or split.
    raw = {f"~in{place}": name for place, name in enumerate(plan.serving_inputs)}
    rows = rows.with_columns(pl.col(name).alias(own) for own, name in raw.items())
    rows = with_split(rows, resolved, {}, {})
    blocks = sorted({block for block, _ in census.blocks})
    last = len(blocks) - 1
    chosen = {blocks[last * i // (_SAMPLED_BLOCKS - 1)] for i in range(_SAMPLED_BLOCKS)}
    each = _SAMPLED_ROWS // len(chosen)
    chosen |= set(sorted(census.stand_in_blocks & set(blocks))[:_SAMPLED_BLOCKS])
    flags = stand_ins(plan.serving_inputs, [pl.col(own).alias(name) for own, name in raw.items()])
    wanted = [pl.int_range(pl.len()) < each]
    wanted += [flag & (flag.cum_sum() <= _SAMPLED_STAND_INS) for flag in flags.values()]
    by = resolved.spec.examples.split
    again = {name: node for name, node in resolved.features.items() if cross_fitted([node])}
    files = {split: _scan_split(folder, split) for split in census.splits}
    inputs: list[pl.LazyFrame] = []
    written: list[pl.LazyFrame] = []
    with polars_errors(str(folder)):
        for block in sorted(chosen):
            found = rows.slice(block * BLOCK, BLOCK).collect()
            if resolved.label is not None:
                found = found.filter(pl.col(LABEL).is_not_null())
            for split in census.splits:
                part = found if by is None else found.filter(pl.col(SPLIT) == split)
                kept = part.select(pl.any_horizontal(wanted).arg_true()).to_series().to_list()
                part = part[kept]
                start = sum(n for (b, s), n in census.blocks.items() if s == split and b < block)
                given = part.lazy().select(pl.col(own).alias(name) for own, name in raw.items())
                inputs.append(given)
                read = files[split].slice(start, (kept[-1] if kept else 0) + 1)
                read = read.select(pl.col(list(resolved.features)).gather(kept))
                if split == TRAIN and again:
                    # Serving sees all labels, and these examples do not.
                    seen = (
                        lower(given, again, fitted, semantics=resolved.semantics)
                        .select(list(again))
                        .collect()
                    )
                    read = read.collect().with_columns(seen.get_columns()).lazy()
                written.append(read)
        return pl.concat(inputs).collect(), pl.concat(written).collect()


def _scan_split(folder: Path, split: str) -> pl.LazyFrame:
    return pl.scan_parquet(sorted((folder / f"{SPLIT}={split}").glob("*.parquet")), glob=False)


def _sink(rows: pl.LazyFrame, target: Any) -> None:
    rows.sink_parquet(
        target, mkdir=True, compression="snappy", row_group_size=_ROW_GROUP, maintain_order=True,
        statistics=_STATISTICS, engine="streaming",
    )  # fmt: skip
