"""How numbers of an ablation are written: effects with a sign, all with the same decimals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurekit.report.page import ABSENT

__all__ = ["Amounts", "count", "duration", "listed", "p_value", "size"]

MINUS = "\u2212"


@dataclass(frozen=True)
class Amounts:
    """How numbers in units of one loss are written.

    Args:
        decimals: Digits behind the point: as many as tell two numbers within the margin apart.
    """

    decimals: int

    @classmethod
    def of(cls, margin: float | None, loss: float | None) -> Amounts:
        """Return what suits a margin, or a hundredth of a loss where there is none.

        Example:
            >>> Amounts.of(0.0016, 0.3), Amounts.of(12.0, 2_400.0), Amounts.of(0.0, 0.3)
            (Amounts(decimals=4), Amounts(decimals=0), Amounts(decimals=4))
        """
        unit = margin if margin and margin > 0 else abs(loss or 0) / 100
        return cls(min(12, max(0, 1 - math.floor(math.log10(unit)))) if unit > 0 else 3)

    def plain(self, value: float | None) -> str:
        """Return a number such as a loss.

        Example:
            >>> Amounts(4).plain(0.32847), Amounts(0).plain(1234.5), Amounts(2).plain(None)
            ('0.3285', '1,234', '–')
        """
        if value is None:
            return ABSENT
        said = f"{value:,.{self.decimals}f}"
        if not float(said.replace(",", "")):
            return said.lstrip("-")
        return said.replace("-", MINUS)

    def signed(self, value: float | None) -> str:
        """Return a difference, with its sign.

        Example:
            >>> Amounts(4).signed(0.00123), Amounts(4).signed(-0.1), Amounts(4).signed(-1e-9)
            ('+0.0012', '−0.1000', '0.0000')
        """
        said = self.plain(value)
        return f"+{said}" if value is not None and value > 0 and said.strip("0.") else said

    def interval(self, bound: Mapping[str, Any]) -> str:
        """Return an interval.

        Example:
            >>> Amounts(2).interval({"low": -0.01, "high": 0.25})
            '−0.01 to +0.25'
        """
        if bound.get("low") is None or bound.get("high") is None:
            return ""
        return f"{self.signed(bound['low'])} to {self.signed(bound['high'])}"

    def whole(self, bound: Mapping[str, Any]) -> str:
        """Return an effect with its interval.

        Example:
            >>> Amounts(2).whole({"effect": 0.1, "low": -0.01, "high": 0.25})
            '+0.10 (−0.01 to +0.25)'
        """
        interval = self.interval(bound)
        return self.signed(bound["effect"]) + (f" ({interval})" if interval else "")


def count(number: int, what: str) -> str:
    """Return a number with what it counts.

    Example:
        >>> count(1, "feature"), count(1_200, "feature")
        ('1 feature', '1,200 features')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(parts: list[str]) -> str:
    """Return parts as a list in a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def p_value(value: float | None) -> str:
    """Return a p-value.

    Example:
        >>> p_value(0.034), p_value(1e-9), p_value(None)
        ('0.034', '<0.001', '–')
    """
    if value is None:
        return ABSENT
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def size(bytes_: float | None) -> str:
    """Return a number of bytes.

    Example:
        >>> size(1_234_567), size(12), size(None)
        ('1.2 MB', '12 B', '–')
    """
    if bytes_ is None:
        return ABSENT
    return _scaled(bytes_, ("B", "kB", "MB", "GB", "TB", "PB"))


def duration(seconds: float | None) -> str:
    """Return a time.

    Example:
        >>> duration(0.0123), duration(4.2), duration(421.0), duration(7_500), duration(None)
        ('12 ms', '4.2 s', '7 min', '2.1 h', '–')
    """
    if seconds is None:
        return ABSENT
    if seconds < 1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.0995 else f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.{1 if power and value < 9.95 else 0}f} {units[power]}"
