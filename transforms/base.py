"""What an operation is.

An operation is one frozen dataclass in one file. Its fields are its parameters and are checked in
`__post_init__`; its class attributes declare what it is; its methods say what it computes:

- `coerce` and `output_type` type it,
- `statistics` names what it must know about the training rows (full-pass operations only),
- `polars` is its reference semantics and runs in the embedded engine,
- `tensorflow` is the same computation in a serving graph,
- `bigquery` is the same computation as a tree of GoogleSQL (row operations), see `sql.py`.

- `windows` is an aggregation in the embedded engine, over the values of all windows together.

Nulls: in Polars a null is a null; in the TensorFlow graph a column is a pair of values and
validity. An operation is null where any input is null unless it overrides `tensorflow_masked`
(and says so in `null_rule`); the values under a null are arbitrary and must not make it fail.

Numbers: float32 operations that round more than once are computed in float64 and rounded to
float32 at the end, so that two engines with different mathematical libraries agree on every bit
that a bucket boundary could fall on.
"""

from __future__ import annotations

import enum
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import polars as pl

from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT32,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    UNKNOWN_WIDTH,
    Kind,
    Type,
    TypeSet,
)

if TYPE_CHECKING:
    from featurekit.transforms.sql_windows import SqlWindow
    from featurekit.transforms.statistics import Statistic
    from featurekit.transforms.windows import Values

__all__ = [
    "AggregateOperation", "Example", "FullPassOperation", "Input", "Masked", "Operation", "Reach",
    "RowOperation", "check", "integer_parameter", "number_parameter", "polars_dtype",
    "tensorflow_dtype", "tf",
]  # fmt: skip


class _LazyTensorFlow:
    """`tf`, imported at its first use: importing an operation must stay light."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("tensorflow"), name)


tf: Any = _LazyTensorFlow()


class Reach(enum.Enum):
    """What an operation needs to see, which decides where it runs."""

    ROW = "row"
    DATASET = "dataset"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of an operation.

    Args:
        name: Its name in the signature and in error messages.
        accepts: The types it takes.
    """

    name: str
    accepts: TypeSet


@dataclass(frozen=True)
class Example:
    """A call with its answer: documentation, and a test that every engine runs.

    Args:
        expression: The call, in the expression language of the spec.
        columns: The columns it reads; Python values, `None` for null.
        expected: One value per row. Floats are compared at 1e-6 relative.
        types: Types of the columns by name, where Python values do not tell (a float is a
            float32, an int an int64, a datetime a timestamp).
        examples: What the spec's `examples` must say for it, such as the label.
    """

    expression: str
    columns: Mapping[str, Sequence[Any]]
    expected: Sequence[Any]
    types: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)


class Masked(NamedTuple):
    """A column in a TensorFlow graph: its values, and whether each is there."""

    values: Any
    valid: Any


@dataclass(frozen=True)
class Operation:
    """The root of all operations; see the module's docstring for the contract."""

    reach: ClassVar[Reach]
    inputs: ClassVar[tuple[Input, ...]]
    variadic: ClassVar[bool] = False
    """Whether the last input may be repeated; parameters are then given by name only."""
    least_inputs: ClassVar[int | None] = None
    """The fewest inputs, when not the number of declared ones: the last ones may be left out."""
    null_rule: ClassVar[str] = "null where any input is null"
    examples: ClassVar[tuple[Example, ...]] = ()
    rounds: ClassVar[bool] = True
    """Whether a result may be smaller than any float32 but the subnormal ones, see `subnormal`."""
    operator: ClassVar[str | None] = None
    """The Python operator that the expression language writes this operation with."""

    @classmethod
    def name(cls) -> str:
        """The operation's name in expressions: the class name in snake case, unless overridden."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def fewest_inputs(cls) -> int:
        """The number of inputs that a call cannot do without."""
        return len(cls.inputs) if cls.least_inputs is None else cls.least_inputs

    @classmethod
    def signature(cls) -> str:
        """The call as documentation and errors write it: `clip(x, low=None, high=None)`."""
        sure = len(cls.inputs) if cls.variadic else cls.fewest_inputs()
        parts = [
            entry.name if place < sure else f"{entry.name}=None"
            for place, entry in enumerate(cls.inputs)
        ]
        if cls.variadic:
            parts[-1] = f"*{parts[-1]}"
        parts += [
            parameter.name
            if parameter.default is MISSING and parameter.default_factory is MISSING
            else f"{parameter.name}={parameter.default!r}"
            for parameter in fields(cls)
        ]
        return f"{cls.name()}({', '.join(parts)})"

    @classmethod
    def input_at(cls, position: int) -> Input:
        """Return the declaration of the input at a position, the last one repeating."""
        return cls.inputs[min(position, len(cls.inputs) - 1)]

    def coerce(self, types: tuple[Type, ...]) -> tuple[Type, ...]:
        """Return the types that the inputs are cast to before the operation sees them.

        Raises:
            ValueError: The types do not go together; the message says why.
        """
        return types

    def output_type(self, types: tuple[Type, ...]) -> Type:
        """Return the result's type, given the coerced types of the inputs."""
        raise TypeError(f"{type(self).__name__} does not declare its output type")

    def domain(self, fitted: Sequence[Any] = ()) -> tuple[int, int] | None:
        """Return the smallest and the largest integer of a result that is a code, else `None`.

        Models size their embedding tables by it.
        """
        return None


class RowOperation(Operation):
    """An operation that sees one row at a time."""

    reach = Reach.ROW
    bigquery_refused: ClassVar[str] = ""
    """Why BigQuery cannot compute it exactly, when it cannot; `bigquery` is left out then."""

    def polars(self, inputs: Sequence[pl.Expr], types: Sequence[Type]) -> pl.Expr:
        """Return the result as a Polars expression that streams (elementwise only)."""
        raise TypeError(f"{type(self).__name__} has no Polars implementation")

    def tensorflow(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        """Return the result's values from the inputs' values, all of shape [batch]."""
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def tensorflow_masked(self, inputs: Sequence[Masked], types: Sequence[Type]) -> Masked:
        """Return values and validity; by default valid where every input is."""
        values = self.tensorflow([entry.values for entry in inputs], types)
        valid = inputs[0].valid
        for entry in inputs[1:]:
            valid = tf.logical_and(valid, entry.valid)
        return Masked(values, valid)

    def bigquery(self, inputs: Sequence[Any], types: Sequence[Type]) -> Any:
        """Return the result as a sqlglot tree of GoogleSQL, from the trees of the inputs.

        Raises:
            ValueError: BigQuery cannot compute it for these types; the message says why.
        """
        raise TypeError(f"{type(self).__name__} has no BigQuery implementation")


class FullPassOperation(Operation):
    """An operation that needs statistics of its input over all training rows.

    With its statistics fitted it is a row operation: `polars` and `tensorflow` get them as
    `fitted`, one value for each entry of `statistics`, in order. In TensorFlow one call computes
    many columns, each with its own statistics: inputs have shape [columns, batch], the numbers in a
    statistic [columns, 1], and its boundaries [columns, boundaries]. Where a statistic is of words,
    there is one column.
    """

    reach = Reach.DATASET

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        """Return the statistics of the first input that this operation needs."""
        raise TypeError(f"{type(self).__name__} declares no statistics")

    def fitted_type(self, types: tuple[Type, ...], fitted: Sequence[Any]) -> Type:
        """Return the result's type once fitted; only vectors learn something new then."""
        return self.output_type(types)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        """Return the result as a Polars expression that streams (elementwise only)."""
        raise TypeError(f"{type(self).__name__} has no Polars implementation")

    def tensorflow_resource(self, types: Sequence[Type], fitted: Sequence[Any]) -> Any:
        """Return a lookup table that the serving module must track, or `None`."""
        return None

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        """Return the result's values from the inputs' values, all of shape [columns, batch]."""
        raise TypeError(f"{type(self).__name__} has no TensorFlow implementation")

    def tensorflow_masked(
        self, inputs: Sequence[Masked], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Masked:
        """Return values and validity; by default valid where every input is."""
        values = self.tensorflow([entry.values for entry in inputs], types, fitted, resource)
        valid = inputs[0].valid
        for entry in inputs[1:]:
            valid = tf.logical_and(valid, entry.valid)
        return Masked(values, valid)


class AggregateOperation(Operation):
    """An operation that summarises the past rows of a source, over one window and for one key.

    It looks at the rows of the source that took effect within the window; values that are null
    are skipped. It stands at the root of an aggregation's feature and nowhere else. Aggregates are
    computed in float64: no result is a float32.
    """

    reach = Reach.HISTORY
    null_rule = "null where the window holds no value"
    skips_null: ClassVar[bool] = True
    """Whether null and NaN inputs are as if their rows were not there."""
    empty: ClassVar[Any] = None
    """The result for a window that holds no value."""
    since: ClassVar[bool] = False
    """Whether the result is the time from a moment, which `windows` returns, to the prediction."""
    bigquery_refused: ClassVar[str] = ""
    """Why BigQuery cannot compute it, when it cannot; `bigquery` is left out then."""

    @classmethod
    def signature(cls) -> str:
        """The call as documentation and errors write it, with the filter that all can have."""
        call = super().signature().removesuffix(")")
        return f"{call}{'' if call.endswith('(') else ', '}where=None)"

    def windows(self, values: Values) -> Any:
        """Return the result for every span of values; a NumPy array, masked where it is null.

        Values are in order of effect, then event time, then value. Shape [spans], or [spans, k]
        for a vector. A result that is one of the values is returned as it is in `values.data`, and
        a moment (see `since`) in microseconds.
        """
        raise TypeError(f"{type(self).__name__} has no implementation over windows")

    def bigquery(self, window: SqlWindow, types: Sequence[Type]) -> Any:
        """Return the result for one window as a sqlglot tree of GoogleSQL.

        A vector is an array of the values that are there: it is shorter than its type says where
        the window holds fewer, and empty where that is null.
        """
        raise TypeError(f"{type(self).__name__} has no BigQuery implementation")


def check(condition: bool, message: str) -> None:
    """Raise `ValueError` with the message unless the condition holds: for `__post_init__`."""
    if not condition:
        raise ValueError(message)


def number_parameter(name: str, value: object) -> None:
    """Check that a parameter is a finite number (and not a boolean)."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    check(good and value == value and abs(value) != float("inf"),  # type: ignore[arg-type]
          f"{name} must be a finite number, got {value!r}")  # fmt: skip


def integer_parameter(name: str, value: object, least: int, most: int | None = None) -> None:
    """Check that a parameter is an integer within bounds (both inclusive)."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if good and most is not None:
        good = value <= most  # type: ignore[operator]
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    check(good, f"{name} must be an integer {bounds}, got {value!r}")


_POLARS: Mapping[Kind, Any] = {
    Kind.BOOL: pl.Boolean(),
    Kind.INT64: pl.Int64(),
    Kind.FLOAT32: pl.Float32(),
    Kind.FLOAT64: pl.Float64(),
    Kind.STRING: pl.String(),
    Kind.TIMESTAMP: pl.Datetime("us", "UTC"),
    Kind.DURATION: pl.Duration("us"),
}


def polars_dtype(of: Type) -> Any:
    """Return the Polars data type that holds a FeatureKit type."""
    if of.width is None:
        return _POLARS[of.kind]
    if of.width == UNKNOWN_WIDTH:
        raise ValueError("the width of this vector is not known before its statistics are fitted")
    return pl.Array(_POLARS[of.kind], of.width)


def tensorflow_dtype(of: Type) -> Any:
    """Return the TensorFlow data type of one element of a FeatureKit type."""
    names = {BOOL: "bool", INT64: "int64", FLOAT32: "float32", FLOAT64: "float64",
             STRING: "string", TIMESTAMP: "int64", DURATION: "int64"}  # fmt: skip
    return getattr(tf, names[Type(of.kind)])
