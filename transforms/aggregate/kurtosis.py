"""`kurtosis(x)`: how heavy the tails are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.aggregate._families import FloatSummary
from featurekit.transforms.sql import function, infix, literal
from featurekit.transforms.sql_windows import SqlWindow, deviations
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Kurtosis"]


@dataclass(frozen=True)
class Kurtosis(FloatSummary):
    """Population excess kurtosis of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, without a unit: 0 for a normal distribution, at least -2. NaN where all values are
        equal. Null where the window holds no value.

    Source: g2 = m4 / m2^2 - 3 of the central moments (D. N. Joanes and C. A. Gill, "Comparing
    measures of sample skewness and kurtosis", 1998).
    """

    def windows(self, values: Values) -> Any:
        _, second, _, fourth = values.moments(4)
        length = values.spans.length
        with np.errstate(invalid="ignore", divide="ignore"):
            return (fourth / length) / (second / length) ** 2 - 3

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return deviations(
            window.collected(),
            lambda x: infix(
                function(
                    "IEEE_DIVIDE",
                    function("AVG", function("POW", x, 4)),
                    function("POW", function("AVG", function("POW", x, 2)), 2),
                ),
                "-",
                literal(3),
            ),
        )
