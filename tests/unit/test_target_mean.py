"""What target_mean shows of the label: to serving all of it, to a training row other rows' only."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

import featurekit as fk
from featurekit.engines import local
from featurekit.engines.rows import with_split
from featurekit.errors import LeakageError, SpecError, SpecErrors
from featurekit.planner import make_plan
from featurekit.resolve import resolve
from featurekit.sources import Table
from featurekit.spec.objects import Column, Examples, Source, Spec, Split
from featurekit.transformer import FeatureTransformer
from featurekit.transforms.hashing import farmhash_bucket
from featurekit.types import Type, parse_type

M = 3.0
START = datetime(2024, 1, 1, tzinfo=UTC)


def table(rows: int = 400) -> pl.DataFrame:
    random = np.random.default_rng(rows)
    part = random.choice(["train", "eval", "test"], rows, p=[0.7, 0.2, 0.1])
    at = START + pl.Series(random.integers(0, 90 * 24, rows)).cast(pl.Int64) * timedelta(hours=1)
    return pl.DataFrame({
        "id": np.arange(rows),
        "who": random.choice([f"person {place}" for place in range(40)], rows),
        "c": random.choice(["a", "b", "c", "d", "e"], rows, p=[0.5, 0.3, 0.15, 0.04, 0.01]),
        "n": random.integers(0, 5, rows),
        "y": random.integers(0, 2, rows),
        "amount": random.normal(5, 3, rows),
        "status": random.choice(["late", "early", "on time"], rows),
        "at": at,
        "known": at + pl.Series(random.integers(1, 20 * 24, rows)) * timedelta(hours=1),
        "part": part,
    }).with_columns(c=pl.when(pl.col("id") % 17 > 0).then("c"))  # fmt: skip


ROWS = table()
TRAIN = ROWS.filter(pl.col("part") == "train")


def spec_of(
    data: Any = ROWS, features: dict[str, str] | None = None, label: str = "y", **examples: Any
) -> Spec:
    settings = {"keys": "id", "label": label, "split": Split(column="part"), **examples}
    features = features or {"f": f"target_mean(c, smoothing={M})"}
    return Spec({"rows": Source(data=data)}, Examples("rows", **settings), features)


def fitted(spec: Spec, data: pl.DataFrame = ROWS) -> tuple[Any, Any, pl.DataFrame]:
    """Return a plan, its statistics, and the examples of all splits in the order of the rows."""
    types = {name: _type(dtype) for name, dtype in data.schema.items()}
    plan = make_plan(resolve(spec, types), saved_model=False)
    rows = Table("rows", data.lazy(), dict(data.schema), {})
    values, _ = local.fit(plan, rows)
    typed, _ = local.typed_rows(rows, plan.resolved)
    made = with_split(typed, plan.resolved, plan.features, values)
    split = ["split"] * (plan.resolved.spec.examples.split is not None)
    return plan, values, made.select([*plan.features, *split]).collect()


def _type(dtype: pl.DataType) -> Type:
    names = {pl.Int64: "int64", pl.String: "string", pl.Float64: "float32", pl.Boolean: "bool"}
    return parse_type(names.get(type(dtype), "timestamp"))


def encoded(seen: pl.DataFrame, rows: pl.DataFrame, m: float = M, label: str = "y") -> pl.Series:
    """Return the m-estimate of each row's category from the rows that it sees."""
    prior = float(seen.select(pl.col(label).mean()).item())
    means = seen.group_by("c").agg(value=(pl.col(label).sum() + m * prior) / (pl.len() + m))
    joined = rows.join(means, on="c", how="left", maintain_order="left")
    value = pl.col("value").fill_null(prior).cast(pl.Float32)
    return joined.select(pl.when(pl.col("c").is_not_null()).then(value)).to_series()


def close(got: pl.Series, wanted: pl.Series) -> None:
    got, wanted = got.rename("f"), wanted.rename("f")
    assert_frame_equal(got.to_frame(), wanted.to_frame(), check_exact=False, rel_tol=1e-6)


@pytest.mark.parametrize("label", ["y", "amount"])
def test_all_splits_but_train_have_the_values_of_scikit_learn(label: str) -> None:
    _, _, made = fitted(spec_of(label=label))
    # A null is a category of its own there, and a missing value here.
    encoder = TargetEncoder(smooth=M, target_type="continuous")
    encoder.fit(TRAIN.select(pl.col("c").fill_null("null")).to_numpy(), TRAIN[label].to_numpy())
    wanted = encoder.transform(ROWS.select(pl.col("c").fill_null("null")).to_numpy())[:, 0]
    rows = ROWS.with_columns(f=pl.Series(wanted, dtype=pl.Float32)).with_columns(
        f=pl.when(pl.col("c").is_not_null()).then("f")
    )
    others = (ROWS["part"] != "train").to_list()
    close(made["f"].filter(others), rows["f"].filter(others))


@pytest.mark.parametrize(("by", "column"), [("", "id"), (", by='who'", "who")])
def test_a_training_row_sees_the_rows_of_other_folds_alone(by: str, column: str) -> None:
    _, _, made = fitted(spec_of(features={"f": f"target_mean(c, smoothing={M}, folds=4{by})"}))
    folds = TRAIN.select(farmhash_bucket(pl.col(column).cast(pl.String), 4)).to_series()
    assert folds.n_unique() == 4
    got = made.filter(pl.col("split") == "train")["f"]
    for fold in range(4):
        mine = (folds == fold).to_list()
        others = TRAIN.filter(folds != fold)
        close(got.filter(mine), encoded(others, TRAIN.filter(mine)))


def test_with_a_time_a_training_row_sees_earlier_blocks_whose_labels_were_known() -> None:
    columns = {"y": Column(available_at="known")}
    spec = Spec(
        {"rows": Source(data=ROWS, columns=columns)},
        Examples("rows", keys="id", label="y", predict_at="at - 2h", split=Split(column="part")),
        {"f": f"target_mean(c, smoothing={M}, folds=4)"},
    )
    _, _, made = fitted(spec)
    got = made.filter(pl.col("split") == "train")["f"]
    times = (TRAIN["at"] - timedelta(hours=2)).sort()
    starts = [times[len(times) * block // 4] for block in range(4)]
    for block, start in enumerate(starts):
        end = [*starts, times[-1] + timedelta(days=1)][block + 1]
        at = pl.col("at") - timedelta(hours=2)
        mine = TRAIN.select((at >= start) & (at < end)).to_series()
        seen = TRAIN.filter((at < start) & (pl.col("known") < start))
        if block == 0:
            assert got.filter(mine).null_count() == mine.sum(), "nothing was known yet"
        else:
            assert 0 < seen.height < TRAIN.filter(at < start).height
            close(got.filter(mine), encoded(seen, TRAIN.filter(mine)))
    # Serving and the other splits see all training rows.
    close(made.filter(pl.col("split") != "train")["f"],
          encoded(TRAIN, ROWS.filter(pl.col("part") != "train")))  # fmt: skip


def test_a_row_without_a_time_sees_nothing_and_a_label_never_known_is_seen_by_serving_alone() -> (
    None
):
    rows = pl.DataFrame({
        "c": ["a"] * 6,
        "y": [1, 0, 1, 1, 0, 1],
        "at": [START + timedelta(days=day) for day in (0, 0, 5, 5, 5)] + [None],
        "known": [START + timedelta(days=1), None, *[START + timedelta(days=9)] * 4],
    })  # fmt: skip
    spec = Spec(
        {"rows": Source(data=rows, columns={"y": Column(available_at="known")})},
        Examples("rows", label="y", predict_at="at"),
        {"f": "target_mean(c, smoothing=0, folds=2)"},
    )
    plan, values, made = fitted(spec, rows)
    assert made["f"].to_list() == [None, None, 1.0, 1.0, 1.0, None]
    served = local.lower(rows.lazy(), plan.features, values).collect()["f"]
    close(served, pl.Series([4 / 6] * 6, dtype=pl.Float32))


def test_the_first_rows_without_another_fold_have_no_value() -> None:
    rows = pl.DataFrame({"who": ["p", "p"], "c": ["a", "b"], "y": [1, 0]})
    spec = Spec({"rows": Source(data=rows)}, Examples("rows", label="y"),
                {"f": "target_mean(c, by='who')"})  # fmt: skip
    _, _, made = fitted(spec, rows)
    assert made["f"].to_list() == [None, None]


def test_statistics_of_the_feature_are_of_what_the_model_is_trained_on() -> None:
    text = f"target_mean(c, smoothing={M})"
    _, values, made = fitted(spec_of(features={"f": text, "z": f"zscore({text})"}))
    (moments,) = (v for r, v in values.items() if type(r.statistic).__name__ == "Moments")
    seen = made.filter(pl.col("split") == "train")["f"].cast(pl.Float64)
    assert moments.count == seen.len() - seen.null_count()
    assert moments.mean == pytest.approx(seen.mean(), rel=1e-12)
    assert moments.variance == pytest.approx(seen.var(ddof=0), rel=1e-12)
    wanted = (made["f"].cast(pl.Float64) - seen.mean()) / seen.std(ddof=0)
    close(made["z"], wanted.cast(pl.Float32))


@pytest.mark.parametrize(
    ("label", "positive"), [("status", "'late'"), ("n", "3"), ("y > 0", "True")]
)
def test_the_share_of_a_class_is_the_mean_of_whether_the_label_is_that(
    label: str, positive: str
) -> None:
    features = {"f": f"target_mean(c, positive={positive})"}
    _, _, made = fitted(spec_of(label=label, features=features))
    same = f"{label} == {positive}" if positive != "True" else label
    _, _, wanted = fitted(spec_of(label=same, features={"f": "target_mean(c)"}))
    assert made["f"].equals(wanted["f"])
    assert made["f"].n_unique() > 5


def test_labels_and_rows_of_other_splits_change_nothing() -> None:
    _, values, made = fitted(spec_of())
    changed = ROWS.with_columns(y=pl.when(pl.col("part") == "train").then("y").otherwise(99))
    _, again, other = fitted(spec_of(changed), changed)
    assert list(again.values()) == list(values.values())
    assert made.equals(other)


def test_a_training_row_does_not_see_the_labels_of_its_fold() -> None:
    folds = ROWS.select(farmhash_bucket(pl.col("id").cast(pl.String), 5)).to_series()
    flipped = (folds == 2).to_list()
    changed = ROWS.with_columns(y=pl.when(pl.Series(flipped)).then(1 - pl.col("y")).otherwise("y"))
    mine = [fold and part == "train" for fold, part in zip(flipped, ROWS["part"], strict=True)]
    _, _, made = fitted(spec_of())
    _, _, other = fitted(spec_of(changed), changed)
    assert made.filter(mine).equals(other.filter(mine))
    assert not made.equals(other)


def test_missing_and_infinite_labels_are_left_out() -> None:
    rows = pl.DataFrame({
        "id": range(6), "c": ["a"] * 6, "x": [1.0, 4.0, 0.0, None, 2.0, 3.0],
    })  # fmt: skip
    spec = Spec({"rows": Source(data=rows)}, Examples("rows", keys="id", label="8 / x"),
                {"f": "target_mean(c, smoothing=0)"})  # fmt: skip
    plan, values, _ = fitted(spec, rows)
    served = local.lower(rows.lazy(), plan.features, values).collect()["f"]
    assert served[0] == pytest.approx((8 + 2 + 4 + 8 / 3) / 4)


def test_a_run_keeps_the_counts_of_each_fold_and_says_what_parity_compared(tmp_path: Path) -> None:
    features = {"f": f"target_mean(c, smoothing={M})", "z": "zscore(target_mean(n))", "n": "n"}
    done = fk.run(spec_of(features=features), tmp_path / "run", tensorflow=True)
    stored = json.loads((tmp_path / "run" / "statistics.json").read_text())
    fold = "hash_bucket(fill(cast(id, to='string'), value=''), buckets=5)"
    name = f"targetmeans(c, cast(y, to='float64'), {fold}, parts=5)"
    counts = TRAIN.group_by("c").len()
    mine = stored[name]
    for place, category in enumerate(mine["categories"]):
        found = sum(part[place] for part in mine["category_rows"])
        assert found == counts.filter(pl.col("c") == category)["len"].item()
    assert sum(mine["rows"]) == TRAIN.height
    assert sum(mine["sums"]) == TRAIN["y"].sum()
    certificate = done.manifest["parity"]
    assert certificate["cross_fitted"]["features"] == ["f", "z"]
    assert "serving" in certificate["cross_fitted"]["train"]
    assert all(result["rows"] for result in certificate["signatures"].values())
    # Train examples are cross-fitted, and rows that are applied later see all labels.
    examples = done.examples("train").to_polars()
    _, _, made = fitted(spec_of(features=features))
    assert examples["f"].equals(made.filter(pl.col("split") == "train")["f"])
    served = done.apply(TRAIN.drop("y", "id", "who", "at", "known"))
    close(served["f"], encoded(TRAIN, TRAIN))
    assert not served["f"].equals(examples["f"])


@pytest.mark.parametrize("settings", [{"split": None}, {"split": Split(hash="label", eval=0.3)}])
def test_columns_called_label_and_split_are_read_as_they_are(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    rows = ROWS.select("id", "y", label=pl.col("c"), split=pl.col("n"))
    features = {"f": "target_mean(label)", "g": "target_mean(split)", "s": "split"}
    spec = spec_of(rows, features, **settings)
    done = fk.run(spec, tmp_path / "run", tensorflow=True)
    table = done.examples().to_polars()
    assert table["s"].is_in(rows["split"].implode()).all()
    assert table["g"].n_unique() > 5


def problems(spec: Spec, data: pl.DataFrame = ROWS) -> str:
    with pytest.raises(SpecErrors) as caught:
        fitted(spec, data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "settings", "said"),
    [
        ("target_mean(c)", {"label": None}, "target_mean needs a label"),
        ("target_mean(c)", {"keys": ()}, "what may not be in two folds"),
        ("target_mean(c)", {"label": "status"}, "is the share of one class"),
        ("target_mean(c, positive=1)", {"label": "status"}, "a value of the label"),
        ("target_mean(c, by='amount')", {}, "'amount' is a float32"),
        ("target_mean(c, by='nobody')", {}, "there is no column 'nobody'"),
        ("target_mean(amount)", {}, "bucketize(amount) first"),
        ("target_mean(y)", {}, "'y' makes the label"),
        ("target_mean(c, by='who')", {"predict_at": "at"}, "there is no by"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    expression: str, settings: dict[str, Any], said: str
) -> None:
    assert said in problems(spec_of(features={"f": expression}, **settings))


@pytest.mark.parametrize(
    "call",
    ["target_mean(c, smoothing=-1)", "target_mean(c, folds=1)", "target_mean(c, by=[])",
     "target_mean(c, by=3)", "target_mean(c, positive=0.5)"],
)  # fmt: skip
def test_a_wrong_parameter_is_refused(call: str) -> None:
    with pytest.raises(SpecError, match=r"must be"):
        spec_of(features={"f": call})


def test_target_mean_stands_in_features_alone() -> None:
    columns = {"d": Column(expr="target_mean(c)")}
    spec = Spec(
        {"rows": Source(data=ROWS, columns=columns)}, Examples("rows", label="y"), {"f": "d"}
    )
    assert "make it a feature" in problems(spec)
    assert "make it a feature" in problems(spec_of(label="target_mean(c) > 0.5"))


@pytest.mark.parametrize("column", [Column(), Column(available=False)])
def test_with_a_time_a_label_of_which_nothing_says_when_it_is_known_is_a_leak(
    column: Column,
) -> None:
    spec = Spec(
        {
            "rows": Source(
                data=ROWS, columns={"y": column}, event_time="at", available_at="at - 30d"
            )
        },
        Examples("rows", label="y", predict_at="at"),
        {"f": "target_mean(c)"},
    )
    with pytest.raises(SpecErrors) as caught:
        fitted(spec)
    assert all(isinstance(problem, LeakageError) for problem in caught.value.problems)
    assert "nothing says when" in str(caught.value)


def test_a_category_that_is_known_too_late_is_refused_as_any_use_of_it_is() -> None:
    columns = {"c": Column(available_at="at + 1h"), "y": Column(available_at="known")}
    spec = Spec(
        {"rows": Source(data=ROWS, columns=columns)},
        Examples("rows", label="y", predict_at="at"),
        {"f": "target_mean(c)"},
    )
    assert "'c' is known at at + 1h" in problems(spec)


def features_of_x() -> FeatureTransformer:
    return FeatureTransformer({"f": f"target_mean(c, smoothing={M})", "n": "n"})


@pytest.mark.parametrize("kind", ["polars", "pandas", "numpy", "list"])
def test_the_transformer_cross_fits_what_a_model_is_trained_on_and_nothing_else(kind: str) -> None:
    rows, y = TRAIN.select("c", "n"), TRAIN["y"]
    given: Any = {
        "polars": y, "pandas": y.to_pandas(), "numpy": y.to_numpy(), "list": y.to_list(),
    }[kind]  # fmt: skip
    transformer = features_of_x().set_output(transform="polars")
    seen = transformer.fit_transform(rows, given)
    folds = pl.Series([str(row) for row in range(TRAIN.height)]).to_frame("row")
    fold = folds.select(farmhash_bucket(pl.col("row"), 5)).to_series()
    for place in range(5):
        mine = (fold == place).to_list()
        others = TRAIN.filter(fold != place)
        close(seen["f"].filter(mine), encoded(others, TRAIN.filter(mine)))
    close(transformer.transform(rows)["f"], encoded(TRAIN, TRAIN))
    close(features_of_x().set_output(transform="polars").fit(rows, given).transform(rows)["f"],
          encoded(TRAIN, TRAIN))  # fmt: skip


def test_the_transformer_pickles_and_works_in_a_pipeline() -> None:
    rows, y = TRAIN.select("c", "n").to_pandas(), TRAIN["y"].to_numpy()
    model = make_pipeline(features_of_x(), HistGradientBoostingClassifier(max_iter=3))
    scores = cross_val_score(model, rows, y, cv=3)
    assert np.isfinite(scores).all()
    transformer = features_of_x().fit(rows, y)
    again = pickle.loads(pickle.dumps(transformer))
    assert np.array_equal(again.transform(rows), transformer.transform(rows), equal_nan=True)


def test_the_transformer_takes_the_names_of_label_and_row_for_columns() -> None:
    rows = TRAIN.select(label="c", row="n", _label="status")
    features = {"f": "target_mean(label)", "g": "target_mean(row)", "h": "target_mean(_label)"}
    transformer = FeatureTransformer(features).set_output(transform="polars")
    made = transformer.fit_transform(rows, TRAIN["y"])
    assert [made[name].n_unique() > 3 for name in features] == [True] * 3
    assert transformer.transform(rows).columns == list(features)


def test_the_transformer_says_when_labels_are_missing_or_too_few() -> None:
    rows = TRAIN.select("c", "n")
    with pytest.raises(SpecError, match=r"fit\(X, y\)"):
        features_of_x().fit(rows)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        features_of_x().fit_transform(rows, [1, 0])
    words = FeatureTransformer({"f": "target_mean(c, positive='late')"})
    assert words.fit_transform(rows, TRAIN["status"].to_numpy()).shape == (TRAIN.height, 1)


@pytest.mark.parametrize("smoothing", [0, 0.5, 100])
def test_a_category_that_was_not_seen_has_the_prior_whatever_the_smoothing(
    smoothing: float,
) -> None:
    features = {"f": f"target_mean(c, smoothing={smoothing})"}
    plan, values, _ = fitted(spec_of(features=features))
    rows = pl.DataFrame({"c": ["never", "new", "a\nb", None]})
    served = local.lower(rows.lazy(), plan.features, values).collect()["f"]
    prior = float(TRAIN.select(pl.col("y").mean()).item())
    close(served, pl.Series([prior, prior, prior, None], dtype=pl.Float32))


def test_categories_stand_in_the_order_of_vocabularies() -> None:
    rows = pl.DataFrame({"id": range(5), "c": ["b", "é", "b", "z", "a"], "y": [1, 0, 1, 1, 0]})
    features = {"f": "target_mean(c)", "v": "vocabulary(c)"}
    spec = Spec({"rows": Source(data=rows)}, Examples("rows", keys="id", label="y"), features)
    _, values, _ = fitted(spec, rows)
    means, words = values.values()
    assert means.categories == words.words == ("b", "é", "z", "a")


def test_a_feature_of_another_label_is_another_feature() -> None:
    nodes = {fitted(spec_of(label=label))[0].features["f"] for label in ("y", "n", "y > 0")}
    folds = {fitted(spec_of(keys=keys))[0].features["f"] for keys in ("id", "who")}
    assert (len(nodes), len(folds)) == (3, 2)


@pytest.mark.parametrize("timed", [False, True])
def test_categories_of_noise_tell_nothing_of_the_label_of_a_training_row(timed: bool) -> None:
    rows = noise(4_000)
    examples: dict[str, Any] = {"predict_at": "at"} if timed else {}
    columns = {"y": Column(available_at="at + 1h")} if timed else {}
    spec = Spec(
        {"rows": Source(data=rows, columns=columns)},
        Examples("rows", keys="id", label="y", **examples),
        {"f": "target_mean(c, smoothing=1)"},
    )
    plan, values, made = fitted(spec, rows)
    everything = local.lower(rows.lazy(), plan.features, values).collect()["f"]
    label = rows["y"].to_numpy()
    seen = made["f"].is_not_null().to_numpy()
    assert np.corrcoef(everything.to_numpy(), label)[0, 1] > 0.5, "it would tell the label"
    assert abs(np.corrcoef(made["f"].to_numpy()[seen], label[seen])[0, 1]) < 0.06


def noise(rows: int) -> pl.DataFrame:
    """Return rows of which about two have each category, with labels by a coin."""
    random = np.random.default_rng(3)
    return pl.DataFrame({
        "id": np.arange(rows), "c": random.integers(0, rows // 2, rows),
        "y": random.integers(0, 2, rows),
        "at": START + pl.Series(random.permutation(rows)) * timedelta(hours=1),
    })  # fmt: skip
