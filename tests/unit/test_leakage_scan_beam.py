"""The leakage scan as a Beam transform, against the embedded engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from featurekit.analysis.leakage.beam import LeakageScan
from featurekit.analysis.leakage.scan import scan
from tests.leaks import rows_table, series_table


def run(path: Path, **roles: Any) -> dict[str, Any]:
    """Scan a Parquet file in several batches."""
    out = path.with_suffix(".json")
    with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
        rows = pipeline | beam.io.ReadFromParquetBatched(str(path))
        scanned = rows | LeakageScan(label="y", **roles)
        scanned | beam.Map(lambda found: out.write_text(json.dumps(found.to_dict())))
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("table", ["rows", "series"])
def test_beam_finds_what_the_embedded_engine_finds(table: str, tmp_path: Path) -> None:
    rows = table == "rows"
    frame, _, _ = (rows_table if rows else series_table)(11)
    if rows:
        held_out = frame.filter(pl.col("part") == "eval").head(40)
        frame = pl.concat([frame, held_out.with_columns(part=pl.lit("train"))])
        # Identifiers name the row, which the embedded engine sees by itself.
        named = ["leak_id_word", "leak_id_digit", "clean_id_word", "clean_id"]
        frame = frame.drop(named)
    roles: dict[str, Any] = {"split": "part"} if rows else {"entity": "who", "time": "when"}
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path, row_group_size=1_000)
    expected = json.loads(json.dumps(scan(path, label="y", **roles).to_dict()))
    found = run(path, **roles)
    assert found["features"] == expected["features"]
    # Whether scalings are exact over all rows is not looked at on Beam.
    kinds = [finding for finding in expected["findings"] if finding["kind"] != "scaler"]
    assert found["findings"] == kinds
    assert len(kinds) > 3
