"""What several test modules use: a small table like flights, and one run of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from featurekit.job import run
from featurekit.runs import Run
from featurekit.spec.objects import Examples, Source, Spec, Split

FEATURES = {
    "distance_z": "zscore(log1p(impute(distance, 'median')))",
    "distance_bin": "bucketize(distance, 5)",
    "carrier_id": "vocabulary(carrier, top_k=3, oov_buckets=2)",
    "carrier_flags": "one_hot_vocabulary(carrier)",
    "carrier_text": "upper(carrier)",
    "seats": "seats",
    "full": "seats > 150",
    "hour": "hour(sched)",
    "route": "cross(carrier, seats, buckets=100)",
}


@pytest.fixture(scope="session")
def flights_like() -> pl.DataFrame:
    """Rows with every type and with missing values; `flight` is beyond what a float can count."""
    random = np.random.default_rng(7)
    rows = 2_000
    carrier = random.choice(
        ["UA", "AA", "DL", "WN", "Å9", ""], rows, p=[0.4, 0.25, 0.2, 0.1, 0.04, 0.01]
    )
    start = datetime(2013, 1, 1, tzinfo=UTC)

    def some(values: pl.Series, share: float) -> pl.Series:
        missing = pl.Series(random.random(rows) < share)
        return pl.select(pl.when(~missing).then(values).alias(values.name)).to_series()

    return pl.DataFrame([
        pl.Series("flight", 2**60 + np.arange(rows)),
        some(pl.Series("carrier", carrier), 0.05),
        some(pl.Series("distance", random.gamma(2, 500, rows), dtype=pl.Float64), 0.1),
        some(pl.Series("seats", random.integers(50, 300, rows)), 0.1),
        some(pl.Series("sched", random.integers(0, 365 * 24 * 60, rows)) * 60_000_000, 0.02)
        .cast(pl.Duration("us")) + start,
        some(pl.Series("delay", random.normal(5, 30, rows)), 0.03),
    ])  # fmt: skip


@pytest.fixture(scope="session")
def flights_spec(flights_like: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Spec:
    """A spec over these rows as a Parquet file, with keys, a label and two splits."""
    folder = tmp_path_factory.mktemp("data")
    flights_like.write_parquet(folder / "flights.parquet")
    return Spec(
        sources={"flights": Source(path="flights.parquet")},
        examples=Examples(
            "flights", keys="flight", label="delay > 15", split=Split(hash="flight", eval=0.25)
        ),
        features=FEATURES,
        base=folder,
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_run(flights_spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run: Parquet, TFRecord and SavedModel."""
    target: Path = tmp_path_factory.mktemp("runs") / "small"
    return run(flights_spec, target, tensorflow=True, tfrecord=True)
