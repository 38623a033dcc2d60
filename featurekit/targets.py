"""Features that see the label: what of it, and from which rows each training row may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featurekit.errors import SpecError
from featurekit.graph import Node, OperationNode, TargetNode
from featurekit.leaks import Leaks
from featurekit.spec.expression import Call, Expression, Literal, Name, apply, literal
from featurekit.spec.objects import Spec
from featurekit.spec.problems import Reported
from featurekit.transforms.blocks import Block
from featurekit.transforms.catalogue import operations
from featurekit.transforms.targets import TargetOperation
from featurekit.typecheck import Typer
from featurekit.types import BOOL, FLOAT64, INT64, KEY, STRING, described

__all__ = ["Targets"]

_BETWEEN = "\x1f"
"""Stands between the columns of a key, as in a split by hash."""


@dataclass(frozen=True)
class Targets:
    """Makes the nodes of operations that see the label.

    Args:
        spec: The spec.
        rows: Types expressions over the rows of the examples.
        leaks: Tells when the label is known.
    """

    spec: Spec
    rows: Typer
    leaks: Leaks

    def node(self, operation: TargetOperation, categories: Node) -> TargetNode:
        """Return the node of an operation over categories.

        Raises:
            SpecError: The examples have no label that fits, or nothing to make folds by.
            LeakageError: Nothing says when the label is known.
        """
        examples, name = self.spec.examples, operation.name()
        if examples.label is None:
            raise SpecError(f"{name} needs a label", hint="examples: {label: ...}")
        label = self._label(operation, examples.label)
        if examples.predict_at is None:
            part = fold = self._hashed(operation)
        else:
            part, fold = self._blocks(operation, examples.label, examples.predict_at)
        return TargetNode(
            operation.output_type((categories.type,)), Call(operation, (categories.expression,)),
            operation, (categories,), label, part, fold, earlier=examples.predict_at is not None,
        )  # fmt: skip

    def _label(self, operation: TargetOperation, label: Expression) -> Node:
        node, name, positive = self.rows.node(label), operation.name(), operation.positive
        if positive is not None:
            value: Literal = literal(positive)
            if value.type != node.type:
                raise SpecError(
                    f"{name}: positive must be a value of the label, which is "
                    f"{described(node.type)}; got {positive!r}"
                )
            node = self._made("equal", label, value)
        elif node.type == STRING:
            raise SpecError(
                f"{name} needs a label that is a number or a boolean; {label.text!r} is a string",
                hint=f"{name}(..., positive='...') is the share of one class",
            )
        elif not (node.type.is_number or node.type == BOOL):
            raise Reported
        return self.rows.cast(node, FLOAT64, name)

    def _hashed(self, operation: TargetOperation) -> Node:
        """Return a row's fold by the hash of its entity; a missing key is the empty text."""
        name, by = operation.name(), operation.by
        names = (by,) if isinstance(by, str) else by or self.spec.examples.keys
        if not names:
            raise SpecError(
                f"{name} needs to know what may not be in two folds",
                hint=f"examples: {{keys: ...}}, or {name}(..., by='column of the entity')",
            )
        texts = []
        for column in names:
            of = self.rows.name(column).type
            if of not in KEY:
                raise SpecError(f"{name}: folds are by {KEY}; {column!r} is {described(of)}")
            text = apply(operations()["cast"](to="string"), Name(column))  # type: ignore[call-arg]
            texts.append(apply(operations()["fill"](value=""), text))  # type: ignore[call-arg]
        whole = texts[0]
        if len(texts) > 1:
            concat = operations()["concat"]
            whole = apply(concat(separator=_BETWEEN), *texts)  # type: ignore[call-arg]
        buckets: dict[str, Any] = {"buckets": operation.folds}
        return self._made("hash_bucket", whole, **buckets)

    def _blocks(
        self, operation: TargetOperation, label: Expression, predict_at: Expression
    ) -> tuple[Node, Node]:
        """Return the block in which a row's label becomes known, and the row's own."""
        if operation.by is not None:
            raise SpecError(
                f"{operation.name()}: there is no by where examples declare predict_at: folds are "
                "blocks of time then, and a row sees earlier labels only"
            )
        source = self.spec.examples.source
        self.leaks.in_aggregate(source, operation.name(), label)
        times = [predict_at]
        times += [time for time in self.leaks.known_at(source, label) if time != predict_at]
        known = self._made("maximum", *times) if len(times) > 1 else self.rows.node(predict_at)
        at = self._made("cast", predict_at, to="int64")
        since, block = self.rows.cast(known, INT64, operation.name()), Block(operation.folds)
        part, fold = (OperationNode.of(block, (at, time), INT64) for time in (since, at))
        return part, fold

    def _made(self, operation: str, *inputs: Expression, **parameters: Any) -> Node:
        return self.rows.node(apply(operations()[operation](**parameters), *inputs))
