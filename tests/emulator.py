"""A real BigQuery emulator in a process of its own, for tests over the wire.

`make test` installs it into `.venv-emulator`, as pinned in `.ci/emulator.txt`: it needs other
versions of packages than FeatureKit does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-emulator"


@dataclass(frozen=True)
class Emulator:
    """Where a running emulator listens, and the folder that stands for Cloud Storage."""

    rest: str
    storage: str
    buckets: Path


def command() -> Path:
    """Return the emulator's command; skip the test where it has not been installed."""
    if not (FOLDER / "installed").exists():
        pytest.skip("the emulator of BigQuery is not installed; `make test` installs it")
    return FOLDER / "bin" / "bqemulator"


def environment() -> dict[str, str]:
    """Return the environment of the emulator: its home holds DuckDB's extensions."""
    return {**os.environ, "HOME": str(FOLDER)}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_emulator(seconds: float = 600.0) -> Iterator[Emulator]:
    """Start an emulator on free ports of this machine, and end it afterwards."""
    program = command()
    rest, storage = free_port(), free_port()
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as buckets:
        process = subprocess.Popen(
            [program, "start", "--rest-port", str(rest), "--grpc-port", str(storage)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**environment(), "BQEMU_GCS_LOCAL_ROOT": buckets},
        )  # fmt: skip
        try:
            end = time.monotonic() + seconds
            while not answers(f"http://127.0.0.1:{rest}/bigquery/v2/projects/p/datasets"):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise AssertionError(f"no emulator: {log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield Emulator(f"http://127.0.0.1:{rest}", f"127.0.0.1:{storage}", Path(buckets))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
