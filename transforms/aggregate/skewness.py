"""`skewness(x)`: how lopsided the values are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurekit.transforms.aggregate._families import FloatSummary
from featurekit.transforms.sql import function
from featurekit.transforms.sql_windows import SqlWindow, deviations
from featurekit.transforms.windows import Values
from featurekit.types import Type

__all__ = ["Skewness"]


@dataclass(frozen=True)
class Skewness(FloatSummary):
    """Population skewness of a number over the window.

    Args:
        x: A number; null values are skipped.

    Returns:
        float64, without a unit: negative for a longer tail of small values. NaN where all
        values are equal. Null where the window holds no value.

    Source: Fisher-Pearson coefficient g1 = m3 / m2^1.5 of the central moments (D. N. Joanes and
    C. A. Gill, "Comparing measures of sample skewness and kurtosis", 1998).
    """

    def windows(self, values: Values) -> Any:
        _, second, third = values.moments(3)
        length = values.spans.length
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = second / length
            return (third / length) / (variance * np.sqrt(variance))

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        return deviations(
            window.collected(),
            lambda x: function(
                "IEEE_DIVIDE",
                function("AVG", function("POW", x, 3)),
                function("POW", function("AVG", function("POW", x, 2)), 1.5),
            ),
        )
