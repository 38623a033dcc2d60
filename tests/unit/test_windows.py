"""Windows over values, all at once, against loops over each window's own values."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from featurekit.transforms import windows
from featurekit.transforms.aggregate._families import interpolated
from featurekit.transforms.windows import Spans, Values

Window = tuple[int, int]


def values_of(
    data: Sequence[Any], spans: Sequence[Window], keys: Sequence[int] | None = None
) -> Values:
    """Return the values of one key (or of those given) with the spans `(start, stop)`."""
    start, stop = np.array(spans, np.int64).reshape(-1, 2).T
    places = np.arange(len(data))
    numbers = np.zeros_like(places) if keys is None else np.array(keys, np.int64)
    return Values(np.array(data), places, numbers, Spans(start, stop))


def held(data: Sequence[Any], spans: Sequence[Window]) -> list[list[Any]]:
    """Return the values of each span."""
    return [list(data[start:stop]) for start, stop in spans]


def random_spans(random: Random, size: int, count: int, longest: int) -> list[Window]:
    """Return spans of which none is empty: all short ones, long ones, and the whole."""
    found = [(0, size), (0, 1), (size - 1, size)]
    for _ in range(count):
        start = random.randrange(size)
        found.append((start, min(size, start + random.randint(1, longest))))
    return found


def powers(most: int) -> list[Window]:
    """Return spans whose lengths stand around the powers of two, where blocks are put together."""
    lengths = {2**bit + step for bit in range(13) for step in (-1, 0, 1)}
    return [
        (start, start + n) for n in sorted(lengths) for start in (0, 3) if 0 < n <= most - start
    ]


SIZE = 5_000
SPANS = [*powers(SIZE), *random_spans(Random(1), SIZE, 40, 4_500)]

DATA: dict[str, Sequence[Any]] = {
    "floats": [
        Random(place).gauss(3, 100) for place in range(SIZE)
    ],
    "few floats": [Random(place).choice((-1.5, 0.0, 0.25, 7.0)) for place in range(SIZE)],
    "integers": [Random(place).randint(-(2**40), 2**40) for place in range(SIZE)],
    "few integers": [Random(place).randint(-3, 3) for place in range(SIZE)],
    "one integer": [4] * SIZE,
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_sums_are_those_of_each_window(name: str) -> None:
    data = DATA[name]
    for got, mine in zip(values_of(data, SPANS).sums, held(data, SPANS), strict=True):
        if isinstance(mine[0], int):
            assert got == sum(mine)
        else:
            scale = math.fsum(map(abs, mine))
            assert got == pytest.approx(math.fsum(mine), rel=1e-15, abs=1e-15 * scale)


@pytest.mark.parametrize("name", DATA)
def test_means_are_those_of_each_window(name: str) -> None:
    data = DATA[name]
    for got, mine in zip(values_of(data, SPANS).means, held(data, SPANS), strict=True):
        scale = max(map(abs, mine))
        assert got == pytest.approx(statistics.fmean(mine), rel=1e-14, abs=1e-15 * scale)


def test_integer_sums_wrap_around_at_64_bits_and_their_means_do_not() -> None:
    big = 2**62
    found = values_of([big, big, big, -5, 3], [(0, 3), (3, 5), (0, 5)])
    assert found.sums.tolist() == [3 * big - 2**64, -2, 3 * big - 2 - 2**64]
    assert found.means.tolist() == [float(big), -1.0, (3 * big - 2) / 5]


def test_a_sum_never_depends_on_values_outside_of_its_window() -> None:
    data = [0.1, 0.2, 0.3, 1e300, math.inf, math.nan, 0.1, 0.2, 0.3]
    before, after = values_of(data, [(0, 3), (6, 9)]).sums
    assert before == after == 0.1 + (0.2 + 0.3)


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e9])
@pytest.mark.parametrize("name", ["floats", "few integers"])
def test_moments_are_those_of_each_window_wherever_the_values_lie(name: str, offset: float) -> None:
    data = [float(value) + offset for value in DATA[name]]
    spans = [span for span in SPANS if span[1] - span[0] > 2]
    mean, second, third, fourth = values_of(data, spans).moments(4)
    for place, mine in enumerate(held(data, spans)):
        middle = math.fsum(mine) / len(mine)
        apart = [value - middle for value in mine]
        sums = [math.fsum(one**power for one in apart) for power in (2, 3, 4)]
        if sums[0] == 0:
            continue
        scale = math.sqrt(sums[0] / len(mine))
        slack = 1e-9 if offset else 1e-12
        assert mean[place] == pytest.approx(middle, rel=1e-15, abs=1e-14 * scale)
        assert second[place] == pytest.approx(sums[0], rel=slack * 100)
        assert third[place] == pytest.approx(
            sums[1], rel=slack * 100, abs=slack * 100 * len(mine) * scale**3
        )
        assert fourth[place] == pytest.approx(sums[2], rel=slack * 1000)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_fewer_moments_are_the_same_to_the_bit(order: int) -> None:
    values = values_of(DATA["floats"], SPANS)
    for some, every in zip(values.moments(order), values.moments(4), strict=False):
        assert some.tobytes() == every.tobytes()


@pytest.mark.parametrize("value", [0.1, -1e9 - 0.1, 1e-310, 1e308, 5])
def test_equal_values_are_no_distance_apart(value: float) -> None:
    for moment in values_of([value] * SIZE, SPANS).moments(4)[1:]:
        assert not moment.any()


def test_moments_of_an_infinity_are_not_a_number() -> None:
    for moment in values_of([math.inf, 1.0, 2.0], [(0, 1), (0, 3)]).moments(4)[1:]:
        assert np.isnan(moment).all()
    assert not np.isnan(values_of([math.inf, 1.0, 2.0], [(1, 3)]).moments(4)).any()


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(("pick", "wanted"), [(np.minimum, min), (np.maximum, max)])
def test_extremes_are_those_of_each_window(
    name: str, pick: Callable[[Any, Any], Any], wanted: Callable[[Sequence[Any]], Any]
) -> None:
    data = DATA[name]
    found = values_of(data, SPANS).extreme(pick).tolist()
    assert found == [wanted(mine) for mine in held(data, SPANS)]


@pytest.mark.parametrize("name", DATA)
def test_the_smallest_values_come_in_order(name: str) -> None:
    data, random = DATA[name], Random(2)
    values = values_of(data, SPANS)
    places = [random.randrange(stop - start) for start, stop in SPANS]
    last = [stop - start - 1 for start, stop in SPANS]
    for wanted in ([0] * len(SPANS), places, last):
        found = values.smallest(np.array(wanted)).tolist()
        rows = zip(held(data, SPANS), wanted, strict=True)
        assert found == [sorted(mine)[place] for mine, place in rows]


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_quantiles_lie_between_the_values_around_their_rank(q: float) -> None:
    data = DATA["floats"]
    for got, mine in zip(interpolated(values_of(data, SPANS), q), held(data, SPANS), strict=True):
        ordered, rank = sorted(mine), (len(mine) - 1) * q
        low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
        wanted = low + (high - low) * (rank - math.floor(rank))
        assert got == pytest.approx(wanted, rel=1e-12, abs=1e-12)
        assert low <= got <= high


@pytest.mark.parametrize("name", DATA)
def test_distinct_values_are_counted_in_each_window(name: str) -> None:
    data = DATA[name]
    found = values_of(data, SPANS).distinct_counts().tolist()
    assert found == [len(set(mine)) for mine in held(data, SPANS)]


def test_booleans_are_counted_and_compared() -> None:
    data = [value > 0 for value in DATA["few integers"]]
    values, rows = values_of(data, SPANS), held(data, SPANS)
    assert values.trues.tolist() == [sum(mine) for mine in rows]
    assert values.extreme(np.maximum).tolist() == [any(mine) for mine in rows]
    assert values.extreme(np.minimum).tolist() == [all(mine) for mine in rows]
    assert values.most_frequent().tolist() == [mode(mine) for mine in rows]


# The most frequent value, of which there are three ways


def mode(values: Sequence[Any]) -> Any:
    counts = Counter(values)
    return max(counts, key=lambda value: (counts[value], value))


def several_keys(random: Random, size: int) -> tuple[list[int], list[int]]:
    """Return keys in order, and the place at which the key of each value begins."""
    keys = sorted(random.randrange(12) for _ in range(size))
    return keys, [keys.index(key) for key in keys]


@pytest.mark.parametrize("choices", [1, 2, 7, 400])
def test_the_most_frequent_value_is_the_greatest_of_the_most_frequent(choices: int) -> None:
    random = Random(choices)
    size = 800
    data = [random.randrange(choices) for _ in range(size)]
    keys, first = several_keys(random, size)
    spans = []
    for stop in range(1, size + 1):
        begin = first[stop - 1]
        spans += [(begin, stop), (random.randint(begin, stop - 1), stop)]
    found = values_of(data, spans, keys).most_frequent().tolist()
    assert found == [mode(mine) for mine in held(data, spans)]


WAYS = ("_running_mode", "_counted_mode", "_laid_mode")


def ways_taken(
    monkeypatch: pytest.MonkeyPatch, data: Sequence[Any], spans: Sequence[Window]
) -> set[str]:
    """Check the most frequent values, and return which ways have found them."""
    taken: set[str] = set()

    def watched(way: str) -> Callable[..., Any]:
        original = getattr(Values, way)

        def call(*args: Any) -> Any:
            taken.add(way)
            return original(*args)

        return call

    with monkeypatch.context() as patched:
        for way in WAYS:
            patched.setattr(Values, way, watched(way))
        found = values_of(data, spans).most_frequent().tolist()
    assert found == [mode(mine) for mine in held(data, spans)]
    return taken


def test_each_way_to_the_most_frequent_value_is_taken_where_it_is_the_shortest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random(0)
    few = [random.randrange(3) for _ in range(2_000)]
    many = [random.randrange(500) for _ in range(2_000)]
    whole = [(0, stop) for stop in range(1, 2_001, 37)]
    long = [(start, 2_000) for start in range(1, 1_000, 9)]
    short = [(start, start + 5) for start in range(1, 1_000, 9)]
    assert ways_taken(monkeypatch, few, whole) == {"_running_mode"}
    assert ways_taken(monkeypatch, few, long) == {"_counted_mode"}
    assert ways_taken(monkeypatch, many, short) == {"_laid_mode"}
    assert ways_taken(monkeypatch, many, whole + short) == {"_running_mode", "_laid_mode"}


@pytest.mark.parametrize("laid_out", [1, 7, 100, 10**6])
def test_laid_out_windows_may_come_in_pieces_of_any_size(
    laid_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_LAID_OUT", laid_out)
    random = Random(3)
    data = [random.randrange(300) for _ in range(400)]
    spans = [span for span in random_spans(random, 400, 80, 30) if span[0] > 0]
    assert ways_taken(monkeypatch, data, spans) == {"_laid_mode"}


def test_all_windows_may_be_of_one_value() -> None:
    data = [3.5, -1.0, 2.0]
    spans = [(0, 1), (1, 2), (2, 3)]
    values = values_of(data, spans)
    assert values.sums.tolist() == values.means.tolist() == data
    assert values.extreme(np.minimum).tolist() == data
    assert values.smallest(np.zeros(3, np.int64)).tolist() == data
    assert values.distinct_counts().tolist() == [1, 1, 1]
    assert [moment.tolist() for moment in values.moments(2)] == [data, [0.0, 0.0, 0.0]]


def test_zeros_of_both_signs_are_one_value() -> None:
    values = values_of([-0.0, 0.0, -0.0], [(0, 3), (0, 1)])
    assert values.distinct_counts().tolist() == [1, 1]
    assert values.extreme(np.maximum).tolist() == [0.0, 0.0]
    assert values.smallest(np.zeros(2, np.int64)).tolist() == [0.0, 0.0]
    assert not values.moments(2)[1].any()
