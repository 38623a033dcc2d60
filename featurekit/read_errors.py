"""What goes wrong while data is read or written, as FeatureKit's errors with a place."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from featurekit.errors import DataError, EngineError, FeatureKitError

__all__ = ["UnparsedValue", "csv_errors", "first_line", "polars_errors"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_OWN = (
    pl.exceptions.DuplicateError, pl.exceptions.OutOfBoundsError, pl.exceptions.ShapeError,
    pl.exceptions.StructFieldNotFoundError,
)  # fmt: skip
"""What a query of ours does wrong, whatever the data."""


@contextmanager
def polars_errors(where: str, writing: bool = False) -> Iterator[None]:
    """Turn what Polars and the operating system raise into FeatureKit errors with a place.

    Args:
        where: The place.
        writing: Whether the step writes too, so that a full disk is the likely cause.
    """
    try:
        yield
    except FeatureKitError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        text = first_line(error)
        code = error.errno if isinstance(error, OSError) else None
        if code is None and (found := re.search(r"os error (\d+)", str(error))):
            code = int(found[1])
        if code in _FULL:
            raise EngineError(
                f"the disk is full ({os.strerror(code)})",
                where=where,
                hint="free space and run again",
            ) from None
        if writing and code is not None:
            raise EngineError(f"writing failed: {text}", where=where) from None
        if isinstance(error, _OWN):
            raise EngineError(
                f"Polars failed: {text}", where=where, hint="please report this with the spec"
            ) from None
        raise _data_error(error, where) from None
    except pl.exceptions.PanicException as error:
        raise EngineError(
            f"Polars failed: {first_line(error)}",
            where=where,
            hint="please report this with the spec",
        ) from None


@contextmanager
def csv_errors(where: str) -> Iterator[None]:
    """Turn what Arrow says of a CSV file into a FeatureKit error."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        text = first_line(error).removeprefix("CSV parse error: ")
        hint = "every row of a CSV file needs as many fields as the header"
        if '\\"' in str(error):
            hint += r"; if a backslash stands before quotes within text: escape: '\'"
        raise DataError(f"the data cannot be read: {text}", where=where, hint=hint) from None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 300 characters of it.

    What a library advises its own callers to do is left out.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = _ADVICE.sub("", text) or text
    return text if len(text) <= 300 else f"{text[:297]}..."


_ADVICE = re.compile(r"[,;.]?\s*\b(?:hint:|consider |you might |try )[^']*$", re.IGNORECASE)
_UNPARSED = re.compile(
    r"could not parse `(.*?)` as dtype `\w+` at column '(.*)' \(column", re.DOTALL
)


class UnparsedValue(DataError):
    """A text of a CSV file is not of its column's type.

    Args:
        value: The text.
        column: The column in the data.
        where: The place.
    """

    def __init__(self, value: str, column: str, where: str) -> None:
        super().__init__(
            f"column {column!r}: {value!r} is not of the type that the first rows are", where=where,
            hint=f"declare it under the source's columns: {column}: string; or list it under "
            "null_values",
        )  # fmt: skip
        self.column = column


def _data_error(error: BaseException, where: str) -> DataError:
    unparsed = _UNPARSED.search(str(error))
    if unparsed is not None:
        return UnparsedValue(unparsed[1], unparsed[2], where)
    text = first_line(error)
    return DataError(f"the data cannot be read: {text}", where=where, hint=_read_hint(text))


def _read_hint(text: str) -> str:
    lower = text.lower()
    if re.match(r"(?:parquet|thrift)\b|.*file out of specification", lower):
        return "the file is truncated or not Parquet; write it again"
    if "fields than defined" in lower or "ragged" in lower:
        return "every row of a CSV file needs as many fields as the header"
    if "invalid utf-8" in lower:
        return "text is read as UTF-8; declare another encoding: cp1252, latin-1 or utf-16"
    return ""
