"""The examples of an ablation: which columns are features, and which rows are held out when.

Some rows are kept apart from the start: nothing is decided on them, so that they can say what a
smaller set of features is worth. Where the time is known these are the last ones, and folds follow
each other in time; where an entity is known, its rows stay together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.ablation.dealing import cut_by_time, ranks, row_hashes
from featurekit.analysis.ablation.inputs import column, read_weights
from featurekit.analysis.ablation.layout import Roled, lay_out
from featurekit.analysis.ablation.problem import Problem, deal_parts
from featurekit.analysis.ablation.tasks import Label, read_label
from featurekit.analysis.given import has_label
from featurekit.analysis.times import as_time
from featurekit.errors import DataError, UsageError, closest
from featurekit.sources import polars_errors

__all__ = ["Examples", "Roles", "read_examples"]

TIME_BLOCKS = 40
"""Rows of a fold are cut into so many blocks of time, which count as independent."""
BATCH = 65_536


@dataclass(frozen=True)
class Roles:
    """Which columns of a table mean what; the others are features.

    Args:
        label: What is predicted.
        split: The part of each row. Of parts in the order train, others by name, test, the last one
            is kept apart.
        entity: Whose row it is.
        time: When the prediction is made; sorts.
        weights: The weight of each row.
        exclude: Columns that are nothing of this, and no features.
    """

    label: str
    split: str | None = None
    entity: str | None = None
    time: str | None = None
    weights: str | None = None
    exclude: tuple[str, ...] = ()

    def named(self) -> dict[str, str]:
        """Return the columns that have a role, by its name."""
        roles = {
            "label": self.label, "split": self.split, "entity": self.entity, "time": self.time,
            "weights": self.weights,
        }  # fmt: skip
        return {role: name for role, name in roles.items() if name is not None}


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows with a label, ready to be learnt from.

    Args:
        frame: The features of all rows, which keep their order; features in the order of their
            names, in which all that follows sees them.
        label: Of all rows.
        folds: The fold that each row is held out in, int64 of shape [rows]; negative for rows that
            are kept apart or belong to no fold.
        apart: 1 for rows that are kept apart, 0 for those that a model of these may learn from, and
            -1 for the rest; int64 of shape [rows].
        ordered: Whether folds follow each other in time.
        clusters: What makes rows depend on each other, codes of shape [rows]; `None` where rows are
            independent.
        by: What the clusters are: `entity`, `time` or nothing.
        weights: Float64 of shape [rows]; `None` where all are 1.
        parts: See `Problem`.
        hashes: Of what rows hold, uint64 of shape [rows].
        listed: The features in the order of the table.
        constant: Columns with one value (or none), which are no features.
        skipped: Columns of types that no model reads, such as lists.
        split: The values of the split, the one that is kept apart last; empty without a split.
        categorical: Features that hold categories although they are numbers.
        seed: Of what is dealt.
    """

    frame: pl.LazyFrame
    label: Label
    folds: np.ndarray
    apart: np.ndarray
    ordered: bool
    clusters: np.ndarray | None
    by: str
    weights: np.ndarray | None
    parts: np.ndarray
    hashes: np.ndarray
    listed: tuple[str, ...]
    constant: tuple[str, ...]
    skipped: tuple[str, ...]
    split: tuple[str, ...]
    categorical: frozenset[str]
    seed: int

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the features, sorted."""
        return tuple(self.frame.collect_schema().names())

    def problem(self, rows: int) -> Problem:
        """Return the rows in folds, for models that are trained on a table in memory.

        Args:
            rows: At most so many, a sample by a hash of what they hold.
        """
        some = self._some(self.folds >= 0, rows)
        return self._taken(
            self.folds, self._two_labels(some, self.folds, self.ordered), self.ordered
        )

    def check(self, rows: int) -> Problem:
        """Return one fold, the rows that are kept apart, to be held out from the others.

        Args:
            rows: At most so many of the others.
        """
        taken = self._some(self.apart == 0, rows) | (self.apart == 1)
        return self._taken(self.apart, self._two_labels(taken, self.apart, True), True)

    def _two_labels(self, taken: np.ndarray, folds: np.ndarray, ordered: bool) -> np.ndarray:
        """Return some rows, and one more for each fold that has one label only to train on."""
        taken, values = taken.copy(), self.label.values
        places = np.unique(folds[folds >= 0])
        for fold in places[1:] if ordered else places:
            known = (folds >= 0) & (folds < fold if ordered else folds != fold)
            seen = values[known & taken]
            if len(seen) and seen.min() == seen.max():
                others = np.flatnonzero(known & (values != seen[0]))
                taken[others[self.hashes[others].argmin()]] = True
        return taken

    def _some(self, taken: np.ndarray, rows: int) -> np.ndarray:
        """Return at most so many of some rows, those with the smallest hashes.

        Rows are thinned out in all clusters alike: of few large ones none may be missing.
        """
        places = np.flatnonzero(taken)
        if len(places) <= rows:
            return taken
        some = np.zeros_like(taken)
        some[self._sorted(places, self.folds)[:rows]] = True
        return some

    def _sorted(self, places: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return some rows in an order that depends on what they hold and not on their places."""
        clusters = np.zeros(len(folds)) if self.clusters is None else self.clusters
        keys = (self.parts, clusters, folds, self.hashes)
        found: np.ndarray = places[np.lexsort([key[places] for key in keys])]
        return found

    def _taken(self, folds: np.ndarray, taken: np.ndarray, ordered: bool) -> Problem:
        places = self._sorted(np.flatnonzero(taken), folds)
        label = replace(self.label, values=self.label.values[places])
        table = _rows(self.frame, taken)[np.cumsum(taken)[places] - 1]
        return Problem(
            table, label, folds[places], self.parts[places], ordered,
            None if self.weights is None else self.weights[places], self.categorical,
            seed=self.seed, listed=self.listed,
        )  # fmt: skip


def read_examples(
    frame: pl.LazyFrame,
    roles: Roles,
    *,
    task: str | None = None,
    folds: int = 5,
    embargo: int = 0,
    categorical: Sequence[str] = (),
    seed: int = 0,
    way_on: str = "",
) -> Examples:
    """Read label and roles of a table, and say which rows are held out when.

    Args:
        frame: The table. Rows without a label are left out.
        roles: Its columns that are no features.
        task: What is predicted; see `read_label`.
        folds: How many are held out.
        embargo: With a time: rows within so many microseconds before a fold (or before the rows
            that are kept apart) take no part, because their labels are not known yet.
        categorical: Features that hold categories although they are numbers.
        seed: Of what is dealt.
        way_on: What to do where rows cannot be held out so, and roles cannot be left out.

    Raises:
        UsageError: A column is not there, or there is no feature.
        DataError: The table cannot be read, the label does not fit the task, or rows cannot be held
            out from models that know two labels.
    """
    schema = dict(frame.collect_schema())
    for role, name in [*roles.named().items(), *(("exclude", name) for name in roles.exclude)]:
        if name not in schema:
            raise UsageError(
                f"{role} {name!r} is not a column of the table", hint=closest(name, schema)
            )
    for name in categorical:
        if name not in schema:
            raise UsageError(
                f"categorical {name!r} is not a column of the table", hint=closest(name, schema)
            )
    if folds < 2:
        raise UsageError(f"{folds} folds; expected at least 2", where="folds")
    for name in schema:
        if name.startswith("^") and name.endswith("$") and name not in roles.exclude:
            raise UsageError(
                f"the column name {name!r} reads as a pattern", hint="rename it, or exclude it"
            )
    known = has_label(roles.label, schema[roles.label])
    if roles.weights is not None and schema[roles.weights].is_numeric():
        # Rows without weight change no number, and are no rows to count.
        known = known & pl.col(roles.weights).ne_missing(0)
    with polars_errors("the table"):
        frame = frame.filter(known)
        if not frame.head(1).collect().height:
            raise DataError("no row has a label", where=roles.label)
        features, skipped, constant = _features(frame, schema, roles)
        return _dealt(
            frame, roles, features,
            task=task, folds=folds, embargo=embargo, categorical=categorical, seed=seed,
            way_on=way_on, constant=constant, skipped=skipped,
        )  # fmt: skip


def _features(
    frame: pl.LazyFrame, schema: Mapping[str, Any], roles: Roles
) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """Return the features, the columns of other types, and those with one value."""
    taken = {*roles.named().values(), *roles.exclude}
    found = [name for name in schema if name not in taken]
    odd = {name for name in found if not _readable(schema[name])}
    plain = [name for name in found if name not in odd]
    told = [_one_value(name, schema[name]).alias(str(place)) for place, name in enumerate(plain)]
    answers = frame.select(told).collect(engine="streaming").row(0) if told else ()
    constant = tuple(name for name, answer in zip(plain, answers, strict=True) if answer)
    features = [name for name in found if name not in odd and name not in constant]
    if not features:
        raise UsageError("there is no feature to leave out", hint="columns that vary, beside roles")
    return features, tuple(name for name in found if name in odd), constant


def _one_value(name: str, of: Any) -> pl.Expr:
    """Return whether a column has one value in all rows, or none; a vector, in each element."""
    vector = isinstance(of, pl.Array)
    elements = [pl.col(name).arr.get(place) for place in range(of.size)] if vector else []
    # NaN is missing, too; Polars' least and greatest values pass over it.
    is_float = (of.inner if vector else of).is_float()
    known = [x.fill_nan(None) if is_float else x for x in (elements if vector else [pl.col(name)])]
    return pl.lit(True).and_(
        *(
            ((x.min() == x.max()) & (x.null_count() == 0)) | (x.null_count() == pl.len())
            for x in known
        )
    )


def _readable(dtype: Any) -> bool:
    if isinstance(dtype, pl.Array):
        return len(dtype.shape) == 1 and dtype.inner.is_numeric()
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Null))


def _beyond_numpy(dtype: Any) -> bool:
    return bool(dtype.is_decimal()) or dtype in (pl.Int128, pl.UInt128)


def _dealt(
    frame: pl.LazyFrame,
    roles: Roles,
    features: Sequence[str],
    *,
    task: str | None,
    folds: int,
    embargo: int,
    categorical: Sequence[str],
    seed: int,
    way_on: str,
    constant: tuple[str, ...],
    skipped: tuple[str, ...],
) -> Examples:
    rows = int(frame.select(pl.len()).collect(engine="streaming").item())
    label = read_label(column(frame, roles.label, "label", rows), task)
    weights = _weights(frame, roles.weights, rows)
    entity = None if roles.entity is None else column(frame, roles.entity, "entity", rows)
    time = None if roles.time is None else _time(frame, roles.time, rows)
    split = None if roles.split is None else column(frame, roles.split, "split", rows)
    types = frame.collect_schema()
    frame = frame.select(
        pl.col(name).cast(pl.Float64) if _beyond_numpy(types[name]) else pl.col(name)
        for name in sorted(features)
    )
    beside = {"label": pl.Series(label.values)}
    beside |= {} if weights is None else {"weights": pl.Series(weights)}
    if split is not None and split.n_unique() > 1:
        beside["split"] = split.cast(pl.String)
    hashes = row_hashes(frame, features, beside, seed)
    roled = Roled(label, hashes, split, time, entity, embargo, seed, way_on)
    layout = lay_out(roled, folds)
    clusters = None if entity is None else ranks(entity)
    if time is not None and clusters is None:
        clusters = cut_by_time(time, (folds + 1) * TIME_BLOCKS)
    return Examples(
        frame, label, layout.folds, layout.apart, time is not None, clusters,
        "entity" if entity is not None else "time" if time is not None else "",
        weights, deal_parts(clusters, hashes), hashes, tuple(features),
        tuple(sorted(constant)), tuple(sorted(skipped)), layout.parts,
        frozenset(categorical).intersection(features), seed,
    )  # fmt: skip


def _time(frame: pl.LazyFrame, name: str, rows: int) -> np.ndarray:
    """Return times as microseconds (or as the numbers that they are), int64 or float64."""
    read = frame.select(as_time(frame, name, frame.collect_schema()[name]).alias(name))
    series = column(read, name, "time", rows)
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        series = series.cast(pl.Datetime("us", getattr(series.dtype, "time_zone", None)))
    return series.to_physical().to_numpy()


def _weights(frame: pl.LazyFrame, name: str | None, rows: int) -> np.ndarray | None:
    """Return the weights of rows.

    Raises:
        UsageError: One is negative or not finite.
    """
    if name is None:
        return None
    return read_weights(frame, name, rows).to_numpy()


def _rows(frame: pl.LazyFrame, taken: np.ndarray) -> pl.DataFrame:
    """Return some rows of a table, which is read in batches."""
    found = []
    start = 0
    for batch in frame.collect_batches(chunk_size=BATCH, maintain_order=True):
        mask = taken[start : start + batch.height]
        start += batch.height
        found.append(batch if mask.all() else batch.filter(pl.Series(mask)))
    return pl.concat(found)
