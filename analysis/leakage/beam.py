"""The leakage scan as a Beam transform over Arrow record batches.

A first pass counts the rows and how they are spread over time. The histograms are those of the
embedded engine, merged by a `CombineFn`, and so are the numbers that tell scalings; hashes of all
rows are grouped part by part, whole batches at a time. What needs rows side by side is judged on
some of them. Which ones is the same decision as in the embedded engine: all rows of some entities,
or some stretches of time with all rows in them. There they serve for all that is looked at again
(pairs, encodings within a category and parts of identifiers, too); without entities and time these
are single rows, chosen by a hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featurekit.errors import require

require("apache_beam", "beam", "a Beam pipeline")

import apache_beam as beam  # noqa: E402
import polars as pl  # noqa: E402

from featurekit.analysis.given import has_label, named  # noqa: E402
from featurekit.analysis.leakage.histograms import Histograms  # noqa: E402
from featurekit.analysis.leakage.kinds import Thresholds  # noqa: E402
from featurekit.analysis.leakage.sampling import ROWS, moment  # noqa: E402
from featurekit.analysis.leakage.scaled import Spreads, spreads  # noqa: E402
from featurekit.analysis.leakage.scan import Scan, conclude  # noqa: E402
from featurekit.analysis.leakage.splits import (  # noqa: E402
    HELD_OUT,
    Shared,
    counted,
    hashes,
    without,
)
from featurekit.analysis.leakage.survey import Survey, Surveyed, survey  # noqa: E402
from featurekit.analysis.leakage.table import open_rows, readable  # noqa: E402
from featurekit.analysis.times import as_time  # noqa: E402
from featurekit.errors import DataError  # noqa: E402

__all__ = ["LeakageScan"]

_PIECES = 64
_ORDER = ("\0most", "\0first", "\0then")
"""How many rows are kept at most, and which of them go first."""
_MOST = 4 * ROWS
"""Of entities and stretches no more rows than that are kept, however uneven they are."""


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
        if self.time is not None and self.time != self.label:
            columns = [column for column in columns if column.meta.output_name() != self.time]
            columns.append(as_time(frame.lazy(), self.time, frame.schema[self.time]))
        known = has_label(self.label, frame.schema[self.label])
        return frame.filter(known).select(columns)

    def features(self, frame: pl.DataFrame) -> list[str]:
        return [name for name in frame.columns if name not in self.roles.values()]

    def survey(self, frame: pl.DataFrame) -> Survey:
        return survey(frame, self.features(frame), **self._every_role())

    def conclude(self, found: Survey | None) -> Surveyed:
        """Raise a `DataError` where there is nothing to look at."""
        if found is None:
            raise DataError("the table has no rows with a label")
        return found.conclude(**self._every_role())

    def _every_role(self) -> dict[str, Any]:
        return {role: getattr(self, role) for role in ("label", "split", "entity", "time")}


class LeakageScan(beam.PTransform):  # type: ignore[misc]
    """Scans a table for leaks; see `scan` for the arguments and what is found.

    Rows are Arrow record batches or tables with the same columns, as
    `beam.io.ReadFromParquetBatched` gives them.

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
        time: str | None = None, exclude: Sequence[str] = (), in_time: bool | None = None,
        seed: int = 0, thresholds: Thresholds | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.columns = _Columns(label, split, entity, time, tuple(exclude))
        self.in_time, self.seed, self.limits = in_time, seed, thresholds or Thresholds()

    def expand(self, rows: Any) -> Any:
        """Add the steps to the pipeline."""
        columns, seed = self.columns, self.seed
        read = rows | "Read" >> beam.Map(columns.read)
        surveyed = (
            read
            | "Survey" >> beam.Map(columns.survey)
            | "MergeSurveys" >> beam.CombineGlobally(_Merge())
            | "Decide" >> beam.Map(columns.conclude)
        )
        whole = beam.pvalue.AsSingleton(surveyed)
        histograms = (
            read
            | "Count" >> beam.Map(_count, whole, columns)
            | "MergeCounts" >> beam.CombineGlobally(_Merge())
        )
        spread = (
            read
            | "Spread" >> beam.Map(_spread, whole, columns)
            | "MergeSpreads" >> beam.CombineGlobally(_Merge())
        )
        sample = (
            read
            | "Choose" >> beam.Map(_chosen, whole, columns, seed)
            | "Sample" >> beam.CombineGlobally(_Smallest())
        )
        shared = [
            read
            | f"Hash{kind}" >> beam.FlatMap(_hashed, whole, columns, kind)
            | f"Group{kind}" >> beam.GroupByKey()
            | f"Compare{kind}" >> beam.MapTuple(lambda key, parts: _compare(key[0], parts))
            for kind in ("rows", "entities")
        ]
        joined = shared | beam.Flatten() | beam.combiners.ToList()
        sides = [beam.pvalue.AsSingleton(side) for side in (spread, sample, joined)]
        return histograms | "Judge" >> beam.Map(
            _judge, whole, *sides, columns, seed, self.limits, self.in_time
        )


class _Merge(beam.CombineFn):  # type: ignore[misc]
    """Merges what has a `merge` of its own; `None` where there is nothing."""

    def create_accumulator(self) -> Any:
        return None

    def add_input(self, whole: Any, part: Any) -> Any:
        return part if whole is None else whole.merge(part)

    def merge_accumulators(self, many: Iterable[Any]) -> Any:
        whole = None
        for part in many:
            if part is not None:
                whole = self.add_input(whole, part)
        return whole

    def extract_output(self, whole: Any) -> Any:
        return whole


def _count(frame: pl.DataFrame, whole: Surveyed, columns: _Columns) -> Histograms:
    labels = whole.target.labels(frame)
    return Histograms.of(frame.select(named(*columns.features(frame))), labels)


def _spread(frame: pl.DataFrame, whole: Surveyed, columns: _Columns) -> Spreads:
    """Return the numbers of all columns that a scaling could have made."""
    names = [] if whole.target.split is None else columns.features(frame)
    names = [name for name in names if frame.schema[name].is_float()]
    return spreads(frame.lazy(), names, whole.target)


def _chosen(frame: pl.DataFrame, whole: Surveyed, columns: _Columns, seed: int) -> pl.DataFrame:
    """Return the rows to look at side by side, and which of them go first (`_ORDER`)."""
    first, then = hashes(sorted(frame.columns))
    beside = whole.beside
    if beside.of == "entities":
        first = named(str(columns.entity)).hash(seed)
    elif beside.of == "stretches":
        first = moment(str(columns.time))
    most = pl.lit(ROWS if beside.of == "rows" else _MOST, pl.Int64)
    order = zip(_ORDER, (most, first, then), strict=True)
    return frame.filter(beside.kept(seed)).with_columns(by.alias(name) for name, by in order)


class _Smallest(beam.CombineFn):  # type: ignore[misc]
    """The rows that go first, no more than they say themselves."""

    def create_accumulator(self) -> list[pl.DataFrame]:
        return []

    def add_input(self, parts: list[pl.DataFrame], frame: pl.DataFrame) -> list[pl.DataFrame]:
        return self.merge_accumulators([parts, [frame]])

    def merge_accumulators(self, many: Iterable[list[pl.DataFrame]]) -> list[pl.DataFrame]:
        parts = [part for made in many for part in made]
        if not parts:
            return []
        rows = pl.concat(parts)
        most = rows[_ORDER[0]].max() if rows.height else 0
        return [rows.bottom_k(int(str(most)), by=list(_ORDER[1:]))]

    def extract_output(self, parts: list[pl.DataFrame]) -> pl.DataFrame | None:
        return parts[0].drop(*_ORDER) if parts else None


def _hashed(
    frame: pl.DataFrame, whole: Surveyed, columns: _Columns, kind: str
) -> Iterator[tuple[tuple[str, int], pl.DataFrame]]:
    """Yield hashes and whether they are held out, by part of the hashes."""
    target = whole.target
    if target.split is None or (kind == "entities" and columns.entity is None):
        return
    if kind == "entities":
        keyed = [str(columns.entity)]
        frame = frame.filter(named(*keyed).is_not_null())
    else:
        keyed = [*without(columns.features(frame), whole.row_names), columns.label]
    made = frame.select(*hashes(keyed), target.held_out.alias(HELD_OUT))
    for (piece,), part in made.group_by(pl.col("high") % _PIECES):
        yield (kind, int(str(piece))), part


def _compare(kind: str, parts: Iterable[pl.DataFrame]) -> tuple[str, Shared]:
    return kind, counted(pl.concat(list(parts)).lazy(), by_row=kind == "rows")


def _judge(
    histograms: Histograms, whole: Surveyed, spread: Spreads, sample: pl.DataFrame,
    shared: Iterable[tuple[str, Shared]], columns: _Columns, seed: int, limits: Thresholds,
    in_time: bool | None,
) -> Scan:  # fmt: skip
    rows = replace(open_rows(sample, **columns.roles), target=whole.target)
    added: dict[str, Shared] = {}
    for kind, part in shared:
        before = added.get(kind, Shared(0, 0, 0, 0))
        added[kind] = Shared(*(sum(pair) for pair in zip(before, part, strict=True)))
    known = None if whole.target.split is None else spread
    return conclude(
        rows, histograms, added, known, whole.beside, limits, seed, in_time, sample.height
    )
