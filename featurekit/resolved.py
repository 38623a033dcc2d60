"""A spec whose names, types and availability fit: what everything after type checking works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    Node,
    cross_fitted,
    past_reads,
    topological,
)
from featurekit.observed import Observed
from featurekit.semantics import SEMANTICS
from featurekit.spec.objects import Spec
from featurekit.summary import Described, Summary
from featurekit.types import Type
from featurekit.uses import Use

__all__ = ["Resolved"]


@dataclass(frozen=True, repr=False)
class Resolved(Described):
    """A spec whose names, types and availability have been proven to fit.

    Args:
        spec: The spec.
        types: The type of every column of the examples' source.
        features: The node of each feature, in the order of the spec.
        keys: The node of each key.
        label: The node of the label.
        split: The node that the split looks at: a timestamp, or the split column.
        hashed: The nodes that a split by hash looks at.
        past: The types of the columns of the other sources, by name.
        outputs: All outputs of aggregations and lookups, used or not, by their owner's name.
        uses: What each feature uses, and whether that is known at prediction time.
        noticed: What was noticed of the columns that are read, when their sources were opened.
        quiet: The part of it that asks for nothing: nobody is warned of it.
        where: Which rows are examples, if not all are.
        semantics: By which version its numbers are made; see `featurekit.semantics`.
        observed: What the data shows of times that the spec cannot tell.
    """

    spec: Spec
    types: Mapping[str, Type]
    features: Mapping[str, Node]
    keys: Mapping[str, Node]
    label: Node | None = None
    split: Node | None = None
    hashed: tuple[Node, ...] = ()
    past: Mapping[str, Mapping[str, Type]] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, AggregateNode]] = field(default_factory=dict)
    uses: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)
    noticed: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    where: Node | None = None
    semantics: int = SEMANTICS
    observed: Observed = field(default_factory=Observed)

    def _summary(self) -> Summary:
        return replace(self.spec._summary(), title=f"Checked spec {self.spec.name}")  # noqa: SLF001

    @property
    def roots(self) -> tuple[Node, ...]:
        """Every node whose values a run needs."""
        extra = [node for node in (self.label, self.split) if node is not None]
        return (
            *self.features.values(), *self.keys.values(), *extra, *self.hashed, *self.beside
        )  # fmt: skip

    @cached_property
    def beside(self) -> tuple[Node, ...]:
        """What cross-fitted features read of training rows only: the label, and folds."""
        found = (entry for node in cross_fitted(self.features.values()) for entry in node.beside)
        return tuple(dict.fromkeys(found))

    def inputs(self, *roots: Node) -> dict[str, Type]:
        """Return the source columns that some nodes (all by default) read, with their types.

        What an aggregate asks of an example is not among them: see `aggregates`.
        """
        found = (node for node in topological(roots or self.roots) if isinstance(node, ColumnNode))
        return {node.name: node.type for node in found}

    def over(self, source: str) -> tuple[Node, ...]:
        """Return the nodes that a run computes of the rows of a source."""
        return self._over.get(source, ())

    @cached_property
    def _over(self) -> dict[str, tuple[Node, ...]]:
        main = self.spec.examples.source
        past: dict[str, list[AggregateNode]] = {}
        for node in self.aggregates:
            past.setdefault(node.aggregate.history.source, []).append(node)
        roots: dict[str, list[Node]] = {
            main: [
                *self.roots, *(() if self.where is None else (self.where,)),
                *(asked for node in self.aggregates for asked in node.asked),
            ]
        }  # fmt: skip
        for source, nodes in past.items():
            roots.setdefault(source, []).extend(past_reads(nodes))
        return {name: tuple(nodes) for name, nodes in roots.items()}

    def read(self) -> dict[str, dict[str, Type]]:
        """Return the stored columns that a run reads, by source, with their types."""
        return self._read

    @cached_property
    def _read(self) -> dict[str, dict[str, Type]]:
        roots = self._over
        return {name: self.inputs(*nodes) if nodes else {} for name, nodes in roots.items()}

    @cached_property
    def aggregates(self) -> tuple[AggregateNode, ...]:
        """The aggregates and lookups that the features use."""
        return self.aggregates_of()

    def asked(self, aggregates: Iterable[AggregateNode]) -> dict[str, Type]:
        """Return the source columns that aggregates ask of an example, with their types."""
        roots = [node for aggregate in aggregates for node in aggregate.asked]
        return self.inputs(*roots) if roots else {}

    def aggregates_of(self, *roots: Node) -> tuple[AggregateNode, ...]:
        """Return the aggregates and lookups that some nodes (all by default) use."""
        nodes = topological(roots or self.roots)
        return tuple(node for node in nodes if isinstance(node, AggregateNode))
