"""What is not installed: hints that install it wherever FeatureKit is from, and plans that know."""

from __future__ import annotations

import importlib.util
import re
import shlex
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from featurekit.cli import main
from featurekit.errors import MissingExtra, install_hint, require
from featurekit.job import plan

ROOT = Path(__file__).parents[2]
SPEC = str(ROOT / "examples/no_time/wine.yaml")
NEEDED = sorted(
    {
        found
        for folder in ("featurekit", "analysis", "transforms")
        for path in (ROOT / folder).rglob("*.py")
        for found in re.findall(r'require\("([\w.]+)", "(\w+)"', path.read_text("utf-8"))
    }
)
"""Every module that some part of the library asks for, with the extra that brings it."""


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let modules look as if they were not installed."""
    find = importlib.util.find_spec

    def found(name: str, *more: Any) -> Any:
        return None if name in modules else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.setattr("featurekit.explain.find_spec", found)


def test_modules_are_asked_for_by_extras() -> None:
    assert {"tensorflow", "beam", "bigquery", "analysis"} <= {extra for _, extra in NEEDED}


@pytest.mark.parametrize(("module", "extra"), NEEDED)
def test_a_hint_names_packages_that_an_index_has_and_that_bring_the_module(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, module)
    with pytest.raises(MissingExtra) as raised:
        require(module, extra, "this")
    pip, install, *packages = shlex.split(raised.value.hint)
    assert (pip, install) == ("pip", "install")
    wanted = [Requirement(package) for package in packages]
    assert wanted
    for one in wanted:
        # What is installed here came from an index by that name and fits.
        assert one.name != "featurekit"
        assert one.specifier.contains(version(one.name), prereleases=True)
    brought = {name.lower() for one in wanted for name in (one.name, *_needs(one.name))}
    homes = packages_distributions()[module.partition(".")[0]]
    assert brought & {home.lower() for home in homes}


def _needs(name: str) -> set[str]:
    """Return the distributions that one needs, directly."""
    from importlib.metadata import requires

    return {Requirement(text).name for text in requires(name) or ()}


def test_an_extra_that_is_not_declared_is_installed_from_the_checkout() -> None:
    assert install_hint("other") == "pip install '.[other]' in the checkout of FeatureKit"


def test_without_tensorflow_a_plan_has_no_savedmodel_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", SPEC]) == 0
    assert "engine local, with a SavedModel\n" in capsys.readouterr().out
    without(monkeypatch, "tensorflow")
    assert not plan(SPEC).saved_model
    assert main(["plan", SPEC]) == 0
    said = capsys.readouterr().out
    assert "engine local, without a SavedModel (TensorFlow is not installed)\n" in said
    # Who asks for one by name gets the plan of a machine that has it.
    assert plan(SPEC, saved_model=True).saved_model
