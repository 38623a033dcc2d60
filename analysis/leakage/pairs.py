"""Pairs of features whose sum, difference, product or ratio reproduces the label.

A balance before and after, a total and a count: each alone is a fair feature, both together are
the label. All pairs of the strongest features are tried on some rows; what stands out is judged on
more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Effect, Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.kinds import CAVEAT, Thresholds, found
from featurekit.analysis.leakage.strength import auc, noise_p_value
from featurekit.analysis.leakage.table import Rows, Target, collect
from featurekit.analysis.leakage.univariate import Measured

__all__ = ["find_pairs", "sample", "strongest"]

Floats = npt.NDArray[np.float64]

_SCREENED, _JUDGED = 2_000, 50_000
"""Rows on which all pairs are tried, and on which the best of them are judged."""
_SCREEN = 0.95
_TRIED = 40
_GAIN = 0.01
"""A pair must do better than its better half by so much."""
_BY = 8
"""Columns that decide by their hash which rows are looked at."""

_FORMS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "{a} - {b}": lambda a, b: a - b,
    "{a} + {b}": lambda a, b: a + b,
    "{a} * {b}": lambda a, b: a * b,
    "{a} / {b}": lambda a, b: a / b,
    "{b} / {a}": lambda a, b: b / a,
}


def strongest(
    measured: Mapping[str, Measured], suspects: Collection[str], rows: Rows, count: int
) -> list[str]:
    """Return the strongest numeric features that are not suspects themselves."""
    numbers = {name for name, dtype in rows.schema().items() if dtype.is_numeric()}
    fit = [name for name in measured if name in numbers and name not in suspects]

    def key(name: str) -> tuple[float, str]:
        ways = measured[name].ways
        return (-max(ways.get("rank", 0.0), ways.get("R2", 0.0)), name)

    return sorted(fit, key=key)[:count]


def sample(rows: Rows, columns: Sequence[str], total: int, wanted: int, seed: int) -> pl.DataFrame:
    """Return about so many rows, chosen by a hash of what they hold, in the order of that hash.

    Neither the order of rows nor that of columns changes which rows these are.
    """
    by = pl.struct(named(name) for name in [*sorted(columns)[:_BY], rows.target.label]).hash(seed)
    some = rows.frame.select(named(*columns), named(rows.target.label), by.alias("\0hash"))
    if total > wanted:
        some = some.filter(pl.col("\0hash") < int(wanted / total * 2**64))
    return collect(some).sort("\0hash", named(*columns)).drop("\0hash")


def find_pairs(
    rows: Rows, names: Sequence[str], total: int, thresholds: Thresholds, seed: int
) -> list[Finding]:
    """Return the pairs that reproduce the label, each in its best form.

    Two good features make a better one; only what reaches the critical threshold is called a
    reproduction.

    Args:
        rows: The table.
        names: The features to try.
        total: How many rows the table has.
        thresholds: From where on to speak up.
        seed: Chooses the rows.
    """
    if len(names) < 2:
        return []
    table = sample(rows, names, total, _JUDGED, seed)
    target = rows.target
    label = table.select(target.codes.alias("x")).to_series().to_numpy()
    values = table.select(named(*names).cast(pl.Float64)).to_numpy().T
    few = slice(0, _SCREENED)
    first = _strengths(values[:, few], label[few], target)
    tried = sorted(
        (-strength, names[one], names[two], one, two, form)
        for one, two, form, strength in _screen(values[:, few], label[few], target)
        if strength >= min(_SCREEN, thresholds.critical)
        and strength > max(first[one], first[two]) + _GAIN
    )
    best: dict[tuple[int, int], tuple[float, str]] = {}
    tests = len(names) * (len(names) - 1) / 2 * len(_FORMS) * len(target.questions or range(1))
    for _, _, _, one, two, form in tried[:_TRIED]:
        with np.errstate(all="ignore"):
            made = _FORMS[form](values[one], values[two])[None]
        strength = float(_strengths(made, label, target)[0])
        alone = _strengths(values[[one, two]], label, target).max()
        if strength < thresholds.critical or strength <= alone + _GAIN:
            continue
        positive = float((label == label.max()).sum()) if target.classes else len(label) / 2
        chance = noise_p_value(strength, positive, len(label) - positive)
        if chance * tests < thresholds.false_alarms and strength > best.get((one, two), (0.0,))[0]:
            best[one, two] = (strength, form)
    used: set[int] = set()
    out = []
    for (one, two), (strength, form) in sorted(best.items(), key=lambda item: -item[1][0]):
        if used & {one, two}:
            # What leaks makes a good pair with much else.
            continue
        used |= {one, two}
        text = form.format(a=names[one], b=names[two])
        kind = "R2" if target.classes is None else "AUC"
        alone = _strengths(values[[one, two]], label, target)
        out.append(
            found(
                "pair",
                Severity.CRITICAL,
                tuple(sorted((names[one], names[two]))),
                f"{text} reproduces the label: {kind} {strength:.3f}, alone "
                f"{alone[0]:.3f} and {alone[1]:.3f}. {CAVEAT}.",
                Effect(kind, strength),
                form=text,
                rows=len(label),
            )
        )
    return out


def _screen(
    values: Floats, label: npt.NDArray[np.generic], target: Target
) -> Iterator[tuple[int, int, str, float]]:
    """Yield each pair and form with its strength."""
    for form, compute in _FORMS.items():
        for one in range(len(values) - 1):
            with np.errstate(all="ignore"):
                made = compute(values[one][None], values[one + 1 :])
            for place, strength in enumerate(_strengths(made, label, target)):
                yield one, one + 1 + place, form, float(strength)


def _strengths(columns: Floats, label: npt.NDArray[np.generic], target: Target) -> Floats:
    """Return the area (at least 1/2) or the squared correlation of each column; [columns].

    Rows where it is not finite tie with each other at the end, or are left out of a correlation.
    """
    if target.classes is None:
        return np.array([_squared_correlation(column, label) for column in columns])
    finite = np.isfinite(columns)
    columns = np.where(finite, columns, np.inf)
    order = np.argsort(columns, axis=1)
    ranked = np.take_along_axis(columns, order, axis=1)
    out = np.full(len(columns), 0.5)
    for question in target.questions:
        ones = (label == question)[order].astype(np.float64)
        for place in range(len(columns)):
            new = np.concatenate([[0], np.flatnonzero(ranked[place, 1:] != ranked[place, :-1]) + 1])
            positive = np.add.reduceat(ones[place], new)
            sizes = np.diff(np.append(new, ones.shape[1]))
            area, _ = auc(positive, sizes - positive)
            if area == area:
                out[place] = max(out[place], area, 1 - area)
    return out


def _squared_correlation(column: Floats, label: npt.NDArray[np.generic]) -> float:
    finite = np.isfinite(column)
    if finite.sum() < max(20, len(column) / 2):
        return 0.0
    x, y = column[finite], label[finite].astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    with np.errstate(all="ignore"):
        value = float((x @ y) ** 2 / ((x @ x) * (y @ y)))
    return value if value == value else 0.0
