"""The closed form for all pairs of features at once, as operations on whole matrices.

Each feature gets an orthonormal basis of its columns in R (see `drops.py`), and z, q and H are
written in these bases once. What is lost with a pair then takes a system of equations as large as
the pair has columns, whose condition depends on the angles between the two features alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from featurekit.analysis.ablation.design import Design
from featurekit.analysis.ablation.drops import FoldModel, change_of, project

__all__ = ["Bases", "feature_bases", "pair_changes"]

ALIKE = 1e-3
"""Two features are alike when 1 - cos^2 of the angle between their columns is less than this: the
quick formula for pairs would lose more than three digits, so they are projected one by one."""

CELLS = 1 << 22


@dataclass(frozen=True)
class Bases:
    """An orthonormal basis for the columns of each feature in R, in the order of the design.

    Args:
        vectors: Of shape [columns, columns]; those of a feature stand in the places of its columns.
        cosines: Products of them with each other.
        target: z in each of them, of shape [columns, labels].
        slope: q in each of them.
        curvature: H in each two of them.
        starts: Where each feature begins, and the number of columns.
    """

    vectors: np.ndarray
    cosines: np.ndarray
    target: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    starts: np.ndarray


def feature_bases(model: FoldModel, design: Design) -> Bases:
    """Return what pairs of features are computed from."""
    starts = np.array(design.starts)
    vectors = model.root / np.linalg.norm(model.root, axis=0)
    for start, stop in pairwise(starts):
        if stop - start > 1:
            vectors[:, start:stop], _ = np.linalg.qr(model.root[:, start:stop])
    return Bases(
        vectors,
        vectors.T @ vectors,
        vectors.T @ model.target,
        vectors.T @ model.slope,
        vectors.T @ model.curvature @ vectors,
        starts,
    )


def pair_changes(model: FoldModel, bases: Bases) -> np.ndarray:
    """Return the change of the held-out sum of squared errors without every pair of features.

    Returns:
        Float64 of shape [features, features], symmetric; on the diagonal, without one feature.
    """
    widths = np.diff(bases.starts)
    count = len(widths)
    out = np.empty((count, count))
    alike = np.zeros((count, count), dtype=bool)
    for width in np.unique(widths):
        for other in np.unique(widths[widths >= width]):
            first, second = np.flatnonzero(widths == width), np.flatnonzero(widths == other)
            if width == other == 1:
                found, near = _narrow_pairs(bases, bases.starts[first])
                out[np.ix_(first, first)], alike[np.ix_(first, first)] = found, near
                continue
            for feature in first.tolist():
                found, near = _wide_pairs(bases, feature, second, int(width), int(other))
                out[feature, second], alike[feature, second] = found, near
                out[second, feature], alike[second, feature] = found, near
    np.fill_diagonal(alike, val=False)
    one, two = np.nonzero(np.triu(alike))
    columns = [np.arange(*ends) for ends in pairwise(bases.starts)]
    sets = [np.concatenate([columns[j], columns[k]]) for j, k in zip(one, two, strict=True)]
    step = max(1, CELLS // model.target.size)
    for start in range(0, len(sets), step):
        some = slice(start, start + step)
        found = change_of(model, project(model, sets[some]))
        out[one[some], two[some]] = out[two[some], one[some]] = found
    np.fill_diagonal(out, _single_changes(bases))
    return out


def _single_changes(bases: Bases) -> np.ndarray:
    """Return the change without each feature."""
    found = []
    for start, stop in pairwise(bases.starts):
        target = bases.target[start:stop]
        bent = 2 * bases.slope[start:stop] + bases.curvature[start:stop, start:stop] @ target
        found.append(np.sum(target * bent))
    return np.array(found)


def _narrow_pairs(bases: Bases, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes without pairs of one-column features, and which of them are alike."""
    grid = np.ix_(places, places)
    cosine = bases.cosines[grid]
    sine = 1.0 - cosine**2
    near = sine < ALIKE
    target, slope = bases.target[places], bases.slope[places]
    curvature = bases.curvature[grid]
    change = np.zeros_like(curvature)
    for z, q in zip(target.T, slope.T, strict=True):
        # The weight of each basis vector in the projection on it and another one.
        share = (z[:, None] - cosine * z) / np.where(near, 1.0, sine)
        own = share * (2 * q[:, None] + share * np.diag(curvature)[:, None])
        change += own + own.T + 2 * share * share.T * curvature
    return change, near


def _wide_pairs(
    bases: Bases, one: int, others: np.ndarray, width: int, other: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes without a feature and each of others, which are equally wide."""
    mine = np.broadcast_to(bases.starts[one] + np.arange(width), (len(others), width))
    theirs = bases.starts[others][:, None] + np.arange(other)
    columns = np.concatenate([mine, theirs], axis=1)
    cosines = bases.cosines[columns[:, :, None], columns[:, None, :]]
    # The largest cosine between the two spaces is at most the norm of the block between them.
    near = 1.0 - np.sum(cosines[:, :width, width:] ** 2, axis=(1, 2)) < ALIKE
    cosines[near] = np.eye(width + other)
    share = np.linalg.solve(cosines, bases.target[columns])
    curvature = bases.curvature[columns[:, :, None], columns[:, None, :]]
    bent = 2 * bases.slope[columns] + curvature @ share
    return np.sum(share * bent, axis=(1, 2)), near
