"""Processes of their own: what a job raises there is raised here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from featurekit.engines.workers import Worker, serve
from featurekit.errors import DataError, FeatureKitError, SpecError, SpecErrors

RAISED: dict[str, FeatureKitError] = {
    "data": DataError("a row is bad", where="source 'rows'", hint="leave it out"),
    "spec": SpecErrors([SpecError("no column", where="a.yaml:3"), SpecError("no source")]),
}


def fail(job: Mapping[str, Any]) -> dict[str, Any]:
    raise RAISED[job["error"]]


def main() -> None:
    """What the process runs."""
    serve({"fail": fail}, lambda: None)


def test_what_a_job_raises_is_raised_where_it_is_waited_for() -> None:
    with Worker("tests.unit.test_workers", "test") as worker:
        for name, wanted in RAISED.items():
            worker.start({"task": "fail", "error": name})
            with pytest.raises(type(wanted)) as caught:
                worker.answer()
            assert caught.value.to_dict() == wanted.to_dict()
        worker.start({"task": "fail", "error": "unknown"})
        with pytest.raises(FeatureKitError, match="KeyError: 'unknown'"):
            worker.answer()
