"""What is left of a spec without the parts that have problems, so that it can be checked, too.

A part that uses one that is left out is left out with it: its problems would only follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from featurekit.spec.cutting import Path
from featurekit.spec.expression import Attribute, Call, Expression
from featurekit.spec.needs import names_used
from featurekit.spec.objects import Aggregation, Column, FrozenMapping, Lookup, Source, Spec
from featurekit.transforms.targets import TargetOperation

__all__ = ["data_without", "parts", "spec_without"]

_V = TypeVar("_V")


def parts(paths: Iterable[Path]) -> frozenset[Path] | None:
    """Return the parts that have to be left out for problems at some paths.

    Returns:
        Paths of features, aggregations, lookups, sources, columns, the label, the split, the keys;
        `None` if there is a problem of the spec as a whole, or of when predictions are made.
    """
    found = set()
    for path in paths:
        match path:
            case ("features" | "aggregations" | "lookups", _, *_):
                found.add(path[:2])
            case ("sources", _, "columns", _, *_):
                found.add(path[:4])
            case ("sources", _, *_) | ("examples", "label" | "split" | "keys", *_):
                found.add(path[:2])
            case ("description",):
                found.add(path)
            case _:
                return None
    return frozenset(found)


def data_without(data: Mapping[str, Any], broken: Iterable[Path]) -> dict[str, Any]:
    """Return the plain data of a spec without some parts."""
    made = dict(data)
    for path in broken:
        held = made
        for key in path[:-1]:
            if not isinstance(held.get(key), Mapping):
                break
            held[key] = dict(held[key])
            held = held[key]
        else:
            held.pop(path[-1], None)
    return made


def spec_without(spec: Spec, broken: Iterable[Path]) -> Spec | None:
    """Return a spec without some parts and all that uses them.

    Args:
        spec: The spec; the parts may still be in it, or be left out already.
        broken: The paths of the parts; see `parts`.

    Returns:
        The rest, `None` if nothing is left that could be checked.
    """
    gone = _Gone(spec, broken)
    main, examples = spec.examples.source, spec.examples
    if main in gone.sources or gone.uses(main, examples.predict_at):
        return None
    split = examples.split
    if split is not None:
        read = {split.by, split.column, *split.hash}
        split = split if read.isdisjoint(gone.columns.get(main, ())) else None
    features = _without(spec.features, gone.features)
    if not features:
        return None
    return replace(
        spec,
        sources=FrozenMapping({
            name: replace(source, columns=_without(source.columns, gone.columns.get(name, ())))
            for name, source in spec.sources.items() if name not in gone.sources
        }),
        examples=replace(
            examples, label=None if gone.label else examples.label, split=split,
            keys=tuple(key for key in examples.keys if key not in gone.columns.get(main, ())),
        ),
        aggregations=_without(spec.aggregations, gone.histories),
        lookups=_without(spec.lookups, gone.histories),
        features=features,
    )  # fmt: skip


def _without(held: Mapping[str, _V], gone: Collection[str]) -> FrozenMapping[_V]:
    return FrozenMapping({name: entry for name, entry in held.items() if name not in gone})


class _Gone:
    """The parts of a spec that cannot be checked, found from those that have problems."""

    def __init__(self, spec: Spec, broken: Iterable[Path]) -> None:
        self.spec, self.main = spec, spec.examples.source
        paths = list(broken)
        self.label = ("examples", "label") in paths
        self.sources = {path[1] for path in paths if path[0] == "sources" and len(path) == 2}
        self.columns: dict[str, set[str]] = {}
        for path in paths:
            if path[0] == "sources" and len(path) == 4:
                self.columns.setdefault(path[1], set()).add(path[3])
        self.histories = {path[1] for path in paths if path[0] in ("aggregations", "lookups")}
        self.features = {path[1] for path in paths if path[0] == "features"}
        for name, source in spec.sources.items():
            self._spread_in_source(name, source)
        self.label |= self.uses(self.main, spec.examples.label)
        self.histories |= {name for name, owner in spec.histories.items() if self._owner(owner)}
        before = -1
        while before < len(self.features):
            before = len(self.features)
            self.features |= {
                name for name, entry in spec.features.items()
                if name not in self.features and self._feature(entry.expr)
            }  # fmt: skip

    def uses(self, source: str, *expressions: Expression | None) -> bool:
        """Whether expressions over a source read a column of it that is gone."""
        return not names_used(*expressions).isdisjoint(self.columns.get(source, ()))

    def _spread_in_source(self, name: str, source: Source) -> None:
        gone, before = self.columns.setdefault(name, set()), -1
        while before < len(gone):
            before = len(gone)
            gone |= {key for key, column in source.columns.items() if self._column(name, column)}
        if source.event_time in gone or self.uses(name, source.available_at):
            self.sources.add(name)

    def _column(self, source: str, column: Column) -> bool:
        return self.uses(source, column.expr, column.available_at)

    def _owner(self, owner: Aggregation | Lookup) -> bool:
        read = set(owner.by.values())
        if isinstance(owner, Lookup):
            read |= {*owner.order_by}
        where = owner.where if isinstance(owner, Aggregation) else None
        gone = self.columns.get(owner.source, set())
        return (
            owner.source in self.sources
            or not read.isdisjoint(gone)
            or not set(owner.by).isdisjoint(self.columns.get(self.main, ()))
            or self.uses(owner.source, where, *owner.features.values())
        )

    def _feature(self, expression: Expression) -> bool:
        named = names_used(expression)
        return (
            not named.isdisjoint(self.features)
            or not named.isdisjoint(self.columns.get(self.main, ()))
            or any(
                (isinstance(part, Attribute) and part.aggregation in self.histories)
                or (self.label and isinstance(part, Call)
                    and isinstance(part.operation, TargetOperation))
                for part in expression.walk()
            )
        )  # fmt: skip
