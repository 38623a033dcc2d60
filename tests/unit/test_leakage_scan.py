"""The statistical leakage scan: its numbers against scikit-learn and SciPy, its edges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score

from featurekit.analysis.findings import Effect, Finding, Severity, by_severity
from featurekit.analysis.leakage import splits
from featurekit.analysis.leakage.kinds import ADVICE, KINDS
from featurekit.analysis.leakage.scan import Thresholds, scan
from featurekit.analysis.leakage.strength import (
    auc,
    auc_interval,
    binomial_tail,
    encoded_auc,
    noise_p_value,
    skill,
)
from featurekit.errors import DataError, UsageError
from tests.leaks import rows_table, series_table


def by_value(x: Any, y: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    values, place = np.unique(x, return_inverse=True)
    one = np.bincount(place, y, minlength=len(values))
    return one, np.bincount(place, minlength=len(values)) - one


def test_the_area_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 500)
    for x in (random.normal(y), random.integers(0, 4, 500) + y, np.ones(500)):
        assert auc(*by_value(x, y))[0] == pytest.approx(roc_auc_score(y, x), abs=1e-12)


def test_the_test_against_noise_is_the_rank_sum_test() -> None:
    random = np.random.default_rng(2)
    y = random.integers(0, 2, 400)
    x = random.normal(0.2 * y)
    expected = stats.mannwhitneyu(x[y == 1], x[y == 0], method="asymptotic", use_continuity=False)
    area, _ = auc(*by_value(x, y))
    assert noise_p_value(area, y.sum(), (1 - y).sum()) == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize(("hits", "rows", "chance"), [(20, 20, 0.4), (199, 200, 0.9), (3, 9, 0.1)])
def test_the_binomial_tail_is_that_of_scipy(hits: int, rows: int, chance: float) -> None:
    expected = stats.binomtest(hits, rows, chance, alternative="greater").pvalue
    assert binomial_tail(hits, rows, chance) == pytest.approx(expected, rel=1e-9)


def test_skill_is_the_adjusted_r2_with_the_p_value_of_the_f_test() -> None:
    random = np.random.default_rng(3)
    group = random.integers(0, 6, 300)
    y = 0.2 * group + random.normal(size=300)
    count, total, squares = (
        np.bincount(group, w).astype(np.float64) for w in (np.ones(300), y, y * y)
    )
    value, chance = skill(count, total, squares)
    plain = r2_score(y, (total / count)[group])
    assert value == pytest.approx(1 - (1 - plain) * 299 / 294, rel=1e-9)
    expected = stats.f_oneway(*(y[group == g] for g in range(6))).pvalue
    assert np.log(chance) == pytest.approx(np.log(expected), rel=0.1)


def test_encoded_noise_is_half_however_many_categories_there_are() -> None:
    random = np.random.default_rng(4)
    for categories in (3, 300, 3_000, 10**6):
        x, y = random.integers(0, categories, 6_000), random.integers(0, 2, 6_000)
        assert encoded_auc(*by_value(x, y), random) == pytest.approx(0.5, abs=0.05)


def test_the_interval_holds_the_true_area_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    # Of two normal distributions that lie d apart the area is Phi(d / sqrt(2)).
    true = float(stats.norm.cdf(1 / np.sqrt(2)))
    inside = 0
    for _ in range(300):
        y = random.integers(0, 2, 200)
        area, _ = auc(*by_value(random.normal(y), y))
        low, high = auc_interval(area, y.sum(), 200 - y.sum())
        inside += low <= true <= high
    assert inside >= 0.92 * 300


def numbers_table(rows: int = 2_000, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, rows)
    return pl.DataFrame(
        {
            "copy": y + random.normal(0, 0.1, rows),
            "fair": y + random.normal(0, 1, rows),
            "noise": random.normal(size=rows),
            "word": random.choice(["a", "b"], rows),
            "y": y,
        }
    )


def test_the_numbers_of_each_feature_are_given() -> None:
    frame = numbers_table()
    result = scan(frame, label="y")
    fair = result.features["fair"]
    assert fair.ways["rank"] == pytest.approx(roc_auc_score(frame["y"], frame["fair"]), abs=1e-9)
    assert next(iter(result.features)) == "copy"
    assert result.rows == 2_000
    (finding,) = result.flagged
    assert (finding.kind, finding.severity) == ("proxy", Severity.CRITICAL)
    assert finding.effect is not None
    assert finding.effect.low is not None
    assert "strong legitimate feature looks the same" in finding.message
    assert finding.advice == ADVICE["proxy"]
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["label"] == "y"


def test_every_kind_of_table_gives_the_same_result(tmp_path: Path) -> None:
    frame = numbers_table()
    expected = scan(frame, label="y").to_dict()
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    tables = [frame.lazy(), frame.to_arrow(), frame.to_pandas(), tmp_path / "t.parquet",
              str(tmp_path / "t.csv")]  # fmt: skip
    for table in tables:
        assert scan(table, label="y").to_dict() == expected
    assert isinstance(tables[2], pd.DataFrame)


def test_labels_may_be_words_booleans_or_several_classes() -> None:
    random = np.random.default_rng(1)
    kind = random.integers(0, 3, 3_000)
    frame = pl.DataFrame(
        {"x": (kind == 2) + random.normal(0, 0.2, 3_000), "z": random.random(3_000)}
    )
    words = frame.with_columns(y=pl.Series([["red", "green", "blue"][k] for k in kind]))
    for table in (words, words.with_columns(pl.col("y").cast(pl.Categorical))):
        (finding,) = scan(table, label="y").flagged
        assert finding.features == ("x",)
        # Classes are in the order of the alphabet, and blue is the third of the list.
        assert "class 'blue' against the rest" in finding.message
    assert scan(frame.with_columns(y=pl.Series(kind == 2)), label="y").flagged


def test_a_quantity_is_judged_by_r2() -> None:
    random = np.random.default_rng(1)
    y = random.normal(100, 15, 4_000)
    lower = random.lognormal(0, 1, 4_000)
    frame = pl.DataFrame(
        {
            "copy": y + random.normal(0, 2, 4_000), "curve": (y - 100) ** 3,
            "fair": y + random.normal(0, 15, 4_000), "noise": random.normal(size=4_000),
            "many": [f"w{i}" for i in random.integers(0, 1_500, 4_000)],
            "upper": lower * 300 + y, "lower": lower * 300, "y": y,
        }
    )  # fmt: skip
    result = scan(frame, label="y")
    assert {f.features: f.kind for f in result.flagged} == {
        ("copy",): "proxy", ("curve",): "proxy", ("lower", "upper"): "pair",
    }  # fmt: skip
    fair = result.features["fair"].ways["R2"]
    assert fair == pytest.approx(np.corrcoef(frame["fair"], y)[0, 1] ** 2, abs=0.03)


def test_duplicates_across_the_split_are_counted_over_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(1)
    train, held_out = numbers_table(3_000, 1), numbers_table(1_000, 2)
    copied = train[np.sort(random.choice(3_000, 37, replace=False))]
    frame = pl.concat(
        [
            train.with_columns(part=pl.lit("train")),
            pl.concat([held_out, copied]).with_columns(part=pl.lit("test")),
        ]
    ).drop("copy")
    named = frame.with_columns(row=pl.int_range(pl.len()))
    for table in (frame, named):
        (finding,) = scan(table, label="y", split="part").flagged
        assert finding.kind == "duplicate_rows"
        assert finding.evidence["rows"] == 37
        assert finding.effect == Effect("share", 37 / 1_037)
    # Through files, a few rows at a time.
    monkeypatch.setattr(splits, "_AT_ONCE", 500)
    (finding,) = scan(frame, label="y", split="part").flagged
    assert finding.evidence["rows"] == 37


def test_rows_that_repeat_everywhere_are_no_duplicates_across_the_split() -> None:
    random = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "a": random.integers(0, 3, 2_000), "b": random.choice(["x", "y"], 2_000),
            "y": random.integers(0, 2, 2_000), "part": random.choice(["train", "test"], 2_000),
        }
    )  # fmt: skip
    result = scan(frame, label="y", split="part")
    assert not result.flagged
    assert [f.kind for f in result.findings] == ["duplicate_rows"]


def test_entities_on_both_sides_are_counted_and_later_rows_are_a_note() -> None:
    random = np.random.default_rng(1)
    frame = numbers_table(4_000).drop("copy")
    who = np.where(np.arange(4_000) < 3_000, random.integers(0, 200, 4_000),
                   random.integers(150, 300, 4_000))  # fmt: skip
    frame = frame.with_columns(
        who=pl.Series(who), part=pl.Series(["train"] * 3_000 + ["test"] * 1_000),
        when=pl.int_range(4_000),
    )  # fmt: skip
    (finding,) = scan(frame, label="y", split="part", entity="who", exclude=["when"]).flagged
    shared = len(set(who[:3_000]) & set(who[3_000:]))
    assert (finding.kind, finding.evidence["shared"]) == ("entity_overlap", shared)
    later = scan(frame, label="y", split="part", entity="who", time="when")
    assert not later.flagged
    assert [f.kind for f in later.findings] == ["entity_overlap"]


def test_features_that_tell_the_splits_apart_are_a_note() -> None:
    frame = numbers_table().drop("copy").with_columns(row=pl.int_range(2_000))
    frame = frame.with_columns(part=pl.when(pl.col("row") < 1_500).then(1).otherwise(0))
    result = scan(frame, label="y", split="part")
    assert [(f.kind, f.features, f.severity) for f in result.findings] == [
        ("adversarial_split", ("row",), Severity.NOTE), ("split_shift", ("row",), Severity.NOTE)
    ]  # fmt: skip
    held_out = frame["part"] == 0
    area = roc_auc_score(held_out, frame["noise"])
    assert result.features["noise"].shift == pytest.approx(max(area, 1 - area), abs=1e-9)


def test_odd_values_have_bins_of_their_own() -> None:
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 3_000)
    x = random.normal(size=3_000)
    x[(y == 1) & (random.random(3_000) < 0.5)] = np.inf
    result = scan(pl.DataFrame({"x": x, "none": [None] * 3_000, "y": y}), label="y")
    (finding,) = result.flagged
    assert (finding.kind, finding.evidence["value"]) == ("pure_value", "inf")
    assert result.features["none"].missing == 1.0


def test_vectors_are_looked_at_one_by_one_and_lists_are_skipped() -> None:
    frame = numbers_table().with_columns(
        v=pl.concat_arr("noise", "copy"), kept=pl.concat_list("noise", "fair")
    )
    result = scan(frame.drop("copy"), label="y")
    assert [f.features for f in result.flagged] == [("v[1]",)]
    assert result.skipped == ("kept",)


def test_missing_labels_are_left_out() -> None:
    frame = numbers_table().with_columns(
        y=pl.when(pl.int_range(pl.len()) % 3 > 0).then(pl.col("y").cast(pl.Float64))
    )
    odd = frame.with_columns(pl.when(pl.int_range(pl.len()) % 3 == 0).then(np.nan).otherwise("y"))
    known = frame.drop_nulls("y")
    expected = scan(known, label="y").to_dict()
    assert scan(frame, label="y").to_dict() == expected
    assert scan(frame.with_columns(y=odd["literal"]), label="y").to_dict() == expected


@pytest.mark.parametrize(
    ("change", "roles", "error", "text"),
    [
        ({}, {"label": "z"}, UsageError, "label 'z' is not a column of the table"),
        ({}, {"label": "y", "split": "parts"}, UsageError, "split 'parts' is not a column"),
        ({"y": pl.lit(1)}, {"label": "y"}, DataError, "has one value in all rows"),
        ({"y": pl.lit(None, pl.Int64)}, {"label": "y"}, DataError, "no value in all rows"),
        ({"y": pl.col("fair").cast(pl.String)}, {"label": "y"}, DataError, "more than 100 classes"),
        ({"y": pl.concat_list("fair")}, {"label": "y"}, DataError, "not one value a row"),
        ({"p": pl.int_range(pl.len())}, {"label": "y", "split": "p"}, DataError, "are no splits"),
    ],
)
def test_what_cannot_be_scanned_is_refused(
    change: dict[str, pl.Expr], roles: dict[str, str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        scan(numbers_table(500).with_columns(**change), **roles)  # type: ignore[arg-type]


def test_hostile_names_stay_names() -> None:
    frame = numbers_table().rename({"copy": "</script>", "fair": "a\nb", "noise": "^.*$"})
    (finding,) = scan(frame, label="y").flagged
    assert finding.features == ("</script>",)
    assert list(scan(frame, label="y", exclude=["^.*$"]).features) == ["</script>", "a\nb", "word"]


@pytest.mark.parametrize("shape", ["^{}.*$", "*{}", "^{}$"])
def test_names_that_read_as_patterns_change_nothing_but_themselves(
    shape: str, tmp_path: Path
) -> None:
    rows, _, _ = rows_table(11)
    series, _, _ = series_table(11)
    tables: list[tuple[pl.DataFrame, dict[str, Any]]] = [
        (rows, {"split": "part"}), (series, {"entity": "who", "time": "when"}),
    ]  # fmt: skip
    for frame, roles in tables:
        names = {name: shape.format(name) for name in frame.columns}
        # A name that is a pattern for all the others.
        names["clean_noise"] = "*" if shape.startswith("*") else "^.*$"
        renamed: dict[str, Any] = {role: names[name] for role, name in roles.items()}
        hostile = tmp_path / "hostile.parquet"
        frame.rename(names).write_parquet(hostile)
        expected = scan(frame, label="y", **roles)
        found = scan(hostile, label=names["y"], **renamed)
        assert {
            (f.kind, f.severity, tuple(sorted(f.features))) for f in found.flagged
        } == {
            (f.kind, f.severity, tuple(sorted(names[name] for name in f.features)))
            for f in expected.flagged
        }  # fmt: skip


def test_thresholds_move_where_the_scan_speaks_up() -> None:
    frame = numbers_table().drop("copy")
    assert not scan(frame, label="y").flagged
    strict = Thresholds(warning=0.7, critical=0.95)
    assert [f.severity for f in scan(frame, label="y", thresholds=strict).flagged] == [
        Severity.WARNING
    ]


def test_findings_come_by_severity_then_by_damage() -> None:
    def finding(kind: str, severity: Severity, value: float = 0.0) -> Finding:
        return Finding((kind,), kind, severity, "", Effect("AUC", value))

    worst = finding("scaler", Severity.CRITICAL)
    weak, strong = (finding("proxy", Severity.WARNING, value) for value in (0.91, 0.95))
    last = finding("pure_value", Severity.WARNING, 1.0)
    assert by_severity([weak, last, worst, strong], KINDS) == (worst, strong, weak, last)
