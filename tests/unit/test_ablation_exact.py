"""The closed form is what training again without the columns gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featurekit.analysis.ablation.blocks import Rows
from featurekit.analysis.ablation.dealing import deal_folds
from featurekit.analysis.ablation.design import Design, fit_design
from featurekit.analysis.ablation.gram import gram, merge
from featurekit.analysis.ablation.linear import MAX_CLUSTERS, LinearAblation, ablate_linear
from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.surrogate import (
    closed_effects,
    closed_effects_of_rests,
    fit_surrogate,
    pair_effects,
)
from featurekit.errors import DataError, UsageError
from tests.ablations import FEATURES, all_sets, columns_by_hand, mixed_rows, numbered

RELATIVE = 1e-8
"""What the closed form promises."""
ABSOLUTE = 1e-13
"""In units of the loss without features: an effect is a difference of two such losses, and
refitting rounds each of them."""


def opened(frame: pl.DataFrame, weighted: bool) -> tuple[Rows, Design]:
    label = frame["label"].to_numpy(writable=True)
    rows = Rows(
        frame.lazy(),
        label - label.mean(),
        frame["fold"].to_numpy(),
        frame["weight"].to_numpy() if weighted else None,
    )
    return rows, fit_design(rows.frame, FEATURES)


def refitted(
    frame: pl.DataFrame,
    design: Design,
    weighted: bool,
    penalty: float,
    sets: Sequence[Sequence[int]],
) -> tuple[np.ndarray, float]:
    """Return held-out changes of the mean squared error, each by solving the equations anew."""
    y = frame["label"].to_numpy()
    folds = frame["fold"].to_numpy()
    weights = frame["weight"].to_numpy() if weighted else np.ones(len(y))
    losses = np.zeros(len(sets) + 2)
    for fold in np.unique(folds):
        train = folds != fold
        x = columns_by_hand(frame, train, weights)
        center = np.average(y[train], weights=weights[train])
        for place, left_out in enumerate([[], *sets, range(len(FEATURES))]):
            kept = np.setdiff1d(np.arange(design.width), design.columns_of(left_out))
            inner, outer = x[train][:, kept], x[~train][:, kept]
            normal = inner.T @ (weights[train][:, None] * inner) + penalty * np.eye(len(kept))
            slopes = np.linalg.solve(normal, inner.T @ (weights[train] * (y[train] - center)))
            error = y[~train] - center - outer @ slopes
            losses[place] += weights[~train] @ error**2
    losses /= weights.sum()
    return losses[1:-1] - losses[0], losses[-1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 300.0])
def test_every_single_pair_and_group_equals_refitting(weighted: bool, penalty: float) -> None:
    frame = mixed_rows()
    rows, design = opened(frame, weighted)
    surrogate = fit_surrogate(rows, design, Loss.SQUARED, penalty, ordered=False, newton_steps=1)
    sets = all_sets()
    expected, scale = refitted(frame, design, weighted, penalty, sets)
    found = closed_effects(surrogate, sets)
    np.testing.assert_allclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE * scale)
    pairs = pair_effects(surrogate)
    for place, some in enumerate(sets):
        if len(some) <= 2:
            assert pairs[some[0], some[-1]] == pytest.approx(
                expected[place], rel=RELATIVE, abs=ABSOLUTE * scale
            )


def test_the_rests_of_a_group_are_what_leaving_them_out_gives() -> None:
    rows, design = opened(mixed_rows(), weighted=True)
    surrogate = fit_surrogate(rows, design, Loss.SQUARED, 1.0, ordered=False, newton_steps=1)
    group = [0, 3, 4, 5, 7]
    rests = [[other for other in group if other != place] for place in group]
    found = closed_effects_of_rests(surrogate, group)
    np.testing.assert_allclose(found, closed_effects(surrogate, rests), rtol=RELATIVE)


def test_without_a_penalty_every_effect_equals_least_squares() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(300, 4))
    y = x @ [1.0, 0.5, 0.0, -1.0] + random.normal(size=300)
    folds = np.arange(300) % 3
    found = ablate_linear(numbered(x), y, folds=folds, penalty=0.0)
    for place, single in enumerate(found.singles):
        losses = []
        for kept in (np.arange(4), np.delete(np.arange(4), place)):
            wrong = 0.0
            for fold in range(3):
                train = folds != fold
                full = np.column_stack([np.ones(300), x[:, kept]])
                slopes = np.linalg.lstsq(full[train], y[train])[0]
                wrong += np.sum((y[~train] - full[~train] @ slopes) ** 2)
            losses.append(wrong / 300)
        # Two least-squares fits, each exact to rounding.
        assert single.effect == pytest.approx(losses[1] - losses[0], rel=1e-9, abs=1e-13)
        assert found.full_loss == pytest.approx(losses[0], rel=1e-12)


def test_copies_without_a_penalty_are_refused() -> None:
    x = np.random.default_rng(4).normal(size=(100, 1))
    with pytest.raises(UsageError, match="not determined"):
        ablate_linear({"x": x[:, 0], "twice": 2 * x[:, 0]}, x[:, 0] ** 2, penalty=0.0)


def test_the_full_model_is_that_of_scikit_learn() -> None:
    frame = mixed_rows()
    names = ["a", "b", "c", "near a"]
    x = frame.select(names).to_numpy()
    y, folds = frame["label"].to_numpy(), frame["fold"].to_numpy()
    found = ablate_linear(frame, "label", features=names, folds="fold", penalty=20.0)
    wrong = 0.0
    for fold in range(4):
        train = folds != fold
        model = make_pipeline(
            SimpleImputer(add_indicator=True),
            StandardScaler(),
            Ridge(alpha=20.0, solver="cholesky"),
        )
        model.fit(x[train], y[train])
        wrong += np.sum((y[~train] - model.predict(x[~train])) ** 2)
    assert found.full_loss == pytest.approx(wrong / len(y), rel=1e-9)
    # The mean of the training rows is not quite that of all.
    assert found.baseline_loss == pytest.approx(y.var(), rel=0.01)


@pytest.mark.parametrize("clusters", [None, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_effects_and_their_errors_are_those_of_the_losses_of_rows(
    clusters: int | None, weighted: bool
) -> None:
    frame = mixed_rows(2000)
    y, folds = frame["label"].to_numpy(), frame["fold"].to_numpy()
    weights = frame["weight"].to_numpy() if weighted else np.ones(len(y))
    x = frame.select("a", pl.col("large") - 1e9, "near a").to_numpy()
    groups = np.arange(len(y)) if clusters is None else np.arange(len(y)) // (len(y) // clusters)
    found = ablate_linear(
        frame,
        "label",
        features=["a", "large", "near a"],
        folds="fold",
        weights="weight" if weighted else None,
        clusters=None if clusters is None else groups,
        groups={"both": ["a", "near a"]},
    )
    change = losses_without(x, y, folds, weights, [1, 2]) - losses_without(
        x, y, folds, weights, [0, 1, 2]
    )
    effect = np.average(change, weights=weights)
    single = found.singles[0]
    assert single.effect == pytest.approx(effect, rel=RELATIVE)

    def error(codes: np.ndarray) -> float:
        sums = np.bincount(codes, weights * (change - effect))
        count = len(sums)
        return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / weights.sum())

    assert single.standard_error == pytest.approx(max(error(groups), error(folds)), rel=1e-7)
    assert found.clusters == groups.max() + 1
    together = losses_without(x, y, folds, weights, [1]) - losses_without(
        x, y, folds, weights, [0, 1, 2]
    )
    expected = np.average(together, weights=weights)
    assert found.groups[0].effect == pytest.approx(expected, rel=RELATIVE)


def test_the_logistic_surrogate_is_close_to_fits_without_each_feature() -> None:
    random = np.random.default_rng(6)
    count = 4000
    x = random.normal(size=(count, 4))
    odds = x @ [0.8, -0.5, 0.2, 0.0] - 0.4
    y = random.random(count) < 1 / (1 + np.exp(-odds))
    folds = np.arange(count) % 5
    found = ablate_linear(numbered(x), y, folds=folds)
    assert found.loss is Loss.LOG

    def loss(kept: list[int]) -> float:
        total = 0.0
        for fold in range(5):
            train = folds != fold
            # No penalty to speak of; the surrogate's is 1, on 3,200 rows.
            model = LogisticRegression(C=1.0, tol=1e-10).fit(x[train][:, kept], y[train])
            right = model.predict_proba(x[~train][:, kept])[
                np.arange((~train).sum()), y[~train] * 1
            ]
            total -= np.log(right).sum()
        return total / count

    full = loss([0, 1, 2, 3])
    assert found.full_loss == pytest.approx(full, abs=1e-4)
    for place, single in enumerate(found.singles):
        refit = loss([other for other in range(4) if other != place]) - full
        # Two Newton steps instead of all of them, and one for the ablation: within 3% for the
        # strongest feature, and within a tenth of the standard error for one that does nothing.
        assert single.effect == pytest.approx(refit, rel=0.03, abs=0.1 * single.standard_error)


def test_the_expansion_of_the_log_loss_is_close_to_the_log_loss() -> None:
    random = np.random.default_rng(16)
    x = random.normal(size=(5000, 3))
    y = random.random(5000) < 1 / (1 + np.exp(-x @ [0.3, -0.2, 0.0]))
    found = ablate_linear(numbered(x), y, groups={"two": ["x0", "x1"]})
    assert found.pairs is not None
    # What is left out is of the fourth order in the change of the log odds, which varies by .3 here
    # (the third order averages out): about .3^2 / 4 of the effect; 7% were seen at .6.
    for place, single in enumerate(found.singles):
        assert found.pairs[place, place] == pytest.approx(single.effect, rel=0.05, abs=1e-5)
    assert found.pairs[0, 1] == pytest.approx(found.groups[0].effect, rel=0.05)


def test_a_label_that_a_feature_tells_exactly_is_no_obstacle() -> None:
    x = np.random.default_rng(17).normal(size=(400, 2))
    found = ablate_linear(numbered(x), x[:, 0] > 0)
    assert found.singles[0].effect > 0.1
    assert np.isfinite(found.full_loss)


def test_a_weight_of_two_counts_as_two_rows() -> None:
    frame = mixed_rows(800).drop("weight")
    weights = pl.Series("weight", np.random.default_rng(18).integers(1, 4, 800))
    repeated = frame.with_columns(row=pl.int_range(800)).select(
        pl.all().repeat_by(weights).explode()
    )
    options: dict[str, Any] = {"features": ["a", "b", "kind"], "folds": "fold"}
    one = ablate_linear(
        frame.with_columns(weights, row=pl.int_range(800)), "label", weights="weight",
        clusters="row", max_levels=2, **options,
    )  # fmt: skip
    two = ablate_linear(repeated, "label", clusters="row", max_levels=2, **options)
    for first, second in zip(one.singles, two.singles, strict=True):
        assert first.effect == pytest.approx(second.effect, rel=1e-8)
        assert first.standard_error == pytest.approx(second.standard_error, rel=1e-8)


def test_many_clusters_taken_together_give_the_error_of_single_ones() -> None:
    random = np.random.default_rng(19)
    x = random.normal(size=(50_000, 2))
    y = x[:, 0] + random.normal(size=50_000)
    folds = np.arange(50_000) % 100
    rows = ablate_linear(numbered(x), y, folds=folds)
    merged = ablate_linear(numbered(x), y, folds=folds, clusters=random.permutation(50_000))
    assert (rows.clusters, merged.clusters) == (50_000, MAX_CLUSTERS)
    # A standard deviation of 4,096 sums is known to 1 / sqrt(2 * 4096) = 1.1%.
    error = merged.singles[0].standard_error
    assert error == pytest.approx(rows.singles[0].standard_error, rel=0.04)


def test_the_order_of_rows_and_columns_changes_nothing() -> None:
    frame = mixed_rows(900).drop("fold")
    again = frame.sample(fraction=1.0, shuffle=True, seed=1).select(reversed(frame.columns))
    one, two = (
        ablate_linear(rows, "label", weights="weight", created={"a": 2, "copy of a": 1})
        for rows in (frame, again)
    )
    others = {single.name: single for single in two.singles}
    for single in one.singles:
        other = others[single.name]
        # Sums in another order round differently; copies make that a little more.
        assert single.effect == pytest.approx(other.effect, rel=1e-8, abs=1e-11)
        assert single.standard_error == pytest.approx(other.standard_error, rel=1e-7)
        assert single.verdict == other.verdict

    def named(found: LinearAblation) -> list[tuple[str, set[str], set[str]]]:
        return [(one.kind.value, set(one.features), set(one.others)) for one in found.relations]

    assert named(one) == named(two)
    assert named(one)


def test_batches_and_a_lazy_frame_give_what_one_table_gives(tmp_path: Path) -> None:
    frame = mixed_rows(9000)
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=700)
    lazy = pl.scan_parquet(tmp_path / "rows.parquet")
    one, two = (
        ablate_linear(rows, "label", folds="fold", weights="weight", relations=False)
        for rows in (frame, lazy)
    )
    for first, second in zip(one.singles, two.singles, strict=True):
        assert first.effect == pytest.approx(second.effect, rel=1e-9, abs=1e-12)


def test_gram_matrices_of_parts_merge_into_that_of_all_rows_near_1e9() -> None:
    random = np.random.default_rng(8)
    exact = np.round(random.normal(size=(5000, 2)), 3)
    weights = random.random(5000)
    far = np.array([1e9, -1e9])
    values = np.column_stack([exact + far - far, np.ones(5000)])
    parts = [gram(values[start : start + 617], weights[start : start + 617])
             for start in range(0, 5000, 617)]  # fmt: skip
    whole = merge(parts)
    mean = np.average(values[:, :2], axis=0, weights=weights)
    away = values[:, :2] - mean
    np.testing.assert_allclose(whole.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(whole.scatter, away.T @ (weights[:, None] * away), rtol=1e-11)
    assert whole.rows == 5000


def test_values_near_1e9_give_the_effects_of_their_distances_from_it() -> None:
    random = np.random.default_rng(9)
    x = np.round(random.normal(size=(1500, 3)), 4)
    y = x @ [1.0, 0.3, 0.0] + random.normal(size=1500)
    near, far = (
        ablate_linear(numbered(x + shift), y + shift, folds=np.arange(1500) % 5)
        for shift in (0.0, 1e9)
    )
    for one, two in zip(near.singles, far.singles, strict=True):
        # Numbers near 1e9 are known to 1e-7 (the label loses as much).
        assert two.effect == pytest.approx(one.effect, abs=1e-6)


def test_constant_features_and_columns_that_miss_in_one_fold_only_are_worth_nothing() -> None:
    random = np.random.default_rng(10)
    x = random.normal(size=600)
    folds = np.arange(600) % 3
    late = pl.Series(random.normal(size=600)).set(pl.Series(folds == 2), None)
    found = ablate_linear(
        {"x": x, "constant": np.full(600, 0.1), "late": late, "one word": np.full(600, "a")},
        x + random.normal(size=600),
        folds=folds,
    )
    effects = {single.name: single.effect for single in found.singles}
    assert effects["constant"] == 0.0
    assert effects["one word"] == 0.0
    assert abs(effects["late"]) < 0.02
    assert all(np.isfinite(single.high) for single in found.singles)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.0, 123.456, 7e5, 1e9])
def test_a_feature_that_varies_in_one_fold_only_is_constant_where_that_is_held_out(
    constant: float,
) -> None:
    random = np.random.default_rng(13)
    x = random.normal(size=900)
    folds = np.arange(900) % 3
    once = np.where(folds == 1, constant + random.normal(size=900), constant)
    flag = np.where(folds == 2, random.random(900) < 0.5, True)
    y = x + random.normal(size=900)
    found = ablate_linear({"x": x, "once": once, "flag": flag}, y, folds=folds)
    alone = ablate_linear({"x": x}, y, folds=folds)
    # Both are noise: what they cost is of the order of 2 / 600.
    assert found.full_loss == pytest.approx(alone.full_loss, rel=0.02)


def test_ordered_folds_are_held_out_from_models_of_earlier_ones() -> None:
    random = np.random.default_rng(11)
    x = random.normal(size=(800, 2))
    y = x[:, 0] + random.normal(size=800)
    folds = np.arange(800) // 200
    found = ablate_linear(numbered(x), y, folds=folds, ordered=True, penalty=0.0)
    assert (found.folds, found.rows) == (3, 600)
    wrong = 0.0
    for fold in (1, 2, 3):
        train, test = folds < fold, folds == fold
        full = np.column_stack([np.ones(800), x])
        slopes = np.linalg.lstsq(full[train], y[train])[0]
        wrong += np.sum((y[test] - full[test] @ slopes) ** 2)
    assert found.full_loss == pytest.approx(wrong / 600, rel=1e-10)


def test_rows_of_a_negative_fold_take_no_part() -> None:
    frame = mixed_rows(600)
    without = frame.with_columns(fold=pl.when(pl.col("fold") == 3).then(-1).otherwise("fold"))
    part = frame.filter(pl.col("fold") != 3)
    options: dict[str, Any] = {"features": ["a", "c"], "folds": "fold", "relations": False}
    one, two = ablate_linear(without, "label", **options), ablate_linear(part, "label", **options)
    assert one.rows == two.rows == 450
    for first, second in zip(one.singles, two.singles, strict=True):
        assert first.effect == pytest.approx(second.effect, rel=1e-9)


def test_clusters_stay_in_one_fold() -> None:
    clusters = pl.Series(np.random.default_rng(12).integers(0, 50, 1000).astype(str))
    dealt = deal_folds(pl.LazyFrame(), [], 5, clusters, np.zeros(1000), None, seed=0)
    table = pl.DataFrame({"cluster": clusters, "fold": dealt})
    assert table.group_by("cluster").agg(pl.col("fold").n_unique())["fold"].to_list() == [1] * 50
    assert table.unique().group_by("fold").len()["len"].to_list() == [10] * 5


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"label": "lable"}, UsageError, "did you mean 'label'"),
        ({"features": ["a", "bb"]}, UsageError, "'bb'"),
        ({"groups": {"g": ["a", "zz"]}}, UsageError, "group 'g'"),
        ({"groups": {"g": []}}, UsageError, "needs a member"),
        ({"features": []}, UsageError, "no feature"),
        ({"features": ["a", "a"]}, UsageError, "twice"),
        ({"features": ["a", "label"]}, UsageError, "'label' is a feature, and"),
        ({"folds": 1}, UsageError, "at least 2"),
        ({"folds": "large"}, UsageError, "expected integers"),
        ({"folds": np.zeros(5, dtype=int)}, UsageError, "5 values for 700 rows"),
        ({"folds": np.zeros(700, dtype=int)}, UsageError, "too few"),
        ({"task": "ranking"}, UsageError, "ranking"),
        ({"task": "binary"}, UsageError, "0 and 1"),
        ({"label": np.zeros(9)}, UsageError, "9 values for 700 rows"),
        ({"label": "kind", "task": "regression"}, UsageError, "needs numbers"),
        ({"label": "b"}, DataError, "missing"),
        ({"weights": np.full(700, -1.0)}, UsageError, "negative"),
        ({"folds": 5, "ordered": True}, UsageError, "in time"),
        ({"penalty": -1.0}, UsageError, "penalty"),
        ({"clusters": np.zeros(700, dtype=int)}, UsageError, "1 cluster"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], error: type[Exception], said: str) -> None:
    options: dict[str, Any] = {"label": "label", "features": ["a", "c"], "folds": "fold"} | change
    with pytest.raises(error, match=said):
        ablate_linear(mixed_rows(), **options)


def losses_without(
    x: np.ndarray, y: np.ndarray, folds: np.ndarray, weights: np.ndarray, kept: list[int]
) -> np.ndarray:
    """Return every row's squared error in a ridge regression of some columns, penalty 1."""
    losses = np.empty(len(y))
    for fold in np.unique(folds):
        train = folds != fold
        mean = np.average(x[train], axis=0, weights=weights[train])
        scale = np.sqrt(np.average((x[train] - mean) ** 2, axis=0, weights=weights[train]))
        z = ((x - mean) / scale)[:, kept]
        center = np.average(y[train], weights=weights[train])
        normal = z[train].T @ (weights[train][:, None] * z[train]) + np.eye(len(kept))
        slopes = np.linalg.solve(normal, z[train].T @ (weights[train] * (y[train] - center)))
        losses[~train] = (y[~train] - center - z[~train] @ slopes) ** 2
    return losses
