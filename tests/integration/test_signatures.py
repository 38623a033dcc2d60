"""The signatures of a SavedModel over columns whose names and values are hard to tell apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit.cli import main
from featurekit.engines.dense import dense
from featurekit.errors import UsageError
from featurekit.job import run
from featurekit.runs import Run, open_run
from featurekit.spec.objects import Column, Examples, FrozenMapping, Source, Spec

SMALLEST = -(2**63)
DATA = pl.DataFrame(
    {
        "id": range(40),
        "net price": [1.5, 2.5, None, 4.5] * 10,
        "net_price": [1, 2, SMALLEST, None] * 10,
        "NET_PRICE": [2.5, None] * 20,
        "Größe": ["", "a", None, "b"] * 10,
        "x": [1.0, None] * 20,
        "x__missing": [True, False, None, None] * 10,
        "1/2": ["q", "q", None, "r"] * 10,
        "class": ["", None] * 20,
        "sure": ["", "s"] * 20,
        "bought": [0, 1, 1, None] * 10,
    },
    schema_overrides={"net price": pl.Float32, "NET_PRICE": pl.Float32, "x": pl.Float32},
)
FEATURES = {
    "filled": 'impute(col("net price"), "mean")',
    "gone": "is_missing(net_price)",
    "next": "net_price + 1",
    "twice": "NET_PRICE * 2",
    "size": 'is_missing(col("Größe"))',
    "shout": 'concat(upper(col("Größe")), "!")',
    "more": "x + 1",
    "flag": "x__missing",
    "half": 'hash_bucket(col("1/2"), 10)',
    "kind": 'is_missing(col("class"))',
    "surely": "equal(sure, '')",
}
RECIPE = Path(__file__).with_name("tfx_recipe.py")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    folder = tmp_path_factory.mktemp("data")
    DATA.write_parquet(folder / "rows.parquet")
    columns = FrozenMapping({"sure": Column("string", nullable=False)})
    return Spec(
        sources={"rows": Source(path="rows.parquet", columns=columns)},
        examples=Examples("rows", keys="id", label="bought > 0"),
        features=FEATURES,
        base=folder,
    )


@pytest.fixture(scope="module")
def made(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(spec, tmp_path_factory.mktemp("runs") / "odd", tensorflow=True)


def columns_of(made: Run) -> dict[str, pl.Series]:
    """The columns that the features read, of the rows that were written."""
    rows = DATA.filter(pl.col("bought").is_not_null())
    return {name: rows[name] for name in made.plan.serving_inputs}


def test_columns_whose_names_collide_are_told_apart_in_every_signature(made: Run) -> None:
    named = made.manifest["serving_inputs"]
    assert named["net price"]["name"] != named["net_price"]["name"] != named["NET_PRICE"]["name"]
    assert named["NET_PRICE"] == {
        "type": "float32", "name": "NET_PRICE", "mask": "NET_PRICE__missing"
    }  # fmt: skip
    assert named["x__missing"]["name"] == "x__missing"
    assert named["x"]["mask"] not in {entry["name"] for entry in named.values()}
    certificate = made.manifest["parity"]["signatures"]
    assert set(certificate) == {
        "serving_default", "serving_masked", "serving_examples", "transform_fn"
    }  # fmt: skip
    assert all(found["mismatches"] == [] for found in certificate.values())


def test_the_certificate_leaves_no_row_out_but_in_serving_default(made: Run) -> None:
    certificate = dict(made.manifest["parity"]["signatures"])
    held = DATA.filter(pl.col("bought").is_not_null()).select(
        (pl.col("Größe") == "") | (pl.col("class") == "") | (pl.col("sure") == "")
        | (pl.col("net_price") == SMALLEST)
    ).to_series().sum()  # fmt: skip
    assert held == 20
    default = certificate.pop("serving_default")
    assert (default["rows"], default["not_compared"]) == (30 - held, held)
    assert [found["rows"] for found in certificate.values()] == [30, 30, 30]


def test_a_run_says_by_column_what_serving_default_takes_for_missing(
    made: Run, spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, number = "the empty text", "the smallest integer"
    assert made.manifest["rows"]["stand_ins"] == {
        "net_price": {"value": number, "rows": 10},
        "Größe": {"value": text, "rows": 10},
        "class": {"value": text, "rows": 20},
        "sure": {"value": text, "rows": 20},
    }
    (tmp_path / "spec.yaml").write_text(
        f"sources: {{rows: {{path: {spec.base / 'rows.parquet'}}}}}\n"
        "examples: {source: rows}\n"
        "features: {gone: is_missing(net_price), kind: 'is_missing(col(\"class\"))'}\n"
    )
    arguments = ["run", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--no-tensorflow"]) == 0
    told = capsys.readouterr().out
    assert "warning     column 'net_price' holds the smallest integer in 10 rows: serving" in told
    assert "'class' holds the empty text in 20 rows: serving_default reads it as missing" in told
    assert "Größe" not in told, "no feature reads it"


def test_the_raw_schema_parses_missing_values_as_missing(made: Run) -> None:
    import tensorflow as tf
    import tensorflow_transform as tft

    spec = tft.TFTransformOutput(str(made.path)).raw_feature_spec()
    assert set(spec) == {*made.plan.serving_inputs, "bought"}
    assert spec["net price"] == tf.io.VarLenFeature(tf.float32)
    assert spec["net_price"] == spec["x__missing"] == tf.io.VarLenFeature(tf.int64)
    assert spec["Größe"] == tf.io.VarLenFeature(tf.string)
    assert spec["sure"] == tf.io.FixedLenFeature([], tf.string), "it is never missing"


def test_the_serving_recipe_of_tfx_gives_what_the_examples_hold(made: Run, tmp_path: Path) -> None:
    columns = columns_of(made)
    rows = pl.DataFrame(columns).with_columns(pl.col(pl.Boolean).cast(pl.Int64)).to_dicts()
    job = {"run": str(made.path), "label": "bought", "rows": rows, "out": str(tmp_path / "model")}
    for task in ("save", "serve"):
        done = subprocess.run(
            [sys.executable, RECIPE, task], input=json.dumps(job), check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    wanted = made.examples().to_polars().select(made.features)
    answers = json.loads(done.stdout)
    assert set(answers) == {"layer", "raw_features", "with_label", "one_by_one"}
    for way, answer in answers.items():
        assert_same(answer, wanted, way)


def assert_same(got: Mapping[str, Any], wanted: pl.DataFrame, way: str) -> None:
    assert set(got) == set(wanted.columns)
    for series in wanted:
        found, expected = got[series.name], dense(series)
        if expected.dtype.kind == "f":
            found = [np.nan if value is None else value for value in found]
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"{way} {series.name}")
        else:
            assert found == expected.tolist(), f"{way} {series.name}"


def texts(made: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [value.decode() if isinstance(value, bytes) else value for value in values.numpy()]
        for name, values in made.items()
    }


def test_serving_masked_carries_every_value_in_any_process(made: Run) -> None:
    import tensorflow as tf

    named, columns = made.manifest["serving_inputs"], columns_of(made)
    fed = {named[name]["name"]: tf.constant(dense(columns[name])) for name in columns}
    fed |= {
        named[name]["mask"]: tf.constant(columns[name].is_null().to_numpy()) for name in columns
    }
    serve = tf.saved_model.load(str(made.saved_model)).signatures["serving_masked"]
    shapes = serve.structured_input_signature[1]
    assert {spec.shape.rank for spec in shapes.values()} == {1}
    assert {shapes[entry["mask"]].dtype for entry in named.values()} == {tf.bool}
    wanted = made.examples().to_polars().select(made.features)
    assert_same(texts(serve(**fed)), wanted, "serving_masked")


@pytest.mark.parametrize("form", ["sparse", "ragged", "width 1", "rank 1"])
def test_the_keras_layer_takes_columns_of_every_form(made: Run, form: str) -> None:
    import tensorflow as tf

    columns = columns_of(made)
    wanted = made.examples().to_polars().select(made.features)
    if form in ("rank 1", "width 1"):
        # A dense column has no null: these rows say something else there.
        keep = ~np.logical_or.reduce([
            (series == "").fill_null(False).to_numpy() if series.dtype == pl.String
            else (series == SMALLEST).fill_null(False).to_numpy() if series.dtype == pl.Int64
            else np.zeros(len(series), bool)
            for series in columns.values()
        ])  # fmt: skip
        columns = {name: series.filter(keep) for name, series in columns.items()}
        wanted = wanted.filter(keep)
    fed = {}
    for name, series in columns.items():
        values = dense(series)
        rows = [[value] if there else []
                for value, there in zip(values, series.is_not_null(), strict=True)]  # fmt: skip
        dtype = tf.constant(values).dtype
        ragged = tf.ragged.constant(rows, dtype, ragged_rank=1)
        fed[name] = {
            "sparse": ragged.to_sparse(), "ragged": ragged, "rank 1": tf.constant(values),
            "width 1": tf.constant(values)[:, tf.newaxis],
        }[form]  # fmt: skip
    layer = made.keras_layer()
    assert layer.trainable_weights == []
    assert_same(texts(layer(fed)), wanted, form)
    assert_same(texts(tf.function(layer)(fed)), wanted, form)


def test_a_keras_model_holds_the_layer_and_is_exported_with_it(made: Run, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    kinds = {"float32": "float32", "int64": "int64", "bool": "int64", "string": "string"}
    inputs = {
        name: keras.Input((1,), name=f"in_{place}", dtype=kinds[entry["type"]])
        for place, (name, entry) in enumerate(made.manifest["serving_inputs"].items())
    }
    features = made.keras_layer(name="features")(inputs)
    assert features["filled"].shape == (None,)
    filled = keras.ops.expand_dims(features["filled"], -1)
    model = keras.Model(list(inputs.values()), keras.layers.Dense(1)(filled))
    model.export(str(tmp_path / "model"), verbose=False)
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    columns = columns_of(made)
    fed = {
        inputs[name].name: tf.constant(dense(series))[:, tf.newaxis]
        for name, series in columns.items()
    }
    wanted = made.examples().to_polars()["filled"].to_numpy()
    kernel, bias = (weight.numpy() for weight in model.layers[-1].weights)
    (answer,) = serve(**fed).values()
    np.testing.assert_allclose(answer[:, 0], wanted * kernel[0, 0] + bias[0], rtol=1e-5)


def test_the_keras_layer_says_which_input_is_missing_or_has_another_shape(made: Run) -> None:
    import tensorflow as tf

    layer, columns = made.keras_layer(), columns_of(made)
    fed = {name: tf.constant(dense(series)) for name, series in columns.items()}
    with pytest.raises(UsageError, match=r"the layer is not given 'net_price'"):
        layer({name: fed[name] for name in fed if name != "net_price"})
    with pytest.raises(UsageError, match=r"'x' has shape \(30, 2\)[^H]*Hint: give it dense, of"):
        layer(fed | {"x": tf.zeros([30, 2])})


def test_the_layer_of_a_run_that_says_nothing_of_its_inputs_calls_them_as_before(
    flights_like: pl.DataFrame, small_run: Run
) -> None:
    import tensorflow as tf

    manifest = {**small_run.manifest}
    del manifest["serving_inputs"]
    old = Run(small_run.path, manifest)
    rows = flights_like.head(9).with_columns(pl.col("distance").cast(pl.Float32))
    fed = {
        name: tf.constant(dense(rows[name])) for name in ("distance", "carrier", "seats", "sched")
    }
    got, wanted = old.keras_layer()(fed), small_run.keras_layer()(fed)
    for name in small_run.features:
        np.testing.assert_array_equal(got[name].numpy(), wanted[name].numpy())


def test_a_run_without_a_saved_model_has_no_layer(spec: Spec, tmp_path: Path) -> None:
    run(spec, tmp_path / "run", tensorflow=False)
    with pytest.raises(UsageError, match=r"has no SavedModel: not asked for"):
        open_run(tmp_path / "run").keras_layer()


def test_a_float64_input_has_no_raw_schema_and_the_manifest_says_why(tmp_path: Path) -> None:
    data = pl.DataFrame({"a": [0.1, None, 1e300]})
    columns = FrozenMapping({"a": Column("float64")})
    wide = Spec(
        sources={"rows": Source(data=data, columns=columns)},
        examples=Examples("rows"), features={"b": "a * 2"},
    )  # fmt: skip
    made = run(wide, tmp_path / "run", tensorflow=True)
    assert "a is declared float64" in made.manifest["saved_model"]["raw_schema"]
    assert not (made.path / "metadata").exists()
    assert set(made.manifest["parity"]["signatures"]) == {
        "serving_default", "serving_masked", "transform_fn"
    }  # fmt: skip


def test_a_run_on_beam_compares_and_counts_the_same_rows(spec: Spec, tmp_path: Path) -> None:
    # Statistics on Beam do not tell the smallest integer from a missing one: it is refused there.
    features = {name: text for name, text in FEATURES.items() if "net_price" not in text}
    narrow = Spec(sources=spec.sources, examples=spec.examples, features=features, base=spec.base)
    made = run(narrow, tmp_path / "beam", engine="beam", tensorflow=True)
    text = "the empty text"
    held = {"Größe": 10, "class": 20, "sure": 20}
    wanted = {name: {"value": text, "rows": rows} for name, rows in held.items()}
    assert made.manifest["rows"]["stand_ins"] == wanted
    assert sum("serving_default reads it as" in said for said in made.manifest["warnings"]) == 3
    certificate = made.manifest["parity"]["signatures"]
    assert certificate["serving_masked"]["rows"] == 30
    assert certificate["serving_default"]["not_compared"] == 20, "every other row"


def test_preprocessing_fn_takes_columns_whose_names_collide_by_either_name(tmp_path: Path) -> None:
    import tensorflow as tf

    import featurekit as fk

    (tmp_path / "spec.yaml").write_text(
        "sources: {r: {path: r.parquet, columns: {net price: {type: float32}, "
        "net_price: {type: float32}}}}\n"
        "examples: {source: r}\n"
        "features: {a: 'col(\"net price\") + 1', b: net_price + 1}\n"
    )
    function = fk.beam.preprocessing_fn(tmp_path / "spec.yaml")
    one, two = tf.constant([[1.0]]), tf.constant([[2.0]])
    for name in ("net price", "net_price_2"):
        made = function({name: one, "net_price": two})
        assert [made["a"].numpy().tolist(), made["b"].numpy().tolist()] == [[2.0], [3.0]]
    with pytest.raises(fk.DataError, match=r"'net price' has shape \[1, 2\]. Hint: give it dense"):
        function({"net price": tf.zeros([1, 2]), "net_price": two})
