"""Random specs give the same on Beam as in the embedded engine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.engines.dense import dense
from featurekit.engines.tensorflow import serving_name
from featurekit.transforms.catalogue import aggregations, operations
from tests.random_specs import ROWS, RandomSpec, compare_engines

LARGE = (0, 1, 2)
"""Seeds of specs that have a call of every operation."""
SMALL, FEATURES = 3, 20
"""The seed of a spec of so many features, of which SavedModels are made, too."""
KINDS = ("integers", "strings", "floats", "vectors")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[RandomSpec]:
    """Random specs, one with aggregations."""
    folder = partial(tmp_path_factory.mktemp, "random")
    return [RandomSpec(seed, folder(), past=seed == 1) for seed in LARGE]


def require_equal(beam: fk.Run, local: fk.Run, made: RandomSpec) -> None:
    """Require that all features and statistics of a spec were compared and are equal."""
    found = compare_engines.compare(beam, local)
    compare_engines.show(beam, local, found)
    assert found.equal
    assert beam.manifest["plan"]["engine"] == "beam"
    compared = sum(found.tallies[kind].columns for kind in KINDS if kind in found.tallies)
    assert compared == len(made.features)
    # Two keys and a label, of all rows that have one.
    assert found.tallies["keys and label"].cells > 3 * 0.75 * ROWS
    statistics = [tally for kind, tally in found.tallies.items() if kind.startswith("statistics")]
    assert sum(tally.columns for tally in statistics) == len(local.statistics)


def test_the_random_specs_have_every_operation_nested_and_over_several_levels(
    large: list[RandomSpec],
) -> None:
    made = set[str]().union(*(each.operations for each in large))
    assert made == set(operations()) | set(aggregations())
    assert max(each.levels for each in large) >= 3
    for each in large:
        assert each.levels >= 2
        assert len(each.features) >= 60
        assert sum(node.level > 0 for node in each.features.values()) >= 20
        assert sum(node.expression.depth >= 3 for node in each.features.values()) >= 12


@pytest.mark.parametrize("seed", LARGE)
def test_a_random_spec_gives_the_same_on_beam(
    seed: int, large: list[RandomSpec], tmp_path: Path
) -> None:
    made = large[LARGE.index(seed)]
    beam = fk.run(made.spec, tmp_path / "beam", engine="beam", tensorflow=False)
    local = fk.run(made.spec, tmp_path / "local", tensorflow=False)
    require_equal(beam, local, made)
    assert len(local.statistics) >= 20


def test_the_saved_models_of_a_random_spec_give_the_same(tmp_path: Path) -> None:
    import tensorflow as tf

    made = RandomSpec(SMALL, tmp_path, most=FEATURES)
    beam = fk.run(made.spec, tmp_path / "beam", engine="beam", tensorflow=True)
    local = fk.run(made.spec, tmp_path / "local", tensorflow=True)
    require_equal(beam, local, made)
    rows = made.rows.head(500)
    columns = {
        serving_name(name): tf.constant(dense(rows[name])) for name in local.plan.serving_inputs
    }
    models = (tf.saved_model.load(str(run.saved_model)) for run in (beam, local))
    got, wanted = (model.signatures["serving_default"](**columns) for model in models)
    assert got.keys() == wanted.keys() == made.features.keys()
    assert len(wanted) == FEATURES
    for name in wanted:
        for one, other in zip(series(got[name]), series(wanted[name]), strict=True):
            assert one.dtype == other.dtype
            differ, _ = compare_engines.differences(one, other, compare_engines.FEATURES)
            assert not differ.any(), made.features[name].text


def series(tensor: Any) -> list[pl.Series]:
    """Return a tensor's columns."""
    values = tensor.numpy()
    return [pl.Series(column) for column in values.reshape(len(values), -1).T]


# Corners that random specs seldom meet.

CORNERS = {
    "spread": "zscore(near)",
    "ends": "scale_to_0_1(near)",
    "missing": "is_missing(past.k_lifetime)",
    "kept": "abs(past.k_lifetime)",
    "bare": "past.k_lifetime",
}


def corners(folder: Path, **features: str) -> fk.Spec:
    """Return a spec over integers beyond floats, and over an aggregate that is NaN."""
    times = pl.Series(range(6)) * 10**12
    pl.DataFrame(
        {
            "t": times.cast(pl.Datetime("us", "UTC")), "key": ["k"] * 6, "same": [1.0] * 6,
            "near": [2**60 + 200 * place for place in range(6)],
        }
    ).write_parquet(folder / "rows.parquet")  # fmt: skip
    return fk.Spec.from_dict(
        {
            "name": "corners",
            "sources": {
                "rows": {"path": "rows.parquet", "event_time": "t", "available_at": "t"},
            },
            "examples": {"source": "rows", "predict_at": "t"},
            "aggregations": {
                "past": {"source": "rows", "by": "key", "windows": ["lifetime"],
                         "features": {"k": "kurtosis(same)"}},
            },
            "features": features,
        },
        folder,
    )  # fmt: skip


def test_integers_beyond_floats_and_aggregates_of_nan_are_the_same_on_beam(tmp_path: Path) -> None:
    spec = corners(tmp_path, **CORNERS)
    beam = fk.run(spec, tmp_path / "beam", engine="beam")
    local = fk.run(spec, tmp_path / "local")
    here = local.examples().to_polars()
    assert here["missing"].to_list() == [1] * 6, "NaN is read as missing"
    for name, column in beam.examples().to_polars().to_dict().items():
        differ, _ = compare_engines.differences(column, here[name], compare_engines.FEATURES)
        assert not differ.any(), name
    assert beam.statistics == local.statistics


def test_quantiles_that_a_sketch_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(fk.DataError, match=r"feature 'b': quantiles\(near.* beyond 9,007,199"):
        fk.run(corners(tmp_path, b="bucketize(near, 2)"), tmp_path / "run", engine="beam")
