"""The public names of the library, and every operation as a function."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import featurekit as fk
from featurekit import functions
from featurekit.errors import SpecError
from featurekit.spec.expression import FILTER, parse
from featurekit.spec.signatures import callables, stub
from featurekit.transforms.base import AggregateOperation
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.transforms.synonyms import SYNONYMS

PACKAGE = Path(str(fk.__file__)).parent


def test_a_call_in_python_is_the_text_of_the_spec() -> None:
    assert fk.zscore(fk.log1p("distance")) == parse("zscore(log1p(distance))")
    assert fk.cross("origin", "dest", buckets=10) == parse("cross(origin, dest, buckets=10)")
    assert fk.clip("x + 1", 0, high=2) == parse("clip(x + 1, low=0, high=2)")
    assert fk.equal("origin", fk.literal("JFK")) == parse("origin == 'JFK'")


@pytest.mark.parametrize("name", callables())
def test_every_operation_is_a_documented_function_of_the_library(name: str) -> None:
    function = getattr(fk, name)
    operation = callables()[name]
    assert function.__name__ == name
    assert function.__doc__ == inspect.getdoc(operation)
    parameters = inspect.signature(function).parameters
    inputs = [entry.name for entry in operation.inputs]
    known = [*inputs, *(entry.name for entry in fields(operation))]
    known += [FILTER] * issubclass(operation, AggregateOperation)
    assert list(parameters) == known
    assert getattr(fk, name) is function


def test_a_wrong_call_is_an_error_of_the_spec() -> None:
    with pytest.raises(SpecError, match="cross needs its parameter 'buckets'"):
        fk.cross("a", "b")  # type: ignore[call-arg]
    with pytest.raises(SpecError, match="there is no operation 'zscor'"):
        fk.log1p("zscor(x)")


def test_row_operations_full_passes_and_aggregations_share_no_name() -> None:
    assert not operations().keys() & aggregations().keys()
    assert callables().keys() == operations().keys() | aggregations().keys()


def test_no_operation_is_named_like_another_public_name_or_a_module() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()}
    public = set(fk.__all__) - callables().keys()
    assert not callables().keys() & (public | modules)


def test_all_public_names_are_there() -> None:
    assert set(fk.__all__) == set(dir(fk))
    for name in fk.__all__:
        assert getattr(fk, name) is not None


def test_type_checkers_see_the_same_public_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    imported = {
        (f"{node.module}", alias.asname)
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        for alias in node.names if alias.asname
    }  # fmt: skip
    homes = {(home, name) for name, home in fk._HOMES.items()}
    modules = {("featurekit", name) for name in fk._MODULES}
    assert imported == homes | modules | {("featurekit._version", "__version__")}


def test_the_stub_file_is_up_to_date() -> None:
    written = (PACKAGE / "functions.pyi").read_text("utf-8")
    assert written == stub(), "python -m featurekit.spec.signatures > featurekit/functions.pyi"


def test_unknown_names_name_the_closest() -> None:
    with pytest.raises(AttributeError, match=r"'zscor'; did you mean 'zscore'\?"):
        _ = fk.zscor  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = fk._nothing  # type: ignore[attr-defined]
    assert not hasattr(functions, "nothing")


def test_no_module_takes_the_name_of_a_public_function() -> None:
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert modules.isdisjoint(fk.__all__)


def test_importing_the_library_imports_no_engine_and_a_spec_no_tensorflow() -> None:
    code = (
        "import sys, featurekit as fk; assert 'polars' not in sys.modules; fk.Spec; "
        "assert 'polars' in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)


def test_what_operations_are_called_elsewhere_leads_to_those_that_there_are() -> None:
    ours = {*operations(), *aggregations()}
    theirs = [name for others in SYNONYMS.values() for name in others.split()]
    assert ours >= SYNONYMS.keys()
    assert ours.isdisjoint(theirs)
    assert len(theirs) == len(set(theirs))
