"""Writes types into the text of a spec, leaving everything else as it stands.

The text is not written anew from data: YAML's own marks say where each mapping begins and ends,
and only there something is put in. The result is read back and must be the same spec plus types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import yaml

from featurekit.errors import SpecError
from featurekit.spec.objects import UNDECLARED, FrozenMapping, Spec
from featurekit.spec.yaml import parse_spec
from featurekit.types import Type

__all__ = ["freeze", "next_line", "text_end", "with_types", "yaml_text"]

_Types = Mapping[str, Mapping[str, Type]]
_Edit = tuple[int, str]
"""What to put in, and before which character."""

_LINE = 96


def freeze(text: str, types: _Types) -> str:
    """Return the text of a spec with types written into it.

    Args:
        text: A spec that can be read.
        types: The types of columns that declare none, by source.

    Returns:
        The text with `columns:` entries added; comments and layout are kept.

    Raises:
        SpecError: The layout cannot be edited safely.
    """
    wanted = with_types(parse_spec(text), types)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    newline = "\r\n" if "\r\n" in text else "\n"
    for at, added in sorted(_edits(text, root, types), key=lambda edit: edit[0], reverse=True):
        text = text[:at] + added.replace("\n", newline) + text[at:]
    try:
        good = parse_spec(text) == wanted
    except SpecError:
        good = False
    if not good:
        raise SpecError("the types cannot be written into a file of this layout",
                        hint="paste what `featurekit schema` prints under the source")  # fmt: skip
    return text


def with_types(spec: Spec, types: _Types) -> Spec:
    """Return a spec whose columns declare types in addition."""
    sources = dict(spec.sources)
    for name, found in types.items():
        columns = dict(sources[name].columns)
        for column, of in found.items():
            columns[column] = replace(columns.get(column, UNDECLARED), type=of)
        sources[name] = replace(sources[name], columns=FrozenMapping(columns))
    return replace(spec, sources=FrozenMapping(sources))


def yaml_text(value: str) -> str:
    """Return a text as YAML that reads back as it, in blocks and between braces alike."""
    style = None if value.isprintable() else '"'
    text = yaml.safe_dump([value], default_flow_style=True, default_style=style, allow_unicode=True,
                          width=2**31)  # fmt: skip
    return text.strip()[1:-1]


def _edits(text: str, root: yaml.Node | None, types: _Types) -> Iterator[_Edit]:
    sources = _child(root, "sources")
    for name, found in types.items():
        source = _child(sources, name)
        columns = _child(source, "columns")
        entries = [] if columns is None else columns.value
        declared = {key.value: (key, entry) for key, entry in entries}
        for column, of in found.items():
            if column in declared:
                yield _type_of(text, *declared[column], of)
        added = {column: of for column, of in found.items() if column not in declared}
        if added and source is not None:
            yield _new_columns(text, source, columns, added)


def _child(node: yaml.Node | None, name: str) -> yaml.MappingNode | None:
    """Return the mapping that stands under a key."""
    entries = node.value if isinstance(node, yaml.MappingNode) else ()
    found = next((value for key, value in entries if key.value == name), None)
    return found if isinstance(found, yaml.MappingNode) else None


def _type_of(text: str, key: yaml.Node, declared: yaml.MappingNode, of: Type) -> _Edit:
    """Add a type to a column that declares something else."""
    if declared.flow_style:
        return declared.start_mark.index + 1, f"type: {of}, " if declared.value else f"type: {of}"
    first = declared.value[0][0]
    return next_line(text, key.end_mark.index), f"{' ' * first.start_mark.column}type: {of}\n"


def _new_columns(
    text: str, source: yaml.MappingNode, columns: yaml.MappingNode | None, added: Mapping[str, Type]
) -> _Edit:
    """Add columns that are not declared at all, after what is there."""
    if columns is not None and columns.flow_style:
        if not columns.value:
            return columns.start_mark.index + 1, _flow(text, columns, added)
        entries = _flow(text, columns, added)
        return text_end(
            columns.value[-1][1]
        ), f",{'' if entries.startswith(chr(10)) else ' '}{entries}"
    if columns is not None:
        return _block(text, columns, _lines(columns.value[0][0].start_mark.column, added))
    if source.flow_style:
        return text_end(source.value[-1][1]), f", columns: {{{_flow(text, source, added)}}}"
    indent = source.value[0][0].start_mark.column
    head = f"{' ' * indent}columns:\n"
    return _block(text, source, head + _lines(indent + 2, added))


def _lines(indent: int, added: Mapping[str, Type]) -> str:
    return "".join(f"{' ' * indent}{yaml_text(name)}: {of}\n" for name, of in added.items())


def _block(text: str, mapping: yaml.Node, lines: str) -> _Edit:
    at = next_line(text, text_end(mapping))
    missing = "" if at == 0 or text[at - 1] == "\n" else "\n"
    return at, missing + lines


def _flow(text: str, node: yaml.Node, added: Mapping[str, Type]) -> str:
    """Return entries between braces, on lines of their own when they are many."""
    parts = [f"{yaml_text(name)}: {of}" for name, of in added.items()]
    entries = ", ".join(parts)
    line = text[text.rfind("\n", 0, node.start_mark.index) + 1 : node.end_mark.index]
    if "\n" not in line and len(line) + len(entries) <= _LINE:
        return entries
    indent = " " * (len(line) - len(line.lstrip(" ")) + 4)
    rows = [""]
    for part in parts:
        if len(indent) + len(rows[-1]) + len(part) > _LINE:
            rows.append("")
        rows[-1] += f"{part}, "
    return "\n" + "\n".join(indent + row.rstrip() for row in rows).rstrip(",")


def text_end(node: yaml.Node) -> int:
    """Return where the text of a node ends, without what YAML counts to it behind that."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return text_end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def next_line(text: str, at: int) -> int:
    """Return where the next line begins; `at` itself when a line begins there."""
    if at and text[at - 1] == "\n":
        return at
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1
