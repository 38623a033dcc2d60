"""What a label asks for, and the numbers that it becomes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.preprocessing import LabelEncoder

from featurekit.analysis.ablation.tasks import MAX_CLASSES, MAX_INTEGER_CLASSES, Task, read_label
from featurekit.errors import DataError, UsageError

LEVELS = pl.Enum(["low", "middle", "high"])
DAYS = [dt.date(2024, 1, day) for day in (3, 1, 2)]


@pytest.mark.parametrize(
    ("values", "kind", "task", "found", "classes"),
    [
        ([True, False, True], pl.Boolean, Task.BINARY, [1.0, 0.0, 1.0], (False, True)),
        ([0.0, 1.0, 1.0], pl.Float64, Task.BINARY, [0.0, 1.0, 1.0], (0.0, 1.0)),
        ([1, 0, 1], pl.Int8, Task.BINARY, [1.0, 0.0, 1.0], (0, 1)),
        ([-1, 1, 1], pl.Int64, Task.BINARY, [0.0, 1.0, 1.0], (-1, 1)),
        (["yes", "no", "no"], pl.String, Task.BINARY, [1.0, 0.0, 0.0], ("no", "yes")),
        (["low", "high"], LEVELS, Task.BINARY, [1.0, 0.0], ("high", "low")),
        (DAYS[:2], pl.Date, Task.BINARY, [1.0, 0.0], (DAYS[1], DAYS[0])),
        ([1.0, 2.0, 2.0], pl.Float64, Task.REGRESSION, [1.0, 2.0, 2.0], ()),
        ([0.0, 1.0, 0.5], pl.Float32, Task.REGRESSION, [0.0, 1.0, 0.5], ()),
        ([Decimal("1.5"), Decimal(3)], pl.Decimal(9, 1), Task.REGRESSION, [1.5, 3.0], ()),
        ([7, 3, 5, 3], pl.UInt8, Task.MULTICLASS, [2, 0, 1, 0], (3, 5, 7)),
        (["b", "Z", "a"], pl.String, Task.MULTICLASS, [2, 0, 1], ("Z", "a", "b")),
        (["x", "y", "w"], pl.Categorical, Task.MULTICLASS, [1, 2, 0], ("w", "x", "y")),
        (["low", "high", "middle"], LEVELS, Task.MULTICLASS, [1, 0, 2], ("high", "low", "middle")),
    ],
)
def test_the_task_follows_from_the_label(
    values: list[Any], kind: Any, task: Task, found: list[float], classes: tuple[Any, ...]
) -> None:
    label = read_label(pl.Series(values, dtype=kind))
    assert (label.task, label.values.tolist(), label.classes) == (task, found, classes)
    assert label.values.dtype == (np.int64 if task is Task.MULTICLASS else np.float64)


@pytest.mark.parametrize("extra", [0, 1])
def test_integers_are_classes_while_they_are_few(extra: int) -> None:
    numbers = np.arange(MAX_INTEGER_CLASSES + extra).repeat(3)
    label = read_label(pl.Series(numbers))
    assert label.task is (Task.REGRESSION if extra else Task.MULTICLASS)
    assert read_label(pl.Series(numbers), "multiclass").task is Task.MULTICLASS


@pytest.mark.parametrize(
    ("values", "task", "found"),
    [
        ([0, 1, 1], "regression", [0.0, 1.0, 1.0]),
        ([True, False], "regression", [1.0, 0.0]),
        ([3, 5, 7], Task.REGRESSION, [3.0, 5.0, 7.0]),
        ([1.5, 2.5, 1.5], "binary", [0.0, 1.0, 0.0]),
        ([2.5, 1.5, 0.5], "multiclass", [2, 1, 0]),
        (["b", "a"], "multiclass", [1, 0]),
        (DAYS, "multiclass", [2, 0, 1]),
    ],
)
def test_the_task_can_be_said(values: list[Any], task: str, found: list[float]) -> None:
    label = read_label(pl.Series(values), task)
    assert (label.task, label.values.tolist()) == (Task(task), found)


@pytest.mark.parametrize("kind", [str, int])
def test_classes_are_ordered_as_scikit_learn_orders_them(kind: type) -> None:
    words = ["é", "Z", "a", "10", "9", "ß", "", "z", "𝔘", "\uffff"]
    values = words if kind is str else [int(3 * place % 10) - 4 for place in range(10)]
    label = read_label(pl.Series(values))
    encoder = LabelEncoder()
    assert label.values.tolist() == encoder.fit_transform(values).tolist()
    assert list(label.classes) == encoder.classes_.tolist()


@pytest.mark.parametrize(
    ("series", "task", "error", "said"),
    [
        (pl.Series([1.0, 2.0]), "ranking", UsageError, "'ranking'; expected one of 'regression'"),
        (pl.Series([1.0, None]), None, DataError, "1 of 2 values are missing"),
        (pl.Series([1.0, float("nan")]), None, DataError, "missing"),
        (pl.Series([1.0, float("inf")]), None, DataError, "infinite"),
        (pl.Series(["a", "a"]), None, DataError, "the same label"),
        (pl.Series([True, True]), None, DataError, "the same label"),
        (pl.Series([], dtype=pl.Float64), None, DataError, "the same label"),
        (pl.Series([1, 2, 3]), "binary", UsageError, "such as 0 and 1; this one has 3"),
        (pl.Series(["a", "b"]), "regression", UsageError, "needs numbers"),
        (pl.Series(DAYS), None, UsageError, "Date with 3 values"),
        (pl.Series([[1], [2]]), None, UsageError, "List"),
        (pl.Series(map(str, range(MAX_CLASSES + 1))), None, UsageError, "101 classes"),
        (pl.Series(range(MAX_CLASSES + 1)), "multiclass", UsageError, "101 classes"),
    ],
)
def test_labels_that_ask_for_nothing_are_refused(
    series: pl.Series, task: str | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        read_label(series, task)


def test_so_many_classes_are_predicted() -> None:
    label = read_label(pl.Series(map(str, range(MAX_CLASSES))))
    assert (label.task, len(label.classes)) == (Task.MULTICLASS, MAX_CLASSES)
