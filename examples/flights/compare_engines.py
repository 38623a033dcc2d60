"""Compares two runs of one spec, cell by cell: `compare_engines.py [ONE OTHER]`.

Without folders, the flights are run by the embedded engine and on Beam first. Integers, strings,
keys and labels must be the same, floats within 1e-5, statistics within 1e-9, both relative; rows
must stand in the same order. The exit code is 1 when something is not so.

Any two runs can be given. Beyond 65,536 values of a column Beam's quantiles come from a sketch, and
what is made of them may differ; those of the flights do not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import featurekit as fk

SPEC = Path(__file__).parent / "flights.yaml"
ENGINES = {"local": "runs/flights_local", "beam": "runs/flights_beam"}

FEATURES, STATISTICS = 1e-5, 1e-9
"""So much may floats of features and of statistics differ, relative."""

_NOTHING = 1e-30
"""What is nearer to 0 is 0: TensorFlow rounds the smallest float32 to it."""


@dataclass
class Tally:
    """What was found in columns, or statistics, of one kind.

    Args:
        tolerance: So much may numbers differ, relative.
        columns: How many there are.
        cells: How many values were compared; each element of a vector is one.
        differ: How many differ by more than the tolerance.
        largest: The largest relative difference of two finite numbers.
        first: The name of the first column that has cells that differ.
    """

    tolerance: float
    columns: int = 0
    cells: int = 0
    differ: int = 0
    largest: float = 0.0
    first: str = ""

    def add(self, name: str, pairs: Iterator[tuple[pl.Series, pl.Series]]) -> None:
        """Count a column, given as pairs of what both runs have of it."""
        self.columns += 1
        for one, other in pairs:
            differ, largest = differences(one, other, self.tolerance)
            self.cells += len(one)
            self.largest = max(self.largest, largest)
            if differ.any():
                self.differ += int(differ.sum())
                self.first = self.first or name


@dataclass(frozen=True)
class Comparison:
    """What was found in two runs.

    Args:
        tallies: By kind of column or statistic.
        problems: Where they cannot be compared at all.
    """

    tallies: dict[str, Tally]
    problems: list[str]

    @property
    def equal(self) -> bool:
        """Whether the runs are equal within the tolerances."""
        return not self.problems and not any(tally.differ for tally in self.tallies.values())


def differences(one: pl.Series, other: pl.Series, tolerance: float) -> tuple[Any, float]:
    """Return which cells of two columns differ, and the largest relative difference.

    Args:
        one: Scalars.
        other: As many of the same type.
        tolerance: So much may floats differ, relative to the larger of both. Missing equals
            missing, NaN equals NaN, and infinity equals itself.
    """
    missing = (one.is_null() != other.is_null()).to_numpy()
    if not one.dtype.is_float():
        return missing | one.ne_missing(other).to_numpy(), 0.0
    left, right = (side.cast(pl.Float64).fill_null(0.0).to_numpy() for side in (one, other))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(left - right)
        scale = np.maximum(np.maximum(np.abs(left), np.abs(right)), _NOTHING)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        same |= apart <= np.maximum(tolerance * scale, _NOTHING)
        same &= np.isfinite(left) == np.isfinite(right)
    numbers = np.isfinite(left) & np.isfinite(right) & ~missing
    with np.errstate(over="ignore"):
        relative = np.where(apart[numbers] > _NOTHING, apart[numbers] / scale[numbers], 0.0)
    return missing | ~same, float(relative.max(initial=0.0))


def compare(one: fk.Run, other: fk.Run) -> Comparison:
    """Compare the examples and the statistics of two runs of one spec."""
    tallies: dict[str, Tally] = {}
    problems: list[str] = []
    if one.manifest["spec_sha256"] != other.manifest["spec_sha256"]:
        problems.append("the runs are of different specs")
    if one.manifest["rows"]["splits"] != other.manifest["rows"]["splits"]:
        problems.append("the splits have different rows")
    if not problems:
        left = pl.concat([one.examples(split).to_polars() for split in one.splits])
        right = pl.concat([other.examples(split).to_polars() for split in one.splits])
        if left.schema != right.schema:
            problems.append("the columns, or their types, are different")
        else:
            for name, of in left.schema.items():
                kind = _kind(of) if name in one.features else "keys and label"
                tally = tallies.setdefault(kind, Tally(FEATURES))
                tally.add(name, elements(left[name], right[name]))
        _compare_statistics(one, other, tallies, problems)
    return Comparison(tallies, problems)


def _kind(of: pl.DataType) -> str:
    if isinstance(of, pl.Array):
        return "vectors"
    return "floats" if of.is_float() else "integers" if of.is_integer() else "strings"


def elements(one: pl.Series, other: pl.Series) -> Iterator[tuple[pl.Series, pl.Series]]:
    """Yield a column as pairs of scalars."""
    if isinstance(one.dtype, pl.Array):
        # A vector that is missing is not a vector of missing elements.
        yield one.is_null(), other.is_null()
        for place in range(one.dtype.size):
            yield one.arr.get(place), other.arr.get(place)
    else:
        yield one, other


def _compare_statistics(
    one: fk.Run, other: fk.Run, tallies: dict[str, Tally], problems: list[str]
) -> None:
    left, right = one.statistics, other.statistics
    if left.keys() != right.keys():
        problems.append("the statistics are of different columns")
        return
    for text, values in left.items():
        kind = values.pop("kind")
        tally = tallies.setdefault(f"statistics: {kind}", Tally(STATISTICS))
        pairs = statistic_pairs(values, {name: right[text][name] for name in values})
        if pairs is None:
            problems.append(f"{text} has values of another number or type")
        else:
            tally.add(text, iter(pairs))


def statistic_pairs(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> list[tuple[pl.Series, pl.Series]] | None:
    """Return the values of a statistic as pairs, or `None` where they are not of one form."""
    one, other = dict(one), dict(other)
    if "mean" in one:
        # What a mean of about 0 is exact to is a share of the spread, not of itself.
        spread = math.copysign(math.sqrt(one["variance"]), one["mean"])
        one["mean"] += spread
        other["mean"] += spread
    pairs = [(_series(one[key]), _series(other[key])) for key in one]
    if any(len(a) != len(b) or a.dtype != b.dtype for a, b in pairs):
        return None
    return pairs


def _series(value: Any) -> pl.Series:
    return pl.Series(list(_numbers(value)))


def _numbers(value: Any) -> Iterator[Any]:
    """Yield the parts of a field of a statistic: counts may be by category and by fold."""
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _numbers(entry)
    else:
        yield value


def show(one: fk.Run, other: fk.Run, found: Comparison) -> None:
    """Print what was compared, and how long the runs took."""
    for run in (one, other):
        seconds = run.manifest["seconds"]
        stages = ", ".join(f"{name.replace('_', ' ')} {took:.1f}" for name, took in seconds.items())
        print(f"{run.manifest['plan']['engine']:8}{stages} s")
    print()
    print(f"{'':26}{'number':>8}{'cells':>14}{'differ':>10}{'largest difference':>22}")
    for kind, tally in found.tallies.items():
        print(f"{kind:26}{tally.columns:8,}{tally.cells:14,}{tally.differ:10,}", end="")
        print(f"{tally.largest:22.1e}" if tally.largest else f"{0:22}", end="")
        print(f"  first: {tally.first}" if tally.differ else "")
    for problem in found.problems:
        print(problem)
    print("\nequal within the tolerances" if found.equal else "\nNOT equal")


def main(folders: list[str]) -> int:
    """Compare two runs, or run the flights on both engines and compare these."""
    if folders:
        one, other = map(fk.open_run, folders)
    else:
        one, other = (
            fk.run(SPEC, folder, engine=engine, overwrite=True)
            for engine, folder in ENGINES.items()
        )
    found = compare(one, other)
    show(one, other, found)
    return 0 if found.equal else 1


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
