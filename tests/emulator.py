"""A real BigQuery emulator in a process of its own, for tests over the wire.

It is installed once into `.venv-emulator`, as pinned in `.ci/emulator.txt`: it needs other versions
of packages than FeatureKit does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-emulator"
PINS = ROOT / ".ci" / "emulator.txt"

# DuckDB would fetch its extensions from the network; these come as packages.
EXTENSIONS = """
from duckdb_extensions import import_extension
import_extension("spatial")
import_extension("avro")
"""


@dataclass(frozen=True)
class Emulator:
    """Where a running emulator listens, and the folder that stands for Cloud Storage."""

    rest: str
    storage: str
    buckets: Path


def installed() -> Path:
    """Return the emulator's command; install it first if that has not been done."""
    wanted = hashlib.sha256(PINS.read_bytes() + EXTENSIONS.encode()).hexdigest()
    stamp, command = FOLDER / "installed", FOLDER / "bin" / "bqemulator"
    with lock():
        if stamp.exists() and stamp.read_text() == wanted:
            return command
        shutil.rmtree(FOLDER, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(FOLDER))
        python = str(FOLDER / "bin" / "python")
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--no-deps", "-r", str(PINS))
        run(python, "-c", EXTENSIONS)
        stamp.write_text(wanted)
    return command


@contextmanager
def lock() -> Iterator[None]:
    """Let one process install at a time."""
    with PINS.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment() -> dict[str, str]:
    """Return the environment of the emulator: its home holds DuckDB's extensions."""
    return {**os.environ, "HOME": str(FOLDER)}


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_emulator(seconds: float = 90.0) -> Iterator[Emulator]:
    """Start an emulator on free ports of this machine, and end it afterwards."""
    command = installed()
    rest, storage = free_port(), free_port()
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as buckets:
        process = subprocess.Popen(
            [command, "start", "--rest-port", str(rest), "--grpc-port", str(storage)],
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
