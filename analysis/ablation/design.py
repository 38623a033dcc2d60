"""Feature columns as the columns of a linear model: the design.

- Numbers, truth values, times and durations: the number; an indicator of missing ones, if any.
- Vectors of numbers: a column for each element; one indicator, if a row misses any element.
- Strings, and what is declared categorical: an indicator for each of the most frequent values, but
  not for the most frequent one, which is the reference; one for all rarer values together; one for
  missing ones, if any.

A feature without any value has a column of zeros. A number that is missing or not finite stands in
the design as the mean of the training rows of its fold (`drops.py` puts that mean in), beside the
indicator. The indicator is part of the feature: both are dropped together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl

from featurekit.errors import UsageError, closest

__all__ = ["LEAST_ROWS", "MAX_LEVELS", "Design", "Encoding", "fit_design", "floats"]

MAX_LEVELS = 32
"""So many values of a category have an indicator of their own, unless told otherwise. What a model
could learn from rarer values one by one, the linear surrogate does not see."""

LEAST, MOST = 1e-100, 1e100
"""Numbers whose largest is outside of this are divided by a power of two."""

LEAST_ROWS = 20
"""A value seen less often is counted among the rarer ones: its coefficient would be noise."""


@dataclass(frozen=True)
class Encoding:
    """How one feature becomes columns.

    Args:
        name: The feature.
        shifts: For numbers and vectors, what is subtracted from each element: its mean over all
            rows. That changes no result; it keeps the sums exact where values are near 1e9.
        scales: What each element is divided by before that, a power of two: 1 unless squares of the
            numbers would be out of range. That changes no result either.
        levels: For categories, the values with an indicator of their own.
        reference: The value without an indicator, the most frequent one.
        rare: Whether there are further values, which share an indicator.
        missing: Whether values are missing (or numbers not finite).
    """

    name: str
    shifts: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    reference: str | None = None
    rare: bool = False
    missing: bool = False

    @property
    def width(self) -> int:
        """How many columns it has; a category with one value has one, which is zero."""
        return max(1, len(self.shifts) + len(self.levels) + self.rare + self.missing)

    def write(self, series: pl.Series, order: np.ndarray | None, out: np.ndarray) -> None:
        """Write the columns of some rows.

        Args:
            series: The feature's values.
            order: Which row of the series each row of `out` is; `None` for the same.
            out: Float64 of shape [rows, width], to be filled.
        """
        if self.shifts:
            self._write_numbers(series, order, out)
        else:
            self._write_levels(series, order, out)

    def _write_numbers(self, series: pl.Series, order: np.ndarray | None, out: np.ndarray) -> None:
        elements = [
            values if scale == 1.0 else values / scale
            for values, scale in zip(_elements(series), self.scales, strict=True)
        ]
        if not self.missing:
            for place, (values, shift) in enumerate(zip(elements, self.shifts, strict=True)):
                _gather(values, order, out[:, place])
                out[:, place] -= shift
            return
        missing = np.logical_or.reduce([~np.isfinite(values) for values in elements])
        for place, (values, shift) in enumerate(zip(elements, self.shifts, strict=True)):
            # Zero, in whose place the mean of a fold can be put by adding a multiple of the
            # indicator.
            known = np.where(missing, shift, values)
            _gather(known - shift, order, out[:, place])
        _gather(missing, order, out[:, -1])

    def _write_levels(self, series: pl.Series, order: np.ndarray | None, out: np.ndarray) -> None:
        out[:] = 0.0
        if self.reference is None:
            return
        words = pl.Enum([self.reference, *self.levels])
        # Null both for a missing and for a rare value.
        codes = series.cast(pl.String).cast(words, strict=False).to_physical()
        known = codes.cast(pl.Int64).fill_null(-1).to_numpy()
        for place in range(len(self.levels)):
            _gather(known == place + 1, order, out[:, place])
        missing = series.is_null().to_numpy()
        if self.rare:
            _gather((known < 0) & ~missing, order, out[:, len(self.levels)])
        if self.missing:
            _gather(missing, order, out[:, -1])


@dataclass(frozen=True)
class Design:
    """The design columns of all features, side by side.

    Args:
        features: An encoding for each feature, in the order of their columns.
    """

    features: tuple[Encoding, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(encoding.name for encoding in self.features)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return sum(encoding.width for encoding in self.features)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where the columns of each feature begin, and behind the last one the width."""
        return (0, *accumulate(encoding.width for encoding in self.features))

    def columns_of(self, features: Collection[int]) -> np.ndarray:
        """Return the places of the columns of some features, given by their places."""
        starts = self.starts
        ranges = [np.arange(starts[place], starts[place + 1]) for place in sorted(features)]
        return np.concatenate(ranges) if ranges else np.empty(0, dtype=np.int64)

    @property
    def imputed(self) -> np.ndarray:
        """The columns with missing numbers beside their indicators, as int64 of shape [n, 2]."""
        pairs = [
            (start + place, start + encoding.width - 1)
            for start, encoding in zip(self.starts, self.features, strict=False)
            if encoding.missing
            for place in range(len(encoding.shifts))
        ]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @property
    def rounding(self) -> np.ndarray:
        """Standard deviations so small that they are rounding errors; float64 of shape [width].

        The values of a column near 1e9 are known to 1e-7; what varies less is a constant.
        """
        shifts = [
            [*encoding.shifts, *[0.0] * (encoding.width - len(encoding.shifts))]
            for encoding in self.features
        ]
        return 64 * np.finfo(np.float64).eps * np.abs(np.concatenate(shifts))

    def write(self, frame: pl.DataFrame, order: np.ndarray | None, out: np.ndarray) -> None:
        """Write the columns of some rows into `out`, float64 of shape [rows, width]."""
        for start, encoding in zip(self.starts, self.features, strict=False):
            encoding.write(frame[encoding.name], order, out[:, start : start + encoding.width])


def fit_design(
    frame: pl.LazyFrame,
    features: Sequence[str],
    categorical: Collection[str] = (),
    max_levels: int = MAX_LEVELS,
) -> Design:
    """Decide how features become columns; reads all rows, and no label.

    Args:
        frame: The rows.
        features: Names of its columns.
        categorical: Which of them hold categories although they are numbers, such as the ids of a
            vocabulary. Strings always do.
        max_levels: How many values of a category have an indicator of their own, at most.

    Returns:
        The design. It depends on the order of `features` and not on that of the rows.

    Raises:
        UsageError: A name is unknown, or a column holds lists or structs.

    Example:
        >>> rows = pl.LazyFrame({"size": [1.0, None, 3.0], "kind": ["a", "b", "a"]})
        >>> design = fit_design(rows, ["size", "kind"])
        >>> [encoding.width for encoding in design.features]  # size and its indicator; rare kinds
        [2, 1]
    """
    schema = frame.collect_schema()
    for name in [*features, *categorical]:
        if name not in schema:
            raise UsageError(f"no column is called {name!r}", hint=closest(name, schema.names()))
    for name in features:
        if schema[name].is_nested() and not isinstance(schema[name], pl.Array):
            raise UsageError(
                f"feature {name!r} is {schema[name]}; expected numbers, strings, truth values, "
                "times, or vectors of fixed width",
                hint="leave it out, or make a vector of it",
            )
    words = [
        name for name in features
        if name in categorical or schema[name] in (pl.String, pl.Categorical, pl.Enum)
    ]  # fmt: skip
    found = _numbers(frame, {name: schema[name] for name in features if name not in words})
    found |= {name: _levels(frame, name, max_levels) for name in words}
    return Design(tuple(found[name] for name in features))


def _numbers(frame: pl.LazyFrame, schema: Mapping[str, Any]) -> dict[str, Encoding]:
    """Return the encodings of numbers and vectors."""
    elements = {
        (name, place): _number(
            pl.col(name).arr.get(place) if isinstance(of, pl.Array) else pl.col(name),
            of.inner if isinstance(of, pl.Array) else of,
        )
        for name, of in schema.items()
        for place in range(of.size if isinstance(of, pl.Array) else 1)
    }
    if not elements:
        return {}
    found = _spreads(frame, elements, set(elements))
    # A NaN or an infinity shows in the mean; only then are the numbers looked at one by one.
    odd = {key for key, of in found.items() if of.mean is not None and not of.plain}
    if odd:
        for key in odd:
            elements[key] = pl.when(elements[key].is_finite()).then(elements[key])
        found |= _spreads(frame, elements, odd)
    scales = {key: _scale(of.largest) for key, of in found.items()}
    extreme = {key for key, scale in scales.items() if scale != 1.0}
    if extreme:
        for key in extreme:
            elements[key] = elements[key] / scales[key]
        found |= _spreads(frame, elements, extreme)
    return {
        name: Encoding(
            name,
            # Of what has no value nothing is known but that: its column is zero.
            shifts=tuple(found[key].mean or 0.0 for key in keys),
            scales=tuple(scales[key] for key in keys),
            missing=any(found[key].missing for key in keys),
        )
        for name in schema
        for keys in [[key for key in found if key[0] == name]]
    }


@dataclass(frozen=True)
class _Spread:
    """What is known of a number.

    Args:
        mean: Of its values; `None` if there are none.
        missing: How many rows have none.
        largest: The largest distance of a value from 0; `None` if there are none.
    """

    mean: float | None
    missing: int
    largest: float | None

    @property
    def plain(self) -> bool:
        """Whether all values are finite, and so is their sum."""
        return all(each is None or math.isfinite(each) for each in (self.mean, self.largest))


def _spreads(
    frame: pl.LazyFrame, elements: Mapping[tuple[str, int], pl.Expr], some: Collection[Any]
) -> dict[tuple[str, int], _Spread]:
    """Return what is known of some numbers, in one pass."""
    keys = [key for key in elements if key in some]
    asked = []
    for number, x in enumerate(elements[key] for key in keys):
        asked += [
            x.mean().alias(f"mean {number}"), x.null_count().alias(f"missing {number}"),
            x.abs().max().alias(f"largest {number}"),
        ]  # fmt: skip
    answer = frame.select(asked).collect(engine="streaming").row(0, named=True)
    return {
        key: _Spread(*(answer[f"{of} {number}"] for of in ("mean", "missing", "largest")))
        for number, key in enumerate(keys)
    }


def _scale(largest: float | None) -> float:
    """Return a power of two that brings numbers into the range in which squares can be added."""
    if not largest or LEAST <= largest <= MOST:
        return 1.0
    # The power itself has to be a number, and so has its inverse.
    return math.ldexp(1.0, min(max(math.frexp(largest)[1], -1021), 1021))


def _levels(frame: pl.LazyFrame, name: str, max_levels: int) -> Encoding:
    """Return the encoding of a category; equally frequent values are ordered by themselves."""
    counted = frame.group_by(pl.col(name).cast(pl.String).alias("level")).agg(count=pl.len())
    counts = counted.collect(engine="streaming")
    words = counts.drop_nulls("level").sort(["count", "level"], descending=[True, False])
    if not words.height:
        return Encoding(name)
    reference, *others = words["level"].to_list()
    often = words.filter(pl.col("count") >= LEAST_ROWS).height
    levels = others[: min(max(often - 1, 0), max_levels)]
    return Encoding(
        name,
        levels=tuple(levels),
        reference=reference,
        rare=len(others) > len(levels),
        missing=counts.height > words.height,
    )


def _number(x: pl.Expr, of: Any) -> pl.Expr:
    """Return an expression as a float64; times are microseconds (or what their type counts)."""
    return (x.to_physical() if of.is_temporal() else x).cast(pl.Float64)


def _elements(series: pl.Series) -> list[np.ndarray]:
    """Return a number, or each element of a vector, as floats or integers; missing ones are NaN."""
    if isinstance(series.dtype, pl.Array):
        return [floats(series.arr.get(place)) for place in range(series.dtype.size)]
    return [floats(series)]


def floats(series: pl.Series) -> np.ndarray:
    """Return numbers, truth values or times as floats of shape [rows]; missing ones are NaN."""
    if series.dtype == pl.Boolean:
        series = series.cast(pl.UInt8)
    if series.dtype.is_decimal() or series.dtype in (pl.Int128, pl.UInt128):
        series = series.cast(pl.Float64)
    values = series.to_physical().to_numpy()
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _gather(values: np.ndarray, order: np.ndarray | None, out: np.ndarray) -> None:
    """Write values, in another order, into a column."""
    if order is None:
        out[:] = values
    elif values.dtype == out.dtype:
        # In this mode NumPy writes without a copy; no place is out of bounds.
        np.take(values, order, out=out, mode="clip")
    else:
        out[:] = values[order]
