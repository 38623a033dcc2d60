"""The plain loop: scikit-learn trains gradient boosting without each feature, fold and seed.

The same folds, seeds and model as FeatureKit's, with scikit-learn's own threads, one fit after the
other. What follows is judged as FeatureKit judges, from all seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

from benchmarks.workloads import FOLDS, MODEL, RETRAINED, SEEDS


def main() -> None:
    """Fit all models and write the effects of each fold and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[RETRAINED])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    table = pl.read_parquet(arguments.data)
    names = [name for name in table.columns if name not in ("label", "fold")]
    x, y = table.select(names).to_numpy(), table["label"].to_numpy()
    folds = table["fold"].to_numpy()
    losses = np.zeros((len(names) + 1, SEEDS * FOLDS))
    for seed in range(SEEDS * FOLDS):
        train = folds != seed % FOLDS
        for place in range(len(names) + 1):
            # The last one leaves out nothing.
            kept = np.delete(np.arange(len(names)), place if place < len(names) else [])
            model = HistGradientBoostingClassifier(random_state=seed, **MODEL)
            model.fit(x[train][:, kept], y[train])
            losses[place, seed] = log_loss(y[~train], model.predict_proba(x[~train][:, kept]))
    found = dict(zip(names, (losses[:-1] - losses[-1]).tolist(), strict=True))
    arguments.out.mkdir(parents=True)
    (arguments.out / "effects.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
