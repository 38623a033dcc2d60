"""Reads a spec from YAML, keeping `file:line`, and refusing what YAML gets silently wrong.

The text is read as a stream of events, so that nothing is built from it before it is known to be
safe: no tags, no anchors and aliases, no duplicate keys, no nesting beyond what a spec needs, and
none of YAML 1.1's surprises (`NO` is false, `12:30` is 750). Dates stay texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from featurekit.arguments import path_of
from featurekit.errors import SpecError, SpecErrors
from featurekit.spec.expression import shortened
from featurekit.spec.objects import Spec, read_spec
from featurekit.spec.problems import Problems

__all__ = ["load_spec", "parse_spec", "plain_scalar"]

MAX_BYTES = 4_000_000
MAX_DEPTH = 12

_SURPRISES = re.compile(r"(?i:yes|no|on|off)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9]*)?")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?", re.ASCII)
_CONSTANTS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}


def load_spec(path: str | Path) -> Spec:
    """Read a spec file.

    Args:
        path: A YAML file; relative paths in it start from its folder.

    Returns:
        The spec, with the place of each part.

    Raises:
        SpecError: The file cannot be read.
        SpecErrors: All problems of the spec together, each with `file:line`.
    """
    path = path_of(path, "a spec file")
    try:
        raw = path.read_bytes()
    except IsADirectoryError:
        raise SpecError("a spec file is needed, and this is a folder", where=str(path)) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(f"the spec cannot be read: {reason}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"a spec may have {MAX_BYTES:,} bytes, got {len(raw):,}", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"the spec is not UTF-8 text: {error.reason} at byte {error.start}", where=str(path)
        ) from None
    return parse_spec(text, name=str(path), base=path.parent)


def parse_spec(text: str, name: str = "spec", base: Path | None = None) -> Spec:
    """Read a spec from YAML text; see `load_spec`."""
    reader = _Reader(name)
    try:
        data = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except _Stopped:
        reader.problems.check()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        said = str(error.problem or error)
        hint = "quote an expression that holds ': ', '#', '[' or '{', or, within { }, a comma"
        if r"'\t'" in said:
            hint = "write blanks in the place of the tab: YAML takes no tabs for indentation"
        problem = SpecError(f"this is not YAML: {said}", where=place, hint=hint)
        raise SpecErrors([problem]) from None
    except yaml.YAMLError as error:
        raise SpecErrors([SpecError(f"this is not YAML: {error}", where=name)]) from None
    return read_spec(data, reader.problems, base or Path())


def plain_scalar(text: str) -> Any:
    """Return what a text without quotes means.

    Raises:
        SpecError: YAML means something by it that nobody expects.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _SURPRISES.fullmatch(text):
        raise SpecError(
            f"{text} without quotes means true or false in YAML",
            hint=f'write "{text}" for the text, or true or false',
        )
    if _SEXAGESIMAL.fullmatch(text):
        raise SpecError(
            f"{shortened(text)} without quotes is a number in base 60 in YAML",
            hint=f'write "{shortened(text)}"',
        )
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Stopped(Exception):
    """Reading on would make no sense; the problem has been collected."""


class _Reader:
    """Builds plain data and places from YAML events, collecting problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[tuple[str, ...], str] = {(): f"{name}:1"}
        self.problems = Problems(self.places)

    def document(self, events: Iterator[Any]) -> Any:
        found: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.problem(event, "a spec is one YAML document", "remove the second '---'")
                    raise _Stopped
                found = self.value(next(events), events, ())
        return found

    def value(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Any:
        if len(path) > MAX_DEPTH:
            self.problem(event, f"a spec may be nested {MAX_DEPTH} deep at most")
            raise _Stopped
        self.places.setdefault(path, self.where(event))
        before = len(self.problems)
        self.check(event)
        if isinstance(event, (yaml.AliasEvent, yaml.ScalarEvent)):
            value = self.scalar(event) if isinstance(event, yaml.ScalarEvent) else None
            if len(self.problems) > before:
                self.problems.unreadable(path)
            return value
        if isinstance(event, yaml.SequenceStartEvent):
            out: list[Any] = []
            for entry in events:
                if isinstance(entry, yaml.SequenceEndEvent):
                    break
                out.append(self.value(entry, events, (*path, str(len(out)))))
            return out
        return self.mapping(events, path)

    def mapping(self, events: Iterator[Any], path: tuple[str, ...]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                self.problem(event, "a key must be a text", "quote it")
                raise _Stopped
            self.check(event)
            self.scalar(event)
            key = event.value
            if key in out:
                first = self.places[(*path, key)].rpartition(":")[2]
                self.problem(
                    event,
                    f"the key {shortened(key)!r} stands twice (first on line {first})",
                    "remove one of them",
                )
            self.places.setdefault((*path, key), self.where(event))
            value = self.value(next(events), events, (*path, key))
            out.setdefault(key, value)
        return out

    def check(self, event: Any) -> None:
        """Refuse what YAML can do beyond writing plain values down."""
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self.problem(
                event,
                "anchors (&) and aliases (*) are not allowed in a spec",
                "write the value out; quote text that starts with & or *",
            )
        elif event.tag is not None:
            self.problem(
                event,
                f"the tag {shortened(event.tag)} is not allowed in a spec",
                "write plain values; quote text that starts with !",
            )

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.style:  # quoted, or a block
            return text
        try:
            return plain_scalar(text)
        except SpecError as error:
            self.problem(event, error.message, error.hint)
            return text

    def where(self, event: Any) -> str:
        return f"{self.name}:{event.start_mark.line + 1}"

    def problem(self, event: Any, message: str, hint: str = "") -> None:
        self.problems.add(SpecError(message, hint=hint), place=self.where(event))
