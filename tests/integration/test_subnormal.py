"""Subnormal numbers are 0 in the examples, in both signatures and on Beam."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from featurekit.job import run
from featurekit.spec.objects import Examples, Source, Spec

VALUES = [1e-40, -1e-40, 1e-30, -1e-30, 2.0**-126, 0.0, -0.0, 3e-39, 1.0, None]
FEATURES = {
    "x": "x", "positive": "x > 0", "more": "x > 1e-40", "square": "x * x", "any": "x * x > 0",
    "half": "x / 2", "back": "x * 1e-9 * 1e30", "bucket": "apply_buckets(x, [1e-40, 1e-30])",
    "filled": "fill(x, 1e-40)", "flagged": "impute(x, 'mean', indicator=True)",
    "small": "exp(x - 95)", "least": "minimum(x, 1e-41)", "quantile": "bucketize(x, 4)",
    "middle": "robust_scale(impute(x, 'median'))", "same": "abs(x)",
}  # fmt: skip


def cells(series: pl.Series) -> list[Any]:
    """Return numbers as text, which tells a zero's sign."""
    return [repr(list(value) if isinstance(value, (list, pl.Series)) else value)
            for value in series.to_list()]  # fmt: skip


def test_all_engines_take_subnormal_numbers_for_zero(tmp_path: Path) -> None:
    rows = pl.DataFrame({"id": range(10), "x": pl.Series(VALUES, dtype=pl.Float32)})
    rows.write_parquet(tmp_path / "rows.parquet")
    source = Source(path=str(tmp_path / "rows.parquet"))
    spec = Spec({"rows": source}, Examples("rows", keys="id"), FEATURES)
    local, beam = run(spec, tmp_path / "local"), run(spec, tmp_path / "beam", engine="beam")
    examples = local.examples().to_polars()
    assert examples["positive"].to_list() == [0, 0, 1, 0, 1, 0, 0, 0, 1, None]
    assert cells(examples["x"])[:2] == ["0.0", "-0.0"]
    for signature in local.manifest["parity"]["signatures"].values():
        assert signature["rows"] == 10
    by_beam = beam.examples().to_polars().sort("id")
    for name in FEATURES:
        assert cells(by_beam[name]) == cells(examples[name]), name
        small = [v for v in np.array(examples[name].drop_nulls().to_list(), np.float64).ravel()
                 if 0 < abs(v) < np.finfo(np.float32).tiny]  # fmt: skip
        assert not small, name
    for made in (local, beam):
        assert made.manifest["rows"]["below_float32_read_as_zero"] == {"x": 3}
    statistics = [(made.path / "statistics.json").read_text() for made in (local, beam)]
    assert json.loads(statistics[0]).keys() == json.loads(statistics[1]).keys()
