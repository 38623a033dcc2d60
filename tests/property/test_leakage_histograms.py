"""Histograms of parts merge to those of the whole, whatever the parts and their order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from featurekit.analysis.leakage import histograms as module
from featurekit.analysis.leakage.histograms import Bins, Histograms, Labels
from featurekit.analysis.leakage.strength import auc

numbers = st.lists(st.none() | st.floats(), min_size=1, max_size=120)
words = st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=120)
whole = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=120)
few = st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=120)
COLUMNS = st.one_of(
    st.tuples(numbers, st.just(pl.Float64)), st.tuples(words, st.just(pl.String)),
    st.tuples(whole, st.just(pl.Int64)), st.tuples(few, st.just(pl.Int64)),
    st.tuples(few, st.just(pl.Float32)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _few_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let levels rise with a handful of values."""
    monkeypatch.setattr(module, "LIMIT", 8)


def labels(rows: int, seed: int, quantity: bool = False) -> Labels:
    random = np.random.default_rng(seed)
    parts = random.integers(0, 2, rows)
    if quantity:
        # Whole numbers, so that sums are exact in any order.
        values = random.integers(-50, 50, rows).astype(float)
        return Labels(parts, 2, None, values=values)
    return Labels(parts, 2, random.integers(0, 3, rows), 3)


def equal(one: Bins, other: Bins) -> None:
    assert one.level == other.level
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.sums, other.sums)
    np.testing.assert_array_equal(one.special, other.special)
    assert one.words == other.words


def picked(labels: Labels, rows: Any) -> Labels:
    kept = np.zeros(len(labels.parts), bool)
    kept[rows] = True
    return labels.where(kept)


@given(COLUMNS, st.integers(0, 99), st.booleans(), st.booleans())
@settings(deadline=None)
def test_merged_parts_equal_one_pass(
    column: tuple[list[Any], Any], seed: int, quantity: bool, hinted: bool
) -> None:
    values, dtype = column
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    known = labels(frame.height, seed, quantity)
    expected = Histograms.of(frame, known)
    where = np.random.default_rng(seed).integers(0, 3, frame.height)
    merged: Histograms | None = None
    for part in (2, 0, 1):
        rows = np.flatnonzero(where == part)
        if not len(rows):
            continue
        levels = merged.levels() if merged is not None and hinted else None
        made = Histograms.of(frame[rows], picked(known, rows), levels)
        merged = made if merged is None else made.merge(merged)
    assert merged is not None
    equal(merged.columns["x"], expected.columns["x"])
    np.testing.assert_array_equal(merged.totals, expected.totals)
    assert merged.rows == frame.height


@given(COLUMNS, st.integers(0, 99))
@settings(deadline=None)
def test_the_order_of_rows_and_columns_is_irrelevant(
    column: tuple[list[Any], Any], seed: int
) -> None:
    values, dtype = column
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype)}).with_row_index("row")
    known = labels(frame.height, seed)
    order = np.random.default_rng(seed).permutation(frame.height)
    assert known.classes is not None
    shuffled = Labels(known.parts[order], 2, known.classes[order], 3)
    one = Histograms.of(frame, known)
    other = Histograms.of(frame[order].select("x", "row"), shuffled)
    for name in frame.columns:
        equal(one.columns[name], other.columns[name])


@given(numbers, st.integers(0, 99))
@settings(deadline=None)
def test_no_row_is_lost_and_no_order_is_broken(values: list[float | None], seed: int) -> None:
    known = labels(len(values), seed)
    made = Histograms.of(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)}), known)
    bins = made.columns["x"]
    assert bins.sums.sum() + bins.special.sum() == len(values)
    assert len(bins.keys) <= 8
    np.testing.assert_array_equal(bins.sums.sum(axis=0) + bins.special.sum(axis=0), made.totals)
    assert (np.diff(bins.values()) > 0).all()
    if bins.exact:
        finite = Counter(v + 0.0 for v in values if v is not None and np.isfinite(v))
        assert dict(zip(bins.values().tolist(), bins.sums.sum((1, 2)), strict=True)) == finite


@pytest.mark.parametrize("shape", ["normal", "uniform", "lognormal", "far_from_zero", "steps"])
def test_the_area_from_bins_is_within_a_thousandth_of_the_exact_one(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 8192)
    random = np.random.default_rng(3)
    rows = 60_000
    y = random.integers(0, 2, rows)
    x = random.normal(0.7 * y)
    x = {
        "normal": x, "uniform": 1 / (1 + np.exp(-x)), "lognormal": np.exp(4 * x),
        "far_from_zero": 1e9 + x, "steps": np.round(x * 10),
    }[shape]  # fmt: skip
    made = Histograms.of(pl.DataFrame({"x": x}), Labels(np.zeros(rows, np.int64), 1, y, 2))
    bins = made.columns["x"]
    found, resolution = auc(bins.sums[:, 0, 1], bins.sums[:, 0, 0])
    exact = roc_auc_score(y, x)
    assert abs(found - exact) <= 1e-3
    if not bins.exact:
        assert abs(found - exact) <= resolution + 1e-12
        assert resolution <= 1e-3
