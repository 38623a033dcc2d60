"""Features that tell the label of the rows to learn from, and hardly that of the others.

Predictions for the rows that a model was trained on are such, and encodings that were fitted on the
row's own label. Over all rows together they may look fair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from featurekit.analysis.findings import Effect, Finding
from featurekit.analysis.leakage.histograms import Bins, Histograms
from featurekit.analysis.leakage.kinds import Thresholds, found
from featurekit.analysis.leakage.strength import auc_interval
from featurekit.analysis.leakage.table import Target
from featurekit.analysis.leakage.univariate import Measured, measure, random_for

__all__ = ["find_train_only"]

_ALIKE = 0.6
"""A feature whose own values tell the parts apart more than that has drifted."""
_KEPT = 0.5
"""Held-out rows keep less than that of what the feature tells about the rows to learn from."""
_ROWS = 100


def find_train_only(
    histograms: Histograms, measured: Mapping[str, Measured], target: Target,
    thresholds: Thresholds, seed: int,
) -> list[Finding]:  # fmt: skip
    """Return the features that tell the label of the rows to learn from alone.

    Both parts are judged alike: of the larger one, as many rows are drawn as the smaller one has.

    Args:
        histograms: Those of all rows.
        measured: What each feature says over all rows.
        target: The label; its split must not be by time, where relations change by themselves.
        thresholds: From where on to speak up.
        seed: The seed of what is drawn.
    """
    out = []
    rows = histograms.totals[:, 0] if target.classes is None else histograms.totals.sum(axis=1)
    if len(rows) < 2 or rows.min() < _ROWS:
        return []
    level = thresholds.false_alarms / max(1, len(measured))
    for name, numbers in measured.items():
        if numbers.shift is None or max(numbers.shift, 1 - numbers.shift) > _ALIKE:
            continue
        parts = [_part(name, histograms.columns[name], part, rows, target, seed) for part in (0, 1)]
        train, held = (measure(name, bins, target, seed) for bins in parts)
        if train.way.startswith("missing") or thresholds.severity(train.strength) is None:
            continue
        kept = held.ways.get(train.way, 0.0)
        if train.way == "rank" and held.way == "rank" and held.direction != train.direction:
            kept = 1 - kept
        nothing = 0.0 if target.classes is None else 0.5
        if kept - nothing > _KEPT * (train.strength - nothing):
            continue
        if target.classes is not None and not _differ(train, held, max(kept, 0.5), level):
            continue
        measure_name = "R2" if target.classes is None else "AUC"
        severity = thresholds.severity(train.strength)
        assert severity is not None
        out.append(
            found(
                "target_encoding", severity, (name,),
                f"{name!r} alone tells the label of the rows to learn from: {measure_name} "
                f"{train.strength:.3f}, and {kept:.3f} of held-out rows. What was fitted on a "
                "row's own label does this.",
                Effect(measure_name, train.strength), held_out=kept, way=train.way,
            )
        )  # fmt: skip
    return out


def _part(
    name: str, bins: Bins, part: int, rows: np.ndarray, target: Target, seed: int
) -> Bins:  # fmt: skip
    """Return the labels of one part of the split; of the larger one, of so many rows drawn."""
    sums, special = bins.sums[:, part : part + 1], bins.special[:, part : part + 1]
    share = float(rows.min() / rows[part])
    if target.classes is not None and share < 1:
        random = random_for(seed, name)
        sums = random.binomial(sums.astype(np.int64), share).astype(np.float64)
    return replace(bins, sums=sums, special=special)


def _differ(train: Measured, held: Measured, kept: float, level: float) -> bool:
    """Say whether the areas of both parts differ by more than chance."""
    variance = 0.0
    for area, numbers in ((train.strength, train), (kept, held)):
        low, high = auc_interval(area, *numbers.support)
        variance += ((high - low) / 3.92) ** 2
    score = (train.strength - kept) / math.sqrt(max(variance, 1e-12))
    return math.erfc(score / math.sqrt(2)) < level
