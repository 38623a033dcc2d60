"""What follows `--` in `featurekit run SPEC --engine beam -- ARGUMENTS`: checked, then Beam's.

Beam passes over options that it does not know, and over those that its runner does not read; what
workers on other machines lack shows when they start, minutes later and paid for. Here all of this
is an error before anything runs. Beam is imported by the functions, never by the module.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from featurekit.errors import UsageError, closest, require

__all__ = ["LOCAL_RUNNER", "RUNNERS", "BeamOptions", "parse_options"]

LOCAL_RUNNER = "FnApiRunner"
DATAFLOW = "DataflowRunner"
REMOTE_RUNNERS = (DATAFLOW, "FlinkRunner", "SparkRunner", "PortableRunner")
RUNNERS = (LOCAL_RUNNER, "PrismRunner", *REMOTE_RUNNERS)
"""The runners that a run can have, by the names that Beam gives them."""

_SAME_AS_LOCAL = ("directrunner", "bundlebaseddirectrunner", "switchingdirectrunner")
"""Beam's DirectRunner looks for Prism first, and downloads it; what it falls back on is this."""

_BEAM_DOCUMENTATION = "https://beam.apache.org/documentation/#runners"
_REQUIREMENTS = "--requirements_file=FILE that names tensorflow-transform"
_SETUP_FILES = ("setup.py", "pyproject.toml")

_BATCH = ("a run is a batch job", "leave it out")
_PUBLISHED = "a run is checked and published when its job is done"
_REFUSED = {
    "streaming": _BATCH,
    "update": _BATCH,
    "transform_name_mapping": _BATCH,
    "create_from_snapshot": _BATCH,
    "no_wait_until_finish": (_PUBLISHED, "leave it out"),
    "output_executable_path": (f"it makes a program and runs no job; {_PUBLISHED}", "leave it out"),
    "template_location": (
        f"it makes a template and runs no job; {_PUBLISHED}",
        "use a flex template such as that of examples/dataflow",
    ),
    "on_success_matcher": ("it is for the tests of Beam itself", "leave it out"),
}
"""Options that a run cannot have on any runner: why, and what to do."""

_READ_BY = {
    re.compile(r"direct_.*"): (LOCAL_RUNNER,),
    re.compile(r"prism_.*"): ("PrismRunner",),
    # A job server that stands elsewhere is told what its cluster needs, too.
    re.compile(r"flink_.*|parallelism|max_parallelism"): ("FlinkRunner", "PortableRunner"),
    re.compile(r"spark_.*"): ("SparkRunner", "PortableRunner"),
    re.compile(r"job_endpoint|artifact_endpoint|environment_.*|sdk_worker_parallelism"): (
        "PortableRunner", "FlinkRunner", "SparkRunner", "PrismRunner",
    ),
    re.compile(
        r"region|staging_location|num_workers|max_num_workers|autoscaling_algorithm|machine_type"
        r"|disk_.*|worker_.*|zone|network|subnetwork|sdk_container_image|min_cpu_platform|dry_run"
        r"|dataflow_.*|flexrs_goal|service_account_email|use_public_ips"
    ): (DATAFLOW,),
}  # fmt: skip
"""Which runners read an option; one that is not here is read by all, or does no harm."""

_LEAST = {
    "direct_num_workers": 0,
    "num_workers": 1,
    "max_num_workers": 1,
    "disk_size_gb": 0,
    "number_of_worker_harness_threads": 1,
    "max_cache_memory_usage_mb": 0,
}

_FORMS = {
    "project": (r"[a-z][-a-z0-9:.]+[a-z0-9]", "the id of a project, and not its number or title"),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region such as europe-west1, and not a zone"),
    "job_name": (
        r"[a-z]([-a-z0-9]*[a-z0-9])?",
        "lower case letters, digits and dashes, a letter first and no dash last",
    ),
    "machine_type": (r"(\S+/)?[a-z][a-z0-9]*(-[a-z0-9]+)+", "a machine type such as n2-standard-4"),
    "sdk_container_image": (r"\S+", "the name of an image"),
}
"""What Dataflow takes: a pattern, and words for it."""

_URI = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://.+", re.IGNORECASE)
_BUCKET = r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]"
_NUMBER = re.compile(r"-\d+(\.\d*)?")

_SECRET = re.compile(
    r"secret|token|password|credential|access_key|connection_string|gbek|env_var|jvm_properties"
)
_HIDDEN = "***"
_NOT_JSON = "the value is not JSON of the form that Beam wants"
_SECRET_PART = re.compile(
    r"(?<=://)[^/@\s]+(?=@)|(?<=\?)\S+|^\{.*|(?<=^process_variables=).*", re.DOTALL
)
"""Within a value: a user's password or a signature in an address, variables for workers."""


@dataclass(frozen=True)
class BeamOptions:
    """Options of Beam that fit a run and each other; `parse_options` makes and checks them.

    Args:
        arguments: What was given, word by word. It may hold secrets, so it is never printed.
        runner: The runner, one of `RUNNERS`; `beam.Pipeline(runner=...)` takes it as it is.
        temp_location: Where Beam keeps temporary files, if that was said.
        dry_run: Whether Dataflow's job is built and not sent.
        sees_local_files: Whether the workers see the files of this machine: they run here.
        given: The options that differ from Beam's own defaults, by Beam's names.

    Example:
        >>> BeamOptions().runner, BeamOptions().remote
        ('FnApiRunner', False)
    """

    arguments: tuple[str, ...] = field(default=(), repr=False)
    runner: str = LOCAL_RUNNER
    temp_location: str | None = None
    dry_run: bool = False
    sees_local_files: bool = True
    given: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def remote(self) -> bool:
        """Whether the runner is made for workers on other machines."""
        return self.runner in REMOTE_RUNNERS

    def pipeline_options(self) -> Any:
        """Return new `PipelineOptions` for `beam.Pipeline(runner=..., options=...)`.

        Defaults are Beam's own. On Dataflow the temporary and the staging location stand for each
        other, which Beam arranges only when the pipeline is made.

        Raises:
            MissingExtra: Beam is not installed.
        """
        require("apache_beam", "beam", "running on Beam")
        from apache_beam.options import pipeline_options as beam

        options = beam.PipelineOptions(list(self.arguments))
        options.view_as(beam.StandardOptions).runner = self.runner
        options.view_as(beam.TestOptions).dry_run = self.dry_run
        setup = options.view_as(beam.SetupOptions)
        if setup.setup_file is not None:
            # Beam goes to the folder that the name says, and a bare `setup.py` says none.
            setup.setup_file = str(Path(setup.setup_file).absolute())
        if self.runner == DATAFLOW:
            cloud = options.view_as(beam.GoogleCloudOptions)
            cloud.temp_location = cloud.temp_location or cloud.staging_location
            cloud.staging_location = cloud.staging_location or cloud.temp_location
        return options

    def settings(self) -> dict[str, Any]:
        """Return the runner and its options for a manifest: plain data, secrets hidden.

        Example:
            >>> BeamOptions(given={"s3_session_token": "t", "num_workers": 2}).settings()
            {'runner': 'FnApiRunner', 'options': {'num_workers': 2, 's3_session_token': '***'}}
        """
        shown = {name: _shown(name, value) for name, value in sorted(self.given.items())}
        return {"runner": self.runner, "options": shown}


def parse_options(
    arguments: Sequence[str], *, out: str, inputs: Sequence[str] = (), cache: str | None = None
) -> BeamOptions:
    """Read and check options for Beam; nothing is sent, and no file is read but setup files.

    Args:
        arguments: The options, as on a command line.
        out: The folder that the run writes.
        inputs: The files that workers read, paths or URIs.
        cache: The folder of the cache, if there is one.

    Returns:
        The options.

    Raises:
        UsageError: They cannot be; all problems together, numbered where there are several.
        MissingExtra: Beam is not installed.
    """
    require("apache_beam", "beam", "running on Beam")
    read = _read(arguments)
    values, problems = read.values, [*read.problems]
    runner = _runner(values.runner)
    if runner is None:
        hint = f"the runners are {', '.join(RUNNERS)}"
        problems.append(_problem("--runner", f"a run has no runner {values.runner!r}", hint))
        raise _error(problems)
    dry_run = _truth(values.dry_run)
    if dry_run is None:
        problems.append(_problem("--dry_run", f"true or false; got {values.dry_run!r}"))
    given = read.given() | ({"dry_run": True} if dry_run else {})
    made = BeamOptions(
        tuple(read.arguments), runner, values.temp_location or values.staging_location,
        bool(dry_run), _sees_local_files(runner, values), given,
    )  # fmt: skip
    problems += _options_of_any(read, made)
    places = {"--out": out} | ({"--cache": cache} if cache is not None else {})
    source = next((path for path in inputs if not _URI.fullmatch(path)), None)
    if runner == DATAFLOW:
        problems += _dataflow(read, places, source)
    elif runner in REMOTE_RUNNERS:
        problems += _cluster(read, made, places, source)
    problems = problems or [_problem("Beam", text) for text in _refused_by_beam(made)]
    if problems:
        raise _error(problems)
    return made


@dataclass(frozen=True)
class _Read:
    """Options as Beam's own parser reads them.

    Args:
        arguments: The words that it could read.
        values: Every option that it knows.
        defaults: What each of them is if it is not given.
        said: How an option that was given, well or badly, is called on the command line.
        problems: What it could not read.
    """

    arguments: list[str]
    values: argparse.Namespace
    defaults: Mapping[str, Any]
    said: Mapping[str, str]
    problems: list[UsageError]

    def given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, without those read apart."""
        unequal = {k: v for k, v in vars(self.values).items() if v != self.defaults[k]}
        return {k: v for k, v in unequal.items() if k not in ("runner", "dry_run")}

    def name(self, option: str) -> str:
        """Return what to call an option in a message."""
        return self.said.get(option, f"--{option}")


def _read(arguments: Sequence[str]) -> _Read:
    parser = _parser()
    options = parser._option_string_actions  # noqa: SLF001  (argparse offers no other way)
    names = [name for name in options if name.startswith("--") and name != "--help"]
    values = parser.parse_known_args([])[0]
    defaults = {name: parser.get_default(name) for name in vars(values)}
    good: list[str] = []
    said: dict[str, str] = {}
    problems = []
    # One option at a time: argparse stops at the first that it cannot read.
    for place, words in _options(arguments):
        name = words[0].partition("=")[0]
        if name in ("-h", "--help"):
            hint = f"they are described at {_BEAM_DOCUMENTATION}"
            problems.append(_problem(name, "Beam's options are not listed here", hint))
        elif name not in options:
            problems.append(_unknown(name, place, names))
            # What it was meant to be is not missing as well.
            said.update({options[n].dest: n for n in get_close_matches(name, names, 1)})
        else:
            said[options[name].dest] = name
            try:
                _, rest = parser.parse_known_args(words, values)
            except (argparse.ArgumentError, ValueError, TypeError, AttributeError) as error:
                # Some of Beam's actions raise what they come upon.
                why = error.message if isinstance(error, argparse.ArgumentError) else _NOT_JSON
                problems.append(_bad_value(name, options[name], why))
                continue
            good += words
            if rest:
                problems.append(_stray(place + words.index(rest[0])))
    return _Read(good, values, defaults, said, problems)


def _parser() -> argparse.ArgumentParser:
    """Return a parser of all options that Beam knows, which raises where Beam's own would exit."""
    from apache_beam.options.pipeline_options import PipelineOptions

    made: list[argparse.ArgumentParser] = []
    # The one public way to the parser: Beam lets runners add options of their own to it.
    PipelineOptions([]).get_all_options(add_extra_args_fn=made.append)
    made[0].exit_on_error = False
    return made[0]


def _options(arguments: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Put each option together with the words that follow it, and say where it stands."""
    groups: list[tuple[int, list[str]]] = []
    for place, word in enumerate(arguments, 1):
        if not groups or (word.startswith("-") and not _NUMBER.fullmatch(word)):
            groups.append((place, []))
        groups[-1][1].append(word)
    return groups


def _unknown(name: str, place: int, names: Sequence[str]) -> UsageError:
    if name.startswith("--") and name != "--":
        near = get_close_matches(name, names, 1) and closest(name, names)
        return _problem(name, "Beam has no such option", near or f"see {_BEAM_DOCUMENTATION}")
    near = get_close_matches(f"--{name.lstrip('-')}", names, 1, 0.9)
    return _problem(f"argument {place}", f"did you mean {near[0]}?") if near else _stray(place)


def _stray(place: int) -> UsageError:
    # The word is not shown: it may be a secret that came apart from its option.
    return _problem(f"argument {place}", "it belongs to no option", "write --option=value")


def _bad_value(name: str, action: argparse.Action, why: str) -> UsageError:
    if action.nargs == 0:
        return _problem(name, "it takes no value", f"{name} alone switches it on")
    if why.startswith(("invalid <lambda>", "invalid loads")):
        why = _NOT_JSON
    return _problem(name, "the value cannot be read" if _SECRET.search(action.dest) else why)


def _runner(name: str | None) -> str | None:
    """Return Beam's name of a runner, which may be given in any case, short, or with its module."""
    if name is None:
        return LOCAL_RUNNER
    plain = name.rpartition(".")[2] if name.startswith("apache_beam.runners.") else name
    known = {each.lower(): each for each in RUNNERS} | dict.fromkeys(_SAME_AS_LOCAL, LOCAL_RUNNER)
    return known.get(plain.lower()) or known.get(f"{plain.lower()}runner")


def _truth(text: Any) -> bool | None:
    """Read true or false: to Beam every text is true, "False" too."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(text).lower())


def _sees_local_files(runner: str, values: argparse.Namespace) -> bool:
    if runner not in REMOTE_RUNNERS or runner == DATAFLOW:
        return runner != DATAFLOW
    kind = values.environment_type
    if kind is None:
        # From a cluster that it starts on this machine, Beam calls back into this process.
        return (runner == "FlinkRunner" and values.flink_master in ("[local]", "[auto]")) or (
            runner == "SparkRunner" and bool(re.match(r"local(\[|$)", values.spark_master_url))
        )
    here = re.match(r"(localhost|127\.0\.0\.1|\[::1\]):|embed$", values.job_endpoint or "")
    # A container does not see the files around it, even on this machine.
    return kind == "LOOPBACK" or (here is not None and kind in ("PROCESS", "EXTERNAL"))


def _options_of_any(read: _Read, made: BeamOptions) -> Iterator[UsageError]:
    """Check what holds for every runner."""
    for name, value in made.given.items():
        if name in _REFUSED:
            yield _problem(read.name(name), *_REFUSED[name])
        elif name in _LEAST and value < _LEAST[name]:
            yield _problem(read.name(name), f"at least {_LEAST[name]}; got {value}")
        for pattern, runners in _READ_BY.items():
            if pattern.fullmatch(name) and made.runner not in runners:
                said = f"only {' or '.join(runners)} reads it, and the runner is {made.runner}"
                yield _problem(read.name(name), said, f"--runner={runners[0]}, or leave it out")
    values = read.values
    workers = values.direct_num_workers
    if values.direct_running_mode == "in_memory" and workers != 1 and workers >= 0:
        hint = "--direct_running_mode=multi_processing"
        yield _problem(read.name("direct_num_workers"), "in_memory has one worker", hint)
    setup = values.setup_file
    if setup is not None and Path(setup).name not in _SETUP_FILES:
        said = f"Beam takes {' or '.join(_SETUP_FILES)}; got {setup!r}"
        yield _problem("--setup_file", said, "--setup_file=./setup.py")
    for option in ("setup_file", "requirements_file", "extra_packages", "files_to_stage"):
        value = getattr(values, option)
        for path in [value] if isinstance(value, str) else value or ():
            fetched = option == "extra_packages" and _URI.fullmatch(path)
            if not fetched and not Path(path).is_file():
                yield _problem(read.name(option), f"there is no file {path!r}")


def _dataflow(read: _Read, places: Mapping[str, str], source: str | None) -> Iterator[UsageError]:
    """Check what Dataflow needs, and the service would say late or not at all."""
    values = read.values
    for name, example in {"project": "my-project", "region": "europe-west1"}.items():
        if name not in read.said:
            yield _problem(f"--{name}", "Dataflow needs it", f"--{name}={example}")
    for name, (form, what) in _FORMS.items():
        value = getattr(values, name)
        if value is not None and not re.fullmatch(form, value):
            yield _problem(read.name(name), f"{what}; got {value!r}")
    if not read.said.keys() & {"temp_location", "staging_location"}:
        said = "Dataflow needs a folder for temporary files"
        yield _problem("--temp_location", said, "--temp_location=gs://my-bucket/tmp")
    for name in ("temp_location", "staging_location"):
        value = getattr(values, name)
        # Beam wants the slash after a bucket, too.
        if value is not None and not re.fullmatch(f"{_BUCKET}/.*", value):
            said = f"a folder in a bucket, such as gs://my-bucket/tmp; got {value!r}"
            yield _problem(f"--{name}", said)
    for where, path in places.items():
        if not re.fullmatch(f"{_BUCKET}/[^/].*", path):
            said = f"Dataflow needs a folder in a bucket, such as gs://my-bucket/runs; got {path!r}"
            yield _problem(where, said)
    if source is not None:
        said = f"Dataflow's workers do not see the files of this machine, such as {source!r}"
        yield _problem("sources", said, "copy them to a bucket, and write gs:// in the spec")
    image = values.sdk_container_image or values.worker_harness_container_image
    yield from _worker_code(read, image, "--sdk_container_image=IMAGE")


def _cluster(
    read: _Read, made: BeamOptions, places: Mapping[str, str], source: str | None
) -> Iterator[UsageError]:
    """Check a runner that hands the job to a cluster."""
    values, runner = read.values, made.runner
    kind = values.environment_type
    known = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")
    if kind is not None and kind not in known and not kind.startswith("beam:env:"):
        yield _problem("--environment_type", f"one of {', '.join(known)}; got {kind!r}")
    if runner == "PortableRunner" and "job_endpoint" not in read.said:
        hint = "--job_endpoint=localhost:8099"
        yield _problem("--job_endpoint", "PortableRunner needs the address of a job server", hint)
    if made.sees_local_files:
        return
    hint = "an address that they reach, such as gs:// or s3://, or --environment_type=LOOPBACK"
    seen = {**places, "sources": source, "--temp_location": values.temp_location}
    for where, path in seen.items():
        if path is not None and not _URI.fullmatch(path):
            said = f"workers of {runner} do not see the files of this machine, such as {path!r}"
            yield _problem(where, said, hint)
    if kind in (None, "DOCKER"):
        settings = values.environment_options or ()
        image = values.environment_config or any("_image=" in setting for setting in settings)
        yield from _worker_code(read, image, "--environment_config=IMAGE")


def _worker_code(read: _Read, image: Any, wanted: str) -> Iterator[UsageError]:
    """Check that workers have FeatureKit, and what it needs there."""
    values = read.values
    shipped = [*([values.setup_file] if values.setup_file else []), *(values.extra_packages or ())]
    if image:
        return
    if not shipped:
        said = "workers would not have FeatureKit"
        hint = f"{wanted}; or --setup_file=./setup.py and {_REQUIREMENTS}"
        yield _problem(wanted.partition("=")[0], said, hint)
    elif values.requirements_file is None and all(map(_is_featurekit, shipped)):
        # What is shipped is installed without extras, and Beam's own image has none of them.
        name = read.name("setup_file" if values.setup_file else "extra_packages")
        said = "workers would have FeatureKit, but not tensorflow-transform, which is an extra"
        yield _problem(name, said, f"{_REQUIREMENTS}; or {wanted}")


def _is_featurekit(shipped: str) -> bool:
    """Say whether a setup file or package is FeatureKit itself, and not a project that needs it."""
    path = Path(shipped)
    if path.name not in _SETUP_FILES:
        return path.name.startswith("featurekit-")
    try:
        project = tomllib.loads(path.with_name("pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(project.get("project", {}).get("name") == "featurekit")


def _refused_by_beam(made: BeamOptions) -> Iterator[str]:
    """Yield what Beam would refuse when the pipeline is made, as far as it asks no service."""
    from apache_beam.options import pipeline_options as beam
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
    from apache_beam.runners import create_runner

    options = made.pipeline_options()
    validator = PipelineOptionsValidator(options, create_runner(made.runner))
    # Those of Google Cloud ask for buckets and regions; they are checked above.
    for kind in (
        beam.DebugOptions, beam.PortableOptions, beam.ProfilingOptions, beam.SetupOptions,
        beam.TypeOptions, beam.WorkerOptions,
    ):  # fmt: skip
        yield from options.view_as(kind).validate(validator)


def _shown(name: str, value: Any) -> Any:
    """Return an option's value as plain data without secrets."""
    if _SECRET.search(name):
        return _HIDDEN
    if isinstance(value, Mapping):
        return {str(key): _shown(str(key), each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(name, each) for each in value]
    if isinstance(value, str):
        return _SECRET_PART.sub(_HIDDEN, value)
    return value if isinstance(value, (bool, int, float)) or value is None else str(value)


def _problem(where: str, message: str, hint: str = "") -> UsageError:
    return UsageError(message, where=where, hint=hint)


def _error(problems: Sequence[UsageError]) -> UsageError:
    """Return all problems as one error."""
    if len(problems) == 1:
        return problems[0]
    # Numbered, because the command line prints an error as one line.
    lines = [f"{number}. {each}" for number, each in enumerate(problems, 1)]
    return UsageError("\n".join([f"{len(problems)} problems", *lines]), where="options for Beam")
