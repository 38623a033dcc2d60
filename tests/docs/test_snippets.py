"""Every snippet of the documentation does what its page says."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from featurekit.spec.yaml import parse_spec
from tests.docs.conftest import Workspace
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Block, blocks, commands, shows

SKELETON = {
    "sources": "sources: {flights: {path: flights.parquet, event_time: sched_dep}}\n",
    "examples": "examples: {source: flights}\n",
    "features": "features: {f: log1p(distance)}\n",
}
"""What a page's part of a spec is completed with."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_of_a_page_does_what_the_page_says(page: Path, workspace: Workspace) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.place}: {block.language or 'no language'}"
        if block.title is not None:
            target = workspace.path / block.title
            if (ROOT / block.title).exists():
                assert block.text == target.read_text("utf-8"), f"{block.place}: not the file"
            target.write_text(block.text, "utf-8")
        match block.language:
            case "python":
                printed = run_python(block, names, workspace)
            case "py":
                compile(block.text, block.place, "exec")
            case "text":
                assert block.follows, f"{block.place}: follows no python block"
                assert printed is not None, f"{block.place}: follows no python block"
                compare(block, block.text, printed)
            case "console":
                run_console(block, workspace)
            case "yaml":
                read_yaml(block)


def run_python(block: Block, names: dict[str, Any], workspace: Workspace) -> str:
    out = io.StringIO()
    page, _, line = block.place.rpartition(":")
    code = compile("\n" * int(line) + block.text, page, "exec")
    with contextlib.chdir(workspace.path), contextlib.redirect_stdout(out):
        exec(code, names)
    return out.getvalue()


def run_console(block: Block, workspace: Workspace) -> None:
    """Run the commands; one that fails must be followed by `echo $?`."""
    code = 0
    for command in commands(block):
        if command.text == "echo $?":
            compare(block, command.output, str(code))
            code = 0
            continue
        assert code == 0, f"{block.place}: exit code {code} before {command.text!r}"
        answer = workspace.command(command.text)
        if answer is not None:
            code, output = answer
            if command.output.strip():
                compare(block, command.output, output)
    assert code == 0, f"{block.place}: exit code {code}"


def read_yaml(block: Block) -> None:
    """A whole spec, or some of its sections, is well-formed."""
    text = f"\n{block.text}"
    missing = [part for section, part in SKELETON.items() if f"\n{section}:" not in text]
    parse_spec(block.text + "".join(missing), name=block.place)


def compare(block: Block, expected: str, output: str) -> None:
    if not shows(expected, output, values=not block.all_flights):
        pytest.fail(f"{block.place} shows\n{expected}\nbut this came out\n{output}")


def test_dots_stand_for_anything_and_values_count_unless_they_come_from_all_flights() -> None:
    assert shows("a ... c\n...\nz", "a b c\nd\ne\nz")
    assert not shows("a ... c", "a b d")
    assert not shows("12 rows", "13 rows")
    assert shows("1,234 rows  -0.5", "99 rows 0.25e-3", values=False)
    assert not shows("1,234 rows", "99 columns", values=False)
