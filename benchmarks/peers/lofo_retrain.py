"""lofo-importance trains gradient boosting without each feature, in each fold as often as seeds.

It is given scikit-learn's model, that of the others, instead of its own of LightGBM, and the splits
of all folds once for each seed: it has no rule that says when to stop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from lofo import Dataset, LOFOImportance
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.workloads import FOLDS, MODEL, RETRAINED, SEEDS


def main() -> None:
    """Fit all models and write the importances of each fold and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[RETRAINED])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    table = pd.read_parquet(arguments.data)
    folds = table.pop("fold").to_numpy()
    names = [name for name in table.columns if name != "label"]
    splits = [
        (np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(FOLDS)
    ]
    found = LOFOImportance(
        Dataset(table, "label", names),
        scoring="neg_log_loss",
        model=HistGradientBoostingClassifier(**MODEL),
        cv=splits * SEEDS,
    ).get_importance()
    arguments.out.mkdir(parents=True)
    found.to_json(arguments.out / "effects.json")


if __name__ == "__main__":
    main()
