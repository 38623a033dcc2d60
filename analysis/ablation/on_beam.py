"""Runs trials on Beam: they are the elements of a collection, spread over a runner's workers.

The study is laid down once, where workers can read it, and read once in each of their processes.
What comes of the trials is written as Parquet and read here. Each round is one job.

Processes of workers should train one model at a time; on Dataflow that is
`--number_of_worker_harness_threads=1`, with as many processes as cores.
"""

from __future__ import annotations

import json
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featurekit.errors import require

require("apache_beam", "beam", "trials on Beam")

import apache_beam as beam  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from featurekit import errors  # noqa: E402
from featurekit.analysis.ablation.estimators import Learner, read_learner  # noqa: E402
from featurekit.analysis.ablation.parallel import Runner  # noqa: E402
from featurekit.analysis.ablation.scores import PartLosses, read_metric  # noqa: E402
from featurekit.analysis.ablation.tasks import Task  # noqa: E402
from featurekit.analysis.ablation.threads import one_thread  # noqa: E402
from featurekit.analysis.ablation.trials import (  # noqa: E402
    Outcome,
    Study,
    Trial,
    load_study,
    run_trial,
    save_study,
)
from featurekit.engines.beam import storage  # noqa: E402
from featurekit.engines.beam.options import BeamOptions, parse_options  # noqa: E402
from featurekit.errors import EngineError, FeatureKitError, UsageError  # noqa: E402
from featurekit.scratch import scratch_folder  # noqa: E402

__all__ = ["beam_runner"]

_ROW = pa.schema(
    {
        "dropped": pa.list_(pa.string()), "fold": pa.int64(), "seed": pa.int64(),
        "parts": pa.list_(pa.int64()), "sums": pa.list_(pa.float64()),
        "weights": pa.list_(pa.float64()), "seconds": pa.float64(), "error": pa.string(),
    }
)  # fmt: skip
_ANY_PLACE = "gs://any-bucket/folder"
"""Stands for the place of a run when options are checked; ours is checked here."""


@contextmanager
def beam_runner(study: Study, options: Sequence[str], scratch: str | None) -> Iterator[Runner]:
    """Give what runs trials on Beam.

    Args:
        study: What they have in common.
        options: Beam's, as on its command line.
        scratch: A folder or bucket that workers can read and write; by default Beam's
            `--temp_location` where workers are elsewhere, and else a temporary folder.

    Raises:
        UsageError: Options cannot be; or workers elsewhere would not see the place, or the model,
            which they import by its name.
    """
    made = parse_options(options, out=_ANY_PLACE)
    if made.dry_run:
        raise UsageError("trials cannot be a dry run", where="--dry_run", hint="leave it out")
    place = scratch or (None if made.sees_local_files else made.temp_location)
    if not made.sees_local_files:
        _check_elsewhere(study.learner, place, made.runner)
    with scratch_folder() as here:
        folder = storage.join(place or str(here), f"featurekit-trials-{uuid.uuid4().hex}")
        local = here / "study"
        local.mkdir()
        save_study(study, local)
        try:
            for path in sorted(local.iterdir()):
                storage.upload(path, storage.join(folder, "study", path.name))
            yield _OnBeam(study, made, folder)
        finally:
            storage.remove(folder)


def _check_elsewhere(learner: Learner, place: str | None, runner: str) -> None:
    if place is None or not storage.is_address(place):
        raise UsageError(
            f"workers of {runner} do not see the files of this machine", where="scratch",
            hint="a folder in a bucket, such as gs://my-bucket/trials",
        )  # fmt: skip
    if _model(learner) is learner:
        raise UsageError(
            f"workers of {runner} import the model, and {learner.name} was given as an object",
            where="model",
            hint="give its name, module:name, in a package that is installed there",
        )


def _model(learner: Learner) -> Learner | str | int:
    """Return what workers read a learner from: its name, the default's rows, or the object."""
    if learner.matrix:
        return learner.rows
    return learner.name if ":" in learner.name else learner


class _OnBeam:
    def __init__(self, study: Study, options: BeamOptions, folder: str) -> None:
        workers = (options.given.get(name) for name in ("direct_num_workers", "num_workers"))
        self.jobs = max(1, *(int(count or 1) for count in workers))
        self._options, self._folder = options, folder
        self._train = _Train(
            storage.join(folder, "study"), _model(study.learner), study.metric.scorer,
            str(study.problem.label.task),
        )  # fmt: skip
        self._rounds = 0

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        listed = [(list(trial.dropped), trial.fold, trial.seed) for trial in trials]
        if not listed:
            return
        self._rounds += 1
        target = storage.join(self._folder, f"round-{self._rounds}", "outcomes")
        try:
            pipeline = beam.Pipeline(
                runner=self._options.runner, options=self._options.pipeline_options()
            )
            (
                pipeline
                | "Trials" >> beam.Create(listed)
                | "Spread" >> beam.Reshuffle()
                | "Train" >> beam.Map(self._train)
                | "Write" >> beam.io.WriteToParquet(target, _ROW, file_name_suffix=".parquet")
            )
            pipeline.run().wait_until_finish()
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise EngineError(
                f"the pipeline failed: {lines[-1] if lines else type(error).__name__}",
                where=self._options.runner,
            ) from error
        yield from self._outcomes(f"{target}*")

    def _outcomes(self, pattern: str) -> Iterator[Outcome]:
        failed: FeatureKitError | None = None
        for path in storage.matching(pattern):
            with storage.opened(path) as file:
                rows = pq.read_table(file).to_pylist()
            for row in rows:
                if row["error"]:
                    failed = _raised(json.loads(row["error"]))
                    continue
                trial = Trial(tuple(row["dropped"]), row["fold"], row["seed"])
                losses = PartLosses(
                    np.array(row["parts"], dtype=np.int64), np.array(row["sums"]),
                    np.array(row["weights"]),
                )  # fmt: skip
                yield Outcome(trial, losses, row["seconds"])
        if failed is not None:
            # What the other trials came to is kept by now.
            raise failed


def _read(model: Learner | str | int, task: Task) -> Learner:
    """Return the learner of what `_model` returned."""
    if isinstance(model, Learner):
        return model
    return read_learner(model, task) if isinstance(model, str) else read_learner(None, task, model)


class _Train:
    """Trains once for each element, on a worker.

    Args:
        folder: Where the study is.
        model: What `_model` returned.
        metric: The name of scikit-learn's scorer.
        task: What is predicted.
    """

    def __init__(self, folder: str, model: Learner | str | int, metric: str, task: str) -> None:
        self.folder, self.model, self.metric, self.task = folder, model, metric, task

    def __call__(self, element: tuple[list[str], int, int]) -> dict[str, Any]:
        dropped, fold, seed = element
        row: dict[str, Any] = dict.fromkeys(_ROW.names) | {
            "dropped": dropped, "fold": fold, "seed": seed
        }  # fmt: skip
        try:
            with one_thread():
                outcome = run_trial(self._study(), Trial(tuple(dropped), fold, seed))
        except FeatureKitError as error:
            return row | {"error": json.dumps(error.to_dict())}
        losses = outcome.losses
        return row | {
            "parts": losses.parts.tolist(), "sums": losses.sums.tolist(),
            "weights": losses.weights.tolist(), "seconds": outcome.seconds,
        }  # fmt: skip

    def _study(self) -> Study:
        with _lock:
            if self.folder not in _opened:
                task = Task(self.task)
                learner = _read(self.model, task)
                _opened.clear()
                local = _fetched(self.folder)
                _opened[self.folder] = load_study(local, learner, read_metric(self.metric, task))
            return _opened[self.folder]


_lock = threading.Lock()
_opened: dict[str, Study] = {}
"""The study that a worker's process has read; the one before is forgotten."""
_copies: list[tempfile.TemporaryDirectory[str]] = []


def _fetched(folder: str) -> Path:
    """Return a folder of this machine with the files of another, which may be one of this."""
    if not storage.is_address(folder):
        return Path(folder)
    _copies[:] = [tempfile.TemporaryDirectory(prefix="featurekit-study-")]
    local = Path(_copies[0].name)
    for path in storage.listed(folder):
        storage.download(path, local / path.rpartition("/")[2])
    return local


def _raised(said: dict[str, str]) -> FeatureKitError:
    kind = getattr(errors, said["error"], EngineError)
    made: FeatureKitError = kind(said["message"], where=said["where"], hint=said["hint"])
    return made
