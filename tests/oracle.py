"""What aggregates are, as loops over rows: slow, and short enough to be checked by reading.

A row is a dictionary; times are integers in microseconds. `None` and NaN are missing. Nothing here
is shared with the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Row = Mapping[str, Any]
Column = Callable[[Row], Any]
"""Computes something of a row."""


@dataclass(frozen=True)
class Seen:
    """A row that stands in a window: its value, and how long before the prediction it counted."""

    value: Any
    age: int


def missing(value: Any) -> bool:
    """Whether a value is null or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def latest(times: Sequence[int | None]) -> int | None:
    """Return when a row takes effect: the latest of its times, or never if one is missing."""
    return None if None in times else max(time for time in times if time is not None)


def same_key(row: Row, example: Row, keys: Mapping[str, str]) -> bool:
    """Whether a row is about the example: all keys are there and equal, `{example's: row's}`."""
    for mine, other in keys.items():
        if example[mine] is None or row[other] is None or example[mine] != row[other]:
            return False
    return True


def seen(
    rows: Sequence[Row],
    example: Row,
    *,
    keys: Mapping[str, str],
    at: Column,
    effect: Column,
    event_time: Column,
    value: Column | None,
    where: Column | None,
    start: int | None,
    end: int,
    skips_null: bool = True,
) -> list[Seen]:
    """Return the rows that a window of an example holds, in order.

    Args:
        rows: All rows of the source.
        example: The example.
        keys: The row's column for each key of the example; none if every row is about it.
        at: The example's time of prediction.
        effect: When a row takes effect.
        event_time: When a row's event happened.
        value: What is summarised; without it rows are.
        where: Only rows for which this is true are.
        start: How long before the prediction the window begins; `None` if it never did.
        end: How long before the prediction it ends.
        skips_null: Whether rows without a value are left out.
    """
    t, found = at(example), []
    for row in rows:
        if t is None or not same_key(row, example, keys):
            continue
        if where is not None and where(row) is not True:
            continue
        took = effect(row)
        if took is None or (start is not None and took < t - start) or took >= t - end:
            continue
        entry = None if value is None else value(row)
        if missing(entry):
            if value is not None and skips_null:
                continue
            entry = None
        order = (took, event_time(row), entry is not None, entry)
        found.append((order, Seen(entry, t - took)))
    found.sort(key=lambda entry: entry[0])
    return [entry for _, entry in found]


@dataclass(frozen=True)
class Taken:
    """The row that a lookup takes.

    Args:
        values: All its values.
        undecided: Whether another row came as late, and has other values.
    """

    values: tuple[Any, ...]
    undecided: bool


def taken(
    rows: Sequence[Row],
    example: Row,
    *,
    keys: Mapping[str, str],
    at: Column,
    effect: Column,
    event_time: Column,
    order_by: Sequence[Column],
    values: Sequence[Column],
) -> Taken | None:
    """Return the whole row that was in effect, if there is one: one pass, row by row.

    Args:
        rows: All rows of the source.
        example: The example.
        keys: The row's column for each key of the example.
        at: The example's time of prediction.
        effect: When a row takes effect.
        event_time: When a row's event happened.
        order_by: What decides between rows of one effect and event time, the greatest first.
        values: What is looked up; decides where nothing else does.
    """
    best: tuple[Any, Any] | None = None
    found: Taken | None = None
    for row in rows:
        t, took = at(example), effect(row)
        if t is None or took is None or took >= t or not same_key(row, example, keys):
            continue
        late = (took, event_time(row), [sortable(column(row)) for column in order_by])
        whole = tuple(None if missing(column(row)) else column(row) for column in values)
        rank = [sortable(value) for value in whole]
        if best is None or late > best[0]:
            best, found = (late, rank), Taken(whole, False)
        elif late == best[0] and rank != best[1]:
            assert found is not None
            if rank > best[1]:
                best, found = (late, rank), Taken(whole, True)
            else:
                found = Taken(found.values, True)
    return found


def sortable(value: Any) -> tuple[bool, Any]:
    """Return a value that sorts, a missing one before all."""
    return (False, 0) if missing(value) else (True, value)


def count(rows: list[Seen]) -> int:
    return len(rows)


def count_distinct(rows: list[Seen]) -> int:
    return len({row.value for row in rows})


def first(rows: list[Seen]) -> Any:
    return rows[0].value if rows else None


def last(rows: list[Seen]) -> Any:
    return rows[-1].value if rows else None


def first_k(rows: list[Seen], k: int) -> Any:
    return padded([row.value for row in rows[:k]], k)


def last_k(rows: list[Seen], k: int) -> Any:
    return padded([row.value for row in reversed(rows[-k:])], k)


def top_k(rows: list[Seen], k: int) -> Any:
    return padded(sorted((row.value for row in rows), reverse=True)[:k], k)


def padded(values: list[Any], k: int) -> Any:
    return values + [None] * (k - len(values)) if values else None


def least(rows: list[Seen]) -> Any:
    return min((row.value for row in rows), default=None)


def greatest(rows: list[Seen]) -> Any:
    return max((row.value for row in rows), default=None)


def every(rows: list[Seen]) -> Any:
    return all(row.value for row in rows) if rows else None


def some(rows: list[Seen]) -> Any:
    return any(row.value for row in rows) if rows else None


def most_frequent(rows: list[Seen]) -> Any:
    values = [row.value for row in rows]
    return max(values, key=lambda value: (values.count(value), value), default=None)


def time_since_first(rows: list[Seen]) -> Any:
    return max(row.age for row in rows) / 1_000_000 if rows else None


def time_since_last(rows: list[Seen]) -> Any:
    return min(row.age for row in rows) / 1_000_000 if rows else None


def total(rows: list[Seen]) -> Any:
    values = [row.value for row in rows]
    if not values:
        return None
    if isinstance(values[0], int):
        return (sum(values) + 2**63) % 2**64 - 2**63  # 64 bits with a sign.
    return float(exact_sum(values)) if finite(values) else sum(values)


def mean(rows: list[Seen]) -> Any:
    values = [row.value for row in rows]
    if not values:
        return None
    return float(exact_sum(values) / len(values)) if finite(values) else sum(values)


def quantile(rows: list[Seen], q: float) -> Any:
    values = sorted(row.value for row in rows)
    if not values:
        return None
    rank = (len(values) - 1) * q
    low, high = values[math.floor(rank)], values[math.ceil(rank)]
    if low == high:
        return float(low)
    share = Fraction(rank) - math.floor(rank)
    if finite([low, high]):
        return float(Fraction(low) * (1 - share) + Fraction(high) * share)
    return low * float(1 - share) + high * float(share)


def median(rows: list[Seen]) -> Any:
    return quantile(rows, 0.5)


def variance(rows: list[Seen]) -> Any:
    return float(moment(rows, 2)) if usable(rows) else nothing(rows)


def stddev(rows: list[Seen]) -> Any:
    return math.sqrt(moment(rows, 2)) if usable(rows) else nothing(rows)


def skewness(rows: list[Seen]) -> Any:
    if not usable(rows) or moment(rows, 2) == 0:
        return nothing(rows)
    return float(moment(rows, 3)) / float(moment(rows, 2)) ** 1.5


def kurtosis(rows: list[Seen]) -> Any:
    if not usable(rows) or moment(rows, 2) == 0:
        return nothing(rows)
    return float(moment(rows, 4) / moment(rows, 2) ** 2) - 3


def moment(rows: list[Seen], power: int) -> Fraction:
    """Return the mean power of the values' distances from their mean."""
    values = [Fraction(row.value) for row in rows]
    middle = sum(values, Fraction(0)) / len(values)
    return sum(((value - middle) ** power for value in values), Fraction(0)) / len(values)


def usable(rows: list[Seen]) -> bool:
    return bool(rows) and finite([row.value for row in rows])


def nothing(rows: list[Seen]) -> Any:
    """Return null for no rows, else NaN: of infinite values, or of a formula that divides by 0."""
    return math.nan if rows else None


def finite(values: list[Any]) -> bool:
    return all(math.isfinite(value) for value in values)


def exact_sum(values: list[Any]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0))


SUMMARIES: Mapping[str, Callable[..., Any]] = {
    "all": every, "any": some, "approx_count_distinct": count_distinct, "count": count,
    "count_distinct": count_distinct, "first": first, "first_k": first_k, "kurtosis": kurtosis,
    "last": last, "last_k": last_k, "max": greatest, "mean": mean, "median": median, "min": least,
    "most_frequent": most_frequent, "quantile": quantile, "skewness": skewness, "stddev": stddev,
    "sum": total, "time_since_first": time_since_first, "time_since_last": time_since_last,
    "top_k": top_k, "variance": variance,
}  # fmt: skip
"""What each aggregate makes of the rows in a window."""


def expected(
    function: str, rows: Sequence[Row], examples: Sequence[Row], *parameters: Any, **window: Any
) -> list[Any]:
    """Return what an aggregate is for each example.

    Args:
        function: The aggregate's name.
        rows: All rows of the source.
        examples: The examples.
        parameters: The aggregate's own, such as k.
        window: The arguments of `seen`.
    """
    return [SUMMARIES[function](seen(rows, row, **window), *parameters) for row in examples]
