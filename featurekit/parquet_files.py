"""Reading Parquet files of one glob whose columns need not be alike.

Types that hold each other's values become the wider one; a column that some files lack is missing
in their rows. What else differs is refused, with file, column and both types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from featurekit.csv_types import Remark
from featurekit.errors import DataError
from featurekit.partitions import Partitions
from featurekit.read_errors import first_line

__all__ = ["ParquetRows", "joined_dtype", "lacking", "read_parquet"]


@dataclass(frozen=True)
class ParquetRows:
    """The rows of Parquet files.

    Args:
        frame: The rows.
        schema: The data type of each column.
        remarks: What was noticed.
        as_they_are: Whether all files have the columns of the first, and no others.
    """

    frame: pl.LazyFrame
    schema: Mapping[str, Any]
    remarks: tuple[Remark, ...] = ()
    as_they_are: bool = True


def read_parquet(
    files: Sequence[Path], partitions: Partitions, file_column: str | None = None
) -> ParquetRows:
    """Open Parquet files; no rows are read.

    Args:
        files: The files, in the order of their rows.
        partitions: The columns that their folders name.
        file_column: A column to add with the file of each row.

    Raises:
        DataError: A file is not Parquet, or the types of a column do not go together.
    """
    schemas = [_schema(path) for path in files]
    first = schemas[0]
    added = {} if file_column is None else {file_column: pl.String()}
    alike = all(schema == first and list(schema) == list(first) for schema in schemas)
    if alike and not partitions:
        frame = pl.scan_parquet(list(files), glob=False, include_file_paths=file_column)
        return ParquetRows(frame, first | added)
    schema, remarks = _union(files, schemas)
    folders = partitions.typed(schema)
    columns = {**schema, **{name: column.dtype for name, column in folders.items()}}
    frames = []
    places = range(len(files))
    for _, group in groupby(places, key=lambda at: (list(schemas[at].items()), partitions.key(at))):
        together = list(group)
        own = schemas[together[0]]
        some = [files[at] for at in together]
        frame = pl.scan_parquet(some, glob=False, include_file_paths=file_column)
        made = [
            cs.by_name(name).as_expr().cast(dtype)
            if name in own
            else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in schema.items()
        ]
        made += [column.literal(together[0]).alias(name) for name, column in folders.items()]
        made += [pl.col(name) for name in added]
        frames.append(frame.select(made))
    remarks += [remark for column in folders.values() for remark in column.remarks]
    frame = frames[0] if len(frames) == 1 else pl.concat(frames)
    return ParquetRows(frame, columns | added, tuple(remarks), as_they_are=False)


def _schema(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(max(0, size - 4))
        end = file.read(4)
    damaged = DataError(
        "the file is truncated or not Parquet", where=str(path), hint="write it again"
    )
    if start != b"PAR1" or end != b"PAR1":
        raise damaged
    try:
        return dict(pl.scan_parquet(path, glob=False).collect_schema())
    except pl.exceptions.PolarsError as error:
        damaged.add_note(first_line(error))
        raise damaged from None


def _union(
    files: Sequence[Path], schemas: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[Remark]]:
    """Return the columns of all files with the types that hold their values."""
    found: dict[str, Any] = {}
    told: dict[str, Path] = {}
    left_out: set[str] = set()
    changed: dict[str, list[Any]] = {}
    for path, schema in zip(files, schemas, strict=True):
        if not set(schema) & set(schemas[0]):
            raise DataError(
                f"the file has no column in common with {files[0].name}", where=str(path),
                hint="all files of a glob are parts of one table",
            )  # fmt: skip
        for name, dtype in schema.items():
            if name not in found:
                found[name], told[name] = dtype, path
                continue
            both = joined_dtype(found[name], dtype)
            if both is None and found[name].is_nested() and dtype.is_nested():
                left_out.add(name)
                continue
            if both is None:
                raise DataError(
                    f"column {name!r} is {dtype} here and {found[name]} in {told[name].name}",
                    where=str(path), hint="write it with one type, or leave the file out of the "
                    "glob",
                )  # fmt: skip
            if both != found[name] or both != dtype:
                changed[name] = [*changed.get(name, [found[name]]), dtype, both]
            found[name] = both
    remarks = [
        Remark(
            name,
            f"column {name!r} is {', '.join(dict.fromkeys(map(str, kinds)))} in different files, "
            f"and read as {found[name]}",
        )
        for name, kinds in changed.items()
    ]
    remarks += lacking(files, schemas)
    remarks += [
        Remark(name, f"column {name!r} is nested differently in different files, and left out")
        for name in sorted(left_out)
    ]
    return {name: dtype for name, dtype in found.items() if name not in left_out}, remarks


def lacking(files: Sequence[Path], columns: Sequence[Any]) -> Iterator[Remark]:
    """Yield a remark for each column that some files have and others lack.

    Args:
        files: The files.
        columns: The columns of each.
    """
    for name in dict.fromkeys(name for each in columns for name in each):
        without = [path for path, each in zip(files, columns, strict=True) if name not in each]
        if without:
            yield Remark(
                name,
                f"column {name!r} is missing in {len(without)} of {len(files)} files "
                f"({without[0].name}{', ...' * (len(without) > 1)}), and so in their rows",
            )


def joined_dtype(one: Any, other: Any) -> Any:
    """Return the data type that holds the values of two; `None` if there is none.

    Example:
        >>> joined_dtype(pl.Int32(), pl.Int64())
        Int64
    """
    if one == other:
        return one
    for dtype, rest in ((one, other), (other, one)):
        if dtype == pl.Null:
            return rest
    if one.is_numeric() and other.is_numeric() and not one.is_decimal() and not other.is_decimal():
        return _number(one, other)
    if one.is_decimal() and other.is_decimal():
        same = one.scale == other.scale
        return pl.Decimal(max(one.precision, other.precision), one.scale) if same else None
    if one == pl.Datetime and other == pl.Datetime:
        # Times are microseconds here in any case.
        return pl.Datetime("us", one.time_zone) if one.time_zone == other.time_zone else None
    if one == pl.Duration and other == pl.Duration:
        return pl.Duration("us")
    text = (pl.String, pl.Categorical, pl.Enum)
    return pl.String() if isinstance(one, text) and isinstance(other, text) else None


_SIGNED = {8: pl.Int8(), 16: pl.Int16(), 32: pl.Int32(), 64: pl.Int64()}
_BITS = {
    pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64,
    pl.UInt8: 8, pl.UInt16: 16, pl.UInt32: 32, pl.UInt64: 64,
}  # fmt: skip


def _number(one: Any, other: Any) -> Any:
    if one.is_float() or other.is_float():
        return pl.Float64()
    if type(one) not in _BITS or type(other) not in _BITS:
        return None
    bits = {dtype: _BITS[type(dtype)] for dtype in (one, other)}
    if one.is_unsigned_integer() == other.is_unsigned_integer():
        return max((one, other), key=bits.__getitem__)
    unsigned, signed = (one, other) if one.is_unsigned_integer() else (other, one)
    return _SIGNED.get(max(2 * bits[unsigned], bits[signed]))
