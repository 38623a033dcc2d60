"""Plain copies of CSV files that are not plain, written in one streaming pass.

They stand in a temporary folder, which is removed when the process ends.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO, cast

from featurekit.errors import DataError
from featurekit.scratch import process_folder
from featurekit.spec.objects import WHITESPACE

__all__ = ["CsvForm", "compression", "copied", "lines_of", "not_text", "without_blank_end"]

_BLOCK = 1 << 20
_END = 1 << 18
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}


@dataclass(frozen=True)
class CsvForm:
    """How CSV is written; see the settings of `Source`.

    Args:
        separator: What stands between fields.
        null_values: Texts that stand for missing values, beside the empty one.
        encoding: The encoding; UTF-8 without it.
        skip_rows: So many lines stand before the header.
        comment: What comment lines begin with.
        header: The names of the columns, in place of those in the file.
        escape: What stands before a quote within quotes.
    """

    separator: str = ","
    null_values: tuple[str, ...] = ()
    encoding: str | None = None
    skip_rows: int = 0
    comment: str | None = None
    header: tuple[str, ...] = ()
    escape: str | None = None

    @property
    def utf8(self) -> bool:
        """Whether the text is UTF-8."""
        return self.encoding is None or codecs.lookup(self.encoding).name in ("utf-8", "ascii")

    @property
    def between(self) -> str:
        """What stands between fields of a plain copy."""
        return "\t" if self.separator == WHITESPACE else self.separator

    @property
    def rewritten(self) -> bool:
        """Whether the text itself has to be written anew."""
        return (
            not self.utf8 or self.comment is not None or self.escape is not None
            or self.separator == WHITESPACE
        )  # fmt: skip


def compression(path: Path) -> str | None:
    """Return how a file is compressed, by its first bytes.

    Raises:
        DataError: It is an archive.
    """
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK\x03\x04"):
        raise DataError(
            "the file is a zip archive", where=str(path), hint="unpack it, or compress it with gzip"
        )
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


@cache
def copied(path: Path, size: int, changed: int, packed: str | None, form: CsvForm) -> Path:
    """Write a plain copy of a file, once for each state of it, and return where it is."""
    del size, changed  # They tell one state of the file from another.
    handle, name = tempfile.mkstemp(suffix=".csv", dir=process_folder())
    target = Path(name)
    try:
        with os.fdopen(handle, "wb") as copy:
            if form.rewritten:
                for text in _rewritten(path, packed, form):
                    copy.write(text.encode("utf-8"))
            else:
                with _unpacked(path, packed) as file:
                    shutil.copyfileobj(file, copy, _BLOCK)
    except (EOFError, lzma.LZMAError, csv.Error, OSError, ValueError) as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if isinstance(error, UnicodeError):
            raise not_text(path, form.encoding or "utf-8") from None
        raise DataError(
            f"the file is damaged: it cannot be unpacked ({error})", where=str(path),
            hint="write it again",
        ) from None  # fmt: skip
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def _unpacked(path: Path, packed: str | None) -> BinaryIO:
    if packed == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if packed == "bz2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    if packed == "xz":
        return cast(BinaryIO, lzma.open(path, "rb"))
    if packed == "zstd":
        import pyarrow as pa

        return cast(BinaryIO, pa.CompressedInputStream(str(path), "zstd"))
    return path.open("rb")


def _texts(path: Path, packed: str | None, form: CsvForm) -> Iterator[str]:
    """Yield the text of a file, some at a time."""
    name = form.encoding or "utf-8"
    decoder = codecs.getincrementaldecoder(name)()
    first = True
    with _unpacked(path, packed) as file:
        while block := file.read(_BLOCK):
            text = decoder.decode(bytes(block))
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            yield text
    yield decoder.decode(b"", final=True)


def lines_of(path: Path, packed: str | None, form: CsvForm) -> Iterator[str]:
    """Yield the lines of a file, with their ends."""
    rest = ""
    for text in _texts(path, packed, form):
        *lines, rest = _cut(rest + text)
        yield from lines
    if rest:
        yield rest


def _cut(text: str) -> list[str]:
    parts = text.split("\n")
    return [*(f"{part}\n" for part in parts[:-1]), parts[-1]]


def _rewritten(path: Path, packed: str | None, form: CsvForm) -> Iterator[str]:
    """Yield the text of a plain copy."""
    if form.escape is not None:
        yield from _unescaped(_kept(path, packed, form), form)
        return
    for text in _kept_blocks(path, packed, form):
        yield _tabbed(text) if form.separator == WHITESPACE else text


def _kept_blocks(path: Path, packed: str | None, form: CsvForm) -> Iterator[str]:
    """Yield whole lines, many at a time, without those before the header and comments."""
    rest, skip = "", form.skip_rows
    comment = (
        None
        if form.comment is None
        else re.compile(rf"(?m)^{re.escape(form.comment)}[^\n]*(?:\n|\Z)")
    )
    for text in _ended(_texts(path, packed, form)):
        block = rest + (text or "")
        if text is not None:
            end = block.rfind("\n") + 1
            block, rest = block[:end], block[end:]
        while skip and block:
            end = block.find("\n") + 1
            block, skip = (block[end:] if end else ""), skip - 1
        if comment is not None:
            block = comment.sub("", block)
        yield block


def _ended(texts: Iterator[str]) -> Iterator[str | None]:
    yield from texts
    yield None


def _kept(path: Path, packed: str | None, form: CsvForm) -> Iterator[str]:
    for block in _kept_blocks(path, packed, form):
        yield from (line for line in _cut(block) if line)


def _unescaped(lines: Iterator[str], form: CsvForm) -> Iterator[str]:
    """Yield rows whose quotes are doubled, of rows with an escape before them."""
    between = "\t" if form.separator == WHITESPACE else form.separator
    if form.separator == WHITESPACE:
        lines = (_tabbed(line) for line in lines)
    # An empty text between quotes is no missing value; rows forget the quotes.
    edge = re.escape(between)
    empty = re.compile(rf'(^|{edge})""(?={edge}|\r?\n|$)')
    lines = (empty.sub(rf"\1{_EMPTY}", line) if '""' in line else line for line in lines)
    target = io.StringIO()
    writer = csv.writer(target, delimiter=between, lineterminator="\n")
    reader = csv.reader(lines, delimiter=between, escapechar=form.escape)
    while rows := list(islice(reader, 4096)):
        writer.writerows(rows)
        yield target.getvalue().replace(_EMPTY, '""')
        target.seek(0)
        target.truncate()


_EMPTY = "\ue0ff"
"""A character for private use, which stands for an empty text meanwhile."""
_QUOTED = re.compile(r'"(?:[^"]|"")*"|[ \t]+')


def _tabbed(text: str) -> str:
    """Return lines whose fields are apart by tabs, of lines with runs of white space."""
    text = re.sub(r"(?m)^[ \t]+|[ \t]+(?=\r?$)", "", text)
    if '"' not in text:
        return re.sub(r"[ \t]+", "\t", text)
    return _QUOTED.sub(lambda found: found[0] if found[0][0] == '"' else "\t", text)


def not_text(path: Path, encoding: str, data: bytes = b"") -> DataError:
    """Return an error for a file that is not text of an encoding.

    Args:
        path: The file.
        encoding: The encoding.
        data: Its first bytes.
    """
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff")) or data.count(b"\x00") * 3 > len(data) > 0
    hint = (
        "encoding: utf-16"
        if wide
        else (
            "declare how it is written, for example encoding: cp1252 (Western Europe, Windows), "
            "encoding: latin-1 or encoding: utf-16"
        )
    )
    return DataError(f"the text is not {encoding}", where=str(path), hint=hint)


def without_blank_end(plain: Path, path: Path) -> Path:
    """Return a file without the blank lines at the end of another, which hold nothing."""
    with plain.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        tail = file.read()
    kept = tail.rstrip(b"\r\n")
    lost = tail[len(kept) :]
    if lost.count(b"\n") < 2 or not kept:
        return plain
    end = size - len(lost) + (2 if lost.startswith(b"\r\n") else 1)
    if plain == path:
        status = path.stat()
        plain = _cut_off(path, status.st_size, status.st_mtime_ns, end)
    else:
        os.truncate(plain, end)
    return plain


@cache
def _cut_off(path: Path, size: int, changed: int, end: int) -> Path:
    """Write a copy of the first bytes of a file, once for each state of it."""
    del size, changed
    handle, name = tempfile.mkstemp(suffix=".csv", dir=process_folder())
    with os.fdopen(handle, "wb") as copy, path.open("rb") as file:
        _copy_bytes(file, copy, end)
    return Path(name)


def _copy_bytes(source: IO[bytes], target: IO[bytes], count: int) -> None:
    while count > 0 and (block := source.read(min(count, _BLOCK))):
        target.write(block)
        count -= len(block)
