"""The closed set of statistics that full-pass operations are made of.

A statistic is fitted by a generator that yields one question at a time and receives its answer.
The engine reads the training rows in batches, puts the questions of all statistics of a level to
each batch, and merges what it gets, so that one pass answers them all and nothing grows with the
rows. Most statistics ask once; quantiles of values that hardly repeat ask a second time.

Each statistic sees one column, named `x`, of training rows only, with nulls and non-finite numbers
still in it; all skip both. Those of the label see more: `targets.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import polars as pl

from featurekit.types import FLOAT32, FLOAT64, INT64, Type

__all__ = [
    "MAX_WORDS", "EmptyColumn", "Extremes", "ExtremesValue", "Fitting", "Moments", "MomentsValue",
    "MostFrequent", "MostFrequentValue", "Quantiles", "QuantilesValue", "Question", "Statistic",
    "WordCounts", "WordCountsValue",
]  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What a statistic asks of the rows, batch by batch.

    Args:
        answer: Makes the query that answers it for one batch, a frame with the column `x`.
        merge: Turns the answers for some batches, one below the other in the order of the rows,
            into the answer for all of them; by default they stay side by side.
        ordered: Whether its sums are rounded: a batch is then added up in the order of its rows,
            so that every run gives the same bits.
    """

    answer: Callable[[pl.DataFrame], pl.LazyFrame]
    merge: Callable[[pl.DataFrame], pl.DataFrame] = lambda answers: answers
    ordered: bool = False


Fitting = Generator[Question, pl.DataFrame, Any]
"""Yields questions, receives their answers, returns the fitted value."""

MAX_WORDS = 500_000
"""The most distinct words that a vocabulary without `top_k` may keep."""

_BIN_BITS = {FLOAT32: 12, FLOAT64: 40, INT64: 40}
"""A first histogram for quantiles groups numbers by all but so many low bits (integers by those of
their nearest float64): 4,096 bins for each power of 2, half of that for float32."""

_COLLECT = 1 << 18
"""Up to so many candidates for a column's quantiles are counted singly; more are split into about
as many bins."""

_PROBED = 8_192
"""So many values of a batch show whether its values repeat."""


class EmptyColumn(ValueError):
    """A statistic met no value that it could use."""

    def __init__(self, message: str = "") -> None:
        nothing = "the training rows hold no value here (all are missing or not finite)"
        super().__init__(message or nothing)


@dataclass(frozen=True)
class Statistic:
    """The root of all statistics; their fields are their parameters."""

    value: ClassVar[type]
    reads: ClassVar[tuple[str, ...]] = ("x",)
    """The columns that it sees."""
    of_words: ClassVar[bool] = False
    """Whether words are looked up in it, so that what uses it has a lookup table of its own."""

    def fit(self, of: Type) -> Fitting:
        """Fit over a column `x` of a type.

        Raises:
            ValueError: The column has no usable value, or too many distinct ones.
        """
        raise TypeError(f"{type(self).__name__} cannot be fitted")

    def restored(self, data: dict[str, Any]) -> Any:
        """Rebuild a fitted value from plain data, as `dataclasses.asdict` gave it."""
        made = {
            name: tuple(item) if isinstance(item, list) else item for name, item in data.items()
        }
        return self.value(**made)


@dataclass(frozen=True)
class MomentsValue:
    """Count of finite values, their mean, and their population variance, in float64."""

    count: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Moments(Statistic):
    """Count, mean and population variance of the finite values, the same bits in every run.

    The parts are put together as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances", 1979.
    """

    value = MomentsValue

    def fit(self, of: Type) -> Fitting:
        whole = of == INT64
        answers = yield Question(_whole_moments if whole else _float_moments, ordered=True)
        parts = [row for row in answers.iter_rows() if row[0]]
        _need(parts)
        counts, lows, highs, means, variances = zip(*parts, strict=True)
        total, low = sum(counts), min(lows)
        if low == max(highs):
            # Rounding leaves a tiny variance, and with it a z-score of any size.
            return MomentsValue(total, low + 0.0, 0.0)  # The addition makes -0.0 0.0.
        if whole:
            means = tuple(start - low + mean for start, mean in zip(lows, means, strict=True))
        mean = sum(n * part for n, part in zip(counts, means, strict=True)) / total
        squares = [
            n * (variance + (part - mean) * (part - mean))
            for n, part, variance in zip(counts, means, variances, strict=True)
        ]
        variance = sum(squares) / total
        if not math.isfinite(variance):
            raise ValueError("the squares of its values are beyond the range of float64")
        return MomentsValue(total, low + mean if whole else mean, variance)


def _float_moments(batch: pl.DataFrame) -> pl.LazyFrame:
    x = pl.col("x")
    finite = batch.lazy().select(pl.when(x.is_finite()).then(x).cast(pl.Float64))
    return finite.select(
        count=x.count(), low=x.min(), high=x.max(), mean=x.mean(), variance=x.var(ddof=0)
    )


def _whole_moments(batch: pl.DataFrame) -> pl.LazyFrame:
    """Answer with the mean of the distances from the lowest value: those are exact in float64."""
    x, above = pl.col("x"), pl.col("above")
    # The difference of two int64 fits in a uint64.
    distance = x.reinterpret(dtype=pl.UInt64) - x.min().reinterpret(dtype=pl.UInt64)
    shifted = batch.lazy().select("x", above=distance.cast(pl.Float64))
    return shifted.select(
        count=x.count(), low=x.min(), high=x.max(), mean=above.mean(), variance=above.var(ddof=0)
    )


@dataclass(frozen=True)
class ExtremesValue:
    """The smallest and the largest finite value, in float64 (integers exactly)."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class Extremes(Statistic):
    """Minimum and maximum of the finite values."""

    value = ExtremesValue

    def fit(self, of: Type) -> Fitting:
        low, high = pl.col("low"), pl.col("high")
        answer = yield Question(
            lambda batch: (
                batch.lazy().select(low=_finite(of), high=_finite(of)).select(low.min(), high.max())
            ),
            lambda answers: answers.select(low.min(), high.max()),
        )
        minimum, maximum = answer.row(0)
        _need(minimum is not None)
        return ExtremesValue(minimum + 0, maximum + 0)  # The addition makes -0.0 0.0.


@dataclass(frozen=True)
class QuantilesValue:
    """Exact quantiles, one for each asked probability, in order; values of the column's type."""

    count: int
    boundaries: tuple[float, ...]

    def boundary(self, place: int) -> Any:
        """Return one boundary; of statistics of many columns, those of all, [columns, 1]."""
        if isinstance(self.boundaries, tuple):
            return self.boundaries[place]
        return self.boundaries[:, place : place + 1]


@dataclass(frozen=True)
class Quantiles(Statistic):
    """Exact quantiles of the finite values, in memory that does not grow with the rows.

    With N values in order, boundary i of n is `sorted[floor(N * i / n)]` for i = 1 .. n-1; with
    `linear` it is interpolated between the two values around rank `(N - 1) * i / n` (definition 7
    of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996).

    Values are counted by the high bits of their floating-point form. Where a bin holds a single
    distinct value (its smallest equals its largest), its ranks are settled; only the bins around
    an asked rank that hold more are looked at again.

    Args:
        parts: n, the number of parts of equal size.
        linear: Whether to interpolate.
    """

    parts: int
    linear: bool = False
    value = QuantilesValue

    def fit(self, of: Type) -> Fitting:
        width = 1 << _BIN_BITS[of]
        answer = yield _binned(of, width)
        # Null, NaN and the infinities have bins of their own.
        bins = answer.filter(pl.col("low").is_finite()).sort("low", "high")
        total = int(bins["count"].sum())
        _need(total)
        ranks = sorted({rank for part in self.ranks(total) for rank in part[:2]})
        found: dict[int, float] = {}
        while (holding := _settle(bins, ranks, found)).len():
            bins, width = yield from _refine(of, bins, holding, width)
        boundaries = tuple(
            found[low] if weight == 0 else _between(found[low], found[high], weight)
            for low, high, weight in self.ranks(total)
        )
        return QuantilesValue(total, boundaries)

    def ranks(self, total: int) -> list[tuple[int, int, float]]:
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
    """The kept words with their counts, the most frequent first.

    Args:
        words: The words.
        counts: How often each occurs.
        distinct: How many distinct words there were.
        excluded: The most frequent of the values that a line of text cannot hold.
        excluded_words: How many such values there were,
        excluded_rows: and in how many rows.
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    distinct: int
    excluded: tuple[str, ...] = ()
    excluded_words: int = 0
    excluded_rows: int = 0

    @property
    def size(self) -> int:
        """How many words are kept."""
        return len(self.words)


@dataclass(frozen=True)
class WordCounts(Statistic):
    """Distinct words with their counts, by count descending, ties by descending byte order.

    This order, and what is a word of a line, are those of tf.Transform's vocabularies.

    Args:
        top_k: Keep so many at most; `None` for all, up to `MAX_WORDS`.
        frequency_threshold: Keep only words seen at least so often.
        every: Whether every text is a word. Else a word is what a line of a text file can hold:
            empty strings and strings with a line end are left out, counted, and named.
    """

    top_k: int | None = None
    frequency_threshold: int = 0
    every: bool = False
    value = WordCountsValue
    of_words = True

    def fit(self, of: Type) -> Fitting:
        return self.value_of((yield _counted(pl.col("x"))))

    def value_of(self, counts: pl.DataFrame) -> WordCountsValue:
        """Return the fitted value, given each value `x` of the column and its `count`.

        Raises:
            ValueError: There is no word, or there are too many.
        """
        found = counts.drop_nulls("x")
        excluded = found.clear()
        if not self.every:
            excluded, found = found.filter(~_IN_A_LINE), found.filter(_IN_A_LINE)
        if excluded.height and not found.height:
            raise EmptyColumn(
                "the training rows hold no word that a line of text can hold: all are empty, have "
                'line ends, or are missing; with file_format="tfrecord_gzip" they are words'
            )
        _need(found.height)
        kept = found.filter(pl.col("count") >= self.frequency_threshold)
        if self.top_k is None and kept.height > MAX_WORDS:
            raise ValueError(
                f"{kept.height:,} distinct values are more than a vocabulary without top_k may "
                f"hold ({MAX_WORDS:,}); give top_k or frequency_threshold"
            )
        kept = _most_frequent_first(kept)
        if self.top_k is not None:
            kept = kept.head(self.top_k)
        excluded = _most_frequent_first(excluded)
        return WordCountsValue(
            tuple(kept["x"].to_list()), tuple(kept["count"].to_list()), found.height,
            tuple(excluded["x"].head(_NAMED).to_list()), excluded.height,
            int(excluded["count"].sum()),
        )  # fmt: skip


def _most_frequent_first(counts: pl.DataFrame) -> pl.DataFrame:
    # Polars compares strings by their UTF-8 bytes.
    return counts.sort(["count", "x"], descending=[True, True])


_IN_A_LINE = (pl.col("x") != "") & ~pl.col("x").str.contains_any(["\n", "\r"])
"""Whether a line of a text file can hold a word."""

_NAMED = 10
"""So many of the words that are left out are named."""


@dataclass(frozen=True)
class MostFrequentValue:
    """The most frequent value and how often it was seen."""

    value: Any
    count: int


@dataclass(frozen=True)
class MostFrequent(Statistic):
    """The most frequent value; among equally frequent ones the smallest, as in scikit-learn."""

    value = MostFrequentValue

    def fit(self, of: Type) -> Fitting:
        return self.value_of((yield _counted(_finite(of))))

    def value_of(self, counts: pl.DataFrame) -> MostFrequentValue:
        """Return the fitted value, given each finite value `x` of the column and its `count`.

        Raises:
            EmptyColumn: There is none.
        """
        counts = counts.drop_nulls("x")
        _need(counts.height)
        value, count = counts.sort(["count", "x"], descending=[True, False]).row(0)
        if isinstance(value, float):
            value += 0.0  # Makes -0.0 0.0, which it equals.
        return MostFrequentValue(value, count)


def _finite(of: Type) -> pl.Expr:
    x = pl.col("x")
    return pl.when(x.is_finite()).then(x) if of.is_float else x


def _need(count: object) -> None:
    if not count:
        raise EmptyColumn


def _between(low: float, high: float, weight: float) -> float:
    return low + (high - low) * weight


def _counted(x: pl.Expr) -> Question:
    """Ask how often each value occurs."""
    count = pl.len().cast(pl.UInt64)
    return Question(
        lambda batch: batch.lazy().group_by(x=x).agg(count=count),
        lambda answers: answers.group_by("x").agg(pl.col("count").sum()),
    )


def _bits(of: Type) -> pl.Expr:
    """The bits of x as a float: sign, exponent, mantissa. Numbers of equal high bits are close."""
    if of == FLOAT32:
        return _one_zero(of).reinterpret(dtype=pl.UInt32)
    return _one_zero(of).cast(pl.Float64).reinterpret(dtype=pl.UInt64)


def _one_zero(of: Type) -> pl.Expr:
    """x, where -0.0 is 0.0: they are equal, and grouping would take one for the other."""
    x = pl.col("x")
    # Polars takes x + 0.0 for x.
    return pl.when(x == 0).then(0.0).otherwise(x) if of.is_float else x


def _binned(
    of: Type, width: int | None, within: pl.Series | None = None, outer: int = 0
) -> Question:
    """Ask for the numbers by bins of their bits: how many, the smallest and the largest.

    Args:
        of: The type of the numbers.
        width: That of a bin, a power of two; `None` counts each number singly.
        within: Ask only for the numbers that fall in these bins,
        outer: which have this width.
    """
    x = _one_zero(of)

    def answer(batch: pl.DataFrame) -> pl.LazyFrame:
        rows, count = batch.lazy(), pl.len().cast(pl.UInt64)
        if within is not None:
            rows = rows.filter((_bits(of) // outer).is_in(within.implode()))
        elif batch["x"].head(_PROBED).n_unique() < _PROBED // 4:
            # Where values repeat, counting them first is faster.
            rows, count = rows.group_by("x").agg(count=count), pl.col("count").sum()
        by = x if width is None else _bits(of) // width
        return rows.group_by(bin=by).agg(count=count, low=x.min(), high=x.max())

    def merge(answers: pl.DataFrame) -> pl.DataFrame:
        count, low, high = pl.col("count").sum(), pl.col("low").min(), pl.col("high").max()
        return answers.group_by("bin").agg(count, low, high)

    return Question(answer, merge)


def _settle(bins: pl.DataFrame, ranks: Sequence[int], found: dict[int, float]) -> pl.Series:
    """Find the ranks that fall in bins of one number; return where the other ranks' bins are."""
    ends = bins["count"].cast(pl.Int64).cum_sum()
    wanted = pl.Series([rank for rank in ranks if rank not in found], dtype=pl.Int64)
    places = ends.search_sorted(wanted, side="right")
    holding = bins[places]
    single = holding["low"] == holding["high"]
    # The addition makes -0.0 0.0.
    numbers = (low + 0 for low in holding["low"].filter(single))
    found.update(zip(wanted.filter(single), numbers, strict=True))
    return places.filter(~single).unique()


def _refine(
    of: Type, bins: pl.DataFrame, holding: pl.Series, width: int
) -> Generator[Question, pl.DataFrame, tuple[pl.DataFrame, int]]:
    """Replace some bins, all of one width, by finer ones; return all in order, and the width."""
    opened = bins[holding]
    values = width * opened.height
    if of == INT64:
        values = sum(high - low + 1 for low, high in opened.select("low", "high").iter_rows())
    finer: int | None = None
    if min(values, opened["count"].sum()) > _COLLECT and width > 1:
        finer = max(width // max(_COLLECT // opened.height, 16), 1)
        finer = 1 << finer.bit_length() - 1
    split = yield _binned(of, finer, opened["bin"], width)
    rest = bins.with_row_index("place").filter(~pl.col("place").is_in(holding.implode()))
    columns = ["bin", "count", "low", "high"]
    # Only the new bins can hold a rank that is not found yet; the numbers of the others are void.
    rest = rest.with_columns(bin=pl.lit(None, dtype=split.schema["bin"])).select(columns)
    return pl.concat([rest, split.select(columns)]).sort("low", "high"), finer or 1
