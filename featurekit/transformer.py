"""Features as a scikit-learn transformer, without files."""

from __future__ import annotations

import keyword
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from featurekit.artifact import read_plan, statistics_from_dict, statistics_to_dict
from featurekit.engines import local
from featurekit.errors import FeatureKitWarning, MissingExtra, SpecError, install_hint, require
from featurekit.graph import cross_fitted
from featurekit.planner import make_plan
from featurekit.read_errors import polars_errors
from featurekit.resolve import resolve
from featurekit.run_warnings import constant_features, run_warnings
from featurekit.serving import apply_frame, stored_columns, to_polars
from featurekit.sources import Table, column_names, column_types, open_table, refuse_doubled
from featurekit.spec.expression import Call, Name, expression
from featurekit.spec.objects import Column, Examples, Feature, Source, Spec
from featurekit.spec.settings import RESERVED
from featurekit.training import as_array, spread, to_pandas
from featurekit.transforms.targets import TargetOperation
from featurekit.types import BOOL, STRING, Type
from featurekit.word_types import typed_by_use

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils._set_output import _get_output_config
    from sklearn.utils.validation import (
        _check_feature_names_in,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError:
    raise MissingExtra(
        "FeatureTransformer needs the package scikit-learn, which is not installed",
        hint=install_hint("analysis"),
    ) from None

if TYPE_CHECKING:
    from featurekit.spec.expression import ExpressionLike

__all__ = ["FeatureTransformer"]

SOURCE = "rows"
_TABLES = ("pandas", "polars", "pyarrow")
_REBUILT = ("_plan", "_fitted")


class FeatureTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features of a table as a scikit-learn transformer.

    `fit` computes the statistics that the features need, `transform` applies them, by the same
    code as a run. It takes pandas, Polars and Arrow tables and NumPy arrays, whose columns are
    called x0, x1, ...; it works in pipelines, column transformers, grid searches, with `clone`,
    and pickles as plain data.

    Args:
        features: Expressions (text, or made with `fk`), or `Feature` objects, by name. By
            default each column is one feature: numbers `zscore(impute(x, "mean"))`, strings
            `fill(vocabulary(x), -1)`, booleans `impute(x, "most_frequent")`.
        columns: What cannot be told from the data, by column: a `Column`, its settings, or the
            name of its type. Floats are float32 unless declared float64.

    Attributes:
        spec_: The features as a `Spec`, to be written with `to_yaml()`; its source has no data.
        statistics_: What was computed in `fit`, as plain data.
        n_features_in_: The number of columns in `fit`.
        feature_names_in_: Their names, where all are strings.

    Note:
        `transform` gives an array of shape [rows, columns]: vectors are laid out over several
        columns, a missing value is NaN, and with a string among the features its dtype is
        object. `set_output(transform="pandas")` or `"polars"` gives a table instead, each
        column of its own type.

    Example:
        >>> import polars as pl
        >>> flights = pl.DataFrame({
        ...     "distance": [100.0, 1000.0, None],
        ...     "carrier": ["UA", "AA", "UA"],
        ... })
        >>> transformer = FeatureTransformer({
        ...     "far": "impute(distance, 'median') > 500",
        ...     "carrier": "one_hot_vocabulary(carrier)",
        ... })
        >>> transformer.fit_transform(flights)
        array([[0., 1., 0.],
               [1., 0., 1.],
               [1., 1., 0.]])
        >>> transformer.get_feature_names_out()
        array(['far', 'carrier_0', 'carrier_1'], dtype=object)
    """

    def __init__(
        self,
        features: Mapping[str, ExpressionLike | Feature] | None = None,
        *,
        columns: Mapping[str, Column | Mapping[str, Any] | str] | None = None,
    ) -> None:
        self.features = features
        self.columns = columns

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Compute the statistics that the features need.

        Args:
            X: The training rows, a table or an array.
            y: The label of each row, where a feature such as `target_mean` sees it.

        Raises:
            SpecErrors: The features do not fit the columns; all problems together.
            SpecError: A feature sees the label, and there is no y.
            DataError: A column holds what its type does not allow, or no value at all.
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        """Compute the statistics that the features need, and the features to train a model on.

        Features that see the label are cross-fitted: no row sees its own. So `fit(X, y)` and
        `transform(X)` give others; these are for new rows.

        Args:
            X: The training rows, a table or an array.
            y: The label of each row, where a feature sees it.

        Raises:
            SpecError: See `fit`.
            DataError: See `fit`.
        """
        table = self._fit(X, y)
        if not cross_fitted(self._plan.features.values()):
            return self.transform(X)
        made = local.training_features(self._plan, self._fitted, table).collect()
        return self._as_asked(made, X)

    def _fit(self, X: Any, y: Any) -> Table:  # noqa: N803
        """Compute the statistics, and return the rows, with what cross-fitting reads of them."""
        frame = self._read(X, reset=True)
        source = Source(columns=self.columns or {})
        examples, known = Examples(SOURCE), frame
        if self.features is not None and any(map(_sees_label, self.features.values())):
            label, row = (_unused(name, frame.columns) for name in ("label", "row"))
            labels = _labels(y, label)
            check_consistent_length(frame, labels)
            known = frame.with_columns(labels, pl.int_range(pl.len()).alias(row))
            examples = Examples(SOURCE, keys=[row], label=Name(label))
        table = open_table(SOURCE, replace(source, data=known), Path())
        types = column_types(table, source)
        features = _automatic(table, types) if self.features is None else self.features
        spec = Spec({SOURCE: source}, examples, features)
        types = typed_by_use(spec, {SOURCE: types}, {SOURCE: table.dtypes})[SOURCE]
        plan = make_plan(resolve(spec, types), saved_model=False)
        fitted, census = local.fit(plan, table)
        self._names = spread(apply_frame(plan, fitted, frame.clear())).columns
        self._made = {
            "semantics": plan.resolved.semantics,
            "spec": spec.as_plain(),
            "columns": {name: str(of) for name, of in types.items()},
        }
        with polars_errors("X"):
            same = constant_features(local.training_features(plan, fitted, table), plan.features)
        for text in (*run_warnings(plan, fitted, census), *same):
            warnings.warn(text, FeatureKitWarning, stacklevel=3)
        self._plan, self._fitted = plan, fitted
        self.statistics_ = statistics_to_dict(fitted)
        return table

    def transform(self, X: Any) -> Any:  # noqa: N803
        """Return the features of rows, with the statistics of `fit`.

        Args:
            X: A table with the columns that features read, in any order and with others beside
                them, which are not looked at; or an array with as many columns as in `fit`.
                Without `features` every column is read: the columns are those of `fit`.

        Raises:
            NotFittedError: `fit` comes first.
            ValueError: An array, or a table without `features`, has other columns than in `fit`.
            DataError: A column that a feature reads is missing, or holds what its type does not
                allow; two columns have one name.
        """
        check_is_fitted(self)
        made = apply_frame(self._plan, self._fitted, self._read(X, reset=False), "X")
        return self._as_asked(made, X)

    def _as_asked(self, made: pl.DataFrame, X: Any) -> Any:  # noqa: N803
        """Return features as the array or table that `set_output` asks for."""
        made = spread(made)
        container = _get_output_config("transform", self)["dense"]
        if container == "polars":
            return made
        if container != "pandas":
            return as_array(made)
        result = to_pandas(made)
        if type(X).__module__.split(".")[0] == "pandas":
            result.index = X.index
        return result

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that `transform` makes.

        Args:
            input_features: Only checked: the names of the columns in `fit`.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        return np.array(self._names, dtype=object)

    @property
    def spec_(self) -> Spec:
        """The features as a spec."""
        check_is_fitted(self)
        return self._plan.resolved.spec

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "statistics_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _REBUILT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "statistics_"):
            self._plan = read_plan(self._made)
            self._fitted = statistics_from_dict(self.statistics_, self._plan)

    def _read(self, X: Any, reset: bool) -> pl.DataFrame:  # noqa: N803
        """Return a table or an array as a frame, its columns checked against those of `fit`.

        Of a table by names, `transform` needs the columns that features read, in any order.
        """
        is_table = type(X).__module__.split(".")[0] in _TABLES and len(getattr(X, "shape", ())) == 2
        if is_table:
            there = column_names(X)
            needed = None if reset else self._needed(there)
            refuse_doubled(there if needed is None else filter(needed.__contains__, there), "X")
            if needed is not None:
                return to_polars(X[needed] if hasattr(X, "iloc") else X.select(needed), "X")
        X = validate_data(  # noqa: N806
            self, X, reset=reset, skip_check_array=is_table, dtype=None, ensure_all_finite=False
        )
        names = getattr(self, "feature_names_in_", None)
        names = [f"x{i}" for i in range(self.n_features_in_)] if names is None else list(names)
        if not is_table:
            return _frame(X, names)
        frame = to_polars(X, "X")
        frame.columns = names
        return frame

    def _needed(self, there: Sequence[Any]) -> list[str] | None:
        """Return the columns that features read; `None` if columns are known by place alone.

        Raises:
            DataError: One is not there.
        """
        if self.features is None or getattr(self, "feature_names_in_", None) is None:
            return None
        read = set(stored_columns(self._plan).values())
        needed = [name for name in self.feature_names_in_ if name in read]
        local.refuse_missing(needed, there, "X")
        return needed


def _sees_label(feature: ExpressionLike | Feature) -> bool:
    written = feature.expr if isinstance(feature, Feature) else expression(feature)
    calls = (part for part in written.walk() if isinstance(part, Call))
    return any(isinstance(part.operation, TargetOperation) for part in calls)


def _labels(y: Any, name: str) -> pl.Series:
    """Return labels, of an array or a table's column, as a column of a name."""
    if y is None:
        raise SpecError("a feature sees the label, and there is none", hint="fit(X, y)")
    if hasattr(y, "to_frame"):
        return to_polars(y.to_frame(name), "y").to_series()
    return _frame(column_or_1d(y, warn=True)[:, np.newaxis], [name]).to_series()


def _unused(name: str, taken: Iterable[str]) -> str:
    """Return a name that no column has, with underscores before it where one has it."""
    while name in taken:
        name = f"_{name}"
    return name


def _frame(array: np.ndarray, names: Iterable[str]) -> pl.DataFrame:
    if array.dtype == object:
        # pandas finds the types of columns of Python objects.
        require("pandas", "analysis", "an array of objects")
        import pandas as pd

        return to_polars(pd.DataFrame(array, columns=list(names)).infer_objects(), "X")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        array = array.astype(np.float64)
    return pl.DataFrame({name: array[:, position] for position, name in enumerate(names)})


def _automatic(table: Table, types: Mapping[str, Type]) -> dict[str, str]:
    """Return one feature for each column.

    Raises:
        SpecError: A column is of a type that has no such feature.
    """
    features: dict[str, str] = {}
    for name in table.schema:
        of, column = types.get(name), f"col({name!r})"
        if of == STRING:
            text = f"fill(vocabulary({column}), -1)"
        elif of == BOOL:
            text = f"impute({column}, 'most_frequent')"
        elif of is not None and of.is_number:
            text = f"zscore(impute({column}, 'mean'))"
        else:
            kind = of or table.schema[name]
            raise SpecError(
                f"column {name!r} is a {kind}, which makes no feature by itself",
                hint="say which features to make: FeatureTransformer({'hour': 'hour(t)'})",
            )
        features[_feature_name(name, features)] = text
    return features


def _feature_name(column: str, used: Iterable[str]) -> str:
    """Return a feature's name that is as close to a column's as the rules for names allow."""
    name = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_")[:100]
    if not name[:1].isalpha():
        name = f"x_{name}".rstrip("_")
    taken = {other.lower() for other in used}
    wanted, number = name, 1
    while name.lower() in taken or name in RESERVED or keyword.iskeyword(name):
        number += 1
        name = f"{wanted}_{number}"
    return name
