"""Casts that have no value for some of their values: what they lose is counted."""

from __future__ import annotations

from typing import Any

import polars as pl

from featurekit.graph import Node, OperationNode, topological
from featurekit.resolved import Resolved
from featurekit.types import INT64, STRING

__all__ = ["LossyCasts"]


class LossyCasts:
    """The casts of a spec's row expressions that may lose values, and what counts these.

    A text that is no number, and a float that no integer holds, have no value of the other type.

    Args:
        resolved: The spec.
    """

    def __init__(self, resolved: Resolved) -> None:
        self.nodes = [
            node for node in topological(resolved.roots)
            if isinstance(node, OperationNode) and node.operation.name() == "cast"
            and not node.level and _may_lose(node)
        ]  # fmt: skip

    @property
    def outputs(self) -> dict[str, Node]:
        """What has to be computed, by the names of the columns."""
        found: dict[str, Node] = {}
        for place, node in enumerate(self.nodes):
            found |= {f"~from {place}": node.sources[0], f"~cast {place}": node}
        return found

    @property
    def read(self) -> list[pl.Expr]:
        """The columns to keep, of which `count` takes what was lost."""
        return [
            pl.when(pl.col(f"~cast {place}").is_null()).then(pl.col(f"~from {place}"))
            .alias(f"~lost {place}")
            for place in range(len(self.nodes))
        ]  # fmt: skip

    def count(self, batch: pl.DataFrame, lost: dict[str, int], examples: dict[str, str]) -> None:
        """Add up the values that casts lost in some rows.

        Args:
            batch: The rows, with the columns of `read`.
            lost: So many were lost before, by the text of the cast.
            examples: One of them, by the same.
        """
        for place, node in enumerate(self.nodes):
            column = batch[f"~lost {place}"]
            if number := column.len() - column.null_count():
                lost[node.text] = lost.get(node.text, 0) + number
                examples.setdefault(node.text, _shown(column.drop_nulls().item(0)))


def _may_lose(node: OperationNode) -> bool:
    of = node.sources[0].type
    return (of == STRING and node.type.is_number) or (of.is_float and node.type == INT64)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
