"""The leakage scan as a Beam transform over Arrow record batches.

The histograms are those of the embedded engine, merged by a `CombineFn`; hashes of all rows are
grouped part by part, whole batches at a time. What needs rows side by side (pairs, encodings
within a category, series along time) is judged on some rows, chosen by a hash: all rows of some
entities where the entity is given. Whether a scaling is exact over all rows is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featurekit.errors import require

require("apache_beam", "beam", "a Beam pipeline")

import apache_beam as beam  # noqa: E402
import polars as pl  # noqa: E402

from featurekit.analysis.leakage.histograms import Histograms  # noqa: E402
from featurekit.analysis.leakage.kinds import Thresholds  # noqa: E402
from featurekit.analysis.leakage.scan import Scan, conclude  # noqa: E402
from featurekit.analysis.leakage.splits import HELD_OUT, Shared, counted, hashes  # noqa: E402
from featurekit.analysis.leakage.table import (  # noqa: E402
    Target,
    has_label,
    open_rows,
    readable,
    target_of,
)
from featurekit.errors import DataError  # noqa: E402

__all__ = ["LeakageScan"]

_PIECES = 64
_SAMPLED = 50_000
_VALUES = 1_000


@dataclass(frozen=True)
class _Columns:
    """What the columns are for; the arguments of `scan`."""

    label: str
    split: str | None
    entity: str | None
    time: str | None
    exclude: tuple[str, ...]

    @property
    def roles(self) -> dict[str, str]:
        return {
            role: name for role, name in vars(self).items() if isinstance(name, str)
        }  # fmt: skip

    def read(self, batch: Any) -> pl.DataFrame:
        """Return a batch's rows that have a label, columns as they are looked at."""
        frame = pl.DataFrame(pl.from_arrow(batch))
        left_out = set(self.exclude) - set(self.roles.values())
        columns, _ = readable(frame.schema, left_out)
        return frame.select(columns).filter(has_label(self.label, frame.schema[self.label]))

    def features(self, frame: pl.DataFrame) -> list[str]:
        return [name for name in frame.columns if name not in self.roles.values()]


class LeakageScan(beam.PTransform):  # type: ignore[misc]
    """Scans a table for leaks; see `scan` for the arguments and what is found.

    Rows are Arrow record batches or tables with the same columns, as
    `beam.io.ReadFromParquetBatched` gives them. Identifiers that merely name the row must be
    excluded for duplicates to be found.

    Returns:
        One `Scan`.

    Raises:
        DataError: In the pipeline: no row has a label, or the label says nothing.

    Example:
        ```python
        with beam.Pipeline() as pipeline:
            rows = pipeline | beam.io.ReadFromParquetBatched("examples.parquet")
            rows | LeakageScan(label="late", split="part") | beam.Map(print)
        ```
    """

    def __init__(
        self, *, label: str, split: str | None = None, entity: str | None = None,
        time: str | None = None, exclude: Sequence[str] = (), seed: int = 0,
        thresholds: Thresholds | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.columns = _Columns(label, split, entity, time, tuple(exclude))
        self.seed, self.limits = seed, thresholds or Thresholds()

    def expand(self, rows: Any) -> Any:
        """Add the steps to the pipeline."""
        columns, seed, limits = self.columns, self.seed, self.limits
        read = rows | "Read" >> beam.Map(columns.read)
        target = (
            read
            | "Values" >> beam.CombineGlobally(_Values(columns))
            | "Target" >> beam.Map(_make_target, columns)
        )
        whole = beam.pvalue.AsSingleton(target)
        histograms = (
            read
            | "Count" >> beam.Map(_count, whole, columns)
            | "Merge" >> beam.CombineGlobally(_Merge())
        )
        sample = read | "Sample" >> beam.CombineGlobally(_Sample(columns, seed))
        shared = [
            read
            | f"Hash{kind}" >> beam.FlatMap(_hashed, whole, columns, kind)
            | f"Group{kind}" >> beam.GroupByKey()
            | f"Compare{kind}" >> beam.MapTuple(lambda key, parts: _compare(key[0], parts))
            for kind in ("rows", "entities")
        ]
        joined = shared | beam.Flatten() | beam.combiners.ToList()
        return histograms | "Judge" >> beam.Map(
            _judge, whole, beam.pvalue.AsSingleton(sample), beam.pvalue.AsSingleton(joined),
            columns, seed, limits,
        )  # fmt: skip


class _Values(beam.CombineFn):  # type: ignore[misc]
    """Some values of the label, the smallest and largest among them, and counts of the split."""

    def __init__(self, columns: _Columns) -> None:
        self.columns = columns

    def create_accumulator(self) -> list[Any]:
        return []

    def add_input(self, parts: list[Any], frame: pl.DataFrame) -> list[Any]:
        label, split = pl.col(self.columns.label), self.columns.split
        values = _some(frame.select(label.unique()))
        counts = None if split is None else frame.group_by(pl.col(split).alias("x")).len()
        return self.merge_accumulators([parts, [(values, counts)]])

    def merge_accumulators(self, many: Iterable[list[Any]]) -> list[Any]:
        parts = [part for made in many for part in made]
        if len(parts) < 2:
            return parts
        values, counts = zip(*parts, strict=True)
        added = None
        if counts[0] is not None:
            added = pl.concat(counts).group_by("x").agg(pl.col("len").sum())
        return [(_some(pl.concat(values).unique()), added)]

    def extract_output(self, parts: list[Any]) -> list[Any]:
        return parts


def _some(values: pl.DataFrame) -> pl.DataFrame:
    """Return the smaller half and the larger half of what is kept."""
    values = values.sort(pl.all())
    if values.height <= _VALUES:
        return values
    return pl.concat([values.head(_VALUES // 2), values.tail(_VALUES // 2)])


def _make_target(parts: list[Any], columns: _Columns) -> Target:
    if not parts:
        raise DataError("the table has no rows with a label")
    values, counts = parts[0]
    if columns.split is None:
        return target_of(values.lazy(), columns.label, None)
    target = target_of(values.lazy(), columns.label, None)
    return target.with_split(counts, columns.split)


def _count(frame: pl.DataFrame, target: Target, columns: _Columns) -> Histograms:
    return Histograms.of(frame.select(columns.features(frame)), target.labels(frame))


class _Merge(beam.CombineFn):  # type: ignore[misc]
    """Merges histograms."""

    def create_accumulator(self) -> Histograms | None:
        return None

    def add_input(self, whole: Histograms | None, part: Histograms) -> Histograms:
        return part if whole is None else whole.merge(part)

    def merge_accumulators(self, many: Iterable[Histograms | None]) -> Histograms | None:
        whole: Histograms | None = None
        for part in many:
            if part is not None:
                whole = self.add_input(whole, part)
        return whole

    def extract_output(self, whole: Histograms | None) -> Histograms | None:
        return whole


class _Sample(beam.CombineFn):  # type: ignore[misc]
    """The rows with the smallest hashes: of whole entities, where they are known."""

    def __init__(self, columns: _Columns, seed: int) -> None:
        self.columns, self.seed = columns, seed

    def create_accumulator(self) -> list[pl.DataFrame]:
        return []

    def add_input(self, parts: list[pl.DataFrame], frame: pl.DataFrame) -> list[pl.DataFrame]:
        entity = self.columns.entity
        own = hashes(sorted(frame.columns))
        first = own[0] if entity is None else pl.col(entity).hash(self.seed).alias("high")
        return self.merge_accumulators([parts, [frame.with_columns(first, own[1])]])

    def merge_accumulators(self, many: Iterable[list[pl.DataFrame]]) -> list[pl.DataFrame]:
        parts = [part for made in many for part in made]
        if not parts:
            return []
        return [pl.concat(parts).bottom_k(_SAMPLED, by=["high", "low"])]

    def extract_output(self, parts: list[pl.DataFrame]) -> pl.DataFrame | None:
        if not parts:
            return None
        sample = parts[0]
        if self.columns.entity is not None and sample.height == _SAMPLED:
            # The last entity may not be there as a whole.
            sample = sample.filter(pl.col("high") < pl.col("high").max())
        return sample.drop("high", "low")


def _hashed(
    frame: pl.DataFrame, target: Target, columns: _Columns, kind: str
) -> Iterator[tuple[tuple[str, int], pl.DataFrame]]:
    """Yield hashes and whether they are held out, by part of the hashes."""
    if target.split is None or (kind == "entities" and columns.entity is None):
        return
    if kind == "entities":
        frame, keyed = frame.drop_nulls(columns.entity), [str(columns.entity)]
    else:
        keyed = [*columns.features(frame), columns.label]
    made = frame.select(*hashes(keyed), target.held_out.alias(HELD_OUT))
    for (piece,), part in made.group_by(pl.col("high") % _PIECES):
        yield (kind, int(str(piece))), part


def _compare(kind: str, parts: Iterable[pl.DataFrame]) -> tuple[str, Shared]:
    return kind, counted(pl.concat(list(parts)).lazy(), by_row=kind == "rows")


def _judge(
    histograms: Histograms, target: Target, sample: pl.DataFrame,
    shared: Iterable[tuple[str, Shared]], columns: _Columns, seed: int, limits: Thresholds,
) -> Scan:  # fmt: skip
    rows = open_rows(sample, **columns.roles)
    added: dict[str, Shared] = {}
    for kind, part in shared:
        before = added.get(kind, Shared(0, 0, 0, 0))
        added[kind] = Shared(*(sum(pair) for pair in zip(before, part, strict=True)))
    return conclude(replace(rows, target=target), histograms, added, limits, seed, sampled=True)
