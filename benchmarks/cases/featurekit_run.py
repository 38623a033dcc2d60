"""FeatureKit's `run` on a spec made from the workload: statistics, examples, and the SavedModel."""

from __future__ import annotations

import argparse
from pathlib import Path

import featurekit as fk
from benchmarks.workloads import DECILES, WORKLOADS, Workload


def spec(workload: Workload, data: Path, keys: tuple[str, ...] = ()) -> fk.Spec:
    """Return the spec that a user would write in YAML; all rows are training rows."""
    features = {f"{name}_z": f"zscore({name})" for name in workload.zscores}
    features |= {f"{name}_decile": f"bucketize({name}, {DECILES})" for name in workload.deciles}
    features |= {f"{name}_id": f"vocabulary({name})" for name in workload.vocabularies}
    return fk.Spec.from_dict(
        {
            "name": "benchmark",
            "sources": {"rows": {"path": str(data.absolute())}},
            "examples": {"source": "rows"} | ({"keys": list(keys)} if keys else {}),
            "features": features,
        }
    )


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tensorflow", action="store_true", help="export the SavedModel too")
    parser.add_argument("--engine", default="local", help="what fits and transforms")
    arguments = parser.parse_args()
    made = spec(WORKLOADS[arguments.workload], arguments.data)
    fk.run(made, arguments.out, tensorflow=arguments.tensorflow, engine=arguments.engine)


if __name__ == "__main__":
    main()
