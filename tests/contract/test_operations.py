"""What every operation of the catalogue must keep, found by looking the catalogue through."""

from __future__ import annotations

import inspect
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from featurekit.graph import OperationNode
from featurekit.transforms.base import Example, FullPassOperation, Operation, polars_dtype
from featurekit.transforms.catalogue import operations
from featurekit.types import UNKNOWN_WIDTH, Kind, Type
from tests.engines import OneFeature, same, typed_frame, types_of

OPERATIONS = sorted(operations().items())
EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, operation in OPERATIONS
    for number, example in enumerate(operation.examples)
]
WITH_OPERATION = [
    pytest.param(operation, example, id=f"{name}-{number}")
    for name, operation in OPERATIONS
    for number, example in enumerate(operation.examples)
]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_an_operation_stands_in_the_file_of_its_name_and_is_documented(
    name: str, operation: type[Operation]
) -> None:
    assert operation.__module__.rsplit(".", 1)[1] == name
    text = inspect.getdoc(operation) or ""
    assert text.splitlines()[0].endswith("."), "the first line is a sentence"
    assert "Args:" in text
    assert "Returns:" in text
    assert "null" in text.lower(), "the null rule is told"
    assert len(operation.examples) >= 1


def fitted(example: Example) -> OneFeature:
    types = types_of(example.columns, example.types)
    return OneFeature(
        example.expression, typed_frame(example.columns, types), types, example.examples
    )


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_gives_its_answer_on_polars(example: Example) -> None:
    feature = fitted(example)
    for engine in ("in-memory", "streaming"):
        got = feature.on_polars(engine=engine)
        assert same(got.to_list(), list(example.expected)), (
            f"{example.expression} gave {got.to_list()}"
        )


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_gives_its_answer_on_tensorflow(example: Example) -> None:
    feature = fitted(example)
    wanted = feature.physical(example.expected)
    for graph in (False, True):
        got = feature.on_tensorflow(graph=graph)
        assert same(got, wanted), f"{example.expression} gave {got}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_declared_type_is_what_polars_makes(example: Example) -> None:
    feature = fitted(example)
    of = feature.node.type
    got = feature.on_polars().dtype
    if of.width == UNKNOWN_WIDTH:
        assert isinstance(got, pl.Array)
        assert got.inner == polars_dtype(Type(of.kind))
    else:
        assert got == polars_dtype(of)


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_rows_give_no_rows(example: Example) -> None:
    feature = fitted(example)
    nothing = feature.frame.clear()
    assert feature.on_polars(nothing).len() == 0
    assert feature.on_tensorflow(nothing) == []


POOLS: dict[Kind, list[Any]] = {
    Kind.BOOL: [True, False, None],
    Kind.INT64: [
        0,
        1,
        -1,
        2,
        3,
        7,
        12,
        29,
        2013,
        -5,
        10**6,
        2**53 + 1,
        2**63 - 1,
        -(2**63) + 1,
        None,
    ],
    Kind.FLOAT32: [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        -2.5,
        3.0,
        7.25,
        1e6,
        3e38,
        -3e38,
        2.0**-126,  # Half of it, or its square, is subnormal.
        -3e-38,
        1e-25,
        math.inf,
        -math.inf,
        None,
    ],
    Kind.FLOAT64: [0.0, -0.0, 1.0, -1.0, 0.1, 2.5, -2.5, 1e300, -1e300, math.inf, -math.inf, None],
    Kind.STRING: [
        "",
        "a",
        "A",
        "b",
        " b ",
        "a_X_b",
        "a-b-c",
        "12",
        "-7",
        "1e3",
        "ß",
        "é",
        "日本",
        "x" * 70,
        "\t",
        None,
    ],
    Kind.TIMESTAMP: [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2000, 2, 29, 12, tzinfo=UTC),
        datetime(2024, 12, 30, 1, 2, 3, tzinfo=UTC),
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(2100, 3, 1, tzinfo=UTC),
        None,
    ],
    Kind.DURATION: [timedelta(0), timedelta(hours=-5), timedelta(days=400, microseconds=1), None],
}


def hostile(columns: dict[str, Type], seed: int) -> pl.DataFrame:
    """Rows of values that break naive code, each type's pool mixed at random."""
    chance = random.Random(seed)
    rows = 64
    made = {}
    for name, of in columns.items():
        values = [*POOLS[of.kind], *chance.choices(POOLS[of.kind], k=rows)][:rows]
        chance.shuffle(values)
        made[name] = pl.Series(values, dtype=polars_dtype(of))
    return pl.DataFrame(made)


@pytest.mark.parametrize("example", EXAMPLES)
def test_hostile_values_mean_the_same_on_polars_and_tensorflow(example: Example) -> None:
    feature = fitted(example)
    for seed in range(3):
        rows = hostile(dict(feature.types), seed)
        polars = feature.physical(feature.on_polars(rows).to_list())
        tensorflow = feature.on_tensorflow(rows, graph=True)
        for position, (left, right) in enumerate(zip(polars, tensorflow, strict=True)):
            shown = {name: rows[name][position] for name in rows.columns}
            assert same(left, right), (
                f"{example.expression} of {shown}: Polars {left!r}, TensorFlow {right!r}"
            )


@pytest.mark.parametrize(("operation", "example"), WITH_OPERATION)
def test_a_null_input_gives_null_unless_the_operation_says_otherwise(
    operation: type[Operation], example: Example
) -> None:
    if operation.null_rule != Operation.null_rule:
        assert "null" in operation.null_rule or "missing" in operation.null_rule
        return
    feature = fitted(example)
    assert isinstance(feature.node, OperationNode)
    if type(feature.node.operation) is not operation:  # the example shows it inside of another call
        return
    for name, of in feature.types.items():
        rows = hostile(dict(feature.types), 7).with_columns(
            pl.lit(None, dtype=polars_dtype(of)).alias(name)
        )
        assert feature.on_polars(rows).null_count() == rows.height


@pytest.mark.parametrize(
    "operation",
    [operation for _, operation in OPERATIONS if issubclass(operation, FullPassOperation)],
    ids=lambda operation: operation.name(),
)
def test_statistics_do_not_depend_on_the_order_of_rows(operation: type[Operation]) -> None:
    for example in operation.examples:
        feature = fitted(example)
        turned = OneFeature(
            example.expression, feature.frame.reverse(), feature.types, example.examples
        )
        assert all(same(v, w, 1e-12) for v, w in zip(_plain(feature), _plain(turned), strict=True))


def _plain(feature: OneFeature) -> list[Any]:
    from dataclasses import astuple

    return [astuple(value) for value in feature.fitted.values()]


@pytest.mark.parametrize(
    "expression",
    [
        "zscore({})", "robust_scale({})", "max_abs_scale({})", "scale_to_0_1({})",
        "scale_by_min_max({}, -2, 5)", "bucketize({}, 4)", "impute({}, 'mean')",
        "impute({}, 'median', indicator=True)", "impute({}, 'most_frequent')",
    ],
)  # fmt: skip
def test_columns_that_are_computed_together_keep_their_own_statistics(expression: str) -> None:
    import tensorflow as tf

    from featurekit.engines import local, tensorflow
    from featurekit.planner import make_plan
    from featurekit.resolve import resolve
    from featurekit.sources import Table
    from featurekit.spec.objects import Examples, Source, Spec
    from featurekit.transforms.base import Masked

    rows = 40
    columns: dict[str, list[float | None]] = {
        "a": [None if row % 7 == 0 else float(row) for row in range(rows)],
        "b": [None if row % 5 == 0 else 1e3 - row * row for row in range(rows)],
        "c": [2.5] * rows,
    }
    frame = typed_frame(columns, dict.fromkeys(columns, Type(Kind.FLOAT32)))
    spec = Spec(
        sources={"rows": Source(data=frame)},
        examples=Examples("rows"),
        features={f"f_{name}": expression.format(name) for name in columns},
    )
    plan = make_plan(resolve(spec, dict.fromkeys(columns, Type(Kind.FLOAT32))))
    fitted, _ = local.fit(plan, Table("rows", frame.lazy(), dict(frame.schema), {}))
    masked = {
        name: Masked(
            tf.constant(frame[name].fill_null(0).to_numpy()),
            tf.constant(frame[name].is_not_null().to_numpy()),
        )
        for name in columns
    }
    together = tensorflow.evaluate(plan.features, masked, fitted, {})
    polars = local.lower(frame.lazy(), plan.features, fitted).collect()
    for name, (values, valid) in together.items():
        got = [
            value if there else None
            for value, there in zip(values.numpy().tolist(), valid.numpy(), strict=True)
        ]
        assert same(got, polars[name].to_list())
