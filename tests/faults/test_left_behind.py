"""What writers leave: nothing when they are ended, and nothing for long when they are killed."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

import featurekit as fk
from featurekit.cli import main
from featurekit.errors import EngineError
from featurekit.scratch import LOCK, OLD, claimed_folder, scratch_folder, swept
from featurekit.signals import Ended, ended_by_signals

ROOT = Path(__file__).resolve().parents[2]
DAY = 24 * 3600
SPEC = """
sources: {rows: {path: rows.parquet}}
examples: {source: rows}
features: {f: zscore(x), g: "bucketize(x, 10)", h: log1p(x)}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = pl.select(x=pl.int_range(300_000).hash(1).cast(pl.Float64) / 2.0**64)
    rows.write_parquet(folder / "rows.parquet")
    (folder / "spec.yaml").write_text(SPEC)
    (tmp_path / "temporary").mkdir()
    return folder / "spec.yaml"


def started(spec: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run of its own process, whose temporary files are beside its output."""
    out = spec.parents[1] / "out"
    command = [sys.executable, "-m", "featurekit", "run", str(spec), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--overwrite", *options], cwd=ROOT, text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(out.parent / "temporary")},
    )  # fmt: skip


def beside(folder: Path) -> list[str]:
    """Return what is left beside an output, and where the system keeps temporary files."""
    left = [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]
    return left + [entry.name for entry in (folder / "temporary").iterdir()]


def wait_for(what: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_runs_killed_at_any_moment_leave_a_whole_run_and_the_next_one_removes_the_rest(
    spec: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fk.run(spec, out, tensorflow=False)
    chance, left = random.Random(7), 0
    for _ in range(6):
        run = started(spec, "--no-tensorflow")
        wait_for(lambda: beside(tmp_path) or run.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.4))
        run.kill()
        run.communicate()
        left = max(left, len(beside(tmp_path)))
        assert fk.open_run(out).verify().whole
        assert fk.open_run(out).examples().to_polars().height == 300_000
    assert left, "at least one was killed while it was at work"
    # Of several dead writers, the next one removes all, and says so.
    lines = ""
    if beside(tmp_path):
        run = started(spec, "--no-tensorflow")
        lines = run.communicate()[1]
        assert run.returncode == 0
        assert f"featurekit: note: {out}: removed " in lines
        assert "that writers which were ended have left" in lines
    assert beside(tmp_path) == []
    assert fk.open_run(out).verify().whole


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_cleans_up_and_says_so(
    spec: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = started(spec, "--no-tensorflow")
    wait_for(lambda: beside(tmp_path))
    run.send_signal(number)
    said = run.communicate()[1]
    assert run.returncode == code
    assert f"featurekit: error: ended by {number.name}; nothing was written" in said
    assert beside(tmp_path) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_processes_with_tensorflow_end_with_their_run_and_leave_no_files(
    spec: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pytest.importorskip("tensorflow")
    run = started(spec)
    wait_for(lambda: len(children(run.pid)) == 2)
    processes = children(run.pid)
    wait_for(lambda: any(tmp_path.glob(".out.*.tmp/new.tmp/statistics.json")))
    run.send_signal(number)
    run.communicate()
    wait_for(lambda: not any(map(alive, processes)), 10.0)
    assert not any((tmp_path / "temporary").iterdir())
    if number is signal.SIGTERM:
        assert beside(tmp_path) == []
    else:
        assert swept(tmp_path, "out") == 1
        assert beside(tmp_path) == []


def children(process: int) -> list[int]:
    try:
        said = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in said.split()]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


HOLDS = """
import sys, time
from pathlib import Path
from featurekit.scratch import claimed_folder
with claimed_folder(Path(sys.argv[1]), "out") as folder:
    (folder / "work").write_text("unfinished")
    print(folder, flush=True)
    time.sleep(100)
"""


@contextmanager
def other_writer(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Let another process be a writer of `out`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def aged(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for entry in (*folder.rglob("*"), folder):
        os.utime(entry, (then, then))


def test_the_folder_of_a_live_writer_is_never_removed(spec: Path, tmp_path: Path) -> None:
    with other_writer(tmp_path) as (process, folder):
        aged(folder, 30 * DAY)
        fk.run(spec, tmp_path / "out", tensorflow=False)
        assert (folder / "work").read_text() == "unfinished"
        process.kill()
        process.wait()
        fk.run(spec, tmp_path / "out", tensorflow=False, overwrite=True)
        assert not folder.exists()


@pytest.mark.parametrize(
    ("lock", "hours", "goes"),
    [
        (socket.gethostname(), 0, True),
        ("another-machine", 1, False),
        ("another-machine", 25, True),
        (None, 23, False),
        (None, 25, True),
    ],
)
def test_folders_of_other_machines_go_after_24_hours(
    tmp_path: Path, lock: str | None, hours: float, goes: bool
) -> None:
    folder = tmp_path / ".out.0123456789ab.tmp"
    (folder / "new.tmp").mkdir(parents=True)
    if lock is not None:
        (folder / LOCK).write_text(json.dumps({"host": lock, "process": 1}))
    aged(folder, hours * 3600)
    assert swept(tmp_path, "out") == int(goes)
    assert folder.exists() != goes


def test_a_folder_of_another_machine_that_is_still_written_to_stays(tmp_path: Path) -> None:
    folder = tmp_path / ".out.0123456789ab.tmp"
    (folder / "new.tmp").mkdir(parents=True)
    (folder / LOCK).write_text('{"host": "another-machine", "process": 1}')
    aged(folder, 30 * DAY)
    (folder / "new.tmp" / "part").write_text("just now")
    assert swept(tmp_path, "out") == 0


def test_nothing_but_folders_of_writers_of_the_same_target_is_removed(tmp_path: Path) -> None:
    names = [".out.tmp", ".out..tmp", ".other.0123456789ab.tmp", ".out.x.0123456789ab.tmp", "out"]
    for name in names:
        (tmp_path / name).mkdir()
        aged(tmp_path / name, 90 * DAY)
    (tmp_path / ".out.0123456789ac.tmp").symlink_to(tmp_path / "out")
    assert swept(tmp_path, "out") == 0
    assert {*names, ".out.0123456789ac.tmp"} == {entry.name for entry in tmp_path.iterdir()}


def test_a_run_that_was_taken_away_by_a_dead_writer_is_put_back(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fk.run(spec, out, tensorflow=False)
    folder = tmp_path / ".out.0123456789ab.tmp"
    folder.mkdir()
    (folder / LOCK).write_text(json.dumps({"host": socket.gethostname(), "process": 1}))
    out.rename(folder / OLD)
    assert swept(tmp_path, "out") == 1
    assert fk.open_run(out).verify().whole


def test_writers_at_work_at_once_do_not_harm_each_other(spec: Path, tmp_path: Path) -> None:
    runs = [started(spec, "--no-tensorflow", "--quiet") for _ in range(3)]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert beside(tmp_path) == []
    assert fk.open_run(tmp_path / "out").verify().whole


def test_folders_that_a_writer_made_for_itself_go_with_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claimed_folder(tmp_path / "a/b", "out"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with claimed_folder(tmp_path / "a/b", "out"):
        (tmp_path / "a/b/out").mkdir()
    assert (tmp_path / "a/b/out").is_dir()


def test_files_are_written_as_folders_are(spec: Path, tmp_path: Path) -> None:
    fk.run(spec, tmp_path / "out", tensorflow=False)
    folder = tmp_path / ".features.parquet.0123456789ab.tmp"
    folder.mkdir()
    (folder / LOCK).write_text(json.dumps({"host": socket.gethostname(), "process": 1}))
    rows, out = str(tmp_path / "data/rows.parquet"), str(tmp_path / "features.parquet")
    assert main(["apply", str(tmp_path / "out"), rows, "--out", out]) == 0
    assert not folder.exists()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Give a disk in memory of a size, where this machine lets root mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a disk in memory")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_exit_4_and_leaves_nothing_of_any_command(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fk.run(spec, tmp_path / "out", tensorflow=False)
    rows = str(tmp_path / "data/rows.parquet")
    with small_disk(tmp_path / "disk", "48k") as disk:
        for command in (
            ["apply", str(tmp_path / "out"), rows, "--out", str(disk / "f.parquet")],
            ["apply", str(tmp_path / "out"), rows, "--out", str(disk / "f.csv")],
            ["run", str(spec), "--out", str(disk / "run"), "--no-tensorflow"],
        ):
            assert main(command) == 4
            assert "the disk is full" in capsys.readouterr().err
            assert list(disk.iterdir()) == []
        fill = disk / "full"
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill.write_bytes(bytes(1 << 20))
        picture = ["plan", str(spec), "--picture", str(disk / "plan.svg")]
        assert main(picture) == 4
        assert [entry.name for entry in disk.iterdir()] == ["full"]


def test_a_full_disk_under_tensorflow_is_exit_4_and_leaves_nothing(
    spec: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    small = pl.read_parquet(tmp_path / "data/rows.parquet").head(100)
    small.write_parquet(tmp_path / "data/rows.parquet")
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(EngineError, match=r"disk is full|No space left"):
            fk.run(spec, disk / "run", tensorflow=True)
        assert list(disk.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["check", "SPEC"], ["check", "SPEC", "--json"],
     ["plan", "SPEC", "--json"], ["check", "missing.yaml", "--json"], ["completion", "bash"]],
    ids=" ".join,
)  # fmt: skip
def test_an_output_that_cannot_be_written_is_exit_4(spec: Path, words: list[str]) -> None:
    command = [sys.executable, "-m", "featurekit", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(spec) if word == "SPEC" else word for word in command], cwd=ROOT, text=True,
            stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 4
    assert "featurekit: error: the output cannot be written: No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_scratch_folders_of_dead_processes_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / ".featurekit.0123456789ab.tmp"
    folder.mkdir()
    (folder / LOCK).write_text(json.dumps({"host": socket.gethostname(), "process": 1}))
    with scratch_folder() as mine:
        assert [entry.name for entry in tmp_path.iterdir()] == [mine.name]
    assert list(tmp_path.iterdir()) == []


DEAF = """
import ctypes, signal, sys
from pathlib import Path
from featurekit import signals
from featurekit.scratch import claimed_folder
signals._FIRST, signals._LAST = 0.2, 0.6
with claimed_folder(Path(sys.argv[1]), "out") as folder, signals.ended_by_signals():
    print("begun", flush=True)
    # C that knows nothing of Python: it waits for a lock that it holds itself.
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it locks a mutex of Linux")
def test_a_process_that_does_not_hear_a_signal_ends_all_the_same(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DEAF, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert len(list(tmp_path.iterdir())) == 1
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert list(tmp_path.iterdir()) == []


def test_signals_are_left_as_they_were() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(Ended) as caught, ended_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert before == {number: signal.getsignal(number) for number in before}
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # As nohup does.
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, ignored)
