"""How sure an ablation is: standard errors, intervals, and the three verdicts.

An effect is the held-out loss without some features less the loss with all of them, row by row and
then averaged. It is judged against a margin: half a percent of the full model's skill (how much
less it loses than a constant does), unless told otherwise.

- *matters*: the effect is above 0; one-sided p-values, adjusted by Holm's method.
- *negligible*: the effect is between -margin and +margin; two one-sided tests (TOST; Schuirmann,
  1987), p-values adjusted by the method of Benjamini and Hochberg, accepted at .10.
- *harmful*: the whole interval is below 0, and the effect is not negligible: the model is better
  without.
- *undecided*: none of these. A large p-value alone never says that a feature can go.

What is both above 0 and inside the margin is called negligible: the margin says which effects are
too small to keep a feature for.

P-values of "matters" are super-uniform when a feature is worth nothing, not uniform: training on
noise costs held-out performance, so that the mean effect is below 0 and small p-values are rarer
than their level.

Intervals hold together, all of a family with probability 95%, by Bonferroni's inequality. It asks
nothing of how the effects depend on each other; the quantile of their joint distribution (max-t)
would make intervals of 60 features a few percent narrower at best, and random.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.errors import UsageError, require

__all__ = [
    "CONFIDENCE", "FALSE_DISCOVERIES", "LEVEL", "MARGIN", "Contribution", "Estimates", "Verdict",
    "adjust_benjamini_hochberg", "adjust_holm", "bounds", "contributions", "equivalence_p_values",
    "margin_of", "mean_and_error", "p_values",
]  # fmt: skip

CONFIDENCE = 0.95
LEVEL = 0.05
FALSE_DISCOVERIES = 0.10
MARGIN = 0.005
"""The margin as a share of the full model's skill."""


class Verdict(enum.StrEnum):
    """What is said of a feature or a group."""

    MATTERS = "matters"
    NEGLIGIBLE = "negligible"
    HARMFUL = "harmful"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Estimates:
    """Effects with what says how far they may be off; all arrays have the shape [effects].

    Args:
        effect: In units of the loss.
        row_error: Standard error over clusters of rows.
        fold_error: Standard error over folds (and seeds).
        clusters: How many clusters there are.
        cells: How many folds, or folds and seeds, each effect was measured in, where that is what
            limits how well its error is known; `None` where clusters alone count.
    """

    effect: np.ndarray
    row_error: np.ndarray
    fold_error: np.ndarray
    clusters: int
    cells: np.ndarray | None = None

    @property
    def standard_error(self) -> np.ndarray:
        """The larger of both: neither sees all that varies."""
        larger: np.ndarray = np.maximum(self.row_error, self.fold_error)
        return larger

    def take(self, places: Sequence[int] | np.ndarray | slice) -> Estimates:
        """Return some of the effects."""
        cells = None if self.cells is None else self.cells[places]
        return Estimates(
            self.effect[places], self.row_error[places], self.fold_error[places], self.clusters,
            cells,
        )  # fmt: skip


@dataclass(frozen=True)
class Contribution:
    """What a feature or a group is worth.

    Args:
        name: Of the feature or the group.
        features: The features that were left out together.
        effect: The held-out loss without them less the loss with them; above 0, they help.
        standard_error: Of the effect.
        low: Lower end of the interval; the intervals of a family hold together.
        high: Upper end.
        p_value: That the effect is above 0, adjusted by Holm's method.
        negligible_p_value: That it is inside the margin, adjusted by Benjamini's and Hochberg's.
        verdict: What follows.
    """

    name: str
    features: tuple[str, ...]
    effect: float
    standard_error: float
    low: float
    high: float
    p_value: float
    negligible_p_value: float
    verdict: Verdict


def contributions(
    names: Sequence[str],
    features: Sequence[tuple[str, ...]],
    estimates: Estimates,
    margin: float,
    *,
    confidence: float = CONFIDENCE,
    level: float = LEVEL,
    false_discoveries: float = FALSE_DISCOVERIES,
    looks: int = 1,
) -> tuple[Contribution, ...]:
    """Judge a family of effects together.

    Args:
        names: One for each effect.
        features: What was left out.
        estimates: The effects. What was not measured, NaN, belongs to the family and is undecided.
        margin: In units of the loss; 0 or less where nothing can be called negligible.
        confidence: With which all intervals hold together.
        level: For "matters", over the family.
        false_discoveries: The share of wrong ones among those called negligible.
        looks: How often the family may be judged while more is measured. P-values count so many
            times, and intervals hold in all looks together (Bonferroni).

    Returns:
        One for each effect, in their order.

    Raises:
        MissingExtra: SciPy, for the t distribution, is not installed.
    """
    low, high = bounds(estimates, confidence=confidence, family=len(names) * looks)
    above = np.minimum(looks * adjust_holm(p_values(estimates)), 1.0)
    inside = adjust_benjamini_hochberg(equivalence_p_values(estimates, margin))
    inside = np.minimum(looks * inside, 1.0)
    error = estimates.standard_error
    return tuple(
        Contribution(
            name,
            features[i],
            float(estimates.effect[i]),
            float(error[i]),
            float(low[i]),
            float(high[i]),
            float(above[i]),
            float(inside[i]),
            Verdict.NEGLIGIBLE
            if inside[i] <= false_discoveries
            else Verdict.MATTERS
            if above[i] <= level
            else Verdict.HARMFUL
            if high[i] < 0.0
            else Verdict.UNDECIDED,
        )
        for i, name in enumerate(names)
    )


def mean_and_error(sums: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted means over all rows, and their standard errors over parts of the rows.

    Parts are clusters of rows, or folds, or folds and seeds: whatever is independent, or should be
    looked at as if it were.

    Args:
        sums: What the rows of each part lose, times their weights, of shape [parts, effects].
        weights: The weight of each part, of shape [parts].

    Returns:
        The means, and with C parts `sqrt(C / (C - 1) * sum_c (sum_c - weight_c * mean)^2)` divided
        by the weight of all; both of shape [effects].

    Source: the linearised variance of a ratio; Cochran, "Sampling Techniques", 1977, 6.4.

    Example:
        >>> mean, error = mean_and_error(np.array([[1.0], [3.0]]), np.array([2.0, 2.0]))
        >>> mean.tolist(), error.tolist()  # of two means .5 and 1.5: their distance / 2
        ([1.0], [0.5])
    """
    weight = weights.sum()
    mean: np.ndarray = sums.sum(axis=0) / weight
    squares = np.sum((sums - np.multiply.outer(weights, mean)) ** 2, axis=0)
    parts = len(weights)
    return mean, np.sqrt(squares * parts / max(parts - 1, 1)) / weight


def margin_of(full_loss: float, baseline_loss: float, share: float = MARGIN) -> float:
    """Return the margin in units of the loss: a share of the skill, 0 where there is no skill.

    Example:
        >>> margin_of(full_loss=0.6, baseline_loss=1.0, share=0.005)
        0.002
    """
    return share * max(0.0, baseline_loss - full_loss)


def p_values(estimates: Estimates) -> np.ndarray:
    """Return one-sided p-values of effects above 0, from the t distribution.

    An effect without a standard error is one that is 0 in every row, or in a toy; its p-value is 1
    at 0 and below, and 0 above.
    """
    return _upper_tail(estimates.effect, estimates)


def equivalence_p_values(estimates: Estimates, margin: float) -> np.ndarray:
    """Return p-values of effects between -margin and +margin; 1 for a margin of 0.

    Source: two one-sided tests, Schuirmann, "A comparison of the two one-sided tests procedure and
    the power approach", 1987.
    """
    if margin <= 0.0:
        return np.ones_like(estimates.effect)
    below = _upper_tail(margin - estimates.effect, estimates)
    above = _upper_tail(margin + estimates.effect, estimates)
    larger: np.ndarray = np.maximum(below, above)
    return larger


def bounds(
    estimates: Estimates, *, confidence: float = CONFIDENCE, family: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return two-sided bounds of effects, of which a family holds together (Bonferroni).

    Args:
        estimates: The effects.
        confidence: Of the family.
        family: How many effects it has.

    Returns:
        The lower and the upper bounds.
    """
    special = _special()
    tail = (1.0 - confidence) / (2 * max(family, 1))
    distance = special.stdtrit(_freedom(estimates), 1.0 - tail) * estimates.standard_error
    return estimates.effect - distance, estimates.effect + distance


def adjust_holm(p: np.ndarray) -> np.ndarray:
    """Return p-values that can be compared with a level which then holds over all of them.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Example:
        >>> adjust_holm(np.array([0.25, 0.125, 0.5])).tolist()
        [0.5, 0.375, 0.5]
    """
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def adjust_benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Return p-values that can be compared with the share of false discoveries.

    Source: Benjamini and Hochberg, "Controlling the False Discovery Rate", 1995.

    Example:
        >>> adjust_benjamini_hochberg(np.array([0.25, 0.125, 0.5])).tolist()
        [0.375, 0.375, 0.5]
    """
    order = np.argsort(p, kind="stable")
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return out


def _upper_tail(distance: np.ndarray, estimates: Estimates) -> np.ndarray:
    """Return the chance of a t variable beyond a distance, given in units of the effect."""
    error = estimates.standard_error
    certain = error == 0.0
    ratio = distance / np.where(certain, 1.0, error)
    tail = _special().stdtr(_freedom(estimates), -ratio)
    tail = np.where(certain, np.where(distance > 0.0, 0.0, 1.0), tail)
    return np.where(np.isnan(distance), 1.0, tail)


def _freedom(estimates: Estimates) -> np.ndarray:
    """Return the degrees of freedom of each effect: those of the error that is the larger one."""
    if estimates.clusters < 2 and np.isfinite(estimates.effect).any():
        raise UsageError(
            f"{estimates.clusters} cluster of rows says nothing about how sure an effect is",
            hint="clusters of an entity or a block of time; at least two",
        )
    # Where nothing was measured there are no clusters, and nothing follows from their number.
    of_rows = np.full(estimates.effect.shape, float(max(estimates.clusters - 1, 1)))
    if estimates.cells is None:
        return of_rows
    of_cells = np.maximum(np.minimum(estimates.cells - 1.0, of_rows), 1.0)
    return np.where(estimates.fold_error > estimates.row_error, of_cells, of_rows)


def _special() -> Any:
    require("scipy", "analysis", "the t distribution")
    import scipy.special

    return scipy.special
