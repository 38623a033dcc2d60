"""From a spec and the types of its columns to a typed graph, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from featurekit.availability import Moment, moment
from featurekit.errors import FeatureKitError, LeakageError, SpecError, SpecErrors, closest
from featurekit.graph import AggregateNode, ColumnNode, LiteralNode, Node, OperationNode, topological
from featurekit.spec.expression import (
    MAX_DEPTH,
    MAX_SIZE,
    Attribute,
    Call,
    Expression,
    Literal,
    Name,
)
from featurekit.spec.objects import Column, FrozenMapping, Spec
from featurekit.transforms.base import FullPassOperation, Operation
from featurekit.transforms.catalogue import operations
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
)

__all__ = ["Resolved", "Typer", "aggregate_type", "resolve"]


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
    """

    spec: Spec
    types: Mapping[str, Type]
    features: Mapping[str, Node]
    keys: Mapping[str, Node]
    label: Node | None = None
    split: Node | None = None
    hashed: tuple[Node, ...] = ()

    @property
    def roots(self) -> tuple[Node, ...]:
        """Every node whose values a run needs."""
        extra = [node for node in (self.label, self.split) if node is not None]
        return (*self.features.values(), *self.keys.values(), *extra, *self.hashed)

    def inputs(self, *roots: Node) -> dict[str, Type]:
        """Return the source columns that some nodes (all by default) read, with their types."""
        found = (node for node in topological(roots or self.roots) if isinstance(node, ColumnNode))
        return {node.name: node.type for node in found}


def resolve(spec: Spec, types: Mapping[str, Type]) -> Resolved:
    """Type-check a spec against the columns of its examples' source.

    Args:
        spec: The spec.
        types: The types of the columns that the data holds (derived ones are typed here).

    Returns:
        The typed graph.

    Raises:
        SpecErrors: Every problem of the spec, each with its place; its exit code is 1 when all
            of them are leaks.
    """
    return _Resolver(spec, types).resolve()


def aggregate_type(spec: Spec, owner: str, name: str) -> Type | None:
    """Return the type of an aggregation's output, or `None` when there is no such output.

    Aggregates are computed in float64 and enter the row graph as float32.
    """
    aggregation = spec.aggregations.get(owner)
    if aggregation is None:
        return None
    for output, feature, _ in aggregation.outputs():
        if output == name:
            typer = Typer(spec.sources[aggregation.source].columns, {}, known_only=False)
            found = typer.node(aggregation.features[feature]).type
            return FLOAT32 if found == FLOAT64 else found
    return None


class Typer:
    """Turns expressions over the columns of one source into nodes.

    Args:
        columns: The declared columns of the source.
        types: The types of the columns that the data holds.
        attribute: Looks up the output of an aggregation.
        other: Looks up a name that is not a column (another feature).
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        types: Mapping[str, Type],
        attribute: Callable[[str, str], Node] | None = None,
        other: Callable[[str], Node | None] | None = None,
        known_only: bool = True,
    ) -> None:
        self.columns = columns
        self.types = types
        self.attribute = attribute
        self.other = other
        self.known_only = known_only
        self.nodes: dict[Node, Node] = {}
        self.made: dict[str, Node] = {}
        self.open: list[str] = []

    def node(self, expression: Expression) -> Node:
        """Return the node of an expression.

        Raises:
            SpecError: A name is unknown, or a type does not fit.
        """
        match expression:
            case Name(name=name):
                return self.name(name)
            case Literal(value=value, type=of):
                return LiteralNode.of(value, of)
            case Attribute(aggregation=owner, name=name):
                if self.attribute is None:
                    raise SpecError(f"the aggregation {owner}.{name} cannot be used here")
                return self.attribute(owner, name)
            case Call(operation=operation, inputs=inputs):
                return self.apply(operation, tuple(self.node(entry) for entry in inputs))
        raise SpecError(f"{expression!r} is not an expression")

    def name(self, name: str) -> Node:
        """Return the node of a column: read, derived, or known by `other`."""
        if name in self.made:
            return self.made[name]
        column = self.columns.get(name)
        if column is not None and column.expr is not None:
            if name in self.open:
                raise SpecError(f"derived columns refer to each other: {' -> '.join([*self.open, name])}")
            self.open.append(name)
            try:
                node = self.node(column.expr)
            finally:
                self.open.pop()
            if node.level:
                raise SpecError(f"the derived column {name!r} uses statistics of the data",
                                hint="a derived column is a row expression; make it a feature")  # fmt: skip
            if column.type is not None and column.type != node.type:
                node = self.cast(node, column.type, f"the derived column {name!r}")
        elif name in self.types:
            node = self.intern(ColumnNode.of(name, self.types[name]))
        elif self.other is not None and (found := self.other(name)) is not None:
            return found
        else:
            raise SpecError(f"there is no column {name!r}", hint=closest(name, [*self.types, *self.columns]))
        self.made[name] = node
        return node

    def apply(self, operation: Operation, inputs: tuple[Node, ...]) -> Node:
        """Return the node of an operation, its inputs checked and cast."""
        for position, entry in enumerate(inputs):
            _accept(operation, position, entry)
        inputs = _widen_literals(inputs)
        types = tuple(entry.type for entry in inputs)
        try:
            wanted = operation.coerce(types)
        except ValueError as error:
            call = Call(operation, tuple(entry.expression for entry in inputs)).text
            raise SpecError(f"{call!r}: {error}") from None
        inputs = tuple(
            self.cast(entry, to, operation.name()) for entry, to in zip(inputs, wanted, strict=True)
        )
        try:
            output = operation.output_type(tuple(wanted))
        except ValueError as error:
            raise SpecError(f"{operation.name()}: {error}") from None
        if isinstance(operation, FullPassOperation) and not any(
            isinstance(node, (ColumnNode, AggregateNode)) for node in topological(inputs)
        ):
            raise SpecError(f"{operation.name()} of a constant has no meaning")
        node = OperationNode.of(operation, inputs, output)
        # Only text can be too large: what is shared is spelled out there each time it is used.
        depth, size = node.expression.depth, node.expression.size
        if depth > MAX_DEPTH or size > MAX_SIZE:
            raise SpecError(
                "with the features and derived columns that it uses spelled out, the expression "
                f"is nested {depth} deep and has {size:,} parts; at most {MAX_DEPTH} and "
                f"{MAX_SIZE:,} are allowed",
                hint="compute a part of it before FeatureKit, as a column of the data",
            )
        return self.intern(node)

    def cast(self, node: Node, to: Type, what: str) -> Node:
        """Return a node of another type; constants are converted at once."""
        if node.type == to:
            return node
        if isinstance(node, LiteralNode) and {node.type, to} <= {INT64, FLOAT32, FLOAT64}:
            return LiteralNode.of(int(node.value) if to == INT64 else float(node.value), to)
        try:
            operation = operations()["cast"](to=str(to))  # type: ignore[call-arg]
            operation.output_type(operation.coerce((node.type,)))
        except ValueError:
            raise SpecError(f"{what}: a {node.type} cannot be made a {to}") from None
        return self.intern(OperationNode.of(operation, (node,), to))

    def intern(self, node: Node) -> Node:
        """Return the one node with this fingerprint."""
        return self.nodes.setdefault(node, node)


def _accept(operation: Operation, position: int, node: Node) -> None:
    expected = operation.input_at(position)
    if node.type in expected.accepts:
        return
    name = operation.name()
    shown = repr(node.text)
    if node.type.width is not None:
        raise SpecError(
            f"{name} needs {expected.accepts}; {shown} is a vector ({node.type})",
            hint="a vector can only be a feature of its own",
        )
    raise SpecError(
        f"{name} needs {expected.accepts}; {shown} is {_article(node.type)}",
        hint=_type_hint(node, expected.accepts.types),
    )


def _article(of: Type) -> str:
    return {INT64: "an integer", STRING: "a string", BOOL: "a boolean"}.get(of, f"a {of}")


def _type_hint(node: Node, wanted: frozenset[Type]) -> str:
    text = node.text
    if node.type == STRING and INT64 in wanted:
        return f"vocabulary({text}) first, or cast({text}, 'float32') if it holds numbers"
    if node.type == TIMESTAMP and INT64 in wanted:
        return f"hour({text}), day_of_week({text}) or seconds_between first"
    if node.type == BOOL and INT64 in wanted:
        return f"cast({text}, 'int64') first"
    if wanted == frozenset({TIMESTAMP}):
        return f"declare the column's type as timestamp; {text} is read as {node.type}"
    if STRING in wanted and node.type.is_number:
        return f"cast({text}, 'string') first"
    if wanted == frozenset({BOOL}):
        return f"compare it, for example {text} > 0" if node.type.is_number else ""
    return ""


def _widen_literals(inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """A float constant beside a float64 is a float64, so that 0.1 is not rounded on the way."""
    if not any(entry.type == FLOAT64 and not isinstance(entry, LiteralNode) for entry in inputs):
        return inputs
    return tuple(
        LiteralNode.of(entry.value, FLOAT64)
        if isinstance(entry, LiteralNode) and entry.type == FLOAT32 else entry
        for entry in inputs
    )  # fmt: skip


class _Resolver:
    """Collects the problems of all parts of a spec while building its graph."""

    def __init__(self, spec: Spec, types: Mapping[str, Type]) -> None:
        self.spec = spec
        self.problems: list[FeatureKitError] = []
        source = spec.sources.get(spec.examples.source)
        self.columns: Mapping[str, Column] = FrozenMapping() if source is None else source.columns
        self.source = source
        self.types = dict(types)
        self.rows = Typer(self.columns, self.types)
        self.typer = Typer(self.columns, self.types, self.attribute, self.feature)
        self.typer.nodes = self.rows.nodes
        self.features: dict[str, Node] = {}
        self.open: list[str] = []
        self.failed: set[str] = set()

    def resolve(self) -> Resolved:
        spec, examples = self.spec, self.spec.examples
        if self.source is None:
            raise SpecErrors([SpecError(
                f"examples: there is no source {examples.source!r}",
                where=spec.place("examples", "source"), hint=closest(examples.source, spec.sources),
            )])  # fmt: skip
        self.sources()
        self.aggregations()
        keys = {
            name: node for name in examples.keys
            if (node := self.row(("examples", "keys"), f"key {name!r}", Name(name))) is not None
        }  # fmt: skip
        label = None
        if examples.label is not None:
            label = self.row(("examples", "label"), "label", examples.label)
        predict_at = self.time(("examples", "predict_at"), "predict_at", examples.predict_at)
        split, hashed = self.split()
        for name in spec.features:
            self.feature_safely(name)
        for name in sorted(set(keys) & set(spec.features)):
            self.problem(SpecError(f"{name!r} names both a key and a feature"), ("features", name), "")
        self.leaks(predict_at)
        if self.problems:
            raise SpecErrors(self.problems)
        ordered = {name: self.features[name] for name in spec.features}
        return Resolved(spec, self.types, ordered, keys, label, split, hashed)

    def problem(self, error: FeatureKitError, path: tuple[str, ...], label: str) -> None:
        where = ": ".join(filter(None, (self.spec.place(*path), label, error.where)))
        self.problems.append(type(error)(error.message, where=where, hint=error.hint))

    def row(self, path: tuple[str, ...], label: str, expression: Expression) -> Node | None:
        """Type a row expression over the source."""
        try:
            node = self.rows.node(expression)
            if node.level:
                raise SpecError(f"{expression.text!r} uses statistics of the data; a row expression is needed")
            if node.type.width is not None:
                raise SpecError(f"{expression.text!r} is a vector; a scalar is needed")
            return node
        except SpecError as error:
            self.problem(error, path, label)
            return None

    def time(
        self, path: tuple[str, ...], label: str, expression: Expression | None
    ) -> Moment | None:
        """Check a time expression and return it as base and offset."""
        if expression is None:
            return None
        node = self.row(path, label, expression)
        if node is None:
            return None
        if node.type != TIMESTAMP:
            self.problem(SpecError(f"{expression.text!r} is {_article(node.type)}, not a timestamp"), path, label)
            return None
        try:
            return moment(expression, self.columns)
        except SpecError as error:
            self.problem(error, path, label)
            return None

    def sources(self) -> None:
        """Check what the source of the examples declares: derived columns and times."""
        assert self.source is not None
        path = ("sources", self.spec.examples.source)
        for name, column in self.columns.items():
            here = (*path, "columns", name)
            if column.expr is not None or name in self.types:
                self.row(here, f"column {name!r}", Name(name))
            else:
                self.problem(
                    SpecError("the data has no such column", hint=closest(name, self.types)),
                    here, f"column {name!r}",
                )  # fmt: skip
            self.time((*here, "available_at"), f"available_at of {name!r}", column.available_at)
        self.time((*path, "available_at"), "available_at", self.source.available_at)
        if self.source.event_time is not None:
            self.time((*path, "event_time"), "event_time", Name(self.source.event_time))

    def aggregations(self) -> None:
        """Check what the spec alone can tell of each aggregation."""
        for name, aggregation in self.spec.aggregations.items():
            path = ("aggregations", name)
            source = self.spec.sources.get(aggregation.source)
            if source is None:
                self.problem(
                    SpecError(f"there is no source {aggregation.source!r}",
                              hint=closest(aggregation.source, self.spec.sources)),
                    path, f"aggregation {name!r}",
                )  # fmt: skip
            elif source.event_time is None:
                self.problem(
                    SpecError(f"its source {aggregation.source!r} declares no event_time"),
                    path, f"aggregation {name!r}",
                )  # fmt: skip

    def split(self) -> tuple[Node | None, tuple[Node, ...]]:
        split = self.spec.examples.split
        if split is None:
            return None, ()
        path = ("examples", "split")
        if split.hash:
            nodes = [self.row(path, "split", Name(name)) for name in split.hash]
            hashed = []
            for node in nodes:
                if node is None:
                    continue
                try:
                    hashed.append(self.rows.cast(node, STRING, "split"))
                except SpecError as error:
                    self.problem(error, path, "split")
            return None, tuple(hashed)
        node = self.row(path, "split", Name(split.by or split.column or ""))
        expected = TIMESTAMP if split.by else STRING
        if node is not None and node.type != expected:
            self.problem(
                SpecError(f"{node.text!r} is {_article(node.type)}, not a {expected}"), path, "split"
            )
        return node, ()

    def attribute(self, owner: str, name: str) -> Node:
        """Return the node of an aggregation's output, `tail.delay_mean_7d`."""
        aggregation = self.spec.aggregations.get(owner)
        if aggregation is None:
            raise SpecError(f"there is no aggregation {owner!r}", hint=closest(owner, self.spec.aggregations))
        found = aggregate_type(self.spec, owner, name)
        if found is None:
            outputs = [output for output, _, _ in aggregation.outputs()]
            raise SpecError(f"the aggregation {owner!r} has no output {name!r}", hint=closest(name, outputs))
        return AggregateNode.of(owner, name, found)

    def feature(self, name: str) -> Node | None:
        """Return the node of another feature, or `None` when there is none of that name."""
        if name not in self.spec.features:
            everything = [*self.types, *self.columns, *self.spec.features]
            raise SpecError(f"there is no column or feature {name!r}", hint=closest(name, everything))
        if name in self.failed:
            raise _Reported()
        if name not in self.features:
            if name in self.open:
                raise SpecError(f"features refer to each other: {' -> '.join([*self.open, name])}")
            self.open.append(name)
            try:
                self.features[name] = self.typer.node(self.spec.features[name].expr)
            finally:
                self.open.pop()
        return self.features[name]

    def feature_safely(self, name: str) -> None:
        try:
            node = self.feature(name)
            assert node is not None
            self.features[name] = self.output(node)
        except _Reported:
            self.failed.add(name)
        except SpecError as error:
            self.failed.add(name)
            self.problem(error, ("features", name), f"feature {name!r}")
        except RecursionError:
            self.failed.add(name)
            self.problem(SpecError("features refer to each other too deeply"), ("features", name), f"feature {name!r}")

    def output(self, node: Node) -> Node:
        """A feature is a number, a string or a vector: booleans are written as 0 and 1."""
        if not any(isinstance(entry, (ColumnNode, AggregateNode)) for entry in topological([node])):
            raise SpecError("it reads no column, so it is the same for every row")
        if node.type == BOOL:
            return self.typer.cast(node, INT64, "a feature")
        if node.type in (TIMESTAMP, DURATION):
            raise SpecError(
                f"a feature cannot be a {node.type}",
                hint="hour(t), day_of_week(t), seconds_between(a, b) and the like are numbers",
            )
        return node

    def leaks(self, predict_at: Moment | None) -> None:
        """Refuse features that use the label, or what is not known at prediction time."""
        label = self.spec.examples.label
        tainted = set() if label is None else {name for name, _ in self.used(label)}
        for feature in self.spec.features:
            reported: set[str] = set()
            for name, chain in self.used(self.spec.features[feature].expr, feature):
                problem = self.leak(feature, name, chain, tainted, predict_at)
                if problem is not None and name not in reported:
                    reported.add(name)
                    self.problem(problem, ("features", feature), f"feature {feature!r}")

    def leak(
        self, feature: str, name: str, chain: tuple[str, ...], tainted: set[str],
        predict_at: Moment | None,
    ) -> FeatureKitError | None:  # fmt: skip
        column = self.columns.get(name, Column())
        assert self.source is not None
        through = "" if len(chain) < 2 else f" (through {' -> '.join(chain)})"
        if column.available is False:
            return LeakageError(
                f"{name!r} is not available at prediction time, and {feature!r} uses it{through}",
                hint="it is declared available: false; use it in the label only, or aggregate past rows",
            )
        declared = column.available_at
        if name in tainted and declared is None and column.available is None:
            return LeakageError(
                f"{name!r} makes the label, and {feature!r} uses it as an input{through}",
                hint=f"leave it out; if it is known at prediction time, declare available_at (or "
                     f"available: true) for the column {name!r}",
            )  # fmt: skip
        if column.available is True:
            return None
        if declared is None and (column.expr is not None):
            return None  # the columns it is made of are looked at one by one
        declared = declared or self.source.available_at
        if declared is None:
            return None
        if predict_at is None:
            if self.spec.examples.predict_at is not None or column.available_at is None:
                return None
            return SpecError(
                f"{name!r} declares available_at, but examples declare no predict_at to compare with",
                hint="examples: {predict_at: ...}",
            )
        try:
            known = moment(declared, self.columns)
        except SpecError:
            return None  # reported with the column
        verdict = known.by(predict_at)
        if verdict:
            return None
        said = f"{name!r} is known at {known}; {feature!r} uses it at {predict_at}{through}"
        if verdict is None:
            return LeakageError(
                f"{said}, and which comes first cannot be proven from the spec",
                hint=f"times compare only over the same column: declare available_at relative to {predict_at.base}",
            )
        return LeakageError(said, hint="use an aggregate over past rows, or predict later")

    def used(self, expression: Expression, feature: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield every column that an expression uses, and the chain of names that leads to it.

        A derived column that declares when it is available is looked at no further.
        """
        seen: set[str] = set()
        stack: list[tuple[Expression, tuple[str, ...]]] = [(expression, (feature,) if feature else ())]
        while stack:
            current, chain = stack.pop()
            for part in current.walk():
                if not isinstance(part, Name) or part.name in seen:
                    continue
                name = part.name
                seen.add(name)
                longer = (*chain, name)
                column = self.columns.get(name)
                if column is not None and column.expr is not None:
                    yield name, longer
                    if column.available_at is None and column.available is None:
                        stack.append((column.expr, longer))
                elif name in self.types:
                    yield name, longer
                elif name in self.spec.features:
                    stack.append((self.spec.features[name].expr, longer))


class _Reported(SpecError):
    """Another feature's problem, already collected."""

    def __init__(self) -> None:
        super().__init__("a feature that this one uses has a problem of its own")


