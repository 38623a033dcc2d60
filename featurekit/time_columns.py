"""Stored columns read as timestamps: times, dates, counts since 1970, and text of any format.

A time that a clock showed without saying its zone is placed by the zone that the spec declares. An
hour of autumn is shown twice and one of spring never: what becomes of such times is declared, too,
and by default they are refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from featurekit.checks import EARLIEST, LATEST, LATEST_YEAR, ColumnReader
from featurekit.errors import SpecError
from featurekit.time_formats import advised, has_offset, has_time, parsed
from featurekit.transforms.calendar_parts import transitions
from featurekit.types import TIMESTAMP

__all__ = ["SAME", "read_time"]

_OUTSIDE = f"times outside of the years 1 to {LATEST_YEAR}"
_OUTSIDE_HINT = "were milliseconds taken for seconds? declare unit: s, ms or us"
_TICKS = {"s": 1_000_000, "ms": 1_000, "us": 1}
SAME = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")
"""Zones whose clock is never moved."""


def read_time(column: ColumnReader) -> pl.Expr:
    """Return the expression that reads a column as a timestamp, in UTC.

    Raises:
        SpecError: It is stored as something that no time can be made of, or lacks a declaration.
    """
    dtype = column.dtype
    if dtype == pl.String:
        value = _counted(column) if column.declared.unit in _TICKS else _text(column)
    elif dtype.is_integer():
        value = _integers(column)
    elif (dtype.is_float() or dtype.is_decimal()) and column.declared.unit in _TICKS:
        value = _numbers(column, column.x)
    elif dtype == pl.Datetime or dtype == pl.Date:
        value = _stored(column)
    else:
        raise column.refused(TIMESTAMP)
    micros = value.dt.timestamp("us")
    column.check((micros > LATEST) | (micros < EARLIEST), _OUTSIDE, _OUTSIDE_HINT)
    return value


def _stored(column: ColumnReader) -> pl.Expr:
    """Times stored as times; those that microseconds cannot hold are caught before the cast."""
    zone = getattr(column.dtype, "time_zone", None)
    each = {"ms": 1_000, "us": 1}.get(getattr(column.dtype, "time_unit", ""), 0)
    if column.dtype == pl.Date:
        each = 86_400_000_000
    value = column.x
    if each > 1:
        stored = column.x.to_physical()
        inside = stored.is_between(EARLIEST // each, LATEST // each)
        column.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
        value = pl.when(inside).then(column.x)
    value = value.cast(pl.Datetime("us", zone))
    if zone is None:
        value = _placed(column, value, dates=column.dtype == pl.Date)
    return value.dt.convert_time_zone("UTC")


def _ticks(column: ColumnReader, stored: str) -> int:
    """Return how many microseconds one of the column's numbers counts."""
    scale = _TICKS.get(column.declared.unit or "")
    if scale is None:
        raise SpecError(
            f"column {column.name!r} is stored as {stored} and declared a timestamp",
            hint="say what they count since 1970: unit: s, ms or us",
        )
    return scale


def _integers(column: ColumnReader) -> pl.Expr:
    scale = _ticks(column, "integers")
    whole = column.x.cast(pl.Int64, strict=False)
    inside = whole.is_between(EARLIEST // scale, LATEST // scale)
    if column.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        inside = inside.fill_null(False) | column.x.is_null()
    column.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
    micros = pl.when(inside).then(whole) * scale
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _numbers(column: ColumnReader, x: pl.Expr) -> pl.Expr:
    """Floats and decimals that count since 1970, to the nearest microsecond."""
    scale = _ticks(column, "numbers with a fraction")
    number = x.cast(pl.Float64)
    number = pl.when(number.is_not_nan()).then(number)
    inside = number.is_between(EARLIEST / scale, LATEST / scale)
    column.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
    micros = (pl.when(inside).then(number) * scale).round().cast(pl.Int64)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _counted(column: ColumnReader) -> pl.Expr:
    """Texts of numbers that count since 1970; integers do not pass through a float."""
    scale = _ticks(column, "text")
    text = column.x.str.strip_chars()
    whole, number = text.cast(pl.Int64, strict=False), text.cast(pl.Float64, strict=False)
    column.check(
        column.x.is_not_null() & (number.is_null() | number.is_nan()),
        f"text that is not a number, although the column has the unit {column.declared.unit},",
        "correct it, or leave the unit out if the column holds ISO 8601 times",
    )
    inside = number.is_between(EARLIEST / scale, LATEST / scale)
    column.check(~inside & number.is_not_nan(), _OUTSIDE, _OUTSIDE_HINT)
    micros = pl.coalesce(
        pl.when(inside).then(whole) * scale,
        (pl.when(inside).then(number) * scale).round().cast(pl.Int64),
    )
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _text(column: ColumnReader) -> pl.Expr:
    """Texts of the declared formats, or of ISO 8601; all with an offset, or all without."""
    text = column.x.str.strip_chars()
    forms = column.declared.format
    if forms:
        read = [(parsed(text, form), has_offset(form)) for form in forms]
        found = [value for value, _ in read]
        value = pl.coalesce(found) if len(found) > 1 else found[0]
        said = " or ".join(repr(form) for form in forms)
        column.check(
            column.x.is_not_null() & value.is_null(), f"text that is no time of the format {said}",
            "format takes several formats as a list, which are tried in order",
            advise=partial(advised, column.name, column.declared),
        )  # fmt: skip
        if any(offset for _, offset in read):
            return value
        dates = not any(map(has_time, forms))
        return _placed(column, value, dates=dates).dt.convert_time_zone("UTC")
    return _iso(column, text)


def _iso(column: ColumnReader, text: pl.Expr) -> pl.Expr:
    offset = text.str.contains(r"T?\d\d:\d\d.*(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)$")
    # The space between date and time and the seconds are optional; a date alone is midnight.
    full = text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00").str.replace(
        " ", "T", literal=True
    )
    full = full.str.replace(r"T(\d\d:\d\d)($|Z|[+-]| )", "T${1}:00${2}")
    zulu = full.str.replace(r" ?(UTC|GMT)$", "Z").str.replace(r" ([+-]\d\d(:?\d\d)?)$", "${1}")
    aware = zulu.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
    )
    aware = pl.when(offset).then(aware)
    naive = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    naive = pl.when(~offset).then(naive)
    column.check(
        column.x.is_not_null() & aware.is_null() & naive.is_null(),
        "text that is not an ISO 8601 time",
        "write 2013-01-31T12:30:00Z, or declare the format of the column, such as "
        'format: "%d/%m/%Y"',
        advise=partial(advised, column.name, column.declared),
    )
    if column.declared.zone is None:
        column.check(
            naive.is_not_null(),
            "times without a zone",
            f"declare it: {column.name}: {{type: timestamp, zone: UTC}}; "
            "a column may not mix times with and without an offset",
        )
        return aware
    column.check(
        aware.is_not_null(),
        "times with an offset although a zone is declared",
        "leave the zone out: they say themselves when they are; a column may not mix times with "
        "and without an offset",
    )
    return _placed(column, naive).dt.convert_time_zone("UTC")


def _placed(column: ColumnReader, naive: pl.Expr, dates: bool = False) -> pl.Expr:
    """Return what a clock showed as instants, by the declared zone; dates have UTC by default."""
    declared = column.declared
    zone = declared.zone or ("UTC" if dates else None)
    if zone is None:
        raise SpecError(
            f"column {column.name!r} holds times without a zone",
            hint=f"declare it: {column.name}: {{type: timestamp, zone: UTC}}",
        )
    if zone in SAME:
        return naive.dt.replace_time_zone(zone)
    earliest = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    latest = naive.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    placed = _shown_twice(column, naive, earliest, latest, zone)
    skipped = naive.is_not_null() & earliest.is_null()
    if declared.nonexistent in (None, "refuse"):
        column.check(
            skipped, f"times that do not exist in the zone {zone}",
            "the clock was put forward then; nonexistent: shift takes the moment at which it was, "
            "nonexistent: missing takes them for missing",
            shown=naive.dt.to_string(),
        )  # fmt: skip
    elif declared.nonexistent == "missing":
        column.count(skipped, f"times that do not exist in the zone {zone}, read as missing")
    else:
        column.count(skipped, f"times that do not exist in the zone {zone}, shifted to its next")
        put_forward = naive.map_batches(
            partial(_next_moments, zone), return_dtype=pl.Datetime("us"), is_elementwise=True
        )
        put_forward = put_forward.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        placed = pl.when(skipped).then(put_forward).otherwise(placed)
    return placed


def _shown_twice(
    column: ColumnReader, naive: pl.Expr, earliest: pl.Expr, latest: pl.Expr, zone: str
) -> pl.Expr:
    """Return times placed in a zone, those that the clock shows twice as the spec says."""
    twice = earliest != latest
    said = f"times that the clock shows twice in the zone {zone}"
    ambiguous = column.declared.ambiguous or "refuse"
    if ambiguous == "refuse":
        column.check(
            twice, said,
            f"say which is meant: {column.name}: {{type: timestamp, zone: {zone}, ambiguous: "
            "earliest}, or latest; or in_order with order_within: [...] if the rows of each file "
            "follow each other in time",
            shown=naive.dt.to_string(),
        )  # fmt: skip
        return earliest
    if ambiguous == "in_order":
        return _in_order(column, naive, (earliest, latest), said)
    column.count(twice, f"{said}, taken as the {'earlier' if ambiguous == 'earliest' else 'later'}")
    return earliest if ambiguous == "earliest" else latest


def _in_order(
    column: ColumnReader, naive: pl.Expr, placed: tuple[pl.Expr, pl.Expr], said: str
) -> pl.Expr:
    """Take a time that the clock shows twice as the later once the rows before have gone back."""
    earliest, latest = placed
    twice = (earliest != latest).fill_null(False)
    # One change of the clock is within half a day of noon; none is at noon.
    day = naive.dt.offset_by("-12h").dt.date()
    hours = [*column.group, day]
    back = (naive < naive.shift(1)).over(hours).fill_null(False)
    both = twice & twice.shift(1).over(hours).fill_null(False)
    # Hourly rows show one time twice, and no other.
    alone = (
        both & (naive == naive.shift(1).over(hours)) & (twice.cast(pl.Int32).sum().over(hours) == 2)
    ).fill_null(False)
    turned = (back & both) | alone
    turns = turned.cast(pl.Int32).cum_sum().over(hours)
    changed = twice.any().over(hours)
    column.check(
        changed & ((back & ~both) | (turned & (turns > 1))),
        f"{said}, and rows that are not in the order of time,",
        "in_order needs rows that follow each other within the columns of order_within; "
        "otherwise ambiguous: earliest or latest",
        shown=naive.dt.to_string(),
    )
    untold = twice & (turned.cast(pl.Int32).sum().over(hours) == 0)
    column.count(untold, f"{said} in rows that do not go back, taken as the earlier")
    column.count(twice & (turns > 0), f"{said}, taken as the later by the order of rows")
    return pl.when(twice & (turns > 0)).then(latest).otherwise(earliest)


def _next_moments(zone: str, naive: Any) -> Any:
    """Return, of times that a clock skipped, the moment at which it was put forward."""
    import numpy as np

    instants, offsets = transitions(zone)
    starts = instants + offsets[:-1]
    forward = offsets[1:] > offsets[:-1]
    starts, moments = starts[forward], instants[forward]
    micros = naive.cast(pl.Datetime("us")).to_physical()
    place = np.searchsorted(starts, micros.fill_null(0).to_numpy(), side="right") - 1
    found = pl.Series(naive.name, moments[np.maximum(place, 0)]).cast(pl.Datetime("us"))
    return found.zip_with(micros.is_not_null(), pl.Series([None], dtype=pl.Datetime("us")))
