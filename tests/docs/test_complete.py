"""What a user can say or call stands in the documentation."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

import pytest

import featurekit as fk
from featurekit import errors
from featurekit.cli import INTERRUPTED, parser
from featurekit.runs import Run
from featurekit.spec.settings import RESERVED
from featurekit.training import ExampleSet
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.types import Kind
from tests.docs.pages import ROOT

SECTION = re.MULTILINE | re.DOTALL


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def documented(name: str, text: str) -> bool:
    """Whether a name stands in code of a page: in backticks, or after a dot."""
    return re.search(rf"[`.]{re.escape(name)}\b", text) is not None


def test_every_command_and_option_is_documented() -> None:
    text = page("command_line.md")
    sections = dict(re.findall(r"^## featurekit (\w+)\n(.*?)(?=^## )", text, SECTION))
    actions = parser()._actions
    (commands,) = [each.choices for each in actions if isinstance(each, argparse._SubParsersAction)]
    assert list(sections) == list(commands)
    for name, command in commands.items():
        for action in command._actions:
            for said in action.option_strings or [action.metavar or action.dest]:
                if said not in ("-h", "--help"):
                    assert f"`{said}" in sections[name], f"featurekit {name} {said}"


def test_every_exit_code_is_documented() -> None:
    raised = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    for code in {0, INTERRUPTED, *(kind.exit_code for kind in raised)}:
        assert f"| {code} |" in page("command_line.md")


@pytest.mark.parametrize(
    "kind",
    [fk.Spec, fk.Source, fk.Column, fk.Examples, fk.Split, fk.Aggregation, fk.Lookup, fk.Feature],
)
def test_every_setting_of_a_spec_is_documented(kind: type) -> None:
    text = page("spec.md")
    for entry in fields(kind):
        if entry.compare:
            assert f"`{entry.name}`" in text, f"{kind.__name__}.{entry.name}"


def test_every_type_and_reserved_name_is_documented() -> None:
    text = page("spec.md")
    for name in RESERVED:
        assert f"`{name}`" in text
    for kind in Kind:
        assert f"`{kind.value}`" in text


def test_every_public_name_is_documented() -> None:
    text = page("python.md")
    for name in set(dir(fk)) - set(operations()) - set(aggregations()):
        assert documented(name, text), name


def test_what_runs_and_examples_offer_is_documented() -> None:
    text = page("python.md")
    for kind in (Run, ExampleSet):
        members = {entry.name for entry in fields(kind)} | set(vars(kind))
        for name in members:
            if not name.startswith("_"):
                assert documented(name, text), f"{kind.__name__}.{name}"
