"""Times in text: the formats that a spec can declare, and those that values look like."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from featurekit.spec.objects import Column, plain
from featurekit.types import TIMESTAMP

__all__ = ["advised", "declaration", "has_offset", "has_time", "parsed"]

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y",
    "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%m.%d.%y", "%d-%m-%y", "%m-%d-%y",
    "%d-%b-%Y", "%d %b %Y", "%d-%B-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
    "%d-%b-%y", "%d %b %y", "%d%b%Y", "%d/%b/%Y", "%a, %d %b %Y", "%a %d %b %Y",
)  # fmt: skip
_CLOCKS = (
    "%H:%M:%S",
    "%H:%M:%S.%f",
    "%H:%M",
    "%I:%M %p",
    "%I:%M:%S %p",
    "%I:%M%p",
    "%H.%M",
    "%H%M%S",
)
_BETWEEN = (" ", "T", ", ", ":")
_AFTER = ("", "%z", " %z", "Z", " UTC", " GMT")
_EPOCHS = {"s": (10**8, 10**10), "ms": (10**11, 10**13), "us": (10**14, 10**16)}
_SAMPLE = 1000


def parsed(text: pl.Expr, form: str) -> pl.Expr:
    """Return texts read by a format: in UTC if it has an offset, else what the clock showed.

    Args:
        text: The texts.
        form: A format as Python's `strptime` reads it; see `time_format` of the spec's settings.
    """
    # Polars calls a fraction with its point %.f, and offsets of any form %#z.
    known = re.sub(r"%%|\.%f|%z", lambda found: _POLARS.get(found[0], found[0]), form)
    if has_offset(form):
        return text.str.to_datetime(known, time_unit="us", time_zone="UTC", strict=False)
    if not has_time(form):
        return text.str.to_date(known, strict=False).cast(pl.Datetime("us"))
    if "%S" not in form and "%T" not in form:
        text, known = text + "~0", f"{known}~%S"
    return text.str.to_datetime(known, time_unit="us", strict=False)


_POLARS = {".%f": "%.f", "%z": "%#z"}


def has_offset(form: str) -> bool:
    """Whether times of a format say how far they are from UTC."""
    return "%z" in form.replace("%%", "")


def has_time(form: str) -> bool:
    """Whether a format has a time of the day."""
    return re.search(r"%[HITR]", form.replace("%%", "")) is not None


def declaration(name: str, column: Column) -> str:
    """Return the line of a spec that declares a column."""
    import yaml

    settings = plain(column)
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if isinstance(value, (list, tuple)):
            settings[key] = value[0] if len(value) == 1 else [*value]
    line = yaml.safe_dump(
        {name: settings}, default_flow_style=True, sort_keys=False, allow_unicode=True,
        width=2**31,
    )  # fmt: skip
    return str(line).strip()[1:-1]


def advised(name: str, declared: Column, values: Sequence[str]) -> str:
    """Return a hint for texts that are no ISO 8601 times: the line to declare, if one fits all.

    Args:
        name: The column.
        declared: What the spec declares of it.
        values: Some of its values.
    """
    texts = list(dict.fromkeys(value.strip() for value in values))[:_SAMPLE]
    if not texts:
        return ""
    time = replace(declared, type=TIMESTAMP, format=(), unit=None)
    if (unit := _epoch(texts)) is not None:
        line = declaration(name, replace(time, unit=unit, zone=None))
        return f"they look like counts since 1970: {line}"
    fits = _fitting(texts)
    if not fits:
        return ""
    lines = []
    for form in fits[:2]:
        zone = None if has_offset(form) else declared.zone or "UTC"
        lines.append(declaration(name, replace(time, format=(form,), zone=zone)))
    naive = not has_offset(fits[0]) and declared.zone is None
    zone_too = " (or the zone of the clock that showed them)" if naive else ""
    if len(fits) == 1:
        return f"declare its format: {lines[0]}{zone_too}"
    first = "day" if fits[0].index("%d") < fits[0].index("%m") else "month"
    other = "month" if first == "day" else "day"
    return (
        "these values do not tell whether the day or the month comes first: "
        f"{lines[0]} if the {first} does, {lines[1]} if the {other} does{zone_too}"
    )


def _epoch(texts: Sequence[str]) -> str | None:
    if not all(re.fullmatch(r"\d{9,16}(\.\d+)?", text) for text in texts):
        return None
    numbers = [float(text) for text in texts]
    for unit, (low, high) in _EPOCHS.items():
        if all(low <= number < high for number in numbers):
            return unit
    return None


def _fitting(texts: Sequence[str]) -> list[str]:
    """Return the format that all texts have; two, if either the day or the month may come first."""
    forms = [*_DATES]
    clocks = itertools.product(_DATES, _BETWEEN, _CLOCKS, _AFTER)
    forms += [f"{date}{between}{clock}{after}" for date, between, clock, after in clocks]
    series = pl.Series("x", texts)
    shape = re.sub(r"[A-Za-z0-9]+", "", texts[0])
    fits: list[str] = []
    for form in forms:
        marks = re.sub(r"%[a-zA-Z]|[A-Za-z]", "", form)
        offset = has_offset(form)
        if marks != shape and not (offset and shape.startswith(marks)):
            continue
        try:
            found = series.to_frame().select(parsed(pl.col("x"), form)).to_series()
        except pl.exceptions.PolarsError:
            continue
        if found.null_count() == 0 and (found.dt.year() >= 1000).all():
            fits.append(form)
    if len(fits) < 2:
        return fits
    ordered = [form for form in fits if re.search("%d.*%m|%m.*%d", form)]
    swapped = [
        other for other in ordered
        if other != fits[0] and other == _swapped(fits[0])
    ]  # fmt: skip
    return [fits[0], *swapped]


def _swapped(form: str) -> str:
    """Return a format with the day and the month in each other's place."""
    other = {"%d": "%m", "%m": "%d"}
    return re.sub("%[dm]", lambda found: other[found[0]], form)
