"""Encodings that were fitted on labels they must not have seen.

An encoding of a category by its mean label can be recognised without knowing the category: rows
that share a value of the feature have exactly the mean label that the value says. The same for
smoothed and scaled encodings, where the relation is linear in four numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featurekit.analysis.findings import Finding, Severity
from featurekit.analysis.leakage.histograms import Bins, Histograms
from featurekit.analysis.leakage.kinds import found
from featurekit.analysis.leakage.table import Target

__all__ = ["find_encodings"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_LEAST = 8
"""A smoothed or scaled encoding of fewer values cannot be told from chance; a plain one of"""
_PLAIN = 3
"""values can, since every value has to be the mean itself."""
_EXACT = 1e-3
"""The part of the spread that an exact relation may leave unexplained (float32 leaves 1e-7)."""
_SAME = 1e-9
"""Less than that is rounding."""
_CHANCE = 0.01
"""How often a plain encoding may be one by chance."""
_AGREE, _TRIES = 0.5, 100
"""The share of the values that must agree, and how often a line through four of them is tried."""


def find_encodings(histograms: Histograms, target: Target) -> list[Finding]:
    """Return the features that are the mean label of a category over the rows themselves.

    With a split, an encoding over all rows is told from one over the training rows alone, which is
    better and still too good on the rows that it was fitted on.
    """
    out = []
    for name, bins in sorted(histograms.columns.items()):
        if bins.words is not None or not bins.exact or len(bins.keys) < _PLAIN:
            continue
        parts = bins.sums.shape[1]
        every = _is_encoding(bins, bins.sums.sum(axis=1), target)
        train = parts > 1 and _is_encoding(bins, bins.sums[:, 0], target)
        held = parts > 1 and not every and _is_encoding(bins, bins.sums[:, 1], target)
        if not every and not train and not held:
            continue
        if held:
            severity, over = Severity.CRITICAL, "the held-out rows"
        elif every and parts > 1 and not train:
            severity, over = Severity.CRITICAL, "all rows, held-out ones too"
        else:
            over = "the training rows" if train else "all rows"
            over += ", each row's own label too (it is not cross-fitted)"
            severity = Severity.WARNING
        out.append(
            found(
                "target_encoding", severity, (name,),
                f"{name!r} is the mean label of a category over {over}.", values=len(bins.keys),
            )
        )  # fmt: skip
    return out


def _is_encoding(bins: Bins, sums: Floats, target: Target) -> bool:
    """Say whether rows of one value have just the mean label that the value says.

    With n rows, of which the labels add up to s, an encoding smoothed by m rows of the mean p is
    x = (s + m p) / (n + m), so that s = n x + m x - m p; scaled, it is s = a n x + b n + c x + d.
    Labels differ among the rows of a category: what has one label for each value is no mean of
    labels, but the label in other words.
    """
    x = bins.values()
    if target.classes is None:
        x = (x - target.centre) / target.scale
        count, total, squares = sums.T
        within = squares - total * total / np.maximum(count, 1)
        sides = [(count, total, within > _SAME * count)]
    else:
        count = sums.sum(axis=1)
        sides = [
            (count, sums[:, question], (sums[:, question] > 0) & (sums[:, question] < count))
            for question in target.questions
        ]
    for count, total, mixed in sides:
        held = count > 0
        n, s, v, varies = count[held], total[held], x[held], mixed[held]
        if _is_mean(n, s, v, varies, target) or _is_smoothed_mean(n, s, v, varies):
            return True
    return False


def _is_mean(n: Floats, s: Floats, v: Floats, varies: Flags, target: Target) -> bool:
    """Say whether every value is the mean label of its rows, and not by chance."""
    mean = s / n
    if len(np.unique(mean)) < _PLAIN or n.min() <= 1 or not np.allclose(v, mean, 0, 1e-6):
        return False
    if target.classes is None:
        return int(varies.sum()) >= _PLAIN
    # Of n rows that are of the class with the chance v, just n v are so as often as the middle of
    # the binomial distribution says: a share of two votes is right by chance now and then.
    spread = np.sqrt(2 * np.pi * (n * mean * (1 - mean))[varies])
    return bool(np.prod(1 / np.maximum(spread, 1)) < _CHANCE)


def _is_smoothed_mean(n: Floats, s: Floats, v: Floats, varies: Flags) -> bool:
    """Say whether most values give the sums of their rows by one line."""
    if len(n) < _LEAST or n.sum() < 2 * len(n) or v.std() == 0:
        return False
    v = (v - v.mean()) / v.std()
    full = np.stack([n * v, n, v, np.ones_like(n)], axis=1)
    plain = full[:, [1, 3]]
    spread = s - plain @ np.linalg.lstsq(plain, s)[0]
    near = _EXACT * float(np.sqrt(np.mean(spread**2)))
    # Categories of one mean and size share a value and break the relation: it is sought through
    # a few values, and most of the others must agree.
    chosen = np.random.default_rng(0).integers(0, len(n), (_TRIES, 4))
    lines = np.linalg.pinv(full[chosen]) @ s[chosen][:, :, None]
    agree = np.abs(s[:, None] - full @ lines[:, :, 0].T) < near
    kept = agree[:, int(agree.sum(axis=0).argmax())]
    if kept.sum() < max(_LEAST, _AGREE * len(n)) or n[kept].sum() < _AGREE * n.sum():
        return False
    if varies[kept].sum() < _PLAIN:
        return False
    # Where sizes alone give the sums away, as of values that occur once, nothing is shown.
    line = np.linalg.lstsq(full[kept], s[kept])[0]
    spread = s[kept] - plain[kept] @ np.linalg.lstsq(plain[kept], s[kept])[0]
    rest = s[kept] - full[kept] @ line
    # A mean over the other folds of a category follows such a line, too, with all rows of the
    # category in place of m, less than none: it is cross-fitted.
    if line[2] < -0.5 * line[0]:
        return False
    apart = float(np.sqrt(np.mean(spread**2)))
    told = apart > _SAME * float(np.sqrt(np.mean(s[kept] ** 2)))
    return told and float(np.sqrt(np.mean(rest**2))) < _EXACT * apart
