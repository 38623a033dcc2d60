"""The flights come out the same on both engines, and the script that says so can say otherwise."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import featurekit as fk
from featurekit.artifact import write_manifest
from tests.docs.conftest import Workspace
from tests.scripts import script

ON_BEAM = "featurekit run examples/flights/flights.yaml --engine beam --out runs/flights_beam"
COMPARE = "python examples/flights/compare_engines.py runs/flights runs/flights_beam"

compare_engines = script("examples/flights/compare_engines.py")


@pytest.fixture(scope="module")
def local(workspace: Workspace) -> fk.Run:
    """The flights, run by the embedded engine."""
    return fk.open_run(workspace.path / "runs/flights")


def test_both_engines_give_the_flights_the_same_features(
    workspace: Workspace, local: fk.Run
) -> None:
    made = workspace.command(ON_BEAM)
    assert made is not None
    assert made[0] == 0, made[1]
    answer = workspace.command(COMPARE)
    assert answer is not None
    code, printed = answer
    assert code == 0, printed
    assert printed.splitlines()[-1] == "equal within the tolerances"
    table = dict(re.findall(r"^(\w[\w: ]*?) {2,}(\d+) +[\d,]+ +0 ", printed, re.MULTILINE))
    assert {"integers", "floats", "vectors"} <= table.keys()
    kinds = ("integers", "strings", "floats", "vectors")
    assert sum(int(table.get(kind, 0)) for kind in kinds) == len(local.features)
    found = sum(int(count) for kind, count in table.items() if kind.startswith("statistics"))
    assert found == len(local.statistics)


Change = Callable[[pl.DataFrame], pl.DataFrame]


def at(row: int, name: str, value: pl.Expr) -> Change:
    """Return a change of one cell."""
    here = pl.int_range(pl.len()) == row
    return lambda rows: rows.with_columns(pl.when(here).then(value).otherwise(name).alias(name))


ORIGINS = pl.lit([0.5, 0.0, 0.0], dtype=pl.Array(pl.Float32, 3))
CHANGES = {
    "integers": (at(4, "carrier_id", pl.col("carrier_id") + 1), "carrier_id", 1),
    "integers missing": (at(4, "carrier_id", pl.lit(None)), "carrier_id", 1),
    "floats": (at(7, "distance_z", pl.col("distance_z") * 1.0001), "distance_z", 1),
    "floats not a number": (at(7, "distance_z", pl.lit(float("nan"))), "distance_z", 1),
    "floats missing": (at(7, "distance_z", pl.lit(None)), "distance_z", 1),
    "vectors": (at(0, "origin_is", ORIGINS), "origin_is", 2),
    "vectors missing": (at(0, "origin_is", pl.lit(None)), "origin_is", 4),
    "keys and label": (lambda rows: rows.with_columns(pl.col("flight_id").reverse()), "flight_id",
                       None),
}  # fmt: skip


def changed(run: fk.Run, folder: Path, change: Change) -> fk.Run:
    """Return a run with other train examples."""
    shutil.copytree(run.path, folder)
    (file,) = (folder / "examples/split=train").glob("*.parquet")
    change(pl.read_parquet(file)).write_parquet(file)
    return resealed(folder)


def resealed(folder: Path) -> fk.Run:
    """Return a run whose manifest says of its files what they are now."""
    file = folder / "manifest.json"
    write_manifest(folder, json.loads(file.read_text("utf-8")))
    return fk.open_run(folder)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_cell_that_differs_is_counted_and_its_column_named(
    kind: str, local: fk.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, name, cells = CHANGES[kind]
    other = changed(local, tmp_path / "run", change)
    found = compare_engines.compare(local, other)
    differ = {kind: tally for kind, tally in found.tallies.items() if tally.differ}
    (tally,) = differ.values()
    assert kind.startswith(next(iter(differ)))
    assert tally.first == name
    assert tally.differ == (cells or tally.differ)
    assert compare_engines.main([str(local.path), str(other.path)]) == 1
    assert f"first: {name}" in capsys.readouterr().out


def test_a_difference_within_the_tolerance_is_shown_and_is_none(
    local: fk.Run, tmp_path: Path
) -> None:
    other = changed(local, tmp_path / "run", at(7, "distance_z", pl.col("distance_z") * 1.000005))
    found = compare_engines.compare(local, other)
    assert found.equal
    assert 1e-6 < found.tallies["floats"].largest < 1e-5


def test_a_statistic_that_differs_is_counted(local: fk.Run, tmp_path: Path) -> None:
    other = changed(local, tmp_path / "run", lambda rows: rows)
    file = other.path / "statistics.json"
    text, changes = re.subn(r'("variance": \d+\.\d{6})\d', r"\g<1>", file.read_text(), count=1)
    assert changes == 1
    file.write_text(text)
    found = compare_engines.compare(local, resealed(other.path))
    assert not found.equal
    assert found.tallies["statistics: Moments"].differ == 1


def test_runs_with_other_rows_are_not_compared(local: fk.Run, tmp_path: Path) -> None:
    other = changed(local, tmp_path / "run", lambda rows: rows)
    file = other.path / "manifest.json"
    count = local.manifest["rows"]["splits"]["test"]
    file.write_text(file.read_text().replace(f'"test": {count}', f'"test": {count - 1}'))
    found = compare_engines.compare(local, fk.open_run(other.path))
    assert found.problems == ["the splits have different rows"]
    assert not found.equal
