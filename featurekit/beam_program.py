"""The process that runs pipelines: Beam, tf.Transform and TensorFlow, apart from everything else.

Some of their compiled parts crash an interpreter that ends in the ordinary way with all of them
loaded, and a run's own process needs none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurekit import errors
from featurekit.engines.workers import serve
from featurekit.errors import EngineError, FeatureKitError

__all__ = ["main"]

_RAISED = re.compile(r"featurekit\.errors\.(\w+): (.*)$", re.MULTILINE)
_STEP = re.compile(r" \[while running '[^']*'\]")


def main() -> None:
    """Do jobs until no more come: the body of the process."""
    from featurekit.export import build

    serve({"run": _run, "build": build}, _prepare)


def _prepare() -> None:
    import apache_beam  # noqa: F401
    import tensorflow_transform.beam  # noqa: F401


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run the pipeline of a run, and wait until it is done."""
    import apache_beam as beam

    from featurekit.artifact import read_plan
    from featurekit.engines.beam.analyzers import SHARDS
    from featurekit.engines.beam.options import parse_options
    from featurekit.engines.beam.pipeline import Job, build
    from featurekit.engines.beam.reading import CsvFormat, parts_of

    plan = read_plan(job["plan"], Path(job["plan"]["base"]))
    text = job["csv"]
    csv = None if text is None else CsvFormat(text["separator"], tuple(text["null_values"]))
    options = parse_options(job["arguments"], out=job["folder"], inputs=job["files"])
    parts = parts_of(job["files"], csv)
    made = Job(
        plan, tuple(parts), job["renamed"], job["folder"], job["max_bad_rows"],
        shards=SHARDS if options.remote else 1,
    )  # fmt: skip
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
    return {**options.settings(), "counters": _metrics(result)}


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
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return EngineError(f"the pipeline failed: {last}", where=runner)
