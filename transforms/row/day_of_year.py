"""`day_of_year(t, zone="UTC")`: the day of the year."""

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
    days_from_civil,
)
from featurekit.transforms.sql import extract

__all__ = ["DayOfYear"]


@dataclass(frozen=True)
class DayOfYear(TimePart):
    """Day of the year.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 1 to 366, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    bounds = (1, 366)
    examples = (
        Example(
            "day_of_year(t)",
            {
                "t": [
                    datetime(2024, 1, 1, tzinfo=UTC),
                    datetime(2024, 12, 31, tzinfo=UTC),
                    datetime(1969, 12, 31, tzinfo=UTC),
                    None,
                ]
            },
            [1, 366, 365, None],
        ),
        Example(
            "day_of_year(t, zone='Asia/Tokyo')",
            {"t": [datetime(2024, 12, 31, 15, tzinfo=UTC)]},
            [1],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.ordinal_day()

    def _tensorflow(self, micros: Any) -> Any:
        days = micros // MICROS_PER_DAY
        return days - days_from_civil(civil_from_days(days)[0], 1, 1) + 1

    def _bigquery(self, local: Any) -> Any:
        return extract("DAYOFYEAR", local)
