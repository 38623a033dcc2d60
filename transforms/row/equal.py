"""`x == y`: whether two values are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurekit.transforms.base import Example, tf
from featurekit.transforms.families import Comparison
from featurekit.types import Type

__all__ = ["Equal"]


@dataclass(frozen=True)
class Equal(Comparison):
    """Whether two values are equal.

    Args:
        x: A number, a string, a boolean, a timestamp or a duration.
        y: Another of the same kind; two types of numbers are compared in float64.

    Returns:
        `bool`, one per row. NaN equals nothing, itself included; 0.0 equals -0.0. Strings are
        compared by their UTF-8 bytes. Null where x or y is null, so use `is_missing(x)` to find
        nulls.

    Raises:
        SpecError: x and y are of different kinds.

    Source: IEEE 754-2019, section 5.11, for NaN and signed zeros.
    """

    operator = "=="
    _sql = "="
    examples = (
        Example(
            "x == y", {"x": [1, 2, None, None], "y": [1, 3, 3, None]}, [True, False, None, None]
        ),
        Example("x == 'a'", {"x": ["a", "A", "", None]}, [True, False, False, None]),
        Example("x / x == x / x", {"x": [1.0, 0.0, None]}, [True, False, None]),
        Example("x == 0.0", {"x": [0.0, -0.0, 1e-9]}, [True, True, False]),
    )

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        return tf.equal(*inputs)

    def _compare(self, x: Any, y: Any) -> Any:
        return x == y
