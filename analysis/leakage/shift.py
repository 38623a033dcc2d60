"""Adversarial validation: do all features together tell held-out rows from training rows?

A linear model of the ranges of all features is fitted to say which part of the split a row is in,
cross-fitted. Where rows were put into parts by chance, it can say nothing: its area under the ROC
curve is 1/2 within its error. Rows of one entity are alike and go to one fold together, and count
once, so that a split by entity looks like what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Effect, Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.kinds import Thresholds, found
from featurekit.analysis.leakage.pairs import sample
from featurekit.analysis.leakage.strata import stratified_auc
from featurekit.analysis.leakage.strength import auc_interval, noise_p_value
from featurekit.analysis.leakage.table import Rows

__all__ = ["find_shift"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_ROWS = 10_000
_FEATURES, _COLUMNS = 500, 1_000
"""So many features, the strongest first, make at most about so many columns,"""
_RANGES = 8
"""each of them this many: one for a range of numbers, or for a word."""
_FOLDS = 5
_LEAST = 50
"""Fewer rows, or entities, of a part say nothing."""
_PENALTY = 10.0
_NOTED = 0.55
_TOLD, _PART = 5, 1 / 3
"""So many features are named, each of which says so much of what the first one does."""


def find_shift(
    rows: Rows, names: Sequence[str], total: int, in_time: bool | None, thresholds: Thresholds,
    seed: int,
) -> list[Finding]:  # fmt: skip
    """Return how well all features together tell held-out rows from training rows.

    Args:
        rows: The table.
        names: The features, the strongest first.
        total: How many rows the table has.
        in_time: Whether the split is by time, where features that drift tell its parts apart and
            nothing is wrong with it; `False` where rows, or entities, went into its parts by
            chance; `None` where that is not known.
        thresholds: From where on to speak up.
        seed: Chooses the rows.
    """
    split = rows.target.split
    names = names[:_FEATURES]
    if split is None or not names:
        return []
    keys = [] if rows.entity is None else [rows.entity]
    table = sample(rows, [*names, split, *keys], total, _ROWS, seed)
    held_out = table.select(rows.target.held_out.alias("x")).to_series()
    units = _units(table, rows.entity)
    score, told = _scores(_ranges(table, names), held_out.to_numpy(), units)
    made = pl.DataFrame({"score": score, "fold": units % _FOLDS, "unit": units, "held": held_out})
    if rows.entity is not None:
        made = made.group_by("fold", "unit", "held", maintain_order=True).agg(pl.mean("score"))
    if made["held"].value_counts()["count"].min() < _LEAST or made["held"].n_unique() < 2:  # type: ignore[operator]
        return []
    area, one, other = stratified_auc(made, ["score"], ["fold"], made["held"])["score"]
    # In noise, what one fold says of another is what that says of it: each pair of rows counts
    # twice, and the area is as uncertain as that of half of the rows.
    one, other = one / 2, other / 2
    chance = noise_p_value(area, one, other) / 2
    if area < _NOTED or chance >= thresholds.false_alarms:
        return []
    serious = in_time is False and area >= thresholds.shift
    order = np.argsort(-told, kind="stable")[:_TOLD]
    most = [names[place] for place in order if told[place] >= told.max() * _PART]
    message = (
        f"All features together tell held-out rows from training rows: AUC {area:.3f}, cross-"
        f"fitted; most of it by {', '.join(map(repr, most))}"
    )
    if in_time:
        message += ". The split is by time, so that is what drift does"
    return [
        found(
            "adversarial_split", Severity.WARNING if serious else Severity.NOTE, tuple(most),
            f"{message}.", Effect("AUC", area, *auc_interval(area, one, other)), p_value=chance,
            features_used=len(names), rows=table.height, in_time=in_time,
        )
    ]  # fmt: skip


def _units(table: pl.DataFrame, entity: str | None) -> Integers:
    """Return what each row belongs to: its entity, or itself."""
    if entity is None:
        return np.arange(table.height)
    # By a hash, so that entities of neighbouring names do not follow each other into folds.
    whose = table.select(named(entity).hash(0).rank("dense")).to_series()
    return whose.to_numpy().astype(np.int64)


def _ranges(table: pl.DataFrame, names: Sequence[str]) -> list[Integers]:
    """Return the range of each feature that a row's value is in, 0 for a missing one."""
    count = max(2, min(_RANGES, _COLUMNS // len(names)))
    out: list[Integers] = []
    for name in names:
        column = table[name].alias("x")
        if column.dtype == pl.String or isinstance(column.dtype, (pl.Categorical, pl.Enum)):
            words = column.cast(pl.String)
            common = words.drop_nulls().value_counts(sort=False).sort(
                "count", "x", descending=[True, False]
            )["x"][: count - 1]  # fmt: skip
            place = {word: at for at, word in enumerate(common.to_list(), 1)}
            coded = words.replace_strict(place, default=count, return_dtype=pl.Int64)
            out.append(coded.set(words.is_null(), 0).to_numpy())
            continue
        numbers = column.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy()
        known = ~np.isnan(numbers)
        codes = np.zeros(len(numbers), np.int64)
        if known.any():
            cuts = np.quantile(
                numbers[known], np.arange(1, count) / count, method="inverted_cdf"
            )  # fmt: skip
            codes[known] = 1 + np.searchsorted(np.unique(cuts), numbers[known])
        out.append(codes)
    return out


def _scores(
    ranges: Sequence[Integers], held_out: npt.NDArray[np.bool_], units: Integers
) -> tuple[Floats, Floats]:
    """Fit in all folds but one, and score that one, by ridge regression.

    Returns:
        The score of each row; and how far the scores of each feature lie apart, in a fit to all.
    """
    widths = [int(codes.max()) + 1 for codes in ranges]
    starts = np.cumsum([0, *widths])
    # Single precision is twice as fast, and far finer than what the rows can say.
    wide = np.zeros((len(held_out), starts[-1]), np.float32)
    for start, codes in zip(starts, ranges, strict=False):
        wide[np.arange(len(codes)), start + codes] = 1
    wide -= wide.mean(axis=0)
    folds = units % _FOLDS
    inside = [wide[folds == fold] for fold in range(_FOLDS)]
    sides = [held_out[folds == fold].astype(np.float32) for fold in range(_FOLDS)]
    squares = [part.T @ part for part in inside]
    score = np.zeros(len(held_out))
    for fold in range(_FOLDS):
        rest = [other for other in range(_FOLDS) if other != fold]
        weights = _fit(inside, sides, squares, rest)
        score[folds == fold] = inside[fold] @ weights
    weights = _fit(inside, sides, squares, list(range(_FOLDS)))
    said = [(wide[:, start:end] @ weights[start:end]).std() for start, end in pairwise(starts)]
    return score, np.array(said)


def _fit(
    inside: Sequence[Singles], sides: Sequence[Singles], squares: Sequence[Singles],
    folds: Sequence[int],
) -> Singles:  # fmt: skip
    centre = np.concatenate([sides[fold] for fold in folds]).mean()
    moments = sum(inside[fold].T @ (sides[fold] - centre) for fold in folds)
    whole = sum(squares[fold] for fold in folds) + _PENALTY * np.eye(squares[0].shape[0])
    return np.linalg.solve(whole, moments).astype(np.float32)
