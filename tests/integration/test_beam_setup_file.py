"""What `--setup_file=setup.py` ships to workers is all of FeatureKit that they need.

Beam's stager builds the source distribution as it does when a job is submitted. It is installed
into an environment that has everything else, and a worker of Beam's that lives there, away from
the checkout, unpickles and runs all steps of a job.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.engines.beam.options import parse_options
from tests.scripts import ROOT, script

FEATURES = {
    "amount_z": "zscore(log1p(impute(amount, 'median')))",
    "bucket": "bucketize(amount, 5)",
    "word": "vocabulary(lower(word), top_k=3, oov_buckets=2)",
    "flags": "one_hot(count % 3, 3)",
    "hour": "hour(at, zone='Europe/Berlin')",
}

SUBMIT = """
import json, os, sys
import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment
import featurekit as fk
from featurekit.engines.beam.pipeline import Job, build
from featurekit.engines.beam.reading import Form, parts_of

job = json.load(sys.stdin)
environment = SubprocessSDKEnvironment.from_command_string(job["worker"])
pipeline = beam.Pipeline(runner=FnApiRunner(default_environment=environment))
parts = tuple(parts_of(job["files"], Form()))
made = Job(fk.plan(job["spec"], "beam"), parts, Form(), {}, job["folder"], job["folder"])
build(pipeline, made)
pipeline.run().wait_until_finish()
print("done", fk.__file__, flush=True)
os._exit(0)
"""

WORKER = """
import json, os, sys
from apache_beam.runners.worker import sdk_worker_main

sdk_worker_main.main(sys.argv)
files = {name: module.__file__ for name, module in sys.modules.items()
         if name.split(".")[0] == "featurekit"}
with open(sys.argv[1], "w") as file:
    json.dump({"files": files, "path": sys.path, "version": sys.version_info[:2]}, file)
# The compiled parts of TensorFlow and Beam can crash an interpreter that ends as others do.
os._exit(0)
"""


class Environment(NamedTuple):
    """A virtual environment.

    Args:
        python: Its interpreter.
        packages: Where its packages are.
    """

    python: Path
    packages: Path


def run(*command: str | Path, cwd: Path, text: str | None = None) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(
        command, cwd=cwd, input=text, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Beam stages of a copy of the checkout for workers to install."""
    from apache_beam.runners.portability.stager import Stager

    copy, staged = tmp_path_factory.mktemp("checkout") / "copy", tmp_path_factory.mktemp("staged")
    unwanted = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "site", "runs", "data"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=unwanted)
    given = [
        "--runner=DataflowRunner", "--project=my-project", "--region=europe-west1",
        "--temp_location=gs://my-bucket/tmp", "--sdk_container_image=gcr.io/my-project/beam:1",
        f"--setup_file={copy / 'setup.py'}",
    ]  # fmt: skip
    options = parse_options(given, out="gs://my-bucket/run").pipeline_options()
    resources = Stager.create_job_resources(
        options, str(staged), log_submission_env_dependencies=False
    )
    paths = {name: path for path, name, _ in Stager.extract_staging_tuple_iter(resources)}
    return Path(paths["workflow.tar.gz"])


@pytest.fixture(scope="module")
def workers(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment that has what was staged, and of this one all but FeatureKit."""
    folder = tmp_path_factory.mktemp("workers")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin/python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-I", "-c", where, cwd=folder).strip())
    # What a .pth file names is searched as it is: .pth files there, such as that of a checkout
    # that is installed to be edited, are not read.
    others = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "others.pth").write_text("".join(f"{other}\n" for other in sorted(others)))
    missing = "import apache_beam, importlib.util as u; print(u.find_spec('featurekit'))"
    assert run(python, "-I", "-c", missing, cwd=folder).strip() == "None"
    # Into a folder: pip then leaves alone what is installed elsewhere.
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--no-build-isolation", "--target", packages, tarball, cwd=folder)
    return Environment(python, packages)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec over two Parquet files, one of several row groups."""
    folder = tmp_path_factory.mktemp("spec")
    chance = np.random.default_rng(11)
    count = 900
    rows = pl.DataFrame(
        {
            "id": np.arange(count) + 2**53,
            "amount": chance.exponential(9, count),
            "word": chance.choice(["A", "b", "B", "ß", "", "c", "d"], count),
            "count": chance.integers(0, 99, count),
            "at": pl.Series(chance.integers(0, 10**9, count) * 10**6).cast(
                pl.Datetime("us", "UTC")
            ),
            "part": chance.choice(["train", "eval"], count),
        }
    ).with_columns(
        pl.when(pl.Series(chance.random(count) > 0.1)).then(name).alias(name)
        for name in ("amount", "word", "count", "at")
    )
    rows[:600].write_parquet(folder / "rows-0.parquet", row_group_size=200)
    rows[600:].write_parquet(folder / "rows-1.parquet")
    plain = {
        "name": "shipped",
        "sources": {"rows": {"path": "rows-*.parquet"}},
        "examples": {"source": "rows", "keys": ["id"], "split": {"column": "part"}},
        "features": FEATURES,
    }
    (folder / "spec.yaml").write_text(json.dumps(plain))
    return folder / "spec.yaml"


@pytest.fixture(scope="module")
def job(
    workers: Environment, spec: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Run a job on such a worker; its folder, and what the worker says of itself."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "examples").mkdir()
    (folder / "worker.py").write_text(WORKER)
    command = [str(workers.python), "-I", str(folder / "worker.py"), str(folder / "worker.json")]
    asked = {
        "worker": shlex.join(command), "spec": str(spec), "folder": str(folder),
        "files": [str(path) for path in sorted(spec.parent.glob("*.parquet"))],
    }  # fmt: skip
    printed = run(sys.executable, "-c", SUBMIT, cwd=folder, text=json.dumps(asked))
    submitted = Path(printed.split()[-1])
    assert workers.packages not in submitted.parents, "this is no job from elsewhere"
    for _ in range(100):
        if (folder / "worker.json").exists():
            break
        time.sleep(0.1)
    return folder, json.loads((folder / "worker.json").read_text())


def test_beam_stages_a_source_distribution_of_this_version(tarball: Path) -> None:
    with tarfile.open(tarball) as sdist:
        names = sdist.getnames()
    root = f"featurekit-{fk.__version__}"
    assert {name.split("/")[0] for name in names} == {root}
    assert f"{root}/transforms/full_pass/zscore.py" in names


def test_a_worker_has_featurekit_from_what_was_staged_and_from_nowhere_else(
    job: tuple[Path, dict[str, Any]], workers: Environment
) -> None:
    _, worker = job
    files = worker["files"]
    assert files["featurekit"] == str(workers.packages / "featurekit/__init__.py")
    # What the steps are made of, the operations among it.
    steps = {f"featurekit.engines.beam.{name}" for name in ("reading", "applying", "writing")}
    assert steps | {"featurekit.transforms.full_pass.zscore"} <= files.keys()
    assert all(Path(file).is_relative_to(workers.packages) for file in files.values())
    assert not [path for path in worker["path"] if (Path(path) / "setup.py").exists()]


def test_a_worker_unpickles_the_steps_of_a_job_and_gives_the_examples(
    job: tuple[Path, dict[str, Any]], spec: Path, tmp_path: Path
) -> None:
    folder, _ = job
    local = fk.run(spec, tmp_path / "local", tensorflow=False)
    written = json.loads((folder / "written.json").read_text())
    written.sort(key=lambda file: (file["part"], file["start"]))
    assert sum(file["rows"] for file in written) == 900
    differences = script("examples/flights/compare_engines.py").differences
    for split in local.splits:
        wanted = local.examples(split).to_polars()
        got = pl.concat(
            [pl.read_parquet(file["path"]) for file in written if file["split"] == split]
        )
        assert got.height == wanted.height > 300
        assert got.columns == wanted.columns
        for name in wanted.columns:
            if isinstance(wanted[name].dtype, pl.Array):
                assert got[name].to_list() == wanted[name].to_list()
            else:
                assert not differences(got[name], wanted[name], 1e-5)[0].any(), name
    assert json.loads((folder / "tally.json").read_text())["rows"] == 900
