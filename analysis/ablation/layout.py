"""Which rows are kept apart, and which fold holds which of the others out.

Rows are cut by their time, or dealt by entity or by a hash. A model needs two labels to learn from:
where the plain way leaves the training rows of a fold with one, rows are laid out so that each fold
is trained on two, if there is a way. In time the first block, which is only trained on, goes on
until both labels are known; dealt rows and entities are dealt by their labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from featurekit.analysis.ablation.dealing import cut_by_time, deal, deal_clusters, ranks
from featurekit.analysis.ablation.tasks import Label
from featurekit.errors import DataError

__all__ = ["Layout", "Roled", "lay_out"]

APART = 5
"""Of so many parts of the rows one is kept apart, where no split says which."""
TRAIN = ("train", "training", "fit")


@dataclass(frozen=True, eq=False)
class Roled:
    """What decides when a row is held out.

    Args:
        label: Of all rows.
        hashes: Of what rows hold.
        split: The part of each row; the last one is kept apart.
        time: When the prediction is made.
        entity: Whose row it is.
        embargo: With a time: how long before a fold rows take no part.
        seed: Of what is dealt.
        way_on: What to do where rows cannot be held out so and no role can be left out.
    """

    label: Label
    hashes: np.ndarray
    split: pl.Series | None = None
    time: np.ndarray | None = None
    entity: pl.Series | None = None
    embargo: int = 0
    seed: int = 0
    way_on: str = ""
    parts: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        parts = _parts_of(self.split)
        object.__setattr__(self, "parts", parts if len(parts) > 1 else ())


@dataclass(frozen=True, eq=False)
class Layout:
    """When rows are held out.

    Args:
        apart: 1 for rows that are kept apart, 0 for those that may be learnt from, -1 for the rest;
            int64 of shape [rows].
        folds: The fold that each row is held out in; -1 for none.
        parts: The values of the split, the one that is kept apart last; empty without a split.
    """

    apart: np.ndarray
    folds: np.ndarray
    parts: tuple[str, ...]


def lay_out(of: Roled, folds: int) -> Layout:
    """Return when each row is held out.

    Args:
        of: What decides it.
        folds: How many folds.

    Raises:
        DataError: There are too few rows, moments or entities, or a fold would be held out from a
            model of one label.
    """
    found = _laid_out(of, folds)
    if isinstance(found, Layout):
        return found
    fewer = next((n for n in range(folds - 1, 1, -1) if isinstance(_laid_out(of, n), Layout)), None)
    raise DataError(found, hint=_way_on(of) if fewer is None else f"--folds {fewer}")


def _laid_out(of: Roled, folds: int) -> Layout | str:
    """Return when rows are held out, or why they cannot be."""
    reason = ""
    for layout in _layouts(of, folds):
        why = _too_few(of, layout, folds) or _one_label(of, layout)
        if not why:
            return layout
        reason = reason or why
    return reason


def _layouts(of: Roled, folds: int) -> Iterator[Layout]:
    """Yield the plain way to hold rows out, and then one that looks at labels."""
    apart = _apart(of)
    yield Layout(apart, _folds(of, apart == 0, folds), of.parts)
    if of.time is None:
        if not of.parts:
            dealt = _dealt_by_label(of, np.ones(len(apart), dtype=bool), APART)
            apart = (dealt == dealt.max()).astype(np.int64)
        inside = apart == 0
        dealt = np.full(len(apart), -1)
        dealt[inside] = _dealt_by_label(of, inside, folds)
        yield Layout(apart, dealt, of.parts)
        return
    first = _begin(of, apart == 0 if of.parts else np.ones(len(apart), dtype=bool))
    if first is None:
        return
    later = of.time >= first
    if not of.parts:
        apart = np.zeros(len(of.time), dtype=np.int64)
        apart[later] = _last(cut_by_time(of.time[later], APART))
        apart = _with_embargo(of, apart)
    inside = apart == 0
    dealt = np.full(len(apart), -1)
    dealt[inside & (of.time < first - of.embargo)] = 0
    if (inside & later).any():
        dealt[inside & later] = cut_by_time(of.time[inside & later], folds, of.embargo)
        dealt[inside & later] += np.where(dealt[inside & later] >= 0, 1, 0)
    yield Layout(apart, dealt, of.parts)


def _apart(of: Roled) -> np.ndarray:
    """Return which rows are kept apart, the plain way."""
    if of.parts:
        assert of.split is not None
        found = (of.split.cast(pl.String) == of.parts[-1]).to_numpy().astype(np.int64)
    elif of.time is not None:
        found = _last(cut_by_time(of.time, APART))
    elif of.entity is not None:
        found = (deal_clusters(of.entity, APART, of.seed + 1) == 0).astype(np.int64)
    else:
        found = (deal(of.hashes, APART) == 0).astype(np.int64)
    return _with_embargo(of, found)


def _last(blocks: np.ndarray) -> np.ndarray:
    """Return 1 for the rows of the last block, 0 for the others."""
    found: np.ndarray = (blocks == blocks.max()).astype(np.int64)
    return found


def _with_embargo(of: Roled, apart: np.ndarray) -> np.ndarray:
    """Return which rows are kept apart, without those shortly before them."""
    if of.time is not None and of.embargo and (apart == 1).any():
        begin = of.time[apart == 1].min()
        apart[(apart == 0) & (of.time >= begin - of.embargo) & (of.time < begin)] = -1
    return apart


def _folds(of: Roled, inside: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each row, the plain way."""
    dealt = np.full(len(inside), -1)
    if not inside.any():
        return dealt
    if of.time is not None:
        dealt[inside] = cut_by_time(of.time[inside], folds + 1, of.embargo)
    elif of.entity is not None:
        dealt[inside] = deal_clusters(of.entity.filter(pl.Series(inside)), folds, of.seed)
    else:
        dealt[inside] = deal(of.hashes[inside], folds)
    return dealt


def _dealt_by_label(of: Roled, taken: np.ndarray, count: int) -> np.ndarray:
    """Deal rows or entities round, by whether they have the usual label or another one.

    What fewer of them have comes first: neighbours in the order go to different parts, and the last
    part has the fewest.
    """
    values, counts = np.unique(of.label.values, return_counts=True)
    other = of.label.values[taken] != values[counts.argmax()]
    if of.entity is None:
        codes = np.arange(len(other))
        keys = of.hashes[taken]
    else:
        some = of.entity.filter(pl.Series(taken))
        codes = ranks(some)
        first = np.unique(codes, return_index=True)[1]
        keys = some[first].hash(of.seed).to_numpy()
    with_other = np.bincount(codes, other) > 0
    with_usual = np.bincount(codes, ~other) > 0
    rare, common = with_other, with_usual
    if with_usual.sum() < with_other.sum():
        rare, common = with_usual, with_other
    dealt = np.empty(len(keys), dtype=np.int64)
    dealt[np.lexsort((keys, common, ~rare))] = np.arange(len(keys)) % count
    found: np.ndarray = dealt[codes]
    return found


def _begin(of: Roled, taken: np.ndarray) -> float | int | None:
    """Return the first moment at which two labels have been known for as long as the embargo."""
    assert of.time is not None
    time, values = of.time[taken], of.label.values[taken]
    another = values != values[time.argmin()]
    if not another.any():
        return None
    after = time[time > time[another].min() + of.embargo]
    found: float | int | None = after.min() if len(after) else None
    return found


def _too_few(of: Roled, layout: Layout, folds: int) -> str:
    """Return what there is too little of for holding some out; nothing where there is enough."""
    inside = (layout.apart == 0).sum()
    blocks = len(np.unique(layout.folds[layout.folds >= 0]))
    least = 2 + (of.time is not None)
    if inside > folds and (layout.apart == 1).any() and blocks >= least:
        return ""
    asked = f"{folds} folds"
    if of.time is not None:
        what = f"moments to hold some of them out: {len(np.unique(of.time)):,}"
        asked += " that follow each other, behind a first block that none holds out"
        if of.embargo:
            asked += ", with the embargo of the spec left out before each"
    elif of.entity is not None:
        what = f"entities to hold some of them out: {of.entity.n_unique():,}"
    else:
        what = "rows to hold some of them out"
    return f"there are too few {what}; {asked} are asked for"


def _one_label(of: Roled, layout: Layout) -> str:
    """Return which model would know one label only; nothing where each knows two."""
    places = np.unique(layout.folds[layout.folds >= 0])
    sets = [("rows that are not kept apart", layout.apart == 0)]
    for fold in places[1:] if of.time is not None else places:
        known = layout.folds < fold if of.time is not None else layout.folds != fold
        sets.append((f"training rows of fold {fold}", known & (layout.folds >= 0)))
    for what, rows in sets:
        values = of.label.values[rows]
        if values.min() == values.max():
            value = values[0]
            named = of.label.classes[int(value)] if of.label.classes else float(value)
            return (
                f"all {what} have the same label, {named!r}, of which no model can learn; of "
                f"{len(rows):,} rows {int((of.label.values != value).sum()):,} have another one"
            )
    return ""


def _way_on(of: Roled) -> str:
    """Return what to do where not even two folds are possible."""
    if of.way_on and (of.time is not None or of.entity is not None or of.parts):
        return of.way_on
    inside = of.label.values[_apart(of) == 0]
    if of.parts and (not len(inside) or inside.min() == inside.max()):
        return "leave --split out: a part of all rows is then kept apart"
    if of.time is not None:
        return "leave --time out: rows are then dealt"
    if of.entity is not None:
        return "leave --entity out: rows are then dealt one by one"
    return "more rows, at least six of each label" if len(of.hashes) > APART else "more rows"


def _parts_of(split: pl.Series | None) -> tuple[str, ...]:
    """Return the values of a split: train first, test last, the others by name between."""
    if split is None:
        return ()
    names = split.cast(pl.String).unique().to_list()
    return tuple(
        sorted(names, key=lambda name: (name.lower() not in TRAIN, name.lower() == "test", name))
    )
