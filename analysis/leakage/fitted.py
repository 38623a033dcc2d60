"""Encodings that were fitted on labels they must not have seen.

An encoding of a category by its mean label can be recognised without knowing the category: rows
that share a value of the feature have exactly the mean label that the value says. The same for
smoothed and scaled encodings, where the relation is linear in four numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Effect, Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins, Histograms
from featurekit.analysis.leakage.kinds import Thresholds, found
from featurekit.analysis.leakage.strength import noise_p_value
from featurekit.analysis.leakage.table import Rows, Target, collect
from featurekit.analysis.leakage.univariate import Measured

__all__ = ["find_encodings", "find_leave_one_out", "stratified_auc"]

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
_ROWS = 10_000
_CATEGORIES = 10
_NEARLY = 0.02


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
        if not every and not train:
            continue
        if every and parts > 1 and not train:
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
    spread, rest = (
        s[kept] - columns[kept] @ np.linalg.lstsq(columns[kept], s[kept])[0]
        for columns in (plain, full)
    )
    apart = float(np.sqrt(np.mean(spread**2)))
    told = apart > _SAME * float(np.sqrt(np.mean(s[kept] ** 2)))
    return told and float(np.sqrt(np.mean(rest**2))) < _EXACT * apart


def find_leave_one_out(
    rows: Rows, histograms: Histograms, measured: Mapping[str, Measured], total: int,
    thresholds: Thresholds, seed: int,
) -> list[Finding]:  # fmt: skip
    """Return the features that give the label away within the categories of another column.

    A mean over the other rows of a category is lower for the rows that raise it. On the whole such
    a feature looks fair; within each category it is the label, reversed.
    """
    target = rows.target
    numbers = [
        name for name, dtype in rows.schema().items()
        if name in measured and dtype.is_float() and measured[name].bins >= _LEAST
    ]  # fmt: skip
    if target.classes is None or not numbers:
        return []
    out: dict[str, Finding] = {}
    for category in _categories(rows, histograms, total):
        table = _category_rows(rows, histograms, category, numbers, total, seed)
        ones = table.select(target.codes.alias("x")).to_series()
        for question in target.questions:
            areas = stratified_auc(table, numbers, [category], ones == question)
            for name, (area, positive, negative) in areas.items():
                strength = max(area, 1 - area)
                alone = measured[name].ways.get("rank", 0.5)
                chance = noise_p_value(strength, positive, negative) * len(areas) * _CATEGORIES
                if (
                    name in out or strength < thresholds.critical or strength < alone + _NEARLY
                    or chance >= thresholds.false_alarms
                ):  # fmt: skip
                    continue
                out[name] = found(
                    "leave_one_out", Severity.CRITICAL, (name,),
                    f"Within the values of {category!r}, {name!r} tells the label: AUC "
                    f"{strength:.3f}{', reversed' if area < 0.5 else ''}, over all rows "
                    f"{alone:.3f}. An encoding that leaves out the row itself does this.",
                    Effect("AUC", strength), category=category, pairs_of=[positive, negative],
                )  # fmt: skip
    return list(out.values())


def _categories(rows: Rows, histograms: Histograms, total: int) -> Iterator[str]:
    """Yield columns whose values repeat, those with the most values first."""
    schema = rows.schema()
    found = []
    for name, bins in histograms.columns.items():
        whole = bins.words is not None or schema[name].is_integer()
        if whole and _LEAST <= len(bins.keys) <= total / 2:
            found.append((-len(bins.keys), name))
    names = [name for _, name in sorted(found)]
    yield from ([rows.entity] if rows.entity is not None else [])
    yield from names[:_CATEGORIES]


def _category_rows(
    rows: Rows, histograms: Histograms, category: str, numbers: list[str], total: int, seed: int
) -> pl.DataFrame:
    """Return some rows: of small categories whole ones, else single rows."""
    bins = histograms.columns.get(category)
    small = bins is None or not bins.exact or total / len(bins.keys) < 200
    wanted = sorted({category, *numbers, rows.target.label})
    frame = rows.frame.filter(named(category).is_not_null()).select(named(*wanted))
    if total > _ROWS:
        by = named(category)
        if not small:
            by = pl.struct(named(name) for name in sorted({category, *numbers[:8]}))
        frame = frame.filter(by.hash(seed) < int(_ROWS / total * 2**64))
    return collect(frame)


def stratified_auc(
    table: pl.DataFrame, names: list[str], strata: list[str], positive: pl.Series
) -> dict[str, tuple[float, float, float]]:
    """Return the area of each column within strata, weighted by pairs, and how much it rests on.

    Args:
        table: Some rows.
        names: The columns to judge; rows where one is missing are left out for it.
        strata: The columns whose values make a stratum.
        positive: Whether a row is of the class.

    Returns:
        The area, 1/2 where no stratum has both classes; and the rows of the class and of the others
        of a single sample that would be as certain.

    Source: van Elteren, "On the Combination of Independent Two-Sample Tests of Wilcoxon", 1960.
    """
    out = {}
    codes = table.select(pl.struct(named(*strata)).rank("dense")).to_series().to_numpy()
    ones = positive.to_numpy().astype(np.float64)
    for name in names:
        x = table[name].alias("x").cast(pl.Float64).to_numpy()
        kept = ~np.isnan(x)
        order = np.lexsort((x[kept], codes[kept]))
        if not len(order):
            out[name] = (0.5, 0.0, 0.0)
            continue
        x, stratum, one = x[kept][order], codes[kept][order], ones[kept][order]
        starts = np.flatnonzero(np.concatenate([[True], stratum[1:] != stratum[:-1]]))
        sizes = np.diff(np.append(starts, len(x)))
        n1 = np.add.reduceat(one, starts)
        # Values that tie within a stratum stand together.
        new = np.concatenate([[True], (x[1:] != x[:-1]) | (stratum[1:] != stratum[:-1])])
        ties = np.flatnonzero(new)
        tied_one = np.add.reduceat(one, ties)
        tied_zero = np.diff(np.append(ties, len(x))) - tied_one
        below = np.cumsum(tied_zero) - tied_zero
        first = np.searchsorted(ties, starts)
        below -= np.repeat(below[first], np.diff(np.append(first, len(ties))))
        pairs = n1 * (sizes - n1)
        whole = float(pairs.sum())
        if not whole:
            out[name] = (0.5, 0.0, 0.0)
            continue
        area = float(tied_one @ (below + tied_zero / 2)) / whole
        variance = float(pairs @ (sizes + 1)) / 12 / whole**2
        # A balanced sample of 2 k rows has the variance (2 k + 1) / (12 k k).
        size = 1 / (12 * variance)
        half = size + float(np.sqrt(size * size + size))
        out[name] = (area, half, half)
    return out
