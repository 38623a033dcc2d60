"""Expressions: what a spec writes in Python syntax and what the operations as callables build.

A call is bound to its operation at once, so that a wrong name, parameter or range is an error with
a place, and so that `zscore(x)` in YAML and `fk.zscore("x")` in Python are the same object.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from featurekit.arguments import safe_repr
from featurekit.errors import SpecError, closest
from featurekit.transforms.base import AggregateOperation, Operation
from featurekit.transforms.catalogue import operations
from featurekit.types import BOOL, DURATION, FLOAT32, INT64, STRING, Type

__all__ = [
    "FILTER", "Attribute", "Call", "Expression", "ExpressionLike", "Literal", "Name", "apply",
    "bind", "call", "col", "expression", "literal", "parse", "shortened",
]  # fmt: skip

MAX_DEPTH = 100
MAX_SIZE = 5_000

FILTER = "where"
"""The keyword that every aggregate takes beside its own: a row expression that is true or not."""

_INT64 = range(-(2**63), 2**63)


class Expression:
    """The root of expressions: immutable, hashable, compared by structure.

    Arithmetic, ordering comparisons and `&`, `|`, `~` build larger expressions; `==` compares two
    expressions, so equality of values is the operation `equal`.
    """

    depth: int = 0
    """How deep it is nested."""
    size: int = 1
    """How many names, constants and calls it is made of; what is used twice counts twice."""

    @cached_property
    def text(self) -> str:
        """The expression in the spec's language; parsing it gives an equal expression."""
        from featurekit.spec.syntax import write

        return write(self)

    @property
    def children(self) -> tuple[Expression, ...]:
        """The expressions that this one is directly made of."""
        return ()

    def walk(self) -> Iterator[Expression]:
        """Yield this expression and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def _identity(self) -> tuple[Any, ...]:
        raise TypeError(f"{type(self).__name__} does not say what makes it equal")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (bool, int, float, str)):
            raise TypeError(
                "== tells whether two expressions are the same; "
                "equal(x, y) compares their values, literal(value) makes a constant"
            )
        if not isinstance(other, Expression):
            return NotImplemented
        return type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.text}>"

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value; use &, | and ~ instead of and, or, not")

    def __add__(self, other: ExpressionLike) -> Expression:
        return _operator("add", self, other)

    def __radd__(self, other: ExpressionLike) -> Expression:
        return _operator("add", other, self)

    def __sub__(self, other: ExpressionLike) -> Expression:
        return _operator("subtract", self, other)

    def __rsub__(self, other: ExpressionLike) -> Expression:
        return _operator("subtract", other, self)

    def __mul__(self, other: ExpressionLike) -> Expression:
        return _operator("multiply", self, other)

    def __rmul__(self, other: ExpressionLike) -> Expression:
        return _operator("multiply", other, self)

    def __truediv__(self, other: ExpressionLike) -> Expression:
        return _operator("divide", self, other)

    def __rtruediv__(self, other: ExpressionLike) -> Expression:
        return _operator("divide", other, self)

    def __floordiv__(self, other: ExpressionLike) -> Expression:
        return _operator("floor_divide", self, other)

    def __rfloordiv__(self, other: ExpressionLike) -> Expression:
        return _operator("floor_divide", other, self)

    def __mod__(self, other: ExpressionLike) -> Expression:
        return _operator("modulo", self, other)

    def __rmod__(self, other: ExpressionLike) -> Expression:
        return _operator("modulo", other, self)

    def __pow__(self, other: ExpressionLike) -> Expression:
        return _operator("power", self, other)

    def __rpow__(self, other: ExpressionLike) -> Expression:
        return _operator("power", other, self)

    def __neg__(self) -> Expression:
        return _operator("negate", self)

    def __lt__(self, other: ExpressionLike) -> Expression:
        return _operator("less", self, other)

    def __le__(self, other: ExpressionLike) -> Expression:
        return _operator("less_equal", self, other)

    def __gt__(self, other: ExpressionLike) -> Expression:
        return _operator("greater", self, other)

    def __ge__(self, other: ExpressionLike) -> Expression:
        return _operator("greater_equal", self, other)

    def __and__(self, other: ExpressionLike) -> Expression:
        return _operator("logical_and", self, other)

    def __rand__(self, other: ExpressionLike) -> Expression:
        return _operator("logical_and", other, self)

    def __or__(self, other: ExpressionLike) -> Expression:
        return _operator("logical_or", self, other)

    def __ror__(self, other: ExpressionLike) -> Expression:
        return _operator("logical_or", other, self)

    def __invert__(self) -> Expression:
        return _operator("logical_not", self)


ExpressionLike = Expression | str | int | float | bool


@dataclass(frozen=True, repr=False, eq=False)
class Name(Expression):
    """A column of the source, or another feature."""

    name: str

    def _identity(self) -> tuple[Any, ...]:
        return (self.name,)


@dataclass(frozen=True, repr=False, eq=False)
class Attribute(Expression):
    """A feature of an aggregation over one window, such as `tail.delay_mean_7d`."""

    aggregation: str
    name: str

    def _identity(self) -> tuple[Any, ...]:
        return (self.aggregation, self.name)


@dataclass(frozen=True, repr=False, eq=False)
class Literal(Expression):
    """A constant with its type; a duration is held in microseconds."""

    value: bool | int | float | str
    type: Type

    def _identity(self) -> tuple[Any, ...]:
        return (repr(self.value), self.type)  # 0.0 == -0.0 and 1 == True, and yet they differ.


@dataclass(frozen=True, repr=False, eq=False)
class Call(Expression):
    """An operation applied to inputs; an aggregate may say which rows it looks at."""

    operation: Operation
    inputs: tuple[Expression, ...]
    where: Expression | None = None

    def __post_init__(self) -> None:
        depth = 1 + max((entry.depth for entry in self.children), default=0)
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "size", 1 + sum(entry.size for entry in self.children))

    @property
    def children(self) -> tuple[Expression, ...]:
        """Its inputs, and its filter."""
        return self.inputs if self.where is None else (*self.inputs, self.where)

    def _identity(self) -> tuple[Any, ...]:
        return (repr(self.operation), self.inputs, self.where)


def col(name: str) -> Name:
    """Return the column (or feature) of that name, whatever characters it is made of."""
    if not isinstance(name, str) or not name:
        raise SpecError(f"col needs a column name, got {safe_repr(name)}")
    return Name(name)


def literal(value: bool | int | float | str) -> Literal:
    """Return a constant; needed for strings only, since a plain string is read as an expression.

    Raises:
        SpecError: The value is not a boolean, a 64-bit integer, a float or a string.
    """
    plain = _constant(value)
    if isinstance(plain, bool):
        return Literal(plain, BOOL)
    if isinstance(plain, int):
        if plain not in _INT64:
            raise SpecError(f"an integer has 64 bits, and {shortened(str(plain))} needs more")
        return Literal(plain, INT64)
    if isinstance(plain, float):
        return Literal(plain, FLOAT32)
    if isinstance(plain, str):
        return Literal(plain, STRING)
    raise SpecError(
        f"a constant is a number, a string or a boolean, got {shortened(safe_repr(value))}"
    )


def expression(value: ExpressionLike) -> Expression:
    """Return an expression as it is, text parsed, and a number or boolean as a constant."""
    if isinstance(value, Expression):
        return value
    return parse(value) if isinstance(value, str) else literal(value)


def parse(text: str, known: Mapping[str, type[Operation]] | None = None) -> Expression:
    """Return the expression that a text writes.

    Args:
        text: Python expression syntax; see `featurekit.spec.syntax`.
        known: The operations that may be called; the row and full-pass catalogue by default.

    Raises:
        SpecError: The text is not an expression of the language; the message names the part.
    """
    from featurekit.spec.syntax import read

    return read(text, operations() if known is None else known)


def call(operation: type[Operation], args: Sequence[Any], keywords: Mapping[str, Any]) -> Call:
    """Bind a call from Python: strings given as inputs are parsed as expressions.

    Raises:
        SpecError: An input is missing, a parameter is unknown, or its value is refused.
    """
    return bind(operation, args, keywords, expression, _constant)


def bind(
    operation: type[Operation],
    args: Sequence[Any],
    keywords: Mapping[str, Any],
    read_input: Callable[[Any], Expression],
    read_parameter: Callable[[Any], Any],
) -> Call:
    """Sort arguments into inputs and parameters, and build the call.

    Args:
        operation: The operation that is called.
        args: The arguments by position: inputs, then parameters (a variadic operation takes its
            parameters by name only).
        keywords: The arguments by name.
        read_input: Makes an expression of an argument.
        read_parameter: Makes a constant of an argument.

    Raises:
        SpecError: The arguments do not fit the operation.
    """
    name, usage = operation.name(), f"the call is {operation.signature()}"
    keywords = dict(keywords)
    where = keywords.pop(FILTER, None) if issubclass(operation, AggregateOperation) else None
    inputs = [] if operation.variadic else [entry.name for entry in operation.inputs]
    parameters = [entry.name for entry in fields(operation)]
    slots = [*inputs, *parameters]
    if not operation.variadic and len(args) > len(slots):
        arguments = "1 argument" if len(slots) == 1 else f"{len(slots)} arguments"
        raise SpecError(f"{name} takes {arguments}, got {len(args)}", hint=usage)
    given = {} if operation.variadic else dict(zip(slots, args, strict=False))
    for slot, argument in keywords.items():
        if slot in given:
            raise SpecError(f"{name} got {slot!r} twice", hint=usage)
        if slot not in slots:
            meant = closest(slot, slots)
            hint = f"{meant} T{usage[1:]}" if meant.startswith("did you mean") else usage
            raise SpecError(f"{name} has no parameter {slot!r}", hint=hint)
        given[slot] = argument
    for slot in inputs[operation.fewest_inputs() :]:
        if slot in given and given[slot] is None:
            del given[slot]
    if operation.variadic and len(args) < operation.fewest_inputs():
        least = operation.fewest_inputs()
        raise SpecError(f"{name} needs at least {least} inputs, got {len(args)}", hint=usage)
    for slot in inputs[: operation.fewest_inputs()]:
        if slot not in given:
            raise SpecError(f"{name} needs its input {slot!r}", hint=usage)
    for entry in fields(operation):
        optional = entry.default is not MISSING or entry.default_factory is not MISSING
        if not optional and entry.name not in given:
            raise SpecError(f"{name} needs its parameter {entry.name!r}", hint=usage)
    many = args if operation.variadic else [given[slot] for slot in inputs if slot in given]
    read = tuple(read_input(argument) for argument in many)
    values = {slot: read_parameter(given[slot]) for slot in parameters if slot in given}
    try:
        built = operation(**values)
        hash(built)
    except (ValueError, ArithmeticError) as error:
        raise SpecError(f"{name}: {error}", hint=usage) from None
    except TypeError:
        got = ", ".join(f"{slot}={value!r}" for slot, value in values.items())
        raise SpecError(
            f"{name}: a parameter has a wrong type, got {shortened(got)}", hint=usage
        ) from None
    return apply(built, *read, where=None if where is None else read_input(where))


def apply(operation: Operation, *inputs: Expression, where: Expression | None = None) -> Call:
    """Return an operation applied to inputs, unless nothing could be written or run of it.

    Raises:
        SpecError: The call is nested too deep, too large, or made of an aggregate.
    """
    for entry in (*inputs, where):
        if isinstance(entry, Call) and isinstance(entry.operation, AggregateOperation):
            raise SpecError(
                f"{operation.name()} cannot be applied to {shortened(entry.text)!r}, "
                "which summarises past rows",
                hint="make it a feature of an aggregation, and compute with its outputs",
            )
    made = Call(operation, inputs, where)
    if made.depth > MAX_DEPTH:
        raise SpecError(f"an expression may be nested {MAX_DEPTH} deep at most")
    if made.size > MAX_SIZE:
        raise SpecError(f"an expression may have {MAX_SIZE:,} parts, got {made.size:,}")
    return made


def shortened(text: str, most: int = 60) -> str:
    """Return text for a message: its beginning, when it is long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _operator(name: str, *sides: ExpressionLike) -> Expression:
    return call(operations()[name], sides, {})


def _constant(value: Any) -> Any:
    """Return a constant as one of Python's own types, so that it is written as it is read."""
    if isinstance(value, Literal) and value.type != DURATION:
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and float(value) == float(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return tuple(_constant(entry) for entry in value)
    raise SpecError(
        f"a constant is a number, a string or a boolean, got {shortened(safe_repr(value))}",
        hint="only the inputs of an operation can be columns; a missing value is null, not NaN",
    )
