"""Processes of their own for work whose packages take seconds to import, or do not go together.

TensorFlow takes seconds to import, so that its processes are started before the data is read and
wait for their job on standard input. Jobs and answers are one line of JSON each.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from featurekit import errors
from featurekit.errors import EngineError, FeatureKitError
from featurekit.scratch import scratch_folder

__all__ = ["Task", "Worker", "serve"]

Task = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Does a job, given as plain data, and answers with plain data."""


class Worker:
    """A process that has its packages ready and does one job after another.

    Use it as a context manager: the process is ended on the way out, whatever happened, with all
    processes that it has started. If this process is killed, it ends by itself.

    Args:
        program: The module whose `main` the process runs.
        name: What errors call it.
        hint: What one may do when the process fails.
        scratch: A folder for its temporary files, which the caller removes; by default one of its
            own, which goes with it.
    """

    def __init__(
        self, program: str, name: str, hint: str = "", scratch: Path | None = None
    ) -> None:
        self.name, self.hint = name, hint
        self._stack = ExitStack()
        temporary = (scratch or self._stack.enter_context(scratch_folder())) / "tmp"
        temporary.mkdir(exist_ok=True)
        root = str(Path(__file__).absolute().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": str(temporary),
        }  # fmt: skip
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._process = subprocess.Popen(  # noqa: S603  (a module of ours)
            [sys.executable, "-c", f"from {program} import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
            process_group=0,
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whatever it has started is in its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            try:
                cast(IO[bytes], stream).close()
            except BrokenPipeError:
                continue
        self._stack.close()

    def start(self, job: Mapping[str, Any]) -> None:
        """Hand the job over and return at once."""
        stream = cast(IO[bytes], self._process.stdin)
        try:
            stream.write(json.dumps(job).encode() + b"\n")
            stream.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to the job.

        Raises:
            FeatureKitError: What the job raised.
            EngineError: The process failed.
        """
        line = cast(IO[bytes], self._process.stdout).readline()
        if not line.endswith(b"\n"):
            raise self._failure()
        answer = cast("dict[str, Any]", json.loads(line))
        if "error" in answer:
            raise self._raised(answer["error"])
        return answer

    def _raised(self, error: Mapping[str, Any]) -> FeatureKitError:
        """Return the error that the job raised, once more."""
        if "problems" in error:
            return errors.SpecErrors([self._raised(problem) for problem in error["problems"]])
        kind = getattr(errors, error["error"])
        where = error["where"] or (self.name if kind is EngineError else "")
        raised: FeatureKitError = kind(error["message"], where=where, hint=error["hint"])
        return raised

    def _failure(self) -> EngineError:
        self._process.wait()
        self._errors.seek(0)
        lines = [
            line
            for line in self._errors.read().decode("utf-8", "replace").splitlines()
            if line.strip()
        ]
        last = lines[-1] if lines else f"it ended with status {self._process.returncode}"
        message = f"the {self.name} process failed: {last}"
        return EngineError(message, where=self.name, hint=self.hint)


def serve(tasks: Mapping[str, Task], prepare: Callable[[], None]) -> None:
    """Do jobs until no more come: the body of a process.

    Args:
        tasks: What it can do, by name; a job says which under `task`.
        prepare: The slow part, done while the caller reads its data.
    """
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints goes to standard error, the answers alone to standard output
    prepare()
    for line in sys.stdin:
        job = json.loads(line)
        try:
            result = tasks[job["task"]](job)
        except FeatureKitError as error:
            result = {"error": error.to_dict()}
        except Exception as error:  # noqa: BLE001  (the caller gets it as an error of its own)
            result = {"error": _as_ours(error).to_dict()}
        answers.write(json.dumps(result) + "\n")
        answers.flush()
    os._exit(0)


def _as_ours(error: Exception) -> EngineError:
    """Return what a library raised as an error of ours; a full disk by its name."""
    said = str(error).strip()
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(code) in said:
            full = f"the disk is full ({os.strerror(code)})"
            return EngineError(full, hint="free space and run again")
    return EngineError(f"{type(error).__name__}: {said or 'no message'}")


def _end_with_the_caller() -> None:
    """End this process, and all that it has started, as soon as its caller is gone.

    Nobody else holds the other end of standard input, so that it is closed then, however the
    caller has ended. Nothing is read here: jobs stay for the one who serves.
    """
    hung_up = select.poll()
    hung_up.register(0, 0)
    hung_up.poll()  # Of nothing but that.
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
