"""Options for Beam: what is refused before anything runs and why, and that Beam takes the rest."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featurekit.console import report
from featurekit.engines.beam.options import RUNNERS, BeamOptions, parse_options
from featurekit.errors import MissingExtra, UsageError

ROOT = Path(__file__).resolve().parents[2]
OUT = "gs://flights-bucket/runs/1"
IMAGE = "--sdk_container_image=europe-west1-docker.pkg.dev/flights-project/beam/featurekit:1"
CLOUD = {
    "runner": "--runner=DataflowRunner",
    "project": "--project=flights-project",
    "region": "--region=europe-west1",
    "temp": "--temp_location=gs://flights-bucket/tmp",
    "image": IMAGE,
}
DATAFLOW = tuple(CLOUD.values())
FLINK = ("--runner=FlinkRunner", "--flink_master=cluster:8081")


def dataflow_without(*names: str) -> list[str]:
    return [text for name, text in CLOUD.items() if name not in names]


def parsed(*arguments: str, out: str = "runs/1", **places: Any) -> BeamOptions:
    return parse_options(arguments, out=out, **places)


def refused(*arguments: str, out: str = "runs/1", **places: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_options(arguments, out=out, **places)
    return caught.value


# runners


@pytest.mark.parametrize(
    "said",
    ["FnApiRunner", "fnapi", "direct", "DirectRunner", "SwitchingDirectRunner",
     "apache_beam.runners.direct.direct_runner.DirectRunner"],
)  # fmt: skip
def test_the_local_runner_is_the_one_that_downloads_nothing(said: str) -> None:
    assert parsed(f"--runner={said}") == BeamOptions((f"--runner={said}",))
    assert parsed() == BeamOptions()
    assert (parsed().runner, parsed().remote, parsed().sees_local_files) == (
        "FnApiRunner", False, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "runner"),
    [("dataflow", "DataflowRunner"), ("DATAFLOWRUNNER", "DataflowRunner"),
     ("apache_beam.runners.dataflow.dataflow_runner.DataflowRunner", "DataflowRunner")],
)  # fmt: skip
def test_a_runner_is_known_by_all_the_names_that_beam_knows_it_by(said: str, runner: str) -> None:
    made = parsed(f"--runner={said}", *dataflow_without("runner"), out=OUT)
    assert (made.runner, made.remote, made.sees_local_files) == (runner, True, False)


def test_every_runner_of_a_run_is_one_of_beams() -> None:
    from apache_beam.runners import create_runner

    for runner in RUNNERS:
        assert type(create_runner(runner)).__name__ == runner


@pytest.mark.parametrize("said", ["DataflowRuner", "InteractiveRunner", "", "os.system", "dask"])
def test_other_runners_are_refused_and_those_that_there_are_named(said: str) -> None:
    assert str(refused(f"--runner={said}")) == (
        f"--runner: a run has no runner {said!r}. Hint: the runners are FnApiRunner, PrismRunner, "
        "DataflowRunner, FlinkRunner, SparkRunner, PortableRunner"
    )


# what Beam cannot read


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("--projct=p", "--projct: Beam has no such option. Hint: did you mean '--project'?"),
        ("--colour=red", "--colour: Beam has no such option. Hint: see https://beam.apache.org/"),
        ("--num_workers=many", "--num_workers: invalid int value: 'many'"),
        ("--direct_running_mode=x", "--direct_running_mode: invalid choice: 'x'"),
        ("--project", "--project: expected one argument"),
        ("--use_public_ips=true", "--use_public_ips: it takes no value. Hint: --use_public_ips "),
        ("--transform_name_mapping={", "--transform_name_mapping: the value is not JSON"),
        ("--sdk_harness_log_level_overrides=3", "--sdk_harness_log_level_overrides: the value is"),
        ("--gcs_custom_audit_entries=3", "--gcs_custom_audit_entries: the value is not JSON"),
        ("--dry_run=maybe", "--dry_run: true or false; got 'maybe'"),
        ("--dry_run", "--dry_run: expected one argument"),
        ("-runner=direct", "argument 1: did you mean --runner?"),
        ("runner=direct", "argument 1: did you mean --runner?"),
        ("flights.yaml", "argument 1: it belongs to no option. Hint: write --option=value"),
        ("--", "argument 1: it belongs to no option"),
        ("--help", "--help: Beam's options are not listed here. Hint: they are described at "),
    ],
)
def test_what_beam_cannot_read_is_an_error_with_its_place(
    said: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert str(refused(said)).startswith(message)
    assert capfd.readouterr() == ("", "")


def test_options_and_values_may_stand_apart_and_values_may_be_negative() -> None:
    assert parsed("--runner", "direct", "--experiments", "a,b").given == {"experiments": ["a", "b"]}
    assert str(refused("--direct_num_workers", "-2")) == "--direct_num_workers: at least 0; got -2"


def test_a_word_that_belongs_to_no_option_is_found_wherever_it_stands() -> None:
    assert str(refused("--runner", "direct", "--profile_cpu", "twice")).startswith(
        "argument 4: it belongs to no option"
    )


def test_all_problems_come_together_and_a_typo_is_not_a_missing_option_as_well() -> None:
    error = refused("--runner=DataflowRunner", "--projct=p", "--region=a-1-b", "--temp_location=t")
    assert str(error).splitlines()[0] == "options for Beam: 5 problems"
    assert [line.split(" ")[1] for line in str(error).splitlines()[1:]] == [
        "--projct:", "--region:", "--temp_location:", "--out:", "--sdk_container_image:",
    ]  # fmt: skip


# for every runner


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("--streaming", "a run is a batch job"),
        ("--update", "a run is a batch job"),
        ("--transform_name_mapping={}", "a run is a batch job"),
        ("--create_from_snapshot=s", "a run is a batch job"),
        ("--no_wait_until_finish", "a run is checked and published when its job is done"),
        ("--output_executable_path=a.jar", "it makes a program and runs no job"),
        ("--template_location=gs://flights-bucket/t", "it makes a template and runs no job"),
        ("--on_success_matcher=x", "it is for the tests of Beam itself"),
    ],
)
def test_a_run_is_a_batch_job_that_is_waited_for(said: str, reason: str) -> None:
    for others, out in (((), "runs/1"), (DATAFLOW, OUT)):
        error = refused(*others, said, out=out)
        assert error.where == said.partition("=")[0]
        assert error.message.startswith(reason)
        assert error.hint


@pytest.mark.parametrize(
    ("said", "runner"),
    [("--region=europe-west1", "DataflowRunner"), ("--num_workers=3", "DataflowRunner"),
     ("--worker_machine_type=n2-standard-4", "DataflowRunner"), (IMAGE, "DataflowRunner"),
     ("--dry_run=true", "DataflowRunner"), ("--flink_master=cluster:8081", "FlinkRunner"),
     ("--parallelism=4", "FlinkRunner"), ("--spark_master_url=spark://m:7077", "SparkRunner"),
     ("--environment_type=LOOPBACK", "PortableRunner"), ("--prism_location=p", "PrismRunner")],
)  # fmt: skip
def test_an_option_that_the_runner_does_not_read_is_refused(said: str, runner: str) -> None:
    error = refused(said)
    assert error.where == said.partition("=")[0]
    assert f"{runner}" in error.message
    assert error.message.endswith("reads it, and the runner is FnApiRunner")
    assert error.hint == f"--runner={runner}, or leave it out"


def test_workers_of_the_local_runner_are_counted_and_need_a_mode_that_has_several() -> None:
    assert str(refused("--direct_num_workers=-1")) == "--direct_num_workers: at least 0; got -1"
    for number in (0, 2):
        error = refused(f"--direct_num_workers={number}")
        assert error.message == "in_memory has one worker"
        assert error.hint == "--direct_running_mode=multi_processing"
    made = parsed("--direct_num_workers=0", "--direct_running_mode=multi_threading")
    assert made.given == {"direct_num_workers": 0, "direct_running_mode": "multi_threading"}


@pytest.mark.parametrize("said", ["False", "false", "0"])
def test_a_dry_run_that_is_denied_is_none(said: str) -> None:
    made = parsed(*DATAFLOW, f"--dry_run={said}", out=OUT)
    assert not made.dry_run
    assert "dry_run" not in made.given
    from apache_beam.options.pipeline_options import TestOptions

    # Beam takes the text "False" for true.
    assert made.pipeline_options().view_as(TestOptions).dry_run is False


# Dataflow


def test_dataflow_takes_what_it_needs() -> None:
    made = parsed(
        *DATAFLOW, "--num_workers=2", "--max_num_workers=20", "--machine_type=n2-highmem-8",
        "--job_name=flights-2026-11", "--number_of_worker_harness_threads=1", out=OUT,
        inputs=["gs://flights-bucket/flights/*.parquet"], cache="gs://flights-bucket/cache",
    )  # fmt: skip
    assert made.temp_location == "gs://flights-bucket/tmp"
    assert (made.remote, made.sees_local_files, made.dry_run) == (True, False, False)


@pytest.mark.parametrize(
    ("left_out", "where", "message"),
    [
        ("project", "--project", "Dataflow needs it"),
        ("region", "--region", "Dataflow needs it"),
        ("temp", "--temp_location", "Dataflow needs a folder for temporary files"),
        ("image", "--sdk_container_image", "workers would not have FeatureKit"),
    ],
)
def test_dataflow_needs_a_project_a_region_a_folder_and_code(
    left_out: str, where: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run goes by what it is told, not by what this machine is set up for.
    monkeypatch.setenv("CLOUDSDK_COMPUTE_REGION", "europe-west1")
    error = refused(*dataflow_without(left_out), out=OUT)
    assert (error.where, error.message) == (where, message)
    assert where in error.hint


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("--project=123456", "the id of a project, and not its number or title; got '123456'"),
        ("--project=My project", "the id of a project, and not its number or title; got "),
        ("--region=europe-west1-b", "a region such as europe-west1, and not a zone; got "),
        ("--region=", "a region such as europe-west1, and not a zone; got ''"),
        ("--job_name=Flights", "lower case letters, digits and dashes, a letter first and no "),
        ("--job_name=flights-", "lower case letters, digits and dashes, a letter first and no "),
        ("--job_name=1flights", "lower case letters, digits and dashes, a letter first and no "),
        ("--job_name=a_b", "lower case letters, digits and dashes, a letter first and no dash "),
        ("--worker_machine_type=big one", "a machine type such as n2-standard-4; got 'big one'"),
        ("--machine_type=4", "a machine type such as n2-standard-4; got '4'"),
        ("--sdk_container_image=an image", "the name of an image; got 'an image'"),
        ("--num_workers=-1", "at least 1; got -1"),
        ("--num_workers=0", "at least 1; got 0"),
        ("--max_num_workers=-5", "at least 1; got -5"),
        ("--disk_size_gb=-1", "at least 0; got -1"),
        ("--number_of_worker_harness_threads=0", "at least 1; got 0"),
        ("--temp_location=/tmp", "a folder in a bucket, such as gs://my-bucket/tmp; got '/tmp'"),
        ("--temp_location=gs://flights-bucket", "a folder in a bucket, such as gs://my-bucket/"),
        ("--temp_location=gs://b/tmp", "a folder in a bucket, such as gs://my-bucket/tmp; got "),
        ("--staging_location=staging", "a folder in a bucket, such as gs://my-bucket/tmp; got "),
    ],
)
def test_values_that_dataflow_would_refuse_are_refused_here(said: str, message: str) -> None:
    error = refused(*DATAFLOW, said, out=OUT)
    assert error.where == said.partition("=")[0]
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    "machine_type",
    ["n1-standard-1", "n2-highmem-128", "custom-4-16384-ext", "n2d-custom-8-32768", "e2-medium",
     "zones/europe-west1-b/machineTypes/n1-standard-4"],
)  # fmt: skip
def test_machine_types_of_all_families_are_taken(machine_type: str) -> None:
    made = parsed(*DATAFLOW, f"--machine_type={machine_type}", out=OUT)
    assert made.given["machine_type"] == machine_type


@pytest.mark.parametrize("path", ["runs/1", "/runs/1", "gs://flights-bucket", "gs://b/1", "s3://b"])
def test_the_folders_of_a_run_on_dataflow_are_in_a_bucket(path: str) -> None:
    message = f"Dataflow needs a folder in a bucket, such as gs://my-bucket/runs; got {path!r}"
    assert str(refused(*DATAFLOW, out=path)) == f"--out: {message}"
    assert str(refused(*DATAFLOW, out=OUT, cache=path)) == f"--cache: {message}"


@pytest.mark.parametrize("path", ["flights.parquet", "/data/flights.parquet", "file:///data/f.csv"])
def test_workers_of_dataflow_cannot_read_files_of_this_machine(path: str) -> None:
    error = refused(*DATAFLOW, out=OUT, inputs=["gs://flights-bucket/f.parquet", path, "other.csv"])
    assert str(error) == (
        "sources: Dataflow's workers do not see the files of this machine, such as "
        f"{path!r}. Hint: copy them to a bucket, and write gs:// in the spec"
    )


@pytest.mark.parametrize("option", ["temp_location", "staging_location"])
def test_the_temporary_and_the_staging_folder_stand_for_each_other(option: str) -> None:
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    place = "gs://flights-bucket/elsewhere/"
    made = parsed(*dataflow_without("temp"), f"--{option}={place}", out=OUT)
    cloud = made.pipeline_options().view_as(GoogleCloudOptions)
    assert made.temp_location == cloud.temp_location == cloud.staging_location == place


def test_what_beam_itself_would_refuse_is_refused_before_anything_runs() -> None:
    assert str(refused(*DATAFLOW, "--num_workers=5", "--max_num_workers=3", out=OUT)) == (
        "Beam: num_workers (5) cannot exceed max_num_workers (3)"
    )
    assert str(refused(*DATAFLOW, "--worker_region=a", "--worker_zone=b", out=OUT)) == (
        "Beam: worker_region and worker_zone are mutually exclusive."
    )


# the code that workers need


def test_code_for_workers_comes_in_an_image_or_with_what_it_requires(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("tensorflow-transform\n", "utf-8")
    shipping = (*dataflow_without("image"), f"--setup_file={ROOT / 'setup.py'}")
    error = refused(*shipping, out=OUT)
    assert error.where == "--setup_file"
    assert error.message == (
        "workers would have FeatureKit, but not tensorflow-transform, which is an extra"
    )
    parsed(*shipping, f"--requirements_file={requirements}", out=OUT)
    parsed(*shipping, IMAGE, out=OUT)


def test_a_project_that_requires_featurekit_says_itself_what_workers_need(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("", "utf-8")
    parsed(*dataflow_without("image"), f"--setup_file={tmp_path / 'setup.py'}", out=OUT)
    package = tmp_path / "flights-1.0-py3-none-any.whl"
    package.touch()
    parsed(*dataflow_without("image"), f"--extra_package={package}", out=OUT)
    package = package.rename(tmp_path / "featurekit-0.1.0.tar.gz")
    error = refused(*dataflow_without("image"), f"--extra_package={package}", out=OUT)
    assert error.where == "--extra_package"


def test_setup_files_that_are_not_there_or_have_another_name_are_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "setup.py")
    error = refused(*DATAFLOW, f"--setup_file={missing}", out=OUT)
    assert str(error) == f"--setup_file: there is no file {missing!r}"
    other = tmp_path / "install.py"
    other.touch()
    error = refused(*DATAFLOW, f"--setup_file={other}", out=OUT)
    assert error.message == f"Beam takes setup.py or pyproject.toml; got {str(other)!r}"
    for option in ("requirements_file", "extra_package", "files_to_stage"):
        error = refused(*DATAFLOW, f"--{option}={missing}", out=OUT)
        assert str(error) == f"--{option}: there is no file {missing!r}"
    parsed(*DATAFLOW, "--extra_package=gs://flights-bucket/p.whl", out=OUT)


def test_a_setup_file_without_a_folder_reaches_beam_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.options.pipeline_options import SetupOptions

    (tmp_path / "setup.py").touch()
    monkeypatch.chdir(tmp_path)
    made = parsed(*DATAFLOW, "--setup_file=setup.py", out=OUT)
    setup = made.pipeline_options().view_as(SetupOptions)
    assert setup.setup_file == str(tmp_path / "setup.py")


# clusters


@pytest.mark.parametrize(
    "arguments",
    [
        ("--runner=FlinkRunner",),
        ("--runner=FlinkRunner", "--flink_master=[local]"),
        (*FLINK, "--environment_type=LOOPBACK"),
        ("--runner=SparkRunner",),
        ("--runner=SparkRunner", "--spark_master_url=local[2]"),
        ("--runner=PortableRunner", "--job_endpoint=cluster:8099", "--environment_type=LOOPBACK"),
        ("--runner=PortableRunner", "--job_endpoint=localhost:8099", "--environment_type=PROCESS",
         "--environment_option=process_command=/opt/boot"),
    ],
)  # fmt: skip
def test_workers_on_this_machine_read_and_write_its_files(arguments: tuple[str, ...]) -> None:
    made = parsed(*arguments, inputs=["flights.parquet"], cache="cache")
    assert (made.remote, made.sees_local_files) == (True, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (*FLINK, "--environment_config=image"),
        (*FLINK, "--environment_type=DOCKER", "--environment_option=docker_container_image=image"),
        ("--runner=SparkRunner", "--spark_master_url=spark://master:7077",
         "--environment_config=image"),
        ("--runner=PortableRunner", "--job_endpoint=localhost:8099", "--environment_config=image"),
        ("--runner=PortableRunner", "--job_endpoint=cluster:8099", "--environment_type=EXTERNAL",
         "--environment_config=workers:50000"),
    ],
)  # fmt: skip
def test_workers_elsewhere_or_in_containers_do_not_see_the_files_of_this_machine(
    arguments: tuple[str, ...],
) -> None:
    made = parsed(*arguments, out="s3://bucket/runs/1", inputs=["hdfs://data/flights.parquet"])
    assert not made.sees_local_files
    for where, places in {
        "--out": {"out": "runs/1"},
        "--cache": {"out": OUT, "cache": "cache"},
        "sources": {"out": OUT, "inputs": ["flights.parquet"]},
    }.items():
        error = refused(*arguments, **places)  # type: ignore[arg-type]
        assert error.where == where
        assert f"workers of {made.runner} do not see the files of this machine" in error.message
        assert error.hint.endswith("or --environment_type=LOOPBACK")
    assert refused(*arguments, "--temp_location=/tmp", out=OUT).where == "--temp_location"


def test_containers_of_a_cluster_need_featurekit_too() -> None:
    error = refused(*FLINK, out=OUT)
    assert (error.where, error.message) == (
        "--environment_config", "workers would not have FeatureKit",
    )  # fmt: skip


def test_what_a_cluster_needs_is_checked() -> None:
    error = refused("--runner=PortableRunner", "--environment_type=LOOPBACK")
    assert error.message == "PortableRunner needs the address of a job server"
    error = refused(*FLINK, "--environment_type=loopback", out=OUT)
    assert error.message == "one of DOCKER, PROCESS, EXTERNAL, LOOPBACK; got 'loopback'"
    error = refused(*FLINK, "--environment_type=PROCESS", out=OUT)
    assert str(error) == "Beam: Option process_command is required for environment type PROCESS."


# secrets


def test_a_manifest_says_what_beam_was_told_but_no_secret() -> None:
    made = parsed(
        "--s3_secret_access_key=hush", "--s3_session_token=hush", "--labels=team=flights",
        "--s3_endpoint_url=https://me:hush@storage.example/x?signature=hush",
        "--azure_connection_string=AccountKey=hush", "--experiments=a,b", "--runner=flink",
        "--environment_type=PROCESS", '--environment_config={"env": {"PASSWORD": "hush"}}',
        "--gbek=type:hush", "--job_server_jvm_property=-Dpassword=hush", out=OUT,
    )  # fmt: skip
    assert made.settings() == {
        "runner": "FlinkRunner",
        "options": {
            "azure_connection_string": "***",
            "environment_config": "***",
            "environment_type": "PROCESS",
            "experiments": ["a", "b"],
            "gbek": "***",
            "job_server_jvm_properties": "***",
            "labels": ["team=flights"],
            "s3_endpoint_url": "https://***@storage.example/x?***",
            "s3_secret_access_key": "***",
            "s3_session_token": "***",
        },
    }
    assert json.loads(json.dumps(made.settings())) == made.settings()
    assert "hush" not in repr(made)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--s3_secret_acces_key=hush",),
        ("--s3_secret_acces_key", "hush"),
        ("--s3_secret_access_key", "-hush"),
        ("--s3_secret_access_key=", "hush"),
        ("hush",),
        ("--runner=DataflowRunner", "--s3_session_token=hush"),
    ],
)
def test_no_error_shows_a_secret(arguments: tuple[str, ...]) -> None:
    assert "hush" not in str(refused(*arguments))


def test_settings_are_equal_for_equal_options_however_they_are_written() -> None:
    made = parsed("--experiments=a", "--experiments", "b")
    assert made.settings() == parsed("--experiments=a,b", "--runner=direct").settings()


# as part of a program


def test_importing_the_module_imports_neither_beam_nor_tensorflow() -> None:
    code = (
        "import sys, featurekit.engines.beam.options\n"
        "print(*{'apache_beam', 'tensorflow', 'tensorflow_transform'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_options_are_read_without_tensorflow() -> None:
    code = (
        "import sys\n"
        "from featurekit.engines.beam.options import parse_options\n"
        "parse_options([], out='runs/1').pipeline_options()\n"
        "print(*{'tensorflow', 'tensorflow_transform'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_without_beam_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for step in (parsed, BeamOptions().pipeline_options):
        with pytest.raises(MissingExtra, match="pip install 'apache-beam"):
            step()


def test_on_the_command_line_several_problems_stay_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import argparse

    error = refused("--streaming", "--region=europe-west1")
    assert report(error, argparse.Namespace(json=False)) == 2
    assert capsys.readouterr().err == (
        "featurekit: error: options for Beam: 2 problems "
        "1. --streaming: a run is a batch job. Hint: leave it out "
        "2. --region: only DataflowRunner reads it, and the runner is FnApiRunner. "
        "Hint: --runner=DataflowRunner, or leave it out\n"
    )


def test_options_can_be_sent_to_another_process() -> None:
    made = parsed(*DATAFLOW, out=OUT)
    assert pickle.loads(pickle.dumps(made)) == made


# with Beam


def run_locally(made: BeamOptions, folder: Path) -> list[int]:
    """Add one to four numbers; return the sums, and check that Beam had the options."""
    import apache_beam as beam

    with beam.Pipeline(runner=made.runner, options=made.pipeline_options()) as pipeline:
        numbers = pipeline | beam.Create([1, 2, 3, 4]) | beam.Reshuffle()
        # A lambda, because workers in other processes cannot import a module of tests.
        sums = numbers | beam.Map(lambda number: f"{number + 1} {__import__('os').getpid()}")
        _ = sums | beam.io.WriteToText(str(folder / "sums"))
    texts = [file.read_text("utf-8") for file in folder.glob("sums*")]
    words = [line.split() for text in texts for line in text.splitlines()]
    assert sorted(int(number) for number, _ in words) == [2, 3, 4, 5]
    return [int(process) for _, process in words]


def test_the_local_runner_runs_a_pipeline_in_this_process(tmp_path: Path) -> None:
    assert set(run_locally(parsed("--runner=DirectRunner"), tmp_path)) == {os.getpid()}


def test_the_local_runner_runs_a_pipeline_in_two_processes(tmp_path: Path) -> None:
    made = parsed("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    assert os.getpid() not in run_locally(made, tmp_path)


def test_a_dry_run_on_dataflow_builds_the_job_offline() -> None:
    import apache_beam as beam

    made = parsed(*DATAFLOW, "--dry_run=True", "--num_workers=2", out=OUT)
    assert made.dry_run
    pipeline = beam.Pipeline(runner=made.runner, options=made.pipeline_options())
    _ = pipeline | beam.Create(["a"]) | "Upper" >> beam.Map(str.upper)
    result = pipeline.run()
    transforms = result.job.proto_pipeline.components.transforms.values()
    assert "Upper" in {transform.unique_name for transform in transforms}
    environments = result.job.proto_pipeline.components.environments.values()
    assert any(IMAGE.partition("=")[2].encode() in each.payload for each in environments)
