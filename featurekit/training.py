"""Reading the examples of a run for training: pandas, Polars, Arrow, NumPy and tf.data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from featurekit.errors import UsageError, require
from featurekit.sources import polars_errors

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["ExampleSet", "to_pandas"]

LABEL = "label"


@dataclass(frozen=True)
class ExampleSet:
    """The examples of one split, read when asked for.

    Args:
        folder: The folder with the Parquet files.
        keys: The names of the key columns.
        features: The names of the features.
        labelled: Whether there is a label.

    Example:
        `run.examples("train").to_pandas()` has the keys, the features and `label` as columns.
    """

    folder: Path
    keys: tuple[str, ...]
    features: tuple[str, ...]
    labelled: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """The Parquet files, in the order of the rows."""
        return tuple(sorted(self.folder.glob("*.parquet")))

    def scan(self) -> pl.LazyFrame:
        """Return the examples as a Polars lazy frame."""
        return pl.scan_parquet(self.files)

    def to_polars(self) -> pl.DataFrame:
        """Return the examples as a Polars data frame."""
        with polars_errors(str(self.folder)):
            return self.scan().collect(engine="streaming")

    def to_arrow(self) -> pa.Table:
        """Return the examples as an Arrow table."""
        return self.to_polars().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Return the examples as a pandas data frame; integers with missing values are `Int64`."""
        require("pandas", "analysis", "to_pandas")
        return to_pandas(self.to_polars())

    def to_dataset(
        self, batch_size: int = 1024, *, shuffle: int = 0, seed: int | None = None, repeat: bool = False
    ) -> Any:
        """Return the examples as a `tf.data.Dataset` that streams from the files.

        Args:
            batch_size: Rows of a batch; the last one may be smaller.
            shuffle: Rows of the shuffle buffer; 0 keeps the order.
            seed: Of the shuffling.
            repeat: Whether to start again at the end, for ever.

        Returns:
            Batches `(features, label)`, or `features` alone when there is no label; features are
            a dictionary of tensors of shape [batch] or [batch, width]. A missing float is NaN, a
            missing text the empty string, a missing integer the smallest int64.

        Raises:
            MissingExtra: TensorFlow is not installed.
            UsageError: The batch size is not positive.
        """
        require("tensorflow", "tensorflow", "to_dataset")
        if batch_size < 1:
            raise UsageError(f"batch_size must be positive, got {batch_size}")
        import tensorflow as tf

        schema = self.scan().collect_schema()
        names = [*self.features, *([LABEL] if self.labelled else [])]
        signature = {name: _tensor_spec(tf, schema[name]) for name in names}

        def batches() -> Iterator[dict[str, Any]]:
            for frame in self.scan().select(names).collect_batches(chunk_size=65_536, maintain_order=True):
                yield {name: _numpy(frame[name]) for name in names}

        data = tf.data.Dataset.from_generator(batches, output_signature=signature)
        if shuffle:
            data = data.unbatch().shuffle(shuffle, seed=seed).batch(batch_size)
        else:
            data = data.rebatch(batch_size)
        if repeat:
            data = data.repeat()
        if self.labelled:
            data = data.map(lambda row: ({name: row[name] for name in self.features}, row[LABEL]))
        return data.prefetch(tf.data.AUTOTUNE)


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Return a Polars frame as pandas; integers with missing values stay integers (`Int64`)."""
    import pandas as pd

    columns = {}
    for series in frame:
        if series.dtype.is_integer() and series.null_count():
            columns[series.name] = pd.array(series.to_list(), dtype="Int64")
        elif isinstance(series.dtype, pl.Array):
            columns[series.name] = pd.Series(list(series.to_numpy()), dtype=object)
        else:
            columns[series.name] = series.to_pandas()
    return pd.DataFrame(columns)


def _tensor_spec(tf: Any, dtype: Any) -> Any:
    if isinstance(dtype, pl.Array):
        return tf.TensorSpec([None, dtype.size], tf.float32)
    if dtype == pl.String:
        return tf.TensorSpec([None], tf.string)
    if dtype.is_float():
        return tf.TensorSpec([None], tf.float64 if dtype == pl.Float64 else tf.float32)
    return tf.TensorSpec([None], tf.int64)


def _numpy(series: pl.Series) -> Any:
    import numpy as np

    if isinstance(series.dtype, pl.Array):
        width = series.dtype.size
        if series.null_count() == 0:
            return series.to_numpy()
        return np.array([[np.nan] * width if row is None else row for row in series.to_list()], dtype=np.float32)
    if series.dtype == pl.String:
        return series.fill_null("").to_numpy()
    if series.dtype.is_float():
        return series.fill_null(float("nan")).to_numpy()
    return series.cast(pl.Int64).fill_null(-(2**63)).to_numpy()
