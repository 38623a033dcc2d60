"""Checks of arguments, before anything is done with them: what was expected, and what was given."""

from __future__ import annotations

import os

__all__ = ["shown"]

_MOST = 60


def shown(value: object) -> str:
    """Return a value as an error shows it: short, and whatever its `repr` does.

    Example:
        >>> shown("flights.yaml"), shown(b"flights.yaml")
        ("'flights.yaml'", "b'flights.yaml'")
    """
    kind = type(value).__name__
    if value is not None and not isinstance(value, (str, bytes, bool, int, float, os.PathLike)):
        article = "an" if kind[:1].lower() in "aeiou" else "a"
        return f"{article} {kind}"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  (of a subclass, it may do anything)
        return f"a {kind}"
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."
