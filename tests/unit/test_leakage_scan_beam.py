"""The leakage scan as a Beam transform, against the embedded engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from featurekit.analysis.leakage import history, sampling
from featurekit.analysis.leakage.beam import LeakageScan
from featurekit.analysis.leakage.scan import scan
from tests.leaks import rows_table, series_table, walks_table


def run(path: Path, **roles: Any) -> dict[str, Any]:
    """Scan a Parquet file in several batches."""
    out = path.with_suffix(".json")
    with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
        rows = pipeline | beam.io.ReadFromParquetBatched(str(path))
        scanned = rows | LeakageScan(label="y", **roles)
        scanned | beam.Map(lambda found: out.write_text(json.dumps(found.to_dict())))
    found: dict[str, Any] = json.loads(out.read_text())
    return found


PLANTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "rows": (rows_table, {"split": "part"}),
    "series": (series_table, {"entity": "who", "time": "when"}),
    "walks": (walks_table, {"time": "when"}),
}


def flagged(found: dict[str, Any]) -> set[str]:
    """Return the features that are more than a note."""
    return {
        name for each in found["findings"] if each["severity"] != "note"
        for name in each["features"]
    }  # fmt: skip


@pytest.mark.parametrize("table", PLANTED)
def test_beam_finds_what_the_embedded_engine_finds(table: str, tmp_path: Path) -> None:
    make, roles = PLANTED[table]
    frame, leaks, _ = make(11)
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path, row_group_size=1_000)
    expected = json.loads(json.dumps(scan(path, label="y", **roles).to_dict()))
    found = run(path, **roles)
    assert found["features"] == expected["features"]
    assert found["findings"] == expected["findings"]
    told = {name for each in found["findings"] for name in each["features"]}
    assert set(leaks) <= told


def test_beam_finds_rows_and_entities_on_both_sides_though_a_column_names_the_row(
    tmp_path: Path,
) -> None:
    frame = rows_table(11)[0].select("^clean_(noise|weak|word|id.*)$", "category", "part", "y")
    held_out = frame.filter(pl.col("part") == "eval").head(40)
    frame = pl.concat([frame, held_out.with_columns(part=pl.lit("train"))])
    row = pl.int_range(pl.len())
    frame = frame.with_columns(clean_id=row, clean_id_word=pl.format("i{}", row))
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path, row_group_size=1_000)
    roles: dict[str, Any] = {"split": "part", "entity": "category"}
    expected = json.loads(json.dumps(scan(path, label="y", **roles).to_dict()))
    found = run(path, **roles)
    assert found["findings"] == expected["findings"]
    kinds = {each["kind"]: each for each in found["findings"]}
    assert kinds["duplicate_rows"]["evidence"]["rows"] == 40
    assert kinds["entity_overlap"]["evidence"]["shared"] == 100


@pytest.mark.parametrize("table", ["series", "walks"])
def test_of_many_rows_the_neighbours_in_time_are_kept(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, roles = PLANTED[table]
    frame, leaks, clean = make(12)
    if table == "series":
        # One entity after the other as one series: only time tells who is beside whom.
        frame = frame.with_columns(when=pl.col("who") * 1_000 + pl.col("when")).drop("who")
        roles = {"time": "when"}
    monkeypatch.setattr(sampling, "ROWS", 2_000)
    monkeypatch.setattr(history, "ROWS", 2_000)
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path, row_group_size=1_000)
    expected = json.loads(json.dumps(scan(path, label="y", **roles).to_dict()))
    found = run(path, **roles)
    assert "8 stretches of 'when'" in found["side_by_side"]
    assert found["side_by_side"] == expected["side_by_side"]
    assert flagged(found) >= set(leaks)
    assert flagged(found) == flagged(expected)
    if table == "walks":
        assert not flagged(found) & set(clean)
