"""What a label asks for: a number, one of two values, or one of several classes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from featurekit.errors import DataError, UsageError

__all__ = ["MAX_CLASSES", "MAX_INTEGER_CLASSES", "Label", "Task", "read_label"]

MAX_CLASSES = 100
"""A label has so many classes at most: what has more is a name or an id."""

MAX_INTEGER_CLASSES = 20
"""Integers of more values than this are amounts, unless the task says otherwise."""


class Task(enum.StrEnum):
    """What is predicted."""

    REGRESSION = "regression"
    BINARY = "binary"
    MULTICLASS = "multiclass"


@dataclass(frozen=True, eq=False)
class Label:
    """A label as numbers.

    Args:
        task: What is predicted.
        values: Of shape [rows]: the label in float64 for regression, 0.0 or 1.0 for a binary label,
            the place in `classes` as int64 for several classes.
        classes: The values of the label, in their order; of a binary label the last one is the
            positive class, which counts as 1. Empty for regression.
    """

    task: Task
    values: np.ndarray
    classes: tuple[Any, ...]


def read_label(series: pl.Series, task: Task | str | None = None) -> Label:
    """Return a label as numbers, with the task that it asks for.

    Args:
        series: The label, without missing values: numbers, truth values, strings, categories, or
            times.
        task: What is predicted; by default
            - binary for truth values, for the floats 0 and 1, and for two values of any other type;
            - regression for other floats and decimals, and for integers of more than
              `MAX_INTEGER_CLASSES` values;
            - multiclass for fewer integers, for strings and categories.

    Returns:
        The label. Classes are ordered as scikit-learn's `LabelEncoder` orders them: numbers by
        size, strings and categories by the code points of their letters, and not as an `Enum`
        declares them.

    Raises:
        UsageError: The task is unknown, or the label does not fit it; or it has too many classes.
        DataError: A value is missing or infinite, or all are the same.

    Example:
        >>> label = read_label(pl.Series(["rain", "sun", "fog", "sun"]))
        >>> label.task.value, label.values.tolist(), label.classes
        ('multiclass', [1, 2, 0, 2], ('fog', 'rain', 'sun'))
        >>> read_label(pl.Series(["no", "yes", "no"])).values.tolist()
        [0.0, 1.0, 0.0]
    """
    try:
        chosen = None if task is None else Task(task)
    except ValueError:
        tasks = ", ".join(repr(known.value) for known in Task)
        raise UsageError(f"task {task!r}; expected one of {tasks}") from None
    if series.dtype.is_nested() or series.dtype in (pl.Object, pl.Null, pl.Binary):
        raise UsageError(
            f"the label is {series.dtype}; expected numbers, truth values, strings or categories",
            where="label",
        )
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    _check_values(series)
    chosen = chosen or _inferred(series)
    if chosen is Task.REGRESSION:
        return Label(chosen, _numbers(series), ())
    return _classified(series, chosen)


def _check_values(series: pl.Series) -> None:
    """Refuse labels that say nothing.

    Raises:
        DataError: A value is missing or infinite, or all are the same.
    """
    missing = series.null_count()
    if series.dtype.is_float():
        missing += int(series.is_nan().sum())
    if missing:
        raise DataError(
            f"{missing:,} of {len(series):,} values are missing", where="label",
            hint="leave these rows out",
        )  # fmt: skip
    if series.dtype.is_float() and series.is_infinite().any():
        raise DataError("a label is infinite", where="label")
    if not len(series) or series.min() == series.max():
        raise DataError("all rows have the same label", where="label")


def _inferred(series: pl.Series) -> Task:
    """Return the task that a label asks for.

    Raises:
        UsageError: It has many values that are neither numbers nor words.
    """
    kind = series.dtype
    if kind.is_float() or kind.is_decimal():
        # Only of numbers from 0 to 1 all are looked at.
        truth = series.min() == 0 and series.max() == 1 and series.n_unique() == 2
        return Task.BINARY if truth else Task.REGRESSION
    count = series.n_unique()
    if count == 2:
        return Task.BINARY
    if kind.is_integer():
        return Task.MULTICLASS if count <= MAX_INTEGER_CLASSES else Task.REGRESSION
    if kind == pl.String:
        return Task.MULTICLASS
    raise UsageError(
        f"the label is {kind} with {count:,} values; expected numbers, truth values, strings or "
        "categories",
        where="label",
        hint="make a number of it, or compare it with one of its values",
    )


def _numbers(series: pl.Series) -> np.ndarray:
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        raise UsageError(
            f"the label is {series.dtype}; regression needs numbers",
            where="label",
            hint="task 'multiclass', or compare it with one of its values",
        )
    return series.cast(pl.Float64).to_numpy()


def _classified(series: pl.Series, task: Task) -> Label:
    classes = series.unique().sort()
    if task is Task.BINARY and len(classes) != 2:
        raise UsageError(
            f"a binary label has two values, such as 0 and 1; this one has {len(classes):,}",
            where="label",
            hint="task 'multiclass' or 'regression', or compare it with one of its values",
        )
    if len(classes) > MAX_CLASSES:
        raise UsageError(
            f"the label has {len(classes):,} classes; at most {MAX_CLASSES} are predicted",
            where="label",
            hint="take rare ones together, or compare it with one of its values",
        )
    codes = series.replace_strict(classes, range(len(classes)), return_dtype=pl.Int64).to_numpy()
    values = codes.astype(np.float64) if task is Task.BINARY else codes
    return Label(task, values, tuple(classes.to_list()))
