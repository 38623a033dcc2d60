"""A folder like a checkout with a few flights and one finished run, shared by all pages."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from featurekit.cli import main
from tests.docs.pages import ROOT

EVERY = 67
"""Of 336,776 flights, one in so many is kept: 5,027."""

FLIGHTS_RUN = "featurekit run examples/flights/flights.yaml --out runs/flights"
NOT_RUN = ("make ", "pip ", "python examples/flights/prepare.py")
"""Commands that install something, or prepare all flights."""


class Workspace:
    """The folder that snippets run in.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, tuple[int, str]] = {}

    def command(self, text: str) -> tuple[int, str] | None:
        """Run a command line; return its exit code and output, `None` for one that is not run.

        Those that need Google Cloud are not.
        A `featurekit run` is done once, whichever pages show it.
        """
        if text.startswith(NOT_RUN) or "--engine gcp" in text:
            return None
        if text not in self.done:
            answer = self._featurekit(text) if text.startswith("featurekit ") else self._shell(text)
            if not text.startswith("featurekit run "):
                return answer
            self.done[text] = answer
        return self.done[text]

    def _featurekit(self, text: str) -> tuple[int, str]:
        out = io.StringIO()
        printed = contextlib.redirect_stdout(out), contextlib.redirect_stderr(out)
        with contextlib.chdir(self.path), printed[0], printed[1]:
            try:
                code = main(shlex.split(text, comments=True)[1:])
            except SystemExit as stop:
                code = int(stop.code or 0)
        return code, out.getvalue()

    def _shell(self, text: str) -> tuple[int, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            text, shell=True, cwd=self.path, env=environment, check=False, capture_output=True,
            text=True, timeout=1200,
        )  # fmt: skip
        # What libraries log is no part of what a page shows.
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")


def prepare(folder: Path) -> None:
    """Write a few of the flights and all that goes with them, as the example prepares them."""
    place = importlib.util.spec_from_file_location("prepare", ROOT / "examples/flights/prepare.py")
    assert place is not None
    assert place.loader is not None
    script = importlib.util.module_from_spec(place)
    place.loader.exec_module(script)
    for name, table in script.tables(EVERY).items():
        script.write(table, folder / f"{name}.parquet")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns("data", "__pycache__")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=left_out)
    prepare(folder / "examples/flights/data")
    made = Workspace(folder)
    answer = made.command(FLIGHTS_RUN)
    assert answer is not None
    assert answer[0] == 0, answer[1]
    return made
