"""What a report shows of the verdicts on a spec: the line of time, the waivers, and the chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurekit.report.page import name, table, text
from featurekit.report.pictures import Event, time_line
from featurekit.types import duration_text

__all__ = ["line_of_time", "static_table", "waivers"]

_TONES = {"leak": "critical", "unproven": "warning", "proven": "good"}
_ORDER = tuple(_TONES)
USES = 5
"""So many columns of a feature are told."""
_HOUR = 3_600 * 1_000_000


def _rank(verdict: str) -> int:
    return _ORDER.index(verdict) if verdict in _ORDER else len(_ORDER)


def line_of_time(static: Mapping[str, Any]) -> str:
    """Return when each column becomes known, against the prediction; the worst first."""
    columns: dict[tuple[Any, ...], list[str]] = {}
    for feature, verdict in static.get("verdicts", {}).items():
        for use in verdict.get("uses", ()):
            ahead = use.get("ahead")
            offset = None if ahead is None else -ahead
            key = (use["verdict"], offset, use["column"], use.get("source"), use.get("known_at"))
            columns.setdefault(key, []).append(feature)
    if not columns:
        return ""

    def order(key: tuple[Any, ...]) -> tuple[Any, ...]:
        proof, offset, column, source, _ = key
        placed = offset is not None
        first = placed if proof == "proven" else not placed
        return (_rank(proof), not first, -(offset or 0), column, str(source))

    events = []
    for key in sorted(columns, key=order):
        proof, offset, column, source, known_at = key
        called = column if not source else f"{column} ({source})"
        count = len(columns[key])
        called += f", in {count:,} features" if count > 1 else ""
        told = _shown(proof, offset, known_at)
        events.append(Event(called, offset, _TONES.get(proof, "plain"), told))
    return (
        '<p class="muted">Each mark is when a column is known, seen from the prediction; left of '
        "the line is before it. A band means that it is somewhere there, such as past rows that "
        "count from when they are known.</p>\n"
        f"{time_line(events)}"
    )


def _shown(proof: str, offset: int | None, known_at: str | None) -> str:
    if offset is None and known_at is None:
        return {"leak": "after it", "proven": "always"}.get(proof, "nobody says when")
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


def static_table(static: Mapping[str, Any]) -> str:
    """Return the verdict on every feature with the chain down to what decided it."""
    verdicts = static.get("verdicts", {})
    if not verdicts:
        return ""
    counts = dict.fromkeys(reversed(_ORDER), 0)
    for entry in verdicts.values():
        counts[entry["verdict"]] = counts.get(entry["verdict"], 0) + 1
    told = ", ".join(f"{count:,} {text(verdict)}" for verdict, count in counts.items() if count)

    def rows() -> Iterator[list[tuple[str, object]]]:
        for feature, entry in sorted(verdicts.items(), key=lambda item: _rank(item[1]["verdict"])):
            verdict = entry["verdict"]
            uses = entry.get("uses", ())
            why = [use for use in uses if use["verdict"] != "proven"] or list(uses)
            reasons = "".join(f"<div>{_reason(use)}</div>" for use in why[:USES])
            if len(why) > USES:
                reasons += f"<div>and {len(why) - USES:,} more</div>"
            notes = ["waived"] if entry.get("waiver") else []
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
    return f"<p>{told}.</p>\n{listed}"


def _reason(use: Mapping[str, Any]) -> str:
    chain = " → ".join(name(link) for link in use.get("chain") or [use["column"]])
    if use["verdict"] != "proven" and use.get("reason"):
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
