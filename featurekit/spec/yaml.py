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

from featurekit.errors import SpecError, SpecErrors
from featurekit.spec.objects import Spec, read_spec

__all__ = ["load_spec", "parse_spec"]

MAX_BYTES = 4_000_000
MAX_DEPTH = 12

_SURPRISES = re.compile(r"(?i:yes|no|on|off)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9]*)?")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?")
_CONSTANTS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False,
              "FALSE": False, "null": None, "Null": None, "NULL": None, "~": None, "": None}  # fmt: skip


def load_spec(path: str | Path) -> Spec:
    """Read a spec file.

    Args:
        path: A YAML file; relative paths in it start from its folder.

    Returns:
        The spec, with the place of each part.

    Raises:
        SpecErrors: All problems of the spec together, each with `file:line`.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(f"the spec cannot be read: {reason}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise SpecError(f"a spec has at most {MAX_BYTES:,} bytes, got {len(raw):,}", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError("the spec is not UTF-8 text", where=str(path)) from None
    return parse_spec(text, name=str(path), base=path.parent)


def parse_spec(text: str, name: str = "spec", base: Path | None = None) -> Spec:
    """Read a spec from YAML text; see `load_spec`."""
    reader = _Reader(name)
    try:
        data = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SpecError(
            f"this is not YAML: {error.problem or error}",
            where=f"{name}:{line}",
            hint="quote an expression that holds ': ', '#', '[' or '{', or, within { }, a comma",
        ) from None
    except yaml.YAMLError as error:
        raise SpecError(f"this is not YAML: {error}", where=name) from None
    except RecursionError:
        raise SpecError(f"a spec may be nested {MAX_DEPTH} deep at most", where=name) from None
    if reader.problems:
        raise SpecErrors(reader.problems)
    return read_spec(data, reader.places, base or Path())


class _Reader:
    """Builds plain data and places from YAML events, collecting problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[tuple[str, ...], str] = {(): f"{name}:1"}
        self.problems: list[SpecError] = []

    def document(self, events: Iterator[Any]) -> Any:
        found: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.stop(event, "a spec is one YAML document", "remove the second '---'")
                found = self.value(next(events), events, ())
        return found

    def value(self, event: Any, events: Iterator[Any], path: tuple[str, ...]) -> Any:
        if len(path) > MAX_DEPTH:
            self.stop(event, f"a spec may be nested {MAX_DEPTH} deep at most", "")
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self.stop(event, "anchors (&) and aliases (*) are not allowed in a spec",
                      "write the value out; quote text that starts with & or *")  # fmt: skip
        plain = isinstance(event, yaml.ScalarEvent) and event.tag is None
        if event.tag is not None and not plain:
            self.stop(event, f"the tag {event.tag} is not allowed in a spec",
                      "write plain values; quote text that starts with !")  # fmt: skip
        if path not in self.places:
            self.places[path] = self.where(event)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            out = []
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
                self.stop(event, "a key must be a text", "quote it")
            if event.anchor is not None or event.tag is not None:
                self.stop(event, "anchors and tags are not allowed in a spec", "")
            key = event.value if event.style else self.key(event)
            if key in out:
                first = self.places[(*path, key)].rsplit(":", 1)[1]
                self.problem(event, f"the key {key!r} stands twice (first on line {first})", "remove one of them")
            self.places.setdefault((*path, key), self.where(event))
            value = self.value(next(events), events, (*path, key))
            out.setdefault(key, value)
        return out

    def key(self, event: Any) -> str:
        self.scalar(event)
        return str(event.value)

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.style:  # quoted, or a block
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _SURPRISES.fullmatch(text):
            self.problem(event, f"{text} without quotes means true or false in YAML",
                         f'write "{text}" for the text, or true or false')  # fmt: skip
            return text
        if _SEXAGESIMAL.fullmatch(text):
            self.problem(event, f"{text} without quotes is a number in base 60 in YAML", f'write "{text}"')
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text

    def where(self, event: Any) -> str:
        return f"{self.name}:{event.start_mark.line + 1}"

    def problem(self, event: Any, message: str, hint: str) -> None:
        self.problems.append(SpecError(message, where=self.where(event), hint=hint))

    def stop(self, event: Any, message: str, hint: str) -> None:
        raise SpecError(message, where=self.where(event), hint=hint)
