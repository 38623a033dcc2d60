"""`make_timestamp(year, month, day, hour, minute, zone="UTC")`: a timestamp from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, Masked, RowOperation, check, tf
from featurekit.transforms.calendar_parts import (
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    MICROS_PER_MINUTE,
    check_zone,
    days_from_civil,
    tensorflow_utc,
)
from featurekit.transforms.sql import all_of, case, constant, infix, later_of_two, let, safe
from featurekit.types import INTEGER, STRING, TIMESTAMP, Type

__all__ = ["MakeTimestamp"]


@dataclass(frozen=True)
class MakeTimestamp(RowOperation):
    """Timestamp of a date and a time of day, as calendars and clocks of a zone show them.

    Args:
        year: An integer from 1 to 9999.
        month: An integer from 1 to 12.
        day: An integer from 1 to the last day of the month.
        hour: An integer from 0 to 23.
        minute: An integer from 0 to 59.
        zone: The time zone of the parts, an IANA name such as "Europe/Berlin".
        ambiguous: Which of the two is meant by a time that the clock shows twice, "earliest" or
            "latest". A run on the embedded engine counts such rows.

    Returns:
        timestamp, one per row. Null where any part is null or outside its range, and where the
        clock skips that time.

    Raises:
        SpecError: `zone` is not a known name, or `ambiguous` neither of the two.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: a time that is in another year in UTC is null.
    """

    zone: str = "UTC"
    ambiguous: str = "earliest"

    inputs = (
        Input("year", INTEGER),
        Input("month", INTEGER),
        Input("day", INTEGER),
        Input("hour", INTEGER),
        Input("minute", INTEGER),
    )
    null_rule = "null where any input is null or the parts are no time of the zone"
    examples = (
        Example(
            "make_timestamp(y, m, d, 12, 30)",
            {"y": [2024, 2023, None, 1969], "m": [2, 2, 1, 12], "d": [29, 29, 1, 31]},
            [
                datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
                None,
                None,
                datetime(1969, 12, 31, 12, 30, tzinfo=UTC),
            ],
        ),
        Example(
            "make_timestamp(2024, m, d, h, 30, zone='Europe/Berlin')",
            {"m": [1, 3, 10, 13, 1], "d": [1, 31, 27, 1, 1], "h": [0, 2, 2, 0, 24]},
            [
                datetime(2023, 12, 31, 23, 30, tzinfo=UTC),
                None,
                datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
                None,
                None,
            ],
        ),
        Example(
            "make_timestamp(2024, 11, 3, h, 30, zone='America/New_York', ambiguous='latest')",
            {"h": [0, 1, 2]},
            [
                datetime(2024, 11, 3, 4, 30, tzinfo=UTC),
                datetime(2024, 11, 3, 6, 30, tzinfo=UTC),
                datetime(2024, 11, 3, 7, 30, tzinfo=UTC),
            ],
        ),
    )

    def __post_init__(self) -> None:
        check_zone(self.zone)
        check(
            self.ambiguous in ("earliest", "latest"),
            f"ambiguous must be 'earliest' or 'latest', got {self.ambiguous!r}",
        )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return TIMESTAMP

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        micros, valid = _local_micros(*inputs)
        local = pl.when(valid).then(micros).cast(pl.Datetime("us"))
        if self.zone == "UTC":
            return local.dt.replace_time_zone("UTC")
        which: Any = self.ambiguous
        placed = local.dt.replace_time_zone(self.zone, ambiguous=which, non_existent="null")
        return placed.dt.convert_time_zone("UTC")

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        local, valid = _local_micros(*(part.values for part in inputs))
        micros, exists = tensorflow_utc(local, self.zone, self.ambiguous)
        for part in inputs:
            valid = tf.logical_and(valid, part.valid)
        return Masked(micros, tf.logical_and(valid, exists))

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        limits = ((1, 9999), (1, 12), (1, 31), (0, 23), (0, 59))
        zone = constant(self.zone, STRING)

        def local(*parts: Any) -> Any:
            # The functions look at the last 32 bits of a part only.
            within = [
                case((all_of(infix(part, ">=", least), infix(part, "<=", most)), part))
                for part, (least, most) in zip(parts, limits, strict=True)
            ]
            return safe("DATETIME", *within, 0)

        def which(local: Any, time: Any) -> Any:
            return time if self.ambiguous == "earliest" else later_of_two(local, time, zone)

        def placed(local: Any) -> Any:
            # A time that the clock skips comes back as another one.
            return let(
                [safe("TIMESTAMP", local, zone)],
                lambda time: case(
                    (infix(safe("DATETIME", time, zone), "=", local), which(local, time))
                ),
            )

        return let([let(inputs, local)], placed)


def _local_micros(year: Any, month: Any, day: Any, hour: Any, minute: Any) -> tuple[Any, Any]:
    """Return microseconds since 1970 on the local clock, and whether the parts are in range."""
    days = days_from_civil(year, month, day)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    # Months have 31 days by turns, but for July and August, which both have.
    there = (
        (day <= 28)
        | ((day <= 30) & (month != 2))
        | ((day == 31) & ((month + month // 8) % 2 == 1))
        | ((day == 29) & leap)
    )
    valid = (
        (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & there
        & (hour >= 0) & (hour <= 23) & (minute >= 0) & (minute <= 59)
    )  # fmt: skip
    return days * MICROS_PER_DAY + hour * MICROS_PER_HOUR + minute * MICROS_PER_MINUTE, valid
