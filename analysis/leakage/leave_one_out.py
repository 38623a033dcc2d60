"""Encodings that leave out a row's own label, or little more than that.

A mean over the other rows of a category is lower for the rows that raise it. On the whole such a
feature looks fair; within each category it is the label, reversed. In its usual form only rows to
learn from are encoded so, and the others have the mean of their category: then each value that the
others repeat is a category, whether or not its column is there, and the rows to learn from lie
about it in the order of their labels. As many folds as rows are leave-one-out, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Effect, Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins, Histograms
from featurekit.analysis.leakage.kinds import Thresholds, found
from featurekit.analysis.leakage.strata import Sums, falling_skill, stratified_area
from featurekit.analysis.leakage.strength import noise_p_value
from featurekit.analysis.leakage.table import Rows, Target, collect
from featurekit.analysis.leakage.univariate import Measured

__all__ = ["find_leave_one_out"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_ROWS = 10_000
_CATEGORIES = 10
_STRATUM = 25
"""Of fewer rows of a category, cross-fitting leaves out hardly more than the row itself, too."""
_AREA, _R2 = 0.83, 0.4
"""A fold holds less than two and a half rows of a category on average."""
_FREE = 20
_NEARLY = 0.02
_CONSTANT = 0.9
"""So many held-out rows must have the one value of their category."""
_REPEATS = 3
"""Values that so few held-out rows share on average are no categories."""


def find_leave_one_out(
    rows: Rows, histograms: Histograms, measured: Mapping[str, Measured], total: int,
    thresholds: Thresholds, seed: int,
) -> list[Finding]:  # fmt: skip
    """Return the features that give the label away within categories.

    Args:
        rows: The table, or some of its rows.
        histograms: Those of all its rows.
        measured: What each feature alone says.
        total: How many rows `rows` are.
        thresholds: From where on to speak up.
        seed: Decides which rows are looked at, of many.
    """
    schema, target = rows.schema(), rows.target
    numbers = [name for name in measured if schema[name].is_float() and measured[name].bins > 2]
    out: dict[str, Finding] = {}
    tests = len(numbers) * _CATEGORIES
    for category in _categories(rows, histograms, total) if numbers else ():
        table = _category_rows(rows, histograms, category, numbers, total, seed)
        for name in [name for name in numbers if name not in out]:
            for strength, sides, exact in _within_category(table, name, category, target):
                if exact and strength < thresholds.critical:
                    continue
                if _too_much(strength, sides, measured[name], tests, thresholds):
                    out[name] = _finding(
                        name, strength, measured[name], target, thresholds, category
                    )
                    break
    for name in [name for name in numbers if name not in out and target.split is not None]:
        about = _about_held_out(histograms.columns[name], target)
        for strength, sides in [] if about is None else _within(*about, target):
            if _too_much(strength, sides, measured[name], len(numbers), thresholds):
                out[name] = _finding(name, strength, measured[name], target, thresholds)
                break
    return list(out.values())


def _too_much(
    strength: float, sides: float, alone: Measured, tests: int, thresholds: Thresholds
) -> bool:
    """Say whether a feature tells the label within categories, and not by itself or by chance."""
    if strength < _alone(alone) + _NEARLY:
        return False
    if "R2" in alone.ways:
        return strength >= _R2 and sides >= _FREE
    chance = noise_p_value(strength, sides, sides) * tests
    return strength >= _AREA and chance < thresholds.false_alarms


def _alone(numbers: Measured) -> float:
    return numbers.ways.get("R2", numbers.ways.get("rank", 0.5))


def _finding(
    name: str, strength: float, alone: Measured, target: Target, thresholds: Thresholds,
    category: str | None = None,
) -> Finding:  # fmt: skip
    quantity = target.classes is None
    measure = "R2" if quantity else "AUC"
    where = "Within the values of the held-out rows"
    if category is not None:
        where = f"Within the values of {category!r}"
    severity = Severity.CRITICAL if strength >= thresholds.critical else Severity.WARNING
    return found(
        "leave_one_out", severity, (name,),
        f"{where}, {name!r} tells the label"
        f"{' of the rows to learn from' if target.split is not None else ''}, reversed: {measure} "
        f"{strength:.3f}, over all rows {_alone(alone):.3f}. An encoding that leaves out the row "
        "itself, or a fold that is little more than it, does this.",
        Effect(measure, strength), category=category,
    )  # fmt: skip


def _within(
    x: Floats, strata: Integers, sums: Floats, target: Target
) -> Iterator[tuple[float, float]]:
    """Yield how well the label falls with a column within strata, for each question.

    Args:
        x: The values; [values].
        strata: The stratum of each.
        sums: The labels of each; [values, classes], or of a quantity [values, 3].
        target: The label.

    Yields:
        The area or R2; and rows of either class, or degrees of freedom, that it rests on.
    """
    if target.classes is None:
        yield falling_skill(x, strata, Sums(*sums.T))
        return
    count = sums.sum(axis=1)
    for question in target.questions:
        total = sums[:, question]
        area, half, _ = stratified_area(x, strata, Sums(count, total, total))
        yield 1 - area, half


def _about_held_out(bins: Bins, target: Target) -> tuple[Floats, Integers, Floats] | None:
    """Return rows to learn from, about the values that held-out rows repeat.

    Returns:
        Values, the held-out value that is the nearest to each, and its labels; `None` where
        held-out values do not look like categories, or rows to learn from have the same values.
    """
    values = bins.values()
    train, held = bins.sums[:, 0], bins.sums[:, 1]
    quantity = target.classes is None
    many, others = (part[:, 0] if quantity else part.sum(axis=1) for part in (train, held))
    centres = np.flatnonzero(others > 0)
    if bins.words is not None or len(centres) < 2 or not many.sum():
        return None
    repeated = others.sum() >= _REPEATS * len(centres)
    if not repeated or (bins.exact and many[centres].sum() > many.sum() / 2):
        return None
    middles = (values[centres[1:]] + values[centres[:-1]]) / 2
    place = np.searchsorted(middles, values)
    large = np.bincount(place, many, minlength=len(centres)) >= _STRATUM
    kept = (many > 0) & large[place]
    if many[kept].sum() < many.sum() / 2:
        return None
    return values[kept], place[kept].astype(np.int64), train[kept]


def _within_category(
    table: pl.DataFrame, name: str, category: str, target: Target
) -> Iterator[tuple[float, float, bool]]:
    """Yield how well the label falls with a column within a category, in each part of the split.

    Yields:
        As `_within`, and whether it must be nearly exact: otherwise held-out rows have one value
        in each category, and rows to learn from do not, which nothing but an encoding has.
    """
    x = table[name].alias("x").cast(pl.Float64).to_numpy()
    codes = table.select(named(category).rank("dense")).to_series().to_numpy().astype(np.int64)
    label = table.select(target.codes.alias("x")).to_series().to_numpy()
    held = table.select(x=target.held_out).to_series().to_numpy()
    if len(held) != len(x):  # Without a split it is one value for all rows.
        held = np.zeros(len(x), bool)
    sums = np.eye(len(target.classes))[label.astype(np.int64)] if target.classes else np.stack(
        [np.ones_like(label), label, label * label], axis=1
    )  # fmt: skip
    there = np.isfinite(x)
    for part in (~held & there, held & there):
        if not part.any():
            continue
        for strength, sides in _within(x[part], codes[part], sums[part], target):
            yield strength, sides, True
    if not held.any() or not _constant(x[held & there], codes[held & there]):
        return
    size = np.bincount(codes[~held & there], minlength=codes.max() + 1)
    part = ~held & there & (size >= _STRATUM)[codes]
    if part.any() and not _constant(x[part], codes[part]):
        for strength, sides in _within(x[part], codes[part], sums[part], target):
            yield strength, sides, False


def _constant(x: Floats, codes: Integers) -> bool:
    """Say whether most rows have the one value of their category."""
    order = np.lexsort((x, codes))
    x, codes = x[order], codes[order]
    starts = np.flatnonzero(np.concatenate([[len(x) > 0], codes[1:] != codes[:-1]]))
    sizes = np.diff(np.append(starts, len(x))).astype(np.int64)
    if sizes[sizes > 1].sum() < _FREE:
        return False
    middle = np.repeat(x[starts + sizes // 2], sizes)
    repeated = np.repeat(sizes > 1, sizes)
    return bool(np.isclose(x, middle, 1e-6, 1e-9)[repeated].mean() >= _CONSTANT)


def _categories(rows: Rows, histograms: Histograms, total: int) -> Iterator[str]:
    """Yield columns whose values repeat, those with the most values first."""
    schema = rows.schema()
    found = []
    for name, bins in histograms.columns.items():
        whole = bins.words is not None or schema[name].is_integer()
        if whole and 2 <= len(bins.keys) <= total / 2:
            found.append((-len(bins.keys), name))
    names = [name for _, name in sorted(found)]
    yield from ([rows.entity] if rows.entity is not None else [])
    yield from names[:_CATEGORIES]


def _category_rows(
    rows: Rows, histograms: Histograms, category: str, numbers: Sequence[str], total: int, seed: int
) -> pl.DataFrame:
    """Return some rows: of small categories whole ones, else single rows."""
    bins, target = histograms.columns.get(category), rows.target
    small = bins is None or not bins.exact or total / len(bins.keys) < 200
    roles = {target.label} if target.split is None else {target.label, target.split}
    wanted = sorted({category, *numbers} | roles)
    frame = rows.frame.filter(named(category).is_not_null()).select(named(*wanted))
    if total > _ROWS:
        by = named(category)
        if not small:
            by = pl.struct(named(name) for name in sorted({category, *numbers[:8]}))
        frame = frame.filter(by.hash(seed) < int(_ROWS / total * 2**64))
    return collect(frame)
