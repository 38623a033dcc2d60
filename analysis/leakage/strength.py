"""How much one column says about a label: areas under the ROC curve, skill, and their chance.

All of it is computed from counts by bin, so that it costs the same for a thousand rows as for a
billion.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = [
    "auc", "auc_interval", "binomial_tail", "encoded_auc", "noise_p_value", "permuted_p_value",
    "ranked_auc", "skill", "standard_error",
]  # fmt: skip

Floats = npt.NDArray[np.float64]

_PERMUTATIONS = 20


def auc(positive: Floats, negative: Floats) -> tuple[float, float]:
    """Return the area under the ROC curve, and how many of its pairs share a bin.

    Args:
        positive: Rows of the class by bin, bins in rising order; [bins].
        negative: Rows of the others.

    Returns:
        The chance that a row of the class lies above one of the others, ties counting half; and
        half the share of pairs that are tied. Where bins are ranges of values, the exact area is
        not further away than that. NaN and 0 where a side has no rows.

    Example:
        >>> auc(np.array([0.0, 1, 1]), np.array([1.0, 1, 0]))
        (0.875, 0.125)

    Source: the rank-sum form of the area, Hanley and McNeil, "The Meaning and Use of the Area under
    a Receiver Operating Characteristic (ROC) Curve", 1982.
    """
    pairs = float(positive.sum()) * float(negative.sum())
    if not pairs:
        return math.nan, 0.0
    below = np.cumsum(negative) - negative
    tied = float(positive @ negative) / 2
    return (float(positive @ below) + tied) / pairs, tied / pairs


def ranked_auc(scores: Floats, positive: Floats, negative: Floats) -> float:
    """Return the area for bins in the order of a score; equal scores tie."""
    _, place = np.unique(scores, return_inverse=True)
    sides = [np.bincount(place, side).astype(np.float64) for side in (positive, negative)]
    return auc(sides[0], sides[1])[0]


def standard_error(positive: float, negative: float) -> float:
    """Return the standard error of the area where the column says nothing.

    Args:
        positive: How many rows the class has.
        negative: How many the others have.

    Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically
    Larger than the Other", 1947.
    """
    if not positive or not negative:
        return math.inf
    return math.sqrt((positive + negative + 1) / (12 * positive * negative))


def noise_p_value(area: float, positive: float, negative: float) -> float:
    """Return the two-sided chance of such an area, or one further from 1/2, in pure noise.

    Example:
        >>> round(noise_p_value(0.6, 50, 50), 4)
        0.0848
    """
    score = abs(area - 0.5) / standard_error(positive, negative)
    return 1.0 if math.isnan(score) else math.erfc(score / math.sqrt(2))


def auc_interval(area: float, positive: float, negative: float) -> tuple[float, float]:
    """Return the 95% interval of an area (Hanley and McNeil, 1982, equation 2)."""
    if not positive or not negative:
        return 0.0, 1.0
    one = area / (2 - area)
    two = 2 * area * area / (1 + area)
    square = area * area
    variance = area * (1 - area) + (positive - 1) * (one - square) + (negative - 1) * (two - square)
    reach = 1.96 * math.sqrt(max(0.0, variance) / (positive * negative))
    return max(0.0, area - reach), min(1.0, area + reach)


def encoded_auc(positive: Floats, negative: Floats, random: np.random.Generator) -> float:
    """Return the area of categories encoded by their share of the class, out of fold.

    Each row goes to one of two halves by chance; a category's share in one half scores its rows in
    the other. Rows of a category and class are alike, so drawing how many of them go to a half is
    the same as drawing rows. A category that is new to a half ties with the average; so do all
    categories of pure noise, however many there are.

    Args:
        positive: Rows of the class by category, whole numbers; [categories].
        negative: Rows of the others.
        random: Draws the halves.
    """
    if not positive.sum() or not negative.sum():
        return math.nan
    prior = positive.sum() / (positive.sum() + negative.sum())
    ones = random.binomial(positive.astype(np.int64), 0.5).astype(np.float64)
    zeros = random.binomial(negative.astype(np.int64), 0.5).astype(np.float64)
    areas = []
    for here, there in (
        ((ones, zeros), (positive - ones, negative - zeros)),
        ((positive - ones, negative - zeros), (ones, zeros)),
    ):
        share = (here[0] + prior) / (here[0] + here[1] + 1)
        areas.append(ranked_auc(np.round(share, 12), *there))
    return float(np.mean(areas))


def permuted_p_value(
    area: float, positive: Floats, negative: Floats, random: np.random.Generator
) -> float:
    """Return the one-sided chance of such an encoded area when labels are dealt out anew.

    The areas of a few permutations give the mean and the deviation of a normal distribution: a
    p-value fit for many columns would take too many permutations otherwise.
    """
    counts = (positive + negative).astype(np.int64)
    drawn = int(positive.sum())
    null = []
    for _ in range(_PERMUTATIONS):
        ones = random.multivariate_hypergeometric(counts, drawn, method="marginals")
        null.append(
            encoded_auc(ones.astype(np.float64), (counts - ones).astype(np.float64), random)
        )
    # The areas of few rows may all be 1/2; no permutation is more certain than the plain test.
    deviation = max(float(np.std(null, ddof=1)), standard_error(drawn, float(negative.sum())))
    score = (area - float(np.mean(null))) / deviation
    return 0.5 * math.erfc(score / math.sqrt(2))


def skill(count: Floats, total: Floats, squares: Floats) -> tuple[float, float]:
    """Return the adjusted R2 of a quantity's mean by bin, and its chance in pure noise.

    Args:
        count: Rows by bin; [bins].
        total: The sum of the quantity.
        squares: The sum of its squares.

    Returns:
        `1 - (within / (n - bins)) / (whole / (n - 1))`, of which the expectation is 0 in noise
        however many bins there are, and the p-value of the F test, by the normal approximation of
        Paulson (1942). 0 and 1 where there are not more rows than bins.

    Source: Wherry, "A New Formula for Predicting the Shrinkage of the Coefficient of Multiple
    Correlation", 1931; Paulson, "An Approximate Normalization of the Analysis of Variance
    Distribution", 1942.
    """
    held = count > 0
    count, total, squares = count[held], total[held], squares[held]
    rows, bins = float(count.sum()), len(count)
    if bins < 2 or rows - bins < 1:
        return 0.0, 1.0
    whole = float(squares.sum() - total.sum() ** 2 / rows)
    within = max(float((squares - total * total / count).sum()), 1e-15 * max(whole, 0.0))
    if whole <= 1e-12 * float(squares.sum()):
        return 0.0, 1.0
    value = 1 - (within / (rows - bins)) / (whole / (rows - 1))
    ratio = max(0.0, (whole - within) / (bins - 1)) / (within / (rows - bins))
    above, under = 2 / (9 * (bins - 1)), 2 / (9 * (rows - bins))
    root = ratio ** (1 / 3)
    score = ((1 - under) * root - (1 - above)) / math.sqrt(under * root * root + above)
    return value, 0.5 * math.erfc(score / math.sqrt(2))


def binomial_tail(hits: int, rows: int, chance: float) -> float:
    """Return the chance of at least so many hits among independent rows.

    Example:
        >>> round(binomial_tail(3, 3, 0.5), 12)
        0.125
    """
    if chance >= 1.0:
        return 1.0
    if chance <= 0.0:
        return 0.0 if hits else 1.0
    most = math.lgamma(rows + 1)
    terms = (
        most - math.lgamma(k + 1) - math.lgamma(rows - k + 1)
        + k * math.log(chance) + (rows - k) * math.log1p(-chance)
        for k in range(hits, rows + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(math.exp(term) for term in terms))
