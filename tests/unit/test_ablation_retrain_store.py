"""The file that keeps trials: what ends a run does not end its results, and no file is harmed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from featurekit.analysis.ablation.estimators import read_learner
from featurekit.analysis.ablation.fingerprints import describe, fingerprint
from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.retrain import Retraining, retrain
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.store import open_store
from featurekit.analysis.ablation.trials import make_study
from featurekit.errors import DataError, EngineError
from tests.populations import two_and_noise

ROOT = Path(__file__).resolve().parents[2]

CUT = """
import os, signal, sys
from pathlib import Path
from tests.unit.test_ablation_retrain_store import TREE, run
from tests.populations import two_and_noise

path, way, jobs, after = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def progress(told):
    if told.done == after:
        if jobs > 1:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
            Path(path + ".children").write_text(children)
        os.kill(os.getpid(), getattr(signal, way))

run(two_and_noise(300, 2), TREE, store=path, jobs=jobs, progress=progress)
"""

TREE = DecisionTreeRegressor(max_depth=4, max_features=2)


def run(problem: Problem, model: Any, **settings: Any) -> Retraining:
    """Retrain in this process, or in so many."""
    task = problem.label.task
    learner, metric = read_learner(model, task), read_metric(settings.pop("metric", None), task)
    return retrain(problem, learner, metric, **{"jobs": 1} | settings)


def print_of(problem: Problem, model: Any, metric: str | None = None) -> str:
    """Return the fingerprint of a study."""
    task = problem.label.task
    study = make_study(problem, read_learner(model, task), read_metric(metric, task))
    return fingerprint(study)


@pytest.mark.parametrize(("way", "jobs"), [("SIGKILL", 1), ("SIGKILL", 2), ("SIGINT", 2)])
def test_a_run_that_was_ended_goes_on_where_it_was(tmp_path: Path, way: str, jobs: int) -> None:
    path, after = tmp_path / "trials", 23
    command = [sys.executable, "-c", CUT, str(path), way, str(jobs), str(after)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode != 0
    assert ("KeyboardInterrupt" in done.stderr) == (way == "SIGINT")
    if jobs > 1 and sys.platform == "linux":
        children = Path(f"{path}.children").read_text().split()
        assert len(children) >= jobs
        deadline = time.monotonic() + 600
        while any(alive(int(child)) for child in children) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(alive(int(child)) for child in children)
        assert not list(tmp_path.glob("featurekit-trials-*"))
    problem = two_and_noise(300, 2)
    again, whole = run(problem, TREE, store=path), run(problem, TREE)
    assert again.trained == whole.trials - after
    assert again.singles == whole.singles
    assert (again.full_loss, again.margin) == (whole.full_loss, whole.margin)
    assert run(problem, TREE, store=path).trained == 0


def alive(process: int) -> bool:
    """Whether a process runs, and is not merely waited for."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_studies_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "trials"
    problem = two_and_noise(300, 1)
    first = run(problem, Ridge(), store=path)
    other = run(problem, Ridge(alpha=9.0), store=path)
    assert other.trained == other.trials
    assert other.singles != first.singles
    assert run(problem, Ridge(), store=path).singles == first.singles
    # More rounds, and groups, need the rest only.
    more = run(problem, Ridge(), store=path, rounds=4, groups={"g": {"both": ["x1", "x2"]}})
    assert more.trained < more.trials
    assert more.trials - more.trained >= first.trials - 5


def test_what_decides_a_trial_is_in_its_fingerprint() -> None:
    problem = two_and_noise(300, 1)
    values = problem.label.values.copy()
    values[7] += 1e-12
    prints = [
        print_of(problem, Ridge()),
        print_of(problem, Ridge(alpha=2.0)),
        print_of(problem, TREE),
        print_of(problem, Ridge(), "r2"),
        print_of(replace(problem, table=problem.table.reverse()), Ridge()),
        print_of(replace(problem, table=problem.table.rename({"x1": "x3"})), Ridge()),
        print_of(replace(problem, label=replace(problem.label, values=values)), Ridge()),
        print_of(replace(problem, folds=problem.folds + 1), Ridge()),
        print_of(replace(problem, parts=problem.parts[::-1]), Ridge()),
        print_of(replace(problem, weights=np.ones(300)), Ridge()),
        print_of(replace(problem, ordered=True), Ridge()),
    ]
    assert len(set(prints)) == len(prints)
    # Not in it: seeds, which trials have of their own, groups, and how the table lies in memory.
    pieces = pl.concat([problem.table[:100], problem.table[100:]], rechunk=False)
    for same in (
        replace(problem, seed=4, groups={"g": ("x1",)}),
        replace(problem, table=pieces),
    ):
        assert print_of(same, Ridge()) == prints[0]
    several = DecisionTreeRegressor()
    assert print_of(problem, several) == print_of(problem, DecisionTreeRegressor)


def test_functions_are_described_by_their_code() -> None:
    def made(step: int) -> Any:
        return lambda value: value + step

    one, other = made(1), made(2)
    assert describe(one) != describe(other)
    assert describe(one) == describe(made(1))
    assert describe(partial(max, 1)) != describe(partial(max, 2))
    held: list[Any] = []
    held.append(held)
    assert describe(held) == ["what holds it"]
    assert " at 0x" not in repr(describe({"model": object(), "code": [one, print_of]}))


@pytest.mark.parametrize(
    "content", [b"not a database, but text\n" * 100, b"SQLite format 3\0" * 99]
)
def test_another_file_is_refused_and_not_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trials"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no file of trials, or a damaged one"):
        run(two_and_noise(100, 1), Ridge(), store=path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="another program") as raised:
        run(two_and_noise(100, 1), Ridge(), store=path)
    assert raised.value.where == str(path)
    assert path.read_bytes() == before


def test_a_newer_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trials"
    problem = two_and_noise(100, 1)
    run(problem, Ridge(), store=path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(DataError, match="version 7"):
        run(problem, Ridge(), store=path)


def edited(path: Path, script: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()


ENDLESS = """
ALTER TABLE {0} RENAME TO kept;
CREATE VIEW {0} AS WITH RECURSIVE more(study, fold) AS
  (SELECT 1, 1 UNION ALL SELECT study, fold + 1 FROM more)
  SELECT study, '[]' AS dropped, fold, 1 AS seed, x'' AS sums, 1.0 AS seconds, x'' AS parts,
  x'' AS weights, x'' AS checksum, '' AS fingerprint FROM more;
"""
DAMAGE = {
    "sums cut off": "UPDATE trials SET sums = x'00'",
    "sums are words": "UPDATE trials SET sums = 'words'",
    "sums are zero": "UPDATE trials SET sums = zeroblob(length(sums))",
    "sums of another shape": "UPDATE trials SET sums = sums || sums",
    "seconds are words": "UPDATE trials SET seconds = 'soon'",
    "seconds are none": "UPDATE trials SET seconds = 0.0",
    "names are broken": "UPDATE trials SET dropped = '[' || dropped",
    "names of another trial": "UPDATE OR REPLACE trials SET dropped = '[\"x2\"]'",
    "another seed": "UPDATE trials SET seed = seed + 1000",
    "a checksum of words": "UPDATE trials SET checksum = 'words'",
    "weights are zero": "UPDATE held_out SET weights = zeroblob(length(weights))",
    "no rows that were held out": "DELETE FROM held_out",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_trial_that_does_not_match_its_checksum_is_run_again_with_a_note(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trials"
    problem = two_and_noise(100, 1)
    first = run(problem, Ridge(), store=path)
    edited(path, DAMAGE[damage])
    again = run(problem, Ridge(), store=path)
    assert again.trained > 0
    assert (again.singles, again.full_loss) == (first.singles, first.full_loss)
    assert f"{path}: " in caplog.text
    assert "do not match their checksums, and are run again" in caplog.text
    assert run(problem, Ridge(), store=path).trained == 0


def test_only_what_does_not_check_out_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "trials"
    problem = two_and_noise(100, 1)
    run(problem, Ridge(), store=path)
    one = "UPDATE trials SET sums = zeroblob(length(sums)) WHERE rowid = 3"
    edited(path, one)
    assert run(problem, Ridge(), store=path).trained == 1


@pytest.mark.parametrize(
    "script",
    [
        ENDLESS.format("trials"),
        ENDLESS.format("held_out"),
        ENDLESS.format("studies"),
        "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM held_out; END",
        "ALTER TABLE trials ADD COLUMN more TEXT",
        "DROP TABLE held_out",
        "PRAGMA user_version = 1",
    ],
    ids=["endless trials", "endless rows", "endless studies", "trigger", "column", "no table",
         "an older version"],
)  # fmt: skip
def test_a_file_with_other_tables_is_laid_aside_and_its_trials_are_run_again(
    tmp_path: Path, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trials"
    problem = two_and_noise(100, 1)
    first = run(problem, Ridge(), store=path)
    edited(path, script)
    before = path.read_bytes()
    started = time.monotonic()
    again = run(problem, Ridge(), store=path)
    assert time.monotonic() - started < 60
    assert again.trained == again.trials
    assert again.singles == first.singles
    assert (tmp_path / "trials.aside-1").read_bytes() == before
    assert f"it is laid aside as {path}.aside-1" in caplog.text
    assert run(problem, Ridge(), store=path).trained == 0


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trials"
    problem = two_and_noise(300, 1)
    run(problem, Ridge(), store=path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        run(problem, Ridge(), store=path)
    assert path.read_bytes() == whole[: len(whole) // 2]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="unable to open") as raised:
        run(two_and_noise(100, 1), Ridge(), store=tmp_path / "no" / "trials")
    assert raised.value.where == str(tmp_path / "no" / "trials")


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    problem = two_and_noise(300, 1)
    found = run(problem, Ridge(), store=tmp_path / "trials", metric="r2")
    again = run(problem, Ridge(), store=tmp_path / "trials", metric="r2")
    assert (found.trained, again.trained) == (found.trials, 0)
    assert again.singles == found.singles
    with open_store(tmp_path / "trials", print_of(problem, Ridge(), "r2"), "", "") as store:
        one = store.read()[0].losses
    kinds = [values.dtype.str for values in (one.parts, one.sums, one.weights)]
    assert kinds == [np.dtype(np.int64).str, np.dtype(float).str, np.dtype(float).str]
    assert (tmp_path / "trials").stat().st_size < 500_000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
