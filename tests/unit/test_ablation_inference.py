"""Error rates, power and coverage of what is said about effects, and the adjustments by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from featurekit.analysis.ablation.inference import (
    Contribution,
    Estimates,
    Verdict,
    adjust_benjamini_hochberg,
    adjust_holm,
    bounds,
    contributions,
    equivalence_p_values,
    p_values,
)
from featurekit.analysis.ablation.linear import LinearAblation, ablate_linear
from featurekit.errors import UsageError

LEVELS = (0.01, 0.05, 0.10)


def monte_carlo(level: float, trials: int) -> float:
    """Return three standard errors of a rate: chance passes it once in 700 tests."""
    return 3 * float(np.sqrt(level * (1 - level) / trials))


def estimates(effect: list[float], error: list[float], clusters: int = 50) -> Estimates:
    return Estimates(np.array(effect), np.array(error), np.zeros(len(effect)), clusters)


def test_p_values_and_bounds_are_those_of_the_t_distribution() -> None:
    found = estimates([0.3, -0.2, 1.0], [0.1, 0.2, 1.0], clusters=12)
    t = stats.t(11)
    np.testing.assert_allclose(p_values(found), t.sf([3.0, -1.0, 1.0]), rtol=1e-12)
    low, high = bounds(found, confidence=0.9, family=4)
    distance = t.ppf(1 - 0.1 / 8) * found.standard_error
    np.testing.assert_allclose([low, high], [found.effect - distance, found.effect + distance])


def test_equivalence_is_two_one_sided_tests() -> None:
    found = estimates([0.01, -0.03, 0.2], [0.02, 0.02, 0.02])
    both = [
        stats.t(49).sf([(0.05 - effect) / 0.02, (0.05 + effect) / 0.02]).max()
        for effect in found.effect
    ]
    np.testing.assert_allclose(equivalence_p_values(found, 0.05), both, rtol=1e-10)
    assert equivalence_p_values(found, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_holm_and_benjamini_hochberg_are_as_published() -> None:
    # The 15 p-values of Benjamini and Hochberg, 1995, section 3.2: the procedure finds four at .05.
    p = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
                  0.4262, 0.5719, 0.6528, 0.7590, 1.0])  # fmt: skip
    mixed = np.random.default_rng(1).permutation(len(p))
    adjusted = adjust_benjamini_hochberg(p[mixed])
    np.testing.assert_allclose(adjusted, stats.false_discovery_control(p[mixed]))
    assert (adjusted <= 0.05).sum() == 4
    # Three by Holm: .0095 is above .05 / 12.
    assert (adjust_holm(p[mixed]) <= 0.05).sum() == 3
    steps = [min(1.0, max(p[k] * (15 - k) for k in range(place + 1))) for place in range(15)]
    np.testing.assert_allclose(adjust_holm(p), steps)


def test_effects_without_an_error_are_certain() -> None:
    found = estimates([0.0, 0.5, -0.5], [0.0, 0.0, 0.0])
    assert p_values(found).tolist() == [1.0, 0.0, 1.0]
    assert equivalence_p_values(found, 0.1).tolist() == [0.0, 1.0, 1.0]
    with pytest.raises(UsageError, match="1 cluster"):
        p_values(estimates([0.1], [0.1], clusters=1))


def test_verdicts_need_evidence_and_a_large_p_value_is_none() -> None:
    found = contributions(
        ["strong", "idle", "noisy", "tiny"],
        [("strong",), ("idle",), ("noisy",), ("tiny",)],
        estimates([1.0, 0.0, 0.1, 0.02], [0.1, 0.01, 0.4, 0.004], clusters=1000),
        margin=0.05,
    )
    assert [one.verdict for one in found] == [
        Verdict.MATTERS, Verdict.NEGLIGIBLE, Verdict.UNDECIDED, Verdict.NEGLIGIBLE,
    ]  # fmt: skip
    # Above 0 and inside the margin: both are said, and the margin decides the word.
    assert found[3].p_value < 0.001
    assert found[3].high < 0.05


def simulated(
    trials: int, seed: int, make: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    **options: object,
) -> Iterator[LinearAblation]:  # fmt: skip
    """Yield ablations of data that is drawn again and again."""
    random = np.random.default_rng(seed)
    for _ in range(trials):
        x, y = make(random)
        columns = {f"x{place}": x[:, place] for place in range(x.shape[1])}
        yield ablate_linear(
            columns,
            y,
            folds=np.arange(len(y)) % 5,
            pairs=False,
            **options,  # type: ignore[arg-type]
        )


def p_value(one: Contribution, clusters: int) -> float:
    """Return the p-value before it is adjusted."""
    return float(stats.t(clusters - 1).sf(one.effect / one.standard_error))


def linear(
    count: int, slopes: list[float], noise: float = 1.0
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def make(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = random.normal(size=(count, len(slopes)))
        return x, x @ np.array(slopes) + noise * random.normal(size=count)

    return make


def binary(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = random.normal(size=(400, 2))
    return x, random.random(400) < 1 / (1 + np.exp(-x[:, 1]))


def clustered(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a feature and noise that are alike in each of 40 clusters of 10 rows."""
    x = random.normal(size=(400, 2))
    x[:, 0] = np.repeat(random.normal(size=40), 10)
    return x, x[:, 1] + np.repeat(random.normal(size=40), 10) + random.normal(size=400)


@pytest.mark.parametrize(
    ("make", "clusters"),
    [(linear(300, [0.0, 1.0]), None), (binary, None), (clustered, np.repeat(np.arange(40), 10))],
    ids=["regression", "binary", "clustered"],
)
def test_a_feature_that_does_nothing_matters_no_oftener_than_the_level(
    make: Callable[..., tuple[np.ndarray, np.ndarray]], clusters: np.ndarray | None
) -> None:
    trials = 500
    p = np.array([
        p_value(found.singles[0], found.clusters)
        for found in simulated(trials, 21, make, clusters=clusters)
    ])  # fmt: skip
    for level in LEVELS:
        assert (p <= level).mean() <= level + monte_carlo(level, trials)


def test_none_of_many_features_that_do_nothing_matters_oftener_than_the_level() -> None:
    trials = 300
    make = linear(300, [0.0] * 9 + [1.0])
    wrong = [
        any(one.verdict is Verdict.MATTERS for one in found.singles[:9])
        for found in simulated(trials, 22, make)
    ]
    assert np.mean(wrong) <= 0.05 + monte_carlo(0.05, trials)


def test_an_effect_of_a_tenth_is_found_in_two_thousand_rows() -> None:
    # The effect of a standardised feature is its coefficient squared. Five features are judged
    # together, so that Holm's adjustment takes its part of the power.
    trials = 100
    make = linear(2000, [np.sqrt(0.1), 0.0, 0.0, 0.0, 1.0])
    hits = [f.singles[0].verdict is Verdict.MATTERS for f in simulated(trials, 23, make)]
    assert np.mean(hits) >= 0.70


def test_an_effect_at_the_margin_is_seldom_called_negligible() -> None:
    # y = .3 x + z + noise: the effect is .09, the skill 1.09; the margin is set to be the effect.
    # A model of 960 rows loses 1 / 960 more with x than the best one, which the effect does not
    # show: the rate would be the level, .10, but for that and for the larger of two errors.
    trials = 300
    make = linear(1200, [0.3, 1.0])
    wrong = [
        f.singles[0].verdict is Verdict.NEGLIGIBLE
        for f in simulated(trials, 24, make, margin=0.09 / 1.09)
    ]
    assert np.mean(wrong) <= 0.10 + monte_carlo(0.10, trials)


def test_all_intervals_of_a_family_hold_together() -> None:
    # Dropping an independent feature of variance 1 costs its coefficient squared; shrinking and
    # learning from 1,600 rows changes that by about 1 / 1600, far below the standard errors.
    slopes = [1.0, 0.5, 0.3, 0.2]
    trials = 300
    held = [
        all(one.low <= slope**2 <= one.high for one, slope in zip(f.singles, slopes, strict=True))
        for f in simulated(trials, 25, linear(2000, slopes))
    ]
    assert np.mean(held) >= 0.95 - monte_carlo(0.95, trials)


def test_more_rows_give_narrower_intervals() -> None:
    widths = []
    for count in (500, 5000, 50_000):
        (found,) = simulated(1, 26, linear(count, [0.5, 1.0]))
        widths.append(found.singles[0].high - found.singles[0].low)
    # A tenth of the width at a hundred times the rows, give or take the estimated error.
    assert all(2 < wide / narrow < 5 for wide, narrow in pairwise(widths))
