"""The statistical leakage scan of a table with label and split, or its histograms alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from featurekit.analysis.leakage.scan import histograms_of, scan
from featurekit.analysis.leakage.table import open_rows


def main() -> None:
    """Scan once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--histograms", action="store_true", help="the one pass over all columns")
    arguments = parser.parse_args()
    if arguments.histograms:
        histograms_of(open_rows(arguments.data, label="label", split="part").batches())
        return
    found = scan(arguments.data, label="label", split="part")
    arguments.out.mkdir(parents=True)
    (arguments.out / "scan.json").write_text(json.dumps(found.to_dict()), "utf-8")


if __name__ == "__main__":
    main()
