"""Finds every operation by its name, which is also the name of its module.

An operation is imported when it is asked for: the whole catalogue takes longer than a small plan.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from featurekit.transforms import aggregate, full_pass, row
from featurekit.transforms.base import Operation

__all__ = ["Catalogue", "aggregations", "operations"]


class Catalogue(Mapping[str, type[Operation]]):
    """Operations by name, and in its order.

    Args:
        homes: The package that holds the module of each.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = homes

    def __getitem__(self, name: str) -> type[Operation]:
        module = importlib.import_module(f"{self._homes[name]}.{name}")
        (exported,) = module.__all__
        operation: type[Operation] = getattr(module, exported)
        assert operation.name() == name, f"{exported} does not stand in a module of its name"
        return operation

    def __contains__(self, name: object) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._homes))

    def __len__(self) -> int:
        return len(self._homes)

    def __or__(self, other: Catalogue) -> Catalogue:
        return Catalogue({**self._homes, **other._homes})


def _of(*packages: ModuleType) -> Catalogue:
    return Catalogue({
        entry.name: package.__name__
        for package in packages
        for entry in pkgutil.iter_modules(package.__path__)
        if not entry.name.startswith("_")
    })  # fmt: skip


@cache
def operations() -> Catalogue:
    """Return the row and full-pass operations by name."""
    return _of(row, full_pass)


@cache
def aggregations() -> Catalogue:
    """Return the operations that may stand in an aggregation's features, by name."""
    return _of(aggregate)
