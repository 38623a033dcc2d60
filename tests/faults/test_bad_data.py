"""Bad data: one clear error each, exit code 3, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from featurekit.errors import DataError, FeatureKitError, SpecError
from featurekit.job import run
from featurekit.spec.objects import Column, Examples, Source, Spec

Refuse = Callable[..., FeatureKitError]


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Run a one-feature spec, expect an error, and check that nothing was left behind."""

    def refuse(
        data: Any = None,
        feature: str = "zscore(x)",
        *,
        path: str | None = None,
        columns: dict[str, Any] | None = None,
        kind: type[FeatureKitError] = DataError,
        **examples: Any,
    ) -> FeatureKitError:
        before = sorted(tmp_path.rglob("*"))
        spec = Spec(
            sources={"rows": Source(path=path, data=data, columns=columns or {})},
            examples=Examples("rows", **examples),
            features={"f": feature},
            base=tmp_path,
        )
        with pytest.raises(kind) as caught:
            run(spec, tmp_path / "out", tensorflow=False)
        assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
        return caught.value

    return refuse


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "rows.csv").write_text(text)
        return "rows.csv"

    return write


def test_data_without_rows(refuse: Refuse) -> None:
    error = refuse(pl.DataFrame({"x": []}, schema={"x": pl.Float64}))
    assert "no rows" in str(error)
    assert error.exit_code == 3


def test_a_csv_file_with_a_header_only(refuse: Refuse, csv: Callable[[str], str]) -> None:
    assert "no rows" in str(refuse(path=csv("x,y\n")))


@pytest.mark.parametrize(
    "feature", ["zscore(x)", "bucketize(x, 4)", "scale_to_0_1(x)", "impute(x, 'most_frequent')"]
)
def test_an_all_null_number_under_a_statistic(refuse: Refuse, feature: str) -> None:
    error = refuse(pl.DataFrame({"x": [None, None]}, schema={"x": pl.Float64}), feature)
    assert "'f'" in str(error)
    assert "no value" in str(error)


def test_an_all_null_category_under_a_vocabulary(refuse: Refuse) -> None:
    error = refuse(pl.DataFrame({"x": [None, None]}, schema={"x": pl.String}), "vocabulary(x)")
    assert "no value" in str(error)


def test_a_million_distinct_words_need_top_k(refuse: Refuse) -> None:
    words = pl.select(x=pl.int_range(1_000_000).cast(pl.String))
    error = refuse(words, "vocabulary(x)")
    assert "1,000,000 distinct values" in str(error)
    assert "top_k" in str(error)


def test_a_missing_file(refuse: Refuse) -> None:
    assert "there is no file" in str(refuse(path="nowhere.parquet"))


def test_a_glob_that_matches_nothing(refuse: Refuse) -> None:
    assert "no file matches" in str(refuse(path="*.parquet"))


def test_a_file_that_is_not_parquet(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"junk" * 100)
    assert "truncated or not Parquet" in str(refuse(path="rows.parquet"))


def test_a_truncated_parquet_file(refuse: Refuse, tmp_path: Path) -> None:
    whole = tmp_path / "rows.parquet"
    pl.DataFrame({"x": range(1000)}).write_parquet(whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "truncated or not Parquet" in str(refuse(path="rows.parquet"))


def test_an_unreadable_file(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").mkdir()
    assert "is not a file" in str(refuse(path="rows.parquet"))


@pytest.mark.parametrize(
    "text", ["x,y\n1,2\n3\n4,5\n", "x,y\n1,2\n3,4,5\n6,7\n"], ids=["short", "long"]
)
def test_a_csv_file_with_ragged_rows(refuse: Refuse, csv: Callable[[str], str], text: str) -> None:
    assert "as many fields as the header" in str(refuse(path=csv(text)))


def test_a_blank_line_among_the_rows_of_a_csv_file(
    refuse: Refuse, csv: Callable[[str], str]
) -> None:
    assert "as many fields" in str(refuse(path=csv("x,y\n1,2\n\n3,4\n")))


def test_a_vocabulary_without_words_makes_no_vector(refuse: Refuse) -> None:
    rows = pl.DataFrame({"x": ["u", "v"]})
    error = refuse(rows, "one_hot_vocabulary(x, frequency_threshold=5)")
    assert "'f'" in str(error)


def test_names_of_columns_that_featurekit_uses_itself(refuse: Refuse) -> None:
    error = refuse(pl.DataFrame({"~1": [1.0]}), "zscore(col('~1'))", kind=SpecError)
    assert "begin with ~" in str(error)


def test_split_names_that_are_not_ascii_or_differ_in_case(refuse: Refuse) -> None:
    odd = pl.DataFrame({"s": ["train", "é"], "x": [1.0, 2.0]})
    assert "cannot name a split" in str(refuse(odd, split={"column": "s"}))
    twins = pl.DataFrame({"s": ["train", "Train"], "x": [1.0, 2.0]})
    assert "differ only in case" in str(refuse(twins, split={"column": "s"}))


def test_a_csv_file_with_another_separator(refuse: Refuse, csv: Callable[[str], str]) -> None:
    assert "separator: ';'" in str(refuse(path=csv("x;y\n1;2\n")))


def test_a_csv_header_that_names_a_column_twice(refuse: Refuse, csv: Callable[[str], str]) -> None:
    assert "'x' stands twice" in str(refuse(path=csv("x,x\n1,2\n")))


def test_a_csv_file_that_is_not_utf8(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"x,y\n1,\xff\xfe\n")
    assert "UTF-8" in str(refuse(None, "vocabulary(y)", path="rows.csv"))


def test_text_where_a_number_was_declared(refuse: Refuse, csv: Callable[[str], str]) -> None:
    error = refuse(path=csv("x\n1\nabc\n"), columns={"x": "int64"})
    assert "'x'" in str(error)
    assert "'abc'" in str(error)
    assert "abc" in str(refuse(path=csv("x\n1\nabc\n"), columns={"x": "float32"}))


def test_naive_and_zoned_times_mixed(refuse: Refuse, csv: Callable[[str], str]) -> None:
    path = csv("t\n2013-01-01T10:00:00Z\n2013-01-01 11:00:00\n")
    assert "without a zone in 1 row" in str(
        refuse(None, "hour(t)", path=path, columns={"t": "timestamp"})
    )
    declared = {"t": Column(type="timestamp", zone="UTC")}
    assert "mix times" in str(refuse(None, "hour(t)", path=path, columns=declared))


def test_naive_times_need_a_declared_zone(refuse: Refuse) -> None:
    data = pl.DataFrame({"t": ["2020-01-01T00:00:00"]}).select(pl.col("t").str.to_datetime())
    assert "zone" in str(refuse(data, "hour(t)", kind=SpecError))


def test_milliseconds_taken_for_seconds(refuse: Refuse) -> None:
    data = pl.DataFrame({"t": [1_700_000_000_000]})
    error = refuse(data, "hour(t)", columns={"t": Column(type="timestamp", unit="s")})
    assert "milliseconds taken for seconds" in str(error)
    stored = data.with_columns(pl.col("t").mul(1_000_000).cast(pl.Datetime("ms", "UTC")))
    assert "milliseconds taken for seconds" in str(refuse(stored, "hour(t)"))


@pytest.mark.parametrize("unit", ["us", "ms", "integers", "text"])
def test_the_last_moment_of_the_year_9999_is_a_time(tmp_path: Path, unit: str) -> None:
    end = pl.Series("t", ["9999-12-31T23:59:59.999Z"])
    stored = end.str.to_datetime(time_unit="ms", time_zone="UTC")
    data = {
        "us": stored.cast(pl.Datetime("us", "UTC")),
        "ms": stored,
        "integers": stored.dt.timestamp("ms"),
        "text": end,
    }[unit]
    spec = Spec(
        sources={"rows": Source(data=data.to_frame(), columns={"t": {"type": "timestamp",
                                "unit": "ms"} if unit == "integers" else "timestamp"})},
        examples=Examples("rows"),
        features={"year": "year(t)"},
    )  # fmt: skip
    made = run(spec, tmp_path / "out", tensorflow=False).examples("train").to_polars()
    assert made["year"].to_list() == [9999]


def test_integer_keys_beyond_two_to_the_53_in_a_float_column(refuse: Refuse) -> None:
    data = pl.DataFrame({"k": [float(2**55), 2.0], "x": [1.0, 2.0]})
    error = refuse(data, columns={"k": "int64"}, keys=["k"])
    assert "9007199254740992" in str(error)


def test_integers_beyond_64_bits(refuse: Refuse) -> None:
    data = pl.DataFrame({"k": [2**63 + 5], "x": [1.0]}, schema={"k": pl.UInt64, "x": pl.Float64})
    assert "64 bits" in str(refuse(data, keys=["k"], columns={"k": "int64"}))


def test_keys_beyond_64_bits_are_their_digits(tmp_path: Path) -> None:
    data = pl.DataFrame({"k": [2**63 + 5], "x": [1.0]}, schema={"k": pl.UInt64, "x": pl.Float64})
    spec = Spec({"rows": Source(data=data)}, Examples("rows", keys=["k"]), {"f": "x"})
    made = run(spec, tmp_path / "out", tensorflow=False)
    assert made.examples().to_polars()["k"].to_list() == ["9223372036854775813"]


def test_missing_values_where_none_are_allowed(refuse: Refuse) -> None:
    data = pl.DataFrame({"x": [1.0, None]})
    assert "nullable: false" in str(refuse(data, columns={"x": Column(nullable=False)}))


def test_rows_without_any_label(refuse: Refuse) -> None:
    data = pl.DataFrame({"x": [1.0], "y": [None]}, schema={"x": pl.Float64, "y": pl.Int64})
    assert "no row has a label" in str(refuse(data, label="y"))


def test_a_split_column_with_missing_or_odd_values(refuse: Refuse) -> None:
    missing = pl.DataFrame({"s": ["train", None], "x": [1.0, 2.0]})
    assert "no value in the split column" in str(refuse(missing, split={"column": "s"}))
    odd = pl.DataFrame({"s": ["train", "a/b"], "x": [1.0, 2.0]})
    assert "'a/b' cannot name a split" in str(refuse(odd, split={"column": "s"}))
    untrained = pl.DataFrame({"s": ["eval"], "x": [1.0]})
    assert "train" in str(refuse(untrained, split={"column": "s"}))


def test_a_pandas_column_of_mixed_objects(refuse: Refuse) -> None:
    assert "mixed Python objects" in str(refuse(pd.DataFrame({"x": [1, "a"]})))


def test_integer_keys_beyond_two_to_the_53_survive(tmp_path: Path) -> None:
    keys = [2**53 + 1, 2**53 + 2, 2**63 - 1]
    data = pl.DataFrame({"k": keys, "x": [1.0, 2.0, 3.0]})
    spec = Spec(
        sources={"rows": Source(data=data)},
        examples=Examples("rows", keys=["k"]),
        features={"f": "x"},
    )
    made = run(spec, tmp_path / "out", tensorflow=False)
    assert made.examples().to_polars()["k"].to_list() == keys
    assert made.examples().to_pandas()["k"].tolist() == keys


def test_csv_integers_beyond_two_to_the_53_survive_beside_decimals(
    refuse: Refuse, csv: Callable[[str], str], tmp_path: Path
) -> None:
    assert "'1.5'" in str(refuse(path=csv("x\n9007199254740993\n1.5\n"), columns={"x": "int64"}))
    path = csv("x,y\n9007199254740993,1.5\n2.0,2.5\n")
    spec = Spec(
        sources={"rows": Source(path=path, columns={"x": "int64"})},
        examples=Examples("rows"),
        features={"f": "x"},
        base=tmp_path,
    )
    made = run(spec, tmp_path / "out", tensorflow=False)
    assert made.examples().to_polars()["f"].to_list() == [2**53 + 1, 2]


def test_a_file_whose_name_looks_like_a_glob_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "d[1]"
    folder.mkdir()
    (folder / "a[1].csv").write_text("x\n7\n")
    (folder / "a1.csv").write_text("x\n1\n")
    for path, wanted in (("a*.csv", [1, 7]), ("a[1].csv", [7])):
        spec = Spec(
            sources={"rows": Source(path=path)},
            examples=Examples("rows"),
            features={"f": "x"},
            base=folder,
        )
        made = run(spec, folder / f"out[{len(wanted)}]", tensorflow=False)
        assert sorted(made.examples().to_polars()["f"].to_list()) == wanted


def test_nan_is_missing_in_columns_read_as_integers_and_booleans(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": [1.0, float("nan")], "b": [float("nan"), 1.0]})
    spec = Spec(
        sources={"rows": Source(data=rows, columns={"n": "int64", "b": "bool"})},
        examples=Examples("rows"),
        features={"n": "n", "b": "b"},
    )
    made = run(spec, tmp_path / "out", tensorflow=False)
    assert made.examples().to_polars().rows() == [(1, None), (None, 1)]
    assert made.manifest["rows"]["nan_read_as_missing"] == {"n": 1, "b": 1}


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_stored_time_is_quoted_as_a_time_and_not_as_a_number(unit: Any) -> None:
    times = pl.Series("t", ["2024-03-31 02:30:00"]).str.to_datetime().cast(pl.Datetime(unit))
    source = Source(
        data=pl.DataFrame([times]), columns={"t": Column("timestamp", zone="Europe/Berlin")}
    )
    spec = Spec({"rows": source}, Examples("rows"), {"hour": "hour(t)"})
    with pytest.raises(DataError, match=r"the first is '2024-03-31 02:30:00\.0+' in row 1"):
        run(spec, "unused", tensorflow=False)


@pytest.mark.parametrize(
    ("stored", "quoted"),
    [(pl.Datetime("ms"), "4611686018427387904 ms"), (pl.Datetime("us"), "4611686018427387904 us"),
     (pl.Date(), "1073741824 days")],
)  # fmt: skip
def test_a_time_that_no_calendar_has_is_quoted_with_its_unit(stored: Any, quoted: str) -> None:
    number = pl.Series("t", [2**30 if stored == pl.Date else 2**62])
    times = number.cast(pl.Int32 if stored == pl.Date else pl.Int64).cast(stored)
    source = Source(data=pl.DataFrame([times]), columns={"t": Column("timestamp", zone="UTC")})
    spec = Spec({"rows": source}, Examples("rows"), {"hour": "hour(t)"})
    with pytest.raises(DataError, match=rf"the first is '{quoted} since 1970' in row 1"):
        run(spec, "unused", tensorflow=False)
