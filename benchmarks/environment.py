"""The virtual environment of the peers that FeatureKit's own cannot hold: benchmarks/.venv."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

__all__ = ["PYTHON", "install", "versions"]

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".venv"
PYTHON = FOLDER / "bin" / "python"
WANTED = HERE / "requirements.txt"
INSTALLED = FOLDER / "installed.txt"
"""What `WANTED` said when it was installed."""
NAMED = ("duckdb", "featuretools", "lofo-importance", "woodwork", "pandas")


def install() -> None:
    """Make the environment, unless it holds what is wanted.

    Raises:
        subprocess.CalledProcessError: The packages cannot be installed.
    """
    wanted = WANTED.read_text("utf-8")
    if INSTALLED.exists() and INSTALLED.read_text("utf-8") == wanted:
        return
    print("installing benchmarks/requirements.txt into benchmarks/.venv", file=sys.stderr)
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", WANTED], check=True)
    INSTALLED.write_text(wanted, "utf-8")


def versions() -> dict[str, str]:
    """Return the versions of what it holds beside `.venv`, if it is there."""
    folders = [str(path) for path in FOLDER.glob("lib/python*/site-packages")]
    found = {package.name: package.version for package in distributions(path=folders)}
    beside = " in benchmarks/.venv"
    return {
        name + (beside if name == "pandas" else ""): found[name] for name in NAMED if name in found
    }
