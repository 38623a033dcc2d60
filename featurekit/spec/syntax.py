"""The language of expressions: from text to expressions and back.

Text is Python expression syntax, read with `ast` and an allow-list of nodes; nothing is ever
evaluated. A duration such as `30d` or `2h` is a literal of its own; a column whose name is not a
Python name is written `col("petal length (cm)")`.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeGuard

from featurekit.errors import SpecError, closest
from featurekit.spec.expression import (
    FILTER,
    MAX_DEPTH,
    Attribute,
    Call,
    Expression,
    Literal,
    Name,
    apply,
    bind,
    col,
    literal,
    shortened,
)
from featurekit.transforms.base import Operation
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.transforms.synonyms import called_here, said_here
from featurekit.types import DURATION, duration_text, parse_duration

__all__ = ["MAX_LENGTH", "read", "write"]

MAX_LENGTH = 10_000

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
_WHERE = "where"


def read(text: str, known: Mapping[str, type[Operation]]) -> Expression:
    """Return the expression that a text writes.

    Args:
        text: What a spec says.
        known: The operations that may be called, by name.

    Raises:
        SpecError: The text is not an expression of the language; the message names the part.
    """
    if not isinstance(text, str):
        raise SpecError(f"an expression is a text, got {shortened(repr(text))}")
    if len(text) > MAX_LENGTH:
        raise SpecError(f"an expression may have {MAX_LENGTH:,} characters, got {len(text):,}")
    if not text.strip():
        raise SpecError("an expression is missing here", hint="for example log1p(distance)")
    prepared = _Prepared(text.strip())
    try:
        return _Reader(known, prepared).read(_tree(prepared.text, text), 0)
    except SpecError as error:
        message, hint = prepared.as_written(error.message), prepared.as_written(error.hint)
        raise SpecError(message, hint=hint) from None


_DATE = re.compile(r"\b\d{4}-\d\d-\d\d")


def _tree(prepared: str, text: str) -> ast.expr:
    said = repr(shortened(text))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a pattern is a backslash and a d.
            return ast.parse(prepared, mode="eval").body
    except SyntaxError as error:
        if _DATE.search(text):
            raise SpecError(
                f"{said} is not an expression: a date cannot be written in one",
                hint="year(t), month(t), day_of_month(t) and the like are numbers",
            ) from None
        raise SpecError(
            f"{said} is not an expression: {shortened(str(error.msg), 160)}",
            hint=_hint(text, str(error.msg)),
        ) from None
    except ValueError as error:
        raise SpecError(f"{said} is not an expression: {error}") from None
    except (RecursionError, MemoryError):
        raise SpecError(f"an expression may be nested {MAX_DEPTH} deep at most") from None


_USED_HERE = {"and", "or", "not", "if", "else", "in", "is", "True", "False", "None"}


def _hint(text: str, message: str) -> str:
    """Return what to do about text that Python does not read."""
    # A column that is called like a word of Python must not be put in quotes: that is a constant.
    plain = _TOKEN.sub(lambda match: " " if match["string"] else match[0], text)
    words = [word for word in re.findall(r"[^\W\d]\w*", plain) if keyword.iskeyword(word)]
    if meant := next((word for word in words if word not in _USED_HERE), None):
        return f'{meant} is a word of Python; a column of this name is written col("{meant}")'
    if "never closed" in message:
        return "within { } of YAML an expression with a comma goes in quotes"
    if not re.search(r"""["'()\[\]{}=<>+*]""", text):
        return f"a column of this name is written col({text.strip()!r}); a text goes in quotes"
    return (
        "expressions follow Python syntax; text goes in quotes, and a column whose name has blanks "
        'or signs is written col("net price")'
    )


_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?<![\w.])(?P<duration>\d+(?:us|ms|s|m|h|d|w))\b|(?P<line>\s*\n\s*)|(?P<comment>\#)"""
    r"""|(?<!\w)(?P<name>(?:[A-Za-z_]\w*)?[^\x00-\x7f](?:\w|[^\x00-\x7f])*)"""
)


class _Prepared:
    """Text that `ast` reads as one line, with marked names for what Python reads otherwise.

    These are durations, `30d`, and names whose letters Python would normalise: it takes the micro
    sign for a Greek letter, and a letter and an accent for one letter.

    Args:
        text: The text of an expression.
    """

    def __init__(self, text: str) -> None:
        self.mark = "__as_written_"
        while self.mark in text:
            self.mark = f"_{self.mark}"
        self._written: list[str] = []
        self.text = _TOKEN.sub(self._replaced, text)

    def _replaced(self, match: re.Match[str]) -> str:
        if match["comment"]:
            raise SpecError("'#' is not allowed in an expression", hint="comments belong to YAML")
        if match["line"]:
            return " "
        name = match["name"]
        if not match["duration"] and (not name or _is_name(name) or not name.isidentifier()):
            return match[0]
        self._written.append(match[0])
        return f"{self.mark}{len(self._written) - 1}_"

    def as_written(self, text: str) -> str:
        """Return a text with what was written in place of the marked names."""
        return re.sub(f"{self.mark}(\\d+)_", lambda match: self._written[int(match[1])], text)


class _Reader:
    """Turns the allowed `ast` nodes into expressions."""

    def __init__(self, known: Mapping[str, type[Operation]], prepared: _Prepared) -> None:
        self.known = known
        self.as_written = prepared.as_written

    def read(self, node: ast.expr, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise SpecError(f"an expression may be nested {MAX_DEPTH} deep at most")
        down = depth + 1
        match node:
            case ast.Name(id=name):
                written = self.as_written(name)
                return self.duration(written) if _is_duration(written) else Name(written)
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if not _is_duration(
                self.as_written(owner)
            ):
                return Attribute(self.as_written(owner), self.as_written(name))
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return literal(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if _number(value):
                return literal(-value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id=name)) if _is_duration(
                self.as_written(name)
            ):
                return self.duration(self.as_written(name), -1)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand, down)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return self.apply(_UNARY[type(op)], operand, depth=down)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self.apply(_BINARY[type(op)], left, right, depth=down)
            case ast.BoolOp(op=op, values=values):
                return self.apply(_BOOLEAN[type(op)], *values, depth=down)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.compare(ops, [left, *others], down)
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.apply(_WHERE, test, body, other, depth=down)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self.call(self.as_written(name), args, keywords, down)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            method = self.as_written(node.func.attr)
            raise SpecError(
                f"{_source(node)!r} calls a method, and operations are functions here",
                hint=f"{method}(x, ...)" if method in self.known else self.meant(method),
            )
        raise SpecError(
            f"{_source(node)!r} is not allowed in an expression",
            hint="use names, constants, arithmetic, comparisons, and/or/not, 'a if c else b' "
            "and calls",
        )

    def apply(self, name: str, *sides: ast.expr, depth: int) -> Expression:
        return apply(operations()[name](), *(self.read(side, depth) for side in sides))

    def compare(self, ops: list[ast.cmpop], nodes: list[ast.expr], depth: int) -> Expression:
        if not all(type(op) in _COMPARE for op in ops):
            raise SpecError(
                "'in' and 'is' are not allowed in an expression",
                hint="x in ['a', 'b'] is x == 'a' or x == 'b'; x is None is is_missing(x)",
            )
        sides = [self.read(side, depth) for side in nodes]
        parts = [
            apply(operations()[_COMPARE[type(op)]](), x, y)
            for op, x, y in zip(ops, sides, sides[1:], strict=False)
        ]
        return parts[0] if len(parts) == 1 else apply(operations()["logical_and"](), *parts)

    def call(
        self, name: str, args: list[ast.expr], keywords: list[ast.keyword], depth: int
    ) -> Expression:
        if name == "col":
            if len(args) != 1 or keywords:
                raise SpecError('col takes one name in quotes: col("petal length (cm)")')
            return col(self.constant(args[0]))
        if name not in self.known:
            raise SpecError(f"there is no operation {name!r}", hint=self.meant(name))
        if any(isinstance(argument, ast.Starred) for argument in args):
            raise SpecError(f"'*' is not allowed in the call of {name}")
        if any(entry.arg is None for entry in keywords):
            raise SpecError(f"'**' is not allowed in the call of {name}")
        named = {self.as_written(str(entry.arg)): entry.value for entry in keywords}
        return bind(
            self.known[name], args, named, lambda part: self.read(part, depth), self.constant
        )

    def meant(self, name: str) -> str:
        """Return a hint for an operation that is not known here."""
        if (said := said_here(name)) is not None:
            return said
        ours = called_here(name) or name
        if ours in self.known:
            return f"it is called {ours} here"
        if ours in aggregations():
            return f"{ours} summarises past rows and belongs under aggregations"
        return closest(name, [*self.known, "col"])

    def constant(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if _number(value):
                return -value
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return tuple(self.constant(element) for element in elements)
            case ast.Name(id=name) if _is_duration(self.as_written(name)):
                return self.as_written(name)
        raise SpecError(
            f"a parameter must be a constant, got {_source(node)!r}",
            hint="text goes in quotes; only the inputs of an operation can be columns",
        )

    def duration(self, text: str, sign: int = 1) -> Literal:
        micros = sign * parse_duration(text)
        if abs(micros) >= 2**63:
            raise SpecError(f"the duration {shortened(text)} does not fit in 64 bits")
        return Literal(micros, DURATION)


def _number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _source(node: ast.AST) -> str:
    try:
        return shortened(ast.unparse(node))
    except (RecursionError, ValueError):
        return type(node).__name__


def write(expression: Expression) -> str:
    """Return the text of an expression; `read` gives an equal expression back."""
    return ast.unparse(_node(expression))


_SYMBOLS: dict[str, ast.AST] = {
    name: op() for table in (_BINARY, _COMPARE, _BOOLEAN, _UNARY) for op, name in table.items()
}


def _node(expression: Expression) -> ast.expr:
    match expression:
        case Name(name=name):
            return ast.Name(name) if _is_name(name) else _called("col", [ast.Constant(name)])
        case Attribute(aggregation=owner, name=name):
            return ast.Attribute(ast.Name(owner), name)
        case Literal(value=int(micros), type=of) if of == DURATION:
            text = ast.Name(duration_text(abs(micros)))
            return ast.UnaryOp(ast.USub(), text) if micros < 0 else text
        case Literal(value=value):
            return _constant(value)
        case Call(operation=operation, inputs=inputs, where=where):
            name, sides = operation.name(), [_node(entry) for entry in inputs]
            keywords = [
                ast.keyword(entry.name, _constant(getattr(operation, entry.name)))
                for entry in fields(operation)
                if repr(getattr(operation, entry.name)) != repr(entry.default)
            ]
            if where is not None:
                keywords.append(ast.keyword(FILTER, _node(where)))
            return _symbolic(name, sides) or _called(name, sides, keywords)
    raise TypeError(f"{expression!r} is not an expression")


def _symbolic(name: str, sides: list[ast.expr]) -> ast.expr | None:
    """Return an operation in its operator's notation, or `None` where it has none."""
    match _SYMBOLS.get(name):
        case ast.operator() as op:
            return ast.BinOp(sides[0], op, sides[1])
        case ast.cmpop() as op:
            return ast.Compare(sides[0], [op], [sides[1]])
        case ast.boolop() as op:
            return ast.BoolOp(op, sides)
        case ast.USub() if isinstance(sides[0], ast.Constant) or (
            isinstance(sides[0], ast.Name) and _is_duration(sides[0].id)
        ):
            return None  # -5 is a constant: the negation of the constant 5 is written as a call.
        case ast.unaryop() as op:
            return ast.UnaryOp(op, sides[0])
    return ast.IfExp(*sides) if name == _WHERE else None


def _is_duration(name: str) -> bool:
    return name[0].isdigit()


def _called(name: str, args: list[ast.expr], keywords: list[ast.keyword] | None = None) -> ast.expr:
    return ast.Call(ast.Name(name), args, keywords or [])


def _constant(value: Any) -> ast.expr:
    if isinstance(value, tuple):
        return ast.List([_constant(entry) for entry in value], ast.Load())
    if _number(value) and math.copysign(1, value) < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def _is_name(name: str) -> bool:
    """Whether Python reads the text as one name, and as this one: it normalises letters."""
    plain = name.isidentifier() and not keyword.iskeyword(name)
    return plain and unicodedata.normalize("NFKC", name) == name
