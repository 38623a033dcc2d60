"""Known populations: what features are worth, and which of them are redundant or bundled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from featurekit.analysis.ablation.inference import Verdict
from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear
from featurekit.analysis.ablation.relations import Relation
from featurekit.analysis.ablation.units import Kind

ROWS = 6000


def drawn(seed: int, count: int, rows: int = ROWS) -> np.ndarray:
    """Return independent standard normal columns, one after the other."""
    return np.random.default_rng(seed).normal(size=(count, rows))


def only(found: LinearAblation) -> Relation:
    """Return the one relation that was found."""
    (relation,) = found.relations
    return relation


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_the_sum_of_two_correlated_features(r: float) -> None:
    a, b = drawn(1, 2, 20_000)
    b = r * a + np.sqrt(1 - r**2) * b
    found = ablate_linear({"a": a, "b": b}, a + b, groups={"both": ["a", "b"]})
    # Without a, the best prediction from b leaves Var(a | b) = 1 - r^2; without both, Var(a + b).
    # A model without noise has no error of its own: 4% is two standard errors of 20,000 squares.
    for single in found.singles:
        assert single.effect == pytest.approx(1 - r**2, rel=0.04)
        assert single.verdict is Verdict.MATTERS
    assert found.groups[0].effect == pytest.approx(2 + 2 * r, rel=0.04)
    assert found.pairs is not None
    assert found.pairs[0, 1] == pytest.approx(found.groups[0].effect, rel=1e-8)
    assert found.interactions is not None
    assert found.interactions[0, 1] == pytest.approx(2 * (1 - r**2) - (2 + 2 * r), abs=0.1)


def test_friedman_1_as_far_as_it_is_linear() -> None:
    # Friedman, "Multivariate Adaptive Regression Splines", 1991: y = 10 sin(pi x1 x2)
    # + 20 (x3 - .5)^2 + 10 x4 + 5 x5 + noise, x uniform on [0, 1], ten features. For a linear model
    # x4 is worth 100 / 12 and x5 25 / 12; x3 is symmetric about .5 and worth nothing; x6 to x10 do
    # nothing. 10 sin(pi x1 x2) has the slope 12 Cov(y, x1) in x1, which is found by integration.
    random = np.random.default_rng(2)
    x = random.random((20_000, 10))
    curve = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y = curve + 10 * x[:, 3] + 5 * x[:, 4] + random.normal(size=20_000)
    found = ablate_linear({f"x{place + 1}": x[:, place] for place in range(10)}, y)
    grid = (np.arange(2000) + 0.5) / 2000
    surface = 10 * np.sin(np.pi * np.outer(grid, grid))
    slope = 12 * np.mean(surface * (grid[:, None] - 0.5))
    expected = [slope**2 / 12, slope**2 / 12, 0, 100 / 12, 25 / 12, 0, 0, 0, 0, 0]
    for single, value in zip(found.singles, expected, strict=True):
        assert single.effect == pytest.approx(value, abs=4 * single.standard_error + 2e-3)
    verdicts = [single.verdict for single in found.singles]
    assert verdicts == [Verdict.MATTERS if value else Verdict.NEGLIGIBLE for value in expected]
    assert not found.relations


def noisy_older_copy() -> tuple[dict[str, np.ndarray], np.ndarray]:
    new, other, noise, error = drawn(3, 4)
    return {"new": new, "old": new + 0.5 * noise, "other": other}, new + 0.5 * other + 0.5 * error


def test_a_noisy_older_copy_is_superseded_and_never_the_reverse() -> None:
    table, y = noisy_older_copy()
    relation = only(ablate_linear(table, y, created={"new": 2024, "old": 2019}))
    assert (relation.kind, relation.features, relation.others) == (Kind.LEGACY, ("old",), ("new",))
    # The newer one says all, so that it has taken over everything the older one was worth.
    assert relation.rescue_share == pytest.approx(1.0, abs=0.01)
    # Without the newer one, the older is worth Var(new) - Var(new | old) = 1 - .2.
    assert relation.evidence["without the others"].effect == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("created", [{}, {"new": 2019, "old": 2024}, {"old": 2019}])
def test_without_the_dates_it_is_redundant_and_not_legacy(created: Mapping[str, int]) -> None:
    table, y = noisy_older_copy()
    relation = only(ablate_linear(table, y, created=created))
    assert (relation.kind, relation.features) == (Kind.REDUNDANT, ("old",))


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_of_two_equal_measurements_of_one_cause_none_is_named(noise: float, seed: int) -> None:
    cause, other, one, two, error = drawn(10 + seed, 5)
    found = ablate_linear(
        {"one": cause + noise * one, "two": cause + noise * two, "other": other},
        cause + other + 0.5 * error,
        created={"one": 1, "two": 2, "other": 3},
    )
    kinds = {relation.kind for relation in found.relations}
    assert kinds <= {Kind.SUBSTITUTES}
    # Nearly equal ones stand in for each other; noisy ones are both worth having.
    assert bool(kinds) == (noise < 0.3)


def test_three_measurements_are_substitutes_as_a_set() -> None:
    cause, other, *noise, error = drawn(4, 6)
    table = {name: cause + 0.05 * extra for name, extra in zip("abc", noise, strict=True)}
    relation = only(ablate_linear({**table, "other": other}, cause + other + 0.5 * error))
    assert (relation.kind, relation.features) == (Kind.SUBSTITUTES, ("a", "b", "c"))


def test_an_older_sum_is_superseded_by_both_of_its_parts() -> None:
    a, b, other, noise, error = drawn(5, 5)
    table = {"a": a, "b": b, "sum": a + b + 0.5 * noise, "other": other}
    created = {"a": 2, "b": 3, "sum": 1}
    relation = only(ablate_linear(table, a + 2 * b + other + 0.5 * error, created=created))
    assert (relation.kind, relation.features) == (Kind.LEGACY, ("sum",))
    assert relation.others == ("a", "b")


def test_an_exact_sum_is_legacy_by_its_date_and_else_a_substitute() -> None:
    a, b, error = drawn(6, 3)
    table, y = {"a": a, "b": b, "sum": a + b}, a + 2 * b + 0.5 * error
    dated = only(ablate_linear(table, y, created={"a": 2, "b": 2, "sum": 1}))
    assert (dated.kind, dated.features, dated.others) == (Kind.LEGACY, ("sum",), ("a", "b"))
    # Any one of the three is the sum or the difference of the others.
    relation = only(ablate_linear(table, y))
    assert (relation.kind, relation.features) == (Kind.SUBSTITUTES, ("a", "b", "sum"))


def test_a_sum_of_three_is_superseded_by_all_three() -> None:
    a, b, c, noise, error = drawn(7, 5)
    table = {"a": a, "b": b, "c": c, "sum": a + b + c + 0.5 * noise}
    found = ablate_linear(
        table, a + 1.5 * b + 2 * c + 0.5 * error, created={"a": 2, "b": 2, "c": 2, "sum": 1}
    )
    relation = only(found)
    assert (relation.features, relation.others) == (("sum",), ("a", "b", "c"))


def test_exact_copies_are_told_apart_by_their_dates_alone() -> None:
    a, b, error = drawn(8, 3)
    table, y = {"a": a, "celsius": 5 / 9 * (a - 32), "b": b}, a + b + error
    undated = only(ablate_linear(table, y))
    assert (undated.kind, undated.features) == (Kind.DUPLICATE, ("a", "celsius"))
    found = ablate_linear(table, y, created={"a": 1, "celsius": 2})
    copies, legacy = found.relations
    assert copies.kind is Kind.DUPLICATE
    assert (legacy.kind, legacy.features, legacy.others) == (Kind.LEGACY, ("a",), ("celsius",))
    assert found.joint is not None
    assert found.joint.flagged == found.joint.removable == ("a",)
    assert found.joint.removable_effect.high < found.margin


def test_copies_do_not_hide_what_they_supersede() -> None:
    new, other, noise, error = drawn(9, 4)
    table = {"new": new, "twice": 2 * new, "old": new + 0.5 * noise, "other": other}
    found = ablate_linear(
        table, new + other + 0.5 * error, created={"new": 2, "twice": 2, "old": 1}
    )
    named = {one.kind: (one.features, one.others) for one in found.relations}
    assert named == {
        Kind.DUPLICATE: (("new", "twice"), ()),
        Kind.LEGACY: (("old",), ("new", "twice")),
    }
    assert found.joint is not None
    assert found.joint.flagged == ("twice", "old")
    assert found.joint.effect.high < found.margin


def test_a_group_that_matters_has_free_riders() -> None:
    a, idle, idler, b, error = drawn(20, 5)
    found = ablate_linear(
        {"a": a, "idle": idle, "idler": idler, "b": b},
        a + b + error,
        groups={"mixed": ["a", "idle", "idler"], "alone": ["b"]},
    )
    relation = only(found)
    assert (relation.kind, relation.group) == (Kind.FREE_RIDERS, "mixed")
    assert (relation.features, relation.others) == (("idle", "idler"), ("a",))
    assert [group.verdict for group in found.groups] == [Verdict.MATTERS, Verdict.MATTERS]


def test_copies_in_a_group_do_not_ride_free() -> None:
    # Each of the two is idle beside the other, and one of them is needed.
    a, apart, idle, error = drawn(26, 4)
    table = {"a": a, "like a": a + 0.01 * apart, "idle": idle}
    found = ablate_linear(table, a + error, groups={"all but none": list(table)})
    named = {one.kind: one.features for one in found.relations}
    assert named == {Kind.SUBSTITUTES: ("a", "like a"), Kind.FREE_RIDERS: ("idle",)}


def test_a_declared_group_of_substitutes_is_no_group_of_free_riders() -> None:
    cause, *noise, error = drawn(21, 7)
    names = ("a", "b", "c", "d", "e")
    table = {name: cause + 0.1 * extra for name, extra in zip(names, noise, strict=True)}
    found = ablate_linear(table, cause + 0.5 * error, groups={"five": names})
    relation = only(found)
    # More than four are not searched for; the declaration names them.
    assert (relation.kind, relation.group, relation.features) == (Kind.SUBSTITUTES, "five", names)


def test_a_small_difference_of_two_like_features_makes_them_complements() -> None:
    a, other, apart, error = drawn(22, 4)
    b = 0.98 * a + np.sqrt(1 - 0.98**2) * apart
    relation = only(ablate_linear({"a": a, "b": b, "z": other}, 5 * (a - b) + other + 0.3 * error))
    assert (relation.kind, relation.features) == (Kind.COMPLEMENTS, ("a", "b"))


def test_flagged_features_are_left_out_together_before_anyone_deletes_them() -> None:
    # Each half of the cause is in two older features, and each of these is redundant beside the
    # newer one; all of them can go together, and that is measured.
    cause, other, first, second, error = drawn(23, 5)
    found = ablate_linear(
        {"new": cause, "old": cause + 0.5 * first, "older": cause + 0.7 * second, "z": other},
        cause + other + 0.5 * error,
        created={"new": 3, "old": 2, "older": 1},
    )
    assert found.joint is not None
    assert set(found.joint.flagged) == {"old", "older"}
    assert set(found.joint.removable) == {"old", "older"}
    assert found.joint.effect.high < found.margin


def test_nothing_is_said_where_there_is_no_skill() -> None:
    a, b, error = drawn(24, 3, 500)
    found = ablate_linear({"a": a, "b": a + 0.01 * b}, error)
    assert not found.relations
    assert {single.verdict for single in found.singles} <= {Verdict.UNDECIDED, Verdict.NEGLIGIBLE}


def test_a_binary_label_has_the_same_relations() -> None:
    table, _ = noisy_older_copy()
    odds = 1.5 * table["new"] + table["other"]
    y = np.random.default_rng(25).random(ROWS) < 1 / (1 + np.exp(-odds))
    relation = only(ablate_linear(table, y, created={"new": 2, "old": 1}, margin=0.02))
    assert (relation.kind, relation.features, relation.others) == (Kind.LEGACY, ("old",), ("new",))


def random_design(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any], set[str]]:
    """Return features, label, dates, and which features are legacy by construction.

    Three to six features, equally correlated (up to .4), all with an effect; to some, an older copy
    with noise, an older noisy sum of two, or an older copy in other units; to some, two equal
    measurements of a further cause, and features that do nothing. All have dates.
    """
    random = np.random.default_rng(seed)
    rows, width = 4000, int(random.integers(3, 7))
    correlation = random.uniform(0, 0.4)
    common = random.normal(size=(rows, 1))
    x = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * random.normal(size=(rows, width))
    slopes = random.choice([-1, 1], width) * random.uniform(0.8, 1.5, width)
    table = {f"base{place}": x[:, place] for place in range(width)}
    created: dict[str, Any] = dict.fromkeys(table, 2)
    legacy: set[str] = set()

    def older(name: str, values: np.ndarray) -> None:
        table[name] = values
        created[name] = 1
        legacy.add(name)

    order = random.permutation(width)
    for place in order[: int(random.integers(0, 3))]:
        noise = random.uniform(0.3, 0.8) * random.normal(size=rows)
        older(f"old{place}", x[:, place] + noise)
    if random.random() < 0.4:
        one, two = order[-2:]
        slopes[two] = abs(slopes[two]) * np.sign(slopes[one])
        noise = random.uniform(0.2, 0.6) * random.normal(size=rows)
        older("old sum", x[:, one] + x[:, two] + noise)
    if random.random() < 0.3 and width >= 5:
        older("old units", 2 * x[:, order[2]] - 1)
    signal = x @ slopes
    if random.random() < 0.3:
        cause = random.normal(size=rows)
        for place in (1, 2):
            table[f"equal{place}"] = cause + 0.1 * random.normal(size=rows)
            created[f"equal{place}"] = place
        signal += cause
    for place in range(int(random.integers(0, 3))):
        table[f"idle{place}"] = random.normal(size=rows)
        created[f"idle{place}"] = place
    y = signal + signal.std() * random.uniform(0.3, 1.0) * random.normal(size=rows)
    return table, y, created, legacy


def test_legacy_features_of_a_hundred_random_designs_are_named_and_hardly_any_other() -> None:
    planted = named = false = 0
    for seed in range(100):
        table, y, created, legacy = random_design(seed)
        found = ablate_linear(table, y, created=created)
        called = {
            name
            for relation in found.relations
            if relation.kind in (Kind.LEGACY, Kind.REDUNDANT)
            for name in relation.features
        }
        planted += len(legacy)
        named += len(legacy & called)
        false += len(called - legacy)
    assert planted > 100
    assert named / planted >= 0.95
    assert false <= 1
