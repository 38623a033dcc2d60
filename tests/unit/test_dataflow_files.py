"""The example for Dataflow: image, flex template and commands fit FeatureKit and Beam."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from featurekit.cli import parser
from featurekit.engines.beam.options import parse_options

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples/dataflow"
NAMES = {"PROJECT": "my-project", "REGION": "europe-west1", "BUCKET": "my-bucket"}
IMAGE = "europe-west1-docker.pkg.dev/my-project/featurekit/beam:1"
LAUNCHED = [
    # What the launcher passes beside the parameters, in its order.
    "--job_name=flights-1", "--machine_type=n2-highmem-4", "--max_num_workers=20",
    "--project=my-project", "--region=europe-west1", "--runner=DataflowRunner",
    "--staging_location=gs://my-bucket/staging", "--temp_location=gs://my-bucket/tmp",
    "--template_location=gs://my-bucket/staging/template_launches/1/job_object",
]  # fmt: skip
REQUIRED = [
    "--spec=gs://my-bucket/specs/flights.yaml", "--out=gs://my-bucket/runs/1",
    f"--sdk_container_image={IMAGE}",
]  # fmt: skip
OPTIONAL = [
    "--max_bad_rows=100", "--cache=gs://my-bucket/cache", "--overwrite=true",
    "--no_tensorflow=true", "--tfrecord=true",
]  # fmt: skip


@pytest.fixture(scope="module")
def template() -> ModuleType:
    place = importlib.util.spec_from_file_location("flex_template", FOLDER / "main.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def metadata() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((FOLDER / "metadata.json").read_text("utf-8"))
    return parsed


def parameters() -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in metadata()["parameters"]}


def takes(name: str, value: str) -> bool:
    return all(re.search(pattern, value) for pattern in parameters()[name]["regexes"])


# metadata.json


def test_the_metadata_is_what_the_service_reads() -> None:
    from google.cloud.dataflow_v1beta3 import TemplateMetadata

    # An unknown field or a wrong type is an error here.
    read = TemplateMetadata.from_json((FOLDER / "metadata.json").read_text("utf-8"))
    assert read.name
    assert read.description
    for parameter in read.parameters:
        assert parameter.label
        assert parameter.help_text.endswith(".")
        assert len(parameter.regexes) == 1
        # Google's regular expressions have no looking around and no references back.
        assert not re.search(r"\(\?[=!<]|\\[1-9]", parameter.regexes[0])


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "spec": ["gs://my-bucket/flights.yaml", "gs://my.bucket_1/a b/c/flights.v2.yml"],
        "out": ["gs://my-bucket/runs/1", "gs://my-bucket/runs/"],
        "sdk_container_image": [
            IMAGE, "gcr.io/my-project/featurekit", f"{IMAGE}@sha256:{'0' * 64}",
            "localhost:5000/featurekit:1.0",
        ],
        "max_bad_rows": ["0", "7", "1000000"],
        "cache": ["gs://my-bucket/cache"],
        "overwrite": ["true", "false"],
        "no_tensorflow": ["true", "false"],
        "tfrecord": ["true", "false"],
    }.items(),
)  # fmt: skip
def test_good_values_of_a_parameter_are_accepted(name: str, values: list[str]) -> None:
    for value in values:
        assert takes(name, value), value


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "spec": ["flights.yaml", "/flights.yaml", "gs://my-bucket/flights.json", "gs://b/f.yaml",
                 "gs://my-bucket/.yaml/", "s3://my-bucket/flights.yaml", "gs://my-bucket.yaml",
                 "gs://my-bucket/a\nb.yaml"],
        "out": ["runs/1", "gs://my-bucket", "gs://my-bucket/", "gs://My-bucket/runs", "gs:///runs",
                "gs://my-bucket//runs", "gs://my-bucket/runs\n--overwrite"],
        "sdk_container_image": ["", "featurekit", "https://gcr.io/p/i", "gcr.io/p/i:", "gcr.io/P/i",
                                "gcr.io/p/i:1 --streaming", "gcr.io/p/i@sha256:0"],
        "cache": ["cache", "gs://my-bucket"],
        "max_bad_rows": ["", "-1", "1.5", "many", "01", "1e3", "9" * 19],
        "overwrite": ["", "yes", "True", "truefalse"],
        "no_tensorflow": ["1", "FALSE"],
        "tfrecord": ["no", " true"],
    }.items(),
)  # fmt: skip
def test_bad_values_of_a_parameter_are_refused(name: str, values: list[str]) -> None:
    for value in values:
        assert not takes(name, value), value


# main.py


def test_the_template_takes_its_parameters_and_no_others(template: ModuleType) -> None:
    (group,) = (group for group in template.parser()._action_groups if group.title == "parameters")
    taken = {action.dest: action.required for action in group._group_actions}
    assert taken == {name: not each.get("isOptional") for name, each in parameters().items()}


def test_no_parameter_is_called_like_an_option_of_beam_that_means_something_else() -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    known = set(PipelineOptions([]).get_all_options())
    assert known & set(parameters()) == {"sdk_container_image"}


def test_the_parameters_become_a_call_of_featurekit(template: ModuleType) -> None:
    command, _, temporary = template.read([*LAUNCHED, *REQUIRED, *OPTIONAL])
    split = command.index("--")
    assert command[:split] == [
        "run", "gs://my-bucket/specs/flights.yaml", "--engine", "beam",
        "--out", "gs://my-bucket/runs/1",
        "--max-bad-rows", "100", "--cache", "gs://my-bucket/cache", "--overwrite",
        "--no-tensorflow", "--tfrecord",
    ]  # fmt: skip
    assert temporary == "gs://my-bucket/tmp"
    options = parse_options(command[split + 1 :], out="gs://my-bucket/runs/1")
    assert options.given == {
        "job_name": "flights-1-run", "machine_type": "n2-highmem-4", "max_num_workers": 20,
        "project": "my-project", "region": "europe-west1", "sdk_container_image": IMAGE,
        "staging_location": "gs://my-bucket/staging", "temp_location": "gs://my-bucket/tmp",
    }  # fmt: skip
    short, _, _ = template.read([*LAUNCHED, *REQUIRED])
    assert short[: short.index("--")] == command[:6]


def test_featurekit_has_the_options_that_it_is_called_with(template: ModuleType) -> None:
    command = template.read([*LAUNCHED, *REQUIRED, *OPTIONAL]).command
    given = parser().parse_args(command[: command.index("--")])
    assert given.engine == "beam"
    assert given.overwrite
    assert given.no_tensorflow
    assert given.tfrecord


def test_the_job_of_the_template_has_one_worker_and_is_left_where_it_is_looked_for(
    template: ModuleType,
) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    options = template.read([*LAUNCHED, *REQUIRED]).options
    known = PipelineOptions(options).get_all_options(drop_default=True)
    assert known["max_num_workers"] == known["num_workers"] == 1
    assert known["job_name"] == "flights-1"
    assert known["template_location"].endswith("/job_object")
    assert known["sdk_container_image"] == IMAGE


def test_what_would_be_refused_is_refused_when_the_template_is_started(
    template: ModuleType,
) -> None:
    with pytest.raises(SystemExit, match="featurekit: error: --out: Dataflow needs a folder"):
        template.main([*LAUNCHED, *REQUIRED, "--out=runs/1"])
    with pytest.raises(SystemExit, match="featurekit: error: --streaming: a run is a batch job"):
        template.main([*LAUNCHED, *REQUIRED, "--streaming"])


def test_the_job_of_the_template_is_built_offline(
    template: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

    built = []
    run = DataflowRunner.run_pipeline

    def keep(*given: Any) -> Any:
        built.append(run(*given))
        return built[-1]

    monkeypatch.setattr(DataflowRunner, "run_pipeline", keep)
    launched = [option for option in LAUNCHED if not option.startswith("--template_location")]
    template.main([*launched, *REQUIRED, "--dry_run=true"])
    (result,) = built
    transforms = result.job.proto_pipeline.components.transforms.values()
    assert "Run" in {transform.unique_name for transform in transforms}


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Python that writes down what it is called with, and the spec."""
    script = tmp_path / "python"
    told = tmp_path / "told"
    lines = (
        "#!/bin/sh", f'printf "%s\\n" "$@" > {told}', f'cat "$4" >> {told}', "echo said",
        f"exit $(cat {told}.code)",
    )  # fmt: skip
    script.write_text("\n".join(lines), "utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))
    return told


def test_the_worker_fetches_the_spec_and_calls_featurekit_once(
    template: ModuleType, python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flights.yaml").write_text("name: flights\n", "utf-8")
    python.with_suffix(".code").write_text("0", "utf-8")
    command = ["run", str(tmp_path / "flights.yaml"), "--out", "gs://my-bucket/runs/1", "--"]
    with caplog.at_level("INFO"):
        template.make_run(command, str(tmp_path / "started"))
    words = python.read_text("utf-8").splitlines()
    assert words[:3] == ["-m", "featurekit", "run"]
    assert Path(words[3]).name == "flights.yaml"
    assert words[4:] == ["--out", "gs://my-bucket/runs/1", "--", "name: flights"]
    assert "said" in caplog.messages
    with pytest.raises(RuntimeError, match="the run was started before"):
        template.make_run(command, str(tmp_path / "started"))


def test_a_run_that_fails_fails_the_job_with_its_last_words(
    template: ModuleType, python: Path, tmp_path: Path
) -> None:
    (tmp_path / "flights.yaml").write_text("name: flights\n", "utf-8")
    python.with_suffix(".code").write_text("3", "utf-8")
    with pytest.raises(RuntimeError, match="featurekit ended with 3: said"):
        template.make_run(["run", str(tmp_path / "flights.yaml")], str(tmp_path / "started"))


# Dockerfile


def pinned(package: str) -> str:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    found = re.search(rf"^{package}==([\w.]+)$", text, re.MULTILINE)
    assert found
    return found[1]


def dockerfile() -> str:
    return (FOLDER / "Dockerfile").read_text("utf-8")


def test_the_image_has_the_beam_of_the_lock_file_and_a_python_that_fits() -> None:
    found = re.search(r"^FROM apache/beam_python(\S+)_sdk:(\S+)$", dockerfile(), re.MULTILINE)
    assert found
    assert found[2] == pinned("apache-beam")
    assert f"python{found[1].replace('.', '')}-template-launcher-base" in dockerfile()
    assert f"Python {found[1]} that the image has" in " ".join(readme().split())
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'"Programming Language :: Python :: {found[1]}"' in settings


def test_the_image_is_built_from_what_is_sent_to_the_build() -> None:
    sent = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "*" in sent
    copied = re.findall(r"^COPY (?!--from)(.+) \./$", dockerfile(), re.MULTILINE)
    paths = [path for paths in copied for path in paths.split()]
    assert sorted(paths) == sorted(line[1:] for line in sent if line.startswith("!"))
    for path in paths:
        assert path.startswith("dist/") or (ROOT / path).is_file()


def test_the_launcher_finds_the_entry_point() -> None:
    assert "\nENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py\n" in dockerfile()
    assert "\nWORKDIR /template\n" in dockerfile()


def test_what_the_build_tries_works() -> None:
    found = re.search(r'^RUN python -c "(.+)"$', dockerfile(), re.MULTILINE)
    assert found
    compile(found[1], "Dockerfile", "exec")


# README.md


def readme() -> str:
    return (FOLDER / "README.md").read_text("utf-8")


def shell() -> list[list[str]]:
    """Return the commands of the page, their variables filled in."""
    lines = re.findall(r"^    (.*)$", readme().replace("\\\n", ""), re.MULTILINE)
    names = {**NAMES, "IMAGE": IMAGE}
    filled = [re.sub(r"\$(\w+)", lambda found: names[found[1]], line) for line in lines]
    return [shlex.split(line) for line in filled]


def test_the_page_sets_the_variables_that_its_commands_use() -> None:
    assert dict(word.split("=", 1) for word in shell()[0][1:]) == NAMES
    assert shell()[1] == ["export", f"IMAGE={IMAGE}"]


def test_every_run_of_the_page_is_one_that_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [words for words in shell() if words[:2] == ["featurekit", "run"]]
    assert len(runs) == 2
    for name in ("setup.py", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "requirements.txt").write_text(
        f"tensorflow-transform=={pinned('tensorflow-transform')}\n", "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    for words in runs:
        split = words.index("--")
        given = parser().parse_args(words[1:split])
        made = parse_options(words[split + 1 :], out=given.out)
        assert (given.engine, made.runner) == ("beam", "DataflowRunner")


FLEX_TEMPLATE = {
    "build": {"image", "sdk-language", "metadata-file", "project"},
    "run": {
        "template-file-gcs-location", "project", "region", "staging-location", "temp-location",
        "max-workers", "num-workers", "worker-machine-type", "parameters", "network", "subnetwork",
        "service-account-email",
    },
}  # fmt: skip
"""Options that `gcloud dataflow flex-template` has, as far as the page may use them."""


@pytest.mark.parametrize("step", FLEX_TEMPLATE)
def test_the_template_is_built_and_run_with_options_that_gcloud_has(step: str) -> None:
    start = ["gcloud", "dataflow", "flex-template", step]
    (words,) = (words for words in shell() if words[:4] == start)
    options = [word.partition("=")[0].removeprefix("--") for word in words[5:]]
    assert set(options) <= FLEX_TEMPLATE[step]


def test_the_template_is_run_with_parameters_that_it_takes(template: ModuleType) -> None:
    start = ["gcloud", "dataflow", "flex-template", "run"]
    (words,) = (words for words in shell() if words[:4] == start)
    given = dict(
        word.removeprefix("--parameters=").split("=", 1)
        for word in words
        if word.startswith("--parameters=")
    )
    assert all(takes(name, value) for name, value in given.items())
    required = {name for name, each in parameters().items() if not each.get("isOptional")}
    assert required <= given.keys() <= parameters().keys()
    template.read([*LAUNCHED, *(f"--{name}={value}" for name, value in given.items())])


def test_the_page_names_files_that_there_are() -> None:
    words = [word.rpartition("=")[2] for command in shell() for word in command]
    files = [word for word in words if word.startswith("examples/")]
    links = re.findall(r"\]\((.+?)\)", readme())
    assert files
    assert links
    assert all((ROOT / file).is_file() for file in files)
    assert all((FOLDER / link).is_file() for link in links)
