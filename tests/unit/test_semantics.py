"""A run says by which version its numbers are made, and is opened by that one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.errors import DataError
from featurekit.job import run
from featurekit.runs import Run, open_run
from featurekit.semantics import SEMANTICS
from featurekit.spec.objects import Examples, Source, Spec

MISSING = object()


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    rows = pl.DataFrame({"id": [1, 2, 3], "x": [1.0, 2.0, 4.0]})
    spec = Spec({"rows": Source(data=rows)}, Examples("rows", keys="id"), {"z": "zscore(x)"})
    return run(spec, tmp_path / "run", tensorflow=False)


def edited(finished: Run, value: Any) -> Path:
    """Write another version into the manifest of a run, or none."""
    manifest = dict(finished.manifest)
    del manifest["semantics"]
    if value is not MISSING:
        manifest["semantics"] = value
    (finished.path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return finished.path


def test_a_new_run_is_of_the_newest_semantics(finished: Run) -> None:
    assert finished.manifest["semantics"] == SEMANTICS == 2
    assert open_run(finished.path).plan.resolved.semantics == SEMANTICS


@pytest.mark.parametrize("value", [MISSING, 1])
def test_a_run_without_semantics_is_of_the_first(finished: Run, value: Any) -> None:
    again = open_run(edited(finished, value))
    assert again.plan.resolved.semantics == 1
    assert again.apply(pl.DataFrame({"x": [1.0]})).height == 1


def test_a_run_of_newer_semantics_is_refused(finished: Run) -> None:
    folder = edited(finished, SEMANTICS + 1)
    with pytest.raises(DataError, match=r"manifest.json: a newer FeatureKit .*semantics 3") as said:
        open_run(folder)
    assert "versions" in str(said.value)


@pytest.mark.parametrize("value", [0, -1, True, "2", 2.0, None, [2]])
def test_semantics_that_are_no_version_are_refused(finished: Run, value: Any) -> None:
    with pytest.raises(DataError, match="semantics is an integer from 1 to 2"):
        open_run(edited(finished, value))


def test_a_fitted_transformer_says_its_semantics() -> None:
    fitted = fk.FeatureTransformer({"z": "zscore(x)"}).fit(pl.DataFrame({"x": [1.0, 2.0]}))
    assert fitted._made["semantics"] == SEMANTICS
