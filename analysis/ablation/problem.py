"""What is learnt, from which rows, and when rows are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.ablation.inputs import ranks
from featurekit.analysis.ablation.tasks import Label
from featurekit.errors import DataError

__all__ = ["MAX_PARTS", "Problem", "deal_parts"]

MAX_PARTS = 1024
"""Rows are added up in at most so many parts: their sums stay independent, and what a trial leaves
behind is small."""


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
        created: When features were made, by name.
        seed: Of all that is drawn.
    """

    table: pl.DataFrame
    label: Label
    folds: np.ndarray
    parts: np.ndarray
    ordered: bool = False
    weights: np.ndarray | None = None
    categorical: frozenset[str] = frozenset()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    created: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0

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
    table: pl.DataFrame, label: np.ndarray, clusters: pl.Series | None, seed: int
) -> np.ndarray:
    """Return the part that each row belongs to, codes from 0 on, int64 of shape [rows].

    Clusters, and rows where there are none, are dealt round in the order of a hash of what they
    hold, so that the order of the rows does not matter.
    """
    if clusters is not None:
        codes = ranks(clusters)
        first = np.unique(codes, return_index=True)[1]
        dealt: np.ndarray = _dealt(clusters[first].hash(seed + 1).to_numpy())[codes]
        return dealt
    names: Sequence[str] = sorted(table.columns)
    hashes = table.select(names).hash_rows(seed + 1).to_numpy()
    return _dealt(hashes * np.uint64(0x9E3779B97F4A7C15) + pl.Series(label).hash(seed).to_numpy())


def _dealt(hashes: np.ndarray) -> np.ndarray:
    out = np.empty(len(hashes), dtype=np.int64)
    out[np.argsort(hashes, kind="stable")] = np.arange(len(hashes)) % MAX_PARTS
    return out
