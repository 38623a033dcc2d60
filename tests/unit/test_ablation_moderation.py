"""Errors over few folds that borrow from those of the other effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from featurekit.analysis.ablation.inference import Estimates, contributions, p_values
from featurekit.analysis.ablation.moderation import moderated, shrunk


def estimates(ratios: np.ndarray, effects: np.ndarray, folds: int = 5) -> Estimates:
    return Estimates(
        effects, np.ones(len(ratios)), np.sqrt(ratios), 500, np.full(len(ratios), folds)
    )


@pytest.mark.parametrize(("prior", "common"), [(4.0, 1.5), (20.0, 0.8)])
def test_the_common_variance_and_how_far_effects_share_it_are_found(
    prior: float, common: float
) -> None:
    random = np.random.default_rng(0)
    # Smyth's model: 1 / variance is chi-squared, over prior times the common variance.
    true = prior * common / random.chisquare(prior, 20_000)
    seen = true * random.chisquare(4, 20_000) / 4
    steady, freedom = shrunk(seen, np.full(20_000, 4.0))
    assert freedom[0] - 4 == pytest.approx(prior, rel=0.15)
    # steady = (prior * common + 4 * seen) / (prior + 4), solved for the common variance.
    found = ((freedom[0]) * steady - 4 * seen)[0] / (freedom[0] - 4)
    assert found == pytest.approx(common, rel=0.03)
    assert np.mean((steady - true) ** 2) < np.mean((seen - true) ** 2)


def test_the_inverse_of_trigamma_is_one() -> None:
    from featurekit.analysis.ablation.moderation import _inverse_trigamma

    for value in (1e-4, 0.3, 2.0, 500.0):
        assert special.polygamma(1, _inverse_trigamma(value, special)) == pytest.approx(value)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("prior", [3.0, 1e6])
def test_null_effects_are_rejected_at_the_level(level: float, prior: float) -> None:
    random = np.random.default_rng(1)
    rejected = total = 0
    for _ in range(200):
        ratios = 1.3 * prior / random.chisquare(prior, 60)
        seen = ratios * random.chisquare(4, 60) / 4
        effects = random.normal(size=60) * np.sqrt(np.maximum(ratios, 1.0))
        p = p_values(moderated(estimates(seen, effects)))
        rejected += int((p <= level).sum())
        total += 60
    # Effects of one family share what is borrowed, which adds little to the binomial's deviation.
    assert rejected / total <= level + 4 * np.sqrt(level / total)


def test_a_clear_effect_of_five_folds_is_seen_among_many() -> None:
    random = np.random.default_rng(2)
    effects = random.normal(size=80)
    effects[0] = 8.0
    seen = random.chisquare(4, 80) / 4
    raw = contributions([str(n) for n in range(80)], [("f",)] * 80, estimates(seen, effects), 0.1)
    names = [str(n) for n in range(80)]
    with_all = contributions(names, [("f",)] * 80, moderated(estimates(seen, effects)), 0.1)
    assert with_all[0].verdict == "matters"
    # Of a t distribution with 4 degrees of freedom, 1 / 80 of the level is out of reach.
    assert raw[0].high - raw[0].low > 2 * (with_all[0].high - with_all[0].low) or seen[0] < 1
    assert with_all[0].high - with_all[0].low < 2 * stats.norm.isf(0.05 / 160) * 1.4


def test_few_effects_and_those_without_cells_stay_as_they_are() -> None:
    few = estimates(np.linspace(1, 2, 7), np.zeros(7))
    assert moderated(few) is few
    rows = Estimates(np.zeros(9), np.ones(9), np.ones(9), 500)
    assert moderated(rows) is rows
    idle = estimates(np.linspace(1, 2, 9), np.zeros(9))
    idle.row_error[0] = idle.fold_error[0] = 0.0
    assert moderated(idle).fold_error[0] == 0.0
