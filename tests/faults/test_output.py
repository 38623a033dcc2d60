"""What stands at the output: refused when it is not a run, and whole whatever happens."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest

from featurekit import artifact
from featurekit.errors import EngineError, UsageError
from featurekit.job import Progress, run
from featurekit.runs import Run, open_run
from featurekit.spec.objects import Examples, Source, Spec

ROWS = 200_000


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    folder = tmp_path / "data"
    folder.mkdir()
    pl.select(x=pl.int_range(ROWS).hash(1).cast(pl.Float64) / 2.0**64).write_parquet(
        folder / "rows.parquet"
    )
    return Spec(
        sources={"rows": Source(path="data/rows.parquet")},
        examples=Examples("rows"),
        features={"f": "zscore(x)", "g": "log1p(x)"},
        base=tmp_path,
    )


def whole(path: Path) -> Run:
    """Open a run and read all of it."""
    opened = open_run(path)
    assert opened.examples().to_polars().height == opened.manifest["rows"]["written"]
    assert json.loads(json.dumps(opened.statistics))
    return opened


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


def test_a_folder_that_holds_something_else_is_never_replaced(spec: Spec, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="something else") as caught:
            run(spec, other, tensorflow=False, overwrite=overwrite)
        assert caught.value.exit_code == 2
    assert [entry.name for entry in other.iterdir()] == ["thesis.txt"]


def test_a_manifest_of_something_else_makes_no_run(spec: Spec, tmp_path: Path) -> None:
    other = tmp_path / "extension"
    other.mkdir()
    (other / "manifest.json").write_text('{"manifest_version": 3}')
    with pytest.raises(UsageError, match="something else"):
        run(spec, other, tensorflow=False, overwrite=True)
    assert [entry.name for entry in other.iterdir()] == ["manifest.json"]


def test_a_run_is_replaced_only_when_asked(spec: Spec, tmp_path: Path) -> None:
    first = run(spec, tmp_path / "out", tensorflow=False)
    with pytest.raises(UsageError, match="holds a run already"):
        run(spec, tmp_path / "out", tensorflow=False)
    assert whole(tmp_path / "out").manifest == first.manifest
    run(spec, tmp_path / "out", tensorflow=False, overwrite=True)
    assert leftovers(tmp_path) == []


def test_an_empty_folder_is_used(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run(spec, tmp_path / "out", tensorflow=False)
    assert whole(tmp_path / "out").features == ("f", "g")


def test_a_link_is_refused(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link"):
        run(spec, tmp_path / "out", tensorflow=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_is_refused(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("text")
    with pytest.raises(UsageError, match="is a file"):
        run(spec, tmp_path / "out", tensorflow=False)


def test_a_place_that_cannot_be_written_is_refused(spec: Spec) -> None:
    # /proc refuses new folders to everyone, root included.
    with pytest.raises(UsageError, match=r"cannot write|write to"):
        run(spec, "/proc/featurekit-run", tensorflow=False)


def test_a_write_that_fails_midway_leaves_the_previous_run_whole(
    spec: Spec, tmp_path: Path
) -> None:
    first = run(spec, tmp_path / "out", tensorflow=False)
    # A limit on the size of files makes the system refuse a write in the middle of the examples,
    # as a full disk does.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(EngineError, match="disk is full") as caught:
            run(spec, tmp_path / "out", tensorflow=False, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.exit_code == 4
    assert whole(tmp_path / "out").manifest == first.manifest
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_nothing_behind(spec: Spec, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a disk in memory")
    try:
        with pytest.raises(EngineError, match="disk is full"):
            run(spec, disk / "out", tensorflow=False)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "renamed twice"])
def test_an_interruption_while_publishing_leaves_one_run_whole(
    spec: Spec, tmp_path: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(spec, tmp_path / "out", tensorflow=False)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    if not exchange:
        monkeypatch.setattr(artifact, "_exchange", lambda *_: False)
        with pytest.raises(KeyboardInterrupt):
            run(spec, tmp_path / "out", tensorflow=False, overwrite=True)
        assert whole(tmp_path / "out").manifest == first.manifest
    else:
        run(spec, tmp_path / "out", tensorflow=False, overwrite=True)
        assert whole(tmp_path / "out").manifest["seconds"] != first.manifest["seconds"]
    assert leftovers(tmp_path) == []


def test_what_appears_at_the_output_meanwhile_is_not_replaced(spec: Spec, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def appear(step: Progress) -> None:
        if step.text == "publishing":
            out.mkdir()
            (out / "thesis.txt").write_text("years of work")

    with pytest.raises(UsageError, match="something else"):
        run(spec, out, tensorflow=False, progress=appear)
    assert [entry.name for entry in out.iterdir()] == ["thesis.txt"]
    assert leftovers(tmp_path) == []


SLOW = """
    import sys, time
    from featurekit.job import run
    from tests.faults.test_output import slow_spec
    run(slow_spec(sys.argv[1]), sys.argv[2], tensorflow=False, overwrite=True,
        progress=lambda step: (print(step.text, flush=True), time.sleep(1.0)))
"""


def slow_spec(folder: str) -> Spec:
    return Spec(
        sources={"rows": Source(path="data/rows.parquet")},
        examples=Examples("rows"),
        features={"f": "zscore(x)"},
        base=Path(folder),
    )


def interrupt(tmp_path: Path, stage: str, number: signal.Signals) -> int:
    """Start a run in another process and send it a signal when a stage begins."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW), str(tmp_path), str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if stage in line:
                time.sleep(0.2)
                process.send_signal(number)
                break
        return process.wait(timeout=1200)


@pytest.mark.parametrize("stage", ["statistics", "writing", "publishing"])
def test_an_interrupted_run_leaves_the_previous_one_whole(
    spec: Spec, tmp_path: Path, stage: str
) -> None:
    first = run(spec, tmp_path / "out", tensorflow=False)
    assert interrupt(tmp_path, stage, signal.SIGINT) != 0
    assert whole(tmp_path / "out").manifest == first.manifest
    assert leftovers(tmp_path) == []


def test_a_killed_run_leaves_the_previous_one_whole_and_only_hidden_folders(
    spec: Spec, tmp_path: Path
) -> None:
    first = run(spec, tmp_path / "out", tensorflow=False)
    interrupt(tmp_path, "publishing", signal.SIGKILL)
    assert whole(tmp_path / "out").manifest == first.manifest
    run(spec, tmp_path / "out", tensorflow=False, overwrite=True)
    assert whole(tmp_path / "out").features == ("f", "g")
