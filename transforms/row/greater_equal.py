"""`x >= y`: whether x is greater than or equal to y."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from featurekit.transforms.base import Example
from featurekit.transforms.families import Ordering

__all__ = ["GreaterEqual"]


@dataclass(frozen=True)
class GreaterEqual(Ordering):
    """Whether x is greater than or equal to y.

    Args:
        x: A number, a timestamp or a duration.
        y: Another of the same kind; two types of numbers are compared in float64.

    Returns:
        `bool`, one per row; false where x or y is NaN. Null where x or y is null.

    Raises:
        SpecError: x and y are of different kinds, or are strings or booleans.

    Source: IEEE 754-2019, section 5.11, for NaN and signed zeros.
    """

    operator = ">="
    _sql = ">="
    examples = (
        Example("x >= y", {"x": [1, 2, 3, None], "y": [2, 2, 2, 2]}, [False, True, True, None]),
        Example("x >= 0.5", {"x": [-math.inf, 0.5, math.inf, None]}, [False, True, True, None]),
        Example(
            "s >= t",
            {
                "s": [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
                "t": [datetime(2024, 1, 2, tzinfo=UTC)] * 3,
            },
            [False, True, True],
        ),
    )

    def _compare(self, x: Any, y: Any) -> Any:
        return x >= y

    def _sides(self, x: Any, y: Any) -> tuple[Any, Any]:
        return y, x
