"""What models of an ablation read, what their mistakes cost, and what shuffling says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from featurekit.analysis.ablation.estimators import read_inputs, read_learner, without_columns
from featurekit.analysis.ablation.permutation import permute
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.tasks import Label, Task, read_label
from featurekit.errors import DataError, UsageError

ROWS = 4000


class Says:
    """An estimator whose answers are given."""

    def __init__(self, shares: np.ndarray) -> None:
        self.shares = shares
        self.classes_ = np.arange(shares.shape[1])

    def predict_proba(self, _: Any) -> np.ndarray:
        return self.shares

    def predict(self, _: Any) -> np.ndarray:
        return np.asarray(self.shares.argmax(axis=1))


def binary(rows: int = ROWS) -> tuple[Label, Says, np.ndarray]:
    """Return a label, a model of it, and weights."""
    random = np.random.default_rng(3)
    odds = random.normal(size=rows)
    rate = 1.0 / (1.0 + np.exp(-odds))
    label = read_label(pl.Series(random.random(rows) < rate))
    return label, Says(np.column_stack([1 - rate, rate])), random.uniform(0.5, 2.0, rows)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("neg_log_loss", lambda y, p, w: metrics.log_loss(y, p, sample_weight=w)),
        ("neg_brier_score", lambda y, p, w: metrics.brier_score_loss(y, p, sample_weight=w)),
        ("accuracy", lambda y, p, w: 1 - metrics.accuracy_score(y, p > 0.5, sample_weight=w)),
        ("roc_auc", lambda y, p, w: 1 - metrics.roc_auc_score(y, p, sample_weight=w)),
        ("average_precision",
         lambda y, p, w: 1 - metrics.average_precision_score(y, p, sample_weight=w)),
        ("f1", lambda y, p, w: 1 - metrics.f1_score(y, p > 0.5, sample_weight=w)),
    ],
)  # fmt: skip
def test_a_metric_is_that_of_scikit_learn(name: str, expected: Any, weighted: bool) -> None:
    label, model, weights = binary()
    rows = np.arange(ROWS)
    heavy = weights if weighted else None
    found = read_metric(name, label.task).losses(model, None, label, rows, rows % 97, heavy)
    assert found.mean == pytest.approx(expected(label.values, model.shares[:, 1], heavy), rel=1e-9)
    assert (np.diff(found.parts) > 0).all()


def test_the_error_of_an_area_under_a_curve_is_delongs() -> None:
    label, model, _ = binary()
    rows = np.arange(ROWS)
    metric = read_metric("roc_auc", label.task)
    found = metric.losses(model, None, label, rows, rows, None)
    values = found.sums / found.weights
    error = values.std(ddof=1) / np.sqrt(len(values))
    # DeLong, DeLong and Clarke-Pearson, 1988: the variance of the mean placement of either class.
    up, down = (model.shares[label.values == k, 1] for k in (1, 0))
    placed = (up[:, None] > down).astype(float)
    delong = np.sqrt(placed.mean(1).var(ddof=1) / len(up) + placed.mean(0).var(ddof=1) / len(down))
    # An estimate from 40 groups has a relative deviation of about 1 / sqrt(2 * 39), or .11.
    assert error == pytest.approx(delong, rel=0.35)


def test_a_class_that_no_training_row_has_costs_what_it_must() -> None:
    label = read_label(pl.Series(["a", "b", "c", "a"]))
    model = Says(np.array([[0.5, 0.5]] * 4))
    found = read_metric(None, Task.MULTICLASS).losses(
        model, None, label, np.arange(4), np.zeros(4, int), None
    )
    # Three rows at log 2; the third class is clipped at 1e-15.
    assert found.mean == pytest.approx((3 * np.log(2) - np.log(1e-15)) / 4)


def test_metrics_that_do_not_fit_are_named() -> None:
    with pytest.raises(UsageError, match="no scorer 'roc_acu'"):
        read_metric("roc_acu", Task.BINARY)
    with pytest.raises(UsageError, match="metric of numbers; the task is binary"):
        read_metric("neg_mean_squared_error", Task.BINARY)
    label, model, _ = binary(60)
    one = Label(label.task, np.zeros(60), label.classes)
    rows = np.arange(60)
    with pytest.raises(DataError, match="roc_auc is not defined"):
        read_metric("roc_auc", label.task).losses(model, None, one, rows, rows, None)
    numbers = read_label(pl.Series(np.linspace(0, 1, 60)))
    nothing = np.zeros((60, 1))
    fitted, metric = Ridge().fit(nothing, numbers.values), read_metric("roc_auc", numbers.task)
    with pytest.raises(UsageError, match="roc_auc cannot judge Ridge"):
        metric.losses(fitted, nothing, numbers, rows, rows, None)
    with pytest.raises(UsageError, match="Perceptron predicts no probabilities"):
        read_metric(None, label.task).losses(Perceptron(), None, label, rows, rows, None)


MIXED = pl.DataFrame(
    {
        "number": [1.0, None, 3.0, float("inf")],
        "word": ["b", "a", None, "b"],
        "vector": pl.Series([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=pl.Array(pl.Int64, 2)),
        "code": [7, 9, 7, 5],
        "flag": [True, False, None, True],
    }
)


def test_the_default_model_reads_numbers_and_codes() -> None:
    inputs = read_inputs(MIXED, read_learner(None, Task.REGRESSION), ["code"])
    nan = float("nan")
    # By name; words and codes by frequency, ties by themselves: b a; 7 5 9.
    expected = [
        [0, 1, 1, 1, 2, 0], [2, 0, nan, 3, 4, 1], [0, nan, 3, 5, 6, nan], [1, 1, nan, 7, 8, 0],
    ]  # fmt: skip
    np.testing.assert_array_equal(inputs.values, np.array(expected))
    assert inputs.categorical.tolist() == [True, False, False, False, False, True]
    assert inputs.columns["vector"] == (3, 4)
    assert inputs.kept(["vector", "word"]).tolist() == [0, 1, 2]


def test_other_models_read_a_frame() -> None:
    inputs = read_inputs(MIXED, read_learner(Ridge(), Task.REGRESSION), ())
    assert list(inputs.values.columns) == [
        "code", "flag", "number", "vector_0", "vector_1", "word",
    ]  # fmt: skip
    assert inputs.values["word"].cat.categories.tolist() == ["a", "b"]
    backwards = read_inputs(MIXED.reverse(), read_learner(Ridge(), Task.REGRESSION), ())
    assert backwards.values["word"].cat.categories.tolist() == ["a", "b"]


def test_pipelines_do_without_columns_that_they_name() -> None:
    encode = make_column_transformer((OneHotEncoder(), ["c", "d"]), ("passthrough", ["x"]))
    inner = Pipeline([("encode", encode), ("model", LogisticRegression())])
    made = without_columns(CalibratedClassifierCV(inner), {"c", "x"})
    kept = made.estimator.named_steps["encode"].transformers
    assert [columns for _, _, columns in kept] == [["d"]]
    by_type = ColumnTransformer([("n", StandardScaler(), make_column_selector("x"))])
    assert callable(without_columns(by_type, {"x"}).transformers[0][2])
    with pytest.raises(UsageError, match="by their places"):
        without_columns(make_column_transformer((StandardScaler(), [0])), {"x"})
    boosted = HistGradientBoostingRegressor(categorical_features=["c", "d"])
    assert without_columns(boosted, {"c"}).categorical_features == ["d"]


def test_models_that_cannot_be_are_named(monkeypatch: Any, tmp_path: Any) -> None:
    for given, said in (
        ("sklearn", "module:name"), ("nowhere:make", "cannot be imported"), (7, "a model has fit"),
        ("sklearn.linear_model:Ridge", "is for another"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            read_learner(given, Task.BINARY)
    (tmp_path / "mine.py").write_text(
        "from sklearn.linear_model import Ridge\n\ndef make():\n    return Ridge(alpha=3)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert read_learner("mine:make", Task.REGRESSION).make().alpha == 3


def problem(table: pl.DataFrame, y: Any, folds: int = 5) -> Problem:
    """Return rows that are held out by their places, which here mean nothing."""
    places = np.arange(table.height)
    return Problem(table, read_label(pl.Series(y)), places % folds, places % 512)


def test_shuffling_finds_what_a_feature_says_beyond_the_others() -> None:
    random = np.random.default_rng(0)
    rows, r = 10_000, 0.5
    x = random.normal(size=rows)
    z = r * x + np.sqrt(1 - r**2) * random.normal(size=rows)
    table = pl.DataFrame({"x": x, "z": z, "noise": random.normal(size=rows)})
    y = x + z + random.normal(size=rows)
    found = permute(
        problem(table, y), read_learner(LinearRegression(), Task.REGRESSION),
        read_metric(None, Task.REGRESSION), families={"declared": {"both": ["x", "z"]}},
    )  # fmt: skip
    worth = {one.name: one for one in (*found.singles, *found.groups["declared"])}
    # Two draws of x given z differ by a variance of 2 (1 - r^2); a leaf with 40 of 20,000 rows is
    # not yet a point, which mixes a little of z in. Both together: 2 Var(x + z), nothing is given.
    for name in ("x", "z"):
        assert worth[name].effect == pytest.approx(2 * (1 - r**2), rel=0.12)
        assert worth[name].verdict == "matters"
    assert worth["both"].effect == pytest.approx(2 * (2 + 2 * r), rel=0.1)
    assert worth["noise"].verdict == "negligible"
    assert found.baseline_loss == pytest.approx(np.var(y), rel=0.01)


def test_shuffling_does_not_depend_on_the_order_of_rows_and_columns() -> None:
    random = np.random.default_rng(1)
    table = pl.DataFrame({"x": random.normal(size=1500), "c": random.choice(["a", "b", "c"], 1500)})
    y = table["x"].to_numpy() + (table["c"].to_numpy() == "a") + random.normal(size=1500)
    encode = make_column_transformer((OneHotEncoder(), ["c"]), ("passthrough", ["x"]))
    fitted = make_pipeline(encode, LinearRegression()).fit(table.to_pandas(), y)
    order = random.permutation(1500)
    results = []
    for some, label, parts in (
        (table, y, np.arange(1500) % 300),
        (table.select("c", "x")[order], y[order], order % 300),
    ):
        given = Problem(some, read_label(pl.Series(label)), np.zeros(1500, int), parts)
        found = permute(
            given, read_learner(fitted, Task.REGRESSION), read_metric(None, Task.REGRESSION),
            families={},
        )  # fmt: skip
        results.append({one.name: (one.effect, one.standard_error) for one in found.singles})
        assert found.folds == 1
    assert results[0]["x"] == pytest.approx(results[1]["x"], rel=1e-9)
    assert results[0]["c"] == pytest.approx(results[1]["c"], rel=1e-9)


def test_a_fitted_classifier_is_asked_in_its_own_words() -> None:
    random = np.random.default_rng(2)
    x, z = random.normal(size=(2, 3000))
    y = np.where(x + random.logistic(size=3000) > 0, "yes", "no")
    table = pl.DataFrame({"x": x, "z": z})
    fitted = LogisticRegression().fit(table.to_pandas(), y)
    for name in (None, "accuracy", "roc_auc"):
        found = permute(
            problem(table, y), read_learner(fitted, Task.BINARY), read_metric(name, Task.BINARY),
            families={},
        )  # fmt: skip
        matters, other = (str(one.verdict) for one in found.singles)
        assert matters == "matters"
        assert other != "matters"
    assert found.full_loss == pytest.approx(
        1 - metrics.roc_auc_score(y == "yes", fitted.predict_proba(table.to_pandas())[:, 1])
    )


def test_rows_that_are_equal_are_shuffled_like_others() -> None:
    random = np.random.default_rng(6)
    x, z = random.integers(0, 2, (2, 6000))
    y = 2.0 * x + random.normal(size=6000)
    table = pl.DataFrame({"x": x, "z": z})
    order = random.permutation(6000)
    results = []
    for some, label in ((table, y), (table[order], y[order])):
        parts = np.arange(6000) % 512 if some is table else order % 512
        given = Problem(some, read_label(pl.Series(label)), np.zeros(6000, int), parts)
        fitted = LinearRegression().fit(table.to_pandas(), y)
        found = permute(
            given, read_learner(fitted, Task.REGRESSION), read_metric(None, Task.REGRESSION),
            families={},
        )  # fmt: skip
        results.append(found.singles[0].effect)
    # Two fair coins differ every second time, by 2: a mean square of 2.
    assert results[0] == pytest.approx(2.0, rel=0.05)
    assert results[0] == pytest.approx(results[1], rel=1e-9)


def test_a_fitted_model_gets_its_own_columns() -> None:
    random = np.random.default_rng(8)
    table = pl.DataFrame({name: random.normal(size=800) for name in "xyz"})
    label = table["x"].to_numpy() + random.normal(size=800)
    fitted = LinearRegression().fit(table.select("z", "x").to_pandas(), label)
    found = permute(
        problem(table, label), read_learner(fitted, Task.REGRESSION),
        read_metric(None, Task.REGRESSION), families={},
    )  # fmt: skip
    assert {one.name: one.effect > 0.5 for one in found.singles} == {
        "x": True, "y": False, "z": False
    }  # fmt: skip
    with pytest.raises(UsageError, match="fitted with 'z', which is no feature here"):
        read_inputs(table.select("x"), read_learner(fitted, Task.REGRESSION), ())
    asked = LogisticRegression().fit(table.to_pandas(), label > 0)
    with pytest.raises(UsageError, match=r"the model tells .False, True. apart, and the label has"):
        permute(
            problem(table, np.where(label > 0, "u", "v")), read_learner(asked, Task.BINARY),
            read_metric(None, Task.BINARY), families={},
        )  # fmt: skip


def test_models_that_fail_are_said_to() -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    with pytest.raises(UsageError, match="no model can be made: ZeroDivisionError: oh"):
        read_learner(broken, Task.BINARY)
    table = pl.DataFrame({"c": [f"c{place}" for place in range(60)], "x": np.arange(60.0)})
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder="drop")
    learner = read_learner(make_pipeline(encode, LinearRegression()), Task.REGRESSION)
    given = problem(table, np.arange(60.0))
    with pytest.raises(UsageError, match="the model cannot predict: Found unknown categories"):
        permute(given, learner, read_metric(None, Task.REGRESSION), families={})
    inputs = read_inputs(table, learner, ())
    rows = np.arange(60)
    left = learner.fit(inputs, rows, np.arange(60.0), None, Task.REGRESSION, 0, ["c"])
    assert left.estimator.predict(inputs.take(rows[:2], left.kept)).tolist() == [29.5, 29.5]
