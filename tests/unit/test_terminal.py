"""Whatever names and arguments hold, no control character reaches the terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurekit.cli import main
from featurekit.console import notes_printed, progress_bar, put, show_traceback
from featurekit.errors import FeatureKitError
from featurekit.escapes import escaped
from featurekit.job import Progress

HOSTILE = {
    "escape": "a\x1b[2Jb", "bell": "a\x07b", "line": "a\nfeaturekit: fake", "return": "a\rb",
    "c1": "a\x9b31mb", "bidi": "a\u202eb", "isolate": "a\u2066b", "backspace": "a\x08b",
    "separator": "a\u2028b", "tab": "a\tb", "delete": "a\x7fb",
}  # fmt: skip
"""What names may hold; in names of files all but NUL and the slash."""


def hostile(text: str) -> set[str]:
    """Return the characters of a text that must not be there raw."""
    kinds = ("Cc", "Cf", "Zl", "Zp")
    return {c for c in text if unicodedata.category(c) in kinds and c != "\n"}


def check(out: str, held: str) -> None:
    """Check what came out of a command that was given a hostile text."""
    assert not hostile(out.replace("\t", "")) - ({"\t"} if held != "\t" else set()), repr(out)
    assert not any(line.startswith("featurekit: fake") for line in out.splitlines()), repr(out)
    if "\t" in held:
        assert "\t" not in out, repr(out)


def plain(name: str = "spec", column: str = "x", feature: str = "z", source: str = "rows",
          path: str = "rows.parquet", expr: str | None = None) -> dict[str, Any]:  # fmt: skip
    called = json.dumps(column)
    return {
        "name": name,
        "sources": {source: {"path": path}},
        "examples": {"source": source, "label": "y", "keys": ["id"]},
        "features": {feature: expr or f"zscore(col({called}))"},
    }


def write(folder: Path, spec: dict[str, Any], column: str = "x") -> Path:
    rows = pl.DataFrame({"id": range(60), column: [i * 0.37 % 1 for i in range(60)],
                         "word": ["a", "b", "c"] * 20,
                         "y": [i % 3 == 0 for i in range(60)]})  # fmt: skip
    for source in spec["sources"].values():
        file = folder / source["path"]
        if not file.exists() and file.parent == folder:
            rows.write_parquet(file)
    path = folder / "spec.yaml"
    path.write_text(json.dumps(spec), "utf-8")
    return path


def places(word: str) -> dict[str, dict[str, Any]]:
    """Return specs with a hostile word in each place."""
    return {
        "spec name": plain(name=word), "column": plain(column=word), "feature": plain(feature=word),
        "source": plain(source=word), "path": plain(path=f"{word}.parquet"),
        "no such file": plain(path=f"none/{word}.parquet"),
        "no such column": plain(expr=f"col({json.dumps(word + '!')}) + 1"),
        "no such operation": plain(expr=f"zsc({json.dumps(word)})"),
        "literal": plain(expr=f"word == {json.dumps(word)}"),
        "setting": {**plain(), word: 1},
        "value": {**plain(), "name": [word]},
        "setting of a source": {**plain(), "sources": {"rows": {"path": "rows.parquet", word: 1}}},
    }  # fmt: skip


COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "check": lambda spec: ["check", spec],
    "plan": lambda spec: ["plan", spec],
    "mermaid": lambda spec: ["plan", spec, "--mermaid"],
    "schema": lambda spec: ["schema", spec],
    "run": lambda spec: ["run", spec, "--out", "out", "--no-tensorflow"],
    "leakage": lambda spec: ["leakage", spec],
}


def outcome(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    assert code in (0, 1, 2, 3), captured.err
    return captured.out + captured.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_names_in_specs_reach_no_terminal_raw(
    command: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    word = HOSTILE[kind]
    shown = 0
    for number, (place, spec) in enumerate(places(word).items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        path = write(folder, spec, word if place == "column" else "x")
        out = outcome(COMMANDS[command](path.name), capsys)
        check(out, word)
        shown += "featurekit: fake" in out if kind == "line" else 0
    assert kind != "line" or shown, "a word that is not shown shows nothing"


ARGUMENTS: list[list[str]] = [
    ["{}"], ["run", "{}"], ["run", "spec.yaml", "--out", "{}", "--no-tensorflow"],
    ["run", "spec.yaml", "--{}"], ["run", "spec.yaml", "--engine", "{}", "--out", "o"],
    ["run", "spec.yaml", "--out", "o", "--project", "{}", "--dataset", "d"],
    ["run", "spec.yaml", "--out", "o", "--max-bad-rows", "{}"],
    ["plan", "{}"], ["plan", "spec.yaml", "--picture", "{}"], ["plan", "spec.yaml", "{}"],
    ["check", "{}"], ["schema", "{}"], ["apply", "{}", "rows.parquet", "--out", "o.parquet"],
    ["snapshot", "spec.yaml", "--as-of", "{}", "--out", "o"],
    ["snapshot", "spec.yaml", "--as-of", "2024-01-01", "--out", "o", "--only", "{}"],
    ["leakage", "{}"], ["leakage", "rows.parquet", "--label", "{}"],
    ["leakage", "rows.parquet", "--label", "y", "--exclude", "{}"],
    ["leakage", "rows.parquet", "--label", "y", "--threshold", "{}"],
    ["leakage", "rows.parquet", "--label", "y", "--fail-on", "{}"],
    ["leakage", "rows.parquet", "--label", "y", "--out", "{}"],
    ["ablate", "{}"], ["ablate", "rows.parquet", "--label", "y", "--group", "{}"],
    ["ablate", "rows.parquet", "--label", "y", "--created", "x={}"],
    ["ablate", "rows.parquet", "--label", "y", "--budget", "{}"],
    ["ablate", "rows.parquet", "--label", "y", "--model", "{}"],
    ["completion", "{}"], ["verify", "{}"],
]  # fmt: skip


@pytest.mark.parametrize("place", ARGUMENTS, ids=" ".join)
def test_arguments_reach_no_terminal_raw(
    place: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write(tmp_path, plain())
    for word in ("a\x1b[2J\x07b", "a\nfeaturekit: fake\x9b\u202e", "a\tb\x7f"):
        check(outcome([part.format(word) for part in place], capsys), word)


@pytest.mark.parametrize("kind", HOSTILE)
def test_columns_of_a_table_reach_no_terminal_raw(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    word = HOSTILE[kind]
    monkeypatch.chdir(tmp_path)
    y = [i % 3 == 0 for i in range(300)]
    table = pl.DataFrame({word: [float(each) for each in y], "y": y,
                          "noise": [i * 0.37 % 1 for i in range(300)]})  # fmt: skip
    table.write_parquet(f"{word}.parquet")
    table.with_columns(pl.lit("x").alias("part"), pl.lit(word).alias("word")).write_csv("rows.csv")
    for arguments in (
        ["leakage", f"{word}.parquet", "--label", "y"],
        ["leakage", "rows.csv", "--label", "y", "--out", f"{word}.html", "--fail-on", "never"],
        ["ablate", f"{word}.parquet", "--label", "y", "--tier", "linear"],
    ):
        out = outcome(arguments, capsys)
        check(out, word)
        assert escaped(word)[:3] in out or kind == "line"


def test_results_for_machines_escape_by_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for place, word in HOSTILE.items():
        path = write(tmp_path, plain(column=word, path=f"{place}.parquet"), word)
        for command in ("check", "plan"):
            assert main([command, path.name, "--json"]) == 0
            out = capsys.readouterr().out
            assert not hostile(out)
            assert word in json.loads(out)["inputs"]


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_notes_and_warnings_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in HOSTILE.values():
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_bar(shown=True) as tell:
            assert tell is not None
            tell(Progress(0, 2, f"reading {word}"))
            tell(Progress(0, 2, f"a note on {word}", note=True))
        with notes_printed():
            warnings.simplefilter("always", UserWarning)
            warnings.warn(f"of {word}", UserWarning, stacklevel=1)
            if logging.lastResort is not None:
                logging.lastResort.emit(
                    logging.LogRecord("x", logging.WARNING, "", 0, f"log {word}", (), None)
                )
        drawn = terminal.getvalue()
        # The bar itself goes back to the start of its line.
        check(drawn.replace("\x1b[A", "").replace("\r", "\n"), word)
        assert "a note on a" in drawn


def test_a_traceback_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    for word in HOSTILE.values():
        error = FeatureKitError(word)
        show_traceback(type(error), error, None)
        check(capsys.readouterr().err, word)


def test_nothing_but_one_function_writes_to_streams() -> None:
    """`print` is refused by the linter; `.write(` on a stream of the process is looked for here."""
    root = Path(__file__).resolve().parents[2]
    found = [
        f"{path.name}: {line.strip()}"
        for folder in ("featurekit", "analysis", "transforms")
        for path in (root / folder).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if "sys.stdout.write" in line or "sys.stderr.write" in line
    ]
    assert found == ["signatures.py: sys.stdout.write(stub())"]  # For those who work on it.


def test_lines_of_layout_stay() -> None:
    stream = io.StringIO()
    put(stream, ["one", "two \x1b"])
    assert stream.getvalue() == "one\ntwo \\x1b\n"
