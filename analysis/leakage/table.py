"""The table that is scanned: its features, its label as numbers, and its rows in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import polars as pl

from featurekit.analysis.given import has_label, named, open_given
from featurekit.analysis.leakage.histograms import Labels
from featurekit.analysis.times import as_time
from featurekit.errors import DataError, UsageError, closest
from featurekit.sources import polars_errors

__all__ = [
    "CLASSES", "Rows", "Target", "collect", "open_rows", "readable", "target_of",
]  # fmt: skip

CLASSES = 100
"""A label of words has at most so many classes."""

_FEW = 20
"""A label of whole numbers with more distinct values is a quantity."""

_BATCH = 1 << 18
_PARTS = 20


@dataclass(frozen=True)
class Target:
    """How a row's label, and its part of the split, become numbers.

    Args:
        label: The column of the label.
        classes: Its classes in order; `None` for a quantity.
        centre: What is subtracted from a quantity, the middle of its range.
        scale: What it is then divided by, half of its range.
        split: The column of the split; `None` without one.
        train: The value of the split that means the rows to learn from.
        others: Its other values.
    """

    label: str
    classes: tuple[Any, ...] | None
    centre: float = 0.0
    scale: float = 1.0
    split: str | None = None
    train: Any = None
    others: tuple[Any, ...] = ()

    @property
    def questions(self) -> range:
        """The classes to tell from the rest, by place: one for two classes."""
        count = len(self.classes or ())
        return range(1, 2) if count == 2 else range(count)

    @property
    def codes(self) -> pl.Expr:
        """The place of a row's class; of a quantity, the quantity itself in units of its range."""
        label = named(self.label)
        if self.classes is None:
            return (label.cast(pl.Float64) - self.centre) / self.scale
        if isinstance(self.classes[0], str):
            label = label.cast(pl.String)
        places = range(len(self.classes))
        return label.replace_strict(list(self.classes), places, return_dtype=pl.Int64)

    @property
    def held_out(self) -> pl.Expr:
        """Whether a row is not one to learn from."""
        if self.split is None:
            return pl.lit(False)
        return named(self.split).ne_missing(pl.lit(self.train))

    def with_split(self, counts: pl.DataFrame, split: str) -> Target:
        """Return the same with the values of a split.

        Args:
            counts: Its values `x` with their rows `len`.
            split: The column of the split.

        Raises:
            DataError: It has too many values.
        """
        if counts.height >= _PARTS:
            raise DataError(f"the split {split!r} has {_PARTS} values or more, which are no splits")
        values = counts.drop_nulls("x").sort("len", "x", descending=True)["x"].to_list()
        if len(values) < 2:
            return self
        called = (v for v in values if str(v).lower() in ("train", "training", "fit"))
        train = next(called, values[0])
        others = tuple(value for value in values if value != train)
        return replace(self, split=split, train=train, others=others)

    def labels(self, batch: pl.DataFrame) -> Labels:
        """Return the labels of a batch whose rows all have one."""
        numbers = batch.select(self.codes.alias("x")).to_series().to_numpy()
        if self.split is None:
            parts, count = np.zeros(batch.height, np.int64), 1
        else:
            held_out = batch.select(self.held_out.cast(pl.Int64).alias("x")).to_series()
            parts, count = held_out.to_numpy(), 2
        if self.classes is None:
            return Labels(parts, count, None, values=numbers)
        return Labels(parts, count, numbers, len(self.classes))


@dataclass(frozen=True)
class Rows:
    """A table with a label, ready to be looked through.

    Args:
        every: All its rows: features, label, split, entity and time.
        known: Whether a row has a label.
        features: The columns to judge, by name.
        target: The label.
        entity: The column that names whose row it is.
        time: The column of the prediction's time.
        skipped: Columns of types that are not looked at, such as lists.
        height: How many rows there are, where any stretch of them can be read by itself; else
            `None`.
    """

    every: pl.LazyFrame
    known: pl.Expr
    features: tuple[str, ...]
    target: Target
    entity: str | None
    time: str | None
    skipped: tuple[str, ...]
    height: int | None = None

    @property
    def frame(self) -> pl.LazyFrame:
        """Its rows that have a label."""
        return self.every.filter(self.known)

    def batches(self, columns: Sequence[pl.Expr] = ()) -> Iterator[tuple[pl.DataFrame, Labels]]:
        """Yield features, or expressions of them, with the labels, some rows at a time."""
        names = [name for name in (self.target.label, self.target.split) if name is not None]
        wanted = list(columns) or [named(name) for name in self.features]
        kept = [named(name).alias(f"\0{name}") for name in names]
        frame = self.every.select(*wanted, *kept, self.known.alias("\0known"))
        with polars_errors("the table"):
            for whole in self._stretches(frame):
                batch = whole.filter("\0known") if not whole["\0known"].all() else whole
                labels = batch.select(pl.col(f"\0{name}").alias(name) for name in names)
                yield batch.select(pl.exclude("^\0.*$")), self.target.labels(labels)

    def _stretches(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """Yield the rows some at a time, the next ones being read meanwhile."""
        if self.height is None:
            yield from frame.collect_batches(chunk_size=_BATCH, maintain_order=True)
            return
        # Reading by batches, Polars runs far ahead, and memory would grow with the rows.
        with ThreadPoolExecutor(1) as pool:
            coming: Future[pl.DataFrame] | None = None
            for start in range(0, max(self.height, 1), _BATCH):
                then = pool.submit(frame.slice(start, _BATCH).collect)
                if coming is not None:
                    yield coming.result()
                coming = then
            assert coming is not None
            yield coming.result()

    def schema(self) -> dict[str, Any]:
        """Return the data type of each column."""
        return dict(self.every.collect_schema())


def collect(frame: pl.LazyFrame) -> pl.DataFrame:
    """Run a query over the table, rows streaming.

    Raises:
        DataError: The table cannot be read.
    """
    with polars_errors("the table"):
        return frame.collect(engine="streaming")


def open_rows(
    table: Any,
    *,
    label: str,
    split: str | None = None,
    entity: str | None = None,
    time: str | None = None,
    exclude: Sequence[str] = (),
) -> Rows:
    """Open a table for scanning; its label and split are read, nothing else.

    Args:
        table: A pandas, Polars or Arrow table, or the path of a Parquet or CSV file.
        label: The column of the label.
        split: The column of the split.
        entity: The column that names whose row it is.
        time: The column of the prediction's time.
        exclude: Columns to leave alone.

    Raises:
        UsageError: A column is not there.
        DataError: The table cannot be read, or the label says nothing.
    """
    opened = open_given(table)
    frame, schema = opened.frame, dict(opened.schema)
    roles = {"label": label, "split": split, "entity": entity, "time": time}
    given = [(role, name) for role, name in roles.items() if name is not None]
    for role, name in [*given, *(("exclude", name) for name in exclude)]:
        if name not in schema:
            raise UsageError(
                f"{role} {name!r} is not a column of the table", hint=closest(name, schema)
            )
    kept = {name for _, name in given}
    columns, skipped = readable(schema, {name for name in exclude if name not in kept})
    for _, name in given:
        if name in skipped:
            raise DataError(f"column {name!r} holds {schema[name]}, which is not one value a row")
    if time is not None and time != label:
        columns = [column for column in columns if column.meta.output_name() != time]
        columns.append(as_time(frame, time, schema[time]))
    known = has_label(label, schema[label])
    every = frame.select(columns)
    frame = every.filter(known)
    target = target_of(frame, label, split)
    features = tuple(name for name in frame.collect_schema() if name not in kept)
    height = None if opened.csv or isinstance(table, pl.LazyFrame) else opened.height
    return Rows(every, known, features, target, entity, time, tuple(skipped), height)


def readable(
    schema: Mapping[str, Any], exclude: Collection[str]
) -> tuple[list[pl.Expr], list[str]]:
    """Return the columns as they are looked at, vectors as one column each, and those left out."""
    columns, skipped = [], []
    for name, dtype in sorted(schema.items()):
        if name in exclude:
            continue
        if isinstance(dtype, pl.Array) and len(dtype.shape) == 1 and not dtype.inner.is_nested():
            columns += [named(name).arr.get(i).alias(f"{name}[{i}]") for i in range(dtype.size)]
        elif dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            skipped.append(name)
        else:
            columns.append(named(name).cast(pl.Float64) if dtype.is_decimal() else named(name))
    return columns, skipped


def target_of(frame: pl.LazyFrame, label: str, split: str | None) -> Target:
    """Decide whether a label is of classes or a quantity, and which rows are to learn from.

    Raises:
        DataError: The label has one value or too many, or the split has too many.
    """
    target = _target(frame, label)
    if split is None:
        return target
    counts = frame.group_by(named(split).alias("x")).len().sort("len", "x", descending=True)
    return target.with_split(collect(counts.head(_PARTS)), split)


def _target(frame: pl.LazyFrame, label: str) -> Target:
    column, dtype = named(label), frame.collect_schema()[label]
    number = dtype.is_numeric()
    words = dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))
    if not number and not words and dtype != pl.Boolean:
        raise DataError(f"the label {label!r} holds {dtype}, which is no class and no quantity")
    about = frame.select(low=column.min(), high=column.max(), distinct=column.approx_n_unique())
    low, high, distinct = collect(about).row(0) if not words else (0, 0, _distinct(frame, column))
    if number and low is not None:
        two = collect(frame.select(((column == low) | (column == high)).all())).item()
        if not two and (dtype.is_float() or distinct > _FEW):
            low, high = float(low), float(high)
            return Target(label, None, (low + high) / 2, (high - low) / 2)
    if distinct > 2 * CLASSES:
        _refuse_classes(label)
    found = collect(frame.select(column.cast(pl.String) if words else column).unique()).to_series()
    if found.len() < 2:
        raise DataError(
            f"the label {label!r} has {'one value' if found.len() else 'no value'} in all rows",
            hint="a leak is a feature that tells one value of the label from another",
        )
    if found.len() > CLASSES:
        _refuse_classes(label)
    return Target(label, tuple(sorted(found.to_list())))


def _distinct(frame: pl.LazyFrame, column: pl.Expr) -> int:
    return int(collect(frame.select(column.cast(pl.String).approx_n_unique())).item())


def _refuse_classes(label: str) -> NoReturn:
    raise DataError(
        f"the label {label!r} has more than {CLASSES} classes",
        hint="group them, or give a number as the label",
    )
