"""Pairs that a linear model misses are found, and what single features do is not taken for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from featurekit.analysis.ablation import bins, tables
from featurekit.analysis.ablation.bins import MAX_FINE, bin_rows, fit_bins
from featurekit.analysis.ablation.inference import Verdict
from featurekit.analysis.ablation.interactions import PairCandidate, interaction_candidates
from featurekit.analysis.ablation.linear import ablate_linear
from featurekit.analysis.ablation.tables import Tables, interaction_tests
from featurekit.errors import DataError, UsageError

Table = Mapping[str, Any]


def drawn(seed: int, count: int, rows: int = 6000) -> np.ndarray:
    """Return independent standard normal columns, one after the other."""
    return np.random.default_rng(seed).normal(size=(count, rows))


def named(columns: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{place}": column for place, column in enumerate(columns)}


def scanned(table: Table, label: Any, **options: Any) -> tuple[PairCandidate, ...]:
    """Return the candidates in what a linear model of the table leaves."""
    found = ablate_linear(table, label, residuals=True, relations=False, pairs=False)
    assert found.residuals is not None
    return interaction_candidates(table, found.residuals, **options)


def pairs_of(found: tuple[PairCandidate, ...]) -> list[tuple[str, str]]:
    return [one.features for one in found]


def test_an_exclusive_or_with_noise_is_found_and_no_linear_effect_sees_it() -> None:
    *x, noise = drawn(1, 7)
    label = np.sign(x[1] * x[4]) + x[0] + 2 * noise
    found = ablate_linear(named(np.array(x)), label, residuals=True)
    assert [single.name for single in found.singles if single.verdict is Verdict.MATTERS] == ["x0"]
    assert found.residuals is not None
    (pair,) = interaction_candidates(named(np.array(x)), found.residuals)
    assert pair.features == ("x1", "x4")
    # The variance of the sign is 1, that of the noise 4.
    assert pair.share == pytest.approx(1 / 5, abs=0.03)
    assert pair.p_value < 1e-20
    assert pair.f > 10
    assert (pair.rows, pair.column) == (6000, 0)
    # Eight bins of each.
    assert pair.freedom[0] == 49


def test_an_exclusive_or_of_a_binary_label_is_found() -> None:
    *x, noise = drawn(2, 6)
    label = np.where(noise > 1.0, noise > 1.3, x[0] * x[3] > 0)
    assert pairs_of(scanned(named(np.array(x)), label)) == [("x0", "x3")]


def test_two_features_that_are_multiplied_are_found_beside_others_that_are() -> None:
    *x, noise = drawn(3, 7)
    label = 2 * x[0] * x[1] + x[2] * x[3] + x[4] ** 2 + noise
    found = scanned(named(np.array(x)), label)
    assert pairs_of(found) == [("x0", "x1"), ("x2", "x3")]
    # Of the variances 4, 1 and 1 that are left when the square is told alone; of a product, cells
    # see the square of what the means of the eight bins keep of the variance, which is 94.5%.
    assert found[0].share == pytest.approx(0.945**2 * 4 / 6, abs=0.08)
    assert found[1].share == pytest.approx(0.945**2 * 1 / 6, abs=0.04)


def test_one_class_of_several_that_two_features_tell_together_is_found() -> None:
    *x, noise = drawn(4, 5)
    words = np.array(["a", "b", "c"])
    label = np.where((x[0] * x[2] > 0) & (noise < 0.5), "d", words[np.digitize(x[1], [-0.5, 0.5])])
    found = scanned(named(np.array(x)), label)
    assert found[0].features == ("x0", "x2")
    assert found[0].column == 3


def test_categories_times_truth_values_and_missing_values_take_part() -> None:
    random = np.random.default_rng(5)
    rows = 8000
    x, y, noise = random.normal(size=(3, rows))
    kind = random.choice(["a", "b", "c", *map(str, range(40))], rows, p=[0.2] * 3 + [0.01] * 40)
    number = random.integers(0, 1000, rows)
    absent = random.random(rows) < 0.3
    flag = random.random(rows) < 0.4
    day = pl.Series(number).cast(pl.Date)
    table = {
        "flag": flag,
        "kind": kind,
        "day": day,
        "x": x,
        "y": pl.Series(y).set(pl.Series(absent), None),
        "id": random.integers(0, 5, rows),
    }
    label = (
        np.where(kind == "b", x, 0.0)
        + np.sign(flag - 0.5) * np.sign(number - 499.5)
        + np.where(absent, 1.0, -1.0) * np.isin(table["id"], [1, 3])
        + noise
    )
    found = scanned(table, label, categorical=["id"])
    assert set(pairs_of(found)) == {("kind", "x"), ("day", "flag"), ("id", "y")}


def curved(x: np.ndarray, _: np.random.Generator) -> Any:
    """Return curves of single features, without any noise that could hide a mistake."""
    return np.sin(2 * x[0]) + x[1] ** 2 + 0.1 * np.exp(x[2])


def noise(x: np.ndarray, random: np.random.Generator) -> Any:
    return random.normal(size=x.shape[1])


def curved_noise(x: np.ndarray, random: np.random.Generator) -> Any:
    return curved(x, random) + noise(x, random)


def varying(x: np.ndarray, random: np.random.Generator) -> Any:
    return np.exp((x[0] + x[1]) / 2) * random.normal(size=x.shape[1])


def probable(x: np.ndarray, random: np.random.Generator) -> Any:
    chance = 1 / (1 + np.exp(-2 * x[0] - 2 * x[1]))
    return (random.random(x.shape[1]) < chance) - chance


def rare(x: np.ndarray, random: np.random.Generator) -> Any:
    chance = 1 / (1 + np.exp(4.5 - x[0] - x[1]))
    return (random.random(x.shape[1]) < chance) - chance


@pytest.mark.parametrize("common", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("left", [noise, curved, curved_noise, varying, probable, rare])
def test_what_is_no_joint_effect_is_flagged_no_more_often_than_the_level(
    left: Callable[[np.ndarray, np.random.Generator], Any], common: float
) -> None:
    trials = 150
    hits = 0
    for seed in range(trials):
        random = np.random.default_rng(seed)
        x = np.sqrt(1 - common) * random.normal(size=(5, 2000))
        x += np.sqrt(common) * random.normal(size=2000)
        residuals = left(x, random)
        hits += bool(interaction_candidates(named(x), residuals))
    # Three standard errors of a rate: sqrt(.05 * .95 / 150) = .018; .1 in all.
    assert hits <= trials * (0.05 + 3 * np.sqrt(0.05 * 0.95 / trials))


@pytest.mark.parametrize("common", [0.0, 0.5, 0.9])
def test_curves_of_many_rows_are_no_joint_effect(common: float) -> None:
    random = np.random.default_rng(6)
    x = np.sqrt(1 - common) * random.normal(size=(6, 60_000))
    x += np.sqrt(common) * random.normal(size=60_000)
    label = curved(x, random) + x[3] + 0.5 * random.normal(size=60_000)
    assert not scanned(named(x), label)


def test_a_logistic_regression_that_has_converged_leaves_no_joint_effect() -> None:
    named_pairs = {2: 0, 4: 0}
    for seed in range(8):
        random = np.random.default_rng(seed)
        x = (random.normal(size=(4, 5000)) + random.normal(size=5000)) / np.sqrt(2)
        label = random.random(5000) < 1 / (1 + np.exp(-2 * x[0] - 2 * x[1]))
        for steps in named_pairs:
            found = ablate_linear(
                named(x), label, newton_steps=steps, residuals=True, relations=False, pairs=False
            )
            assert found.residuals is not None
            named_pairs[steps] += bool(interaction_candidates(named(x), found.residuals))
    # At a level of .05, more than two of eight are named once in 170 times.
    assert named_pairs[4] <= 2
    # What two steps leave is there, and is seen.
    assert named_pairs[2] > named_pairs[4]


def test_a_curve_of_a_sum_of_features_is_a_joint_effect_but_not_where_the_sum_is_a_feature() -> (
    None
):
    x, y, error = drawn(7, 3, 20_000)
    label = (x + y) ** 2 + error
    assert pairs_of(scanned({"x": x, "y": y}, label)) == [("x", "y")]
    assert not scanned({"x": x, "y": y, "sum": x + y}, label)


def test_a_feature_that_resembles_one_of_a_pair_comes_behind_it() -> None:
    x, y, error, noise = drawn(19, 4, 20_000)
    table = {"x": x, "like x": x + 0.5 * error, "y": y}
    found = scanned(table, np.sign(x * y) + noise)
    assert pairs_of(found) == [("x", "y"), ("like x", "y")]
    assert found[1].share < 0.7 * found[0].share


def test_three_features_of_which_no_two_say_anything_are_not_found() -> None:
    x, y, z, error = drawn(8, 4)
    label = np.sign(x * y * z) + error
    assert not scanned({"x": x, "y": y, "z": z}, label)
    # Two of them as one do find it; that is what a declared group is to be tried with.
    assert pairs_of(scanned({"x y": np.sign(x * y), "z": z}, label)) == [("x y", "z")]


def drawn_tables(seed: int, weighted: bool) -> Tables:
    """Return tables with empty cells, and one whose rows and columns fall into two parts."""
    random = np.random.default_rng(seed)
    rows = 3000
    first = random.integers(0, 5, rows)
    beside = np.minimum(first + random.integers(0, 3, rows), 5)
    apart = np.where(first < 2, random.integers(0, 2, rows), 2 + random.integers(0, 3, rows))
    codes = np.array([first, beside, apart, np.zeros(rows)], dtype=np.uint8)
    errors = random.normal(size=(rows, 2)) * (1 + first)[:, None] + (beside == first)[:, None] / 2
    weights = random.lognormal(size=rows) if weighted else None
    return Tables(codes, errors, weights, 7)


@pytest.mark.parametrize("weighted", [False, True])
def test_tests_are_those_of_least_squares_with_a_column_for_each_bin(weighted: bool) -> None:
    given = drawn_tables(9, weighted)
    found = interaction_tests(given, 1)
    weights = given.weights if given.weights is not None else np.ones(given.codes.shape[1])
    for test, (one, two) in enumerate(zip(found.first, found.second, strict=True)):
        cells = given.codes[one].astype(int) * 7 + given.codes[two]
        counts = np.bincount(cells, minlength=49)
        kept = np.flatnonzero(counts >= tables.LEAST_ROWS)
        design = np.hstack([np.eye(7)[kept // 7], np.eye(7)[kept % 7]])
        rank = np.linalg.matrix_rank(design)
        freedom = len(kept) - rank
        assert found.rows[test] == counts[kept].sum()
        if freedom == 0:
            assert found.p_value[test] == 1.0
            continue
        squares = []
        for errors in given.errors.T:
            kurtosis = np.mean((weights * errors) ** 4) / np.mean((weights * errors) ** 2) ** 2
            prior = max(tables.LEAST_ROWS, kurtosis)
            sums = np.bincount(cells, (weights * errors) ** 2, minlength=49)[kept]
            root = np.sqrt(counts[kept])
            fit = np.linalg.lstsq(root[:, None] * design, sums / root)[0]
            smooth = np.maximum(design @ fit, 0.1 * sums.sum() / counts[kept].sum())
            variance = (sums + prior * smooth) / (counts[kept] + prior)
            weight = np.bincount(cells, weights, minlength=49)[kept]
            means = np.bincount(cells, weights * errors, minlength=49)[kept] / weight
            root = weight / np.sqrt(counts[kept] * variance)
            fit = np.linalg.lstsq(root[:, None] * design, root * means)[0]
            squares.append(np.sum(root**2 * (means - design @ fit) ** 2))
        rows, square = counts[kept].sum(), max(squares)
        rest = rows - rank - freedom
        f = square / freedom / ((rows - square) / rest)
        assert (found.freedom[test], found.rest[test]) == (freedom, rest)
        assert found.column[test] == np.argmax(squares)
        assert found.f[test] == pytest.approx(f, rel=1e-8)
        assert found.p_value[test] == pytest.approx(min(1, 2 * stats.f.sf(f, freedom, rest)))
        # The share, in units of the errors.
        errors = given.errors[:, found.column[test]]
        means = np.bincount(cells, weights * errors, minlength=49)[kept] / weight
        fit = np.linalg.lstsq(np.sqrt(weight)[:, None] * design, np.sqrt(weight) * means)[0]
        told = np.sum(weight * (means - design @ fit) ** 2)
        whole = np.sum(weights * errors**2)
        taken = freedom * np.mean(weights**2) * (whole - told) / (3000 - freedom)
        assert found.share[test] == pytest.approx(max(0.0, told - taken) / whole, abs=1e-10)


def test_with_equal_variances_the_statistic_is_nearly_that_of_an_analysis_of_variance() -> None:
    random = np.random.default_rng(10)
    rows = 20_000
    one, two = random.integers(0, 4, (2, rows))
    errors = random.normal(size=rows) + 0.12 * (one == two)
    found = interaction_tests(
        Tables(np.array([one, two], dtype=np.uint8), errors[:, None], None, 4), 1
    )
    columns = np.hstack([np.eye(4)[one], np.eye(4)[two]])
    alone = errors - columns @ np.linalg.lstsq(columns, errors)[0]
    cells = np.eye(16)[one * 4 + two]
    both = errors - cells @ np.linalg.lstsq(cells, errors)[0]
    classic = (alone @ alone - both @ both) / 9 / (both @ both / (rows - 16))
    assert found.freedom[0] == 9
    # Variances of 1,250 rows are known to sqrt(2 / 1250) = 4%.
    assert found.f[0] == pytest.approx(classic, rel=0.04)
    assert classic > 3


def test_weights_count_as_rows_and_rows_without_them_take_no_part() -> None:
    x, y, error = drawn(11, 3, 4000)
    twice = np.random.default_rng(11).integers(0, 3, 4000)
    residuals = np.where(twice > 0, np.sign(x * y) + error, 1e3 * np.sign(y - x))
    table = {"x": x, "y": y}
    weighted = interaction_candidates(table, residuals, weights=np.minimum(twice, 1))
    gaps = interaction_candidates(table, np.where(twice > 0, residuals, np.nan))
    kept = {name: values[twice > 0] for name, values in table.items()}
    without = interaction_candidates(kept, residuals[twice > 0])
    assert weighted == gaps == without
    heavy = interaction_candidates(pl.DataFrame({**table, "w": twice}), residuals, weights="w")
    assert pairs_of(heavy) == [("x", "y")]
    assert heavy[0].share == pytest.approx(without[0].share, abs=0.05)


def test_the_order_of_rows_and_columns_and_the_kind_of_table_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bins, "SAMPLE", 2000)
    x = drawn(12, 5, 9000)
    frame = pl.DataFrame(
        {**named(x), "kind": np.where(x[4] > 1, "a", "b"), "left": x[0] * x[1] + 0.3 * x[2] * x[3]}
    )
    again = frame.sample(fraction=1.0, shuffle=True, seed=1).select(reversed(frame.columns))
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=1000)
    lazy = pl.scan_parquet(tmp_path / "rows.parquet")
    one, two, three = (
        interaction_candidates(rows.drop("left"), left["left"].to_numpy(), level=1.0)
        for rows, left in ((frame, frame), (again, again), (lazy, frame))
    )
    assert pairs_of(one)[:2] == [("x0", "x1"), ("x2", "x3")]
    assert one == three
    for first, second in zip(one, two, strict=True):
        assert first.features == second.features
        assert first.share == pytest.approx(second.share, rel=1e-6, abs=1e-9)
        assert first.p_value == pytest.approx(second.p_value, rel=1e-6)
    other = interaction_candidates(frame.drop("left"), frame["left"].to_numpy(), seed=1)
    assert pairs_of(other) == pairs_of(one)[:2]
    # Other rows make slightly other bins.
    assert other[0].share != one[0].share


def test_what_has_no_pair_is_no_candidate() -> None:
    x, error = drawn(13, 2, 3000)
    nothing = pl.Series([None] * 3000, dtype=pl.Float64)
    table = {
        "x": x,
        "copy": 2 * x + 1,
        "constant": np.ones(3000),
        "nothing": nothing,
        "vector": pl.Series(np.column_stack([x, error]), dtype=pl.Array(pl.Float64, 2)),
    }
    residuals = np.sign(x * error)
    # A copy has one cell in each row, and a constant has one row: there is no test to count.
    assert not interaction_candidates(table, residuals, level=1.0)
    assert not interaction_candidates({"x": x}, residuals)
    assert not interaction_candidates({"x": x, "y": error}, np.zeros(3000))
    assert not interaction_candidates({"x": x, "y": error}, np.full(3000, np.nan))
    assert not interaction_candidates({"x": x[:15], "y": error[:15]}, residuals[:15])


def test_no_more_than_the_top_are_told_and_p_values_count_all_pairs() -> None:
    x = drawn(14, 5)
    residuals = sum(x[place] * x[place + 1] for place in range(4))
    found = interaction_candidates(named(x), residuals, top=3)
    assert len(found) == 3
    every = interaction_candidates(named(x), residuals, top=100)
    assert set(pairs_of(every)) >= {(f"x{place}", f"x{place + 1}") for place in range(4)}
    assert found == every[:3]
    shares = [one.share for one in every]
    assert shares == sorted(shares, reverse=True)


def test_p_values_count_all_pairs_and_all_columns() -> None:
    *x, error, other = drawn(18, 7)
    left = 0.15 * x[0] * x[1] + error
    for residuals, columns in ((left, 1), (np.column_stack([other, left]), 2)):
        (pair,) = interaction_candidates(named(np.array(x)), residuals)
        # Ten pairs of five features: the smallest p-value counts ten times.
        expected = 10 * columns * stats.f.sf(pair.f, *pair.freedom)
        assert 0 < pair.p_value == pytest.approx(expected)
        assert pair.column == columns - 1


@pytest.mark.parametrize("fine", [4, 16, MAX_FINE])
def test_fine_bins_hold_equally_many_rows_and_lie_in_one_coarse_bin(fine: int) -> None:
    values = np.random.default_rng(15).normal(size=10_000)
    values[:3] = [np.nan, np.inf, -np.inf]
    frame = pl.LazyFrame({"x": values})
    every = np.ones(10_000, dtype=bool)
    of = fit_bins(frame, ["x"], every, np.arange(10_000, dtype=np.uint64), fine=fine, bins=4)
    (codes,) = bin_rows(frame, of, every)
    assert (codes[:3] == fine).all()
    sizes = np.bincount(codes[3:])
    assert len(sizes) == fine
    assert sizes.max() - sizes.min() <= 1
    wide = of["x"].coarse[codes]
    assert (wide[:3] == 4).all()
    assert np.bincount(wide[3:]).tolist() == pytest.approx([2500] * 4, abs=2)
    lowest = [values[3:][wide[3:] == place].min() for place in range(4)]
    assert lowest == sorted(lowest)


def test_values_that_repeat_have_bins_of_their_own_and_unseen_ones_the_next() -> None:
    values = np.array([0.0] * 90 + [1.0] * 6 + [5.0] * 4)
    words = ["a"] * 60 + ["b"] * 30 + ["c"] * 6 + ["d"] * 4
    frame = pl.LazyFrame({"number": values, "word": words})
    every, hashes = np.ones(100, dtype=bool), np.arange(100, dtype=np.uint64)
    of = fit_bins(frame, ["number", "word"], every, hashes, fine=8, bins=3)
    new = pl.DataFrame(
        {"number": [0.0, 1.0, 5.0, 3.0, 9.0, None], "word": ["a", "b", "c", "d", "new", None]}
    )
    numbers, kinds = (
        of[name].coarse[of[name].codes(new[name])].tolist() for name in ("number", "word")
    )
    assert numbers == [0, 1, 2, 2, 2, 3]
    assert kinds == [0, 1, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"features": ["x", "yy"]}, UsageError, "'yy'; did you mean|'yy'"),
        ({"bins": 1}, UsageError, "1 bins"),
        ({"bins": 1000}, UsageError, "1000 bins"),
        ({"residuals": np.zeros(7)}, UsageError, "shape"),
        ({"residuals": np.zeros((100, 0))}, UsageError, "shape"),
        ({"residuals": np.full(100, np.inf)}, UsageError, "infinite"),
        ({"weights": -np.ones(100)}, UsageError, "negative"),
        ({"weights": np.ones(7)}, UsageError, "7 values for 100 rows"),
        ({"weights": np.full(100, np.nan)}, DataError, "missing"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], error: type[Exception], said: str) -> None:
    options: dict[str, Any] = {"residuals": np.ones(100)} | change
    with pytest.raises(error, match=said):
        interaction_candidates({"x": np.arange(100), "y": np.ones(100)}, **options)
