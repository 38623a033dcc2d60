"""Options of commands that take a table: how its CSV is written, and the types of its columns."""

from __future__ import annotations

import argparse
from typing import Any

from featurekit.errors import UsageError

__all__ = ["add_table_arguments", "table_of"]

_NAMES = (
    "separator", "null_values", "encoding", "skip_rows", "comment", "header", "decimal",
    "thousands", "escape",
)  # fmt: skip


def add_table_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    option = command.add_argument_group("a table of CSV").add_argument
    text = "the type of a column; may be given again (default: what its values look like)"
    option("--types", metavar="COLUMN=TYPE", action="append", default=[], help=text)
    text = "a text that means a missing value; may be given again (default: the empty one)"
    option("--null-values", metavar="TEXT", action="append", default=[], help=text)
    text = "what stands between fields: one character, or whitespace (default: a comma, a tab "
    text += "for .tsv)"
    option("--separator", metavar="C", help=text)
    text = "the encoding, such as cp1252, latin-1 or utf-16 (default: utf-8)"
    option("--encoding", metavar="NAME", help=text)
    text = "how many lines stand before the header (default: 0)"
    option("--skip-rows", metavar="N", type=int, help=text)
    text = "what lines begin with that are comments (default: there are none)"
    option("--comment", metavar="TEXT", help=text)
    text = "names of all columns, in place of those in the header (default: the header's)"
    option("--header", metavar="COLUMN,...", help=text)
    text = "what stands before the fraction of a number (default: a dot)"
    option("--decimal", metavar="C", help=text)
    text = "what stands between groups of three digits (default: nothing)"
    option("--thousands", metavar="C", help=text)
    text = "what stands before a quote within quotes (default: quotes are doubled)"
    option("--escape", metavar="C", help=text)


def table_of(arguments: argparse.Namespace) -> Any:
    """Return what to analyse: as it was given, or a source if an option says how to read it.

    Raises:
        UsageError: The options are about a table, and none was given.
        SpecError: An option cannot be used.
    """
    subject: str = arguments.subject
    given: dict[str, Any] = {
        name: value for name in _NAMES if (value := getattr(arguments, name)) not in (None, [])
    }
    if given.get("separator") == r"\t":
        given["separator"] = "\t"
    if "header" in given:
        given["header"] = given["header"].split(",")
    columns = dict(_typed(text) for text in arguments.types)
    if not given and not columns:
        return subject
    from pathlib import Path

    from featurekit.spec.objects import Source, format_of

    if format_of(Path(subject).name) is None:
        first = next(iter(given), "types").replace("_", "-")
        raise UsageError(
            f"--{first} says how a table is read, and this is none", where=subject,
            hint="a spec says it under its source: null_values, separator, columns: {...}",
        )  # fmt: skip
    return Source(path=subject, columns=columns, **given)


def _typed(text: str) -> tuple[str, str]:
    name, sign, of = text.rpartition("=")
    if not (sign and name and of):
        raise UsageError(f"--types takes COLUMN=TYPE, got {text!r}")
    return name, of
