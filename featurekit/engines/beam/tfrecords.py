"""TFRecord files of `tf.Example`s as columns.

A feature of an example is a list; a column takes lists of one value, and none, or no feature at
all, is a missing value. Types travel as in the `tf.Example`s of serving: times and durations as
microseconds, truth as 0 and 1, texts as UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from featurekit.errors import DataError
from featurekit.transforms.base import polars_dtype
from featurekit.types import STRING, Kind, Type

__all__ = ["Decoder"]

_BUFFER = 1 << 22
_EMPTY = b"\x0a\x00"
"""An example without features; the decoder does not take one of no bytes, which means the same."""


class Decoder:
    """Turns serialised examples into a table.

    Args:
        types: The columns to read, with their types.

    Raises:
        DataError: A column is float64, which no example holds.
    """

    def __init__(self, types: Mapping[str, Type]) -> None:
        self.types = types
        wide = [name for name, of in types.items() if of.kind is Kind.FLOAT64]
        if wide:
            raise DataError(
                f"a tf.Example carries float32 only, and {wide[0]!r} is declared float64",
                hint=f"declare {wide[0]!r} as float32",
            )
        schema = schema_pb2.Schema()
        for name, of in types.items():
            feature = schema.feature.add(name=name)
            feature.type = (
                schema_pb2.BYTES if of == STRING
                else schema_pb2.FLOAT if of.is_float
                else schema_pb2.INT
            )  # fmt: skip
        self._schema = schema.SerializeToString()
        self._decoder = ExamplesToRecordBatchDecoder(self._schema)

    def records(self, path: str, size: int) -> Iterator[tuple[list[bytes], int]]:
        """Yield the records of a file, so many at a time, and how many came before.

        Raises:
            DataError: The file is not there, truncated or damaged.
        """
        packed = "GZIP" if path.endswith(".gz") else None
        start = 0
        try:
            data = tf.data.TFRecordDataset(path, packed, _BUFFER).batch(size)
            for batch in data.as_numpy_iterator():
                records = list(batch)
                yield records, start
                start += len(records)
        except tf.errors.OpError as error:
            text = str(error.message).splitlines()[0]
            raise DataError(f"the data cannot be read: {text}", where=path) from None

    def table(self, records: Sequence[bytes]) -> tuple[pa.Table, list[tuple[int, str]]]:
        """Return the rows of records, and which of them are none, with the reason."""
        lists, bad = self._decoded([record or _EMPTY for record in records])
        if lists is None:
            return pa.table({}), bad
        frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([lists])))
        many = {name: (pl.col(name).list.len() > 1).fill_null(False) for name in frame.columns}
        wrong = frame.with_row_index("~row").filter(pl.any_horizontal(many.values()))
        lost = {row for row, _ in bad}
        places = [place for place in range(len(records)) if place not in lost]
        for row in wrong.iter_rows(named=True):
            name = next(name for name in many if len(row[name] or ()) > 1)
            bad.append((places[row["~row"]], f"{len(row[name])} values of {name!r} instead of one"))
        if wrong.height:
            frame = frame.filter(~pl.any_horizontal(many.values()))
            lost = {row for row, _ in bad}
            places = [place for place in places if place not in lost]
        return self._typed(frame, places, bad).to_arrow(), sorted(bad)

    def _typed(
        self, lists: pl.DataFrame, places: Sequence[int], bad: list[tuple[int, str]]
    ) -> pl.DataFrame:
        first = lists.select(pl.all().list.first())
        columns: list[pl.Expr | pl.Series] = []
        for name, of in self.types.items():
            column = pl.col(name)
            if of == STRING:
                columns.append(_texts(first[name]))
            elif of.kind is Kind.BOOL:
                columns.append(pl.when(column.is_in([0, 1])).then(column == 1).alias(name))
            else:
                columns.append(column.cast(polars_dtype(of), strict=False))
        made = first.select(columns)
        lost = pl.select(pl.lit(False).repeat_by(made.height).explode()).to_series()
        for name, of in self.types.items():
            wrong = made[name].is_null() & first[name].is_not_null()
            if wrong.any():
                reason = "is not UTF-8" if of == STRING else f"is not of type {of}"
                places_lost = wrong.arg_true().to_list()
                bad += [
                    (places[row], f"column {name!r}: the value {reason}") for row in places_lost
                ]
                lost |= wrong
        return made.filter(~lost) if lost.any() else made

    def _decoded(self, records: list[bytes]) -> tuple[Any, list[tuple[int, str]]]:
        """Decode records; where they cannot be together, one by one, to tell which cannot."""
        whole, _ = self._batch(records)
        if whole is not None:
            return whole, []
        good, bad = [], []
        for row, record in enumerate(records):
            made, why = self._batch([record])
            if made is None:
                bad.append((row, why))
            else:
                good.append(record)
        return (self._batch(good)[0] if good else None), bad

    def _batch(self, records: list[bytes]) -> tuple[Any, str]:
        """Decode records, or say why they cannot be."""
        try:
            return self._decoder.DecodeBatch(records), ""
        except RuntimeError as error:
            # One that has failed remembers the part of a record that it had read.
            self._decoder = ExamplesToRecordBatchDecoder(self._schema)
            return None, _reason(error)


def _texts(values: pl.Series) -> pl.Series:
    """Return bytes as texts; null where they are not UTF-8."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        decoded = [None if value is None else _text(value) for value in values.to_list()]
        return pl.Series(values.name, decoded, pl.String)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _reason(error: RuntimeError) -> str:
    """Return what the decoder says, without the code in front."""
    text = str(error).splitlines()[0]
    code, _, said = text.partition(": ")
    return said if code.isupper() else text
