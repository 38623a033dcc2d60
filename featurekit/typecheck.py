"""From expressions over the columns of one source to typed nodes."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from featurekit.errors import SpecError, closest, may_guess
from featurekit.graph import (
    AggregateNode,
    ColumnNode,
    LiteralNode,
    Node,
    OperationNode,
    topological,
)
from featurekit.spec.expression import (
    MAX_DEPTH,
    MAX_SIZE,
    Attribute,
    Call,
    Expression,
    Literal,
    Name,
    shortened,
)
from featurekit.spec.objects import UNDECLARED, Column
from featurekit.spec.problems import Place, Reported
from featurekit.transforms.base import AggregateOperation, FullPassOperation, Operation
from featurekit.transforms.catalogue import operations
from featurekit.transforms.targets import TargetOperation
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Type,
    described,
)

__all__ = ["Typer", "in_order", "meant", "names_in", "reads_rows"]


class Typer:
    """Turns expressions over the columns of one source into nodes.

    Args:
        columns: The declared columns of the source.
        types: The types of the columns that the data holds.
        attribute: Looks up the output of an aggregation.
        other: Looks up a name that is not a column (another feature).
        absent: Says why a name is no column that can be used, or `None` where there is none such.
        wide: Whether numbers are computed in float64, as under an aggregation, unless a column is
            declared float32.
        target: Makes the node of an operation that sees the label.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        types: Mapping[str, Type],
        attribute: Callable[[str, str], Node] | None = None,
        other: Callable[[str], Node] | None = None,
        absent: Callable[[str], SpecError | None] | None = None,
        wide: bool = False,
        target: Callable[[TargetOperation, Node], Node] | None = None,
    ) -> None:
        self.columns = columns
        self.types = types
        self.attribute = attribute
        self.other = other
        self.absent = absent
        self.wide = wide
        self.target = target
        self._nodes: dict[Node, Node] = {}
        self._made: dict[str, Node] = {}
        self._failed: set[str] = set()

    def within(
        self,
        attribute: Callable[[str, str], Node],
        other: Callable[[str], Node],
        target: Callable[[TargetOperation, Node], Node],
    ) -> Typer:
        """Return a typer of the same columns that knows more names; it shares all nodes."""
        made = Typer(self.columns, self.types, attribute, other, self.absent, target=target)
        made._nodes, made._made, made._failed = self._nodes, self._made, self._failed
        return made

    def widened(self) -> Typer:
        """Return a typer of the same columns that computes in float64."""
        types = {
            name: FLOAT64 if of == FLOAT32 and self._inferred(name) else of
            for name, of in self.types.items()
        }
        made = Typer(self.columns, types, absent=self.absent, wide=True)
        made._failed = set(self._failed)
        return made

    def _inferred(self, name: str) -> bool:
        return self.columns.get(name, UNDECLARED).type is None

    def derive(self, place: Place) -> None:
        """Type every derived column, collecting their problems below the place of the columns."""
        uses = {
            name: names_in(column.expr)
            for name, column in self.columns.items() if column.expr is not None
        }  # fmt: skip
        order, cycles = in_order(uses)
        for cycle in cycles:
            self._failed |= set(cycle)
            with place.below(cycle[0], f"column {cycle[0]!r}").collect():
                raise SpecError(f"derived columns refer to each other: {' -> '.join(cycle)}")
        for name in order:
            with place.below(name, f"column {name!r}").collect():
                self.name(name)

    def node(self, expression: Expression) -> Node:
        """Return the node of an expression.

        Raises:
            SpecError: A name is unknown, or a type does not fit.
        """
        match expression:
            case Name(name=name):
                return self.name(name)
            case Literal(value=value, type=of):
                return LiteralNode.of(value, FLOAT64 if self.wide and of == FLOAT32 else of)
            case Attribute(aggregation=owner, name=name):
                if self.attribute is None:
                    raise SpecError(
                        f"{owner}.{name} cannot be used here",
                        hint="only features can use the outputs of aggregations",
                    )
                return self.attribute(owner, name)
            case Call(operation=operation, inputs=inputs):
                return self.apply(operation, inputs)
        raise SpecError(f"{expression!r} is not an expression")

    def name(self, name: str) -> Node:
        """Return the node of a column: read, derived, or known by `other`."""
        if name in self._made:
            return self._made[name]
        if name in self._failed:
            raise Reported
        column = self.columns.get(name, UNDECLARED)
        if column.expr is not None:
            node = self._derived(name, column, column.expr)
        elif name in self.types:
            node = self.intern(ColumnNode.of(name, self.types[name]))
        elif self.other is not None:
            return self.other(name)
        else:
            raise self.unusable(name) or SpecError(
                f"there is no column {name!r}",
                hint=meant(name, ChainMap(self.types, self.columns)),  # type: ignore[arg-type]
            )
        self._made[name] = node
        return node

    def unusable(self, name: str) -> SpecError | None:
        """Return why a name is no column that can be used, if there may be one of that name."""
        return None if self.absent is None else self.absent(name)

    def _derived(self, name: str, column: Column, expression: Expression) -> Node:
        if name in names_in(expression):
            raise SpecError(
                f"the derived column {name!r} uses itself",
                hint=f"read the stored one under another name: stored_{name}: {{column: {name}}}",
            )
        self._failed.add(name)  # Until it is made: a cycle would come back to it.
        node = self.node(expression)
        if node.level:
            raise SpecError(
                f"the derived column {name!r} uses statistics of the data",
                hint="a derived column is a row expression; make it a feature",
            )
        if column.type is not None:
            node = self.cast(node, column.type, f"the derived column {name!r}")
        self._failed.discard(name)
        return node

    def apply(self, operation: Operation, written: tuple[Expression, ...]) -> Node:
        """Return the node of an operation, its inputs checked and cast.

        Args:
            operation: The operation.
            written: Its inputs, as the spec writes them: so messages quote them.
        """
        inputs, output = self.call(operation, written)
        if isinstance(operation, FullPassOperation) and not reads_rows(*inputs):
            raise SpecError(
                f"{operation.name()} needs something that changes from row to row, "
                f"got {shortened(written[0].text)!r}"
            )
        if isinstance(operation, TargetOperation):
            if self.target is None:
                raise SpecError(
                    f"{operation.name()} sees the label, and cannot be used here",
                    hint="make it a feature",
                )
            node = self.target(operation, inputs[0])
        else:
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

    def call(
        self, operation: Operation, written: tuple[Expression, ...]
    ) -> tuple[tuple[Node, ...], Type]:
        """Return the inputs of an operation, checked and cast, and the type of its result."""
        inputs = tuple(
            self._input(operation, position, entry) for position, entry in enumerate(written)
        )
        for position, (entry, said) in enumerate(zip(inputs, written, strict=True)):
            _accept(operation, position, entry.type, said)
        inputs = _fit_literals(inputs)
        try:
            wanted = operation.coerce(tuple(entry.type for entry in inputs))
        except ValueError as error:
            raise SpecError(
                f"{shortened(Call(operation, written).text)!r}: {error}",
                hint=_mixed({entry.type for entry in inputs}),
            ) from None
        try:
            output = operation.output_type(wanted)
            if self.wide and output == FLOAT32 and FLOAT32 not in wanted:
                # A float made of integers.
                wanted = tuple(FLOAT64 if to == INT64 else to for to in wanted)
                output = operation.output_type(wanted)
        except ValueError as error:
            raise SpecError(f"{operation.name()}: {error}") from None
        inputs = tuple(
            self.cast(entry, to, operation.name()) for entry, to in zip(inputs, wanted, strict=True)
        )
        return inputs, output

    def _input(self, operation: Operation, position: int, written: Expression) -> Node:
        """Return an input's node; where a text may stand, an unknown name may have been one."""
        try:
            return self.node(written)
        except Reported:
            raise
        except SpecError as error:
            texts = len(operation.inputs) > 1 and STRING in operation.input_at(position).accepts
            if not (texts and isinstance(written, Name)) or written.name in self.columns:
                raise
            said, quoted = error.hint, f'text goes in quotes: "{written.name}"'
            hint = f"{said} A {quoted}" if said.endswith("?") else f"{said}; a {quoted}"
            raise SpecError(error.message, hint=hint.removeprefix("; ")) from None

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
            shown = shortened(node.text)
            raise SpecError(
                f"{what} needs {described(to)}; {shown!r} is {described(node.type)}"
            ) from None
        return self.intern(OperationNode.of(operation, (node,), to))

    def intern(self, node: Node) -> Node:
        """Return the one node with this fingerprint."""
        return self._nodes.setdefault(node, node)


def meant(name: str, known: Collection[str]) -> str:
    """Return a hint for the name of a column that is none.

    Args:
        name: The name.
        known: The names that there are.
    """
    if not may_guess():
        return ""
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(part in known for part in parts):
        return f"several columns are a list: [{', '.join(parts)}]"
    return closest(name, known)


def names_in(expression: Expression) -> set[str]:
    """Return the names of columns and features that an expression mentions."""
    return {part.name for part in expression.walk() if isinstance(part, Name)}


def reads_rows(*nodes: Node) -> bool:
    """Whether anything below the nodes is read from rows, so that it is no constant."""
    return any(isinstance(entry, (ColumnNode, AggregateNode)) for entry in topological(nodes))


def in_order(uses: Mapping[str, Collection[str]]) -> tuple[list[str], list[list[str]]]:
    """Sort names so that each follows those it uses; what is no key of `uses` is passed over.

    Returns:
        The names in order, without those of cycles; and the cycles, each as `[a, b, a]` where a
        uses b and b uses a. A name that uses itself is no cycle here.
    """
    graph = {name: {used for used in of if used in uses} - {name} for name, of in uses.items()}
    cycles: list[list[str]] = []
    while True:
        try:
            return list(TopologicalSorter(graph).static_order()), cycles
        except CycleError as error:
            cycle = list(reversed(error.args[1]))
            cycles.append(cycle)
            graph = {name: of - set(cycle) for name, of in graph.items() if name not in cycle}


def levels(order: Iterable[str], uses: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Return how many names stand one after another from each down to what uses none of them.

    Args:
        order: The names, each after those that it uses.
        uses: What each uses.
    """
    found: dict[str, int] = {}
    for name in order:
        found[name] = 1 + max((found[used] for used in uses[name] if used in found), default=0)
    return found


def _accept(operation: Operation, position: int, of: Type, written: Expression) -> None:
    """Refuse an input of a type that the operation does not take."""
    expected = operation.input_at(position)
    if of in expected.accepts:
        return
    said = shortened(written.text)
    role = "" if len(operation.inputs) == 1 else f" as its {expected.name}"
    raise SpecError(
        f"{operation.name()} needs {expected.accepts}{role}; {said!r} is {described(of)}",
        hint=_hint(operation, of, expected.accepts.types, said),
    )


def _hint(operation: Operation, of: Type, wanted: frozenset[Type], said: str) -> str:
    if of.width is not None:
        return "a vector can only be a feature of its own"
    if of == STRING and INT64 in wanted:
        return f"vocabulary({said}) first, or cast({said}, 'float32') if it holds numbers"
    if of == TIMESTAMP and INT64 in wanted:
        return f"hour({said}), day_of_week({said}) or seconds_between first"
    if of == DURATION and INT64 in wanted:
        return f"seconds as numbers: seconds_between(a, b), or cast({said}, 'int64') / 1000000"
    if of == BOOL and INT64 in wanted:
        return f"cast({said}, 'int64') first"
    if wanted == frozenset({TIMESTAMP}):
        return f"declare the column's type as timestamp; {said} is read as {of}"
    if STRING in wanted and of.is_number:
        if of == INT64:
            return f"cast({said}, 'string') first"
        past = isinstance(operation, AggregateOperation)
        return f"apply_buckets({said}, [...]) first" if past else f"bucketize({said}) first"
    if wanted == frozenset({BOOL}):
        return f"compare it, for example {said} > 0" if of.is_number else ""
    return ""


def _mixed(types: set[Type]) -> str:
    """Return a hint for types that do not go together in one operation."""
    numbers = any(of.is_number for of in types)
    if TIMESTAMP in types and (numbers or types == {TIMESTAMP}):
        return "a time is moved by a duration: t + 7d; seconds_between(a, b) is a number"
    if DURATION in types and numbers:
        return "a duration is written 7d or 2h; seconds_between(a, b) is a number"
    if TIMESTAMP in types and STRING in types:
        return "a text is no time; year(t), month(t), hour(t) and the like are numbers"
    if STRING in types and numbers:
        return "cast(..., 'string') makes a text of a number, cast(..., 'float32') one of a text"
    return ""


def _fit_literals(inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """Give number constants the float type of the columns beside them, where that loses nothing.

    So 0.1 beside a float64 is not rounded to float32 on the way, and `x > 20` compares float32
    with float32.
    """
    floats = {
        entry.type for entry in inputs if entry.type.is_float and not isinstance(entry, LiteralNode)
    }
    if not floats:
        return inputs
    widest = FLOAT64 if FLOAT64 in floats else FLOAT32
    exact = 2**53 if widest == FLOAT64 else 2**24

    def fits(entry: Node) -> bool:
        if not isinstance(entry, LiteralNode) or entry.type == widest:
            return False
        return entry.type == FLOAT32 or (entry.type == INT64 and abs(entry.value) <= exact)

    return tuple(
        LiteralNode.of(float(entry.value), widest)
        if isinstance(entry, LiteralNode) and fits(entry)
        else entry
        for entry in inputs
    )
