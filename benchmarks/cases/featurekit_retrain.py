"""FeatureKit trains gradient boosting without each feature, until each is decided."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.workloads import RETRAINED, SEEDS
from featurekit.analysis.ablation.estimators import read_learner
from featurekit.analysis.ablation.problem import MAX_PARTS, Problem
from featurekit.analysis.ablation.retrain import retrain
from featurekit.analysis.ablation.scores import read_metric
from featurekit.analysis.ablation.tasks import read_label


def main() -> None:
    """Ablate once and write the effects and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[RETRAINED])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    rows = pl.read_parquet(arguments.data)
    label, table = read_label(rows["label"]), rows.drop("label", "fold")
    parts = np.arange(rows.height) % MAX_PARTS
    problem = Problem(table, label, rows["fold"].to_numpy(), parts)
    learner = read_learner(None, label.task, rows.height)
    metric = read_metric(None, label.task)
    found = retrain(problem, learner, metric, rounds=SEEDS)
    arguments.out.mkdir(parents=True)
    said = {
        "effects": {one.name: one.effect for one in found.singles},
        "verdicts": {one.name: str(one.verdict) for one in found.singles},
        "trials": found.trials,
        "spared": found.spared,
    }
    (arguments.out / "ablation.json").write_text(json.dumps(said), "utf-8")


if __name__ == "__main__":
    main()
