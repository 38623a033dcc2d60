"""The types of columns that nobody declared, and that are used as keys or as words.

A key, an entity, a hash or a word of a vocabulary never passes through a float: 16777217 would
become 16777216, and two customers one. So a column that is stored as floats (as pandas does with
integers of which one is missing) or as decimals is typed int64 where it is used so; one whose
integers need not fit in 64 bits (unsigned, decimals of more than 18 digits) is a string of its
digits. The use decides, never the values, so that other rows of the same data have the same types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from featurekit.spec.expression import Attribute, Call, Expression, Name
from featurekit.spec.objects import UNDECLARED, Aggregation, Spec
from featurekit.transforms.base import AggregateOperation, Operation
from featurekit.transforms.targets import TargetOperation
from featurekit.types import BOOL, FLOAT32, INT64, STRING, Type

__all__ = ["Read", "typed_by_use", "words_of"]

_DIGITS = 18
"""So many decimal digits always fit in 64 bits."""


class Read(NamedTuple):
    """A column of a source, as the spec calls it."""

    source: str
    name: str


def typed_by_use(
    spec: Spec,
    types: Mapping[str, Mapping[str, Type]],
    stored: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Type]]:
    """Return the types of columns, those of keys and words by their use.

    Args:
        spec: The spec.
        types: The types of the columns of each source, as they are declared or stored.
        stored: The data type that each of these columns is stored as, where that is known.
    """
    out = {source: dict(columns) for source, columns in types.items()}
    wide: set[Read] = set()
    pairs = [
        (Read(spec.examples.source, mine), Read(owner.source, other))
        for owner in spec.histories.values() for mine, other in owner.by.items()
    ]  # fmt: skip
    sides = [*pairs, *((right, left) for left, right in pairs)]
    for column in words_of(spec, types):
        source = spec.sources[column.source]
        dtype = stored.get(column.source, {}).get(column.name)
        if dtype is None or source.columns.get(column.name, UNDECLARED).type is not None:
            continue
        if _is_wide(dtype):
            out[column.source][column.name] = STRING
            wide.add(column)
        elif dtype.is_float() or dtype.is_decimal():
            out[column.source][column.name] = INT64
    # Both sides of a key have one type: where one holds 64-bit integers, the other does.
    waiting = True
    while waiting:
        waiting = False
        for one, other in sides:
            if one in wide and out.get(other.source, {}).get(other.name) == INT64:
                out[one.source][one.name] = INT64
                wide.discard(one)
                waiting = True
    return out


def _is_wide(dtype: Any) -> bool:
    """Whether a stored type has integers that do not fit in 64 bits with a sign."""
    if dtype.is_decimal():
        return dtype.scale == 0 and (dtype.precision is None or dtype.precision > _DIGITS)
    return dtype in (pl.UInt64, pl.Int128, pl.UInt128)


def words_of(spec: Spec, types: Mapping[str, Mapping[str, Type]]) -> set[Read]:
    """Return the stored columns that a spec uses as keys, entities, hashes or words.

    Args:
        spec: The spec.
        types: The types of the columns of each source that is known.
    """
    found = _Words(spec, types)
    examples = spec.examples
    main = examples.source
    found.named(main, *examples.keys)
    if examples.split is not None:
        found.named(main, *examples.split.hash)
        if examples.split.column is not None:
            found.named(main, examples.split.column)
    for owner in spec.histories.values():
        found.named(main, *owner.by)
        found.named(owner.source, *owner.by.values())
    for expression in (examples.label, examples.predict_at, examples.where):
        found.look_through(main, expression)
    for feature in spec.features.values():
        found.look_through(main, feature.expr)
    for name, source in spec.sources.items():
        found.look_through(name, source.available_at)
        for column in source.columns.values():
            found.look_through(name, column.expr)
            found.look_through(name, column.available_at)
    for owner in spec.histories.values():
        for expression in owner.features.values():
            found.look_through(owner.source, expression)
        if isinstance(owner, Aggregation):
            found.look_through(owner.source, owner.where)
    return found.columns


class _Words:
    """Follows the words of expressions down to the columns that they are made of."""

    def __init__(self, spec: Spec, types: Mapping[str, Mapping[str, Type]]) -> None:
        self.spec, self.types = spec, types
        self.columns: set[Read] = set()
        self._seen: set[tuple[str, Expression]] = set()

    def look_through(self, source: str, expression: Expression | None) -> None:
        """Find the words in an expression over the rows of a source."""
        for part in () if expression is None else expression.walk():
            if isinstance(part, Call):
                for position, entry in enumerate(part.inputs):
                    if _is_word(part.operation, position):
                        self.word(source, entry)
                if isinstance(part.operation, TargetOperation):
                    by = part.operation.by
                    self.named(source, *((by,) if isinstance(by, str) else by or ()))

    def named(self, source: str, *names: str) -> None:
        """Take the values of columns as words."""
        for name in names:
            self.word(source, Name(name))

    def word(self, source: str, expression: Expression) -> None:
        """Take the values of an expression over the rows of a source as words."""
        stack = [(source, expression)]
        while stack:
            entry = stack.pop()
            if entry not in self._seen:
                self._seen.add(entry)
                stack += self._below(*entry)

    def _below(self, source: str, expression: Expression) -> Iterator[tuple[str, Expression]]:
        """Yield what the words of an expression are made of."""
        match expression:
            case Name(name=name):
                declared = self.spec.sources.get(source)
                made_of = None if declared is None else declared.columns.get(name, UNDECLARED).expr
                if made_of is not None:
                    yield source, made_of
                elif name in self.types.get(source, ()):
                    self.columns.add(Read(source, name))
                elif source == self.spec.examples.source and name in self.spec.features:
                    yield source, self.spec.features[name].expr
            case Attribute(aggregation=owner, name=name):
                yield from self._past(owner, name)
            case Call(operation=operation, inputs=inputs):
                for position, entry in enumerate(inputs):
                    if _keeps_digits(operation, position, len(inputs)):
                        yield source, entry

    def _past(self, owner: str, name: str) -> Iterator[tuple[str, Expression]]:
        """Yield what an output of an aggregation or a lookup is made of."""
        found = self.spec.histories.get(owner)
        if isinstance(found, Aggregation):
            for output, feature, _ in found.outputs():
                if output == name:
                    yield found.source, found.features[feature]
        elif found is not None and name in found.features:
            yield found.source, found.features[name]


def _is_word(operation: Operation, position: int) -> bool:
    """Whether an operation takes an input as a key or a word, never as a number with a fraction."""
    if operation.name() == "cast":
        return bool(operation.to == "string")  # type: ignore[attr-defined]
    accepts = operation.input_at(position).accepts
    return {STRING, INT64} <= accepts.types and FLOAT32 not in accepts


def _keeps_digits(operation: Operation, position: int, inputs: int) -> bool:
    """Whether an operation makes integers of integers and floats of floats, such as `fill`."""
    if operation.name() == "cast":
        return operation.to in ("int64", "string")  # type: ignore[attr-defined]
    if not {INT64, FLOAT32} <= operation.input_at(position).accepts.types:
        return False
    of = _result(operation, INT64, inputs)
    if isinstance(operation, AggregateOperation):
        return of == INT64 and _result(operation, FLOAT32, inputs) != INT64
    return of == INT64 and _result(operation, FLOAT32, inputs) in (FLOAT32, None)


def _result(operation: Operation, number: Type, inputs: int) -> Type | None:
    """Return the type of an operation's result where its numbers are of a type."""
    types = []
    for position in range(inputs):
        accepts = operation.input_at(position).accepts
        others = (of for of in (BOOL, INT64, STRING) if of in accepts)
        types.append(number if number in accepts else next(others, number))
    try:
        return operation.output_type(operation.coerce(tuple(types)))
    except (ValueError, TypeError):
        return None
