"""What predictions of held-out rows cost, part by part: the losses that effects are made of.

A loss of single rows (log loss, squared error, ...) is added up over the rows of each part. A
metric of scikit-learn that only a whole set of rows has (the area under a ROC curve, F1, R2) is
taken apart by the jackknife: what it becomes without each part says what the part contributed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from featurekit.analysis.ablation.tasks import Label, Task
from featurekit.errors import DataError, UsageError, closest, require

__all__ = ["Metric", "PartLosses", "read_metric"]

LEAST = 1e-15
"""A probability is never taken for smaller: one sure mistake would cost more than all else."""
JACKKNIFE = 40
"""A metric of whole sets is computed again without each of at most so many parts of a fold."""


@dataclass(frozen=True)
class PartLosses:
    """What held-out rows cost.

    Args:
        parts: Which parts they belong to, int64 of shape [n], ascending.
        sums: The loss of each part times its weight, float64 of shape [n].
        weights: The weight of each part, float64 of shape [n].
    """

    parts: np.ndarray
    sums: np.ndarray
    weights: np.ndarray

    @property
    def mean(self) -> float:
        """The mean loss of a row."""
        return float(self.sums.sum() / self.weights.sum())


@dataclass(frozen=True)
class Metric:
    """How predictions are judged; always as a loss, of which less is better.

    Args:
        name: What the loss is called: `log loss`, `squared error`, or `1 - roc_auc` for a metric of
            which more is better and 1 is the most.
        rows: For losses of single rows: it takes the labels, the predictions and the classes' count
            and gives float64 of shape [rows]. `None` for metrics of whole sets.
        scorer: The name of scikit-learn's scorer, for those.
        response: Which method of an estimator gives the predictions; `any` for a scorer, which
            chooses for itself.
    """

    name: str
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    scorer: str
    response: str

    def losses(
        self,
        estimator: Any,
        inputs: Any,
        label: Label,
        rows: np.ndarray,
        parts: np.ndarray,
        weights: np.ndarray | None,
    ) -> PartLosses:
        """Return what an estimator's predictions of some rows cost.

        Args:
            estimator: Fitted on codes of classes, or on numbers.
            inputs: What it predicts from: the features of these rows.
            label: Of all rows.
            rows: Which rows these are, int64 of shape [n].
            parts: The part of each of them, int64 of shape [n].
            weights: The weight of each of them; `None` where all are 1.
        """
        truth = label.values[rows]
        codes, places = np.unique(parts, return_inverse=True)
        heavy = np.ones(len(rows)) if weights is None else weights
        if self.rows is None:
            return self._jackknife(estimator, inputs, label, truth, codes, places, weights)
        lost = self.rows(truth, self._predicted(estimator, inputs, label))
        sums = np.bincount(places, lost * heavy, len(codes))
        return PartLosses(codes, sums, np.bincount(places, heavy, len(codes)))

    def _predicted(self, estimator: Any, inputs: Any, label: Label) -> np.ndarray:
        """Return numbers of shape [rows], or probabilities of shape [rows, classes]."""
        if self.response == "predict":
            return np.asarray(_asked(estimator, "predict", inputs), dtype=np.float64)
        if not hasattr(estimator, "predict_proba"):
            raise UsageError(
                f"{type(estimator).__name__} predicts no probabilities, which the {self.name} "
                "needs",
                where="metric",
                hint="another metric, such as accuracy or roc_auc; or a calibrated classifier",
            )
        found = np.asarray(_asked(estimator, "predict_proba", inputs), dtype=np.float64)
        known = np.asarray(estimator.classes_, dtype=np.int64)
        if len(known) == len(label.classes):
            return found
        # A class that no training row has is never expected.
        every = np.zeros((len(found), len(label.classes)))
        every[:, known] = found
        return every

    def _jackknife(
        self,
        estimator: Any,
        inputs: Any,
        label: Label,
        truth: np.ndarray,
        codes: np.ndarray,
        places: np.ndarray,
        weights: np.ndarray | None,
    ) -> PartLosses:
        """Return pseudo-values, whose mean is the metric of all rows.

        Source: Tukey's jackknife by groups; Efron and Stein, "The Jackknife Estimate of Variance",
        1981. Beside the mean of the values without each part they are not shifted by its bias, so
        that effects are differences of the metric itself.
        """
        import sklearn.metrics
        from sklearn.exceptions import UndefinedMetricWarning

        scorer = sklearn.metrics.get_scorer(self.scorer)
        if label.task is not Task.REGRESSION:
            truth = truth.astype(np.int64)
        remembered = _remembered(estimator, inputs, label.task)
        every = np.arange(len(truth))

        def loss(rows: np.ndarray) -> float:
            heavy = {} if weights is None else {"sample_weight": weights[rows]}
            with warnings.catch_warnings():
                # What is not defined is NaN, and said below.
                warnings.simplefilter("ignore", UndefinedMetricWarning)
                try:
                    return -float(scorer(remembered, rows, truth[rows], **heavy))
                except (AttributeError, TypeError, ValueError) as error:
                    raise UsageError(
                        f"{self.scorer} cannot judge {type(estimator).__name__}: "
                        f"{str(error).splitlines()[0]}",
                        where="metric",
                        hint="scikit-learn lists its scorers for each kind of task",
                    ) from error

        # Codes are dealt, so that neighbours in a group are no neighbours in the data.
        groups = places % JACKKNIFE
        count = int(groups.max()) + 1
        if count < 2:
            raise DataError(
                f"all held-out rows of a fold belong to one cluster, so that nothing says how sure "
                f"{self.scorer} is",
                where="metric", hint="fewer folds, or a metric of single rows",
            )  # fmt: skip
        whole = loss(every)
        without = np.array([loss(every[groups != group]) for group in range(count)])
        if not np.isfinite([whole, *without]).all():
            raise DataError(
                f"{self.scorer} is not defined for {len(every):,} held-out rows, or not without "
                "some of them",
                where="metric",
                hint="fewer folds, or a metric of single rows such as neg_log_loss",
            )
        values = whole + (count - 1) * (without.mean() - without)
        if self.name.startswith("1 - "):
            values = values + 1.0
        weight = len(truth) if weights is None else float(weights.sum())
        share = np.full(count, weight / count)
        return PartLosses(codes[:count], values * share, share)


def read_metric(name: str | None, task: Task) -> Metric:
    """Return a metric by scikit-learn's name of its scorer.

    Args:
        name: Such as `roc_auc` or `neg_mean_absolute_error`; by default the log loss of classes and
            the squared error of numbers.
        task: What is predicted.

    Raises:
        UsageError: There is no such scorer.
        MissingExtra: scikit-learn is not installed.
    """
    if name is None:
        name = "neg_mean_squared_error" if task is Task.REGRESSION else "neg_log_loss"
    if name in _ROWS:
        said, function, response, classes = _ROWS[name]
        if classes == (task is Task.REGRESSION):
            fit = "classes" if classes else "numbers"
            raise UsageError(
                f"{name} is a metric of {fit}; the task is {task}", where="metric",
                hint="scikit-learn lists its scorers for each kind of task",
            )  # fmt: skip
        return Metric(said, function, name, response)
    require("sklearn", "analysis", "metrics by name")
    import sklearn.metrics

    known = sklearn.metrics.get_scorer_names()
    if name not in known:
        raise UsageError(
            f"scikit-learn has no scorer {name!r}", where="metric", hint=closest(name, known)
        )
    if name.startswith("neg_"):
        return Metric(name.removeprefix("neg_"), None, name, "any")
    most = name if name not in _UNBOUNDED else ""
    return Metric(f"1 - {name}" if most else f"-{name}", None, name, "any")


_UNBOUNDED = ("mutual_info_score", "positive_likelihood_ratio")
"""Scorers of which 1 is not the most."""


def log_loss(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the negative logarithm of what was expected of each row's class."""
    expected = np.take_along_axis(predicted, truth.astype(np.int64)[:, None], axis=1)[:, 0]
    lost: np.ndarray = -np.log(np.clip(expected, LEAST, 1.0))
    return lost


def _brier(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    lost: np.ndarray = (truth - predicted[:, 1]) ** 2
    return lost


def _mistakes(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    lost: np.ndarray = (truth != predicted).astype(np.float64)
    return lost


def _squared(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    lost: np.ndarray = (truth - predicted) ** 2
    return lost


def _absolute(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    lost: np.ndarray = np.abs(truth - predicted)
    return lost


_ROWS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray], str, bool]] = {
    "neg_log_loss": ("log loss", log_loss, "predict_proba", True),
    "neg_brier_score": ("Brier score", _brier, "predict_proba", True),
    "accuracy": ("1 - accuracy", _mistakes, "predict", True),
    "neg_mean_squared_error": ("squared error", _squared, "predict", False),
    "neg_mean_absolute_error": ("absolute error", _absolute, "predict", False),
}


def _asked(estimator: Any, method: str, inputs: Any) -> Any:
    """Return what a method of an estimator answers.

    Raises:
        UsageError: It cannot answer.
    """
    try:
        return getattr(estimator, method)(inputs)
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"the model cannot predict: {str(error).splitlines()[0]}",
            where=type(estimator).__name__,
            hint="held-out rows may hold what training rows do not, such as other categories; a "
            "fitted model needs the columns that it was fitted with",
        ) from error


def _remembered(estimator: Any, inputs: Any, task: Task) -> Any:
    """Return an estimator that predicts rows by their places, each of them once."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    answers: dict[str, np.ndarray] = {}

    def of(method: str, rows: np.ndarray) -> np.ndarray:
        if method not in answers:
            answers[method] = np.asarray(_asked(estimator, method, inputs))
        found: np.ndarray = answers[method][rows]
        return found

    kind = RegressorMixin if task is Task.REGRESSION else ClassifierMixin

    class Remembered(kind, BaseEstimator):  # type: ignore[misc, valid-type]
        """Looks answers up; scorers ask for the methods that an estimator has."""

        @cached_property
        def classes_(self) -> np.ndarray:
            return np.asarray(estimator.classes_)

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return of("predict", rows)

    for method in ("predict_proba", "decision_function"):
        if hasattr(estimator, method):
            setattr(Remembered, method, _named(method, of))
    return Remembered()


def _named(method: str, of: Callable[[str, np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """Return a method that looks answers up; scikit-learn asks for its name."""

    def answer(_: Any, rows: np.ndarray) -> np.ndarray:
        return of(method, rows)

    answer.__name__ = method
    return answer
