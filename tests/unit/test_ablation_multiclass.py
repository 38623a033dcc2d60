"""Several classes: the closed form is what ridge regressions of their indicators give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from featurekit.analysis.ablation import losses
from featurekit.analysis.ablation.blocks import Rows
from featurekit.analysis.ablation.design import Design, fit_design
from featurekit.analysis.ablation.inference import Verdict
from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear
from featurekit.analysis.ablation.losses import Loss
from featurekit.analysis.ablation.surrogate import (
    closed_effects,
    closed_effects_of_rests,
    closed_gains,
    fit_surrogate,
    pair_effects,
)
from featurekit.analysis.ablation.tasks import Task
from featurekit.analysis.ablation.units import Kind
from featurekit.errors import DataError, UsageError
from tests.ablations import FEATURES, all_sets, columns_by_hand, mixed_rows, numbered

RELATIVE = 1e-8
"""What the closed form promises."""
ABSOLUTE = 1e-13
"""In units of the loss without features: an effect is a difference of two such losses, and
refitting rounds each of them."""


def classified(count: int = 700, classes: int = 4) -> pl.DataFrame:
    """Return rows of every kind whose label is one of some classes, as words; one is rare."""
    frame = mixed_rows(count)
    edges = frame["label"].quantile(0.04), frame["label"].quantile(0.5)
    far = frame["vector"].arr.get(0).abs() > 1.2
    places = [(frame["label"] > edge).cast(pl.Int64) for edge in edges]
    if classes == 4:
        places.append(far.cast(pl.Int64))
    code = pl.Series("label", np.sum([place.to_numpy() for place in places], axis=0))
    words = ["fog", "rain", "snow", "sun"]
    return frame.with_columns(code.replace_strict(range(4), words, return_dtype=pl.String))


def codes_of(frame: pl.DataFrame) -> Any:
    return np.unique(frame["label"].to_numpy(), return_inverse=True)[1]


def opened(frame: pl.DataFrame, weighted: bool) -> tuple[Rows, Design]:
    codes = codes_of(frame)
    rows = Rows(
        frame.lazy(),
        codes,
        frame["fold"].to_numpy(),
        frame["weight"].to_numpy() if weighted else None,
        classes=int(codes.max()) + 1,
    )
    return rows, fit_design(rows.frame, FEATURES)


def held_out_errors(
    frame: pl.DataFrame, design: Design, weighted: bool, penalty: float, left_out: Sequence[int]
) -> np.ndarray:
    """Return what scikit-learn's ridge regression of the indicators is off by; [rows, classes]."""
    codes = codes_of(frame)
    indicators = np.eye(codes.max() + 1)[codes]
    folds = frame["fold"].to_numpy()
    weights = frame["weight"].to_numpy() if weighted else np.ones(len(codes))
    kept = np.setdiff1d(np.arange(design.width), design.columns_of(left_out))
    errors: np.ndarray = np.empty_like(indicators)
    for fold in np.unique(folds):
        train = folds != fold
        x = columns_by_hand(frame, train, weights)[:, kept]
        if not len(kept):
            predicted = np.average(indicators[train], axis=0, weights=weights[train])
        else:
            model = Ridge(alpha=penalty, solver="svd")
            model.fit(x[train], indicators[train], sample_weight=weights[train])
            predicted = model.predict(x[~train])
        errors[~train] = indicators[~train] - predicted
    return errors


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 300.0])
def test_every_single_pair_and_group_equals_refitting(
    classes: int, weighted: bool, penalty: float
) -> None:
    frame = classified(classes=classes)
    rows, design = opened(frame, weighted)
    assert rows.labels == classes
    surrogate = fit_surrogate(rows, design, Loss.SQUARED, penalty, ordered=False, newton_steps=1)
    weights = frame["weight"].to_numpy() if weighted else np.ones(frame.height)

    def loss(left_out: Sequence[int]) -> float:
        errors = held_out_errors(frame, design, weighted, penalty, left_out)
        return float(np.average(np.sum(errors**2, axis=1), weights=weights))

    sets = all_sets()
    full, nothing = loss([]), loss(range(len(FEATURES)))
    expected = np.array([loss(some) - full for some in sets])
    close: dict[str, Any] = {"rtol": RELATIVE, "atol": ABSOLUTE * nothing}
    np.testing.assert_allclose(closed_effects(surrogate, sets), expected, **close)
    pairs = pair_effects(surrogate)
    for place, some in enumerate(sets):
        if len(some) <= 2:
            np.testing.assert_allclose(pairs[some[0], some[-1]], expected[place], **close)
    rests = [[other for other in range(8) if other not in some] for some in sets]
    gains = np.array([nothing - loss(rest) for rest in rests])
    np.testing.assert_allclose(closed_gains(surrogate, sets), gains, **close)


def test_the_rests_of_a_group_are_what_leaving_them_out_gives() -> None:
    rows, design = opened(classified(), weighted=True)
    surrogate = fit_surrogate(rows, design, Loss.SQUARED, 1.0, ordered=False, newton_steps=1)
    group = [0, 3, 4, 5, 7]
    rests = [[other for other in group if other != place] for place in group]
    found = closed_effects_of_rests(surrogate, group)
    np.testing.assert_allclose(found, closed_effects(surrogate, rests), rtol=RELATIVE)


@pytest.mark.parametrize("cells", [losses.CELLS, 3000])
@pytest.mark.parametrize("clusters", [None, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_errors_of_effects_are_those_of_the_summed_losses_of_rows(
    monkeypatch: pytest.MonkeyPatch, clusters: int | None, weighted: bool, cells: int
) -> None:
    monkeypatch.setattr(losses, "CELLS", cells)
    frame = classified(2000)
    weights = frame["weight"].to_numpy() if weighted else np.ones(frame.height)
    folds = frame["fold"].to_numpy()
    groups = np.arange(2000) if clusters is None else np.arange(2000) // (2000 // clusters)
    found = ablate_linear(
        frame,
        "label",
        features=FEATURES,
        folds="fold",
        weights="weight" if weighted else None,
        clusters=None if clusters is None else groups,
        groups={"some": ["b", "kind", "vector"]},
        residuals=True,
    )
    design = fit_design(frame.lazy(), FEATURES)
    full = held_out_errors(frame, design, weighted, 1.0, [])

    def error(change: np.ndarray, codes: np.ndarray) -> float:
        sums = np.bincount(codes, weights * (change - np.average(change, weights=weights)))
        count = len(sums)
        return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / weights.sum())

    # A number, a category of four values, a vector of three, and a group wider than the classes.
    for single, left_out in (
        (found.singles[4], [4]),
        (found.singles[5], [5]),
        (found.singles[7], [7]),
        (found.groups[0], [3, 5, 7]),
    ):
        without = held_out_errors(frame, design, weighted, 1.0, left_out)
        change = np.sum(without**2 - full**2, axis=1)
        assert single.effect == pytest.approx(np.average(change, weights=weights), rel=RELATIVE)
        expected = max(error(change, groups), error(change, folds))
        assert single.standard_error == pytest.approx(expected, rel=1e-7)
    brier = np.average(np.sum(full**2, axis=1), weights=weights)
    assert found.full_loss == pytest.approx(brier, rel=1e-10)
    assert found.residuals is not None
    np.testing.assert_allclose(found.residuals, full, atol=1e-9)
    np.testing.assert_allclose(found.residuals.sum(axis=1), 0.0, atol=1e-12)


def test_of_two_classes_everything_is_twice_that_of_one_indicator() -> None:
    frame = mixed_rows(1500)
    high = frame["label"].to_numpy() > 0.5
    options: dict[str, Any] = {"features": FEATURES, "folds": "fold", "weights": "weight"}
    one = ablate_linear(frame, high, task="regression", **options)
    two = ablate_linear(frame, np.where(high, "high", "low"), task="multiclass", **options)
    assert (two.task, two.classes) == (Task.MULTICLASS, ("high", "low"))
    assert one.relations
    assert [(some.kind, some.features, some.others) for some in one.relations] == [
        (some.kind, some.features, some.others) for some in two.relations
    ]
    assert two.baseline_loss == pytest.approx(2 * one.baseline_loss)
    for single, both in zip(one.singles, two.singles, strict=True):
        assert both.effect == pytest.approx(2 * single.effect, rel=1e-8, abs=1e-13)
        assert both.standard_error == pytest.approx(2 * single.standard_error, rel=1e-8)
        assert both.verdict is single.verdict
    assert one.pairs is not None
    assert two.pairs is not None
    np.testing.assert_allclose(two.pairs, 2 * one.pairs, rtol=1e-8, atol=1e-13)


def drawn(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 8000))


def thirds(values: np.ndarray) -> np.ndarray:
    """Return one of three words for every number."""
    words = np.array(["low", "middle", "top"])
    found: np.ndarray = words[np.digitize(values, np.quantile(values, [1 / 3, 2 / 3]))]
    return found


def test_a_noisy_older_copy_is_superseded() -> None:
    new, other, noise, error = drawn(3, 4)
    table = {"new": new, "old": new + 0.5 * noise, "other": other}
    label = thirds(new + 0.5 * other + 0.5 * error)
    found = ablate_linear(table, label, created={"new": 2024, "old": 2019})
    (relation,) = found.relations
    assert (relation.kind, relation.features, relation.others) == (Kind.LEGACY, ("old",), ("new",))
    assert relation.rescue_share == pytest.approx(1.0, abs=0.02)
    (redundant,) = ablate_linear(table, label).relations
    assert redundant.kind is Kind.REDUNDANT


def test_substitutes_complements_copies_and_free_riders_are_found() -> None:
    cause, one, two, signal, error, noise = drawn(4, 6)
    table = {
        "one": cause + 0.05 * one,
        "two": cause + 0.05 * two,
        # Only their sum says something.
        "masked": signal + 5 * noise,
        "mask": -5 * noise,
        "idle": error,
        "copy of idle": 2 * error - 1,
    }
    label = thirds(cause + signal)
    found = ablate_linear(table, label, groups={"with a rider": ["masked", "mask", "idle"]})
    kinds = {(some.kind, some.features) for some in found.relations}
    assert (Kind.SUBSTITUTES, ("one", "two")) in kinds
    assert (Kind.COMPLEMENTS, ("masked", "mask")) in kinds
    assert (Kind.DUPLICATE, ("copy of idle", "idle")) in kinds
    assert (Kind.FREE_RIDERS, ("idle",)) in kinds


def test_a_feature_that_tells_one_class_from_the_rest_matters_and_noise_does_not() -> None:
    x, z, noise, error = drawn(5, 4)
    label = np.where(x + 0.3 * error > 1.0, "high", thirds(z + error))
    found = ablate_linear({"x": x, "z": z, "noise": noise}, pl.Series(label, dtype=pl.Categorical))
    assert (found.task, found.loss) == (Task.MULTICLASS, Loss.SQUARED)
    assert found.classes == ("high", "low", "middle", "top")
    assert [single.verdict for single in found.singles] == [
        Verdict.MATTERS, Verdict.MATTERS, Verdict.NEGLIGIBLE,
    ]  # fmt: skip
    # What constant rates lose: 1 - sum of their squares.
    rates = np.unique(label, return_counts=True)[1] / len(label)
    assert found.baseline_loss == pytest.approx(1 - np.sum(rates**2), rel=1e-3)


def test_noise_is_said_to_matter_no_more_often_than_its_level() -> None:
    hits = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        x = random.normal(size=(300, 3))
        y = thirds(x[:, 0] + random.normal(size=300))
        found = ablate_linear(numbered(x), y, relations=False, pairs=False)
        hits += any(single.verdict is Verdict.MATTERS for single in found.singles[1:])
    # .05 of 200, and three standard errors of a rate: sqrt(.05 * .95 / 200) = .015.
    assert hits <= 200 * (0.05 + 3 * 0.0154)


def test_a_class_that_is_in_one_fold_only_is_no_obstacle() -> None:
    x = np.random.default_rng(6).normal(size=(300, 2))
    folds = np.arange(300) % 3
    label = np.where(x[:, 0] > 0, 2, 1)
    label[folds == 2] = np.where(x[folds == 2, 1] > 1, 3, label[folds == 2])
    found = ablate_linear(numbered(x), label, folds=folds)
    assert found.classes == (1, 2, 3)
    assert found.singles[0].effect > 0.1
    assert np.isfinite(found.full_loss)


def test_training_rows_of_one_class_are_refused() -> None:
    x = np.random.default_rng(7).normal(size=(300, 2))
    folds = np.arange(300) % 2
    label = np.where(folds == 0, "a", np.where(x[:, 0] > 0, "b", "c"))
    with pytest.raises(DataError, match="one label only"):
        ablate_linear(numbered(x), label, folds=folds)


def test_the_order_of_rows_changes_nothing() -> None:
    frame = classified(900).drop("fold")
    again = frame.sample(fraction=1.0, shuffle=True, seed=1)
    one, two = (ablate_linear(rows, "label", weights="weight") for rows in (frame, again))
    for first, second in zip(one.singles, two.singles, strict=True):
        assert first.effect == pytest.approx(second.effect, rel=1e-8, abs=1e-11)
        assert first.standard_error == pytest.approx(second.standard_error, rel=1e-7)


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.Boolean, pl.String])
def test_two_values_of_any_type_are_one_binary_label(kind: Any) -> None:
    x = np.random.default_rng(8).normal(size=(500, 2))
    high = pl.Series(x[:, 0] > 0.2)
    label = high.cast(pl.Int8).cast(kind) if kind != pl.Boolean else high
    found, expected = (ablate_linear(numbered(x), some) for some in (label, high))
    assert (found.task, found.loss) == (Task.BINARY, Loss.LOG)
    assert found.singles[0].effect == expected.singles[0].effect


def residuals_of(found: LinearAblation) -> np.ndarray:
    assert found.residuals is not None
    return found.residuals


def test_residuals_are_those_of_rows_that_were_held_out() -> None:
    frame = mixed_rows(800)
    folds = (frame["fold"].to_numpy() - 1).astype(int)
    options: dict[str, Any] = {"features": ["a", "c"], "residuals": True}
    found = ablate_linear(frame, "label", folds=folds, **options)
    residuals = residuals_of(found)
    assert residuals.shape == (800,)
    np.testing.assert_array_equal(np.isnan(residuals), folds < 0)
    assert np.nanmean(residuals**2) == pytest.approx(found.full_loss, rel=1e-10)
    ordered = residuals_of(ablate_linear(frame, "label", folds=folds, ordered=True, **options))
    np.testing.assert_array_equal(np.isnan(ordered), folds < 1)
    assert ablate_linear(frame, "label", folds=folds, features=["a"]).residuals is None


def test_residuals_of_a_binary_label_are_it_less_the_probability() -> None:
    random = np.random.default_rng(9)
    x = random.normal(size=(3000, 2))
    y = random.random(3000) < 1 / (1 + np.exp(-x @ [1.0, -0.5]))
    folds = random.integers(0, 3, 3000)
    found = residuals_of(ablate_linear(numbered(x), y, folds=folds, residuals=True))
    for fold in range(3):
        train = folds != fold
        model = LogisticRegression(C=1.0, tol=1e-10).fit(x[train], y[train])
        # Two Newton steps are not all of them.
        expected = y[~train] - model.predict_proba(x[~train])[:, 1]
        np.testing.assert_allclose(found[~train], expected, atol=0.02)


def test_too_many_classes_are_refused() -> None:
    x = np.arange(300.0)
    with pytest.raises(UsageError, match="150 classes"):
        ablate_linear({"x": x}, (np.arange(300) // 2).astype(str))
