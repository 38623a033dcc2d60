"""Columns that the folders of files name: `year=2024/part-0.parquet`."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from featurekit.csv_types import Guess, Remark, guess, remarks
from featurekit.number_text import NumberText
from featurekit.types import BOOL, FLOAT32, INT64, Type

__all__ = ["FolderColumn", "Partitions", "partitions_of"]

_MISSING = "__HIVE_DEFAULT_PARTITION__"
DTYPES: Mapping[Type, Any] = {INT64: pl.Int64(), FLOAT32: pl.Float64(), BOOL: pl.Boolean()}
"""How undeclared columns of text are stored."""


@dataclass(frozen=True)
class FolderColumn:
    """A column that folders name.

    Args:
        values: Its text for each file.
        dtype: How it is stored.
        remarks: What was noticed.
    """

    values: tuple[str | None, ...]
    dtype: Any
    remarks: tuple[Remark, ...] = ()

    def literal(self, file: int) -> pl.Expr:
        """Return its value for the rows of a file."""
        value = pl.lit(self.values[file], dtype=pl.String)
        if self.dtype == pl.Boolean:
            return value.str.to_lowercase() == "true"
        return value.cast(self.dtype)


@dataclass(frozen=True)
class Partitions:
    """The columns that the folders of files name.

    Args:
        values: For each file, what its folders say, by column.
        declared: The columns whose types the spec declares: they are kept as text.
    """

    values: tuple[Mapping[str, str | None], ...] = ()
    declared: frozenset[str] = field(default_factory=frozenset)

    def __bool__(self) -> bool:
        return any(self.values)

    def key(self, file: int) -> Any:
        """Return what tells a file's values from those of others."""
        return tuple(self.values[file].items()) if self.values else ()

    def typed(self, stored: Mapping[str, Any]) -> dict[str, FolderColumn]:
        """Return the columns that the files themselves do not hold.

        Args:
            stored: The columns that they hold.
        """
        made = {}
        for name in dict.fromkeys(name for each in self.values for name in each):
            if name in stored:
                continue
            texts = tuple(each.get(name) for each in self.values)
            found = Guess()
            if name not in self.declared:
                found = guess(pl.Series(texts, dtype=pl.String), NumberText())
            dtype = pl.String() if found.type is None else DTYPES.get(found.type, pl.String())
            made[name] = FolderColumn(texts, dtype, tuple(remarks(name, [found], ())))
        return made


def partitions_of(
    files: Sequence[Path], pattern: str, base: Path, declared: frozenset[str]
) -> Partitions:
    """Return what the folders of files say, those alone that a glob stands for.

    Args:
        files: The files.
        pattern: The glob that found them.
        base: What it is relative to.
        declared: The columns whose types the spec declares.
    """
    parts = Path(pattern).parts
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    if fixed >= len(parts) - 1 and "**" not in pattern:
        return Partitions()
    fixed += 0 if Path(pattern).is_absolute() else len(base.parts)
    values = []
    for file in files:
        found: dict[str, str | None] = {}
        for part in file.parts[fixed:-1]:
            name, sign, text = part.partition("=")
            if sign and name:
                found[unquote(name)] = None if text == _MISSING else unquote(text)
        values.append(found)
    return Partitions(tuple(values), declared) if any(values) else Partitions()
