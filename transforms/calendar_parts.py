"""Calendar arithmetic: the parts of a timestamp, in any time zone, without a calendar library.

The functions of days and micros work on int64 tensors and Polars expressions alike: `//` and `%`
round down in both, so times before 1970 come out right.

Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
https://howardhinnant.github.io/date_algorithms.html (`days_from_civil`, `civil_from_days`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import polars as pl

from featurekit.transforms.base import Input, RowOperation, check, tf
from featurekit.transforms.sql import constant, safe
from featurekit.types import INT64, STRING, TIME, Type

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MICROS_PER_DAY", "MICROS_PER_HOUR", "MICROS_PER_MINUTE", "TimePart", "Transitions",
    "check_zone", "civil_from_days", "day_of_week", "days_from_civil", "tensorflow_local",
    "tensorflow_utc", "transitions",
]  # fmt: skip

MICROS_PER_MINUTE = 60_000_000
MICROS_PER_HOUR = 60 * MICROS_PER_MINUTE
MICROS_PER_DAY = 24 * MICROS_PER_HOUR


def days_from_civil(year: Any, month: Any, day: Any) -> Any:
    """Return the days since 1970-01-01 of a date of the proleptic Gregorian calendar."""
    # The year begins in March here, so that the leap day is its last.
    year = year + (month - 3) // 12
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + (
        day_of_year - 719_468
    )  # fmt: skip


def civil_from_days(days: Any) -> tuple[Any, Any, Any]:
    """Return year, month and day of the month of the days since 1970-01-01."""
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * march_month + 2) // 5 + 1
    wraps = march_month // 10
    return year_of_era + era * 400 + wraps, march_month + 3 - 12 * wraps, day


def day_of_week(days: Any) -> Any:
    """Return the day of the week of the days since 1970-01-01, a Thursday; Monday is 0."""
    return (days + 3) % 7


class Transitions(NamedTuple):
    """When a time zone's distance from UTC changes, in microseconds.

    Args:
        instants: The instants (UTC) of the changes, in order.
        offsets: Local time minus UTC before the first change and after each.
    """

    instants: np.ndarray[Any, np.dtype[np.int64]]
    offsets: np.ndarray[Any, np.dtype[np.int64]]


@functools.cache
def transitions(zone: str) -> Transitions:
    """Return every change of a zone's offset, as Polars knows them.

    Polars carries the IANA time zone database itself; reading the changes out of it, and not out
    of the machine's, keeps the engines from disagreeing. They run from the first standard time
    (1844) to 2099; later times keep the last offset, in Polars too.
    """
    import numpy as np

    first, last = np.array(["1800", "2200"], dtype="datetime64[D]").astype(np.int64)
    days = np.arange(first, last, dtype=np.int64) * MICROS_PER_DAY
    changed = np.flatnonzero(np.diff(_offsets(days, zone)))
    low, high = days[changed], days[changed + 1]
    before = _offsets(low, zone)
    while (high - low > 1).any():
        middle = low + (high - low) // 2
        same = _offsets(middle, zone) == before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return Transitions(high, np.concatenate([_offsets(days[:1], zone), _offsets(high, zone)]))


def check_zone(zone: object) -> None:
    """Check that a parameter names a time zone of the IANA database.

    Raises:
        ValueError: It does not.
    """
    good = isinstance(zone, str) and zone[:1].isalpha()
    if good:
        try:
            pl.select(pl.lit(0).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(str(zone)))
        except pl.exceptions.ComputeError:
            good = False
    check(good, f"zone must be a name of the IANA time zone database, such as 'Europe/Berlin', "
          f"got {zone!r}")  # fmt: skip


def tensorflow_local(micros: Any, zone: str) -> Any:
    """Return local wall-clock microseconds of UTC microseconds, in a TensorFlow graph."""
    if zone == "UTC":
        return micros
    instants, offsets = transitions(zone)
    place = tf.searchsorted(tf.constant(instants), micros, side="right")
    return micros + tf.gather(tf.constant(offsets), place)


def tensorflow_utc(local: Any, zone: str, ambiguous: str = "earliest") -> tuple[Any, Any]:
    """Return UTC microseconds of local wall-clock ones, and whether that time exists.

    A time that the clock shows twice is the earlier of the two, or with `latest` the later.
    """
    import numpy as np

    if zone == "UTC":
        return local, tf.ones_like(local, dtype=tf.bool)
    instants, offsets = transitions(zone)
    # Between two changes the clock runs from `starts` to `ends`. Of the runs that may hold the
    # asked time the first is the one that ends after it, and the last the one that has begun.
    starts, ends = instants + offsets[1:], instants + offsets[:-1]
    if ambiguous == "latest":
        place = tf.searchsorted(tf.constant(starts), local, side="right")
        last = np.concatenate([ends, [np.iinfo(np.int64).max]])
        exists = local < tf.gather(tf.constant(last), place)
    else:
        place = tf.searchsorted(tf.constant(ends), local, side="right")
        first = np.concatenate([[np.iinfo(np.int64).min], starts])
        exists = local >= tf.gather(tf.constant(first), place)
    return local - tf.gather(tf.constant(offsets), place), exists


@dataclass(frozen=True)
class TimePart(RowOperation):
    """A part of a timestamp as clocks and calendars of a zone show it.

    Subclasses give `_polars`, from the local time, and `_tensorflow`, from its microseconds. Both
    are exact for the years -200,000 to 200,000 of the proleptic Gregorian calendar. `_bigquery`
    gets the local time as a TIMESTAMP (UTC) or a DATETIME.
    """

    zone: str = "UTC"

    inputs = (Input("t", TIME),)
    bounds: ClassVar[tuple[int, int] | None] = None
    """The smallest and the largest value of the part, where there are such."""

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        return self.bounds

    def __post_init__(self) -> None:
        check_zone(self.zone)

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        local = inputs[0] if self.zone == "UTC" else inputs[0].dt.convert_time_zone(self.zone)
        part = self._polars(local)
        return part.cast(pl.Int64) if self.output_type(tuple(types)) == INT64 else part

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return self._tensorflow(tensorflow_local(inputs[0], self.zone))

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        utc = self.zone == "UTC"
        local = inputs[0] if utc else safe("DATETIME", inputs[0], constant(self.zone, STRING))
        return self._bigquery(local)

    def _polars(self, local: pl.Expr) -> pl.Expr:
        raise TypeError(f"{type(self).__name__} has no Polars implementation")

    def _tensorflow(self, micros: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def _bigquery(self, local: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no BigQuery implementation")


def _offsets(micros: np.ndarray[Any, Any], zone: str) -> np.ndarray[Any, Any]:
    utc = pl.Series(micros).cast(pl.Datetime("us", "UTC"))
    local = utc.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    offsets: np.ndarray[Any, Any] = local.to_physical().to_numpy() - micros
    return offsets
