"""The closed set of statistics that full-pass operations are made of.

A statistic is fitted by a generator that yields one lazy query at a time and receives its answer:
the engine runs the queries of all statistics of a level together, in one pass over the data, and
goes on until each generator has returned its value. Most need one pass; quantiles of values that
hardly repeat need a second one. No query holds a column in memory.

Each statistic sees one column, named `x`, of training rows only, with nulls and non-finite numbers
still in it; all skip both.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import polars as pl

from featurekit.types import FLOAT32, FLOAT64, Type

__all__ = [
    "Extremes", "ExtremesValue", "Fitting", "Moments", "MomentsValue", "MostFrequent", "MostFrequentValue",
    "Quantiles", "QuantilesValue", "Statistic", "WordCounts", "WordCountsValue", "MAX_WORDS",
    "statistic_value",
]  # fmt: skip

Fitting = Generator[pl.LazyFrame, pl.DataFrame, Any]
"""Yields queries, receives their answers, returns the fitted value."""

MAX_WORDS = 500_000
"""The most distinct words that a vocabulary without `top_k` may keep."""

_BIN_BITS = 12
"""A first quantile histogram groups float32 values by all but this many low bits."""

_COLLECT = 1 << 18
"""So many candidate values of a column's quantiles are counted singly instead of in bins; more are
split into about as many bins."""


class EmptyColumn(ValueError):
    """A statistic met no value that it could use."""


@dataclass(frozen=True)
class Statistic:
    """The root of all statistics; their fields are their parameters."""

    value: ClassVar[type]

    def fit(self, column: pl.LazyFrame, of: Type) -> Fitting:
        """Fit over the column `x` of a lazy frame.

        Raises:
            ValueError: The column has no usable value, or too many distinct ones.
        """
        raise TypeError(f"{type(self).__name__} cannot be fitted")


@dataclass(frozen=True)
class MomentsValue:
    """Count of finite values, their mean, and their population variance, in float64."""

    count: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Moments(Statistic):
    """Count, mean and population variance of the finite values."""

    value = MomentsValue

    def fit(self, column: pl.LazyFrame, of: Type) -> Fitting:
        x = _finite(of).cast(pl.Float64)
        answer = yield column.select(
            count=x.count(), mean=x.mean(), variance=x.var(ddof=0), low=x.min(), high=x.max()
        )
        count, mean, variance, low, high = answer.row(0)
        _need(count)
        if low == high:
            # Rounding leaves a tiny variance, and with it a z-score of any size.
            return MomentsValue(count, low, 0.0)
        return MomentsValue(count, mean, max(variance, 0.0))


@dataclass(frozen=True)
class ExtremesValue:
    """The smallest and the largest finite value, in float64 (integers exactly)."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class Extremes(Statistic):
    """Minimum and maximum of the finite values."""

    value = ExtremesValue

    def fit(self, column: pl.LazyFrame, of: Type) -> Fitting:
        x = _finite(of)
        answer = yield column.select(minimum=x.min(), maximum=x.max())
        minimum, maximum = answer.row(0)
        _need(minimum is not None)
        return ExtremesValue(minimum, maximum)


@dataclass(frozen=True)
class QuantilesValue:
    """Exact quantiles, one for each asked probability, in order; values of the column's type."""

    count: int
    boundaries: tuple[float, ...]


@dataclass(frozen=True)
class Quantiles(Statistic):
    """Exact quantiles of the finite values, in memory that does not grow with the rows.

    With N values in order, boundary i of n is `sorted[floor(N * i / n)]` for i = 1 .. n-1; with
    `linear` it is interpolated between the two values around rank `(N - 1) * i / n` (definition 7
    of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996).

    Values are mapped to integers of the same order and counted by their high bits. Where a bin
    holds a single distinct value (its smallest equals its largest), its ranks are settled; only
    the bins around an asked rank that hold more are looked at again.

    Args:
        parts: n, the number of parts of equal size.
        linear: Whether to interpolate.
    """

    parts: int
    linear: bool = False
    value = QuantilesValue

    def fit(self, column: pl.LazyFrame, of: Type) -> Fitting:
        order = _Order(of)
        keys = column.select(key=order.key(_finite(of))).drop_nulls()
        width = order.bin_width
        bins = yield _binned(keys, width)
        total = int(bins["count"].sum())
        _need(total)
        ranks = sorted({rank for part in self._ranks(total) for rank in part[:2]})
        found: dict[int, int] = {}
        while (open_bins := _settle(bins.sort("low"), ranks, found)).height:
            bins, width = yield from _refine(keys, bins, open_bins, width)
        values = {rank: order.value(key) for rank, key in found.items()}
        boundaries = tuple(
            values[low] if weight == 0 else _between(values[low], values[high], weight)
            for low, high, weight in self._ranks(total)
        )
        return QuantilesValue(total, boundaries)

    def _ranks(self, total: int) -> list[tuple[int, int, float]]:
        """For each boundary: the ranks below and above it, and the weight of the upper one."""
        out = []
        for i in range(1, self.parts):
            if not self.linear:
                rank = total * i // self.parts
                out.append((rank, rank, 0.0))
                continue
            exact = Fraction((total - 1) * i, self.parts)
            low = int(exact)
            out.append((low, min(low + 1, total - 1), float(exact - low)))
        return out


@dataclass(frozen=True)
class WordCountsValue:
    """The kept words with their counts, the most frequent first, and how many distinct there were."""

    words: tuple[str, ...]
    counts: tuple[int, ...]
    distinct: int


@dataclass(frozen=True)
class WordCounts(Statistic):
    """Distinct words with their counts, by count descending, ties by descending byte order.

    Empty strings and strings with a line break are not words. Both this and the order are those of
    tf.Transform's vocabularies.

    Args:
        top_k: Keep so many at most; `None` for all, up to `MAX_WORDS`.
        frequency_threshold: Keep only words seen at least so often.
    """

    top_k: int | None = None
    frequency_threshold: int = 0
    value = WordCountsValue

    def fit(self, column: pl.LazyFrame, of: Type) -> Fitting:
        counted = column.filter(pl.col("x").is_not_null() & (pl.col("x") != "")).group_by("x").len()
        answer = yield counted.filter(~pl.col("x").str.contains_any(["\n", "\r"]))
        distinct = answer.height
        _need(distinct)
        kept = answer.filter(pl.col("len") >= self.frequency_threshold)
        if self.top_k is None and kept.height > MAX_WORDS:
            raise ValueError(
                f"{kept.height:,} distinct values are more than a vocabulary without top_k may "
                f"hold ({MAX_WORDS:,}); give top_k or frequency_threshold"
            )
        # Polars compares strings by their UTF-8 bytes.
        kept = kept.sort(["len", "x"], descending=[True, True])
        if self.top_k is not None:
            kept = kept.head(self.top_k)
        return WordCountsValue(tuple(kept["x"].to_list()), tuple(kept["len"].to_list()), distinct)


@dataclass(frozen=True)
class MostFrequentValue:
    """The most frequent value and how often it was seen."""

    value: Any
    count: int


@dataclass(frozen=True)
class MostFrequent(Statistic):
    """The most frequent value; among equally frequent ones the smallest, as in scikit-learn."""

    value = MostFrequentValue

    def fit(self, column: pl.LazyFrame, of: Type) -> Fitting:
        x = _finite(of)
        answer = yield (
            column.select(x=x).drop_nulls().group_by("x").len().bottom_k(1, by=[-pl.col("len").cast(pl.Int64), "x"])
        )
        _need(answer.height)
        value, count = answer.row(0)
        return MostFrequentValue(value, count)


def statistic_value(kind: str, data: dict[str, Any]) -> Any:
    """Rebuild a fitted value from plain data, as `dataclasses.asdict` gave it."""
    kinds: dict[str, type[Statistic]] = {
        entry.__name__: entry for entry in (Moments, Extremes, Quantiles, WordCounts, MostFrequent)
    }
    made: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in data.items()
    }
    return kinds[kind].value(**made)


def _finite(of: Type) -> pl.Expr:
    x = pl.col("x")
    return pl.when(x.is_finite()).then(x) if of.is_float else x


def _need(count: object) -> None:
    if not count:
        raise EmptyColumn("the training rows hold no value here (all are missing or not finite)")


def _between(low: float, high: float, weight: float) -> float:
    return low + (high - low) * weight


class _Order:
    """Maps a number type to unsigned integers of the same order, and back."""

    def __init__(self, of: Type) -> None:
        self.of = of
        self.bits = 32 if of == FLOAT32 else 64
        self.unsigned = pl.UInt32() if of == FLOAT32 else pl.UInt64()
        self.bin_width = 1 << (_BIN_BITS + self.bits - 32)

    def key(self, x: pl.Expr) -> pl.Expr:
        """Float bits read as integers order like the floats, once negatives are flipped."""
        sign = pl.lit(1 << (self.bits - 1), dtype=self.unsigned)
        if self.of in (FLOAT32, FLOAT64):
            # -0.0 becomes 0.0, so that the two count as one value (Polars drops the addition of 0).
            bits = pl.when(x != 0).then(x).otherwise(x.abs()).reinterpret(dtype=self.unsigned)
            return pl.when(bits >= sign).then(bits ^ pl.lit((1 << self.bits) - 1, dtype=self.unsigned)).otherwise(bits ^ sign)
        return x.reinterpret(dtype=pl.UInt64) ^ sign

    def value(self, key: int) -> float:
        """Return the number that `key` mapped to an integer."""
        sign = 1 << (self.bits - 1)
        if self.of not in (FLOAT32, FLOAT64):
            return key - sign
        bits = key ^ sign if key >= sign else key ^ ((1 << self.bits) - 1)
        whole = pl.Series([bits], dtype=self.unsigned)
        return float(whole.reinterpret(dtype=pl.Float32 if self.bits == 32 else pl.Float64)[0])


def _binned(keys: pl.LazyFrame, width: int) -> pl.LazyFrame:
    """Group keys by intervals of a width: how many each holds, the smallest and the largest."""
    key = pl.col("key")
    return (
        keys.group_by(bin=key // width)
        .agg(count=pl.len(), low=key.min(), high=key.max())
        .select("count", "low", "high")
    )


def _settle(bins: pl.DataFrame, ranks: Sequence[int], found: dict[int, int]) -> pl.DataFrame:
    """Find the ranks that fall in bins of one value; return the other bins that hold a rank."""
    ends = bins["count"].cast(pl.Int64).cum_sum()
    wanted = pl.Series([rank for rank in ranks if rank not in found], dtype=pl.Int64)
    holding = bins[ends.search_sorted(wanted, side="right")]
    single = holding["low"] == holding["high"]
    found.update(zip(wanted.filter(single), holding["low"].filter(single), strict=True))
    return holding.filter(~single).unique("low")


def _refine(
    keys: pl.LazyFrame, bins: pl.DataFrame, open_bins: pl.DataFrame, width: int
) -> Generator[pl.LazyFrame, pl.DataFrame, tuple[pl.DataFrame, int]]:
    """Replace the open bins, all of one width, by finer ones; return all bins and the new width.

    Widths are powers of two, so that every bin lies within one of the pass before.
    """
    finer = 1
    if open_bins["count"].sum() > _COLLECT:
        parts = max(_COLLECT // open_bins.height, 16)
        span = int((open_bins["high"] - open_bins["low"]).max())  # type: ignore[arg-type]
        finer = 1 << (span // parts).bit_length()
    chosen = (open_bins["low"] // width).implode()
    split = yield _binned(keys.filter((pl.col("key") // width).is_in(chosen)), finer)
    rest = bins.join(open_bins, on="low", how="anti")
    return pl.concat([rest, split]), finer
