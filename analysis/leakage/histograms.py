"""How labels are spread over the values of each column: one pass, parts that merge exactly.

A number is kept as its float64's sign and highest bits. `level` low bits are dropped, the fewest
that leave at most `LIMIT` distinct keys: none for a column of few values, whose bins are the values
themselves. More values only ever raise the level, so a part never drops more bits than the whole
does, and merged parts equal one pass bit for bit, whatever their order. (The idea of raising the
resolution's level is UDDSketch's: Epicoco et al., "UDDSketch: Accurate Tracking of Quantiles in
Data Streams", 2020.) A word is kept as its hash, on the same terms; while no bit is dropped, the
words are known too. Missing, NaN and the infinities have bins of their own.

Ranks are lost only among numbers of one bin. Of a column that has 8,192 bins and nowhere piles up
its values, they change the area under the ROC curve by well under 0.001; `strength.auc` says by
how much at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["INFINITE", "LIMIT", "MISSING", "NAN", "Bins", "Histograms", "Labels", "bin_column"]

LIMIT = 8192
"""A column keeps at most so many bins."""

MISSING, NAN, NEGATIVE, INFINITE = range(4)
"""The places in `Bins.special`: null, NaN, minus and plus infinity."""

_MAGNITUDE = np.int64(2**63 - 1)
_INFINITY = 0x7FF << 52
"""The magnitude of an infinity; that of NaN is greater."""

_DENSE = 1 << 20
"""Up to so many places are counted in an array, of which most may be empty."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """The labels of a batch's rows, as numbers.

    Args:
        parts: The part of the split of each row: 0 for train, 1 for the rest; [rows], int64.
        part_count: How many parts there are, 1 or 2.
        classes: The class of each row, [rows], int64; `None` for a label that is a quantity.
        class_count: How many classes there are.
        values: The label itself where it is a quantity, [rows], float64.
    """

    parts: Integers
    part_count: int
    classes: Integers | None
    class_count: int = 0
    values: Floats | None = None

    @property
    def width(self) -> int:
        """How many sums a bin has for each part."""
        return 3 if self.classes is None else self.class_count

    def where(self, kept: npt.NDArray[np.bool_]) -> Labels:
        """Return the labels of some rows."""
        classes = None if self.classes is None else self.classes[kept]
        values = None if self.values is None else self.values[kept]
        return Labels(self.parts[kept], self.part_count, classes, self.class_count, values)

    def sums(self, slots: Integers | None, size: int) -> Floats:
        """Add up the rows of each slot.

        Args:
            slots: The slot of each row, below `size`; `None` when there is one slot.
            size: How many slots there are.

        Returns:
            [slots, parts, classes]: row counts; for a quantity y [slots, parts, 3]: the count, the
            sum of y and the sum of its squares.
        """
        at = self.parts if self.part_count > 1 else None
        if slots is not None:
            at = slots if at is None else slots * self.part_count + at
        if at is None:
            at = np.zeros(len(self.parts), np.int64)
        cells = size * self.part_count
        if self.classes is not None:
            at = at * self.class_count + self.classes
            counts = np.bincount(at, minlength=cells * self.class_count)
            return counts.reshape(size, self.part_count, self.class_count).astype(np.float64)
        assert self.values is not None
        weights = (None, self.values, self.values * self.values)
        columns = [np.bincount(at, weight, minlength=cells) for weight in weights]
        return np.stack(columns, -1).reshape(size, self.part_count, 3).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Bins:
    """The labels over the values of one column.

    Args:
        level: How many low bits of a key were dropped.
        keys: The bins, rising; for numbers in the order of the numbers, [bins], int64.
        sums: The labels in each bin, see `Labels.sums`, [bins, parts, width].
        special: The same for missing, NaN, minus and plus infinity, [4, parts, width].
        words: The word of each key, for a column of words that has few; `None` for numbers.
    """

    level: int
    keys: Integers
    sums: Floats
    special: Floats
    words: Mapping[int, str] | None = None

    @property
    def exact(self) -> bool:
        """Whether a bin holds one value only."""
        return self.level == 0

    def values(self) -> Floats:
        """Return the number of each bin, of a coarse one that nearest to zero; [bins]."""
        magnitude = np.abs(self.keys) << self.level
        return np.copysign(magnitude.view(np.float64), self.keys)

    def name(self, bin_: int) -> str:
        """Return what a bin of a single value is called."""
        if self.words is None:
            return f"{self.values()[bin_]:.12g}"
        return self.words.get(int(self.keys[bin_]), "")

    def merge(self, other: Bins) -> Bins:
        """Return the bins of both parts' rows.

        Example:
            >>> labels = Labels(np.zeros(2, int), 1, np.array([0, 1]), 2)
            >>> part = bin_column(pl.Series([1.5, None]), labels)
            >>> part.merge(part).sums.tolist(), part.merge(part).special[0].tolist()
            ([[[2.0, 0.0]]], [[0.0, 2.0]])
        """
        level = max(self.level, other.level)
        one, two = self.coarser(level), other.coarser(level)
        keys = np.concatenate([one.keys, two.keys])
        order = np.argsort(keys, kind="stable")
        both = np.concatenate([one.sums, two.sums])[order]
        words = None if one.words is None or two.words is None else {**one.words, **two.words}
        joined = _joined(level, keys[order], both, one.special + two.special, words)
        return joined.within(LIMIT)

    def within(self, limit: int) -> Bins:
        """Drop the fewest bits that leave at most so many bins."""
        return self.coarser(self.level + _bits_to_drop(self.keys, limit))

    def coarser(self, level: int) -> Bins:
        """Drop bits up to a level."""
        if level == self.level:
            return self
        keys = _dropped(self.keys, level - self.level)
        words: dict[int, str] | None = None if self.words is None else {}
        return _joined(level, keys, self.sums, self.special, words)


def _joined(
    level: int, keys: Integers, sums: Floats, special: Floats, words: Mapping[int, str] | None
) -> Bins:
    """Add up the bins of equal keys, which stand together."""
    if not len(keys):
        return Bins(level, keys, sums, special, words)
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return Bins(level, keys[first], np.add.reduceat(sums, first, axis=0), special, words)


def _dropped(keys: Integers, bits: int) -> Integers:
    dropped: Integers = np.sign(keys) * (np.abs(keys) >> bits)
    return dropped


def _bits_to_drop(keys: Integers, limit: int) -> int:
    """Return the fewest low bits to drop so that at most `limit` of the sorted keys differ."""
    low, high = 0, 63
    if len(keys) <= limit:
        return 0
    while low < high:
        middle = (low + high) // 2
        dropped = _dropped(keys, middle)
        if np.count_nonzero(dropped[1:] != dropped[:-1]) + 1 <= limit:
            high = middle
        else:
            low = middle + 1
    return low


def bin_column(series: pl.Series, labels: Labels, level: int = 0) -> Bins:
    """Spread the labels of a batch over the values of a column.

    Args:
        series: Numbers, booleans, times or words; [rows].
        labels: Their labels.
        level: What is known already of the level, which the result never goes below.
    """
    # Under its own name Polars would read it as a pattern of names, where it looks like one.
    series = series.alias("x")
    special = np.zeros((4, labels.part_count, labels.width))
    if series.null_count():
        present = series.is_not_null().to_numpy()
        special[MISSING] = labels.where(~present).sums(None, 1)[0]
        series, labels = series.drop_nulls(), labels.where(present)
    if series.dtype == pl.String or isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        return _bin_words(series.cast(pl.String), labels, level, special)
    numbers = np.ascontiguousarray(series.to_physical().cast(pl.Float64).to_numpy())
    magnitude = numbers.view(np.int64) & _MAGNITUDE
    if len(numbers) and magnitude.max() >= _INFINITY:
        for place, found in (
            (NAN, np.isnan(numbers)), (NEGATIVE, numbers == -np.inf), (INFINITE, numbers == np.inf)
        ):  # fmt: skip
            special[place] = labels.where(found).sums(None, 1)[0]
        finite = np.isfinite(numbers)
        numbers, magnitude, labels = numbers[finite], magnitude[finite], labels.where(finite)
    if not len(numbers):
        empty = np.zeros((0, *special.shape[1:]))
        return Bins(level, np.zeros(0, np.int64), empty, special)
    return _bin_numbers(numbers, magnitude, labels, level, special).within(LIMIT)


def _bin_numbers(
    numbers: Floats, magnitude: Integers, labels: Labels, level: int, special: Floats
) -> Bins:
    low, high = float(numbers.min()), float(numbers.max())
    if high - low < _DENSE and max(-low, high) < 2**53 and (numbers == np.rint(numbers)).all():
        whole = numbers.astype(np.int64)
        whole -= int(low)
        sums = labels.sums(whole, int(high - low) + 1)
        held = np.flatnonzero(sums.any(axis=(1, 2)))
        found = (held + int(low)).astype(np.float64).view(np.int64)
        keys = np.where(found < 0, -(found & _MAGNITUDE), found)
        return Bins(0, keys, sums[held], special).coarser(level)
    if not level:
        # Some of the values cannot need a higher level than all of them.
        some = numbers[:: max(1, len(numbers) // (2 * LIMIT))].view(np.int64)
        level = _bits_to_drop(np.sort(_signed(some, some & _MAGNITUDE)), LIMIT)
    magnitude >>= level
    above = magnitude[magnitude > 0] if low <= 0.0 <= high else magnitude
    start = int(above.min()) - 1 if len(above) else 0
    reach = int(magnitude.max()) - start
    if reach < _DENSE:
        # The gap between the smallest numbers of either sign is left out.
        magnitude -= start
        np.maximum(magnitude, 0, out=magnitude)
        slots = _signed(numbers.view(np.int64), magnitude) if low < 0 else magnitude
        slots += (below := reach if low < 0 else 0)
        sums = labels.sums(slots, below + reach + 1)
        held = np.flatnonzero(sums.any(axis=(1, 2)))
        keys = held - below
        return Bins(level, np.sign(keys) * (np.abs(keys) + start), sums[held], special)
    keys, slots = np.unique(_signed(numbers.view(np.int64), magnitude), return_inverse=True)
    return Bins(level, keys, labels.sums(slots, len(keys)), special)


def _signed(bits: Integers, magnitude: Integers) -> Integers:
    return np.where(bits < 0, -magnitude, magnitude)


def _hashes(words: pl.Series) -> Integers:
    # Half of their range, so that none is below zero.
    return (words.hash(0).to_numpy() >> 1).astype(np.int64)


def _bin_words(words: pl.Series, labels: Labels, level: int, special: Floats) -> Bins:
    distinct = words.unique()
    hashes = _hashes(distinct)
    coarse = hashes >> level
    keys = np.unique(coarse)
    named = dict(zip(hashes.tolist(), distinct.to_list(), strict=True)) if not level else {}
    slots = np.searchsorted(keys, _hashes(words) >> level)
    bins = Bins(level, keys, labels.sums(slots, len(keys)), special, named)
    return bins.within(LIMIT)


@dataclass(frozen=True, eq=False)
class Histograms:
    """The labels over the values of all columns of some rows.

    Args:
        totals: The labels of all rows, [parts, width], see `Labels.sums`.
        columns: The bins of each column.
        rows: How many rows there are.

    Example:
        >>> labels = Labels(np.zeros(3, int), 1, np.array([0, 1, 1]), 2)
        >>> made = Histograms.of(pl.DataFrame({"x": [0.5, 0.5, 2.0]}), labels)
        >>> made.columns["x"].values().tolist(), made.columns["x"].sums[:, 0].tolist()
        ([0.5, 2.0], [[1.0, 1.0], [0.0, 1.0]])
    """

    totals: Floats
    columns: Mapping[str, Bins]
    rows: int

    @classmethod
    def of(
        cls, batch: pl.DataFrame, labels: Labels, levels: Mapping[str, int] | None = None
    ) -> Histograms:
        """Return those of a batch.

        Args:
            batch: The columns to look at, [rows].
            labels: The labels of its rows.
            levels: Levels that earlier parts needed, which spares work and changes no result.
        """
        known = levels or {}
        columns = {
            series.name: bin_column(series, labels, known.get(series.name, 0)) for series in batch
        }
        return cls(labels.sums(None, 1)[0], columns, batch.height)

    def merge(self, other: Histograms) -> Histograms:
        """Return those of both parts' rows; the parts have the same columns."""
        columns = {name: bins.merge(other.columns[name]) for name, bins in self.columns.items()}
        return Histograms(self.totals + other.totals, columns, self.rows + other.rows)

    def levels(self) -> dict[str, int]:
        """Return the level of each column."""
        return {name: bins.level for name, bins in self.columns.items()}
