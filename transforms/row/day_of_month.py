"""`day_of_month(t, zone="UTC")`: the day of the month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_DAY, TimePart, civil_from_days
from featurekit.transforms.sql import extract

__all__ = ["DayOfMonth"]


@dataclass(frozen=True)
class DayOfMonth(TimePart):
    """Day of the month.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 1 to 31, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    bounds = (1, 31)
    examples = (
        Example(
            "day_of_month(t)",
            {
                "t": [
                    datetime(2024, 2, 29, tzinfo=UTC),
                    datetime(1969, 12, 31, tzinfo=UTC),
                    datetime(1900, 2, 28, tzinfo=UTC),
                    None,
                ]
            },
            [29, 31, 28, None],
        ),
        Example(
            "day_of_month(t, zone='America/New_York')",
            {"t": [datetime(2024, 3, 1, 4, 59, tzinfo=UTC), datetime(2024, 3, 1, 5, tzinfo=UTC)]},
            [29, 1],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.day()

    def _tensorflow(self, micros: Any) -> Any:
        return civil_from_days(micros // MICROS_PER_DAY)[2]

    def _bigquery(self, local: Any) -> Any:
        return extract("DAY", local)
