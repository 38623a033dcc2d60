"""Groups of features that stand or fall together: those of a source, a column, an aggregation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from featurekit.feature_reads import feature_columns
from featurekit.resolved import Resolved
from featurekit.spec.expression import Attribute, Name

__all__ = ["FAMILIES", "Groups", "groups_of"]

FAMILIES = ("source", "column", "aggregation", "declared")
"""The kinds of groups, in the order in which they are told."""

Groups = dict[str, dict[str, tuple[str, ...]]]
"""The features of each group, in the order of the spec, by its family and its name."""


def groups_of(resolved: Resolved) -> Groups:
    """Return the groups that the features of a spec form.

    - `source`: the features that need a source, that of the examples included;
    - `column`: the features that read a stored column, `flights.arr_delay`, themselves, through
      other features and derived columns, or through an aggregation or lookup: what it summarises,
      what it is looked up by, and the times that decide which rows count;
    - `aggregation`: the features that use an aggregation or a lookup;
    - `declared`: the features whose `group` in the spec names the group.

    A group of one feature is a group, and so is one of all features.

    Args:
        resolved: The spec with its names found.

    Returns:
        All families, those without groups too. Sources and aggregations are in the order of the
        spec, columns in that of their sources, declared groups in that of the features.

    Example:
        `groups_of(run.plan.resolved)["source"]["weather"]` are the features that need the weather.
    """
    spec, columns = resolved.spec, feature_columns(resolved)
    sources = {name: [column.source for column in read] for name, read in columns.items()}
    by_source = _grouped(sources, spec.sources)
    by_column = _grouped(
        {name: [column.text for column in read] for name, read in columns.items()},
        (column.text for of in by_source for read in columns.values()
         for column in read if column.source == of),
    )  # fmt: skip
    used = {name: list(_aggregations(resolved, name)) for name in resolved.features}
    declared = {name: spec.features[name].group for name in resolved.features}
    names = (name for groups in declared.values() for name in groups)
    found = (by_source, by_column, _grouped(used, spec.histories), _grouped(declared, names))
    return dict(zip(FAMILIES, found, strict=True))


def _aggregations(resolved: Resolved, feature: str) -> Iterator[str]:
    """Yield the names of the aggregations and lookups that a feature uses, through others too.

    Nodes do not tell: those of two aggregations that compute the same are one.
    """
    spec = resolved.spec
    columns = {*resolved.types, *spec.sources[spec.examples.source].columns}
    seen, stack = {feature}, [feature]
    while stack:
        for part in spec.features[stack.pop()].expr.walk():
            if isinstance(part, Attribute):
                yield part.aggregation
            elif isinstance(part, Name) and part.name not in columns | seen:
                seen.add(part.name)
                stack.append(part.name)


def _grouped(
    groups: Mapping[str, Iterable[str]], order: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return the members of each group that has any, from the groups of each member.

    Args:
        groups: The names of the groups that each feature belongs to.
        order: The names in the order of the result; some may stand there several times.
    """
    members: dict[str, list[str]] = {name: [] for name in order}
    for feature, names in groups.items():
        for name in dict.fromkeys(names):
            members[name].append(feature)
    return {name: tuple(found) for name, found in members.items() if found}
