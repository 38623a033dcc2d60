"""Runs trials on this machine: one after the other, or side by side in processes.

Processes read the features from a memory map, so that they share them, and compute with one thread
each. They are started by joblib's loky, which passes on models that were made in a shell or a
notebook as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from featurekit.analysis.ablation.estimators import Learner
from featurekit.analysis.ablation.scores import Metric
from featurekit.analysis.ablation.threads import one_thread
from featurekit.analysis.ablation.trials import (
    Outcome,
    Study,
    Trial,
    load_study,
    run_trial,
    save_study,
)
from featurekit.errors import EngineError, UsageError, require
from featurekit.scratch import scratch_folder

__all__ = ["Runner", "local_runner", "usable_cores"]

_THREADS: Mapping[str, str] = dict.fromkeys(
    (
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS",
    ),
    "1",
)  # fmt: skip
_IDLE = 300
"""A process that has had nothing to do for so many seconds ends; another is started if needed."""


class Runner(Protocol):
    """What runs trials."""

    jobs: int
    """How many at a time."""

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        """Yield what comes of trials, in any order, as they are done.

        Trials are taken from the iterable when there is somebody to do them, so that it may end
        when time is up.
        """


def usable_cores() -> int:
    """Return how many cores this process may use."""
    require("joblib", "analysis", "retraining")
    from joblib.externals import loky

    return int(loky.cpu_count())


def local_runner(study: Study, jobs: int | None) -> AbstractContextManager[Runner]:
    """Return what runs trials on this machine.

    Args:
        study: What they have in common.
        jobs: How many at a time; by default as many as there are cores. One runs in this process.

    Raises:
        UsageError: There is none.
    """
    count = usable_cores() if jobs is None else jobs
    if count < 1:
        raise UsageError(f"{count} trials at a time; expected at least 1", where="jobs")
    return _here(study) if count == 1 else _side_by_side(study, count)


class _Here:
    jobs = 1

    def __init__(self, study: Study) -> None:
        self._study = study

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        for trial in trials:
            yield run_trial(self._study, trial)


@contextmanager
def _here(study: Study) -> Iterator[Runner]:
    with one_thread():
        yield _Here(study)


class _SideBySide:
    def __init__(self, study: Study, folder: str, executor: Any, jobs: int) -> None:
        self.jobs = jobs
        self._common = (folder, study.learner, study.metric)
        self._executor = executor

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        waiting = iter(trials)
        running: set[Any] = set()
        try:
            while True:
                # One more than there are processes, so that none waits for the next.
                while len(running) <= self.jobs and (trial := next(waiting, None)) is not None:
                    running.add(self._executor.submit(_work, *self._common, trial))
                if not running:
                    return
                for done in _first(running):
                    running.discard(done)
                    yield done.result()
        except BrokenProcessPool as error:
            raise EngineError(
                "a process that trained a model was ended, perhaps for want of memory",
                where="retraining",
                hint="fewer --jobs; with a file to keep trials in, those that are done stay done",
            ) from error


@contextmanager
def _side_by_side(study: Study, jobs: int) -> Iterator[Runner]:
    from joblib.externals.loky.process_executor import ProcessPoolExecutor

    with scratch_folder() as folder:
        save_study(study, folder)
        executor = ProcessPoolExecutor(
            jobs,
            timeout=_IDLE,
            initializer=_start,
            initargs=(os.getpid(), str(folder)),
            env=dict(_THREADS),
        )
        try:
            yield _SideBySide(study, str(folder), executor, jobs)
        finally:
            # Whatever they are at is not waited for.
            executor.shutdown(wait=True, kill_workers=True)


def _first(running: set[Any]) -> set[Any]:
    from concurrent.futures import FIRST_COMPLETED, wait

    return wait(running, return_when=FIRST_COMPLETED).done


def _start(parent: int, folder: str) -> None:
    """Prepare a process: Ctrl-C is for its parent to handle, and it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent, folder), daemon=True).start()


def _watch(parent: int, folder: str) -> None:
    """End when the parent has, and leave nothing behind that it could not remove any more."""
    while os.getppid() == parent:
        time.sleep(1.0)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _work(folder: str, learner: Learner, metric: Metric, trial: Trial) -> Outcome:
    return run_trial(_study(folder, learner, metric), trial)


_opened: dict[str, Study] = {}


def _study(folder: str, learner: Learner, metric: Metric) -> Study:
    """Return the study of a folder, read once in a process."""
    if folder not in _opened:
        _opened[folder] = load_study(Path(folder), learner, metric)
    return _opened[folder]
