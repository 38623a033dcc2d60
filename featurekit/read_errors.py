"""What goes wrong while data is read or written, as FeatureKit's errors with a place."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from featurekit.errors import DataError, EngineError, FeatureKitError

__all__ = ["csv_errors", "first_line", "polars_errors"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        raise DataError(
            f"the data cannot be read: {text}", where=where, hint=_read_hint(text)
        ) from None
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
        raise DataError(
            f"the data cannot be read: {text}",
            where=where,
            hint="every row of a CSV file needs as many fields as the header",
        ) from None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 300 characters of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def _read_hint(text: str) -> str:
    lower = text.lower()
    if "parquet" in lower or "thrift" in lower or "magic" in lower or "eof" in lower:
        return "the file is truncated or not Parquet; write it again"
    if "fields than defined" in lower or "ragged" in lower:
        return "every row of a CSV file needs as many fields as the header"
    if "could not parse" in lower:
        return "correct it, declare another type for the column, or list it under null_values"
    if "utf-8" in lower:
        return "text must be UTF-8; convert the file first"
    if "schema" in lower:
        return "all files of a glob need the same columns and types"
    return ""
