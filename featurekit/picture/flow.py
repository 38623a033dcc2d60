"""What feeds what in a plan: columns, the statistics of each pass, and features.

An arrow means "is computed from". What an arrow already says through another one is left out: a
feature that scales a column by its mean hangs on the mean, and the mean on the column.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    Node,
    OperationNode,
    StatisticRequest,
    topological,
)
from featurekit.planner import Plan, Route, Step

__all__ = ["Box", "Flow", "flow"]


@dataclass(frozen=True)
class Box:
    """One thing in a picture of a plan.

    Args:
        id: Unique in the picture: a letter and a number.
        route: Where it comes from or runs.
        title: What it is.
        detail: Its type, or what it is computed from.
        steps: The pieces of a feature.
    """

    id: str
    route: Route
    title: str
    detail: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Flow:
    """The boxes of a picture in lanes, and the arrows between them.

    Args:
        lanes: Inputs, the statistics of each pass, and features, from left to right.
        arrows: Pairs of boxes; an arrow leads from a lane to a later one.
    """

    lanes: tuple[tuple[Box, ...], ...]
    arrows: tuple[tuple[Box, Box], ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """What stands above each lane."""
        passes = [f"Pass {number} over the train rows" for number in range(1, len(self.lanes) - 1)]
        return ("Inputs", *passes, "Features")


_Item = Node | StatisticRequest


def flow(plan: Plan) -> Flow:
    """Return the boxes and arrows of a plan."""
    needed, below = _dependencies(plan)
    boxes: dict[_Item, Box] = {}
    inputs = [node for node in needed if isinstance(node, (ColumnNode, AggregateNode))]
    for number, entry in enumerate(inputs):
        route = Route.SOURCE if isinstance(entry, ColumnNode) else Route.BIGQUERY
        title = entry.name if isinstance(entry, ColumnNode) else entry.text
        boxes[entry] = Box(f"i{number}", route, title, str(entry.type))
    for number, request in enumerate(plan.statistics):
        boxes[request] = Box(f"s{number}", Route.BEAM, _statistic(request), request.node.text)
    arrows = [
        (boxes[source], boxes[request]) for request in plan.statistics for source in below[request]
    ]
    features = []
    for number, (name, node) in enumerate(plan.features.items()):
        steps = plan.steps[name]
        box = Box(f"f{number}", steps[-1].route, name, str(node.type), steps)
        features.append(box)
        arrows.extend((boxes[source], box) for source in needed[node])
    passes = (tuple(boxes[request] for request in level) for level in plan.levels)
    lanes = (tuple(boxes[node] for node in inputs), *passes, tuple(features))
    return Flow(lanes, tuple(arrows))


def _dependencies(
    plan: Plan,
) -> tuple[dict[Node, dict[_Item, None]], dict[StatisticRequest, dict[_Item, None]]]:
    """Return what each node, and each statistic, is directly computed from."""
    needed: dict[Node, dict[_Item, None]] = {}
    below: dict[StatisticRequest, dict[_Item, None]] = {}
    everything: dict[StatisticRequest, frozenset[_Item]] = {}
    for node in topological([*plan.resolved.beside, *plan.features.values()]):
        found: dict[_Item, None] = {}
        if isinstance(node, (ColumnNode, AggregateNode)):
            found[node] = None
        for entry in node.inputs:
            found |= needed[entry]
        if isinstance(node, OperationNode):
            for request in node.statistics:
                if request not in below:
                    read = [item for entry in request.nodes for item in needed[entry]]
                    below[request] = dict.fromkeys(read)
                    through = (
                        everything[r] for r in below[request] if isinstance(r, StatisticRequest)
                    )
                    everything[request] = frozenset(below[request]).union(*through)
                found[request] = None
        said = frozenset().union(*(everything[r] for r in found if isinstance(r, StatisticRequest)))
        needed[node] = {item: None for item in found if item not in said}
    return needed, below


def _statistic(request: StatisticRequest) -> str:
    statistic = request.statistic
    settings = [
        f"{entry.name}={getattr(statistic, entry.name)!r}"
        for entry in fields(statistic)
        if getattr(statistic, entry.name) != entry.default
    ]
    return f"{type(statistic).__name__.lower()}({', '.join(settings)})".removesuffix("()")
