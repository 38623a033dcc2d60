"""Windows over past rows, all at once: what aggregations are made of in the embedded engine.

The values of all keys stand one after another, each key's in the order in which they took effect,
so that a window is a span of places. Every function here answers all spans together, in NumPy, and
an answer depends on nothing but the values in its span, in their order: sums are put together from
the span's own values and never by taking one running sum from another, so values outside of it
leave no trace, not even in rounding.

Spans are pairs of arrays `start`, `stop` of shape [spans]; none is empty, and `stop` is not part of
its span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Places", "Spans", "Values"]

Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

_AT_ONCE = 1 << 16
"""So many spans are put together at once."""

_LAYING_OUT = 8
"""To lay a value out and sort it takes about as long as to count so many."""

_LAID_OUT = 1 << 22
"""So many values of overlapping spans are laid out side by side at once."""


class Spans:
    """Windows that hold at least one value each.

    Args:
        start: The first place of each.
        stop: The place after the last one.
    """

    def __init__(self, start: Places, stop: Places) -> None:
        self.start, self.stop = start, stop

    @cached_property
    def length(self) -> Places:
        """How many values each holds."""
        return self.stop - self.start

    @cached_property
    def longest(self) -> int:
        """How many values the longest holds."""
        return int(self.length.max(initial=0))


class Values:
    """The values of one input that are there, by key and effect.

    Args:
        data: float64, int64 or bool; strings as places in their sorted order. Shape [values].
        effect: When each took effect, in microseconds.
        keys: The number of each value's key, ascending.
        spans: The windows to be answered.
    """

    def __init__(self, data: Array, effect: Places, keys: Places, spans: Spans) -> None:
        self.data, self.effect, self.keys, self.spans = data, effect, keys, spans
        self._moments: dict[int, tuple[Floats, ...]] = {}

    @cached_property
    def ranked(self) -> tuple[Array, Places, Places]:
        """The distinct values of every key in order, and where they are.

        Returns:
            The distinct values, those of a key in order and together; for each value its rank
            among those of its key; and where those of its key begin.
        """
        order = np.lexsort((self.data, self.keys))
        data, keys = self.data[order], self.keys[order]
        opens = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
        other = opens | np.append(True, data[1:] != data[:-1])[: len(keys)]
        number = np.cumsum(other) - 1
        begins = np.maximum.accumulate(np.where(opens, number, 0))
        ranks, base = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
        ranks[order], base[order] = number - begins, begins
        return data[other], ranks, base

    @cached_property
    def begins(self) -> Places:
        """For each value, the place of the first value of its key."""
        opens = np.append(True, self.keys[1:] != self.keys[:-1])[: len(self.keys)]
        return np.maximum.accumulate(np.where(opens, np.arange(len(opens)), 0))

    @cached_property
    def sums(self) -> Array:
        """The sum of each span; integers wrap around at 64 bits."""
        if self.data.dtype != np.float64:
            return self._between(np.cumsum(self.data, dtype=np.int64))

        def add(left: tuple[Floats, ...], right: tuple[Floats, ...], _: object) -> tuple[Floats]:
            return (left[0] + right[0],)

        return self._folded((self.data,), add)[0]

    @cached_property
    def means(self) -> Floats:
        """The mean of each span."""
        if self.data.dtype == np.float64:
            return self.sums / self.spans.length
        exact = self.sums / self.spans.length
        # No sum of values of at most that size has wrapped around. Looked at for all values first,
        # then for those of each span, whose answer must not depend on others.
        size = np.abs(self.data.astype(np.float64))
        if size.max(initial=0) * self.spans.longest < 2.0**62:
            return exact
        largest = Values(size, self.effect, self.keys, self.spans).extreme(np.maximum)
        return np.where(largest * self.spans.length < 2.0**62, exact, self.moments(2)[0])

    @cached_property
    def trues(self) -> Places:
        """How many values of each span are true."""
        return self._between(np.cumsum(self.data, dtype=np.int64))

    def moments(self, order: int) -> tuple[Floats, ...]:
        """Return the mean of each span and its sums of squared, cubed, ... distances from it.

        They are merged pairwise, so that values near 1e9 are summarised as well as values near 0.

        Args:
            order: The highest power, from 2 to 4.

        Source: P. Pebay, "Formulas for Robust, One-Pass Parallel Computation of Covariances and
        Arbitrary-Order Statistical Moments", Sandia report SAND2008-6212, 2008.
        """
        if order not in self._moments:
            mean = self.data.astype(np.float64)
            with np.errstate(invalid="ignore"):
                apart = mean - mean  # 0, and NaN for an infinity, even one that is alone.
            state = (mean, *(apart for _ in range(order - 1)))
            self._moments[order] = self._folded(state, _merged_moments)
        return self._moments[order]

    def extreme(self, pick: Callable[[Array, Array], Array]) -> Array:
        """Return the least (`np.minimum`) or the greatest (`np.maximum`) value of each span."""
        spans, table, size = self.spans, self.data, 1
        found = np.empty(len(spans.start), table.dtype)
        # The exponent of a float is exact for lengths below 2**53.
        levels = np.frexp(spans.length.astype(np.float64))[1]
        for level in range(1, spans.longest.bit_length() + 1):
            chosen = np.flatnonzero(levels == level)
            found[chosen] = pick(table[spans.start[chosen]], table[spans.stop[chosen] - size])
            table = pick(table[:-size], table[size:])
            size *= 2
        return found

    def smallest(self, places: Places) -> Array:
        """Return the value at a place of each sorted span.

        Args:
            places: For each span, from 0 (the least value) to its length - 1 (the greatest).
        """
        distinct, ranks, base = self.ranked
        left, right, wanted = self.spans.start.copy(), self.spans.stop.copy(), places.copy()
        found = base[left]
        for bit, zeros in _levels(ranks):
            for some in _slices(len(found)):
                before, until = zeros[left[some]], zeros[right[some]]
                inside = until - before
                upper = wanted[some] >= inside
                left[some] = np.where(upper, zeros[-1] + left[some] - before, before)
                right[some] = np.where(upper, zeros[-1] + right[some] - until, until)
                wanted[some] -= np.where(upper, inside, 0)
                found[some] += upper.astype(np.int64) << bit
        return distinct[found]

    def distinct_counts(self) -> Places:
        """Return how many different values each span holds.

        A value is new in a span where the one before that equals it stands outside of the span.
        """
        _, ranks, base = self.ranked
        order = np.argsort(base + ranks, kind="stable")
        same = (base + ranks)[order]
        again = np.flatnonzero(same[1:] == same[:-1])
        # 0 for a value that its key never had before, else 1 + how far from the key's first value
        # it was last.
        last = np.zeros(len(ranks), np.int64)
        last[order[again + 1]] = order[again] + 1 - self.begins[order[again]]
        left, right = self.spans.start.copy(), self.spans.stop.copy()
        below = self.spans.start + 1 - self.begins[self.spans.start]
        found = np.zeros(len(left), np.int64)
        for bit, zeros in _levels(last, int(below.max(initial=0))):
            for some in _slices(len(found)):
                before, until = zeros[left[some]], zeros[right[some]]
                upper = (below[some] >> bit & 1).astype(bool)
                found[some] += np.where(upper, until - before, 0)
                left[some] = np.where(upper, zeros[-1] + left[some] - before, before)
                right[some] = np.where(upper, zeros[-1] + right[some] - until, until)
        return found

    def most_frequent(self) -> Array:
        """Return the value that each span holds most often, the greatest of several.

        Spans that begin with their key's first value are answered by a running count. The others
        are by the counts of each distinct value, or by laying out all that they hold, whichever is
        less work.
        """
        distinct, ranks, base = self.ranked
        spans, size = self.spans, int(ranks.max(initial=0)) + 1
        found = np.empty(len(spans.start), np.int64)
        whole = spans.start == self.begins[spans.start]
        # The running count numbers pairs of key, count and rank.
        if int(self.keys[-1]) * size * len(ranks) >= 2**62:
            whole = np.zeros(len(whole), bool)
        first, rest = np.flatnonzero(whole), np.flatnonzero(~whole)
        if len(first):
            found[first] = self._running_mode(ranks, size)[spans.stop[first] - 1]
        if len(rest):
            counting = size * (len(ranks) + len(rest))
            laying_out = _LAYING_OUT * spans.length[rest].sum()
            pick = self._counted_mode if counting < laying_out else self._laid_mode
            pick(ranks, size, rest, found)
        mode: Array = distinct[base[spans.start] + found]
        return mode

    def _running_mode(self, ranks: Places, size: int) -> Places:
        """Return for each value the rank that its key held most often until then."""
        pair = self.keys * size + ranks
        order = np.argsort(pair, kind="stable")
        begins = np.append(True, pair[order][1:] != pair[order][:-1])
        places = np.arange(len(order))
        seen = np.empty(len(order), np.int64)
        seen[order] = places - np.maximum.accumulate(np.where(begins, places, 0))
        # The best of a key is above all of the keys before it.
        step = (int(seen.max()) + 1) * size
        best = np.maximum.accumulate(self.keys * step + seen * size + ranks)
        mode: Places = best % size
        return mode

    def _counted_mode(self, ranks: Places, size: int, some: Places, found: Places) -> None:
        """Find the modes of some spans by the running counts of each rank."""
        start, stop = self.spans.start[some], self.spans.stop[some]
        most = np.zeros(len(some), np.int64)
        running = np.zeros(len(ranks) + 1, np.int64)
        for rank in range(size):
            np.cumsum(ranks == rank, out=running[1:])
            count = running[stop] - running[start]
            better = count >= np.maximum(most, 1)
            most[better] = count[better]
            found[some[better]] = rank

    def _laid_mode(self, ranks: Places, size: int, some: Places, found: Places) -> None:
        """Find the modes of some spans by laying out what each holds."""
        for piece in _pieces(some, self.spans.length[some]):
            length = self.spans.length[piece]
            owner = np.repeat(np.arange(len(piece)), length)
            offset = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
            pair = owner * size + ranks[self.spans.start[piece][owner] + offset]
            pair.sort()
            begins = np.flatnonzero(np.append(True, pair[1:] != pair[:-1]))
            counts = np.diff(np.append(begins, len(pair)))
            owner, rank = np.divmod(pair[begins], size)
            order = np.lexsort((rank, counts, owner))
            last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
            found[piece] = rank[order][last]

    def _between(self, running: Array) -> Array:
        """Return the sum of each span from exact running sums."""
        padded: Array = np.concatenate((np.zeros(1, running.dtype), running))
        found: Array = padded[self.spans.stop] - padded[self.spans.start]
        return found

    def _folded(
        self, state: tuple[Array, ...], merge: Callable[..., tuple[Array, ...]]
    ) -> tuple[Array, ...]:
        """Merge the states of each span's values, in order, from blocks of 1, 2, 4, ... values.

        Args:
            state: Arrays of shape [values] that describe one value each.
            merge: Puts two neighbours together, given the number of values in each.
        """
        spans = self.spans
        place = spans.start.copy()
        made = tuple(np.empty(len(place), part.dtype) for part in state)
        size = 1
        with np.errstate(over="ignore", invalid="ignore"):
            while True:
                for some in _slices(len(place)):
                    mine = tuple(part[some] for part in made)
                    _join(mine, state, place[some], spans.length[some], size, merge)
                if 2 * size > spans.longest:
                    return made
                left = tuple(part[:-size] for part in state)
                right = tuple(part[size:] for part in state)
                state = merge(left, right, (float(size), float(size)))
                size *= 2


def _join(
    made: tuple[Array, ...],
    state: tuple[Array, ...],
    place: Places,
    length: Places,
    size: int,
    merge: Callable[..., tuple[Array, ...]],
) -> None:
    """Merge a block of `size` values into those spans whose length has that bit.

    Args:
        made: The states of the spans' values so far, changed here.
        state: The state of the block that begins at each place.
        place: Where the values begin that are not merged yet, moved on here.
        length: How many values the spans hold.
        size: A power of two.
        merge: Puts two neighbours together.
    """
    chosen = np.flatnonzero((length & size) != 0)  # Of booleans it is found faster.
    at = place[chosen]
    block = tuple(part[at] for part in state)
    place[chosen] = at + size
    # The values so far are the bits of the length below this one.
    before = length[chosen] & (size - 1)
    joined = np.flatnonzero(before != 0)
    if len(joined):
        old = tuple(part[chosen[joined]] for part in made)
        new = tuple(part[joined] for part in block)
        merged = merge(old, new, (before[joined].astype(np.float64), float(size)))
        for whole, values in zip(block, merged, strict=True):
            whole[joined] = values
    for part, whole in zip(made, block, strict=True):
        part[chosen] = whole


def _merged_moments(
    left: tuple[Floats, ...], right: tuple[Floats, ...], counts: tuple[Any, Any]
) -> tuple[Floats, ...]:
    """Merge means and central moments; see `Values.moments` for the source."""
    a, b = counts
    total = a + b
    apart = right[0] - left[0]
    mean = left[0] + apart * (b / total)
    # Products, because a power of two arrays may round otherwise from one processor to the next.
    square = apart * apart
    second = left[1] + right[1] + square * (a * b / total)
    if len(left) == 2:
        return mean, second
    third = (
        left[2] + right[2]
        + square * apart * (a * b * (a - b) / (total * total))
        + 3 * apart * (a * right[1] - b * left[1]) / total
    )  # fmt: skip
    if len(left) == 3:
        return mean, second, third
    fourth = (
        left[3] + right[3]
        + square * square * (a * b * (a * a - a * b + b * b) / (total * total * total))
        + 6 * square * (a * a * right[1] + b * b * left[1]) / (total * total)
        + 4 * apart * (a * right[2] - b * left[2]) / total
    )  # fmt: skip
    return mean, second, third, fourth


def _levels(ranks: Places, most: int = 0) -> Iterator[tuple[int, Places]]:
    """Yield the levels of a wavelet matrix over numbers from 0 to the greatest, or to `most`.

    Each is a bit, the highest first, and for every place how many numbers before it have it unset,
    the numbers being sorted (stably) by the bits before.

    Source: F. Claude, G. Navarro, A. Ordonez, "The wavelet matrix: an efficient wavelet tree for
    large alphabets", Information Systems 47, 2015.
    """
    most = max(most, int(ranks.max(initial=0)))
    for bit in reversed(range(most.bit_length())):
        unset = (ranks >> bit & 1) == 0
        zeros = np.zeros(len(ranks) + 1, np.int64)
        np.cumsum(unset, out=zeros[1:])
        yield bit, zeros
        ranks = np.concatenate((ranks[unset], ranks[~unset]))


def _slices(count: int) -> Iterator[slice]:
    """Yield spans some at a time, so that what is in between stays near the processor."""
    return (slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE))


def _pieces(some: Places, length: Places) -> Iterator[Places]:
    """Yield spans in groups that hold about `_LAID_OUT` values together."""
    ends = np.cumsum(length)
    cuts = np.searchsorted(ends, np.arange(_LAID_OUT, int(ends[-1]), _LAID_OUT), "left") + 1
    yield from (piece for piece in np.split(some, cuts) if len(piece))
