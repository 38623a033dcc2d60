"""The job that a run would send, built and described without sending it."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from featurekit.engines.beam.options import BeamOptions
from featurekit.engines.beam.pipeline import Job, build

__all__ = ["described"]


def described(options: BeamOptions, job: Job) -> dict[str, Any]:
    """Return the runner, options, steps and staged packages of a job.

    Steps are those that a runner carries out, by their full names; packages are the files that
    workers install before they begin.

    Args:
        options: The options, a dry run's.
        job: What the pipeline has to do.
    """
    made = options.pipeline_options()
    pipeline = beam.Pipeline(options=made)
    build(pipeline, job)
    graph = pipeline.run().job.proto_pipeline if options.dry_run else pipeline.to_runner_api()
    parts = graph.components
    steps = [each.unique_name for each in parts.transforms.values() if not each.subtransforms]
    packages: set[str] = set()
    for environment in parts.environments.values():
        for dependency in environment.dependencies:
            staged = beam.portability.api.beam_runner_api_pb2.ArtifactStagingToRolePayload()
            staged.ParseFromString(dependency.role_payload)
            packages.add(staged.staged_name)
    return {**options.settings(), "steps": sorted(steps), "packages": sorted(packages)}
