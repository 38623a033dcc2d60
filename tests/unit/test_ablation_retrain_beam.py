"""Trials as elements of a Beam collection, against those of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from featurekit.analysis.ablation.estimators import read_learner
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.retrain import Retraining, retrain
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.tasks import read_label
from featurekit.errors import UsageError
from tests.populations import problem_of, two_and_noise

DATAFLOW = (
    "--runner=DataflowRunner", "--project=my-project", "--region=europe-west1",
    "--temp_location=gs://my-bucket/tmp", "--sdk_container_image=image",
)  # fmt: skip


class Stubborn(Ridge):  # type: ignore[misc]
    """A model that some data is too much for."""

    def fit(self, x: Any, y: Any) -> Any:
        if x.shape[1] < 3:
            raise ValueError("two columns are not enough")
        return super().fit(x, y)


def run(problem: Problem, model: Any, metric: str | None = None, **settings: Any) -> Retraining:
    """Retrain."""
    task = problem.label.task
    return retrain(problem, read_learner(model, task), read_metric(metric, task), **settings)


@pytest.mark.parametrize(
    "model",
    ["sklearn.tree:DecisionTreeRegressor", DecisionTreeRegressor(max_depth=3, max_features=1)],
    ids=["name", "object"],
)
def test_beam_finds_what_this_process_finds(model: Any, tmp_path: Path) -> None:
    problem = two_and_noise(300, 1)
    here = run(problem, model, jobs=1)
    there = run(problem, model, engine="beam", scratch=str(tmp_path / "scratch"))
    # The same numbers in the same order: Parquet keeps every bit.
    assert there.singles == here.singles
    assert (there.full_loss, there.margin) == (here.full_loss, here.margin)
    assert (there.trials, there.spared) == (here.trials, here.spared)
    assert not list((tmp_path / "scratch").rglob("*.*"))


def test_what_beam_trained_is_kept(tmp_path: Path) -> None:
    problem = two_and_noise(200, 1)
    path = tmp_path / "trials"
    there = run(problem, None, "r2", engine="beam", store=path, rounds=1)
    here = run(problem, None, "r2", jobs=1, store=path, rounds=1)
    assert (there.trained, here.trained) == (there.trials, 0)
    assert here.singles == there.singles


def test_weights_and_classes_reach_the_workers() -> None:
    table = two_and_noise(300, 1).table
    sure, likely = table["x2"].to_numpy() > 1.0, (table["x1"] + table["noise1"]).to_numpy() > 0.0
    label = sure.astype(int) + likely
    weights = table["x1"].abs().to_numpy()
    problem = problem_of(table, label, weights=weights)
    model = "sklearn.linear_model:LogisticRegression"
    here = run(problem, model, jobs=1, rounds=1)
    assert run(problem, model, engine="beam", rounds=1).singles == here.singles
    assert here.metric == "log loss"
    assert run(problem, LogisticRegression(), jobs=1, rounds=1).singles == here.singles


def test_what_a_worker_refuses_is_said_here(tmp_path: Path) -> None:
    problem = two_and_noise(200, 1)
    path = tmp_path / "trials"
    with pytest.raises(UsageError, match="two columns are not enough"):
        run(problem, Stubborn(), engine="beam", store=path)
    # The trials that went well are kept: all features, and the constant.
    assert run(problem, Ridge(), jobs=1, store=path).trained > 0
    with pytest.raises(UsageError, match="two columns are not enough"):
        run(problem, Stubborn(), jobs=1, store=path)


class Broken(Ridge):  # type: ignore[misc]
    """A model that fails in a way of its own."""

    def fit(self, *_: Any) -> Any:
        raise RuntimeError("out of luck")


def test_what_fails_on_a_worker_fails_here() -> None:
    with pytest.raises(UsageError, match="cannot be trained: out of luck"):
        run(two_and_noise(100, 1), Broken(), engine="beam")


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        (Ridge(), {"options": DATAFLOW}, "import the model, and Ridge was given as an object"),
        (
            "sklearn.linear_model:Ridge",
            {
                "options": [*DATAFLOW[:3], DATAFLOW[4], "--staging_location=gs://b-c/s"],
                "scratch": "folder",
            },
            "do not see the files of this machine",
        ),
        (None, {"options": [*DATAFLOW, "--dry_run=true"]}, "cannot be a dry run"),
        (None, {"options": ["--runer=x"]}, "Beam has no such option"),
    ],
)
def test_what_beam_cannot_do_is_refused_before(
    model: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run(two_and_noise(100, 1), model, engine="beam", **settings)


def test_workers_take_what_is_missing_in_all_training_rows_of_a_fold() -> None:
    random = np.random.default_rng(4)
    x, z, error = random.normal(size=(3, 240))
    early = [None if place < 200 else float(value) for place, value in enumerate(z)]
    table = pl.DataFrame({"x": x, "new": pl.Series(early, dtype=pl.Float32), "far": z * 1e38})
    label = read_label(pl.Series(x + error > 0.0))
    problem = Problem(table, label, np.arange(240) // 60, np.arange(240), ordered=True)
    here = run(problem, None, jobs=1, rounds=1)
    assert [one.name for one in here.singles] == ["x", "new", "far"]
    assert run(problem, None, engine="beam", rounds=1).singles == here.singles
