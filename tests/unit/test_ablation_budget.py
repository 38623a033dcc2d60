"""Whatever is finished is reported, wherever the budget of an ablation ends."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import featurekit as fk
from featurekit.analysis.ablation import permutation
from featurekit.analysis.ablation.estimators import read_learner
from featurekit.analysis.ablation.measurements import Measurements
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.tasks import Task
from featurekit.analysis.ablation.trials import Trial
from featurekit.cli import main
from tests.populations import two_and_noise


def table(rows: int = 400) -> pl.DataFrame:
    """Return y = x + z + an error, an older and noisier copy of x, and noise."""
    x, z, noise, error, blur = np.random.default_rng(5).normal(size=(5, rows))
    return pl.DataFrame(
        {"old_x": x + 0.3 * blur, "x": x, "z": z, "noise": noise, "y": x + z + error}
    )


class Clock:
    """A budget that is so many trainings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.used = 0, 0

        def in_time(measured: Measurements, trials: Collection[Trial]) -> Iterator[Trial]:
            for trial in trials:
                if not self.left:
                    measured.late = True
                    return
                self.left -= 1
                self.used += 1
                yield trial

        monkeypatch.setattr(Measurements, "_in_time", in_time)

    def ablated(self, trainings: int, **settings: Any) -> fk.AblationReport:
        self.left, self.used = trainings, 0
        return fk.ablate(
            table(), label="y", model=Ridge(), jobs=1, folds=3, seeds=2, budget="1h",
            created={"old_x": 1, "x": 2}, groups={"real": ["x", "z"]}, **settings,
        )  # fmt: skip


@pytest.mark.parametrize("tiers", [["linear", "retrain"], ["retrain"]], ids=len)
def test_a_budget_that_ends_after_any_training_leaves_what_is_finished(
    tiers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    whole = clock.ablated(10_000, tiers=tiers)
    needed = clock.used
    assert needed > 20
    complete = {one["name"]: one for one in whole.data["tiers"][-1]["features"]}
    measured: set[str] = set()
    for trainings in range(needed + 1):
        found = clock.ablated(trainings, tiers=tiers)
        assert clock.used == trainings
        last = found.data["tiers"][-1]
        if tiers[0] == "linear":
            first, expected = found.data["tiers"][0], whole.data["tiers"][0]
            assert first["features"] == expected["features"]
            assert set(found.verdicts) == set(complete)
        # Three folds of all features and a constant, and another seed, come before the first one.
        known = {one["name"] for one in last["features"]}
        assert measured <= known
        measured = known
        assert bool(known) == (trainings >= 3 + 3 + 1 + 3)
        assert (last["full"] is None) == (trainings < 3 + 3 + 1)  # fmt: skip
        assert found.data["budget"]["ended"] == (trainings < needed)
        found._repr_html_()
    assert {one["name"]: one for one in last["features"]} == complete


def test_shuffling_ends_with_the_budget_and_leaves_what_is_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(1_000_000))
    monkeypatch.setattr(
        "featurekit.analysis.ablation.permutation.time.monotonic", lambda: float(next(now))
    )
    problem = two_and_noise(300, 1)
    learner, metric = read_learner(Ridge(), problem.label.task), read_metric(None, Task.REGRESSION)

    def shuffled(looks: float) -> permutation.Permutation:
        """Shuffle until the clock was looked at so often."""
        start = next(now)
        return permutation.permute(
            problem, learner, metric, families={"declared": {"all": problem.features}},
            ends=start + looks + 0.5,
        )  # fmt: skip

    whole = shuffled(10_000)
    assert whole.complete
    counts = []
    for looks in range(len(problem.held_out) + len(problem.features) + 2):
        found = shuffled(looks)
        counts.append(len(found.singles) + len(found.groups["declared"]))
        assert found.complete == (counts[-1] == len(problem.features) + 1)
        effects = {one.name: one.effect for one in whole.singles}
        assert {one.name: one.effect for one in found.singles}.items() <= effects.items()
    assert counts == [0] * (len(problem.held_out) + 1) + [1, 2, 3, 4][: len(problem.features) + 1]


def test_a_budget_that_is_over_before_anything_is_trained_leaves_linear_models_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "table.parquet", tmp_path / "report.html"
    table().write_parquet(path)
    asked = ["ablate", str(path), "--label", "y", "--out", str(out), "--jobs", "1"]
    started = time.monotonic()
    assert main([*asked, "--budget", "0s", "--tier", "linear", "--tier", "permutation",
                 "--tier", "retrain"]) == 0  # fmt: skip
    assert time.monotonic() - started < 60
    said = " ".join(capsys.readouterr().out.split())
    assert "The budget of 0 ms ended first: permutation measured 0 of 4 features" in said
    assert "retraining measured 0 of 4 features" in said
    assert "what the smaller set loses is told by linear models alone" in said
    assert "goes on from the trainings that are kept" in said
    report = json.loads(out.with_suffix(".json").read_text())
    assert {one["tier"] for one in report["verdicts"].values()} == {"linear"}
    assert report["proposal"]["model"] == "linear surrogate"
    assert set(report["proposal"]["remove"]) >= {"noise"}
    assert "The budget of 0 ms ended first" in out.read_text()
    # The hint leads on: with more time the same command measures all with the model.
    assert main([*asked, "--budget", "1h", "--overwrite"]) == 0
    assert "ended first" not in capsys.readouterr().out
    report = json.loads(out.with_suffix(".json").read_text())
    assert {one["tier"] for one in report["verdicts"].values()} == {"retrain"}


def test_a_budget_counts_from_the_start_and_is_kept_for_the_check_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float | None] = []
    begin = Measurements.__init__

    def noted(self: Measurements, *arguments: Any) -> None:
        asked.append(arguments[4])
        begin(self, *arguments)

    monkeypatch.setattr(Measurements, "__init__", noted)
    settings: dict[str, Any] = {"label": "y", "model": Ridge(), "jobs": 1, "tiers": ["retrain"]}
    fk.ablate(table(), budget=100.0, **settings)
    retraining, choosing, checking = (each or 0.0 for each in asked)
    assert 40.0 < retraining < 80.0
    assert retraining < checking <= choosing < 100.0
    asked.clear()
    fk.ablate(table(), budget=None, **settings)
    assert asked == [None, None, None]


def test_an_ablation_that_is_interrupted_names_a_file_of_trainings_only_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "table.parquet", tmp_path / "report.html"
    table().write_parquet(path)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featurekit.analysis.ablation.course.ablate_linear", interrupted)
    asked = ["ablate", str(path), "--label", "y", "--out", str(out), "--jobs", "1"]
    assert main(asked) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted; nothing was written")
    assert not out.with_suffix(".trials").exists()
    monkeypatch.setattr("featurekit.analysis.ablation.course.Course.linear", lambda _: None)
    monkeypatch.setattr("featurekit.analysis.ablation.retrain.confirm_candidates", interrupted)
    assert main([*asked, "--tier", "retrain"]) == 130
    trials = out.with_suffix(".trials")
    assert f"trainings that are done are in {trials}" in capsys.readouterr().err
    assert trials.exists()


def test_progress_names_each_phase_of_each_stage() -> None:
    told: list[str] = []
    fk.ablate(
        table(), label="y", model=Ridge(), jobs=1, tiers=["linear", "permutation", "retrain"],
        progress=lambda event: told.append(event.text),
    )  # fmt: skip
    for phase in (
        "linear surrogate of 4 features: values of features", ": models of all folds",
        ": all pairs", ": features that say the same, or belong together",
        ": what held-out rows lose",
        "shuffling of 4 features: training the models", "shuffling of 4 features: 4 of 4",
        "retraining without each of 4 features: reading the rows to train on",
        "retraining without each of 4 features: pairs that may matter only together",
        "trainings", "checking a smaller set of features: what can go together",
        "checking a smaller set of features: on the rows that were kept apart",
    ):  # fmt: skip
        assert any(phase in text for text in told), phase
