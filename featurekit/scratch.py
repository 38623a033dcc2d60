"""Temporary folders that go with their writer, and what is done about those of dead writers.

A writer makes one folder beside its target, `.TARGET.RANDOM.tmp`, holds a lock in it, and puts all
that it needs for a while into it; in the end it is removed. A writer that is killed cannot do that.
So each writer first removes the folders of the same target whose writers are dead, and says so:

- a folder whose lock is held belongs to a writer that lives, and is never touched;
- one whose lock nobody holds was left by a dead writer of this machine;
- a lock that a writer of another machine holds may not be seen here. Such a folder, or one without
  a readable lock, goes when nothing in it has changed for 24 hours.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypedDict

from featurekit.errors import DataError
from featurekit.stored_json import read_json

try:
    import fcntl
except ImportError:  # On Windows a folder is told to be left by its age alone.
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "NEW",
    "OLD",
    "claimed_folder",
    "process_folder",
    "remove_all_claimed",
    "scratch_folder",
    "swept",
]

LOCK = "lock"
NEW, OLD = "new.tmp", "old"
"""What becomes the target, and what stood there before, within the folder of a writer."""
_SUFFIX = ".tmp"
_AGE = 24 * 3600.0
"""So many seconds nothing must have changed in a folder of another machine."""
_notes = logging.getLogger("featurekit")
_held: set[Path] = set()
"""The folders that this process holds."""
_lasting: set[Path] = set()
"""Those of them that it needs until it ends."""


class _Holder(TypedDict):
    """Who holds a lock."""

    host: str
    process: int


@contextmanager
def claimed_folder(parent: Path, stem: str) -> Iterator[Path]:
    """Give a new folder beside a target that ends with the block; sweep up after dead writers.

    Folders above that are made for it, and hold nothing in the end, go with it.

    Args:
        parent: The folder that holds the target.
        stem: The name of the target.

    Raises:
        OSError: It cannot be written.
    """
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    path = parent / f".{stem}.{secrets.token_hex(6)}{_SUFFIX}"
    lock = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with _alone(parent):
            left = _sweep(parent, stem)
            _held.add(path)
            path.mkdir(0o700)
            lock = _lock(path)
        _say(parent / stem, left)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        _held.discard(path)
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a new folder for what is needed for a while, where the system keeps temporary files."""
    with claimed_folder(Path(tempfile.gettempdir()), "featurekit") as path:
        yield path


@cache
def process_folder() -> Path:
    """Return a folder for what is needed until this process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    path = stack.enter_context(scratch_folder())
    _lasting.add(path)
    return path


def swept(parent: Path, stem: str) -> int:
    """Remove what dead writers of a target have left, say so, and return how many folders."""
    if not parent.is_dir():
        return 0
    with _alone(parent):
        left = _sweep(parent, stem)
    _say(parent / stem, left)
    return len(left)


def remove_all_claimed(lasting: bool = False) -> None:
    """Remove every folder that this process holds, because it has not unwound, or will not.

    Args:
        lasting: Also what is needed until the process ends.
    """
    for path in _held if lasting else _held - _lasting:
        shutil.rmtree(path, ignore_errors=True)


def _say(target: Path, left: list[int]) -> None:
    if left:
        folders = f"{len(left)} temporary folder{'s' if len(left) > 1 else ''}"
        said = "%s: removed %s (%s bytes) that writers which were ended have left"
        _notes.warning(said, target, folders, f"{sum(left):,}")


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Keep others from sweeping a folder while one is made in it that has no lock yet."""
    if fcntl is None:
        yield
        return
    handle = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # Not every network file system locks folders.
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path) -> int:
    """Hold the lock of a new folder until the handle is closed, or this process ends."""
    handle = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        holder: _Holder = {"host": socket.gethostname(), "process": os.getpid()}
        os.write(handle, json.dumps(holder).encode())
    except OSError:
        os.close(handle)
        raise
    return handle


def _sweep(parent: Path, stem: str) -> list[int]:
    """Remove the folders of dead writers; return the sizes of what was in them."""
    prefix = f".{stem}."
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    left = []
    for path in (parent / name for name in names):
        middle = path.name[len(prefix) : -len(_SUFFIX)]
        mine = path.name.endswith(_SUFFIX) and middle and "." not in middle
        if not mine or path.is_symlink() or not _is_dead(path):
            continue
        with suppress(OSError):
            _put_back(path, parent / stem)
            size = _size(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            left.append(size)
    return left


def _put_back(path: Path, target: Path) -> None:
    """Put back what stood at a target, if its writer died between taking it away and the new."""
    if (path / OLD).exists() and not target.exists():
        (path / OLD).rename(target)
        _notes.warning("%s: put back; a writer that was ended had just taken it away", target)


def _is_dead(path: Path) -> bool:
    """Whether the writer of a folder is."""
    if path in _held:
        return False
    lock = path / LOCK
    try:
        if fcntl is not None and lock.is_file():
            with lock.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
            if read_json(lock, _Holder)["host"] == socket.gethostname():
                return True
    except (OSError, DataError):
        pass  # Whose it is cannot be told: its age decides.
    return time.time() - _changed(path) > _AGE


def _changed(path: Path) -> float:
    """Return when anything in a folder has last changed."""
    newest = path.lstat().st_mtime
    for root, folders, files in os.walk(path):
        for name in (*folders, *files):
            with suppress(OSError):
                newest = max(newest, (Path(root) / name).lstat().st_mtime)
    return newest


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    walked = os.walk(path)
    return sum((Path(root) / name).lstat().st_size for root, _, names in walked for name in names)
