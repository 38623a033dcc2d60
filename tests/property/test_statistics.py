"""Statistics against their definitions, computed by sorting and summing whole columns."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurekit.transforms.base import polars_dtype
from featurekit.transforms.statistics import (
    Extremes,
    Moments,
    MostFrequent,
    Quantiles,
    Statistic,
    WordCounts,
)
from featurekit.types import FLOAT32, FLOAT64, INT64, STRING, Type


def fit(statistic: Statistic, values: Sequence[Any], of: Type) -> Any:
    """Put a statistic's questions to a column in three unequal parts, and merge the answers."""
    column = pl.DataFrame({"x": pl.Series(values, dtype=polars_dtype(of))})
    cuts = [0, column.height // 7, column.height // 2, column.height]
    parts = [column[start:end] for start, end in itertools.pairwise(cuts) if end > start]
    fitting = statistic.fit(of)
    question = next(fitting)
    while True:
        answers = [question.answer(part).collect() for part in parts]
        first = question.merge(pl.concat(answers[:2]))
        try:
            question = fitting.send(question.merge(pl.concat([first, *answers[2:]])))
        except StopIteration as stop:
            return stop.value


floats32 = st.lists(st.none() | st.floats(width=32), min_size=1, max_size=200)
floats64 = st.lists(st.none() | st.floats(), min_size=1, max_size=200)
integers = st.lists(st.none() | st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=200)
repeating = st.lists(st.none() | st.integers(-3, 3), min_size=1, max_size=200)
COLUMNS = st.one_of(
    st.tuples(floats32, st.just(FLOAT32)), st.tuples(floats64, st.just(FLOAT64)),
    st.tuples(integers, st.just(INT64)), st.tuples(repeating, st.just(INT64)),
)  # fmt: skip


def usable(values: Sequence[Any]) -> list[Any]:
    return sorted(v for v in values if v is not None and (isinstance(v, int) or math.isfinite(v)))


@given(COLUMNS, st.integers(2, 40))
@settings(max_examples=200, deadline=None)
def test_quantile_boundary_i_of_n_is_the_value_at_floor_of_count_times_i_over_n(
    column: Any, parts: int
) -> None:
    values, of = column
    rows = usable(values)
    if not rows:
        return
    found = fit(Quantiles(parts), values, of)
    assert found.count == len(rows)
    assert list(found.boundaries) == [rows[len(rows) * i // parts] for i in range(1, parts)]


@given(COLUMNS, st.integers(2, 12))
@settings(max_examples=100, deadline=None)
def test_linear_quantiles_lie_between_the_values_around_their_rank(column: Any, parts: int) -> None:
    values, of = column
    rows = usable(values)
    if not rows:
        return
    for i, got in enumerate(fit(Quantiles(parts, linear=True), values, of).boundaries, start=1):
        rank = Fraction((len(rows) - 1) * i, parts)
        low, high = rows[math.floor(rank)], rows[math.ceil(rank)]
        exact = Fraction(low) + (Fraction(high) - Fraction(low)) * (rank - math.floor(rank))
        scale = max(abs(Fraction(low)), abs(Fraction(high)))
        assert abs(Fraction(got) - exact) <= scale * Fraction(1, 2**48)


def test_negative_zero_is_zero_beside_the_smallest_numbers() -> None:
    values = [-0.0] * 5 + [0.0] + [1e-43] * 5
    assert fit(Quantiles(11), values, FLOAT32).boundaries[4] == 0.0
    tiny = [5e-324, -1e-310, -0.0, 0.0] * 40
    rows = sorted(tiny)
    found = fit(Quantiles(16), tiny, FLOAT64).boundaries
    assert list(found) == [rows[len(rows) * i // 16] for i in range(1, 16)]


def test_quantiles_of_values_that_do_not_repeat_are_exact() -> None:
    random = np.random.default_rng(5)
    columns: list[tuple[Any, Type]] = [
        (random.normal(size=300_000), FLOAT64),
        (random.lognormal(sigma=9, size=300_000).astype(np.float32), FLOAT32),
        (random.integers(-(2**62), 2**62, size=300_000), INT64),
    ]
    for values, of in columns:
        rows = np.sort(values)
        found = fit(Quantiles(100), values, of)
        assert list(found.boundaries) == [rows[len(rows) * i // 100].item() for i in range(1, 100)]


@given(COLUMNS)
@settings(max_examples=150, deadline=None)
def test_extremes_are_the_ends_of_the_sorted_values(column: Any) -> None:
    values, of = column
    rows = usable(values)
    if rows:
        found = fit(Extremes(), values, of)
        assert (found.minimum, found.maximum) == (rows[0], rows[-1])


@given(st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300))
@settings(max_examples=150, deadline=None)
def test_moments_are_mean_and_population_variance(values: list[float | None]) -> None:
    rows = [Fraction(v) for v in usable(values)]
    if not rows:
        return
    mean = sum(rows) / len(rows)
    variance = sum((row - mean) ** 2 for row in rows) / len(rows)
    found = fit(Moments(), values, FLOAT32)
    scale = max(abs(row) for row in rows)
    assert found.count == len(rows)
    assert math.isclose(found.mean, mean, rel_tol=1e-12, abs_tol=float(scale) * 1e-12)
    assert math.isclose(found.variance, variance, rel_tol=1e-9, abs_tol=float(scale) ** 2 * 1e-12)


def test_the_variance_of_values_near_a_billion_is_that_of_the_same_values_near_zero() -> None:
    values = np.random.default_rng(1).normal(size=100_000)
    shifted = (values + 1e9).tolist()
    near_zero = np.var(np.array(shifted) - 1e9)
    assert fit(Moments(), shifted, FLOAT64).variance == pytest.approx(near_zero, rel=1e-6)


def test_a_constant_column_has_no_variance() -> None:
    assert fit(Moments(), [0.1] * 1000, FLOAT32).variance == 0.0


words = st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=80)


@given(words, st.none() | st.integers(1, 5), st.integers(0, 3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_words_come_by_count_then_by_descending_bytes(
    values: list[str | None], top: int | None, least: int, every: bool
) -> None:
    there = [v for v in values if v is not None]
    lines = [v for v in there if v and "\n" not in v and "\r" not in v]
    counts = Counter(there if every else lines)
    if not counts:
        return
    ordered = sorted(counts, key=lambda word: (counts[word], word.encode()), reverse=True)
    kept = [word for word in ordered if counts[word] >= least][:top]
    found = fit(WordCounts(top, least, every), values, STRING)
    assert found.excluded_rows == len(there) - counts.total()
    assert found.excluded_words == len(set(there) - set(counts))
    assert set(found.excluded) <= set(there) - set(counts)
    assert list(found.words) == kept
    assert list(found.counts) == [counts[word] for word in kept]
    assert found.distinct == len(counts)


@given(repeating)
@settings(max_examples=100, deadline=None)
def test_the_most_frequent_value_is_the_smallest_of_the_most_frequent(
    values: list[int | None],
) -> None:
    counts = Counter(v for v in values if v is not None)
    if counts:
        best = max(counts.values())
        found = fit(MostFrequent(), values, INT64)
        assert (found.value, found.count) == (min(v for v in counts if counts[v] == best), best)
