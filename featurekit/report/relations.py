"""What an ablation report says of features that stand in for each other or belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurekit.report.amounts import Amounts, count
from featurekit.report.page import name, table, text
from featurekit.report.tiers import METHODS, amounts_of

__all__ = ["KINDS", "relation_cards"]

Some = Mapping[str, Any]
CARDS = 24
"""So many relations have a card; the others stand in a table."""
CHIPS = 6
"""So many features of a card are seen at once; the others unfold."""

KINDS = {
    "legacy": "Superseded by a newer feature",
    "redundant": "Says what others say",
    "duplicate": "The same column more than once",
    "substitutes": "Stand in for each other",
    "free riders": "Free riders in a group",
    "complements": "Worth more together",
}
"""What kinds of relations there are, in the order in which they are shown."""

_TONES = {"legacy": "warning", "redundant": "warning", "duplicate": "warning",
          "free riders": "warning"}  # fmt: skip

_EVIDENCE = {
    "effect": "left out alone",
    "without the others": "left out when the others are gone",
    "the others": "the others left out",
    "the others less the effect": "the others less this",
    "together": "left out together",
    "interaction": "both alone less both together",
    "first without second": "the first, added without the second",
    "second without first": "the second, added without the first",
    "group": "the whole group left out",
}


def relation_cards(report: Some) -> str:
    """Return a card for each relation: what it is, what was seen, and whether retraining agrees."""
    order = list(KINDS)
    every = sorted(report.get("relations", ()), key=lambda one: (
        order.index(one["kind"]) if one["kind"] in order else len(order)))  # fmt: skip
    tiers = {tier["tier"]: tier for tier in report.get("tiers", ())}
    parts = []
    if every:
        cards = "\n".join(_card(one, tiers) for one in every[:CARDS])
        parts.append(f'<div class="cards">\n{cards}\n</div>')
    if rest := every[CARDS:]:
        listed = table("More of them", ("what", "features", "beside", "seen"), [
            [
                (f"<span>{KINDS.get(one['kind'], text(one['kind']))}</span>", one["kind"]),
                (f"<span>{_names(one['features'])}</span>", " ".join(one["features"])),
                (f"<span>{_names(one['others'])}</span>", " ".join(one["others"])),
                (f"<span>{_sentence(one, _amounts(one, tiers))}</span>", None),
            ]
            for one in rest
        ])  # fmt: skip
        parts.append(f"<details><summary>{len(rest):,} more</summary>{listed}</details>")
    return "\n".join([*parts, _joint(report.get("joint"), tiers)])


def _amounts(one: Some, tiers: Mapping[str, Some]) -> Amounts:
    return amounts_of(tiers.get(one["tier"]))


def _card(one: Some, tiers: Mapping[str, Some]) -> str:
    kind, amounts = one["kind"], _amounts(one, tiers)
    others = f'<p class="beside">beside</p>{_chips(one["others"])}' if one["others"] else ""
    group = f'<p class="muted">in the group {name(one["group"])}</p>' if one["group"] else ""
    parts = [
        f'<article class="card {_TONES.get(kind, "note")}">',
        f"<h3>{KINDS.get(kind, text(kind))}</h3>",
        f'<p class="kind">{_confirmed(one)} <span class="muted">{text(kind)}</span></p>',
        f'<div class="sides">{_chips(one["features"])}{others}</div>{group}',
        f"<p>{_sentence(one, amounts)}</p>",
        _evidence(one, amounts),
        "</article>",
    ]
    return "\n".join(part for part in parts if part)


def _chips(names: Sequence[str]) -> str:
    def chips(some: Sequence[str]) -> str:
        return f'<ul class="chips">{"".join(f"<li>{name(each)}</li>" for each in some)}</ul>'

    shown, rest = chips(names[:CHIPS]), names[CHIPS:]
    more = f"<details><summary>{len(rest):,} more</summary>{chips(rest)}</details>"
    return shown + more if rest else shown


def _names(names: Sequence[str]) -> str:
    return ", ".join(name(each) for each in names)


def _confirmed(one: Some) -> str:
    if one["confirmed"] is None:
        return f'<span class="tag plain">seen {METHODS[one["tier"]]}</span>'
    if one["confirmed"]:
        return '<span class="tag good">confirmed by retraining</span>'
    return '<span class="tag critical">not confirmed by retraining</span>'


def _sentence(one: Some, amounts: Amounts) -> str:
    """Return what was seen, in plain words; HTML."""
    found = one["evidence"]

    def worth(key: str) -> str:
        return f"<strong>{amounts.signed(found[key]['effect'])}</strong>" if key in found else "–"

    it, cost = ("it", "costs") if len(one["features"]) == 1 else ("they", "cost")
    kind = one["kind"]
    if kind in ("legacy", "redundant"):
        share = one["rescue_share"]
        taken = "" if share is None else (
            f" The other {'one has' if len(one['others']) == 1 else 'ones have'} taken over "
            f"{share:.0%} of that.")  # fmt: skip
        newer = " What supersedes it is newer." if kind == "legacy" else ""
        return (
            f"Left out alone, {it} {cost} {worth('effect')}. Were the others gone, {it} would be "
            f"worth {worth('without the others')}.{taken}{newer}"
        )
    if kind == "duplicate":
        return (
            f"These are copies, up to scale; one of them is enough. All of them together are worth "
            f"{worth('together')}."
        )
    if kind == "substitutes":
        return (
            "Each alone can go, for the others stand in. Not all of them: together they are worth "
            f"{worth('together')}."
        )
    if kind == "complements":
        return (
            f"Together they are worth {worth('together')}, and each adds little without the other: "
            f"{worth('first without second')} and {worth('second without first')}. Keep both, or "
            "neither."
        )
    if kind == "free riders":
        return (
            f"The group is worth {worth('group')}. Without {'this part' if it == 'it' else 'these'}"
            f" it loses {worth('effect')}, no more than the margin."
        )
    return ""


def _evidence(one: Some, amounts: Amounts) -> str:
    def rows(found: Some) -> str:
        return "".join(
            f"<dt>{_called(key, one)}</dt><dd>{amounts.whole(bound)}</dd>"
            for key, bound in found.items()
        )

    again = one.get("confirmation")
    retrained = f'<p>Retrained:</p><dl class="evidence">{rows(again)}</dl>' if again else ""
    return (
        "<details><summary>Evidence, with 95% intervals</summary>"
        f'<dl class="evidence">{rows(one["evidence"])}</dl>{retrained}</details>'
    )


def _called(key: str, one: Some) -> str:
    """Return what a number of the evidence is of, as HTML."""
    if key.startswith("member ") and key[7:].isdigit():
        # A member's number counts the features of the table; the chips are in that order too.
        members = [other for other in one["evidence"] if other.startswith("member ")]
        if len(members) == len(one["features"]):
            return f"{name(one['features'][members.index(key)])} left out alone"
    return text(_EVIDENCE.get(key, key))


def _joint(joint: Some | None, tiers: Mapping[str, Some]) -> str:
    """Return what all flagged features are worth together: single drops do not compose."""
    if not joint or len(joint["flagged"]) < 2:
        return ""
    amounts = amounts_of(tiers.get(joint["tier"]))
    flagged, gone = len(joint["flagged"]), len(joint["removable"])
    rest = (
        " All of them can go together."
        if gone == flagged
        else f" {gone:,} of them can go together, at "
        f"<strong>{amounts.whole(joint['removable_effect'])}</strong>."
    )
    return (
        f"<p>Single features do not add up, so all {count(flagged, 'flagged feature')} were left "
        f"out at once, {METHODS[joint['tier']]}: the loss changes by "
        f"<strong>{amounts.whole(joint['effect'])}</strong>.{rest}</p>"
    )
