"""Keys, entities, hashes and words never pass through a float, however their column is stored."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import featurekit as fk
from featurekit.engines.bigquery.columns import stored_column
from featurekit.schema import read_schema
from featurekit.types import INT64, STRING
from tests.zetasql import evaluate

NEAR = 2**24 + 1
"""float32 has no such number: it becomes the even one before."""


def ran(tmp_path: Path, data: Any, features: dict[str, str], **examples: Any) -> pl.DataFrame:
    """Run features of a table, and return its examples."""
    spec = fk.Spec({"rows": fk.Source(data=data)}, fk.Examples("rows", **examples), features)
    run = fk.run(spec, tmp_path / "run", tensorflow=False, overwrite=True)
    return run.examples().to_polars()


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "parquet"])
def test_ids_of_which_one_is_missing_keep_every_digit(tmp_path: Path, kind: str) -> None:
    ids = [float(NEAR), None, float(NEAR - 1), float(2**53 - 1)]
    frame = pd.DataFrame({"id": ids})
    data: Any = frame
    if kind == "polars":
        data = pl.from_pandas(frame)
    elif kind == "arrow":
        data = pa.Table.from_pandas(frame)
    if kind == "parquet":
        frame.to_parquet(tmp_path / "rows.parquet")
        source = fk.Source(path=str(tmp_path / "rows.parquet"))
    else:
        source = fk.Source(data=data)
    features = {
        "word": "vocabulary(id)", "hash": "hash_bucket(id, 1000000)",
        "both": "cross(id, id, buckets=1000000)", "half": "id * 0.5",
        "text": "hash_bucket(concat(cast(id, 'string'), '!'), 1000000)",
    }  # fmt: skip
    run = fk.run(
        fk.Spec({"rows": source}, fk.Examples("rows", keys="id"), features),
        tmp_path / "run", tensorflow=False,
    )  # fmt: skip
    made = run.examples().to_polars()
    assert made["id"].to_list() == [NEAR, None, NEAR - 1, 2**53 - 1]
    assert made.filter(pl.col("id").is_not_null())["word"].n_unique() == 3
    for feature in ("hash", "both", "text"):
        whole = fk.Spec(
            {"rows": fk.Source(data=pl.DataFrame({"id": made["id"]}))},
            fk.Examples("rows", keys="id"), features,
        )  # fmt: skip
        other = fk.run(whole, tmp_path / "other", tensorflow=False, overwrite=True)
        assert made[feature].to_list() == other.examples().to_polars()[feature].to_list()
    assert run.manifest["columns"] == {"id": "int64"}
    applied = run.apply(pl.from_pandas(frame))
    assert applied["word"].to_list() == made["word"].to_list()
    assert run.apply(frame)["id"].tolist()[0] == NEAR


@pytest.mark.parametrize("value", [1.5, float(2**53), 1e300])
def test_a_float_that_is_no_exact_integer_is_an_error_that_names_the_row(
    tmp_path: Path, value: float
) -> None:
    frame = pl.DataFrame({"id": [1.0, None, value]})
    with pytest.raises(fk.DataError, match=r"column 'id': .* in row 3\).*string"):
        ran(tmp_path, frame, {"word": "vocabulary(id)"})
    # Followed: stored as text.
    texts = frame.with_columns(pl.col("id").cast(pl.String))
    assert ran(tmp_path, texts, {"word": "vocabulary(id)"})["word"].null_count() == 1


def test_the_use_decides_and_not_the_values(tmp_path: Path) -> None:
    frame = pl.DataFrame({"used": [1.0, 2.0], "number": [1.0, 2.0]})
    spec = fk.Spec(
        {"rows": fk.Source(data=frame)}, fk.Examples("rows"),
        {"word": "vocabulary(used)", "beside": "used + 1", "number": "number + 1"},
    )  # fmt: skip
    found = read_schema(spec)["rows"].types
    assert {name: str(of) for name, of in found.items()} == {"used": "int64", "number": "float32"}
    run = fk.run(spec, tmp_path / "run", tensorflow=False)
    assert run.manifest["features"]["beside"]["type"] == "int64"
    assert run.manifest["features"]["number"]["type"] == "float32"


@pytest.mark.parametrize("use", [
    "vocabulary(fill(id, -1))", "hash_bucket(where(id > 0, id, 0), 1000)",
    "hash_bucket(id // 2, 1000)", "vocabulary(made)", "hash_bucket(cast(id, 'int64'), 1000)",
])  # fmt: skip
def test_a_word_is_followed_down_to_its_column(use: str) -> None:
    frame = pl.DataFrame({"id": [float(NEAR), None]})
    spec = fk.Spec(
        {"rows": fk.Source(data=frame, columns={"made": {"expr": "id % 1000"}})},
        fk.Examples("rows"), {"x": use},
    )  # fmt: skip
    assert fk.check(spec).types["id"] == INT64


def test_keys_of_aggregations_and_lookups_are_exact_on_both_sides(tmp_path: Path) -> None:
    day = pl.datetime(2024, 1, 1, time_zone="UTC")
    asked = pl.DataFrame({"who": [float(NEAR), float(NEAR - 1), None], "n": [0, 1, 2]})
    past = pl.DataFrame({"id": [float(NEAR), float(NEAR), float(NEAR - 1), None]})
    towns = pl.DataFrame(
        {"id": [float(NEAR), float(NEAR - 1), None], "town": [2.0**24 + 3, 2.0**24 + 5, 1.0]}
    )
    spec = fk.Spec(
        {
            "rows": fk.Source(data=asked.with_columns(t=day + pl.duration(days=2))),
            "past": fk.Source(data=past.with_columns(t=day), event_time="t"),
            "towns": fk.Source(data=towns.drop_nulls()),
        },
        fk.Examples("rows", keys=["who", "n"], predict_at="t"),
        {"count": "seen.rows_7d", "town": "hash_bucket(home.town, 1000000)"},
        aggregations={
            "seen": {"source": "past", "by": {"who": "id"}, "windows": "7d",
                     "features": {"rows": "count()"}},
        },
        lookups={"home": {"source": "towns", "by": {"who": "id"}, "features": ["town"]}},
    )  # fmt: skip
    resolved = fk.check(spec)
    assert resolved.types["who"] == INT64
    assert resolved.past["past"]["id"] == resolved.past["towns"]["id"] == INT64
    assert resolved.past["towns"]["town"] == INT64, "a word of a feature"
    made = fk.run(spec, tmp_path / "run", tensorflow=False).examples().to_polars().sort("n")
    assert made["who"].to_list() == [NEAR, NEAR - 1, None]
    assert made["count"].to_list() == [2, 1, 0], "no key has no rows"
    found = made["town"].to_list()
    assert len({*found}) == 3


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Decimal(20, 0), pl.Int128])
def test_integers_beyond_64_bits_are_words_with_their_digits(tmp_path: Path, dtype: Any) -> None:
    ids = [2**64 - 1, 2**64 - 2, 7]
    frame = pl.DataFrame({"id": pl.Series([Decimal(i) for i in ids]).cast(dtype)})
    made = ran(tmp_path, frame, {"word": "vocabulary(id)"}, keys="id")
    assert made["id"].to_list() == [str(i) for i in ids]
    assert made["word"].n_unique() == 3


def test_ids_of_a_csv_beyond_64_bits_are_words_with_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,x\n18446744073709551615,1\n18446744073709551614,2\n7,3\n")
    spec = fk.Spec(
        {"rows": fk.Source(path=path)}, fk.Examples("rows", keys="id"), {"w": "vocabulary(id)"}
    )
    run = fk.run(spec, tmp_path / "run", tensorflow=False)
    ids = ["18446744073709551615", "18446744073709551614", "7"]
    assert run.examples().to_polars()["id"].to_list() == ids
    # As a number it is an error, and no missing value.
    spec = fk.Spec({"rows": fk.Source(path=path)}, fk.Examples("rows"), {"z": "id + 1"})
    with pytest.raises(fk.SpecError, match=r"beyond the integers of 64 bits.*string"):
        fk.run(spec, tmp_path / "number", tensorflow=False)


def test_ids_of_a_csv_that_pandas_wrote_with_a_missing_one_are_integers(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    pd.DataFrame({"id": [float(NEAR), None], "x": [1, 2]}).to_csv(path, index=False)
    for declared in ({}, {"id": "int64"}):
        spec = fk.Spec(
            {"rows": fk.Source(path=path, columns=declared)},
            fk.Examples("rows", keys="id"), {"x": "x"},
        )  # fmt: skip
        run = fk.run(spec, tmp_path / "run", tensorflow=False, overwrite=True)
        assert run.examples().to_polars()["id"].to_list() == [NEAR, None]


def test_both_sides_of_a_key_have_one_type_where_one_is_unsigned() -> None:
    spec = fk.Spec(
        {
            "rows": fk.Source(data=pl.DataFrame({"id": pl.Series([1], dtype=pl.UInt64)})),
            "more": fk.Source(data=pl.DataFrame({"id": [1], "x": [2.0]})),
        },
        fk.Examples("rows"), {"x": "found.x"},
        lookups={"found": {"source": "more", "by": "id", "features": ["x"]}},
    )  # fmt: skip
    assert fk.check(spec).types["id"] == INT64


def test_a_column_declared_a_float_is_no_key() -> None:
    source = fk.Source(data=pl.DataFrame({"id": [1.0]}), columns={"id": "float64"})
    with pytest.raises(fk.SpecError, match=r"'id' is a float64.*declare it: id: int64, or string"):
        fk.check(fk.Spec({"rows": source}, fk.Examples("rows", keys="id"), {"x": "id"}))
    followed = fk.Source(data=pl.DataFrame({"id": [1.0]}), columns={"id": "int64"})
    fk.check(fk.Spec({"rows": followed}, fk.Examples("rows", keys="id"), {"x": "id"}))


def test_a_split_by_hash_does_not_hash_floats(tmp_path: Path) -> None:
    ids = [float(2**24 + i) for i in range(200)]
    split = {"hash": "id", "eval": 0.5}
    frame = pl.DataFrame({"id": ids, "x": range(200)})
    made = ran(tmp_path, frame, {"x": "x"}, keys="id", split=split)
    whole = frame.with_columns(pl.col("id").cast(pl.Int64))
    assert made.equals(ran(tmp_path, whole, {"x": "x"}, keys="id", split=split))


def test_the_transformer_has_the_same_words() -> None:
    frame = pd.DataFrame({"id": [float(NEAR), float(NEAR - 1), None]})
    transformer = fk.FeatureTransformer({"w": "vocabulary(id)"}).fit(frame)
    assert len({*transformer.transform(frame)[:2, 0]}) == 2
    assert transformer.transform(frame.iloc[:1])[0, 0] == transformer.transform(frame)[0, 0]


@pytest.mark.parametrize(("dtype", "of", "values", "expected"), [
    ("FLOAT64", INT64, [float(NEAR), None, float("nan")], [NEAR, None, None]),
    ("NUMERIC", INT64, [Decimal(NEAR), None], [NEAR, None]),
    ("NUMERIC", STRING, [Decimal(10**20), None], [str(10**20), None]),
])  # fmt: skip
def test_bigquery_reads_keys_that_are_stored_as_other_numbers_exactly(
    dtype: str, of: Any, values: list[Any], expected: list[Any]
) -> None:
    tree = stored_column("id", of, "rows", fk.Source(), {"id": dtype}, whole=True)
    kind = pl.Float64 if dtype == "FLOAT64" else pl.String
    frame = pl.DataFrame({"id": pl.Series([v if v is None or dtype == "FLOAT64" else str(v)
                                           for v in values], dtype=kind)})  # fmt: skip
    made = f"SELECT CAST(id AS {dtype}) AS id FROM stored"
    found = evaluate(f"SELECT {tree.sql('bigquery')} AS made FROM ({made})", {"stored": frame})
    assert found["made"].to_list() == expected


def test_bigquery_refuses_a_key_that_is_no_integer() -> None:
    tree = stored_column("id", INT64, "rows", fk.Source(), {"id": "FLOAT64"}, whole=True)
    with pytest.raises(Exception, match=r"column 'id' of source 'rows' .*1\.5.*string"):
        evaluate(
            f"SELECT {tree.sql('bigquery')} AS made FROM stored",
            {"stored": pl.DataFrame({"id": [1.5]})},
        )
