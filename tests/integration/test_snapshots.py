"""Snapshots: the latest values of every key, equal to what training would have seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featurekit as fk
from featurekit.cli import main

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)


def at(day: float) -> datetime:
    return START + timedelta(days=day)


PAST = pl.DataFrame({
    "user": ["a", "a", "b", "b", "late", None, "a"],
    "day": [at(1), at(15), at(2), at(20), at(30), at(3), at(19)],
    "known": [at(1), at(16), at(2), at(20), at(30), at(3), at(25)],
    "paid": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
})  # fmt: skip
TIERS = pl.DataFrame({"user": ["a", "a", "c"], "since": [at(0), at(18), at(21)], "tier": [1, 2, 3]})


def spec(folder: Path, examples: pl.DataFrame) -> fk.Spec:
    PAST.write_parquet(folder / "past.parquet")
    TIERS.write_parquet(folder / "tiers.parquet")
    examples.write_parquet(folder / "examples.parquet")
    features: dict[str, Any] = {
        "sum_7d": "u.sum_7d", "sum_ever": "u.sum_lifetime", "rows": "u.rows_lifetime",
        "all": "everyone.rows_lifetime", "tier": "tier.tier",
    }  # fmt: skip
    return fk.Spec.from_dict({
        "sources": {
            "past": {
                "path": "past.parquet", "event_time": "day",
                "columns": {"paid": {"available_at": "known"}},
            },
            "tiers": {"path": "tiers.parquet", "event_time": "since"},
            "examples": {"path": "examples.parquet"},
        },
        "examples": {"source": "examples", "keys": ["id"], "predict_at": "asked"},
        "aggregations": {
            "u": {
                "source": "past", "by": {"who": "user"}, "windows": ["7d", "lifetime"],
                "features": {"sum": "sum(paid)", "rows": "count()"},
            },
            "everyone": {
                "source": "past", "windows": ["lifetime"], "features": {"rows": "count()"},
            },
        },
        "lookups": {"tier": {"source": "tiers", "by": {"who": "user"}, "features": ["tier"]}},
        "features": features,
    }, base=folder)  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> fk.Spec:
    """Examples of all users, asked at the time of the snapshot."""
    users = ["a", "b", "c", "late"]
    return spec(tmp_path, pl.DataFrame({"id": users, "who": users, "asked": [NOW] * 4}))


def test_a_snapshot_holds_what_was_known_of_each_key(made: fk.Spec) -> None:
    found = fk.snapshot(made, NOW)
    assert set(found) == {"u", "everyone", "tier"}
    # a: 1 (day 1) and 2 (known on day 16) count, 7 is known on day 25. b: the row of day 20 itself
    # does not count. late: nothing is known yet, so there is no such key.
    wanted = pl.DataFrame({
        "who": ["a", "b"], "as_of": pl.Series([NOW] * 2, dtype=pl.Datetime("us", "UTC")),
        "sum_7d": pl.Series([2.0, None], dtype=pl.Float32),
        "sum_lifetime": pl.Series([3.0, 3.0], dtype=pl.Float32),
        "rows_7d": [2, 0], "rows_lifetime": [3, 1],
    })  # fmt: skip
    assert_frame_equal(found["u"], wanted)
    assert found["everyone"].select("rows_lifetime").rows() == [(5,)]
    assert found["tier"].select("who", "tier").rows() == [("a", 2)]


def test_a_snapshot_equals_what_an_example_at_that_time_gets(made: fk.Spec, tmp_path: Path) -> None:
    run = fk.run(made, tmp_path / "run", tensorflow=False)
    examples = run.examples().to_polars()
    found = fk.snapshot(made, NOW)
    joined = examples.join(found["u"], left_on="id", right_on="who")
    assert joined["sum_7d"].equals(joined["sum_7d_right"].alias("sum_7d"))
    assert joined["sum_ever"].to_list() == joined["sum_lifetime"].to_list()
    assert joined["rows"].to_list() == joined["rows_lifetime"].to_list()
    rest = examples.join(found["u"], left_on="id", right_on="who", how="anti")
    assert rest["rows"].to_list() == [0, 0]


def test_the_command_writes_a_file_for_each_or_nothing(
    made: fk.Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(made.to_yaml())
    arguments = ["snapshot", str(tmp_path / "spec.yaml"), "--as-of", "2024-01-21", "--out"]
    out = tmp_path / "snap"
    assert main([*arguments, str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == {"u": 2, "everyone": 1, "tier": 1}
    assert sorted(path.name for path in out.iterdir()) == [
        "everyone.parquet", "manifest.json", "tier.parquet", "u.parquet",
    ]  # fmt: skip
    assert_frame_equal(pl.read_parquet(out / "u.parquet"), fk.snapshot(made, NOW)["u"])
    assert main([*arguments, str(out)]) == 2
    assert "the output folder holds a snapshot already" in capsys.readouterr().err
    assert main([*arguments, str(out), "--overwrite", "--only", "tier"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "tier.parquet"]
    with pytest.raises(fk.DataError, match="this is a snapshot, not a run"):
        fk.open_run(out)


def test_a_snapshot_and_a_run_never_replace_each_other(
    made: fk.Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, run, snap = (tmp_path / name for name in ("spec.yaml", "run", "snap"))
    spec.write_text(made.to_yaml())
    snapshot = ["snapshot", str(spec), "--as-of", "2024-01-21", "--overwrite", "--out"]
    compute = ["run", str(spec), "--no-tensorflow", "--overwrite", "--quiet", "--out"]
    assert main([*compute, str(run)]) == main([*snapshot, str(snap)]) == 0
    before = {folder: sorted(folder.rglob("*")) for folder in (run, snap)}
    capsys.readouterr()
    assert main([*snapshot, str(run)]) == 2
    assert "holds a run, and a snapshot does not replace it" in capsys.readouterr().err
    assert main([*compute, str(snap)]) == 2
    assert "holds a snapshot, and a run does not replace it" in capsys.readouterr().err
    assert {folder: sorted(folder.rglob("*")) for folder in (run, snap)} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--as-of", "yesterday"],
            "--as-of: a date or time such as 2013-10-01 is needed, got 'yesterday'",
        ),
        (["--as-of", "2024-01-21", "--only", "v"], "there is no aggregation or lookup 'v'"),
    ],
)
def test_what_a_snapshot_cannot_be_of_is_refused(
    made: fk.Spec, tmp_path: Path, arguments: list[str], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "spec.yaml").write_text(made.to_yaml())
    out = tmp_path / "snap"
    assert main(["snapshot", str(tmp_path / "spec.yaml"), "--out", str(out), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_applying_a_run_looks_the_past_up_or_takes_it_as_columns(
    made: fk.Spec, tmp_path: Path
) -> None:
    run = fk.run(made, tmp_path / "run", tensorflow=False)
    rows = pl.read_parquet(tmp_path / "examples.parquet")
    wanted = run.examples().to_polars()
    assert_frame_equal(run.apply(rows), wanted)
    brought = rows.with_columns(
        wanted["sum_7d"].alias("u.sum_7d"), wanted["sum_ever"].alias("u.sum_lifetime"),
        wanted["rows"].alias("u.rows_lifetime"), wanted["all"].alias("everyone.rows_lifetime"),
        wanted["tier"].alias("tier.tier"),
    )  # fmt: skip
    (tmp_path / "past.parquet").unlink()
    assert_frame_equal(run.apply(brought.drop("who", "asked")), wanted)
    with pytest.raises(fk.DataError, match=r"there is no file .*past\.parquet"):
        run.apply(rows)
