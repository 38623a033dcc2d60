"""Compares what the contenders make of past rows with what FeatureKit makes of them, cell by cell.

Counts must be equal, missing values missing in the same rows, maxima equal, and means and standard
deviations equal but for rounding. Featuretools answers for some examples only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import featurekit as fk
from benchmarks import environment
from benchmarks.cases.featurekit_windows import spec
from benchmarks.workloads import WINDOWS, History

ROOT = Path(__file__).resolve().parent.parent
RELATIVE = {"mean": 1e-6, "max": 0.0, "stddev": 1e-6}
"""Some units in the last place of a float32."""
ABSOLUTE = {"mean": 1e-6, "max": 0.0, "stddev": 1e-5}
"""What rounding leaves of values that cancel out, in units of the value."""
PEERS = {
    "Polars": (sys.executable, "benchmarks.peers.polars_windows"),
    "DuckDB": (str(environment.PYTHON), "benchmarks.peers.duckdb_windows"),
    "Featuretools": (str(environment.PYTHON), "benchmarks.peers.featuretools_windows"),
}


def differences(history: History, theirs: pl.DataFrame, ours: pl.DataFrame) -> dict[str, str]:
    """Return for each output that differs how it does, and under `""` how far any is apart."""
    found, furthest = {}, dict.fromkeys(ABSOLUTE, 0.0)
    for name, _, function, _ in history.outputs():
        left, right = theirs[name], ours[name]
        if left.dtype != right.dtype:
            found[name] = f"{left.dtype} and {right.dtype}"
        elif function == "count":
            if not left.equals(right, null_equal=False):
                found[name] = f"{(left != right).sum()} other counts"
        elif other := int((left.is_null() != right.is_null()).sum()):
            found[name] = f"missing in {other} other rows"
        else:
            a, b = (side.drop_nulls().to_numpy().astype(np.float64) for side in (left, right))
            apart = np.abs(a - b)
            furthest[function] = max(furthest[function], apart.max(initial=0.0))
            far = apart > RELATIVE[function] * np.abs(b) + ABSOLUTE[function]
            if far.any() or not np.isfinite(apart).all():
                found[name] = f"{far.sum()} cells apart, by up to {apart.max():.1e}"
    return found | {"": ", ".join(f"{name} {size:.1e}" for name, size in furthest.items())}


def main() -> None:
    """Compare all, and raise `SystemExit` where one disagrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WINDOWS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", choices=PEERS, action="append", help="only this one")
    parser.add_argument("--examples", type=int, default=1000, help="those of Featuretools")
    arguments = parser.parse_args()
    environment.install()
    history = WINDOWS[arguments.workload]
    data = arguments.data.absolute()
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        run = fk.run(spec(history, data), Path(temporary) / "run", tensorflow=False)
        whole = run.examples().to_polars().sort(history.row)
        for peer in arguments.peer or PEERS:
            out = Path(temporary) / peer
            python, module = PEERS[peer]
            command = [python, "-m", module, arguments.workload, str(data), str(out)]
            if peer == "Featuretools":
                command += ["--examples", str(arguments.examples)]
            subprocess.run(command, cwd=ROOT, check=True)
            theirs = pl.read_parquet(out / "examples.parquet").sort(history.row)
            # pandas writes missing values of its own as NaN.
            theirs = theirs.with_columns(pl.col(pl.Float32).fill_nan(None))
            ours = whole
            if peer == "Featuretools":
                ours = whole.filter(pl.col(history.row).is_in(theirs[history.row].implode()))
            if theirs[history.row].to_list() != ours[history.row].to_list():
                raise SystemExit(f"{peer} returns other examples")
            found = differences(history, theirs, ours)
            apart = found.pop("")
            outputs = theirs.drop(history.row)
            there = 1 - sum(outputs.null_count().row(0)) / (outputs.width * outputs.height)
            print(f"{peer}: {theirs.height:,} examples, {there:.0%} of the cells not missing, "
                  f"furthest apart: {apart}")  # fmt: skip
            for name, said in found.items():
                print(f"  {name}: FAILED: {said}")
            failed = failed or bool(found)
    if failed:
        raise SystemExit("FeatureKit and a peer disagree")


if __name__ == "__main__":
    main()
