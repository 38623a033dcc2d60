"""From a spec and the types of its columns to a typed graph, or to all that is wrong with it."""

from __future__ import annotations

import keyword
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import date
from difflib import get_close_matches
from typing import Any

from featurekit.availability import Moment, moment
from featurekit.errors import SpecError, closest, few_guesses, may_guess
from featurekit.graph import (
    AggregateNode,
    Node,
)
from featurekit.histories import Histories
from featurekit.judging import Judge, Settle
from featurekit.leaks import Leaks
from featurekit.resolved import Resolved
from featurekit.semantics import SEMANTICS
from featurekit.spec.expression import MAX_DEPTH, Expression, Literal, Name, col, shortened
from featurekit.spec.objects import UNDECLARED, Aggregation, Source, Spec
from featurekit.spec.problems import Place, Problems, Reported
from featurekit.spec.settings import RESERVED
from featurekit.stored import Absent, Stored
from featurekit.targets import Targets
from featurekit.typecheck import (
    Typer,
    in_order,
    levels,
    meant,
    names_in,
    reads_rows,
)
from featurekit.types import (
    BOOL,
    DURATION,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
    described,
)

__all__ = ["resolve"]


def resolve(
    spec: Spec,
    types: Mapping[str, Type],
    others: Mapping[str, Mapping[str, Type]] | None = None,
    *,
    settle: Callable[[Node, Node], tuple[int, int] | None] | None = None,
    stored: Stored | None = None,
    refuse_leaks: bool = True,
    today: date | None = None,
    semantics: int = SEMANTICS,
) -> Resolved:
    """Type-check a spec against the columns of its sources.

    Args:
        spec: The spec.
        types: The types of the columns that the data of the examples' source holds (derived ones
            are typed here).
        others: The same of the other sources, by name. Of a source that is not there, only what
            the spec declares is known.
        settle: Given the nodes of when something is known and of when the prediction is made,
            counts the rows of the data in which it is not known by then, and all rows. It is asked
            where the spec alone cannot tell.
        stored: What the data can be asked of its columns.
        refuse_leaks: Whether features that leak are problems; else they are told in `uses`.
        today: The day that waivers are held against; by default the current one, in UTC.
        semantics: By which version numbers are made: that of an old run, when one is opened.

    Returns:
        The typed graph.

    Raises:
        SpecErrors: Every problem of the spec, each with its place; its exit code is 1 when all
            of them are leaks.
    """
    resolver = _Resolver(spec, types, others or {}, stored or Stored(), semantics)
    settled = None if settle is None else resolver.settled(settle)
    with few_guesses():
        return resolver.resolve(Judge(resolver.leaks, settled, refuse_leaks, today, semantics))


class _Resolver:
    """Collects the problems of all parts of a spec while building its graph."""

    def __init__(
        self, spec: Spec, types: Mapping[str, Type], others: Mapping[str, Mapping[str, Type]],
        stored: Stored, semantics: int = SEMANTICS,
    ) -> None:  # fmt: skip
        self.spec, self.stored, self.semantics = spec, stored, semantics
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
        self.unsound: set[str] = set()
        self.unreadable: set[str] = set()
        self.rows = self.source(main, spec.sources[main])
        self.leaks = Leaks(spec, self.types, self.unsound)
        targets = Targets(spec, self.rows, self.leaks)
        self.typer = self.rows.within(self.attribute, self.feature, targets.node)
        self.owners = spec.histories
        self._outputs: dict[str, tuple[str, dict[str, None]]] = {}
        self.aggregates: dict[str, dict[str, AggregateNode]] = {}
        self.wrong: set[tuple[str, str]] = set()
        self.nodes: dict[str, Node] = {}
        self.failed: set[str] = set()
        self.deep: set[str] = set()
        self._owner: dict[str, str] | None = None

    def settled(self, settle: Callable[[Node, Node], tuple[int, int] | None]) -> Settle:
        """Return what asks the data which of two times comes first."""

        def ask(known_at: Expression) -> tuple[int, int] | None:
            predict_at = self.spec.examples.predict_at
            if predict_at is None:
                return None
            if self.spec.examples.source in self.unreadable:
                raise Reported
            return settle(self.rows.node(known_at), self.rows.node(predict_at))

        return ask

    def resolve(self, judge: Judge) -> Resolved:
        spec, examples = self.spec, self.spec.examples
        for name, source in spec.sources.items():
            if name in self.known:
                self.source(name, source)
        predict_at = self.time(self.examples.below("predict_at", "predict_at"), examples.predict_at)
        at = None
        if predict_at is not None and examples.predict_at is not None:
            at = self.rows.node(examples.predict_at)
        for name in (entry.source for entry in self.owners.values()):
            if name in spec.sources:
                self.source(name, spec.sources[name])
        history = Histories(spec, self.root, self.typers, self.leaks, at, self.semantics)
        self.aggregates, self.wrong = history.outputs(), history.wrong
        keys = self.keys()
        label = self.label()
        split, hashed = self.split()
        where = self.where()
        features = self.features()
        past = {name: types for name, types in self.known.items() if types is not self.types}
        made = Resolved(
            spec, self.types, features, keys, label, split, hashed, past, self.aggregates,
            semantics=self.semantics, where=where,
        )  # fmt: skip
        self.readable(made)
        if self.semantics > 1:
            self.named_apart(made)
        judge.in_features(self.root.below("features"), predict_at, self.deep)
        self.problems.check()
        return replace(
            made,
            uses={name: tuple(found) for name, found in judge.uses.items()},
            noticed=tuple(dict.fromkeys(judge.of_where(predict_at))),
        )

    def readable(self, made: Resolved) -> None:
        """Refuse columns that are read, and whose stored types are not those of the spec."""
        for source, columns in made.read().items():
            place = self.root.below("sources").below(source, f"source {source!r}").below("columns")
            for name, of in columns.items():
                before = len(self.problems)
                with place.below(name).collect():
                    self.stored.refuse(source, name, of)
                if len(self.problems) > before:
                    self.unreadable.add(source)

    def named_apart(self, made: Resolved) -> None:
        """Refuse columns that the data calls like what an aggregation or a lookup gives.

        Both would be one column of the rows, whatever the spec calls the data's own.
        """
        main = self.spec.examples.source
        columns = self.spec.sources[main].columns
        stored = {columns.get(name, UNDECLARED).column or name for name in made.read()[main]}
        for node in made.aggregates:
            owner, _, output = node.text.partition(".")
            kind = "aggregation" if isinstance(self.owners[owner], Aggregation) else "lookup"
            place = self.root.below(f"{kind}s").below(owner, f"{kind} {owner!r}")
            with place.collect():
                if node.text in stored:
                    raise SpecError(
                        f"its output {output!r} is called {node.text!r} in features, and so is a "
                        f"column of source {main!r} that is read",
                        hint=f"give the {kind} another name, such as {owner}_2, and write "
                        f"{owner}_2.{output} in features",
                    )

    def source(self, name: str, source: Source) -> Typer:
        """Check what a source declares: derived columns and times."""
        if name in self.typers:
            return self.typers[name]
        place = self.root.below("sources").below(name, f"source {name!r}")
        stored = {key: column for key, column in source.columns.items() if column.expr is None}
        declared = {key: column.type for key, column in stored.items() if column.type is not None}
        types = self.known.get(name, declared)
        complete = name in self.known and name not in self.stored.unreached
        absent = Absent(name, place, self.stored, complete)
        typer = self.typers[name] = Typer(source.columns, types, absent=absent)
        columns = place.below("columns")
        for key in stored:
            if key not in types and complete:
                missing = SpecError("the data has no such column", hint=closest(key, types))
                with columns.below(key, f"column {key!r}").collect():
                    raise absent(key) or missing
        typer.derive(columns)
        times = [
            (columns.below(key, f"column {key!r}").below("available_at", "available_at"),
             column.available_at)
            for key, column in source.columns.items()
        ]  # fmt: skip
        times.append((place.below("available_at", "available_at"), source.available_at))
        event_time = None if source.event_time is None else Name(source.event_time)
        times.append((place.below("event_time", "event_time"), event_time))
        found = [self.time(below, time, typer) for below, time in times if time is not None]
        if None in found:
            self.unsound.add(name)
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
        hint = ""
        if isinstance(expression, Name):
            source = next((key for key, found in self.typers.items() if found is typer), "")
            hint = self.stored.time_hint(source, expression.name)
            hint = hint or f"declare it: {text}: {{type: timestamp}}"
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

    def attribute(self, owner: str, name: str) -> Node:
        """Return the node of an aggregation's output, `tail.delay_mean_7d`, or of a lookup's."""
        if name in self.aggregates.get(owner, ()):
            return self.typer.intern(self.aggregates[owner][name])
        found = self.owners.get(owner)
        if found is None:
            hint = closest(owner, self.owners)
            if owner in self.spec.sources:
                hint = (
                    f"{owner!r} is a source; a feature uses its rows through an aggregation or "
                    "a lookup"
                )
            raise SpecError(f"there is no aggregation or lookup {owner!r}", hint=hint)
        what, outputs = self.outputs(owner)
        near = get_close_matches(name, outputs, n=1) if self.wrong and may_guess() else ()
        if name in outputs or (near and (owner, near[0]) in self.wrong):
            raise Reported
        what = what.partition(" ")[2]
        raise SpecError(f"the {what} {owner!r} has no output {name!r}", hint=closest(name, outputs))

    def outputs(self, owner: str) -> tuple[str, dict[str, None]]:
        """Return what an aggregation or a lookup is called, and the names of its outputs."""
        if owner not in self._outputs:
            found = self.owners[owner]
            if isinstance(found, Aggregation):
                names = {output: None for output, _, _ in found.outputs()}
                self._outputs[owner] = "an aggregation", names
            else:
                self._outputs[owner] = "a lookup", dict.fromkeys(found.features)
        return self._outputs[owner]

    def keys(self) -> dict[str, Node]:
        found, lower = {}, {other.lower(): other for other in reversed([*self.spec.features])}
        for name in self.spec.examples.keys:
            place = self.examples.below("keys", f"key {name!r}")
            node = self.row(place, Name(name))
            if node is not None:
                found[name] = node
            with place.collect():
                if node is not None and node.type.is_float and self.semantics > 1:
                    raise SpecError(
                        f"a key is an integer, a string, a boolean or a time; {name!r} is "
                        f"{described(node.type)}, which does not hold every integer",
                        hint=f"declare it: {name}: int64, or string",
                    )
                if name in RESERVED:
                    raise SpecError(
                        f"{name!r} is a reserved name",
                        hint=f"read the column under another name: {name}_key: {{column: {name}}}",
                    )
                same = lower.get(name.lower())
                if same is not None:
                    raise SpecError(
                        f"the feature {same!r} has the same name", hint="rename the feature"
                    )
        return found

    def label(self) -> Node | None:
        label, place = self.spec.examples.label, self.examples.below("label", "label")
        node = None if label is None else self.row(place, label)
        with place.collect():
            if node is not None and node.type in (TIMESTAMP, DURATION):
                raise SpecError(f"a label cannot be {described(node.type)}")
            if node is not None and label is not None and not reads_rows(node):
                meant = label.value if isinstance(label, Literal) else None
                raise SpecError(
                    f"{label.text} is the same for every row, and no label",
                    hint=col(meant).text if isinstance(meant, str) and meant in self.types
                    else "a label is an expression over columns, such as delay > 15",
                )  # fmt: skip
        return node

    def where(self) -> Node | None:
        """Type what says which rows are examples."""
        where, place = self.spec.examples.where, self.examples.below("where", "where")
        node = None if where is None else self.row(place, where)
        with place.collect():
            if node is not None and node.type != BOOL:
                raise SpecError(
                    f"a comparison of a row's values is needed; {shortened(node.text)!r} is "
                    f"{described(node.type)}",
                    hint="for example where: amount > 0",
                )
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
                raise SpecError(
                    f"a string is needed; {name!r} is {described(node.type)}",
                    hint=_split_hint(name, node.type, self.rows.columns),
                )
        return node, ()

    def features(self) -> dict[str, Node]:
        """Type all features, each after those that it uses."""
        place = self.root.below("features")
        uses = {name: names_in(feature.expr) for name, feature in self.spec.features.items()}
        columns = {*self.types, *self.rows.columns}
        order, cycles = in_order({name: used - columns for name, used in uses.items()})
        level = levels(order, {name: used - columns - {name} for name, used in uses.items()})
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
                if level[name] > MAX_DEPTH:
                    self.deep.add(name)
        return {name: written[name] for name in self.spec.features if name in written}

    def feature(self, name: str) -> Node:
        """Return the node of another feature."""
        if name in self.nodes:
            return self.nodes[name]
        if name in self.failed:
            raise Reported
        known: ChainMap[str, Any] = ChainMap(self.types, self.rows.columns, self.nodes)  # type: ignore[arg-type]
        if self._owner is None:
            self._owner = {}
            for owner, outputs in self.aggregates.items():
                self._owner |= {output: owner for output in outputs if output not in self._owner}
        looked_up = self._owner.get(name)
        hint = f"did you mean {looked_up}.{name}?" if looked_up else meant(name, known)
        if name in self.owners:
            what, names = self.outputs(name)
            shown = ", ".join(f"{name}.{output}" for output in list(names)[:4])
            more = ", ..." if len(names) > 4 else ""
            hint = f"{name!r} is {what}; a feature uses its outputs: {shown}{more}"
        raise self.rows.unusable(name) or SpecError(
            f"there is no column or feature {name!r}", hint=hint
        )

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


def _split_hint(name: str, of: Type, columns: Collection[str]) -> str:
    """Return the derived column that makes the names of splits of booleans or numbers."""
    if not (of == BOOL or of.is_number):
        return ""
    said = name if name.isidentifier() and not keyword.iskeyword(name) else f'col("{name}")'
    chosen = said if of == BOOL else f"{said} == 1"
    made = "part" if "part" not in columns else f"{name}_part"
    return (
        f"a derived column names the splits: {made}: "
        f'{{expr: \'where({chosen}, "test", "train")\'}}, and split: {{column: {made}}}'
    )
