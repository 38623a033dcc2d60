"""FeatureKit's linear ablation of every feature and pair, with intervals and relations."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import polars as pl

from benchmarks.workloads import ABLATIONS
from featurekit.analysis.ablation.linear import ablate_linear


def main() -> None:
    """Ablate once and write the effects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=ABLATIONS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    # Into memory, as the others do; of a scan, each of three passes would read the file.
    found = ablate_linear(pl.read_parquet(arguments.data), "label", folds="fold")
    arguments.out.mkdir(parents=True)
    effects = {single.name: single.effect for single in found.singles}
    (arguments.out / "effects.json").write_text(json.dumps(effects), "utf-8")


if __name__ == "__main__":
    main()
