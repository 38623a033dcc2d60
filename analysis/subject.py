"""What is analysed: a finished run, the examples of a spec, or any table with a label."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from featurekit.analysis.given import in_options, open_given
from featurekit.arguments import path_of
from featurekit.artifact import MANIFEST
from featurekit.availability import moment
from featurekit.engines.rows import SPLIT
from featurekit.errors import DataError, FeatureKitWarning, SpecError, UsageError
from featurekit.job import Progress, run
from featurekit.opening import as_spec
from featurekit.runs import Run, open_run
from featurekit.scratch import scratch_folder
from featurekit.spec.objects import SUFFIXES, Source, Spec, format_of
from featurekit.table import locating
from featurekit.training import LABEL

if TYPE_CHECKING:
    Tell = Callable[[Progress], None]

__all__ = ["Subject", "open_subject"]


@dataclass(frozen=True)
class Subject:
    """A table, and which of its columns mean what.

    Args:
        kind: `run`, `spec` or `table`.
        name: What to call it.
        table: A Polars, pandas or Arrow table, a lazy frame, or the path of a file or a glob.
        label: The column of the label.
        split: The column of the split, if there is one.
        entity: The column that names whose row it is, where it is known.
        time: The column of the prediction's time, where it is known.
        exclude: Columns that are no features.
        features: How many features there are; `None` where the columns of the table decide.
        says: What a spec says of the label and of the split, for people.
        spec: The spec that the features are from, if they are.
        static: What the spec shows of each feature, as a manifest holds it.
        run: The run that the features are from, if they are. Of a spec it is there as long as the
            subject is open.
        in_time: Whether the split is by time, where a spec says it; see `analysis/leakage/scan.py`.
    """

    kind: str
    name: str
    table: Any
    label: str
    split: str | None = None
    entity: str | None = None
    time: str | None = None
    exclude: tuple[str, ...] = ()
    features: int | None = None
    says: Mapping[str, str] = field(default_factory=dict)
    spec: Spec | None = field(default=None, repr=False)
    static: Mapping[str, Any] | None = field(default=None, repr=False)
    run: Run | None = field(default=None, repr=False)
    in_time: bool | None = None


@contextmanager
def open_subject(
    of: Any,
    *,
    label: str | None = None,
    split: str | None = None,
    entity: str | None = None,
    time: str | None = None,
    exclude: Sequence[str] = (),
    progress: Tell | None = None,
) -> Iterator[Subject]:
    """Open what is to be analysed; the features of a spec are computed, and gone in the end.

    Args:
        of: A run or its folder; a spec or its file; a table in memory, or a Parquet or CSV file or
            a glob of them.
        label: The column of the label, of a table.
        split: The column of the split, of a table.
        entity: The column that names whose row it is; of a run and a spec one of the keys.
        time: The column of the prediction's time; of a run and a spec one of the keys.
        exclude: Columns that are no features.
        progress: Told what happens.

    Raises:
        SpecErrors: The spec has problems, leaks among them.
        DataError: Something cannot be read.
        UsageError: A column has to be named, or cannot be.
    """
    roles = {"label": label, "split": split, "entity": entity, "time": time}
    of = path_of(of, "a table") if isinstance(of, os.PathLike) else of
    named = of if isinstance(of, (str, Path)) else None
    if isinstance(of, Source) and of.path is not None:
        named = of.path
    table = isinstance(of, Source)
    if isinstance(of, Run) or (named is not None and not table and _is_folder(named)):
        yield _of_run(of if isinstance(of, Run) else _opened(str(of)), "run", roles, exclude)
    elif isinstance(of, Spec) or (named is not None and not table and not _is_table(named)):
        spec = as_spec(of)
        where = "" if isinstance(of, Spec) else str(of)
        _refuse_unfit(spec, where, roles)
        with scratch_folder() as folder:
            done = run(spec, folder / "run", tensorflow=False, progress=progress)
            for text in done.manifest["noticed"]:
                if "Hint: " in text:
                    warnings.warn(text, FeatureKitWarning, stacklevel=3)
            # The spec of a run has no tables that are in memory.
            made = _of_run(done, "spec", roles, exclude, name=where or spec.name)
            yield replace(made, spec=spec)
    else:
        name = "table" if named is None else str(named)
        if label is None:
            raise UsageError(
                "a table does not say which column is the label", where=name,
                hint="--label COLUMN; in Python label='column'",
            )  # fmt: skip
        opened = open_given(of)
        try:
            with locating(lambda: [opened]):
                yield Subject("table", name, opened, label, split, entity, time, tuple(exclude))
        except DataError as error:
            hint = in_options(error.hint)
            if hint == error.hint:
                raise
            raise DataError(error.message, where=error.where, hint=hint) from None


def _is_folder(of: str | Path) -> bool:
    return "://" in str(of) or Path(of).is_dir()


def _is_table(of: str | Path) -> bool:
    """Say whether a path means a table: by its end, as nothing is read yet.

    Raises:
        DataError: There is no such file.
    """
    path = Path(of)
    if format_of(path.name) is None:
        return False
    if not path.exists() and not any(mark in str(of) for mark in "*?["):
        raise DataError("there is no such file", where=str(of))
    return True


def _opened(folder: str) -> Run:
    if "://" not in folder and not (Path(folder) / MANIFEST).exists():
        path = Path(folder)
        found = next((end for end in SUFFIXES if any(path.glob(f"*{end}"))), None)
        if found is not None:
            raise UsageError(
                "a folder is taken for a run, and this is none (no manifest.json)", where=folder,
                hint=f"for a table in many files give a glob in quotes: '{path / '*'}{found}'",
            )  # fmt: skip
    return open_run(folder)


def _refuse_unfit(spec: Spec, where: str, roles: dict[str, str | None]) -> None:
    """Refuse, before anything is computed, a spec that cannot be analysed.

    Raises:
        UsageError: It has no label, is computed elsewhere, or a role fits no key.
    """
    _check_roles(spec, where, roles)
    for name, source in spec.sources.items():
        if source.table is not None or source.on_workers:
            raise UsageError(
                f"the source {name!r} is not read on this machine", where=where,
                hint="finish a run (featurekit run SPEC --out DIR), and give its folder",
            )  # fmt: skip


def _check_roles(spec: Spec, where: str, roles: dict[str, str | None]) -> None:
    if spec.examples.label is None:
        raise UsageError(
            "the examples have no label, and all that is looked for is about one", where=where,
            hint="examples: {label: ...} in the spec",
        )  # fmt: skip
    for role in ("label", "split"):
        if roles[role] is not None:
            raise UsageError(
                f"the spec says what the {role} is, got another one: {roles[role]!r}", where=where,
                hint=f"leave --{role} out; it is for tables",
            )  # fmt: skip
    keys = spec.examples.keys
    for role in ("entity", "time"):
        if roles[role] is not None and roles[role] not in keys:
            known = f"the keys are {', '.join(keys)}" if keys else "there are no keys"
            raise UsageError(
                f"{role} {roles[role]!r} is no key of the examples; {known}", where=where,
                hint="list it in the spec, examples: {keys: [...]}, to have it written with them",
            )  # fmt: skip


def _of_run(
    done: Run, kind: str, roles: dict[str, str | None], exclude: Sequence[str], name: str = ""
) -> Subject:
    """Return the examples of all splits of a run, with what its spec says of their columns."""
    spec, where = done.spec, name or str(done.path)
    _check_roles(spec, where, roles)
    splits = [done.examples(split).scan().with_columns(pl.lit(split).alias(SPLIT))
              for split in done.splits if done.examples(split).files]  # fmt: skip
    entity = roles["entity"] or _entity(spec)
    time = roles["time"] or _time(spec)
    counts = done.manifest["rows"]["splits"].items()
    says = {
        "label": "" if spec.examples.label is None else spec.examples.label.text,
        "split": ", ".join(f"{split} {count:,}" for split, count in counts),
    }
    idle = [key for key in spec.examples.keys if key not in (entity, time)]
    return Subject(
        kind, where, pl.concat(splits), LABEL, SPLIT if len(splits) > 1 else None, entity, time,
        tuple(dict.fromkeys([*idle, *exclude])), len(set(done.features) - set(exclude)), says,
        spec, done.manifest.get("leakage"), done, _in_time(spec),
    )  # fmt: skip


def _in_time(spec: Spec) -> bool | None:
    """Say whether the split is by time; `False` where it is by what is written with each row."""
    split = spec.examples.split
    if split is None or split.column is not None:
        return None
    if split.by is not None:
        return True
    # Of other columns nobody could say which rows they keep together.
    return False if set(split.hash) <= set(spec.examples.keys) else None


def _entity(spec: Spec) -> str | None:
    """Return the key that the most aggregations and lookups go by, alone."""
    by = [next(iter(each.by)) for each in spec.histories.values() if len(each.by) == 1]
    written = [name for name in by if name in spec.examples.keys]
    return max(written, key=written.count) if written else None


def _time(spec: Spec) -> str | None:
    """Return the key that is the time of the prediction, or what the split by time goes by."""
    found = []
    if spec.examples.predict_at is not None:
        columns = spec.sources[spec.examples.source].columns
        try:
            found = [moment(spec.examples.predict_at, columns).base]
        except SpecError:
            found = []
    if spec.examples.split is not None and spec.examples.split.by is not None:
        found.append(spec.examples.split.by)
    return next((name for name in found if name in spec.examples.keys), None)
