"""The leakage report: the verdict, the findings, two pictures, then the numbers and the method.

It takes plain data, of which each part may be absent and is not shown then: `scan` (what
`Scan.to_dict` gives), `static` (the verdicts on a spec) and `replay`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from featurekit.report.page import anything, name, number, page, section, table, text
from featurekit.report.pictures import Bar, bars
from featurekit.report.replay import replay_numbers
from featurekit.report.verdicts import line_of_time, static_table, waivers

__all__ = [
    "effect_text", "findings", "leakage_page", "roles", "said", "severities", "strength_name",
    "verdict",
]  # fmt: skip

SEVERITIES = ("critical", "warning", "note")
ROLES = ("label", "split", "entity", "time")
PARTS = ("static", "replay", "scan")
CARDS = 60
"""So many findings have a card; the others stand in a table."""

_TITLES = {
    "proxy": "Tells the label by itself",
    "pair": "Two features together give the label",
    "identifier": "An identifier gives the label away",
    "future_label": "Holds a later label",
    "own_label": "Holds the row's own label",
    "leave_one_out": "A leave-one-out encoding of the label",
    "target_encoding": "Fitted on labels of the rows themselves",
    "missingness": "Being missing gives the label away",
    "pure_value": "A value that occurs with one class alone",
    "duplicate_rows": "Rows on both sides of the split",
    "entity_overlap": "Entities on both sides of the split",
    "scaler": "Scaled with held-out rows",
    "imputation": "Filled in from held-out rows",
    "adversarial_split": "All features together tell held-out rows apart",
    "split_shift": "Differs between training and held-out rows",
}
_WAYS = {
    "rank": "its order", "category": "its values, in no order", "missing": "being missing",
    "R2": "R2", "missing R2": "being missing",
}  # fmt: skip


def findings(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the findings of all parts of a report, the worst first."""
    every = [found for part in PARTS for found in (report.get(part) or {}).get("findings", ())]
    return sorted(every, key=lambda found: SEVERITIES.index(found["severity"]))


def severities(report: Mapping[str, Any]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    found = [finding["severity"] for finding in findings(report)]
    return {name: found.count(name) for name in SEVERITIES}


def verdict(report: Mapping[str, Any]) -> str:
    """Return the verdict as one line of text.

    Example:
        >>> scan = {"findings": [], "features": {"x": {}}, "rows": 178}
        >>> verdict({"scan": scan})
        'no leak found in 1 feature of 178 rows'
    """
    counts = severities(report)
    flagged = [(counts["critical"], "critical"), (counts["warning"], _plural("warning", counts))]
    told = ", ".join(f"{count:,} {word}" for count, word in flagged if count) or "no leak found"
    of = report.get("of", {})
    columns = len((report.get("scan") or {}).get("features", ()))
    columns = columns or len((report.get("static") or {}).get("verdicts", ()))
    features = of.get("features", columns)
    rows = of.get("rows", (report.get("scan") or {}).get("rows"))
    where = f" in {features:,} feature{'' if features == 1 else 's'}" if features else ""
    where += "" if rows is None else f" of {rows:,} row{'' if rows == 1 else 's'}"
    return f"{told}{where}"


def _plural(word: str, counts: Mapping[str, int]) -> str:
    return word if counts[word] == 1 else f"{word}s"


def _title(finding: Mapping[str, Any]) -> str:
    kind = str(finding["kind"])
    return _TITLES.get(kind, kind.replace("_", " ").capitalize())


def said(finding: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Return the message of a finding without what is said once, of all findings."""
    caveat = (report.get("scan") or {}).get("caveat")
    message = str(finding["message"])
    return message.replace(f" {caveat}.", "") if caveat else message


def roles(of: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return what is known of the columns, such as which is the label, and what is not."""
    every = {role: (of.get("says") or {}).get(role) or of.get(role) for role in ROLES}
    known = {role: what for role, what in every.items() if what}
    return known, [role for role in ROLES if role not in known]


def effect_text(effect: Mapping[str, Any] | None) -> str:
    """Return how strong a finding is, as text.

    Example:
        >>> effect_text({"name": "AUC", "value": 0.99, "low": 0.98, "high": 1.0, "unit": ""})
        'AUC 0.990 (95% interval 0.980 to 1.000)'
    """
    if effect is None or effect.get("value") is None:
        return ""
    unit = f" {effect['unit']}" if effect.get("unit") else ""
    shown = f"{effect['name']} {effect['value']:.3f}{unit}"
    if effect.get("low") is None or effect.get("high") is None:
        return shown
    return f"{shown} (95% interval {effect['low']:.3f} to {effect['high']:.3f})"


def leakage_page(report: Mapping[str, Any]) -> str:
    """Return a leakage report as one HTML file.

    Args:
        report: Its content, as plain data; see the top of this module.
    """
    counts = severities(report)
    worst = next((severity for severity in SEVERITIES[:2] if counts[severity]), "good")
    of = report.get("of", {})
    title = f"Leakage: {of['name']}" if "name" in of else "Leakage"
    scan, static = report.get("scan") or {}, report.get("static") or {}
    caveat = scan.get("caveat")
    if not any(caveat and caveat in str(found["message"]) for found in findings(report)):
        caveat = None
    once = f'<p class="muted">{text(caveat)}.</p>' if caveat else ""
    sections = (
        _about(of),
        section("Findings", _cards(report) + once, "findings"),
        section("Waivers", waivers(static), "waivers"),
        section("When columns become known, as declared", line_of_time(static), "known"),
        section("What each feature alone says about the label", _strengths(report), "strength"),
        section("Verdicts by feature", static_table(static, _flagged(report)), "verdicts"),
        section("Features", _features(scan), "features"),
        section("Replay", replay_numbers(report.get("replay") or {}), "replay"),
        section("Method", _method(report), "method"),
    )
    return page(title, verdict(report), worst, sections, report)


def _about(of: Mapping[str, Any]) -> str:
    """Return what was looked at: which columns mean what."""
    known, unknown = roles(of)
    if not known:
        return ""
    told = "; ".join(f"{role}: {name(what)}" for role, what in known.items())
    rest = f"; not known: {', '.join(unknown)}" if unknown else ""
    return f'<p class="muted">{told}{rest}</p>'


def _cards(report: Mapping[str, Any]) -> str:
    every = findings(report)
    if not every:
        return "<p>None.</p>"
    carded = [found for found in every if found["severity"] != "note"][:CARDS]
    rest = [found for found in every if not any(found is other for other in carded)]
    parts = [_card(found, report) for found in carded]
    if rest:
        rows = (
            [
                (text(found["severity"]), SEVERITIES.index(found["severity"])),
                (f"<span>{text(_title(found))}</span>", _title(found)),
                (f"<span>{_names(found['features'])}</span>", " ".join(found["features"])),
                (f"<span>{text(said(found, report))}</span>", None),
            ]
            for found in rest
        )
        listed = table("Good to know" if len(carded) < CARDS else "More findings",
                       ("severity", "what", "features", "seen"), rows)  # fmt: skip
        word = "note" if all(found["severity"] == "note" for found in rest) else "more finding"
        count = f"{len(rest):,} {word}{'' if len(rest) == 1 else 's'}"
        parts.append(f"<details><summary>{count}</summary>{listed}</details>")
    return "\n".join(parts)


def _card(found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    severity = found["severity"]
    chips = "".join(f"<li>{name(feature)}</li>" for feature in found["features"])
    effect, evidence = effect_text(found.get("effect")), found.get("evidence") or {}
    facts = "".join(f"<dt>{text(key)}</dt><dd>{anything(value)}</dd>" for key, value in
                    evidence.items())  # fmt: skip
    tag = f'<span class="tag">{severity}</span>'
    parts = [
        f'<article class="card {severity}"><h3>{tag} {text(_title(found))}</h3>',
        f'<ul class="chips">{chips}</ul>' if chips else "",
        f"<p>{text(said(found, report))}</p>",
        f"<p><strong>{text(effect)}</strong></p>" if effect else "",
        f"<p>What to do: {text(found['advice'])}</p>" if found.get("advice") else "",
        f"<details><summary>Evidence</summary><dl>{facts}</dl></details>" if facts else "",
        "</article>",
    ]
    return "\n".join(part for part in parts if part)


def _names(features: Sequence[str]) -> str:
    return ", ".join(name(feature) for feature in features)


def _worst(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the worst severity of each feature that a finding of the scan is about."""
    out: dict[str, str] = {}
    for found in findings({"scan": report.get("scan")}):
        for feature in found["features"]:
            out.setdefault(feature, found["severity"])
    return out


def _flagged(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the features that the scan flags; notes are no objection."""
    return {name: found for name, found in _worst(report).items() if found != "note"}


def strength_name(report: Mapping[str, Any]) -> str:
    """Return what strength is measured by: AUC, or R2 for a label that is a quantity."""
    features = (report.get("scan") or {}).get("features", {})
    quantity = any(str(numbers["way"]).endswith("R2") for numbers in features.values())
    return "R2" if quantity else "AUC"


def _strengths(report: Mapping[str, Any]) -> str:
    features = (report.get("scan") or {}).get("features", {})
    if not features:
        return ""
    quantity = strength_name(report) == "R2"
    limits = report.get("thresholds") or {}
    lines = [(limits[tone], tone) for tone in ("warning", "critical") if tone in limits]
    worst = _worst(report)
    drawn = []
    for feature, numbers in features.items():
        low, high = numbers.get("interval") or (None, None)
        strength, tone = numbers["strength"], worst.get(feature, "plain")
        drawn.append(Bar(feature, strength, low, high, tone, f"{strength:.3f}"))
    what = (
        "R2: the share of the label's variance that it explains"
        if quantity
        else "The area under the ROC curve, mirrored to at least 0.5: 0.5 says nothing, 1 says all"
    )
    marked = [f"{tone} from {value:g}" for value, tone in lines]
    dashed = f"; the dashed lines: {', '.join(marked)}" if marked else ""
    band = "" if quantity else "; the band is the 95% interval"
    ends = (0.0, 1.0) if quantity else (0.5, 1.0)
    return f'<p class="muted">{what}{band}{dashed}.</p>\n{bars(drawn, ends, lines)}'


def _features(scan: Mapping[str, Any]) -> str:
    features = scan.get("features", {})
    if not features:
        return ""
    worst = _worst({"scan": scan})
    shifts = any(numbers.get("shift") is not None for numbers in features.values())
    heads = ["feature", "severity", "strength", "95% interval", "shown by", "p in noise",
             "missing", *(["train against held-out"] if shifts else [])]  # fmt: skip

    def rows() -> Iterator[list[tuple[str, object]]]:
        for feature, numbers in features.items():
            low, high = numbers.get("interval") or (None, None)
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            severity, missing = worst.get(feature), numbers["missing"]
            row: list[tuple[str, object]] = [
                (name(feature), feature),
                (text(severity or ""), 9 if severity is None else SEVERITIES.index(severity)),
                (number(numbers["strength"]), numbers["strength"]),
                (interval, low),
                (text(_WAYS.get(numbers["way"], numbers["way"])), numbers["way"]),
                (number(numbers["p_value"] or "below 1e-300"), numbers["p_value"]),
                (f"{missing:.1%}", missing),
            ]
            yield [*row, (number(numbers.get("shift")), numbers.get("shift"))] if shifts else row

    skipped = scan.get("skipped") or []
    left = f'<p class="muted">Not looked at: {_names(skipped)}.</p>' if skipped else ""
    return table("All features, the strongest first", heads, rows()) + left


def _method(report: Mapping[str, Any]) -> str:
    scan, limits = report.get("scan") or {}, report.get("thresholds") or {}
    parts = []
    if scan:
        parts.append(
            "<p>One pass over the rows makes a histogram of the label over the values of every "
            "feature. From it comes how well each feature alone tells the label: by its order, by "
            "its values in no order, and by being missing. Strength is flagged from the thresholds "
            "on, and only where noise would not reach it (each test is held to the false alarms "
            "below, divided by the number of tests). Rows that stand out are read again for pairs, "
            "encodings, identifiers and what goes along time. Duplicates are found among all rows, "
            "not a sample.</p>"
        )
    if scan.get("side_by_side"):
        parts.append(f"<p>Looked at side by side: {text(scan['side_by_side'])}.</p>")
    parts += [f"<p>Not looked for: {text(what)}.</p>" for what in scan.get("not_looked_for", ())]
    facts: list[tuple[str, object]] = []
    if "seed" in scan:
        facts.append(("seed", scan["seed"]))
    facts += [(key.replace("_", " "), value) for key, value in limits.items()]
    excluded = report.get("of", {}).get("exclude")
    facts += [("no features", excluded)] if excluded else []
    facts += list((report.get("versions") or {}).items())
    listed = "".join(f"<dt>{text(key)}</dt><dd>{_exact(value)}</dd>" for key, value in facts)
    return "\n".join([*parts, f"<dl>{listed}</dl>" if listed else ""])


def _exact(value: object) -> str:
    """Return a setting as it was given, unrounded."""
    return f"{value:g}" if isinstance(value, float) else anything(value)
