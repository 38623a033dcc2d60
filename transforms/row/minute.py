"""`minute(t, zone="UTC")`: the minute of the hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_HOUR, MICROS_PER_MINUTE, TimePart
from featurekit.transforms.sql import extract

__all__ = ["Minute"]


@dataclass(frozen=True)
class Minute(TimePart):
    """Minute of the hour.

    Args:
        t: A timestamp.
        zone: The time zone whose clock is asked, an IANA name such as "Europe/Berlin".

    Returns:
        int64 from 0 to 59, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    bounds = (0, 59)
    examples = (
        Example(
            "minute(t)",
            {
                "t": [
                    datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC),
                    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
                    None,
                ]
            },
            [59, 59, None],
        ),
        Example(
            "minute(t, zone='Asia/Kolkata')",
            {"t": [datetime(2024, 1, 1, 0, 15, tzinfo=UTC)]},
            [45],
        ),
    )

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.minute()

    def _tensorflow(self, micros: Any) -> Any:
        return micros % MICROS_PER_HOUR // MICROS_PER_MINUTE

    def _bigquery(self, local: Any) -> Any:
        return extract("MINUTE", local)
