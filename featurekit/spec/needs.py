"""Which parts of a spec its features and its examples need."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from featurekit.spec.cutting import Path
from featurekit.spec.expression import Attribute, Call, Expression, Name
from featurekit.spec.objects import UNDECLARED, Aggregation, Lookup, Source, Spec
from featurekit.transforms.targets import TargetOperation

__all__ = ["names_used", "needed"]


def names_used(*expressions: Expression | None) -> set[str]:
    """Return the names of columns and features that expressions mention, folds' entities too."""
    found: set[str] = set()
    for part in (part for entry in expressions if entry is not None for part in entry.walk()):
        if isinstance(part, Name):
            found.add(part.name)
        elif isinstance(part, Call) and isinstance(part.operation, TargetOperation):
            by = part.operation.by
            found.update((by,) if isinstance(by, str) else by or ())
    return found


def needed(spec: Spec, idle_from: Collection[Path] | None = None) -> frozenset[Path]:
    """Return the paths of what the features and the examples of a spec need, features included.

    Args:
        spec: The spec.
        idle_from: What a larger spec needs. Parts that not even that needs are needed then, too, if
            what they are parts of is.
    """

    def idle(*path: str) -> bool:
        return idle_from is not None and path not in idle_from

    examples, main = spec.examples, spec.examples.source
    found: set[Path] = {("features", name) for name in spec.features}
    features = [entry.expr for entry in spec.features.values()]
    read = {name: set[str]() for name in spec.sources if name == main or idle("sources", name)}
    read[main] |= names_used(examples.label, examples.predict_at, examples.where, *features) | {
        *examples.keys
    }
    if examples.split is not None:
        read[main] |= {examples.split.by or "", examples.split.column or "", *examples.split.hash}
    used = _outputs(features)
    for name, owner in spec.histories.items():
        section = "aggregations" if isinstance(owner, Aggregation) else "lookups"
        made = _features_used(spec, owner, used.get(name, set()))
        if made or idle(section, name):
            made |= {entry for entry in owner.features if idle(section, name, "features", entry)}
            found |= {(section, name), *((section, name, "features", entry) for entry in made)}
            read[main] |= {*owner.by}
            where = owner.where if isinstance(owner, Aggregation) else None
            order_by = owner.order_by if isinstance(owner, Lookup) else ()
            expressions = (owner.features[entry] for entry in made)
            below = read.setdefault(owner.source, set())
            below |= {*owner.by.values(), *order_by} | names_used(where, *expressions)
    for name, names in read.items():
        columns = spec.sources[name].columns if name in spec.sources else {}
        names |= {column for column in columns if idle("sources", name, "columns", column)}
        found.add(("sources", name))
        if columns:
            declared = _declared(spec.sources[name], names)
            found |= {("sources", name, "columns", column) for column in declared}
    return frozenset(found)


def _outputs(expressions: Iterable[Expression]) -> dict[str, set[str]]:
    """Return the outputs of each aggregation and lookup that expressions use."""
    used: dict[str, set[str]] = {}
    for part in (part for entry in expressions for part in entry.walk()):
        if isinstance(part, Attribute):
            used.setdefault(part.aggregation, set()).add(part.name)
    return used


def _features_used(spec: Spec, owner: Aggregation | Lookup, outputs: Collection[str]) -> set[str]:
    """Return the features of an aggregation or a lookup that make some outputs.

    All features of a lookup over time say when its row takes effect, and which row is taken.
    """
    if isinstance(owner, Lookup):
        found = {name for name in owner.features if name in outputs}
        source = spec.sources.get(owner.source)
        whole = found and source is not None and source.event_time is not None
        return {*owner.features} if whole else found
    return {feature for name, feature, _ in owner.outputs() if name in outputs}


def _declared(source: Source, names: Iterable[str]) -> set[str]:
    """Return the declared columns that some names need, and the times of their source."""
    stack = [*names, *names_used(source.available_at), source.event_time or ""]
    found: set[str] = set()
    while stack:
        name = stack.pop()
        if name in source.columns and name not in found:
            found.add(name)
            column = source.columns.get(name, UNDECLARED)
            stack += names_used(column.expr, column.available_at)
    return found
