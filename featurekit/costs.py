"""What each feature costs: the sources, columns and bytes that it needs, and the time it takes.

A run notes under `costs` in its manifest what only the data and the clock can tell:

```
sources   for each source its bytes, and those of each column that features read
seconds   for each set of features that share some work, how long that takes for a million rows
```

Which feature reads what is in the plan. So costs can be told when the data is gone; of a run that
has noted nothing, sources and columns are known all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featurekit.engines.rows import Fitted
from featurekit.engines.timing import Stopwatch, time_row_graph
from featurekit.errors import UsageError, closest
from featurekit.feature_reads import StoredColumn, feature_columns, needed_anyway
from featurekit.graph import Node, topological
from featurekit.resolved import Resolved
from featurekit.runs import Run
from featurekit.sources import Table

__all__ = ["COSTS", "Cost", "CostRecorder", "Saving", "costs_of", "saved_by"]

COSTS = "costs"
"""The key of the manifest."""

_MILLION = 1_000_000


@dataclass(frozen=True)
class Cost:
    """What one feature costs.

    Args:
        sources: The sources that it needs, that of the examples included.
        columns: The stored columns that it reads, as `source.column`; also those by which it looks
            rows up and by which it knows which of them count, and of a feature that sees the label
            what makes the label and its folds.
        bytes: How large these columns are where they are stored: the compressed size of their
            column chunks in Parquet files. `None` if one of them is in anything else: in CSV a
            column cannot be read alone, and of tables in memory, in BigQuery or in a bucket a run
            does not know it.
        own_bytes: How many of these bytes no other feature, and no key, label, split or time of
            the examples reads: so many need not be read or kept without the feature. A CSV file
            counts whole if no one else reads anything of it, and makes this `None` if others do
            but not that column.
        seconds: How long it takes for a million examples: its operations, timed on a block of the
            run's rows by one thread's clock, and the past that it looks up, as long as that took in
            the run, threads side by side added up. What several features share is divided equally
            among them. Fitting statistics, reading the examples and writing features is not in it.
            `None` of a run on Beam or BigQuery.
    """

    sources: tuple[str, ...]
    columns: tuple[str, ...]
    bytes: int | None
    own_bytes: int | None
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "sources": list(self.sources), "columns": list(self.columns)}


@dataclass(frozen=True)
class Saving:
    """What is saved without some features, all of them together.

    Args:
        sources: The sources that no one needs without them.
        columns: The stored columns that no one reads without them, as `source.column`.
        bytes: How large these columns are; see `Cost.own_bytes`.
        seconds: For a million examples, the time of what the other features do not share; see
            `Cost.seconds`.
    """

    sources: tuple[str, ...]
    columns: tuple[str, ...]
    bytes: int | None
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "sources": list(self.sources), "columns": list(self.columns)}


def costs_of(run: Run) -> dict[str, Cost]:
    """Return what each feature of a run costs, from its manifest and plan alone.

    Args:
        run: The run. Its data need not be there any longer.

    Returns:
        The features in the order of the spec. Where a run has noted no costs, bytes and seconds
        are `None`.

    Example:
        `costs_of(fk.open_run("runs/flights"))["plane_delay_7d"].seconds`
    """
    ledger = _Ledger(run)
    shares = ledger.seconds
    return {
        name: Cost(
            ledger.sources_of(read),
            tuple(column.text for column in read),
            ledger.bytes_of(read, whole=()),
            ledger.saved([name])[1],
            None if shares is None
            else sum(took / len(users) for users, took in shares if name in users),
        )
        for name, read in ledger.columns.items()
    }  # fmt: skip


def saved_by(run: Run, remove: Collection[str]) -> Saving:
    """Return what is saved without some features of a run: more than they save one by one.

    Args:
        run: The run.
        remove: The names of the features.

    Raises:
        UsageError: The run has no such feature.
    """
    ledger = _Ledger(run)
    for name in remove:
        if name not in ledger.columns:
            raise UsageError(
                f"there is no feature {name!r}", hint=closest(name, list(ledger.columns))
            )
    own, size = ledger.saved(remove)
    seconds = None
    if ledger.seconds is not None:
        seconds = sum(took for users, took in ledger.seconds if users <= set(remove))
    return Saving(
        tuple(name for name in ledger.unneeded(remove)), tuple(column.text for column in own), size,
        seconds,
    )  # fmt: skip


class _Ledger:
    """What the features of a run read, and what the run has noted of it."""

    def __init__(self, run: Run) -> None:
        resolved = run.plan.resolved
        noted = run.manifest.get(COSTS, {})
        self.order = tuple(resolved.spec.sources)
        self.columns = feature_columns(resolved)
        self.kept = needed_anyway(resolved)
        self.main = resolved.spec.examples.source
        self.sizes: Mapping[str, Any] = noted.get("sources", {})
        shares = noted.get("seconds")
        self.seconds = shares and [(set(one["features"]), one["seconds"]) for one in shares]

    def sources_of(self, columns: Iterable[StoredColumn]) -> tuple[str, ...]:
        """Return the sources of columns, and that of the examples, in the order of the spec."""
        needed = {self.main, *(column.source for column in columns)}
        return tuple(name for name in self.order if name in needed)

    def unneeded(self, remove: Collection[str]) -> tuple[str, ...]:
        """Return the sources that only some features need."""
        of = {name: set(self.sources_of(read)) for name, read in self.columns.items()}
        kept = {self.main}.union(*(needed for name, needed in of.items() if name not in remove))
        gone = set[str]().union(*(of[name] for name in remove)) - kept
        return tuple(name for name in self.order if name in gone)

    def saved(self, remove: Collection[str]) -> tuple[tuple[StoredColumn, ...], int | None]:
        """Return the columns that no one reads without some features, and their bytes."""
        others = self.kept.union(
            *(read for name, read in self.columns.items() if name not in remove)
        )
        mine = dict.fromkeys(column for name in remove for column in self.columns[name])
        own = tuple(column for column in mine if column not in others)
        return own, self.bytes_of(own, self.unneeded(remove))

    def bytes_of(self, columns: Iterable[StoredColumn], whole: Collection[str]) -> int | None:
        """Return how large columns are, or `None` where a size is not known.

        Args:
            columns: The columns.
            whole: Sources that no one else needs: their files count if columns cannot be told.
        """
        sizes: dict[tuple[str, str], int | None] = {}
        for source, name in columns:
            noted = self.sizes.get(source, {})
            if noted.get("columns") is None and source in whole:
                sizes[source, ""] = noted.get("bytes")
            else:
                sizes[source, name] = (noted.get("columns") or {}).get(name)
        known = [size for size in sizes.values() if size is not None]
        return sum(known) if len(known) == len(sizes) else None


class CostRecorder:
    """Finds out while a run goes on what its features cost.

    Args:
        resolved: What is run.
        tables: Its opened sources. How large their columns are is read from the ends of Parquet
            files, beside the run.
    """

    def __init__(self, resolved: Resolved, tables: Mapping[str, Table]) -> None:
        self.resolved = resolved
        self.watch = Stopwatch()
        """Counts how long aggregates take."""
        self._rows: int | None = None
        beside = ThreadPoolExecutor(1)
        self._sizes = beside.submit(_source_sizes, resolved, dict(tables))
        beside.shutdown(wait=False)

    def time_rows(self, fitted: Fitted, table: Table, rows: int) -> None:
        """Time the row graph on some rows, all other work being timed by the watch.

        Args:
            fitted: The statistics.
            table: The opened source of the examples, with the columns of aggregates.
            rows: How many rows it has.

        Raises:
            DataError: The data cannot be read any more.
        """
        time_row_graph(self.watch, self.resolved, fitted, table, rows)
        self._rows = rows

    def to_dict(self) -> dict[str, Any]:
        """Return what a manifest holds under `costs`; seconds only if rows have been timed."""
        seconds = None
        if self._rows is not None:
            million = _MILLION / self._rows
            seconds = [
                {"features": list(users), "seconds": float(f"{took * million:.6g}")}
                for users, took in self._shared().items()
            ]
        return {"sources": self._sizes.result(), "seconds": seconds}

    def _shared(self) -> dict[tuple[str, ...], float]:
        """Return the seconds of each set of features that share work."""
        features = self.resolved.features
        users: dict[Node, list[str]] = {}
        for name, root in features.items():
            for node in topological([root]):
                users.setdefault(node, []).append(name)
        shared: dict[tuple[str, ...], float] = {}
        for nodes, took in self.watch.spent.items():
            using = {name for node in nodes for name in users.get(node, ())}
            group = tuple(name for name in features if name in using)
            shared[group] = shared.get(group, 0.0) + took
        return {group: took for group, took in shared.items() if took}


def _source_sizes(resolved: Resolved, tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return the bytes of each source's files, and of the columns in them that features read."""
    read: dict[str, dict[str, None]] = {}
    for columns in feature_columns(resolved).values():
        for source, name in columns:
            read.setdefault(source, {})[name] = None
    found: dict[str, Any] = {}
    for source, names in read.items():
        found[source] = {"bytes": None, "columns": None}
        table = tables.get(source)
        # What Beam reads may have been copied here, to other files.
        if table is None or not table.files or resolved.spec.sources[source].on_workers:
            continue
        try:
            found[source]["bytes"] = sum(path.stat().st_size for path in table.files)
            if table.format == "parquet":
                found[source]["columns"] = _chunk_bytes(table.files, names)
        except (OSError, ValueError):
            continue  # Whoever reads the rows says what is wrong with them.
    return found


def _chunk_bytes(files: Iterable[Path], columns: Iterable[str]) -> dict[str, int]:
    """Return the compressed size of columns in Parquet files, dictionaries and headers included."""
    import pyarrow.parquet as pq

    found = dict.fromkeys(columns, 0)
    for path in files:
        footer = pq.read_metadata(path)
        if not footer.num_row_groups:
            continue
        places = {
            place: name for place in range(footer.num_columns)
            if (name := footer.row_group(0).column(place).path_in_schema) in found
        }  # fmt: skip
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for place, name in places.items():
                found[name] += group.column(place).total_compressed_size
    return found
