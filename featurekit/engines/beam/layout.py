"""How the columns of a batch travel: few Arrow columns, few tensors.

A tf.Transform graph with a tensor for every column pays for each of them several times over. Here
all columns of a type are one matrix of shape [batch, columns], in which a missing float is NaN, as
at serving; strings stay apart. A matrix says which strings and integers are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from featurekit.engines.dense import dense
from featurekit.engines.stacks import Stacks
from featurekit.engines.wire import by_type, from_dense, wire_type
from featurekit.transforms.base import Masked, tensorflow_dtype, tf
from featurekit.types import INT64, STRING, Kind, Type

__all__ = ["FILE", "Layout"]

_THERE = "there"
FILE = "file"
"""The tensor that says which file of the input each row comes from."""


@dataclass(frozen=True)
class Layout:
    """Which columns travel in which tensor.

    Args:
        columns: The columns, with their types.
        with_file: Whether rows say which file they come from.
    """

    columns: Mapping[str, Type]
    with_file: bool = False

    @cached_property
    def matrices(self) -> dict[str, tuple[Type, list[str]]]:
        """The type and the columns of each matrix, by its name."""
        return {
            f"all_{of}": (of, names)
            for of, names in by_type(self.columns).items()
            if of.width is None and of != STRING
        }

    @cached_property
    def strings(self) -> list[str]:
        """The columns of strings."""
        return [name for name, of in self.columns.items() if of == STRING]

    @cached_property
    def counted(self) -> list[str]:
        """The columns of which no value stands for a missing one."""
        return [*self.strings, *(name for name, of in self.columns.items() if of == INT64)]

    @cached_property
    def vectors(self) -> list[str]:
        """The columns of vectors."""
        return [name for name, of in self.columns.items() if of.width is not None]

    def arrays(self, frame: pl.DataFrame) -> dict[str, Any]:
        """Return the columns of a batch as arrays of shape [batch], or [batch, columns]."""
        made: dict[str, Any] = {}
        for name, (_, columns) in self.matrices.items():
            made[name] = np.stack([dense(frame[column]) for column in columns], axis=1)
        for place, column in enumerate(self.strings):
            made[f"string_{place}"] = dense(frame[column])
        if self.counted:
            there = frame.select(pl.col(self.counted).is_not_null().cast(pl.Int64))
            made[_THERE] = there.to_numpy()
        for place, column in enumerate(self.vectors):
            made[f"vector_{place}"] = dense(frame[column])
        return made

    def to_arrow(self, frame: pl.DataFrame, file: int = 0) -> pa.RecordBatch:
        """Return the columns of a batch as tf.Transform takes them: a list for each row."""
        names, lists = [], []
        arrays = self.arrays(frame)
        if self.with_file:
            arrays[FILE] = np.full(frame.height, file, np.int64)
        for name, array in arrays.items():
            rows = len(array)
            flat = pa.array(array.reshape(-1))
            if pa.types.is_string(flat.type):
                flat = flat.cast(pa.large_binary())
            width = array.size // rows if rows else 0
            offsets = pa.array(np.arange(rows + 1, dtype=np.int64) * width)
            names.append(name)
            lists.append(pa.LargeListArray.from_arrays(offsets, flat))
        return pa.RecordBatch.from_arrays(lists, names)

    def adapter(self) -> Any:
        """Return what tells tf.Transform how the Arrow columns become tensors."""
        from tensorflow_metadata.proto.v0 import schema_pb2
        from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

        fields, representations = [], {}
        for name, spec in self.signature().items():
            arrow = pa.large_binary() if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
            kind = arrow if isinstance(arrow, pa.DataType) else pa.from_numpy_dtype(arrow)
            fields.append((name, pa.large_list(kind)))
            made = schema_pb2.TensorRepresentation()
            made.dense_tensor.column_name = name
            made.dense_tensor.shape.SetInParent()
            for size in spec.shape[1:]:
                made.dense_tensor.shape.dim.add(size=size)
            representations[name] = made
        return TensorAdapterConfig(pa.schema(fields), representations)

    def signature(self) -> dict[str, Any]:
        """Return the specifications of the tensors."""
        return {name: tf.TensorSpec(shape, dtype) for name, shape, dtype in self._specs()}

    def _specs(self) -> Iterator[tuple[str, list[int | None], Any]]:
        for name, (of, columns) in self.matrices.items():
            yield name, [None, len(columns)], tensorflow_dtype(wire_type(of))
        for place in range(len(self.strings)):
            yield f"string_{place}", [None], tf.string
        if self.counted:
            yield _THERE, [None, len(self.counted)], tf.int64
        for place, column in enumerate(self.vectors):
            of = self.columns[column]
            yield f"vector_{place}", [None, of.width], tensorflow_dtype(wire_type(of))
        if self.with_file:
            yield FILE, [None], tf.int64

    def stacks(self, tensors: Mapping[str, Any]) -> Stacks:
        """Return the columns of a batch from its tensors, in a graph or eagerly."""
        made, strings = Stacks(), len(self.strings)
        there: Any = tf.transpose(tensors[_THERE]) > 0 if self.counted else None
        for name, (of, columns) in self.matrices.items():
            values = tf.transpose(tensors[name])
            stack = Masked(values, there[strings:]) if of == INT64 else from_dense(values, of)
            made.put(columns, stack)
        if self.strings:
            values = tf.stack([tensors[f"string_{place}"] for place in range(strings)])
            made.put(self.strings, Masked(values, there[:strings]))
        for place, column in enumerate(self.vectors):
            values = tensors[f"vector_{place}"][tf.newaxis]
            made.put([column], from_dense(values, self.columns[column]))
        return made

    def rows(self, tensors: Mapping[str, Any]) -> Any:
        """Return the number of rows of a batch, from its tensors."""
        return tf.shape(next(iter(tensors.values())))[0]


def to_columns(
    values: Any, valid: Any, names: list[str], of: Type
) -> Iterator[tuple[str, pa.Array]]:
    """Yield computed columns of one type as Arrow arrays, null where they are not valid.

    Args:
        values: Shape [columns, batch], of vectors [columns, batch, width].
        valid: Shape [columns, batch].
        names: Their names.
        of: Their type; the width of a vector may be unknown.
    """
    for place, name in enumerate(names):
        missing = ~valid[place]
        if values.ndim == 3:
            flat = pa.array(values[place].reshape(-1))
            mask = pa.array(missing)
            yield name, pa.FixedSizeListArray.from_arrays(flat, values.shape[2], mask=mask)
        elif of == STRING:
            texts = pa.array(values[place], pa.large_binary(), mask=missing)
            yield name, texts.cast(pa.large_string())
        else:
            yield name, _typed(pa.array(values[place], mask=missing), of)


def _typed(column: pa.Array, of: Type) -> pa.Array:
    if of.kind is Kind.TIMESTAMP:
        return column.cast(pa.timestamp("us", "UTC"))
    return column.cast(pa.duration("us")) if of.kind is Kind.DURATION else column
