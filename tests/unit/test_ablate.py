"""`fk.ablate` and the command: from a table or a run to a report and a smaller spec."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import featurekit as fk
from featurekit.cli import main

ROOT = Path(__file__).parents[2]
WINE = ROOT / "examples/no_time/wine.yaml"
RIDGE = "sklearn.linear_model:Ridge"


def table(rows: int = 3000, seed: int = 0) -> pl.DataFrame:
    """Return y = x + z + an error, an older and noisier copy of x, noise, and a constant."""
    random = np.random.default_rng(seed)
    x, z, noise, error, blur = random.normal(size=(5, rows))
    return pl.DataFrame(
        {"old_x": x + 0.3 * blur, "x": x, "z": z, "noise": noise, "one": 1, "y": x + z + error}
    )


CREATED = {"old_x": date(2023, 1, 1), "x": date(2024, 1, 1)}


@pytest.fixture(scope="module")
def found() -> fk.AblationReport:
    return fk.ablate(
        table(), label="y", created=CREATED, groups={"real": ["x", "z"]}, model=Ridge(),
        tiers=["linear", "permutation", "retrain"], jobs=1,
    )  # fmt: skip


def test_each_tier_says_what_features_are_worth(found: fk.AblationReport) -> None:
    tiers = found.data["tiers"]
    assert [tier["tier"] for tier in tiers] == ["linear", "permutation", "retrain"]
    for tier in tiers:
        worth = {one["name"]: one for one in (*tier["features"], *tier["groups"])}
        assert worth["z"]["verdict"] == worth["real"]["verdict"] == "matters"
        assert worth["real"]["family"] == "declared"
        # Without z its variance is lost; shuffled, twice that.
        expected = 2.0 if tier["tier"] == "permutation" else 1.0
        assert worth["z"]["effect"] == pytest.approx(expected, rel=0.15)
        assert worth["z"]["low"] < expected < worth["z"]["high"]
        assert worth["noise"]["verdict"] == "negligible"
        # The error of y has a variance of 1, y itself one of 3.
        assert tier["full"] == pytest.approx(1.0, rel=0.1)
        assert tier["baseline"] == pytest.approx(3.0, rel=0.1)
    # Ridge regression, trained again, is what the closed form says; its rows are the same.
    linear, retrain = tiers[0]["features"], tiers[2]["features"]
    for one, other in zip(linear, retrain, strict=True):
        assert one["effect"] == pytest.approx(other["effect"], abs=2e-3)
    assert found.verdicts["z"] == "matters"
    assert found.data["verdicts"]["z"]["tier"] == "retrain"


def test_what_is_superseded_goes_and_the_rest_is_checked(found: fk.AblationReport) -> None:
    kinds = {(one.kind, one.features) for one in found.findings}
    assert {("legacy", ("old_x",)), ("constant", ("one",))} <= kinds
    (legacy,) = (one for one in found.data["relations"] if one["kind"] == "legacy")
    assert (legacy["others"], legacy["confirmed"]) == (["x"], True)
    assert legacy["rescue_share"] > 0.95
    proposal = found.data["proposal"]
    assert sorted(proposal["remove"]) == ["noise", "old_x", "one"]
    assert found.smaller == ("x", "z")
    assert proposal["reasons"]["old_x"] == "superseded by x"
    assert proposal["rows"] == 600
    assert proposal["smaller"] - proposal["full"] == pytest.approx(proposal["difference"]["effect"])
    assert proposal["difference"]["high"] < proposal["margin"]
    assert "3 can go" in found.verdict


def test_the_smaller_set_scores_what_it_is_said_to() -> None:
    frame = table()
    apart = np.arange(frame.height) >= 2400
    split = frame.with_columns(part=pl.Series(np.where(apart, "test", "train")))
    proposal = fk.ablate(
        split, label="y", split="part", created=CREATED, tiers=["retrain"], model=Ridge(), jobs=1
    ).data["proposal"]
    assert sorted(proposal["remove"]) == ["noise", "old_x", "one"]

    def score(names: list[str]) -> float:
        train, test = frame.filter(~apart), frame.filter(apart)
        model = Ridge().fit(train.select(names).to_numpy(), train["y"].to_numpy())
        errors = model.predict(test.select(names).to_numpy()) - test["y"].to_numpy()
        return float(np.mean(errors**2))

    assert proposal["full"] == pytest.approx(score(["old_x", "x", "z", "noise"]), rel=1e-9)
    assert proposal["smaller"] == pytest.approx(score(["x", "z"]), rel=1e-9)


def test_a_report_is_plain_data_html_and_a_notebook_view(
    found: fk.AblationReport, tmp_path: Path
) -> None:
    found.to_html(tmp_path / "a.html")
    written = json.loads((tmp_path / "a.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    html = (tmp_path / "a.html").read_text()
    assert found.verdict in html
    assert found._repr_html_().startswith("<iframe srcdoc=")
    with pytest.raises(fk.UsageError, match="exists already"):
        found.to_html(tmp_path / "a.html")
    with pytest.raises(fk.UsageError, match="have no spec"):
        found.write_spec(tmp_path / "a.yaml")


def test_the_method_is_told_as_it_ran(found: fk.AblationReport) -> None:
    text = " ".join(found.data["method"])
    for said in (
        "dealt into 5 folds", "ridge regression, penalty 1, on 2,400 rows", "shuffled 3 times",
        "Retraining: Ridge", "Holm's adjustment, level 5%", "within 0.50% of the skill",
        "Nothing was decided on 600 rows, a fifth",
    ):  # fmt: skip
        assert said in text
    timed = fk.ablate(
        table(600).with_columns(at=pl.int_range(pl.len())), label="y", time="at", tiers=["linear"]
    )
    text = " ".join(timed.data["method"])
    assert "cut into 6 blocks that follow each other in time" in text
    assert "over blocks of time" in text
    assert "Retraining" not in text


@pytest.mark.parametrize("kind", ["pandas", "arrow", "csv", "parquet"])
def test_any_table_gives_the_same(kind: str, tmp_path: Path) -> None:
    frame = table(800)
    given: Any = {"pandas": frame.to_pandas, "arrow": frame.to_arrow}.get(kind)
    if given is None:
        given = tmp_path / f"table.{kind}"
        getattr(frame, f"write_{kind}")(given)
    else:
        given = given()
    tiers = ["linear"]
    expected = fk.ablate(frame, label="y", tiers=tiers)
    same = fk.ablate(given, label="y", tiers=tiers)
    assert same.verdicts == expected.verdicts
    assert same.smaller == expected.smaller
    for name, said in same.data["verdicts"].items():
        for number in ("effect", "low", "high"):
            other = expected.data["verdicts"][name][number]
            assert said[number] == pytest.approx(other, rel=1e-9, abs=1e-12)


def test_order_and_names_change_nothing() -> None:
    frame = table(1500)
    order = np.random.default_rng(9).permutation(1500)
    turned = frame.select(sorted(frame.columns, reverse=True))[order]
    one, other = (
        fk.ablate(each, label="y", created=CREATED, model=Ridge(), jobs=1)
        for each in (frame, turned)
    )
    assert sorted(one.data["proposal"]["remove"]) == sorted(other.data["proposal"]["remove"])
    for name, said in one.data["verdicts"].items():
        assert said["verdict"] == other.data["verdicts"][name]["verdict"]
        assert said["effect"] == pytest.approx(other.data["verdicts"][name]["effect"], abs=1e-9)


def test_several_classes_of_any_name() -> None:
    random = np.random.default_rng(4)
    x, z = random.normal(size=(2, 1500))
    words = np.array(["low", "mid", "high"])[
        np.digitize(x + 0.5 * random.normal(size=1500), [-1, 1])
    ]
    frame = pd.DataFrame({"x": x, "z": z, "c": random.choice(["a", "b"], 1500), "y": words})
    found = fk.ablate(
        frame, label="y", model="sklearn.naive_bayes:GaussianNB", exclude=["c"], jobs=1,
        tiers=["linear", "permutation", "retrain"],
    )  # fmt: skip
    assert found.data["task"] == "multiclass"
    assert [tier["loss"] for tier in found.data["tiers"]][1:] == ["log loss", "log loss"]
    for tier in found.data["tiers"]:
        real, noise = (one["verdict"] for one in tier["features"])
        assert real == "matters"
        assert noise != "matters"


def test_rows_count_by_their_weights() -> None:
    frame = table(2000)
    odd = pl.int_range(pl.len()) % 2 == 1
    frame = frame.with_columns(
        y=pl.when(odd).then(100 * pl.col("noise")).otherwise("y"),
        heavy=pl.when(odd).then(0.0).otherwise(2.0),
    )
    found = fk.ablate(
        frame, label="y", weights="heavy", model=Ridge(), jobs=1, seeds=1,
        tiers=["linear", "permutation", "retrain"],
    )  # fmt: skip
    for tier in found.data["tiers"]:
        # The rows that count have an error of variance 1; with the others it would be near 5,000.
        assert tier["full"] == pytest.approx(1.0, rel=0.15)
        worth = {one["name"]: one["verdict"] for one in tier["features"]}
        assert (worth["z"], worth["noise"] != "matters") == ("matters", True)
    with pytest.raises(fk.UsageError, match="takes no weights"):
        fk.ablate(
            frame, label="y", weights="heavy", tiers=["retrain"], jobs=1,
            model="sklearn.neighbors:KNeighborsRegressor",
        )  # fmt: skip


def test_a_spec_is_analysed_and_its_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "wine.yaml"
    path.write_text("# red and white\n" + WINE.read_text())
    (tmp_path / "wine.csv").write_bytes((WINE.parent / "wine.csv").read_bytes())
    found = fk.ablate(path, tiers=["linear"])
    assert found.data["of"]["kind"] == "spec"
    found.write_spec(tmp_path / "smaller.yaml")
    assert (tmp_path / "smaller.yaml").read_text().startswith("# red and white")


def test_a_budget_ends_it_and_another_run_goes_on(tmp_path: Path) -> None:
    trials = tmp_path / "trials"
    asked: dict[str, Any] = {"label": "y", "model": Ridge(), "jobs": 1, "tiers": ["retrain"]}
    short = fk.ablate(table(600), budget=0, trials=trials, **asked)
    assert not short.data["tiers"][0]["complete"]
    assert short.data["verdicts"] == {}
    short.to_html(tmp_path / "short.html")
    assert json.loads((tmp_path / "short.json").read_text())["tiers"][0]["full"] is None
    assert "The budget ended" in " ".join(short.data["method"])
    whole = fk.ablate(table(600), trials=trials, **asked)
    with sqlite3.connect(trials) as file:
        (known,) = file.execute("SELECT COUNT(*) FROM trials").fetchone()
    again = fk.ablate(table(600), trials=trials, **asked)
    with sqlite3.connect(trials) as file:
        assert file.execute("SELECT COUNT(*) FROM trials").fetchone() == (known,)
    first, second = (dict(each.data["tiers"][0], seconds=0) for each in (whole, again))
    assert first == second


def test_one_feature_stays_whatever_it_is_worth() -> None:
    random = np.random.default_rng(1)
    frame = pl.DataFrame({"a": random.normal(size=400), "y": random.normal(size=400)})
    model = "sklearn.tree:DecisionTreeRegressor"
    found = fk.ablate(frame, label="y", tiers="retrain", model=model, jobs=1)
    assert found.smaller == ("a",)
    assert found.data["proposal"] is None


def test_what_cannot_be_is_said() -> None:
    frame = table(300)
    cases: Any = (
        ({"tiers": ["quick"]}, "no tier 'quick'"), ({"budget": "soon"}, "a budget is a duration"),
        ({"margin": 0.0}, "share of the skill"), ({"folds": 1}, "folds must be at least 2"),
        ({"groups": {"g": ["w"]}}, "'w' is no feature"), ({"metric": "auc"}, "no scorer 'auc'"),
        ({"categorical": ["w"]}, "categorical 'w' is not a column"),
        ({"label": "w"}, "label 'w' is not a column"), ({"label": None}, "which column is the"),
        ({"model": "nowhere:make"}, "cannot be imported"), ({"engine": "cloud"}, "engine"),
        ({"jobs": 0}, "jobs must be at least 1"), ({"created": {"w": 1}}, "'w' is no feature"),
        ({"created": {"x": "soon"}}, "'soon' is no date"), ({"budget": float("nan")}, "budget"),
        ({"created": {"x": 1, "z": "2024-01-01"}}, "some are dates"),
    )  # fmt: skip
    for wrong, said in cases:
        with pytest.raises(fk.UsageError, match=said):
            fk.ablate(frame, **{"label": "y", "jobs": 1, **wrong})


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wine") / "run"
    fk.run(WINE, out, tensorflow=False)
    return out


def test_a_run_knows_its_features_groups_and_costs(
    wine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, smaller = tmp_path / "wine.html", tmp_path / "smaller.yaml"
    answer = main(
        ["ablate", str(wine), "--out", str(report), "--write-spec", str(smaller),
         "--spec", str(WINE), "--model", "sklearn.naive_bayes:GaussianNB", "--jobs", "1",
         "--margin", "0.2"]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert answer == 0, said
    data = json.loads(report.with_suffix(".json").read_text())
    assert data["of"]["kind"] == "run"
    assert data["of"]["confirmation_rows"] == 49
    assert data["task"] == "multiclass"
    families = {one["family"] for tier in data["tiers"] for one in tier["groups"]}
    assert families == {"column", "source"}
    assert data["costs"]["hue_z"]["columns"] == ["wines.hue"]
    assert report.with_suffix(".trials").exists()
    removed = data["proposal"]["remove"]
    assert removed
    kept = fk.load_spec(smaller).features
    assert [name for name in fk.load_spec(WINE).features if name not in removed] == list(kept)
    assert set(data["proposal"]["keep"]) == set(kept)
    for name in removed:
        assert f"-  {name}: " in data["proposal"]["diff"]
        assert name in said
    assert str(smaller) in said
    assert main(["ablate", str(wine), "--out", str(report)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_command_prints_json_and_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    table(500).write_csv(path)
    given = ["ablate", str(path), "--label", "y", "--tier", "linear"]
    extra = ["--group", "real=x,z", "--created", "x=2024-01-01", "--created", "old_x=2023-01-01"]
    assert main([*given, *extra, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "ablation"
    assert [one["name"] for one in data["tiers"][0]["groups"]] == ["real"]
    for wrong, said in (
        (["--created", "x=soon"], "takes a date"), (["--group", "real"], "takes NAME=VALUE"),
        (["--write-spec", str(tmp_path / "s.yaml")], "have no spec"),
    ):  # fmt: skip
        assert main([*given, *wrong]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error
    assert not (tmp_path / "s.yaml").exists()


def test_interrupted_it_says_where_trainings_are(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    table(20_000).write_parquet(path)
    out = tmp_path / "a.html"
    # A group of its own, so that only this command and what it starts is told to stop.
    asked = ["ablate", str(path), "--label", "y", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "featurekit", *asked], cwd=ROOT,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    trials = out.with_suffix(".trials")
    try:
        deadline = time.monotonic() + 1200
        while time.monotonic() < deadline and process.poll() is None and _stored(trials) < 2:
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=1200)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert f"trainings that are done are in {trials}" in error
    assert "Traceback" not in error
    assert _stored(trials) >= 2
    assert not out.exists()


def _stored(trials: Path) -> int:
    if not trials.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{trials}?mode=ro", uri=True) as file:
            return int(file.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
