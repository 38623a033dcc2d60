"""Opening the sources of a spec: local ones as they are, BigQuery tables through a connection."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from featurekit.errors import DataError, SpecErrors
from featurekit.resolve import Resolved, resolve
from featurekit.sources import Table, column_types, open_table, polars_errors
from featurekit.spec.objects import Source, Spec
from featurekit.types import Type

if TYPE_CHECKING:
    from featurekit.engines.bigquery.client import Warehouse

__all__ = ["Opened", "Space", "as_spec", "open_all", "open_sources", "reader"]


def as_spec(spec: Spec | str | Path) -> Spec:
    """Return a spec, read from its file if need be."""
    if isinstance(spec, Spec):
        return spec
    from featurekit.spec.yaml import load_spec

    return load_spec(spec)


@dataclass(frozen=True)
class Opened:
    """The sources that a spec needs, opened, and the types of their columns.

    Args:
        tables: The sources that could be opened.
        types: The types of the columns of each; those declared, where it could not.
        failure: Why a source could not be opened.
    """

    tables: Mapping[str, Table]
    types: Mapping[str, Mapping[str, Type]]
    failure: DataError | None = None

    def resolve(self, spec: Spec) -> Resolved:
        """Type-check the spec against the columns of its sources.

        Raises:
            SpecErrors: All problems of the spec together.
            DataError: A source cannot be opened, and what the spec declares of it is not enough.
        """
        main = spec.examples.source
        others = {name: types for name, types in self.types.items() if name != main}
        try:
            return resolve(spec, self.types.get(main, {}), others)
        except SpecErrors:
            if self.failure is not None:
                # Columns that nobody declared seem to be missing, and it is the data that is.
                raise self.failure from None
            raise


def open_all(
    spec: Spec, rows: Callable[[str], Source] | None = None, ragged: bool = False
) -> Opened:
    """Open the source of the examples, and those that aggregations and lookups need."""
    needed = {spec.examples.source, *(entry.source for entry in spec.histories.values())}
    tables: dict[str, Table] = {}
    types: dict[str, Mapping[str, Type]] = {}
    failure: DataError | None = None
    for name in sorted(needed & set(spec.sources)):
        source = spec.sources[name]
        if rows is None and source.table is not None:
            # Without a connection, what the spec declares is all that is known.
            if name == spec.examples.source:
                types[name] = _declared(source)
            continue
        try:
            local = rows(name) if rows is not None else source
            table = open_table(name, local, spec.base, ragged and name == spec.examples.source)
            with polars_errors(f"source {name!r}"):
                # Whoever sets bad rows aside counts the others, too.
                if table.csv and not ragged and table.frame.head(1).collect().is_empty():
                    raise DataError("the data has no rows", where=f"source {name!r}")
            tables[name], types[name] = table, column_types(table, source)
        except DataError as error:
            # Data that is not there yet can still be planned for, where the spec says all types.
            read = [column for column in source.columns.values() if column.expr is None]
            if not read or any(column.type is None for column in read):
                raise
            types[name] = _declared(source)
            failure = failure or error
    return Opened(tables, types, failure)


def _declared(source: Source) -> dict[str, Type]:
    """Return the types that a source declares of its stored columns."""
    return {
        name: column.type for name, column in source.columns.items()
        if column.expr is None and column.type is not None
    }  # fmt: skip


def open_sources(
    spec: Spec | str | Path,
    warehouse: Warehouse | None = None,
    space: Space | None = None,
    unread: Container[str] = (),
    ragged: bool = False,
) -> tuple[Resolved, dict[str, Table]]:
    """Resolve a spec and open the sources that its examples and its past rows are read from.

    Args:
        spec: The spec, or the path of its file.
        warehouse: The connection to BigQuery, for sources that are tables there.
        space: Where such tables are read to.
        unread: Sources of which nobody needs the rows: of tables, only the columns are read.
        ragged: Whether rows of CSV examples may have too many fields; see `open_table`.

    Raises:
        SpecErrors: All problems of the spec together.
        DataError: A source cannot be opened.
    """
    spec = as_spec(spec)
    main = spec.examples.source
    read = None if warehouse is None else reader(spec, warehouse, space, unread)
    opened = open_all(spec, read, ragged)
    resolved = opened.resolve(spec)
    past = {
        node.aggregate.history.source
        for outputs in resolved.outputs.values() for node in outputs.values()
    }  # fmt: skip
    # Opened again only to raise what was wrong with it, where declared types were enough until now.
    tables = {
        name: opened.tables.get(name)
        or open_table(name, spec.sources[name] if read is None else read(name), spec.base)
        for name in sorted(past | {main})
    }
    return resolved, tables


def reader(
    spec: Spec, warehouse: Warehouse, space: Space | None = None, unread: Container[str] = ()
) -> Callable[[str], Source]:
    """Return what makes a BigQuery table local: its rows, or without space just its columns."""

    def rows(name: str) -> Source:
        source = spec.sources[name]
        if source.table is None:
            return source
        from featurekit.engines.bigquery.aggregates import download, empty_frame, stored_types

        if space is None or name in unread:
            frame = empty_frame(stored_types(warehouse, source.table))
        else:
            frame = download(warehouse, source.table, space.folder())
        return replace(source, table=None, data=frame)

    return rows


class Space:
    """A folder for what is too large for memory, made when it is needed, beside the output.

    Args:
        stack: Removes it.
        target: The output.
    """

    def __init__(self, stack: ExitStack, target: Path) -> None:
        self.stack, self.target = stack, target
        self._folder: Path | None = None

    def folder(self) -> Path:
        """Return the folder."""
        if self._folder is None:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(
                prefix=f".{self.target.name}.", dir=self.target.parent
            )
            self._folder = Path(self.stack.enter_context(made))
        return self._folder
