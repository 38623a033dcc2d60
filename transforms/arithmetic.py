"""Arithmetic on one number, under the names that TensorFlow has for it on many.

A full-pass operation turns statistics into a few parameters, such as a shift and a scale. The
formula is written once, over a module `m`: `Scalars` for the embedded engine, where a statistic is
a Python number, or `tf`, where it is a tensor with a number for each column.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["Scalars"]


class Scalars:
    """The functions of TensorFlow that formulas over statistics use, for Python numbers."""

    sqrt = staticmethod(math.sqrt)
    abs = staticmethod(abs)
    maximum = staticmethod(max)

    @staticmethod
    def ones_like(_: float) -> float:
        """Return 1."""
        return 1.0

    @staticmethod
    def where(condition: bool, this: Any, other: Any) -> Any:
        """Return one of two numbers."""
        return this if condition else other
