"""Planted leaks are found, clean features are not flagged, and noise raises no alarm.

`tests/leaks.py` draws the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit.analysis.findings import Severity
from featurekit.analysis.leakage.scan import Scan, scan
from tests.leaks import in_sentences, rows_table, series_table, walks_table

EXPECTED = {
    "leak_proxy": {"proxy"}, "leak_proxy_reversed": {"proxy"},
    "leak_proxy_in_no_order": {"proxy"}, "leak_late_backfill": {"proxy", "pure_value"},
    "leak_status": {"proxy"}, "leak_missing": {"missingness"},
    "leak_missing_never": {"missingness"}, "leak_value": {"pure_value"},
    "leak_id_word": {"identifier"}, "leak_id_digit": {"identifier"},
    "leak_target_encoding": {"target_encoding"},
    "leak_target_encoding_smoothed": {"target_encoding"},
    "leak_leave_one_out": {"leave_one_out"}, "leak_scaler": {"scaler"},
    "leak_scaler_range": {"scaler"}, "leak_difference_a": {"pair"}, "leak_difference_b": {"pair"},
    "leak_ratio_a": {"pair"}, "leak_ratio_b": {"pair"}, "leak_product_a": {"pair"},
    "leak_product_b": {"pair"}, "leak_future_label": {"future_label"},
    "leak_future_noise": {"future_label"}, "leak_window": {"own_label", "proxy"},
    "leak_so_far": {"own_label"}, "leak_decaying": {"proxy", "own_label"},
    "leak_backfill": {"proxy"},
}  # fmt: skip
"""What each planted leak is called when it is found."""

TABLES: list[tuple[Callable[[int], Any], dict[str, Any]]] = [
    (rows_table, {"split": "part"}),
    (series_table, {"entity": "who", "time": "when"}),
    (walks_table, {"time": "when"}),
]


def flagged(result: Scan) -> dict[str, set[str]]:
    """Return the kinds of the findings of each feature, notes left out; "" for the table."""
    out: dict[str, set[str]] = {}
    for finding in result.findings:
        in_sentences(finding.message, finding.advice)
    for finding in result.flagged:
        for name in finding.features or ("",):
            out.setdefault(name, set()).add(finding.kind)
    return out


@pytest.mark.parametrize(("table", "roles"), TABLES, ids=["rows", "series", "walks"])
def test_planted_leaks_are_found_and_clean_features_are_not_flagged(
    table: Callable[[int], Any], roles: dict[str, Any]
) -> None:
    missed, alarms, planted, clean = [], [], 0, 0
    for seed in range(100, 106):
        frame, leaks, fair = table(seed)
        found = flagged(scan(frame, label="y", **roles))
        missed += [(seed, name) for name in leaks if not found.get(name, set()) & EXPECTED[name]]
        alarms += [(seed, name, kinds) for name, kinds in found.items() if name not in leaks]
        planted, clean = planted + len(leaks), clean + len(fair)
    assert len(missed) <= 0.01 * planted, missed
    assert len(alarms) <= 0.01 * clean, alarms


@pytest.mark.parametrize(("columns", "tables"), [(10, 40), (100, 20), (1_000, 3)])
def test_pure_noise_raises_alarms_no_more_often_than_stated(columns: int, tables: int) -> None:
    alarms = 0
    for seed in range(tables):
        random = np.random.default_rng([columns, seed])
        rows = int(random.choice([60, 300, 2_000]))
        kinds = (
            lambda: random.normal(size=rows), lambda: random.integers(0, 5, rows),  # noqa: B023
            lambda: random.choice(["a", "b", "c"], rows),  # noqa: B023
            lambda: [f"w{i}" for i in random.integers(0, rows // 2, rows)],  # noqa: B023
            lambda: np.where(random.random(rows) < 0.3, np.nan, random.normal(size=rows)),  # noqa: B023
        )  # fmt: skip
        frame = pl.DataFrame({f"x{i}": kinds[i % len(kinds)]() for i in range(columns)})
        label = random.random(rows) < random.choice([0.1, 0.5])
        alarms += bool(scan(frame.with_columns(y=pl.Series(label)), label="y").flagged)
    # The stated level is 5%: so many tables of 40 are exceeded with a chance below 1 in 100.
    assert alarms <= max(1, 0.05 * tables + 3), f"{alarms} of {tables}"


def test_along_time_a_quantity_is_told_from_what_persists_with_it() -> None:
    random = np.random.default_rng(5)
    y = random.normal(size=4_000)
    for t in range(1, 4_000):
        y[t] += 0.5 * y[t - 1]
    walk = np.cumsum(random.normal(size=4_000))
    last = np.concatenate([[np.nan], y[:-1]])
    frame = pl.DataFrame(
        {
            "leak_copy": y + random.normal(0, 0.1, 4_000), "leak_next": np.append(y[1:], np.nan),
            "leak_window": np.convolve(y, np.ones(5) / 5)[:4_000], "leak_sum": np.cumsum(y),
            "leak_so_far": np.cumsum(y) / np.arange(1, 4_001), "clean_last": last,
            "clean_sum": np.cumsum(np.nan_to_num(last)), "clean_walk": walk,
            "clean_window": np.convolve(np.nan_to_num(last), np.ones(5) / 5)[:4_000],
            "y": y, "when": np.arange(4_000),
        }
    ).fill_nan(None)  # fmt: skip
    assert flagged(scan(frame, label="y", time="when")) == {
        "leak_copy": {"proxy"}, "leak_next": {"future_label"}, "leak_window": {"own_label"},
        "leak_sum": {"own_label"}, "leak_so_far": {"own_label"},
    }  # fmt: skip
    # The label itself a walk: its last value explains nearly all of it, and so does any copy.
    walks = pl.DataFrame({"clean_last": np.roll(walk, 1), "y": walk, "when": np.arange(4_000)})
    result = scan(walks, label="y", time="when")
    assert not result.flagged
    assert "both persist explains the rest" in result.findings[0].message


def test_a_value_of_one_long_stretch_is_no_leak_and_one_that_goes_with_each_turn_is() -> None:
    random = np.random.default_rng(6)
    stretch = np.repeat(random.integers(0, 2, 40), 100)
    stretch[:400] = 1
    turns = (stretch + (random.random(4_000) < 0.2)) % 2
    frame = pl.DataFrame(
        {
            "clean_season": np.where(np.arange(4_000) < 400, "winter", "other"),
            "leak_code": np.where((turns == 1) & (random.random(4_000) < 0.3), "paid", "none"),
            "y": np.where(np.arange(4_000) < 400, 1, turns), "when": np.arange(4_000),
        }
    )  # fmt: skip
    result = scan(frame, label="y", time="when")
    assert flagged(result) == {"leak_code": {"pure_value"}}
    assert [f.features for f in result.findings if f not in result.flagged] == [("clean_season",)]


def test_a_reason_that_is_there_for_one_class_alone_is_found_though_each_value_is_rare() -> None:
    random = np.random.default_rng(8)
    y = random.random(4_000) < 0.3
    mark, by_chance = y & (random.random(4_000) < 0.3), random.random(4_000) < 0.09
    reasons = random.choice(["weather", "crew", "strike"], 4_000)
    frame = pl.DataFrame(
        {
            "leak_reason": [r if m else None for r, m in zip(reasons, mark, strict=True)],
            "clean_reason": [r if m else None for r, m in zip(reasons, by_chance, strict=True)],
            "y": y, "when": np.arange(4_000),
        }
    )  # fmt: skip
    for time in (None, "when"):
        result = scan(frame, label="y", time=time)
        assert flagged(result) == {"leak_reason": {"missingness"}}
        (finding,) = result.flagged
        assert f"is there in {mark.sum():,} rows, of which 100.00% are of the class" in (
            finding.message
        )


def test_a_value_is_found_among_more_values_than_have_a_bin_of_their_own() -> None:
    random = np.random.default_rng(9)
    y = random.random(20_000) < 0.3
    amount, other, third = random.lognormal(0, 2, (3, 20_000))
    frame = pl.DataFrame(
        {
            "leak_code": np.where(y & (random.random(20_000) < 0.3), -1.0, amount),
            "clean_code": np.where(random.random(20_000) < 0.1, -1.0, other),
            "clean_strong": third + 2 * y, "y": y, "when": np.arange(20_000),
        }
    )  # fmt: skip
    for time in (None, "when"):
        result = scan(frame, label="y", time=time)
        assert not result.features["leak_code"].exact
        assert flagged(result) == {"leak_code": {"pure_value"}}
        assert "is the value '-1' in" in result.flagged[0].message


def test_along_time_a_rare_value_that_turns_with_its_class_is_no_mere_persistence() -> None:
    random = np.random.default_rng(1)
    y = random.random(5_000) < 0.04
    for t in range(1, 5_000):
        y[t] = y[t - 1] if random.random() < 0.9 else y[t]
    # Of the rows where the class begins less often than later on, so that it looks persistent.
    before = np.concatenate([[False], y[:-1]])
    mark = y & (random.random(5_000) < np.where(before, 0.9, 0.6))
    frame = pl.DataFrame(
        {
            "leak_code": np.where(mark, "paid", "none"),
            "clean_code": np.where(before, "paid", "none"), "y": y, "when": np.arange(5_000),
        }
    )  # fmt: skip
    result = scan(frame, label="y", time="when")
    assert mark.mean() < 0.05
    assert flagged(result) == {"leak_code": {"proxy"}}
    (finding,) = result.flagged
    assert finding.message.endswith("; but 'paid' turns with its class.")


def test_a_plain_encoding_of_few_categories_is_found() -> None:
    frame, _, _ = rows_table(9)
    few = frame.with_columns(color=pl.int_range(pl.len()) % 4)
    encoded = few.select("y", "clean_noise", x=pl.col("y").mean().over("color").cast(pl.Float32))
    assert flagged(scan(encoded, label="y")) == {"x": {"target_encoding"}}


def test_a_copy_of_a_quantity_is_a_proxy_and_no_encoding() -> None:
    random = np.random.default_rng(1)
    y = random.integers(0, 60, 3_000)
    some = np.where(random.random(3_000) < 0.01, 0, y)
    frame = pl.DataFrame({"copy": y * 1.8 + 32, "some": some, "same": y.astype(float), "y": y})
    result = scan(frame, label="y")
    assert flagged(result) == {"copy": {"proxy"}, "same": {"proxy"}, "some": {"proxy"}}
    worst = {finding.features[0]: finding.severity for finding in result.flagged}
    assert worst["copy"] is worst["same"] is Severity.CRITICAL


def test_what_is_a_mean_label_by_chance_is_no_encoding() -> None:
    """The share of two votes is right about pairs that disagree by chance; so are tiny groups."""
    wrong = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        votes, other = random.integers(0, 2, (2, 200))
        agreed = np.where(votes == other, votes, random.integers(0, 2, 200))
        tables = [
            pl.DataFrame({"x": (votes + other) / 2, "y": agreed}),
            pl.DataFrame({"x": np.repeat(np.arange(50), 2), "y": random.integers(0, 2, 100)}),
            pl.DataFrame({"x": random.integers(0, 30, 120), "y": random.random(120) < 0.9}),
        ]
        for place, table in enumerate(tables):
            kinds = {finding.kind for finding in scan(table, label="y").findings}
            wrong += [(seed, place)] * ("target_encoding" in kinds)
    assert len(wrong) <= 1, wrong


def test_nothing_depends_on_the_order_of_rows_and_columns() -> None:
    frame, _, _ = rows_table(7)
    order = sorted(frame.columns, key=lambda name: name[::-1])
    turned = frame.select(order).sample(fraction=1, shuffle=True, seed=1)
    one, other = (scan(table, label="y", split="part").to_dict() for table in (frame, turned))
    assert one == other


def test_without_time_a_window_with_its_own_label_stands_out_beside_the_one_before() -> None:
    frame, _, _ = series_table(3)
    some = frame.select("leak_so_far", "clean_so_far", "clean_noise", "y")
    pairs = {finding.features for finding in scan(some, label="y").flagged}
    assert pairs == {("clean_so_far", "leak_so_far")}
