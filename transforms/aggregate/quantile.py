"""`quantile(x, q)`: the value below which a share of all lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.aggregate._families import FloatSummary, interpolated
from featurekit.transforms.base import check, number_parameter
from featurekit.transforms.sql import constant
from featurekit.transforms.sql_windows import SqlWindow, quantile
from featurekit.transforms.windows import Values
from featurekit.types import FLOAT64, Type

__all__ = ["Quantile"]


@dataclass(frozen=True)
class Quantile(FloatSummary):
    """Quantile of a number over the window.

    Args:
        x: A number; null values are skipped.
        q: The share of values at or below the result, from 0 (the least) to 1 (the greatest).

    Returns:
        float64, interpolated between the two nearest values. Null where the window holds no value.

    Raises:
        SpecError: `q` is not a number from 0 to 1.

    Source: definition 7 of R. J. Hyndman and Y. Fan, "Sample quantiles in statistical packages",
    1996 (BigQuery's PERCENTILE_CONT).
    """

    q: float

    def __post_init__(self) -> None:
        number_parameter("q", self.q)
        check(0 <= self.q <= 1, f"q must be from 0 to 1, got {self.q!r}")

    def windows(self, values: Values) -> Any:
        return interpolated(values, self.q)

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return quantile(window.collected(), constant(self.q, FLOAT64))
