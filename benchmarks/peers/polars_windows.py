"""Polars by hand: examples and events in one table by time, and `rolling_*_by` over each key.

`closed="left"` is the window that holds its beginning and leaves out the time of prediction, so a
row that takes effect at that very time does not count. The values of examples are null, which every
function skips. `check_windows.py` compares the results with FeatureKit's.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.workloads import LEAD_HOURS, WINDOWS, History, history_parser


def output(value: pl.Expr, function: str, days: int) -> pl.Expr:
    """Return one function over one window."""
    window = f"{days}d"
    match function:
        case "mean":
            return value.rolling_mean_by("time", window, closed="left").cast(pl.Float32)
        case "max":
            return value.rolling_max_by("time", window, closed="left").cast(pl.Float32)
        case "stddev":
            return value.rolling_std_by("time", window, closed="left", ddof=0).cast(pl.Float32)
        case _:
            there = value.is_not_null().cast(pl.Int64)
            return there.rolling_sum_by("time", window, closed="left").fill_null(0)


def transform(history: History, data: Path, out: Path) -> None:
    """Write `examples.parquet` into a folder."""
    predicted = pl.col(history.asked) - pl.duration(hours=LEAD_HOURS)
    examples = pl.scan_parquet(data / "examples.parquet").select(
        history.row, *history.keys, time=predicted
    )
    events = pl.scan_parquet(data / "events.parquet").select(
        *history.keys, time=history.effect, value=history.value
    )
    outputs = [
        output(pl.col("value"), function, days).over(key).alias(name)
        for name, key, function, days in history.outputs()
    ]
    out.mkdir(parents=True)
    (
        pl.concat([examples, events], how="diagonal")
        .sort("time")
        .select(history.row, *outputs)
        .filter(pl.col(history.row).is_not_null())
        .sort(history.row)
        .collect()
        .write_parquet(out / "examples.parquet", compression="snappy")
    )


def main() -> None:
    """Run once."""
    arguments = history_parser(__doc__).parse_args()
    transform(WINDOWS[arguments.workload], arguments.data, arguments.out)


if __name__ == "__main__":
    main()
