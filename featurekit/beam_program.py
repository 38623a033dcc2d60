"""The process that runs pipelines: Beam, tf.Transform and TensorFlow, apart from everything else.

Some of their compiled parts crash an interpreter that ends in the ordinary way with all of them
loaded, and a run's own process needs none of them.
"""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurekit import errors
from featurekit.engines.workers import serve
from featurekit.errors import EngineError, FeatureKitError

if TYPE_CHECKING:
    from featurekit.engines.beam.options import BeamOptions
    from featurekit.engines.beam.pipeline import Job

__all__ = ["main"]

_RAISED = re.compile(r"featurekit\.errors\.(\w+): (.*)$", re.MULTILINE)
_STEP = re.compile(r"\s*\[while running '[^']*'\]")
_REPORTS = ("fitted.json", "tally.json", "written.json", "inputs", "outputs")


def main() -> None:
    """Do jobs until no more come: the body of the process."""
    from featurekit.export import build

    tasks = {
        "check": _check, "begin": _begin, "fetch": _fetch, "run": _run, "dry_run": _dry_run,
        "build": build, "publish": _publish, "discard": _discard,
    }  # fmt: skip
    serve(tasks, _prepare)


def _prepare() -> None:
    import apache_beam  # noqa: F401
    import tensorflow_transform.beam  # noqa: F401


def _check(job: Mapping[str, Any]) -> dict[str, Any]:
    from featurekit.engines.beam.options import parse_options

    parse_options(job["arguments"], out=job["out"], inputs=job["inputs"], cache=job["cache"])
    return {}


def _begin(job: Mapping[str, Any]) -> dict[str, Any]:
    from featurekit.engines.beam.publishing import check_target, remove_left

    check_target(job["out"], job["overwrite"])
    return {"left": remove_left(job["out"])}


def _publish(job: Mapping[str, Any]) -> dict[str, Any]:
    from featurekit.engines.beam.publishing import publish

    publish(job["out"], job["work"], Path(job["folder"]), job["overwrite"])
    return {}


def _discard(job: Mapping[str, Any]) -> dict[str, Any]:
    from featurekit.engines.beam.storage import remove

    remove(job["work"])
    return {}


def _fetch(job: Mapping[str, Any]) -> dict[str, Any]:
    from featurekit.engines.beam.fetching import fetch

    return {"format": fetch(job)}


def _options(job: Mapping[str, Any]) -> BeamOptions:
    from featurekit.engines.beam.options import parse_options

    inputs = [] if job["staged"] else job["files"]
    return parse_options(job["arguments"], out=job["out"], inputs=inputs, cache=job["cache"])


def _made(job: Mapping[str, Any], options: BeamOptions, files: list[str], dry: bool) -> Job:
    """Return the job of a pipeline.

    Args:
        job: What was asked for.
        options: The options for Beam.
        files: What workers read.
        dry: Whether nothing is to be looked at, neither the input nor the cache.
    """
    from featurekit.artifact import read_plan
    from featurekit.engines.beam.analyzers import SHARDS
    from featurekit.engines.beam.cache import open_cache
    from featurekit.engines.beam.pipeline import Job
    from featurekit.engines.beam.reading import Form, Part, parts_of
    from featurekit.engines.beam.storage import join

    plan = read_plan(job["plan"], Path(job["plan"]["base"]))
    form = Form.of(job["form"])
    # Sources may be globs; rows that a run has made for its workers are files, brackets and all.
    patterns = [glob.escape(path) for path in files] if job["staged"] else files
    parts = [Part(0, files[0])] if dry else parts_of(patterns, form)
    shards = SHARDS if options.remote else 1
    cache = None
    if job["cache"] is not None and not dry:
        found = list(dict.fromkeys(part.path for part in parts))
        report = join(job["work"], "cached.json")
        cache = open_cache(job["cache"], plan, found, form, shards, report)
    work = job["local"] if options.sees_local_files else job["work"]
    return Job(
        plan, tuple(parts), form, job["renamed"], job["work"], join(work, "transform"),
        job["max_bad_rows"], job["tfrecord"], shards, cache,
    )  # fmt: skip


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run the pipeline of a run, and wait until it is done."""
    import apache_beam as beam

    from featurekit.engines.beam.cache import complete, writing
    from featurekit.engines.beam.pipeline import build
    from featurekit.engines.beam.storage import download, exists, is_address, join, upload

    options = _options(job)
    if options.dry_run:
        raise errors.UsageError("a run cannot be a dry run", hint="featurekit plan shows the job")
    files = list(job["files"])
    if job["staged"] and is_address(job["work"]):
        files = [join(job["work"], "rows", f"{place}.parquet") for place in range(len(files))]
        for here, there in zip(job["files"], files, strict=True):
            upload(Path(here), there)
    with writing(job["cache"]):
        made = _made(job, options, files, dry=False)
        try:
            pipeline = beam.Pipeline(options=options.pipeline_options())
            build(pipeline, made)
            result = pipeline.run()
            result.wait_until_finish()
        except FeatureKitError as error:
            # Beam has added the step to the text, and left the rest out.
            raise _read(type(error), str(error)) from error
        except Exception as error:
            raise _as_ours(error, options.runner) from error
        if is_address(job["work"]):
            for name in _REPORTS:
                if exists(there := join(job["work"], name)):
                    download(there, Path(job["local"]) / name)
        answer = {**options.settings(), "counters": _metrics(result)}
        if made.cache is not None:
            complete(made.cache)
            answer["cache"] = {"files": len(made.cache.keys), "reused": made.cache.reused}
            if made.cache.damaged:
                answer["cache"]["damaged"] = list(made.cache.damaged)
    return answer


def _dry_run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Build the job that a run would send to Dataflow, and describe it."""
    from featurekit.engines.beam.dataflow import described

    options = _options(job)
    made = _made(job, options, list(job["files"]), dry=True)
    with tempfile.TemporaryDirectory() as folder:
        # tf.Transform makes its folder when the job is built; a bucket must not be touched.
        return described(options, replace(made, work=folder))


def _metrics(result: Any) -> dict[str, int]:
    """Return our own counters, by name."""
    from apache_beam.metrics import MetricsFilter

    found = result.metrics().query(MetricsFilter().with_namespace("featurekit"))["counters"]
    out: dict[str, int] = {}
    for counter in found:
        name = counter.key.metric.name
        out[name] = out.get(name, 0) + int(counter.result)
    return out


def _read(kind: type[FeatureKitError], text: str) -> FeatureKitError:
    """Return an error from its text, without the step that it was raised in."""
    message, _, hint = _STEP.sub("", text).strip().partition(". Hint: ")
    return kind(message, hint=hint)


def _as_ours(error: Exception, runner: str) -> FeatureKitError:
    """Return what one of our steps raised on a worker, of which a runner gives the text alone."""
    text = str(error)
    found = list(_RAISED.finditer(text))
    if found:
        kind, said = found[-1].groups()
        return _read(getattr(errors, kind, EngineError), said)
    lines = [line.strip() for line in _STEP.sub("", text).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return EngineError(f"the pipeline failed: {last}", where=runner)
