"""`is_weekend(t, zone="UTC")`: whether it is Saturday or Sunday."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.transforms.base import Example
from featurekit.transforms.calendar_parts import MICROS_PER_DAY, TimePart, day_of_week
from featurekit.transforms.sql import extract, function, infix
from featurekit.types import BOOL, Type

__all__ = ["IsWeekend"]


@dataclass(frozen=True)
class IsWeekend(TimePart):
    """Whether the day is a Saturday or a Sunday.

    Args:
        t: A timestamp.
        zone: The time zone whose calendar is asked, an IANA name such as "Europe/Berlin".

    Returns:
        bool, one per row. Null where t is null.

    Raises:
        SpecError: `zone` is not a known name.

    Note:
        BigQuery goes by a time zone database of its own, and keeps changing to summer time after
        2099. It has the years 1 to 9999 only: where the zone's clock shows another, this is null.
    """

    examples = (
        Example(
            "is_weekend(t)",
            {
                "t": [
                    datetime(2024, 3, 1, tzinfo=UTC),
                    datetime(2024, 3, 2, tzinfo=UTC),
                    datetime(2024, 3, 3, 23, tzinfo=UTC),
                    None,
                ]
            },
            [False, True, True, None],
        ),
        Example(
            "is_weekend(t, zone='Asia/Tokyo')",
            {"t": [datetime(2024, 3, 1, 15, tzinfo=UTC), datetime(2024, 3, 3, 15, tzinfo=UTC)]},
            [True, False],
        ),
    )

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return BOOL

    def _polars(self, local: pl.Expr) -> pl.Expr:
        return local.dt.weekday() >= 6

    def _tensorflow(self, micros: Any) -> Any:
        return day_of_week(micros // MICROS_PER_DAY) >= 5

    def _bigquery(self, local: Any) -> Any:
        # There Sunday is 1 and Saturday 7.
        return infix(function("MOD", extract("DAYOFWEEK", local), 7), "<=", 1)
