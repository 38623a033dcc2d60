"""target_mean over random rows: no order or partition matters, and no label is seen too early."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurekit.engines.beam.statistics import Counts
from featurekit.spec.objects import Column, Examples, Source, Spec
from featurekit.transforms.targets import TargetMeans, added_up, merged
from tests.engines import same
from tests.unit.test_target_mean import fitted

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = st.none() | st.integers(0, 200)
ROWS = st.lists(
    st.fixed_dictionaries({
        "c": st.none() | st.sampled_from(["a", "b", "cc", "", "line\nbreak"]),
        "y": st.none() | st.sampled_from([-1.5, 0.0, 1.0, 1e6]),
        "at": HOURS, "wait": st.none() | st.integers(0, 50),
        "train": st.booleans(),
    }),
    min_size=1, max_size=40,
)  # fmt: skip
ANCHOR = {"c": "a", "y": 1.0, "at": 3, "wait": 4, "train": True}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    types = {"c": pl.String, "y": pl.Float64, "at": pl.Int64, "wait": pl.Int64, "train": pl.Boolean}
    made = pl.DataFrame([ANCHOR, *rows], schema=types).with_row_index("id")
    hour = pl.duration(hours=1)
    return made.select(
        pl.col("id").cast(pl.Int64), "c", "y", at=START + pl.col("at") * hour,
        known=START + (pl.col("at") + pl.col("wait")) * hour,
        part=pl.when("train").then(pl.lit("train")).otherwise(pl.lit("eval")),
    )  # fmt: skip


def spec_of(rows: pl.DataFrame, timed: bool) -> Spec:
    time = {"predict_at": "at"} if timed else {}
    examples = Examples("rows", keys="id", label="y", split={"column": "part"}, **time)
    source = Source(data=rows, columns={"y": Column(available_at="known")} if timed else {})
    return Spec({"rows": source}, examples, {"f": "target_mean(c, smoothing=1.5, folds=3)"})


def by_id(rows: pl.DataFrame, timed: bool) -> dict[int, float | None]:
    _, _, made = fitted(spec_of(rows, timed), rows)
    return dict(zip(rows["id"], made["f"], strict=True))


@given(ROWS, st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_changes_nothing(
    rows: list[dict[str, Any]], timed: bool, seed: int
) -> None:
    table = frame(rows)
    order = list(range(table.height))
    random.Random(seed).shuffle(order)
    one, other = by_id(table, timed), by_id(table[order], timed)
    assert one.keys() == other.keys()
    assert all(same(value, other[key]) for key, value in one.items())


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_a_row_sees_exactly_the_rows_that_the_definition_lets_it_see(
    rows: list[dict[str, Any]],
) -> None:
    table = frame(rows)
    found = by_id(table, timed=True)
    train = [row for row in table.to_dicts() if row["part"] == "train" and row["y"] is not None]
    times = sorted(row["at"] for row in train if row["at"] is not None)
    starts = [times[len(times) * block // 3] for block in (1, 2)]
    for row in table.to_dicts():
        seen = train
        if row["part"] == "train" and row["y"] is not None:
            # Of its own block, the start; before the second block nothing is seen.
            begun = [] if row["at"] is None else [start for start in starts if start <= row["at"]]
            seen = [
                other for other in train
                if begun and other["at"] is not None and other["known"] is not None
                and max(other["at"], other["known"]) < begun[-1]
            ]  # fmt: skip
        elif row["part"] == "train":
            continue  # Without a label it is no example.
        wanted = None
        if row["c"] is not None and seen:
            prior = float(np.mean([other["y"] for other in seen]))
            mine = [other["y"] for other in seen if other["c"] == row["c"]]
            wanted = (sum(mine) + 1.5 * prior) / (len(mine) + 1.5)
        assert same(found[row["id"]], wanted), row


@given(ROWS, st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_parts_of_the_rows_merge_to_what_one_pass_finds(
    rows: list[dict[str, Any]], one: int, other: int
) -> None:
    table = frame(rows).select(x="c", label="y", part=pl.col("id") % 3)
    low, high = sorted((one % table.height, other % table.height))
    parts = [added_up(part).collect() for part in (table[:low], table[low:high], table[high:])]
    statistic = TargetMeans(3)
    whole = statistic.value_of(added_up(table).collect())
    here = merged(pl.concat([merged(pl.concat(parts[:2])), parts[2]]))
    there = Counts.merge([parts[2], Counts.merge(parts[:2])])
    for found in (statistic.value_of(here), statistic.value_of(there)):
        assert found.categories == whole.categories
        assert (found.rows, found.category_rows) == (whole.rows, whole.category_rows)
        for got, wanted in zip(found.category_sums, whole.category_sums, strict=True):
            assert got == pytest.approx(wanted, rel=1e-9)
