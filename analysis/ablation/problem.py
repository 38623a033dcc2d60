"""What is learnt, from which rows, and when rows are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import polars as pl

from featurekit.analysis.ablation.dealing import deal
from featurekit.analysis.ablation.tasks import Label, Task
from featurekit.errors import DataError

__all__ = ["MAX_PARTS", "Problem", "deal_parts"]

MAX_PARTS = 1024
"""Rows are added up in at most so many parts: their sums stay independent, and what a trial leaves
behind is small."""
_ODD = np.uint64(0xD1342543DE82EF95)
"""Times this, hashes have another order: parts are dealt across folds."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A table with a label, and how its rows are held out.

    Args:
        table: The features, with nothing else beside them.
        label: What is predicted.
        folds: The fold that a row is held out in, int64 of shape [rows]; rows of a negative fold
            take no part.
        parts: What standard errors take for independent, codes from 0 on, int64 of shape [rows]:
            clusters, or the rows dealt into so many parts.
        ordered: Whether folds follow each other in time: each is held out from a model of the
            earlier ones, and the first is only trained on.
        weights: Of the rows, float64 of shape [rows]; `None` where all are 1.
        categorical: Features that hold categories although they are numbers.
        groups: Names of features by the name of a group, to be left out together.
        seed: Of all that is drawn.
        listed: The features in the order in which a model that was fitted to an array knows them;
            empty for that of the table.
    """

    table: pl.DataFrame
    label: Label
    folds: np.ndarray
    parts: np.ndarray
    ordered: bool = False
    weights: np.ndarray | None = None
    categorical: frozenset[str] = frozenset()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    listed: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of the table."""
        return tuple(self.table.columns)

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are held out, ascending.

        Raises:
            DataError: There are none.
        """
        found = np.unique(self.folds[self.folds >= 0]).tolist()
        if len(found) < 2:
            raise DataError("the rows are in fewer than two folds", where="folds")
        return tuple(found[1:] if self.ordered else found)

    def check_labels(self) -> None:
        """Refuse classes of which a fold's training rows have one only.

        Raises:
            DataError: No model could tell them apart.
        """
        if self.label.task is Task.REGRESSION:
            return
        for fold in self.held_out:
            rows = self.training_rows(fold)
            if self.weights is not None:
                rows = rows[self.weights[rows] > 0.0]
            known = self.label.values[rows]
            if not len(known) or known.min() == known.max():
                raise DataError(
                    "the training rows have one label only", where=f"fold {fold}",
                    hint="folds of which at least two hold each label",
                )  # fmt: skip

    def training_rows(self, fold: int) -> np.ndarray:
        """Return the rows that a fold is held out from, int64."""
        taken = (self.folds >= 0) & (
            self.folds < fold if self.ordered else self.folds != fold
        )  # fmt: skip
        return np.flatnonzero(taken)

    def held_rows(self, fold: int) -> np.ndarray:
        """Return the rows of a fold, int64."""
        return np.flatnonzero(self.folds == fold)

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the weights of some rows, or `None`."""
        return None if self.weights is None else self.weights[rows]


def deal_parts(
    clusters: np.ndarray | None, hashes: np.ndarray, most: int = MAX_PARTS
) -> np.ndarray:
    """Return the part that each row belongs to, codes from 0 on, int64 of shape [rows].

    Args:
        clusters: Codes of shape [rows], from 0 on; their rows stay together. `None` where rows are
            independent.
        hashes: Of what rows hold, uint64 of shape [rows].
        most: How many parts there are at most.

    Clusters, or rows where there are none, are dealt round in the order of their hashes (of a
    cluster the smallest one of its rows), so that the order of rows does not matter.
    """
    if clusters is None:
        return deal(hashes * _ODD, most)
    smallest = np.full(int(clusters.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, clusters, hashes)
    dealt: np.ndarray = deal(smallest, most)[clusters]
    return dealt
