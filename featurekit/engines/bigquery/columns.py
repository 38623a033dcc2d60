"""Columns of BigQuery tables: their names, and how what is stored is read as a type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from featurekit.errors import SpecError, closest
from featurekit.graph import AggregateNode
from featurekit.spec.objects import UNDECLARED, Column, Source
from featurekit.time_columns import SAME
from featurekit.transforms.calendar_parts import transitions
from featurekit.transforms.sql import (
    all_of,
    any_of,
    case,
    cast,
    exp,
    float32,
    function,
    infix,
    is_null,
    later_of_two,
    let,
    null,
)
from featurekit.types import (
    BOOL,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
)

__all__ = [
    "ROW_ID", "STEP", "Names", "column", "column_names", "slug", "standard_type", "stored_column",
]  # fmt: skip

ROW_ID = "row_id"
"""The column that ties a row of a result to its example."""

STEP = "step_"
"""What names of a query's steps begin with: where a column and what it is read from have one name,
GoogleSQL takes it for all columns together."""

_LONGEST = 200
_OLD_NAMES = {
    "FLOAT": "FLOAT64", "INTEGER": "INT64", "INT": "INT64", "BIGINT": "INT64", "BOOLEAN": "BOOL",
    "DECIMAL": "NUMERIC", "BIGDECIMAL": "BIGNUMERIC",
}  # fmt: skip
_NUMBERS = frozenset({"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC"})
_EXACT = 2**53
"""Below it FLOAT64 holds every integer."""
_INT64 = str(2**63)
_TICKS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Names:
    """Column names that BigQuery allows and tells apart, given out once each.

    Args:
        taken: Names that are in use.

    Example:
        >>> names = Names("row_id")
        >>> names.new("tail.delay_mean_7d"), names.new("tail__Delay_mean_7d"), names.new("7d")
        ('tail__delay_mean_7d', 'tail__Delay_mean_7d_2', 'c7d')
    """

    def __init__(self, *taken: str) -> None:
        self._taken = {name.lower() for name in taken}

    def new(self, text: str) -> str:
        """Return a name that nobody has, as near to a text as it can be."""
        # Names that begin with an underscore may be BigQuery's own, others are those of steps.
        plain = re.sub(r"[^A-Za-z0-9_]", "_", text.replace(".", "__"))[:_LONGEST]
        if not re.match(rf"(?!{STEP})[a-z]", plain, re.IGNORECASE):
            plain = f"c{plain}"
        found, count = plain, 1
        while found.lower() in self._taken:
            count += 1
            found = f"{plain}_{count}"
        self._taken.add(found.lower())
        return found


def column_names(
    nodes: Iterable[AggregateNode], keys: Iterable[str] = ()
) -> tuple[dict[AggregateNode, str], dict[str, str]]:
    """Return what a plan's aggregates, and the keys beside them, are called in BigQuery.

    The keys are named first, so that another aggregate does not rename them.

    Args:
        nodes: The aggregates of a plan, all of them.
        keys: The keys that are carried along.
    """
    names = Names(ROW_ID)
    carried = {key: names.new(key) for key in keys}
    return {node: names.new(node.text) for node in nodes}, carried


def slug(text: str) -> str:
    """Return a text as a part of a table's or a file's name.

    Example:
        >>> slug("windows of flights by origin, dest (2)")
        'windows_of_flights_by_origin_dest_2'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", text)[:_LONGEST].strip("_")


def column(name: str, table: str | None = None) -> Any:
    """Return a column by its name, of a table where that must be said."""
    return exp.column(name, table=table, quoted=True)


def standard_type(name: str) -> str:
    """Return what GoogleSQL calls a type.

    Example:
        >>> standard_type("FLOAT")
        'FLOAT64'
    """
    return _OLD_NAMES.get(name.upper(), name.upper())


def stored_column(
    name: str,
    of: Type,
    owner: str,
    source: Source,
    stored: Mapping[str, str] | None,
    whole: bool = False,
) -> Any:
    """Return a tree that reads a column of a table as its type, NaN as null.

    Args:
        name: The column's name in the spec.
        of: The type to read it as.
        owner: The source's name.
        source: Its declaration.
        stored: The BigQuery type of each column of the table; a column is stored as its type where
            this is not known (a duration as INT64 microseconds).
        whole: Whether integers may be stored as numbers of another kind; one that is none ends the
            query.

    Raises:
        SpecError: The table has no such column, or it cannot be read as the type.
    """
    declared = source.columns.get(name, UNDECLARED)
    kept = declared.column or name
    x = column(kept)
    held = None
    if stored is not None:
        found = {entry.lower(): dtype for entry, dtype in stored.items()}
        if kept.lower() not in found:
            raise SpecError(
                f"the table has no column {kept!r}",
                where=f"source {owner!r}",
                hint=closest(kept, stored),
            )
        held = standard_type(found[kept.lower()])
    if of in (FLOAT32, FLOAT64):
        read = _float(x, of, held)
    elif of == TIMESTAMP:
        read = _timestamp(x, held, declared, f"column {name!r} of source {owner!r}")
    else:
        read = _other(x, of, held)
        if read is None and whole and of == INT64 and held in _NUMBERS:
            read = _whole(x, str(held), f"column {name!r} of source {owner!r}")
    if read is not None:
        return read
    if held == "DATETIME":
        hint = f"declare its zone: {name}: {{type: timestamp, zone: UTC}}"
    elif of == TIMESTAMP and held == "INT64":
        hint = "say what they count since 1970: unit: s, ms or us"
    else:
        hint = "declare another type for it, or read a view that casts it"
    raise SpecError(
        f"column {name!r} is stored as {held} and cannot be read as {of}",
        where=f"source {owner!r}",
        hint=hint,
    )


def _float(x: Any, of: Type, held: str | None) -> Any:
    if held == "BOOL":
        return cast(cast(x, INT64), FLOAT64)
    if held is not None and held not in _NUMBERS:
        return None
    read = x if held in (None, "FLOAT64") else cast(x, FLOAT64)
    if held in (None, "FLOAT64"):
        read = function("IF", function("IS_NAN", x), null(), x)
    return float32(read) if of == FLOAT32 else read


def _timestamp(x: Any, held: str | None, declared: Column, what: str) -> Any:
    zone, unit = declared.zone, declared.unit
    if held in (None, "TIMESTAMP"):
        return x
    if held == "DATE":
        zone = zone or "UTC"
        x, held = x if _steady(zone) else cast(x, "DATETIME"), "DATETIME"
    if held == "DATETIME" and zone is not None:
        return _placed(x, zone, declared, what)
    if held in _NUMBERS and unit in _TICKS:
        ticks = x if unit == "us" else infix(x, "*", _TICKS[str(unit)])
        if held != "INT64":
            ticks = cast(function("ROUND", ticks), INT64)
        if held == "FLOAT64":
            ticks = function("IF", function("IS_NAN", x), null(), ticks)
        return function("TIMESTAMP_MICROS", ticks)
    return None


def _steady(zone: str) -> bool:
    """Whether a zone's clock has not been moved since 1970."""
    return zone in SAME or not (transitions(zone).instants > 0).any()


def _placed(x: Any, zone: str, declared: Column, what: str) -> Any:
    """Return what a clock showed as a moment; what the spec does not allow ends the query."""
    if _steady(zone):
        return function("TIMESTAMP", x, zone)

    def refused(said: str, hint: str) -> Any:
        shown = function("CONCAT", f"{what}: ", cast(x, STRING), f" {said} in {zone}: {hint}")
        return function("ERROR", shown)

    def which(time: Any) -> Any:
        if declared.ambiguous == "earliest":
            return time
        later = later_of_two(x, time, zone)
        if declared.ambiguous == "latest":
            return later
        twice = refused("is shown twice by the clock", "declare ambiguous: earliest, or latest")
        return case((infix(later, "=", time), time), otherwise=twice)

    def moment(time: Any) -> Any:
        skipped = (
            null() if declared.nonexistent == "missing"
            else refused("does not exist", "nonexistent: missing takes it for missing")
        )  # fmt: skip
        there = infix(function("DATETIME", time, zone), "=", x)
        return case((is_null(x), null()), (there, which(time)), otherwise=skipped)

    return let([function("TIMESTAMP", x, zone)], moment)


def _whole(x: Any, held: str, what: str) -> Any:
    """Return integers that are stored as another kind of number; others end the query."""
    is_float = held == "FLOAT64"
    limit = _EXACT if is_float else cast(_INT64, held)
    inside = all_of(infix(x, "=", function("TRUNC", x)), infix(function("ABS", x), "<", limit))
    message = function(
        "CONCAT", f"{what} is a key or a word, and holds ", cast(x, STRING),
        ": an integer or a text is needed; store it as INT64, or declare it string",
    )  # fmt: skip
    missing = exp.Is(this=x, expression=null())
    return case(
        (any_of(missing, function("IS_NAN", x)) if is_float else missing, null()),
        (inside, cast(x, INT64)),
        otherwise=function("ERROR", message),
    )


def _other(x: Any, of: Type, held: str | None) -> Any:
    own = {BOOL: "BOOL", STRING: "STRING"}.get(of, "INT64")
    if held in (None, own):
        return x
    if of == STRING and held in ("INT64", "BOOL", "NUMERIC", "BIGNUMERIC"):
        return cast(x, STRING)
    if of == INT64 and held == "BOOL":
        return cast(x, INT64)
    if of == BOOL and held == "INT64":
        return case((infix(x, "=", 1), True), (infix(x, "=", 0), False))
    return None
