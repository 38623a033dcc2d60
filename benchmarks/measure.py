"""One whole process, measured; and the machine that it ran on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Measured", "load", "machine", "measure", "versions"]

PACKAGES = (
    "featurekit", "polars", "pyarrow", "numpy", "pandas", "scikit-learn", "tensorflow",
    "tensorflow-transform", "tfx-bsl", "apache-beam", "sqlglot",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What one process took.

    Args:
        seconds: From its start to its end, imports included.
        cpu: Processor seconds of it and of the processes that it waited for.
        megabytes: The largest resident memory of it or of any one of those processes.
        others: The share of the processors that the rest of the machine took meanwhile.
    """

    seconds: float
    cpu: float
    megabytes: float
    others: float


class Failed(Exception):
    """A process ended with an error; holds the end of what it said."""


def measure(command: list[str], folder: Path, log: Path) -> Measured:
    """Run a command in a folder and measure it.

    The caller must be small: Linux counts its memory to the child until that executes.

    Raises:
        Failed: The command ended with an error.
    """
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    busy = _busy()
    began = time.perf_counter()
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    if process.returncode:
        said_last = log.read_text("utf-8", "replace").splitlines()[-15:]
        raise Failed("\n".join([f"exit code {process.returncode}", *said_last]))
    others = max(0.0, _busy() - busy - cpu) / (seconds * (os.cpu_count() or 1))
    peak = usage.ru_maxrss * 1024 / 1e6
    return Measured(round(seconds, 3), round(cpu, 3), round(peak, 1), round(others, 3))


def _busy() -> float:
    """Return the seconds that all processors were not idle since the machine started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    idle, waiting = 3, 4
    ticks = sum(int(value) for place, value in enumerate(fields) if place not in (idle, waiting))
    return ticks / os.sysconf("SC_CLK_TCK")


def load() -> float:
    """Return how many processes wanted a processor in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, object]:
    """Say what the machine is, and when this is."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "load_before": load(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found
