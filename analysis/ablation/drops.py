"""Ridge regression of one fold, and the closed form of every model without some columns.

With A = X'WX + penalty, V = A^-1 and b = V X'Wy, dropping a set S of columns leaves the
coefficients b - V[:,S] (V[S,S])^-1 b[S]. Columns that say nearly the same make V[S,S] nearly
singular, and the formula would lose the digits of the condition of A twice. So it is computed from
a factor: with the Cholesky factor L of A, R = L^-1 and z = R X'Wy, we have V = R'R and b = R'z, and

    V[:,S] (V[S,S])^-1 b[S]  =  R' a,  where a is the projection of z on the columns R[:,S].

On held-out rows with the products (G, c) the sum of squared errors changes by

    2 a'q + a'H a,  where q = R (c - G b) and H = R G R'.

For one column this is 2 t V_j'(c - G b) + t^2 V_j' G V_j with t = b_j / V_jj.

With K labels, one for each class, b, z, c, q and a have K columns and share A, R, G and H; changes
are sums over the labels. The columns of a span as many directions as S has columns, at most: a is
kept as a sum of products d m' of directions d, and of unit vectors m over the labels which are
orthogonal. So a set costs no more for many labels: a row's squared shifts add up to the squares of
its products with R'd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featurekit.analysis.ablation.design import Design
from featurekit.analysis.ablation.gram import Gram
from featurekit.errors import UsageError

__all__ = [
    "FoldModel", "Lost", "Scaling", "change_of", "fit_fold", "fit_scaling", "gain_of", "project",
    "project_rests",
]  # fmt: skip

LEAST_PENALTY = 1e-11
"""Of the weight of the rows: less is no penalty in float64, and collinear columns have no model."""

CELLS = 1 << 22


@dataclass(frozen=True)
class Scaling:
    """What standardises the design columns in one fold: fitted on its training rows.

    Args:
        imputed: Columns with missing numbers beside their indicators, of shape [n, 2].
        fill: What stands for a missing number, its distance from the column's shift, of shape [n].
        scale: Standard deviations after filling, of shape [columns]; 1 where `dead`.
        dead: Which columns are constant: they take no part.
    """

    imputed: np.ndarray
    fill: np.ndarray
    scale: np.ndarray
    dead: np.ndarray

    def products(self, raw: np.ndarray, *, axes: int = 2) -> np.ndarray:
        """Return products of standardised columns, given those of the columns as they are.

        Args:
            raw: Of shape [columns, columns]; or [columns, labels] for products with labels.
            axes: How many of the axes are design columns: 2, or 1.
        """
        out = raw.copy()
        column, indicator = self.imputed.T
        for axis in range(axes):
            turned = np.moveaxis(out, axis, 0)
            turned[column] += self.fill[:, None] * turned[indicator]
            turned /= self.scale[:, None]
            turned[self.dead] = 0.0
        return out

    def raw_coefficients(self, coefficients: np.ndarray) -> np.ndarray:
        """Return coefficients of the columns as they are, given those of standardised ones.

        Args:
            coefficients: Of shape [columns, models].
        """
        out: np.ndarray = coefficients / self.scale[:, None]
        out[self.dead] = 0.0
        column, indicator = self.imputed.T
        np.add.at(out, indicator, self.fill[:, None] * out[column])
        return out


@dataclass(frozen=True)
class FoldModel:
    """A ridge regression of the training rows of one fold, and all that its ablations need.

    Args:
        fold: Its number.
        weight: Of the held-out rows.
        center: Means of the design columns over the training rows, of shape [columns].
        label: Means of the labels over the training rows, of shape [labels].
        scaling: What standardises the columns.
        coefficients: Of the standardised columns, of shape [columns, labels].
        root: R, of shape [columns, columns].
        target: z, of shape [columns, labels].
        slope: q, of shape [columns, labels].
        curvature: H, of shape [columns, columns].
        normal: A, of shape [columns, columns].
        right: X'Wy, of shape [columns, labels].
        held: G, of shape [columns, columns].
        held_right: c, of shape [columns, labels].
    """

    fold: int
    weight: float
    center: np.ndarray
    label: np.ndarray
    scaling: Scaling
    coefficients: np.ndarray
    root: np.ndarray
    target: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    normal: np.ndarray
    right: np.ndarray
    held: np.ndarray
    held_right: np.ndarray


@dataclass(frozen=True)
class Lost:
    """What is lost with sets of columns: a of each set, the sum of its directions times mixes.

    Args:
        directions: d, of shape [directions, columns].
        mixes: m, of shape [directions, labels]; for one label all are 1.
        starts: Where the directions of each set begin, of shape [sets]; each set has one at least.
    """

    directions: np.ndarray
    mixes: np.ndarray
    starts: np.ndarray

    def by_set(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over each set of values of directions, which are the last axis."""
        if values.shape[-1] == len(self.starts):
            return values
        sums: np.ndarray = np.add.reduceat(values, self.starts, axis=-1)
        return sums


def fit_scaling(train: Gram, design: Design) -> Scaling:
    """Return what standardises the columns, given the training rows."""
    imputed = design.imputed
    column, indicator = imputed.T
    absent = train.mean[indicator]
    present = 1.0 - absent
    # The column holds zeros where numbers are missing.
    fill = np.divide(train.mean[column], present, out=np.zeros(len(column)), where=present > 1e-12)
    scatter = train.scatter
    variance = np.diag(scatter)[: design.width].copy()
    variance[column] += fill * (
        2 * scatter[column, indicator] + fill * scatter[indicator, indicator]
    )
    scale = np.sqrt(np.maximum(variance, 0.0) / train.weight)
    # A variance is what is left of squares. Of a column that is constant in the training rows, but
    # not at its mean over all rows, rounding leaves a deviation of about 1e-7 of that distance.
    dead = scale <= design.rounding + 1e-6 * np.abs(train.mean[: design.width])
    return Scaling(imputed, fill, np.where(dead, 1.0, scale), dead)


def fit_fold(fold: int, train: Gram, test: Gram, scaling: Scaling, penalty: float) -> FoldModel:
    """Fit the ridge regression of one fold and look at its held-out rows.

    Args:
        fold: The number of the fold.
        train: Of the training rows.
        test: Of the held-out rows.
        scaling: Of the training rows.
        penalty: Added to the diagonal of the weighted products of standardised columns; the
            intercept is not penalised. As `alpha` of scikit-learn's `Ridge`.

    Raises:
        UsageError: The columns are collinear and the penalty is too small to decide between them.
    """
    size = len(scaling.scale)
    normal = scaling.products(train.scatter[:size, :size])
    normal[np.diag_indices(size)] += penalty + scaling.dead
    try:
        factor = np.linalg.cholesky(normal)
    except np.linalg.LinAlgError:
        factor = np.zeros((size, size))
    if size and np.diag(factor).min() ** 2 < LEAST_PENALTY * train.weight:
        raise UsageError(
            f"with penalty {penalty:g} the coefficients are not determined: features are copies or "
            "sums of each other",
            where=f"fold {fold}",
            hint="a penalty of 1 tells them apart and shrinks little",
        )
    root = np.tril(np.linalg.inv(factor))
    right = scaling.products(train.scatter[:size, size:], axes=1)
    target = root @ right
    coefficients = root.T @ target
    apart = test.mean - train.mean
    seen = test.scatter + test.weight * np.multiply.outer(apart, apart)
    held = scaling.products(seen[:size, :size])
    held_right = scaling.products(seen[:size, size:], axes=1)
    slope = root @ (held_right - held @ coefficients)
    return FoldModel(
        fold, test.weight, train.mean[:size], train.mean[size:], scaling, coefficients,
        root, target, slope, root @ held @ root.T,
        normal, right, held, held_right,
    )  # fmt: skip


def project(model: FoldModel, sets: Sequence[np.ndarray]) -> Lost:
    """Return a for every set of columns: the part of z that is lost with them.

    Args:
        model: Of a fold.
        sets: Places of design columns; a set may be empty.
    """
    size, labels = model.target.shape
    widths = np.array([len(columns) for columns in sets], dtype=np.int64)
    ranks = np.clip(widths, 1, labels)
    starts = np.cumsum(ranks) - ranks
    count = int(ranks.sum())
    lost = Lost(np.zeros((count, size)), np.zeros((count, labels)), starts)
    for width in np.unique(widths[widths > 0]):
        places = np.flatnonzero(widths == width)
        step = max(1, CELLS // (size * int(width)))
        for first in range(0, len(places), step):
            some = places[first : first + step]
            columns = np.stack([sets[place] for place in some])
            taken = np.moveaxis(model.root[:, columns], 0, 1)
            basis, _ = np.linalg.qr(taken)
            own = starts[some][:, None] + np.arange(min(width, labels))
            lost.directions[own], lost.mixes[own] = _directions(basis, model.target)
    return lost


def _directions(basis: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the projections of z on spaces, as directions and mixes.

    Args:
        basis: Orthonormal bases of n spaces, of shape [n, columns, width].
        target: z, of shape [columns, labels].

    Returns:
        Arrays of shape [n, directions, columns] and [n, directions, labels].
    """
    parts = basis.swapaxes(1, 2) @ target
    if target.shape[1] == 1:
        return (basis @ parts).swapaxes(1, 2), np.ones((len(basis), 1, 1))
    mixes, triangle = np.linalg.qr(parts.swapaxes(1, 2))
    return triangle @ basis.swapaxes(1, 2), mixes.swapaxes(1, 2)


def project_rests(model: FoldModel, parts: Sequence[np.ndarray]) -> Lost:
    """Return a for a set of columns without each of its parts, from one factorisation.

    The columns of the inverse of the set's own factor are orthogonal to all others of the set: what
    a part adds to the rest is the projection on those of the part.

    Args:
        model: Of a fold.
        parts: Places of design columns; together they are the set.
    """
    basis, factor = np.linalg.qr(model.root[:, np.concatenate(parts)])
    whole = basis @ (basis.T @ model.target)
    duals = basis @ np.linalg.inv(factor).T
    size, labels = whole.shape
    out = np.empty((len(parts), labels, size))
    start = 0
    for place, columns in enumerate(parts):
        own, _ = np.linalg.qr(duals[:, start : start + len(columns)])
        out[place] = (whole - own @ (own.T @ model.target)).T
        start += len(columns)
    mixes = np.tile(np.eye(labels), (len(parts), 1))
    return Lost(out.reshape(-1, size), mixes, labels * np.arange(len(parts)))


def change_of(model: FoldModel, lost: Lost) -> np.ndarray:
    """Return the change of the held-out sum of squared errors, over all labels.

    Args:
        model: Of a fold.
        lost: What `project` gives.

    Returns:
        Float64 of shape [sets].
    """
    square = np.einsum("np,np->n", lost.directions @ model.curvature, lost.directions)
    linear = np.sum(lost.directions @ model.slope * lost.mixes, axis=1)
    return lost.by_set(2 * linear + square)


def gain_of(model: FoldModel, sets: Sequence[np.ndarray]) -> np.ndarray:
    """Return by how much the held-out sum of squared errors falls with some columns alone.

    Args:
        model: Of a fold.
        sets: Places of the only design columns that are kept.

    Returns:
        Float64 of shape [sets]: compared with the model that is a constant.
    """
    out = np.zeros(len(sets))
    widths = np.array([len(columns) for columns in sets], dtype=np.int64)
    for width in np.unique(widths[widths > 0]):
        places = np.flatnonzero(widths == width)
        step = max(1, CELLS // (int(width) * max(int(width), model.target.shape[1])))
        for first in range(0, len(places), step):
            some = places[first : first + step]
            columns = np.stack([sets[place] for place in some])
            grid = (columns[:, :, None], columns[:, None, :])
            kept = np.linalg.solve(model.normal[grid], model.right[columns])
            fall = 2 * model.held_right[columns] - model.held[grid] @ kept
            out[some] = np.sum(kept * fall, axis=(1, 2))
    return out
