"""Reading CSV: as it is where it is plain, else from a plain copy.

Plain is UTF-8 with one character between fields and quotes doubled within quotes; such files are
scanned where they are, however large. Of others (compressed, in another encoding, with comments,
runs of white space, backslashes before quotes, blank lines at the end) a plain copy is written in
one streaming pass to a temporary folder, which is removed when the process ends.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from featurekit.csv_copies import (
    CsvForm,
    compression,
    copied,
    lines_of,
    not_text,
    without_blank_end,
)
from featurekit.csv_types import Remark, flow
from featurekit.errors import DataError
from featurekit.spec.objects import WHITESPACE, Source

__all__ = ["CsvFile", "form_of", "line_of", "open_csv", "scan_csv_file"]

_HEAD = 1 << 18
_HEAD_ROWS = 50


@dataclass(frozen=True)
class CsvFile:
    """A CSV file, ready to be scanned.

    Args:
        path: The file.
        plain: What is read: the file itself, or its plain copy.
        names: The names of its columns, each once.
        form: How it is written.
        skip: So many lines stand before the header in what is read.
        own: The names that stand in the file.
        remarks: What was noticed.
    """

    path: Path
    plain: Path
    names: tuple[str, ...]
    form: CsvForm
    skip: int = 0
    own: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = field(default=(), compare=False)

    @property
    def header_only(self) -> bool:
        """Whether nothing follows the header."""
        if self.plain.stat().st_size > _HEAD:
            return False
        return self.plain.read_bytes().rstrip(b"\r\n").count(b"\n") <= self.skip

    @property
    def as_it_is(self) -> bool:
        """Whether any reader of CSV that knows the separator reads it the same way."""
        return (
            self.plain == self.path
            and not self.skip
            and not self.remarks
            and (not self.form.header)
        )


def form_of(source: Source, file: Path) -> CsvForm:
    """Return how a file of a source is written."""
    names = [suffix.lower() for suffix in file.suffixes[-2:]]
    tabs = ".tsv" in names and source.separator == ","
    return CsvForm(
        "\t" if tabs else source.separator, source.null_values, source.encoding, source.skip_rows,
        source.comment, source.header, source.escape,
    )  # fmt: skip


def open_csv(path: Path, form: CsvForm, ragged: bool = False) -> CsvFile:
    """Look at a CSV file: make a plain copy where it needs one, and read its header.

    Args:
        path: The file.
        form: How it is written.
        ragged: Whether its rows may have too many fields, because who reads them sees to that.

    Raises:
        DataError: It is not text of that encoding, or its header cannot be used.
    """
    packed = compression(path)
    plain, skip = path, form.skip_rows
    if packed is not None or form.rewritten:
        status = path.stat()
        plain = copied(path, status.st_size, status.st_mtime_ns, packed, replace(form, header=()))
        skip = 0 if form.rewritten else skip
    head = _head(plain, path, skip)
    if "\r" in head.rstrip() and "\n" not in head:
        raise DataError(
            "lines end in carriage returns alone", where=str(path),
            hint="write the file with line feeds, as all systems of today do",
        )  # fmt: skip
    try:
        rows = list(islice(csv.reader(io.StringIO(head), delimiter=form.between), _HEAD_ROWS))
    except csv.Error as error:
        raise DataError(f"the header cannot be read: {error}", where=str(path)) from None
    names = next((row for row in rows if row), [])
    if not names:
        raise DataError("the data has no columns", where=str(path))
    _refuse_header(names, rows[1:], form, head, path, ragged)
    remarks: tuple[Remark, ...] = ()
    own = tuple(names)
    if form.header:
        widths = Counter(len(row) for row in rows[1:] if row)
        width = max(len(names), widths.most_common(1)[0][0] if widths else 0)
        if len(form.header) != width:
            raise DataError(
                f"the source's header has {len(form.header)} names, and the file "
                f"{width} columns", where=str(path),
                hint="header: names for all columns, in their order",
            )  # fmt: skip
        names = list(form.header)
    else:
        names, remarks = _named(names, path)
    if len(names) > 1:
        plain = without_blank_end(plain, path)
    return CsvFile(path, plain, tuple(names), form, skip, own, remarks)


def scan_csv_file(
    files: Sequence[CsvFile], types: Mapping[str, Any], ragged: bool = False, **options: Any
) -> pl.LazyFrame:
    """Return the rows of files with the same columns in the same order.

    Args:
        files: The files.
        types: The data type of each column; text for those that are not there.
        ragged: Whether rows may have too many fields.
        options: More for `polars.scan_csv`.
    """
    first, skip = files[0], files[0].skip
    if first.names != first.own:
        # Polars compares names with those of the header; a quoted name may hold line ends.
        skip += 1 + sum(name.count("\n") for name in first.own)
        options |= {"has_header": False, "raise_if_empty": False}
    return pl.scan_csv(
        [file.plain for file in files],
        separator=first.form.between, null_values=list(first.form.null_values),
        schema={name: types.get(name, pl.String()) for name in first.names},
        skip_lines=skip, glob=False, truncate_ragged_lines=ragged, **options,
    )  # fmt: skip


def line_of(file: CsvFile, row: int) -> int:
    """Return the number of the line in the file where a row begins.

    Args:
        file: The file.
        row: The row's number, from 0.
    """
    # Fields may hold line ends.
    text = scan_csv_file([file], {}, ragged=True).head(row)
    ends = text.select(pl.all().str.count_matches("\n", literal=True).sum()).collect()
    header = sum(name.count("\n") for name in file.own)
    line = row + 2 + header + sum(value or 0 for value in (ends.row(0) if ends.width else ()))
    if not file.form.rewritten:
        return line + file.skip
    if file.form.comment is None:
        return line + file.form.skip_rows
    kept = 0
    for number, text_line in enumerate(lines_of(file.path, compression(file.path), file.form), 1):
        if number > file.form.skip_rows and not text_line.startswith(file.form.comment):
            kept += 1
            if kept == line:
                return number
    return line


def _head(plain: Path, path: Path, skip: int) -> str:
    """Return the first lines of a file from the header on.

    Raises:
        DataError: They are not UTF-8.
    """
    with plain.open("rb") as file:
        data = file.read(_HEAD)
        more = len(data) == _HEAD
        for _ in range(skip if b"\n" in data else 0):
            end = data.find(b"\n") + 1
            data = data[end:] if end else b""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        text = decoder.decode(data, final=not more)
    except UnicodeDecodeError:
        raise not_text(path, "UTF-8", data) from None
    if "\x00" in text:
        raise not_text(path, "UTF-8", data)
    if more:
        text = text[: text.rfind("\n") + 1] or text
    return text.replace("\r\n", "\n")


def _refuse_header(
    names: list[str], rows: list[list[str]], form: CsvForm, head: str, path: Path, ragged: bool
) -> None:
    """Refuse a first line that is no header, with what to declare."""
    lines = head.split("\n")[:_HEAD_ROWS]
    for mark in ("#", "//", "%", "!", "--"):
        if lines[0].startswith(mark) and form.comment is None:
            others = [row for row in rows if row and not row[0].startswith(mark)]
            alike = Counter(map(len, others)).most_common(1)
            # A header may begin so, too.
            if alike and alike[0][0] != len(names):
                raise DataError(
                    f"the first line is a comment, {lines[0][:60]!r}", where=str(path),
                    hint=f"comment: {mark!r}, or skip_rows: the lines before the header",
                )  # fmt: skip
            break
    if lines[0].strip().lower().strip('"').startswith("sep=") and not form.header:
        mark = lines[0].strip().strip('"')[4:5] or ","
        raise DataError(
            f"the first line says what stands between fields, {lines[0]!r}", where=str(path),
            hint=f"skip_rows: {form.skip_rows + 1} and separator: {_yaml(mark)}",
        )  # fmt: skip
    if len(names) == 1 and form.separator != WHITESPACE and not form.header and _in_columns(lines):
        raise DataError(
            f"with {form.separator!r} between fields the header is one column, {names[0]!r}",
            where=str(path), hint=f"separator: {WHITESPACE}",
        )  # fmt: skip
    other = next((mark for mark in ";\t|," if mark in names[0] and mark != form.separator), None)
    if len(names) == 1 and other is not None and not form.header:
        raise DataError(
            f"with {form.separator!r} between fields the header is one column, {names[0]!r}",
            where=str(path), hint=f"declare the source's separator: {_yaml(other)}",
        )  # fmt: skip
    widths = Counter(len(row) for row in rows if row)
    width, agree = widths.most_common(1)[0] if widths else (len(names), 0)
    first = next((at for at, row in enumerate(rows) if len(row) == width), 0)
    title = width > len(names) and agree > 1 and 2 * agree > widths.total()
    if title and width == len(names) + 1 and first == 0 and len(names) > 1 and not form.header:
        front, back = flow(["row", *names]), flow([*names, "rest"])
        raise DataError(
            f"the header has {len(names)} names, and the rows {width} fields", where=str(path),
            hint="every row of a CSV file needs as many fields as the header; "
            f"header: {front} if the first column has no name, header: {back} if the last has none",
        )  # fmt: skip
    if title and not ragged and not form.header:
        said = f"the first line has {len(names)} of {width} fields, so it is no header"
        hint = f"skip_rows: {form.skip_rows + first + 1}"
        for mark in ";\t|":
            counts = [line.count(mark) for line in lines if line.strip()]
            usual, same = Counter(counts).most_common(1)[0]
            if mark != form.separator and usual and same + 2 >= len(counts) and not counts[0]:
                said = "the first line is no header"
                hint = f"skip_rows: {form.skip_rows + counts.index(usual)} and "
                hint += f"separator: {_yaml(mark)}"
        raise DataError(f"{said}: {lines[0][:60]!r}", where=str(path), hint=hint)
    if form.header:
        return
    for name in names:
        if name and names.count(name) > 1:
            seen: Counter[str] = Counter()
            new = []
            for place, each in enumerate(names, 1):
                seen[each] += 1
                new.append(
                    (f"{each}_{seen[each]}" if seen[each] > 1 else each) or f"column_{place}"
                )
            raise DataError(
                f"the column {name!r} stands twice in the header", where=str(path),
                hint=f"give each column a name of its own: header: {flow(new)}",
            )  # fmt: skip


def _named(names: list[str], path: Path) -> tuple[list[str], tuple[Remark, ...]]:
    """Give columns without a name one, by their place."""
    empty = [place for place, name in enumerate(names, 1) if not name.strip()]
    if not empty:
        return names, ()
    made = list(names)
    for place in empty:
        name = f"column_{place}"
        while name in made:
            name += "_"
        made[place - 1] = name
    called = ", ".join(made[place - 1] for place in empty)
    said = f"{path.name}: {'a column has' if len(empty) == 1 else 'columns have'} no name"
    return made, (Remark(None, f"{said} in the header; called {called}"),)


def _yaml(mark: str) -> str:
    """Return a mark as YAML takes it."""
    return '"\\t"' if mark == "\t" else repr(mark)


def _in_columns(lines: list[str]) -> bool:
    """Whether lines have as many words as the first, numbers among them, more than tabs divide."""
    header, rows = lines[0].split(), [line.split() for line in lines[1:] if line.strip()]
    alike = [row for row in rows if len(row) == len(header)]
    divided = max(1, lines[0].count("\t") + 1)
    return (
        len(header) > divided and len(rows) > 1 and 2 * len(alike) >= len(rows)
        and all(any(_is_number(word) for word in row) for row in alike)
    )  # fmt: skip


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
