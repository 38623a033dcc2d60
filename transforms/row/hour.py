"""`hour(t, zone="UTC")`: the hour of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_DAY, MICROS_PER_HOUR, TimePart
from featurekit.transforms.sql import extract

__all__ = ["Hour"]


@dataclass(frozen=True)
class Hour(TimePart):
    """Hour of the day.

    Args:
        t: A timestamp.
        zone: The time zone whose clock is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 0 to 23, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    bounds = (0, 23)
    examples = (
        Example(
            "hour(t)",
            {
                "t": [
                    datetime(2024, 3, 31, 0, 59, tzinfo=UTC),
                    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
                    None,
                ]
            },
            [0, 23, None],
        ),
        Example(
            "hour(t, zone='Europe/Berlin')",
            {"t": [datetime(2024, 3, 31, 0, 59, tzinfo=UTC), datetime(2024, 3, 31, 1, tzinfo=UTC)]},
            [1, 3],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.hour()

    def _tensorflow(self, micros: Any) -> Any:
        return micros % MICROS_PER_DAY // MICROS_PER_HOUR

    def _bigquery(self, local: Any) -> Any:
        return extract("HOUR", local)
