"""GoogleSQL expression trees: what the BigQuery implementations of operations share.

A tree is a sqlglot expression, printed later in the BigQuery dialect; text is never pasted into
SQL. sqlglot is an optional package, so `exp` imports it at its first use.

How a column stands in BigQuery: `int64` and `duration` (microseconds) are INT64, `float32` and
`float64` are FLOAT64, `string` STRING, `bool` BOOL, `timestamp` TIMESTAMP, a vector an ARRAY of
these. There is no FLOAT32 in BigQuery: a float32 is a FLOAT64 that a float32 can hold, which is
what `float32` makes of any number.

BigQuery raises where IEEE 754 goes on: on 1 / 0, LN(0), and on any result that overflows. It also
raises where integers overflow. The functions below and the operations guard all of these, so that
no row can make a query fail.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from featurekit.errors import require
from featurekit.transforms.subnormal import FLOAT32_LIMIT, SUBNORMAL_LIMIT, flushed_number
from featurekit.types import FLOAT64, INT64, Kind, Type

__all__ = [
    "CONSTANT", "INFINITY", "NAN", "all_of", "any_of", "arithmetic", "array_of", "bigquery_type",
    "bigquery_value", "case", "cast", "constant", "element", "exp", "extract", "float32",
    "function", "infix", "is_null", "later_of_two", "let", "literal", "moved", "negative", "null",
    "rounded", "safe", "unless_null", "whether_not", "whole", "wrapped",
]  # fmt: skip


class _LazySqlglot:
    """`sqlglot.expressions`, imported at its first use: importing an operation must stay light."""

    def __getattr__(self, name: str) -> Any:
        require("sqlglot", "bigquery", "BigQuery SQL")
        return getattr(importlib.import_module("sqlglot.expressions"), name)


exp: Any = _LazySqlglot()

CONSTANT = "featurekit"
"""The key of `tree.meta` under which a constant keeps `(value, type)`, see `constant`."""

INFINITY, NAN = math.inf, math.nan

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {
    Kind.BOOL: "BOOL",
    Kind.INT64: "INT64",
    Kind.FLOAT32: "FLOAT64",
    Kind.FLOAT64: "FLOAT64",
    Kind.STRING: "STRING",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.DURATION: "INT64",
}
_INFIX = {
    "+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "=": "EQ", "!=": "NEQ", "<": "LT", "<=": "LTE",
    ">": "GT", ">=": "GTE", "and": "And", "or": "Or",
}  # fmt: skip
_ATOMS = ("Boolean", "Column", "Identifier", "Literal", "Null", "Parameter")
_WRAPPERS = ("Cast", "Neg", "Paren")
_CLOSED = (
    *_ATOMS, "Anonymous", "Array", "Bracket", "Case", "Cast", "Dot", "Extract", "Paren", "Subquery",
    "TryCast",
)  # fmt: skip
"""Trees that need no parentheses beside an operator."""
_SAFE = {"+": "SAFE_ADD", "-": "SAFE_SUBTRACT", "*": "SAFE_MULTIPLY"}
_PLACEHOLDERS = itertools.count()


def bigquery_type(of: Type) -> str:
    """Return the name of the BigQuery type that holds a FeatureKit type."""
    name = _NAMES[of.kind]
    return name if of.width is None else f"ARRAY<{name}>"


def bigquery_value(value: Any, of: Type) -> Any:
    """Return a constant as BigQuery holds it: floats rounded to their type, times in microseconds.

    Args:
        value: A Python value of the type, a sequence of them for a vector; a time may be given in
            microseconds already.
        of: A type.
    """
    if of.width is not None:
        return tuple(bigquery_value(entry, Type(of.kind)) for entry in value)
    if isinstance(value, datetime):
        value -= _EPOCH
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if of.kind is Kind.FLOAT32:
        return flushed_number(value)
    return {Kind.FLOAT64: float, Kind.BOOL: bool, Kind.STRING: str}.get(of.kind, int)(value)


def literal(value: bool | int | float | str) -> Any:
    """Return a number, string or boolean that belongs to an operation's own formula."""
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, float) and not math.isfinite(value):
        return cast(exp.Literal.string(str(value)), FLOAT64)
    number = exp.Literal(this=repr(abs(value)), is_string=False)
    return exp.Neg(this=number) if math.copysign(1, value) < 0 else number


def constant(value: Any, of: Type) -> Any:
    """Return a constant of the spec, such as a parameter of an operation.

    Its `meta[CONSTANT]` holds its value, as `bigquery_value` gives it, and its type, so that it
    can be replaced by a query parameter; printed as it is, it is a literal of that type.

    Args:
        value: As for `bigquery_value`.
        of: A type.
    """
    held = bigquery_value(value, of)
    if of.width is not None:
        tree = exp.Array(expressions=[_printed(entry, of.kind) for entry in held])
    else:
        tree = _printed(held, of.kind)
    tree.meta[CONSTANT] = (held, of)
    return tree


def null() -> Any:
    """Return NULL."""
    return exp.Null()


def function(name: str, *args: Any) -> Any:
    """Return a call of a GoogleSQL function, printed exactly as it is named.

    sqlglot has classes for many functions and prints them in ways of its own, which need not mean
    the same; this call has none.

    Args:
        name: The function's name.
        args: Trees, or Python numbers, strings and booleans of the formula.
    """
    return exp.Anonymous(this=name, expressions=[_tree(arg) for arg in args])


def safe(name: str, *args: Any) -> Any:
    """Return the call `SAFE.name(...)`, which is null where the function raises."""
    return exp.Dot(this=exp.to_identifier("SAFE"), expression=function(name, *args))


def infix(x: Any, symbol: str, y: Any) -> Any:
    """Return `x symbol y` for an arithmetic, comparison or logical operator."""
    return getattr(exp, _INFIX[symbol])(this=_enclosed(x), expression=_enclosed(y))


def negative(x: Any) -> Any:
    """Return `-x`."""
    return exp.Neg(this=_enclosed(x))


def whether_not(x: Any) -> Any:
    """Return `NOT x`."""
    return exp.Not(this=_enclosed(x))


def is_null(x: Any) -> Any:
    """Return `x IS NULL`."""
    return exp.Is(this=_enclosed(x), expression=exp.Null())


def all_of(*conditions: Any) -> Any:
    """Return the conditions joined by AND."""
    return _joined("and", conditions)


def any_of(*conditions: Any) -> Any:
    """Return the conditions joined by OR."""
    return _joined("or", conditions)


def case(*branches: tuple[Any, Any], otherwise: Any = None) -> Any:
    """Return `CASE WHEN condition THEN value ... ELSE otherwise END`, null without `otherwise`."""
    ifs = [exp.If(this=_tree(condition), true=_tree(value)) for condition, value in branches]
    return exp.Case(ifs=ifs, default=None if otherwise is None else _tree(otherwise))


def cast(x: Any, to: Type | str, or_null: bool = False) -> Any:
    """Return x cast to a type; with `or_null` null where it has no value of that type."""
    name = to if isinstance(to, str) else bigquery_type(to)
    made = exp.TryCast if or_null else exp.Cast
    return made(this=_tree(x), to=exp.DataType.build(name, dialect="bigquery"))


_DAY = 24 * 3600 * 10**6
"""A day in microseconds."""


def later_of_two(local: Any, time: Any, zone: Any) -> Any:
    """Return the later of the two moments at which a clock shows a time, or the only one.

    Args:
        local: What the clock shows, a DATETIME.
        time: The first moment, a TIMESTAMP.
        zone: The clock's time zone.
    """
    # By the end of the next day the clock has been put back, if it is.
    after = safe("DATETIME", moved(time, "+", _DAY), zone)
    elapsed = function("DATETIME_DIFF", after, local, exp.Var(this="MICROSECOND"))
    return let(
        [moved(time, "+", infix(_DAY, "-", elapsed))],
        lambda later: case(
            (infix(safe("DATETIME", later, zone), "=", local), later), otherwise=time
        ),
    )


def let(values: Sequence[Any], body: Callable[..., Any]) -> Any:
    """Return `body(*values)` where each value is computed, and written, only once.

    It is a scalar subquery, `(SELECT body FROM (SELECT value AS v1))`; short values such as columns
    are put into the body as they are.

    Args:
        values: Trees, or Python values as for `function`.
        body: Makes a tree of as many trees.
    """
    trees = [_tree(value) for value in values]
    names = {place: _new_name() for place, tree in enumerate(trees) if not _is_short(tree)}
    result = body(*(
        exp.column(names[place], quoted=True) if place in names else tree
        for place, tree in enumerate(trees)
    ))  # fmt: skip
    if not names:
        return result
    bound = [exp.alias_(trees[place], name, quoted=True, copy=False)
             for place, name in names.items()]  # fmt: skip
    source = exp.Subquery(this=exp.Select(expressions=bound))
    outer = exp.Select(expressions=[result]).from_(source, copy=False)
    return exp.Subquery(this=_named(outer, names.values()))


def array_of(width: int, body: Callable[[Any], Any]) -> Any:
    """Return an array of `body(place)` for the places from 0 to width - 1."""
    name = _new_name()
    place = exp.column(name, quoted=True)
    source = exp.Unnest(
        expressions=[function("GENERATE_ARRAY", 0, width - 1)],
        alias=exp.TableAlias(columns=[exp.to_identifier(name, quoted=True)]),
    )
    query = exp.Select(expressions=[body(place)]).from_(source, copy=False)
    return exp.Array(expressions=[_named(query.order_by(place.copy(), copy=False), [name])])


def element(array: Any, place: int) -> Any:
    """Return `array[SAFE_OFFSET(place)]`: null where there is no such place."""
    return exp.Bracket(this=_tree(array), expressions=[function("SAFE_OFFSET", place)])


def extract(part: str, local: Any) -> Any:
    """Return `EXTRACT(part FROM local)`."""
    return exp.Extract(this=exp.Var(this=part), expression=_tree(local))


def unless_null(values: Sequence[Any], result: Any) -> Any:
    """Return the result, or null where any of the values is null."""
    return case((any_of(*map(is_null, values)), null()), otherwise=result)


def whole(x: Any) -> Any:
    """Return a FLOAT64 rounded to a whole number, halves to the even one.

    From 2**52 on every FLOAT64 is whole; below, adding 2**52 leaves the rounding to the addition.
    """

    def nearest(x: Any) -> Any:
        size = function("ABS", x)
        moved = infix(infix(size, "+", 2.0**52), "-", 2.0**52)
        return case(
            (all_of(infix(size, "<", 2.0**52), infix(x, "!=", 0.0)),
             infix(function("SIGN", x), "*", moved)),
            otherwise=x,
        )  # fmt: skip

    return let([x], nearest)


def arithmetic(x: Any, symbol: str, y: Any, of: Type) -> Any:
    """Return `x + y`, `x - y` or `x * y` without an error where the result overflows.

    A float64 becomes infinite, an integer wraps around at 64 bits. The result of two float32 fits
    in the FLOAT64 that it is; it remains to be rounded, see `rounded`.
    """
    if of.kind is Kind.FLOAT32:
        return infix(x, symbol, y)

    def guarded(x: Any, y: Any) -> Any:
        if of.is_float:
            beyond = infix(infix(x, "*", INFINITY), symbol, infix(y, "*", INFINITY))
        else:
            beyond = wrapped(infix(cast(x, "BIGNUMERIC"), symbol, cast(y, "BIGNUMERIC")))
        return function("COALESCE", function(_SAFE[symbol], x, y), beyond)

    return let([x, y], guarded)


def moved(time: Any, symbol: str, duration: Any) -> Any:
    """Return a TIMESTAMP plus or minus microseconds, null outside of BigQuery's years 1 to 9999."""
    micros = function(_SAFE[symbol], function("UNIX_MICROS", time), duration)
    return safe("TIMESTAMP_MICROS", micros)


def rounded(x: Any, to: Type) -> Any:
    """Round a result to the type that it is declared to be; only float32 needs that."""
    return float32(x) if to.kind is Kind.FLOAT32 else x


def float32(x: Any) -> Any:
    """Round a FLOAT64 to the nearest float32, ties to even; beyond the range it is infinite.

    What would be a subnormal float32 is 0 of the same sign: see `subnormal`.

    Adding and taking away 1.5 * 2**52 times the unit in the last place of the result leaves the
    rounding to the addition. That unit follows from the power of two at or below |x|. Zeros keep
    their sign, NaN and null stay.

    Source: S. M. Rump, T. Ogita, S. Oishi, "Accurate Floating-Point Summation, Part I", SIAM J.
    Sci. Comput. 31(1), 2008, for the power of two in four operations ("unit in the first place").
    """

    def rounded(x: Any) -> Any:
        size = function("ABS", x)
        normal = function("LEAST", function("GREATEST", size, 2.0**-126), 2.0**128)
        scaled = infix(normal, "*", 2.0**52 + 1)
        power = infix(scaled, "-", infix(scaled, "*", 1 - 2.0**-53))
        nearest = let(
            [infix(power, "*", 1.5 * 2.0**29)],
            lambda far: infix(infix(size, "+", far), "-", far),
        )
        return case(
            (infix(size, "<", SUBNORMAL_LIMIT), infix(x, "*", 0.0)),
            (infix(size, ">=", FLOAT32_LIMIT), infix(x, "*", INFINITY)),
            otherwise=infix(function("SIGN", x), "*", nearest),
        )

    return let([x], rounded)


def wrapped(exact: Any) -> Any:
    """Return a whole BIGNUMERIC of up to 38 digits as the INT64 that it wraps around to."""

    def placed(rest: Any) -> Any:
        turn, half = _big(2**64), _big(2**63)
        return case(
            (infix(rest, ">=", half), infix(rest, "-", turn)),
            (infix(rest, "<", negative(half)), infix(rest, "+", turn)),
            otherwise=rest,
        )

    return cast(let([function("MOD", exact, _big(2**64))], placed), INT64)


def _big(value: int) -> Any:
    return cast(str(value), "BIGNUMERIC")


def _printed(held: Any, kind: Kind) -> Any:
    return function("TIMESTAMP_MICROS", held) if kind is Kind.TIMESTAMP else literal(held)


def _joined(symbol: str, conditions: Sequence[Any]) -> Any:
    result = conditions[0]
    for condition in conditions[1:]:
        result = infix(result, symbol, condition)
    return result


def _tree(value: Any) -> Any:
    """Return a tree that may be put into another: a Python value as literal, a used one copied."""
    if isinstance(value, (bool, int, float, str)):
        return literal(value)
    return value if value.parent is None else value.copy()


def _enclosed(value: Any) -> Any:
    tree = _tree(value)
    return tree if isinstance(tree, _classes(_CLOSED)) else exp.Paren(this=tree)


def _is_short(tree: Any) -> bool:
    """Whether a tree costs no more than its name: an atom, or one that is cast or negated."""
    while isinstance(tree, _classes(_WRAPPERS)):
        tree = tree.this
    return isinstance(tree, _classes(_ATOMS))


def _new_name() -> str:
    """Return a name that stands for one that is chosen later, see `_named`."""
    return f"\0{next(_PLACEHOLDERS)}"


def _named(tree: Any, names: Iterable[str]) -> Any:
    """Give names their final form: `v1`, `v2`, ... but none that the tree has already.

    Inner subqueries are named before outer ones, and the tree holds all that is used inside, so
    that no name hides another one.
    """
    identifiers = list(tree.find_all(exp.Identifier))
    taken = {entry.this.lower() for entry in identifiers}
    free = (name for name in map("v{}".format, itertools.count(1)) if name not in taken)
    chosen = dict(zip(names, free, strict=False))
    for entry in identifiers:
        entry.set("this", chosen.get(entry.this, entry.this))
    return tree


def _classes(names: Sequence[str]) -> Any:
    return tuple(getattr(exp, name) for name in names)
