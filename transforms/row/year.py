"""`year(t, zone="UTC")`: the year."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_DAY, TimePart, civil_from_days
from featurekit.transforms.sql import extract

__all__ = ["Year"]


@dataclass(frozen=True)
class Year(TimePart):
    """Year of the Gregorian calendar.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    examples = (
        Example(
            "year(t)",
            {
                "t": [
                    datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC),
                    datetime(1969, 12, 31, tzinfo=UTC),
                    None,
                ]
            },
            [2024, 1969, None],
        ),
        Example(
            "year(t, zone='Asia/Tokyo')",
            {"t": [datetime(2024, 12, 31, 15, tzinfo=UTC)]},
            [2025],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.year()

    def _tensorflow(self, micros: Any) -> Any:
        return civil_from_days(micros // MICROS_PER_DAY)[0]

    def _bigquery(self, local: Any) -> Any:
        return extract("YEAR", local)
