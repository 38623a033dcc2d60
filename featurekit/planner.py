"""From a typed graph to stages, and to words, data and pictures that explain them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from featurekit.errors import SpecError
from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    Node,
    OperationNode,
    StatisticRequest,
    cross_fitted,
    topological,
)
from featurekit.resolved import Resolved
from featurekit.serving_names import serving_names
from featurekit.spec.objects import UNDECLARED
from featurekit.spec.problems import Problems
from featurekit.summary import Described, Summary, listed
from featurekit.transforms.base import Reach
from featurekit.types import Kind, Type

__all__ = ["Plan", "Route", "Step", "key_text", "make_plan"]


class Route(enum.Enum):
    """Where a piece of a feature runs in production."""

    SOURCE = "source"
    TENSORFLOW = "TensorFlow"
    BEAM = "tf.Transform on Beam"
    BIGQUERY = "BigQuery"


_ROUTES = {Reach.ROW: Route.TENSORFLOW, Reach.DATASET: Route.BEAM, Reach.HISTORY: Route.BIGQUERY}


@dataclass(frozen=True)
class Step:
    """One piece of a feature between two borders of reach.

    Args:
        route: Where it runs in production.
        engine: What runs it in this plan.
        level: The pass over the training rows that it waits for.
        operations: Its operations, the innermost first.
        reason: Why it runs there.
    """

    route: Route
    engine: str
    level: int
    operations: tuple[str, ...]
    reason: str


@dataclass(frozen=True, repr=False)
class Plan(Described):
    """What a run will do, in order.

    Args:
        resolved: The typed graph.
        levels: The statistics of each pass over the training rows.
        engine: `local`; `beam` for full passes and rows on Apache Beam; `gcp` for aggregations
            and lookups in BigQuery.
        saved_model: Whether the row graph is exported to TensorFlow.
    """

    resolved: Resolved
    levels: tuple[tuple[StatisticRequest, ...], ...]
    engine: str = "local"
    saved_model: bool = True

    def _summary(self) -> Summary:
        passes = "one pass" if len(self.levels) < 2 else f"{len(self.levels)} passes"
        return Summary(
            f"Plan of {self.resolved.spec.name}",
            (("features", listed(self.features)), ("engine", self.engine),
             ("statistics", f"{len(self.statistics):,} in {passes} over the training rows"),
             ("SavedModel", "yes" if self.saved_model else "no")),
        )  # fmt: skip

    def users(self, request: StatisticRequest) -> str:
        """Return the features that need a statistic, as errors name them."""
        names = [
            name
            for name, root in self.features.items()
            for node in topological([root, *(node.part for node in cross_fitted([root]))])
            if isinstance(node, OperationNode) and request in node.statistics
        ]
        return ", ".join(map(repr, names))

    @property
    def features(self) -> Mapping[str, Node]:
        """The node of each feature."""
        return self.resolved.features

    @cached_property
    def statistics(self) -> tuple[StatisticRequest, ...]:
        """The statistics of all levels."""
        return tuple(request for level in self.levels for request in level)

    @cached_property
    def serving_inputs(self) -> dict[str, Type]:
        """What serving must be given, with types: columns, and aggregates by their text."""
        features = self.features.values()
        aggregates = {node.text: node.type for node in self.resolved.aggregates}
        return self.resolved.inputs(*features) | aggregates

    @cached_property
    def input_names(self) -> dict[str, str]:
        """What the signatures of a SavedModel call the inputs of `serving_inputs`."""
        return serving_names(self.serving_inputs)

    @cached_property
    def training_inputs(self) -> dict[str, Type]:
        """The columns that say which fold a training row falls in, with types; often none."""
        folds = [node.fold for node in cross_fitted(self.features.values())]
        return self.resolved.inputs(*folds) if folds else {}

    @cached_property
    def steps(self) -> dict[str, tuple[Step, ...]]:
        """The pieces of each feature, the first to run first."""
        return {name: _steps(node, self.engine) for name, node in self.features.items()}

    def explain(self) -> str:
        """Return the plan as a table for a terminal."""
        from featurekit.explain import as_table

        return as_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        from featurekit.explain import as_dict

        return as_dict(self)

    def to_mermaid(self) -> str:
        """Return the plan as Mermaid flowchart text."""
        from featurekit.picture.mermaid import as_mermaid

        return as_mermaid(self)

    def to_svg(self) -> str:
        """Return the plan as an SVG picture."""
        from featurekit.picture.svg import as_svg

        return as_svg(self)


def make_plan(resolved: Resolved, engine: str = "local", saved_model: bool = True) -> Plan:
    """Cut a typed graph into levels of statistics and routes.

    Statistics of the same node are asked for once, and each in the earliest pass in which its
    input can be computed.

    Raises:
        SpecErrors: A SavedModel is asked for, which a feature cannot be in.
    """
    if saved_model:
        _refuse_words(resolved)
    if engine != "local":
        _refuse_embedded(resolved, engine)
    levels: dict[int, dict[StatisticRequest, None]] = {}
    for node in topological([*resolved.features.values(), *resolved.beside]):
        if isinstance(node, OperationNode):
            for request in node.statistics:
                levels.setdefault(request.level, {})[request] = None
    ordered = tuple(tuple(levels[level]) for level in sorted(levels))
    return Plan(resolved, ordered, engine, saved_model)


def _refuse_embedded(resolved: Resolved, engine: str) -> None:
    """Refuse settings that the embedded engine alone carries out."""
    problems = Problems(resolved.spec.places)
    hint = "--engine local; or make the data so before it is read"
    if resolved.spec.examples.where is not None:
        error = SpecError(f"the engine {engine} does not leave out rows by it", hint=hint)
        problems.add(error, "examples", "where", label="examples: where")
    for source, read in resolved.read().items():
        for name in read:
            column = resolved.spec.sources[source].columns.get(name, UNDECLARED)
            given = {
                "on_violation": column.on_violation not in (None, "fail"),
                "ambiguous": column.ambiguous == "in_order",
                "nonexistent": engine == "gcp" and column.nonexistent == "shift",
            }
            for setting in (key for key, unknown in given.items() if unknown):
                value = getattr(column, setting)
                error = SpecError(
                    f"the engine {engine} does not know {setting}: {value}", hint=hint
                )
                place = ("sources", source, "columns", name, setting)
                problems.add(error, *place, label=f"source {source!r}: column {name!r}")
    problems.check()


def _refuse_words(resolved: Resolved) -> None:
    """Refuse features that are vectors of strings."""
    problems = Problems(resolved.spec.places)
    for name, node in resolved.features.items():
        if node.type.kind is Kind.STRING and node.type.width is not None:
            error = SpecError(
                "a SavedModel has no vector of strings",
                hint="run without TensorFlow; `featurekit snapshot` writes such an output too",
            )
            problems.add(error, "features", name, label=f"feature {name!r}")
    problems.check()


def _route(node: Node) -> Route:
    if isinstance(node, OperationNode):
        # A full-pass operation may need no statistics after all: impute with a constant.
        needs_pass = node.operation.reach is not Reach.DATASET or node.statistics
        return _ROUTES[node.operation.reach if needs_pass else Reach.ROW]
    return Route.BIGQUERY if isinstance(node, AggregateNode) else Route.SOURCE


def _steps(root: Node, engine: str) -> tuple[Step, ...]:
    """Group the nodes below a feature by the route and the pass they belong to."""
    pieces: dict[tuple[int, int, Route], list[Node]] = {}
    for node in topological([root]):
        route = _route(node)
        if isinstance(node, (OperationNode, AggregateNode)):
            order = {Route.BIGQUERY: 0, Route.BEAM: 1, Route.TENSORFLOW: 2}[route]
            pieces.setdefault((node.level, order, route), []).append(node)
    if not pieces:
        column = root.text
        reason = f"the column {column} as it is" if isinstance(root, ColumnNode) else "a constant"
        return (Step(Route.TENSORFLOW, _engine(Route.TENSORFLOW, engine), 0, (), reason),)
    out = []
    for (level, _, route), nodes in sorted(pieces.items(), key=lambda item: item[0][:2]):
        names = tuple(
            node.operation.name() if isinstance(node, OperationNode) else _aggregated(node)
            for node in nodes
        )
        out.append(Step(route, _engine(route, engine), level, names, _reason(route, nodes)))
    return tuple(out)


def _engine(route: Route, engine: str) -> str:
    if engine == "gcp" and route is Route.BIGQUERY:
        return "BigQuery"
    on_beam = {Route.BEAM: "tf.Transform", Route.TENSORFLOW: "TensorFlow"}
    return on_beam.get(route, "Polars") if engine != "local" else "Polars"


def _reason(route: Route, nodes: list[Node]) -> str:
    if route is Route.BIGQUERY:
        return ", ".join(dict.fromkeys(_looked_up(node) for node in nodes))
    if route is Route.TENSORFLOW:
        return "sees one row"
    named = [
        f"{type(request.statistic).__name__.lower()} of {request.node.text}"
        for node in nodes
        if isinstance(node, OperationNode)
        for request in node.statistics
    ]
    shown = ", ".join(dict.fromkeys(named))
    return f"needs {shown}"


def _aggregated(node: Node) -> str:
    assert isinstance(node, AggregateNode)
    return node.aggregate.operation.name()


def _looked_up(node: Node) -> str:
    """Say which rows an aggregate looks at: `past rows of flights by tailnum (7d)`."""
    assert isinstance(node, AggregateNode)
    aggregate, history = node.aggregate, node.aggregate.history
    by = f" by {key_text(node)}" if history.keys else ""
    window = f" ({aggregate.window.text})" if aggregate.window.text else ""
    what = "the row" if history.unique else "past rows"
    return f"{what} of {history.source}{by}{window}"


def key_text(node: AggregateNode) -> str:
    """Say by which key an aggregate looks: `dest as origin` if the example calls it otherwise."""
    pairs = zip(node.aggregate.history.keys, node.keys, strict=True)
    return ", ".join(
        key.text if key.text == asked.text else f"{key.text} as {asked.text}"
        for key, asked in pairs
    )
