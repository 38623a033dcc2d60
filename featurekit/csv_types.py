"""Types of the columns of CSV files, read from their text, and what is noticed on the way.

A column is of the narrowest type that all its texts fit: bool, int64, float, else string. Nothing
is guessed: text that is nearly a number stays text, and a remark says what to declare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl
import yaml

from featurekit.number_text import NumberText
from featurekit.types import BOOL, FLOAT32, INT64, STRING, TIMESTAMP, Type

__all__ = [
    "MARKERS",
    "Guess",
    "Remark",
    "flow",
    "guess",
    "is_marker",
    "joined",
    "remarks",
    "text_hint",
]

MARKERS = frozenset(
    (
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "#n/a n/a",
        "#na",
        "<na>",
        "null",
        "(null)",
        "none",
        "nil",
        "nan",
        "-nan",
        "\\n",
        "-",
        "--",
        "---",
        ".",
        "..",
        "?",
        "#null!",
        "#value!",
        "#div/0!",
        "#ref!",
        "missing",
    )
)
"""Texts, in lower case, by which files commonly mean a missing value."""

_TIME = r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?$"
_COMMA_DECIMAL = r"^[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+$|^[+-]?\d{1,3}(?:\.\d{3}){2,}$"
_COMMA_GROUPS = r"^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$"
_EITHER = r"^[+-]?\d{1,3},\d{3}$"
_PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)$"
_NUMBER = r"[+-]?(?:\d+|\d{1,3}(?:[,.' ]\d{3})+)(?:[.,]\d+)?"
_DECORATED = rf"^(?:\(?[$€£¥]?\s?{_NUMBER}\s?[$€£¥%]?\)?|[+-][$€£¥]\s?{_NUMBER})$"


@dataclass(frozen=True)
class Remark:
    """Something that was noticed while a source was opened, and what to declare about it.

    Args:
        column: The column in the data; `None` where it is about whole files.
        said: What was noticed.
        hint: What to write in the spec.
    """

    column: str | None
    said: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.said}. Hint: {self.hint}" if self.hint else self.said


@dataclass(frozen=True)
class Guess:
    """What the texts of a column say of its type.

    Args:
        type: The type; `None` where there are no values.
        padded: Whether there is white space around numbers, which readers of CSV do not take away.
        nearly: The type that it would have but for some markers of missing values.
        markers: These markers.
        rows: In so many rows they stand.
        why: What else was noticed: `zeros`, `large`, or how numbers are written.
        example: A value that shows it.
    """

    type: Type | None = None
    padded: bool = False
    nearly: Type | None = None
    markers: tuple[str, ...] = ()
    rows: int = 0
    why: str = ""
    example: str = ""


def is_marker(text: str) -> bool:
    """Whether a text commonly means a missing value."""
    return text.strip().lower() in MARKERS


def flow(values: Sequence[str]) -> str:
    """Return texts as a YAML list on one line.

    Example:
        >>> flow(["NA", "-"])
        "[NA, '-']"
    """
    text: str = yaml.safe_dump(
        list(values), default_flow_style=True, allow_unicode=True, width=2**31
    )
    return text.strip()


def guess(values: pl.Series, numbers: NumberText) -> Guess:
    """Return the type of the texts of a column.

    Args:
        values: The texts, missing ones null.
        numbers: How numbers are written.
    """
    values = values.drop_nulls()
    if not values.len():
        return Guess()
    texts = values.to_frame("x").select(numbers.plain(pl.col("x"))).to_series()
    integers = texts.cast(pl.Int64, strict=False)
    floats = integers if not integers.null_count() else texts.cast(pl.Float64, strict=False)
    if not floats.null_count():
        return _number(values, texts, integers)
    words = values.str.strip_chars()
    lower = words.str.to_lowercase()
    truth = lower.is_in(["true", "false"])
    if truth.all():
        return Guess(BOOL, padded=bool((words != values).any()))
    marked = lower.is_in(list(MARKERS)) & floats.is_null()
    markers = tuple(words.filter(marked).unique(maintain_order=True).head(20))
    found = Guess(STRING, markers=markers, rows=int(marked.sum()))
    rest = words.filter(~marked)
    if not rest.len():
        return found
    if markers:
        kept = guess(values.filter(~marked), numbers)
        if kept.type in (INT64, FLOAT32, BOOL):
            return replace(found, nearly=kept.type)
        if kept.why in ("zeros", "large"):
            return replace(kept, markers=(), rows=0)
        if rest.str.contains(_TIME).all():
            return replace(found, nearly=TIMESTAMP)
    return _written(found, rest)


def _number(values: pl.Series, texts: pl.Series, integers: pl.Series) -> Guess:
    zeros = texts.str.contains(r"^[+-]?0\d+$")
    if zeros.any():
        return Guess(STRING, why="zeros", example=str(texts.filter(zeros).item(0)))
    padded = bool((texts != values).any())
    if not integers.null_count():
        return Guess(INT64, padded)
    large = texts.str.contains(r"^[+-]?\d+$") & integers.is_null()
    if large.any() and texts.str.contains(r"^[+-]?\d+$").all():
        return Guess(STRING, why="large", example=str(texts.filter(large).item(0)))
    return Guess(FLOAT32, padded)


def _written(found: Guess, rest: pl.Series) -> Guess:
    """Say how numbers are written in a column of text, if all of it is numbers."""
    if not rest.str.contains(r"\d").all():
        return found
    plain = rest.str.contains(_PLAIN)
    odd = rest.filter(~plain)
    example = str(odd.item(0)) if odd.len() else ""
    comma, groups = odd.str.contains(_COMMA_DECIMAL), odd.str.contains(_COMMA_GROUPS)
    if odd.len() and odd.str.contains(_EITHER).all():
        return replace(found, why="either", example=example)
    if odd.len() and groups.all():
        return replace(found, why="groups", example=example)
    if odd.len() and (comma | odd.str.contains(_EITHER)).all():
        dotted = odd.str.contains(r"\.\d{3}(?:\D|$)").any()
        return replace(found, why="comma dotted" if dotted else "comma", example=example)
    share = rest.str.contains("%", literal=True)
    if odd.len() and rest.str.contains(_DECORATED).all() and (share.all() or not share.any()):
        below = rest.filter(rest.str.contains("(", literal=True))
        return replace(
            found, why="decorated", example=str(below.item(0)) if below.len() else example
        )
    return found


_ORDER = {BOOL: 0, INT64: 1, FLOAT32: 2, STRING: 3}


def joined(types: Iterable[Type | None]) -> Type | None:
    """Return the narrowest type that holds the values of all types; `None` holds none.

    Example:
        >>> str(joined([INT64, None, FLOAT32]))
        'float32'
    """
    known = {of for of in types if of is not None}
    if BOOL in known and len(known) > 1:
        return STRING
    return max(known, key=_ORDER.__getitem__, default=None)


def remarks(column: str, guesses: Sequence[Guess], given: Sequence[str]) -> list[Remark]:
    """Return what the guesses of a column, one for each file, say to its reader.

    Args:
        column: The column in the data.
        guesses: The guess of each file.
        given: The texts that are declared to stand for missing values.
    """
    found: list[Remark] = []
    of = joined(each.type for each in guesses)
    why = next((each for each in guesses if each.why and each.type == of), None)
    if why is not None:
        found += _why(column, why)
    markers = tuple(dict.fromkeys(m for each in guesses for m in each.markers))
    nearly = joined(
        each.nearly or (None if each.type == STRING and each.markers else each.type)
        for each in guesses
        if each.nearly != TIMESTAMP
    )
    times = any(each.nearly == TIMESTAMP for each in guesses)
    if (
        markers
        and (times or nearly not in (None, STRING))
        and all(each.type != STRING or each.markers for each in guesses)
    ):
        rows = sum(each.rows for each in guesses)
        shown = ", ".join(map(repr, markers[:5]))
        of_rows = "1 row" if rows == 1 else f"{rows:,} rows"
        found.append(
            Remark(
                column,
                f"column {column!r} is read as text: it would be "
                f"{TIMESTAMP if times else nearly} but for {shown} in {of_rows}",
                f"null_values: {flow([*given, *markers])}",
            )
        )
    return found


def text_hint(column: str, texts: Sequence[str], numbers: NumberText, given: Sequence[str]) -> str:
    """Return what to declare of texts that are not of their column's type; nothing if unknown.

    Args:
        column: The column.
        texts: Some of them.
        numbers: How numbers are written.
        given: The texts that are declared to stand for missing values.
    """
    if texts and all(map(is_marker, texts)):
        return f"null_values: {flow([*given, *texts])}"
    found = guess(pl.Series(texts, dtype=pl.String), numbers)
    why = found.why if found.why not in ("zeros", "large") else ""
    return _why(column, found)[0].hint if why else ""


def _why(column: str, why: Guess) -> list[Remark]:
    said = f"column {column!r} is read as text: "
    if why.why == "zeros":
        said += f"as a number, {why.example!r} would lose its zeros"
        return [Remark(column, said, f"declare it: {column}: string; or {column}: int64")]
    if why.why == "large":
        said += f"{why.example!r} is beyond the integers of 64 bits"
        return [Remark(column, said, f"declare it: {column}: string; or {column}: float64")]
    said += f"its numbers are written like {why.example!r}"
    hints = {
        "either": "decimal: ',' if that is a fraction, thousands: ',' if it is a whole number",
        "groups": "thousands: ','",
        "comma": "decimal: ','",
        "comma dotted": "decimal: ',' and thousands: '.'",
    }
    hint = hints.get(why.why) or f"a derived column: {_derived(column, why.example)}"
    return [Remark(column, said, hint)]


def _derived(column: str, example: str) -> str:
    """Return a derived column that makes numbers of texts with signs around them."""
    name = column if column.isidentifier() else f'col("{column}")'
    if _comma(example):
        text = f'regex_replace(regex_replace({name}, "[^0-9,+-]", ""), ",", ".")'
    else:
        text = f'regex_replace({name}, "[^0-9.+-]", "")'
    number = f'cast({text}, "float32")'
    if "%" in example:
        number += " / 100"
    if "(" in example:
        number = f'where(contains({name}, "("), -{number}, {number})'
    return f"{flow([f'{column}_number'])[1:-1]}: {{expr: {flow([number])[1:-1]}}}"


def _comma(example: str) -> bool:
    """Whether a decorated number has a decimal comma."""
    marks = [mark for mark in example if mark in ",."]
    fraction = example.rpartition(",")[2].rstrip(")% $€£¥")
    return bool(marks) and marks[-1] == "," and len(fraction) != 3
