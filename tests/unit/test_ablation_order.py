"""The order of rows and columns changes nothing of what an ablation says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import featurekit as fk
from featurekit.errors import UsageError

ROWS = 300
TIERS = ["linear", "permutation", "retrain"]
UNLIKE = ("seconds", "versions")


def table(task: str) -> pl.DataFrame:
    """Return correlated numbers, copies, words, gaps, equal rows, an entity and a time."""
    random = np.random.default_rng(12)
    x, z, blur, error = np.round(random.normal(size=(4, ROWS)), 1)
    frame = pl.DataFrame(
        {
            "z": z, "near x": x + 0.1 * blur, "x": x, "twice x": 2 * x,
            "word": random.choice(["a", "b", "c", "d"], ROWS),
            "gaps": pl.Series(z + error).set(pl.Series(random.random(ROWS) < 0.3), None),
            "noise": random.normal(size=ROWS),
            "vector": pl.Series(random.normal(size=(ROWS, 2)), dtype=pl.Array(pl.Float64, 2)),
            "one": [1.0] * ROWS,
            "who": random.integers(0, 60, ROWS), "at": random.integers(0, 300, ROWS),
        }
    )  # fmt: skip
    value = x + 0.5 * z + error
    label: dict[str, Any] = {
        "regression": value, "binary": value > 0.0,
        "multiclass": np.array(["a", "b", "c"])[np.digitize(value, [-0.5, 0.5])],
    }  # fmt: skip
    frame = frame.with_columns(y=pl.Series(label[task]))
    # Rows that are equal to the last bit, so that nothing but their places tells them apart.
    return pl.concat([frame, frame[:40], frame[:20]])


def ablated(frame: pl.DataFrame, roles: dict[str, Any], **settings: Any) -> dict[str, Any]:
    idle = [name for name in ("who", "at") if name not in roles.values()]
    defaults: dict[str, Any] = {
        "tiers": TIERS, "jobs": 1, "seeds": 1, "folds": 2, "budget": None, "exclude": idle,
        "created": {"near x": 1, "x": 2}, "groups": {"all of x": ["x", "near x", "twice x"]},
    }  # fmt: skip
    found = fk.ablate(frame, label="y", **roles, **(defaults | settings))
    return found.to_dict()


def plain(report: Any) -> Any:
    """Return a report without times of computing, and without an order of keys."""
    if isinstance(report, dict):
        return {key: plain(value) for key, value in report.items() if key not in UNLIKE}
    return [plain(each) for each in report] if isinstance(report, list) else report


def numbers_of(report: Any, trail: str = "") -> dict[str, Any]:
    """Return every value of a report by where it stands."""
    if isinstance(report, dict | list):
        items = report.items() if isinstance(report, dict) else enumerate(report)
        return {
            where: value
            for key, each in items for where, value in numbers_of(each, f"{trail}/{key}").items()
        }  # fmt: skip
    return {trail: report}


def reversed_columns(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(frame.columns[::-1])


def shuffled_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame[np.random.default_rng(1).permutation(frame.height)]


@pytest.mark.parametrize(
    ("task", "roles"),
    [("regression", {}), ("binary", {"entity": "who"}), ("multiclass", {"time": "at"})],
)
def test_reversed_columns_change_no_number_of_any_tier(task: str, roles: dict[str, str]) -> None:
    frame = table(task)
    one, other = plain(ablated(frame, roles)), plain(ablated(reversed_columns(frame), roles))
    # Features are told in the order of the table; all else is the same to the last bit.
    assert list(one["verdicts"]) == list(other["verdicts"])[::-1]
    for report in (one, other):
        report["proposal"]["keep"].sort()
    assert one == other
    assert json.dumps(one["tiers"]) == json.dumps(other["tiers"])


@pytest.mark.parametrize(
    ("task", "roles"),
    [("regression", {}), ("binary", {"entity": "who"}), ("multiclass", {"time": "at"})],
)
def test_shuffled_rows_change_no_number_of_trained_models(task: str, roles: dict[str, str]) -> None:
    frame = table(task)
    one, other = plain(ablated(frame, roles)), plain(ablated(shuffled_rows(frame), roles))
    for report in (one, other):
        # Linear models add rows up as they come: the last digits of their sums may differ.
        report["linear"] = [report["tiers"].pop(0), report.pop("relations"), report.pop("findings")]
        report["linear"].append(report.pop("joint"))
    assert {name: said["verdict"] for name, said in one["verdicts"].items()} == {
        name: said["verdict"] for name, said in other["verdicts"].items()
    }
    linear, again = numbers_of(one.pop("linear")), numbers_of(other.pop("linear"))
    assert one == other
    assert linear.keys() == again.keys()
    for where, value in linear.items():
        close = pytest.approx(value, rel=1e-6, abs=1e-9) if isinstance(value, float) else value
        assert again[where] == close, where


def test_a_sample_and_a_model_with_seeds_do_not_depend_on_order() -> None:
    frame = table("regression")
    settings: dict[str, Any] = {
        "tiers": TIERS[1:], "rows": 300,
        "model": make_pipeline(
            make_column_transformer(
                ("passthrough", ["z", "x", "near x", "noise"]), remainder="drop"
            ),
            ExtraTreesRegressor(10, max_features=1),
        ),
    }  # fmt: skip
    for roles in ({}, {"entity": "who"}, {"time": "at"}):
        one = ablated(frame, roles, **settings)
        other = ablated(shuffled_rows(reversed_columns(frame)), roles, **settings)
        assert plain(one["tiers"]) == plain(other["tiers"])
        assert one["verdicts"] == other["verdicts"]


def test_a_model_that_was_fitted_to_an_array_knows_columns_by_their_places() -> None:
    frame = table("regression").select("z", "x", "noise", "y")
    fitted = LinearRegression().fit(frame.drop("y").to_numpy(), frame["y"].to_numpy())
    asked: dict[str, Any] = {"tiers": ["permutation"], "jobs": 1, "seeds": 1, "budget": None}
    one = fk.ablate(frame, label="y", model=fitted, **asked).data["tiers"][0]
    named = LinearRegression().fit(frame.drop("y").to_pandas(), frame["y"].to_numpy())
    other = fk.ablate(reversed_columns(frame), label="y", model=named, **asked).data["tiers"][0]
    assert one["full"] == pytest.approx(other["full"], rel=1e-12)
    for first, second in zip(one["features"], other["features"], strict=True):
        assert first["name"] == second["name"]
        assert first["effect"] == pytest.approx(second["effect"], rel=1e-9)


@pytest.mark.parametrize("setting", [{"categorical_features": [0]}, {"monotonic_cst": [1, 0, 0]}])
def test_settings_that_know_columns_by_their_places_are_refused(setting: dict[str, Any]) -> None:
    """Columns stand in the order of their names, so that places would mean other columns."""
    frame = table("binary").select("z", "x", "noise", "y")
    with pytest.raises(UsageError, match="takes columns by their places") as raised:
        fk.ablate(frame, label="y", model=HistGradientBoostingClassifier(**setting), jobs=1)
    assert raised.value.hint == "give it the columns' names"
    ((name, _),) = setting.items()
    given: Any = ["z"] if name == "categorical_features" else {"z": 1}
    model = HistGradientBoostingClassifier(max_iter=5, **{name: given})
    settings: dict[str, Any] = {"folds": 2, "seeds": 1, "tiers": ["retrain"], "jobs": 1}
    coded = frame.with_columns(pl.col("z").abs().cast(pl.Int64))
    assert len(fk.ablate(coded, label="y", model=model, **settings).verdicts) == 3
