"""How many threads the libraries beneath compute with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the libraries that are loaded compute with one thread.

    Threads that wait for each other on cores that others use as well were seen to make small
    trainings, and small decompositions, fifteen times slower.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
