"""The order of the modules, what importing them costs, and that nothing is left undocumented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import featurekit
from featurekit.transforms.catalogue import aggregations, operations

ROOT = Path(__file__).resolve().parents[2]

LAYERS = (
    (
        "_version",
        "arguments",
        "errors",
        "escapes",
        "semantics",
        "scratch",
        "serving_names",
        "stand_ins",
        "stored_json",
        "summary",
        "types",
    ),
    ("transforms",),
    ("spec", "graph", "availability"),
    (
        "typecheck",
        "uses",
        "leaks",
        "judging",
        "functions",
        "histories",
        "stored",
        "targets",
        "observed",
    ),
    ("read_errors",),
    (
        "number_text",
        "csv_types",
        "csv_copies",
        "csv_files",
        "csv_table",
        "partitions",
        "parquet_files",
        "table",
    ),
    ("checks", "time_formats", "time_columns"),
    ("sources", "reading", "resolve", "resolved", "word_types"),
    ("threats",),
    ("delays", "planner", "verdict", "explain", "picture", "feature_reads"),
    ("feature_groups",),
    ("engines",),
    ("run_warnings",),
    ("integrity", "manifest"),
    ("artifact",),
    ("selection",),
    ("beam_program", "export", "observing", "opening", "runs", "serving", "smaller", "training"),
    ("costs",),
    ("job", "schema", "snapshots", "transformer"),
    ("analysis", "beam"),
    ("report",),
    ("ablation", "leakage"),
    ("signals", "console", "help_texts", "table_options", "ablate_command", "cli", "__main__"),
)
"""From the bottom to the top; a module may import its own layer and those before it."""

HEAVY = {"tensorflow", "apache_beam", "sklearn", "pandas", "google", "tensorflow_transform"}


def layer(module: str) -> int:
    """Return the layer of a module, by the part of its name that follows featurekit."""
    part = module.split(".")[1] if "." in module else ""
    found = [i for i, names in enumerate(LAYERS) if part in names]
    assert found, f"{module} stands in no layer: add it to LAYERS"
    return found[0]


def sources() -> dict[str, Path]:
    """Return every module of the library with its file, except the package itself."""
    files = [
        (path, path.relative_to(ROOT / "featurekit"))
        for path in (ROOT / "featurekit").rglob("*.py")
        if path.relative_to(ROOT / "featurekit").parts[0] not in {"transforms", "analysis"}
    ]
    for folder in ("transforms", "analysis"):
        files += [(path, path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")]
    named = {
        ".".join(["featurekit", *path.with_suffix("").parts]).removesuffix(".__init__"): file
        for file, path in files
    }
    return {name: file for name, file in named.items() if name != "featurekit"}


MODULES = sources()


def imported(file: Path) -> Iterator[str]:
    """Yield the modules of the library that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        yield from (name for name in names if name.split(".")[0] == "featurekit")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    upward = [name for name in imported(MODULES[module]) if layer(name) > layer(module)]
    assert not upward, f"{module} imports {', '.join(upward)}, which stand above it"


def printed(*command: str) -> str:
    """Return what a fresh Python process prints."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def brought_by(statement: str) -> set[str]:
    """Return the packages that a statement imports, beyond those that Python starts with."""
    code = f"import sys; before = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    return {name.split(".")[0] for name in printed("-c", code).split()}


def test_importing_featurekit_imports_no_heavy_package() -> None:
    assert not HEAVY & brought_by("import featurekit")


def test_the_operations_and_the_command_line_import_no_heavy_package() -> None:
    assert not HEAVY & brought_by(
        "import featurekit.cli, featurekit.transforms.catalogue as catalogue\n"
        "assert list(catalogue.operations().values())"
    )


@pytest.mark.parametrize("name", ["transforms", "analysis"])
def test_a_mapped_folder_refuses_another_name(name: str) -> None:
    code = f"""
try:
    import {name}
except ImportError as error:
    print(error)
"""
    assert f"import featurekit.{name}" in printed("-c", code)


def documentation() -> str:
    """Return all that is written by hand about the library."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def test_every_exported_name_is_documented() -> None:
    words = set(re.findall(r"\w+", documentation()))
    names = {name for name in featurekit.__all__ if name not in operations() | aggregations()}
    assert not sorted(names - words - {"__version__"})


def test_every_command_is_documented() -> None:
    help_text = printed("-m", "featurekit", "--help")
    found = re.search(r"\{([a-z,]+)\}", help_text)
    assert found, help_text
    text = documentation()
    assert not [name for name in found[1].split(",") if f"featurekit {name}" not in text]
