"""Labels inside of identifiers: a prefix, a last letter, the last digit, the length, the order.

A column of which nearly every value is new says nothing as a whole; its parts may. Identifiers that
are given out one by one rise with whatever the rows were written by: by the numbers in them, or in
the order of their letters.
"""

from __future__ import annotations

import polars as pl

from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Histograms
from featurekit.analysis.leakage.table import Rows, collect

__all__ = ["parts_of"]

_ENDS = 3
_TOKEN = r"[^\W_]+"  # noqa: S105
_NUMBER = r"\d{1,15}"
_LETTERS = 6
"""So many letters fit into a float64 exactly, by their bytes."""
_REPEATS = 5
"""A column is taken apart if a value has fewer rows on average."""


def parts_of(rows: Rows, histograms: Histograms) -> dict[str, tuple[str, pl.Expr]]:
    """Return the parts of all columns that look like identifiers.

    Args:
        rows: The table.
        histograms: Its histograms, which say how far values repeat.

    Returns:
        For each part, the column and an expression for it.
    """
    schema = rows.schema()
    out: dict[str, tuple[str, pl.Expr]] = {}
    for name in rows.features:
        bins = histograms.columns[name]
        if bins.exact and histograms.rows / max(1, len(bins.keys)) >= _REPEATS:
            continue
        made: dict[str, pl.Expr] = {}
        x = named(name)
        if schema[name].is_integer():
            made = {"the last digit": x % 10, "the last two digits": x % 100}
        elif bins.words is not None:
            text = x.cast(pl.String)
            made = {"the length": text.str.len_chars(), "the first word": text.str.extract(
                f"^({_TOKEN})", 1
            ), "the last word": text.str.extract(f"({_TOKEN})$", 1)}  # fmt: skip
            made |= _orders(rows, text)
            made |= {f"letter {i + 1}": text.str.slice(i, 1) for i in range(_ENDS)}
            made |= {f"letter {i} from the end": text.str.slice(-i, 1) for i in range(1, _ENDS + 1)}
        out |= {f"{part} of {name}": (name, part_of) for part, part_of in made.items()}
    return {key: (name, made.alias(key)) for key, (name, made) in out.items()}


def _orders(rows: Rows, text: pl.Expr) -> dict[str, pl.Expr]:
    """Return the numbers in texts, and their order by the letters behind what all begin with."""
    numbers = text.str.extract_all(_NUMBER)
    made = {
        "the first number": numbers.list.first().cast(pl.Float64),
        "the last number": numbers.list.last().cast(pl.Float64),
    }
    # What the first and the last have in common, all that lie between them have.
    ends = collect(rows.frame.select(low=text.min(), high=text.max())).row(0)
    if None not in ends:
        low, high = (str(end).encode() for end in ends)
        apart = (place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b)
        common = next(apart, min(len(low), len(high)))
        padded = (text + "\0" * _LETTERS).cast(pl.Binary)
        made["the order"] = pl.sum_horizontal(
            padded.bin.slice(common + place, 1).bin.reinterpret(dtype=pl.UInt8).cast(pl.Float64)
            * 256.0 ** (_LETTERS - 1 - place)
            for place in range(_LETTERS)
        )
    return made
