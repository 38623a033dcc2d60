"""Damaged and edited files of a run: named by one clear error, and never believed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.cli import main
from featurekit.errors import DataError, FeatureKitError, FeatureKitWarning
from featurekit.integrity import sealed
from featurekit.stored_json import file_inside, parse_json

NEW = pl.DataFrame({"x": [3.0, 40.0], "c": ["b", "a"]})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = pl.DataFrame(
        {
            "id": range(60), "x": [float(number * number) for number in range(60)],
            "c": ["a", "b", "c"] * 20, "y": [0, 1, 1] * 20, "d": [60 - i for i in range(60)],
        }
    )  # fmt: skip
    features = {
        "z": "zscore(x)", "v": "vocabulary(c)", "b": "bucketize(x, 4)", "i": "impute(x, 'median')",
        "m": "impute(c, 'most_frequent')", "t": "target_mean(c)", "s": "scale_to_0_1(x)",
    }  # fmt: skip
    spec = fk.Spec(
        {"rows": fk.Source(data=rows)}, fk.Examples("rows", keys="id", label="y"), features
    )
    return fk.run(spec, tmp_path_factory.mktemp("whole") / "run", tensorflow=False).path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    data = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(change(data) or data), "utf-8")


def without_hashes(folder: Path) -> Path:
    """Make the run look as an older version wrote it."""

    def drop(manifest: Any) -> None:
        del manifest["files"], manifest["digests"]

    changed(folder / "manifest.json", drop)
    return folder


def applied(folder: Path) -> pl.DataFrame:
    made: pl.DataFrame = fk.open_run(folder).apply(NEW)
    return made


def test_the_manifest_holds_size_and_hash_of_each_other_file(whole: Path) -> None:
    run = fk.open_run(whole)
    there = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert run.manifest["files"].keys() == there - {"manifest.json"}
    entry = run.manifest["files"]["statistics.json"]
    assert entry["bytes"] == (whole / "statistics.json").stat().st_size
    found = run.verify()
    assert found.whole
    assert found.files == len(there) - 1


def test_a_changed_number_in_the_statistics_is_not_applied(
    whole: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shift(data: Any) -> None:
        next(entry for entry in data.values() if entry["kind"] == "Moments")["mean"] += 1.0

    changed(copy / "statistics.json", shift)
    NEW.write_parquet(tmp_path / "new.parquet")
    command = ["apply", str(copy), str(tmp_path / "new.parquet"), "--out", str(tmp_path / "f.csv")]
    assert main(command) == 3
    said = capsys.readouterr().err
    assert f"{copy}/statistics.json: it" in said
    assert "copy it again from where it is whole" in said
    assert not (tmp_path / "f.csv").exists()
    # The hint leads on.
    shutil.copy(whole / "statistics.json", copy / "statistics.json")
    assert main(command) == 0


@pytest.mark.parametrize("name", ["statistics.json", "vocabularies"])
def test_a_small_file_of_the_same_size_with_another_byte_is_not_applied(
    copy: Path, name: str
) -> None:
    path = copy / name
    path = next(path.iterdir()) if path.is_dir() else path
    data = bytearray(path.read_bytes())
    place = next(i for i, byte in enumerate(data) if chr(byte).isalnum())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="another SHA-256") as caught:
        applied(copy)
    assert path.name in caught.value.where


def test_examples_that_are_missing_cut_off_or_added_are_not_read(copy: Path) -> None:
    (file,) = (copy / "examples/split=train").glob("*.parquet")
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"00000000.parquet: it has [\d,]+ bytes, and .* written"):
        fk.open_run(copy).examples()
    file.unlink()
    with pytest.raises(DataError, match="it is missing"):
        fk.open_run(copy).examples()
    file.write_bytes(data)
    (file.parent / "00000001.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"00000001\.parquet: it is no file of the run") as caught:
        fk.open_run(copy).examples()
    assert f"featurekit verify {copy}" in caught.value.hint
    (file.parent / "00000001.parquet").unlink()
    assert fk.open_run(copy).examples().to_polars().height == 60


def test_verify_names_every_file_that_is_not_as_it_was_written(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(copy)]) == 0
    assert ": whole, " in capsys.readouterr().out
    (file,) = (copy / "examples/split=train").glob("*.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    (copy / "statistics.json").unlink()
    (copy / "examples/notes.txt").write_text("added")
    changed(copy / "manifest.json", lambda held: held["rows"].update(written=61))
    assert main(["verify", str(copy), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["whole"]
    assert [problem.partition(":")[0] for problem in found["problems"]] == [
        "manifest.json", f"examples/split=train/{file.name}", "statistics.json",
        "examples/notes.txt",
    ]  # fmt: skip
    assert main(["verify", str(copy)]) == 1
    assert "not whole, 4 problems" in capsys.readouterr().out
    assert not fk.open_run(copy).verify().whole


def test_what_is_laid_beside_the_files_of_a_run_is_no_problem(copy: Path) -> None:
    (copy / "report.html").write_text("mine")
    assert fk.open_run(copy).verify().whole


def test_a_run_without_hashes_opens_with_a_note_and_verify_exits_1(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = applied(copy)
    without_hashes(copy)
    with pytest.warns(FeatureKitWarning, match="holds no hashes: its files cannot be verified"):
        assert applied(copy).equals(before)
    NEW.write_parquet(tmp_path / "new.parquet")
    out = str(tmp_path / "f.parquet")
    assert main(["apply", str(copy), str(tmp_path / "new.parquet"), "--out", out]) == 0
    assert f"featurekit: note: {copy}: an older version" in capsys.readouterr().err
    assert main(["verify", str(copy)]) == 1
    assert "holds no hashes" in capsys.readouterr().out


def test_a_snapshot_is_verified_as_a_run_is(tmp_path: Path) -> None:
    rows = pl.DataFrame({"k": ["a"], "at": ["2024-01-01"], "x": [1.0]}).with_columns(
        pl.col("at").str.to_datetime("%Y-%m-%d", time_zone="UTC")
    )
    spec = {
        "sources": {"rows": {"path": "rows.parquet", "event_time": "at"}},
        "examples": {"source": "rows", "predict_at": "at"},
        "aggregations": {
            "of": {"source": "rows", "by": "k", "windows": ["9d"], "features": {"n": "count()"}}
        },
        "features": {"f": "of.n_9d"},
    }
    rows.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    out = tmp_path / "snapshot"
    wanted = ["--as-of", "2024-01-05", "--out", str(out)]
    assert main(["snapshot", str(tmp_path / "spec.yaml"), *wanted]) == 0
    assert main(["verify", str(out)]) == 0
    (out / "of.parquet").write_bytes(b"nothing")
    assert main(["verify", str(out)]) == 1


def test_an_edited_spec_is_not_served(copy: Path) -> None:
    def edit(manifest: Any) -> None:
        manifest["spec"]["features"]["b"] = "bucketize(x, 2)"

    changed(copy / "manifest.json", edit)
    with pytest.raises(DataError, match="are not those that were written"):
        fk.open_run(copy)


def leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all values, those of lists and objects included."""
    if path:
        yield path
    if isinstance(data, dict):
        for key, item in data.items():
            yield from leaves(item, (*path, key))
    elif isinstance(data, list):
        for place, item in enumerate(data[:2]):
            yield from leaves(item, (*path, place))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = json.loads(json.dumps(data))
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


WRONG: tuple[Any, ...] = (None, True, -1, 2.5, "text", [], {}, [[]], {"a": {"b": 1}})


@pytest.mark.parametrize("name", ["manifest.json", "statistics.json"])
@pytest.mark.parametrize("hashed", [True, False], ids=["with hashes", "of an older version"])
@pytest.mark.filterwarnings("ignore::featurekit.errors.FeatureKitWarning")
def test_no_value_of_another_type_ends_in_anything_but_an_error_of_ours(
    copy: Path, name: str, hashed: bool
) -> None:
    before = applied(copy)
    if not hashed:
        without_hashes(copy)
    path = copy / name
    data = json.loads(path.read_text("utf-8"))
    refused = 0
    for number, place in enumerate(leaves(data)):
        # Two kinds of wrong values each: over all places, all kinds come often.
        for value in (WRONG[number % len(WRONG)], WRONG[(number * 4 + 2) % len(WRONG)]):
            path.write_text(json.dumps(replaced(data, place, value)), "utf-8")
            try:
                run = fk.open_run(copy)
                made = run.apply(NEW)
                assert run.examples().files
                assert run.splits
                assert isinstance(run.codes, dict)
                run.verify()
            except FeatureKitError:
                refused += 1
            else:
                if hashed:
                    assert made.equals(before), place
    assert refused > number / 3


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1, 2]", "is a list, expected an object"),
        ('{"format": 1, "format": 1}', '"format" is there twice'),
        ('{"format": NaN}', "NaN is no number"),
        ('{"format": -Infinity}', "Infinity is no number"),
        ('{"format": 1e999}', "too large"),
        (f'{{"format": {"9" * 400}}}', "a whole number of 400 digits is too long"),
        (DEEP, "nested too deeply"),
        ('{"a":' * 90 + "1" + "}" * 90, "nested too deeply"),
        ('{"format": "\\ud800"}', "surrogates not allowed"),
    ],
    ids=lambda entry: entry[:20],
)
@pytest.mark.parametrize("name", ["manifest.json", "statistics.json"])
@pytest.mark.filterwarnings("ignore::featurekit.errors.FeatureKitWarning")
def test_json_beyond_the_limits_is_refused_by_its_file(
    copy: Path, name: str, text: str, said: str
) -> None:
    without_hashes(copy)
    (copy / name).write_text(text, "utf-8")
    with pytest.raises(DataError, match=said) as caught:
        applied(copy)
    assert caught.value.where == str(copy / name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("base", 7, r"base is a whole number \(7\), expected a text"),
        ("columns", ["x"], "columns is a list, expected an object"),
        ("past_columns", {"a": 1}, r"past_columns.a is a whole number \(1\), expected an object"),
        ("rows", {"read": 1, "written": "60", "splits": {}}, r'rows.written is a text \("60"\)'),
        ("rows", {"read": 1, "written": 1}, "rows.splits is missing"),
        ("leakage", {"verdicts": {"z": []}}, "leakage.verdicts.z is a list"),
        ("saved_model", {"exported": "no"}, r"saved_model.exported is a text"),
        ("features", {"z": {"type": 1}}, "features.z.type is a whole number"),
    ],
)
def test_a_wrong_type_in_a_manifest_is_named_with_its_place(
    copy: Path, key: str, value: Any, said: str
) -> None:
    changed(copy / "manifest.json", lambda manifest: manifest.update({key: value}))
    with pytest.raises(DataError, match=said) as caught:
        fk.open_run(copy)
    assert caught.value.where == str(copy / "manifest.json")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "a/../../secret.txt", "link"])
def test_a_path_in_a_stored_file_never_leaves_its_folder(copy: Path, name: str) -> None:
    secret = copy.parent / "secret.txt"
    secret.write_text("a\nb\nc\n")
    (copy / "link").symlink_to(secret)
    with pytest.raises(DataError, match="not in its folder"):
        file_inside(copy, name, "statistics.json")

    def lead_out(data: Any) -> None:
        entry = next(entry for entry in data.values() if entry["kind"] == "WordCounts")
        entry["words"] = {"file": name}

    changed(copy / "statistics.json", lead_out)
    manifest = fk.open_run(copy).manifest
    (copy / "manifest.json").write_text(json.dumps(sealed(manifest, copy)), "utf-8")
    with pytest.raises(DataError, match="not in its folder"):
        applied(copy)


def test_a_manifest_that_is_a_folder_or_a_pipe_is_no_run(tmp_path: Path) -> None:
    import os

    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/manifest.json")
    with pytest.raises(DataError, match="no run here"):
        fk.open_run(tmp_path / "run")


def test_numbers_come_back_as_they_were_written() -> None:
    numbers = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**63, -(2**63), 2**64 - 1]
    again = parse_json(json.dumps(numbers), list[float])
    assert again == numbers
    assert math.copysign(1.0, again[1]) == -1.0
