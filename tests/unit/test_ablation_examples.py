"""Which rows an ablation holds out when, and which it keeps apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit.analysis.ablation.dealing import cut_by_time
from featurekit.analysis.ablation.examples import Examples, Roles, read_examples
from featurekit.errors import DataError, UsageError

ROWS = 1200
HOUR = 3_600_000_000


def table(rows: int = ROWS) -> pl.DataFrame:
    random = np.random.default_rng(5)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "x": random.normal(size=rows),
            "who": random.integers(0, 60, rows),
            "at": [start + timedelta(hours=int(h)) for h in random.integers(0, 900, rows)],
            "part": random.choice(["test", "train", "eval"], rows, p=[0.2, 0.6, 0.2]),
            "heavy": random.uniform(0.5, 2, rows),
            "y": random.normal(size=rows),
        }
    )


def read(frame: pl.DataFrame, **given: Any) -> Examples:
    asked = {name: given.pop(name) for name in list(given) if name in ("folds", "embargo", "seed")}
    named = {"exclude": tuple(set(frame.columns) - {"x", "y", *given.values()}), **given}
    return read_examples(frame.lazy(), Roles("y", **named), **asked)


def test_rows_are_dealt_by_what_they_hold() -> None:
    frame = table()
    found = read(frame)
    counts = np.unique(found.folds, return_counts=True)[1]
    # A fifth is kept apart; the rest makes five folds of one size.
    assert counts.tolist() == [240, 192, 192, 192, 192, 192]
    assert (found.folds[found.apart == 1] == -1).all()
    order = np.random.default_rng(0).permutation(ROWS)
    again = read(frame[order])
    assert (again.folds == found.folds[order]).all()
    assert (again.apart == found.apart[order]).all()
    assert (again.parts == found.parts[order]).all()
    assert (read(frame, seed=1).folds != found.folds).any()


def test_the_rows_of_an_entity_stay_together() -> None:
    frame = table()
    found = read(frame, entity="who")
    dealt = frame.select("who").with_columns(
        fold=pl.Series(found.folds), apart=pl.Series(found.apart), part=pl.Series(found.parts)
    )
    each = dealt.group_by("who").agg(pl.all().n_unique())
    assert (each.drop("who").max().row(0)) == (1, 1, 1)
    assert (found.by, found.ordered) == ("entity", False)


def test_folds_follow_the_time_and_the_last_rows_are_kept_apart() -> None:
    frame = table()
    found = read(frame, time="at", embargo=24 * HOUR)
    at = frame["at"].to_physical().to_numpy()
    assert (found.by, found.ordered) == ("time", True)
    assert at[found.apart == 1].min() > at[found.apart == 0].max() + 24 * HOUR
    for fold in range(1, 6):
        assert at[found.folds == fold].min() > at[found.folds == fold - 1].max() + 24 * HOUR
    # 5 borders of folds and one to the rows apart; about 1.33 rows an hour.
    lost = ((found.folds < 0) & (found.apart != 1)).sum()
    assert 6 * 24 * 1.33 * 0.8 < lost < 6 * 24 * 1.33 * 1.2
    problem = found.problem(10_000)
    assert problem.held_out == (1, 2, 3, 4, 5)
    assert problem.folds[problem.training_rows(3)].max() == 2


def test_rows_of_one_moment_stay_together() -> None:
    time = np.array([3, 3, 3, 3, 1, 2])
    assert cut_by_time(time, 3).tolist() == [1, 1, 1, 1, 0, 0]


def test_the_last_part_of_a_split_is_kept_apart() -> None:
    frame = table()
    found = read(frame, split="part")
    assert found.split == ("train", "eval", "test")
    assert ((frame["part"] == "test").to_numpy() == (found.apart == 1)).all()
    one = frame.with_columns(part=pl.lit("train"))
    assert (read(one, split="part").apart == read(frame).apart).all()


@pytest.mark.parametrize("roles", [{}, {"entity": "who"}, {"time": "at"}])
def test_a_sample_thins_out_all_folds_and_clusters(roles: dict[str, str]) -> None:
    frame = table(6000)
    found = read(frame, **roles)
    some = found.problem(600)
    assert some.table.height == 600
    counts = np.unique(some.folds, return_counts=True)[1]
    # Each fold has 600 / 5 (of 6 in time) rows on average, with a binomial deviation of about 10.
    assert len(counts) == 5 + ("time" in roles)
    assert counts.min() > 0.6 * counts.mean()
    check = found.check(1000)
    assert len(check.held_rows(1)) == (found.apart == 1).sum()
    assert len(check.training_rows(1)) == 1000
    assert check.held_out == (1,)


def test_what_is_missing_as_nan_is_no_value_and_weightless_rows_do_not_count() -> None:
    frame = table(400).with_columns(
        flag=pl.when(pl.col("x") > 0).then(1.0).otherwise(float("nan")),
        heavy=pl.when(pl.col("x") > 1).then(0.0).otherwise(1.0),
        money=pl.lit("1.50").cast(pl.Decimal(10, 2)) * pl.int_range(pl.len()),
    )
    found = read_examples(frame.lazy(), Roles("y", weights="heavy", exclude=("who", "at", "part")))
    assert found.features == ("flag", "money", "x")
    assert found.listed == ("x", "flag", "money")
    assert len(found.label.values) == (frame["x"] <= 1).sum()
    assert found.problem(10_000).table["money"].dtype == pl.Float64


def test_columns_that_say_nothing_are_set_aside() -> None:
    frame = table().with_columns(
        one=pl.lit(3), none=pl.lit(None, dtype=pl.Float64), listed=pl.lit([1, 2]),
        half=pl.when(pl.col("x") > 0).then(1),
    )  # fmt: skip
    frame = frame.with_columns(y=pl.when(pl.col("x") > -2).then("y"))
    found = read_examples(frame.lazy(), Roles("y", weights="heavy", exclude=("who", "at", "part")))
    assert found.features == ("half", "x")
    assert found.listed == ("x", "half")
    assert found.constant == ("none", "one")
    assert found.skipped == ("listed",)
    assert len(found.label.values) == (frame["x"] > -2).sum()
    known = frame.filter(pl.col("x") > -2)["heavy"].to_numpy()
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, known)


def test_what_cannot_be_is_named() -> None:
    frame = table()
    with pytest.raises(UsageError, match="split 'parts' is not a column"):
        read(frame, split="parts")
    with pytest.raises(UsageError, match="weights must be finite"):
        read(frame.with_columns(heavy=-pl.col("heavy")), weights="heavy")
    with pytest.raises(UsageError, match="no feature"):
        read_examples(frame.lazy(), Roles("y", exclude=("x", "who", "at", "part", "heavy")))
    with pytest.raises(DataError, match="too few rows"):
        read(frame.head(4))
    with pytest.raises(DataError, match=r"too few entities .*: 1; .*Hint: leave --entity out"):
        read(frame.with_columns(who=1), entity="who")
    with pytest.raises(DataError, match=r"too few moments .*: 3; .*Hint: leave --time out"):
        read(frame.with_columns(at=pl.int_range(pl.len()) % 3), time="at")
    with pytest.raises(DataError, match="no row has a label"):
        read(frame.with_columns(y=pl.lit(None, dtype=pl.Float64)))
    with pytest.raises(UsageError, match="reads as a pattern"):
        read_examples(frame.rename({"x": "^x$"}).lazy(), Roles("y", exclude=("who", "part")))
    with pytest.raises(DataError, match="are missing"):
        read(frame.with_columns(who=pl.when(pl.col("x") > 0).then("who")), entity="who")
