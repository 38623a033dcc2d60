"""Trains a small Keras model and saves it to take raw rows: `train_keras.py [RUN] [OUT]`.

What is saved is the run's SavedModel followed by the network. It takes the columns of a flight as
they stand in the data, and what is known of the past by its keys, so nobody writes the features a
second time for serving.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import polars as pl
import tensorflow as tf

import featurekit as fk

FLIGHTS = Path(__file__).parent / "data" / "flights.parquet"
CODES = ["week_hour", "carrier_id", "dest_id", "route", "carrier_hour", "maker", "model_id",
         "tail_letters"]  # fmt: skip
NUMBERS = ["departs_sin", "departs_cos", "weekend", "origin_is", "route_flights", "distance_z",
           "air_km", "north", "mountain", "planned_z", "planned_speed", "age_z", "age_unknown",
           "tail_flights"]  # fmt: skip
PAST = ("past", "weather")
"""The groups of features that look at past rows; all are numbers, and none is ever missing."""


def numbers(run: fk.Run) -> list[str]:
    """Return the features that the network takes as numbers."""
    return NUMBERS + [
        name for name, entry in run.spec.features.items() if set(entry.group) & set(PAST)
    ]


def network(run: fk.Run, sample: dict[str, tf.TensorSpec]) -> keras.Model:
    """Return a network that gives each code a vector of its own."""
    inputs = {
        name: keras.Input(spec.shape[1:], name=name, dtype=spec.dtype.name)
        for name, spec in sample.items()
    }
    parts = [keras.layers.Embedding(run.codes[name][1] + 1, 8)(inputs[name]) for name in CODES]
    for name in numbers(run):
        number = keras.ops.cast(inputs[name], "float32")
        parts.append(number if number.ndim > 1 else keras.ops.expand_dims(number, -1))
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Concatenate()(parts))
    hidden = keras.layers.Dropout(0.3)(hidden)
    late = keras.layers.Dense(1, activation="sigmoid")(hidden)
    model = keras.Model(inputs, late)
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    return model


def dataset(run: fk.Run, split: str, shuffle: int = 0) -> tf.data.Dataset:
    """Return batches of the features that the network uses, with the label."""
    used = CODES + numbers(run)
    batches = run.examples(split).to_dataset(2048, shuffle=shuffle, seed=0)
    return batches.map(lambda row, late: ({name: row[name] for name in used}, late))


class Served(tf.Module):
    """Raw columns in, the chance of a late arrival out."""

    def __init__(self, features: Any, model: keras.Model) -> None:
        super().__init__()
        self.features, self.model = features, model

    @tf.function
    def late(self, row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Compute the features of raw rows, and what the network says to them."""
        made = self.features.signatures["serving_default"](**row)
        return {"late": self.model({name: made[name] for name in self.model.input})[:, 0]}


def save(run: fk.Run, model: keras.Model, folder: str) -> None:
    """Write features and network as one SavedModel."""
    features = tf.saved_model.load(str(run.saved_model))
    _, columns = features.signatures["serving_default"].structured_input_signature
    served = Served(features, model)
    tf.saved_model.save(served, folder, signatures=served.late.get_concrete_function(columns))


def with_past(run: fk.Run, flight: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Add what is known of the past at a time, as an online store would give it by key."""
    for name, table in fk.snapshot(run.spec, at).items():
        keys = [column for column in table.columns if column in flight.columns]
        known = table.select(*keys, pl.exclude(*keys, "as_of").name.prefix(f"{name}_"))
        flight = flight.join(known, on=keys, how="left") if keys else flight.hstack(known)
    return flight


def ask(folder: str, rows: pl.DataFrame) -> list[float]:
    """Load the saved model, as a server would, and give it raw rows."""
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    _, columns = serve.structured_input_signature
    missing = {tf.string: "", tf.int64: tf.int64.min}
    row = {
        name: tf.constant(
            rows[name].to_physical().fill_null(missing.get(column.dtype, float("nan"))).to_list(),
            column.dtype,
        )
        for name, column in columns.items()
    }
    return [float(chance) for chance in serve(**row)["late"]]


def main(folder: str, out: str) -> None:
    """Train, save, load again, and ask about one flight."""
    keras.utils.set_random_seed(0)
    run = fk.open_run(folder)
    train = dataset(run, "train", shuffle=50_000)
    model = network(run, train.element_spec[0])
    model.fit(train, epochs=2, validation_data=dataset(run, "eval"), shuffle=False, verbose=2)
    for split in ("eval", "test"):
        loss, auc = model.evaluate(dataset(run, split), verbose=0)
        print(f"{split}: AUC {auc:.3f}, log loss {loss:.4f}")
    save(run, model, out)
    first = run.examples("test").scan().head(1).collect()
    flight = pl.read_parquet(FLIGHTS).filter(pl.col("flight_id") == first["flight_id"][0])
    leaves = pl.datetime("year", "month", "day", "hour", "minute", time_zone="America/New_York")
    (at,) = flight.select(leaves - pl.duration(hours=2)).to_series()
    batch, _ = next(iter(dataset(run, "test")))
    print(f"flight {first['flight_id'][0]:,} is late with a chance of")
    print(f"  {ask(out, with_past(run, flight, at))[0]:.4f} by the saved model, from the raw row")
    print(f"  {model.predict(batch, verbose=0)[0, 0]:.4f} by the network, from the written example")
    print(f"saved in {out}")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(given.get(0, "runs/flights"), given.get(1) or tempfile.mkdtemp(prefix="late_"))
