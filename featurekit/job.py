"""The main job: one spec in, one artifact out."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from featurekit import artifact
from featurekit.arguments import expect, names_of, number_of, one_of, path_of
from featurekit.costs import COSTS, CostRecorder
from featurekit.engines import local
from featurekit.engines.beam import running
from featurekit.engines.beam.publishing import new_folder as new_remote
from featurekit.engines.rows import SPLIT, TRAIN
from featurekit.engines.workers import Worker
from featurekit.errors import FeatureKitWarning, UsageError, require
from featurekit.export import require_parity, worker
from featurekit.graph import code_domain, cross_fitted, fitted_type
from featurekit.opening import Space, as_spec, open_all, open_sources, reader
from featurekit.planner import Plan, make_plan
from featurekit.resolved import Resolved
from featurekit.run_warnings import constant_features, run_warnings
from featurekit.runs import Run, open_run
from featurekit.scratch import scratch_folder
from featurekit.selection import Counted, count_values, look_at_values, values_warnings
from featurekit.serving_names import mask_names
from featurekit.sources import Table, column_types, declared_types
from featurekit.spec.objects import Spec
from featurekit.stand_ins import said
from featurekit.table import locating
from featurekit.verdict import Verdicts, judge

__all__ = ["Progress", "check", "dry_run", "plan", "run", "verdicts"]

if TYPE_CHECKING:
    from featurekit.engines.bigquery.settings import Settings

ENGINES = ("local", "beam", "gcp")


@dataclass(frozen=True)
class Progress:
    """What a run is doing: stage `done + 1` of `stages`.

    Args:
        done: How many stages are done.
        stages: How many there are.
        text: What the stage does.
        note: Whether this is no new stage, but something that BigQuery does or says within one.
    """

    done: int
    stages: int
    text: str
    note: bool = False


def check(
    spec: Spec | str | Path, bigquery: Settings | None = None, *, strict: bool = False
) -> Resolved:
    """Read the types of a spec's columns and prove that everything in it fits.

    Args:
        spec: The spec, or the path of its file.
        bigquery: How to reach sources that are BigQuery tables; without it, only what the spec
            declares of them is known.
        strict: Whether features are refused that are unproven: nothing declared shows when they
            are known.

    Raises:
        SpecErrors: All problems together.
        DataError: The data whose types are needed cannot be read.
    """
    resolved = _strictly(_resolved(as_spec(spec, look_further=True), bigquery, look=True), strict)
    for text in resolved.noticed:
        if text not in resolved.quiet:
            warnings.warn(text, FeatureKitWarning, stacklevel=2)
    return resolved


def verdicts(spec: Spec | str | Path, bigquery: Settings | None = None) -> Verdicts:
    """Return what a spec shows of each feature.

    It is consistent with what is declared, unproven, or a leak. Leaks are told here, and not
    raised.

    Args:
        spec: The spec, or the path of its file.
        bigquery: How to reach sources that are BigQuery tables; see `check`.

    Raises:
        SpecErrors: All other problems together.
        DataError: The data whose types are needed cannot be read.

    Example:
        `fk.verdicts("flights.yaml").features["distance_z"].proof`
    """
    return judge(_resolved(as_spec(spec, look_further=True), bigquery, refuse_leaks=False))


def _resolved(
    spec: Spec, bigquery: Settings | None, refuse_leaks: bool = True, look: bool = False
) -> Resolved:
    """Type a spec; `look` looks at the first rows of its sources, too."""
    if bigquery is None:
        opened = open_all(spec)
        resolved = opened.resolve(spec, refuse_leaks)
        if look:
            look_at_values(opened.tables, resolved)
        return resolved
    from featurekit.engines.bigquery.client import Warehouse

    with Warehouse(bigquery) as warehouse:
        opened = open_all(spec, reader(spec, warehouse), warehouse=warehouse)
        resolved = opened.resolve(spec, refuse_leaks)
        if look:
            look_at_values(opened.tables, resolved)
        return resolved


def _strictly(resolved: Resolved, strict: bool) -> Resolved:
    """Return a spec, or refuse it if it leaves open what it must declare."""
    if strict:
        judge(resolved).require_proven(resolved.spec)
    return resolved


def plan(
    spec: Spec | str | Path,
    engine: str = "local",
    saved_model: bool | None = None,
    bigquery: Settings | None = None,
    *,
    strict: bool = False,
) -> Plan:
    """Return what a run of the spec would do.

    Rows are read only to ask what the spec cannot tell of its times.

    Args:
        spec: The spec, or the path of its file.
        engine: `local`; `beam` for full passes on Apache Beam; `gcp` for those, and aggregations
            and lookups in BigQuery.
        saved_model: Whether the row graph is exported to TensorFlow; by default, as by `run`,
            where it is installed.
        bigquery: How to reach sources that are BigQuery tables; see `check`.
        strict: See `check`.

    Raises:
        SpecErrors: All problems of the spec together.
        DataError: The data whose types are needed cannot be read.
    """
    one_of(engine, ENGINES, "engine")
    export = _has_tensorflow() if saved_model is None else saved_model
    return make_plan(_strictly(_resolved(as_spec(spec), bigquery), strict), engine, export)


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


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
    beam: Sequence[str] = (),
    max_bad_rows: int = 0,
    cache: str | Path | None = None,
    strict: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Fit all statistics, write the examples and the SavedModel, and publish them as one folder.

    Args:
        spec: The spec, or the path of its file.
        out: The folder to write. It appears when everything in it is complete, or not at all.
            With Beam it may be an address such as `gs://bucket/runs/1`.
        tensorflow: Whether to export the SavedModel; by default where TensorFlow is installed.
        overwrite: Whether a run that stands at `out` may be replaced.
        tfrecord: Whether to write the examples as TFRecord too (needs TensorFlow).
        engine: `local` for all of it here; `beam` for the full passes and the examples on Apache
            Beam; `gcp` for those, and aggregations and lookups in BigQuery.
        bigquery: Where in BigQuery, and within which bounds; for `gcp`, and to read sources that
            are BigQuery tables.
        load: Whether local data may be loaded into BigQuery.
        beam: Options for Beam, such as `--runner=DataflowRunner`.
        max_bad_rows: So many rows that the spec does not allow may be set aside on Beam; they are
            kept beside the examples, with the reason. Without Beam there may be none.
        cache: A folder that keeps statistics for each file of the input, with Beam: later runs
            compute those of new and changed files alone.
        strict: Whether features are refused that are unproven: nothing declared shows when they
            are known.
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
    path_of(out, "out")
    expect(tensorflow, (bool, type(None)), "tensorflow", "True, False or None")
    _check_engine(engine, bigquery, beam, max_bad_rows, cache)
    on_beam = engine != "local"
    away = "://" in str(out)
    if away and not on_beam:
        raise UsageError(
            "the engine local writes to a folder of this machine", where=str(out),
            hint="--engine beam, or a folder here",
        )  # fmt: skip
    spec = as_spec(spec, look_further=not on_beam)
    main = spec.examples.source
    target = Path(out).absolute()
    if not away:
        artifact.check_target(target, overwrite)
    installed = _has_tensorflow()
    if tensorflow or tfrecord:
        require("tensorflow", "tensorflow", "the SavedModel" if tensorflow else "TFRecord")
    export = installed if tensorflow is None else tensorflow
    with ExitStack() as stack:
        # All that the run and its processes need for a while is in one folder.
        scratch = stack.enter_context(scratch_folder() if away else artifact.work_folder(target))
        # Both import TensorFlow while the data is read.
        runner = stack.enter_context(running.worker(scratch)) if on_beam else None
        # The process that runs pipelines has TensorFlow ready, too.
        builder = (runner or stack.enter_context(worker(scratch))) if export else None
        verifies = export or (tfrecord and not on_beam)
        verifier = stack.enter_context(worker(scratch)) if verifies else None
        if runner is not None and (beam or away):
            running.check_options(runner, spec, str(out), beam, cache)
        space, tell = Space(stack, scratch), _Teller(progress)
        warehouse = None
        if bigquery is not None:
            from featurekit.engines.bigquery import aggregates as remote
            from featurekit.engines.bigquery.client import Warehouse

            warehouse = stack.enter_context(Warehouse(bigquery, tell.note))
        unread = _unread(spec, engine)
        source = spec.sources.get(main)
        in_bucket = away and engine == "gcp" and source is not None and source.table is not None
        everything = spec.sources.keys()
        resolved, tables = open_sources(
            spec, warehouse, space, everything if in_bucket else unread, on_beam, runner
        )
        made = make_plan(_strictly(resolved, strict), engine, export)
        if in_bucket and not remote.can_export(made):
            in_bucket = False
            resolved, tables = open_sources(spec, warehouse, space, unread, on_beam, runner)
        if tfrecord:
            from featurekit.engines.tfrecord import refuse_wide

            refuse_wide(made)
        aggregates = resolved.aggregates
        histories = {(node.aggregate.history.source, node.asked) for node in aggregates}
        past_stages = len(histories)
        if engine == "gcp":
            past_stages = 1 if in_bucket else min(1, past_stages)
        passes = 1 if on_beam else 1 + max(1, len(made.levels))
        tell.stages = 1 + 2 * export + (tfrecord and not on_beam) + passes + past_stages
        work = None
        if away and runner is not None:
            folder, work = stack.enter_context(new_remote(runner, str(out), overwrite, scratch))
        else:
            folder = stack.enter_context(artifact.new_folder(target, overwrite, within=scratch))
        opened = tables
        stack.enter_context(locating(opened.values))
        table, costs = tables[main], CostRecorder(resolved, tables)
        undecided: dict[str, int] = {}
        counted = {name: count_values(tables[name], resolved) for name in tables}
        if in_bucket and warehouse is not None:
            tell.stage("exporting the examples from BigQuery")
            address = f"{work}/rows/rows-*.parquet"
            named = remote.export(made, warehouse, tables, address, load=load, undecided=undecided)
            table = replace(table, renamed=named, format="parquet", elsewhere=address)
            tell.lap("export")
        elif aggregates:
            from featurekit.engines import history

            table.refuse_ragged()
            if warehouse is not None and engine == "gcp":
                tell.stage("aggregations in BigQuery")
                past = remote.compute(
                    made, warehouse, table, tables, load=load, undecided=undecided
                )
            else:
                past = history.compute(
                    aggregates, spec, table, tables, space.folder(), tell.stage, watch=costs.watch,
                    undecided=undecided,
                )  # fmt: skip
            table = history.with_columns(table, aggregates, past)
            tell.lap("aggregate")
        sample = result = None
        if runner is not None:
            tell.stage("statistics and examples on Beam")
            kept = None if cache is None else _absolute(cache)
            request = running.Request(str(out), tuple(beam), max_bad_rows, kept, tfrecord, work)
            result = running.run_pipeline(
                runner,
                made,
                _described(made),
                table,
                space.folder(),
                folder / artifact.EXAMPLES,
                request,
            )
            fitted, census, sample = result.fitted, result.census, result.sample
            tell.lap("beam")
        else:
            fitted, census = local.fit(made, table, tell.stage)
            tell.lap("fit")
            costs.time_rows(fitted, table, census.rows)
            tell.lap("time_features")
        artifact.write_statistics(folder, fitted)
        manifest = {
            **_manifest(made, tables, census, fitted, undecided, counted),
            COSTS: costs.to_dict(),
        }
        if result is not None:
            manifest["rows"]["bad"] = result.bad
            manifest["beam"] = result.beam
        if warehouse is not None:
            manifest["bigquery"] = {
                "project": warehouse.settings.project,
                "dataset": warehouse.settings.dataset,
                "bytes_billed": warehouse.billed,
            }
        if builder is not None:
            builder.start({"task": "build", "folder": str(folder), "manifest": manifest})
        if runner is None:
            tell.stage("writing the examples")
            local.write_examples(made, fitted, table, folder / artifact.EXAMPLES, census)
            tell.lap("write_examples")
        if not away:
            train = folder / artifact.EXAMPLES / f"{SPLIT}={TRAIN}"
            rows = pl.scan_parquet(sorted(train.glob("*.parquet")), glob=False)
            manifest["warnings"] += constant_features(rows, made.features)
        if builder is not None and verifier is not None:
            sample = sample or local.sample(made, fitted, table, folder / artifact.EXAMPLES, census)
            _certify(builder, verifier, made, sample, folder, scratch, manifest, tell)
        else:
            manifest["saved_model"] = {"exported": False, "reason": _reason(installed)}
        if tfrecord and verifier is not None and not on_beam:
            tell.stage("writing TFRecord files")
            verifier.start({"task": "write_tfrecords", "folder": str(folder / artifact.EXAMPLES)})
            verifier.answer()
            tell.lap("write_tfrecord")
        tell.stage("publishing")
        manifest["seconds"] = {**tell.laps, "total": round(time.monotonic() - started, 3)}
        elsewhere = None if result is None else result.elsewhere
        manifest = artifact.write_manifest(folder, manifest, elsewhere)
    if not away:
        return open_run(target)
    done = Run(Path(str(out)), manifest, str(out))
    done.__dict__["fitted"] = fitted  # They are at hand, and not in a folder of this machine.
    return done


def dry_run(
    spec: Spec | str | Path,
    out: str | Path,
    *,
    engine: str = "beam",
    bigquery: Settings | None = None,
    beam: Sequence[str] = (),
    tensorflow: bool | None = None,
    tfrecord: bool = False,
    max_bad_rows: int = 0,
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """Check a run on Beam and build its job; nothing is computed, sent or written.

    Sources need not be there where the spec declares the types of their columns.

    Args:
        spec: The spec, or the path of its file.
        out: The folder or address that the run would write.
        engine: `beam` or `gcp`.
        bigquery: See `run`; BigQuery is asked for columns of tables, and nothing else.
        beam: Options for Beam. With `--runner=DataflowRunner` they include `--dry_run`.
        tensorflow: See `run`.
        tfrecord: See `run`.
        max_bad_rows: See `run`.
        cache: See `run`.

    Returns:
        `runner` and `options` as a manifest holds them; `steps`, the full names of what workers
        carry out; `packages`, what is staged for them.

    Raises:
        SpecErrors: The spec has problems.
        DataError: Types are needed, and a source cannot be read.
        UsageError: The options do not fit the run.
    """
    path_of(out, "out")
    _check_engine(engine, bigquery, beam, max_bad_rows, cache)
    if engine == "local":
        raise UsageError("the engine local has no jobs", hint="--engine beam")
    spec = as_spec(spec)
    installed = _has_tensorflow()
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder())
        runner = stack.enter_context(running.worker(scratch))
        space, warehouse = Space(stack, scratch), None
        if bigquery is not None:
            from featurekit.engines.bigquery.client import Warehouse

            warehouse = stack.enter_context(Warehouse(bigquery))
        everything = spec.sources.keys()
        resolved, tables = open_sources(
            spec, warehouse, space, everything, ragged=True, worker=runner
        )
        made = make_plan(resolved, engine, installed if tensorflow is None else tensorflow)
        request = running.Request(
            str(out), tuple(beam), max_bad_rows, None if cache is None else _absolute(cache),
            tfrecord, f"{out}/work" if "://" in str(out) else None,
        )  # fmt: skip
        table = tables[spec.examples.source]
        return running.dry_run(runner, made, _described(made), table, request)


def _unread(spec: Spec, engine: str) -> Set[str]:
    """Return the sources whose rows the run's own process does not need."""
    main = spec.examples.source
    if engine == "gcp":
        return spec.sources.keys() - {main}
    # Beam's workers read examples that nothing is computed for first.
    return {main} if engine == "beam" and not spec.histories else set()


def _absolute(folder: str | Path) -> str:
    return str(folder) if "://" in str(folder) else str(Path(folder).absolute())


class _Teller:
    """Counts stages for the progress callback and takes the time of each."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.progress, self.stages, self.done = progress, 1, 0
        self.laps: dict[str, float] = {}
        self.since = time.monotonic()

    def note(self, text: str) -> None:
        """Tell what happens within the stage that is running."""
        self._tell(text, note=True)

    def stage(self, text: str) -> None:
        self.done += 1
        self._tell(text, note=False)

    def _tell(self, text: str, note: bool) -> None:
        if self.progress is not None:
            self.progress(Progress(max(self.done - 1, 0), self.stages, text, note))

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self.since, 3)
        self.since = now


def _check_engine(
    engine: str, bigquery: Settings | None, beam: Sequence[str], max_bad_rows: int,
    cache: str | Path | None,
) -> None:  # fmt: skip
    one_of(engine, ENGINES, "engine")
    if engine == "local" and (beam or max_bad_rows or cache is not None):
        given = "options for Beam" if beam else "max_bad_rows" if max_bad_rows else "cache"
        raise UsageError(f"the engine local takes no {given}", hint="--engine beam")
    names_of(beam, "options for Beam")
    if cache is not None:
        path_of(cache, "cache")
    number_of(max_bad_rows, "max_bad_rows", whole=True, least=0)
    if engine != "local":
        require("apache_beam", "beam", "running on Beam")
        require("tensorflow_transform", "beam", "running on Beam")
    if engine == "gcp" and bigquery is None:
        raise UsageError(
            "the engine gcp needs to know where in BigQuery it may work",
            hint="--project and --dataset; in Python bigquery=fk.BigQuery(project, dataset)",
        )


def _features(made: Plan, fitted: Mapping[Any, Any]) -> dict[str, Any]:
    """Say of each feature its type, the range of its codes where it is a code, and its text."""
    out: dict[str, Any] = {}
    for name, node in made.features.items():
        out[name] = {"type": str(fitted_type(node, fitted)), "expression": node.text}
        if (domain := code_domain(node, fitted)) is not None:
            out[name]["codes"] = list(domain)
    return out


def _described(made: Plan) -> dict[str, Any]:
    """Return all that another process needs to know of a plan: the beginning of the manifest."""
    resolved = made.resolved
    return {
        "format": artifact.FORMAT,
        "semantics": resolved.semantics,
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
    }


def _manifest(
    made: Plan,
    tables: Mapping[str, Table],
    census: local.Census,
    fitted: Mapping[Any, Any],
    undecided: Mapping[str, int],
    counted: Mapping[str, Counted],
) -> dict[str, Any]:
    stand_ins = {
        name: {"value": said(made.serving_inputs[name]), "rows": count}
        for name, count in census.stand_ins.items()
    }
    resolved = made.resolved
    examples = tables[resolved.spec.examples.source]
    left_out = 0 if examples.whole is None else examples.whole.height - census.rows
    counted = {name: found for name, found in counted.items() if found}
    return {
        **_described(made),
        "versions": artifact.versions(on_beam=made.engine != "local"),
        "inputs": {
            name: table.fingerprint()
            if resolved.spec.sources[name].table is None
            else [{"table": resolved.spec.sources[name].table}]
            for name, table in tables.items()
        },
        "rows": {
            "read": census.rows + left_out,
            **({} if examples.whole is None else {"left_out": left_out}),
            "without_label": census.without_label,
            "embargoed": census.embargoed,
            "written": sum(census.splits.values()),
            "splits": census.splits,
            "nan_read_as_missing": census.nan,
            **({"lost_by_casts": census.lost} if census.lost else {}),
            "beyond_float32_read_as_infinite": census.beyond,
            "below_float32_read_as_zero": census.below,
            **({"undecided_lookups": dict(undecided)} if undecided else {}),
            **({"stand_ins": stand_ins} if stand_ins else {}),
        },
        "features": _features(made, fitted),
        "warnings": [
            *resolved.noticed,
            *run_warnings(made, fitted, census, undecided, census.stand_ins),
            *values_warnings(counted),
        ],
        **({"values": counted} if counted else {}),
        "noticed": list(resolved.noticed),
        "reading": _reading(resolved, tables),
        "leakage": judge(resolved).to_dict(),
        "plan": made.to_dict(),
    }


def _reading(resolved: Resolved, tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return the types of columns that CSV files themselves decided, by source."""
    found: dict[str, Any] = {}
    for name, table in tables.items():
        if table.csv:
            source = resolved.spec.sources[name]
            types = column_types(table, source)
            undeclared = types.keys() - declared_types(source).keys()
            found[name] = {"inferred": {key: str(types[key]) for key in types if key in undeclared}}
    return found


def _certify(
    builder: Worker, verifier: Worker, made: Plan, sample: tuple[Any, Any], folder: Path,
    scratch: Path, manifest: dict[str, Any], tell: _Teller,
) -> None:  # fmt: skip
    """Wait for the SavedModel, and have another process compare it with the written examples."""
    inputs, written = sample
    tell.stage("building the SavedModel")
    built = builder.answer()
    tell.lap("build_saved_model")
    tell.stage("checking the SavedModel in a fresh process")
    files = {"inputs": f"{scratch}/inputs.parquet", "expected": f"{scratch}/expected.parquet"}
    inputs.write_parquet(files["inputs"])
    written.write_parquet(files["expected"])
    columns = {name: str(of) for name, of in made.serving_inputs.items()}
    model = str(folder / "transform_fn")
    names = made.input_names
    job = {"task": "verify", "model": model, "columns": columns, "names": names}
    verifier.start({**job, **files})
    certificate = verifier.answer()
    require_parity(certificate)
    if seeing := [name for name, node in made.features.items() if cross_fitted([node])]:
        certificate["cross_fitted"] = {
            "features": seeing,
            "train": "compared with the values that serving gives, computed again for these rows: "
            "the examples hold what other folds say",
        }
    manifest["saved_model"] = {"exported": True, **built}
    manifest["serving_inputs"] = dict(_serving_inputs(made))
    manifest["parity"] = certificate
    tell.lap("certify")


def _serving_inputs(made: Plan) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each input of the SavedModel: its type, and its names in the dense signatures."""
    names = made.input_names
    masks = mask_names(names.values())
    for column, of in made.serving_inputs.items():
        yield column, {"type": str(of), "name": names[column], "mask": masks[names[column]]}


def _reason(installed: bool) -> str:
    return "not asked for" if installed else "TensorFlow is not installed"
