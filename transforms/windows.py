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

_LAID_OUT = 1 << 22
"""So many values of overlapping spans are laid out side by side at once."""


class Spans:
    """Windows that hold at least one value each.

    Args:
        start: The first place of each.
        stop: The place after the last one.
        at: The time of prediction of each, in microseconds.
    """

    def __init__(self, start: Places, stop: Places, at: Places) -> None:
        self.start, self.stop, self.at = start, stop, at

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
    def ranked(self) -> tuple[Array, Places]:
        """The distinct values in order, and the place of each value among them."""
        distinct, ranks = np.unique(self.data, return_inverse=True)
        return distinct, ranks.astype(np.int64, copy=False)

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
        distinct, ranks = self.ranked
        left, right, wanted = self.spans.start, self.spans.stop, places
        found = np.zeros(len(places), np.int64)
        for bit, zeros in _levels(ranks, len(distinct)):
            before, until = zeros[left], zeros[right]
            inside = until - before
            upper = wanted >= inside
            left = np.where(upper, zeros[-1] + left - before, before)
            right = np.where(upper, zeros[-1] + right - until, until)
            wanted = np.where(upper, wanted - inside, wanted)
            found |= upper.astype(np.int64) << bit
        return distinct[found]

    def distinct_counts(self) -> Places:
        """Return how many different values each span holds.

        A value is new in a span where the one before that equals it stands outside of the span.
        """
        _, ranks = self.ranked
        order = np.argsort(ranks, kind="stable")
        again = np.flatnonzero(ranks[order][1:] == ranks[order][:-1])
        # 0 for a value that was never there before, else 1 + the place where it was last.
        last = np.zeros(len(ranks), np.int64)
        last[order[again + 1]] = order[again] + 1
        left, right, below = self.spans.start, self.spans.stop, self.spans.start + 1
        found = np.zeros(len(left), np.int64)
        for bit, zeros in _levels(last, len(last) + 1):
            before, until = zeros[left], zeros[right]
            upper = (below >> bit & 1).astype(bool)
            found += np.where(upper, until - before, 0)
            left = np.where(upper, zeros[-1] + left - before, before)
            right = np.where(upper, zeros[-1] + right - until, until)
        return found

    def most_frequent(self) -> Array:
        """Return the value that each span holds most often, the greatest of several.

        Spans that begin with their key's first value are answered by a running count. The others
        are by the counts of each distinct value, or by laying out all that they hold, whichever is
        less work.
        """
        distinct, ranks = self.ranked
        spans, found = self.spans, np.empty(len(self.spans.start), np.int64)
        first = np.searchsorted(self.keys, self.keys[spans.start], "left")
        whole = np.flatnonzero(spans.start == first)
        if len(whole):
            found[whole] = self._running_mode(ranks, len(distinct))[spans.stop[whole] - 1]
        rest = np.flatnonzero(spans.start != first)
        if len(rest):
            counting = len(distinct) * (len(ranks) + len(rest))
            pick = self._counted_mode if counting < spans.length[rest].sum() else self._laid_mode
            pick(ranks, len(distinct), rest, found)
        return distinct[found]

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
        place, length = spans.start.copy(), spans.length
        made = tuple(np.empty(len(place), part.dtype) for part in state)
        size = 1
        with np.errstate(over="ignore", invalid="ignore"):
            while True:
                chosen = np.flatnonzero(length & size)
                at = place[chosen]
                block = tuple(part[at] for part in state)
                # The values so far are the bits of the length below this one.
                before = length[chosen] & (size - 1)
                if size > 1 and (joined := before > 0).any():
                    some = chosen[joined]
                    old = tuple(part[some] for part in made)
                    new = tuple(part[joined] for part in block)
                    merged = merge(old, new, (before[joined].astype(np.float64), float(size)))
                    for part, values, whole in zip(made, merged, block, strict=True):
                        part[chosen] = whole
                        part[some] = values
                else:
                    for part, whole in zip(made, block, strict=True):
                        part[chosen] = whole
                place[chosen] += size
                if 2 * size > spans.longest:
                    return made
                left = tuple(part[:-size] for part in state)
                right = tuple(part[size:] for part in state)
                state = merge(left, right, (float(size), float(size)))
                size *= 2


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


def _levels(ranks: Places, size: int) -> Iterator[tuple[int, Places]]:
    """Yield the levels of a wavelet matrix over numbers from 0 to `size` - 1.

    Each is a bit, the highest first, and for every place how many numbers before it have it unset,
    the numbers being sorted (stably) by the bits before.

    Source: F. Claude, G. Navarro, A. Ordonez, "The wavelet matrix: an efficient wavelet tree for
    large alphabets", Information Systems 47, 2015.
    """
    for bit in reversed(range((size - 1).bit_length())):
        unset = (ranks >> bit & 1) == 0
        zeros = np.zeros(len(ranks) + 1, np.int64)
        np.cumsum(unset, out=zeros[1:])
        yield bit, zeros
        ranks = np.concatenate((ranks[unset], ranks[~unset]))


def _pieces(some: Places, length: Places) -> Iterator[Places]:
    """Yield spans in groups that hold about `_LAID_OUT` values together."""
    ends = np.cumsum(length)
    cuts = np.searchsorted(ends, np.arange(_LAID_OUT, int(ends[-1]), _LAID_OUT), "left") + 1
    yield from (piece for piece in np.split(some, cuts) if len(piece))
