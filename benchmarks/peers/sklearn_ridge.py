"""scikit-learn fits a ridge regression without each feature, in each fold.

The columns are scaled once a fold, not once a fit. It is given the first rows only: the time of a
fit is proportional to the rows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from benchmarks.workloads import ABLATIONS, FOLDS


def main() -> None:
    """Fit all models and write the effects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=ABLATIONS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--examples", type=int, help="rows, from the first on")
    arguments = parser.parse_args()
    table = pl.scan_parquet(arguments.data).head(arguments.examples).collect()
    names = [name for name in table.columns if name not in ("label", "fold")]
    x, y = table.select(names).to_numpy(), table["label"].to_numpy()
    folds = table["fold"].to_numpy()
    losses = np.zeros(len(names) + 1)
    for fold in range(FOLDS):
        train = folds != fold
        scaler = StandardScaler().fit(x[train])
        inner, outer = scaler.transform(x[train]), scaler.transform(x[~train])
        for place in range(len(names) + 1):
            # The last one leaves out nothing.
            kept = np.delete(np.arange(len(names)), place if place < len(names) else [])
            model = Ridge(alpha=1.0).fit(inner[:, kept], y[train])
            losses[place] += np.sum((y[~train] - model.predict(outer[:, kept])) ** 2)
    effects = (losses[:-1] - losses[-1]) / len(y)
    arguments.out.mkdir(parents=True)
    found = dict(zip(names, effects.tolist(), strict=True))
    (arguments.out / "effects.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
