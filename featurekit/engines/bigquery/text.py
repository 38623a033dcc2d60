"""Statements as text: constants as parameters, a head that explains, files to read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from featurekit.engines.bigquery.columns import slug
from featurekit.engines.bigquery.jobs import Statement
from featurekit.errors import EngineError, UsageError
from featurekit.scratch import NEW, claimed_folder
from featurekit.transforms.sql import CONSTANT, bigquery_type, exp
from featurekit.types import Kind

__all__ = ["printed", "write_sql"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def printed(query: Any, head: Sequence[str]) -> tuple[str, dict[str, tuple[str, Any]]]:
    """Return a query as text, and its parameters: the constants of the spec.

    Equal constants are one parameter; they are numbered in the order in which the text has them.

    Args:
        query: A tree.
        head: Lines that say what it computes.
    """
    parameters: dict[str, tuple[str, Any]] = {}
    known: dict[Any, str] = {}
    for tree in list(query.find_all(exp.Expression, bfs=False)):
        if CONSTANT not in tree.meta:
            continue
        value, of = tree.meta[CONSTANT]
        key = (bigquery_type(of), repr(value))
        if key not in known:
            known[key] = f"p{len(known) + 1}"
            sent = _EPOCH + timedelta(microseconds=value) if of.kind is Kind.TIMESTAMP else value
            parameters[known[key]] = (bigquery_type(of), sent)
        tree.replace(exp.Parameter(this=exp.to_identifier(known[key])))
    text = query.sql(dialect="bigquery", pretty=True, copy=False)
    return f"{_comment(head)}{text}\n", parameters


def write_sql(statements: Sequence[Statement], folder: Path) -> list[Path]:
    """Write statements as files, one for each step, numbered in their order.

    The folder appears whole or not at all.

    Args:
        statements: The statements.
        folder: Where to write; it must not exist, or be empty.

    Returns:
        The files.

    Raises:
        UsageError: There is something in the folder, or it is a file.
        EngineError: It cannot be written.
    """
    folder = folder.absolute()
    width = len(str(len(statements)))
    files = [
        (f"{place:0{width}}_{slug(entry.name)}.sql", _page(entry, place, len(statements)))
        for place, entry in enumerate(statements, 1)
    ]
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError("it is a file", where=str(folder), hint="name a new folder for SQL")
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(
                "the folder is not empty", where=str(folder), hint="name a new folder for SQL"
            )
        with claimed_folder(folder.parent, folder.name) as work:
            made = work / NEW
            made.mkdir()
            for name, text in files:
                (made / name).write_text(text, encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            made.rename(folder)
    except OSError as error:
        raise EngineError(f"SQL cannot be written: {error}", where=str(folder)) from None
    return [folder / name for name, _ in files]


def _page(statement: Statement, place: int, of: int) -> str:
    head = [f"Step {place} of {of}: makes {statement.destination}"]
    if statement.rows_of is not None:
        head.append(f"with as many rows as {statement.rows_of}")
    if statement.keys:
        head.append(f"Different in every row: {', '.join(statement.keys)}")
    head.append(f"For the features: {', '.join(statement.features)}")
    head += [f"@{name} {kind} = {value!r}" for name, (kind, value) in statement.parameters.items()]
    return f"{_comment([*head, ''])}{statement.sql}"


def _comment(lines: Sequence[str]) -> str:
    """Return lines as comments of SQL; names and texts cannot break out of one."""
    wrapped = (
        textwrap.wrap(" ".join(line.split()), 97, subsequent_indent="   ", break_on_hyphens=False)
        for line in lines
    )
    return "".join(f"-- {text}".rstrip() + "\n" for texts in wrapped for text in texts or [""])
