"""The models that an ablation trains: which one, from what, and without which columns.

A model is whatever follows scikit-learn: an estimator (cloned for every fit), something that makes
one, or the name of either, `module:name`. By default it is scikit-learn's gradient boosting by
histograms, which takes missing values and categories as they are, with settings that learn little
noise.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.ablation.tasks import Task
from featurekit.errors import UsageError, closest, require
from featurekit.training import spread

__all__ = ["Inputs", "Learner", "Trained", "constant", "read_inputs", "read_learner"]

ROWS_TO_LEAF = 500
"""Of so many rows a leaf of the default model holds one at least, and from 5 to 100 in all."""

MAX_LEVELS = 254
"""So many values of a category the default model tells apart; its bins are bytes."""

EXACT = 2**53
"""Up to this float64 holds every integer."""
LEAST, MOST = 1e-30, 1e30
"""Columns whose largest number is outside of this are divided by a power of two."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The features as a model reads them.

    Args:
        values: A matrix, float64 of shape [rows, columns], or a pandas DataFrame.
        columns: Which columns each feature has: one, or one for each element of a vector.
        categorical: Of a matrix: which columns hold codes of categories, bool of shape [columns].
    """

    values: Any
    columns: Mapping[str, tuple[int, ...]]
    categorical: np.ndarray

    def kept(self, dropped: Collection[str]) -> np.ndarray:
        """Return the places of the columns that stay when features are left out."""
        gone = {place for name in dropped for place in self.columns[name]}
        width = len(self.categorical)
        return np.array([place for place in range(width) if place not in gone], dtype=np.int64)

    def names(self, places: Iterable[int]) -> tuple[str, ...]:
        """Return the names of columns of a DataFrame; a matrix has none."""
        if isinstance(self.values, np.ndarray):
            return ()
        return tuple(str(self.values.columns[place]) for place in places)

    def take(self, rows: np.ndarray, kept: np.ndarray | None = None) -> Any:
        """Return some rows, and some columns (all by default), as a model takes them."""
        if isinstance(self.values, np.ndarray):
            if kept is None or len(kept) == self.values.shape[1]:
                return self.values[rows]
            return self.values[np.ix_(rows, kept)]
        found = self.values.iloc[rows]
        return found if kept is None else found.iloc[:, kept]


@dataclass(frozen=True, eq=False)
class Trained:
    """A model with the columns that it knows.

    Args:
        estimator: Fitted.
        kept: The places of the columns that it was trained on, int64: it predicts from these.
    """

    estimator: Any
    kept: np.ndarray


@dataclass(frozen=True)
class Learner:
    """What is trained.

    Args:
        name: What to call it.
        make: Makes an estimator that is not fitted.
        fitted: The estimator that was given, if it is fitted.
        matrix: Whether it reads a matrix in which categories are codes; others read a DataFrame.
        rows: Of the default: how many rows it was adapted to.
    """

    name: str
    make: Callable[[], Any] = field(repr=False)
    fitted: Any = field(default=None, repr=False)
    matrix: bool = False
    rows: int = 0

    def fit(
        self,
        inputs: Inputs,
        rows: np.ndarray,
        truth: np.ndarray,
        weights: np.ndarray | None,
        task: Task,
        seed: int,
        dropped: Collection[str] = (),
    ) -> Trained:
        """Return a model that was trained without some features.

        Args:
            inputs: The features.
            rows: The training rows, int64 of shape [n].
            truth: Their labels: numbers, or codes of classes.
            weights: Their weights; `None` where all are 1.
            task: What is predicted.
            seed: For every `random_state` that the estimator has.
            dropped: Features to leave out; without any feature the model is a constant.

        Raises:
            UsageError: The estimator cannot be trained so.
        """
        estimator = self._seeded(seed)
        kept = inputs.kept(dropped)
        if self.matrix or _is_boosted(estimator):
            seen = known_values(inputs.take(rows, kept), weights)
            kept = kept[seen >= estimator.min_samples_leaf]
        known = truth if task is Task.REGRESSION else truth.astype(np.int64)
        nothing = Trained(constant(task), kept[:0])
        if not len(kept):
            nothing.estimator.fit(np.zeros((len(rows), 1)), known, weights)
            return nothing
        if self.matrix:
            estimator.set_params(categorical_features=inputs.categorical[kept])
        elif len(kept) < len(inputs.categorical):
            gone = set(range(len(inputs.categorical))).difference(kept.tolist())
            estimator = without_columns(estimator, set(inputs.names(gone)))
            if reads_nothing(estimator):
                nothing.estimator.fit(np.zeros((len(rows), 1)), known, weights)
                return nothing
        heavy = {} if weights is None else weighted(estimator, weights)
        taken = inputs.take(rows, kept)
        try:
            return Trained(estimator.fit(taken, known, **heavy), kept)
        except Exception as error:
            raise UsageError(
                f"the model cannot be trained: {(str(error) or repr(error)).splitlines()[0]}",
                where=self.name, hint=self._hint(inputs, kept, known_values(taken, weights)),
            ) from error  # fmt: skip

    def _hint(self, inputs: Inputs, kept: np.ndarray, seen: np.ndarray) -> str:
        """Return what to do where a model cannot be trained."""
        empty = inputs.names(kept[seen == 0])
        if empty:
            return (
                f"{', '.join(map(repr, empty[:8]))}{', ...' if len(empty) > 8 else ''} "
                f"{'has' if len(empty) == 1 else 'have'} no value in the training rows of a fold: "
                "exclude such features, or put what fills them in front of the model, in a Pipeline"
            )
        return (
            "it gets a DataFrame with missing values and categories, as the table has them: put "
            "what prepares them in front, in a Pipeline"
        )

    def _seeded(self, seed: int) -> Any:
        estimator = self.make()
        names = [
            name for name in estimator.get_params(deep=True)
            if name == "random_state" or name.endswith("__random_state")
        ]  # fmt: skip
        return estimator.set_params(**dict.fromkeys(names, seed)) if names else estimator


def known_values(taken: Any, weights: np.ndarray | None) -> np.ndarray:
    """Return how many rows with a weight have a value, for each column; int64 of shape [columns].

    Args:
        taken: Rows as a model takes them.
        weights: Of the rows; `None` where all are 1.
    """
    missing = np.isnan(taken) if isinstance(taken, np.ndarray) else taken.isna().to_numpy()
    if weights is not None and not weights.all():
        missing = missing[weights > 0.0]
    found: np.ndarray = len(missing) - missing.sum(axis=0)
    return found


def _is_boosted(estimator: Any) -> bool:
    """Return whether this is gradient boosting by histograms.

    It cannot be trained where no row has a value of a column (it looks for bins between values),
    and splits no rows by one that fewer rows have a value of than a leaf must hold: such a column
    changes nothing, and is left out.
    """
    from sklearn import ensemble

    kinds = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
    return isinstance(estimator, kinds)


def constant(task: Task) -> Any:
    """Return a model that predicts the mean of numbers, or how frequent classes are."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyRegressor() if task is Task.REGRESSION else DummyClassifier(strategy="prior")


def read_learner(model: Any, task: Task, rows: int = 0) -> Learner:
    """Return what is trained.

    Args:
        model: `None` for the default; an estimator of scikit-learn's kind, fitted or not; something
            that makes one; or the name of either, `module:name`, imported with the current folder
            on the path.
        task: What is predicted.
        rows: On about how many rows, which the default is adapted to.

    Raises:
        UsageError: It cannot be imported, or is none of these.
        MissingExtra: scikit-learn is not installed.

    Example:
        >>> read_learner("sklearn.linear_model:LogisticRegression", Task.BINARY).name
        'sklearn.linear_model:LogisticRegression'
    """
    require("sklearn", "analysis", "models")
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if model is None:
        return _default(task, rows)
    named = model if isinstance(model, str) else ""
    if named:
        model = _imported(named)
    if isinstance(model, type) or not hasattr(model, "fit"):
        if not callable(model):
            raise UsageError(
                f"a model has fit and predict, or makes one that has; got {type(model).__name__}",
                where=named or "model",
            )
        try:
            first = model()
        except Exception as error:
            raise UsageError(
                f"no model can be made: {type(error).__name__}: {error}",
                where=named or getattr(model, "__name__", "model"),
                hint="it is called without arguments",
            ) from error
        _refuse_unfit(first, named or getattr(model, "__name__", "model"), task)
        return Learner(named or type(first).__name__, model)
    _refuse_unfit(model, named or "model", task)
    fitted = None
    with contextlib.suppress(NotFittedError):
        check_is_fitted(model)
        fitted = model
    bare = clone(model)
    if fitted is None:
        # Places would be those of other columns: these stand in the order of their names.
        without_columns(clone(bare), ())
    return Learner(named or type(model).__name__, lambda: clone(bare), fitted)


def _default(task: Task, rows: int) -> Learner:
    """Return gradient boosting that learns little noise.

    What is learnt from noise differs from training to training and hides what features are worth.
    Of 50,000 flights scikit-learn's own defaults had a log loss of .542 and standard errors of
    effects near .0024; these have .505 and .0008, in a third of the time.
    """
    from sklearn import ensemble

    made: Any = (
        ensemble.HistGradientBoostingRegressor
        if task is Task.REGRESSION
        else ensemble.HistGradientBoostingClassifier
    )
    settings = {
        "max_iter": 60, "max_leaf_nodes": 15, "l2_regularization": 10.0, "early_stopping": False,
        "min_samples_leaf": min(max(rows // ROWS_TO_LEAF, 5), 100),
    }  # fmt: skip
    return Learner(made.__name__, partial(made, **settings), matrix=True, rows=rows)


def _imported(named: str) -> Any:
    module, sign, attribute = named.partition(":")
    if not (sign and module and attribute):
        raise UsageError(
            "a model is named module:name", where=named,
            hint="such as sklearn.linear_model:LogisticRegression or mymodels:make",
        )  # fmt: skip
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot be imported: {error}", where=named) from None
    finally:
        if added:
            sys.path.remove(here)
    return found


def _refuse_unfit(estimator: Any, name: str, task: Task) -> None:
    for method in ("fit", "predict", "get_params", "set_params"):
        if not hasattr(estimator, method):
            raise UsageError(
                f"{type(estimator).__name__} has no {method}: no estimator of scikit-learn's kind",
                where=name,
            )
    from sklearn.base import is_classifier, is_regressor

    wrong = is_classifier if task is Task.REGRESSION else is_regressor
    if wrong(estimator):
        raise UsageError(
            f"the task is {task}, and {type(estimator).__name__} is for another", where=name,
            hint="--task says what the label is, where that is not what was inferred",
        )  # fmt: skip


def weighted(estimator: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the argument of `fit` that passes weights on, of a pipeline to its last step.

    Raises:
        UsageError: The estimator takes none.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    if isinstance(estimator, Pipeline):
        step, last = estimator.steps[-1]
        return {f"{step}__{key}": held for key, held in weighted(last, weights).items()}
    accepts = inspect.signature(estimator.fit).parameters
    if "sample_weight" in accepts or has_fit_parameter(estimator, "sample_weight"):
        return {"sample_weight": weights}
    raise UsageError(
        f"{type(estimator).__name__} takes no weights", where="weights",
        hint="another model; or leave the weights out",
    )  # fmt: skip


def without_columns(estimator: Any, gone: Collection[str]) -> Any:
    """Return an estimator that does not ask for some columns any more.

    A `ColumnTransformer`, wherever it stands in a pipeline or a model, names the columns that it
    reads, as do some settings of gradient boosting.

    Args:
        estimator: Not fitted; it is changed.
        gone: Names of columns that the table has no longer.

    Raises:
        UsageError: It tells columns by their places.
    """
    from sklearn.compose import ColumnTransformer

    if isinstance(estimator, ColumnTransformer):
        kept = []
        for name, transformer, columns in estimator.transformers:
            left = _left(columns, gone)
            if left is None or len(left):
                kept.append((name, transformer, columns if left is None else left))
        estimator.set_params(transformers=kept)
    changed: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        if name == "categorical_features" and isinstance(value, (list, tuple, np.ndarray)):
            changed[name] = [each for each in _named(value, estimator) if each not in gone]
        elif name == "monotonic_cst" and isinstance(value, Mapping):
            changed[name] = {each: way for each, way in value.items() if each not in gone}
        elif name == "monotonic_cst" and value is not None:
            raise _by_place(type(estimator).__name__)
        else:
            _without_in(value, gone)
    return estimator.set_params(**changed) if changed else estimator


def reads_nothing(estimator: Any) -> bool:
    """Return whether a pipeline begins with column transformers that have no columns left."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    if isinstance(estimator, ColumnTransformer):
        return not estimator.transformers and estimator.remainder == "drop"
    if isinstance(estimator, Pipeline):
        return reads_nothing(estimator.steps[0][1])
    if isinstance(estimator, FeatureUnion):
        return all(reads_nothing(each) for _, each in estimator.transformer_list)
    inner = getattr(estimator, "estimator", None)
    return inner is not None and reads_nothing(inner)


def _without_in(value: Any, gone: Collection[str]) -> None:
    """Look for estimators in a parameter: one of its own, or a list of named ones."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        without_columns(value, gone)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _without_in(each, gone)


def _left(columns: Any, gone: Collection[str]) -> list[str] | None:
    """Return the columns of a `ColumnTransformer` that are left; `None` where it selects itself."""
    if callable(columns):
        return None
    if isinstance(columns, str):
        return [] if columns in gone else None
    if isinstance(columns, (Sequence, np.ndarray)) or hasattr(columns, "array"):
        names = list(columns)
        if all(isinstance(name, str) for name in names):
            return [name for name in names if name not in gone]
    raise _by_place("ColumnTransformer")


def _named(columns: Sequence[Any] | np.ndarray, estimator: Any) -> Iterable[str]:
    """Return columns that are given by their names.

    Raises:
        UsageError: They are given by their places.
    """
    if not all(isinstance(name, str) for name in columns):
        raise _by_place(type(estimator).__name__)
    return columns


def _by_place(name: str) -> UsageError:
    return UsageError(
        f"a {name} takes columns by their places, which change when one is left out",
        where="model", hint="give it the columns' names",
    )  # fmt: skip


def read_inputs(table: pl.DataFrame, learner: Learner, categorical: Collection[str]) -> Inputs:
    """Return the features as a model reads them.

    A matrix holds numbers (times as microseconds) and, for categories, their places in the order
    of how frequent they are; categories beyond the 254 most frequent share one. Missing values and
    those that are not finite are NaN. A DataFrame holds what the table holds; strings are
    categories, and vectors have a column for each element, `name_0`, `name_1` and so on. A model
    that was fitted to an array gets one.

    Columns stand in the order of the features' names, so that no model depends on that of the
    table; those of a fitted model in its own order, or in that of the table if it knows no names.

    Args:
        table: The features.
        learner: What reads them.
        categorical: Features that hold categories although they are numbers; of a matrix.
    """
    nameless = hasattr(learner.fitted, "n_features_in_") and not hasattr(
        learner.fitted, "feature_names_in_"
    )
    if not nameless:
        table = table.select(sorted(table.columns))
    wide = spread(table).get_columns()
    widths = [of.shape[0] if isinstance(of, pl.Array) else 1 for of in table.dtypes]
    ends = np.cumsum(widths).tolist()
    places = {
        name: tuple(range(end - width, end))
        for name, width, end in zip(table.columns, widths, ends, strict=True)
    }
    if learner.matrix:
        return _matrix(wide, places, categorical)
    frame = pl.DataFrame([_as_category(series) for series in wide]).to_pandas()
    own = getattr(learner.fitted, "feature_names_in_", None)
    if own is not None:
        frame, places = _as_fitted(frame, places, [str(name) for name in own])
    values = frame.to_numpy() if nameless else frame
    return Inputs(values, places, np.zeros(frame.shape[1], dtype=bool))


def _as_fitted(
    frame: Any, places: Mapping[str, tuple[int, ...]], own: Sequence[str]
) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """Return the columns that a model was fitted with, in its order, and their new places.

    Raises:
        UsageError: One is not there.
    """
    names = [str(name) for name in frame.columns]
    for name in own:
        if name not in names:
            raise UsageError(
                f"the model was fitted with {name!r}, which is no feature here", where="model",
                hint="columns with one value are none; another one may be close: "
                + closest(name, names),
            )  # fmt: skip
    moved = {name: place for place, name in enumerate(own)}
    return frame[list(own)], {
        feature: tuple(moved[names[place]] for place in columns if names[place] in moved)
        for feature, columns in places.items()
    }


def _matrix(
    wide: Sequence[pl.Series], places: Mapping[str, tuple[int, ...]], categorical: Collection[str]
) -> Inputs:
    named = {place for name in categorical for place in places.get(name, ())}
    out = np.empty((len(wide[0]) if wide else 0, len(wide)), order="F")
    coded = np.zeros(len(wide), dtype=bool)
    for place, series in enumerate(wide):
        words = series.dtype in (pl.String, pl.Categorical, pl.Enum)
        coded[place] = words or place in named
        if coded[place]:
            out[:, place] = _codes(series)
            continue
        out[:, place] = in_range(_numbers(series))
    return Inputs(out, places, coded)


def _numbers(series: pl.Series) -> np.ndarray:
    """Return numbers, truth values or times as float64; missing and infinite ones are NaN.

    Of integers beyond 2^53 the least one is taken off first, so that neighbours stay apart.
    """
    numbers = series.cast(pl.UInt8) if series.dtype == pl.Boolean else series.to_physical()
    if numbers.dtype in (pl.Int64, pl.UInt64):
        # Integers of a column whose values are all missing have no least one.
        ends: Any = (numbers.min() or 0, numbers.max() or 0)
        least, most = ends
        if max(-least, most) > EXACT:
            # Modulo 2^64 the difference of any two of them is exact.
            raw = numbers.fill_null(least).to_numpy().astype(np.uint64)
            apart = (raw - np.uint64(least % 2**64)).astype(np.float64)
            return np.where(numbers.is_null().to_numpy(), np.nan, apart)
    values = numbers.cast(pl.Float64).to_numpy()
    found: np.ndarray = np.where(np.isfinite(values), values, np.nan)
    return found


def in_range(values: np.ndarray) -> np.ndarray:
    """Return numbers, those of an extreme column divided by a power of two.

    That is exact, and the same to trees. Without it sums of two numbers near the end of the range
    would be infinite, and float32, in which some trees read numbers, has no place for them.
    """
    largest = np.max(np.abs(values), initial=0.0, where=~np.isnan(values))
    if largest == 0.0 or LEAST <= largest <= MOST:
        return values
    found: np.ndarray = np.ldexp(values, -int(np.frexp(largest)[1]))
    return found


def _codes(series: pl.Series) -> np.ndarray:
    """Return the place of each value in the order of frequency, ties by the value; NaN if null."""
    words = series.dtype in (pl.Categorical, pl.Enum)
    values = (series.cast(pl.String) if words else series).alias("value")
    counted = values.drop_nulls().value_counts(name="count")
    ranked = counted.sort(["count", "value"], descending=[True, False])
    codes = ranked.select("value", code=pl.int_range(pl.len()).clip(upper_bound=MAX_LEVELS))
    found = values.to_frame().join(codes, on="value", how="left", maintain_order="left")
    return found["code"].cast(pl.Float64).to_numpy()


def _as_category(series: pl.Series) -> pl.Series:
    """Return words as a category whose values are in their own order, not in that of the rows."""
    if series.dtype not in (pl.String, pl.Categorical):
        return series
    words = series.cast(pl.String)
    return words.cast(pl.Enum(words.drop_nulls().unique().sort()))
