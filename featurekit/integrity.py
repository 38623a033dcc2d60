"""Whether the files of a run or a snapshot are still those that were written.

A manifest holds under `files` the size and the SHA-256 of every other file of its folder, and under
`digests` hashes of its own content: `numbers` of what decides the values of features, which is
compared whenever a run is opened, and `manifest` of all of it. Small files are compared whenever
they are opened, examples and the SavedModel by their sizes, and all of them by `verify`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from featurekit.errors import DataError
from featurekit.stored_json import DAMAGED, file_inside

__all__ = ["Verification", "checked_bytes", "refuse_other_numbers", "refuse_other_sizes", "sealed",
           "verified"]  # fmt: skip

MANIFEST = "manifest.json"
_TOLD = ("waiver", "description", "owner", "created", "tags", "group", "monitor", "gates")
"""What a feature of a spec says that no number depends on."""


@dataclass(frozen=True)
class Verification:
    """What a comparison of a folder with its manifest has shown.

    Args:
        folder: The folder.
        files: How many files the manifest names.
        bytes: How many bytes they have.
        problems: What is not as it was written, one sentence each, the file first.
        unhashed: Files of which the manifest knows the size alone: those that never were on the
            machine of the run.
    """

    folder: str
    files: int
    bytes: int
    problems: tuple[str, ...]
    unhashed: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every file is as it was written."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        listed = {"problems": list(self.problems), "unhashed": list(self.unhashed)}
        return {**asdict(self), **listed, "whole": self.whole}


def sealed(
    manifest: Mapping[str, Any], folder: Path, elsewhere: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a manifest with the sizes and hashes of the files of its folder.

    Args:
        manifest: The manifest.
        folder: The folder, complete but for the manifest.
        elsewhere: Entries of files that are in the run and not in this folder.
    """
    names = sorted(name for name in _files_in(folder) if name != MANIFEST)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        entries = pool.map(_entry, (folder / name for name in names))
        files = {**dict(zip(names, entries, strict=True)), **(elsewhere or {})}
    made = {key: value for key, value in manifest.items() if key != "digests"} | {"files": files}
    return {**made, "digests": {"numbers": _of_numbers(made), "manifest": _hash(made)}}


def checked_bytes(folder: Path, name: str, manifest: Mapping[str, Any] | None) -> bytes:
    """Return what a file of a run holds, compared with its hash.

    Args:
        folder: The folder of the run.
        name: The name of the file in it.
        manifest: The manifest; `None` where none is written yet.

    Raises:
        DataError: It is missing, cannot be read, or is not what was written.
    """
    path = file_inside(folder, name, str(folder))
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), hint=DAMAGED)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}", where=str(path), hint=DAMAGED
        ) from None
    files = None if manifest is None else manifest.get("files")
    if files is None:
        return data
    entry = files.get(name)
    if entry is None:
        raise DataError("the manifest names no such file", where=str(path), hint=DAMAGED)
    if (problem := _differs(entry, len(data), hashlib.sha256(data).hexdigest())) is not None:
        raise DataError(problem, where=str(path), hint=DAMAGED)
    return data


def refuse_other_numbers(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest that was edited in what decides the values of features.

    Raises:
        DataError: It was.
    """
    digests = manifest.get("digests")
    if digests is not None and digests["numbers"] != _of_numbers(manifest):
        raise DataError(
            "its spec, columns or features are not those that were written", where=where,
            hint=DAMAGED,
        )  # fmt: skip


def refuse_other_sizes(folder: Path, below: str, manifest: Mapping[str, Any]) -> None:
    """Refuse large files that are missing, of another size, or not of the run; none is read.

    Args:
        folder: The folder of the run.
        below: The folder in it whose files are compared.
        manifest: The manifest.

    Raises:
        DataError: Names the first file that differs.
    """
    files = manifest.get("files")
    if files is None:
        return
    mine = {
        name: entry for name, entry in files.items() if PurePosixPath(name).is_relative_to(below)
    }
    # Of a run without an entry there nothing is known: a split may have no rows.
    problems = _compared(folder, mine, (below,) if mine else (), full=False)
    if problems:
        raise DataError(
            f"the run is not whole: {problems[0]}", where=str(folder),
            hint=f"featurekit verify {folder} names all such files; {DAMAGED}",
        )  # fmt: skip


def verified(folder: Path, manifest: Mapping[str, Any]) -> Verification:
    """Compare every file of a run or a snapshot with its manifest.

    Args:
        folder: The folder.
        manifest: The manifest, read as it is there.
    """
    files = manifest.get("files")
    if files is None:
        problem = "manifest.json: it holds no hashes, as an older version of FeatureKit wrote it"
        return Verification(str(folder), 0, 0, (problem,))
    tops = {PurePosixPath(name).parts[0] for name in files if "/" in name}
    problems = _compared(folder, files, tops, full=True)
    digests = manifest.get("digests")
    rest = {key: value for key, value in manifest.items() if key != "digests"}
    if digests is None or digests["manifest"] != _hash(rest):
        problems.insert(0, f"{MANIFEST}: it is not what was written")
    unhashed = tuple(name for name, entry in files.items() if entry.get("sha256") is None)
    size = sum(entry["bytes"] for entry in files.values())
    return Verification(str(folder), len(files), size, tuple(problems), unhashed)


def _compared(folder: Path, files: Mapping[str, Any], tops: Iterable[str], full: bool) -> list[str]:
    """Return what is wrong with files, and which files are below some folders besides.

    Args:
        folder: The folder of the run.
        files: The entries of the files.
        tops: Folders in it that hold nothing but files of the run.
        full: Whether contents are compared, and not sizes alone.
    """

    def problem(name: str) -> str | None:
        try:
            path = file_inside(folder, name, MANIFEST)
            if not path.is_file():
                return f"{name}: it is missing"
            size, digest = _measured(path) if full else (path.stat().st_size, None)
        except DataError as error:
            return f"{MANIFEST}: {error.message}"
        except OSError as error:
            return f"{name}: it cannot be read ({error.strerror})"
        differs = _differs(files[name], size, digest)
        return None if differs is None else f"{name}: {differs}"

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        problems = [text for text in pool.map(problem, files) if text is not None]
    for top in sorted(tops):
        strange = (f"{top}/{name}" for name in _files_in(folder / top))
        problems += [f"{name}: it is no file of the run" for name in strange if name not in files]
    return problems


def _differs(entry: Mapping[str, Any], size: int, digest: str | None) -> str | None:
    if entry["bytes"] != size:
        return f"it has {size:,} bytes, and {entry['bytes']:,} were written"
    hashed = entry.get("sha256")
    if digest is not None and hashed is not None and digest != hashed:
        return "it is not what was written (another SHA-256)"
    return None


def _entry(path: Path) -> dict[str, Any]:
    size, digest = _measured(path)
    return {"bytes": size, "sha256": digest}


def _measured(path: Path) -> tuple[int, str]:
    """Return the size of a file and the hash of what it holds."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return os.fstat(file.fileno()).st_size, digest


def _files_in(folder: Path) -> Iterable[str]:
    """Yield the files in a folder, at any depth, by their names with slashes."""
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            yield (Path(root) / name).relative_to(folder).as_posix()


def _of_numbers(manifest: Mapping[str, Any]) -> str:
    """Return a hash of what decides the values of features.

    Where the data lie (`base`) and by which version numbers are made (`semantics`) is not in it.
    """
    spec = dict(manifest.get("spec", {}))
    features = spec.get("features")
    if isinstance(features, dict):
        spec["features"] = {
            name: {key: value for key, value in each.items() if key not in _TOLD}
            if isinstance(each, dict) else each
            for name, each in features.items()
        }  # fmt: skip
    decides = ("columns", "past_columns", "features")
    return _hash([spec, *(manifest.get(key) for key in decides)])


def _hash(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
