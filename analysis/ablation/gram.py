"""Weighted Gram matrices of rows, fold by fold, in one pass over batches.

A Gram matrix is kept as weight, means and centred products, not as raw sums: so it stays exact
where a column is near 1e9, and two of them merge into that of both (Chan, Golub and LeVeque,
"Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979). It is all that
a least-squares fit, and the held-out error of one, need to know of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Block", "Gram", "accumulate", "gram", "merge"]


@dataclass(frozen=True)
class Gram:
    """What is kept of some rows: sums over the design columns and, in the last places, the labels.

    Args:
        rows: How many rows.
        weight: The sum of their weights.
        mean: Weighted means, float64 of shape [columns + labels].
        scatter: Weighted sums of products of the deviations from the means, float64 of shape
            [columns + labels, columns + labels], symmetric: X'WX, X'Wy and y'Wy, all centred.
    """

    rows: int
    weight: float
    mean: np.ndarray
    scatter: np.ndarray


@dataclass(frozen=True)
class Block:
    """Some rows of one fold.

    Args:
        fold: Its number.
        places: Which rows of the table they are, int64 of shape [rows].
        values: Design columns and labels, float64 of shape [rows, columns + labels], and behind
            them a column of ones.
        weights: Float64 of shape [rows]; `None` where all are 1.
        clusters: Codes of the clusters, int64 of shape [rows], sorted; `None` where each row is one
            of its own.
        labels: How many labels there are: one, or one for each class.
    """

    fold: int
    places: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None = None
    clusters: np.ndarray | None = None
    labels: int = 1

    @property
    def columns(self) -> np.ndarray:
        """The design columns, a view of shape [rows, columns]."""
        return self.values[:, : -1 - self.labels]

    @property
    def label(self) -> np.ndarray:
        """The labels, a view of shape [rows, labels]."""
        return self.values[:, -1 - self.labels : -1]

    def parts(self, size: int) -> Iterator[Block]:
        """Yield the rows in parts of at most so many."""
        for start in range(0, len(self.values), size):
            part = slice(start, start + size)
            yield Block(
                self.fold,
                self.places[part],
                self.values[part],
                None if self.weights is None else self.weights[part],
                None if self.clusters is None else self.clusters[part],
                self.labels,
            )


def gram(values: np.ndarray, weights: np.ndarray | None = None) -> Gram:
    """Return the Gram matrix of some rows.

    Args:
        values: Design columns, labels, and a column of ones, float64 of shape [rows, columns +
            labels + 1]. They should be near their means (within some standard deviations): products
            are summed first and centred then.
        weights: None of them negative, of shape [rows].

    Returns:
        The matrix; of rows without weight, one that is all zeros.

    Example:
        >>> rows = np.array([[0.0, 1.0, 1.0], [2.0, 5.0, 1.0]])
        >>> found = gram(rows)
        >>> found.mean.tolist(), found.scatter.tolist()
        ([1.0, 3.0], [[2.0, 4.0], [4.0, 8.0]])
    """
    if weights is not None:
        values = values * np.sqrt(weights)[:, None]
    # One symmetric product gives products, sums and the total weight.
    products = values.T @ values
    weight = float(products[-1, -1])
    if weight == 0.0:
        size = len(products) - 1
        return Gram(0, 0.0, np.zeros(size), np.zeros((size, size)))
    mean = products[-1, :-1] / weight
    return Gram(
        len(values), weight, mean, products[:-1, :-1] - weight * np.multiply.outer(mean, mean)
    )


def merge(parts: Iterable[Gram]) -> Gram:
    """Return the Gram matrix of all rows, given those of parts.

    Raises:
        ValueError: There is no part.

    Example:
        >>> rows = np.array([[0.0, 1.0, 1.0], [2.0, 5.0, 1.0], [4.0, 0.0, 1.0]])
        >>> both = merge([gram(rows[:1]), gram(rows[1:])])
        >>> bool(np.allclose(both.scatter, gram(rows).scatter))
        True
    """
    whole: Gram | None = None
    for part in parts:
        if whole is None or whole.weight == 0.0:
            whole = part
        elif part.weight > 0.0:
            weight = whole.weight + part.weight
            apart = part.mean - whole.mean
            between = whole.weight * part.weight / weight * np.multiply.outer(apart, apart)
            whole = Gram(
                whole.rows + part.rows,
                weight,
                whole.mean + part.weight / weight * apart,
                whole.scatter + part.scatter + between,
            )
    if whole is None:
        raise ValueError("nothing to merge")
    return whole


def accumulate(blocks: Iterator[Block]) -> Mapping[int, Gram]:
    """Return the Gram matrix of every fold, in one pass; memory does not grow with the rows."""
    found: dict[int, Gram] = {}
    for block in blocks:
        part = gram(block.values, block.weights)
        found[block.fold] = merge([found[block.fold], part]) if block.fold in found else part
    return dict(sorted(found.items()))
