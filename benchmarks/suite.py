"""The cases, and who takes part in each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import environment

__all__ = [
    "ABLATION", "CASES", "COLUMNS", "DUCKDB", "FEATUREKIT", "FEATURETOOLS", "HELP", "HISTOGRAMS",
    "LOFO", "LOOP", "NUMPY", "ON_BEAM", "PLAN", "POLARS", "PYARROW", "RETRAINING", "SAVED_MODEL",
    "SCAN", "SKLEARN", "TF_TRANSFORM", "TREES", "Case", "Contender",
]  # fmt: skip

FLIGHTS = 336_776
DEPARTURES = 334_264
"""The flights that have a tail number."""

FEATUREKIT = "FeatureKit"
SAVED_MODEL = "FeatureKit + SavedModel"
ON_BEAM = "FeatureKit on Beam + SavedModel"
TF_TRANSFORM = "tf.Transform"
SKLEARN = "scikit-learn"
PYARROW = "pyarrow, reading only"
POLARS = "Polars by hand"
COPY = "Polars, reading and writing only"
DUCKDB = "DuckDB"
FEATURETOOLS = "Featuretools"
NUMPY = "NumPy, Gram matrices only"
LOOP = "scikit-learn in a loop"
LOFO = "lofo-importance"
HELP = "featurekit --help"
HISTOGRAMS = "FeatureKit, histograms only"
TREES = "a decision tree for each feature"
SAMPLED_TREES = "the same, of 5,000 rows"
PLAN = "featurekit plan --sql"


@dataclass(frozen=True)
class Contender:
    """A whole process that is measured.

    Args:
        module: The script; none for the command `featurekit` itself.
        extra: Further arguments of the script, or all of the command, in which `{data}` and `{out}`
            stand for paths.
        apart: Whether it runs in benchmarks/.venv.
        warmed: Whether one run that does not count comes first; what runs long needs none.
        examples: How many examples it is asked for, where it cannot do all.
        quick: The same with `--quick`.
    """

    module: str = ""
    extra: tuple[str, ...] = ()
    apart: bool = False
    warmed: bool = True
    examples: int = 0
    quick: int = 0

    def rows(self, all_rows: int, quick: bool) -> int:
        """Return how many rows it answers for."""
        return (self.quick if quick else self.examples) or all_rows

    def command(self, workload: str, data: Path, out: Path, quick: bool) -> list[str]:
        """Return its command line."""
        if not self.module:
            program = str(Path(sys.executable).with_name("featurekit"))
            return [program, *(part.format(data=data, out=out) for part in self.extra)]
        python = str(environment.PYTHON) if self.apart else sys.executable
        some = ["--examples", str(self.rows(0, quick))] if self.examples else []
        return [python, "-m", self.module, workload, str(data), str(out), *self.extra, *some]


COLUMNS = {
    FEATUREKIT: Contender("benchmarks.cases.featurekit_run"),
    SAVED_MODEL: Contender("benchmarks.cases.featurekit_run", ("--tensorflow",)),
    ON_BEAM: Contender("benchmarks.cases.featurekit_run", ("--tensorflow", "--engine", "beam")),
    TF_TRANSFORM: Contender("benchmarks.peers.tf_transform", warmed=False),
    SKLEARN: Contender("benchmarks.peers.sklearn_columns"),
    PYARROW: Contender("benchmarks.peers.pyarrow_read"),
}
PAST = {
    FEATUREKIT: Contender("benchmarks.cases.featurekit_windows"),
    POLARS: Contender("benchmarks.peers.polars_windows"),
    COPY: Contender("benchmarks.peers.polars_copy"),
    DUCKDB: Contender("benchmarks.peers.duckdb_windows", apart=True),
    FEATURETOOLS: Contender(
        "benchmarks.peers.featuretools_windows", apart=True, warmed=False, examples=1000, quick=100
    ),
}
SCAN = {
    FEATUREKIT: Contender("benchmarks.cases.featurekit_scan"),
    HISTOGRAMS: Contender("benchmarks.cases.featurekit_scan", ("--histograms",)),
    TREES: Contender(
        "benchmarks.peers.sklearn_trees", warmed=False, examples=100_000, quick=10_000
    ),
    SAMPLED_TREES: Contender("benchmarks.peers.sklearn_trees", ("--sample", "5000")),
    PYARROW: Contender("benchmarks.peers.pyarrow_read"),
}
ABLATION = {
    FEATUREKIT: Contender("benchmarks.cases.featurekit_ablation"),
    NUMPY: Contender("benchmarks.peers.numpy_gram"),
    SKLEARN: Contender(
        "benchmarks.peers.sklearn_ridge", warmed=False, examples=100_000, quick=10_000
    ),
}
RETRAINING = {
    FEATUREKIT: Contender("benchmarks.cases.featurekit_retrain"),
    LOOP: Contender("benchmarks.peers.sklearn_retrain", warmed=False),
    LOFO: Contender("benchmarks.peers.lofo_retrain", apart=True, warmed=False),
}
COMMANDS = {
    HELP: Contender(extra=("--help",)),
    PLAN: Contender(extra=("plan", "{data}", "--sql", "{out}")),
}


@dataclass(frozen=True)
class Case:
    """One input and who works on it.

    Args:
        title: What it is.
        repeats: How often each contender runs.
        contenders: What they are.
        workload: What the input is and what is made of it; none for the command's help.
        rows: Rows of the input, of aggregations the examples; 0 for an input that is not a table.
        quick: The same with `--quick`.
    """

    title: str
    repeats: Mapping[str, int]
    contenders: Mapping[str, Contender]
    workload: str = ""
    rows: int = 0
    quick: int = 0


CASES = {
    "help": Case("the command's help", {HELP: 7}, COMMANDS),
    "small": Case(
        "10 columns to 16 features",
        {FEATUREKIT: 5, SAVED_MODEL: 5, TF_TRANSFORM: 3, SKLEARN: 3, PYARROW: 3}, COLUMNS,
        "flights", 20_000, 20_000,
    ),
    "flights": Case(
        "10 columns to 16 features, flights x 10",
        {FEATUREKIT: 5, PYARROW: 5, SAVED_MODEL: 3, SKLEARN: 3, TF_TRANSFORM: 2}, COLUMNS,
        "flights", 10 * FLIGHTS, FLIGHTS,
    ),
    "large": Case(
        "10 columns to 16 features, flights x 100", {FEATUREKIT: 2}, COLUMNS,
        "flights", 100 * FLIGHTS, 10 * FLIGHTS,
    ),
    "wide": Case(
        "100 columns to 100 features",
        {FEATUREKIT: 3, PYARROW: 3, SAVED_MODEL: 2, SKLEARN: 2, TF_TRANSFORM: 1}, COLUMNS,
        "wide", 1_000_000, 100_000,
    ),
    "beam": Case(
        "10 columns to 16 features, flights x 10, on Beam", {ON_BEAM: 3, TF_TRANSFORM: 2}, COLUMNS,
        "flights", 10 * FLIGHTS, FLIGHTS,
    ),
    "both": Case(
        "100 columns to 200 features", {ON_BEAM: 3, TF_TRANSFORM: 1}, COLUMNS,
        "both", 20_000, 20_000,
    ),
    "few": Case(
        "10 columns to 20 features", {ON_BEAM: 3, TF_TRANSFORM: 2}, COLUMNS, "few", 20_000, 20_000
    ),
    "windows": Case(
        "24 aggregates of past flights",
        {FEATUREKIT: 5, POLARS: 5, COPY: 5, DUCKDB: 3, FEATURETOOLS: 1}, PAST,
        "windows", DEPARTURES, 20_000,
    ),
    "windows-10": Case(
        "24 aggregates of past flights, x 10", {FEATUREKIT: 3, POLARS: 2, DUCKDB: 1}, PAST,
        "windows-10", 10 * DEPARTURES, 200_000,
    ),
    "windows-hot": Case(
        "12 aggregates, 5 events an example, one key with 2% of the rows", {FEATUREKIT: 3}, PAST,
        "windows-hot", 1_000_000, 10_000,
    ),
    "scan": Case(
        "leakage scan of 100 columns",
        {FEATUREKIT: 3, HISTOGRAMS: 3, PYARROW: 3, TREES: 1, SAMPLED_TREES: 2}, SCAN,
        "scan", 1_000_000, 100_000,
    ),
    "ablation_linear": Case(
        "60 features left out, alone and in pairs, 5 folds",
        {FEATUREKIT: 5, NUMPY: 5, SKLEARN: 1}, ABLATION, "ablation_linear", 1_000_000, 50_000,
    ),
    "ablation_wide": Case(
        "1,000 features left out, alone and in pairs, 5 folds", {FEATUREKIT: 3, NUMPY: 3}, ABLATION,
        "ablation_wide", 100_000, 5_000,
    ),
    "ablation_retrain": Case(
        "24 features left out of gradient boosting, 5 folds, 3 seeds",
        {FEATUREKIT: 3, LOOP: 1, LOFO: 1}, RETRAINING, "ablation_retrain", 50_000, 4_000,
    ),
    "sql": Case("SQL of 500 aggregated features", {PLAN: 5}, COMMANDS, "sql"),
}  # fmt: skip
