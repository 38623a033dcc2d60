"""What a report shows of a replay: what came of it, and the numbers of each feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurekit.report.page import anything, name, number, table, text

__all__ = ["replay_numbers"]

_ORDER = ("leak", "untested", "undated", "clean")
_MEANS = {
    "leak": "it is different without the future",
    "untested": "nobody says when something that it reads became known",
    "undated": "it reads a table whose rows nobody dates, and of it only what is declared to be "
    "always available: nothing to withhold",
    "clean": "it is the same without the future",
}
_HEADS = ("feature", "verdict", "compared", "with a future", "different", "at most", "because of")
_EXPLAINED = (
    "With a future: examples in which something that the feature reads was not known yet, so that "
    "it was put to the test. At most: the share of examples that leak is below it, with 95% "
    "confidence."
)


def replay_numbers(replay: Mapping[str, Any]) -> str:
    """Return what came of a replay, what its verdicts mean, and a table of all features."""
    features = replay.get("features") or {}
    if not features:
        return ""
    verdicts = [entry["verdict"] for entry in features.values()]
    held = [verdict for verdict in _ORDER if verdict in verdicts]
    told = ", ".join(f"{verdicts.count(verdict):,} {verdict}" for verdict in held)
    facts = "".join(f"<dt>{verdict}</dt><dd>{_MEANS[verdict]}</dd>" for verdict in held)
    listed = table("Features without the future", _HEADS, _rows(features))
    listed += f'<p class="muted">{_EXPLAINED}</p>'
    return f"<p>{_lead(replay)} {told}.</p>\n<dl>{facts}</dl>\n{_statistics(replay)}\n{listed}"


def _lead(replay: Mapping[str, Any]) -> str:
    every = "all " if replay.get("complete") else ""
    return (
        f"The features of {every}{number(replay['examples'])} examples, predicted at "
        f"{number(replay['moments'])} times, were computed again without what was not known then:"
    )


def _statistics(replay: Mapping[str, Any]) -> str:
    held = replay.get("statistics") or {}
    if not held:
        return ""
    count, rows = number(held["statistics"]), number(held["rows"])
    if held["verdict"] == "untested":
        return f"<p>Statistics were not tested: {text(held.get('why') or 'nothing to test')}.</p>"
    same = "all are the same to the bit"
    if held["changed"]:
        same = f"not the same are {anything(list(held['changed']))}"
    return (
        f"<p>{count} statistics were fitted again with {rows} rows outside of the train split "
        f"poisoned: {same}.</p>"
    )


def _rows(features: Mapping[str, Any]) -> Iterator[list[tuple[str, object]]]:
    worst = sorted(features.items(), key=lambda item: _ORDER.index(item[1]["verdict"]))
    for feature, entry in worst:
        # Of a leak the columns that are to blame, else what kept it from being tested.
        why = entry.get("responsible") or entry.get("undeclared") or entry.get("undated") or ()
        counts = [(number(entry[key]), entry[key]) for key in ("cells", "changed", "mismatches")]
        yield [
            (name(feature), feature),
            (text(entry["verdict"]), _ORDER.index(entry["verdict"])),
            *counts,
            (f"{entry['bound']:.1%}", entry["bound"]),
            (f"<span>{', '.join(map(name, why))}</span>", ", ".join(why)),
        ]
