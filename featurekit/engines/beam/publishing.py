"""Runs in a bucket: how they get there, given that a bucket cannot rename a folder at once.

The pipeline writes its examples beside the target, under a name that nobody else has. When the run
is checked, examples are renamed into the target, the files of the run's own process copied there,
and `manifest.json` last: a folder without one is no run.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurekit.engines.rows import SPLIT
from featurekit.engines.workers import Worker
from featurekit.errors import EngineError, UsageError

__all__ = ["check_target", "new_folder", "numbered", "publish", "remove_left"]

_MANIFEST = "manifest.json"
_WRITTEN = "written.json"
_EXAMPLES = "examples"
_LEFT = re.compile(r"\.[0-9a-f]{12}\.tmp(?=/)")
_AGE = 24 * 3600.0
_notes = logging.getLogger("featurekit")


@contextmanager
def new_folder(
    process: Worker, out: str, overwrite: bool, scratch: Path
) -> Iterator[tuple[Path, str]]:
    """Give two temporary folders, one here and one there, which become a run in a bucket.

    Args:
        process: The process that has Beam.
        out: The run's address.
        overwrite: Whether a run that stands there may be replaced.
        scratch: A folder for temporary files.

    Raises:
        UsageError: The target cannot be written, or holds something else.
        EngineError: Writing fails.
    """
    out = out.rstrip("/")
    parent, _, name = out.rpartition("/")
    work = f"{parent}/.{name}.{uuid.uuid4().hex[:12]}.tmp"
    process.start({"task": "begin", "out": out, "overwrite": overwrite})
    if left := process.answer()["left"]:
        said = "%s: removed %s temporary folders that writers have left more than 24 hours ago"
        _notes.warning(said, out, len(left))
    folder = scratch / "run"
    folder.mkdir()
    try:
        yield folder, work
        process.start(
            {"task": "publish", "out": out, "work": work, "folder": str(folder),
             "overwrite": overwrite}
        )  # fmt: skip
        process.answer()
    finally:
        _discard(process, work)


def _discard(process: Worker, work: str) -> None:
    """Remove what the pipeline wrote, as far as the process still can."""
    try:
        process.start({"task": "discard", "work": work})
        process.answer()
    except EngineError:
        return


def check_target(out: str, overwrite: bool) -> None:
    """Refuse an address that may not be written; the process's part of `new_folder`.

    Raises:
        UsageError: It holds something else than a run, or a run that may not be replaced.
    """
    from featurekit.engines.beam.storage import exists, join, listed

    if exists(join(out, _MANIFEST)):
        if not overwrite:
            raise UsageError(
                "the output folder holds a run already", where=out,
                hint="--overwrite replaces it, when the new one is complete",
            )  # fmt: skip
    elif listed(out):
        raise UsageError(
            "the output folder exists and holds something else than a run", where=out,
            hint="choose a new folder",
        )  # fmt: skip


def remove_left(out: str) -> list[str]:
    """Remove what dead writers of a run have left beside its address, and return what that was.

    A bucket has no locks. So a folder counts as left when nothing in it has changed for 24 hours.

    Raises:
        EngineError: It cannot be removed.
    """
    from featurekit.engines.beam.storage import changed_at, join, remove

    parent, _, name = out.rstrip("/").rpartition("/")
    newest: dict[str, float] = {}
    for path, at in changed_at(join(parent, f".{name}.*")).items():
        folder = _LEFT.match(path[len(parent) + 1 :].removeprefix(f".{name}"))
        if folder is not None:
            place = f"{parent}/.{name}{folder[0]}"
            newest[place] = max(newest.get(place, 0.0), at)
    left = [place for place, at in newest.items() if at and time.time() - at > _AGE]
    for place in left:
        remove(place)
    return left


def publish(out: str, work: str, folder: Path, overwrite: bool) -> None:
    """Put a finished run in its place; the process's part of `new_folder`.

    Args:
        out: The run's address.
        work: Where the pipeline wrote.
        folder: What the run's own process wrote.
        overwrite: Whether a run that stands there may be replaced.

    Raises:
        UsageError: See `check_target`.
        EngineError: Writing fails.
    """
    from featurekit.engines.beam.storage import (
        copy_text,
        exists,
        join,
        listed,
        move,
        remove,
        upload,
    )  # fmt: skip

    check_target(out, overwrite)
    if exists(join(out, _MANIFEST)):
        # Without its manifest, what is left of the old run is none.
        remove(join(out, _MANIFEST))
        remove(out)
    written = json.loads(copy_text(join(work, _WRITTEN)))
    pairs = [(path, join(out, _EXAMPLES, *target)) for path, target in numbered(written)]
    bad_rows = join(work, "bad_rows")
    pairs += [(path, join(out, "bad_rows", path.rpartition("/")[2])) for path in listed(bad_rows)]
    move([path for path, _ in pairs], [target for _, target in pairs])
    manifest = folder / _MANIFEST
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file != manifest:
            upload(file, join(out, *file.relative_to(folder).parts))
    upload(manifest, join(out, _MANIFEST))


def numbered(written: list[dict[str, Any]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each file of examples with its place: the folder of its split, and its name.

    Files are numbered in the order of the rows. What nobody reported is not among them.

    Args:
        written: What the pipeline reported, one entry a file.
    """
    counts: dict[str, int] = {}
    for entry in sorted(written, key=lambda entry: (entry["part"], entry["start"])):
        number = counts[entry["split"]] = counts.get(entry["split"], -1) + 1
        split = f"{SPLIT}={entry['split']}"
        yield entry["path"], (split, f"{number:08}.parquet")
        if entry["records"] is not None:
            yield entry["records"], (split, f"{number:08}.tfrecord")
