"""What the inputs of a SavedModel's signatures are called.

Names of columns are free, and those of a signature's inputs are not: TensorFlow takes what Python
takes as the name of a parameter, in ASCII, and does not tell upper from lower case. What is called
so already keeps its name; the manifest lists the others.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["MASK", "mask_names", "serving_name", "serving_names"]

MASK = "__missing"
"""What the name of an input has at its end when it says which values of the input are missing."""

_TAKEN = {"self"}
"""Parameters of the functions that TensorFlow itself makes of signatures."""


def serving_name(column: str) -> str:
    """Return the name of a column as an input of a signature, where no other column has that."""
    return _plain(column)


def serving_names(columns: Iterable[str]) -> dict[str, str]:
    """Return a name for each column as an input of a signature; no two are alike but for case.

    What is not a letter, a digit or `_` becomes `_`; accents are left out; a name that is none in
    Python gets `arg_` in front. Of columns that would have one name, the one that has it already
    keeps it, or else the first in the order of the alphabet; others are numbered from 2. So the
    names do not depend on the order of the columns.

    Args:
        columns: The columns, and aggregates by their text.

    Returns:
        The names, in the order of the columns.

    Example:
        >>> serving_names(["net price", "net_price", "tail.delay_7d", "1st"])
        {'net price': 'net_price_2', 'net_price': 'net_price', 'tail.delay_7d': 'tail_delay_7d', '1st': 'arg_1st'}
    """  # noqa: E501
    columns = list(columns)
    plain = {column: _plain(column) for column in columns}
    order = sorted(plain, key=lambda column: (plain[column] != column, column))
    taken: set[str] = set()
    names: dict[str, str] = {}
    later = []
    for column in order:
        # All that can keep their names do, before any is numbered.
        if plain[column].lower() in taken:
            later.append(column)
        else:
            names[column] = plain[column]
            taken.add(plain[column].lower())
    for column in later:
        names[column] = _numbered(plain[column], taken)
    return {column: names[column] for column in columns}


def mask_names(names: Iterable[str]) -> dict[str, str]:
    """Return, for each input of a signature, the input that says which of its values are missing.

    Example:
        >>> mask_names(["x", "y", "y__missing"])
        {'x': 'x__missing', 'y': 'y__missing_2', 'y__missing': 'y__missing__missing'}
    """
    names = list(names)
    taken = {name.lower() for name in names}
    made = {}
    for name in sorted(names):
        mask = f"{name}{MASK}"
        if mask.lower() in taken:
            mask = _numbered(mask, taken)
        taken.add(mask.lower())
        made[name] = mask
    return {name: made[name] for name in names}


def _plain(column: str) -> str:
    decomposed = unicodedata.normalize("NFKD", column)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    name = re.sub(r"[^A-Za-z0-9_]", "_", letters)
    if not re.match(r"[A-Za-z]", name) or keyword.iskeyword(name) or name in _TAKEN:
        return f"arg_{name}"
    return name


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}_{number}".lower() in taken:
        number += 1
    taken.add(f"{name}_{number}".lower())
    return f"{name}_{number}"
