"""A pass over the rows, in batches: what it counts, and that its sums always have the same bits."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.engines import fitting
from featurekit.engines.fitting import Census, fit
from featurekit.engines.rows import BLOCK
from featurekit.errors import DataError
from featurekit.planner import Plan, make_plan
from featurekit.resolve import resolve
from featurekit.sources import Table, column_types, open_table
from featurekit.spec.objects import Column, Examples, Source, Spec, Split

ROWS = 9 * BLOCK + 1234
"""More than a batch, and the last block is not full."""
FEATURES = {
    "z": "zscore(x)", "decile": "bucketize(x, 10)", "quartile": "bucketize(log1p(abs(x)), 4)",
    "scaled": "zscore(log1p(abs(x)))", "n_z": "zscore(n)", "n_decile": "bucketize(n, 10)",
    "usual": "impute(n, 'most_frequent')", "word": "vocabulary(word)", "range": "scale_to_0_1(x)",
    "twice": "bucketize(zscore(x), 4)",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    random = np.random.default_rng(11)
    frame = pl.DataFrame({
        "x": random.lognormal(3, 2, ROWS),
        "n": random.integers(-40, 9_000, ROWS) ** 3,
        "word": random.choice(["a", "b", "c", "d"], ROWS, p=[0.6, 0.3, 0.09, 0.01]),
        "part": random.choice(["train", "eval", "test"], ROWS, p=[0.8, 0.1, 0.1]),
        "late": random.random(ROWS) < 0.3,
    })  # fmt: skip
    missing = pl.Series(random.random(ROWS) < 0.02)
    return frame.with_columns(
        x=pl.when(~missing).then("x").otherwise(float("nan")),
        late=pl.when(~missing.reverse()).then("late"),
    )


def opened(rows: pl.DataFrame, **settings: object) -> tuple[Plan, Table]:
    spec = Spec({"rows": Source(data=rows)}, Examples("rows", **settings), FEATURES)  # type: ignore[arg-type]
    source = spec.sources["rows"]
    table = open_table("rows", source, spec.base)
    return make_plan(resolve(spec, column_types(table, source))), table


def test_statistics_have_the_same_bits_however_the_rows_come_in_pieces(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for size in (BLOCK, 5_000):
        monkeypatch.setattr(
            fitting, "small_pieces",
            lambda size=size: pl.Config(apply_on_context_enter=True, streaming_chunk_size=size),
        )  # fmt: skip
        pieces = pl.concat([rows[:77_777], rows[77_777:]], rechunk=False)
        found += [fit(*opened(frame))[0] for frame in (rows, pieces)]
    assert all(fitted == found[0] for fitted in found[1:])


def test_batches_of_another_size_change_nothing_but_the_rounding_of_moments(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, table = opened(rows, label="late", split=Split(column="part"))
    whole, census = fit(plan, table)
    monkeypatch.setattr(fitting, "_BATCH", BLOCK)
    parts, counted = fit(plan, table)
    assert counted == census
    for request, value in parts.items():
        if type(request.statistic).__name__ == "Moments":
            assert value.count == whole[request].count
            assert value.mean == pytest.approx(whole[request].mean, rel=1e-14)
            assert value.variance == pytest.approx(whole[request].variance, rel=1e-13)
        elif "zscore" not in request.node.text:
            assert value == whole[request]


def test_the_census_counts_rows_by_split_and_by_block(rows: pl.DataFrame) -> None:
    _, census = fit(*opened(rows, label="late", split=Split(column="part")))
    kept = rows.with_row_index("row").filter(pl.col("late").is_not_null())
    blocks = kept.group_by(pl.col("row") // BLOCK, "part").len().rows()
    splits = dict(kept["part"].value_counts().rows())
    assert census == Census(
        rows=ROWS,
        without_label=ROWS - kept.height,
        splits=splits,
        nan={"x": int(rows["x"].is_nan().sum())},
        blocks={(block, part): count for block, part, count in blocks},
    )
    assert list(census.splits) == ["train", "eval", "test"]


def test_without_label_and_split_every_row_is_for_training(rows: pl.DataFrame) -> None:
    _, census = fit(*opened(rows))
    assert census.splits == {"train": ROWS}
    assert census.blocks == {(block, "train"): BLOCK for block in range(9)} | {(9, "train"): 1234}


def test_values_whose_squares_no_float64_holds_are_refused() -> None:
    huge = pl.DataFrame({"x": [1e200, -1e200]})
    source = Source(data=huge, columns={"x": Column(type="float64")})
    spec = Spec({"rows": source}, Examples("rows"), {"z": "zscore(x)"})
    table = open_table("rows", spec.sources["rows"], spec.base)
    plan = make_plan(resolve(spec, column_types(table, spec.sources["rows"])))
    with pytest.raises(DataError, match=r"feature 'z': .*: the squares of its values are beyond"):
        fit(plan, table)


def test_nan_that_arithmetic_over_past_rows_has_made_is_missing_and_counted_by_column(
    tmp_path: Path,
) -> None:
    day = [datetime(2024, 1, number, tzinfo=UTC) for number in (1, 2, 3)]
    rows = pl.DataFrame({"k": [1, 1, 2], "t": [day[2]] * 3})
    past = pl.DataFrame(
        {"k": [1, 1, 2], "at": [day[0], day[1], day[1]], "x": [math.inf, -math.inf, 4.0]}
    )
    spec = fk.Spec(
        sources={
            "rows": fk.Source(data=rows),
            "past": fk.Source(data=past, event_time="at", available_at="at"),
        },
        examples=fk.Examples("rows", predict_at="t"),
        aggregations={
            "past": fk.Aggregation(
                "past", by="k", windows=["lifetime"], features={"mean": "mean(x)"}
            )
        },
        features={"gone": "is_missing(past.mean_lifetime)"},
    )
    made = fk.run(spec, tmp_path / "run", tensorflow=False)
    assert made.examples().to_polars()["gone"].to_list() == [1, 1, 0]
    assert made.manifest["rows"]["nan_read_as_missing"] == {"past.mean_lifetime": 2}
