"""Reading the examples of a run for training: pandas, Polars, Arrow, NumPy and tf.data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from featurekit.engines.dense import dense
from featurekit.errors import UsageError, require
from featurekit.sources import polars_errors
from featurekit.summary import Described, Summary, listed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = ["ExampleSet", "as_array", "spread", "to_pandas"]

LABEL = "label"

BATCH = 65_536
"""So many rows are read from the files at a time."""


@dataclass(frozen=True, repr=False)
class ExampleSet(Described):
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

    def _summary(self) -> Summary:
        return Summary(
            f"Examples of {self.folder.name}",
            (("in", str(self.folder)), ("keys", listed(self.keys)),
             ("features", listed(self.features)), ("label", "yes" if self.labelled else "no")),
        )  # fmt: skip

    @property
    def files(self) -> tuple[Path, ...]:
        """The Parquet files, in the order of the rows."""
        return tuple(sorted(self.folder.glob("*.parquet")))

    def scan(self) -> pl.LazyFrame:
        """Return the examples as a Polars lazy frame."""
        return pl.scan_parquet(list(self.files), glob=False)

    def to_polars(self) -> pl.DataFrame:
        """Return the examples as a Polars data frame; a vector feature is an `Array`."""
        return self._collect(self.scan())

    def to_arrow(self) -> pa.Table:
        """Return the examples as an Arrow table; a vector feature is a fixed-size list."""
        return self.to_polars().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Return the examples as a pandas data frame.

        Integers with missing values are `Int64`; each cell of a vector feature is an array.
        """
        require("pandas", "analysis", "to_pandas")
        return to_pandas(self.to_polars())

    def to_xy(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Return features and labels as scikit-learn takes them.

        Returns:
            X, a pandas data frame of the features in their order, where the vector `v` is the
            columns `v_0`, `v_1`, ... and a missing number is NaN. y, an array of shape [rows].

        Raises:
            UsageError: There is no label.
            MissingExtra: pandas is not installed.
        """
        require("pandas", "analysis", "to_xy")
        if not self.labelled:
            raise UsageError("these examples have no label", where=str(self.folder),
                             hint="examples: {label: ...} in the spec")  # fmt: skip
        frame = self._collect(self.scan().select(*self.features, LABEL))
        return spread(frame.drop(LABEL)).to_pandas(), frame[LABEL].to_numpy(writable=True)

    def to_dataset(
        self,
        batch_size: int = 1024,
        *,
        shuffle: int = 0,
        seed: int | None = None,
        repeat: bool = False,
    ) -> Any:
        """Return the examples as a `tf.data.Dataset` that streams from the files.

        Args:
            batch_size: Rows of a batch; the last one may be smaller.
            shuffle: Rows held back and mixed with those that follow; 0 keeps the order. Every
                pass over the data has another order.
            seed: Of the shuffling.
            repeat: Whether to start again at the end, for ever.

        Returns:
            Batches `(features, label)`, or `features` alone when there is no label; features are
            a dictionary of tensors of shape [batch] or [batch, width]. A missing float is NaN, a
            missing text the empty string, a missing integer the smallest int64.

        Raises:
            MissingExtra: TensorFlow is not installed.
            UsageError: The batch size is not positive, or `shuffle` is negative.
        """
        require("tensorflow", "tensorflow", "to_dataset")
        if batch_size < 1:
            raise UsageError(f"batch_size must be positive, got {batch_size}")
        if shuffle < 0:
            raise UsageError(f"shuffle must not be negative, got {shuffle}")
        import numpy as np
        import tensorflow as tf

        rows = self.scan().select(*self.features, *([LABEL] if self.labelled else []))
        count = int(self._collect(rows.select(pl.len())).item())
        specs = {name: _tensor_spec(tf, of) for name, of in rows.collect_schema().items()}
        random = np.random.default_rng(seed)

        def batches() -> Iterator[Any]:
            frames: Iterable[pl.DataFrame] = rows.collect_batches(
                chunk_size=BATCH, maintain_order=True
            )
            for frame in _mixed(frames, shuffle, random) if shuffle else frames:
                columns = {series.name: dense(series) for series in frame}
                yield self._pair(columns)

        data = tf.data.Dataset.from_generator(batches, output_signature=self._pair(specs))
        data = data.rebatch(batch_size)
        data = data.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
        return (data.repeat() if repeat else data).prefetch(tf.data.AUTOTUNE)

    def _pair(self, columns: dict[str, Any]) -> Any:
        """Split columns into features and label."""
        if not self.labelled:
            return columns
        return {name: columns[name] for name in self.features}, columns[LABEL]

    def _collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        with polars_errors(str(self.folder)):
            return rows.collect(engine="streaming")


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Return a Polars frame as pandas; integers with missing values stay integers (`Int64`)."""
    import pandas as pd

    def column(series: pl.Series) -> Any:
        if series.dtype.is_integer() and series.null_count():
            missing = series.is_null().to_numpy(writable=True)
            return pd.arrays.IntegerArray(series.fill_null(0).to_numpy(writable=True), missing)
        if series.dtype == pl.Boolean and series.null_count():
            return pd.array(series.to_list(), dtype="boolean")
        return series.to_pandas()

    return pd.DataFrame({series.name: column(series) for series in frame})


def spread(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose vectors are columns of numbers: `v` of width 2 is `v_0` and `v_1`.

    Raises:
        UsageError: Another column has such a name.
    """
    columns: list[pl.Series] = []
    for series in frame:
        if isinstance(series.dtype, pl.Array):
            names = [f"{series.name}_{i}" for i in range(series.dtype.size)]
            columns += series.arr.to_struct(fields=names).struct.unnest().get_columns()
        else:
            columns.append(series)
    seen: set[str] = set()
    for series in columns:
        if series.name in seen:
            raise UsageError(f"two columns are called {series.name!r}: one is an element of a "
                             "vector feature", hint="rename a feature")  # fmt: skip
        seen.add(series.name)
    return pl.DataFrame(columns)


def as_array(frame: pl.DataFrame) -> np.ndarray:
    """Return a frame as an array of shape [rows, columns].

    Vectors are laid out over several columns. The dtype is the common one of the numbers, or
    object when there are strings; a missing value is NaN.
    """
    import numpy as np

    frame = spread(frame)
    if pl.String not in frame.dtypes:
        return frame.to_numpy(writable=True)
    out = np.empty(frame.shape, dtype=object)
    for position, series in enumerate(frame):
        # As a list, for integers beside missing values would become floats.
        out[:, position] = series.to_list() if series.null_count() else series.to_numpy()
        out[series.is_null().to_numpy(), position] = np.nan
    return out


def _tensor_spec(tf: Any, of: Any) -> Any:
    if isinstance(of, pl.Array):
        return tf.TensorSpec([None, of.size], tf.float32)
    if of == pl.String:
        return tf.TensorSpec([None], tf.string)
    if of.is_float():
        return tf.TensorSpec([None], tf.float64 if of == pl.Float64 else tf.float32)
    return tf.TensorSpec([None], tf.int64)


def _mixed(
    frames: Iterable[pl.DataFrame], size: int, random: np.random.Generator
) -> Iterator[pl.DataFrame]:
    """Yield the rows in another order, holding `size` of them back to mix with what follows."""
    held: pl.DataFrame | None = None
    for frame in frames:
        held = frame if held is None else pl.concat([held, frame])
        # Twice the size, so that mixing costs the same per row whatever the size.
        if held.height >= 2 * size:
            held = held[random.permutation(held.height)]
            yield held[size:]
            held = held[:size]
    if held is not None and held.height:
        yield held[random.permutation(held.height)]
