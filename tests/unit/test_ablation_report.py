"""The ablation report: what it shows of any content, and that it is drawn in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import featurekit as fk
from featurekit.console import found_ablation
from featurekit.report import charts
from featurekit.report.ablation import LONG, ablation_page, ablation_verdict
from featurekit.report.page import write_report
from featurekit.report.worths import SHOWN
from tests.ablation_reports import complete_report, linear_report, many_features, renamed
from tests.pages import CHROMIUM, Page

HOSTILE = [
    "<script>alert(1)</script>", "\"&'", "</script>", "<!--", "' onload='alert(1)", "x" * 200,
    "🛫 ✈️", "עיכוב", "\u202egnp.exe", "a\x00b\x1b[31m", "a.b[0]['c']", "line\nbreak",
]  # fmt: skip
TELL = """
addEventListener("load", async () => {
  const figures = [...document.querySelectorAll("figure.chart")];
  while (!figures.every(each => each.classList.contains("done")))
    await new Promise(done => setTimeout(done, 50));
  parent.postMessage(JSON.stringify({
    window: innerWidth, page: document.documentElement.scrollWidth,
    charts: figures.map(each => each.querySelector("svg")).map(each => ({
      marks: each.querySelectorAll("path").length, texts: each.querySelectorAll("text").length,
      label: each.closest(".drawn").getAttribute("aria-label"),
      wide: each.getBoundingClientRect().width || Number(each.getAttribute("width")),
    })),
  }), "*");
});
"""

pytestmark = pytest.mark.skipif(
    find_spec("altair") is None or find_spec("vl_convert") is None,
    reason="the extra `analysis` is not installed",
)


def charts_of(page: Page) -> list[Any]:
    """Return what the charts are drawn from; the last thing that a page holds is the report."""
    return [json.loads(held) for held in page.held[:-1]]


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return complete_report()


def names_of(report: dict[str, Any]) -> list[str]:
    return [one["name"] for one in report["tiers"][0]["features"]]


def hostile(report: dict[str, Any]) -> dict[str, Any]:
    names = dict(zip(names_of(report), HOSTILE, strict=True))
    says = {"flights": HOSTILE[5], "late": HOSTILE[2], "weather": HOSTILE[0],
            "everything fifth": HOSTILE[3], "mean()": HOSTILE[1]}  # fmt: skip
    found: dict[str, Any] = renamed(report, {**names, **says})
    return found


def test_the_verdict_comes_first_then_the_proposal_pictures_tables_and_the_method(
    whole: dict[str, Any],
) -> None:
    made = Page(ablation_page(whole))
    assert made.ids() == [
        "proposal", "notes", "worth", "relations", "groups", "pairs", "cost", "features", "method",
        "data",
    ]  # fmt: skip
    sentence = ablation_verdict(whole)
    assert made.text.index(sentence[1:]) < made.text.index("What to remove")


@pytest.mark.parametrize(
    ("part", "gone"),
    [("relations", "relations"), ("costs", "cost"), ("tiers", "groups"), ("tiers", "pairs")],
)
def test_what_is_absent_is_not_shown(whole: dict[str, Any], part: str, gone: str) -> None:
    bare = {**whole, part: None if part == "costs" else []}
    bare = {**bare, "joint": None}
    assert gone not in Page(ablation_page(bare)).ids()


def test_the_verdict_counts_and_says_what_can_go_and_at_what_score(whole: dict[str, Any]) -> None:
    proposal = {**whole["proposal"], "full": 0.3118, "smaller": 0.3121, "margin": 0.001,
                "difference": {"effect": 0.0003, "low": -0.0001, "high": 0.0007}}  # fmt: skip
    verdicts = {name: {"verdict": verdict} for name, verdict in zip(
        "abcd", ["matters", "negligible", "negligible", "undecided"], strict=True)}  # fmt: skip
    said = {"verdicts": verdicts, "proposal": {**proposal, "remove": ["b", "c"]}}
    assert ablation_verdict(said) == (
        "1 of 4 features matters, 2 are negligible and 1 is undecided; 2 can go together, at a log "
        "loss of 0.3121 instead of 0.3118"
    )
    worse = {**proposal, "remove": ["b"], "difference": {"effect": 0.0003, "low": 0, "high": 0.002}}
    assert ablation_verdict({**said, "proposal": worse}).endswith(
        "1 can go, but log loss may rise beyond the margin: 0.3121 instead of 0.3118"
    )
    assert ablation_verdict({**said, "proposal": None}).endswith("; none can go")


def test_a_smaller_set_that_may_be_worse_is_a_warning(whole: dict[str, Any]) -> None:
    assert '<header class="good">' in ablation_page(whole)
    high = {**whole["proposal"]["difference"], "high": 2 * whole["proposal"]["margin"]}
    html = ablation_page({**whole, "proposal": {**whole["proposal"], "difference": high}})
    assert '<header class="warning">' in html
    assert "reaches beyond the margin" in html


def test_a_high_end_that_nobody_knows_is_no_proof(whole: dict[str, Any]) -> None:
    unknown = {**whole["proposal"]["difference"], "low": None, "high": None}
    html = ablation_page({**whole, "proposal": {**whole["proposal"], "difference": unknown}})
    assert '<header class="warning">' in html


def test_the_proposal_shows_reasons_scores_savings_and_the_change_to_the_spec(
    whole: dict[str, Any],
) -> None:
    made, remove = Page(ablation_page(whole)), whole["proposal"]["remove"]
    shown = made.text[made.text.index("What to remove") : made.text.index("What each feature")]
    for name in remove:
        assert name in shown
        assert whole["proposal"]["reasons"][name] in shown
        assert f"- {name}: zscore({name})" in shown
    assert "1.2 GB fewer to read, 4.2 s less per million rows" in shown
    assert "features 12 → 9" in shown


def test_features_are_drawn_by_effect_in_the_strongest_tier_that_measured_them(
    whole: dict[str, Any],
) -> None:
    made = Page(ablation_page(whole))
    first, second = charts_of(made)[:2]
    by_tier = {tier["tier"]: tier["features"] for tier in whole["tiers"]}
    retrained = sorted(by_tier["retrain"], key=lambda one: -one["effect"])
    assert param(first, "names") == [one["name"] for one in retrained]
    assert [row["effect"] for row in rows(first)] == [one["effect"] for one in retrained]
    assert {row["verdict"] for row in rows(first)} == {one["verdict"] for one in retrained}
    assert made.text.count("the budget ended first; 96 of 150 trials, 24 spared") == 2
    rest = set(names_of(whole)) - {one["name"] for one in retrained}
    assert set(param(second, "names")) == rest


def param(chart: Any, name: str) -> Any:
    (found,) = [each["value"] for each in chart["params"] if each["name"] == name]
    return found


def rows(chart: Any) -> list[dict[str, Any]]:
    """Return the data of a chart that has a row for each thing."""
    found: list[dict[str, Any]]
    (found,) = [data for data in chart["datasets"].values() if "told" in data[0]]
    return found


def test_names_are_values_of_charts_and_never_fields(whole: dict[str, Any]) -> None:
    wild, tame = (charts_of(Page(ablation_page(each))) for each in (hostile(whole), whole))

    def shape(chart: Any) -> Any:
        if isinstance(chart, dict):
            return {key: shape(value) for key, value in chart.items()
                    if key not in ("datasets", "value", "data")}  # fmt: skip
        return [shape(each) for each in chart] if isinstance(chart, list) else chart

    assert [shape(chart) for chart in wild] == [shape(chart) for chart in tame]
    shown = {name for chart in wild for each in chart.get("params", ())
             for name in each["value"]}  # fmt: skip
    assert {"a.b[0]['c']", "line break", "</script>", "\ufffdgnp.exe"} <= shown
    assert all(len(name) <= 80 for name in shown)


def test_no_name_becomes_an_element_or_an_attribute(whole: dict[str, Any]) -> None:
    wild, tame = Page(ablation_page(hostile(whole))), Page(ablation_page(whole))

    def shape(made: Page) -> list[tuple[str, tuple[str, ...]]]:
        return sorted((tag, tuple(held)) for tag, held in made.elements)

    assert shape(wild) == shape(tame)
    attributes = {key for _, held in wild.elements for key in held}
    assert not {key for key in attributes if key.startswith("on")}
    assert not attributes & {"href", "src", "style", "action", "srcdoc", "xlink:href"}
    for name in (*HOSTILE[:8], HOSTILE[10], HOSTILE[11]):
        assert name in wild.texts


def test_the_policy_allows_what_stands_in_the_page_by_its_hash_and_nothing_else(
    whole: dict[str, Any],
) -> None:
    made = Page(html := ablation_page(hostile(whole)))
    (policy,) = [held["content"] for _, held in made.elements
                 if held.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    hashes = [base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
              for held in (style, *made.programs)]  # fmt: skip
    assert len(made.programs) == 3
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_relations_say_in_words_what_was_seen_and_whether_retraining_agrees(
    whole: dict[str, Any],
) -> None:
    text = Page(ablation_page(whole)).text
    for kind, said in {
        "Superseded by a newer feature": "The other one has taken over 97% of that.",
        "The same column more than once": "one of them is enough",
        "Stand in for each other": "Not all of them: together they are worth +0.0210",
        "Worth more together": "Keep both, or neither.",
        "Free riders in a group": "Without this part it loses +0.0001",
    }.items():
        assert said in text[text.index(kind) :].replace(" .", ".")
    assert text.count("not confirmed by retraining") == 1
    assert text.count("seen by a linear surrogate") == 2
    assert "all 4 flagged features were left out at once, by retraining" in text


def test_a_finding_is_told_once_and_those_of_other_kinds_as_well(whole: dict[str, Any]) -> None:
    text = Page(ablation_page(whole)).text
    assert text.count("Few rows stand behind each fold. Take more.") == 1
    assert "Remove it." not in text


def test_groups_unfold_from_the_family_to_the_group_to_its_features(whole: dict[str, Any]) -> None:
    html = ablation_page(whole)
    part = html[html.index('<section id="groups">') : html.index('<section id="pairs">')]
    made = Page(part)
    kinds = [held["class"].split()[0] for tag, held in made.elements if tag == "details"]
    groups = whole["tiers"][-1]["groups"]
    assert kinds.count("family") == len({group["family"] for group in groups}) == 4
    assert kinds.count("group") == len(groups)
    marks = [held["aria-label"] for _, held in made.elements if "aria-label" in held]
    measured = {one["name"] for one in whole["tiers"][-1]["features"]}
    members = [name for group in groups for name in group["features"]]
    assert len(marks) == len(groups) + len([name for name in members if name in measured])
    assert made.text.count("not measured alone") == len(
        [name for name in members if name not in measured]
    )


def test_the_table_has_what_every_tier_says_side_by_side(whole: dict[str, Any]) -> None:
    html = ablation_page(whole)
    part = Page(html[html.index('<section id="features">') : html.index('<section id="method">')])
    heads = [held["data-head"] for tag, held in part.elements if tag == "td"]
    assert heads[:12] == [
        "feature", "verdict", "proposal", "retraining: worth", "p matters", "p negligible",
        "permutation: worth", "p matters", "p negligible", "linear surrogate: worth", "p matters",
        "p negligible",
    ]  # fmt: skip
    worths = [float(held["data-by"]) for tag, held in part.elements if tag == "td"
              and held["data-head"] == "linear surrogate: worth"]  # fmt: skip
    assert sorted(worths) == sorted(one["effect"] for one in whole["tiers"][0]["features"])
    assert set(names_of(whole)) <= set(part.texts)


def test_of_many_features_the_first_are_drawn_at_once_and_all_of_them_stand_in_the_table() -> None:
    report = many_features(500)
    html = ablation_page(report)
    made = Page(html)
    first, rest = charts_of(made)[:2]
    assert (len(rows(first)), len(rows(rest))) == (SHOWN, 500 - SHOWN)
    assert min(row["effect"] for row in rows(first)) >= max(row["effect"] for row in rows(rest))
    part = html[html.index('<section id="features">') : html.index('<section id="method">')]
    assert part.count('data-head="feature"') == 500 > LONG
    assert len(html) < 4_000_000


def test_a_measured_report_of_a_made_table_finds_what_was_planted() -> None:
    report = linear_report(5)
    assert ablation_verdict(report).startswith(
        "3 of 11 groups matter; 2 of 5 features matter and 3 are negligible; 1 can go, at"
    )
    assert charts_of(Page(ablation_page(report)))


def test_every_chart_has_a_text_in_its_place(whole: dict[str, Any]) -> None:
    made = Page(ablation_page(whole))
    drawn = [held for _, held in made.elements if held.get("class") == "drawn"]
    assert len(drawn) == len(charts_of(made)) == 5
    assert all(held["role"] == "img" and "table" in held["aria-label"] for held in drawn)


def test_html_and_json_are_written_side_by_side(whole: dict[str, Any], tmp_path: Path) -> None:
    write_report(whole, ablation_page, tmp_path / "worth.html", overwrite=False)
    beside = json.loads((tmp_path / "worth.json").read_text("utf-8"))
    assert beside == json.loads(json.dumps(whole))
    assert json.loads(Page((tmp_path / "worth.html").read_text("utf-8")).held[-1]) == beside


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_without_the_package_that_draws_one_error_says_what_to_install(
    whole: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else object()
    )
    charts.chart_scripts.cache_clear()
    with pytest.raises(
        fk.errors.MissingExtra,
        match=rf"needs the package {package}.*altair.*vl-convert",
    ):
        ablation_page(whole)


def test_the_terminal_says_the_verdict_what_ran_and_what_can_go(whole: dict[str, Any]) -> None:
    lines = list(found_ablation(whole, "worth.html"))
    assert lines[0] == f"flights: {ablation_verdict(whole)}"
    assert "  retraining        8 features in 7 min, HistGradientBoostingClassifier; " in lines[3]
    assert "96 of 150 trials, 24 spared" in lines[3]
    for name, reason in whole["proposal"]["reasons"].items():
        assert f"  {name}  {reason}" in lines
    assert lines[-1] == "the report: worth.html"
    assert len(lines) < 20
    few = list(found_ablation({**whole, "proposal": None}, None))
    assert not [line for line in few if "can go, at" in line]


def chromium(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--virtual-time-budget=60000", f"--user-data-dir={page.parent / 'profile'}", *options,
         page.as_uri()],
        capture_output=True, text=True, check=True, timeout=1200,
    )  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("content", ["hostile", "many"])
def test_a_browser_draws_every_chart_within_the_width_and_complains_of_nothing(
    content: str, width: int, whole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurekit.report.page.SCRIPT", TELL)
    report = hostile(whole) if content == "hostile" else many_features(500)
    html = ablation_page(report)
    (tmp_path / "worth.html").write_text(html, "utf-8")
    # No window is as narrow as a phone; a frame in it is.
    (tmp_path / "frame.html").write_text(
        f'<title></title><iframe width="{width}" height="800" src="worth.html"></iframe><script>'
        "onmessage = told => { document.title = told.data; }</script>",
        "utf-8",
    )
    done = chromium(tmp_path / "frame.html", "--dump-dom", "--window-size=1400,900")
    assert "CONSOLE" not in done.stderr  # where a browser tells of what it refused
    told = re.search(r"<title>(.+?)</title>", done.stdout)
    assert told is not None
    seen = json.loads(told.group(1))
    assert seen["page"] <= seen["window"] == width
    assert len(seen["charts"]) == html.count('<figure class="chart') == 5
    for chart in seen["charts"]:
        assert chart["marks"] > 3
        assert chart["texts"] > 3
        assert chart["wide"] > 300
        assert "table" in chart["label"]
    drawn = [chart["texts"] for chart in seen["charts"]]
    assert content == "hostile" or drawn[:2] >= [SHOWN, 500 - SHOWN]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_printed_report_has_pages_with_text(whole: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "worth.html").write_text(ablation_page(whole), "utf-8")
    chromium(tmp_path / "worth.html", f"--print-to-pdf={tmp_path / 'worth.pdf'}")
    printed = (tmp_path / "worth.pdf").read_bytes()
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 3 <= pages <= 15
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", printed, re.DOTALL)
    letters = 0
    for stream in streams:
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            continue
        letters += len(re.findall(rb"\bT[jJ]\b", content))
    assert letters > 200
