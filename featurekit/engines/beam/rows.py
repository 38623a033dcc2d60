"""Raw batches made typed: rows that the spec does not allow are set aside, with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from featurekit.checks import Check
from featurekit.engines.lossy_casts import LossyCasts
from featurekit.engines.rows import (
    EMBARGO,
    FLAGS,
    LABEL,
    SPLIT,
    TRAIN,
    read_as_others,
    read_columns,
    with_split,
)
from featurekit.number_text import NumberText
from featurekit.planner import Plan
from featurekit.sources import Table, renamed_columns
from featurekit.stand_ins import STANDS_IN, stand_ins

__all__ = ["NAMESPACE", "ROW_LABEL", "ROW_SPLIT", "BadRow", "Batch", "Tally", "Typing"]

NAMESPACE = "featurekit"
"""The namespace of the counters that pipelines leave with Beam."""

ROW_LABEL, ROW_SPLIT = "~row label", "~row split"
"""The columns of typed rows with their label and split: columns of the source may have any name."""

NO_SPLIT = "no value in the split column"


class Batch(NamedTuple):
    """Rows of one part of the input that follow each other.

    Args:
        part: The place of the part among all.
        start: How many rows of the part come before.
        rows: How many rows were read, those that were set aside included.
        table: The rows.
    """

    part: int
    start: int
    rows: int
    table: pa.Table


@dataclass(frozen=True)
class BadRow:
    """A row that was set aside.

    Args:
        part: The place of its part of the input.
        row: Its number within that, from 0; of text that is no row at all, the line's number.
        reasons: Why.
        values: The row as it was read.
    """

    part: int
    row: int
    reasons: tuple[str, ...]
    values: dict[str, Any] | str

    def to_json(self, source: str) -> str:
        """Return it as one line."""
        entry = {"source": source, "row": self.row, "reasons": self.reasons, "values": self.values}
        return json.dumps(entry, ensure_ascii=False, default=str)


@dataclass
class Tally:
    """What was counted while rows were read; tallies of different rows add up."""

    rows: int = 0
    without_label: int = 0
    embargoed: int = 0
    bad: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    nan: dict[str, int] = field(default_factory=dict)
    stand_ins: dict[str, int] = field(default_factory=dict)
    beyond: dict[str, int] = field(default_factory=dict)
    below: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    lost_examples: dict[str, str] = field(default_factory=dict)

    def add(self, other: Tally) -> Tally:
        """Add another tally to this one."""
        self.rows += other.rows
        self.without_label += other.without_label
        self.embargoed += other.embargoed
        self.bad += other.bad
        for mine, theirs in (
            (self.splits, other.splits), (self.nan, other.nan), (self.reasons, other.reasons),
            (self.stand_ins, other.stand_ins), (self.beyond, other.beyond),
            (self.below, other.below),
            (self.lost, other.lost),
        ):  # fmt: skip
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.lost_examples = {**other.lost_examples, **self.lost_examples}
        return self


class Typing:
    """Makes raw rows typed.

    Args:
        plan: The plan.
        renamed: What the data calls the columns of the spec that have another name there.
    """

    def __init__(self, plan: Plan, renamed: dict[str, str] | None = None) -> None:
        self.plan, self.resolved = plan, plan.resolved
        source = self.resolved.spec.sources[self.resolved.spec.examples.source]
        self.renamed = renamed_columns(source) if renamed is None else renamed
        self._past = {
            self.renamed[node.text]: node.text
            for node in self.resolved.aggregates if node.text in self.renamed
        }  # fmt: skip
        self._casts = LossyCasts(self.resolved)
        self._schema: pl.Schema | None = None
        self._columns: list[pl.Expr] = []
        self._checks: list[Check] = []
        self._flags: dict[str, pl.Expr] = {}

    def _prepare(self, frame: pl.DataFrame) -> None:
        """Say how these columns are read; all batches have the same as a rule."""
        if frame.schema == self._schema:
            return
        name = self.resolved.spec.examples.source
        source = self.resolved.spec.sources[name]
        numbers = NumberText(source.decimal, source.thousands)
        table = Table(name, frame.lazy(), dict(frame.schema), self.renamed, numbers=numbers)
        self._columns, self._checks = read_columns(table, self.resolved, smallest=False)
        self._flags = {f"~bad{place}": check.bad for place, check in enumerate(self._checks)}
        self._flags |= read_as_others(table, self.resolved)
        for column, found in stand_ins(self.plan.serving_inputs, self._columns).items():
            self._flags[f"{STANDS_IN}{column}"] = found
        self._schema = frame.schema

    def typed(self, batch: Batch) -> tuple[pl.DataFrame, list[BadRow], Tally]:
        """Return the rows of a batch that have a label, typed; what is bad; and what was counted.

        The frame has the columns that the features read, the keys under names that begin with
        `~key `, `ROW_SPLIT`, and `ROW_LABEL` where the spec has a label.

        Raises:
            DataError: A column is missing.
            SpecError: A column cannot be read as its type at all.
        """
        raw = pl.DataFrame(pl.from_arrow(batch.table)).rename(self._past)
        self._prepare(raw)
        tally = Tally(rows=batch.rows)
        typed = raw.select(*self._columns, **self._flags)
        for name in self._flags:
            kind, _, column = name.partition(" ")
            if kind in FLAGS and (count := int(typed[name].sum())):
                getattr(tally, FLAGS[kind])[column] = count
        bad_flags = [name for name in self._flags if name.startswith("~bad")]
        good = typed
        bad: list[BadRow] = []
        if any(typed[name].any() for name in bad_flags):
            offends = (
                typed.select(pl.any_horizontal(pl.col(bad_flags))).to_series().fill_null(False)
            )
            bad = self._bad(batch, raw, typed, offends, tally)
            good = typed.filter(~offends)
        for name in self._flags:
            if name.startswith(STANDS_IN) and (count := int(good[name].sum())):
                tally.stand_ins[name.removeprefix(STANDS_IN)] = count
        good = good.drop(list(self._flags))
        own = {f"~own {name}": name for name in (LABEL, SPLIT) if name in good.columns}
        good = good.with_columns(pl.col(name).alias(kept) for kept, name in own.items())
        keys = {f"~key {name}": node for name, node in self.resolved.keys.items()}
        casts = self._casts.outputs
        rows = with_split(good.lazy(), self.resolved, {**keys, **casts}, {})
        frame = rows.with_columns(self._casts.read).drop(list(casts)).collect()
        self._casts.count(frame, tally.lost, tally.lost_examples)
        frame = frame.select(pl.exclude("^~lost .*$"))
        if self.resolved.label is not None:
            labelled = frame.filter(pl.col(LABEL).is_not_null())
            tally.without_label = frame.height - labelled.height
            frame = labelled
        if self.resolved.spec.examples.split is None:
            frame = frame.with_columns(pl.lit(TRAIN).alias(SPLIT))
        elif frame[SPLIT].null_count():
            lost = frame[SPLIT].null_count()
            bad += [BadRow(batch.part, batch.start, (NO_SPLIT,), {})] * lost
            tally.reasons[NO_SPLIT] = lost
            frame = frame.filter(pl.col(SPLIT).is_not_null())
        kept = frame.filter(pl.col(SPLIT) != EMBARGO)
        tally.embargoed, frame = frame.height - kept.height, kept
        for split, count in frame[SPLIT].value_counts().rows():
            tally.splits[split] = count
        tally.bad = len(bad)
        frame = frame.rename({LABEL: ROW_LABEL, SPLIT: ROW_SPLIT}, strict=False).rename(own)
        return frame, bad, tally

    def _bad(
        self, batch: Batch, raw: pl.DataFrame, typed: pl.DataFrame, offends: pl.Series, tally: Tally
    ) -> list[BadRow]:
        places = offends.arg_true().to_list()
        shown = raw[places].to_dicts()
        reasons: dict[int, list[str]] = {place: [] for place in places}
        for number, check in enumerate(self._checks):
            flagged = typed[f"~bad{number}"].fill_null(False).arg_true()
            if not flagged.len():
                continue
            quoted = raw[flagged.to_list()].select(check.shown.alias("shown")).to_series()
            reason = f"column {check.column!r}: {check.message.rstrip(',')}"
            tally.reasons[reason] = flagged.len()
            for place, value in zip(flagged.to_list(), quoted.to_list(), strict=True):
                example = "" if value is None else f" ({value!r})"
                reasons[place].append(f"{reason}{example}")
        return [
            BadRow(batch.part, batch.start + place, tuple(reasons[place]), row)
            for place, row in zip(places, shown, strict=True)
        ]
