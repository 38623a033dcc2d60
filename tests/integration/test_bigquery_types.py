"""The types of BigQuery tables: asked for where there is a connection, said where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import featurekit as fk
from featurekit.cli import main
from tests.bigquery_server import DATASET, PROJECT, bigquery_server, column

SPEC = f"""\
sources:
  visits: {{table: {PROJECT}.{DATASET}.visits}}
examples: {{source: visits, keys: id, label: bought}}
features: {{stay_z: zscore(stay)}}
"""
CONNECTION = ["--project", PROJECT, "--dataset", DATASET]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spec whose only source is a table, without the type of any column."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Options that reach a service with the table."""
    with bigquery_server() as service:
        fields = [column("id"), column("stay", "FLOAT"), column("bought", "BOOLEAN")]
        service.put("visits", fields, [(1, 2.5, True)])
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", service.address)
        yield CONNECTION


def test_why_the_columns_of_a_table_are_not_known_is_said_first(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(path)]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    table = f"{PROJECT}.{DATASET}.visits"
    assert first.startswith(
        f"{path}:2: source 'visits': nothing says how to reach the BigQuery table {table}: "
    )
    assert "--project and --dataset" in first
    assert rest == [f"featurekit: error: 1 problem in {path}"], "no column is told to be missing"


def test_a_leak_stays_a_leak_where_the_types_are_declared(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    types = "visits, columns: {id: int64, stay: float32, bought: {type: bool, available: false}}"
    path.write_text(SPEC.replace("visits}", f"{types}}}", 1).replace("zscore(stay)", "bought"))
    assert main(["check", str(path)]) == 1
    assert "nothing says how to reach" not in capsys.readouterr().err


def test_check_asks_for_the_types_of_tables(
    path: Path, connection: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(path), *connection]) == 0
    assert "1 feature, 3 columns of visits, label bought, no problems" in capsys.readouterr().out


def test_other_problems_are_told_beside_a_table_that_is_not_reached(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(SPEC.replace("zscore(stay)", "zscor(stay)"))
    assert main(["check", str(path)]) == 2
    assert "nothing says how to reach" not in capsys.readouterr().err, "nothing was looked for yet"
    path.write_text(SPEC.replace("zscore(stay)", "zscore(stay), b: seen.n_7d, c: 5 + 'a'"))
    assert main(["check", str(path)]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert "nothing says how to reach" in first
    assert [line.partition(": feature ")[2][:3] for line in rest[:-1]] == ["'b'", "'c'"]


def test_a_table_whose_types_are_declared_needs_no_connection(path: Path) -> None:
    types = "visits, columns: {id: int64, stay: float32, bought: bool}"
    path.write_text(SPEC.replace("visits}", f"{types}}}", 1))
    assert main(["check", str(path)]) == 0


def test_columns_that_no_feature_can_read_are_there_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    features = "length(said), b: length(raw), c: log1p(points), d: hour(left)"
    path.write_text(SPEC.replace("zscore(stay)", features))
    with bigquery_server() as service:
        fields = [
            column("id"), column("bought", "BOOLEAN"), column("said", "STRING", "REPEATED"),
            column("raw", "BYTES"), column("points", "RECORD"), column("left", "DATETIME"),
        ]  # fmt: skip
        service.put("visits", fields, [])
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", service.address)
        assert main(["check", str(path), *CONNECTION]) == 2
    naive, *lines = capsys.readouterr().err.splitlines()
    assert f"{path}:2: source 'visits': column 'left' holds times without a zone" in naive
    assert [line.partition(": feature ")[2].partition(",")[0] for line in lines[:-1]] == [
        "'stay_z': 'said' is stored as ARRAY of STRING", "'b': 'raw' is stored as BYTES",
        "'c': 'points' is stored as RECORD",
    ]  # fmt: skip


def test_a_duration_is_not_refused_where_the_engine_gcp_reads_it(
    path: Path, connection: list[str]
) -> None:
    text = SPEC.replace("visits}", "visits, columns: {id: duration}}", 1).replace("keys: id, ", "")
    path.write_text(text.replace("zscore(stay)", "id > 1d"))
    assert main(["check", str(path), *connection]) == 0
    path.write_text(text.replace("zscore(stay)", "hour(id)").replace("duration", "timestamp"))
    assert main(["check", str(path), *connection]) == 2


def test_frozen_types_need_no_connection_any_more(path: Path, connection: list[str]) -> None:
    assert main(["schema", str(path), "--freeze", *connection]) == 0
    assert fk.load_spec(path).sources["visits"].columns["stay"] == fk.Column("float32")
    assert main(["check", str(path)]) == 0


def test_the_schema_of_a_table_says_how_to_reach_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", str(path)]) == 2
    assert "give --project and --dataset" in capsys.readouterr().err
