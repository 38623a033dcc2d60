"""Names taken from tf.Transform mean what tf.Transform means: the same columns through both.

The expected values are those of tensorflow-transform on a real Beam runner.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurekit.job import run
from featurekit.spec.objects import Examples, Source, Spec
from tests.engines import same
from tests.integration.tf_transform_reference import PAIRS, TABLE


@pytest.fixture(scope="module")
def of_tf_transform(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What tf.Transform makes of the table."""
    target = tmp_path_factory.mktemp("tft") / "rows"
    command = [sys.executable, "-m", "tests.integration.tf_transform_reference", str(target)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
    rows = sorted(
        (json.loads(line) for line in target.read_text().splitlines()), key=lambda row: row["row"]
    )
    return {name: [row[name] for row in rows] for name in PAIRS}


@pytest.fixture(scope="module")
def of_featurekit(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What the embedded engine makes of the table."""
    spec = Spec(
        sources={"rows": Source(data=TABLE)},
        examples=Examples("rows"),
        features={name: expression for name, (expression, _) in PAIRS.items()},
    )
    made = run(spec, tmp_path_factory.mktemp("run") / "out", tensorflow=False)
    return made.examples().to_polars()


@pytest.mark.parametrize("name", PAIRS)
def test_a_name_of_tf_transform_gives_what_tf_transform_gives(
    name: str, of_featurekit: pl.DataFrame, of_tf_transform: dict[str, list[Any]]
) -> None:
    got, wanted = of_featurekit[name].to_list(), of_tf_transform[name]
    for row, (left, right) in enumerate(zip(got, wanted, strict=True)):
        # tf.Transform computes in float32 throughout, so values near 0 keep the rounding of the
        # larger numbers they are differences of.
        close = isinstance(right, float) and abs(left - right) <= 1e-6
        assert close or same(left, right), (
            f"row {row} {TABLE.row(row, named=True)}: {left!r}, tf.Transform {right!r}"
        )
