"""Files as people have them: each is read right, or refused with the line that helps."""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml

import featurekit as fk
from featurekit.errors import DataError, FeatureKitWarning, SpecError, SpecErrors

_NOON = datetime(2024, 5, 1, 12, tzinfo=UTC).replace(tzinfo=None)
Files = Mapping[str, str | bytes]


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def spec(
    folder: Path, files: Files, features: Mapping[str, str], path: str = "", **source: Any
) -> fk.Spec:
    write(folder, files)
    return fk.Spec(
        sources={"rows": fk.Source(path=path or next(iter(files)), **source)},
        examples={"source": "rows"}, features=features, base=folder,
    )  # fmt: skip


def values(
    folder: Path, files: Files, features: Mapping[str, str], path: str = "", **source: Any
) -> dict[str, list[Any]]:
    """Return the features that a run writes."""
    made = fk.run(
        spec(folder, files, features, path, **source), folder / "out", tensorflow=False,
        overwrite=True,
    )  # fmt: skip
    return made.examples().to_polars().to_dict(as_series=False)


def refused(folder: Path, files: Files, feature: str, path: str = "", **source: Any) -> str:
    with pytest.raises((DataError, SpecErrors)) as caught:
        values(folder, files, {"f": feature}, path, **source)
    return str(caught.value)


def pasted(message: str) -> dict[str, Any]:
    """Return the settings of a source that a hint says, as YAML reads them."""
    hint = message.partition("Hint: ")[2]
    found = re.findall(
        r"\b(null_values|decimal|thousands|encoding|skip_rows|comment|header|separator|escape): "
        r"(\[.*?\]|'.*?'|\"[^\"]*\"|[\w-]+)", hint,
    )  # fmt: skip
    return {name: yaml.safe_load(text) for name, text in found}


@pytest.mark.parametrize("empty", ["x,c\n", "x,c", "x,c\n,\n,\n"])
@pytest.mark.parametrize("place", [0, 2])
def test_a_part_without_values_does_not_change_the_types_of_other_parts(
    tmp_path: Path, empty: str, place: int
) -> None:
    files = {"part-1.csv": "x,c\n1,7\n2,8\n", f"part-{place}.csv": empty}
    found = values(tmp_path, files, {"x": "x + 1", "c": "c"}, "part-*.csv")
    assert [value for value in found["x"] if value is not None] == [2, 3]
    assert [value for value in found["c"] if value is not None] == [7, 8]
    manifest = fk.open_run(tmp_path / "out").manifest
    assert manifest["reading"]["rows"]["inferred"] == {"x": "int64", "c": "int64"}


def test_a_column_without_a_value_in_the_first_rows_is_read_on_alone(tmp_path: Path) -> None:
    text = "x,y\n" + ",1\n" * 100_000 + "41,1\n"
    found = values(tmp_path, {"a.csv": text}, {"x": "coalesce(x + 1, 0)"})["x"]
    assert (len(found), found[-1], sum(found)) == (100_001, 42, 42)


@pytest.mark.parametrize(
    ("parts", "type"),
    [
        (["1", "2.5"], "float32"), (["2.5", "1"], "float32"), (["1", "word"], "string"),
        (["true", "False"], "bool"), (["true", "1"], "string"), (["1", ""], "int64"),
        (["", ""], "string"), (["1e3", "7"], "float32"),
    ],
)  # fmt: skip
def test_types_of_files_join(tmp_path: Path, parts: list[str], type: str) -> None:
    files = {f"p{place}.csv": f"x,y\n{text},1\n" for place, text in enumerate(parts)}
    resolved = fk.check(spec(tmp_path, files, {"f": "is_missing(x)"}, "p*.csv"))
    assert str(resolved.types["x"]) == type


def test_a_later_value_of_another_type_is_named_with_file_line_and_what_to_declare(
    tmp_path: Path,
) -> None:
    rows = '1,"two\nlines"\n' * 100_000
    files = {"a.csv": "x,y\n1,2\n", "b.csv": f"x,y\n{rows}2.5,\n"}
    message = refused(tmp_path, files, "x + 1", "?.csv")
    assert f"{tmp_path / 'b.csv'}:200002" in message
    assert "'2.5' is not an int64" in message
    assert message.endswith("x: float64")
    assert values(tmp_path, files, {"f": "x"}, "?.csv", columns={"x": "float64"})["f"][-1] == 2.5
    files = {"b.csv": f"x,y\n{rows}NA,\n"}
    assert pasted(refused(tmp_path, files, "x + 1")) == {"null_values": ["NA"]}
    files = {"b.csv": f"x,y\n{rows}abc,\n"}
    assert "x: string" in refused(tmp_path, files, "x + 1")


@pytest.mark.parametrize("marker", ["NA", "N/A", "null", "NULL", "None", "-", "?", "#N/A", r"\N"])
def test_a_marker_of_missing_values_is_named_with_the_line_to_paste(
    tmp_path: Path, marker: str
) -> None:
    files = {"a.csv": f"x,y\n1,2\n{marker},3\n5,4\n"}
    message = refused(tmp_path, files, "zscore(x)")
    assert "would be int64 but for" in message
    found = values(tmp_path, files, {"f": "impute(x, 'mean')"}, **pasted(message))
    assert found["f"] == [1.0, 3.0, 5.0]
    words = spec(tmp_path, files, {"f": "vocabulary(x)"})
    with pytest.warns(FeatureKitWarning, match="null_values"):
        fk.check(words)
    made = fk.run(words, tmp_path / "words", tensorflow=False)
    assert "null_values" in made.manifest["warnings"][0]
    declared = refused(tmp_path, files, "zscore(x)", columns={"x": "float32"})
    assert pasted(declared) == {"null_values": [marker]}


def test_nan_in_text_is_missing_and_counted(tmp_path: Path) -> None:
    found = values(tmp_path, {"a.csv": "x,y\n1,2\nnan,3\n5,4\n"}, {"f": "impute(x, 'mean')"})
    assert found["f"] == [1.0, 3.0, 5.0]
    assert fk.open_run(tmp_path / "out").manifest["rows"]["nan_read_as_missing"] == {"x": 1}


@pytest.mark.parametrize(
    ("texts", "numbers", "settings"),
    [
        (["1,5", "2,25", "3"], [1.5, 2.25, 3.0], {"decimal": ","}),
        (["1.234,5", "7,0"], [1234.5, 7.0], {"decimal": ",", "thousands": "."}),
        (["1,234.5", "7"], [1234.5, 7.0], {"thousands": ","}),
        (["-1.234.567", "+7"], [-1234567, 7], {"decimal": ",", "thousands": "."}),
    ],
)
def test_numbers_as_people_write_them_are_read_as_the_hint_says(
    tmp_path: Path, texts: list[str], numbers: list[float], settings: dict[str, str]
) -> None:
    files = {"a.csv": "x;y\n" + "".join(f"{text};1\n" for text in texts)}
    assert pasted(refused(tmp_path, files, "x * 1", separator=";")) == settings
    found = values(tmp_path, files, {"f": "x * 1"}, separator=";", **settings)
    assert found["f"] == numbers
    declared = values(
        tmp_path, files, {"f": "x * 1"}, separator=";", columns={"x": "float64"}, **settings
    )
    assert declared["f"] == numbers


def test_a_comma_and_three_digits_may_be_either_and_both_are_said(tmp_path: Path) -> None:
    files = {"a.csv": "x;y\n1,234;1\n5,678;1\n"}
    message = refused(tmp_path, files, "x * 1", separator=";")
    assert pasted(message) == {"decimal": ",", "thousands": ","}
    for setting, wanted in (("decimal", [1.234, 5.678]), ("thousands", [1234, 5678])):
        found = values(
            tmp_path, files, {"f": "x * 1"}, separator=";", columns={"x": "float64"},
            **{setting: ","},
        )  # fmt: skip
        assert found["f"] == wanted


def test_a_group_of_other_than_three_digits_is_no_number(tmp_path: Path) -> None:
    files = {"a.csv": "x\n1.5\n"}
    message = refused(
        tmp_path, files, "x * 1", columns={"x": "float32"}, decimal=",", thousands="."
    )
    assert "'1.5'" in message


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["$5.00", "$1,234.50"], [5.0, 1234.5]), (["50%", "7.5%"], [0.5, 0.075]),
        (["(7)", "8"], [-7.0, 8.0]), (["-$3.5", "$2"], [-3.5, 2.0]),
        (["€ 1.234,50", "€ 2,00"], [1234.5, 2.0]), (["($1,000)", "$2"], [-1000.0, 2.0]),
    ],
)  # fmt: skip
def test_signs_around_numbers_get_a_derived_column_that_is_right(
    tmp_path: Path, texts: list[str], numbers: list[float]
) -> None:
    files = {"a.csv": "x;y\n" + "".join(f"{text};1\n" for text in texts)}
    message = refused(tmp_path, files, "x * 1", separator=";")
    column = yaml.safe_load(message.partition("a derived column: ")[2])
    assert list(column) == ["x_number"]
    found = values(tmp_path, files, {"f": "x_number"}, separator=";", columns=column)
    assert found["f"] == pytest.approx(numbers)


def test_leading_zeros_are_kept_and_said(tmp_path: Path) -> None:
    files = {"a.csv": "zip,y\n01234,1\n98101,2\n"}
    made = spec(tmp_path, files, {"f": "zip"})
    with pytest.warns(FeatureKitWarning, match="'01234' would lose its zeros"):
        fk.check(made)
    assert values(tmp_path, files, {"f": "zip"})["f"] == ["01234", "98101"]
    assert values(tmp_path, files, {"f": "zip"}, columns={"zip": "int64"})["f"] == [1234, 98101]
    assert values(tmp_path, {"b.csv": "x\n0\n-0\n0.5\n"}, {"f": "x"})["f"] == [0.0, 0.0, 0.5]


def test_integers_beyond_64_bits_keep_their_digits(tmp_path: Path) -> None:
    files = {"a.csv": "id,y\n12345678901234567890,1\n7,2\n"}
    assert values(tmp_path, files, {"f": "id"})["f"] == ["12345678901234567890", "7"]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress),
        ("a.csv.zst", lambda data: pa.compress(data, codec="zstd", asbytes=True)),
        ("a.csv", gzip.compress),
    ],
)  # fmt: skip
def test_compressed_files_are_read(tmp_path: Path, name: str, pack: Any) -> None:
    data = b"x,y\n" + b"".join(b"%d,a\n" % row for row in range(1000))
    found = values(tmp_path, {name: pack(data)}, {"f": "x + 1"})
    assert found["f"] == list(range(1, 1001))
    # Two members, one after the other, are one file.
    found = values(tmp_path, {name: pack(data) + pack(b"1000,b\n")}, {"f": "x + 1"})
    assert found["f"] == list(range(1, 1002))


def test_a_compressed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"x,y\n1,2\n" * 5000)
    assert "damaged" in refused(tmp_path, {"a.csv.gz": whole[:-10]}, "x + 1")
    assert "zip archive" in refused(tmp_path, {"a.csv": b"PK\x03\x04rest"}, "x + 1")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    data = "x,città\r\n1,Málaga\r\n2,León\r\n".encode(encoding)
    files = {"a.csv": data}
    feature = {"f": 'upper(col("città"))'}
    assert values(tmp_path, files, feature, encoding=encoding)["f"] == ["MÁLAGA", "LEÓN"]
    if encoding != "utf-8-sig":
        message = refused(tmp_path, files, 'upper(col("città"))')
        assert "not UTF-8" in message
        assert pasted(message)["encoding"]
    with pytest.raises(SpecError, match="is not an encoding"):
        fk.Source(path="a.csv", encoding="klingon")


def test_title_lines_are_named_and_left_out(tmp_path: Path) -> None:
    files = {"a.csv": "Report, of 2024\nall regions\n\nx,y,z\n1,2,3\n4,5,6\n7,8,9\n"}
    message = refused(tmp_path, files, "x + 1")
    assert pasted(message) == {"skip_rows": 3}
    assert values(tmp_path, files, {"f": "x + 1"}, **pasted(message))["f"] == [2, 5, 8]


def test_comment_lines_are_named_and_left_out(tmp_path: Path) -> None:
    files = {"a.csv": "# made by\n# a tool\nx,y\n1,2\n# in between\n3,4\n# end\n"}
    message = refused(tmp_path, files, "x + 1")
    assert pasted(message)["comment"] == "#"
    assert values(tmp_path, files, {"f": "x + 1"}, comment="#")["f"] == [2, 4]


def test_the_line_of_a_later_value_counts_titles_and_comments(tmp_path: Path) -> None:
    rows = "# c\n" + "1\n" * 100_000 + "x\n"
    files = {"a.csv": f"title\n# top\nn\n{rows}"}
    message = refused(tmp_path, files, "n + 1", skip_rows=1, comment="#")
    assert f"a.csv:{3 + 1 + 100_000 + 1}:" in message


def test_columns_without_a_name_are_called_by_their_place(tmp_path: Path) -> None:
    files = {"a.csv": ",x,\n0,1,2\n1,3,4\n"}
    (said,) = fk.check(spec(tmp_path, files, {"f": "x"})).noticed
    assert "column_1, column_3" in said
    found = values(tmp_path, files, {"a": "column_1", "b": "x", "c": "column_3"})
    assert found == {"a": [0, 1], "b": [1, 3], "c": [2, 4]}


def test_doubled_names_get_names_of_their_own(tmp_path: Path) -> None:
    files = {"a.csv": "x,x,y\n1,2,3\n4,5,6\n"}
    message = refused(tmp_path, files, "x")
    assert pasted(message) == {"header": ["x", "x_2", "y"]}
    found = values(tmp_path, files, {"f": "x_2", "y": "y"}, **pasted(message))
    assert found == {"f": [2, 5], "y": [3, 6]}
    assert "2 names" in refused(tmp_path, files, "x", header=["x", "y"])


@pytest.mark.parametrize("end", ["\n\n\n", "\r\n\r\n", "\n\n\r\n"])
def test_blank_lines_at_the_end_hold_nothing(tmp_path: Path, end: str) -> None:
    files: Files = {
        "a.csv": f"x,y\n1,2\n3,4{end}",
        "b.csv.gz": gzip.compress(f"x,y\n5,6{end}".encode()),
    }
    found = values(tmp_path, files, {"f": "x + 1"}, "?.csv*")
    assert found["f"] == [2, 4, 6]
    assert (tmp_path / "a.csv").read_bytes().endswith(end.encode())


def test_white_space_between_fields_may_be_any(tmp_path: Path) -> None:
    files = {"a.txt": '  x   y\tname\n  1  2.5\t  "a  b"\n10   20   c\n 3 4 d\n'}
    message = refused(tmp_path, files, "x + 1")
    assert pasted(message) == {"separator": "whitespace"}
    found = values(tmp_path, files, {"x": "x", "y": "y", "n": "name"}, separator="whitespace")
    assert found == {"x": [1, 10, 3], "y": [2.5, 20.0, 4.0], "n": ["a  b", "c", "d"]}


def test_a_backslash_may_stand_before_quotes(tmp_path: Path) -> None:
    files = {"a.csv": 'x,y\n1,"say \\"hi\\", twice"\n2,"a \\\\ b"\n3,""\n4,\n'}
    message = refused(tmp_path, files, "x + 1")
    assert pasted(message) == {"escape": "\\"}
    found = values(tmp_path, files, {"x": "x", "y": "y"}, **pasted(message))
    assert found == {"x": [1, 2, 3, 4], "y": ['say "hi", twice', "a \\ b", "", None]}


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_folders_name_columns(tmp_path: Path, format: str) -> None:
    for year, month, x in ((2024, "01", 1), (2025, "12", 2)):
        folder = tmp_path / f"d/year={year}/month={month}"
        folder.mkdir(parents=True)
        frame = pl.DataFrame({"x": [x]})
        frame.write_csv(folder / "p.csv") if format == "csv" else frame.write_parquet(
            folder / "p.parquet"
        )
    found = values(tmp_path, {}, {"f": "x + year", "m": "month"}, f"d/**/*.{format}")
    assert found == {"f": [2025, 2027], "m": ["01", "12"]}
    found = values(tmp_path, {}, {"m": "month"}, f"d/*/*/*.{format}", columns={"month": "int64"})
    assert found == {"m": [1, 12]}


@pytest.mark.parametrize(
    "texts", [("Y", "N"), ("on", "off"), ("1.0", "0.0"), ("yes", "no"), ("T", "F"), ("1", "0")]
)
def test_booleans_are_written_in_many_ways(tmp_path: Path, texts: tuple[str, str]) -> None:
    files = {"a.csv": f"b,y\n{texts[0]},1\n{texts[1]},2\n"}
    assert values(tmp_path, files, {"f": "b"}, columns={"b": "bool"})["f"] == [1, 0]


def test_columns_in_another_order_and_columns_added_later(tmp_path: Path) -> None:
    files = {"p1.csv": "x,y\n1,10\n", "p2.csv": "y,x,z\n20,2,7\n"}
    made = spec(tmp_path, files, {"x": "x", "y": "y", "z": "z"}, "p*.csv")
    (said,) = fk.check(made).noticed
    assert "'z' is missing in 1 of 2 files" in said
    found = values(tmp_path, files, {"x": "x", "y": "y", "z": "z"}, "p*.csv")
    assert found == {"x": [1, 2], "y": [10, 20], "z": [None, 7]}
    assert "no column in common" in refused(
        tmp_path, {"q1.csv": "x\n1\n", "q2.csv": "1\n2\n"}, "x", "q*.csv"
    )


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        ((pl.Int32(), pl.Int64()), pl.Int64()), ((pl.Float32(), pl.Float64()), pl.Float64()),
        ((pl.Int64(), pl.Float32()), pl.Float64()), ((pl.UInt8(), pl.Int16()), pl.Int16()),
        ((pl.UInt32(), pl.Int32()), pl.Int64()), ((pl.Null(), pl.Int16()), pl.Int16()),
        ((pl.String(), pl.Categorical()), pl.String()),
        ((pl.Datetime("ns"), pl.Datetime("us")), pl.Datetime("us")),
        ((pl.Datetime("ms", "UTC"), pl.Datetime("ns", "UTC")), pl.Datetime("us", "UTC")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_parquet_files_of_different_width_are_read_as_the_wider(
    tmp_path: Path, types: tuple[Any, Any], wanted: Any, turned: bool
) -> None:
    from featurekit.sources import open_table

    texts = isinstance(wanted, pl.String)
    times = isinstance(wanted, pl.Datetime)
    one = pl.Series("x", ["1"] if texts else [_NOON] if times else [1])
    for place, dtype in enumerate(reversed(types) if turned else types):
        null = dtype == pl.Null()
        series = pl.Series("x", [None]) if null else one.cast(dtype)
        series.to_frame().write_parquet(tmp_path / f"p{place}.parquet")
    table = open_table("rows", fk.Source(path="p*.parquet"), tmp_path)
    assert table.schema["x"] == wanted
    read = table.frame.collect()["x"]
    assert read.dtype == wanted
    assert read.drop_nulls().to_list() == [one.cast(wanted)[0]] * (2 - (pl.Null() in types))
    assert "'x' is" in str(table.remarks[0])


def test_other_differences_of_parquet_files_name_file_column_and_both_types(
    tmp_path: Path,
) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "p1.parquet")
    pl.DataFrame({"x": ["a"]}).write_parquet(tmp_path / "p2.parquet")
    message = refused(tmp_path, {}, "x", "p*.parquet")
    assert (
        f"{tmp_path / 'p2.parquet'}: column 'x' is String here and Int64 in p1.parquet" in message
    )
    assert "cast_options" not in message


def test_a_column_that_is_added_later_is_missing_earlier_in_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "p1.parquet")
    pl.DataFrame({"y": [5.5], "x": [2]}).write_parquet(tmp_path / "p2.parquet")
    found = values(tmp_path, {}, {"x": "x", "y": "y"}, "p*.parquet")
    assert found == {"x": [1, 2], "y": [None, 5.5]}
    warned = fk.open_run(tmp_path / "out").manifest["warnings"]
    assert any("'y' is missing in 1 of 2 files" in text for text in warned)


def test_a_path_with_the_word_parquet_does_not_make_a_file_damaged(tmp_path: Path) -> None:
    files = {"parquet/magic.csv": "x,y\n1,2\n3\n"}
    message = refused(tmp_path, files, "x + 1")
    assert "not Parquet" not in message
    assert "as many fields" in message


def test_new_rows_are_read_as_the_run_read_its_own(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "separator": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1", "skip_rows": 1,
        "comment": "#", "null_values": ["-"],
    }  # fmt: skip
    text = "título\nx;ñ\n1.234,5;a\n# c\n-;b\n"
    found = values(
        tmp_path, {"a.csv": text.encode("latin-1")}, {"f": "x", "n": 'col("ñ")'}, **settings
    )
    assert found == {"f": [1234.5, None], "n": ["a", "b"]}
    from featurekit.serving import apply_file

    run = fk.open_run(tmp_path / "out")
    (tmp_path / "new.csv").write_bytes("otro\nñ;x\nc;2.000,25\n".encode("latin-1"))
    apply_file(run.plan, run.fitted, str(tmp_path / "new.csv"), tmp_path / "new.parquet")
    assert pl.read_parquet(tmp_path / "new.parquet").to_dict(as_series=False) == {
        "f": [2000.25], "n": ["c"],
    }  # fmt: skip


def test_settings_of_csv_are_checked() -> None:
    for wrong, said in (
        ({"separator": "ab"}, "whitespace"), ({"decimal": ";"}, "decimal is"),
        ({"thousands": "."}, "decimal and thousands are both"), ({"thousands": "12"}, "thousands"),
        ({"escape": "ab"}, "escape is one character"), ({"skip_rows": -1}, "whole number"),
    ):  # fmt: skip
        with pytest.raises(SpecErrors, match=said):
            fk.Source(path="a.csv", **wrong)


def test_settings_of_csv_are_written_and_read_back(tmp_path: Path) -> None:
    made = spec(
        tmp_path, {"a.csv": "x\n1\n"}, {"f": "x"}, encoding="cp1252", skip_rows=2, comment="#",
        header=["x", "y"], decimal=",", thousands=".", escape="\\", separator="whitespace",
    )  # fmt: skip
    (tmp_path / "spec.yaml").write_text(made.to_yaml())
    assert fk.load_spec(tmp_path / "spec.yaml") == made


@pytest.mark.parametrize(
    ("texts", "column"),
    [(("true", "false"), "is test"), (("1", "0"), "fold"), (("1.0", "0.5"), "f")],
)
def test_a_boolean_or_a_number_as_split_column_gets_a_derived_column(
    tmp_path: Path, texts: tuple[str, str], column: str
) -> None:
    write(tmp_path, {"a.csv": f"x,{column}\n1,{texts[0]}\n2,{texts[1]}\n3,{texts[1]}\n"})
    examples: dict[str, Any] = {"source": "rows", "split": {"column": column}}

    def made(columns: dict[str, Any]) -> fk.Spec:
        rows = fk.Source(path="a.csv", columns=columns)
        return fk.Spec(
            sources={"rows": rows}, examples=examples, features={"x": "x"}, base=tmp_path
        )

    with pytest.raises(SpecErrors) as caught:
        fk.check(made({}))
    hint = caught.value.problems[0].hint
    derived, _, split = hint.partition("split: {column: ")
    columns = yaml.safe_load(derived.partition("the splits: ")[2].removesuffix(", and "))
    examples["split"] = {"column": split.removesuffix("}")}
    run = fk.run(made(columns), tmp_path / "out", tensorflow=False)
    assert run.manifest["rows"]["splits"] == {"train": 2, "test": 1}


def test_values_that_a_cast_loses_are_counted_and_said(tmp_path: Path) -> None:
    files = {"a.csv": 'x,y\n1,1.5\nabc,inf\n,2\n"2,5",3\n'}
    features = {"a": "coalesce(cast(x, 'float32'), 0.0)", "b": "cast(y, 'int64')"}
    assert values(tmp_path, files, features) == {"a": [1.0, 0.0, 0.0, 0.0], "b": [1, None, 2, 3]}
    manifest = fk.open_run(tmp_path / "out").manifest
    assert manifest["rows"]["lost_by_casts"] == {
        "cast(x, to='float32')": 2, "cast(y, to='int64')": 1,
    }  # fmt: skip
    assert any("makes 2 values missing" in text for text in manifest["warnings"])
    assert any("such as 'abc'" in text for text in manifest["warnings"])
    assert any("makes 1 value missing" in text for text in manifest["warnings"])


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table for people: semicolons, decimal commas, a marker, leading zeros."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{'NA' if row == 5 else row % 7};1.{row % 9}00,{row % 10};0{row % 90 + 10};{row // 7 % 2}"
        for row in range(400)
    ]
    write(tmp_path, {"t.csv": "\n".join(["a;b;zip;y", *rows]) + "\n"})
    return "t.csv"


@pytest.mark.parametrize("command", [["leakage"], ["ablate", "--tier", "linear"]])
def test_commands_that_take_a_table_follow_their_hints(
    table: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from shlex import split

    from featurekit.cli import main

    line = [*command, table, "--label", "y"]
    assert main(line) == 3
    hint = capsys.readouterr().err.partition("Hint: ")[2]
    line += split(hint.partition(" (in Python")[0])
    assert line[-2:] == ["--separator", ";"]
    assert main(line) == 0
    notes = capsys.readouterr().err
    assert "--null-values NA" in notes
    assert "--decimal , " in notes
    assert "--thousands . " in notes
    assert "--types zip=string" in notes
    line += ["--null-values", "NA", "--decimal", ",", "--thousands", ".", "--types", "zip=string"]
    assert main(line) == 0
    assert capsys.readouterr().err == ""
    assert main([*line, "--types", "zip=int64", "--types", "y=timestamp"]) != 0
    assert main([*command, "spec.yaml", "--decimal", ","]) == 2
    assert "a spec says it under its source" in capsys.readouterr().err


def test_a_source_says_in_python_how_a_table_is_read(table: str) -> None:
    from featurekit.analysis.given import open_given

    source = fk.Source(
        path=table, separator=";", null_values=["NA"], decimal=",", thousands=".",
        columns={"zip": "string"},
    )  # fmt: skip
    opened = open_given(source)
    first = opened.frame.head(6).collect()
    assert first["a"].to_list() == [0, 1, 2, 3, 4, None]
    assert first["b"].to_list()[:3] == [1000.0, 1100.1, 1200.2]
    assert first["zip"].to_list()[:2] == ["010", "011"]
    assert fk.scan_leakage(source, label="y").scan.rows == 400
    assert set(fk.ablate(source, label="y", tiers=["linear"]).verdicts) == {"a", "b", "zip"}
    with pytest.raises(fk.UsageError, match="derived columns"):
        fk.scan_leakage(fk.Source(path=table, columns={"c": {"expr": "a + 1"}}), label="y")


def test_a_later_value_of_a_table_is_named_with_file_and_line(tmp_path: Path) -> None:
    rows = "".join(f"{row % 9},{row % 2}\n" for row in range(100_000))
    write(tmp_path, {"t.csv": f"x,y\n{rows}?,1\n"})
    path = str(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t\.csv:100002.*--null-values '\?'"):
        fk.scan_leakage(path, label="y")
    assert fk.scan_leakage(fk.Source(path=path, null_values="?"), label="y").scan.rows == 100_001


def test_a_column_that_is_text_in_one_file_alone_is_said(tmp_path: Path) -> None:
    files = {"a.csv": "x,y\n1,2\n", "b.csv": "x,y\nword,3\n"}
    (said,) = fk.check(spec(tmp_path, files, {"f": "x"}, "?.csv")).noticed
    assert "it is int64 in a.csv, string in b.csv" in said
    assert "it is int64 in a.csv" in refused(tmp_path, files, "x + 1", "?.csv")


def test_new_rows_without_the_label_need_no_header_of_their_own(tmp_path: Path) -> None:
    from featurekit.serving import apply_file

    files = {"a.csv": "x,x,y\n1,2,3\n4,5,6\n"}
    values(tmp_path, files, {"f": "x + 1"}, header=["x", "again", "y"])
    run = fk.open_run(tmp_path / "out")
    for new in ("x,x,y\n7,8,9\n", "x\n7\n"):
        write(tmp_path, {"new.csv": new})
        target = tmp_path / "new.parquet"
        apply_file(run.plan, run.fitted,
                   str(tmp_path / "new.csv"), target, overwrite=True)  # fmt: skip
        assert pl.read_parquet(target)["f"].to_list() == [8]


def test_past_rows_keep_the_types_of_the_run_when_it_is_applied(tmp_path: Path) -> None:
    """New past rows that look like numbers do not make a number of what was text in training."""
    from featurekit.serving import apply_file

    write(tmp_path, {"a.csv": "k\n1\n", "shops.csv": "k,size\n1,S\n2,40\n"})
    made = fk.Spec(
        sources={"rows": fk.Source(path=str(tmp_path / "a.csv")),
                 "shops": fk.Source(path=str(tmp_path / "shops.csv"))},
        examples={"source": "rows"},
        lookups={"shop": {"source": "shops", "by": "k", "features": ["size"]}},
        features={"f": "shop.size"},
    )  # fmt: skip
    run = fk.run(made, tmp_path / "out", tensorflow=False)
    write(tmp_path, {"shops.csv": "k,size\n1,38\n2,40\n"})
    apply_file(run.plan, run.fitted, str(tmp_path / "a.csv"), tmp_path / "new.parquet")
    assert pl.read_parquet(tmp_path / "new.parquet")["f"].to_list() == ["38"]


def test_check_and_run_print_what_was_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from featurekit.cli import main

    files = {"p1.csv": "x,zip\nNA,01\n2,02\n", "p2.csv": "x,zip,z\n3,03,7\n"}
    made = spec(tmp_path, files, {"x": "vocabulary(x)", "zip": "zip", "z": "z"}, "p*.csv")
    path = tmp_path / "spec.yaml"
    path.write_text(made.to_yaml())
    assert main(["check", str(path)]) == 0
    printed = "".join(capsys.readouterr())
    assert main(["run", str(path), "--out", str(tmp_path / "out"), "--no-tensorflow"]) == 0
    for text in (printed, "".join(capsys.readouterr())):
        assert "null_values: [NA]" in text
        assert "'01' would lose its zeros" in text
        assert "'z' is missing in 1 of 2 files" in text


def test_a_header_with_a_name_too_few_gets_names_for_all_columns(tmp_path: Path) -> None:
    files = {"a.csv": "x,y\nr1,2,3\nr2,4,5\nr3,6,7\n"}
    message = refused(tmp_path, files, "x + 1")
    assert "header: [row, x, y] if the first column has no name" in message
    found = values(tmp_path, files, {"r": "row", "x": "x"}, header=["row", "x", "y"])
    assert found == {"r": ["r1", "r2", "r3"], "x": [2, 4, 6]}


def test_a_header_may_begin_like_a_comment(tmp_path: Path) -> None:
    files = {"a.csv": "#id,x\n1,2\n3,4\n"}
    assert values(tmp_path, files, {"f": 'col("#id")'})["f"] == [1, 3]


def test_a_line_that_names_the_separator_and_titles_before_other_separators(
    tmp_path: Path,
) -> None:
    for first in ("sep=;", "Bericht"):
        files = {"a.csv": f"{first}\nx;y\n1,5;2\n2,5;3\n"}
        message = refused(tmp_path, files, "y + 1")
        assert pasted(message) == {"skip_rows": 1, "separator": ";"}
        assert values(tmp_path, files, {"f": "y + 1"}, **pasted(message))["f"] == [3, 4]
    assert "carriage returns" in refused(tmp_path, {"a.csv": "x,y\r1,2\r"}, "x")
