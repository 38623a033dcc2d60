"""How the time of work grows with its size: a ratio, which a busy machine does not change."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["growth"]


def growth(work: Callable[[int], object], size: int, times: int = 4) -> float:
    """Return how much longer work of a size `times` as large takes, for each unit of its size.

    Work whose time is proportional to its size gives 1, work whose time grows with the square of
    its size gives `times`. The processor's time counts, the fastest of three runs.

    Args:
        work: What is timed, given a size; it does its preparations, too, so they have to be cheap.
        size: The smaller size.
        times: How much larger the larger size is.
    """
    return _fastest(work, size * times) / _fastest(work, size) / times


def _fastest(work: Callable[[int], object], size: int) -> float:
    fastest = float("inf")
    for _ in range(3):
        began = time.process_time()
        work(size)
        fastest = min(fastest, time.process_time() - began)
    return fastest
