"""What held-out rows share with training rows: duplicates, entities, and a different look.

Duplicates are found by a 128-bit hash of all rows, never of a sample. Hashes of many rows go
through a file on disk, part by part, so that memory does not grow with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from featurekit.analysis.findings import Effect, Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Histograms
from featurekit.analysis.leakage.kinds import Thresholds, found
from featurekit.analysis.leakage.sampling import Distinct
from featurekit.analysis.leakage.table import Rows, collect
from featurekit.analysis.leakage.univariate import Measured
from featurekit.scratch import scratch_folder
from featurekit.sources import polars_errors

__all__ = [
    "HELD_OUT", "Shared", "counted", "duplicates_finding", "entity_finding", "hashes", "names_row",
    "overlap", "row_columns", "shifted", "split_in_time", "without",
]  # fmt: skip

HELD_OUT = "\0held_out"

_AT_ONCE = 1 << 22
"""So many rows are grouped at a time."""
_NAMES_ROW = 0.95
"""A column with that many distinct values to the row names the row."""


class Shared(NamedTuple):
    """What the parts of a split share.

    Args:
        held_out: Held-out rows, or entities in them.
        shared: Those of them that are in the training rows, too.
        rows: All rows, or entities.
        distinct: The distinct ones among them.
    """

    held_out: int
    shared: int
    rows: int
    distinct: int

    @property
    def share(self) -> float:
        """The share of what is held out that the training rows hold, too."""
        return self.shared / self.held_out if self.held_out else 0.0


def row_columns(rows: Rows, histograms: Histograms) -> list[str]:
    """Return the features by which rows are compared: those that do not merely name the row.

    Args:
        rows: The table.
        histograms: Those of all its rows, which know the distinct values of most columns.
    """
    schema, columns = rows.schema(), histograms.columns
    may_name = [
        name for name in rows.features if schema[name].is_integer() or schema[name] == pl.String
    ]
    counts = {name: float(len(columns[name].keys)) for name in may_name if columns[name].exact}
    many = [name for name in may_name if name not in counts]
    distinct = dict.fromkeys(many, Distinct.none())
    for batch, _ in rows.batches([named(name) for name in many]) if many else ():
        distinct = {name: distinct[name].merge(Distinct.of(batch[name])) for name in many}
    counts |= {name: made.count for name, made in distinct.items()}
    row_names = {name for name, count in counts.items() if names_row(count, histograms.rows)}
    return without(rows.features, row_names)


def names_row(distinct: float, total: int) -> bool:
    """Return whether a column of so many distinct values merely names the row."""
    return distinct >= _NAMES_ROW * total


def without(features: Sequence[str], row_names: Collection[str]) -> list[str]:
    """Return the features by which rows are compared; all, if all of them name the row."""
    return [name for name in features if name not in row_names] or list(features)


def hashes(columns: Sequence[str]) -> list[pl.Expr]:
    """Return the two halves of a row's 128-bit hash, `high` and `low`.

    Each is the sum of the hashes of its values, every column with a seed of its own, so that the
    order of columns does not matter, nor does a value count the same in another column.
    """
    return [
        pl.sum_horizontal(
            named(name).hash(int.from_bytes(hashlib.sha256(f"{half}{name}".encode()).digest()[:8]))
            for name in columns
        ).alias(half)
        for half in ("high", "low")
    ]


def overlap(rows: Rows, keys: Sequence[pl.Expr], total: int, by_row: bool) -> Shared:
    """Count what the parts of the split share.

    Args:
        rows: The table.
        keys: What is compared; the first is a hash.
        total: How many rows there are.
        by_row: Whether to count rows, or distinct keys.
    """
    held_out = rows.target.held_out.alias(HELD_OUT)
    keyed = rows.frame.select(*keys, held_out)
    pieces = -(-total // _AT_ONCE)
    if pieces <= 1:
        return counted(keyed, by_row)
    first = keyed.collect_schema().names()[0]
    parts = []
    with scratch_folder() as folder:
        path = folder / "hashes.parquet"
        with polars_errors(str(path), writing=True):
            keyed.sink_parquet(path, compression="uncompressed")
        for piece in range(pieces):
            mine = pl.scan_parquet(path, glob=False).filter(pl.col(first) % pieces == piece)
            parts.append(counted(mine, by_row))
    return Shared(*(sum(column) for column in zip(*parts, strict=True)))


def counted(keyed: pl.LazyFrame, by_row: bool) -> Shared:
    """Count what the parts share, given the keys and whether a row is held out (`HELD_OUT`)."""
    names = [name for name in keyed.collect_schema() if name != HELD_OUT]
    out = pl.col(HELD_OUT)
    groups = keyed.group_by(names).agg(rows=pl.len(), held_out=out.sum())
    held = pl.col("held_out")
    both = (held > 0) & (held < pl.col("rows"))
    if by_row:
        counts = (held.sum(), held.filter(both).sum(), pl.col("rows").sum(), pl.len())
    else:
        counts = ((held > 0).sum(), both.sum(), pl.len(), pl.len())
    asked = [count.alias(name) for count, name in zip(counts, Shared._fields, strict=True)]
    return Shared(*(int(value) for value in collect(groups.select(asked)).row(0)))


def split_in_time(rows: Rows) -> bool:
    """Return whether all held-out rows are later than all training rows."""
    if rows.time is None or rows.target.split is None:
        return False
    time, out = named(rows.time), rows.target.held_out
    ends = collect(
        rows.frame.select(last=time.filter(~out).max(), first=time.filter(out).min())
    ).row(0)
    return None not in ends and ends[0] <= ends[1]


def duplicates_finding(shared: Shared, thresholds: Thresholds) -> list[Finding]:
    """Return what duplicates across the split mean, if there are any."""
    if not shared.shared:
        return []
    message = (
        f"{shared.shared:,} of {shared.held_out:,} held-out rows ({shared.share:.2%}) stand among "
        "the training rows, too, with all their features and their label"
    )
    severity = Severity.WARNING if shared.share >= thresholds.duplicates else Severity.NOTE
    if shared.distinct < shared.rows / 2:
        severity = Severity.NOTE
        message += (
            f"; but rows repeat everywhere ({shared.distinct:,} distinct ones of {shared.rows:,})"
        )
    return [
        found(
            "duplicate_rows", severity, (), f"{message}.", Effect("share", shared.share),
            rows=shared.shared, held_out=shared.held_out, distinct=shared.distinct,
        )
    ]  # fmt: skip


def entity_finding(shared: Shared, entity: str, in_time: bool) -> list[Finding]:
    """Return what entities on both sides of the split mean, if there are any."""
    if not shared.shared:
        return []
    message = (
        f"{shared.shared:,} of {shared.held_out:,} held-out {entity!r} ({shared.share:.1%}) are "
        "among the training rows, too: a model that remembers them looks better than it is on new "
        "ones"
    )
    if in_time:
        message += "; the held-out rows are later, so it is what serving would see, too"
    return [
        found(
            "entity_overlap", Severity.NOTE if in_time else Severity.WARNING, (), f"{message}.",
            Effect("share", shared.share), entity=entity, shared=shared.shared,
            held_out=shared.held_out,
        )
    ]  # fmt: skip


def shifted(measured: Mapping[str, Measured], thresholds: Thresholds) -> list[Finding]:
    """Return the features that tell training rows from the rest: good to know, and no leak."""
    return [
        found(
            "split_shift", Severity.NOTE, (name,),
            f"{name!r} alone tells held-out rows from training rows: AUC {numbers.shift:.3f}.",
            Effect("AUC", numbers.shift),
        )
        for name, numbers in measured.items()
        if numbers.shift is not None and numbers.shift >= thresholds.warning
    ]  # fmt: skip
