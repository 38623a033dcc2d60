"""The signatures of operations as Python functions, and the stub file that holds them all.

Run `python -m featurekit.spec.signatures > featurekit/functions.pyi` when operations change; a
test compares the two.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cache
from inspect import Parameter

from featurekit.spec.expression import FILTER
from featurekit.transforms.base import AggregateOperation, Operation
from featurekit.transforms.catalogue import Catalogue, aggregations, operations

__all__ = ["callables", "signature", "stub"]

WIDTH = 100

_HEAD = """\
# Written by `python -m featurekit.spec.signatures`; edit the operations instead.
# ruff: noqa: A001, D403, E501
from collections.abc import Sequence

from featurekit.spec.expression import Expression, ExpressionLike

__all__ = [
{names}]
"""


@cache
def callables() -> Catalogue:
    """Return every operation that there is a function for, by name."""
    return operations() | aggregations()


def signature(operation: type[Operation]) -> inspect.Signature:
    """Return the signature of an operation's function: its inputs, then its parameters."""
    return inspect.Signature(list(_parameters(operation)), return_annotation="Expression")


def stub() -> str:
    """Return the stub: a signature and the first line of documentation for each operation."""
    names = "".join(f'    "{name}",\n' for name in callables())
    functions = "".join(f"\n{_written(operation)}\n" for operation in callables().values())
    return _HEAD.format(names=names) + functions


def _parameters(operation: type[Operation]) -> Iterator[Parameter]:
    many = operation.variadic
    for place, entry in enumerate(operation.inputs):
        optional = not many and place >= operation.fewest_inputs()
        yield Parameter(
            entry.name,
            Parameter.VAR_POSITIONAL if many else Parameter.POSITIONAL_OR_KEYWORD,
            default=None if optional else Parameter.empty,
            annotation="ExpressionLike | None" if optional else "ExpressionLike",
        )
    for setting in fields(operation):
        yield Parameter(
            setting.name,
            Parameter.KEYWORD_ONLY if many else Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if setting.default is MISSING else setting.default,
            annotation=re.sub(r"tuple\[(\w+), \.\.\.\]", r"Sequence[\1]", str(setting.type)),
        )
    if issubclass(operation, AggregateOperation):
        yield Parameter(
            FILTER, Parameter.KEYWORD_ONLY, default=None, annotation="ExpressionLike | None"
        )


def _written(operation: type[Operation]) -> str:
    """Return the stub of one function, laid out as `ruff format` does."""
    parts = [_annotated(entry) for entry in signature(operation).parameters.values()]
    head, line, tail = f"def {operation.name()}(", ", ".join(parts), ") -> Expression:"
    if len(head + line + tail) > WIDTH:
        fits = len(line) + 4 <= WIDTH
        line = f"\n    {line}\n" if fits else "\n" + "".join(f"    {part},\n" for part in parts)
    summary = (inspect.getdoc(operation) or "").partition("\n\n")[0].replace("\n", " ")
    return f'{head}{line}{tail}\n    """{summary}"""'


def _annotated(parameter: Parameter) -> str:
    star = "*" if parameter.kind is Parameter.VAR_POSITIONAL else ""
    text = f"{star}{parameter.name}: {parameter.annotation}"
    if parameter.default is Parameter.empty:
        return text
    default = f'"{parameter.default}"' if isinstance(parameter.default, str) else parameter.default
    return f"{text} = {default}"


if __name__ == "__main__":
    sys.stdout.write(stub())
