"""FeatureKit's `run` with aggregations: past rows, summarised for each example by key and time."""

from __future__ import annotations

from pathlib import Path

import featurekit as fk
from benchmarks.workloads import DAYS, FUNCTIONS, LEAD_HOURS, WINDOWS, History, history_parser


def spec(history: History, data: Path) -> fk.Spec:
    """Return the spec that a user would write in YAML; all rows are training rows."""
    functions = {name: f"{name}({history.value})" for name in FUNCTIONS}
    windows = [f"{days}d" for days in DAYS]
    return fk.Spec.from_dict(
        {
            "name": "benchmark",
            "sources": {
                "coming": {"path": str(data.absolute() / "examples.parquet")},
                "past": {
                    "path": str(data.absolute() / "events.parquet"), "event_time": history.effect,
                },
            },
            "examples": {
                "source": "coming", "keys": [history.row],
                "predict_at": f"{history.asked} - {LEAD_HOURS}h",
            },
            "aggregations": {
                f"by_{key}": {
                    "source": "past", "by": key, "windows": windows, "features": functions,
                }
                for key in history.keys
            },
            "features": {
                name: f"by_{key}.{function}_{days}d"
                for name, key, function, days in history.outputs()
            },
        }
    )  # fmt: skip


def main() -> None:
    """Run once."""
    arguments = history_parser(__doc__).parse_args()
    made = spec(WINDOWS[arguments.workload], arguments.data)
    fk.run(made, arguments.out, tensorflow=False)


if __name__ == "__main__":
    main()
