"""The rows of an ablation, read again for each pass: batches in, rows of one fold out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from featurekit.analysis.ablation.design import Design
from featurekit.analysis.ablation.gram import Block

__all__ = ["Rows", "blocks"]

CELLS = 1 << 21
"""A batch holds about so many numbers, 16 MB: they stay in the processor's cache while a pass works
on them."""


@dataclass(frozen=True)
class Rows:
    """What is known of every row.

    Args:
        frame: The features.
        label: Float64 of shape [rows]; or int64, the place of each row's class.
        folds: The fold that a row is held out in, int64 of shape [rows]; rows of a negative one
            take no part.
        weights: Float64 of shape [rows]; `None` where all are 1.
        clusters: Codes from 0 on, int64 of shape [rows]; `None` where rows are independent.
        classes: Of how many classes the label holds the places; 0 where it is a number.
    """

    frame: pl.LazyFrame
    label: np.ndarray
    folds: np.ndarray
    weights: np.ndarray | None = None
    clusters: np.ndarray | None = None
    classes: int = 0

    @property
    def labels(self) -> int:
        """How many columns the label has: one, or an indicator for each class."""
        return self.classes or 1

    def write_label(self, part: slice, order: np.ndarray | None, out: np.ndarray) -> None:
        """Write the label of some rows, in an order, into `out`, float64 of [rows, labels]."""
        label = _taken(self.label[part], order)
        if not self.classes:
            out[:, 0] = label
        for place in range(self.classes):
            out[:, place] = label == place


def blocks(rows: Rows, design: Design) -> Iterator[Block]:
    """Yield all rows, batch by batch and within a batch fold by fold, as design columns.

    The values of a block are valid until the next block is asked for; they may be changed.
    """
    columns, labels = design.width, rows.labels
    size = min(max(CELLS // (columns + labels + 1), 4096), 65_536)
    buffer = np.empty((size, columns + labels + 1), order="F")
    start = 0
    for frame in _batches(rows.frame.select(design.names), size):
        part = slice(start, start + frame.height)
        start += frame.height
        folds = rows.folds[part]
        clusters = None if rows.clusters is None else rows.clusters[part]
        order = _order(folds, clusters)
        places = part.start + (np.arange(frame.height) if order is None else order)
        if order is not None:
            folds = folds[order]
        values = buffer[: len(folds)]
        design.write(frame, order, values[:, :columns])
        rows.write_label(part, order, values[:, columns:-1])
        values[:, -1] = 1.0
        weights = None if rows.weights is None else _taken(rows.weights[part], order)
        if clusters is not None:
            clusters = _taken(clusters, order)
        ends = np.flatnonzero(np.diff(folds)) + 1
        for first, last in zip([0, *ends], [*ends, len(folds)], strict=True):
            if first < last:
                yield Block(
                    int(folds[first]),
                    places[first:last],
                    values[first:last],
                    None if weights is None else weights[first:last],
                    None if clusters is None else clusters[first:last],
                    labels,
                )


def _batches(frame: pl.LazyFrame, size: int) -> Iterator[pl.DataFrame]:
    """Yield the rows in their order, at most `size` at a time."""
    # What is in memory already is cut without a copy.
    for batch in frame.collect_batches(chunk_size=size, maintain_order=True):
        yield from batch.iter_slices(size)


def _order(folds: np.ndarray, clusters: np.ndarray | None) -> np.ndarray | None:
    """Return the order by fold and cluster of the rows that take part; `None` for all as is."""
    if not len(folds):
        return None
    if clusters is not None:
        order = np.lexsort((clusters, folds))
    elif folds[0] >= 0 and (folds == folds[0]).all():
        return None
    else:
        order = np.argsort(folds, kind="stable")
    return order[np.searchsorted(folds[order], 0) :]


def _taken(values: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    return values if order is None else values[order]
