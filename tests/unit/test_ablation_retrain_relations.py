"""Relations confirmed by retraining: known populations, and what is not confirmed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeRegressor

from featurekit.analysis.ablation.confirm import candidates_of
from featurekit.analysis.ablation.estimators import read_learner
from featurekit.analysis.ablation.inference import Verdict
from featurekit.analysis.ablation.linear import ablate_linear
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.relations import Relation
from featurekit.analysis.ablation.retrain import Retraining, retrain
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.units import Candidate, Kind, complements
from tests.populations import friedman, problem_of

TREE = DecisionTreeRegressor(min_samples_leaf=10)
PRODUCTS = make_pipeline(PolynomialFeatures(2), Ridge())
"""Knows what two features do together."""


def run(problem: Problem, model: Any, **settings: Any) -> Retraining:
    """Retrain in this process."""
    task = problem.label.task
    return retrain(
        problem, read_learner(model, task), read_metric(None, task), jobs=1, **settings
    )  # fmt: skip


def legacy(old: int, new: int) -> Candidate:
    """Return the candidate that a feature is superseded by a newer one."""
    one, other = frozenset({old}), frozenset({new})
    evidence: Any = {
        "effect": ((1, one),),
        "the others": ((1, other),),
        "without the others": ((1, one | other), (-1, other)),
        "the others less the effect": ((1, other), (-1, one)),
    }
    return Candidate(Kind.LEGACY, (old,), (new,), "", evidence)


def linear(problem: Problem, **settings: Any) -> tuple[Relation, ...]:
    """Return what the linear tier finds."""
    found = ablate_linear(problem.table, problem.label.values, folds=problem.folds, **settings)
    assert found.features == problem.features
    return found.relations


def exclusive_or(noise: int = 2) -> Problem:
    """Return y = a xor b with an error, and two columns of noise."""
    random = np.random.default_rng(8)
    a, b = random.integers(2, size=(2, 1500))
    table = {"a": a.astype(float), "b": b.astype(float)}
    table |= {f"z{place}": random.normal(size=1500) for place in range(noise)}
    return problem_of(table, (a ^ b) + 0.3 * random.normal(size=1500))


def test_an_exclusive_or_is_made_of_complements() -> None:
    pairs = [("z0", "a"), ("a", "b"), ("z0", "z1"), ("b", "a")]
    found = run(exclusive_or(), PRODUCTS, pairs=pairs)
    assert {one.name for one in found.singles if one.verdict is Verdict.MATTERS} == {"a", "b"}
    (relation,) = found.relations
    assert relation.kind is Kind.COMPLEMENTS
    assert relation.features == ("a", "b")
    # Without one of them the other says nothing: each is worth the variance of y but for its error,
    # a quarter, and so are both. The standard deviation of 1,500 such squares is near .006.
    for name in ("interaction", "together"):
        assert relation.evidence[name].effect == pytest.approx(0.25, abs=0.02)
    assert relation.evidence["first without second"].high < 0.1 * 0.25
    assert relation.sums["interaction"] == ((1, ("a",)), (1, ("b",)), (-1, ("a", "b")))
    assert found.joint is None
    assert found.complete
    assert found.left == 0


def test_columns_that_disturb_a_model_are_no_complements() -> None:
    # Each of two columns of noise misleads the tree, and both do it hardly more than one: the
    # interaction is above 0, and what both are worth is below.
    (noise,) = run(exclusive_or(), TREE, rounds=1, groups={"g": {"noise": ["z0", "z1"]}}).groups[
        "g"
    ]
    assert noise.high < 0.0
    assert run(exclusive_or(), TREE, pairs=[("z0", "z1")]).relations == ()


def test_what_adds_up_is_no_complement() -> None:
    found = run(friedman(2000), TREE, pairs=[("x4", "x5"), ("x1", "x4"), ("x6", "x7")], rounds=2)
    assert found.relations == ()
    # They are given up after the first round, in which all that they need is measured.
    assert found.spared > 0


def test_pairs_are_confirmed_one_after_the_other() -> None:
    random = np.random.default_rng(11)
    table: dict[str, np.ndarray] = {}
    label = 0.5 * random.normal(size=1500)
    for place in range(3):
        a, b = random.integers(2, size=(2, 1500)).astype(float)
        table |= {f"a{place}": a, f"b{place}": b}
        label = label + (a != b)
    pairs = [(f"a{place}", f"b{place}") for place in range(3)]
    found = run(problem_of(table, label), TREE, pairs=pairs, rounds=1)
    assert [one.features for one in found.relations] == pairs


def test_an_older_noisy_copy_is_legacy() -> None:
    random = np.random.default_rng(12)
    x, z, error = random.normal(size=(3, 3000))
    table = {"old": x + 0.5 * random.normal(size=3000), "new": x, "z": z}
    problem = problem_of(table, x + 0.5 * z + error)
    suggested = linear(problem, created={"old": 2020, "new": 2024, "z": 2020})
    found = run(problem, Ridge(), candidates=candidates_of(suggested, problem.features))
    (relation,) = found.relations
    assert (relation.kind, relation.features, relation.others) == (Kind.LEGACY, ("old",), ("new",))
    assert relation.sums == suggested[0].sums
    # The same model on the same folds; a closed form and a solver.
    for name, bound in relation.evidence.items():
        assert bound.effect == pytest.approx(suggested[0].evidence[name].effect, rel=0.02, abs=1e-4)
    assert relation.rescue_share == pytest.approx(1.0, abs=0.01)
    assert found.joint is not None
    assert found.joint.flagged == found.joint.removable == ("old",)
    # Three rounds instead of one: the seeds change nothing about this model.
    assert found.joint.effect.effect == pytest.approx(found.singles[0].effect, rel=1e-9)
    assert found.joint.effect.high < found.margin


def test_a_pair_of_equal_measurements_is_not() -> None:
    random = np.random.default_rng(13)
    x, error = random.normal(size=(2, 3000))
    table = {name: x + 0.3 * random.normal(size=3000) for name in ("one", "two")}
    found = run(problem_of(table, x + error), Ridge(), candidates=[legacy(0, 1), legacy(1, 0)])
    assert found.relations == ()
    assert found.joint is None


def test_what_a_linear_model_finds_idle_may_serve_the_real_one() -> None:
    # x squared is all that y is made of; a linear model has no use for x, beside a noisy copy of
    # the square. The tree takes it, and the copy is what has become legacy.
    random = np.random.default_rng(14)
    x, error = random.normal(size=(2, 9000))
    table = {"x": x, "square": x**2 + 0.5 * random.normal(size=9000)}
    problem = problem_of(table, x**2 + 0.3 * error)
    found = run(problem, TREE, candidates=[legacy(0, 1), legacy(1, 0)])
    (relation,) = found.relations
    assert (relation.features, relation.others) == (("square",), ("x",))


def test_flagged_features_are_left_out_together_or_as_many_as_can_go() -> None:
    # Each of two copies can go, and not both.
    random = np.random.default_rng(15)
    x, z, error = random.normal(size=(3, 2000))
    table = {"first": x, "second": x, "rough": x + random.normal(size=2000), "z": z}
    problem = problem_of(table, x + z + error)
    copies = []
    for old, new in ((0, 1), (1, 0)):
        evidence: Any = {
            "effect": ((1, frozenset({old})),),
            "without the others": ((1, frozenset({0, 1})),),
        }
        copies.append(Candidate(Kind.LEGACY, (old,), (new,), "", evidence))
    found = run(problem, Ridge(), candidates=[*copies, legacy(2, 0), legacy(2, 1)])
    assert [one.features for one in found.relations] == [("first",), ("second",)]
    assert found.joint is not None
    assert found.joint.flagged == ("first", "second")
    assert found.joint.effect.low > found.margin
    assert len(found.joint.removable) == 1
    assert found.joint.removable_effect.high < found.margin


def test_without_time_nothing_is_confirmed() -> None:
    found = run(exclusive_or(), TREE, pairs=[("a", "b")], budget=0.0)
    assert (found.relations, found.joint) == ((), None)
    assert not found.complete


def test_relations_become_candidates_again() -> None:
    names = ("a", "b", "c")
    given = [complements(frozenset({0}), frozenset({2})), legacy(1, 0)]
    made = [
        Relation(
            one.kind, tuple(names[place] for place in one.features),
            tuple(names[place] for place in one.others), one.group, {}, None,
            {
                said: tuple((by, tuple(names[place] for place in some)) for by, some in sums)
                for said, sums in one.evidence.items()
            },
        )
        for one in given
    ]  # fmt: skip
    assert list(candidates_of(made, names)) == given
