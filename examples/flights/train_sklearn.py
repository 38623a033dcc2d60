"""Trains gradient-boosted trees on the examples of a run: `train_sklearn.py [RUN]`.

One model twice: without the features over past flights and weather, and with them. Beside both
stands what knowing nothing gives: the share of late flights in the train split, predicted for every
flight. The splits lie apart in time, so the models meet months that they have never seen, as they
would in use.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# Threads of scikit-learn that wait leave the processor to others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

import featurekit as fk

PAST = ("past", "weather")
"""The groups of features that look at past rows."""
SPLITS = ("train", "eval", "test")


def chances(
    examples: dict[str, tuple[Any, Any]], columns: list[str], codes: list[str]
) -> dict[str, Any]:
    """Train on some columns, and return the chance of a late arrival for every example."""
    model = HistGradientBoostingClassifier(
        max_iter=60, min_samples_leaf=200, early_stopping=False, random_state=0,
        categorical_features=[name for name in codes if name in columns],
    )  # fmt: skip
    features, late = examples["train"]
    model.fit(features[columns], late)
    return {split: model.predict_proba(examples[split][0][columns])[:, 1] for split in SPLITS}


def main(folder: str) -> None:
    """Train both, and print how good the predictions are on each split."""
    run = fk.open_run(folder)
    examples = {split: run.examples(split).to_xy() for split in SPLITS}
    # Codes are categories; scikit-learn takes those with up to 255.
    codes = [name for name, (_, last) in run.codes.items() if last < 255]
    past = [name for name, feature in run.spec.features.items() if set(feature.group) & set(PAST)]
    if not past:
        sys.exit(f"no feature of {run.path} is in the groups {' and '.join(PAST)}")
    every = list(examples["train"][0].columns)
    alone = chances(examples, [name for name in every if name not in past], codes)
    both = chances(examples, every, codes)
    base = examples["train"][1].mean()
    print(f"{'':24}{'base rate':>12}{len(run.features) - len(past):8} features", end="")
    print(f"{len(past):11} more on the past")
    print(f"{'split':8}{'rows':>8}{'late':>8}{'log loss':>12}", end="")
    print(f"{'AUC':>10}{'log loss':>10}" * 2)
    for split in SPLITS:
        late = examples[split][1]
        print(f"{split:8}{len(late):8,}{late.mean():8.1%}", end="")
        print(f"{log_loss(late, np.full(len(late), base)):12.4f}", end="")
        for chance in (alone[split], both[split]):
            print(f"{roc_auc_score(late, chance):10.3f}{log_loss(late, chance):10.4f}", end="")
        print()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/flights")
