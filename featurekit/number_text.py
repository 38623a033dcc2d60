"""Numbers as people write them in text: with a decimal comma, with thousands apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

__all__ = ["USUAL", "NumberText"]


@dataclass(frozen=True)
class NumberText:
    """How numbers are written in text.

    Args:
        decimal: What stands before the fraction: `.` or `,`.
        thousands: What stands between groups of three digits, if anything does.

    Example:
        >>> german = NumberText(",", ".")
        >>> pl.select(german.plain(pl.lit("1.234,5"))).item()
        '1234.5'
    """

    decimal: str = "."
    thousands: str | None = None

    @property
    def usual(self) -> bool:
        """Whether numbers are written as computers write them."""
        return self.decimal == "." and self.thousands is None

    def plain(self, text: pl.Expr) -> pl.Expr:
        """Return texts with numbers as computers write them, null where a text is none.

        White space around a number does not count.
        """
        text = text.str.strip_chars()
        if self.usual:
            return text
        point = re.escape(self.decimal)
        whole = r"\d+"
        if self.thousands is not None:
            # Groups have three digits, so that 1.5 is not taken for 15.
            whole = rf"(?:\d+|\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+)"
        number = rf"^[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?$"
        known: pl.Expr = pl.when(text.str.contains(number)).then(text)
        if self.thousands is not None:
            known = known.str.replace_all(self.thousands, "", literal=True)
        return known.str.replace(self.decimal, ".", literal=True) if self.decimal != "." else known


USUAL = NumberText()
"""How computers write numbers."""
