"""The distributions hold the library, all of it and nothing else, and run on their own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from featurekit._version import __version__

ROOT = Path(__file__).resolve().parents[2]
NAME = f"featurekit-{__version__}"

SPEC = """
name: tiny
sources:
  rides: {path: rides.csv}
examples: {source: rides, label: fare > 10}
features:
  distance_z: zscore(log1p(distance))
  city_id: vocabulary(city)
"""


def modules(folder: str) -> set[str]:
    """Return the Python files of one of the three folders, links not followed."""
    links = (ROOT / "featurekit/transforms", ROOT / "featurekit/analysis")
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*.py")
        if not any(path.is_relative_to(link) for link in links)
    }


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist, out of a copy of the checkout."""
    copy, out = tmp_path_factory.mktemp("checkout") / "copy", tmp_path_factory.mktemp("dist")
    unwanted = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "site", "runs"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=unwanted)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy))
    return out


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel and what it requires, no extra, into a folder of its own."""
    target = tmp_path_factory.mktemp("target")
    wheel = str(distributions / f"{NAME}-py3-none-any.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", str(target), wheel)
    (found,) = importlib.metadata.distributions(name="featurekit", path=[str(target)])
    pending, linked = requirements(found), set[str]()
    while pending:
        name = pending.pop()
        if name not in linked:
            linked.add(name)
            distribution = importlib.metadata.distribution(name)
            pending |= requirements(distribution)
            link(distribution, target)
    return target


def requirements(distribution: importlib.metadata.Distribution) -> set[str]:
    """Return what a distribution requires on this machine, no extra."""
    parsed = map(Requirement, distribution.requires or ())
    return {
        canonicalize_name(each.name)
        for each in parsed
        if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def link(distribution: importlib.metadata.Distribution, target: Path) -> None:
    """Make what a distribution installed importable from another folder."""
    for entry in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        (target / entry).symlink_to(Path(str(distribution.locate_file(entry))))


def run(*command: str, cwd: Path | None = None, only: Path | None = None) -> str:
    """Run a command and return what it prints; `only` is all that it can import."""
    environment = dict(os.environ) if only is None else {"PYTHONPATH": str(only)}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_three_folders_once_and_nothing_else(distributions: Path) -> None:
    with zipfile.ZipFile(distributions / f"{NAME}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    inside = [name for name in names if not name.startswith(f"{NAME}.dist-info/")]
    mapped = {f"featurekit/{name}" for name in modules("transforms") | modules("analysis")}
    assert sorted(inside) == sorted(
        modules("featurekit") | mapped | {"featurekit/py.typed", "featurekit/functions.pyi"}
    )
    assert f"{NAME}.dist-info/licenses/LICENSE" in names


def test_the_sdist_holds_what_a_build_needs_and_no_tests(distributions: Path) -> None:
    with tarfile.open(distributions / f"{NAME}.tar.gz") as sdist:
        assert not [member.name for member in sdist if not (member.isfile() or member.isdir())]
        names = [member.name.removeprefix(f"{NAME}/") for member in sdist if member.isfile()]
    metadata = {"PKG-INFO", "setup.cfg"}
    inside = [n for n in names if n not in metadata and not n.startswith("featurekit.egg-info/")]
    build = {
        "setup.py",
        "pyproject.toml",
        "MANIFEST.in",
        "featurekit/py.typed",
        "featurekit/functions.pyi",
    }
    about = {"LICENSE", "README.md", "CHANGELOG.md"}
    code = modules("featurekit") | modules("transforms") | modules("analysis")
    assert sorted(inside) == sorted(code | build | about)


def test_the_installed_command_runs_on_the_core_dependencies_alone(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    rows = [f"{city},{i},{i * 2.5}" for i, city in enumerate("abcab" * 4)]
    (tmp_path / "rides.csv").write_text("\n".join(["city,distance,fare", *rows]) + "\n")
    featurekit = (sys.executable, "-S", str(installed / "bin" / "featurekit"))

    assert __version__ in run(*featurekit, "--version", cwd=tmp_path, only=installed)
    run(*featurekit, "run", "tiny.yaml", "--out", "out", cwd=tmp_path, only=installed)

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["name"] == "tiny"


def test_the_installed_package_is_the_one_that_is_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import featurekit.transforms.row.log1p as log1p, featurekit.analysis as analysis\n"
        "print(log1p.__file__, analysis.__file__, sep='\\n')"
    )
    found = run(sys.executable, "-S", "-c", code, cwd=tmp_path, only=installed).split()
    assert found == [
        str(installed / "featurekit" / "transforms" / "row" / "log1p.py"),
        str(installed / "featurekit" / "analysis" / "__init__.py"),
    ]


def test_every_requirement_is_pinned_in_the_lock_at_a_version_that_fits() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for requirement in map(Requirement, chain(project["dependencies"], *extras)):
        name = canonicalize_name(requirement.name)
        if name != "featurekit":
            assert requirement.specifier.contains(pins[name]), requirement


def test_the_lock_names_packages_and_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(
        re.fullmatch(r'#.*|[a-z0-9-]+==[A-Za-z0-9.]+(; python_version != "3.\d+")*', line)
        for line in lines
    )
