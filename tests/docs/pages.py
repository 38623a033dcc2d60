"""Reads the fenced blocks of a documentation page, and compares output with what a page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("examples/*/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
LANGUAGES = {"python", "py", "text", "console", "yaml", "csv"}
"""`py` is Python that needs Google Cloud: it is compiled and not run."""

_BLOCK = re.compile(
    r"^(?P<mark><!-- all flights -->\n)?"
    r'```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
_VALUE = re.compile(r"[-+]?\d[\d,_]*(\.\d+)?(e[-+]?\d+)?|\btrue\b|\bfalse\b")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        language: What stands after the fence; see LANGUAGES.
        title: The file that the block is, when it has a name.
        text: What it holds.
        place: `page:line` of its first line.
        follows: Whether nothing but space stands between the block before and this one.
        all_flights: Whether its values come from all flights, where tests run on a few.
    """

    language: str
    title: str | None
    text: str
    place: str
    follows: bool
    all_flights: bool


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    text = page.read_text("utf-8")
    end = 0
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(
            match["language"], match["title"], match["text"], f"{page.relative_to(ROOT)}:{line}",
            not text[end : match.start()].strip() and end > 0, match["mark"] is not None,
        )  # fmt: skip
        end = match.end()
    assert text.count("```") == 2 * sum(1 for _ in _BLOCK.finditer(text)), f"{page}: an odd fence"


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the output that the page shows for it."""

    text: str
    output: str


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block: lines that start with `$ `."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0], f"{block.place}: a console block starts with a command"
    return [Command(*part.split("\n", 1)) for part in parts[1:]]


def shows(expected: str, output: str, values: bool = True) -> bool:
    """Say whether a page shows an output: `...` stands for anything.

    Args:
        expected: What the page shows.
        output: What came out.
        values: Whether numbers and booleans count; if not, widths do not either.
    """
    if not values:
        expected, output = _plain(expected), _plain(output)
    lines = "\n".join(line.rstrip() for line in output.strip().splitlines())
    wanted = "\n".join(line.rstrip() for line in expected.strip().splitlines())
    pattern = re.escape(wanted).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, lines, re.DOTALL) is not None


def _plain(text: str) -> str:
    text = _VALUE.sub("0", text)
    text = re.sub(r"[─═-]{2,}", "--", text)
    return re.sub(r"[ \t]+", " ", text)
