"""Opening the sources of a spec: local ones as they are, BigQuery tables through a connection."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import polars as pl

from featurekit.arguments import path_of
from featurekit.csv_types import Remark
from featurekit.engines.beam.fetching import fetched
from featurekit.engines.rows import computed_rows
from featurekit.errors import DataError, FeatureKitError, SpecError, SpecErrors
from featurekit.graph import Node
from featurekit.observing import observe
from featurekit.reading import refuse_unreadable
from featurekit.resolve import resolve
from featurekit.resolved import Resolved
from featurekit.scratch import scratch_folder
from featurekit.selection import past_rows, selected
from featurekit.sources import (
    Table,
    column_types,
    declared_types,
    left_out_columns,
    open_table,
    polars_errors,
    renamed_columns,
    stored_types,
    table_elsewhere,
)
from featurekit.spec.objects import UNDECLARED, FrozenMapping, Source, Spec
from featurekit.spec.problems import Problems
from featurekit.spec.remaining import spec_without
from featurekit.stored import Stored
from featurekit.table import locating
from featurekit.time_formats import advised
from featurekit.transforms.base import polars_dtype
from featurekit.types import DURATION, Type
from featurekit.word_types import typed_by_use

if TYPE_CHECKING:
    from featurekit.engines.bigquery.client import Warehouse
    from featurekit.engines.workers import Worker

__all__ = ["Opened", "Space", "as_spec", "open_all", "open_sources", "reader"]


def as_spec(spec: Spec | str | Path, look_further: bool = False) -> Spec:
    """Return a spec, read from its file if need be.

    Args:
        spec: The spec, or the path of its file.
        look_further: Whether the parts that can be read are checked where others cannot, so that
            all problems are told at once.

    Raises:
        SpecErrors: All problems together.
    """
    if isinstance(spec, Spec):
        return spec
    path_of(spec, "a spec is an fk.Spec or its file, which")
    from featurekit.spec.yaml import load_spec

    try:
        return load_spec(spec)
    except SpecErrors as error:
        more = _problems_of(error.rest) if look_further and error.rest is not None else []
        if not more:
            raise
        found = sorted((*error.problems, *more), key=_line)
    raise SpecErrors(found)


def _problems_of(spec: Spec) -> Sequence[FeatureKitError]:
    try:
        open_all(spec).resolve(spec)
    except SpecErrors as error:
        return error.problems
    except FeatureKitError as error:
        return [error]
    return []


def _line(error: FeatureKitError) -> int:
    """Return the line of a file that an error names first, after all others if it names none."""
    found = re.search(r":(\d+)(?=:|$)", error.where)
    return int(found[1]) if found else sys.maxsize


@dataclass(frozen=True)
class Opened:
    """The sources that a spec needs, opened, and the types of their columns.

    Args:
        tables: The sources that could be opened.
        types: The types of the columns of each; those declared, where it could not.
        failure: Why a source could not be opened.
        unreached: Sources that are BigQuery tables which nobody could be asked about.
        left_out: Returns the columns of a BigQuery table that were left out for their types.
    """

    tables: Mapping[str, Table]
    types: Mapping[str, Mapping[str, Type]]
    failure: DataError | None = None
    unreached: tuple[str, ...] = ()
    left_out: Callable[[str], Mapping[str, str]] | None = None

    def resolve(self, spec: Spec, refuse_leaks: bool = True) -> Resolved:
        """Type-check the spec against the columns of its sources.

        Where the spec does not tell which of two times comes first, or whether past rows take
        effect exactly at predictions, the data is asked.

        Args:
            spec: The spec.
            refuse_leaks: Whether features that leak are problems; see `resolve`.

        Raises:
            SpecErrors: All problems of the spec together.
            DataError: A source cannot be opened, and what the spec declares of it is not enough.
        """
        main = spec.examples.source
        others = {name: types for name, types in self.types.items() if name != main}
        table = self.tables.get(main)
        settle = None if table is None else _settling(table, spec.sources[main])
        try:
            with locating(self.tables.values):
                resolved = resolve(
                    spec, self.types.get(main, {}), others, settle=settle,
                    stored=self._stored(spec), refuse_leaks=refuse_leaks,
                )  # fmt: skip
        except SpecErrors as errors:
            if self.failure is not None:
                # Columns that nobody declared seem to be missing, and it is the data that is.
                raise self.failure from None
            raise SpecErrors([self._explained(problem) for problem in errors.problems]) from None
        read = resolved.read()
        noticed = {
            f"source {name!r}: {remark}": remark
            for name, called, remark in self._remarks()
            if name in read and (called is None or called in read[name])
        }
        quiet = tuple(text for text, remark in noticed.items() if not remark.hint)
        observed = observe(resolved, self.tables)
        return replace(
            resolved, noticed=(*resolved.noticed, *noticed), quiet=quiet, observed=observed
        )

    def _remarks(self) -> Iterator[tuple[str, str | None, Remark]]:
        """Yield what was noticed of each source, with what the spec calls the column."""
        for name, table in self.tables.items():
            called = {stored: column for column, stored in table.renamed.items()}
            for remark in table.remarks:
                column = remark.column
                yield name, None if column is None else called.get(column, column), remark

    def _explained(self, problem: FeatureKitError) -> FeatureKitError:
        """Return a problem with a column of text, with what makes another type of it."""
        if (
            not isinstance(problem, SpecError)
            or "string" not in f"{problem.message} {problem.hint}"
        ):
            return problem
        for _, called, remark in self._remarks():
            if called is not None and (
                re.search(rf"(?<!\w){re.escape(called)}(?!\w)", problem.message)
            ):
                message = f"{problem.message}; {remark.said}"
                return type(problem)(message, where=problem.where, hint=remark.hint or problem.hint)
        return problem

    def _stored(self, spec: Spec) -> Stored:
        """Return what the data can be asked; no rows are read for it."""

        def refuse(name: str, column: str, of: Type) -> None:
            table, source = self.tables.get(name), spec.sources[name]
            # BigQuery has no durations: the engine gcp reads integers as such.
            if table is not None and not (source.table is not None and of == DURATION):
                refuse_unreadable(table, source, column, of)

        @cache  # It is asked for each name that is no column.
        def left_out(name: str) -> Mapping[str, str]:
            source = spec.sources[name]
            if source.table is not None and self.left_out is not None:
                columns = renamed_columns(source)
                stored = {kept: column for column, kept in columns.items()}
                found = self.left_out(source.table)
                return {stored.get(kept, kept): dtype for kept, dtype in found.items()}
            table = self.tables.get(name)
            return {} if table is None else left_out_columns(table)

        unreached = {
            name: SpecError(
                f"nothing says how to reach the BigQuery table {spec.sources[name].table}: "
                "only the columns that the spec declares are known",
                hint="give --project and --dataset (plan takes --ask, too), or declare the types: "
                "featurekit schema SPEC --freeze writes them",
            )
            for name in self.unreached
        }

        def time_hint(name: str, column: str) -> str:
            table = self.tables.get(name)
            if table is None or table.elsewhere is not None:
                return ""
            stored = table.stored(column)
            if stored not in table.schema or column not in table.dtypes:
                return ""
            with polars_errors(f"source {name!r}"):
                values = table.frame.select(pl.col(stored).cast(pl.String)).head(1_000).collect()
            texts = values.to_series().drop_nulls().to_list()
            return advised(column, spec.sources[name].columns.get(column, UNDECLARED), texts)

        return Stored(refuse, left_out, time_hint, unreached)


def _settling(table: Table, source: Source) -> Callable[[Node, Node], tuple[int, int] | None]:
    """Return what counts the rows in which something is not known by a time, and all rows."""

    def count(known: Node, predicted: Node) -> tuple[int, int] | None:
        rows = computed_rows(table, source, {"known": known, "predicted": predicted})
        # Where there is no time, nobody knows when it was known, that it is missing included.
        late = (pl.col("known") > pl.col("predicted")) | pl.col("known").is_null()
        late &= pl.col("predicted").is_not_null()
        with polars_errors(f"source {table.name!r}"):
            found = rows.select(late.sum().alias("late"), pl.len()).collect(engine="streaming")
        # A table whose rows nobody has read shows nothing.
        height = int(found["len"].item())
        return (int(found["late"].item()), height) if height else None

    return count


def open_all(
    spec: Spec,
    rows: Callable[[str], Source | None] | None = None,
    ragged: bool = False,
    warehouse: Warehouse | None = None,
) -> Opened:
    """Open the source of the examples, and those that aggregations and lookups need.

    Args:
        spec: The spec.
        rows: Gives what to open for a source, or `None` where only its declaration is known.
        ragged: Whether rows of CSV examples may have too many fields; see `open_table`.
        warehouse: The connection to BigQuery that `rows` has.
    """
    rows = rows or reader(spec)
    needed = {spec.examples.source, *(entry.source for entry in spec.histories.values())}
    tables: dict[str, Table] = {}
    types: dict[str, Mapping[str, Type]] = {}
    failure: DataError | None = None
    unopened: dict[str, FeatureKitError] = {}
    unreached: list[str] = []
    for name in sorted(needed & set(spec.sources)):
        source = spec.sources[name]
        try:
            given = rows(name)
            if given is None:
                # Without a connection, what the spec declares is all that is known.
                if source.table is not None:
                    unreached.append(name)
                if source.on_workers or name == spec.examples.source:
                    types[name] = declared_types(source)
                continue
            table = open_table(name, given, spec.base, ragged and name == spec.examples.source)
            with polars_errors(f"source {name!r}"):
                # Whoever sets bad rows aside counts the others, too.
                if table.csv and not ragged and table.frame.head(1).collect().is_empty():
                    raise DataError("the data has no rows", where=f"source {name!r}")
            tables[name], types[name] = table, column_types(table, source)
        except DataError as error:
            # Data that is not there yet can still be planned for, where the spec says all types.
            if not _says_all(source):
                unopened[name] = error
                continue
            types[name] = declared_types(source)
            failure = failure or error
        except SpecError as error:
            unopened[name] = error
    if unopened:
        _refuse_unopened(spec, unopened)
    retyped = typed_by_use(spec, types, {name: table.dtypes for name, table in tables.items()})
    for name, table in tables.items():
        words = {key: of for key, of in retyped[name].items() if of != types[name][key]}
        given = rows(name) if words and table.csv else None
        if given is not None:
            # Read as their texts, so that no digit is lost.
            columns = {key: replace(given.columns.get(key, UNDECLARED), type=of)
                       for key, of in words.items()}  # fmt: skip
            given = replace(given, columns=FrozenMapping({**given.columns, **columns}))
            tables[name] = open_table(
                name, given, spec.base, ragged and name == spec.examples.source
            )
    types.update(retyped)
    left_out = None
    if warehouse is not None:
        from featurekit.engines.bigquery.aggregates import left_out_types

        left_out = partial(left_out_types, warehouse)
    return Opened(tables, types, failure, tuple(unreached), left_out)


def _refuse_unopened(spec: Spec, unopened: Mapping[str, FeatureKitError]) -> NoReturn:
    """Raise why sources cannot be opened, with all problems of what does not need them."""
    rest = spec_without(spec, [("sources", name) for name in unopened])
    more = [] if rest is None else _problems_of(rest)
    if len(unopened) == 1 and not more:
        raise next(iter(unopened.values()))
    problems = Problems(spec.places)
    for name, error in unopened.items():
        problems.add(error, "sources", name)
    raise SpecErrors(sorted((*problems.found, *more), key=_line))


def _says_all(source: Source) -> bool:
    """Whether the spec declares the types of all columns that it declares, and of some."""
    read = [column for column in source.columns.values() if column.expr is None]
    return bool(read) and all(column.type is not None for column in read)


def open_sources(
    spec: Spec | str | Path,
    warehouse: Warehouse | None = None,
    space: Space | None = None,
    unread: Container[str] = (),
    ragged: bool = False,
    worker: Worker | None = None,
) -> tuple[Resolved, dict[str, Table]]:
    """Resolve a spec and open the sources that its examples and its past rows are read from.

    Args:
        spec: The spec, or the path of its file.
        warehouse: The connection to BigQuery, for sources that are tables there.
        space: Where what is elsewhere is read to.
        unread: Sources of which nobody here needs the rows: only their columns are looked at.
        ragged: Whether rows of CSV examples may have too many fields; see `open_table`.
        worker: The process that has Beam, for sources that Beam reads.

    Raises:
        SpecErrors: All problems of the spec together.
        DataError: A source cannot be opened.
    """
    spec = as_spec(spec)
    main = spec.examples.source
    rows = reader(spec, warehouse, space, unread, worker)
    opened = open_all(spec, rows, ragged, warehouse)
    resolved = opened.resolve(spec)
    past = {
        node.aggregate.history.source
        for outputs in resolved.outputs.values() for node in outputs.values()
    }  # fmt: skip
    tables = {}
    for name in sorted(past | {main}):
        source, table = spec.sources[name], opened.tables.get(name)
        if source.on_workers and worker is not None and name in unread:
            declared = {column: polars_dtype(of) for column, of in stored_types(source).items()}
            stored = table.schema if table is not None else declared
            tables[name] = table_elsewhere(name, source, spec.base, stored)
        else:
            # Opened again only to raise what was wrong, where declared types were enough until now.
            table = table or open_table(name, rows(name) or source, spec.base)
            tables[name] = (selected if name == main else past_rows)(table, resolved)
    return resolved, tables


def reader(
    spec: Spec,
    warehouse: Warehouse | None = None,
    space: Space | None = None,
    unread: Container[str] = (),
    worker: Worker | None = None,
) -> Callable[[str], Source | None]:
    """Return what makes sources local that are not; see `open_sources`.

    Of a source that cannot be reached it gives `None`; of a table whose rows nobody needs, a frame
    of its columns.
    """

    def rows(name: str) -> Source | None:
        source = spec.sources[name]
        if source.on_workers:
            return _from_workers(name)
        if source.table is None:
            return source
        if warehouse is None:
            return None
        from featurekit.engines.bigquery.aggregates import download, empty_frame, stored_types

        if space is None or name in unread:
            frame = empty_frame(stored_types(warehouse, source.table))
        else:
            frame = download(warehouse, source.table, space.folder())
        return replace(source, table=None, data=frame)

    def _from_workers(name: str) -> Source | None:
        source = spec.sources[name]
        if worker is None or space is None:
            return None
        if name in unread and (source.file_format == "tfrecord" or _says_all(source)):
            return None
        return fetched(worker, name, source, spec.base, space.folder(), head=name in unread)

    return rows


class Space:
    """A folder for what is too large for memory, made when it is needed.

    Args:
        stack: Removes it, if it is not within another that goes.
        within: The folder of a writer; without it, where the system keeps temporary files.
    """

    def __init__(self, stack: ExitStack, within: Path | None) -> None:
        self.stack, self.within = stack, within
        self._folder: Path | None = None

    def folder(self) -> Path:
        """Return the folder."""
        if self._folder is None:
            within = self.within or self.stack.enter_context(scratch_folder())
            self._folder = within / "rows"
            self._folder.mkdir()
        return self._folder
