"""`minimum(*x)`: the smallest of several values of a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from featurekit.transforms.base import Example, Input
from featurekit.transforms.families import Extreme
from featurekit.types import ARITHMETIC

__all__ = ["Minimum"]


@dataclass(frozen=True)
class Minimum(Extreme):
    """The smallest of several values of a row.

    Args:
        x: Two or more numbers, timestamps or durations.

    Returns:
        The common type of the inputs, one per row. NaN where any input is NaN, unless one is null.
        Null where any input is null.

    Raises:
        SpecError: The inputs have no common type.

    Source: IEEE 754-2019, section 9.6, `minimum`, but of 0.0 and -0.0 the first one given.
    """

    inputs = (Input("x", ARITHMETIC),)
    _sql = "LEAST"
    examples = (
        Example("minimum(x, y, 2)", {"x": [1, 5, None], "y": [3, 4, 0]}, [1, 2, None]),
        Example(
            "minimum(x, y / y)",
            {"x": [2.0, -math.inf, 0.0, None], "y": [1.0, 1.0, 0.0, 0.0]},
            [1.0, -math.inf, math.nan, None],
        ),
        Example(
            "minimum(s, t)",
            {
                "s": [datetime(2024, 1, 1, tzinfo=UTC), None],
                "t": [datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)],
            },
            [datetime(2023, 1, 1, tzinfo=UTC), None],
        ),
    )

    def _before(self, x: Any, y: Any) -> Any:
        return x < y
