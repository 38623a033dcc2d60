"""Columns as they enter and leave a TensorFlow graph: dense, with a mask, sparse or ragged.

A dense tensor has no null, so that a value of its type stands for it. Where a mask, or the absence
of a value, says what is missing, every value is what it is: the empty text and the smallest integer
too. NaN is missing in what enters, as it is in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurekit.engines.stacks import Stacks
from featurekit.graph import Node
from featurekit.transforms.base import Masked, tensorflow_dtype, tf
from featurekit.transforms.subnormal import tensorflow_flushed
from featurekit.types import Kind, Type

__all__ = [
    "MISSING_INTEGER", "as_column", "by_type", "from_dense", "from_masked", "from_ragged",
    "from_sparse", "missing_value", "outputs", "present", "wire_type",
]  # fmt: skip

MISSING_INTEGER = -(2**63)


def wire_type(of: Type) -> Type:
    """Return the type that a column travels as: booleans and times are integers."""
    whole = of.kind in (Kind.BOOL, Kind.TIMESTAMP, Kind.DURATION)
    return Type(Kind.INT64, of.width) if whole else of


def missing_value(of: Type) -> Any:
    """Return what stands for a missing value of a type that travels."""
    if of.is_float:
        return tf.constant(float("nan"), tensorflow_dtype(of))
    if of.kind is Kind.STRING:
        return tf.constant("", tf.string)
    return tf.constant(MISSING_INTEGER, tf.int64)


def by_type(columns: Mapping[str, Type]) -> dict[Type, list[str]]:
    """Return the names of columns by their types."""
    found: dict[Type, list[str]] = {}
    for name, of in columns.items():
        found.setdefault(of, []).append(name)
    return found


def present(values: Any, of: Type) -> Any:
    """Return which values of a dense tensor are none that stand for a missing one.

    Args:
        values: Shape [..., batch], of vectors [..., batch, width]. A vector is missing where all of
            its elements are.
        of: The type.
    """
    wire = wire_type(of)
    if wire.is_float:
        valid = tf.logical_not(tf.math.is_nan(values))
    else:
        valid = tf.not_equal(values, missing_value(wire))
    return valid if of.width is None else tf.reduce_any(valid, axis=-1)


def from_dense(values: Any, of: Type) -> Masked:
    """Return columns of one type as values and validity, where a value stands for null.

    Args:
        values: Shape [columns, batch], of vectors [columns, batch, width].
        of: The type.
    """
    return Masked(_from_wire(values, of), present(values, of))


def from_masked(values: Any, missing: Any, of: Type) -> Masked:
    """Return columns of one type as values and validity, where a mask says what is null.

    Args:
        values: Shape [columns, batch], of vectors [columns, batch, width].
        missing: Shape [columns, batch]: true where there is no value.
        of: The type. NaN is missing, too.
    """
    valid = tf.logical_not(missing)
    if of.is_float and of.width is None:
        valid = tf.logical_and(valid, present(values, of))
    return Masked(_from_wire(values, of), valid)


def from_sparse(columns: Sequence[Any], of: Type) -> Masked:
    """Return sparse columns of one type, of shape [batch] or [batch, any width], as one stack.

    The first value of each row is the column's, however wide the tensor is (where all rows of a
    batch lack a value, its width is 0). Of a vector it is the first elements, the others missing.
    """
    rows = columns[0].dense_shape[0]
    if of.width is not None:
        return _vectors([_wide(column, rows, of) for column in columns], of)
    values = tf.concat([column.values for column in columns], 0)
    # Few operations for each column: a graph of hundreds is traced and saved.
    sizes = tf.stack([tf.size(column.values, tf.int64) for column in columns])
    before = tf.repeat(tf.range(len(columns), dtype=tf.int64) * rows, sizes)
    within = tf.concat([column.indices for column in columns], 0)[:, 0] + before
    count = tf.size(values, tf.int64)
    # The first place of each cell among all values; of a cell without one, the largest integer.
    first = tf.math.unsorted_segment_min(tf.range(count), within, rows * len(columns))
    return _gathered(values, tf.reshape(first, [len(columns), -1]), first_of=count, of=of)


def from_ragged(columns: Sequence[Any], of: Type) -> Masked:
    """Return ragged columns of one type as one stack; see `from_sparse`."""
    flat = [column if column.ragged_rank == 1 else column.merge_dims(1, -1) for column in columns]
    if of.width is not None:
        missing = missing_value(wire_type(of))
        wide = [column.to_tensor(missing, shape=[None, of.width]) for column in flat]
        there = [column.row_lengths() > 0 for column in flat]
        return _vectors(list(zip(wide, there, strict=True)), of)
    lists = [tf.reshape(column.values, [-1]) for column in flat]
    splits = tf.stack([tf.cast(column.row_splits, tf.int64) for column in flat])
    before = tf.cumsum(splits[:, -1], exclusive=True)[:, tf.newaxis]
    count = tf.reduce_sum(splits[:, -1])
    first = tf.where(splits[:, 1:] > splits[:, :-1], splits[:, :-1] + before, count)
    return _gathered(tf.concat(lists, 0), first, first_of=count, of=of)


def as_column(given: Any, of: Type) -> Masked:
    """Return one input as a column, by what it is: dense, sparse or ragged.

    Args:
        given: Dense of shape [batch] or [batch, 1] (of a vector [batch, width]), where a value
            stands for null; or sparse or ragged, where null is what is absent.
        of: The type of the column.

    Raises:
        ValueError: A dense tensor has another width.
    """
    dtype = tensorflow_dtype(wire_type(of))
    if isinstance(given, (tf.SparseTensor, tf.RaggedTensor)):
        given = given if given.dtype == dtype else tf.cast(given, dtype)
        made = from_sparse if isinstance(given, tf.SparseTensor) else from_ragged
        values, valid = made([given], of)
        return Masked(values[0], valid[0])
    given = tf.convert_to_tensor(given)
    given = given if given.dtype == dtype else tf.cast(given, dtype)
    given.shape.with_rank_at_least(1)
    rows, width = tf.shape(given)[0], of.width
    if width is not None:
        given.shape.assert_is_compatible_with([None, width])
        return from_dense(tf.reshape(given, [rows, width]), of)
    if given.shape.rank != 1:
        given.shape.assert_is_compatible_with([None, 1])
    return from_dense(tf.reshape(given, [rows]), of)


def _gathered(values: Any, first: Any, first_of: Any, of: Type) -> Masked:
    """Return the values at places, of shape [columns, batch]; a place behind all is missing."""
    there = first < first_of
    filled = tf.concat([values, [missing_value(wire_type(of))]], 0)
    gathered = tf.gather(filled, tf.where(there, first, first_of))
    return from_masked(gathered, tf.logical_not(there), of)


def _wide(column: Any, rows: Any, of: Type) -> tuple[Any, Any]:
    """Return sparse vectors as a dense tensor of their width, and which of them have elements."""
    inside = column.indices[:, 1] < of.width
    indices = tf.boolean_mask(column.indices, inside)
    missing = missing_value(wire_type(of))
    values = tf.fill(tf.stack([rows, tf.constant(of.width, tf.int64)]), missing)
    values = tf.tensor_scatter_nd_update(values, indices, tf.boolean_mask(column.values, inside))
    ones = tf.ones_like(column.indices[:, 0])
    values.set_shape([None, of.width])
    return values, tf.math.unsorted_segment_sum(ones, column.indices[:, 0], rows) > 0


def _vectors(columns: Sequence[tuple[Any, Any]], of: Type) -> Masked:
    values, there = zip(*columns, strict=True)
    stacked = tf.stack(values)
    valid = tf.logical_and(tf.stack(there), present(stacked, of))
    return Masked(_from_wire(stacked, of), valid)


def _from_wire(values: Any, of: Type) -> Any:
    if of.kind is Kind.BOOL:
        return tf.not_equal(values, tf.constant(0, tf.int64))
    return tensorflow_flushed(values, of)


def outputs(features: Mapping[str, Node], stacks: Stacks) -> dict[str, Any]:
    """Return features as signatures give them; a missing value is one that stands for it."""
    made: dict[str, Any] = {}
    for of, names in by_type({name: node.type for name, node in features.items()}).items():
        if of.width is not None:
            for name in names:
                values, valid = stacks.one(features[name])
                made[name] = tf.where(valid[:, tf.newaxis], values, missing_value(Type(of.kind)))
            continue
        values, valid = stacks.get([features[name] for name in names])
        filled = tf.where(valid, values, missing_value(of))
        made.update(zip(names, tf.unstack(filled, len(names)), strict=True))
    return {name: made[name] for name in features}
