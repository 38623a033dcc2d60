"""The leakage report: what it shows of any content, and that names do nothing to the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.report import page as pages
from featurekit.report.leakage import SEVERITIES, leakage_page, severities, verdict
from featurekit.report.page import number
from featurekit.report.pictures import SHOWN
from featurekit.report.style import SCRIPT
from tests.pages import CHROMIUM, Page

HOSTILE = [
    "<script>alert(1)</script>", "\"&'", "</script>", "<!--", "' onload='alert(1)", "x" * 5_000,
    "🛫 ✈️", "עיכוב", "\u202egnp.exe", "a\x00b\x1b[31m", "https://evil.example/x.js", "javascript:1",
    "{{7*7}}", "line\nbreak",
]  # fmt: skip
DAY, HOUR = 86_400_000_000, 3_600_000_000


def data_of(page: Page) -> Any:
    """Return the content that a page holds beside showing it."""
    return json.loads(page.held[-1])


def numbers(strength: float, interval: bool = True) -> dict[str, Any]:
    """Return the numbers of a feature, as a scan gives them."""
    return {
        "rows": 100, "missing": 0.25, "bins": 10, "exact": True,
        "way": "rank" if interval else "R2", "strength": strength, "p_value": 1e-9,
        "direction": 1, "question": 1, "resolution": 0.0, "ways": {"rank": strength},
        "shift": None, "support": [50, 50],
        "interval": [strength - 0.02, min(1.0, strength + 0.02)] if interval else None,
    }  # fmt: skip


def finding(features: list[str], severity: str = "critical", kind: str = "proxy") -> dict[str, Any]:
    return {
        "features": features, "kind": kind, "severity": severity, "message": f"{features} leak.",
        "effect": {"name": "AUC", "value": 0.991, "low": 0.98, "high": 1.0, "unit": ""},
        "evidence": {"p_value": 1e-9, "value": features[0] if features else None, "ways": {}},
        "advice": "Drop it.",
    }  # fmt: skip


def report(names: list[str], severity: str = "critical", interval: bool = True) -> dict[str, Any]:
    """Return the content of a report with a finding for each feature."""
    features = {name: numbers(0.99 - 0.4 * i / len(names), interval)
                for i, name in enumerate(names)}  # fmt: skip
    return {
        "of": {"kind": "table", "name": names[0], "features": len(names), "rows": 1234,
               "label": names[-1], "split": None, "entity": None, "time": None,
               "exclude": names[:1]},
        "scan": {"label": "y", "rows": 1234, "features": features, "skipped": names[:2], "seed": 7,
                 "findings": [finding([name], severity) for name in names], "caveat": "Not proven"},
        "thresholds": {"warning": 0.9, "critical": 0.98},
        "versions": {"featurekit": "0.1.0"},
    }  # fmt: skip


def use(column: str, proof: str, ahead: int | None, **more: Any) -> dict[str, Any]:
    return {
        "column": column, "source": "flights", "verdict": proof,
        "chain": ["speed", "miles", column], "kind": "in_time", "reason": f"{column} is so",
        "advice": "", "known_at": "landing", "used_at": "departure", "ahead": ahead,
        "made_of_label": False, "entity": [], **more,
    }  # fmt: skip


def entry(verdict: str, uses: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "waiver": None, "uses": uses, "label": False, "fitted_on": None,
            "entities": [], **more}  # fmt: skip


def static(names: list[str]) -> dict[str, Any]:
    waiver = {"reason": names[0] if names else "why", "until": "2027-01-01"}
    return {
        "verdicts": {
            "planned": entry("consistent", [use("planned", "consistent", 30 * DAY - 2 * HOUR)],
                             fitted_on="train"),
            "late": entry("leak", [use("late", "leak", -DAY - 2 * HOUR)], label=True),
            "never": entry("leak", [use("never", "leak", None, known_at=None)]),
            "past": entry("consistent", [use("past", "consistent", None)]),
            "perhaps": entry("unproven", [use("perhaps", "unproven", None)], waiver=waiver),
            **{name: entry("unproven", [use(name, "unproven", None)]) for name in names},
        },
        "findings": [{"kind": "too_late", "severity": "critical", "features": ["late"],
                      "message": "late is known later", "advice": "Use past rows."}],
    }  # fmt: skip


def replay(names: list[str]) -> dict[str, Any]:
    verdicts = ("leak", "clean", "undated", "untested")
    features = {
        name: {
            "feature": name, "verdict": verdicts[place % 4], "cells": 100, "mismatches": 12,
            "changed": 1_000, "drawn": 50, "drawn_mismatches": 6, "bound": 0.2,
            "first": {"keys": {"id": name}, "at": None, "mode": "delete", "with_future": name,
                      "without_future": None},
            "responsible": [f"flights.{name}"], "reasons": ["known at landing"],
            "undeclared": [], "undated": [],
        }
        for place, name in enumerate(names)
    }  # fmt: skip
    return {
        "findings": [finding(names[:1], kind="reads_the_future")], "verdict": "leak",
        "examples": 1_000, "moments": 980, "complete": False, "seed": 3, "features": features,
        "statistics": {"verdict": "leak", "statistics": 66, "rows": 500, "why": None,
                       "changed": {name: [name] for name in names[:1]}},
    }  # fmt: skip


def whole(names: list[str]) -> dict[str, Any]:
    return {**report(names), "static": static(names), "replay": replay(names)}


def test_the_verdict_comes_first_then_findings_pictures_tables_and_the_method() -> None:
    made = Page(leakage_page(whole(["a", "b"])))
    assert made.ids() == [
        "findings", "waivers", "known", "strength", "verdicts", "features", "replay", "method",
        "data",
    ]  # fmt: skip
    assert made.text.index("4 critical in 2 features of 1,234 rows") < made.text.index("Findings")


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ({}, ["findings", "method"]),
        ({"scan"}, ["findings", "strength", "features", "method"]),
        ({"static"}, ["findings", "waivers", "known", "verdicts", "method"]),
        ({"replay"}, ["findings", "replay", "method"]),
    ],
)
def test_what_is_absent_is_not_shown(parts: set[str], shown: list[str]) -> None:
    every = whole(["a"])
    made = Page(leakage_page({part: every[part] for part in parts}))
    assert made.ids() == [*(name for name in shown if name != "method" or "scan" in parts), "data"]


@pytest.mark.parametrize("count", [5, 500])
def test_every_feature_and_finding_is_shown(count: int) -> None:
    names = [f"feature_{i:03}" for i in range(count)]
    made = Page(leakage_page(report(names)))
    pictures = [held for tag, held in made.elements if tag == "svg" and "role" in held]
    assert len(pictures) == count
    unfolded = [text for text in made.texts if text.endswith(" more")]
    assert unfolded == ([f"{count - SHOWN} more"] if count > SHOWN else [])
    assert all(made.texts.count(name) >= 3 for name in names)  # its finding, its bar, its row
    assert f"{count} critical in {count} features" in made.text


def test_findings_stand_in_the_order_of_their_severity() -> None:
    every = report(["a", "b", "c"])
    every["scan"]["findings"] = [finding([name], severity) for name, severity in
                                 zip("abc", reversed(SEVERITIES), strict=True)]  # fmt: skip
    made = Page(leakage_page(every))
    cards = [held["class"] for _, held in made.elements if held.get("class", "").startswith("card")]
    assert cards == ["card critical", "card warning"]
    assert "1 note" in made.text
    assert severities(every) == {"critical": 1, "warning": 1, "note": 1}
    assert verdict(every) == "1 critical, 1 warning in 3 features of 1,234 rows"


def test_a_finding_shows_effect_evidence_and_advice_and_the_caveat_stands_once() -> None:
    every = report(["a", "b"])
    for found in every["scan"]["findings"]:
        found["message"] += " Not proven."
    made = Page(leakage_page(every))
    assert "AUC 0.991 (95% interval 0.980 to 1.000)" in made.text
    assert "What to do: Drop it." in made.text
    assert "1e-09" in made.text
    assert made.text.count("Not proven.") == 1


def test_the_thresholds_are_drawn_at_their_places() -> None:
    made = Page(leakage_page(report(["a"])))
    lines = {held["class"]: held["x1"] for tag, held in made.elements
             if tag == "line" and held.get("class", "").startswith("limit")}  # fmt: skip
    assert lines == {"limit warning": "80.00%", "limit critical": "96.00%"}
    made = Page(leakage_page(report(["a"], interval=False)))
    places = [held["x1"] for tag, held in made.elements if held.get("class") == "limit critical"]
    assert places == ["98.00%"]
    assert "R2: the share of the label's variance" in made.text


def test_the_line_of_time_shows_when_columns_are_known_the_worst_first() -> None:
    made = Page(leakage_page({"static": static([])}))
    labels = [held["aria-label"] for tag, held in made.elements if "aria-label" in held
              and tag == "svg"]  # fmt: skip
    assert labels == [
        "never (flights): after it", "late (flights): 1d 2h after",
        "perhaps (flights): at landing", "planned (flights): 29d 22h before",
        "past (flights): at landing",
    ]  # fmt: skip
    bands = [(held["x"], held["width"]) for tag, held in made.elements if tag == "rect"]
    assert bands == [("50%", "50%"), ("0%", "100%"), ("0%", "50%")]
    marks = [float(held["x"].rstrip("%")) for tag, held in made.elements if tag == "svg"
             and held.get("x", "").endswith("%")]  # fmt: skip
    assert marks[0] > 50 > marks[1]
    assert "2 consistent with what is declared, 1 unproven, 2 leak." in made.text
    said = made.text.replace(" ,", ",").replace(" :", ":")
    assert "speed → miles → late: late is so" in said
    assert "speed → miles → planned: known at landing, used at departure" in said


def test_a_verdict_says_what_it_rests_on_and_where_the_data_object() -> None:
    every = {**report(["planned"], severity="warning"), "static": static([])}
    made = Page(leakage_page(every))
    assert "it cannot tell whether that is true" in made.text
    assert made.text.count("the data object: warning") == 1


def test_what_a_spec_shows_of_its_features_can_be_shown() -> None:
    rows = pl.DataFrame({"at": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 9),
                         eager=True), "x": range(9), "z": range(9)})  # fmt: skip
    spec = fk.Spec(
        sources={"rows": fk.Source(data=rows, available_at="at - 1d", columns={
            "at": fk.Column(zone="UTC"), "z": fk.Column(available_at="at + 30m")})},
        examples=fk.Examples(source="rows", predict_at="at - 2h", label="x > 3"),
        features={"x_sign": "sign(z)", "hour": "hour(at)"},
    )  # fmt: skip
    made = Page(leakage_page({"static": fk.verdicts(spec).to_dict()}))
    labels = [held["aria-label"] for tag, held in made.elements if "aria-label" in held
              and tag == "svg"]  # fmt: skip
    assert labels == ["z (rows): 2h 30m after", "at (rows): 22h before"]
    assert "1 consistent with what is declared, 1 leak." in made.text


def test_a_finding_of_a_replay_has_a_card_and_is_none_of_its_numbers() -> None:
    made = Page(leakage_page({"replay": replay(["a"])}))
    start = made.texts.index("Replay")
    assert made.texts.count("['a'] leak.") == 1
    assert made.texts.index("['a'] leak.") < start
    shown = [text for text in made.texts[start:] if text.strip()]
    lead = "The features of 1,000 examples, predicted at 980 times, were computed again without "
    again = "66 statistics were fitted again with 500 rows outside of the train split poisoned: "
    assert shown == [
        "Replay", f"{lead}what was not known then: 1 leak.",
        "leak", "it is different without the future",
        f"{again}not the same are ", "a", ".",
        "Features without the future", "feature", "verdict", "compared", "with a future",
        "different", "at most", "because of", "a", "leak", "100", "1,000", "12", "20.0%",
        "flights.a", shown[-1],
    ]  # fmt: skip
    assert shown[-1].startswith("With a future: examples in which something")


def test_the_method_says_which_rows_were_looked_at_side_by_side() -> None:
    told = report(["a"])
    assert "side by side" not in Page(leakage_page(told)).text
    told["scan"]["side_by_side"] = "all rows of some values of 'who' (49,876 of 500,000 rows)"
    made = Page(leakage_page(told)).text
    assert f"Looked at side by side: {told['scan']['side_by_side']}." in made


def test_what_each_verdict_of_a_replay_means_is_said_once() -> None:
    made = Page(leakage_page({"replay": replay(["a", "b", "c", "d", "e"])}))
    assert "without what was not known then: 2 leak, 1 untested, 1 undated, 1 clean." in made.text
    assert made.text.count("declared to be always available: nothing to withhold") == 1
    assert made.text.count("nobody says when something that it reads became known") == 1


def test_an_area_has_an_interval_and_an_r2_has_none(found: fk.LeakageReport) -> None:
    low, high = found.to_dict()["scan"]["features"]["n"]["interval"]
    assert 0.4 < low < 0.5 < high < 0.6
    amounts = [1.5 * i % 7 for i in range(300)]
    table = pl.DataFrame({"y": amounts, "x": [2 * amount for amount in amounts]})
    numbers = fk.scan_leakage(table, label="y").to_dict()["scan"]["features"]["x"]
    assert (numbers["way"], numbers["interval"]) == ("R2", None)


def test_no_name_becomes_an_element_or_an_attribute() -> None:
    tame = Page(leakage_page(whole([f"n{i}" for i in range(len(HOSTILE))])))
    wild = Page(leakage_page(whole(HOSTILE)))

    def shape(made: Page) -> list[tuple[str, tuple[str, ...]]]:
        return sorted((tag, tuple(held)) for tag, held in made.elements)

    assert shape(wild) == shape(tame)
    assert [tag for tag, _ in wild.elements].count("script") == 2
    attributes = {key for _, held in wild.elements for key in held}
    assert not {key for key in attributes if key.startswith("on")} | (
        attributes & {"href", "src", "style", "action", "srcdoc", "xlink:href"}
    )


def test_hostile_names_are_shown_and_turn_nothing_around_them() -> None:
    html = leakage_page(whole(HOSTILE))
    made = Page(html)
    for shown in (*HOSTILE[:8], *HOSTILE[10:13]):
        assert shown in made.texts
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", html)
    assert "\ufffdgnp.exe" in made.texts


def test_the_page_refers_to_nothing_outside() -> None:
    html = leakage_page(whole(["a", "b"]))
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not {tag for tag, _ in Page(html).elements} & {"img", "link", "iframe", "object", "base"}


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else() -> None:
    html = leakage_page(whole(HOSTILE))
    made = Page(html)
    (policy,) = [held["content"] for _, held in made.elements
                 if held.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    (style,), (script,) = made.styles, made.programs
    for kind, content in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    # Meta elements before it would not be under it.
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_a_phone_and_a_printer_are_thought_of() -> None:
    html = leakage_page(report(["a"]))
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "@media print" in html
    assert "@media (max-width:" in html
    assert "prefers-color-scheme:dark" in html


def test_the_page_holds_the_same_content_as_json() -> None:
    every = whole(HOSTILE)
    assert data_of(Page(leakage_page(every))) == json.loads(json.dumps(every))


def test_numbers_are_short_and_missing_ones_a_dash() -> None:
    shown = [number(value) for value in (0.5, 12_345, 1.5e-9, 98765.4, None, True, 0.0)]
    assert shown == ["0.500", "12,345", "1.5e-09", "9.9e+04", "–", "yes", "0.000"]


@pytest.fixture
def found() -> fk.LeakageReport:
    late = [i % 3 == 0 for i in range(300)]
    table = pl.DataFrame({"late": late, "refund": [5.0 * x for x in late], "n": range(300)})
    return fk.scan_leakage(table, label="late")


def test_html_and_json_are_written_side_by_side(found: fk.LeakageReport, tmp_path: Path) -> None:
    found.to_html(tmp_path / "leaks.html")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["leaks.html", "leaks.json"]
    beside = json.loads((tmp_path / "leaks.json").read_text("utf-8"))
    assert beside == found.to_dict()
    assert data_of(Page((tmp_path / "leaks.html").read_text("utf-8"))) == beside


def test_neither_file_is_written_over_unless_told_so(
    found: fk.LeakageReport, tmp_path: Path
) -> None:
    (tmp_path / "leaks.json").write_text("mine", "utf-8")
    with pytest.raises(fk.UsageError, match=r"leaks\.json: the file exists already"):
        found.to_html(tmp_path / "leaks.html")
    assert [file.name for file in tmp_path.iterdir()] == ["leaks.json"]
    found.to_html(tmp_path / "leaks.html", overwrite=True)
    assert (tmp_path / "leaks.json").read_text("utf-8") != "mine"


def test_a_page_that_cannot_be_made_leaves_no_file(
    found: fk.LeakageReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(pages, "write_json", fail)
    with pytest.raises(RuntimeError):
        found.to_html(tmp_path / "leaks.html")
    assert not list(tmp_path.iterdir())


def test_a_report_is_an_html_file(found: fk.LeakageReport, tmp_path: Path) -> None:
    with pytest.raises(fk.UsageError, match=r"a report is an \.html file"):
        found.to_html(tmp_path / "leaks.json")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("count", [5, 500])
def test_a_browser_opens_the_page_and_sorts_its_tables(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    click = 'document.querySelector("#features th:nth-child(3) button").click();'
    monkeypatch.setattr("featurekit.report.page.SCRIPT", SCRIPT + click)
    names = HOSTILE[:5] if count == 5 else [f"feature_{i:03}" for i in range(count)]
    (tmp_path / "leaks.html").write_text(leakage_page(whole(names)), "utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "leaks.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=1200,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr  # where a browser tells of scripts that it refused
    assert '<th scope="col" aria-sort="ascending"><button type="button"' in done.stdout
    shown = done.stdout[done.stdout.index('<section id="features">') :]
    strengths = [float(text) for text in re.findall(r'data-head="strength">([\d.]+)<', shown)]
    assert len(strengths) == count
    assert strengths == sorted(strengths)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("names", [HOSTILE, [f"the_delay_of_all_{i}" for i in range(9)]])
def test_the_page_is_as_wide_as_a_phone(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What lies beyond the edge has to be reached sideways. A window is never as narrow, a frame is.
    tell = """
    addEventListener("load", () => {
      for (const each of document.querySelectorAll("details")) each.open = true;
      const beyond = [...document.querySelectorAll("html, .scroll")].filter(
        each => each.scrollWidth > each.clientWidth);
      parent.postMessage(`${innerWidth} wide, ${beyond.length} wider`, "*");
    });"""
    monkeypatch.setattr("featurekit.report.page.SCRIPT", SCRIPT + tell)
    (tmp_path / "leaks.html").write_text(leakage_page(whole(names)), "utf-8")
    (tmp_path / "frame.html").write_text(
        "<script>onmessage = said => { document.title = said.data; }</script>"
        '<iframe src="leaks.html" width="375" height="800" frameborder="0"></iframe>',
        "utf-8",
    )
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
         (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=1200,
    )  # fmt: skip
    assert "<title>375 wide, 0 wider</title>" in done.stdout
