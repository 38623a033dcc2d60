"""Adversarial validation: what chance does to a split raises no alarm, and what else does, does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit.analysis.findings import Finding, Severity
from featurekit.analysis.leakage.scan import scan


def table(seed: int, rows: int = 1_000, columns: int = 6) -> pl.DataFrame:
    """Return noise, a label of noise, and a split by chance."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {f"x{i}": random.normal(size=rows) for i in range(columns)}
    made["word"] = random.choice(list("abcdefghijkl"), rows)
    made["y"] = random.integers(0, 2, rows)
    made["part"] = np.where(random.random(rows) < 0.7, "train", "eval")
    return pl.DataFrame(made)


def of_entities(seed: int) -> pl.DataFrame:
    """Return rows of entities that are alike, each entity put into one part by chance."""
    random = np.random.default_rng(seed)
    who, part = random.integers(0, 300, 4_000), np.where(random.random(300) < 0.7, "train", "eval")
    made: dict[str, Any] = {f"x{i}": random.normal(size=300)[who] for i in range(6)}
    made |= {"who": who, "y": random.integers(0, 2, 4_000), "part": part[who]}
    return pl.DataFrame(made)


def told(frame: pl.DataFrame, **roles: Any) -> list[Finding]:
    found = scan(frame, label="y", split="part", **roles).findings
    return [finding for finding in found if finding.kind == "adversarial_split"]


@pytest.mark.parametrize(
    ("make", "roles"), [(table, {}), (of_entities, {"entity": "who"})], ids=["rows", "entities"]
)
def test_a_split_by_chance_is_told_no_more_often_than_stated(
    make: Callable[[int], pl.DataFrame], roles: dict[str, Any]
) -> None:
    found = [told(make(seed), in_time=False, **roles) for seed in range(60)]
    # The stated level is 5%: eight of 60 or more come with a chance of 1 in 100.
    assert sum(map(bool, found)) < 8
    assert not [each for finding in found for each in finding if each.severity > Severity.NOTE]


def test_features_that_were_computed_for_each_part_apart_are_named() -> None:
    frame = table(1)
    apart = pl.col("x2") + pl.when(part="eval").then(1.7).otherwise(0.0)
    (finding,) = told(frame.with_columns(x2=apart), in_time=False)
    assert finding.severity is Severity.WARNING
    assert finding.features[0] == "x2"
    assert finding.effect is not None
    assert finding.effect.low is not None
    # Two normal distributions that lie d apart: Phi(d / sqrt(2)), of ranges a little less.
    assert 0.83 < finding.effect.value < 0.90
    assert finding.effect.low < finding.effect.value


def test_what_no_feature_tells_alone_all_of_them_tell() -> None:
    frame = table(2, 4_000, 20)
    shift = pl.when(part="eval").then(0.4).otherwise(0.0)
    result = scan(
        frame.with_columns(pl.col(f"x{i}") + shift for i in range(20)), label="y", split="part",
        in_time=False,
    )  # fmt: skip
    shifts = [numbers.shift or 0.0 for numbers in result.features.values()]
    assert max(shifts) < 0.65
    (finding,) = result.flagged
    assert (finding.kind, len(finding.features)) == ("adversarial_split", 5)
    assert finding.effect is not None
    assert finding.effect.value > 0.8


@pytest.mark.parametrize("roles", [{"in_time": True}, {"time": "when"}, {}])
def test_it_is_a_note_where_time_moves_and_where_nobody_says_how_rows_were_split(
    roles: dict[str, Any],
) -> None:
    frame = table(3).with_columns(when=pl.int_range(pl.len()))
    late = pl.col("when") >= 700
    frame = frame.with_columns(
        part=pl.when(late).then(pl.lit("eval")).otherwise(pl.lit("train")),
        x1=pl.col("x1") + 2 * late.cast(pl.Int8),
    )  # fmt: skip
    exclude = [] if "time" in roles else ["when"]
    (finding,) = told(frame, exclude=exclude, **roles)
    assert finding.severity is Severity.NOTE
    assert finding.features == ("x1",)
    assert ("The split is by time" in finding.message) == bool(roles)
    assert "features that drift do this, and so it is expected" in finding.advice


def test_of_known_time_and_entities_a_split_that_is_not_by_time_is_judged() -> None:
    frame = of_entities(6).with_columns(when=pl.int_range(pl.len()))
    apart = frame.with_columns(x0=pl.col("x0") + pl.when(part="eval").then(9.0).otherwise(0.0))
    roles = {"time": "when", "entity": "who"}
    (finding,) = told(apart, **roles)
    assert finding.severity is Severity.WARNING
    assert finding.features == ("x0",)
    (finding,) = told(apart, **roles, in_time=True)
    assert finding.severity is Severity.NOTE


def test_parts_of_few_rows_say_nothing() -> None:
    frame = table(4, 100).with_columns(x0=pl.when(part="eval").then(9.0).otherwise(0.0))
    assert told(frame, in_time=False) == []


def test_neither_the_order_of_rows_nor_that_of_columns_changes_it() -> None:
    frame = table(5).with_columns(x0=pl.col("x0") + pl.when(part="eval").then(1.5).otherwise(0.0))
    turned = frame.select(reversed(frame.columns)).sample(fraction=1, shuffle=True, seed=1)
    assert told(frame) == told(turned)
    assert told(frame)
