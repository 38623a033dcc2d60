"""Encodings of a category by the label, each judged within its part of the split."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from featurekit.analysis.findings import Severity
from featurekit.analysis.leakage.scan import scan

Floats = npt.NDArray[np.float64]
FOUND = {"leave_one_out", "target_encoding"}


def encoded(
    codes: npt.NDArray[np.int64], y: Floats, train: npt.NDArray[np.bool_], smoothing: float = 0,
    folds: npt.NDArray[np.int64] | None = None,
) -> Floats:  # fmt: skip
    """Return the mean label of each row's category over the training rows, drawn to that of all.

    A training row sees the rows of other folds only: each row its own fold, that is leave-one-out.
    """
    fold = np.arange(len(y)) if folds is None else folds
    out = np.empty(len(y))
    for category in np.unique(codes):
        mine = codes == category
        known = mine & train
        n, s, prior = known.sum(), y[known].sum(), y[train].mean()
        out[mine] = (s + smoothing * prior) / (n + smoothing) if n + smoothing else prior
        for one in np.unique(fold[known]):
            own = known & (fold == one)
            left = n - own.sum() + smoothing
            out[own] = (s - y[own].sum() + smoothing * prior) / left if left else prior
    return out


def table(
    seed: int, categories: int, kind: str, smoothing: float = 0, folds: int | None = None,
    rows: int = 3_000, by: str = "word",
) -> pl.DataFrame:  # fmt: skip
    """Return rows with an encoding `x`, a fair feature and, where it is kept, the category."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, categories, rows)
    level = random.normal(0, 0.3, categories)[codes]
    merit = random.normal(size=rows)
    state = level + 0.5 * merit + random.normal(size=rows)
    y = {
        "class": (state > 0).astype(float), "quantity": state,
        "whole": np.round(50 + 20 * state),
    }[kind]  # fmt: skip
    train = random.random(rows) < 0.7
    dealt = None if folds is None else random.integers(0, folds, rows)
    columns: dict[str, Any] = {
        "x": encoded(codes, y, train, smoothing, dealt), "clean_merit": merit,
        "clean_noise": random.normal(size=rows), "part": np.where(train, "train", "test"),
        "y": y.astype(int) if kind == "class" else y,
    }  # fmt: skip
    if by == "word":
        columns["category"] = [f"c{code}" for code in codes]
    elif by == "number":
        columns["category"] = codes
    return pl.DataFrame(columns)


def kinds(frame: pl.DataFrame, **roles: Any) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for finding in scan(frame, label="y", split="part", **roles).flagged:
        for name in finding.features:
            out.setdefault(name, set()).add(finding.kind)
    return out


@pytest.mark.parametrize("kind", ["class", "quantity", "whole"])
@pytest.mark.parametrize("categories", [2, 8, 40, 600])
@pytest.mark.parametrize("smoothing", [0, 12])
def test_leave_one_out_of_training_rows_alone_is_found(
    kind: str, categories: int, smoothing: float
) -> None:
    frame = table(categories, categories, kind, smoothing, by="number" if smoothing else "word")
    result = scan(frame, label="y", split="part")
    (finding,) = result.flagged
    assert (finding.kind, finding.features) == ("leave_one_out", ("x",))
    assert finding.severity is Severity.CRITICAL
    # Over all rows it looks fair: that is why each part is judged by itself.
    assert result.features["x"].ways.get("rank", 0) < 0.9


def test_leave_one_out_tells_training_labels_and_nothing_of_held_out_ones() -> None:
    """The area in train and in test of a model that knows the encoding and the category."""
    frame = table(1, 40, "class").with_columns(
        # Within a category the values of training rows are two, one for each label.
        guess=pl.col("x").rank("dense").over("category", "part") == 1
    )
    right = {part: rows.select((pl.col("guess") == pl.col("y").cast(pl.Boolean)).mean()).item()
             for (part,), rows in frame.group_by("part")}  # fmt: skip
    assert right["train"] == 1.0
    assert right["test"] < 0.65
    assert kinds(frame.drop("guess")) == {"x": {"leave_one_out"}}


@pytest.mark.parametrize("kind", ["class", "quantity"])
@pytest.mark.parametrize("categories", [2, 20, 200])
def test_a_thousand_folds_are_leave_one_out(kind: str, categories: int) -> None:
    found = kinds(table(categories + 1, categories, kind, 20, 1_000, rows=2_500))
    assert found.keys() == {"x"}
    assert found["x"] & FOUND


@pytest.mark.parametrize("kind", ["class", "quantity"])
def test_the_column_of_the_category_may_be_gone(kind: str) -> None:
    found = kinds(table(3, 3, kind, by="gone", rows=6_000))
    assert found.keys() == {"x"}
    assert found["x"] & FOUND


@pytest.mark.parametrize("kind", ["class", "quantity"])
@pytest.mark.parametrize("categories", [1, 2, 8, 40, 300])
@pytest.mark.parametrize("smoothing", [0, 12])
def test_a_cross_fitted_encoding_is_clean(kind: str, categories: int, smoothing: float) -> None:
    """Of one category, too: a mean over the other folds follows a line like a smoothed mean."""
    for folds in (5, 10):
        assert kinds(table(folds, categories, kind, smoothing, folds)) == {}


def test_an_encoding_of_three_classes_by_one_of_them_is_found() -> None:
    frame = table(5, 30, "class")
    three = frame.with_columns(
        y=pl.when(pl.col("clean_noise") > 0.8).then(2).otherwise(pl.col("y"))
    )
    random = np.random.default_rng(0)
    codes = three["category"].str.slice(1).cast(pl.Int64).to_numpy()
    train = three["part"].to_numpy() == "train"
    for question in range(3):
        one = (three["y"].to_numpy() == question).astype(float)
        made = three.with_columns(
            x=encoded(codes, one, train), clean_noise=random.normal(size=three.height)
        )
        assert kinds(made) == {"x": {"leave_one_out"}}, question


def test_an_encoding_of_held_out_rows_by_their_own_labels_is_critical() -> None:
    frame = table(6, 40, "class", folds=5)
    apart = frame.with_columns(
        x=pl.when(pl.col("part") == "test")
        .then(pl.col("y").mean().over("category", "part")).otherwise("x")
    )  # fmt: skip
    (finding,) = scan(apart, label="y", split="part").flagged
    assert (finding.kind, finding.severity) == ("target_encoding", Severity.CRITICAL)
    assert "over the held-out rows" in finding.message


@pytest.mark.parametrize("kind", ["class", "quantity"])
def test_predictions_for_the_rows_that_a_model_was_trained_on_are_found(kind: str) -> None:
    random = np.random.default_rng(7)
    frame = table(7, 40, kind, folds=5)
    y = frame["y"].to_numpy().astype(float)
    train = frame["part"].to_numpy() == "train"
    merit = frame["clean_merit"].to_numpy()
    scale = y.std()
    fitted = np.where(train, y / scale + random.normal(0, 0.15, len(y)), merit * 0.5)
    fitted = np.where(train, fitted, fitted - fitted[~train].mean() + fitted[train].mean())
    clean = random.normal(size=len(y)) + merit
    found = kinds(frame.with_columns(x=pl.Series(fitted), clean_score=pl.Series(clean)))
    assert found == {"x": {"target_encoding"}}


def test_a_strong_feature_of_entities_that_are_new_in_the_held_out_part_is_clean() -> None:
    """Each part is judged by its own values, so that values that are new are no difference."""
    random = np.random.default_rng(8)
    who = np.repeat(np.arange(300), 12)
    kind = random.random(300) < 0.5
    y = np.where(random.random(3_600) < 0.9, kind[who], ~kind[who])
    part = np.where(who % 3 == 0, "test", "train")
    frame = pl.DataFrame({"zip": who * 7 + 10_000, "noise": random.normal(size=3_600), "y": y,
                          "part": part})  # fmt: skip
    found = scan(frame, label="y", split="part", thresholds=None).findings
    assert "target_encoding" not in {finding.kind for finding in found}
    assert "leave_one_out" not in {finding.kind for finding in found}
