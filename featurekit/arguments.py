"""Checks of arguments, before anything is done with them: what was expected, and what was given."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featurekit.errors import UsageError

__all__ = ["expect", "names_of", "number_of", "one_of", "path_of", "safe_repr", "shown"]

_MOST = 60


def shown(value: object) -> str:
    """Return a value as an error shows it: short, and whatever its `repr` does.

    Example:
        >>> shown("flights.yaml"), shown(b"flights.yaml"), shown([1])
        ("'flights.yaml'", "b'flights.yaml'", 'a list')
    """
    if value is None or isinstance(value, (str, bytes, bool, int, float, os.PathLike)):
        text = safe_repr(value)
        return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def safe_repr(value: object) -> str:
    """Return the `repr` of a value, or what it is where that fails."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  (it is the caller's, and may do anything)
        return f"<{type(value).__name__}>"


def path_of(value: Any, what: str) -> Path:
    """Return a path.

    Args:
        value: A `str`, or an `os.PathLike` of one.
        what: What the argument is called in an error.

    Raises:
        UsageError: It is something else.
    """
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return Path(text)
    raise UsageError(f"{what} is a path, a str or an os.PathLike of one, got {shown(value)}")


def names_of(value: Any, what: str) -> tuple[str, ...]:
    """Return names, of which a single one may stand by itself.

    Args:
        value: A `str`, or several.
        what: What the argument is called in an error.

    Raises:
        UsageError: It is something else.
    """
    if isinstance(value, str):
        return (value,)
    many = isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping))
    names = tuple(value) if many else ()
    wrong = [name for name in names if not isinstance(name, str)]
    if not many or wrong:
        given = f"{shown(wrong[0])} among them" if wrong else shown(value)
        raise UsageError(f"{what} are names, each a str, got {given}")
    return names


def number_of(value: Any, what: str, *, whole: bool = False, least: float | None = None) -> Any:
    """Return a number.

    Args:
        value: The number; truth values are none.
        what: What the argument is called in an error.
        whole: Whether it must be an integer.
        least: The smallest that is allowed.

    Raises:
        UsageError: It is something else, or too small.
    """
    kind = numbers.Integral if whole else numbers.Real
    right = isinstance(value, kind) and not isinstance(value, bool)
    if not right or (least is not None and not value >= least):
        from_there = "" if least is None else f" from {least:g} on"
        raise UsageError(
            f"{what} is a {'whole ' if whole else ''}number{from_there}, got {shown(value)}"
        )
    return value


def one_of(value: Any, known: Iterable[str], what: str) -> str:
    """Return one of some words.

    Args:
        value: The word.
        known: Those that there are.
        what: What the argument is called in an error.

    Raises:
        UsageError: It is something else.
    """
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        listed = f"{', '.join(words[:-1])} and {words[-1]}"
        raise UsageError(f"there is no {what} {shown(value)}", hint=f"the {what}s are {listed}")
    return value


def expect(value: Any, kind: type | tuple[type, ...], what: str, words: str) -> Any:
    """Return a value of a type.

    Args:
        value: The value.
        kind: Its types.
        what: What the argument is called in an error.
        words: The types, in words.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{what} is {words}, got {shown(value)}")
    return value
