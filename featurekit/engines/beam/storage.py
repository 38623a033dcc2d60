"""Files wherever Beam reads and writes: folders of a machine, buckets, clusters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from featurekit.errors import DataError, EngineError

__all__ = [
    "changed_at",
    "copy_text",
    "created",
    "download",
    "exists",
    "is_address",
    "join",
    "listed",
    "matching",
    "move",
    "opened",
    "remove",
    "size",
    "upload",
]

_BLOCK = 1 << 22


def is_address(path: str) -> bool:
    """Whether a path is one of another file system than this machine's."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Return the path of something in a folder."""
    return str(FileSystems.join(folder, *names))


def matching(pattern: str) -> list[str]:
    """Return the files that a path or a glob means, in order.

    Raises:
        DataError: There is none, or their place cannot be reached.
    """
    with _errors(pattern):
        found = sorted(entry.path for entry in FileSystems.match([pattern])[0].metadata_list)
    if not found:
        raise DataError("there is no such file", where=pattern)
    return found


def listed(folder: str) -> list[str]:
    """Return the files in a folder, at any depth.

    Raises:
        DataError: Its place cannot be reached.
    """
    with _errors(folder):
        found = FileSystems.match([f"{folder.rstrip('/')}/**"])[0].metadata_list
    return sorted(entry.path for entry in found)


def exists(path: str) -> bool:
    """Whether there is a file.

    Raises:
        DataError: Its place cannot be reached.
    """
    with _errors(path):
        return bool(FileSystems.exists(path))


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a file for Arrow to read.

    Raises:
        DataError: It is not there.
    """
    if not is_address(path):
        try:
            with pa.OSFile(path) as file:
                yield file
        except FileNotFoundError:
            raise DataError("there is no such file on this worker", where=path) from None
        return
    with _errors(path):
        file = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    with file:
        yield file


def size(path: str) -> int:
    """Return how many bytes a file has.

    Raises:
        DataError: It is not there.
    """
    with _errors(path):
        return int(FileSystems.match([path])[0].metadata_list[0].size_in_bytes)


def changed_at(pattern: str) -> dict[str, float]:
    """Return when each file below the folders that a glob means was changed, in seconds of Unix.

    Raises:
        DataError: Its place cannot be reached.
    """
    with _errors(pattern):
        found = FileSystems.match([f"{pattern}/**"])[0].metadata_list
    return {entry.path: float(entry.last_updated_in_seconds or 0.0) for entry in found}


def created(path: str) -> Any:
    """Open a file to be written, as it is."""
    return FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)


def download(path: str, target: Path, limit: int | None = None) -> None:
    """Copy a file to this machine, or its first bytes.

    Raises:
        DataError: It cannot be read.
    """
    with opened(path) as file, target.open("wb") as copy:
        left = limit
        while left is None or left > 0:
            block = file.read(_BLOCK if left is None else min(left, _BLOCK))
            if not block:
                return
            copy.write(block)
            left = None if left is None else left - len(block)


def copy_text(path: str) -> str:
    """Return what a text file holds.

    Raises:
        DataError: It cannot be read.
    """
    with opened(path) as file:
        return bytes(file.read()).decode()


def upload(source: Path, path: str) -> None:
    """Copy a file of this machine to its place.

    Raises:
        EngineError: It cannot be written.
    """
    with _errors(path, writing=True), source.open("rb") as file, created(path) as copy:
        shutil.copyfileobj(file, copy, _BLOCK)


def move(sources: list[str], targets: list[str]) -> None:
    """Rename files within their file system.

    Raises:
        EngineError: One cannot be renamed.
    """
    if sources:
        with _errors(targets[0], writing=True):
            FileSystems.rename(sources, targets)


def remove(path: str) -> None:
    """Remove a file, or a folder and all that is in it, if there is one.

    Raises:
        EngineError: It cannot be removed.
    """
    with _errors(path, writing=True):
        if FileSystems.exists(path):
            FileSystems.delete([path])
        elif files := listed(path):
            FileSystems.delete(files)


@contextmanager
def _errors(path: str, writing: bool = False) -> Iterator[None]:
    """Turn what a file system raises into an error with a place."""
    try:
        yield
    except (BeamIOError, OSError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if writing:
            raise EngineError(f"writing failed: {text}", where=path) from None
        raise DataError(f"it cannot be read: {text}", where=path) from None
    except Exception as error:
        # Each client of a cloud has errors of its own, with nothing in common.
        if not type(error).__module__.startswith(
            ("google.", "boto", "azure", "requests", "urllib3")
        ):
            raise
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        kind = EngineError if writing else DataError
        raise kind(f"{'writing' if writing else 'reading'} failed: {text}", where=path) from None
