"""Finds every operation that the packages of the catalogue export, by name."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

from featurekit.transforms import aggregate, full_pass, row
from featurekit.transforms.base import Operation

__all__ = ["aggregations", "operations"]


def _exported(*packages: object) -> dict[str, type[Operation]]:
    found: dict[str, type[Operation]] = {}
    for package in packages:
        for entry in vars(package).values():
            if isinstance(entry, type) and issubclass(entry, Operation):
                found[entry.name()] = entry
    return dict(sorted(found.items()))


@cache
def operations() -> MappingProxyType[str, type[Operation]]:
    """Return the row and full-pass operations by name."""
    return MappingProxyType(_exported(row, full_pass))


@cache
def aggregations() -> MappingProxyType[str, type[Operation]]:
    """Return the operations that may stand in an aggregation's features, by name."""
    return MappingProxyType(_exported(aggregate))
