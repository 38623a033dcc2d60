"""What a report shows of the verdicts on a spec: the line of time, the waivers, and the chains.

Older manifests call `proven` what is consistent with the declarations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurekit.report.page import name, table, text
from featurekit.report.pictures import Event, time_line
from featurekit.types import duration_text

__all__ = ["line_of_time", "static_table", "waivers"]

_TONES = {"leak": "critical", "unproven": "warning", "consistent": "good"}
_ORDER = tuple(_TONES)
_WORDS = {"consistent": "consistent with what is declared"}
USES = 5
"""So many columns of a feature are told."""
_HOUR = 3_600 * 1_000_000


def _verdict(of: Mapping[str, Any]) -> str:
    """Return the verdict of a feature or of a use."""
    said = str(of["verdict"])
    return "consistent" if said == "proven" else said


def _rank(verdict: str) -> int:
    return _ORDER.index(verdict) if verdict in _ORDER else len(_ORDER)


def line_of_time(static: Mapping[str, Any]) -> str:
    """Return when each column becomes known, against the prediction; the worst first."""
    columns: dict[tuple[Any, ...], list[str]] = {}
    for feature, verdict in static.get("verdicts", {}).items():
        for use in verdict.get("uses", ()):
            ahead = use.get("ahead")
            offset = None if ahead is None else -ahead
            proof = "label" if use.get("kind") == "cross_fitted" else _verdict(use)
            key = (proof, offset, use["column"], use.get("source"), use.get("known_at"))
            columns.setdefault(key, []).append(feature)
    if not columns:
        return ""

    def order(key: tuple[Any, ...]) -> tuple[Any, ...]:
        proof, offset, column, source, _ = key
        placed = offset is not None
        first = placed if proof == "consistent" else not placed
        rank = _rank("consistent") - 0.5 if proof == "label" else _rank(proof)
        return (rank, not first, -(offset or 0), column, str(source))

    events = []
    for key in sorted(columns, key=order):
        proof, offset, column, source, known_at = key
        called = column if not source else f"{column} ({source})"
        count = len(columns[key])
        called += f", in {count:,} features" if count > 1 else ""
        told = _shown(proof, offset, known_at)
        events.append(
            Event(called, offset, "label" if proof == "label" else _TONES.get(proof, "plain"), told)
        )
    return (
        '<p class="muted">Each mark is when a column is known, as the spec declares it, seen from '
        "the prediction; left of the line is before it. A band means that it is somewhere there, "
        "such as past rows that count from when they are known. A label that is cross-fitted is "
        "known later; rows to train on see that of other rows only.</p>\n"
        f"{time_line(events)}"
    )


def _shown(proof: str, offset: int | None, known_at: str | None) -> str:
    if proof == "label":
        when = "later" if known_at is None and offset is None else _shown("", offset, known_at)
        return f"label, cross-fitted; known {when}"
    if offset is None and known_at is None:
        return {"leak": "after it", "consistent": "always"}.get(proof, "nobody says when")
    if offset is None:
        return f"at {known_at}"
    if offset == 0:
        return "at the prediction"
    return f"{_duration(abs(offset))} {'before' if offset < 0 else 'after'}"


def _duration(microseconds: int) -> str:
    """Return a duration as days, hours and what is left of them: `29d 22h`."""
    days, rest = divmod(microseconds, 24 * _HOUR)
    hours, rest = divmod(rest, _HOUR)
    parts = [f"{days}d"] * bool(days) + [f"{hours}h"] * bool(hours)
    return " ".join([*parts, duration_text(rest)] if rest else parts)


def static_table(static: Mapping[str, Any], flagged: Mapping[str, str] | None = None) -> str:
    """Return the verdict on every feature with the chain down to what decided it.

    Args:
        static: The verdicts on a spec, as plain data.
        flagged: The severity of what the scan finds, by feature: what is declared may be wrong.
    """
    verdicts = static.get("verdicts", {})
    if not verdicts:
        return ""
    counts = dict.fromkeys(reversed(_ORDER), 0)
    for entry in verdicts.values():
        counts[_verdict(entry)] = counts.get(_verdict(entry), 0) + 1
    told = ", ".join(
        f"{count:,} {text(_WORDS.get(verdict, verdict))}"
        for verdict, count in counts.items() if count
    )  # fmt: skip

    def rows() -> Iterator[list[tuple[str, object]]]:
        for feature, entry in sorted(verdicts.items(), key=lambda item: _rank(_verdict(item[1]))):
            verdict = _verdict(entry)
            uses = entry.get("uses", ())
            why = [use for use in uses if _verdict(use) != "consistent"] or list(uses)
            reasons = "".join(f"<div>{_reason(use)}</div>" for use in why[:USES])
            if len(why) > USES:
                reasons += f"<div>and {len(why) - USES:,} more</div>"
            severity = (flagged or {}).get(feature)
            notes = [f"the data object: {severity}"] if severity else []
            notes += ["waived"] if entry.get("waiver") else []
            notes += ["made of the label"] if entry.get("label") else []
            fitted = entry.get("fitted_on")
            notes += [f"fitted on {fitted}"] if fitted else []
            yield [
                (name(feature), feature),
                (text(verdict), _rank(verdict)),
                (text(", ".join(notes)), ", ".join(notes)),
                (f"<div>{reasons}</div>", None),
            ]

    listed = table("Verdicts, the worst first", ("feature", "verdict", "notes", "uses"), rows())
    rests = "A verdict rests on what the spec declares; it cannot tell whether that is true."
    return f'<p>{told}.</p>\n<p class="muted">{rests}</p>\n{listed}'


def _reason(use: Mapping[str, Any]) -> str:
    chain = " → ".join(name(link) for link in use.get("chain") or [use["column"]])
    of_label = use.get("kind") == "cross_fitted"
    if (_verdict(use) != "consistent" or of_label) and use.get("reason"):
        return f"{chain}: {text(use['reason'])}"
    times = (("known", use.get("known_at")), ("used", use.get("used_at")))
    told = ", ".join(f"{what} at {name(time)}" for what, time in times if time)
    return f"{chain}: {told}" if told else chain


def waivers(static: Mapping[str, Any]) -> str:
    """Return the waivers that a spec grants, each with its reason and its end."""
    rows: list[list[tuple[str, object]]] = [
        [
            (name(feature), feature),
            (f"<span>{text(entry['waiver'].get('reason') or '')}</span>", None),
            (text(entry["waiver"].get("until") or "no end"), entry["waiver"].get("until")),
        ]
        for feature, entry in static.get("verdicts", {}).items()
        if entry.get("waiver")
    ]
    if not rows:
        return ""
    return table("What the spec lets pass", ("feature", "reason", "until"), rows)
