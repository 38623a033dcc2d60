"""Windows over past rows in GoogleSQL: what the BigQuery forms of aggregations are made of.

A query answers windows in two steps. In the first, past rows and examples stand in one table by the
time at which they took effect, and a *frame function* looks at the rows of an example's window
(`AVG(x) OVER w`). In the second, the results of its frame functions stand beside each example, and
an aggregation computes on with them. What GoogleSQL has no frame function for, a median say, has
the values of the window collected into an array by the first step, which the second one unnests.

A value is null in the rows that do not count: those of examples, those that the filter refuses, and
those in which it is null or NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.sql import (
    cast,
    constant,
    exp,
    function,
    infix,
    is_null,
    literal,
    null,
)
from featurekit.types import FLOAT64, INT64, Type

__all__ = [
    "VALUE", "SqlWindow", "count_distinct", "deviations", "greatest", "most_frequent", "ordered",
    "quantile", "seconds_since", "struct", "there", "values_of",
]  # fmt: skip

VALUE = "value"
"""The name of a value of an array, and of the field that holds the value of a row."""

_EFFECT, _EVENT, _ROW = "effect", "event_time", "past"


@dataclass(frozen=True)
class SqlWindow:
    """One window over one column of values, as an aggregation writes its SQL with.

    Args:
        value: The column of values, in the first step.
        effect: When a row took effect, INT64 microseconds, in the first step.
        event: When a row's event happened, in the same form; none where that is the same time.
        keys: The columns of the key, in the first step.
        at: The time of prediction, INT64 microseconds, in the second step.
        lifetime: Whether the window has no beginning.
        frame: Puts a frame function into the first step, and returns the column in the second one
            that holds its results.
        beside: Adds a column to the past rows, before examples are among them, and returns it as a
            column of the first step.
        order_by: Columns of the first step that decide between rows of one effect and event time.
        row: The values of a row that is taken whole, as columns of the first step; none where each
            value is taken for itself.
        once: Adds a column like `beside`, by a name, which is made the first time it is asked for.
    """

    value: Any
    effect: Any
    event: Any | None
    keys: tuple[Any, ...]
    at: Any
    lifetime: bool
    frame: Callable[[Any], Any]
    beside: Callable[[Any], Any]
    order_by: tuple[Any, ...] = ()
    row: tuple[Any, ...] = ()
    once: Callable[[str, Callable[[], Any]], Any] | None = None

    def over(self, name: str, *args: Any) -> Any:
        """Return the result of a frame function over the window."""
        return self.frame(function(name, *args))

    def earliest(self) -> Any:
        """Return the value of the earliest row."""
        return self._reached(exp.FirstValue, self._decided(exp.FirstValue, "MIN"))

    def latest(self) -> Any:
        """Return the value of the latest row."""
        return self._reached(exp.LastValue, self._decided(exp.LastValue, "MAX"))

    def in_effect(self) -> Any:
        """Return the value of the latest row, null where that row's value is null.

        It stands in a struct, so that a row without a value is told from none. A row that is taken
        whole is one struct for all of its values.
        """
        times = [] if self.event is None else [self.event]
        if not self.row:
            last = self._among_tied(exp.LastValue(this=self.value), *times, self.value)
            return _field(self._reached(exp.LastValue, self.beside(struct({VALUE: last}))), VALUE)

        def latest() -> Any:
            values = struct({entry.name: entry for entry in self.row})
            by = (*times, *self.order_by, *self.row)
            return self._among_tied(exp.LastValue(this=values), *by)

        assert self.once is not None
        return _field(self._reached(exp.LastValue, self.once("row", latest)), self.value.name)

    def undecided(self) -> Any:
        """Return whether another row came as late as the one that is taken whole, and differs.

        Null where the window holds no row. The rows that are equal to the one that is taken hold
        the answer, and no others, so that the order of these does not matter.
        """
        by = [*([] if self.event is None else [self.event]), *self.order_by]
        whole = [*by, *self.row]
        count, rank = function("COUNT", exp.Star()), function("RANK")
        taken = exp.EQ(
            this=self._among_tied(count, *whole, running=True), expression=self._among_tied(count)
        )
        # How many come before those that are as late, and before those that are equal to it.
        earlier = self._among_tied(rank, *by, running=True) if by else literal(1)
        lesser = self._among_tied(rank, *whole, running=True)
        other = exp.NEQ(this=earlier, expression=lesser)
        return self._reached(exp.LastValue, self.beside(function("IF", taken, other, null())))

    def newness(self) -> Any:
        """Return whether a row is the key's earliest with its value, in the first step.

        No answer depends on a later row. BigQuery cannot tell floats apart this way.
        """
        place = exp.Window(
            this=function("ROW_NUMBER"),
            partition_by=[entry.copy() for entry in (*self.keys, self.value)],
            order=ordered(self.effect),
        )
        return self.beside(exp.and_(there(self.value), exp.EQ(this=place, expression=literal(1))))

    def collected(self) -> Any:
        """Return the values of the window as an array in no order, nulls among them."""
        return self.over("ARRAY_AGG", self.value)

    def listed(self, most: int, latest_first: bool) -> Any:
        """Return the values of the window in the order of their rows, as an array.

        Args:
            most: How many there are at most.
            latest_first: Whether the order is from the latest row back.
        """
        fields = {_EFFECT: self.effect, _EVENT: self.event, VALUE: self.value}
        fields = {name: tree for name, tree in fields.items() if tree is not None}
        rows = self.over("ARRAY_AGG", struct(fields))
        row = exp.column(_ROW, quoted=True)
        select = exp.Select(expressions=[_field(row, VALUE)])
        select.set("from_", _from_array(rows, _ROW))
        select.set("where", exp.Where(this=there(_field(row, VALUE))))
        by = [_field(row, name) for name in fields]
        return leading(select, by, most, descending=latest_first)

    def _among_tied(self, call: Any, *by: Any, running: bool = False) -> Any:
        """Return a function over all rows of a key that took effect at once.

        Args:
            call: The function.
            by: What they are ordered by.
            running: Whether each row sees those up to its own place alone.
        """
        together = [entry.copy() for entry in (*self.keys, self.effect)]
        made = exp.Window(this=call.copy(), partition_by=together)
        if by:
            made.set("order", ordered(*by))
        if by and not running:
            made.set("spec", exp.WindowSpec(
                kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="UNBOUNDED",
                end_side="FOLLOWING",
            ))  # fmt: skip
        return made

    def _decided(self, kind: Any, extreme: str) -> Any:
        """Add a column in which all rows that took effect at once have one value: the right one.

        RANGE windows are in order of nothing but the effect, so what comes first in a tie must be
        known before: by event time, then by value.
        """
        if self.event is None:
            return self.beside(self._among_tied(function(extreme, self.value)))
        call = exp.IgnoreNulls(this=kind(this=self.value.copy()))
        return self.beside(self._among_tied(call, self.event, self.value))

    def _reached(self, kind: Any, column: Any) -> Any:
        return self.frame(exp.IgnoreNulls(this=kind(this=column)))


def there(*trees: Any) -> Any:
    """Return whether none of some trees is null."""
    return exp.and_(
        *(exp.Not(this=exp.Is(this=tree.copy(), expression=null())) for tree in trees), copy=False
    )


def ordered(*by: Any, descending: bool = False) -> Any:
    """Return ORDER BY, nulls as the least values."""
    return exp.Order(expressions=[
        exp.Ordered(this=tree.copy(), desc=descending or None, nulls_first=not descending)
        for tree in by
    ])  # fmt: skip


def struct(fields: dict[str, Any]) -> Any:
    """Return a STRUCT of named fields."""
    return exp.Struct(expressions=[
        exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=tree.copy())
        for name, tree in fields.items()
    ])  # fmt: skip


def values_of(array: Any, *selected: Any) -> Any:
    """Return a SELECT from the values of an array that are there.

    Args:
        array: What `SqlWindow.collected` returned.
        selected: What to select, from the column named `VALUE`; that column by default.
    """
    select = exp.Select(expressions=list(selected) or [_value()])
    select.set("from_", _from_array(array, VALUE))
    return select.where(there(_value()), copy=False)


def leading(select: Any, by: list[Any], most: int, descending: bool) -> Any:
    """Return the first rows of a SELECT of one column as an array.

    Args:
        select: The SELECT.
        by: What it is ordered by.
        most: How many rows are taken at most.
        descending: Whether from the greatest down.
    """
    select.set("order", ordered(*by, descending=descending))
    select.set("limit", exp.Limit(expression=constant(most, INT64)))
    return function("ARRAY", select)


def greatest(array: Any, most: int) -> Any:
    """Return the greatest values of an array as an array, the greatest first."""
    return leading(values_of(array), [_value()], most, descending=True)


def most_frequent(array: Any) -> Any:
    """Return the value that an array holds most often, the greatest of several."""
    select = values_of(array).group_by(_value(), copy=False)
    select.set("order", ordered(function("COUNT", exp.Star()), _value(), descending=True))
    return _scalar(select.limit(1, copy=False))


def count_distinct(window: SqlWindow, of: Type) -> Any:
    """Return how many different values a window holds.

    One without a beginning holds as many as rows in it are the first of their value; any other
    is unnested.

    Args:
        window: The window.
        of: The type of the values.
    """
    if window.lifetime and not of.is_float:
        return window.over("COUNTIF", window.newness())
    count = exp.Count(this=exp.Distinct(expressions=[_value()]))
    return _scalar(values_of(window.collected(), count))


def seconds_since(window: SqlWindow, extreme: str) -> Any:
    """Return the seconds from a row that counts to the prediction.

    Args:
        window: The window.
        extreme: `MIN` for the earliest row, `MAX` for the latest.
    """
    effect = function("IF", is_null(window.value), null(), window.effect)
    return infix(infix(window.at, "-", window.over(extreme, effect)), "/", 1e6)


def quantile(array: Any, q: Any) -> Any:
    """Return a quantile of the values of an array, interpolated between two of them.

    Args:
        array: What `SqlWindow.collected` returned.
        q: The share of values at or below, from 0 to 1.
    """
    found = exp.Window(this=function("PERCENTILE_CONT", _value(), q))
    return _scalar(values_of(array, found).limit(1, copy=False))


def deviations(array: Any, summary: Callable[[Any], Any]) -> Any:
    """Return a summary of the distances of values from their mean, in units of the greatest.

    The least value is taken away before the mean is: so values near 1e9 keep their digits, and
    equal values are 0 apart. In units of the greatest distance no power of them overflows; where
    all values are equal that is 0 / 0, and the summary NaN.

    Args:
        array: What `SqlWindow.collected` returned.
        summary: Makes an expression of aggregate functions of a distance.
    """
    number = cast(_value(), FLOAT64)
    select = values_of(
        array, _named(exp.Sub(this=number, expression=_of_all("MIN", number)), "shifted")
    )
    shifted, distance, unit = (exp.column(name, quoted=True) for name in _DISTANCES)
    select = _select(
        select, _named(exp.Sub(this=shifted, expression=_of_all("AVG", shifted)), "distance")
    )
    most = _of_all("MAX", function("ABS", distance))
    select = _select(select, _named(function("IEEE_DIVIDE", distance, most), "unit"))
    return _scalar(_select(select, summary(unit)))


def _scalar(select: Any) -> Any:
    """Return a SELECT of one value as an expression."""
    return exp.Subquery(this=select)


_DISTANCES = ("shifted", "distance", "unit")


def _value() -> Any:
    return exp.column(VALUE, quoted=True)


def _field(row: Any, name: str) -> Any:
    return exp.Dot(this=row.copy(), expression=exp.to_identifier(name, quoted=True))


def _from_array(array: Any, name: str) -> Any:
    alias = exp.TableAlias(columns=[exp.to_identifier(name, quoted=True)])
    return exp.From(this=exp.Unnest(expressions=[array.copy()], alias=alias, offset=False))


def _named(tree: Any, name: str) -> Any:
    return exp.alias_(tree, name, quoted=True, copy=False)


def _of_all(name: str, tree: Any) -> Any:
    return exp.Window(this=function(name, tree.copy()))


def _select(source: Any, *selected: Any) -> Any:
    made = exp.Select(expressions=list(selected))
    made.set("from_", exp.From(this=exp.Subquery(this=source)))
    return made
