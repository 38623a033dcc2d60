"""The entry point of the flex template: a job of one step, on whose worker the run is made.

The launcher of a flex template builds a job, hands it to Dataflow and is gone. A run has more to
do when its job is done: it looks at what the workers wrote, exports the SavedModel, compares both,
and publishes the folder. So the template's own job is small. Its one worker calls `featurekit run`,
which starts the job that does the work, with the options that the template was given, and waits.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from featurekit.engines.beam.options import parse_options
from featurekit.errors import FeatureKitError

VALUES = ("max_bad_rows", "cache")
FLAGS = ("overwrite", "no_tensorflow", "tfrecord")
ONE_WORKER = ("--num_workers=1", "--max_num_workers=1", "--autoscaling_algorithm=NONE")


def parser() -> argparse.ArgumentParser:
    """Return a parser of the template's parameters, and of what the launcher alone is told."""
    made = argparse.ArgumentParser(allow_abbrev=False)
    group = made.add_argument_group("parameters")
    for name in ("spec", "out", "sdk_container_image"):
        group.add_argument(f"--{name}", required=True)
    for name in VALUES:
        group.add_argument(f"--{name}")
    for name in FLAGS:
        group.add_argument(f"--{name}", choices=("true", "false"), default="false")
    made.add_argument("--job_name", required=True)
    made.add_argument("--template_location")
    return made


class Job(NamedTuple):
    """The template's job: what its worker calls, and how it runs itself.

    Args:
        command: The arguments of `featurekit`.
        options: Beam's options for the template's own job.
        temporary: The folder for temporary files.
    """

    command: list[str]
    options: list[str]
    temporary: str


def read(argv: Sequence[str] | None = None) -> Job:
    """Return the job that the arguments ask for.

    Args:
        argv: What the launcher passes; the arguments of the process by default.

    Raises:
        FeatureKitError: The run would be refused.
    """
    given, options = parser().parse_known_args(argv)
    options.append(f"--sdk_container_image={given.sdk_container_image}")
    # Two jobs that run at the same time need two names.
    options_of_run = [*options, f"--job_name={given.job_name}-run"]
    checked = parse_options(options_of_run, out=given.out, cache=given.cache)

    command = ["run", given.spec, "--engine", "beam", "--out", given.out]
    for name in VALUES:
        if getattr(given, name) is not None:
            command += [f"--{name.replace('_', '-')}", getattr(given, name)]
    command += [f"--{name.replace('_', '-')}" for name in FLAGS if getattr(given, name) == "true"]

    # Of an option that is given twice, Beam takes the last.
    options_of_job = [*options, *ONE_WORKER, f"--job_name={given.job_name}"]
    if given.template_location is not None:
        options_of_job.append(f"--template_location={given.template_location}")
    temporary = checked.temp_location or tempfile.gettempdir()
    return Job([*command, "--", *options_of_run], options_of_job, temporary)


def make_run(command: Sequence[str], started: str) -> None:
    """Make the run on this worker.

    Args:
        command: The arguments of `featurekit`; the second is the spec in its bucket.
        started: A file that says that the run was started.

    Raises:
        RuntimeError: The run failed, or this is a repetition.
    """
    # Dataflow repeats a step that fails four times; what the run lacks it would lack again.
    if FileSystems.exists(started):
        raise RuntimeError("the run was started before; the log of its first attempt says more")
    with FileSystems.create(started):
        pass
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / command[1].rpartition("/")[2]
        with FileSystems.open(command[1]) as file:
            spec.write_bytes(file.read())
        # In a process of its own, because this one is busy being a worker.
        with subprocess.Popen(  # noqa: S603  (no shell reads it)
            [sys.executable, "-m", "featurekit", command[0], str(spec), *command[2:]],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            line = ""
            for line in process.stdout:
                logging.info("%s", line.rstrip())
        if process.returncode:
            raise RuntimeError(f"featurekit ended with {process.returncode}: {line.rstrip()}")


def main(argv: Sequence[str] | None = None) -> None:
    """Send the template's job, or leave it where the launcher looks for it."""
    try:
        job = read(argv)
    except FeatureKitError as error:
        raise SystemExit(f"featurekit: error: {error}") from None
    started = FileSystems.join(job.temporary, f"featurekit-{uuid.uuid4().hex}")
    pipeline = beam.Pipeline(options=PipelineOptions(job.options))
    _ = pipeline | beam.Create([job.command]) | "Run" >> beam.Map(make_run, started)
    # Nothing waits here: Dataflow starts the job when this program has ended.
    pipeline.run()


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.INFO)
    main()
