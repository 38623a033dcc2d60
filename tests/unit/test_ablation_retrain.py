"""Retraining: what each trial is, which verdicts follow, and what stops early."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from featurekit.analysis.ablation.estimators import Learner, read_learner
from featurekit.analysis.ablation.fingerprints import fingerprint
from featurekit.analysis.ablation.inference import Verdict, contributions
from featurekit.analysis.ablation.measurements import Measurements, Progress
from featurekit.analysis.ablation.paired import cell_error
from featurekit.analysis.ablation.parallel import local_runner
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.retrain import Retraining, retrain
from featurekit.analysis.ablation.rounds import Family, eliminate, prior_of
from featurekit.analysis.ablation.scores import Metric, read_metric
from featurekit.analysis.ablation.store import open_store
from featurekit.analysis.ablation.trials import Outcome, Study, Trial, make_study, run_trial
from featurekit.errors import UsageError
from tests.populations import friedman, problem_of, two_and_noise

TREE = DecisionTreeRegressor(min_samples_leaf=10, max_features=0.7)


def setting(problem: Problem, model: Any, metric: str | None = None) -> tuple[Learner, Metric]:
    """Return a model and a metric for a problem."""
    task = problem.label.task
    return read_learner(model, task), read_metric(metric, task)


def run(problem: Problem, model: Any, metric: str | None = None, **settings: Any) -> Retraining:
    """Retrain in this process."""
    return retrain(problem, *setting(problem, model, metric), **{"jobs": 1} | settings)


def verdicts(found: Retraining) -> dict[str, Verdict]:
    """Return the verdict of each feature."""
    return {single.name: single.verdict for single in found.singles}


@pytest.mark.parametrize("ordered", [False, True])
def test_trials_are_those_of_a_plain_loop(tmp_path: Path, ordered: bool) -> None:
    problem = replace(two_and_noise(600, 1), ordered=ordered, seed=40)
    settings = setting(problem, TREE)
    retrain(
        problem, *settings, jobs=1, rounds=2, margin=0.0, store=tmp_path / "trials",
        groups={"pairs": {"both": ["noise1", "x2"]}},
    )  # fmt: skip
    study = make_study(problem, *settings)
    with open_store(tmp_path / "trials", fingerprint(study), "", "") as store:
        outcomes = {one.trial: one.losses for one in store.read()}
    # Models see columns in the order of their names.
    names = sorted(problem.features)
    x, y = problem.table.select(names).to_numpy(), problem.label.values
    tested = range(1, 5) if ordered else range(5)
    sets: list[tuple[str, ...]] = [(), ("x1",), ("x2",), ("noise1",), ("noise1", "x2")]
    compared = 0
    for dropped, turn in itertools.product(sets, range(2)):
        kept = np.array([place for place, name in enumerate(names) if name not in dropped])
        for number, fold in enumerate(tested):
            seed = 40 + turn * len(tested) + number
            found = outcomes.pop(Trial(dropped, fold, seed), None)
            if found is None:
                assert turn == 1, "the first round has all sets"
                continue
            train = problem.folds < fold if ordered else problem.folds != fold
            held = problem.folds == fold
            model = DecisionTreeRegressor(min_samples_leaf=10, max_features=0.7, random_state=seed)
            model.fit(x[np.ix_(train, kept)], y[train])
            lost = (y[held] - model.predict(x[np.ix_(held, kept)])) ** 2
            # The same floats, added up in another order.
            assert found.sums.sum() == pytest.approx(lost.sum(), rel=1e-12)
            one = problem.parts[held] == found.parts[0]
            assert found.sums[0] == pytest.approx(lost[one].sum(), rel=1e-12)
            compared += 1
    assert compared >= len(sets) * len(tested)
    # What is left is the constant, in the first round.
    assert {trial.dropped for trial in outcomes} == {tuple(sorted(names))}
    assert len(outcomes) == len(tested)


def test_classes_and_weights_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(3)
    x, z = random.normal(size=(2, 800))
    label = (x + random.normal(size=800) > 0).astype(float)
    weights = random.integers(1, 4, size=800).astype(float)
    problem = problem_of({"x": x, "z": z}, label, weights=weights)
    found = run(problem, LogisticRegression(), rounds=1)
    lost = np.zeros((2, 800))
    for fold, (place, columns) in itertools.product(range(5), enumerate(([0, 1], [1]))):
        train, held = problem.folds != fold, problem.folds == fold
        matrix = problem.table.to_numpy()[:, columns]
        model = LogisticRegression().fit(matrix[train], label[train], weights[train])
        chance = model.predict_proba(matrix[held])[:, 1]
        lost[place, held] = -np.log(np.where(label[held] == 1, chance, 1 - chance))
    effect = np.average(lost[1] - lost[0], weights=weights)
    assert found.singles[0].effect == pytest.approx(effect, rel=1e-9)
    assert found.full_loss == pytest.approx(np.average(lost[0], weights=weights), rel=1e-9)


@pytest.mark.parametrize(
    ("problem", "model", "matter"),
    [
        (two_and_noise(1500), Ridge(), {"x1", "x2"}),
        (two_and_noise(1500), TREE, {"x1", "x2"}),
        (friedman(2500), TREE, {"x1", "x2", "x3", "x4", "x5"}),
    ],
    ids=["ridge", "tree", "friedman"],
)
def test_early_verdicts_are_those_of_all_rounds(
    problem: Problem, model: Any, matter: set[str]
) -> None:
    found = run(problem, model)
    study = make_study(problem, *setting(problem, model))
    with local_runner(study, 1) as runner:
        measured = Measurements(problem, 3, runner)
        sets = [frozenset({name}) for name in problem.features]
        measured.measure(sets, range(3))
        estimates = measured.estimates([[(1.0, some, 3)] for some in sets])
    names = list(problem.features)
    every = contributions(names, [(name,) for name in names], estimates, found.margin)
    for early, late in zip(found.singles, every, strict=True):
        assert early.seeds == 3 or early.verdict is late.verdict
        # A wrong word would be one in 20 runs, and the seeds are fixed.
        assert (early.verdict is Verdict.MATTERS) == (early.name in matter)
    assert found.complete
    assert found.left == 0
    assert found.spared > 0
    assert found.trials + found.spared == 5 * (3 * (len(names) + 1) + 1)


def test_a_set_that_several_families_ask_for_is_trained_once() -> None:
    problem = two_and_noise(500, 1)
    alone = run(problem, Ridge(), rounds=1)
    groups = {
        "source": {"a": ["x1"], "b": ["x2", "noise1"], "all": ["x1", "x2", "noise1"]},
        "declared": {"same as b": ["noise1", "x2"]},
    }
    found = run(problem, Ridge(), rounds=1, groups=groups)
    assert found.trials == alone.trials + 5  # only b is new: all together is the constant
    assert list(found.groups) == ["source", "declared"]
    by_name = {one.name: one for one in found.groups["source"]}
    assert by_name["a"].effect == found.singles[0].effect
    assert by_name["all"].effect == pytest.approx(found.baseline_loss - found.full_loss)
    # Each family is adjusted by itself: of three, and of one.
    (same,) = found.groups["declared"]
    assert same.effect == by_name["b"].effect
    assert same.high - same.low < by_name["b"].high - by_name["b"].low


def test_the_order_of_rows_and_columns_changes_nothing() -> None:
    problem = two_and_noise(800, 2)
    found = run(problem, Ridge())
    random = np.random.default_rng(4)
    rows = random.permutation(800)
    table = problem.table[rows].select(reversed(problem.features))
    label = replace(problem.label, values=problem.label.values[rows])
    again = run(Problem(table, label, problem.folds[rows], problem.parts[rows]), Ridge())
    assert again.features == tuple(reversed(found.features))
    # A solver adds products up in another order: the rounding of losses near 1.
    for one, other in zip(found.singles, reversed(again.singles), strict=True):
        assert (one.name, one.verdict, one.seeds) == (other.name, other.verdict, other.seeds)
        assert one.effect == pytest.approx(other.effect, abs=1e-11)
        assert one.standard_error == pytest.approx(other.standard_error, abs=1e-11)


def test_processes_find_what_one_finds() -> None:
    class Mine(DecisionTreeRegressor):  # type: ignore[misc]
        """What is made here, no process could import."""

    problem = two_and_noise(400, 1)
    model = Mine(max_depth=3, max_features=1)
    found, again = run(problem, model), run(problem, model, jobs=2)
    assert found.singles == again.singles
    assert found.full_loss == again.full_loss


def test_a_frame_with_words_reaches_processes_as_it_is() -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    random = np.random.default_rng(5)
    words = random.choice(["fog", "rain", "sun"], 400)
    x = random.normal(size=400)
    table = pl.DataFrame({"weather": words, "x": x})
    problem = problem_of(table, x + (words == "fog") + 0.3 * random.normal(size=400))
    encode = make_column_transformer((OneHotEncoder(), ["weather"]), remainder="passthrough")
    model = make_pipeline(encode, Ridge())
    found, again = run(problem, model, rounds=1), run(problem, model, rounds=1, jobs=2)
    assert found.singles == again.singles
    assert set(verdicts(found).values()) == {Verdict.MATTERS}


def test_without_time_nothing_is_said() -> None:
    found = run(two_and_noise(300, 1), Ridge(), budget=0.0)
    assert not found.complete
    assert (found.singles, found.relations, found.joint) == ((), (), None)
    assert np.isnan(found.full_loss)
    assert found.margin == 0.0
    assert (found.trials, found.left) == (0, 5 * (3 * 4 + 1))


def test_a_budget_goes_where_a_cheaper_tier_is_unsure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    problem = two_and_noise(400, 2)
    whole = run(problem, Ridge())
    clear = {"x1": (9.0, 0.1), "x2": (1.1, 0.9), "noise1": (0.0, 0.1), "noise2": (0.0, 0.2)}
    prior = {frozenset({name}): known for name, known in clear.items()}
    # Each look at the clock takes a second; the full model and the constant take ten looks.
    ticks = itertools.count(1)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    settings: Any = {"prior": prior, "store": tmp_path / "trials"}
    cut = run(problem, Ridge(), budget=10 + 5 + 3.5, **settings)
    assert not cut.complete
    assert [one.name for one in cut.singles] == ["x2"]
    known = {one.name: one for one in whole.singles}["x2"]
    # Of a family of four, although three of them are not known.
    assert (cut.singles[0].low, cut.singles[0].high) == (known.low, known.high)
    assert cut.singles[0].p_value <= 1.0
    # A ridge regression has no seeds, as one trial shows: two more rounds are spared.
    assert (cut.trials, cut.left) == (18, 5 * 6 + 1 - 18)
    assert cut.trials + cut.spared + cut.left == 5 * (3 * 5 + 1)
    again = run(problem, Ridge(), **settings)
    assert again.complete
    assert again.singles == whole.singles
    assert again.trained == again.trials - cut.trials


def test_a_model_without_seeds_is_trained_once_in_each_fold() -> None:
    problem = two_and_noise(300, 2)
    found, once = run(problem, Ridge()), run(problem, Ridge(), rounds=1)
    assert found.seedless
    assert (found.rounds, found.trials, found.trained) == (1, 5 * 6 + 1, 5 * 6 + 1)
    # One look, and levels that are not divided.
    assert found.singles == once.singles
    assert not run(problem, TREE).seedless
    assert run(problem, TREE).rounds == 3


def test_seeds_count_as_folds_only_if_they_differ_as_much() -> None:
    random = np.random.default_rng(9)
    folds = np.tile(np.arange(5), 3)
    ones, of_folds, of_seeds = np.ones(15), random.normal(size=5), random.normal(size=15)
    # What folds alone do: the error of five numbers.
    error, parts = cell_error(of_folds[folds], ones, folds)
    assert parts == 5
    assert error == pytest.approx(np.std(of_folds, ddof=1) / np.sqrt(5))
    # What seeds alone do: that of fifteen.
    error, parts = cell_error(of_seeds, ones, folds)
    assert parts == 15
    assert error == pytest.approx(np.std(of_seeds, ddof=1) / np.sqrt(15))
    # Both: the standard error of many draws is their standard deviation, within a tenth.
    drawn = random.normal(size=(2000, 5))[:, folds] + random.normal(size=(2000, 15))
    squares = [cell_error(row, ones, folds)[0] ** 2 for row in drawn]
    assert np.sqrt(np.mean(squares)) == pytest.approx(drawn.mean(axis=1).std(), rel=0.1)


class Recording:
    """Runs trials in this process and remembers their order."""

    jobs = 1

    def __init__(self, study: Study) -> None:
        self.study = study
        self.order: list[Trial] = []

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        for trial in trials:
            self.order.append(trial)
            yield run_trial(self.study, trial)


def test_later_rounds_begin_with_what_is_nearly_decided() -> None:
    problem = two_and_noise(1200, 6)
    runner = Recording(make_study(problem, *setting(problem, TREE)))
    measured = Measurements(problem, 2, runner)
    names = problem.features
    family = Family("features", names, tuple(frozenset({name}) for name in names))
    margin, _ = eliminate(measured, [family], 0.005, {})
    estimates = measured.estimates([[(1.0, some, 1)] for some in family.sets])
    first = contributions(names, [(name,) for name in names], estimates, margin, looks=2)
    nearness = {
        one.name: max(one.effect, margin - abs(one.effect)) / one.standard_error
        for one in first if one.verdict is Verdict.UNDECIDED
    }  # fmt: skip
    assert 2 <= len(nearness) < len(names)
    second = [trial.dropped[0] for trial in runner.order if trial.seed >= 5 and trial.dropped]
    expected = sorted(nearness, key=lambda name: -nearness[name])
    assert second == [name for name in expected for _ in range(5)]


def test_progress_counts_down() -> None:
    told: list[Progress] = []
    found = run(two_and_noise(400, 1), Ridge(), progress=told.append)
    assert [one.done for one in told] == list(range(1, found.trials + 1))
    assert told[0].planned == 5 * (3 * 4 + 1)
    assert told[-1].planned == found.trials
    assert told[-1].seconds_left == 0.0


def test_progress_starts_at_what_was_kept(tmp_path: Path) -> None:
    problem, path = two_and_noise(400, 1), tmp_path / "trials"
    found = run(problem, TREE, store=path, rounds=1)
    told: list[Progress] = []
    run(problem, TREE, store=path, rounds=1, progress=told.append)
    assert [(one.done, one.planned) for one in told] == [(found.trials, found.trials)]


def test_nothing_is_negligible_without_skill() -> None:
    random = np.random.default_rng(6)
    table = {name: random.normal(size=300) for name in "ab"}
    found = run(problem_of(table, random.normal(size=300)), TREE)
    assert found.margin == 0.0
    assert verdicts(found) == {"a": Verdict.UNDECIDED, "b": Verdict.UNDECIDED}
    assert found.singles[0].seeds == 3


def test_what_a_cheaper_tier_found_is_told_in_its_margins() -> None:
    found = run(two_and_noise(400, 1), Ridge())
    prior = prior_of(found.singles, found.margin)
    one, margin = found.singles[0], found.margin
    assert prior[frozenset({"x1"})] == (one.effect / margin, one.standard_error / margin)
    assert prior_of(found.singles, 0.0) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rounds": 0}, "0 rounds"),
        ({"jobs": 0}, "0 trials at a time"),
        ({"engine": "spark"}, "engine 'spark'"),
        ({"options": ["--x"]}, "options are Beam's"),
        ({"groups": {"g": {"a": ["x3"]}}}, "'x3' is no feature.*known here: noise1"),
        ({"groups": {"g": {"a": []}}}, "needs a member"),
        ({"groups": {"features": {"a": ["x1"]}}}, "a family already"),
        ({"pairs": [("x1", "y")]}, "'y' is no feature"),
        ({"pairs": [("x1", "x1")]}, "no pair"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(two_and_noise(100, 1), Ridge(), **settings)
