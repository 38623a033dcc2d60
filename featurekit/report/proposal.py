"""What an ablation report proposes to remove: why, at what score, and what is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurekit.report.amounts import count, duration, size
from featurekit.report.page import anything, name, table, text
from featurekit.report.tiers import TIERS, amounts_of, proposal_holds
from featurekit.report.tracks import Track

__all__ = ["interval_text", "proposal_text", "score_text"]

Some = Mapping[str, Any]
REASONS = 20
"""So many removed features are listed at once; the others unfold."""


def score_text(proposal: Mapping[str, Any]) -> str:
    """Return what the smaller set scores, beside what all features do.

    Example:
        >>> score_text({"loss": "log loss", "full": 0.3, "smaller": 0.302, "margin": 0.001,
        ...             "difference": {"effect": 0.002, "low": -0.001, "high": 0.005}})
        'but log loss may rise beyond the margin: 0.3020 instead of 0.3000'
    """
    amounts, loss = amounts_of(proposal), proposal["loss"]
    scores = f"{amounts.plain(proposal['smaller'])} instead of {amounts.plain(proposal['full'])}"
    if proposal_holds(proposal):
        return f"at a {loss} of {scores}"
    low = proposal["difference"].get("low")
    rises = "rises" if low is not None and low > proposal["margin"] else "may rise"
    return f"but {loss} {rises} beyond the margin: {scores}"


def interval_text(proposal: Mapping[str, Any]) -> str:
    """Return what the interval of the difference says of the smaller set.

    Example:
        >>> bound = {"effect": -0.4, "low": -0.5, "high": -0.3}
        >>> interval_text({"difference": bound, "margin": 0.1})
        'The whole interval is below 0: the smaller set is better.'
    """
    low, high = proposal["difference"].get("low"), proposal["difference"].get("high")
    margin = proposal["margin"]
    look = "Look at the intervals below before removing all of it."
    if low is None or high is None:
        return f"How much the smaller set loses is not known. {look}"
    if high < 0.0:
        return "The whole interval is below 0: the smaller set is better."
    if low > margin:
        return f"The whole interval is above the margin: the smaller set is worse. {look}"
    if high > margin:
        return f"The interval reaches beyond the margin: the smaller set may be worse. {look}"
    if low < -margin:
        return (
            "The interval ends below the margin: the smaller set is as good, as far as it matters, "
            "and may be better."
        )
    return (
        "The whole interval is within the margin: the smaller set is as good, as far as it matters."
    )


def proposal_text(report: Mapping[str, Any]) -> str:
    """Return what can go and why, and what the smaller set scores, as HTML."""
    proposal = report.get("proposal")
    if not proposal or not proposal["remove"]:
        budget = report.get("budget") or {"checked": True}
        if not budget["checked"]:
            return "<p>The budget ended before a smaller set could be checked.</p>"
        return "<p>Nothing. No smaller set of features was found that is as good.</p>"
    amounts, held = amounts_of(proposal), proposal_holds(proposal)
    difference, sure = proposal["difference"], interval_text(proposal)
    loss, gone, kept = text(proposal["loss"]), len(proposal["remove"]), len(proposal["keep"])
    full, smaller = amounts.plain(proposal["full"]), amounts.plain(proposal["smaller"])
    change = (
        f"<strong>{amounts.signed(difference['effect'])}</strong>, 95% interval "
        f"{amounts.interval(difference)}; the band is the margin of "
        f"±{amounts.plain(proposal['margin'])}{_difference(proposal)}"
    )
    facts = [
        ("features", f"{kept + gone:,} → <strong>{kept:,}</strong>"),
        (loss, f"{full} → <strong>{smaller}</strong>"),
        ("difference", change),
        ("measured", _measured(proposal)),
        *_saved(proposal.get("saved") or {}),
    ]
    numbers = "".join(f"<dt>{head}</dt><dd>{value}</dd>" for head, value in facts)
    tone = "good" if held else "warning"
    parts = [
        f'<article class="card {tone}"><p>{sure}</p><dl>{numbers}</dl></article>',
        _reasons(report, proposal),
        _diff(proposal.get("diff")),
    ]
    return "\n".join(part for part in parts if part)


def _difference(proposal: Some) -> str:
    """Return the difference in loss drawn against the margin."""
    difference, margin = proposal["difference"], proposal["margin"]
    ends = [end for end in (difference["low"], difference["high"]) if end is not None]
    # Far outside it the margin is still seen, and near it nothing is stretched.
    track = Track([*ends, difference["effect"]], margin)
    verdict = "negligible" if proposal_holds(proposal) else "undecided"
    label = amounts_of(proposal).whole(difference)
    return (
        f'<div class="difference {verdict}"><svg height="16" role="img" '
        f'aria-label="difference {label}">{track.draw(difference, verdict)}</svg></div>'
    )


def _measured(proposal: Some) -> str:
    folds = f", {count(proposal['folds'], 'fold')}" if proposal.get("folds") else ""
    return f"{text(proposal['model'])} on {count(proposal['rows'], 'row')}{folds}"


def _saved(saved: Some) -> Iterator[tuple[str, str]]:
    told = []
    if saved.get("bytes") is not None:
        told.append(f"{size(saved['bytes'])} fewer to read")
    if saved.get("seconds") is not None:
        told.append(f"{duration(saved['seconds'])} less per million rows")
    if told:
        yield "saved", ", ".join(told)
    if saved.get("sources"):
        yield "sources dropped", anything(saved["sources"])


def _reasons(report: Some, proposal: Some) -> str:
    reasons, verdicts = proposal.get("reasons", {}), report.get("verdicts", {})
    tiers = {tier["tier"]: tier for tier in report.get("tiers", ())}

    def rows(some: list[str]) -> Iterator[list[tuple[str, object]]]:
        for called in some:
            held = verdicts.get(called)
            worth = "" if held is None else amounts_of(tiers.get(held["tier"])).whole(held)
            how = "" if held is None else TIERS[held["tier"]]
            yield [
                (name(called), called),
                (f"<span>{text(reasons.get(called, ''))}</span>", reasons.get(called, "")),
                (f"<span>{worth}</span>", None if held is None else held["effect"]),
                (how, how),
            ]

    heads, remove = ("feature", "why it can go", "worth alone", "measured by"), proposal["remove"]
    shown = table("What can go", heads, rows(remove[:REASONS]))
    if not (rest := remove[REASONS:]):
        return shown
    more = table("What can go besides", heads, rows(rest))
    return f"{shown}\n<details><summary>{len(rest):,} more</summary>{more}</details>"


def _diff(diff: str | None) -> str:
    if not diff:
        return ""
    tones = {"+": "added", "-": "gone", "@": "muted"}
    lines = "\n".join(
        f'<span class="{tones.get(line[:1], "same")}">{text(line)}</span>'
        for line in diff.splitlines()
    )
    return (
        "<details><summary>The change to the spec</summary>"
        f'<pre tabindex="0">{lines}</pre></details>'
    )
