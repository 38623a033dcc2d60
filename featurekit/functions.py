"""Every operation of the catalogue as a function that builds an expression.

A string given as an input is read as an expression; a parameter is a constant. The functions are
made from the operations when they are asked for, and `functions.pyi` tells editors and type
checkers of them.

Example:
    >>> from featurekit.functions import log1p, zscore
    >>> zscore(log1p("distance"))
    <zscore(log1p(distance))>
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from featurekit.errors import closest
from featurekit.spec.expression import Call, call
from featurekit.spec.signatures import callables, signature
from featurekit.transforms.base import Operation


@cache
def _function(operation: type[Operation]) -> Callable[..., Call]:
    def function(*inputs: Any, **parameters: Any) -> Call:
        return call(operation, inputs, parameters)

    function.__name__ = function.__qualname__ = operation.name()
    function.__doc__ = inspect.getdoc(operation)
    function.__signature__ = signature(operation)  # type: ignore[attr-defined]
    return function


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name in callables():
        return _function(callables()[name])
    raise AttributeError(f"there is no operation {name!r}; {closest(name, callables())}")


def __dir__() -> list[str]:
    return list(callables())
