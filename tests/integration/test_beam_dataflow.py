"""The job of the flights example on Dataflow, built offline by Dataflow's own runner."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import featurekit as fk
from featurekit.cli import main
from tests.docs.conftest import prepare

pytest.importorskip("tensorflow_transform")

ROOT = Path(__file__).resolve().parents[2]
OUT = "gs://my-features/runs/1"
IMAGE = "europe-docker.pkg.dev/my-project/features/sdk:1"
OPTIONS = {
    "runner": "DataflowRunner", "project": "my-project", "region": "europe-west1",
    "temp_location": "gs://my-features/tmp", "sdk_container_image": IMAGE, "dry_run": "True",
}  # fmt: skip


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's spec, beside a few of the flights."""
    folder = tmp_path_factory.mktemp("flights")
    text = (ROOT / "examples/flights/flights.yaml").read_text("utf-8")
    (folder / "flights.yaml").write_text(text, "utf-8")
    prepare(folder / "data")
    return folder / "flights.yaml"


def words(**changed: str | None) -> list[str]:
    """Return Dataflow's options as a command line has them, some of them other or left out."""
    options = {**OPTIONS, **changed}
    return [f"--{name}={value}" for name, value in options.items() if value is not None]


def test_the_job_of_the_flights_is_built_offline(flights: Path) -> None:
    setup = str(ROOT / "setup.py")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(
            ["run", str(flights), "--engine", "beam", "--out", OUT, "--json", "--",
             *words(setup_file=setup, max_num_workers="20", machine_type="n2-standard-4")]
        )  # fmt: skip
    assert code == 0
    job = json.loads(out.getvalue())
    assert job["runner"] == "DataflowRunner"
    assert job["options"] == {
        "dry_run": True, "machine_type": "n2-standard-4", "max_num_workers": 20,
        "project": "my-project", "region": "europe-west1", "sdk_container_image": IMAGE,
        "setup_file": setup, "temp_location": "gs://my-features/tmp",
    }  # fmt: skip
    assert "workflow.tar.gz" in job["packages"], "FeatureKit itself is sent to workers"
    phases = {step.partition("/")[0] for step in job["steps"]}
    assert phases >= {
        "StatisticsRead", "StatisticsType", "Analyze", "ExamplesRead", "ExamplesType", "Transform",
        "Write", "WriteBadRows", "Save fitted.json", "Save written.json", "Save tally.json",
    }  # fmt: skip
    levels = len(fk.plan(flights, engine="beam").levels)
    analyzers = {
        found[0] for step in job["steps"]
        if (found := re.search(r"statistics_\d+", step)) is not None
    }  # fmt: skip
    assert analyzers == {f"statistics_{number}" for number in range(levels)}
    # 80 features: were each an analyzer of its own, there would be thousands.
    assert len(job["steps"]) < 300


def test_rows_in_a_bucket_need_not_be_there_where_their_types_are_declared() -> None:
    types: dict[str, Any] = {"id": "int64", "x": "float32", "word": "string"}
    spec = fk.Spec.from_dict(
        {
            "name": "away",
            "sources": {"rows": {"path": "gs://my-features/rows/*.parquet", "columns": types}},
            "examples": {"source": "rows", "keys": ["id"]},
            "features": {"x_z": "zscore(x)", "w": "vocabulary(word)"},
        }
    )
    job = fk.dry_run(spec, OUT, beam=words(), cache="gs://my-features/cache")
    assert {step.partition("/")[0] for step in job["steps"]} >= {"Analyze", "Write"}


def test_a_dry_run_of_a_local_runner_has_the_same_steps(flights: Path, tmp_path: Path) -> None:
    here = fk.dry_run(flights, tmp_path / "run")["steps"]
    there = fk.dry_run(flights, OUT, beam=words())["steps"]
    assert {step for step in here if "/" not in step} == {step for step in there if "/" not in step}


def test_what_would_fail_on_dataflow_is_refused_all_together(flights: Path) -> None:
    missing = dict.fromkeys(("temp_location", "region", "sdk_container_image"))
    with pytest.raises(fk.UsageError) as caught:
        fk.run(flights, "runs/1", engine="beam", cache="cache", beam=words(**missing, dry_run=None))
    for problem in (
        "--temp_location: Dataflow needs a folder for temporary files",
        "--region: Dataflow needs it",
        "--out: Dataflow needs a folder in a bucket",
        "--cache: Dataflow needs a folder in a bucket",
        "workers would not have FeatureKit",
    ):
        assert problem in str(caught.value)


def test_sources_of_this_machine_are_refused(flights: Path) -> None:
    plain = yaml.safe_load(flights.read_text("utf-8"))
    del plain["aggregations"], plain["lookups"]
    plain["features"] = {"distance_z": "zscore(distance)"}
    spec = fk.Spec.from_dict(plain, flights.parent)
    with pytest.raises(fk.UsageError, match="workers do not see the files of this machine"):
        fk.run(spec, OUT, engine="beam", beam=words(dry_run=None))
