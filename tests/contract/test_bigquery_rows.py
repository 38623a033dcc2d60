"""Row operations as GoogleSQL: cell for cell what Polars computes, on Google's own evaluator.

Each operation is tried with every example, and with every combination of the types that it takes,
on one wide table whose first two columns of each type hold every pair of hostile values.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from featurekit.errors import SpecError
from featurekit.graph import Node, OperationNode
from featurekit.spec.expression import Name, parse
from featurekit.transforms.base import Operation, RowOperation, polars_dtype
from featurekit.transforms.catalogue import operations
from featurekit.transforms.sql import CONSTANT, constant, exp
from featurekit.typecheck import Typer
from featurekit.types import FLOAT32, Type
from tests.bigquery_rows import (
    POOLS,
    POSITIONS,
    SIDE,
    Case,
    alike,
    bigquery_of,
    cells,
    columns_in,
    differences,
    differences_of,
    operations_in,
    series,
    tolerance_of,
    tree_of,
    wide,
)
from tests.engines import OneFeature, same, typed_frame, types_of
from tests.zetasql import evaluate

ROW_OPERATIONS: dict[str, type[RowOperation]] = {
    name: operation
    for name, operation in operations().items()
    if issubclass(operation, RowOperation)
}
SUPPORTED = {name: op for name, op in ROW_OPERATIONS.items() if not op.bigquery_refused}
TYPES = {f"{kind.value}_{n}": Type(kind) for kind in POOLS for n in range(POSITIONS)}

MORE = (
    "round(float64_0, 3)",
    "round(float32_0, 15)",
    "clip(float32_0, low=0.1)",
    "clip(int64_0, -3, 12)",
    "clip(float64_0, -0.0, 0.1)",
    "split_part(string_0, '-', 0)",
    "split_part(string_0, 'a', -2)",
    "split_part(string_0, '::', 5)",
    r"split_part(string_0, '\\', 0)",
    'split_part(string_0, "\'", 1)',
    "strip(string_0, 'aßé')",
    r"strip(string_0, '-]^\\')",
    'contains(string_0, "\'")',
    r"contains(string_0, '\n')",
    r"contains(string_0, '[^\\x00-\\x7F]', literal=False)",
    "contains(string_0, '(?i)A', literal=False)",
    r"contains(string_0, '\\bb\\b|^$', literal=False)",
    "contains(string_0, '^line$', literal=False)",
    "contains(string_0, '(?m)^line$', literal=False)",
    "contains(string_0, 'a.*b', literal=False)",
    "regex_replace(string_0, 'b*', '-')",
    r"regex_replace(string_0, '(a)|(b)', '[\\1|\\2]')",
    r"regex_replace(string_0, '\\b', '$0\\\\')",
    "regex_replace(string_0, '(?s).+', \"'\")",
    r"regex_replace(string_0, '\\W+?', '')",
    r"concat(string_0, int64_1, string_2, separator='\'\n')",
    "length(concat(string_0, string_1))",
    "hash_bucket(string_0, 1)",
    "hash_bucket(string_0, 9223372036854775807)",
    "hash_bucket(int64_0, 4097)",
    "cross(string_0, int64_1, bool_0, buckets=9223372036854775806)",
    "one_hot(int64_0, 1)",
    "one_hot(int64_0, 13)",
    "apply_buckets(float64_0, [-1e308, -0.5, 0.1, 1e308])",
    "apply_buckets(int64_0, [-1e30, 0.5, 1e30])",
    "apply_buckets(float32_0, [0.1, 7.25])",
    "apply_buckets(int64_0, [1e19])",
    r"fill(string_0, 'it\'s\n\\')",
    "fill(float32_0, 0.1)",
    "fill(int64_0, -9223372036854775808)",
    "coalesce(float32_0, float32_1, 0.1)",
    "minimum(float64_0, float64_1, float64_2, 0.5)",
    "maximum(float32_0, float32_1, float32_2)",
    "maximum(int64_0, int64_1, int64_2)",
    "where(bool_0, string_0, 'x')",
    "logical_or(bool_0, bool_1, bool_2)",
    "timestamp_0 + 1h",
    "timestamp_0 - 400d",
    "timestamp_0 + duration_1",
    "duration_0 * 3",
    "cyclic_sine(float64_0, 0.1)",
    "cyclic_cosine(float64_0, 1e-300)",
    "cyclic_sine(int64_0, 7)",
    "great_circle_distance(float64_0, float64_1, float64_2, float64_3, radius=1e308)",
    "hour(timestamp_0, zone='America/St_Johns')",
    "minute(timestamp_0, zone='Asia/Kathmandu')",
    "week(timestamp_0, zone='Pacific/Auckland')",
    "is_finite(log(float64_0))",
    "abs(float64_0 - float64_1) / float64_1",
    "exp(log1p(float32_0)) * float32_1 - 0.1 ** float32_1",
    "float32_0 % float32_1 + float32_0 // 0.1",
    "(int64_0 + int64_1) * int64_1 - int64_0 % 7",
    "-int64_0 // int64_1",
    "float64_0 - 0.1 > -float64_1",
    "'x' if not float32_0 > 0.5 and string_0 != 'a' else upper(string_0)",
    "lower(string_0) if bool_1 else string_1",
    "seconds_between(timestamp_0, timestamp_1) * 1e-3",
    "cast(cast(float64_0, 'int64'), 'timestamp')",
    "cast(timestamp_0, 'int64') - 9223372036854775807",
    "make_timestamp(2000 + int64_0, 2, 29, int64_1, 0)",
)
"""Expressions that try parameters and nested operations further than the examples do."""


def typed(expression: str) -> Node:
    return Typer({}, TYPES).node(parse(expression))


def combinations(operation: type[RowOperation]) -> Iterator[Case]:
    """Yield an operation over every combination of types, with the parameters of its examples."""
    found: dict[Operation, None] = {}
    for example in operation.examples:
        node = Typer({}, types_of(example.columns, example.types)).node(parse(example.expression))
        found.update(dict.fromkeys(op for op in operations_in(node) if type(op) is operation))
    count = max(len(operation.inputs), 2 if operation.variadic else 0)
    accepted = [
        sorted(operation.input_at(position).accepts.types, key=str) for position in range(count)
    ]
    products = list(itertools.product(*accepted))
    # Of very many combinations some, among them all types.
    products = products[:: 1 + len(products) // 20] if len(accepted) > 3 else products
    for instance, types in itertools.product(found, products):
        names = [Name(f"{of}_{position}") for position, of in enumerate(types)]
        typer = Typer({}, TYPES)
        try:
            inputs, of = typer.call(instance, tuple(names))
        except SpecError:  # these types do not go together
            continue
        node = OperationNode.of(instance, inputs, of)
        yield Case(f"{instance!r} of {', '.join(map(str, types))}", node, tolerance_of(node))


@pytest.mark.parametrize("name", ROW_OPERATIONS)
def test_an_operation_runs_in_bigquery_or_says_why_not(name: str) -> None:
    operation = ROW_OPERATIONS[name]
    assert (operation.bigquery is RowOperation.bigquery) == bool(operation.bigquery_refused)


@pytest.mark.parametrize("name", SUPPORTED)
def test_hostile_values_of_all_types_mean_the_same_in_bigquery(name: str) -> None:
    cases = list(combinations(SUPPORTED[name]))
    assert cases, "no example calls the operation itself"
    count = max(len(columns_in(case.node)) for case in cases)
    # Each value once, each pair once, or some of the pairs beside others.
    problems = differences(cases, wide().gather_every({1: SIDE, 2: 1}.get(count, 3)))
    assert not problems, "\n".join(problems)


def test_further_parameters_and_nested_calls_mean_the_same_in_bigquery() -> None:
    nodes = {expression: typed(expression) for expression in MORE}
    cases = [Case(text, node, tolerance_of(node)) for text, node in nodes.items()]
    problems = differences(cases, wide())
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", SUPPORTED)
def test_an_example_gives_its_answer_in_bigquery(name: str) -> None:
    for example in SUPPORTED[name].examples:
        types = types_of(example.columns, example.types)
        feature = OneFeature(example.expression, typed_frame(example.columns, types), types)
        frame = feature.frame.with_row_index("row")
        of = feature.node.type
        got = cells(bigquery_of([Case("", feature.node)], frame)["f0"].cast(polars_dtype(of)), of)
        assert same(got, feature.physical(example.expected)), f"{example.expression} gave {got}"


def test_constants_are_printed_as_the_values_that_they_are() -> None:
    for kind, pool in POOLS.items():
        of = Type(kind)
        values = [value for value in pool if value is not None]
        outputs = [exp.alias_(constant(value, of), f"c{n}") for n, value in enumerate(values)]
        row = evaluate(exp.select(*outputs).sql(dialect="bigquery"))
        for value, column in zip(values, row, strict=True):
            got = cells(column.cast(polars_dtype(of)), of)[0]
            wanted = cells(series([value], of), of)[0]
            assert alike(got, wanted, of, 0.0), f"{value!r} is printed as {got!r}"


def test_constants_can_be_replaced_by_query_parameters() -> None:
    tree = tree_of(typed("apply_buckets(float32_0, [0.1, 7.25]) + length(fill(string_0, 'é'))"))
    parameters: dict[str, tuple[Any, Type]] = {}
    for node in list(tree.find_all(exp.Expression)):
        if CONSTANT in node.meta and CONSTANT not in getattr(node.parent, "meta", {}):
            parameters[name := f"p{len(parameters)}"] = node.meta[CONSTANT]
            node.replace(exp.Parameter(this=exp.Var(this=name)))
    assert len(parameters) == 2
    query = exp.select(exp.alias_(tree, "y")).from_("t")
    frame = pl.DataFrame({"float32_0": [0.1, 8.0], "string_0": ["ab", None]})
    got = evaluate(query.sql(dialect="bigquery"), {"t": frame}, parameters)
    assert sorted(got["y"]) == [2, 3]


def test_names_inside_of_an_operation_hide_no_column() -> None:
    columns = {"v1": [1.5, -2.5], "V2": [0.1, 3.0], "v3": [1e30, -7.0]}
    expressions = [
        "log1p(v1 + V2) % (v3 - v1)",
        "round(v1 * V2 / v3, 2) ** (V2 + v3)",
        "minimum(v1 + V2, V2 - v3, -v3 * v1)",
        "one_hot(cast(v1 + V2, 'int64'), 3)",
    ]
    problems = differences_of(expressions, columns, dict.fromkeys(columns, FLOAT32))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", SUPPORTED)
def test_the_same_call_is_always_the_same_text(name: str) -> None:
    case = next(combinations(SUPPORTED[name]))
    first, second = (tree_of(case.node).sql(dialect="bigquery") for _ in range(2))
    assert first == second
