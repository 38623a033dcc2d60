"""CSV as people have it is read on Beam as the embedded engine reads it, or refused by name."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

import featurekit as fk
from featurekit.errors import SpecError
from featurekit.sources import table_elsewhere


def test_parts_that_differ_give_the_same_on_beam(tmp_path: Path) -> None:
    """An empty part, columns in another order and added later, quoted markers, decimal commas."""
    (tmp_path / "p0.csv").write_text("x;n;w\n")
    (tmp_path / "p1.csv").write_text('x;n;w\n1.234,5;7;""\n2;8;"NA"\n-;9;u\n')
    (tmp_path / "p2.csv.gz").write_bytes(gzip.compress(b"w;x;n;late\nv;0,5;10;1\n\n\n"))
    settings: dict[str, Any] = {
        "separator": ";", "decimal": ",", "thousands": ".", "null_values": ["NA", "-"],
    }  # fmt: skip
    features = {
        "x": "zscore(x)", "n": "n + 1", "w": "vocabulary(w)", "m": "is_missing(w)",
        "late": "impute(late, 'mean')",
    }  # fmt: skip
    for path in ("p*.csv*", "p1.csv"):
        spec = fk.Spec(
            sources={"rows": fk.Source(path=path, **settings)}, examples={"source": "rows"},
            features={name: text for name, text in features.items()
                      if path != "p1.csv" or name != "late"},
            base=tmp_path,
        )  # fmt: skip
        made = [
            fk.run(spec, tmp_path / f"{engine}{len(path)}", engine=engine, tensorflow=False)
            for engine in ("local", "beam")
        ]
        local, beam = (run.examples().to_polars() for run in made)
        assert local["m"].to_list()[:3] == [0, 1, 0]
        assert local["n"].to_list()[:3] == [8, 9, 10]
        assert local.to_dicts() == [pytest.approx(row, nan_ok=True) for row in beam.to_dicts()]


@pytest.mark.parametrize(
    "settings",
    [{"encoding": "latin-1"}, {"skip_rows": 1}, {"comment": "#"}, {"escape": "\\"},
     {"separator": "whitespace"}, {"header": ["x"]}, {"path": "gs://bucket/a.csv.gz"}],
)  # fmt: skip
def test_what_workers_do_not_read_is_refused_by_name(settings: dict[str, Any]) -> None:
    source = fk.Source(**{"path": "gs://bucket/a.csv", **settings})
    with pytest.raises(SpecError, match="Beam's workers read plain CSV"):
        table_elsewhere("rows", source, Path(), {})
