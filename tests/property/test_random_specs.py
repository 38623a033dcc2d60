"""Random specs over random tables: a run, its application to new rows and the graph agree."""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurekit.job import run
from featurekit.spec.objects import Examples, Source, Spec
from featurekit.types import FLOAT32, INT64, STRING, TIMESTAMP
from tests.engines import OneFeature, same

START = datetime(2020, 1, 1, tzinfo=UTC)

NUMBERS = st.recursive(
    st.sampled_from(["a", "b", "n", "1.5", "2", "length(s)", "hour(t)", "day_of_week(t)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        ),
        inner.map(lambda x: f"log1p(abs({x}))"),
        inner.map(lambda x: f"clip({x}, -3.0, 3.0)" if x in ("a", "b") else f"abs({x})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} > {p[2]} else {p[0]})"),
        inner.map(lambda x: f"coalesce({x}, 0)"),
    ),
    max_leaves=5,
)
COLUMNS_ONLY = NUMBERS.filter(lambda text: re.search(r"\b[abnst]\b", text) is not None)
FEATURES = st.one_of(
    COLUMNS_ONLY,
    st.sampled_from(
        [
            "zscore(a)",
            "zscore(impute(b, 'median'))",
            "scale_to_0_1(n)",
            "bucketize(b, 5)",
            "robust_scale(a)",
            "vocabulary(s, top_k=2, oov_buckets=3)",
            "count_encode(s)",
            "zscore(cast(bucketize(a, 3), 'float32'))",
            "cross(s, n, buckets=17)",
            "one_hot(n % 3, 3)",
            "zscore(zscore(a) * zscore(b))",
            "max_abs_scale(n)",
        ]
    ),
)

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.none() | st.floats(-100, 100, width=32),
            "b": st.none() | st.floats(-1, 1, width=32),
            "n": st.none() | st.integers(-50, 50),
            "s": st.none() | st.sampled_from(["x", "y", "zz", "w"]),
            "t": st.none() | st.integers(0, 10**6).map(lambda s: START + timedelta(seconds=s)),
        }
    ),
    min_size=1,
    max_size=40,
)
ANCHOR = {"a": 1.5, "b": -0.5, "n": 3, "s": "x", "t": START}
TYPES = {"a": FLOAT32, "b": FLOAT32, "n": INT64, "s": STRING, "t": TIMESTAMP}
SCHEMA: dict[str, Any] = {
    "a": pl.Float32,
    "b": pl.Float32,
    "n": pl.Int64,
    "s": pl.String,
    "t": pl.Datetime("us", "UTC"),
}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([ANCHOR, *rows], schema=SCHEMA)


@given(ROWS, st.lists(FEATURES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_applying_a_run_to_its_own_input_gives_its_examples(
    rows: list[dict[str, Any]], features: list[str]
) -> None:
    table = frame(rows)
    spec = Spec(
        sources={"rows": Source(data=table)},
        examples=Examples("rows"),
        features={f"f{i}": text for i, text in enumerate(features)},
    )
    with tempfile.TemporaryDirectory() as folder:
        made = run(spec, Path(folder) / "out", tensorflow=False)
        written = made.examples().to_polars()
        applied = made.apply(table)
        assert written.schema == applied.schema
        for name in written.columns:
            assert same(applied[name].to_list(), written[name].to_list(), 0.0)


@given(ROWS, FEATURES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_graph_gives_what_polars_gives(rows: list[dict[str, Any]], feature: str) -> None:
    made = OneFeature(feature, frame(rows), TYPES)
    polars = made.on_polars().to_list()
    tensorflow = made.on_tensorflow()
    assert same(tensorflow, polars), feature
