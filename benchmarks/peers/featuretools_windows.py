"""Featuretools with cutoff times: a feature matrix for each key and window, on some examples.

Every pair of a key and a time is asked for once. `include_cutoff_time=False` makes the window hold
its beginning and leave out the time of prediction. Featuretools' `Std` is that of a sample; it is
turned into that of the population, which FeatureKit computes.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import featuretools as ft
import numpy as np
import pandas as pd
from featuretools.primitives import Count, Max, Mean, Std

from benchmarks.workloads import DAYS, LEAD_HOURS, WINDOWS, History, history_parser

EVENT = "event"


def entities(history: History, data: Path) -> ft.EntitySet:
    """Return all events, and a table for each key that they belong to."""
    events = pd.read_parquet(data / "events.parquet")
    events[history.effect] = events[history.effect].dt.tz_localize(None)
    made = ft.EntitySet("past")
    made.add_dataframe(
        dataframe_name="events", dataframe=events, index=EVENT, make_index=True,
        time_index=history.effect, logical_types=dict.fromkeys(history.keys, "Categorical"),
    )  # fmt: skip
    for key in history.keys:
        made.normalize_dataframe("events", f"of_{key}", key, make_time_index=False)
    return made


def matrix(history: History, past: ft.EntitySet, key: str, days: int, asked: pd.DataFrame) -> None:
    """Add the outputs of one key and window to the examples, in place."""
    folder = f"of_{key}"
    value, event = past["events"].ww[history.value], past["events"].ww[EVENT]
    features = [
        ft.Feature(value, parent_dataframe_name=folder, primitive=Mean),
        ft.Feature(value, parent_dataframe_name=folder, primitive=Max),
        ft.Feature(value, parent_dataframe_name=folder, primitive=Std),
        ft.Feature(event, parent_dataframe_name=folder, primitive=Count),
    ]
    cutoffs = asked[[key, "time"]].drop_duplicates()
    found = ft.calculate_feature_matrix(
        features, past, cutoff_time=cutoffs, training_window=f"{days} days",
        include_cutoff_time=False, cutoff_time_in_index=True, n_jobs=1,
    )  # fmt: skip
    places = pd.MultiIndex.from_frame(asked[[key, "time"]])
    mean, most, spread, count = (
        found[feature.get_name()].reindex(places).to_numpy(float) for feature in features
    )
    spread = np.where(count == 1, 0.0, spread * np.sqrt((count - 1) / np.maximum(count, 1)))
    for function, made in (("mean", mean), ("max", most), ("stddev", spread)):
        asked[f"{key}_{function}_{days}d"] = made.astype(np.float32)
    asked[f"{key}_count_{days}d"] = count.astype(np.int64)


def main() -> None:
    """Run once."""
    parser = history_parser(__doc__)
    parser.add_argument("--examples", type=int, default=1000,
                        help="so many one after another, from the middle of all on")  # fmt: skip
    arguments = parser.parse_args()
    # Of pandas' next version, and of what is not set because it is not needed.
    warnings.simplefilter("ignore")
    history = WINDOWS[arguments.workload]
    asked = pd.read_parquet(arguments.data / "examples.parquet").sort_values(
        history.asked, kind="stable"
    )
    asked = asked.iloc[len(asked) // 2 :].head(arguments.examples).reset_index(drop=True)
    asked["time"] = asked[history.asked].dt.tz_localize(None) - pd.Timedelta(hours=LEAD_HOURS)
    past = entities(history, arguments.data)
    for key in history.keys:
        for days in DAYS:
            matrix(history, past, key, days, asked)
    arguments.out.mkdir(parents=True)
    outputs = [name for name, *_ in history.outputs()]
    asked[[history.row, *outputs]].to_parquet(arguments.out / "examples.parquet")


if __name__ == "__main__":
    main()
