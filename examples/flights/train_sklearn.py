"""Trains gradient-boosted trees on the examples of a run: `train_sklearn.py [RUN]`.

Beside the model stands what knowing nothing gives: the share of late flights in the train split,
predicted for every flight. The splits lie apart in time, so the model meets months that it has
never seen, as it would in use.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

import featurekit as fk


def main(folder: str) -> None:
    """Train, and print how good the predictions are on each split."""
    run = fk.open_run(folder)
    features, late = run.examples("train").to_xy()
    # Codes are categories; scikit-learn takes those with up to 255.
    codes = [name for name, (_, last) in run.codes.items() if last < 255]
    model = HistGradientBoostingClassifier(
        max_iter=60, min_samples_leaf=200, categorical_features=codes,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    model.fit(features, late)
    base = late.mean()
    print(f"{len(run.features)} features, {len(late):,} training rows, {base:.1%} of them late")
    print(f"{'split':8}{'rows':>8}{'late':>8}{'AUC':>8}{'log loss':>10}{'base rate':>11}")
    for split in ("train", "eval", "test"):
        features, late = run.examples(split).to_xy()
        chance = model.predict_proba(features)[:, 1]
        print(
            f"{split:8}{len(late):8,}{late.mean():8.1%}{roc_auc_score(late, chance):8.3f}"
            f"{log_loss(late, chance):10.4f}{log_loss(late, np.full(len(late), base)):11.4f}"
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/flights")
