"""What each feature alone says about the label, and which of them say too much.

A significant feature is no leak: most good features are significant. Only strength is suspicious,
and the test against noise merely sees to it that the strength is not that of a few lucky rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from featurekit.analysis.findings import Effect, Finding, Severity, plain
from featurekit.analysis.leakage.histograms import INFINITE, MISSING, NAN, NEGATIVE, Bins
from featurekit.analysis.leakage.kinds import CAVEAT, Thresholds, found
from featurekit.analysis.leakage.strength import (
    auc,
    auc_interval,
    binomial_tail,
    encoded_auc,
    noise_p_value,
    permuted_p_value,
    skill,
)
from featurekit.analysis.leakage.table import Target

__all__ = ["THERE", "Measured", "judge", "measure", "pure_values", "random_for"]

Floats = npt.NDArray[np.float64]

_GROUPS = 256
"""Numbers that hardly repeat are put into at most so many groups of equal size, as categories,"""
_GROUP_ROWS = 50
"""of at least so many rows each."""
THERE = "there"
"""What the rows are called where a feature is not missing."""
_EXPECTED = 50
"""So many rows of other classes were to be expected where none is there."""
_TESTS = 3
"""Rank, category and missingness are tested."""


@dataclass(frozen=True)
class Measured:
    """The numbers of one feature.

    Args:
        rows: Rows that have a label.
        missing: The share of them where it is missing or NaN.
        bins: How many bins its histogram has.
        exact: Whether each holds a single value.
        way: What shows the most: `rank`, `category` or `missing`; `R2` and `missing R2` for a
            quantity.
        strength: The area of that (mirrored to at least 1/2) or the R2; 0 where there is none.
        p_value: Its chance in pure noise, before Bonferroni.
        direction: Whether the label rises (1) or falls (-1) with it.
        question: The class that it tells from the rest, by place.
        resolution: By how much the area of ranks may be off because of bins.
        ways: The strength in each way.
        shift: The area of telling training rows from the rest, at least 1/2; `None` without split.
        support: Rows of the class and of the others that it was measured on.
    """

    rows: int
    missing: float
    bins: int
    exact: bool
    way: str
    strength: float
    p_value: float
    direction: int = 1
    question: int = 0
    resolution: float = 0.0
    ways: Mapping[str, float] = field(default_factory=dict)
    shift: float | None = None
    support: tuple[float, float] = (0.0, 0.0)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of an area; `None` for an R2."""
        if self.way.endswith("R2") or not all(self.support):
            return None
        return auc_interval(self.strength, *self.support)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        numbers = {**vars(self), "interval": self.interval}
        return {name: plain(value) for name, value in numbers.items()}


def random_for(seed: int, name: str) -> np.random.Generator:
    """Return a feature's own generator, so that no other feature changes what it draws."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def measure(name: str, bins: Bins, target: Target, seed: int) -> Measured:
    """Measure one feature.

    Args:
        name: Its name, which its random draws depend on.
        bins: Its histogram.
        target: The label.
        seed: The seed of the scan.
    """
    parts = _ordered(bins)
    sums, missing = parts.sum(axis=1), bins.special[[MISSING, NAN]].sum(axis=(0, 1))
    quantity = target.classes is None
    counts = sums[:, 0] if quantity else sums.sum(axis=1)
    lost = float(missing[0] if quantity else missing.sum())
    rows = float(counts.sum()) + lost
    known = (int(rows), lost / rows if rows else 0.0, len(bins.keys), bins.exact)
    shift = None
    if parts.shape[1] > 1:
        by_part = parts[:, :, 0] if quantity else parts.sum(axis=2)
        area, _ = auc(by_part[:, 1], by_part[:, 0])
        shift = None if math.isnan(area) else max(area, 1 - area)
    if quantity:
        return _measure_quantity(sums, missing, bins, known, shift)
    categories = _categories(sums, counts, bins)
    best = Measured(*known, "rank", 0.0, 1.0, shift=shift)
    for question in target.questions:
        positive, negative = _sides(sums, question)
        sizes = float(positive.sum()), float(negative.sum())
        area, resolution = auc(positive, negative)
        resolution = 0.0 if bins.exact else resolution
        random = random_for(seed, name)
        encoded = encoded_auc(*_sides(categories, question), random)
        gone, there = missing[question], missing.sum() - missing[question]
        absent, _ = auc(np.array([sizes[0], gone]), np.array([sizes[1], there]))
        ways = {
            way: max(value, 1 - value if way != "category" else 0.0)
            for way, value in (("rank", area), ("category", encoded), ("missing", absent))
            if not math.isnan(value)
        }
        if bins.words is not None:
            # The order of hashes means nothing.
            ways.pop("rank", None)
        if not ways:
            continue
        # The simplest way that shows as much as any.
        way = next(key for key in ways if ways[key] >= max(ways.values()) - 0.005)
        support = sizes if way != "missing" else (sizes[0] + gone, sizes[1] + there)
        if ways[way] <= best.strength:
            continue
        chance = noise_p_value(ways[way], *support)
        if way == "category" and ways[way] > 0.8:
            chance = max(
                chance, permuted_p_value(encoded, *_sides(categories, question), random)
            )  # fmt: skip
        falls = (way == "rank" and area < 0.5) or (way == "missing" and absent < 0.5)
        best = Measured(
            *known, way, ways[way], chance, -1 if falls else 1, question, resolution, ways, shift,
            support,
        )  # fmt: skip
    return best


def _measure_quantity(
    sums: Floats,
    missing: Floats,
    bins: Bins,
    known: tuple[int, float, int, bool],
    shift: float | None,
) -> Measured:
    """Measure a feature against a quantity."""
    groups = _categories(sums, sums[:, 0], bins)
    value, chance = skill(groups[:, 0], groups[:, 1], groups[:, 2])
    ways = {"R2": value}
    whole = np.stack([sums.sum(axis=0), missing])
    absent, absent_chance = skill(whole[:, 0], whole[:, 1], whole[:, 2])
    if absent > value:
        return Measured(
            *known, "missing R2", absent, absent_chance, ways={**ways, "missing R2": absent},
            shift=shift, support=(float(whole[:, 0].sum()), 0.0),
        )  # fmt: skip
    return Measured(
        *known, "R2", max(value, 0.0), chance, ways=ways, shift=shift,
        support=(float(groups[:, 0].sum()), 0.0),
    )  # fmt: skip


def _ordered(bins: Bins) -> Floats:
    """Return the sums of all bins in the order of their values, the infinities at the ends."""
    low, high = bins.special[NEGATIVE], bins.special[INFINITE]
    return np.concatenate([low[None], bins.sums, high[None]])


def _sides(sums: Floats, question: int) -> tuple[Floats, Floats]:
    """Return the rows of a class and those of all others."""
    positive = sums[:, question]
    return positive, sums.sum(axis=1) - positive


def _categories(sums: Floats, counts: Floats, bins: Bins) -> Floats:
    """Put the bins of numbers that hardly repeat into groups of equal size."""
    held = int((counts > 0).sum())
    rows = float(counts.sum())
    if bins.words is not None or not held or (bins.exact and rows / held >= 5):
        return sums
    most = max(2, min(_GROUPS, int(rows / _GROUP_ROWS)))
    middle = (np.cumsum(counts) - counts / 2) / rows
    _, place = np.unique(np.floor(middle * most), return_inverse=True)
    out = np.zeros((int(place.max()) + 1, sums.shape[1]))
    np.add.at(out, place, sums)
    return out


def _stands_out(counts: Floats, at: int, base: Floats, thresholds: Thresholds) -> bool:
    """Say whether a number's rows differ from those of its neighbours on either side.

    The ends of a strong legitimate feature are pure, too, but come there by and by.
    """
    best = int(counts[at].argmax())
    share = counts[at, best] / counts[at].sum()
    # Of a frequent class, where no share can rise by much, the others must be missed.
    needed = min(thresholds.lift, (1 - float(base[best])) / 2)
    for near in (counts[:at][::-1], counts[at + 1 :]):
        sizes = np.cumsum(near.sum(axis=1))
        if not len(near) or sizes[-1] < thresholds.value_rows:
            continue
        few = near[: int(np.searchsorted(sizes, thresholds.value_rows)) + 1]
        if share - few[:, best].sum() / few.sum() < needed:
            return False
    return True


def _is_pure(hits: float, size: float, base: float, thresholds: Thresholds) -> bool:
    """Say whether rows of a value are of one class, and were not so anyway.

    Where the class is frequent, its share cannot rise by much: of those of other classes, many were
    to be expected, and next to none is there.
    """
    if hits / size < thresholds.purity:
        return False
    expected = size * (1 - base)
    missed = expected >= _EXPECTED and size - hits <= (1 - thresholds.purity) * expected
    return hits / size - base >= thresholds.lift or missed


def judge(
    measured: Mapping[str, Measured], target: Target, thresholds: Thresholds
) -> dict[str, Severity]:
    """Return the features that say too much, and how much that weighs."""
    tests = max(1, len(measured)) * _TESTS * len(target.questions or range(1))
    level = thresholds.false_alarms / tests
    out = {}
    for name, numbers in measured.items():
        severity = thresholds.severity(numbers.strength)
        if severity is not None and numbers.p_value < level:
            out[name] = severity
    return out


def strong_finding(
    name: str, numbers: Measured, severity: Severity, target: Target, **evidence: Any
) -> Finding:
    """Return the finding for a feature that says too much."""
    quantity = target.classes is None
    value = numbers.strength
    low, high = (None, None) if quantity else auc_interval(value, *numbers.support)
    effect = Effect("R2" if quantity else "AUC", value, low, high)
    missing = numbers.way.startswith("missing")
    what = {
        "rank": f"{name!r} alone orders the rows by the label",
        "category": f"The values of {name!r} alone tell the label, in no order",
    }.get(numbers.way, f"{name!r} alone explains the label")
    if missing:
        what = f"Where {name!r} is missing tells the label"
    of = ""
    if target.classes is not None and len(target.classes) > 2:
        of = f" (class {target.classes[numbers.question]!r} against the rest)"
    return found(
        "missingness" if missing else "proxy",
        severity,
        (name,),
        f"{what}: {effect.name} {value:.3f}{of}. {CAVEAT}.",
        effect,
        p_value=numbers.p_value,
        ways=plain(numbers.ways),
        missing=numbers.missing,
        **evidence,
    )


def pure_values(
    columns: Mapping[str, Bins], totals: Floats, target: Target, thresholds: Thresholds
) -> list[Finding]:
    """Return the features of which a value (or being missing, or not) occurs with one class alone.

    Args:
        columns: The histograms.
        totals: The labels of all rows, [parts, classes].
        target: The label, of classes.
        thresholds: From where on to speak up.
    """
    if target.classes is None:
        return []
    every = totals.sum(axis=0)
    rows, base = float(every.sum()), every / every.sum()
    least = max(float(thresholds.value_rows), thresholds.value_share * rows)
    seen: list[tuple[float, str, str, bool, int, float, float]] = []
    tests = 0
    for name, bins in columns.items():
        counts = bins.sums.sum(axis=1)
        special = bins.special.sum(axis=1)
        there = counts.sum(axis=0) + special[NEGATIVE] + special[INFINITE]
        if not bins.exact and bins.words is not None:
            # Of coarse bins those of words hold anything; one of numbers that so many rows share
            # has a value that piles up.
            counts = counts[:0]
        enough = np.flatnonzero(counts.sum(axis=1) >= least)
        values = [
            (bins.name(int(at)), False, counts[at])
            for at in enough
            if bins.words is not None or _stands_out(counts, int(at), base, thresholds)
        ]  # fmt: skip
        gone = special[MISSING] + special[NAN]
        labels = [("missing", gone), ("-inf", special[NEGATIVE]), ("inf", special[INFINITE])]
        # A reason is there where something happened, each of its values rarely.
        labels += [(THERE, there)] if gone.sum() >= thresholds.value_rows else []
        values += [(text, True, n) for text, n in labels if n.sum() >= least]
        # Those that do not stand out were looked at, too.
        tests += len(target.classes) * (len(enough) + sum(special for _, special, _ in values))
        for text, is_special, held in values:
            size, best = float(held.sum()), int(held.argmax())
            share = float(held[best]) / size
            if _is_pure(float(held[best]), size, float(base[best]), thresholds):
                chance = binomial_tail(int(held[best]), int(size), float(base[best]))
                seen.append((chance, name, text, is_special, best, size, share))
    # Where a column is there for one class alone, so is each of its values.
    there_for = {(name, best) for _, name, text, special, best, *_ in seen
                 if special and text == THERE}  # fmt: skip
    out, told = [], set()
    for chance, name, text, is_special, best, size, share in sorted(seen):
        is_missing = is_special and text in ("missing", THERE)
        if not is_missing and (name, best) in there_for:
            continue
        if chance * tests >= thresholds.false_alarms or (name, is_missing) in told:
            continue
        told.add((name, is_missing))
        what = text if is_special else f"the value {text!r}"
        out.append(
            found(
                "missingness" if is_missing else "pure_value",
                Severity.WARNING,
                (name,),
                f"{name!r} is {what} in {size:,.0f} rows, of which {share:.2%} are of the class "
                f"{target.classes[best]!r} (all rows: {base[best]:.1%}). {CAVEAT}.",
                Effect("share", share),
                value=text,
                special=is_special,
                of=best,
                rows=int(size),
                coverage=size / rows,
                base=float(base[best]),
                p_value=chance,
                looks=tests,
            )
        )
    return out
