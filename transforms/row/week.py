"""`week(t, zone="UTC")`: the ISO week of the year."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import (
    MICROS_PER_DAY,
    TimePart,
    civil_from_days,
    day_of_week,
    days_from_civil,
)
from featurekit.transforms.sql import extract

__all__ = ["Week"]


@dataclass(frozen=True)
class Week(TimePart):
    """Week of the year, where week 1 has the first Thursday and Monday is the first day.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 1 to 53, one per row; the first days of January may be in week 52 or 53, the
        last of December in week 1. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.

    Source: ISO 8601, calendar week number.
    """

    bounds = (1, 53)
    examples = (
        Example(
            "week(t)",
            {
                "t": [
                    datetime(2021, 1, 3, tzinfo=UTC),
                    datetime(2021, 1, 4, tzinfo=UTC),
                    datetime(2024, 12, 30, tzinfo=UTC),
                    datetime(1969, 12, 31, tzinfo=UTC),
                    None,
                ]
            },
            [53, 1, 1, 1, None],
        ),
        Example("week(t, zone='Asia/Tokyo')", {"t": [datetime(2021, 1, 3, 15, tzinfo=UTC)]}, [1]),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.week()

    def _tensorflow(self, micros: Any) -> Any:
        days = micros // MICROS_PER_DAY
        thursday = days - day_of_week(days) + 3
        new_year = days_from_civil(civil_from_days(thursday)[0], 1, 1)
        return (thursday - new_year) // 7 + 1

    def _bigquery(self, local: Any) -> Any:
        return extract("ISOWEEK", local)
