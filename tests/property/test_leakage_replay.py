"""The static verdict on random specs over random bitemporal logs, and that of replay.

A log says of every row when its event happened (`at`) and, of some cells, when they were recorded
(`seen`), at once, late, early or never. A random spec declares when columns become known, and has
features of own rows, of past rows by windows, and of rows in effect, some of which leak. What the
resolver refuses cannot be run; so the same features are computed by a spec that declares nothing
but event times, and replayed against the truth of the first one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

import featurekit as fk
from featurekit.analysis.leakage.replay import FeatureReplay, replay
from featurekit.analysis.leakage.replay_graph import Graph
from featurekit.analysis.leakage.replay_known import Knowledge
from featurekit.analysis.leakage.replay_worlds import Variant, Worlds
from featurekit.engines import history, local, timeline
from featurekit.errors import LeakageError, SpecErrors
from featurekit.job import check
from featurekit.opening import open_sources
from featurekit.planner import make_plan
from featurekit.serving import apply_frame
from featurekit.spec.expression import Attribute, Name, parse
from featurekit.spec.objects import FrozenMapping

SPECS, BLOCKS = 1_000, 20

HOUR = 3_600_000_000
DAY = 24 * HOUR
OWN = {
    "x": "x", "n": "n + 1", "w": "concat(w, '!')", "p": "cast(p, 'int64')", "dx": "dx",
    "late": "cast(late, 'int64')", "z": "zscore(x)", "gone": "is_missing(n)", "both": "x * 2 + n",
    "y": "y", "bucket": "apply_buckets(x, [-1, 0, 1])",
}  # fmt: skip
AGGREGATES = {
    "mean_x": "mean(x)", "rows": "count()", "sum_n": "sum(n)", "last_w": "last(w)",
    "some_p": "any(p)", "most": "max(dx)", "lates": "count(where=late)", "worst": "min(x, where=p)",
    "idle": "time_since_last(n)", "label": "mean(y)",
}  # fmt: skip
LOOKED_UP = ("x", "n", "w", "dx")
WINDOWS = ("1d", "3d", "lifetime", "4d..1d")


def log(chance: np.random.Generator, rows: int) -> pl.DataFrame:
    """Return events with the times at which they were recorded; many of them on the same days."""
    at = chance.integers(0, 9, rows) * DAY + chance.choice([0, 0, 0, 1, HOUR], rows)
    late = chance.choice([0, 0, HOUR, DAY, 2 * DAY, -DAY, -1, 1], rows)
    frame = pl.DataFrame({
        "id": np.arange(rows), "who": chance.choice(["a", "b", "c"], rows), "at": at,
        "seen": at + late, "x": chance.normal(size=rows).round(3),
        "n": chance.integers(-3, 9, rows), "w": chance.choice(["u", "v", "w"], rows),
        "p": chance.random(rows) < 0.5, "y": chance.integers(0, 2, rows),
    })  # fmt: skip
    holes = [
        pl.when(pl.Series(chance.random(rows) < 0.95)).then(name).alias(name)
        for name in ("seen", "x", "n", "w", "p")
    ]
    return frame.with_columns(holes).with_columns(
        pl.col("at", "seen").cast(pl.Datetime("us", "UTC"))
    )


def cards(chance: np.random.Generator) -> pl.DataFrame:
    """Return a row for each key, and since when it is known."""
    since = pl.Series("since", chance.integers(-3, 9, 3) * DAY).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {"who": ["a", "b", "c"], "x": chance.normal(size=3), "n": [1, 2, 3]}
    ).with_columns(since)


def tables_of(seed: int) -> dict[str, pl.DataFrame]:
    chance = np.random.default_rng(seed)
    return {"rows": log(chance, 24), "past": log(chance, 30), "card": cards(chance)}


@dataclass
class Maker:
    """Draws a spec.

    Args:
        random: The source of randomness.
        exact: Whether all times are `at` plus or minus a constant, so that their order is certain.
    """

    random: Random
    exact: bool
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)

    def time(self, days: tuple[int, ...]) -> str:
        base = "at" if self.exact else self.random.choice(["at", "seen"])
        days_later = self.random.choice(days)
        return f"{base} {'-' if days_later < 0 else '+'} {abs(days_later)}d"

    def column(self) -> dict[str, Any]:
        """Declare when a column becomes known: by its source, by itself, always or never."""
        draw = self.random.random()
        if draw < 0.45:
            return {}
        if draw < 0.85:
            return {"available_at": self.time((-2, -1, 0, 1, 2, 3))}
        return {"available": draw < 0.93}

    def source(self) -> dict[str, Any]:
        columns: dict[str, Any] = {name: self.column() for name in ("x", "n", "w", "p")}
        columns["dx"] = {"expr": "x * 2 + n", **(self.column() if self.chance(0.3) else {})}
        columns["late"] = {"expr": "n > 2", **(self.column() if self.chance(0.3) else {})}
        if self.chance(0.2):
            columns["who"] = self.column()
        made: dict[str, Any] = {"event_time": "at", "columns": columns}
        if self.chance(0.7):
            made["available_at"] = self.time((-30, -1, 0, 1))
        return made

    def card(self) -> dict[str, Any]:
        """Declare a table without events: known from a time on, or always, or nobody says."""
        columns: dict[str, Any] = {"x": {}, "n": {}}
        if self.chance(0.3):
            columns["x"] = {"available": self.chance(0.5)}
        return {"columns": columns, **({"available_at": "since"} if self.chance(0.7) else {})}

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def spec(self) -> dict[str, Any]:
        random = self.random
        rows, past = self.source(), self.source()
        predicted = random.choice((-1, 0, 1))
        label: dict[str, Any] = {}
        if self.chance(0.7):  # Known after the prediction; see the test of the label known before.
            label = {"available_at": f"at + {predicted + random.choice((1, 2))}d"}
        rows["columns"]["y"] = label
        base = "at" if self.exact or self.chance(0.6) else "seen"
        sign = "-" if predicted < 0 else "+"
        aggregations, lookups, features = {}, {}, {}
        for place in range(random.randint(2, 4)):
            kind, name = random.random(), f"f{place}"
            of = random.choice(["rows", "past"])
            by = {"who": "who"} if self.chance(0.8) else {}
            if kind < 0.4:
                features[name] = random.choice(list(OWN.values()))
            elif kind < 0.85:
                made = random.choice([key for key in AGGREGATES if key != "label" or of == "rows"])
                window = random.choice(WINDOWS)
                aggregations[f"g{place}"] = {
                    "source": of, "by": by, "windows": window,
                    "features": {"v": AGGREGATES[made]},
                }  # fmt: skip
                output = f"v_{window.replace('..', '_to_')}"
                text = f"g{place}.{output}"
                features[name] = {"some_p": f"cast({text}, 'int64')"}.get(made, text)
            else:
                of = random.choice(["rows", "past", "card"])
                value = random.choice(LOOKED_UP if of != "card" else ("x", "n"))
                lookups[f"l{place}"] = {
                    "source": of, "by": {"who": "who"}, "features": [value]
                }  # fmt: skip
                features[name] = f"l{place}.{value}"
        if self.chance(0.3):
            features["again"] = "is_missing(f0)"
        return {
            "sources": {"rows": rows, "past": past, "card": self.card()},
            "examples": {
                "source": "rows", "keys": ["id"], "label": "y > 0",
                "predict_at": f"{base} {sign} {abs(predicted)}d",
            },
            "aggregations": aggregations, "lookups": lookups, "features": features,
        }  # fmt: skip


def built(plain: dict[str, Any], tables: dict[str, pl.DataFrame], names: set[str]) -> fk.Spec:
    """Return a spec with some of the features, and with the aggregations that they use."""
    features = {name: text for name, text in plain["features"].items() if name in names}
    used = {owner for text in features.values() for owner in owners(text, plain)}
    return fk.Spec(
        sources={
            name: fk.Source(data=tables[name], **settings)
            for name, settings in plain["sources"].items() if name in tables
        },
        examples=plain["examples"], features=features,
        aggregations={name: of for name, of in plain["aggregations"].items() if name in used},
        lookups={name: of for name, of in plain["lookups"].items() if name in used},
    )  # fmt: skip


def owners(text: str, plain: dict[str, Any]) -> set[str]:
    """Return the aggregations and lookups that an expression uses, through other features too."""
    found = set()
    for part in parse(text).walk():
        if isinstance(part, Attribute):
            found.add(part.aggregation)
        elif isinstance(part, Name) and part.name in plain["features"]:
            found |= owners(plain["features"][part.name], plain)
    return found


def only_events(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a spec that says of rows when they happened, and nothing else about time."""
    sources = {}
    for name, settings in plain["sources"].items():
        columns = {
            column: {key: value for key, value in of.items() if key == "expr"}
            for column, of in settings["columns"].items()
        }
        sources[name] = {"event_time": settings.get("event_time"), "columns": columns}
    examples = {key: value for key, value in plain["examples"].items() if key != "label"}
    return {**plain, "sources": sources, "examples": examples}


def refused(spec: fk.Spec, plain: dict[str, Any]) -> dict[str, bool]:
    """Return the features that the resolver refuses; true where nothing was left open."""
    try:
        check(spec)
    except SpecErrors as errors:
        found: dict[str, bool] = {}
        for error in errors.problems:
            assert isinstance(error, LeakageError), error
            certain = "cannot be proven" not in error.message
            certain &= "nothing proves" not in error.message
            owner = re.match(r"(?:aggregation|lookup) '(\w+)'", error.where)
            feature = re.match(r"feature '(\w+)'", error.where)
            assert owner or feature, error
            for name, text in plain["features"].items():
                direct = feature is not None and feature[1] == name
                if direct or (owner is not None and owner[1] in owners(text, plain)):
                    found[name] = found.get(name, False) or certain
        return found
    return {}


@dataclass
class Verdicts:
    """How often both verdicts were what, over some specs."""

    accepted: int = 0
    refused: int = 0
    found: int = 0
    """Refused for certain, and found by replay."""
    wrong: list[Any] = field(default_factory=list)
    """Accepted, and a leak for replay."""
    silent: list[Any] = field(default_factory=list)
    """Refused for certain, and the same without the future."""


def compare(seed: int, verdicts: Verdicts) -> None:
    """Draw a spec and compare both verdicts of each of its features."""
    tables = tables_of(seed)
    exact = seed % 2 == 0
    plain = Maker(Random(seed), exact).spec()
    features = plain["features"]
    spec = built(plain, tables, set(features))
    bad = refused(spec, plain)
    if exact:
        assert all(bad.values()), (seed, bad)
    good = set(features) - set(bad)
    if good:
        kept = replay(built(plain, tables, good), complete=True).features
        verdicts.accepted += len(good)
        verdicts.wrong += [(seed, features[name], kept[name]) for name in good if leaks(kept[name])]
    if bad:
        together = set(bad) | ({"f0"} if "again" in bad else set())
        computed = built(only_events(plain), tables, together)
        seen = replay(computed, complete=True, truth=spec).features
        verdicts.refused += len(bad)
        certain = [name for name in bad if bad[name]]
        verdicts.found += sum(leaks(seen[name]) for name in certain)
        verdicts.silent += [
            (seed, features[name], seen[name]) for name in certain if not leaks(seen[name])
        ]


def leaks(found: FeatureReplay) -> bool:
    return found.verdict == "leak"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_static_verdict_is_that_of_replay(block: int) -> None:
    verdicts = Verdicts()
    each = SPECS // BLOCKS
    for seed in range(block * each, (block + 1) * each):
        compare(seed, verdicts)
    # No false negative: without the future, what the resolver accepts stays as it is.
    assert not verdicts.wrong
    assert verdicts.accepted > each
    # No false positive: what it refuses for certain changes, but for a few features of which that
    # cannot be seen: whether a count is missing, which it never is.
    assert {text for _, text, _ in verdicts.silent} <= {"is_missing(f0)"}
    assert len(verdicts.silent) <= 2
    assert verdicts.found > each // 2


# Tests of the test: leaks that the resolver cannot know of


def computed_too_early(seed: int) -> list[FeatureReplay]:
    """Replay what the resolver accepts, computed by the time of the event alone."""
    tables = tables_of(seed)
    plain = Maker(Random(seed), exact=False).spec()
    spec = built(plain, tables, set(plain["features"]))
    good = {name for name in plain["features"] if name not in refused(spec, plain)}
    if not good:
        return []
    early = built(only_events(plain), tables, good)
    return list(replay(early, complete=True, truth=spec).features.values())


def test_windows_by_event_time_alone_leak_what_was_recorded_late() -> None:
    found = [one for seed in range(40) for one in computed_too_early(seed)]
    late = [one for one in found if leaks(one)]
    assert len(late) > len(found) / 4
    assert all(one.responsible and one.first is not None for one in late)


@pytest.mark.parametrize("later", [1, HOUR])
def test_a_window_that_ends_too_late_is_found(later: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place = timeline._Sorted.places
    monkeypatch.setattr(
        timeline._Sorted, "places", lambda events, before: place(events, before - later)
    )
    for seed in range(6):
        chance = np.random.default_rng(seed)
        spec = windows({"rows": log(chance, 80), "past": log(chance, 240)})
        features = replay(spec, complete=True).features
        assert {name for name in features if leaks(features[name])} == {"rows", "mean", "n"}


def windows(tables: dict[str, pl.DataFrame]) -> fk.Spec:
    """Return a spec with windows that are all right."""
    plain: dict[str, Any] = {
        "sources": {
            "rows": {"event_time": "at", "available_at": "at - 1d", "columns": {}},
            "past": {"event_time": "at", "columns": {"x": {"available_at": "seen"}}},
        },
        "examples": {"source": "rows", "keys": ["id"], "predict_at": "at"},
        "aggregations": {
            "g": {"source": "past", "by": {"who": "who"}, "windows": "3d",
                  "features": {"rows": "count()", "mean": "mean(x)"}}
        },
        "lookups": {"now": {"source": "past", "by": {"who": "who"}, "features": ["n"]}},
        "features": {"rows": "g.rows_3d", "mean": "g.mean_3d", "n": "now.n", "z": "zscore(x)"},
    }  # fmt: skip
    return built(plain, tables, set(plain["features"]))


# What must not matter


def test_nothing_is_different_where_there_is_no_future() -> None:
    chance = np.random.default_rng(5)
    past = log(chance, 60)
    last = past.select(pl.max_horizontal(pl.col("at", "seen").max())).item()
    rows = log(chance, 30).with_columns(pl.lit(last).alias("at") + pl.duration(microseconds=1))
    found = replay(windows({"rows": rows, "past": past}), complete=True)
    assert {one.mismatches for one in found.features.values()} == {0}
    missing = past["seen"].null_count() > 0
    assert found.features["rows"].changed == 0
    assert (found.features["mean"].changed > 0) == missing  # Never recorded is never known.


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_rows_is_irrelevant(seed: int) -> None:
    chance = np.random.default_rng(seed)
    tables = {"rows": log(chance, 200), "past": log(chance, 300)}
    truth = windows(tables)
    wanted = replay(by_event_alone(tables), truth=truth, sample=25, seed=seed).to_dict()
    assert wanted["verdict"] == "leak"
    shuffled = {
        name: rows.sample(fraction=1, shuffle=True, seed=7) for name, rows in tables.items()
    }
    found = replay(by_event_alone(shuffled), truth=truth, sample=25, seed=seed).to_dict()
    assert found == wanted


def by_event_alone(tables: dict[str, pl.DataFrame]) -> fk.Spec:
    spec = windows(tables)
    past = fk.Source(data=tables["past"], event_time="at")
    return replace(spec, sources=FrozenMapping({**spec.sources, "past": past}))


def test_the_same_seed_draws_the_same_examples_and_another_seed_others() -> None:
    chance = np.random.default_rng(1)
    tables = {"rows": log(chance, 400), "past": log(chance, 300)}
    truth = windows(tables)
    reports = [
        replay(by_event_alone(tables), truth=truth, sample=20, seed=seed).to_dict()
        for seed in (1, 1, 2)
    ]
    assert reports[0] == reports[1]
    assert {**reports[0], "seed": 2} != reports[2]


def test_worlds_give_what_a_run_gives_when_nothing_is_taken_away() -> None:
    chance = np.random.default_rng(3)
    tables = {"rows": log(chance, 50), "past": log(chance, 80)}
    spec = windows(tables)
    resolved, opened = open_sources(spec)
    graph = Graph(resolved, Knowledge(spec, resolved.types))
    plan = make_plan(resolved, "local", saved_model=False)
    past = history.compute(resolved.aggregates, spec, opened["rows"], opened)
    table = history.with_columns(opened["rows"], resolved.aggregates, past)
    fitted, _ = local.fit(plan, table)
    worlds = Worlds(graph, opened, fitted, pl.Series(range(50)))
    (found,) = worlds.compute(worlds.rows, [Variant(None)])
    wanted = apply_frame(plan, fitted, tables["rows"]).select(found.columns)
    assert found.equals(wanted)
