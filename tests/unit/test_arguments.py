"""Every public function says what it expected of an argument, whatever it is given."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.arguments import names_of, number_of, path_of, shown
from featurekit.errors import FeatureKitError, UsageError


class Unshowable:
    """Its `repr` raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Where(os.PathLike):  # type: ignore[type-arg]
    """A path that is no `Path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


WRONG: dict[str, Any] = {
    "None": None, "7": 7, "bytes": b"spec.yaml", "unshowable": Unshowable(), "list": [1],
    "mapping": {1: 2}, "float": 1.5, "class": int,
}  # fmt: skip

DATA = {"AblationReport", "LeakageReport", "Run", "Progress"}
"""Made by the library; their methods are called below."""
ERRORS = {name for name in dir(fk) if isinstance(getattr(fk, name), type)
          and issubclass(getattr(fk, name), FeatureKitError)}  # fmt: skip
JOBS = {"ablate", "check", "dry_run", "load_spec", "open_run", "plan", "run", "scan_leakage",
        "snapshot", "verdicts"}  # fmt: skip
BUILT = {"Aggregation", "BigQuery", "Column", "Examples", "Feature", "FeatureTransformer", "Lookup",
         "Source", "Spec", "Split", "Waiver", "col", "literal"}  # fmt: skip
OPERATIONS = set(dir(fk)) - JOBS - BUILT - DATA - ERRORS


def test_every_public_name_is_swept_or_made_by_the_library() -> None:
    for name in OPERATIONS:
        called = getattr(fk, name)
        assert called.__module__ in ("featurekit.functions", "abc"), (
            f"fk.{name} is new: add it to JOBS, BUILT or DATA here, and to the sweep"
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arguments")
    rows = pl.DataFrame({"id": range(120), "x": [i * 0.37 % 1 for i in range(120)],
                         "y": [i % 3 == 0 for i in range(120)]})  # fmt: skip
    rows.write_parquet(folder / "rows.parquet")
    (folder / "spec.yaml").write_text(
        '{name: s, sources: {rows: {path: rows.parquet}}, examples: {source: rows, label: "y", '
        'keys: [id]}, features: {z: zscore(x)}}', "utf-8",
    )  # fmt: skip
    fk.run(folder / "spec.yaml", folder / "made", tensorflow=False)
    return folder


def attempt(call: Callable[[], Any], what: str) -> None:
    """Call something; it works or raises an error of the library, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except FeatureKitError as error:
            str(error)
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            assert trace is not None
            raise AssertionError(
                f"{what}: {type(error).__name__} in {trace.tb_frame.f_code.co_filename}, line "
                f"{trace.tb_lineno}"
            ) from error


def calls(
    function: Callable[..., Any], given: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield calls that have one wrong argument each."""
    parameters = inspect.signature(function).parameters.values()
    kinds = inspect.Parameter
    for wrong in parameters:
        if wrong.kind == kinds.VAR_KEYWORD:
            continue
        for called, value in WRONG.items():
            by_place: list[Any] = []
            by_name: dict[str, Any] = dict(given)
            for one in parameters:
                needed = one.default is one.empty and one.kind not in (
                    kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD
                )  # fmt: skip
                held = value if one is wrong else by_name.pop(one.name, "x")
                if one.kind == kinds.VAR_POSITIONAL or one.kind == kinds.POSITIONAL_ONLY:
                    by_place += [held] if one is wrong or needed else []
                elif one is wrong or needed or one.name in given:
                    by_name[one.name] = held
            yield (
                f"{getattr(function, '__name__', function)}({wrong.name}={called})",
                partial(function, *by_place, **by_name),
            )


@pytest.mark.parametrize("name", sorted(OPERATIONS | (BUILT - {"FeatureTransformer"})))
def test_what_makes_parts_of_specs_refuses_what_is_none(name: str) -> None:
    for what, call in calls(getattr(fk, name), {}):
        attempt(call, what)


GIVEN: dict[str, dict[str, Any]] = {
    "ablate": {"label": "y", "tiers": "linear", "of": "none.parquet"},  # A real one takes long.
    "check": {"spec": "spec.yaml"}, "verdicts": {"spec": "spec.yaml"},
    "plan": {"spec": "spec.yaml"},
    "load_spec": {"path": "spec.yaml"},
    "open_run": {"folder": "made"},
    "snapshot": {"spec": "spec.yaml", "as_of": "2024-01-01"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(JOBS - {"dry_run", "run", "scan_leakage"}))
def test_what_does_work_refuses_arguments_of_another_type(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for what, call in calls(getattr(fk, name), GIVEN[name]):
        attempt(call, what)


@pytest.mark.parametrize("called", sorted(set(WRONG) - {"None"}))
@pytest.mark.parametrize("name", ["check", "load_spec", "open_run", "plan", "verdicts"])
def test_what_is_no_path_is_a_wrong_argument(name: str, called: str) -> None:
    for value in (WRONG[called], None):
        with pytest.raises(UsageError, match=r"a str or an os.PathLike of one, got"):
            getattr(fk, name)(value)


def test_methods_of_runs_examples_specs_and_reports_refuse_them_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    made = fk.open_run("made")
    spec = fk.load_spec("spec.yaml")
    leaks = fk.scan_leakage("rows.parquet", label="y")
    methods: list[tuple[Any, dict[str, Any]]] = [
        (made.examples, {}), (made.apply, {}), (spec.from_dict, {}), (leaks.fails, {}),
        (leaks.to_html, {}),
    ]  # fmt: skip
    for method, given in methods:
        for what, call in calls(method, given):
            attempt(call, what)


def test_every_kind_of_path_is_a_path(folder: Path, tmp_path: Path) -> None:
    kinds: tuple[Any, ...] = (str, Path, Where)
    for make in kinds:
        assert fk.load_spec(make(folder / "spec.yaml")).name == "s"
        assert fk.open_run(make(folder / "made")).features == ("z",)
        run = fk.run(make(folder / "spec.yaml"), make(tmp_path / make.__name__), tensorflow=False)
        assert run.features == ("z",)
        found = fk.scan_leakage(make(folder / "rows.parquet"), label="y")
        found.to_html(make(tmp_path / f"{make.__name__}.html"))
        assert (tmp_path / f"{make.__name__}.json").is_file()


def test_an_error_shows_what_was_given_whatever_its_repr_does() -> None:
    assert shown(Unshowable()) == "an Unshowable"
    assert shown("x" * 100) == f"'{'x' * 56}..."
    with pytest.raises(UsageError, match=r"spec is a path, .* got None"):
        path_of(None, "spec")
    with pytest.raises(UsageError, match=r"columns are names, each a str, got 7 among them"):
        names_of(["a", 7], "columns")
    assert names_of("a", "columns") == names_of(("a",), "columns") == ("a",)
    assert number_of(np.int64(3), "folds", whole=True) == 3
    for wrong in (True, "3", 2.5, None):
        with pytest.raises(UsageError, match=r"folds is a whole number"):
            number_of(wrong, "folds", whole=True)
    with pytest.raises(UsageError, match=r"folds is a whole number from 2 on, got 1"):
        number_of(1, "folds", whole=True, least=2)
