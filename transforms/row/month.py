"""`month(t, zone="UTC")`: the month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_DAY, TimePart, civil_from_days
from featurekit.transforms.sql import extract

__all__ = ["Month"]


@dataclass(frozen=True)
class Month(TimePart):
    """Month of the year.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 1 to 12, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    bounds = (1, 12)
    examples = (
        Example(
            "month(t)",
            {"t": [datetime(2024, 2, 29, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), None]},
            [2, 12, None],
        ),
        Example(
            "month(t, zone='America/New_York')",
            {"t": [datetime(2024, 3, 1, 4, 59, tzinfo=UTC), datetime(2024, 3, 1, 5, tzinfo=UTC)]},
            [2, 3],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.month()

    def _tensorflow(self, micros: Any) -> Any:
        return civil_from_days(micros // MICROS_PER_DAY)[1]

    def _bigquery(self, local: Any) -> Any:
        return extract("MONTH", local)
