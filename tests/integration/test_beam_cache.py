"""Statistics that are kept file by file: what is computed again, and that nothing else changes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featurekit as fk

pytest.importorskip("tensorflow_transform")

ONE_LEVEL = {
    "x_z": "zscore(x)", "x_b": "bucketize(x, 5)", "n_s": "scale_to_0_1(n)", "w": "vocabulary(word)",
    "filled": "impute(n, 'most_frequent')",
}  # fmt: skip


def day(number: int, rows: int = 200) -> pl.DataFrame:
    """Return the rows of a day, which differ from those of every other."""
    places = [number * 1000 + place for place in range(rows)]
    return pl.DataFrame(
        {
            "id": places,
            "x": [None if place % 11 == 0 else (place * 7919 % 1013) / 3 for place in places],
            "n": [None if place % 13 == 0 else place * 31 % 17 for place in places],
            "word": [f"w{place * 17 % (5 + number)}" for place in places],
        }
    )


def spec(folder: Path, features: dict[str, str], **examples: Any) -> fk.Spec:
    """Return a spec over all files of a folder."""
    split = {"hash": "id", "test": 0.3}
    return fk.Spec.from_dict(
        {
            "name": "days",
            "sources": {"rows": {"path": f"{folder}/*.parquet"}},
            "examples": {"source": "rows", "keys": ["id"], "split": split, **examples},
            "features": features,
        }
    )


class Days:
    """A folder of files, one a day, and runs over it with and without a cache."""

    def __init__(self, folder: Path) -> None:
        self.data, self.cache, self.out = folder / "data", folder / "cache", folder / "out"
        self.data.mkdir()
        for number in range(3):
            self.write(number)

    def write(self, number: int, rows: int = 200) -> None:
        """Write the file of a day."""
        day(number, rows).write_parquet(self.data / f"{number}.parquet")

    def run(self, features: dict[str, str], **examples: Any) -> dict[str, Any]:
        """Run with the cache, require what a run without gives, and say what Beam did."""
        made = spec(self.data, features, **examples)
        kept = fk.run(made, self.out, engine="beam", cache=self.cache, tensorflow=False,
                      overwrite=True)  # fmt: skip
        plain = fk.run(made, self.out.with_name("plain"), tensorflow=False, overwrite=True)
        for split in plain.splits:
            assert_frame_equal(
                kept.examples(split).to_polars(), plain.examples(split).to_polars(),
                check_exact=False, rel_tol=1e-5,
            )  # fmt: skip
        beam: dict[str, Any] = kept.manifest["beam"]
        rows = plain.manifest["rows"]["splits"]["train"]
        return {**beam["cache"], "described": beam["counters"].get("rows_described", 0) / rows}


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


def test_only_new_and_changed_files_are_described(days: Days) -> None:
    assert days.run(ONE_LEVEL) == {"files": 3, "reused": 0, "described": 1.0}
    assert days.run(ONE_LEVEL) == {"files": 3, "reused": 3, "described": 0.0}
    days.write(3)
    more = days.run(ONE_LEVEL)
    assert more["reused"] == 3
    assert 0 < more["described"] < 0.4, "a new day costs a day"
    days.write(1, rows=150)
    (days.data / "0.parquet").unlink()
    last = days.run(ONE_LEVEL)
    assert (last["files"], last["reused"]) == (3, 2), "one has changed, and one is gone"


def test_what_depends_on_the_spec_is_not_taken_from_another(days: Days) -> None:
    days.run(ONE_LEVEL)
    other = {**ONE_LEVEL, "x_b": "bucketize(x, 9)", "more": "zscore(n * 2)"}
    assert days.run(other)["reused"] == 0
    assert days.run(ONE_LEVEL, split={"hash": "id", "test": 0.6})["reused"] == 0
    rows = {"r": "x + 1"}
    assert days.run({**ONE_LEVEL, **rows})["reused"] == 3, "row operations fit nothing"


def test_levels_that_build_on_others_are_computed_over_all_rows(days: Days) -> None:
    features = {**ONE_LEVEL, "deep": "zscore(impute(x, 'mean'))"}
    assert days.run(features) == {"files": 3, "reused": 0, "described": 1.0}
    days.write(3)
    assert days.run(features) == {"files": 4, "reused": 3, "described": 1.0}


def test_what_does_not_check_out_is_computed_again_with_a_note(
    days: Days, caplog: pytest.LogCaptureFixture
) -> None:
    days.run(ONE_LEVEL)
    outside = days.cache.parent / "numbers.arrow"
    one, two, three = sorted(path.parent for path in days.cache.glob("*/complete.json"))
    part = one / "numbers.arrow"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    next(two.glob("counts-*.arrow")).unlink()
    shutil.copy(three / "numbers.arrow", outside)
    # A path that leads out of the cache, with a hash that is right.
    listed = json.loads((three / "complete.json").read_text())
    listed["parts"]["../../numbers.arrow"] = listed["parts"].pop("numbers.arrow")
    (three / "complete.json").write_text(json.dumps(listed))
    outside.write_bytes(b"never read")
    found = days.run(ONE_LEVEL)
    assert found["reused"] == 0
    assert sorted(found["damaged"]) == [one.name, two.name, three.name]
    assert f"{days.cache}: what is kept of 3 input files does not check out" in caplog.text
    assert outside.read_bytes() == b"never read"
    assert days.run(ONE_LEVEL) == {"files": 3, "reused": 3, "described": 0.0}


def test_edited_lists_of_parts_are_not_believed(tmp_path: Path) -> None:
    from featurekit.engines.beam.cache import Cache, _kept, complete

    key, report = "0" * 64, tmp_path / "report.json"
    (tmp_path / key).mkdir()
    (tmp_path / key / "numbers.arrow").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    report.write_text(json.dumps([[0, "numbers.arrow", digest, 7]]))
    complete(Cache(str(tmp_path), (key,), (None,), str(report)))
    assert _kept(str(tmp_path), key) == (("numbers.arrow", digest),)
    whole = json.loads((tmp_path / key / "complete.json").read_text())
    entry = whole["parts"]["numbers.arrow"]
    damaged: list[Any] = [
        {**whole, "parts": {}}, {**whole, "parts": []}, {**whole, "parts": {"numbers.arrow": 7}},
        {**whole, "parts": {"../numbers.arrow": entry}}, {**whole, "format": "2"}, [], 7, None,
        {**whole, "parts": {"numbers.arrow": {**entry, "bytes": "7"}}}, {**whole, "sha256": ""},
    ]  # fmt: skip
    for each in damaged:
        (tmp_path / key / "complete.json").write_text(json.dumps(each))
        with pytest.raises(fk.DataError):
            _kept(str(tmp_path), key)
    (tmp_path / key / "complete.json").write_text("[" * 100_000)
    with pytest.raises(fk.DataError, match="nested too deeply"):
        _kept(str(tmp_path), key)


def test_what_dead_writers_left_unfinished_is_removed_when_nobody_writes(tmp_path: Path) -> None:
    from featurekit.engines.beam.cache import writing

    for name in ("a" * 64, "b" * 64, "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / ("b" * 64) / "complete.json").write_text("{}")
    with writing(str(tmp_path)):
        assert not (tmp_path / ("a" * 64)).exists()
        (tmp_path / ("c" * 64)).mkdir()
        with writing(str(tmp_path)):
            assert (tmp_path / ("c" * 64)).exists(), "another run is at work on it"
    assert {path.name for path in tmp_path.iterdir()} == {"b" * 64, "c" * 64, "notes"}


def test_a_file_whose_part_is_unfinished_is_described_again(days: Days) -> None:
    days.run(ONE_LEVEL)
    next(days.cache.glob("*/complete.json")).unlink()
    assert days.run(ONE_LEVEL)["reused"] == 2


def test_rows_with_aggregates_are_kept_by_the_files_that_they_come_from(tmp_path: Path) -> None:
    days = Days(tmp_path)
    for number in range(3):
        frame = day(number).with_columns(t=pl.lit(number * 86_400_000_000).cast(pl.Datetime("us")))
        frame = frame.with_columns(pl.col("t").dt.replace_time_zone("UTC"))
        frame.write_parquet(days.data / f"{number}.parquet")

    def run(name: str, **options: Any) -> fk.Run:
        plain = dict(spec(days.data, {"m": "zscore(past.m_lifetime)"}).as_plain())
        plain["sources"] = {"rows": {"path": f"{days.data}/*.parquet", "event_time": "t"}}
        plain["examples"] = {**plain["examples"], "predict_at": "t"}
        features = {"m": "mean(n)"}
        past = {"source": "rows", "by": ["word"], "windows": ["lifetime"], "features": features}
        plain["aggregations"] = {"past": past}
        return fk.run(fk.Spec.from_dict(plain), tmp_path / name, tensorflow=False, **options)

    first = run("first", engine="beam", cache=days.cache)
    again = run("again", engine="beam", cache=days.cache)
    assert (first.manifest["beam"]["cache"]["reused"], again.manifest["beam"]["cache"]) == (
        0, {"files": 3, "reused": 3},
    )  # fmt: skip
    expected = run("here").examples().to_polars()
    assert_frame_equal(again.examples().to_polars(), expected, check_exact=False, rel_tol=1e-5)
