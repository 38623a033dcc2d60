"""Typed columns: how what is stored becomes what the spec says it is.

Every value that the data holds but the spec does not allow is found here, by checks that run in
the same pass as the first statistics: nothing is silently turned into a missing value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from featurekit.errors import DataError, SpecError, closest
from featurekit.number_text import NumberText
from featurekit.sources import Table
from featurekit.spec.objects import Column, Source
from featurekit.transforms.base import polars_dtype
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
)

__all__ = ["Check", "refuse_unreadable", "typed_columns"]

_EXACT = 2**53
"""Below it float64 holds every integer."""

LATEST_YEAR = 9999
_EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_LATEST = (int(datetime(LATEST_YEAR, 12, 31, tzinfo=UTC).timestamp()) + 86_400) * 1_000_000 - 1
"""The last microsecond of that day, by which many tables say "for ever"."""
_MICROS = {"days": 86_400_000_000, "ms": 1_000, "us": 1, "ns": 1}
"""How many microseconds are in one of what a stored time counts; all nanoseconds are in range."""
_OUTSIDE = f"times outside of the years 1 to {LATEST_YEAR}"
_OUTSIDE_HINT = "were milliseconds taken for seconds? declare unit: s, ms or us"


@dataclass(frozen=True)
class Check:
    """Something a value must not be.

    Args:
        column: The column it is about.
        bad: A boolean expression over raw columns, true (not null) for an offending row.
        shown: The expression whose value an error quotes.
        message: What is wrong, as in "column 'x': MESSAGE in 12 rows".
        hint: What to do about it.
    """

    column: str
    bad: pl.Expr
    shown: pl.Expr
    message: str
    hint: str


def typed_columns(
    table: Table, source: Source, wanted: Mapping[str, Type], smallest: bool = False
) -> tuple[list[pl.Expr], list[Check]]:
    """Return expressions that read columns as their types, and what must hold for that.

    Args:
        table: The opened source.
        source: Its declaration.
        wanted: The columns to read, with their types.
        smallest: Whether integers may be the smallest there is.

    Returns:
        One expression per column, named like it, over the raw columns of the table; and checks
        over the raw columns. NaN in a float column becomes null.

    Raises:
        SpecErrors: A stored type cannot be read as the wanted one.
    """
    columns: list[pl.Expr] = []
    checks: list[Check] = []
    for name, of in wanted.items():
        declared = source.columns.get(name, Column())
        try:
            reader = _reader(table, declared, name)
            value = reader.read(of)
            columns.append(value.alias(name))
            if of == INT64 and not smallest:
                reader.refuse_smallest(value)
        except SpecError as error:
            where = f"source {table.name!r}"
            raise SpecError(error.message, where=where, hint=error.hint) from None
        checks.extend(reader.checks)
        if not declared.nullable:
            missing = reader.read(of).is_null()
            checks.append(
                Check(
                    name,
                    missing,
                    pl.lit(None, dtype=pl.String),
                    "missing values, although it is declared nullable: false,",
                    "drop the rows, or declare nullable: true",
                )
            )
    return columns, checks


def refuse_unreadable(table: Table, source: Source, name: str, of: Type) -> None:
    """Refuse a column that cannot be read as a type, by how it is stored alone.

    Args:
        table: The opened source.
        source: Its declaration.
        name: The column's name in the spec.
        of: The type to read it as.

    Raises:
        SpecError: No row of it could be read.
        DataError: The data has no such column.
    """
    _reader(table, source.columns.get(name, Column()), name).read(of)


def _reader(table: Table, declared: Column, name: str) -> _Reader:
    """Return what reads a column of a table."""
    stored = table.stored(name)
    if name.startswith("~"):
        raise SpecError(
            f"column {name!r}: names that begin with ~ are FeatureKit's own",
            hint=f"give it another: columns: {{name: {{column: {name!r}}}}}",
        )
    if stored not in table.schema:
        raise DataError(
            f"the data has no column {stored!r}",
            where=f"source {table.name!r}",
            hint=closest(stored, table.schema),
        )
    return _Reader(name, pl.col(stored), table.schema[stored], declared, table.numbers)


class _Reader:
    """Reads one stored column as a type, collecting what must hold."""

    def __init__(
        self, name: str, x: pl.Expr, dtype: Any, declared: Column, numbers: NumberText
    ) -> None:
        self.name, self.x, self.dtype, self.declared = name, x, dtype, declared
        self.numbers = numbers
        self.checks: list[Check] = []

    def read(self, of: Type) -> pl.Expr:
        self.checks = []
        if isinstance(self.dtype, (pl.Categorical, pl.Enum)):
            self.x, self.dtype = self.x.cast(pl.String), pl.String()
        if self.dtype == pl.Null:
            return self.x.cast(polars_dtype(of))
        if of in (FLOAT32, FLOAT64):
            return self.float(of)
        if of == INT64:
            return self.integer()
        if of == STRING and (
            self.dtype == pl.String or self.dtype.is_integer() or self.dtype == pl.Boolean
        ):
            return self.x.cast(pl.String)
        if of == STRING and self.dtype.is_decimal():
            digits = self.x.cast(pl.String)
            return digits.str.replace(r"\.?0+$", "") if self.dtype.scale else digits
        if of == BOOL:
            return self.boolean()
        if of == TIMESTAMP:
            return self.timestamp()
        if of == DURATION and self.dtype == pl.Duration:
            return self.x.cast(polars_dtype(of))
        raise self.refused(of)

    def refused(self, of: Type) -> SpecError:
        return SpecError(
            f"column {self.name!r} is stored as {self.dtype} and cannot be read as {of}",
            hint="declare another type for it",
        )

    def check(self, bad: pl.Expr, message: str, hint: str) -> None:
        self.checks.append(Check(self.name, bad, self.shown(), message, hint))

    def shown(self) -> pl.Expr:
        """Return a value as errors quote it: a time as a time, unless no calendar has it."""
        if self.dtype != pl.Datetime and self.dtype != pl.Date:
            x = self.x.to_physical() if self.dtype.is_temporal() else self.x
            return x.cast(pl.String, strict=False)
        unit = "days" if self.dtype == pl.Date else self.dtype.time_unit
        each = _MICROS[unit]
        stored = self.x.to_physical().cast(pl.Int64)
        inside = stored.is_between(_EARLIEST // each, _LATEST // each)
        if unit == "ns":
            inside = stored.is_not_null()
        form = "%Y-%m-%d" if unit == "days" else "%Y-%m-%d %H:%M:%S%.f"
        time = pl.when(inside).then(self.x).dt.to_string(form)
        return pl.coalesce(time, pl.format("{} {} since 1970", stored, pl.lit(unit)))

    def float(self, of: Type) -> pl.Expr:
        if self.dtype == pl.String:
            value = self.numbers.plain(self.x).cast(pl.Float64, strict=False)
            self.check(
                self.x.is_not_null() & value.is_null(),
                "text that is not a number",
                "correct them, or list the text under the source's null_values",
            )
        elif self.dtype.is_numeric() or self.dtype == pl.Boolean:
            value = self.x
        else:
            raise self.refused(of)
        value = value.cast(polars_dtype(of))
        return pl.when(value.is_not_nan()).then(value)

    def integer(self) -> pl.Expr:
        limit = (
            "integers are 64 bits; declare the type string if it is an identifier, "
            "or float64 if it is a number"
        )
        if self.dtype == pl.String:
            text = self.numbers.plain(self.x)
            number = text.cast(pl.Float64, strict=False)
            # pandas writes 7.0 where another row has no value.
            whole = (number == number.round()) & (number.abs() < _EXACT)
            value = text.cast(pl.Int64, strict=False)
            value = pl.coalesce(value, pl.when(whole).then(number).cast(pl.Int64, strict=False))
            self.check(
                self.x.is_not_null() & value.is_null(), "text that is not a 64-bit integer", limit
            )
        elif self.dtype.is_float():
            value = self.whole()
        elif self.dtype.is_decimal():
            value = self.x.cast(pl.Int64, strict=False)
            self.check(
                self.x.is_not_null() & (value.is_null() | (value.cast(self.dtype) != self.x)),
                "values that are not 64-bit integers",
                limit,
            )
        elif self.dtype.is_integer() or self.dtype == pl.Boolean:
            value = self.x.cast(pl.Int64, strict=False)
            if self.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
                self.check(
                    self.x.is_not_null() & value.is_null(),
                    "values that do not fit in 64 bits with a sign",
                    limit,
                )
        else:
            raise self.refused(INT64)
        return value

    def refuse_smallest(self, value: pl.Expr) -> None:
        """Refuse the integer that stands for a missing value where no mask says which are."""
        if not self.dtype.is_float() and self.dtype != pl.Boolean:
            self.check(
                value == pl.lit(-(2**63), dtype=pl.Int64),
                "the smallest 64-bit integer, which stands for missing here,",
                "store missing values as missing",
            )

    def whole(self) -> pl.Expr:
        """Integers that are stored as floats, as long as these hold every integer."""
        present = self.x.is_not_null() & self.x.is_not_nan()
        value = pl.when(present).then(self.x).cast(pl.Int64, strict=False)
        self.check(
            present & (value.is_null() | (value.cast(self.dtype) != self.x)),
            "values that are not integers",
            "a key or a word is an integer or a text, never a float: store the column as text "
            "(type: string); if it is a number, declare it float32 or float64",
        )
        largest = _EXACT if self.dtype == pl.Float64 else 2**24
        self.check(
            present & (self.x.abs() >= largest),
            f"values from {largest} on, where {str(self.dtype).lower()} no longer holds "
            "every integer,",
            "store the column as integers, or as text (type: string) if it is an identifier",
        )
        return value

    def boolean(self) -> pl.Expr:
        if self.dtype == pl.Boolean:
            return self.x
        if self.dtype == pl.String:
            text = self.x.str.strip_chars().str.to_lowercase()
            true, false = (
                text.is_in(["true", "t", "1", "1.0", "yes", "y", "on"]),
                text.is_in(["false", "f", "0", "0.0", "no", "n", "off"]),
            )
        elif self.dtype.is_numeric():
            if self.dtype.is_float():
                self.x = pl.when(self.x.is_not_nan()).then(self.x)
            true, false = self.x == 1, self.x == 0
        else:
            raise self.refused(BOOL)
        self.check(
            self.x.is_not_null() & ~(true | false),
            "values that are neither true nor false",
            "declare another type",
        )
        return pl.when(true).then(True).when(false).then(False)

    def timestamp(self) -> pl.Expr:
        if self.dtype == pl.String:
            value = self.text_time()
        elif self.dtype.is_integer():
            value = self.integer_time()
        elif self.dtype == pl.Datetime or self.dtype == pl.Date:
            value = self.stored_time()
        else:
            raise self.refused(TIMESTAMP)
        micros = value.dt.timestamp("us")
        self.check((micros > _LATEST) | (micros < _EARLIEST), _OUTSIDE, _OUTSIDE_HINT)
        return value

    def stored_time(self) -> pl.Expr:
        """Times stored as times; those that microseconds cannot hold are caught before the cast."""
        zone = getattr(self.dtype, "time_zone", None)
        each = {"ms": 1_000, "us": 1}.get(getattr(self.dtype, "time_unit", ""), 0)
        if self.dtype == pl.Date:
            each = 86_400_000_000
        value = self.x
        if each > 1:
            stored = self.x.to_physical()
            inside = stored.is_between(_EARLIEST // each, _LATEST // each)
            self.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
            value = pl.when(inside).then(self.x)
        value = value.cast(pl.Datetime("us", zone))
        if zone is None:
            value = self.zoned(value, naive_date=self.dtype == pl.Date)
        return value.dt.convert_time_zone("UTC")

    def zoned(self, naive: pl.Expr, naive_date: bool = False) -> pl.Expr:
        zone = self.declared.zone or ("UTC" if naive_date else None)
        if zone is None:
            raise SpecError(
                f"column {self.name!r} holds times without a zone",
                hint=f"declare it: {self.name}: {{type: timestamp, zone: UTC}}",
            )
        made = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        self.check(
            naive.is_not_null() & made.is_null(),
            f"times that do not exist in the zone {zone}",
            "the clock was put forward then",
        )
        return made

    def integer_time(self) -> pl.Expr:
        scale = {"s": 1_000_000, "ms": 1_000, "us": 1}.get(self.declared.unit or "")
        if scale is None:
            raise SpecError(
                f"column {self.name!r} is stored as integers and declared a timestamp",
                hint="say what they count since 1970: unit: s, ms or us",
            )
        whole = self.x.cast(pl.Int64)
        inside = whole.is_between(_EARLIEST // scale, _LATEST // scale)
        self.check(~inside, _OUTSIDE, _OUTSIDE_HINT)
        micros = pl.when(inside).then(whole) * scale
        return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    def text_time(self) -> pl.Expr:
        """ISO 8601 texts; all with an offset, or all without and a declared zone."""
        text = self.x.str.strip_chars()
        has_offset = text.str.contains(r"T?\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)$")
        # The space between date and time and the seconds are optional; a date alone is midnight.
        full = text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00").str.replace(
            " ", "T", literal=True
        )
        full = full.str.replace(r"T(\d\d:\d\d)($|Z|[+-])", "T${1}:00${2}")
        aware = full.str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
        )
        aware = pl.when(has_offset).then(aware)
        naive = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        naive = pl.when(~has_offset).then(naive)
        self.check(
            self.x.is_not_null() & aware.is_null() & naive.is_null(),
            "text that is not an ISO 8601 time",
            "write 2013-01-31T12:30:00Z",
        )
        if self.declared.zone is None:
            self.check(
                naive.is_not_null(),
                "times without a zone",
                f"declare it: {self.name}: {{type: timestamp, zone: UTC}}; "
                "a column may not mix times with and without an offset",
            )
            return aware
        self.check(
            aware.is_not_null(),
            "times with an offset although a zone is declared",
            "a column may not mix times with and without an offset",
        )
        return self.zoned(naive).dt.convert_time_zone("UTC")
