"""`day_of_week(t, zone="UTC")`: the day of the week, Monday being 0."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_DAY, TimePart, day_of_week
from featurekit.transforms.sql import extract, function, infix

__all__ = ["DayOfWeek"]


@dataclass(frozen=True)
class DayOfWeek(TimePart):
    """Day of the week.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 0 (Monday) to 6 (Sunday), as in Python and pandas, one per row. Null where t
        is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    bounds = (0, 6)
    examples = (
        Example(
            "day_of_week(t)",
            {
                "t": [
                    datetime(2024, 1, 1, tzinfo=UTC),
                    datetime(1969, 12, 31, tzinfo=UTC),
                    datetime(2024, 3, 3, 23, tzinfo=UTC),
                    None,
                ]
            },
            [0, 2, 6, None],
        ),
        Example(
            "day_of_week(t, zone='Asia/Tokyo')",
            {"t": [datetime(2024, 3, 3, 15, tzinfo=UTC)]},
            [0],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.weekday() - 1

    def _tensorflow(self, micros: Any) -> Any:
        return day_of_week(micros // MICROS_PER_DAY)

    def _bigquery(self, local: Any) -> Any:
        # There Sunday is 1.
        return function("MOD", infix(extract("DAYOFWEEK", local), "+", 5), 7)
