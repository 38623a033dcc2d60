"""Order in identifiers, scalings and fillings by held-out rows, and single values of few rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from featurekit.analysis.leakage.scan import Thresholds, scan
from featurekit.errors import UsageError

Floats = npt.NDArray[np.float64]
ROWS = 3_000


def kinds(frame: pl.DataFrame, **roles: Any) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for finding in scan(frame, label="y", **roles).flagged:
        for name in finding.features:
            out.setdefault(name, set()).add(finding.kind)
    return out


def identifiers(order: npt.NDArray[np.int64], random: np.random.Generator) -> dict[str, list[str]]:
    """Return identifiers that are given out in an order, in the forms that are usual."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {
        "padded": [f"C{i:06d}" for i in order],
        "plain": [f"C{i}" for i in order],
        "behind_a_year": [f"2024-{i:05d}/x" for i in order],
        "before_a_digit": [f"X-{i:05d}/{random.integers(0, 9)}" for i in order],
        "falling": [f"K{ROWS - i}" for i in order],
        "base_36": [np.base_repr(i * 977 + 99_999, 36).rjust(6, "0") for i in order],
        "letters": [f"müller-{letters[i // 676]}{letters[i // 26 % 26]}{letters[i % 26]}"
                    for i in order],
        "uuid_7": [str(uuid.UUID(int=(int(i) << 96) + int(random.integers(0, 2**60))))
                   for i in order],
    }  # fmt: skip


def test_identifiers_whose_order_follows_the_label_are_found_and_others_are_not() -> None:
    random = np.random.default_rng(1)
    y = np.sort(random.random(ROWS) < 0.4)
    frame = pl.DataFrame({**identifiers(np.arange(ROWS), random), "y": y})
    mixed = frame.sample(fraction=1, shuffle=True, seed=1)
    assert kinds(mixed) == {name: {"identifier"} for name in mixed.columns if name != "y"}
    fair = frame.with_columns(y=pl.Series(random.permutation(y)))
    assert kinds(fair) == {}
    quantity = frame.with_columns(y=pl.Series(np.arange(ROWS) + random.normal(0, 50, ROWS)))
    assert set(kinds(quantity)) == set(frame.columns) - {"y"}


def test_identifiers_that_rise_with_time_are_no_leak_where_the_label_persists() -> None:
    random = np.random.default_rng(2)
    frame = pl.DataFrame({
        "id": [f"C{i:06d}" for i in range(ROWS)], "when": np.arange(ROWS),
        "y": np.arange(ROWS) > ROWS * 0.4, "noise": random.normal(size=ROWS),
    })  # fmt: skip
    assert kinds(frame.drop("when")) == {"id": {"identifier"}}
    assert kinds(frame, time="when") == {}
    # A file that is sorted by the label has its identifiers from that, whenever its rows are from.
    other = frame.with_columns(when=pl.Series(random.permutation(ROWS)))
    assert kinds(other, time="when") == {"id": {"identifier"}}


def split(random: np.random.Generator) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which rows are to learn from, and all."""
    train = random.random(ROWS) < 0.7
    return train, np.ones(ROWS, bool)


def scaled(x: Floats, by: npt.NDArray[np.bool_], how: str) -> Floats:
    low, high = x[by].min(), x[by].max()
    made: dict[str, Callable[[], Floats]] = {
        "0 to 1": lambda: (x - low) / (high - low),
        "-1 to 1": lambda: 2 * (x - low) / (high - low) - 1,
        "largest": lambda: x / np.abs(x[by]).max(),
        "single": lambda: ((x - low) / (high - low)).astype(np.float32),
        "ranks": lambda: (np.argsort(np.argsort(x)) + 1) / len(x),
        "z": lambda: (x - x[by].mean()) / x[by].std(),
    }
    return made[how]()


@pytest.mark.parametrize("how", ["0 to 1", "-1 to 1", "largest", "single", "z"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_scaling_by_the_ends_of_all_rows_is_found_and_one_by_training_rows_is_clean(
    how: str, whole: bool
) -> None:
    random = np.random.default_rng(3)
    train, every = split(random)
    x = random.normal(50, 10, ROWS)
    x = np.round(x) if whole else x
    x[np.flatnonzero(~train)[:2]] = 103.0, -7.0  # Ends that training rows do not have.
    for by, found in ((every, {"x": {"scaler"}}), (train, {})):
        frame = pl.DataFrame({"x": scaled(x, by, how), "y": random.random(ROWS) < 0.4,
                              "part": np.where(train, "train", "test")})  # fmt: skip
        assert kinds(frame, split="part") == found


def test_ranks_among_all_rows_are_found() -> None:
    random = np.random.default_rng(4)
    train, every = split(random)
    frame = pl.DataFrame({
        "x": scaled(random.normal(size=ROWS), every, "ranks"), "y": random.random(ROWS) < 0.4,
        "part": np.where(train, "train", "test"),
    })  # fmt: skip
    assert kinds(frame, split="part") == {"x": {"scaler"}}


def test_a_scale_that_training_rows_reach_alike_shows_nothing_and_natural_shares_are_clean() -> (
    None
):
    random = np.random.default_rng(5)
    train, every = split(random)
    x = random.normal(50, 10, ROWS)
    x[np.flatnonzero(train)[:2]] = 120.0, -20.0
    tries = random.poisson(6, ROWS) + 1
    frame = pl.DataFrame({
        "same": scaled(x, every, "0 to 1"), "share": random.binomial(tries, 0.4) / tries,
        "rounded": np.round(random.random(ROWS), 3), "beta": random.beta(0.3, 0.3, ROWS),
        "sure": 1 / (1 + np.exp(-random.normal(0, 12, ROWS))), "y": random.random(ROWS) < 0.4,
        "part": np.where(train, "train", "test"),
    })  # fmt: skip
    assert kinds(frame, split="part") == {}


@pytest.mark.parametrize("statistic", [np.mean, np.median])
@pytest.mark.parametrize("spread", ["normal", "skewed"])
@pytest.mark.parametrize("rows", [ROWS, 12_001])
@pytest.mark.parametrize("odd", [0, 1])
def test_values_filled_in_from_all_rows_are_found_and_those_from_training_rows_are_clean(
    statistic: Any, spread: str, rows: int, odd: int
) -> None:
    """With more than 8,192 different numbers, too, where the histogram does not hold each."""
    random = np.random.default_rng(14)
    train = random.random(rows) < 0.7
    x = random.normal(50, 10, rows) if spread == "normal" else random.lognormal(0, 2, rows)
    gone = np.arange(rows) % 10 == 0
    gone[1] = bool(odd)
    for by, found in ((np.ones(rows, bool), {"x": {"imputation"}}), (train, {})):
        filled = np.where(gone, statistic(x[by & ~gone]), x)
        # What is scaled afterwards, by the training rows, shows it as well.
        after = (filled - filled[train].mean()) / filled[train].std()
        for made in (filled, after):
            frame = pl.DataFrame({"x": made, "y": random.random(rows) < 0.4,
                                  "part": np.where(train, "train", "test")})  # fmt: skip
            assert kinds(frame, split="part") == found


def test_values_that_many_rows_have_by_nature_are_no_fillings() -> None:
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(40):
        train, _ = split(random)
        change = np.where(random.random(ROWS) < 0.3, 0.0, random.normal(size=ROWS))
        frame = pl.DataFrame({
            "change": change, "usual": np.where(random.random(ROWS) < 0.2, 50.0,
                                                random.normal(50, 10, ROWS)),
            "amount": np.where(random.random(ROWS) < 0.5, 0.0, random.lognormal(0, 2, ROWS)),
            "price": np.round(random.lognormal(3, 1, ROWS), 2), "y": random.random(ROWS) < 0.4,
            "part": np.where(train, "train", "test"),
        })  # fmt: skip
        alarms += bool(kinds(frame, split="part"))
    assert alarms == 0


def with_value(
    rows: int, base: float, share: float, random: np.random.Generator, of: bool = True
) -> pl.DataFrame:
    """Return a column of which a value has a share of the rows, all of one class."""
    y = random.random(rows) < base
    places = random.permutation(np.flatnonzero(y == of))[: round(share * rows)]
    word = random.choice(["red", "green", "blue"], rows).astype("<U6")
    word[places] = "closed"
    number = random.normal(size=rows)
    number[places] = -9.0
    return pl.DataFrame({"word": word, "number": number, "y": y})


@pytest.mark.parametrize("share", [0.049, 0.02, 0.01])
@pytest.mark.parametrize("rows", [3_000, 60_000])
def test_a_pure_value_of_few_rows_is_found(share: float, rows: int) -> None:
    random = np.random.default_rng(8)
    frame = with_value(rows, 0.3, share, random)
    assert kinds(frame) == {"word": {"pure_value"}, "number": {"pure_value"}}


def test_a_value_of_the_frequent_class_alone_is_found_where_others_are_missed() -> None:
    random = np.random.default_rng(9)
    # Of 300 rows, 60 of the rare class were to be expected; of 100 rows, 20, which may be chance
    # of what the value stands for.
    found = kinds(with_value(6_000, 0.2, 0.05, random, of=False))
    assert found["word"] == {"pure_value"}
    assert kinds(with_value(6_000, 0.2, 0.0166, random, of=False)) == {}


def test_what_is_large_and_not_significant_is_no_finding() -> None:
    """A fifth of the rows, but ten of fifty, which noise does often."""
    random = np.random.default_rng(10)
    y = np.arange(60) < 40
    word = np.where(np.isin(np.arange(60), random.permutation(40)[:10]), "closed", "open")
    frame = pl.DataFrame({"word": word, "y": y})
    assert kinds(frame) == {}


def test_the_limits_of_a_value_can_be_set() -> None:
    random = np.random.default_rng(11)
    frame = with_value(3_000, 0.3, 0.02, random)
    assert set(kinds(frame)) == {"word", "number"}
    for limits in (Thresholds(value_share=0.05), Thresholds(value_rows=61),
                   Thresholds(false_alarms=0.0)):  # fmt: skip
        assert kinds(frame, thresholds=limits) == {}
    for wrong in ({"value_share": 2}, {"value_rows": 0.5}, {"false_alarms": None},
                  {"warning": "high"}):  # fmt: skip
        (name,) = wrong
        with pytest.raises(UsageError, match=f"{name} is a (whole )?number from 0"):
            Thresholds(**wrong)


def test_rows_of_few_entities_that_have_one_label_each_make_no_pure_value() -> None:
    random = np.random.default_rng(12)
    who = np.repeat(np.arange(100), 30)
    y = (random.random(100) < 0.4)[who]
    # Twenty of the hundred live in four towns, each of which has one label.
    town = np.full(100, "elsewhere")
    for label in (False, True):
        some = np.flatnonzero(y[::30] == label)[:10]
        town[some] = [f"t{label:d}{place // 5}" for place in range(10)]
    frame = pl.DataFrame({"town": town[who], "who": who, "y": y})
    assert kinds(frame.drop("who")) == {"town": {"pure_value"}}
    assert kinds(frame, entity="who") == {}
    # Rows of forty entities with one value and one label are more than chance.
    of = np.where(y & (random.random(3_000) < 0.3), "closed", town[who])
    again = frame.with_columns(town=pl.Series(of))
    assert kinds(again, entity="who") == {"town": {"pure_value"}}
