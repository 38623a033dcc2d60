"""Ablation takes whatever a run can write: features that are missing, infinite, huge or alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

import featurekit as fk
from featurekit.analysis.ablation.estimators import Learner, read_inputs, read_learner
from featurekit.analysis.ablation.tasks import Task
from featurekit.errors import UsageError

ROWS = 360
FEW = 60
"""The last rows: by time, all folds but the last are earlier."""
X, ERROR, OTHER = np.random.default_rng(3).normal(size=(3, ROWS))
PLACES = np.arange(ROWS)
LATE = PLACES >= ROWS - 3 * FEW
TIERS = ["linear", "permutation", "retrain"]


def only(chosen: np.ndarray, values: Any, dtype: Any = None) -> pl.Series:
    """Return values where they are chosen, and nothing elsewhere."""
    known = [value if taken else None for value, taken in zip(values, chosen, strict=True)]
    return pl.Series(known, dtype=dtype)


def vectors(values: Any, width: int, of: Any = pl.Float32) -> pl.Series:
    return pl.Series(list(values), dtype=pl.Array(of, width))


FEATURES: dict[str, Callable[[], pl.Series]] = {
    "missing_in_all_rows": lambda: pl.Series([None] * ROWS, dtype=pl.Float32),
    "missing_early": lambda: only(LATE, OTHER.tolist(), pl.Float32),
    "missing_late": lambda: only(~LATE, OTHER.tolist(), pl.Float64),
    "one_value_early": lambda: pl.Series(np.where(LATE, OTHER, 2.0)),
    "one_value": lambda: pl.Series([7.5] * ROWS),
    "one_value_or_missing": lambda: only(PLACES % 2 == 0, [1.0] * ROWS),
    "known_in_three_rows": lambda: only(PLACES % 120 == 0, OTHER.tolist()),
    "infinite": lambda: pl.Series(np.where(PLACES % 3, np.inf, OTHER)),
    "infinite_both_ways": lambda: pl.Series(np.where(PLACES % 2, np.inf, -np.inf)),
    "infinite_or_missing": lambda: only(PLACES % 2 == 0, [np.inf] * ROWS),
    "infinite_early": lambda: pl.Series(np.where(LATE, OTHER, np.inf), dtype=pl.Float32),
    "nan": lambda: pl.Series(np.where(PLACES % 3, np.nan, OTHER)),
    "nan_in_all_rows": lambda: pl.Series(np.full(ROWS, np.nan)),
    "huge": lambda: pl.Series(OTHER * 1e38),
    "huge_float32": lambda: pl.Series(np.clip(OTHER, -3.0, 3.0) * 1e38, dtype=pl.Float32),
    "huge_at_times": lambda: pl.Series(np.where(PLACES % 7, OTHER, 1e300)),
    "at_the_end_of_the_range": lambda: pl.Series(np.where(OTHER > 0.0, 1.7e308, 1.6e308)),
    "at_both_ends": lambda: pl.Series(np.where(OTHER > 0.0, 1.7e308, -1.7e308)),
    "tiny": lambda: pl.Series(OTHER * 1e-300),
    "subnormal": lambda: pl.Series(PLACES * 5e-324),
    "minus_zero": lambda: pl.Series(np.where(PLACES % 2, -0.0, 0.0)),
    "ids_beyond_2_to_53": lambda: pl.Series(2**62 + PLACES),
    "unsigned_ids": lambda: pl.Series((2**63 + PLACES.astype(np.uint64) * 7).astype(np.uint64)),
    "negative_ids": lambda: only(PLACES % 9 > 0, (-(2**63) + PLACES).tolist(), pl.Int64),
    "ids_of_both_signs": lambda: pl.Series(np.where(PLACES % 2, 2**63 - 1, -(2**63))),
    "truth": lambda: pl.Series(PLACES % 2 == 0),
    "truth_early_missing": lambda: only(LATE, (PLACES % 2 == 0).tolist(), pl.Boolean),
    "words": lambda: pl.Series([f"w{place}" for place in PLACES]),
    "many_levels": lambda: pl.Series([f"w{place % 300}" for place in PLACES]),
    "one_level": lambda: pl.Series(["only"] * ROWS),
    "one_level_early": lambda: pl.Series(np.where(LATE, "later", "early")),
    "unseen_levels": lambda: pl.Series([f"w{place // 40}" for place in PLACES]),
    "missing_words": lambda: only(LATE, ["a", "b", ""] * (ROWS // 3)),
    "category": lambda: pl.Series(["a", "b"] * (ROWS // 2), dtype=pl.Categorical),
    "enum": lambda: pl.Series(["a", "b"] * (ROWS // 2), dtype=pl.Enum(["b", "a", "never"])),
    "vector": lambda: vectors(np.column_stack([OTHER, OTHER**2]).tolist(), 2),
    "vector_missing_early": lambda: pl.Series(
        [[1.0, float(value)] if late else None for value, late in zip(OTHER, LATE, strict=True)],
        dtype=pl.Array(pl.Float64, 2),
    ),
    "vector_missing": lambda: vectors([None] * ROWS, 2),
    "vector_of_one_value": lambda: vectors([[1.0, 2.0]] * ROWS, 2),
    "vector_with_an_empty_element": lambda: vectors(([float(v), None] for v in OTHER), 2),
    "vector_of_nan": lambda: vectors(([np.nan, np.inf] for _ in OTHER), 2),
    "vector_of_no_width": lambda: vectors([[]] * ROWS, 0),
    "vector_of_huge_numbers": lambda: vectors(([float(v) * 1e200] for v in OTHER), 1, pl.Float64),
    "day": lambda: pl.Series(PLACES).cast(pl.Int32).cast(pl.Date),
    "moment": lambda: pl.Series(PLACES * 10**9).cast(pl.Datetime("us", "UTC")),
    "span": lambda: only(LATE, PLACES.tolist()).cast(pl.Duration("us")),
    "clock": lambda: pl.Series(PLACES * 10**9).cast(pl.Time),
    "decimal": lambda: pl.Series(PLACES).cast(pl.Decimal(20, 2)),
    "int128": lambda: pl.Series([10**20 * place for place in range(ROWS)], dtype=pl.Int128),
}
CODES = [
    name for name in FEATURES
    if name.endswith(("ids", "2_to_53", "early", "truth", "nan")) and "vector" not in name
]  # fmt: skip
TASKS: dict[str, pl.Series] = {
    "regression": pl.Series(X + ERROR),
    "binary": pl.Series(X + ERROR > 0.0),
    "multiclass": pl.Series(np.array(["a", "b", "c"])[np.digitize(X + ERROR, [-0.5, 0.5])]),
}


def table(*names: str, task: str) -> pl.DataFrame:
    odd = {name: FEATURES[name]() for name in names}
    return pl.DataFrame({"x": X, **odd, "label": TASKS[task], "when": PLACES})


def ablated(given: pl.DataFrame, timed: bool, **settings: Any) -> fk.AblationReport:
    roles: dict[str, Any] = {"time": "when"} if timed else {"exclude": ["when"]}
    defaults: dict[str, Any] = {"tiers": TIERS, "jobs": 1, "seeds": 1, "folds": 3, "budget": None}
    return fk.ablate(given, label="label", **roles, **(defaults | settings))


def measured(found: fk.AblationReport) -> set[str]:
    """Return the features that every tier measured, each with a finite effect."""
    names = [
        {one["name"] for one in tier["features"] if np.isfinite(one["effect"])}
        for tier in found.data["tiers"]
    ]
    assert all(of == names[0] for of in names)
    return names[0]


@pytest.mark.parametrize("name", FEATURES)
def test_every_tier_takes_any_feature(name: str) -> None:
    found = ablated(table(name, task="binary"), timed=True)
    assert measured(found) | set(found.data["of"]["constant"]) == {"x", name}
    assert found.data["verdicts"]["x"]["effect"] > 0.0


@pytest.mark.parametrize("timed", [True, False], ids=["in_time", "dealt"])
@pytest.mark.parametrize("task", TASKS)
def test_every_default_model_takes_all_of_them_together(
    task: str, timed: bool, tmp_path: Path
) -> None:
    found = ablated(table(*FEATURES, task=task), timed=timed, folds=2)
    assert measured(found) | set(found.data["of"]["constant"]) == {"x", *FEATURES}
    assert all(np.isfinite(tier["full"]) for tier in found.data["tiers"])
    found.to_html(tmp_path / "report.html")


@pytest.mark.parametrize("task", TASKS)
def test_numbers_that_are_declared_codes_are_taken_as_they_are(task: str) -> None:
    found = ablated(table(*CODES, task=task), timed=True, categorical=CODES)
    assert measured(found) == {"x", *CODES}


def test_what_is_missing_in_all_training_rows_is_worth_nothing_there() -> None:
    """The last fold alone could know the feature, and its model is of the earlier ones."""
    early = only(PLACES >= 250, OTHER.tolist())  # 288 rows are in folds, the last from 216 on
    given = pl.DataFrame({"x": X, "new": early, "label": X + ERROR, "when": PLACES})
    alone = given.drop("new")
    found, without = ablated(given, timed=True), ablated(alone, timed=True)
    for tier, other in zip(found.data["tiers"], without.data["tiers"], strict=True):
        new = next(one for one in tier["features"] if one["name"] == "new")
        assert (new["effect"], new["low"], new["high"]) == (0.0, 0.0, 0.0)
        assert tier["full"] == pytest.approx(other["full"], rel=1e-12)


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION])
def test_a_column_that_is_left_out_as_too_rarely_known_would_have_changed_nothing(
    task: Task,
) -> None:
    rare = only(PLACES % 60 == 0, OTHER.tolist())  # in 6 rows; a leaf holds 20
    given = pl.DataFrame({"x": X, "rare": rare, "z": OTHER})
    make = (
        HistGradientBoostingRegressor if task is Task.REGRESSION else HistGradientBoostingClassifier
    )
    truth = X + ERROR if task is Task.REGRESSION else (X + ERROR > 0.0).astype(float)
    learner = Learner("", lambda: make(random_state=0), matrix=True)
    inputs = read_inputs(given, learner, ())
    trained = learner.fit(inputs, PLACES, truth, None, task, 0)
    assert trained.kept.tolist() == [*inputs.columns["x"], *inputs.columns["z"]]
    whole = make(random_state=0).fit(inputs.values, truth)
    of = "predict" if task is Task.REGRESSION else "predict_proba"
    np.testing.assert_array_equal(
        getattr(trained.estimator, of)(inputs.take(PLACES, trained.kept)),
        getattr(whole, of)(inputs.values),
    )


def test_integers_beyond_2_to_53_stay_apart_in_a_matrix() -> None:
    given = pl.DataFrame(
        {name: FEATURES[name]() for name in ("ids_beyond_2_to_53", "unsigned_ids", "negative_ids")}
    )
    inputs = read_inputs(given, Learner("", lambda: None, matrix=True), ())
    values = {name: inputs.values[:, place] for name, (place,) in inputs.columns.items()}
    assert values["ids_beyond_2_to_53"].tolist() == PLACES.tolist()
    assert values["unsigned_ids"].tolist() == (PLACES * 7).tolist()
    known = PLACES % 9 > 0
    assert np.isnan(values["negative_ids"][~known]).all()
    assert values["negative_ids"][known].tolist() == (PLACES[known] - 1).tolist()


def test_gradient_boosting_that_a_user_gives_takes_what_is_missing_early() -> None:
    given = table("missing_early", "missing_words", task="binary")
    found = ablated(
        given, timed=True, model=HistGradientBoostingClassifier(max_iter=20), tiers=TIERS[1:]
    )
    assert measured(found) == {"x", "missing_early", "missing_words"}


def test_a_model_that_needs_values_names_the_features_without_any_and_goes_on_without_them() -> (
    None
):
    model = "sklearn.linear_model:LinearRegression"
    given = pl.DataFrame(
        {"x": X, "new": only(LATE, OTHER.tolist()), "label": X + ERROR, "when": PLACES}
    )
    with pytest.raises(UsageError, match="'new' has no value in the training rows") as raised:
        ablated(given, timed=True, model=model, tiers=["retrain"])
    assert "exclude such features" in raised.value.hint
    found = ablated(given, timed=True, model=model, tiers=["retrain"], exclude=["new"])
    assert found.verdicts == {"x": "matters"}
    assert read_learner(model, Task.REGRESSION).name == model
