"""What an ablation report says of an interval is true of it, and said once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from featurekit.analysis.ablation.conclusions import findings_of
from featurekit.analysis.ablation.inference import Estimates, Verdict, contributions
from featurekit.analysis.ablation.proposal import candidates
from featurekit.report.ablation import ablation_verdict
from featurekit.report.proposal import interval_text, proposal_text, score_text
from featurekit.report.tiers import proposal_holds

MARGIN = 1.0
ENDS = (-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0)


class Interval(NamedTuple):
    low: float
    high: float


Claims = dict[str, Callable[[Interval], bool]]
TRUE_OF: Claims = {
    "The whole interval is below 0": lambda of: of.high < 0,
    "The whole interval is within the margin": lambda of: of.low >= -MARGIN and of.high <= MARGIN,
    "The interval ends below the margin": lambda of: of.high <= MARGIN,
    "The interval reaches beyond the margin": lambda of: of.low <= MARGIN < of.high,
    "The whole interval is above the margin": lambda of: of.low > MARGIN,
}
"""What each sentence claims of an interval."""
MEANS: Claims = {
    "is better.": lambda of: of.high < 0,
    "may be better": lambda of: of.low < -MARGIN and of.high <= MARGIN,
    "is as good": lambda of: of.high <= MARGIN,
    "may be worse": lambda of: of.low <= MARGIN < of.high,
    "is worse.": lambda of: of.low > MARGIN,
}


def proposal(low: float, high: float) -> dict[str, Any]:
    return {
        "difference": {"effect": (low + high) / 2, "low": low, "high": high}, "margin": MARGIN,
        "remove": ["a"], "keep": ["b"], "loss": "log loss", "full": 9.0, "model": "m", "rows": 5,
        "smaller": 9.0 + (low + high) / 2,
    }  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [*itertools.combinations(ENDS, 2), (0.0, 0.0)])
def test_what_is_said_of_an_interval_is_true_of_it(low: float, high: float) -> None:
    given = proposal(low, high)
    text = interval_text(given)
    said = [holds for words, holds in TRUE_OF.items() if text.startswith(words)]
    assert len(said) == 1
    assert said[0](Interval(low, high))
    meant = [holds for words, holds in MEANS.items() if words in text]
    assert meant
    assert all(holds(Interval(low, high)) for holds in meant)
    # Colour, headline and sentence agree on whether it may cost more than the margin.
    assert proposal_holds(given) == (high <= MARGIN) == ("worse" not in text)
    assert ("rise" in score_text(given)) == (high > MARGIN)
    assert ("may rise" in score_text(given)) == (low <= MARGIN < high)
    page = proposal_text({"proposal": given})
    assert text in page
    assert ('card good"' in page) == (high <= MARGIN)


def test_an_interval_that_is_not_known_is_not_called_good() -> None:
    given = proposal(0.0, 0.0)
    given["difference"] = {"effect": 0.0, "low": None, "high": None}
    assert interval_text(given).startswith("How much the smaller set loses is not known.")
    assert not proposal_holds(given)


@pytest.mark.parametrize("effect", [-3.0, -1.2, -0.6, -0.05, 0.0, 0.05, 0.6, 1.2, 3.0])
@pytest.mark.parametrize("error", [0.01, 0.2, 0.7, 2.0])
def test_verdict_finding_and_reason_of_a_feature_say_the_same(effect: float, error: float) -> None:
    estimates = Estimates(np.array([effect]), np.array([error]), np.array([0.0]), 1000)
    (one,) = contributions(["line"], [("line",)], estimates, MARGIN)
    verdicts = {
        "line": {"verdict": str(one.verdict), "tier": "linear", "effect": one.effect,
                 "low": one.low, "high": one.high}
    }  # fmt: skip
    found = findings_of([], verdicts, [], "log loss")
    reason = candidates({"line": one}, [], {"line": MARGIN}).get("line", "")
    assert (one.verdict is Verdict.HARMFUL) <= (one.high < 0.0)
    if one.high < 0.0:
        assert one.verdict in (Verdict.HARMFUL, Verdict.NEGLIGIBLE)
    kinds = {Verdict.HARMFUL: ["harmful"], Verdict.NEGLIGIBLE: ["negligible"]}
    assert [each.kind for each in found] == kinds.get(one.verdict, [])
    for word in ("harmful", "negligible"):
        assert all((word in each.message) == (word == one.verdict) for each in found)
        assert (reason.startswith(word)) == (word == one.verdict)
    if one.verdict is Verdict.MATTERS:
        assert one.low > -MARGIN
        assert not reason or one.high < MARGIN
    headline = ablation_verdict({"verdicts": verdicts})
    said = "1 of 1 feature matters" if one.verdict is Verdict.MATTERS else f"is {one.verdict}"
    assert said in headline


def group(name: str, verdict: str, family: str = "source") -> dict[str, Any]:
    return {"name": name, "family": family, "verdict": verdict, "effect": 1.0, "features": ["a"]}


def test_the_headline_leads_with_groups_and_says_what_was_measured_and_by_what() -> None:
    tiers: list[dict[str, Any]] = [
        {"tier": "linear", "groups": [group("past", "matters"), group("now", "undecided")]},
        {"tier": "retrain", "groups": [group("past", "matters")]},
    ]
    verdicts = {
        "a": {"verdict": "matters", "tier": "retrain"},
        "b": {"verdict": "undecided", "tier": "linear"},
        "c": {"verdict": "negligible", "tier": "linear"},
    }
    report: dict[str, Any] = {"tiers": tiers, "verdicts": verdicts, "of": {"features": 3}}
    assert ablation_verdict(report) == (
        "1 of 2 groups matters; 1 of 3 features matters, 1 is negligible and 1 is undecided "
        "(1 measured by retraining and 2 measured by a linear surrogate); none can go"
    )
    # Of 80 features one was measured before the time was over: the others are not called idle.
    report = {
        "tiers": tiers[1:], "verdicts": {"a": verdicts["a"]}, "of": {"features": 80},
        "budget": {"checked": False},
    }  # fmt: skip
    assert ablation_verdict(report) == (
        "1 of 1 group matters; 1 of 1 measured feature matters; 79 more were not measured; no "
        "smaller set was checked"
    )
