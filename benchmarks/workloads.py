"""Which columns become which features; every contender computes the same ones."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DECILES", "WORKLOADS", "Workload"]

DECILES = 10
"""The number of buckets."""


@dataclass(frozen=True)
class Workload:
    """Columns by what is made of them; one feature for each entry.

    Args:
        zscores: Numbers to scale; the feature is named `<column>_z`.
        deciles: Numbers to put in ten buckets; `<column>_decile`.
        vocabularies: Strings to number by their frequency; `<column>_id`.
    """

    zscores: tuple[str, ...]
    deciles: tuple[str, ...]
    vocabularies: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns with numbers, each once."""
        return tuple(dict.fromkeys(self.zscores + self.deciles))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return self.numbers + self.vocabularies


_NUMBERS = ("dep_delay", "arr_delay", "air_time", "distance", "dep_time", "arr_time")
_WIDE = tuple(f"n{place:02}" for place in range(100))

WORKLOADS = {
    "flights": Workload(_NUMBERS, _NUMBERS, ("carrier", "tailnum", "origin", "dest")),
    "wide": Workload(_WIDE[:50], _WIDE[50:]),
}
