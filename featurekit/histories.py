"""Aggregations and lookups of a spec as nodes: which past rows each looks at, and from when on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from featurekit.errors import SpecError, closest
from featurekit.graph import Aggregate, AggregateNode, History, Node, OperationNode
from featurekit.leaks import Leaks
from featurekit.semantics import SEMANTICS
from featurekit.spec.expression import Attribute, Call, Expression, Name, col, shortened
from featurekit.spec.objects import Aggregation, Lookup, Source, Spec
from featurekit.spec.problems import Place, Reported
from featurekit.spec.window import Window
from featurekit.transforms.base import AggregateOperation
from featurekit.transforms.catalogue import operations
from featurekit.typecheck import Typer
from featurekit.types import BOOL, KEY, STRING, Kind, Type, described

__all__ = ["Histories"]


class Histories:
    """Looks the past up for a spec whose sources have been checked.

    Args:
        spec: The spec.
        root: Its place, which collects problems.
        typers: The typers of its sources, by name.
        leaks: What is known when.
        at: The time of prediction, if the spec says so and it is one.
        semantics: By which version numbers are made: by the first, each column of a lookup is
            taken for itself.
    """

    def __init__(
        self,
        spec: Spec,
        root: Place,
        typers: Mapping[str, Typer],
        leaks: Leaks,
        at: Node | None,
        semantics: int = SEMANTICS,
    ) -> None:
        self.spec, self.root, self.typers, self.leaks, self.at = spec, root, typers, leaks, at
        self.semantics = semantics
        self.problems = root.problems
        self.aggregates: dict[str, dict[str, AggregateNode]] = {}
        self.wide: dict[str, Typer] = {}
        self.wrong: set[tuple[str, str]] = set()
        """Lookups and those of their outputs whose problem has been told."""

    def outputs(self) -> dict[str, dict[str, AggregateNode]]:
        """Return the outputs of every aggregation and lookup that is right, by its name."""
        self.own_time()
        for name, aggregation in self.spec.aggregations.items():
            self.aggregation(name, aggregation)
        for name, lookup in self.spec.lookups.items():
            self.lookup(name, lookup)
        return self.aggregates

    def own_time(self) -> None:
        """Check that past rows of the examples' source have the very time that is predicted at.

        Else an example's own row could take effect before its prediction, and count.
        """
        main, predict_at = self.spec.examples.source, self.spec.examples.predict_at
        looked_into = {owner.source for owner in self.spec.histories.values()}
        if predict_at is None or self.at is None or main not in looked_into:
            return
        place = self.root.below("examples", "examples").below("predict_at", "predict_at")
        with place.collect():
            self.one_value(main, predict_at)

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
        unfit = len(self.problems) > known or len(found) < len(aggregation.features)
        if unfit or source.event_time is None or keys is None or self.at is None:
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
        self.sound(name)
        for entry in read:
            self.leaks.in_aggregate(name, feature, entry)
        if self.at is not None:  # Else nothing can be compared with it, which has been told.
            keys_read = [Name(key) for key in aggregation.by.values()]
            self.leaks.of_own_row(name, feature, read, keys_read)
        if keys is None:
            return Aggregate(expression.operation, values, where, History(name, ()), Window(None))
        history = self.history(name, aggregation.by, read)
        return Aggregate(expression.operation, values, where, history, Window(None))

    def lookup(self, name: str, lookup: Lookup) -> None:
        """Check a lookup against its source, and make the nodes of its outputs."""
        from featurekit.transforms.aggregate._latest import Latest  # It imports NumPy.

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
        order_by = self.order_by(place.below("order_by", "order_by"), lookup)
        unfit = len(self.problems) > known or (timed and self.at is None)
        values: dict[str, Node] = {}
        for feature, expression in lookup.features.items():
            with self.looked_up(place, name, feature):
                values[feature] = self.row_value(lookup.source, feature, expression)
        if unfit or keys is None or not values:
            return
        whole = None
        if timed and self.semantics > 1:
            whole = replace(
                self.history(lookup.source, lookup.by, lookup.reads), order_by=order_by,
                row=tuple(values[feature] for feature in sorted(values)),
            )  # fmt: skip
        for feature, value in values.items():
            expression = lookup.features[feature]
            with self.looked_up(place, name, feature):
                history = whole or self.history(
                    lookup.source, lookup.by, [expression], unique=not timed
                )
                aggregate = Aggregate(Latest(), (value,), None, history, Window(None))
                of = _narrowed(Latest().output_type((value.type,)))
                at = self.at if history.effect else None
                if history.effect and at is None:
                    self.predicted(f"{shortened(expression.text)!r} becomes known at a time")
                written = Attribute(name, feature)
                made[feature] = AggregateNode(of, written, name, feature, aggregate, keys, at)

    @contextmanager
    def looked_up(self, place: Place, name: str, feature: str) -> Iterator[None]:
        """Collect what is wrong with one output of a lookup, and note that something is."""
        before = len(self.problems)
        with place.below("features").below(feature, f"feature {feature!r}").collect():
            yield
        if len(self.problems) > before:
            self.wrong.add((name, feature))

    def row_value(self, source: str, name: str, expression: Expression) -> Node:
        """Type what is read of a row that is looked up.

        Raises:
            SpecError: It is no value of a row.
            LeakageError: Nobody can tell when it became known.
        """
        value = self.float64(source).node(expression)
        if value.level or value.type.width is not None:
            raise SpecError(f"{shortened(expression.text)!r} is no value of a row")
        self.sound(source)
        self.leaks.in_aggregate(source, name, expression)
        return value

    def order_by(self, place: Place, lookup: Lookup) -> tuple[Node, ...]:
        """Type the columns that decide between rows that took effect at once."""
        if lookup.order_by and self.spec.sources[lookup.source].event_time is None:
            with place.collect():
                raise SpecError(
                    f"its source {lookup.source!r} declares no event_time, so each key has one "
                    "row, and there is nothing to choose from",
                    hint=f"leave order_by out; or declare event_time of {lookup.source!r}, and the "
                    "row in effect at the prediction is taken",
                )
            return ()
        found = []
        for column in lookup.order_by:
            with place.collect():
                found.append(self.row_value(lookup.source, column, Name(column)))
        return tuple(found)

    def past(self, place: Place, name: str) -> Source | None:
        """Return the source of past rows, or report that there is none."""
        source = self.spec.sources.get(name)
        if source is None:
            with place.below("source").collect():
                raise SpecError(
                    f"there is no source {name!r}",
                    hint="an aggregation summarises rows of a source, not outputs of another one"
                    if name in self.spec.aggregations
                    else closest(name, self.spec.sources),
                )
            return None
        return source

    def sound(self, name: str) -> None:
        """Go no further with a source whose times have been reported."""
        if name in self.leaks.unsound:
            raise Reported

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
        rows = self.typers[self.spec.examples.source]
        return tuple(rows.name(mine) for mine in by)

    def entity_key(self, place: Place, source: str, mine: str, other: str) -> None:
        """Check that a column of the examples and one of a source can be the same key."""
        main = self.spec.examples.source
        found = []
        sides = dict.fromkeys([(mine, main), (other, source)])
        for name, owner in sides:
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
                    hint=_one_type((mine, main, found[0]), (other, source, found[1])),
                )
            if len(found) == len(sides):
                self.one_value(source, Name(other))

    def one_value(self, source: str, expression: Expression) -> None:
        """Refuse what examples would compute in float32, and past rows in float64.

        Raises:
            SpecError: Both are not the same computation, so that one row could have two values.
        """
        if self.typers[source].node(expression) != self.float64(source).node(expression):
            raise SpecError(
                f"{expression.text!r} of {source!r} is computed from floats, which are rounded to "
                "float32 in examples and not in past rows: one row could have two values",
                hint="declare the types of the columns it is made of, or divide integers by //",
            )


def _narrowed(of: Type) -> Type:
    """Aggregates are computed in float64 and enter the row graph as float32."""
    return Type(Kind.FLOAT32, of.width) if of.kind is Kind.FLOAT64 else of


def _one_type(mine: tuple[str, str, Type], other: tuple[str, str, Type]) -> str:
    """Return what makes two keys of one type: a number as its digits, however it is written.

    Declaring it a string would read what the file says: 7.0 is not the text 7.

    Args:
        mine: A key of the examples, its source and its type.
        other: The same of the source that it is looked up in.
    """
    name, source, of = other if mine[2] == STRING else mine
    text = f"{name}_text"
    by = f"{{{text}: {other[0]}}}" if (name, source, of) == mine else f"{{{mine[0]}: {text}}}"
    return (
        f"keys need one type: under columns of {source!r} write {{{name}: {of}, "
        f"{text}: {{expr: \"cast({col(name).text}, 'string')\"}}}}, and by: {by}"
    )
