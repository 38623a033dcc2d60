"""The ablation report: the verdict, the proposal, pictures, relations, groups, numbers, the method.

It takes plain data of format 1, of which `tiers`, `verdicts` and `of` are always there; what else
is absent or `None` is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurekit.report.amounts import count, duration, listed
from featurekit.report.budget import budget_text
from featurekit.report.charts import chart_scripts, heat_map
from featurekit.report.groups import group_drawers
from featurekit.report.page import anything, name, page, section, table, text
from featurekit.report.proposal import proposal_text, score_text
from featurekit.report.relations import KINDS, relation_cards
from featurekit.report.style import ABLATION_STYLE
from featurekit.report.tiers import (
    METHODS,
    TIERS,
    VERDICTS,
    amounts_of,
    finished,
    plural,
    proposal_holds,
    strongest,
    tally,
    tally_text,
)
from featurekit.report.worths import cost_charts, feature_table, worth_charts

__all__ = ["ablation_page", "ablation_verdict"]

Some = Mapping[str, Any]
ROLES = ("label", "split", "entity", "time", "weights")
TOLD = {*KINDS, "negligible", "matters", "undecided"}
"""Kinds of findings that sections of their own tell of."""
STRONGEST = 15
"""So many pairs are listed beside the heat map."""
LONG = 60
"""A table of more features unfolds."""


def ablation_verdict(report: Mapping[str, Any]) -> str:
    """Return the verdict as one sentence of text.

    Example:
        >>> ablation_verdict({"verdicts": {"x": {"verdict": "matters"}}})
        '1 of 1 feature matters; none can go'
    """
    proposal = report.get("proposal")
    groups, features = _groups_text(report), _features_text(report)
    told = f"{groups}; {features}" if groups else features
    if not proposal or not proposal["remove"]:
        unchecked = not (report.get("budget") or {"checked": True})["checked"]
        return f"{told}; {'no smaller set was checked' if unchecked else 'none can go'}"
    gone = len(proposal["remove"])
    together = " together" if gone > 1 else ""
    return f"{told}; {gone:,} can go{together}, {score_text(proposal)}"


def _features_text(report: Mapping[str, Any]) -> str:
    """Return how many of the features that were measured have which verdict, and by what."""
    verdicts = report.get("verdicts", {})
    if not verdicts:
        return "no feature was measured"
    of = f"{count(len(verdicts), 'feature')}"
    unknown = report.get("of", {}).get("features", len(verdicts)) - len(verdicts)
    if unknown > 0:
        of = f"{len(verdicts):,} measured {'feature' if len(verdicts) == 1 else 'features'}"
    parts: list[str] = []
    for verdict, number in tally(report).items():
        if number:
            verb = "is" if number == 1 else "are"
            said = {"matters": "matters" if number == 1 else "matter"}.get(
                verdict, f"{verb} {verdict}"
            )
            parts.append(f"{number:,}{'' if parts else f' of {of}'} {said}")
    return (
        listed(parts)
        + _measured_text(verdicts)
        + (f"; {unknown:,} more were not measured" if unknown > 0 else "")
    )


def _measured_text(verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which models measured how many features, where not all were by the same."""
    tiers = [one["tier"] for one in verdicts.values() if "tier" in one]
    counts = [(tiers.count(tier), METHODS[tier]) for tier in reversed(METHODS) if tier in tiers]
    if len(counts) < 2:
        return ""
    return f" ({listed([f'{number:,} measured {how}' for number, how in counts])})"


def _groups_text(report: Mapping[str, Any]) -> str:
    """Return how many groups matter, where any was measured: their features may not alone."""
    every = [one["verdict"] for _, some in strongest(report, "groups") for one in some]
    matter = every.count("matters")
    if not matter:
        return ""
    return f"{matter:,} of {count(len(every), 'group')} {'matters' if matter == 1 else 'matter'}"


def ablation_page(report: Mapping[str, Any]) -> str:
    """Return an ablation report as one HTML file.

    Args:
        report: Its content, as plain data; see the top of this module.

    Raises:
        MissingExtra: Altair or vl-convert-python is not installed.
    """
    scripts = chart_scripts()
    proposal, of = report.get("proposal"), report.get("of", {})
    tone = "note"
    if proposal and proposal["remove"]:
        tone = "good" if proposal_holds(proposal) else "warning"
    sections = (
        _about(report),
        section("What to remove", proposal_text(report), "proposal"),
        section("Good to know", _notes(report), "notes"),
        section("What each feature is worth", worth_charts(report), "worth"),
        section("Features that say the same, or belong together", relation_cards(report),
                "relations"),
        section("Groups", _groups(report), "groups"),
        section("Pairs", _pairs(report), "pairs"),
        section("Worth against cost", cost_charts(report), "cost"),
        section("All numbers", _numbers(report), "features"),
        section("Method", _method(report), "method"),
    )  # fmt: skip
    title = f"Ablation: {of['name']}" if "name" in of else "Ablation"
    verdict = ablation_verdict(report)
    sentence = f"{verdict[:1].upper()}{verdict[1:]}."
    return page(title, sentence, tone, sections, report, ABLATION_STYLE, scripts)


def _about(report: Some) -> str:
    """Return how many features have which verdict, as a strip, and what was looked at."""
    counts, of = tally(report), report.get("of", {})
    features = sum(counts.values())
    parts, start = [], 0.0
    for verdict in VERDICTS:
        width = 100 * counts[verdict] / features if features else 0.0
        parts.append(f'<rect class="{verdict}" x="{start:.2f}%" width="{width:.2f}%" height="12"/>')
        start += width
    said = tally_text([one["verdict"] for one in report.get("verdicts", {}).values()])
    key = "".join(
        f'<li class="{verdict}"><b>{number:,}</b> {plural(verdict, number)}</li>'
        for verdict, number in counts.items()
    )
    strip = (
        f'<svg class="strip" height="12" role="img" aria-label="{said}">{"".join(parts)}</svg>'
        f'<ul class="key">{key}</ul>'
    )
    known = [f"{role}: {name(of[role])}" for role in ROLES if of.get(role)]
    rows = [count(of["rows"], "row")] if of.get("rows") else []
    if of.get("confirmation_rows"):
        rows.append(f"{count(of['confirmation_rows'], 'row')} kept apart for the final score")
    about = "; ".join([*rows, *known])
    return f'{strip}{_alone(report)}<p class="muted">{about}</p>'


def _alone(report: Some) -> str:
    """Return a warning where groups matter whose features do not: it is no list of what can go."""
    if not _groups_text(report):
        return ""
    return (
        "<p>Verdicts of features are of leaving out one alone, while all others stay. Features "
        "that say the same stand in for each other, so that a group can matter although none of "
        "them does. What can go together is what is proposed below, and no more.</p>"
    )


def _notes(report: Some) -> str:
    """Return where the budget ended, and the findings that no other section tells of."""
    ended = budget_text(report)
    first = f'<article class="card warning"><p>{text(ended)}</p></article>\n' if ended else ""
    return first + "\n".join(
        f'<article class="card {found["severity"]}"><p>{text(found["message"])} '
        f"{text(found['advice'])}</p></article>"
        for found in report.get("findings", ())
        if found["kind"].replace("_", " ") not in TOLD
    )


def _groups(report: Some) -> str:
    drawers = group_drawers(report)
    if not drawers:
        return ""
    return (
        '<p class="muted">A group is left out as a whole; its features may matter together '
        f"although none does alone. Open a group to see its features.</p>\n{drawers}"
    )


def _numbers(report: Some) -> str:
    features = len(report.get("verdicts", {}))
    if not features or features <= LONG:
        return feature_table(report) if features else ""
    return (
        f"<details><summary>The table of {features:,} features</summary>\n"
        f"{feature_table(report)}\n</details>"
    )


def _pairs(report: Some) -> str:
    tiers = [tier for tier in report.get("tiers", ()) if tier.get("pairs")]
    if not tiers or len(tiers[-1]["pairs"]["names"]) < 2:
        return ""
    tier = tiers[-1]
    names, values, amounts = tier["pairs"]["names"], tier["pairs"]["interactions"], amounts_of(tier)

    def told(row: int, column: int) -> str:
        return f"{names[row]}\n{names[column]}\n{amounts.signed(values[row][column])}"

    key = (
        '<ul class="key"><li class="undecided">substitutes: each stands in for the other</li>'
        '<li class="matters">complements: worth more together</li></ul>'
    )
    label = (
        f"Heat map of the interactions of {len(names)} features. The strongest pairs stand in the "
        "table below it."
    )
    pairs = [(values[j][k], names[j], names[k]) for j in range(len(names)) for k in range(j)]
    strong = sorted(pairs, key=lambda pair: -abs(pair[0]))[:STRONGEST]
    rows = [
        [
            (name(first), first), (name(second), second),
            ("complements" if value > 0 else "substitutes", value > 0),
            (amounts.signed(value), abs(value)),
        ]
        for value, first, second in strong
    ]  # fmt: skip
    listing = table("The strongest pairs", ("one", "other", "what", "interaction"), rows)
    return (
        '<p class="muted">Both effects less the effect together, in a linear model. Below 0, each '
        "stands in for the other; above 0, they are worth more together. Estimates without "
        f"intervals.</p>\n{key}{heat_map(names, values, told, label)}\n"
        f"<details><summary>The strongest pairs</summary>{listing}</details>"
    )


def _method(report: Some) -> str:
    told = "\n".join(f"<p>{text(paragraph)}</p>" for paragraph in report.get("method", ()))
    rows = [
        [
            (TIERS[tier["tier"]], place), (f"<span>{text(tier['model'])}</span>", tier["model"]),
            *((f"{amounts_of(tier).plain(tier[key])}", tier[key])
              for key in ("full", "baseline", "skill", "margin")),
            (f"{tier['rows']:,}", tier["rows"]), (f"{tier['clusters']:,}", tier["clusters"]),
            (f"{tier['folds']}{', in time' if tier['ordered'] else ''}", tier["folds"]),
            (str(tier["seeds"]), tier["seeds"]), (duration(tier["seconds"]), tier["seconds"]),
            (f"<span>{finished(tier)}</span>", None),
        ]
        for place, tier in enumerate(report.get("tiers", ()))
    ]  # fmt: skip
    heads = ("tier", "model", "loss", "of a constant", "skill", "margin", "rows", "clusters",
             "folds", "seeds", "time", "finished")  # fmt: skip
    of = report.get("of", {})
    facts = [*(of.get("says") or {}).items()]
    facts += [("no features", of["exclude"])] if of.get("exclude") else []
    facts += [*report.get("settings", {}).items(), *report.get("versions", {}).items()]
    exact = "".join(
        f"<dt>{text(str(key).replace('_', ' '))}</dt>"
        f"<dd>{f'{value:g}' if isinstance(value, float) else anything(value)}</dd>"
        for key, value in facts
    )
    ran = table("What ran", heads, rows) if rows else ""
    return f"{told}\n{ran}\n" + (f"<dl>{exact}</dl>" if exact else "")
