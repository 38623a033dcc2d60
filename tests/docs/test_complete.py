"""What a user can say or call stands in the documentation."""

from __future__ import annotations

import argparse
import inspect
import re
from dataclasses import fields

import pytest

import featurekit as fk
from featurekit import errors
from featurekit.cli import parser
from featurekit.run import Run
from featurekit.spec import objects
from featurekit.training import ExampleSet
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.types import Kind
from tests.docs.pages import ROOT


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def documented(name: str, text: str) -> bool:
    """Whether a name stands in code of a page: in backticks, or after a dot."""
    return re.search(rf"[`.]{re.escape(name)}\b", text) is not None


def test_every_command_and_option_is_documented() -> None:
    text = page("command_line.md")
    (commands,) = [a.choices for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, command in commands.items():
        section = re.search(rf"^## featurekit {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None, f"featurekit {name}"
        for action in command._actions:
            for option in set(action.option_strings) - {"-h", "--help"} or {action.metavar or action.dest}:
                if option and option != "help":
                    assert f"`{option}" in section[1], f"featurekit {name} {option}"


def test_every_exit_code_is_documented() -> None:
    text = page("command_line.md")
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.FeatureKitError)]
    for code in {kind.exit_code for kind in kinds} | {0, 130}:
        assert f"| {code} |" in text


@pytest.mark.parametrize("kind", [objects.Spec, objects.Source, objects.Column, objects.Examples, objects.Split,
                                  objects.Aggregation, objects.Feature])  # fmt: skip
def test_every_setting_of_a_spec_is_documented(kind: type) -> None:
    text = page("spec.md")
    for entry in fields(kind):
        if entry.compare:
            assert f"`{entry.name}`" in text, f"{kind.__name__}.{entry.name}"


def test_every_type_and_reserved_name_is_documented() -> None:
    text = page("spec.md")
    for kind in Kind:
        assert f"`{kind.value}`" in text


def test_every_public_name_is_documented() -> None:
    text = page("python.md")
    for name in set(fk.__all__) - set(operations()) - set(aggregations()):
        assert documented(name, text), name


def test_what_runs_and_examples_offer_is_documented() -> None:
    text = page("python.md")
    for kind in (Run, ExampleSet):
        members = {entry.name for entry in fields(kind)} | set(vars(kind))
        for name in members:
            if not name.startswith("_"):
                assert documented(name, text), f"{kind.__name__}.{name}"
