"""Typed columns: how what is stored becomes what the spec says it is.

Every value that the data holds but the spec does not allow is found here, by checks that run in
the same pass as the first statistics: nothing is silently turned into a missing value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from featurekit.checks import FAIL, NULL, Check, ColumnReader
from featurekit.errors import DataError, SpecError, closest
from featurekit.number_text import NumberText
from featurekit.semantics import SEMANTICS
from featurekit.sources import Table
from featurekit.spec.objects import UNDECLARED, Column, Source
from featurekit.table import FILE
from featurekit.time_columns import read_time
from featurekit.transforms.base import polars_dtype
from featurekit.transforms.subnormal import FLOAT32_LIMIT, SUBNORMAL_LIMIT, flushed
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

__all__ = ["Check", "float32_losses", "lost_in_float32", "refuse_unreadable", "typed_columns"]

_EXACT = 2**53
"""Below it float64 holds every integer."""


def typed_columns(
    table: Table,
    source: Source,
    wanted: Mapping[str, Type],
    smallest: bool = False,
    semantics: int = SEMANTICS,
) -> tuple[list[pl.Expr], list[Check]]:
    """Return expressions that read columns as their types, and what must hold for that.

    Args:
        table: The opened source.
        source: Its declaration.
        wanted: The columns to read, with their types.
        smallest: Whether integers may be the smallest there is.
        semantics: By which version of `featurekit.semantics`.

    Returns:
        One expression per column, named like it, over the raw columns of the table; and checks
        over the raw columns. NaN in a float column becomes null, and a subnormal float32 0.

    Raises:
        SpecErrors: A stored type cannot be read as the wanted one.
    """
    columns: list[pl.Expr] = []
    checks: list[Check] = []
    for name, of in wanted.items():
        declared = source.columns.get(name, UNDECLARED)
        try:
            reader = _reader(table, declared, name)
            value = reader.read(of)
            if of == INT64 and not smallest:
                reader.refuse_smallest(value)
            value = value if semantics == 1 else flushed(value, of)
        except SpecError as error:
            where = f"source {table.name!r}"
            raise SpecError(error.message, where=where, hint=error.hint) from None
        found = list(reader.checks)
        if not declared.nullable:
            found.append(
                Check(
                    name,
                    value.is_null(),
                    pl.lit(None, dtype=pl.String),
                    "missing values, although it is declared nullable: false,",
                    "drop the rows, or declare nullable: true",
                )
            )
        action = declared.on_violation or FAIL
        if action != FAIL:
            found = [
                replace(check, action=action) if check.action == FAIL else check for check in found
            ]
        if action == NULL:
            wrong = [check.bad.fill_null(False) for check in found if check.action == NULL]
            value = pl.when(~pl.any_horizontal(wrong)).then(value) if wrong else value
        columns.append(value.alias(name))
        checks.extend(found)
    return columns, checks


def float32_losses(
    table: Table, source: Source, wanted: Mapping[str, Type]
) -> dict[str, tuple[pl.Expr, pl.Expr]]:
    """Return flags of the rows whose numbers float32 cannot hold, by column.

    Args:
        table: The opened source.
        source: Its declaration.
        wanted: The columns that are read, with their types.

    Returns:
        For each column that is read as float32 and may hold such numbers: whether one is finite and
        beyond float32, and whether it is not 0 and becomes 0.
    """
    found = {}
    for name, of in wanted.items():
        dtype = table.schema.get(table.stored(name))
        if of == FLOAT32 and not (dtype is None or dtype.is_integer() or dtype == pl.Boolean):
            reader = _reader(table, source.columns.get(name, UNDECLARED), name)
            found[name] = lost_in_float32(reader.read(FLOAT64))
    return found


def lost_in_float32(x: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return whether numbers are finite and beyond float32, and whether they become 0 in it."""
    size = x.abs()
    return size.is_finite() & (size >= FLOAT32_LIMIT), (size > 0) & (size < SUBNORMAL_LIMIT)


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
    _reader(table, source.columns.get(name, UNDECLARED), name).read(of)


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
    group = [table.stored(column) for column in declared.order_within or ()]
    for column in group:
        if column not in table.schema:
            raise SpecError(
                f"column {name!r}: order_within: the data has no column {column!r}",
                hint=closest(column, table.schema),
            )
    if declared.ambiguous == "in_order" and FILE in table.schema:
        group.append(FILE)
    return _Reader(name, pl.col(stored), table.schema[stored], declared, group, table.numbers)


class _Reader(ColumnReader):
    """Reads one stored column as a type, collecting what must hold."""

    def __init__(
        self, name: str, x: pl.Expr, dtype: Any, declared: Column, group: Sequence[str],
        numbers: NumberText,
    ) -> None:  # fmt: skip
        super().__init__(name, x, dtype, declared, group)
        self.numbers = numbers

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
            return read_time(self)
        if of == DURATION and self.dtype == pl.Duration:
            return self.x.cast(polars_dtype(of))
        raise self.refused(of)

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
