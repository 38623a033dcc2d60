"""Which columns become which features; every contender computes the same ones."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ABLATIONS", "DAYS", "DECILES", "FOLDS", "FUNCTIONS", "LEAD_HOURS", "MODEL", "RETRAINED",
    "SEEDS", "WINDOWS", "WORKLOADS", "History", "Workload", "history_parser",
]  # fmt: skip

DECILES = 10
"""The number of buckets."""

FUNCTIONS = ("mean", "max", "stddev", "count")
"""How past values are summarised; `stddev` is of the population."""
DAYS = (1, 7, 30)
"""How many days each window reaches back from the time of prediction, which it leaves out."""
LEAD_HOURS = 2
"""How long before the time of the example the prediction is made."""


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
    "both": Workload(_WIDE, _WIDE),
    "few": Workload(_WIDE[:10], _WIDE[:10]),
    "scan": Workload(_WIDE[:50], _WIDE[50:]),
}


@dataclass(frozen=True)
class History:
    """Past rows by key, summarised for each example: `examples.parquet` and `events.parquet`.

    Args:
        row: The column that names an example.
        asked: The time of an example; the prediction is made `LEAD_HOURS` earlier.
        effect: When an event took effect.
        value: The number of an event.
        keys: Columns of both files; each is a key of its own.
        copies: How often the same rows stand in the input, each time with other keys.
    """

    row: str
    asked: str
    effect: str
    value: str
    keys: tuple[str, ...]
    copies: int = 1

    def outputs(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield each output's name, key, function, and days."""
        for key in self.keys:
            for days in DAYS:
                for function in FUNCTIONS:
                    yield f"{key}_{function}_{days}d", key, function, days


_FLIGHTS = ("flight_id", "sched_dep", "arrived", "delay", ("tailnum", "dest"))

WINDOWS = {
    "windows": History(*_FLIGHTS),
    "windows-10": History(*_FLIGHTS, copies=10),
    "windows-hot": History("request", "asked", "paid", "amount", ("account",)),
}


def history_parser(description: str | None) -> ArgumentParser:
    """Return what reads a contender's command line: a case of `WINDOWS`, its input, a folder."""
    parser = ArgumentParser(description=description)
    parser.add_argument("workload", choices=WINDOWS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    return parser


ABLATIONS = {"ablation_linear": 60, "ablation_wide": 1000}
"""How many features are left out, one at a time and in pairs."""
FOLDS = 5

MODEL = {
    "max_iter": 60, "max_leaf_nodes": 15, "l2_regularization": 10.0, "early_stopping": False,
    "min_samples_leaf": 100,
}  # fmt: skip
"""Settings of the boosted trees that all contenders of the retraining train: FeatureKit's own."""

RETRAINED = "ablation_retrain"
"""Flights whose features are left out of gradient boosting, one at a time."""
SEEDS = 3
