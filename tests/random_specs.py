"""Random specs over random tables, nested and of several levels, drawn from the catalogue.

An example of an operation is a call that its author knows to make sense. Each of its columns is
replaced by something of that type, or of any other that the operation takes: a column of the table,
an aggregate, or a call that was made so before. A call is kept if the embedded engine can fit it,
and if its values do not hang on the last digit of a mean: statistics are moved by less than two
engines may differ in, and where that changes a word, a bucket or the digits that are compared,
nothing could be said about who is right.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

import featurekit as fk
from featurekit.engines import history
from featurekit.engines.rows import LABEL, SPLIT, TRAIN, computed_rows, lower, with_split
from featurekit.errors import SpecError
from featurekit.graph import (
    AggregateNode,
    Node,
    OperationNode,
    StatisticRequest,
    cross_fitted,
    fitted_type,
    topological,
)
from featurekit.leaks import Leaks
from featurekit.opening import open_sources
from featurekit.spec.expression import Attribute, Call, Expression, Name, parse
from featurekit.targets import Targets
from featurekit.transforms.base import FullPassOperation, Operation
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.transforms.statistics import MomentsValue, Quantiles
from featurekit.transforms.targets import TargetMeans
from featurekit.typecheck import Typer, reads_rows
from featurekit.types import DURATION, INT64, TIMESTAMP, Type, parse_type
from tests.engines import types_of
from tests.scripts import script

__all__ = ["ROWS", "RandomSpec"]

compare_engines = script("examples/flights/compare_engines.py")

ROWS, FILES = 2_000, 4
"""Workers read files in any order."""

COLUMNS = {
    "f": "float32", "g": "float32", "d": "float64", "n": "int64", "m": "int64", "big": "int64",
    "s": "string", "w": "string", "p": "bool", "q": "bool", "t": "timestamp", "u": "timestamp",
}  # fmt: skip
"""What features read, and the types that the spec declares."""

SPLITS: tuple[dict[str, Any], ...] = (
    {"column": "part"},
    {"hash": "who", "test": 0.3, "eval": 0.2},
    {"by": "at", "eval_from": "1970-03-10", "test_from": "1970-04-05"},
)

_NUDGE = 1e-13
"""Moments are moved by so much, relative."""
_STEADY, _STEADY_STATISTICS = 1e-6, 1e-10
"""So much may values and statistics move then."""
_LARGEST = 40
"""An expression has so many parts at most."""
_WIDEST = 64
"""A vector has so many elements at most."""
_TRIES = 60


def table(seed: int) -> pl.DataFrame:
    """Return rows of every type: with missing values, NaN, infinity, empty and rare words."""
    chance = np.random.default_rng(seed)

    def times(first: int, last: int, micros: int = 0) -> pl.Series:
        seconds = pl.Series(chance.integers(first, last, ROWS))
        return (seconds * 1_000_000 + micros).cast(pl.Datetime("us", "UTC"))

    part = chance.choice(["train", "eval", "test"], ROWS, p=[0.6, 0.25, 0.15])
    words = ["x", "y", "zz zz", "", "ß", "A-b-C", "12", "-7", "1e3", " w ", "日本", "x" * 70]
    rare = np.where(part == TRAIN, "seen", np.char.add("unseen ", part))
    frame = pl.DataFrame(
        {
            "id": np.arange(ROWS) + 2**53 + 1,
            "f": chance.normal(chance.normal(0, 5), 3, ROWS).astype(np.float32),
            "g": (10 ** chance.uniform(-4, 5, ROWS)).astype(np.float32),
            "d": chance.exponential(2, ROWS),
            "n": chance.integers(-50, 50, ROWS),
            "m": chance.integers(0, 13, ROWS),
            "big": chance.choice([2**53 + 1, 2**60, -(2**61) - 3, 7, 0], ROWS),
            "s": chance.choice(words, ROWS),
            "w": np.where(chance.random(ROWS) < 0.1, rare, chance.choice(words[:5], ROWS)),
            "p": chance.random(ROWS) < 0.3,
            "q": chance.random(ROWS) < 0.8,
            "t": times(-(10**8), 2 * 10**9),
            "u": times(10**9, 10**9 + 10**6, micros=123_456),
            "at": times(0, 10**7),
            "who": chance.choice([f"k{place}" for place in range(30)], ROWS),
            "part": part,
            "y": chance.integers(0, 2, ROWS),
        }
    )
    for name in ("f", "g", "d"):
        odd = pl.Series(chance.choice([math.nan, math.inf, -math.inf, -0.0], ROWS))
        here = pl.Series(chance.random(ROWS) < 0.03)
        value = pl.when(here).then(odd.cast(frame[name].dtype)).otherwise(name)
        frame = frame.with_columns(value.alias(name))
    for name in (*COLUMNS, "y"):
        there = pl.Series(chance.random(ROWS) >= chance.uniform(0, 0.2))
        frame = frame.with_columns(pl.when(there).then(name).alias(name))
    return frame


class Scalar(NamedTuple):
    """Something that calls may be applied to.

    Args:
        expression: What a spec writes.
        type: Its type.
        weight: How often it is chosen, compared with others.
    """

    expression: Expression
    type: Type
    weight: float


class RandomSpec:
    """A random spec, with the Parquet files that it reads.

    Args:
        seed: What all of it is made from.
        folder: Where the files are written.
        past: Whether it has aggregations.
        most: So many features at most.
    """

    def __init__(
        self, seed: int, folder: Path, past: bool = False, most: int | None = None
    ) -> None:
        self.chance = random.Random(seed)
        rows = table(seed)
        cuts = [0, *sorted(self.chance.sample(range(1, ROWS), FILES - 1)), ROWS]
        for place, (start, end) in enumerate(pairwise(cuts)):
            rows[start:end].write_parquet(folder / f"rows-{place}.parquet", row_group_size=256)
        self.rows = pl.DataFrame()
        """Its rows, typed as features read them."""
        self.plain = self._without_features(seed, past)
        self.features: dict[str, Node] = {}
        outputs = self._open(fk.Spec.from_dict(self.plain, folder))
        pool = [Scalar(Name(name), parse_type(of), 1.0) for name, of in COLUMNS.items()]
        pool += _scalars(outputs, 1 / 4)
        # Calls, calls of these, and statistics of all.
        pool += _scalars(self._calls(operations(), pool), 1.0)
        second = self._calls(operations(), pool)
        pool += _scalars(second, 1.0)
        full_pass = {
            name: operation for name, operation in operations().items()
            if issubclass(operation, FullPassOperation)
        }  # fmt: skip
        # Of every aggregate over two windows, one as it is.
        bare = [self.chance.choice(outputs[at : at + 2]) for at in range(0, len(outputs), 2)]
        found = [
            entry for entry in [*second, *self._calls(full_pass, pool), *bare]
            if entry[1].type not in (TIMESTAMP, DURATION)
        ]  # fmt: skip
        for entry, node in found if most is None else self.chance.sample(found, most):
            name = f"x{len(self.features)}"
            self.features[name] = node
            self.plain["features"][name] = entry.text
        del self.plain["features"]["none"]
        self.spec = fk.Spec.from_dict(self.plain, folder)

    @property
    def operations(self) -> set[str]:
        """The names of the operations that the features are made of, aggregations included."""
        parts = [part for node in self.features.values() for part in topological([node])]
        made = {part.operation.name() for part in parts if isinstance(part, OperationNode)}
        past = (part.aggregate for part in parts if isinstance(part, AggregateNode))
        return made | {each.operation.name() for each in past if each.operation is not None}

    @property
    def levels(self) -> int:
        """How many levels of statistics the deepest feature has."""
        return max(node.level for node in self.features.values())

    def _without_features(self, seed: int, past: bool) -> dict[str, Any]:
        declared = {name: {"type": of} for name, of in COLUMNS.items()}
        rows: dict[str, Any] = {"path": "rows-*.parquet", "columns": declared}
        examples: dict[str, Any] = {
            "source": "rows", "keys": ["id", "who"], "label": "y > 0",
            "split": SPLITS[seed % len(SPLITS)],
        }  # fmt: skip
        plain: dict[str, Any] = {
            "name": f"random_{seed}", "sources": {"rows": rows}, "examples": examples,
            "features": {"none": "n"},
        }  # fmt: skip
        if past:
            rows |= {"event_time": "at", "available_at": "at"}
            declared["y"] = {"available_at": "at + 9h"}
            examples["predict_at"] = "at"
            plain["aggregations"] = {
                "past": {"source": "rows", "by": "who", "windows": ["3d", "lifetime"],
                         "features": dict(self._aggregates())}
            }  # fmt: skip
        return plain

    def _aggregates(self) -> Iterator[tuple[str, str]]:
        """Yield a call of every aggregation over random columns."""
        values = {"int": lambda: self.chance.randint(1, 4), "float": self.chance.random}
        types = {name: parse_type(of) for name, of in COLUMNS.items()}
        for name, operation in sorted(aggregations().items()):
            given = [
                self.chance.choice([column for column, of in types.items() if of in each.accepts])
                for each in operation.inputs
            ]
            given += [f"{each.name}={values[str(each.type)]()!r}" for each in fields(operation)]
            yield f"a_{name}", f"{name}({', '.join(given)})"

    def _open(self, spec: fk.Spec) -> list[tuple[Expression, Node]]:
        """Open the rows to try calls on; return the outputs of aggregations."""
        resolved, tables = open_sources(spec)
        opened, outputs = tables["rows"], resolved.outputs
        nodes = [node for found in outputs.values() for node in found.values()]
        columns = spec.sources["rows"].columns
        targets = Targets(spec, Typer(columns, resolved.types), Leaks(spec, resolved.types))
        typer = Typer(columns, resolved.types, self._output, target=targets.node)
        read = {name: typer.name(name) for name in resolved.types}
        rows = computed_rows(opened, spec.sources["rows"], read)
        rows = with_split(rows, resolved, {}, {})
        if nodes:
            rows = pl.concat([rows, history.compute(nodes, spec, opened, tables)], how="horizontal")
        self.rows = rows.collect()
        self._training = (pl.col(SPLIT) == TRAIN) & pl.col(LABEL).is_not_null()
        self._typer, self._outputs = typer, outputs
        # The statistics as they are, and moved a little: up, and down.
        self._fitted: dict[float, dict[StatisticRequest, Any]] = {0.0: {}, _NUDGE: {}, -_NUDGE: {}}
        return [
            (Attribute(owner, name), node)
            for owner, found in outputs.items() for name, node in found.items()
        ]  # fmt: skip

    def _output(self, owner: str, name: str) -> Node:
        """Return the node of an aggregation's output."""
        return self._outputs[owner][name]

    def _calls(
        self, catalogue: Mapping[str, type[Operation]], pool: Sequence[Scalar]
    ) -> list[tuple[Expression, Node]]:
        """Return a call of every operation, applied to something of the pool."""
        made = []
        for name in self.chance.sample(sorted(catalogue), len(catalogue)):
            for _ in range(_TRIES):
                call = self._applied(catalogue[name], pool)
                node = self._kept(call)
                if node is not None:
                    made.append((call, node))
                    break
        return made

    def _applied(self, operation: type[Operation], pool: Sequence[Scalar]) -> Expression:
        """Return an example of an operation, its columns replaced."""
        example = self.chance.choice(operation.examples)
        chosen = {}
        for name, of in types_of(example.columns, example.types).items():
            loose = self.chance.random() < 0.2
            fitting = [entry for entry in pool if loose or entry.type == of] or pool
            (entry,) = self.chance.choices(fitting, [each.weight for each in fitting])
            chosen[name] = entry.expression
        return _replaced(parse(example.expression), chosen)

    def _kept(self, call: Expression) -> Node | None:
        """Return the node of a call, if engines can be compared by it."""
        try:
            node = self._typer.node(call)
            if call.size > _LARGEST or not reads_rows(node):
                return None
            self._fit(node)
            width = fitted_type(node, self._fitted[0.0]).width
        except (SpecError, ValueError):
            return None
        if width is not None and width > _WIDEST:
            return None
        as_it_is, up, down = (self._values([node], fitted)["x"] for fitted in self._fitted.values())
        steady = _same(compare_engines.elements(as_it_is, up), _STEADY)
        steady = steady and _same(compare_engines.elements(as_it_is, down), _STEADY)
        return node if steady else None

    def _fit(self, node: Node) -> None:
        """Fit the statistics below a node that are not fitted yet.

        Raises:
            ValueError: There is no such statistic, or it hangs on the last digits of others.
        """
        beside = [entry for part in cross_fitted([node]) for entry in part.beside]
        parts = topological([*beside, node])
        below = [part for part in parts if isinstance(part, OperationNode)]
        for request in dict.fromkeys(request for part in below for request in part.statistics):
            if request in self._fitted[0.0]:
                continue
            made = {}
            for nudge, fitted in self._fitted.items():
                values = self._values(request.nodes, fitted, training=True)
                _refuse_beyond_floats(request, values["x"])
                made[nudge] = _nudged(_fitted(request, values), nudge)
            for value in made.values():
                pairs = compare_engines.statistic_pairs(asdict(made[0.0]), asdict(value))
                if pairs is None or not _same(pairs, _STEADY_STATISTICS):
                    raise ValueError("it hangs on the last digits of others")
            for nudge, value in made.items():
                self._fitted[nudge][request] = value

    def _values(
        self,
        nodes: Sequence[Node],
        fitted: Mapping[StatisticRequest, Any],
        training: bool = False,
    ) -> pl.DataFrame:
        """Return the columns `x`, and `label` and `part` where there are so many nodes."""
        outputs = dict(zip(TargetMeans.reads, nodes, strict=False))
        rows = self.rows.lazy().with_columns(self._training.alias("~is training"))
        rows = lower(rows, outputs, fitted, pl.col("~is training"))
        rows = rows.filter("~is training") if training else rows
        return rows.select(list(outputs)).collect()


def _scalars(made: Iterable[tuple[Expression, Node]], weight: float) -> list[Scalar]:
    """Return what calls may be applied to; what has statistics below it is chosen more often."""
    return [
        Scalar(entry, node.type, weight * (1 + 4 * node.level))
        for entry, node in made if node.type.width is None
    ]  # fmt: skip


def _replaced(call: Expression, chosen: Mapping[str, Expression]) -> Expression:
    if isinstance(call, Name):
        return chosen[call.name]
    if isinstance(call, Call):
        return replace(call, inputs=tuple(_replaced(each, chosen) for each in call.inputs))
    return call


def _refuse_beyond_floats(request: StatisticRequest, values: pl.Series) -> None:
    """Refuse quantiles of integers that float64 cannot tell apart, as Beam does."""
    if request.node.type != INT64 or not isinstance(request.statistic, Quantiles):
        return
    if not values.drop_nulls().is_between(-(2**53), 2**53).all():
        raise ValueError("it has integers beyond those that float64 can count")


def _fitted(request: StatisticRequest, values: pl.DataFrame) -> Any:
    """Return a statistic of a column."""
    fitting = request.statistic.fit(request.node.type)
    question = next(fitting)
    while True:
        answer = question.answer(values.rechunk()).collect()
        try:
            question = fitting.send(question.merge(answer))
        except StopIteration as stop:
            return stop.value


def _nudged(value: Any, nudge: float) -> Any:
    """Return a statistic as another engine may round it: only sums are rounded."""
    if not isinstance(value, MomentsValue) or not value.variance:
        return value
    mean = value.mean + nudge * (abs(value.mean) + math.sqrt(value.variance))
    return replace(value, mean=mean, variance=value.variance * (1 + nudge))


def _same(pairs: Any, tolerance: float) -> bool:
    return not any(
        compare_engines.differences(one, other, tolerance)[0].any() for one, other in pairs
    )
