"""What a run leaves on disk, and how it gets there whole or not at all.

```
manifest.json         spec and hash, versions, inputs, rows, plan, timings, parity certificate, and
                      the size and hash of every other file
statistics.json       every fitted statistic, by a readable name
vocabularies/*.txt    words, one per line, the most frequent first
examples/split=*/     Parquet, in the order of the input (and TFRecord on request)
transform_fn/         the SavedModel; transformed_metadata/ and metadata/ the schemas of its outputs
                      and inputs
```

A folder is written beside its target, in the temporary folder of its writer (see `scratch`),
flushed to disk, and renamed. What stood there before is only removed after that.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from featurekit.errors import DataError, EngineError, FeatureKitError, SpecErrors, UsageError
from featurekit.graph import StatisticRequest
from featurekit.integrity import Verification, checked_bytes, refuse_other_numbers, sealed, verified
from featurekit.manifest import Manifest, SnapshotManifest
from featurekit.planner import Plan, make_plan
from featurekit.resolve import resolve
from featurekit.scratch import NEW, OLD, claimed_folder
from featurekit.semantics import semantics_of
from featurekit.sources import polars_errors
from featurekit.spec.expression import shortened
from featurekit.spec.objects import Spec
from featurekit.stored_json import DAMAGED, parse_json, read_json, require_type
from featurekit.transforms.statistics import (
    ExtremesValue,
    MomentsValue,
    MostFrequentValue,
    Quantiles,
    QuantilesValue,
    Statistic,
    WordCountsValue,
)
from featurekit.transforms.targets import TargetMeansValue
from featurekit.types import Kind, parse_type

__all__ = [
    "EXAMPLES",
    "MANIFEST",
    "check_file_target",
    "new_file",
    "new_folder",
    "read_manifest",
    "read_plan",
    "read_statistics",
    "verify",
    "versions",
    "work_folder",
    "write_json",
    "write_manifest",
    "write_statistics",
]

MANIFEST = "manifest.json"
EXAMPLES = "examples"
STATISTICS = "statistics.json"
VOCABULARIES = "vocabularies"
FORMAT = 1
_BEAM = ("apache-beam", "tensorflow-transform", "tfx-bsl")


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Give a folder beside a target for all that its writer needs for a while; see `scratch`.

    Args:
        target: Where the result goes.

    Raises:
        UsageError: The target cannot be written.
        EngineError: The disk is full.
    """
    with ExitStack() as stack:
        try:
            made = stack.enter_context(claimed_folder(target.parent, target.name))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise EngineError(
                    f"the disk is full ({error.strerror})", where=str(target),
                    hint="free space and run again",
                ) from None  # fmt: skip
            raise UsageError(
                f"cannot write here: {error.strerror}", where=str(target),
                hint="choose another --out",
            ) from None  # fmt: skip
        yield made


@contextmanager
def new_folder(
    target: Path, overwrite: bool, kind: str = "run", within: Path | None = None
) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends without an error.

    Args:
        target: Where the result goes. What stands there is replaced only with `overwrite`, and
            only by its like: a run by a run, a snapshot by a snapshot.
        overwrite: Whether what stands there may be replaced.
        kind: What goes there, `run` or `snapshot`.
        within: What `work_folder` gave for the target, if the caller has one.

    Raises:
        UsageError: The target cannot be written, or holds something else.
        EngineError: The disk is full or fails.
    """
    check_target(target, overwrite, kind)
    with nullcontext(within) if within is not None else work_folder(target) as work:
        temporary = work / NEW
        with polars_errors(str(target), writing=True):
            temporary.mkdir()
            temporary.chmod(0o755)
            yield temporary
            _flush(temporary)
            check_target(target, overwrite, kind)
            _replace(temporary, target)


@contextmanager
def new_file(target: Path, overwrite: bool) -> Iterator[Path]:
    """Give a temporary path that becomes the file `target` when the block ends without an error.

    Args:
        target: Where the file goes; of a link, the file that it points to.
        overwrite: Whether a file that stands there may be replaced; it keeps its permissions.

    Raises:
        UsageError: The target cannot be written.
        EngineError: The disk is full or fails.
    """
    check_file_target(target, overwrite)
    final = target.resolve()
    with work_folder(final) as work, polars_errors(str(target), writing=True):
        temporary = work / NEW
        temporary.touch()
        yield temporary
        temporary.chmod(stat.S_IMODE(final.stat().st_mode) if final.exists() else 0o644)
        _sync(temporary)
        temporary.replace(final)
        _sync(final.parent)


def check_file_target(target: Path, overwrite: bool) -> None:
    """Refuse a file that may not be written, before any work is done.

    Raises:
        UsageError: See `new_file`.
    """
    if target.is_dir():
        raise UsageError("the output is a folder, not a file", where=str(target))
    if target.exists() and not overwrite:
        raise UsageError(
            "the file exists already", where=str(target), hint="--overwrite replaces it"
        )
    if not target.resolve().parent.is_dir():
        raise UsageError(
            "there is no folder to write it to", where=str(target), hint="make the folder first"
        )


def check_target(target: Path, overwrite: bool, kind: str = "run") -> None:
    """Refuse a target that may not be written, before any work is done.

    Raises:
        UsageError: See `new_folder`.
    """
    where = str(target)
    if target.is_symlink():
        raise UsageError(
            "the output folder is a link", where=where, hint="give the folder that it points to"
        )
    if target.exists():
        if not target.is_dir():
            raise UsageError("the output is a file, not a folder", where=where)
        if any(target.iterdir()):
            found = _kind(target)
            if found is None:
                raise UsageError(
                    "the output folder exists and holds something else than a run or a snapshot",
                    where=where,
                    hint="choose a new folder",
                )
            if found != kind:
                raise UsageError(
                    f"the output folder holds a {found}, and a {kind} does not replace it",
                    where=where,
                    hint="choose a new folder",
                )
            if not overwrite:
                raise UsageError(
                    f"the output folder holds a {found} already",
                    where=where,
                    hint="--overwrite replaces it, when the new one is complete",
                )
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"{str(parent)!r} is not a folder one can write to",
            where=where,
            hint="choose another --out",
        )


def _kind(folder: Path) -> str | None:
    """Return what a folder holds, `None` for what FeatureKit has not written."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = read_json(folder / MANIFEST)
    except DataError:
        return "run"  # A damaged one, which may be replaced.
    if not isinstance(manifest, dict) or "format" not in manifest:
        return None
    return "snapshot" if "as_of" in manifest else "run"


def _flush(folder: Path) -> None:
    """Fsync every file and folder below, the innermost first."""
    for root, _, files in os.walk(folder, topdown=False):
        for entry in (*(Path(root) / name for name in files), Path(root)):
            _sync(entry)


def _sync(entry: Path) -> None:
    handle = os.open(entry, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(temporary: Path, target: Path) -> None:
    """Put a finished folder in the place of an older one, which stays until the new one stands.

    Where the system can exchange two folders at once, there is no moment without a run. The older
    one is then what `temporary` holds.
    """
    if not target.exists() or not any(target.iterdir()):
        temporary.rename(target)
    elif not _exchange(temporary, target):
        aside = temporary.with_name(OLD)
        try:
            target.rename(aside)
            temporary.rename(target)
        except BaseException:
            if aside.exists() and not target.exists():
                aside.rename(target)
            raise
        finally:
            if target.exists():
                shutil.rmtree(aside, ignore_errors=True)
    _sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, where the system can; say whether it did."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None)
    if exchange is None:
        return False
    here, both = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2(2)
    return bool(exchange(here, os.fsencode(one), here, os.fsencode(other), both) == 0)


def write_json(path: Path, data: Any) -> None:
    """Write data as JSON that a person can read and a diff can compare."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def statistics_to_dict(fitted: Mapping[StatisticRequest, Any]) -> dict[str, Any]:
    """Return fitted statistics as plain data, by their readable names."""
    return {
        request.text: {"kind": type(request.statistic).__name__, **asdict(value)}
        for request, value in fitted.items()
    }


def statistics_from_dict(
    data: Mapping[str, Any], plan: Plan, where: str = STATISTICS
) -> dict[StatisticRequest, Any]:
    """Return fitted statistics for the requests of a plan.

    Args:
        data: What `statistics_to_dict` gave, as it was read back.
        plan: The plan.
        where: What errors call the data.

    Raises:
        DataError: One is missing, or is not what its statistic gives.
    """
    fitted = {}
    for request in plan.statistics:
        name, statistic = request.text_in(plan.resolved.semantics), request.statistic
        entry = data.get(name)
        name = shortened(name)
        if entry is None:
            raise DataError(f"the statistic {name} is missing", where=where, hint=DAMAGED)
        require_type(entry, dict[str, Any], f"{where}: {name}")
        values = {key: value for key, value in entry.items() if key != "kind"}
        kind = type(statistic).__name__
        if entry.get("kind") != kind:
            raise DataError(f"{name} is no {kind}", where=where, hint=DAMAGED)
        require_type(values, statistic.value, f"{where}: {name}")
        try:
            value = fitted[request] = statistic.restored(values)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(
                f"{name} is not what its statistic gives: {error}", where=where, hint=DAMAGED
            ) from None
        if isinstance(value, MostFrequentValue):
            form = _PLAIN.get(request.node.type.kind, Any)
            require_type(value.value, form, f"{where}: {name}.value")
        if (problem := _impossible(statistic, value)) is not None:
            raise DataError(f"{name} cannot be: {problem}", where=where, hint=DAMAGED)
    return fitted


_PLAIN: Mapping[Kind, Any] = {
    Kind.STRING: str, Kind.BOOL: bool, Kind.INT64: int, Kind.FLOAT32: float, Kind.FLOAT64: float,
}  # fmt: skip


def _impossible(statistic: Statistic, value: Any) -> str | None:
    """Return why no data can give a statistic; its types are right."""
    if isinstance(value, MomentsValue) and value.variance < 0:
        return "a variance is never negative"
    if isinstance(value, ExtremesValue) and value.minimum > value.maximum:
        return "the minimum is above the maximum"
    if isinstance(value, QuantilesValue) and isinstance(statistic, Quantiles):
        if len(value.boundaries) != statistic.parts - 1:
            return f"{statistic.parts} parts have {statistic.parts - 1} boundaries"
        if list(value.boundaries) != sorted(value.boundaries):
            return "boundaries go up"
    if isinstance(value, WordCountsValue) and not (
        len(set(value.words)) == len(value.counts) == len(value.words) <= value.distinct
    ):
        return "each word has one count"
    if isinstance(value, TargetMeansValue):
        parts, places = len(value.rows), len(set(value.categories))
        tables = (value.category_rows, value.category_sums)
        if not (
            len(value.categories) == places
            and {len(value.sums), *map(len, tables)} == {parts}
            and all(len(row) == places for rows in tables for row in rows)
        ):
            return "each part has a sum, and a count of each category"
    return None


def write_statistics(folder: Path, fitted: Mapping[StatisticRequest, Any]) -> None:
    """Write `statistics.json`, and the words of vocabularies as text files beside it."""
    data: dict[str, Any] = {}
    used: set[str] = set()
    for request, value in fitted.items():
        entry = {"kind": type(request.statistic).__name__, **asdict(value)}
        if isinstance(value, WordCountsValue):
            (folder / VOCABULARIES).mkdir(exist_ok=True)
            name = _file_name(request.text, used)
            lines = "".join(f"{_escape(word)}\n" for word in value.words)
            (folder / VOCABULARIES / name).write_text(lines, "utf-8", newline="")
            entry["words"] = {"file": f"{VOCABULARIES}/{name}"}
        data[request.text] = entry
    write_json(folder / STATISTICS, data)


def _file_name(text: str, used: set[str]) -> str:
    stem = "".join(c if c.isascii() and c.isalnum() else "_" for c in text).strip("_")[:100]
    name, number = f"{stem}.txt", 1
    while name.lower() in used:
        number += 1
        name = f"{stem}_{number}.txt"
    used.add(name.lower())
    return name


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def _unescape(line: str) -> str:
    plain = {"n": "\n", "r": "\r"}
    return re.sub(r"\\(.)", lambda match: plain.get(match[1], match[1]), line)


def read_statistics(
    folder: Path, plan: Plan, manifest: Mapping[str, Any] | None = None
) -> dict[StatisticRequest, Any]:
    """Read `statistics.json` and the vocabularies back.

    Args:
        folder: The folder of the run.
        plan: Its plan.
        manifest: Its manifest, whose hashes the files must have; `None` before it is written.

    Raises:
        DataError: A file is missing or not what was written.
    """
    where = str(folder / STATISTICS)
    text = checked_bytes(folder, STATISTICS, manifest)
    data = parse_json(text, dict[str, dict[str, Any]], where)
    for entry in data.values():
        if isinstance(entry.get("words"), dict):
            require_type(entry["words"], _InFile, where)
            name = entry["words"]["file"]
            words = checked_bytes(folder, name, manifest)
            try:
                lines = words.decode("utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"cannot be read: {error}", where=str(folder / name), hint=DAMAGED
                ) from None
            entry["words"] = [_unescape(line) for line in lines[:-1]]
    return statistics_from_dict(data, plan, where)


class _InFile(TypedDict):
    """Words that stand in a file of their own."""

    file: str


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run.

    Raises:
        DataError: There is no run, it was written by a newer version, or is not what was written.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            "there is no run here (no manifest.json)",
            where=str(folder),
            hint="featurekit run SPEC --out DIR makes one",
        )
    manifest: dict[str, Any] = read_json(path, dict[str, Any])
    if manifest.get("format") != FORMAT:
        raise DataError(
            "the manifest has a format that this version does not read", where=str(folder)
        )
    if "as_of" in manifest:
        raise DataError(
            "this is a snapshot, not a run",
            where=str(folder),
            hint="read its Parquet files; featurekit run SPEC --out DIR makes a run",
        )
    where = str(path)
    semantics_of(manifest, where)
    require_type(manifest, Manifest, where)
    refuse_other_numbers(manifest, where)
    return manifest


def read_plan(manifest: Mapping[str, Any], base: Path | None = None, where: str = MANIFEST) -> Plan:
    """Rebuild the plan of a run from its manifest, without looking at any source.

    Args:
        manifest: The manifest, or as much of it as describes a plan.
        base: The folder that relative paths start from; by default the one of the manifest.
        where: What errors call the manifest.

    Raises:
        DataError: It describes no plan.
    """
    meaning = semantics_of(manifest, where)
    try:
        spec = Spec.from_dict(manifest["spec"], base or Path(manifest.get("base", "")))
        tables = {"": manifest["columns"], **manifest.get("past_columns", {})}
        types = {
            table: {name: parse_type(text) for name, text in columns.items()}
            for table, columns in tables.items()
        }
        resolved = resolve(spec, types.pop(""), types, refuse_leaks=False, semantics=meaning)
    except (FeatureKitError, TypeError, ValueError, KeyError, AttributeError) as error:
        problem = error.problems[0] if isinstance(error, SpecErrors) else error
        said = problem.message if isinstance(problem, FeatureKitError) else str(problem)
        raise DataError(
            f"what it says of its spec and columns fits no plan: {said}", where=where, hint=DAMAGED
        ) from error
    exported = manifest.get("saved_model", {}).get("exported", False)
    return make_plan(resolved, saved_model=exported)


def write_manifest(
    folder: Path, manifest: Mapping[str, Any], elsewhere: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the manifest of a folder that is complete; return it with its hashes.

    Args:
        folder: The folder.
        manifest: What to say of it.
        elsewhere: Entries of files of the run that are not in the folder.
    """
    made = sealed(manifest, folder, elsewhere)
    write_json(folder / MANIFEST, made)
    return made


def verify(folder: Path) -> Verification:
    """Compare every file of a run or a snapshot with its manifest.

    Raises:
        DataError: There is none here, or its manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            "there is no run or snapshot here (no manifest.json)", where=str(folder),
            hint="featurekit run SPEC --out DIR makes a run",
        )  # fmt: skip
    manifest = read_json(path, dict[str, Any])
    if "as_of" not in manifest:
        return verified(folder, read_manifest(folder))
    require_type(manifest, SnapshotManifest, str(path))
    return verified(folder, manifest)


def versions(on_beam: bool = False, more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on.

    Args:
        on_beam: Whether Beam had a part in them.
        more: Packages besides.
    """
    out = {"python": platform.python_version()}
    packages = ("featurekit", "polars", "pyarrow", "tensorflow", "tensorflow-metadata")
    for package in (*packages, *(_BEAM if on_beam else ()), *more):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out
