"""Each model of an ablation knows two labels, or one error says what leads on."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.analysis.ablation.estimators import read_learner
from featurekit.analysis.ablation.examples import Examples, Roles, read_examples
from featurekit.analysis.ablation.permutation import permute
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.retrain import retrain
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.tasks import Task, read_label
from featurekit.cli import main
from featurekit.errors import DataError

ROWS = 400
X, Z = np.random.default_rng(8).normal(size=(2, ROWS))
PLACES = np.arange(ROWS)
TIERS = ["linear", "permutation", "retrain"]


def table(label: Any, **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"x": X, "z": Z, "y": label, "at": PLACES, "who": PLACES // 10, **more})


def rare(first: int, every: int = 3) -> np.ndarray:
    """Return a label that is 1 in some rows from one on, and 0 before."""
    return np.where((first <= PLACES) & (PLACES % every == 0), 1, 0)


def read(frame: pl.DataFrame, **given: Any) -> Examples:
    asked = {name: given.pop(name) for name in list(given) if name in ("folds", "embargo")}
    idle = tuple(set(frame.columns) - {"x", "z", "y", *given.values()})
    return read_examples(frame.lazy(), Roles("y", exclude=idle, **given), **asked)


def labels_known(found: Examples, problem: Problem | None = None) -> list[int]:
    """Return how many labels each fold's model knows, and the one of the rows kept apart."""
    folds = found.folds if problem is None else problem.folds
    values = (found if problem is None else problem).label.values
    places = np.unique(folds[folds >= 0])
    known = [
        len(np.unique(values[(folds >= 0) & (folds < fold if found.ordered else folds != fold)]))
        for fold in (places[1:] if found.ordered else places)
    ]
    inside = found.label.values[found.apart == 0]
    return [*known, len(np.unique(inside))]


@pytest.mark.parametrize("first", [0, 90, 200, 330, 380, 393])
@pytest.mark.parametrize("embargo", [0, 5])
def test_folds_in_time_begin_when_two_labels_are_known(first: int, embargo: int) -> None:
    found = read(table(rare(first)), time="at", folds=3, embargo=embargo if first < 380 else 0)
    assert labels_known(found) == [2, 2, 2, 2]
    moments = [PLACES[found.folds == fold] for fold in range(4)] + [PLACES[found.apart == 1]]
    for earlier, later in pairwise(moments):
        assert earlier.max() + (embargo if first < 380 else 0) < later.min()


def test_folds_in_time_are_as_they_were_where_that_is_enough() -> None:
    found = read(table(rare(0)), time="at", folds=3)
    assert found.folds.tolist() == [*np.repeat([0, 1, 2, 3], 80), *[-1] * 80]


@pytest.mark.parametrize("count", [2, 3, 5, 9])
@pytest.mark.parametrize("role", ["entity", ""])
def test_rows_and_entities_with_a_rare_label_go_to_several_folds(count: int, role: str) -> None:
    """A plain hash would now and then put all of them into one fold, or apart."""
    for seed in range(10):
        chosen = np.random.default_rng(seed).choice(ROWS // 10, count, replace=False) * 10
        label = np.isin(PLACES, chosen).astype(int)
        found = read(table(label), **({role: "who"} if role else {}), folds=5)
        assert labels_known(found) == [2] * 6
        if role:
            together = pl.DataFrame({"who": PLACES // 10, "fold": found.folds})
            assert together.group_by("who").n_unique()["fold"].max() == 1


def test_six_entities_of_one_label_each_are_held_out_in_two_folds() -> None:
    who = np.minimum(PLACES // 66, 5)
    for seed in range(20):
        label = np.isin(who, np.random.default_rng(seed).permutation(6)[:3]).astype(int)
        found = read(table(label, owner=who), entity="owner", folds=2)
        assert labels_known(found) == [2, 2, 2]


def test_a_sample_keeps_a_row_of_each_label_for_each_fold() -> None:
    label = np.isin(PLACES, [31, 371]).astype(int)
    found = read(table(label), folds=5)
    for problem in (found.problem(100), found.check(100)):
        assert 100 <= problem.table.height <= 105 + int((found.apart == 1).sum())
        problem.check_labels()


@pytest.mark.parametrize("roles", [{"time": "at"}, {"entity": "who"}, {}], ids=str)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_tier_takes_labels_that_come_late_or_rarely(task: str, roles: dict[str, Any]) -> None:
    label: Any = rare(200)
    if task == "multiclass":
        label = np.where(label == 1, np.where(PLACES > 350, "c", "b"), "a")
    if task == "regression":
        label = np.where(PLACES < 200, 0.0, X + 0.1 * Z)
    given = table(label).select("x", "z", "y", *roles.values())
    found = fk.ablate(given, label="y", tiers=TIERS, jobs=1, seeds=1, folds=3, budget=None, **roles)
    assert [len(tier["features"]) for tier in found.data["tiers"]] == [2, 2, 2]
    assert found.data["task"] == task


def test_where_fewer_folds_leave_room_for_the_embargo_an_error_says_how_many() -> None:
    # Of 320 rows less 60 six blocks have 43 each, and four have 65: more than the embargo.
    given = table(rare(0))
    with pytest.raises(DataError, match="too few moments") as raised:
        read(given, time="at", folds=5, embargo=60)
    assert raised.value.hint == "--folds 3"
    assert labels_known(read(given, time="at", folds=3, embargo=60)) == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("label", "roles", "hint"),
    [
        ((PLACES >= 398).astype(int), ["--time", "at"], "leave --time out"),
        ((PLACES // 10 == 7) & (PLACES % 2 == 0), ["--entity", "who"], "leave --entity out"),
        (rare(300), ["--split", "part"], "leave --split out"),
    ],
    ids=["time", "entity", "split"],
)
def test_where_no_fold_can_know_two_labels_one_hint_leads_on(
    label: Any, roles: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.parquet"
    part = np.where(PLACES < 300, "train", "test")
    table(label, part=part).select("x", "z", "y", roles[1]).write_parquet(path)
    asked = ["ablate", str(path), "--label", "y", "--jobs", "1", "--seeds", "1", "--folds", "2"]
    assert main([*asked, *roles]) == 3
    error = capsys.readouterr().err
    assert "have the same label" in error
    assert error.count("Hint: ") == 1
    assert hint in error
    assert main([*asked, "--exclude", roles[1]]) == 0


def test_a_label_of_one_row_needs_more_rows() -> None:
    with pytest.raises(DataError, match="of 400 rows 1 have another one") as raised:
        read(table((PLACES == 7).astype(int)))
    assert raised.value.hint == "more rows, at least six of each label"
    assert labels_known(read(table((PLACES < 6).astype(int)))) == [2] * 6


def test_a_run_whose_time_cannot_be_left_out_leads_to_its_examples_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table((PLACES >= 398).astype(int)).with_columns(
        at=pl.lit("2024-01-01").str.to_datetime(time_zone="UTC") + pl.duration(hours="at")
    ).write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "spec.yaml").write_text(
        "name: late\nsources: {rows: {path: rows.parquet}}\n"
        "examples: {source: rows, keys: [at], predict_at: at, label: y}\n"
        "features: {x: x, z: z}\n"
    )
    out = tmp_path / "run"
    assert main(["run", str(tmp_path / "spec.yaml"), "--out", str(out), "--no-tensorflow"]) == 0
    capsys.readouterr()
    assert main(["ablate", str(out), "--jobs", "1"]) == 3
    hint = capsys.readouterr().err.partition("Hint: ")[2]
    (command,) = re.findall(r"featurekit (ablate .*)$", hint.strip())
    assert main([*shlex.split(command), "--jobs", "1", "--folds", "2", "--seeds", "1"]) == 0
    assert "2 features" in capsys.readouterr().out


def test_folds_that_are_given_and_know_one_label_are_refused_in_one_sentence() -> None:
    label = read_label(pl.Series((PLACES >= 300).astype(int)))
    problem = Problem(table(0).select("x", "z"), label, PLACES // 100, PLACES % 50, ordered=True)
    learner, metric = read_learner(None, Task.BINARY), read_metric(None, Task.BINARY)
    with pytest.raises(DataError, match=r"^fold 1: the training rows have one label only"):
        retrain(problem, learner, metric, jobs=1)
    with pytest.raises(DataError, match=r"^fold 1: the training rows have one label only"):
        permute(problem, learner, metric, families={})
    # As the hint says: each label in two folds.
    mixed = Problem(table(0).select("x", "z"), label, PLACES % 4, PLACES % 50)
    assert len(retrain(mixed, learner, metric, jobs=1, rounds=1).singles) == 2


def test_a_test_fold_of_one_class_has_a_log_loss_and_no_area_under_a_curve() -> None:
    label = np.isin(PLACES, [3, 90, 151, 222]).astype(int)
    settings: dict[str, Any] = {
        "label": "y", "tiers": ["retrain"], "jobs": 1, "seeds": 1, "folds": 5, "budget": None,
    }  # fmt: skip
    given = table(label).select("x", "z", "y")
    with pytest.raises(DataError, match="roc_auc is not defined") as raised:
        fk.ablate(given, metric="roc_auc", **settings)
    (metric,) = re.findall(r"such as (\w+)", raised.value.hint)
    assert set(fk.ablate(given, metric=metric, **settings).verdicts) == {"x", "z"}
