"""Expressions: what a spec writes in Python syntax and what the operations as callables build.

Text is read with `ast` and an allow-list of nodes; nothing is ever evaluated. Calls are bound to
their operation at once, so that a wrong name, parameter or range is an error with a place, and so
that `zscore(x)` in YAML and `fk.zscore("x")` in Python are the same object.

A duration such as `30d` or `2h` is a literal of its own; a column whose name is not a Python name
is written `col("petal length (cm)")`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from featurekit.errors import SpecError, closest
from featurekit.transforms.base import Operation
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    INT64,
    STRING,
    Type,
    duration_text,
    parse_duration,
)

__all__ = [
    "Attribute", "Call", "Expression", "ExpressionLike", "Literal", "Name", "call", "col", "literal",
    "parse",
]  # fmt: skip

MAX_LENGTH = 10_000
MAX_DEPTH = 100

_INT64 = range(-(2**63), 2**63)


class Expression:
    """The root of expressions: immutable, hashable, compared by structure.

    Arithmetic, ordering comparisons and `&`, `|`, `~` build larger expressions; `==` compares two
    expressions, so equality of values is the operation `equal`.
    """

    @cached_property
    def text(self) -> str:
        """The expression in the spec's language; parsing it gives an equal expression."""
        return ast.unparse(ast.fix_missing_locations(_to_ast(self)))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.text}>"

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value; use &, | and ~ instead of and, or, not")

    def __add__(self, other: Any) -> Expression:
        return _operator("add", self, other)

    def __radd__(self, other: Any) -> Expression:
        return _operator("add", other, self)

    def __sub__(self, other: Any) -> Expression:
        return _operator("subtract", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return _operator("subtract", other, self)

    def __mul__(self, other: Any) -> Expression:
        return _operator("multiply", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return _operator("multiply", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return _operator("divide", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return _operator("divide", other, self)

    def __floordiv__(self, other: Any) -> Expression:
        return _operator("floor_divide", self, other)

    def __mod__(self, other: Any) -> Expression:
        return _operator("modulo", self, other)

    def __pow__(self, other: Any) -> Expression:
        return _operator("power", self, other)

    def __neg__(self) -> Expression:
        return _operator("negate", self)

    def __lt__(self, other: Any) -> Expression:
        return _operator("less", self, other)

    def __le__(self, other: Any) -> Expression:
        return _operator("less_equal", self, other)

    def __gt__(self, other: Any) -> Expression:
        return _operator("greater", self, other)

    def __ge__(self, other: Any) -> Expression:
        return _operator("greater_equal", self, other)

    def __and__(self, other: Any) -> Expression:
        return _operator("logical_and", self, other)

    def __or__(self, other: Any) -> Expression:
        return _operator("logical_or", self, other)

    def __invert__(self) -> Expression:
        return _operator("logical_not", self)

    @property
    def children(self) -> tuple[Expression, ...]:
        """The expressions that this one is directly made of."""
        return ()

    def walk(self) -> Iterator[Expression]:
        """Yield this expression and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, repr=False)
class Name(Expression):
    """A column of the source, or another feature."""

    name: str


@dataclass(frozen=True, repr=False)
class Attribute(Expression):
    """A feature of an aggregation over one window, such as `tail.delay_mean_7d`."""

    aggregation: str
    name: str


@dataclass(frozen=True, repr=False)
class Literal(Expression):
    """A constant with its type; a duration is held in microseconds."""

    value: bool | int | float | str
    type: Type


@dataclass(frozen=True, repr=False)
class Call(Expression):
    """An operation applied to inputs."""

    operation: Operation
    inputs: tuple[Expression, ...]

    @property
    def children(self) -> tuple[Expression, ...]:
        return self.inputs


ExpressionLike = Expression | str | int | float | bool


def col(name: str) -> Name:
    """Return the column (or feature) of that name, whatever characters it is made of."""
    if not isinstance(name, str) or not name:
        raise SpecError(f"col needs a column name, got {name!r}")
    return Name(name)


def literal(value: bool | int | float | str) -> Literal:
    """Return a constant; needed for strings only, since a plain string is read as an expression.

    Raises:
        SpecError: The value is not a boolean, a 64-bit integer, a float or a string.
    """
    if isinstance(value, bool):
        return Literal(value, BOOL)
    if isinstance(value, int):
        if value not in _INT64:
            raise SpecError(f"{value} does not fit in 64 bits")
        return Literal(value, INT64)
    if isinstance(value, float):
        return Literal(value, FLOAT32)
    if isinstance(value, str):
        return Literal(value, STRING)
    raise SpecError(f"a constant is a number, a string or a boolean, got {value!r}")


def expression(value: ExpressionLike) -> Expression:
    """Return an expression as it is, text parsed, and a number or boolean as a constant."""
    if isinstance(value, Expression):
        return value
    return parse(value) if isinstance(value, str) else literal(value)


def call(operation: type[Operation], args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Call:
    """Bind a call from Python: strings given as inputs are parsed as expressions.

    Raises:
        SpecError: An input is missing, a parameter is unknown, or its value is refused.
    """
    return _bind(operation, args, keywords, expression, lambda value: value)


def parse(text: str, known: Mapping[str, type[Operation]] | None = None) -> Expression:
    """Return the expression that a text writes.

    Args:
        text: Python expression syntax; see the spec reference.
        known: The operations that may be called; the row and full-pass catalogue by default.

    Raises:
        SpecError: The text is not an expression of the language; the message names the part.
    """
    if not isinstance(text, str):
        raise SpecError(f"an expression is a text, got {text!r}")
    if len(text) > MAX_LENGTH:
        raise SpecError(f"an expression may have {MAX_LENGTH:,} characters, this one has {len(text):,}")
    prepared = _mark_durations(text.strip())
    if not prepared:
        raise SpecError("an expression is missing here", hint='for example "log1p(distance)"')
    try:
        tree = ast.parse(prepared, mode="eval")
    except SyntaxError as error:
        raise SpecError(
            f"{text!r} is not an expression: {error.msg}",
            hint="expressions follow Python syntax; text goes in quotes",
        ) from None
    except (RecursionError, MemoryError, ValueError):
        raise SpecError(f"an expression may be nested {MAX_DEPTH} deep at most") from None
    return _Reader(operations() if known is None else known).read(tree.body, 0)


_MARK = "__duration_"
_STRING_OR_DURATION = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?<![\w.])(\d+)(us|ms|s|m|h|d|w)\b"""
)


def _mark_durations(text: str) -> str:
    """`30d` is no Python token: outside of quotes it becomes a marked name."""
    return _STRING_OR_DURATION.sub(
        lambda match: match[1] if match[1] is not None else f"{_MARK}{match[2]}{match[3]}", text
    )


_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide",
    ast.FloorDiv: "floor_divide", ast.Mod: "modulo", ast.Pow: "power",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal",
    ast.Gt: "greater", ast.GtE: "greater_equal",
}  # fmt: skip
_BOOLEAN: dict[type[ast.boolop], str] = {ast.And: "logical_and", ast.Or: "logical_or"}
_UNARY: dict[type[ast.unaryop], str] = {ast.USub: "negate", ast.Not: "logical_not"}


class _Reader:
    """Turns the allowed `ast` nodes into expressions."""

    def __init__(self, known: Mapping[str, type[Operation]]) -> None:
        self.known = known

    def read(self, node: ast.expr, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise SpecError(f"an expression may be nested {MAX_DEPTH} deep at most")
        down = depth + 1
        match node:
            case ast.Name(id=name) if name.startswith(_MARK):
                return Literal(_duration(name), DURATION)
            case ast.Name(id=name):
                return Name(name)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                return Attribute(owner, name)
            case ast.Constant(value=value) if value is not None and value is not ...:
                return literal(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if _plain(value):
                return literal(-value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id=name)) if name.startswith(_MARK):
                return Literal(-_duration(name), DURATION)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand, down)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return self.apply(_UNARY[type(op)], self.read(operand, down))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self.apply(_BINARY[type(op)], self.read(left, down), self.read(right, down))
            case ast.BoolOp(op=op, values=values):
                return self.apply(_BOOLEAN[type(op)], *(self.read(value, down) for value in values))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.compare(left, ops, others, down)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.apply("where", *(self.read(part, down) for part in (test, body, other)))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self.call(name, args, keywords, down)
        raise SpecError(
            f"{_source(node)!r} is not allowed in an expression",
            hint="use names, constants, arithmetic, comparisons, and/or/not, 'a if c else b' and calls",
        )

    def apply(self, name: str, *inputs: Expression) -> Expression:
        return Call(operations()[name](), inputs)

    def compare(
        self, left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr], depth: int
    ) -> Expression:
        sides = [self.read(side, depth) for side in (left, *others)]
        parts = []
        for op, x, y in zip(ops, sides, sides[1:], strict=False):
            if type(op) not in _COMPARE:
                raise SpecError(
                    "'in' and 'is' are not allowed in an expression",
                    hint="use ==, or is_missing(x)",
                )
            parts.append(self.apply(_COMPARE[type(op)], x, y))
        return parts[0] if len(parts) == 1 else self.apply("logical_and", *parts)

    def call(
        self, name: str, args: list[ast.expr], keywords: list[ast.keyword], depth: int
    ) -> Expression:
        if name == "col":
            if len(args) != 1 or keywords:
                raise SpecError('col takes one name in quotes: col("petal length (cm)")')
            return col(self.constant(args[0]))
        if name not in self.known:
            hint = closest(name, [*self.known, "col"])
            if name in aggregations():
                hint = f"{name} summarises past rows and belongs under aggregations"
            raise SpecError(f"there is no operation {name!r}", hint=hint)
        for argument in args:
            if isinstance(argument, ast.Starred):
                raise SpecError(f"'*' is not allowed in the call of {name}")
        named: dict[str, ast.expr] = {}
        for keyword in keywords:
            if keyword.arg is None:
                raise SpecError(f"'**' is not allowed in the call of {name}")
            named[keyword.arg] = keyword.value
        return _bind(
            self.known[name], tuple(args), named, lambda part: self.read(part, depth), self.constant
        )

    def constant(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, (bool, int, float, str)):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if _plain(value):
                return -value
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return tuple(self.constant(element) for element in elements)
            case ast.Name(id=name) if name.startswith(_MARK):
                return name.removeprefix(_MARK)
        raise SpecError(
            f"a parameter must be a constant, got {_source(node)!r}",
            hint="text goes in quotes; only the inputs of an operation can be columns",
        )


def _bind(
    operation: type[Operation],
    args: tuple[Any, ...],
    keywords: Mapping[str, Any],
    read_input: Callable[[Any], Expression],
    read_parameter: Callable[[Any], Any],
) -> Call:
    """Sort arguments into inputs and parameters, and build the operation."""
    name, signature = operation.name(), operation.signature()
    parameters = [parameter.name for parameter in fields(operation)]
    named_inputs = [] if operation.variadic else [entry.name for entry in operation.inputs]
    slots = named_inputs + ([] if operation.variadic else parameters)
    inputs: dict[str, Expression] = {}
    values: dict[str, Any] = {}
    if operation.variadic:
        many = tuple(read_input(argument) for argument in args)
        least = operation.least_inputs
        least = len(operation.inputs) if least is None else least
        if len(many) < least:
            raise SpecError(f"{name} needs at least {least} inputs, got {len(many)}", hint=signature)
    else:
        many = ()
        if len(args) > len(slots):
            raise SpecError(f"{name} takes {len(slots)} arguments, got {len(args)}", hint=signature)
    given = [*zip(slots, args, strict=False)] + [*keywords.items()]
    for slot, argument in given:
        if slot in inputs or slot in values:
            raise SpecError(f"{name} got {slot!r} twice", hint=signature)
        if slot in named_inputs:
            inputs[slot] = read_input(argument)
        elif slot in parameters:
            values[slot] = read_parameter(argument)
        else:
            raise SpecError(
                f"{name} has no parameter {slot!r}",
                hint=f"{closest(slot, [*named_inputs, *parameters])} The call is {signature}".strip(),
            )
    for slot in named_inputs:
        if slot not in inputs:
            raise SpecError(f"{name} needs its input {slot!r}", hint=f"the call is {signature}")
    try:
        built = operation(**values)
        hash(built)
    except ValueError as error:
        raise SpecError(f"{name}: {error}", hint=f"the call is {signature}") from None
    except TypeError as error:
        missing = re.search(r"missing .* argument", str(error))
        what = str(error).split("missing ", 1)[-1] if missing else "a parameter has a wrong type"
        raise SpecError(
            f"{name} misses {what}" if missing else f"{name}: {what}", hint=f"the call is {signature}"
        ) from None
    return Call(built, many or tuple(inputs[slot] for slot in named_inputs))


def _operator(name: str, *sides: Any) -> Expression:
    return call(operations()[name], sides, {})


def _plain(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _duration(mark: str) -> int:
    try:
        return parse_duration(mark.removeprefix(_MARK))
    except ValueError as error:
        raise SpecError(str(error)) from None


def _source(node: ast.AST) -> str:
    try:
        text = ast.unparse(node).replace(_MARK, "")
    except (RecursionError, ValueError):
        text = type(node).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."


def _constant_ast(value: Any) -> ast.expr:
    if isinstance(value, (tuple, list)):
        return ast.List([_constant_ast(item) for item in value], ast.Load())
    if _plain(value) and (value < 0 or math.copysign(1, value) < 0):
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


_FROM_NAME: dict[str, Callable[[list[ast.expr]], ast.expr]] = {
    **{name: (lambda op: lambda s: ast.BinOp(s[0], op(), s[1]))(op) for op, name in _BINARY.items()},
    **{name: (lambda op: lambda s: ast.Compare(s[0], [op()], [s[1]]))(op) for op, name in _COMPARE.items()},
    **{name: (lambda op: lambda s: ast.BoolOp(op(), s))(op) for op, name in _BOOLEAN.items()},
    **{name: (lambda op: lambda s: ast.UnaryOp(op(), s[0]))(op) for op, name in _UNARY.items()},
    "where": lambda s: ast.IfExp(s[0], s[1], s[2]),
}


def _to_ast(value: Expression) -> ast.expr:
    match value:
        case Name(name=name):
            if name.isidentifier() and ast.unparse(ast.Name(name)) == name and not _keyword(name):
                return ast.Name(name)
            return ast.Call(ast.Name("col"), [ast.Constant(name)], [])
        case Attribute(aggregation=owner, name=name):
            return ast.Attribute(ast.Name(owner), name)
        case Literal(value=constant, type=of):
            if of == DURATION:
                negative = isinstance(constant, int) and constant < 0
                text = ast.Name(duration_text(abs(int(constant))))
                return ast.UnaryOp(ast.USub(), text) if negative else text
            return _constant_ast(constant)
        case Call(operation=operation, inputs=inputs):
            sides = [_to_ast(entry) for entry in inputs]
            if operation.name() in _FROM_NAME:
                return _FROM_NAME[operation.name()](sides)
            keywords = [
                ast.keyword(parameter.name, _constant_ast(getattr(operation, parameter.name)))
                for parameter in fields(operation)
                if getattr(operation, parameter.name) != parameter.default
            ]
            return ast.Call(ast.Name(operation.name()), sides, keywords)
    raise TypeError(f"{value!r} is not an expression")


def _keyword(name: str) -> bool:
    import keyword

    return keyword.iskeyword(name)
