"""Names of BigQuery tables, checked before anything is sent.

Names cannot be query parameters, so they are the only text that enters SQL as it is: a name that
is not one is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from featurekit.arguments import shown
from featurekit.errors import SpecError

__all__ = ["TableId", "column_problem", "table_id"]

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{0,62}")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
# Letters of every script, digits, underscores, dashes and spaces; no dot, $ or *.
_TABLE = re.compile(r"[\w-](?:[\w -]*[\w-])?")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")


@dataclass(frozen=True)
class TableId:
    """The full name of a table; only a valid one can be made.

    Args:
        project: The project that holds the dataset.
        dataset: The dataset.
        table: The table within it.

    Raises:
        SpecError: A part is not what BigQuery allows there.

    Example:
        >>> TableId("my-project", "flights", "examples").sql
        '`my-project.flights.examples`'
    """

    project: str
    dataset: str
    table: str

    def __post_init__(self) -> None:
        rules = (
            ("project", _PROJECT, "lower case letters, digits and dashes"),
            ("dataset", _DATASET, "letters, digits and underscores"),
            ("table", _TABLE, "letters, digits, underscores, dashes and spaces"),
        )
        for part, pattern, rule in rules:
            text = getattr(self, part)
            if not isinstance(text, str):
                raise SpecError(f"the {part} of a table id is {rule}, got {shown(text)}")
            if not pattern.fullmatch(text) or len(text.encode()) > 1024:
                raise SpecError(
                    f"{str(self)!r} is not a table id: the {part} {text!r} is not a name",
                    hint=f"a {part} is made of {rule}, as in project.dataset.table",
                )

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    @property
    def sql(self) -> str:
        """The name as SQL writes it, in backquotes."""
        return f"`{self}`"


def table_id(text: str, *, project: str | None = None) -> TableId:
    """Read a table id, `project.dataset.table`.

    Args:
        text: The name. A project of the old form `example.com:name` may hold dots.
        project: The project of a name that has none, `dataset.table`.

    Raises:
        SpecError: It is not a table id.

    Example:
        >>> table_id("my-project.flights.examples")
        TableId(project='my-project', dataset='flights', table='examples')
        >>> table_id("flights.examples", project="my-project").project
        'my-project'
    """
    parts = text.strip("`").rsplit(".", 2)
    if len(parts) == 2 and project is not None:
        parts = [project, *parts]
    if len(parts) != 3:
        raise SpecError(f"{text!r} is not a table id", hint="write project.dataset.table")
    return TableId(*parts)


def column_problem(names: list[str]) -> str | None:
    """Say which of these names cannot be the columns of a table, or return nothing.

    Example:
        >>> column_problem(["a", "b c"])
        "'b c' is not a column name: letters, digits and underscores are"
        >>> column_problem(["a", "A"])
        "'A' occurs twice: BigQuery does not tell upper from lower case"
    """
    seen = set()
    for name in names:
        if not _COLUMN.fullmatch(name):
            return f"{name!r} is not a column name: letters, digits and underscores are"
        if name.lower() in seen:
            return f"{name!r} occurs twice: BigQuery does not tell upper from lower case"
        seen.add(name.lower())
    return None
