"""The column of the time: a time, a number that grows with it, or text, as CSV has it."""

from __future__ import annotations

from typing import Any

import polars as pl

from featurekit.analysis.given import named
from featurekit.errors import DataError
from featurekit.sources import polars_errors

__all__ = ["as_time"]

_FORM = r"^\d{4}-\d{2}-\d{2}"


def as_time(frame: pl.LazyFrame, name: str, dtype: Any) -> pl.Expr:
    """Return the column of the time as something that has an order.

    Text is read as ISO 8601, in UTC where it names no zone; other forms are refused, since
    05/04/2013 is a day in April or in May.

    Args:
        frame: The table.
        name: The column.
        dtype: Its type.

    Raises:
        DataError: It is no time.
    """
    column = named(name)
    if dtype.is_decimal():
        return column.cast(pl.Float64)
    if dtype.is_numeric() or dtype.is_temporal():
        return column
    if dtype != pl.String:
        raise DataError(f"the time {name!r} holds {dtype}, which is no time and no number")
    read = column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    odd = column.is_not_null() & (read.is_null() | ~column.str.contains(_FORM))
    with polars_errors("the table"):
        found = frame.select(column).filter(odd).head(1).collect(engine="streaming").to_series()
    if found.len():
        raise DataError(
            f"the time {name!r} is text that does not read as a time: {found.item()[:40]!r}",
            hint="write it as 2013-04-26 or 2013-04-26T14:00:00Z, or as a timestamp in Parquet",
        )
    return read
