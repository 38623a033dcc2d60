"""The one reader of what FeatureKit has stored as JSON: manifests, statistics, caches, trials.

A file may have been cut off, edited, or made by somebody who wishes no good. So nothing of it is
believed: it is read within limits, and compared with a declaration of its types before it is used.
A declaration is what Python calls a type: `int`, `list[str]`, `dict[str, float]`, `str | None`, a
`TypedDict` or a dataclass. Keys that no declaration names are left alone, so that newer versions
may add some. All errors are one `DataError` that names the file, the place in it, and what to do.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NotRequired, Union

from featurekit.errors import DataError

__all__ = ["DAMAGED", "file_inside", "parse_json", "read_json", "require_type"]

DAMAGED = "it was damaged or edited: copy it again from where it is whole, or run the spec again"
"""What to do about a file of a run that is not what was written."""

_DEPTH = 64
"""So deep lists and objects may lie in each other; what is written has about ten."""
_DIGITS = 20
"""So many digits a whole number may have: those of the largest unsigned 64-bit integer."""
_SHOWN = 60


def read_json(path: Path, form: Any = Any, hint: str = DAMAGED) -> Any:
    """Read a file of JSON that has the types of a declaration.

    Args:
        path: The file.
        form: The declaration.
        hint: What to do if the file is not what was written.

    Raises:
        DataError: It cannot be read, is not JSON within the limits, or has other types.
    """
    where = str(path)
    if not path.is_file():
        raise DataError("there is no such file", where=where, hint=hint)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=where, hint=hint) from None
    return parse_json(data, form, where, hint)


def parse_json(data: bytes | str, form: Any = Any, where: str = "", hint: str = DAMAGED) -> Any:
    """Read JSON that has the types of a declaration.

    Args:
        data: The text.
        form: The declaration.
        where: What errors call it.
        hint: What to do if it is not what was written.

    Raises:
        DataError: It is not JSON within the limits, or has other types.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        read = json.loads(
            text, object_pairs_hook=_distinct, parse_int=_whole, parse_float=_finite,
            parse_constant=_constant,
        )  # fmt: skip
        _refuse_deep(read)
    except RecursionError:
        raise DataError("cannot be read: it is nested too deeply", where=where, hint=hint) from None
    except ValueError as error:
        raise DataError(f"cannot be read: {error}", where=where, hint=hint) from None
    require_type(read, form, where, hint)
    return read


def require_type(data: Any, form: Any, where: str = "", hint: str = DAMAGED) -> None:
    """Refuse data that has not the types of a declaration.

    Args:
        data: What was read.
        form: The declaration.
        where: What errors call it.
        hint: What to do then.

    Raises:
        DataError: Names the first place where it differs.
    """
    if (problem := _problem(data, form, "")) is not None:
        raise DataError(problem, where=where, hint=hint)


def file_inside(folder: Path, name: str, where: str, hint: str = DAMAGED) -> Path:
    """Return the path of a file that a stored file names, which never leaves its folder.

    Args:
        folder: The folder.
        name: The path within it, with slashes.
        where: What names it.
        hint: What to do if it leads elsewhere.

    Raises:
        DataError: It leads out of the folder, by `..`, as an absolute path, or through a link.
    """
    parts = PurePosixPath(name).parts
    wrong = not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name
    path = folder.joinpath(*parts) if not wrong else folder
    if wrong or not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"it names the file {_shown(name)}, which is not in its folder", where=where, hint=hint
        )
    return path


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {_shown(twice)} is there twice")
    return made


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _DIGITS:
        raise ValueError(f"a whole number of {len(text):,} digits is too long")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {_shown(text)} is too large")
    return number


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _refuse_deep(data: Any) -> None:
    """Refuse what is nested too deeply, and text that no encoding can write."""
    level, depth = [data], 0
    while level:
        if depth > _DEPTH:
            raise ValueError("it is nested too deeply")
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                below.extend(entry)
                below.extend(entry.values())
            elif isinstance(entry, list):
                below.extend(entry)
            elif isinstance(entry, str) and not entry.isascii():
                entry.encode("utf-8")  # A half of a surrogate pair is a ValueError.
        level, depth = below, depth + 1


_NAMES = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false",
    type(None): "nothing", list: "a list", tuple: "a list", dict: "an object", Mapping: "an object",
}  # fmt: skip


def _problem(data: Any, form: Any, place: str) -> str | None:
    """Return how data differs from a declaration, `None` if it does not."""
    if form is Any:
        return None
    origin, arguments = typing.get_origin(form), typing.get_args(form)
    if origin in (Union, types.UnionType):
        problems = [_problem(data, each, place) for each in arguments]
        if None in problems:
            return None
        # Of several forms, the one of the same kind says the most.
        alike = (text for each, text in zip(arguments, problems, strict=True) if _alike(data, each))
        return next(alike, _expected(data, form, place))
    if origin in (list, tuple):
        return _of_list(data, form, arguments, place)
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            return _expected(data, form, place)
        found = (_problem(item, arguments[1], _below(place, key)) for key, item in data.items())
        return next((text for text in found if text is not None), None)
    if is_dataclass(form) or typing.is_typeddict(form):
        return _of_fields(data, form, place)
    return None if _is(data, form) else _expected(data, form, place)


def _of_list(data: Any, form: Any, arguments: tuple[Any, ...], place: str) -> str | None:
    # `dataclasses.asdict` leaves tuples, which JSON reads back as lists.
    if not isinstance(data, (list, tuple)):
        return _expected(data, form, place)
    if typing.get_origin(form) is tuple and arguments[-1] is not ...:
        if len(data) != len(arguments):
            return f"{_at(place)}has {len(data):,} entries, expected {len(arguments)}"
        forms: Any = arguments
    else:
        inner = arguments[0]
        if inner in (int, float, str) and all(type(item) is inner for item in data):
            return None  # Of a million words none is looked at one by one.
        forms = (inner for _ in data)
    pairs = enumerate(zip(data, forms, strict=False))
    found = (_problem(item, each, f"{place}[{position}]") for position, (item, each) in pairs)
    return next((text for text in found if text is not None), None)


def _of_fields(data: Any, form: Any, place: str) -> str | None:
    if not isinstance(data, dict):
        return _expected(data, form, place)
    for name, (of, needed) in _declared(form).items():
        if name in data:
            problem = _problem(data[name], of, _below(place, name))
        else:
            problem = f"{_below(place, name)} is missing" if needed else None
        if problem is not None:
            return problem
    return None


@lru_cache(maxsize=256)
def _declared(form: Any) -> Mapping[str, tuple[Any, bool]]:
    """Return the type of each field of a declaration, and whether it must be there."""
    hints = typing.get_type_hints(form, include_extras=True)
    if is_dataclass(form):
        return {
            entry.name: (
                hints[entry.name], entry.default is MISSING and entry.default_factory is MISSING
            )
            for entry in fields(form)
        }  # fmt: skip
    made = {}
    for name, of in hints.items():
        optional = typing.get_origin(of) is NotRequired
        made[name] = (typing.get_args(of)[0] if optional else of, not optional)
    return made


def _is(data: Any, form: Any) -> bool:
    if form is float:
        return isinstance(data, (int, float)) and not isinstance(data, bool)
    if form is int:
        return isinstance(data, int) and not isinstance(data, bool)
    return isinstance(data, form if form is not None else type(None))


def _alike(data: Any, form: Any) -> bool:
    """Whether data is a list or an object, as a declaration says."""
    origin = typing.get_origin(form)
    if isinstance(data, dict):
        return origin in (dict, Mapping) or is_dataclass(form) or typing.is_typeddict(form)
    return isinstance(data, list) and origin in (list, tuple)


def _expected(data: Any, form: Any, place: str) -> str:
    return f"{_at(place)}is {_said(data)}, expected {_kind(form)}"


def _kind(form: Any) -> str:
    origin = typing.get_origin(form)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in typing.get_args(form))
    return _NAMES.get(origin or form, "an object")


def _said(data: Any) -> str:
    if data is None:
        return "nothing (null)"
    kind = _NAMES.get(type(data), type(data).__name__)
    return kind if isinstance(data, (dict, list, tuple)) else f"{kind} ({_shown(data)})"


def _shown(data: Any) -> str:
    text = json.dumps(data) if isinstance(data, (str, bool)) else str(data)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _at(place: str) -> str:
    return f"{place} " if place else "its content "


def _below(place: str, name: str) -> str:
    part = name if name.isidentifier() else json.dumps(name)
    return f"{place}.{part}" if place else part
