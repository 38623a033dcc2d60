"""Running one expression on each engine, for tests that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from featurekit.engines import local
from featurekit.engines.tensorflow import evaluate, lookup_tables
from featurekit.graph import Node
from featurekit.planner import make_plan
from featurekit.resolve import resolve
from featurekit.resolved import Resolved
from featurekit.sources import Table
from featurekit.spec.expression import parse
from featurekit.spec.objects import Examples, Feature, Source, Spec
from featurekit.transforms.base import Masked, polars_dtype
from featurekit.typecheck import Typer
from featurekit.types import Kind, Type, parse_type

KINDS = {
    bool: "bool",
    int: "int64",
    float: "float32",
    str: "string",
    datetime: "timestamp",
    timedelta: "duration",
}


def types_of(columns: Mapping[str, Sequence[Any]], declared: Mapping[str, str]) -> dict[str, Type]:
    """Return the types of example columns: as declared, else by their first value."""
    out = {}
    for name, values in columns.items():
        first = next((value for value in values if value is not None), None)
        out[name] = parse_type(declared.get(name) or KINDS[type(first)])
    return out


def typed_frame(columns: Mapping[str, Sequence[Any]], types: Mapping[str, Type]) -> pl.DataFrame:
    """Return example columns as a frame of the given types."""
    return pl.DataFrame(
        {
            name: pl.Series(values, dtype=polars_dtype(types[name]))
            for name, values in columns.items()
        }
    )


class OneFeature:
    """One expression over a typed frame, resolved and fitted on all of its rows.

    Args:
        expression: The expression.
        frame: The rows.
        types: The types of their columns.
        examples: What the spec's `examples` say, where the expression needs more than rows.
    """

    def __init__(
        self, expression: str, frame: pl.DataFrame, types: Mapping[str, Type],
        examples: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        parsed = parse(expression)
        self.frame = frame
        self.types = types
        spec = Spec(
            sources={"rows": Source(data=frame)},
            examples=Examples("rows", **(examples or {})),
            features={"f": Feature(parsed)},
        )
        if examples:
            resolved = resolve(spec, types)
            self.node: Node = resolved.features["f"]
        else:
            self.node = Typer({}, types).node(parsed)
            resolved = Resolved(spec, types, {"f": self.node}, {})
        self.plan = make_plan(resolved)
        table = Table("rows", frame.lazy(), dict(frame.schema), {})
        self.fitted, _ = local.fit(self.plan, table)

    def on_polars(self, rows: pl.DataFrame | None = None, engine: Any = "in-memory") -> pl.Series:
        """Return the values that Polars computes."""
        lazy = (self.frame if rows is None else rows).lazy()
        return (
            local.lower(lazy, {"f": self.node}, self.fitted).select("f").collect(engine=engine)["f"]
        )

    def on_tensorflow(self, rows: pl.DataFrame | None = None, graph: bool = False) -> list[Any]:
        """Return the values that TensorFlow computes, `None` for null."""
        import tensorflow as tf

        rows = self.frame if rows is None else rows
        columns = {name: _masked(rows[name], of) for name, of in self.types.items()}
        tables = lookup_tables([self.node], self.fitted)

        def compute(columns: Mapping[str, Masked]) -> Masked:
            return evaluate({"f": self.node}, columns, self.fitted, tables)["f"]

        made = (tf.function(compute, autograph=False) if graph else compute)(columns)
        values, valid = made.values.numpy(), made.valid.numpy()
        return [
            self._python(value) if there else None
            for value, there in zip(values, valid, strict=True)
        ]

    def _python(self, value: Any) -> Any:
        of = self.node.type
        if of.width is not None:
            return [float(entry) for entry in value]
        if of.kind is Kind.STRING:
            return value.decode()
        return value.item()

    def physical(self, values: Sequence[Any]) -> list[Any]:
        """Return Polars or Python values as TensorFlow holds them: times as microseconds."""
        kind = self.node.type.kind
        if kind in (Kind.TIMESTAMP, Kind.DURATION):
            series = pl.Series(values, dtype=polars_dtype(self.node.type))
            return series.to_physical().to_list()
        return list(values)


def _masked(values: pl.Series, of: Type) -> Masked:
    import tensorflow as tf

    valid = tf.constant(values.is_not_null().to_numpy())
    if of.kind is Kind.STRING:
        return Masked(tf.constant(values.fill_null("").to_list(), tf.string), valid)
    physical = values.to_physical() if of.kind in (Kind.TIMESTAMP, Kind.DURATION) else values
    return Masked(
        tf.constant(physical.fill_null(False if of.kind is Kind.BOOL else 0).to_numpy()), valid
    )


def same(got: Any, wanted: Any, tolerance: float = 1e-6) -> bool:
    """Whether two cells are the same: exactly, floats within a relative tolerance, NaN as NaN."""
    if got is None or wanted is None:
        return got is wanted
    if isinstance(wanted, (list, tuple, pl.Series, np.ndarray)):
        return len(got) == len(wanted) and all(
            same(g, w, tolerance) for g, w in zip(got, wanted, strict=True)
        )
    if isinstance(wanted, float) or isinstance(got, float):
        return bool(np.isclose(got, wanted, rtol=tolerance, atol=1e-30, equal_nan=True))
    return bool(got == wanted)
