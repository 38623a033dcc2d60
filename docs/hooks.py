"""What MkDocs builds besides the pages that lie here: the catalogue, from the operations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from featurekit.transforms.base import (
    AggregateOperation,
    Example,
    FullPassOperation,
    Operation,
    RowOperation,
)
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.types import duration_text

_SECTION = re.compile(r"^(Args|Returns|Raises|Note|Source|Example):", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w+): ", re.MULTILINE)

_GROUPS: tuple[tuple[str, str, type[Operation]], ...] = (
    ("Row operations", "Each sees one row; in production a TensorFlow graph.", RowOperation),
    (
        "Full-pass operations",
        "Each needs statistics of its input over the training rows, given by one pass over them.",
        FullPassOperation,
    ),
    (
        "Aggregations",
        "Each sees past rows of a source: those of a window, for which `where` is true.",
        AggregateOperation,
    ),
)

_ENGINES = {
    "embedded": ("polars", "windows"),
    "TensorFlow": ("tensorflow", "tensorflow_masked"),
    "BigQuery": ("bigquery",),
}
"""The methods of an operation, any of which brings it to an engine."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision record into the navigation, the first decision first."""
    docs = Path(config.docs_dir)
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.glob("decisions/*.md"))
    if config.nav is not None and pages:
        config.nav.append({"Decisions": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the catalogue."""
    files.append(File.generated(config, "catalogue.md", content=catalogue()))
    return files


def catalogue() -> str:
    """Return the catalogue of all operations, as Markdown."""
    everything = [*operations().values(), *aggregations().values()]
    parts = ["# Catalogue", f"{len(everything)} operations, made from their source files."]
    for title, text, base in _GROUPS:
        group = [each for each in everything if issubclass(each, base)]
        if group:
            parts += [f"## {title}", text, _overview(group, base), *map(_entry, group)]
    return "\n\n".join(parts) + "\n"


def _overview(group: Iterable[type[Operation]], base: type[Operation]) -> str:
    """Return a table of the operations, with the engines that their kind can run on at all."""
    engines = {
        engine: methods
        for engine, methods in _ENGINES.items()
        if any(hasattr(base, method) for method in methods)
    }
    rows = (
        [
            f"[`{each.name()}`](#{each.name()})",
            _summary(each),
            *(_supports(each, base, methods) for methods in engines.values()),
        ]
        for each in group
    )
    return _table(["operation", "what it is", *engines], rows)


def _supports(operation: type[Operation], base: type[Operation], methods: Iterable[str]) -> str:
    given = any(getattr(operation, name, None) is not getattr(base, name, None) for name in methods)
    return "yes" if given else "no"


def _entry(operation: type[Operation]) -> str:
    parts = [f"### {operation.name()} {{ #{operation.name()} }}", f"`{operation.signature()}`"]
    if operation.operator is not None:
        parts.append(f"As an operator: `{operation.operator}`.")
    parts += [_summary(operation), *_sections(operation), f"Nulls: {operation.null_rule}."]
    return "\n\n".join([*parts, *map(_example, operation.examples)])


def _docstring(operation: type[Operation]) -> str:
    return inspect.cleandoc(operation.__doc__ or "")


def _summary(operation: type[Operation]) -> str:
    return _docstring(operation).split("\n\n", 1)[0].replace("\n", " ")


def _sections(operation: type[Operation]) -> Iterator[str]:
    """Turn the rest of a Google-style docstring into Markdown."""
    rest = _docstring(operation).partition("\n\n")[2]
    text, *pairs = _SECTION.split(rest)
    if text.strip():
        yield text.strip()
    for title, body in zip(pairs[::2], pairs[1::2], strict=True):
        if title in {"Args", "Raises"}:
            items = _ENTRY.sub(r"- `\1`: ", body.strip("\n"))
            yield f"**{title}**\n\n{items}"
        else:
            yield f"**{title}** {inspect.cleandoc(body)}"


def _example(example: Example) -> str:
    names = [f"`{name}`" + _typed(example, name) for name in example.columns]
    rows = zip(*example.columns.values(), example.expected, strict=True)
    cells = ([_value(value) for value in row] for row in rows)
    table = _table([*names, f"`{example.expression}`"], cells)
    said = ", ".join(f"{name}: {value}" for name, value in example.examples.items())
    return f"With `examples: {{{said}}}`:\n\n{table}" if said else table


def _typed(example: Example, name: str) -> str:
    return f" ({example.types[name]})" if name in example.types else ""


def _value(value: object) -> str:
    match value:
        case None:
            return "null"
        case timedelta():
            text = duration_text(value // timedelta(microseconds=1))
        case str() | list() | tuple():
            text = repr(value)
        case _:
            text = str(value)
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
