"""The main job: one spec in, one artifact out; and the artifact opened again."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurekit import artifact
from featurekit.engines import history, local
from featurekit.engines.tfrecord import refuse_wide
from featurekit.errors import DataError, UsageError, require
from featurekit.export import Worker, require_parity
from featurekit.graph import code_domain, fitted_type
from featurekit.planner import Plan, make_plan
from featurekit.resolve import Resolved, resolve
from featurekit.sources import Table, column_types, open_table, polars_errors
from featurekit.spec.objects import Aggregation, Lookup, Source, Spec
from featurekit.training import ExampleSet
from featurekit.types import Type

__all__ = ["Progress", "Run", "check", "open_run", "open_sources", "plan", "run"]

if TYPE_CHECKING:
    from featurekit.engines.bigquery.client import Warehouse
    from featurekit.engines.bigquery.settings import Settings

EXAMPLES = "examples"
ENGINES = ("local", "gcp")
_KNOWN = " and ".join(ENGINES)


@dataclass(frozen=True)
class Progress:
    """What a run is doing: stage `done + 1` of `stages`."""

    done: int
    stages: int
    text: str


def check(spec: Spec | str | Path, bigquery: Settings | None = None) -> Resolved:
    """Read the types of a spec's columns and prove that everything in it fits.

    Args:
        spec: The spec, or the path of its file.
        bigquery: How to reach sources that are BigQuery tables; without it, only what the spec
            declares of them is known.

    Raises:
        SpecErrors: All problems together.
        DataError: The data whose types are needed cannot be read.
    """
    spec = _spec(spec)
    if bigquery is None:
        return _open(spec).resolve(spec)
    with ExitStack() as stack:
        warehouse = _warehouse(stack, bigquery, None)
        return _open(spec, _reader(spec, warehouse, None, remote=True)).resolve(spec)


def plan(
    spec: Spec | str | Path,
    engine: str = "local",
    saved_model: bool = True,
    bigquery: Settings | None = None,
) -> Plan:
    """Return what a run of the spec would do, without reading rows.

    Args:
        spec: The spec, or the path of its file.
        engine: `local`, or `gcp` for aggregations and lookups in BigQuery.
        saved_model: Whether the row graph is exported to TensorFlow.
        bigquery: How to reach sources that are BigQuery tables; see `check`.

    Raises:
        SpecErrors: All problems of the spec together.
        DataError: The data whose types are needed cannot be read.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", hint=f"the engines are {_KNOWN}")
    return make_plan(check(spec, bigquery), engine, saved_model)


def run(
    spec: Spec | str | Path,
    out: str | Path,
    *,
    tensorflow: bool | None = None,
    overwrite: bool = False,
    tfrecord: bool = False,
    engine: str = "local",
    bigquery: Settings | None = None,
    load: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Fit all statistics, write the examples and the SavedModel, and publish them as one folder.

    Args:
        spec: The spec, or the path of its file.
        out: The folder to write. It appears when everything in it is complete, or not at all.
        tensorflow: Whether to export the SavedModel; by default where TensorFlow is installed.
        overwrite: Whether a run that stands at `out` may be replaced.
        tfrecord: Whether to write the examples as TFRecord too (needs TensorFlow).
        engine: `local` for all of it here; `gcp` for aggregations and lookups in BigQuery.
        bigquery: Where in BigQuery, and within which bounds; for `gcp`, and to read sources that
            are BigQuery tables.
        load: Whether local data may be loaded into BigQuery.
        progress: Told when a stage begins.

    Returns:
        The run, opened.

    Raises:
        SpecErrors: The spec has problems.
        DataError: The data is not what the spec says.
        BudgetError: BigQuery would read more than it may; nothing has run.
        EngineError: BigQuery failed.
        ParityError: The SavedModel does not give what the examples hold.
        UsageError: `out` cannot be written.
    """
    started = time.monotonic()
    _check_engine(engine, bigquery)
    spec = _spec(spec)
    target = Path(out).absolute()
    artifact.check_target(target, overwrite)
    installed = importlib.util.find_spec("tensorflow") is not None
    if tensorflow or tfrecord:
        require("tensorflow", "tensorflow", "the SavedModel" if tensorflow else "TFRecord")
    export = installed if tensorflow is None else tensorflow
    with ExitStack() as stack:
        # Both import TensorFlow while the data is read.
        builder = stack.enter_context(Worker()) if export else None
        verifier = stack.enter_context(Worker()) if export or tfrecord else None
        space = _Space(stack, target)
        warehouse = _warehouse(stack, bigquery, progress) if bigquery is not None else None
        resolved, tables = open_sources(spec, warehouse, space, engine == "gcp")
        made = make_plan(resolved, engine, export)
        if tfrecord:
            refuse_wide(made)
        aggregates = resolved.aggregates
        histories = {(node.aggregate.history.source, node.asked) for node in aggregates}
        past_stages = min(1, len(histories)) if engine == "gcp" else len(histories)
        stages = 2 + 2 * export + tfrecord + max(1, len(made.levels)) + past_stages
        tell = _Teller(progress, stages)
        folder = stack.enter_context(artifact.new_folder(target, overwrite))
        table = tables[spec.examples.source]
        if aggregates:
            if warehouse is not None and engine == "gcp":
                from featurekit.engines.bigquery import aggregates as remote

                tell.stage("aggregations in BigQuery")
                past = remote.compute(made, warehouse, table, tables, load=load)
            else:
                past = history.compute(aggregates, spec, table, tables, space.folder(), tell.stage)
            table = history.with_columns(table, aggregates, past)
            tell.lap("aggregate")
        fitted, census = local.fit(made, table, tell.stage)
        tell.lap("fit")
        artifact.write_statistics(folder, fitted)
        manifest = _manifest(made, tables, census, fitted)
        if warehouse is not None:
            manifest["bigquery"] = {
                "project": warehouse.settings.project,
                "dataset": warehouse.settings.dataset,
                "bytes_billed": warehouse.billed,
            }
        if builder is not None:
            builder.start({"task": "build", "folder": str(folder), "manifest": manifest})
        tell.stage("writing the examples")
        local.write_examples(made, fitted, table, folder / EXAMPLES, census)
        tell.lap("write_examples")
        if builder is not None and verifier is not None:
            _certify(builder, verifier, made, table, census, folder, manifest, tell)
        else:
            manifest["saved_model"] = {"exported": False, "reason": _reason(installed)}
        if tfrecord and verifier is not None:
            tell.stage("writing TFRecord files")
            verifier.start({"task": "write_tfrecords", "folder": str(folder / EXAMPLES)})
            verifier.answer()
            tell.lap("write_tfrecord")
        tell.stage("publishing")
        manifest["seconds"] = {**tell.laps, "total": round(time.monotonic() - started, 3)}
        artifact.write_json(folder / artifact.MANIFEST, manifest)
    return open_run(target)


def open_run(folder: str | Path) -> Run:
    """Open a finished run.

    Raises:
        DataError: There is no run, or it cannot be read.
    """
    path = Path(folder)
    return Run(path, artifact.read_manifest(path))


@dataclass(frozen=True)
class Run:
    """A finished run: its examples, its frozen statistics, and its manifest.

    Args:
        path: Its folder.
        manifest: What `manifest.json` says.
    """

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @cached_property
    def plan(self) -> Plan:
        """The plan that was carried out."""
        return artifact.read_plan(self.manifest)

    @cached_property
    def statistics(self) -> Mapping[Any, Any]:
        """The fitted statistics."""
        return artifact.read_statistics(self.path, self.plan)

    @property
    def spec(self) -> Spec:
        """The spec that was run."""
        return self.plan.resolved.spec

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of the spec."""
        return tuple(self.plan.features)

    @property
    def codes(self) -> dict[str, tuple[int, int]]:
        """The smallest and the largest code of each feature whose values are codes."""
        described = self.manifest["features"].items()
        return {name: tuple(entry["codes"]) for name, entry in described if "codes" in entry}

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.manifest["rows"]["splits"])

    @property
    def saved_model(self) -> Path | None:
        """The folder of the SavedModel, or `None` when it was not exported."""
        return self.path / "transform_fn" if self.manifest["saved_model"]["exported"] else None

    def examples(self, split: str = "train") -> ExampleSet:
        """Return the examples of a split, to be read as pandas, Polars, Arrow or tf.data.

        Raises:
            UsageError: There is no such split.
        """
        if split not in self.splits:
            raise UsageError(f"there is no split {split!r}", where=str(self.path),
                             hint=f"the splits are {', '.join(self.splits)}")  # fmt: skip
        folder = self.path / EXAMPLES / f"{local.SPLIT}={split}"
        resolved = self.plan.resolved
        return ExampleSet(folder, tuple(resolved.keys), self.features, resolved.label is not None)

    def apply(self, table: Any) -> Any:
        """Transform new rows with the frozen statistics; no TensorFlow is needed.

        Args:
            table: A pandas, Polars or Arrow table with the columns that the features read.

        Returns:
            A table of the same kind: the keys that are there, and all features.

        Raises:
            DataError: A column is missing, or holds what the spec does not allow.
        """
        from featurekit.serving import apply

        return apply(self.plan, self.statistics, table)


class _Teller:
    """Counts stages for the progress callback and takes the time of each."""

    def __init__(self, progress: Callable[[Progress], None] | None, stages: int) -> None:
        self.progress, self.stages, self.done = progress, stages, 0
        self.laps: dict[str, float] = {}
        self.since = time.monotonic()

    def stage(self, text: str) -> None:
        if self.progress is not None:
            self.progress(Progress(self.done, self.stages, text))
        self.done += 1

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self.since, 3)
        self.since = now


def _spec(spec: Spec | str | Path) -> Spec:
    if isinstance(spec, Spec):
        return spec
    from featurekit.spec.yaml import load_spec

    return load_spec(spec)


@dataclass(frozen=True)
class _Opened:
    """The sources that a spec needs, opened, and the types of their columns."""

    tables: Mapping[str, Table]
    types: Mapping[str, Mapping[str, Type]]

    def resolve(self, spec: Spec) -> Resolved:
        main = spec.examples.source
        others = {name: types for name, types in self.types.items() if name != main}
        return resolve(spec, self.types.get(main, {}), others)


def _open(spec: Spec, rows: Callable[[str], Source] | None = None) -> _Opened:
    """Open the source of the examples, and those that aggregations and lookups need."""
    others: list[Aggregation | Lookup] = [*spec.aggregations.values(), *spec.lookups.values()]
    needed = {spec.examples.source, *(entry.source for entry in others)}
    tables: dict[str, Table] = {}
    types: dict[str, Mapping[str, Type]] = {}
    for name in sorted(needed & set(spec.sources)):
        source = spec.sources[name]
        if rows is None and source.table is not None:
            # Without a connection, what the spec declares is all that is known.
            types[name] = _declared(source)
            continue
        try:
            table = open_table(name, rows(name) if rows is not None else source, spec.base)
            with polars_errors(f"source {name!r}"):
                if table.csv and table.frame.head(1).collect().is_empty():
                    raise DataError("the data has no rows", where=f"source {name!r}")
            tables[name], types[name] = table, column_types(table, source)
        except DataError:
            # Data that is not there yet can still be planned for, where the spec says all types.
            read = [column for column in source.columns.values() if column.expr is None]
            if not read or any(column.type is None for column in read):
                raise
            types[name] = _declared(source)
    return _Opened(tables, types)


def _declared(source: Source) -> dict[str, Type]:
    """Return the types that a source declares of its stored columns."""
    return {
        name: column.type for name, column in source.columns.items()
        if column.expr is None and column.type is not None
    }  # fmt: skip


def open_sources(
    spec: Spec | str | Path,
    warehouse: Warehouse | None = None,
    space: _Space | None = None,
    remote: bool = False,
) -> tuple[Resolved, dict[str, Table]]:
    """Resolve a spec and open the sources that its examples and its past rows are read from.

    Args:
        spec: The spec, or the path of its file.
        warehouse: The connection to BigQuery, for sources that are tables there.
        space: Where such tables are read to.
        remote: Whether past rows stay in BigQuery: of those sources, only the types are read.

    Raises:
        SpecErrors: All problems of the spec together.
        DataError: A source cannot be opened.
    """
    spec = _spec(spec)
    main = spec.examples.source
    read = None if warehouse is None else _reader(spec, warehouse, space, remote)
    opened = _open(spec, read)
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


def _reader(
    spec: Spec, warehouse: Warehouse, space: _Space | None, remote: bool
) -> Callable[[str], Source]:
    """Return what makes a BigQuery table local: its rows, or just its columns."""

    def rows(name: str) -> Source:
        source = spec.sources[name]
        if source.table is None:
            return source
        from featurekit.engines.bigquery.aggregates import download, empty_frame, stored_types

        if space is None or (remote and name != spec.examples.source):
            frame = empty_frame(stored_types(warehouse, source.table))
        else:
            frame = download(warehouse, source.table, space.folder())
        return replace(source, table=None, data=frame)

    return rows


class _Space:
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


def _check_engine(engine: str, bigquery: Settings | None) -> None:
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", hint=f"the engines are {_KNOWN}")
    if engine == "gcp" and bigquery is None:
        raise UsageError(
            "the engine gcp needs to know where in BigQuery it may work",
            hint="--project and --dataset; in Python bigquery=fk.BigQuery(project, dataset)",
        )


def _warehouse(
    stack: ExitStack, settings: Settings, progress: Callable[[Progress], None] | None
) -> Warehouse:
    """Connect to BigQuery; what it tells is shown beside the stage that is running."""
    from featurekit.engines.bigquery.client import Warehouse

    tell = None if progress is None else lambda text: progress(Progress(0, 1, text))
    return stack.enter_context(Warehouse(settings, tell))


def _features(made: Plan, fitted: Mapping[Any, Any]) -> dict[str, Any]:
    """Say of each feature its type, the range of its codes where it is a code, and its text."""
    out: dict[str, Any] = {}
    for name, node in made.features.items():
        out[name] = {"type": str(fitted_type(node, fitted)), "expression": node.text}
        if (domain := code_domain(node, fitted)) is not None:
            out[name]["codes"] = list(domain)
    return out


def _manifest(
    made: Plan, tables: Mapping[str, Table], census: local.Census, fitted: Mapping[Any, Any]
) -> dict[str, Any]:
    resolved = made.resolved
    return {
        "format": artifact.FORMAT,
        "name": resolved.spec.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "spec": resolved.spec.as_plain(),
        "spec_sha256": resolved.spec.fingerprint,
        "base": str(resolved.spec.base.absolute()),
        "columns": {name: str(of) for name, of in resolved.types.items()},
        "past_columns": {
            source: {name: str(of) for name, of in types.items()}
            for source, types in resolved.past.items()
        },
        "versions": artifact.versions(),
        "inputs": {
            name: table.fingerprint()
            if resolved.spec.sources[name].table is None
            else [{"table": resolved.spec.sources[name].table}]
            for name, table in tables.items()
        },
        "rows": {
            "read": census.rows,
            "without_label": census.without_label,
            "written": sum(census.splits.values()),
            "splits": census.splits,
            "nan_read_as_missing": census.nan,
        },
        "features": _features(made, fitted),
        "plan": made.to_dict(),
    }


def _certify(
    builder: Worker, verifier: Worker, made: Plan, table: Table, census: local.Census, folder: Path,
    manifest: dict[str, Any], tell: _Teller,
) -> None:  # fmt: skip
    """Wait for the SavedModel, and have another process compare it with the written examples."""
    inputs, written = local.sample(made, table, folder / EXAMPLES, census)
    tell.stage("building the SavedModel")
    built = builder.answer()
    tell.lap("build_saved_model")
    tell.stage("checking the SavedModel in a fresh process")
    with tempfile.TemporaryDirectory() as scratch:
        files = {"inputs": f"{scratch}/inputs.parquet", "expected": f"{scratch}/expected.parquet"}
        inputs.write_parquet(files["inputs"])
        written.write_parquet(files["expected"])
        columns = {name: str(of) for name, of in made.serving_inputs.items()}
        model = str(folder / "transform_fn")
        verifier.start({"task": "verify", "model": model, "columns": columns, **files})
        certificate = verifier.answer()
    require_parity(certificate)
    manifest["saved_model"] = {"exported": True, "serving_examples": built["serving_examples"]}
    manifest["parity"] = certificate
    tell.lap("certify")


def _reason(installed: bool) -> str:
    return "not asked for" if installed else "TensorFlow is not installed"
