"""Proves that features use only what is known at prediction time, or says what they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from featurekit.availability import Moment, moment
from featurekit.errors import FeatureKitError, LeakageError, SpecError
from featurekit.spec.expression import Attribute, Expression, Name
from featurekit.spec.objects import Aggregation, Column, FrozenMapping, Spec
from featurekit.spec.problems import Place

__all__ = ["check_aggregate", "check_features"]

_Chain = tuple[str, ...]
"""The names that lead from a feature to a column that it uses."""


def check_features(spec: Spec, place: Place, predict_at: Moment | None) -> None:
    """Collect the leaks of all features below the place of the features.

    Args:
        spec: The spec, whose names are known to exist.
        place: Where the features stand.
        predict_at: When the prediction is made, if the spec says so.
    """
    scope = _Scope.of(spec)
    for name, feature in spec.features.items():
        below = place.below(name, f"feature {name!r}")
        for column, chain in scope.used(feature.expr, (name,)):
            with below.collect():
                problem = _leak(scope, name, column, chain, predict_at)
                if problem is not None:
                    raise problem


def check_aggregate(spec: Spec, aggregation: Aggregation, feature: str) -> None:
    """Refuse an aggregate of values of which nobody knows when they became known.

    Raises:
        LeakageError: It uses such a column.
    """
    source = spec.sources[aggregation.source]
    scope = _Scope.of(spec, aggregation.source)
    made_of = scope.label if aggregation.source == spec.examples.source else frozenset()
    for name, chain in scope.used(aggregation.features[feature], (feature,)):
        column = source.columns.get(name, Column())
        if column.available_at is not None or column.available is True:
            continue
        if column.available is False:
            reason = "is declared available: false"
        elif name in made_of:
            reason = "makes the label"
        else:
            continue
        raise LeakageError(
            f"{name!r} {reason}, and nothing says from when on that of a past row is known"
            f"{_through(chain)}",
            hint=f"declare available_at for the column {name!r}",
        )


@dataclass(frozen=True)
class _Scope:
    """The names that expressions over one source can use."""

    spec: Spec
    columns: Mapping[str, Column]
    available_at: Expression | None
    label: frozenset[str]

    @classmethod
    def of(cls, spec: Spec, name: str | None = None) -> _Scope:
        """Return the names of a source, by default those of features."""
        source = spec.sources[spec.examples.source if name is None else name]
        scope = cls(spec, source.columns, source.available_at, frozenset())
        if spec.examples.label is None:
            return scope
        label = frozenset(column for column, _ in scope.used(spec.examples.label, ()))
        return cls(spec, source.columns, source.available_at, label)

    def used(self, expression: Expression, chain: _Chain) -> Iterator[tuple[str, _Chain]]:
        """Yield every column that an expression uses, and the names that lead to it.

        A derived column that declares when it is available is looked at no further.
        """
        seen: set[str] = set()
        stack = [(expression, chain)]
        while stack:
            current, chain = stack.pop()
            for name, chain_to in self._named(current, chain):
                if name in seen:
                    continue
                seen.add(name)
                column = self.columns.get(name)
                if column is None and name in self.spec.features and self._is_feature(name):
                    stack.append((self.spec.features[name].expr, chain_to))
                    continue
                yield name, chain_to
                if column is not None and column.expr is not None and not _says(column):
                    stack.append((column.expr, chain_to))
