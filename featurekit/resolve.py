"""From a spec and the types of its columns to a typed graph, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from featurekit.availability import Moment, moment
from featurekit.errors import SpecError, closest
from featurekit.graph import (
    Aggregate,
    AggregateNode,
    ColumnNode,
    History,
    Node,
    OperationNode,
    topological,
)
from featurekit.leaks import Leaks
from featurekit.spec.expression import Attribute, Call, Expression, Name, shortened
from featurekit.spec.objects import Aggregation, Lookup, Source, Spec
from featurekit.spec.problems import Place, Problems, Reported
from featurekit.spec.settings import RESERVED
from featurekit.spec.window import Window
from featurekit.transforms.aggregate._latest import Latest
from featurekit.transforms.base import AggregateOperation
from featurekit.transforms.catalogue import operations
from featurekit.typecheck import Typer, described, in_order, names_in, reads_rows
from featurekit.types import (
    BOOL,
    DURATION,
    INT64,
    KEY,
    STRING,
    TIMESTAMP,
    Kind,
    Type,
)

__all__ = ["Resolved", "Typer", "resolve"]


@dataclass(frozen=True)
class Resolved:
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

    @property
    def roots(self) -> tuple[Node, ...]:
        """Every node whose values a run needs."""
        extra = [node for node in (self.label, self.split) if node is not None]
        return (*self.features.values(), *self.keys.values(), *extra, *self.hashed)

    def inputs(self, *roots: Node) -> dict[str, Type]:
        """Return the source columns that some nodes (all by default) read, with their types.

        What an aggregate asks of an example is not among them: see `aggregates`.
        """
        found = (node for node in topological(roots or self.roots) if isinstance(node, ColumnNode))
        return {node.name: node.type for node in found}

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


def resolve(
    spec: Spec,
    types: Mapping[str, Type],
    others: Mapping[str, Mapping[str, Type]] | None = None,
) -> Resolved:
    """Type-check a spec against the columns of its sources.

    Args:
        spec: The spec.
        types: The types of the columns that the data of the examples' source holds (derived ones
            are typed here).
        others: The same of the other sources, by name. Of a source that is not there, only what
            the spec declares is known.

    Returns:
        The typed graph.

    Raises:
        SpecErrors: Every problem of the spec, each with its place; its exit code is 1 when all
            of them are leaks.
    """
    return _Resolver(spec, types, others or {}).resolve()


class _Resolver:
    """Collects the problems of all parts of a spec while building its graph."""

    def __init__(
        self, spec: Spec, types: Mapping[str, Type], others: Mapping[str, Mapping[str, Type]]
    ) -> None:
        self.spec = spec
        self.problems = Problems(spec.places)
        self.root = Place(self.problems)
        self.examples = self.root.below("examples", "examples")
        main = spec.examples.source
        if main not in spec.sources:
            with self.examples.below("source").collect():
                raise SpecError(f"there is no source {main!r}", hint=closest(main, spec.sources))
            self.problems.check()
        self.types = dict(types)
        self.known = {**others, main: self.types}
        self.typers: dict[str, Typer] = {}
        self.rows = self.source(main, spec.sources[main])
        self.typer = self.rows.within(self.attribute, self.feature)
        self.leaks = Leaks(spec, self.types)
        self.aggregates: dict[str, dict[str, AggregateNode]] = {}
        self.wide: dict[str, Typer] = {}
        self.at: Node | None = None
        self.nodes: dict[str, Node] = {}
        self.failed: set[str] = set()

    def resolve(self) -> Resolved:
        spec, examples = self.spec, self.spec.examples
        for name, source in spec.sources.items():
            if name in self.known:
                self.source(name, source)
        predict_at = self.time(self.examples.below("predict_at", "predict_at"), examples.predict_at)
        if predict_at is not None and examples.predict_at is not None:
            self.at = self.rows.node(examples.predict_at)
        for name, aggregation in spec.aggregations.items():
            self.aggregation(name, aggregation)
        for name, lookup in spec.lookups.items():
            self.lookup(name, lookup)
        keys = self.keys()
        label = self.label()
        split, hashed = self.split()
        features = self.features()
        self.leaks.in_features(self.root.below("features"), predict_at)
        self.problems.check()
        past = {name: types for name, types in self.known.items() if types is not self.types}
        return Resolved(
            spec, self.types, features, keys, label, split, hashed, past, self.aggregates
        )

    def source(self, name: str, source: Source) -> Typer:
        """Check what a source declares: derived columns and times."""
        if name in self.typers:
            return self.typers[name]
        place = self.root.below("sources").below(name, f"source {name!r}")
        stored = {key: column for key, column in source.columns.items() if column.expr is None}
        declared = {key: column.type for key, column in stored.items() if column.type is not None}
        types = self.known.get(name, declared)
        open_ended = name not in self.known
        typer = self.typers[name] = Typer(source.columns, types, open_ended=open_ended)
        columns = place.below("columns")
        for key in stored:
            if key not in types and not open_ended:
                with columns.below(key, f"column {key!r}").collect():
                    raise SpecError("the data has no such column", hint=closest(key, types))
        typer.derive(columns)
        for key, column in source.columns.items():
            below = columns.below(key, f"column {key!r}").below("available_at", "available_at")
            self.time(below, column.available_at, typer)
        self.time(place.below("available_at", "available_at"), source.available_at, typer)
        if source.event_time is not None:
            self.time(place.below("event_time", "event_time"), Name(source.event_time), typer)
        return typer

    def row(self, place: Place, expression: Expression, typer: Typer | None = None) -> Node | None:
        """Type a row expression over a source."""
        with place.collect():
            node = (typer or self.rows).node(expression)
            text = shortened(expression.text)
            if node.level:
                raise SpecError(f"{text!r} uses statistics of the data; a row expression is needed")
            if node.type.width is not None:
                raise SpecError(f"{text!r} is {described(node.type)}; a scalar is needed")
            return node
        return None

    def timestamp(self, place: Place, expression: Expression, typer: Typer) -> Node | None:
        """Type a row expression that is a time."""
        node = self.row(place, expression, typer)
        if node is None or node.type == TIMESTAMP:
            return node
        text = shortened(expression.text)
        hint = f"declare it: {text}: {{type: timestamp}}" if isinstance(expression, Name) else ""
        with place.collect():
            raise SpecError(f"a timestamp is needed; {text!r} is {described(node.type)}", hint=hint)
        return None

    def time(
        self, place: Place, expression: Expression | None, typer: Typer | None = None
    ) -> Moment | None:
        """Check a time expression and return it as base and offset."""
        typer = typer or self.rows
        if expression is None or self.timestamp(place, expression, typer) is None:
            return None
        with place.collect():
            return moment(expression, typer.columns)
        return None

    def aggregation(self, name: str, aggregation: Aggregation) -> None:
        """Check an aggregation against its source, and make the nodes of its outputs."""
        place = self.root.below("aggregations").below(name, f"aggregation {name!r}")
        made = self.aggregates[name] = {}
        source = self.past(place, aggregation.source)
        if source is None:
            return
        with place.below("source").collect():
            if source.event_time is None:
                raise SpecError(
                    f"its source {aggregation.source!r} declares no event_time",
                    hint="event_time: the column that says when a row's event happened; rows "
                    "without time are looked up by key under lookups",
                )
        with place.collect():
            self.predicted("windows look back from the time of prediction")
        known = len(self.problems)
        keys = self.entity(place, aggregation.source, aggregation.by)
        shared = self.filter(place.below("where", "where"), aggregation.source, aggregation.where)
        found = {}
        for feature, expression in aggregation.features.items():
            below = place.below("features").below(feature, f"feature {feature!r}")
            with below.collect():
                found[feature] = self.aggregate(aggregation, feature, expression, shared, keys)
        unfit = len(self.problems) > known or source.event_time is None
        if unfit or keys is None or self.at is None:
            return
        for output, feature, window in aggregation.outputs():
            aggregate = replace(found[feature], window=window)
            of = _narrowed(
                aggregate.operation.output_type(tuple(entry.type for entry in aggregate.values))
            )
            written = Attribute(name, output)
            made[output] = AggregateNode(of, written, name, output, aggregate, keys, self.at)

    def aggregate(
        self,
        aggregation: Aggregation,
        feature: str,
        expression: Expression,
        shared: Node | None,
        keys: tuple[Node, ...] | None,
    ) -> Aggregate:
        """Type one feature of an aggregation, its window left open.

        Without keys, because something is wrong with them, the rest is looked at all the same.
        """
        assert isinstance(expression, Call)
        assert isinstance(expression.operation, AggregateOperation)
        name, typer = aggregation.source, self.float64(aggregation.source)
        values, _ = typer.call(expression.operation, expression.inputs)
        for value in values:
            if value.level:
                raise SpecError(
                    f"{shortened(expression.text)!r} uses statistics of the training rows; "
                    "an aggregate is computed from row expressions"
                )
        filters = [] if shared is None else [shared]
        if expression.where is not None:
            filters.append(self.condition(typer, expression.where))
        where = None
        if filters:
            both = operations()["logical_and"]()
            where = filters[0] if len(filters) == 1 else OperationNode.of(both, (*filters,), BOOL)
        read = [*expression.inputs]
        read += [entry for entry in (expression.where, aggregation.where) if entry is not None]
        for entry in read:
            self.leaks.in_aggregate(name, feature, entry)
        self.leaks.of_own_row(name, feature, read, [Name(key) for key in aggregation.by.values()])
        if keys is None:
            return Aggregate(expression.operation, values, where, History(name, ()), Window(None))
        history = self.history(name, aggregation.by, read)
        return Aggregate(expression.operation, values, where, history, Window(None))

    def lookup(self, name: str, lookup: Lookup) -> None:
        """Check a lookup against its source, and make the nodes of its outputs."""
        place = self.root.below("lookups").below(name, f"lookup {name!r}")
        made = self.aggregates[name] = {}
        source = self.past(place, lookup.source)
        if source is None:
            return
        timed = source.event_time is not None
        if timed:
            with place.collect():
                self.predicted("the row in effect at the prediction is looked up")
        known = len(self.problems)
        keys = self.entity(place, lookup.source, lookup.by)
        for feature, expression in lookup.features.items():
            with place.below("features").below(feature, f"feature {feature!r}").collect():
                value = self.float64(lookup.source).node(expression)
                if value.level or value.type.width is not None:
                    raise SpecError(f"{shortened(expression.text)!r} is no value of a row")
                self.leaks.in_aggregate(lookup.source, feature, expression)
                unfit = len(self.problems) > known or (timed and self.at is None)
                if unfit or keys is None:
                    continue
                history = self.history(lookup.source, lookup.by, [expression], unique=not timed)
                aggregate = Aggregate(Latest(), (value,), None, history, Window(None))
                of = _narrowed(Latest().output_type((value.type,)))
                at = self.at if history.effect else None
                if history.effect and at is None:
                    self.predicted(f"{shortened(expression.text)!r} becomes known at a time")
                written = Attribute(name, feature)
                made[feature] = AggregateNode(of, written, name, feature, aggregate, keys, at)

    def past(self, place: Place, name: str) -> Source | None:
        """Return the source of past rows, or report that there is none."""
        source = self.spec.sources.get(name)
        if source is None:
            with place.below("source").collect():
                raise SpecError(
                    f"there is no source {name!r}", hint=closest(name, self.spec.sources)
                )
            return None
        self.source(name, source)
        return source

    def predicted(self, why: str) -> None:
        """Refuse a spec that does not say when the prediction is made."""
        if self.spec.examples.predict_at is None:
            raise SpecError(
                f"{why}, and examples declare no predict_at",
                hint="for example predict_at: sched_dep - 2h",
            )

    def float64(self, name: str) -> Typer:
        """Return the typer of a source's past rows."""
        if name not in self.wide:
            self.wide[name] = self.typers[name].widened()
        return self.wide[name]

    def filter(self, place: Place, source: str, expression: Expression | None) -> Node | None:
        """Type the filter of an aggregation."""
        if expression is not None:
            with place.collect():
                return self.condition(self.float64(source), expression)
        return None

    def condition(self, typer: Typer, expression: Expression) -> Node:
        """Type a row expression that is true or not."""
        node = typer.node(expression)
        if node.type != BOOL or node.level:
            raise SpecError(
                f"a filter is a comparison of a row's values; {shortened(expression.text)!r} "
                f"is {described(node.type)}",
                hint="for example where: arr_delay > 15",
            )
        return node

    def history(
        self, name: str, by: Mapping[str, str], read: Sequence[Expression], unique: bool = False
    ) -> History:
        """Return the rows of a source as something that reads certain values may see them."""
        typer, event_time = self.float64(name), self.spec.sources[name].event_time
        keys = [Name(column) for column in by.values()]
        times = self.leaks.known_at(name, *read, *keys)
        return History(
            name,
            tuple(typer.node(key) for key in keys),
            tuple(typer.node(time) for time in times),
            None if event_time is None else typer.name(event_time),
            unique,
        )

    def entity(self, place: Place, source: str, by: Mapping[str, str]) -> tuple[Node, ...] | None:
        """Check the key of a source's past rows, and return that of the examples if it is right."""
        known = len(self.problems)
        for mine, other in by.items():
            self.entity_key(place, source, mine, other)
            with place.below("by", "by").collect():
                self.leaks.in_aggregate(source, other, Name(other))
        if len(self.problems) > known:
            return None
        return tuple(self.rows.name(mine) for mine in by)

    def entity_key(self, place: Place, source: str, mine: str, other: str) -> None:
        """Check that a column of the examples and one of a source can be the same key."""
        main = self.spec.examples.source
        found = []
        for name, owner in dict.fromkeys([(mine, main), (other, source)]):
            with place.below("by", f"{name!r} of {owner!r}").collect():
                of = self.typers[owner].name(name).type
                if of not in KEY:
                    raise SpecError(f"a key is {KEY}, not {described(of)}")
                found.append(of)
        with place.collect():
            if len(found) == 2 and found[0] != found[1]:
                raise SpecError(
                    f"{mine!r} of {main!r} is {described(found[0])}, and "
                    f"{other!r} of {source!r} is {described(found[1])}",
                    hint="keys need one type: declare it, or cast one in a derived column",
                )

    def attribute(self, owner: str, name: str) -> Node:
        """Return the node of an aggregation's output, `tail.delay_mean_7d`, or of a lookup's."""
        if name in self.aggregates.get(owner, ()):
            return self.typer.intern(self.aggregates[owner][name])
        owners: dict[str, Aggregation | Lookup] = {**self.spec.aggregations, **self.spec.lookups}
        found = owners.get(owner)
        if found is None:
            hint = closest(owner, owners)
            if owner in self.spec.sources:
                hint = (
                    f"{owner!r} is a source; a feature uses its rows through an aggregation or "
                    "a lookup"
                )
            raise SpecError(f"there is no aggregation or lookup {owner!r}", hint=hint)
        what, outputs = "lookup", list(found.features)
        if isinstance(found, Aggregation):
            what, outputs = "aggregation", [output for output, _, _ in found.outputs()]
        if name not in outputs:
            raise SpecError(
                f"the {what} {owner!r} has no output {name!r}", hint=closest(name, outputs)
            )
        raise Reported

    def keys(self) -> dict[str, Node]:
        found = {}
        for name in self.spec.examples.keys:
            place = self.examples.below("keys", f"key {name!r}")
            node = self.row(place, Name(name))
            if node is not None:
                found[name] = node
            with place.collect():
                if name in RESERVED:
                    raise SpecError(
                        f"{name!r} is a reserved name",
                        hint=f"read the column under another name: {name}_key: {{column: {name}}}",
                    )
                same = [other for other in self.spec.features if other.lower() == name.lower()]
                if same:
                    raise SpecError(
                        f"the feature {same[0]!r} has the same name", hint="rename the feature"
                    )
        return found

    def label(self) -> Node | None:
        label, place = self.spec.examples.label, self.examples.below("label", "label")
        node = None if label is None else self.row(place, label)
        with place.collect():
            if node is not None and node.type in (TIMESTAMP, DURATION):
                raise SpecError(f"a label cannot be {described(node.type)}")
        return node

    def split(self) -> tuple[Node | None, tuple[Node, ...]]:
        split, place = self.spec.examples.split, self.examples.below("split", "split")
        if split is None:
            return None, ()
        hashed: list[Node] = []
        for name in split.hash:
            below = place.below("hash", "hash")
            node = self.row(below, Name(name))
            with below.collect():
                if node is not None:
                    hashed.append(self.rows.cast(node, STRING, "a split by hash"))
        if split.hash:
            return None, tuple(hashed)
        if split.by is not None:
            return self.timestamp(place.below("by", "by"), Name(split.by), self.rows), ()
        place, name = place.below("column", "column"), str(split.column)
        node = self.row(place, Name(name))
        with place.collect():
            if node is not None and node.type != STRING:
                raise SpecError(f"a string is needed; {name!r} is {described(node.type)}")
        return node, ()

    def features(self) -> dict[str, Node]:
        """Type all features, each after those that it uses."""
        place = self.root.below("features")
        uses = {name: names_in(feature.expr) for name, feature in self.spec.features.items()}
        columns = {*self.types, *self.rows.columns}
        order, cycles = in_order({name: used - columns for name, used in uses.items()})
        for cycle in cycles:
            self.failed |= set(cycle)
            with place.below(cycle[0], f"feature {cycle[0]!r}").collect():
                raise SpecError(f"features refer to each other: {' -> '.join(cycle)}")
        written = {}
        for name in order:
            with place.below(name, f"feature {name!r}").collect():
                self.nodes[name] = self.typer.node(self.spec.features[name].expr)
                written[name] = self.output(self.nodes[name])
            if name not in self.nodes:
                self.failed.add(name)
        return {name: written[name] for name in self.spec.features if name in written}

    def feature(self, name: str) -> Node:
        """Return the node of another feature."""
        if name in self.nodes:
            return self.nodes[name]
        if name in self.failed:
            raise Reported
        known = {*self.types, *self.rows.columns, *self.nodes}
        raise SpecError(f"there is no column or feature {name!r}", hint=closest(name, known))

    def output(self, node: Node) -> Node:
        """A feature is a number, a string or a vector: booleans are written as 0 and 1."""
        if not reads_rows(node):
            raise SpecError("it reads no column, so it is the same for every row")
        if node.type == BOOL:
            return self.typer.cast(node, INT64, "a feature")
        if node.type in (TIMESTAMP, DURATION):
            raise SpecError(
                f"a feature cannot be {described(node.type)}",
                hint="hour(t), day_of_week(t), seconds_between(a, b) and the like are numbers",
            )
        return node


def _narrowed(of: Type) -> Type:
    """Aggregates are computed in float64 and enter the row graph as float32."""
    return Type(Kind.FLOAT32, of.width) if of.kind is Kind.FLOAT64 else of
