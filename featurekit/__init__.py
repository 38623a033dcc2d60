"""Declare features once; serve what you trained on, and check that nothing leaks.

`fk.run` computes a spec and writes a run, `fk.open_run` reads it back, `fk.check` and `fk.plan`
say what a run would do, `fk.scan_leakage` hunts for leaks in what came out, `fk.ablate` says what
each feature is worth, `fk.Spec` and `fk.load_spec` make specs, and every operation of the catalogue
is a function here that builds an expression.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from featurekit._version import __version__ as __version__

if TYPE_CHECKING:
    from featurekit import beam as beam
    from featurekit.ablation import AblationReport as AblationReport
    from featurekit.ablation import ablate as ablate
    from featurekit.engines.bigquery import BigQuery as BigQuery
    from featurekit.errors import BudgetError as BudgetError
    from featurekit.errors import DataError as DataError
    from featurekit.errors import EngineError as EngineError
    from featurekit.errors import FeatureKitError as FeatureKitError
    from featurekit.errors import LeakageError as LeakageError
    from featurekit.errors import MissingExtra as MissingExtra
    from featurekit.errors import ParityError as ParityError
    from featurekit.errors import SpecError as SpecError
    from featurekit.errors import SpecErrors as SpecErrors
    from featurekit.errors import UsageError as UsageError
    from featurekit.functions import *  # noqa: F403
    from featurekit.job import Progress as Progress
    from featurekit.job import check as check
    from featurekit.job import dry_run as dry_run
    from featurekit.job import plan as plan
    from featurekit.job import run as run
    from featurekit.job import verdicts as verdicts
    from featurekit.leakage import LeakageReport as LeakageReport
    from featurekit.leakage import scan_leakage as scan_leakage
    from featurekit.runs import Run as Run
    from featurekit.runs import open_run as open_run
    from featurekit.snapshots import snapshot as snapshot
    from featurekit.spec.expression import col as col
    from featurekit.spec.expression import literal as literal
    from featurekit.spec.objects import Aggregation as Aggregation
    from featurekit.spec.objects import Column as Column
    from featurekit.spec.objects import Examples as Examples
    from featurekit.spec.objects import Feature as Feature
    from featurekit.spec.objects import Lookup as Lookup
    from featurekit.spec.objects import Source as Source
    from featurekit.spec.objects import Spec as Spec
    from featurekit.spec.objects import Split as Split
    from featurekit.spec.objects import Waiver as Waiver
    from featurekit.spec.yaml import load_spec as load_spec
    from featurekit.transformer import FeatureTransformer as FeatureTransformer

    __all__: list[str]

_HOMES = {
    name: f"featurekit.{module}"
    for module, names in {
        "ablation": "AblationReport ablate",
        "engines.bigquery": "BigQuery",
        "errors": "BudgetError DataError EngineError FeatureKitError LeakageError MissingExtra "
        "ParityError SpecError SpecErrors UsageError",
        "job": "Progress check dry_run plan run verdicts",
        "leakage": "LeakageReport scan_leakage",
        "runs": "Run open_run",
        "snapshots": "snapshot",
        "spec.expression": "col literal",
        "spec.objects": "Aggregation Column Examples Feature Lookup Source Spec Split Waiver",
        "spec.yaml": "load_spec",
        "transformer": "FeatureTransformer",
    }.items()
    for name in names.split()
}
"""Where each public name is defined; importing one imports that module, and nothing else does."""
_MODULES = ("beam",)
"""Public modules, imported when they are used; a star does not take them along."""


if not TYPE_CHECKING:  # With a __getattr__, type checkers would take any name for a public one.

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return __dir__()
        if name.startswith("_"):
            raise AttributeError(f"module 'featurekit' has no attribute {name!r}")
        from featurekit.errors import MissingExtra, MissingName

        try:
            if name in _MODULES:
                return importlib.import_module(f"featurekit.{name}")
            if name not in _HOMES:
                return getattr(importlib.import_module("featurekit.functions"), name)
            globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        except MissingExtra as error:
            raise MissingName(error.message, hint=error.hint) from None
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*_HOMES, *dir(importlib.import_module("featurekit.functions"))})
