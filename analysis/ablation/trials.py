"""Trials: trainings without some features, and what their held-out rows lose.

What all trials have in common is a study. It can be laid down in a folder, from which other
processes read it: the matrix of the features as a memory map, so that all processes of a machine
share it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from featurekit.analysis.ablation.estimators import Inputs, Learner, read_inputs
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.scores import Metric, PartLosses
from featurekit.analysis.ablation.tasks import Label, Task

__all__ = [
    "Outcome", "Study", "Trial", "load_study", "make_study", "run_trial",
    "save_study",
]  # fmt: skip


class Trial(NamedTuple):
    """One training.

    Args:
        dropped: The features that it does without, sorted.
        fold: The fold that is held out.
        seed: For every `random_state` of the estimator.
    """

    dropped: tuple[str, ...]
    fold: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Args:
        trial: Which one.
        losses: Of the rows that were held out.
        seconds: What training and predicting took.
    """

    trial: Trial
    losses: PartLosses
    seconds: float


@dataclass(frozen=True, eq=False)
class Study:
    """What all trials have in common.

    Args:
        problem: What is learnt. In processes that train, its table has no rows: the inputs hold
            what it holds.
        inputs: The features as the model reads them.
        learner: What is trained.
        metric: How predictions are judged.
    """

    problem: Problem
    inputs: Inputs
    learner: Learner
    metric: Metric


def make_study(problem: Problem, learner: Learner, metric: Metric) -> Study:
    """Return what all trials on a problem have in common.

    An estimator that would train with several jobs (`n_jobs`) trains with one: trials run side by
    side.
    """
    problem.check_labels()
    inputs = read_inputs(problem.table, learner, problem.categorical)
    # What was fitted elsewhere need not travel with every trial.
    alone = replace(learner, make=partial(_alone, learner.make), fitted=None)
    return Study(problem, inputs, alone, metric)


def run_trial(study: Study, trial: Trial) -> Outcome:
    """Train once, and return what the held-out rows lose.

    Raises:
        UsageError: The estimator cannot be trained so.
        DataError: The metric is not defined for the held-out rows.
    """
    started = time.perf_counter()
    problem, inputs = study.problem, study.inputs
    label = problem.label
    rows, held = problem.training_rows(trial.fold), problem.held_rows(trial.fold)
    trained = study.learner.fit(
        inputs, rows, label.values[rows], problem.weights_of(rows), label.task, trial.seed,
        trial.dropped,
    )  # fmt: skip
    losses = study.metric.losses(
        trained.estimator, inputs.take(held, trained.kept), label, held, problem.parts[held],
        problem.weights_of(held),
    )  # fmt: skip
    return Outcome(trial, losses, time.perf_counter() - started)


def _alone(make: Callable[[], Any]) -> Any:
    estimator = make()
    several = [
        name for name, value in estimator.get_params(deep=True).items()
        if (name == "n_jobs" or name.endswith("__n_jobs")) and value not in (None, 1)
    ]  # fmt: skip
    return estimator.set_params(**dict.fromkeys(several, 1)) if several else estimator


def save_study(study: Study, folder: Path) -> None:
    """Lay a study down in a folder, all but its learner and its metric."""
    problem, inputs = study.problem, study.inputs
    arrays = {
        "label": problem.label.values, "folds": problem.folds, "parts": problem.parts,
        "coded": inputs.categorical,
    }  # fmt: skip
    if problem.weights is not None:
        arrays["weights"] = problem.weights
    if isinstance(inputs.values, np.ndarray):
        arrays["inputs"] = inputs.values
    else:
        problem.table.write_ipc(folder / "table.arrow")
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    said = {
        "features": list(problem.features),
        "task": str(problem.label.task),
        "classes": len(problem.label.classes),
        "ordered": problem.ordered,
        "categorical": sorted(problem.categorical),
        "columns": {name: list(places) for name, places in inputs.columns.items()},
    }
    (folder / "study.json").write_text(json.dumps(said), "utf-8")


def load_study(folder: Path, learner: Learner, metric: Metric) -> Study:
    """Return a study from its folder; arrays stay in their files until they are read."""
    said: dict[str, Any] = json.loads((folder / "study.json").read_text("utf-8"))

    def array(name: str) -> np.ndarray:
        found: np.ndarray = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return found

    weighted = (folder / "weights.npy").exists()
    problem = Problem(
        pl.DataFrame(schema=dict.fromkeys(said["features"], pl.Null)),
        # Trials need to know how many classes there are, and not what they are called.
        Label(Task(said["task"]), array("label"), tuple(range(said["classes"]))),
        array("folds"),
        array("parts"),
        said["ordered"],
        array("weights") if weighted else None,
        frozenset(said["categorical"]),
    )
    if learner.matrix:
        columns = {name: tuple(places) for name, places in said["columns"].items()}
        inputs = Inputs(array("inputs"), columns, array("coded"))
    else:
        table = pl.read_ipc(folder / "table.arrow")
        inputs = read_inputs(table, learner, problem.categorical)
    return Study(problem, inputs, learner, metric)
