"""Writes a spec as YAML or as Python code, as a person would; reading gives an equal spec back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import yaml

from featurekit.errors import SpecError
from featurekit.spec.objects import Column, Feature, Spec
from featurekit.spec.settings import Settings, plain
from featurekit.spec.yaml import plain_scalar

__all__ = ["to_python", "to_yaml"]

WIDTH = 88


def to_yaml(spec: Spec) -> str:
    """Return a spec as YAML: sections in blocks, small mappings and lists on one line.

    Raises:
        SpecError: A source is a table in memory, which has no text.
    """
    data = spec.to_dict()
    for source in data["sources"].values():
        for name, column in source.get("columns", {}).items():
            if column.keys() == {"type"}:
                source["columns"][name] = column["type"]
    sections = {
        section: {name: _laid_out(entry, 4 + len(name), 4) for name, entry in content.items()}
        if isinstance(content, dict) else content
        for section, content in data.items()
    }  # fmt: skip
    return _dumped(sections)


class _InlineMapping(dict[str, Any]):
    """A mapping that is written between braces."""


class _InlineList(list[Any]):
    """A list that is written between brackets."""


def _laid_out(value: Any, column: int, indent: int) -> Any:
    """Mark what fits on the rest of its line, which begins at a column, to be written there."""
    if isinstance(value, dict):
        inline: Any = _InlineMapping({
            key: _InlineList(entry) if isinstance(entry, list) else entry
            for key, entry in value.items()
        })  # fmt: skip
        nested = any(isinstance(entry, dict) for entry in value.values())
    elif isinstance(value, list):
        inline, nested = _InlineList(value), False
    else:
        return value
    text = _dumped(inline).rstrip()
    if not nested and "\n" not in text and column + len(text) <= WIDTH:
        return inline
    if isinstance(value, list):
        return value
    return {
        key: _laid_out(entry, indent + len(key) + 2, indent + 2) for key, entry in value.items()
    }


_FOLDED = frozenset("\x85\u2028\u2029")
"""Line breaks to YAML, which only double quotes keep as they are."""


class _Dumper(yaml.SafeDumper):
    """Writes without quotes what our reader reads back as the same, and nothing else."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless and flow)

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        try:
            return f"tag:yaml.org,2002:{type(plain_scalar(value)).__name__}"
        except SpecError:
            return "surprise"

    def choose_scalar_style(self) -> str:
        style: str = super().choose_scalar_style()
        text = getattr(self.event, "value", "")
        if not _FOLDED.isdisjoint(text):
            return '"'
        return '"' if style == "'" and '"' not in text and "\\" not in text else style


_Dumper.add_representer(
    _InlineMapping,
    lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True),
)
_Dumper.add_representer(
    _InlineList,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)


_Dumper.add_representer(
    str,
    lambda dumper, data: dumper.represent_scalar(
        "tag:yaml.org,2002:str", data, style="|" if "\n" in data else None
    ),
)


def _dumped(data: Any) -> str:
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False,
        width=sys.maxsize,
    )  # fmt: skip
    return text


def to_python(spec: Spec) -> str:
    """Return Python code that builds an equal spec, as the name `spec`.

    Raises:
        SpecError: A source is a table in memory, which has no text.
    """
    spec.to_dict()
    return f"import featurekit as fk\n\nspec = {_code(spec, 7, 0)}\n"


def _code(value: Any, column: int, indent: int) -> str:
    """Return the code of a value, on the rest of its line or in lines of its parts.

    Args:
        value: An object of a spec, or a value of one.
        column: Where the code begins on its line.
        indent: Where that line begins.
    """
    value = _short(value)
    match value:
        case Settings():
            head, tail = f"fk.{type(value).__name__}(", ")"
            parts = [(f"{key}=", entry) for key, entry in value.given().items()]
        case Mapping():
            head, tail = "{", "}"
            parts = [(f"{_quoted(key)}: ", entry) for key, entry in value.items()]
        case list() | tuple():
            head, tail = "[", "]"
            parts = [("", entry) for entry in value]
        case str():
            return _quoted(value)
        case _:
            return repr(value)
    if not isinstance(value, Spec):
        line = ", ".join(prefix + _code(entry, 0, -sys.maxsize) for prefix, entry in parts)
        if indent < 0 or column + len(head + line + tail) < WIDTH:
            return head + line + tail
    below = indent + 4
    lines = [
        f"{' ' * below}{prefix}{_code(entry, below + len(prefix), below)},\n"
        for prefix, entry in parts
    ]
    return f"{head}\n{''.join(lines)}{' ' * indent}{tail}"


def _short(value: Any) -> Any:
    """Return text in the place of an object that can be given as such."""
    if isinstance(value, (Column, Feature)) and list(value.given()) == [value.short]:
        return plain(value.given()[str(value.short)])
    return value if isinstance(value, (Settings, Mapping, tuple)) else plain(value)


def _quoted(text: str) -> str:
    """Return a string literal, in double quotes where that needs no escapes."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in text else literal
