"""NumPy builds the Gram matrix of every fold in one pass, and does nothing with them: a floor."""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl

from benchmarks.workloads import ABLATIONS, FOLDS

BATCH = 65_536


def main() -> None:
    """Read and multiply once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=ABLATIONS)
    parser.add_argument("data")
    parser.add_argument("out", help="not used")
    arguments = parser.parse_args()
    table = pl.read_parquet(arguments.data)
    width = ABLATIONS[arguments.workload] + 2
    grams = np.zeros((FOLDS, width, width))
    for batch in table.iter_slices(BATCH):
        folds = batch["fold"].to_numpy()
        rows = batch.drop("fold").with_columns(one=1.0).to_numpy()
        for fold in range(FOLDS):
            part = rows[folds == fold]
            grams[fold] += part.T @ part


if __name__ == "__main__":
    main()
