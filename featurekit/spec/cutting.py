"""Takes entries out of the text of a spec, leaving everything else as it stands.

As in `featurekit.spec.freeze`, YAML's own marks say where each entry begins and ends. In blocks its
lines go; between braces and brackets it goes with one comma. A comment behind an entry goes with
it. One above entries speaks for all that follow up to the next blank line or comment, and goes with
the last of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import yaml

from featurekit.spec.freeze import next_line, text_end, yaml_text

__all__ = ["Path", "cut"]

Path = tuple[str, ...]
"""The keys that lead to an entry; that of an entry of a list is its text."""

_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*(#[^\n]*)?\r?(\n|$)")
_COMMENT = re.compile(r"[ \t]*#")


@dataclass(frozen=True)
class _Edit:
    """Text that is put in the place of another, from a character to before another one."""

    start: int
    stop: int
    text: str = ""


@dataclass(frozen=True)
class _Entry:
    """An entry of a mapping or a list.

    Args:
        path: The keys that lead to it.
        value: Its value.
        start: Where its key begins, or in a list its value.
        stop: Where its text ends.
        column: How far its beginning is indented.
    """

    path: Path
    value: yaml.Node
    start: int
    stop: int
    column: int


def cut(text: str, gone: Collection[Path], written: Mapping[Path, str]) -> str:
    """Return a YAML text without some entries.

    Args:
        text: The text of a document.
        gone: The entries; of a mapping or list at least one entry stays, or it goes itself.
        written: What to write in the place of the texts at some paths.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = [] if root is None else list(_edits(text, root, (), gone, written))
    newline = "\r\n" if "\r\n" in text else "\n"
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text.replace("\n", newline) + text[edit.stop :]
    return text


def _edits(
    text: str, node: yaml.Node, path: Path, gone: Collection[Path], written: Mapping[Path, str]
) -> Iterator[_Edit]:
    if isinstance(node, yaml.ScalarNode) and path in written:
        # Of JSON, which is YAML, it makes JSON.
        quoted = json.dumps(written[path], ensure_ascii=False)
        made = quoted if node.style == '"' else yaml_text(written[path])
        block = "\n" if node.style in ("|", ">") else ""
        yield _Edit(node.start_mark.index, node.end_mark.index, made + block)
    if not isinstance(node, yaml.CollectionNode) or not node.value:
        return
    entries = list(_entries(node, path))
    leaving = [entry for entry in entries if entry.path in gone]
    if leaving:
        yield from (_from_flow if node.flow_style else _from_block)(text, entries, gone)
    for entry in entries:
        if entry not in leaving:
            yield from _edits(text, entry.value, entry.path, gone, written)


def _entries(node: yaml.CollectionNode, path: Path) -> Iterator[_Entry]:
    for entry in node.value:
        first, value = entry if isinstance(entry, tuple) else (entry, entry)
        start, name = first.start_mark, first.value if isinstance(first.value, str) else ""
        yield _Entry((*path, name), value, start.index, text_end(value), start.column)


def _from_flow(text: str, entries: Sequence[_Entry], gone: Collection[Path]) -> Iterator[_Edit]:
    """Take entries out from between braces or brackets, neighbours together."""
    place = 0
    while place < len(entries):
        first = place
        while place < len(entries) and entries[place].path in gone:
            place += 1
        if place > first:
            before = entries[first - 1] if first else None
            after = entries[place] if place < len(entries) else None
            yield from _run(text, before, entries[first], entries[place - 1], after)
        place += 1


def _run(
    text: str, before: _Entry | None, first: _Entry, last: _Entry, after: _Entry | None
) -> Iterator[_Edit]:
    """Take neighbours out, of which the entries before and after stay."""
    line, rest = _line(text, first.start), _REST_OF_LINE.match(text, last.stop)
    if not text[line : first.start].strip() and rest is not None:
        yield _Edit(line, rest.end())
        if before is not None and after is None and "," not in rest[0].partition("#")[0]:
            comma = re.compile(r"\s*,").match(text, before.stop)
            if comma is not None:
                yield _Edit(comma.end() - 1, comma.end())
    elif before is None:
        yield _Edit(first.start, last.stop if after is None else after.start)
    elif "\n" not in text[before.stop : first.start]:
        yield _Edit(before.stop, last.stop)
    elif after is not None and "\n" not in text[last.stop : after.start]:
        yield _Edit(first.start, after.start)
    elif "#" in text[before.stop : first.start]:
        yield _Edit(first.start, last.stop)
    else:
        yield _Edit(before.stop, last.stop)


def _from_block(text: str, entries: Sequence[_Entry], gone: Collection[Path]) -> Iterator[_Edit]:
    """Take the lines of entries out, and what stands above a paragraph of which nothing stays."""
    paragraphs: list[list[_Entry]] = []
    spans = {entry.path: _lines(text, entry) for entry in entries}
    for before, entry in pairwise((None, *entries)):
        assert entry is not None
        if before is None or spans[before.path].stop < spans[entry.path].start:
            paragraphs.append([])
        paragraphs[-1].append(entry)
    for number, paragraph in enumerate(paragraphs):
        leaving = [spans[entry.path] for entry in paragraph if entry.path in gone]
        if len(leaving) < len(paragraph):
            yield from (_Edit(span.start, span.stop) for span in leaving)
            continue
        head = _above(text, leaving[0].start, _COMMENT)
        start, stop = _above(text, head, re.compile(r"[ \t]*\r?\n")), leaving[-1].stop
        # Of the blank lines around it, those above go; below a key there may be none.
        if start == head and number + 1 < len(paragraphs):
            blank = re.compile(r"([ \t]*\r?\n)*").match(text, stop)
            stop = stop if blank is None else blank.end()
        yield _Edit(start, stop)


def _lines(text: str, entry: _Entry) -> _Edit:
    """Return the lines of an entry, with comments that are indented as parts of it, as an edit."""
    start, stop = _line(text, entry.start), next_line(text, entry.stop)
    while text.endswith(("\n\n", "\r\n\r\n"), start, stop):  # blank lines behind a block of text
        stop = text.rindex("\n", start, stop - 1) + 1
    while _COMMENT.match(text, stop) and _indent(text, stop) > entry.column:
        stop = next_line(text, stop + 1)
    return _Edit(start, stop)


def _above(text: str, at: int, wanted: re.Pattern[str]) -> int:
    """Return where the lines of a kind begin that end where a line begins; there if none does."""
    while at:
        line = _line(text, at - 1)
        if not wanted.match(text, line, at):
            break
        at = line
    return at


def _line(text: str, at: int) -> int:
    """Return where the line of a character begins."""
    return text.rfind("\n", 0, at) + 1


def _indent(text: str, line: int) -> int:
    return len(text[line:]) - len(text[line:].lstrip(" "))
