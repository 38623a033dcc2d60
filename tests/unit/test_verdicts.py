"""What a spec shows of each feature: consistent, unproven or a leak; waivers, threats, pictures."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest

import featurekit as fk
from featurekit.cli import main
from featurekit.errors import LeakageError, SpecErrors
from featurekit.opening import open_all
from featurekit.picture.timeline import draw_timeline
from featurekit.report.leakage import leakage_page
from featurekit.resolve import resolve
from featurekit.types import BOOL, FLOAT32, STRING, TIMESTAMP
from featurekit.uses import Proof
from featurekit.verdict import Verdicts, judge
from tests.leaks import in_sentences

START = datetime(2024, 1, 1, tzinfo=UTC)
TYPES = {"t": TIMESTAMP, "landed": TIMESTAMP, "who": STRING, "id": STRING, "x": FLOAT32,
         "y": FLOAT32, "late": BOOL}  # fmt: skip


def plain(**changed: Any) -> dict[str, Any]:
    """Return a spec as plain data; its timetable is known an hour ahead."""
    return {
        "name": "flights",
        "sources": {"rows": {"path": "rows.parquet", "event_time": "t", "available_at": "t - 1h",
                             "columns": {"y": {"available_at": "landed"},
                                         "late": {"available_at": "landed"}}}},
        "examples": {"source": "rows", "predict_at": "t - 30m", "label": "late"},
        "aggregations": {"own": {"source": "rows", "by": "who", "windows": ["7d"],
                                 "features": {"y": "mean(y)", "late": "mean(cast(late, 'int64'))",
                                              "n": "count()"}}},
        "features": {"x_z": "zscore(x)", "past": "own.y_7d", "both": "x_z + own.n_7d"},
        **changed,
    }  # fmt: skip


def told(spec: dict[str, Any], **options: Any) -> Verdicts:
    """Return the verdicts on a spec, with no data at hand."""
    return judge(resolve(fk.Spec.from_dict(spec), TYPES, **options), options.get("today"))


def refused(spec: dict[str, Any], **options: Any) -> str:
    """Return why a spec is refused; every problem is a leak."""
    with pytest.raises(SpecErrors) as caught:
        resolve(fk.Spec.from_dict(spec), TYPES, **options)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_what_is_known_in_time_is_consistent_with_the_names_that_lead_to_it() -> None:
    found = told(plain())
    assert {name: str(verdict.proof) for name, verdict in found.features.items()} == {
        "x_z": "consistent", "past": "consistent", "both": "consistent",
    }  # fmt: skip
    (x,) = found.features["x_z"].uses
    assert (x.chain, x.known_at, x.used_at) == (("x_z", "x"), "t - 1h", "t - 30m")
    assert x.ahead == 30 * 60 * 1_000_000
    through = next(use for use in found.features["both"].uses if use.column == "x")
    assert through.chain == ("both", "x_z", "x")
    past = next(use for use in found.features["past"].uses if use.kind == "past_rows")
    assert (past.known_at, past.entity, past.made_of_label) == ("t, landed", ("who",), False)
    assert found.features["x_z"].fitted_on == "all rows"
    assert found.features["past"].fitted_on is None


def test_the_label_of_past_rows_is_told_wherever_it_has_a_part() -> None:
    found = told(plain(features={"late": "own.late_7d", "n": "own.n_7d"}))
    assert found.features["late"].made_of_label
    assert not found.features["n"].made_of_label


def test_what_nobody_declares_is_unproven_and_strict_mode_refuses_it() -> None:
    spec = plain()
    del spec["sources"]["rows"]["available_at"]
    found = told(spec)
    assert str(found.features["x_z"].proof) == "unproven"
    assert "nothing says when 'x' becomes known" in found.features["x_z"].uses[0].reason
    with pytest.raises(SpecErrors, match="'x_z': nothing says when 'x'"):
        found.require_proven()
    spec["sources"]["rows"]["columns"]["x"] = {"available": True}
    assert str(told(spec).features["x_z"].proof) == "consistent"


@pytest.mark.parametrize("by", [{}, "who"])
def test_a_count_of_rows_of_which_nothing_says_when_they_are_known_is_unproven(by: Any) -> None:
    spec = plain(features={"n": "own.n_7d"})
    spec["sources"]["rows"]["columns"] = {"who": {"available": True}}
    spec["aggregations"]["own"] |= {"by": by, "features": {"n": "count()"}}
    spec["examples"].pop("label")
    assert str(told(spec).features["n"].proof) == "consistent"
    del spec["sources"]["rows"]["available_at"]
    uses = {use.column: str(use.proof) for use in told(spec).features["n"].uses}
    assert uses["own.n_7d"] == (
        "consistent" if by else "unproven"
    )  # The key says when it is known.
    spec["sources"]["rows"]["columns"] = {}
    uses = {use.column: str(use.proof) for use in told(spec).features["n"].uses}
    assert uses["own.n_7d"] == "unproven"


def test_the_verdict_on_past_rows_names_when_their_key_is_known() -> None:
    spec = plain(features={"n": "sold.n_7d"})
    spec["sources"]["sales"] = {
        "path": "sales.parquet",
        "event_time": "t",
        "available_at": "t",
        "columns": {"who": {"available_at": "landed"}},
    }
    spec["aggregations"] = {
        "sold": {"source": "sales", "by": "who", "windows": "7d", "features": {"n": "count()"}}
    }
    found = told(spec, others={"sales": TYPES}).features["n"].uses
    assert [use.known_at for use in found if use.kind == "past_rows"] == ["t, landed"]


def test_without_a_time_of_prediction_nothing_is_consistent() -> None:
    spec = plain(features={"x_z": "zscore(x)"}, aggregations={})
    del spec["examples"]["predict_at"]
    (use,) = told(spec).features["x_z"].uses
    assert (str(use.proof), use.kind) == ("unproven", "no_prediction_time")


def test_a_table_without_time_is_unproven_unless_it_never_changes() -> None:
    spec = plain(
        lookups={"kind": {"source": "kinds", "by": "who", "features": ["size"]}},
        features={"size": "kind.size"},
    )
    spec["sources"]["kinds"] = {"path": "kinds.parquet", "columns": {"size": "float32"}}
    others = {"kinds": {"who": STRING, "size": FLOAT32}}
    use = told(spec, others=others).features["size"].uses[0]
    assert (str(use.proof), use.kind) == ("unproven", "lookup_without_time")
    spec["sources"]["kinds"]["columns"] = {"size": {"type": "float32", "available": True}}
    assert str(told(spec, others=others).features["size"].proof) == "consistent"


@pytest.mark.parametrize(
    ("columns", "kind", "words"),
    [
        ({"x": {"available": False}}, "post_outcome", "is not available at prediction time"),
        ({"x": {"available_at": "t"}}, "late", "is known at t; 'x_z' uses it at t - 30m"),
        ({"x": {"available_at": "landed"}}, "incomparable", "cannot be proven from the spec"),
    ],
)
def test_each_leak_has_its_kind_and_its_own_advice(
    columns: dict[str, Any], kind: str, words: str
) -> None:
    spec = plain(features={"x_z": "zscore(x)"})
    spec["sources"]["rows"]["columns"] |= columns
    assert words in refused(spec)
    (use,) = told(spec, refuse_leaks=False).features["x_z"].uses
    assert (str(use.proof), use.kind) == ("leak", kind)
    assert use.advice


def test_the_label_itself_is_a_leak() -> None:
    spec = plain(features={"y": "cast(late, 'int64')"}, aggregations={})
    spec["sources"]["rows"]["columns"].pop("late")
    (use,) = told(spec, refuse_leaks=False).features["y"].uses
    assert (str(use.proof), use.kind, use.made_of_label) == ("leak", "label", True)


def test_a_waiver_holds_until_its_day_is_over_and_is_always_shown() -> None:
    waiver = {"reason": "until the feed is live", "until": "2024-06-30"}
    spec = plain(features={"x_z": {"expr": "zscore(x)", "waiver": waiver}})
    spec["sources"]["rows"]["columns"]["x"] = {"available": False}
    found = told(spec, today=date(2024, 6, 30))
    assert found.features["x_z"].waiver is not None
    assert found.summary() == "1 waived"
    (line,) = [line for line in found.lines() if line.startswith("waived")]
    assert "waived until 2024-06-30  x_z: until the feed is live (leak: 'x' is not" in line
    found.require_proven()
    assert "its waiver ended on 2024-06-30" in refused(spec, today=date(2024, 7, 1))
    assert fk.Spec.from_dict(fk.Spec.from_dict(spec).as_plain()) == fk.Spec.from_dict(spec)


def test_a_waiver_of_a_consistent_feature_is_not_shown() -> None:
    waiver = {"reason": "none", "until": "2999-01-01"}
    found = told(plain(features={"x_z": {"expr": "zscore(x)", "waiver": waiver}}))
    assert found.features["x_z"].waiver is None


@pytest.mark.parametrize("waiver", [{"until": "2024-06-30"}, {"reason": "why"}, "yes"])
def test_a_waiver_needs_a_reason_and_a_day(waiver: Any) -> None:
    with pytest.raises(fk.SpecError):
        fk.Spec.from_dict(plain(features={"x_z": {"expr": "zscore(x)", "waiver": waiver}}))


def threats(spec: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the kinds of the threats of a spec, with the features that they touch."""
    found = told(spec).threats
    for threat in found:
        in_sentences(threat.message, threat.advice)
    return {threat.kind: threat.features for threat in found}


def test_an_entity_on_both_sides_threatens_features_of_its_past_labels() -> None:
    features = {"late": "own.late_7d", "n": "own.n_7d"}
    spec = plain(features=features)
    spec["examples"]["split"] = {"hash": "id", "test": 0.2}
    assert threats(spec) == {"entity_overlap": ("late",)}
    spec["examples"]["split"] = {"hash": "who", "test": 0.2}
    assert threats(spec) == {}


def test_a_label_that_is_known_late_asks_for_an_embargo() -> None:
    spec = plain(features={"late": "own.late_7d", "x_z": "zscore(x)"})
    spec["examples"]["split"] = {"by": "t", "test_from": "2024-03-01"}
    assert threats(spec) == {"missing_embargo": ("late",)}
    spec["features"]["who_late"] = "target_mean(who)"
    assert threats(spec) == {"missing_embargo": ("late", "who_late")}


def test_statistics_of_all_rows_and_the_models_own_words_are_threats() -> None:
    spec = plain()
    assert threats(spec) == {"nothing_held_out": ("x_z", "both")}
    spec["examples"]["split"] = {"hash": "who", "test": 0.2}
    spec["sources"]["rows"]["written_by"] = "flights"
    assert threats(spec) == {"feedback": ("x_z", "past", "both")}
    spec["sources"]["rows"]["written_by"] = "other"
    assert threats(spec) == {}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows that land an hour after their time, but for the first three, which land long before."""
    times = [START + timedelta(hours=place) for place in range(10)]
    lands = [time + timedelta(hours=-5 if place < 3 else 1) for place, time in enumerate(times)]
    pl.DataFrame(
        {"t": times, "landed": lands, "who": ["a", "b"] * 5, "x": range(10), "y": range(10),
         "late": [True, False] * 5}
    ).write_parquet(tmp_path / "rows.parquet")  # fmt: skip
    return tmp_path


def test_the_data_settles_what_the_spec_cannot(data: Path) -> None:
    spec = plain(features={"x_z": "zscore(y)"})
    with pytest.raises(
        SpecErrors, match="in the data it is not known by then in 7 of 10 rows"
    ) as caught:
        fk.check(fk.Spec.from_dict(spec, data))
    assert all(isinstance(problem, LeakageError) for problem in caught.value.problems)
    rows = pl.read_parquet(data / "rows.parquet")
    rows.head(3).write_parquet(data / "rows.parquet")
    early = fk.Spec.from_dict(spec, data)
    (use,) = judge(fk.check(early)).features["x_z"].uses
    assert str(use.proof) == "unproven"
    assert use.reason.endswith("in the data it is known in time in all 3 rows")
    with pytest.raises(SpecErrors, match="strict mode"):
        fk.check(early, strict=True)
    with pytest.raises(SpecErrors, match="strict mode"):
        fk.run(early, data / "run", tensorflow=False, strict=True)
    assert not (data / "run").exists()
    assert fk.run(early, data / "run", tensorflow=False).manifest["leakage"]["verdicts"]["x_z"][
        "verdict"
    ] == "unproven"  # fmt: skip


def test_rows_that_do_not_say_when_a_value_was_known_are_late(data: Path) -> None:
    rows = pl.read_parquet(data / "rows.parquet").head(3)
    never = pl.when(pl.col("x") == 1).then(None).otherwise(pl.col("landed")).alias("landed")
    rows.with_columns(never).write_parquet(data / "rows.parquet")
    with pytest.raises(SpecErrors, match="not known by then in 1 of 3 rows"):
        fk.check(fk.Spec.from_dict(plain(features={"x_z": "zscore(y)"}), data))


def test_data_that_nobody_has_read_settles_nothing(data: Path) -> None:
    empty = pl.read_parquet(data / "rows.parquet").clear()
    spec = fk.Spec.from_dict(plain(features={"x_z": "zscore(y)"}))
    opened = open_all(spec, lambda _: fk.Source(data=empty))
    with pytest.raises(SpecErrors, match="cannot be proven from the spec"):
        opened.resolve(spec)


def test_a_run_outlives_its_waiver(data: Path) -> None:
    today = datetime.now(UTC).date()
    waiver = {"reason": "for now", "until": today.isoformat()}
    spec = plain(features={"x_z": {"expr": "zscore(y)", "waiver": waiver}})
    run = fk.run(fk.Spec.from_dict(spec, data), data / "run", tensorflow=False)
    manifest = json.loads((data / "run/manifest.json").read_text())
    manifest["spec"]["features"]["x_z"]["waiver"]["until"] = "2020-01-01"
    (data / "run/manifest.json").write_text(json.dumps(manifest))
    assert fk.open_run(data / "run").plan.features.keys() == run.plan.features.keys()


def test_verdicts_tell_leaks_and_raise_nothing(data: Path) -> None:
    found = fk.verdicts(fk.Spec.from_dict(plain(features={"x_z": "zscore(y)"}), data))
    assert found.summary() == "1 leak"
    assert json.loads(json.dumps(found.to_dict()))["verdicts"]["x_z"]["uses"][0]["kind"] == (
        "late_in_data"
    )


def test_check_prints_verdicts_and_draws_them(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data / "spec.yaml"
    path.write_text(json.dumps(plain(name="<b>&")), "utf-8")
    picture = data / "time.svg"
    assert main(["check", str(path), "--picture", str(picture)]) == 0
    assert "leakage: 3 consistent with what is declared" in capsys.readouterr().out
    root = ET.fromstring(picture.read_text("utf-8"))
    words = " ".join(root.itertext())
    assert "prediction, t - 30m" in words
    assert "30m before" in words
    assert main(["check", str(path), "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["leakage"]["verdicts"]["x_z"]["verdict"] == "consistent"
    )


def test_the_picture_shows_leaks_first_and_escapes_names() -> None:
    spec = plain(features={"x_z": "zscore(x)", "bad": "col('<script>') * 2"})
    spec["sources"]["rows"]["columns"]["<script>"] = {"type": "float32", "available_at": "t + 1d"}
    found = judge(
        resolve(fk.Spec.from_dict(spec), {**TYPES, "<script>": FLOAT32}, refuse_leaks=False)
    )
    picture = draw_timeline(found)
    assert "<script>" not in picture
    texts = list(ET.fromstring(picture).itertext())
    assert texts.index("<script>") < texts.index("x")
    assert any("after" in text for text in texts)


def test_the_label_of_other_rows_is_told_to_be_cross_fitted() -> None:
    found = told(plain(features={"who_late": "target_mean(who) - 0.5"}))
    verdict = found.features["who_late"]
    assert verdict.proof == "consistent"
    assert verdict.made_of_label
    use = next(use for use in verdict.uses if use.kind == "cross_fitted")
    assert use.chain == ("who_late", "target_mean", "late")
    assert "before its block of time begins" in use.reason
    ET.fromstring(draw_timeline(found))


@pytest.mark.parametrize(
    ("known", "ahead", "shown"),
    [
        ({"available_at": "t + 90m"}, -120, "2h after"),  # Predicted at t - 30m.
        ({"available_at": "landed"}, None, "at landed"),
        ({}, None, "later"),  # Folds are no blocks of time: nothing has to be declared.
    ],
)
def test_a_label_that_is_cross_fitted_is_drawn_as_a_label_that_is_known_later(
    known: dict[str, Any], ahead: int | None, shown: str
) -> None:
    spec = plain(features={"who_late": "target_mean(who)"}, aggregations={})
    spec["sources"]["rows"]["columns"] = {"late": known}
    if not known:
        spec["examples"] = {"source": "rows", "label": "late", "keys": ["id"]}
    found = told(spec)
    (use,) = (use for use in found.features["who_late"].uses if use.kind == "cross_fitted")
    assert use.ahead == (None if ahead is None else ahead * 60_000_000)
    texts = list(ET.fromstring(draw_timeline(found)).itertext())
    word = "known " if "after" not in shown else ""
    assert f"label, cross-fitted; {word}{shown}; 1 feature" in texts
    page = leakage_page({"static": found.to_dict()})
    assert f"late (rows): label, cross-fitted; known {shown}" in page
    assert "always" not in page
    line = next(row for row in page.split('<div class="row ')[1:] if "cross-fitted" in row)
    assert line.startswith("label"), "it is not drawn as what is known in time"
    sees = "labels that were known before" if known else "labels of other folds alone"
    assert f"a row to train on sees {sees}" in page


def test_the_word_of_older_manifests_is_read_as_consistent() -> None:
    assert Proof("proven") is Proof.CONSISTENT
    now = told(plain()).to_dict()
    before = json.loads(json.dumps(now).replace('"consistent"', '"proven"'))
    assert before != now
    old, new = (leakage_page({"static": each}).partition('id="data"')[0] for each in (before, now))
    assert old == new
    assert "3 consistent with what is declared" in new


@pytest.mark.parametrize(("by", "told_of"), [("", []), (", by='who'", ["who_late"])])
def test_an_entity_whose_labels_are_seen_and_that_is_on_both_sides_of_a_split_is_a_threat(
    by: str, told_of: list[str]
) -> None:
    spec = plain(
        examples={"source": "rows", "keys": ["id"], "label": "late",
                  "split": {"hash": ["id"], "test": 0.2}},
        features={"who_late": f"target_mean(who{by})"},
    )  # fmt: skip
    found = told(spec | {"sources": {"rows": {"path": "rows.parquet"}}, "aggregations": {}})
    assert found.features["who_late"].entities == (("who",) if by else ())
    overlaps = [threat for threat in found.threats if threat.kind == "entity_overlap"]
    assert [name for threat in overlaps for name in threat.features] == told_of


def test_an_embargo_as_long_as_the_label_takes_settles_it(data: Path) -> None:
    spec = plain(features={"late": "own.late_7d"})
    spec["sources"]["rows"]["columns"] |= {"late": {"available_at": "t + 3h"}, "y": "float32"}
    spec["examples"]["split"] = {"by": "t", "test_from": (START + timedelta(hours=8)).isoformat()}
    assert threats(spec) == {"missing_embargo": ("late",)}
    spec["examples"]["split"]["embargo"] = "3h"
    assert threats(spec) == {"missing_embargo": ("late",)}, "predictions come 30 minutes before"
    spec["examples"]["split"]["embargo"] = "210m"
    assert threats(spec) == {}
    run = fk.run(fk.Spec.from_dict(spec, data), data / "run", tensorflow=False)
    # Of ten rows, an hour apart, two are from the eighth on, and three within 3.5 hours.
    assert run.manifest["rows"]["splits"] == {"train": 5, "test": 2}
    assert run.manifest["rows"]["embargoed"] == 3
    assert run.examples("train").to_polars().height == 5
    assert sorted(path.name for path in (data / "run/examples").iterdir()) == [
        "split=test", "split=train",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"hash": "id", "test": 0.2, "embargo": "1d"}, "an embargo belongs to a split by time"),
        ({"by": "t", "test_from": "2024-03-01", "embargo": "soon"}, "a duration such as 1d"),
        ({"by": "t", "test_from": "2024-03-01", "embargo": "-1d"}, "a duration such as 1d"),
    ],
)
def test_an_embargo_that_makes_no_sense_is_refused(split: dict[str, Any], words: str) -> None:
    spec = plain()
    spec["examples"]["split"] = split
    with pytest.raises(fk.SpecError, match=words):
        fk.Spec.from_dict(spec)


def test_strict_mode_names_every_cause_with_file_and_line(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1.0], "z": [2.0]}).write_csv(tmp_path / "rows.csv")
    (tmp_path / "spec.yaml").write_text(
        "sources: {rows: {path: rows.csv}}\nexamples: {source: rows}\n"
        "features:\n  one: log1p(x)\n  both: x + z\n"
    )
    with pytest.raises(SpecErrors) as caught:
        fk.check(tmp_path / "spec.yaml", strict=True)
    assert [str(problem).split(" becomes")[0] for problem in caught.value.problems] == [
        f"{tmp_path}/spec.yaml:4: feature 'one': nothing says when 'x'",
        f"{tmp_path}/spec.yaml:5: feature 'both': nothing says when 'x'",
        f"{tmp_path}/spec.yaml:5: feature 'both': nothing says when 'z'",
    ]
