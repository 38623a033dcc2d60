"""FeatureTransformer keeps scikit-learn's contract and computes what a run computes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from featurekit.errors import DataError, MissingExtra, SpecError, SpecErrors, UsageError
from featurekit.job import check, run
from featurekit.spec.expression import call, parse
from featurekit.spec.objects import Column, Examples, Feature, Source, Spec
from featurekit.spec.yaml import load_spec
from featurekit.transformer import FeatureTransformer
from featurekit.transforms.catalogue import operations
from tests.conftest import FEATURES

NUMBERS = {name: text for name, text in FEATURES.items() if name != "carrier_text"}
NOON = datetime(2024, 7, 1, 12)  # noqa: DTZ001  (pandas often holds such)
INTEGERS = {"seats": "int64"}
"""pandas makes floats of integers beside missing values."""
X = ["carrier", "distance", "seats", "sched"]
# Some of the carriers are empty: see test_words.py for the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*the vocabulary of carrier leaves out")


@pytest.fixture
def flights(flights_like: pl.DataFrame) -> pl.DataFrame:
    return flights_like.select(X)


@pytest.fixture
def late(flights_like: pl.DataFrame) -> np.ndarray:
    return (flights_like["delay"].fill_null(0) > 15).to_numpy()


@parametrize_with_checks([FeatureTransformer()])  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_it_computes_what_a_run_computes(flights: pl.DataFrame, tmp_path: Path) -> None:
    spec = Spec({"rows": Source(data=flights)}, Examples("rows"), FEATURES)
    written = run(spec, tmp_path / "run", tensorflow=False).examples().to_polars()
    made = FeatureTransformer(FEATURES).set_output(transform="polars").fit_transform(flights)
    vector = written["carrier_flags"].arr.to_struct(fields=[f"carrier_flags_{i}" for i in range(5)])
    expected = written.with_columns(vector).unnest("carrier_flags")
    assert made.equals(expected)


@pytest.mark.parametrize(
    "convert", [pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.clone]
)
def test_every_kind_of_table_gives_the_same(
    flights: pl.DataFrame, convert: Callable[[Any], Any]
) -> None:
    expected = FeatureTransformer(NUMBERS).fit_transform(flights)
    transformer = FeatureTransformer(NUMBERS, columns=INTEGERS).fit(convert(flights))
    np.testing.assert_array_equal(transformer.transform(convert(flights)), expected)
    assert list(transformer.feature_names_in_) == X


def test_columns_of_an_array_are_called_x0_x1() -> None:
    array = np.array([[1.0, 2.0], [3.0, np.nan]])
    made = FeatureTransformer({"a": "x0 + 1", "b": "is_missing(x1)"}).fit_transform(array)
    np.testing.assert_array_equal(made, [[2, 0], [4, 1]])
    unnamed = pd.DataFrame(array)
    np.testing.assert_array_equal(
        FeatureTransformer({"a": "x1"}).fit_transform(unnamed), array[:, [1]]
    )


def test_columns_of_python_objects_get_their_types() -> None:
    array = np.array([["a", 1, 2.5, True], ["b", None, 1, False], [None, 3, np.nan, None]], object)
    transformer = FeatureTransformer({"a": "lower(x0)", "b": "x1", "c": "x2 * 2", "d": "not x3"})
    made = transformer.set_output(transform="pandas").fit_transform(array)
    expected = {"a": ["a", "b", None], "b": [1, None, 3], "c": [5.0, 2.0, None], "d": [0, 1, None]}
    for name, values in expected.items():
        assert [None if pd.isna(value) else value for value in made[name]] == values, name


def test_statistics_stay_those_of_fit(flights: pl.DataFrame) -> None:
    transformer = FeatureTransformer(FEATURES).fit(flights)
    whole = transformer.transform(flights)
    for rows in (slice(0, 1), slice(100, 500), slice(0, 0)):
        part = transformer.transform(flights[rows])
        assert part.shape == (len(range(*rows.indices(len(whole)))), 13)
        pd.testing.assert_frame_equal(
            pd.DataFrame(part), pd.DataFrame(whole[rows]).reset_index(drop=True), check_dtype=False
        )


def test_strings_make_the_array_one_of_objects_and_missing_values_are_nan() -> None:
    table = pl.DataFrame({"s": ["A", None], "n": [2**60 + 1, None], "x": [0.5, None]})
    made = FeatureTransformer({"s": "lower(s)", "n": "n", "x": "x"}).fit_transform(table)
    assert made.dtype == object
    assert made[0].tolist() == ["a", 2**60 + 1, 0.5]
    assert all(np.isnan(value) for value in made[1])


def test_an_array_has_the_common_type_of_its_columns() -> None:
    table = pl.DataFrame({"n": [2**60 + 1, 2], "x": [0.5, 1.0]})
    integers = FeatureTransformer({"n": "n"}).fit_transform(table)
    assert integers.dtype == np.int64
    assert integers[0, 0] == 2**60 + 1
    assert FeatureTransformer({"x": "x"}).fit_transform(table).dtype == np.float32
    assert FeatureTransformer({"n": "n", "x": "x"}).fit_transform(table).dtype == np.float64


def test_vectors_are_laid_out_over_named_columns() -> None:
    table = pl.DataFrame({"s": ["b", "a", "b", None]})
    transformer = FeatureTransformer({"s": "one_hot_vocabulary(s)", "n": "length(s)"}).fit(table)
    assert transformer.get_feature_names_out().tolist() == ["s_0", "s_1", "n"]
    np.testing.assert_array_equal(
        transformer.transform(table)[:, :2], [[1, 0], [0, 1], [1, 0], [np.nan, np.nan]]
    )
    with pytest.raises(UsageError, match="two columns are called 's_1'"):
        FeatureTransformer({"s": "one_hot_vocabulary(s)", "s_1": "length(s)"}).fit(table)


def test_tables_come_out_with_the_types_of_their_features_and_the_index_of_the_rows(
    flights: pl.DataFrame,
) -> None:
    table = flights.to_pandas().set_axis([f"row {i}" for i in range(len(flights))])
    transformer = FeatureTransformer(FEATURES, columns=INTEGERS).fit(table)
    made = transformer.set_output(transform="pandas").transform(table)
    assert made.index.equals(table.index)
    kinds = {name: str(kind) for name, kind in made.dtypes.items()}
    assert kinds["distance_z"] == kinds["carrier_flags_4"] == "float32"
    assert kinds["carrier_text"] == "str"
    assert kinds["seats"] == kinds["hour"] == kinds["full"] == "Int64"
    polars = transformer.set_output(transform="polars").transform(table)
    assert polars.schema["seats"] == polars.schema["hour"] == pl.Int64
    assert polars.columns == list(made.columns)


def test_each_fold_is_fitted_on_its_own_rows(flights: pl.DataFrame, late: np.ndarray) -> None:
    features = FeatureTransformer(NUMBERS, columns=INTEGERS)
    model = make_pipeline(features, HistGradientBoostingClassifier(max_iter=3))
    folds = KFold(3)
    table = flights.to_pandas()
    found = cross_validate(model, table, late, cv=folds, return_estimator=True, return_indices=True)
    medians = []
    for estimator, rows in zip(found["estimator"], found["indices"]["train"], strict=True):
        (quantiles,) = (
            entry for name, entry in estimator[0].statistics_.items() if "linear" in name
        )
        medians.append(quantiles["boundaries"][0])
        assert medians[-1] == pytest.approx(table["distance"].iloc[rows].median(), rel=1e-6)
    assert len(set(medians)) == 3


def test_a_grid_search_chooses_among_features(flights: pl.DataFrame) -> None:
    table = flights.select("seats", "distance").drop_nulls().to_pandas()
    far = (table["distance"] > 1000).to_numpy()
    choices = [{"f": "zscore(seats)"}, {"f": "zscore(distance)"}]
    search = GridSearchCV(
        make_pipeline(FeatureTransformer(), LogisticRegression()),
        {"featuretransformer__features": choices}, cv=2,
    ).fit(table, far)  # fmt: skip
    assert search.best_params_ == {"featuretransformer__features": choices[1]}
    assert search.best_score_ > 0.95


def test_it_works_beside_others_in_a_column_transformer(
    flights: pl.DataFrame, late: np.ndarray
) -> None:
    columns = ColumnTransformer([
        ("made", FeatureTransformer({"far": "zscore(impute(distance, 'mean'))"}), ["distance"]),
        ("auto", FeatureTransformer(), ["carrier", "seats"]),
    ])  # fmt: skip
    table = flights.to_pandas()
    model = make_pipeline(columns, LogisticRegression())
    assert np.isfinite(cross_val_score(model, table, late, cv=2, error_score="raise")).all()
    columns.fit(table)
    assert columns.get_feature_names_out().tolist() == ["made__far", "auto__carrier", "auto__seats"]


def test_without_features_each_column_makes_one() -> None:
    table = pl.DataFrame({
        "petal length (cm)": [1.0, None, 3.0], "label": ["b", "a", None], "Label": [1, 3, 5],
        "2nd": [False, True, True], "class": [0, 0, 1],
    })  # fmt: skip
    transformer = FeatureTransformer().fit(table)
    assert {name: feature.expr for name, feature in transformer.spec_.features.items()} == {
        "petal_length_cm": parse("zscore(impute(col('petal length (cm)'), 'mean'))"),
        "label_2": parse("fill(vocabulary(label), -1)"),
        "Label": parse("zscore(impute(Label, 'mean'))"),
        "x_2nd": parse("impute(col('2nd'), 'most_frequent')"),
        "class_2": parse("zscore(impute(col('class'), 'mean'))"),
    }
    made = transformer.transform(pl.DataFrame({
        "petal length (cm)": [None], "label": ["new"], "Label": [None], "2nd": [None], "class": [0],
    }))  # fmt: skip
    np.testing.assert_allclose(made, [[0, -1, 0, 1, -np.sqrt(0.5)]], rtol=1e-6)


def test_a_column_that_makes_no_feature_by_itself_is_named() -> None:
    table = pl.DataFrame({"x": [1.0], "t": [NOON]})
    with pytest.raises(SpecError, match=r"column 't' is a timestamp.*Hint: .*hour\(t\)"):
        FeatureTransformer().fit(table)


def test_columns_are_declared_where_the_data_does_not_tell() -> None:
    table = pl.DataFrame({"t": [NOON], "x": [0.1]})
    features = {"hour": "hour(t)", "x": "x", "twice": "double"}
    columns: dict[str, Any] = {
        "t": {"zone": "America/New_York"},
        "x": "float64",
        "double": Column(expr="x + x"),
    }
    made = (
        FeatureTransformer(features, columns=columns)
        .set_output(transform="polars")
        .fit_transform(table)
    )
    assert made.row(0) == (16, 0.1, 0.2)


def test_expressions_may_be_text_objects_or_features(flights: pl.DataFrame) -> None:
    text = "zscore(log1p(distance))"
    inner = call(operations()["log1p"], ("distance",), {})
    made = call(operations()["zscore"], (inner,), {})
    expected = FeatureTransformer({"f": text}).fit_transform(flights)
    for value in (parse(text), made, Feature(text, owner="weather-team")):
        copy = clone(FeatureTransformer({"f": value}))
        np.testing.assert_array_equal(copy.fit_transform(flights), expected)


def test_columns_that_differ_from_those_of_fit_are_named(flights: pl.DataFrame) -> None:
    transformer = FeatureTransformer(FEATURES).fit(flights)
    with pytest.raises(DataError, match=r"^X: .*'seats'"):
        transformer.transform(flights.drop("seats"))
    everything = FeatureTransformer().fit(flights.select("seats", "carrier"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- more"):
        everything.transform(flights.select("seats", "carrier", more=1))


def test_columns_that_no_feature_reads_are_ignored_as_a_column_transformer_does(
    flights: pl.DataFrame,
) -> None:
    features = {"seats_z": "zscore(impute(seats, 'mean'))", "carrier_id": "vocabulary(carrier)"}
    transformer = FeatureTransformer(features).fit(flights)
    expected = transformer.transform(flights)
    other = flights.select("carrier", more=pl.lit("?"), seats="seats")
    for table in (other, other.to_pandas(), other.to_arrow(), other.drop("more")):
        np.testing.assert_array_equal(transformer.transform(table), expected)
    encoder = make_column_transformer((StandardScaler(), ["seats"])).fit(flights.to_pandas())
    assert encoder.transform(other.to_pandas()).shape == (flights.height, 1)


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_two_columns_of_one_name_are_one_clear_error(kind: str) -> None:
    twice = pd.DataFrame([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]], columns=["x", "y", "y"])
    table = twice if kind == "pandas" else pa.Table.from_arrays([[1, 2]] * 3, ["x", "y", "y"])
    transformer = FeatureTransformer({"f": "zscore(x)"})
    with pytest.raises(DataError, match=r"^X: 2 columns are called 'y'\. Hint: give each column"):
        transformer.fit(table)
    transformer.fit(twice[["x"]])
    np.testing.assert_array_equal(transformer.transform(table), [[-1.0], [1.0]])


def test_a_feature_that_is_constant_in_training_is_said() -> None:
    rows = pl.DataFrame({"x": [0.0] * 90 + [5.0] * 10, "v": ["a"] * 100, "w": list("ab") * 50})
    features = {
        "quarter": "bucketize(x, buckets=4)", "flag": "one_hot_vocabulary(v)",
        "none": "log(x) * nothing", "fine": "vocabulary(w)", "late": "x > 4",
    }  # fmt: skip
    rows = rows.with_columns(nothing=pl.lit(None, dtype=pl.Float64))
    with pytest.warns(UserWarning, match="training rows") as told:
        FeatureTransformer(features).fit(rows)
    said = [str(warning.message) for warning in told if issubclass(warning.category, UserWarning)]
    assert [text.split(" in each")[0] for text in said] == [
        "feature 'quarter' is 3", "feature 'flag' is [1.0]", "feature 'none' is missing"
    ]  # fmt: skip
    assert "each of the 100 training rows" in said[0]


def test_values_that_do_not_fit_the_types_of_fit_are_refused(flights: pl.DataFrame) -> None:
    transformer = FeatureTransformer(FEATURES).fit(flights)
    with pytest.raises(DataError, match=r"column 'seats': .* in 2,000 rows"):
        transformer.transform(flights.with_columns(seats=pl.lit(1.5)))


def test_transform_before_fit_is_refused(flights: pl.DataFrame) -> None:
    with pytest.raises(NotFittedError):
        FeatureTransformer(FEATURES).transform(flights)
    failed = FeatureTransformer({"f": "no_such_column"})
    with pytest.raises(SpecErrors):
        failed.fit(flights)
    with pytest.raises(NotFittedError):
        failed.transform(flights)
    with pytest.raises(NotFittedError):
        failed.get_feature_names_out()


def test_all_problems_of_the_features_come_together(flights: pl.DataFrame) -> None:
    with pytest.raises(SpecErrors) as caught:
        FeatureTransformer({"a": "zscore(carrier)", "b": "distanse"}).fit(flights)
    first, second = str(caught.value).splitlines()
    assert "feature 'a': zscore needs a number; 'carrier' is a string" in first
    assert "did you mean 'distance'?" in second


@pytest.mark.parametrize("copy", [
    lambda t: pickle.loads(pickle.dumps(t)),
    lambda t: joblib.load(_dumped(t)),
], ids=["pickle", "joblib"])  # fmt: skip
def test_it_survives_being_written(flights: pl.DataFrame, copy: Callable[[Any], Any]) -> None:
    transformer = FeatureTransformer(FEATURES).set_output(transform="polars").fit(flights)
    again = copy(transformer)
    assert again.transform(flights).equals(transformer.transform(flights))
    assert again.spec_ == transformer.spec_
    assert again.get_feature_names_out().tolist() == transformer.get_feature_names_out().tolist()


def _dumped(transformer: Any) -> Any:
    import io

    file = io.BytesIO()
    joblib.dump(transformer, file)
    file.seek(0)
    return file


def test_its_state_is_plain_data(flights: pl.DataFrame) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, entry in value.items():
                assert isinstance(key, str)
                walk(entry)
        elif isinstance(value, (list, tuple)):
            for entry in value:
                walk(entry)
        elif isinstance(value, np.ndarray):
            walk(value.tolist())
        else:
            assert value is None or isinstance(value, (bool, int, float, str))

    walk(FeatureTransformer(FEATURES).fit(flights).__getstate__())


def test_a_copy_has_the_parameters_and_nothing_fitted(flights: pl.DataFrame) -> None:
    columns = {"distance": "float64"}
    transformer = FeatureTransformer(FEATURES, columns=columns).fit(flights)
    copy = clone(transformer)
    assert copy.get_params() == {"features": FEATURES, "columns": columns}
    assert not hasattr(copy, "statistics_")
    assert copy.set_params(features={"f": "seats"}).features == {"f": "seats"}
    assert (
        repr(copy) == "FeatureTransformer(columns={'distance': 'float64'}, features={'f': 'seats'})"
    )


def test_its_spec_can_be_written_and_run(flights: pl.DataFrame, tmp_path: Path) -> None:
    transformer = FeatureTransformer(FEATURES, columns={"distance": "float64"}).fit(flights)
    text = transformer.spec_.to_yaml()
    (tmp_path / "spec.yaml").write_text(
        text.replace("rows:\n", "rows:\n    path: rows.parquet\n", 1)
    )
    flights.write_parquet(tmp_path / "rows.parquet")
    made = run(load_spec(tmp_path / "spec.yaml"), tmp_path / "run", tensorflow=False)
    expected = transformer.set_output(transform="polars").transform(flights)
    assert made.examples().to_polars()["distance_z"].equals(expected["distance_z"])


def test_the_training_rows_are_not_kept(flights: pl.DataFrame) -> None:
    transformer = FeatureTransformer({"f": "zscore(distance)"}).fit(flights)
    assert transformer.spec_.sources["rows"].data is None
    assert len(pickle.dumps(transformer)) < 2_000


def test_without_scikit_learn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "featurekit.transformer")
    with pytest.raises(MissingExtra, match="pip install 'altair"):
        import featurekit.transformer  # noqa: F401


def test_a_table_in_memory_with_two_columns_of_one_name_is_refused() -> None:
    twice = pd.DataFrame([[1.0, 2.0]], columns=["x", "x"])
    spec = Spec({"rows": Source(data=twice)}, Examples("rows"), {"f": "zscore(x)"})
    with pytest.raises(DataError, match="source 'rows': 2 columns are called 'x'"):
        check(spec)
