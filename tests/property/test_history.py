"""Aggregates of the embedded engine against `tests.oracle`, over random pasts, and without future.

A past is a small table of events and the examples that look back on it. Hundreds of them stand in
one table and are told apart by a key, so that thousands can be tried.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from featurekit.engines import history
from featurekit.graph import AggregateNode, topological
from featurekit.resolve import resolve
from featurekit.semantics import SEMANTICS
from featurekit.sources import column_types, open_table
from featurekit.spec.objects import Aggregation, Examples, Lookup, Source, Spec
from featurekit.transforms.catalogue import aggregations
from featurekit.types import (
    BOOL,
    DURATION,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Kind,
    Type,
)
from tests import oracle
from tests.oracle import Column, Row

HOUR = 3_600_000_000
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Columns

KNOWN = {"x": "known_x", "n": "known_n"}
"""Columns that become known at a time of their own; the others do with the source."""

SCHEMA: Mapping[str, Any] = {
    "world": pl.Int64, "a": pl.Int64, "b": pl.Int64, "s": pl.String, "u": pl.String,
    "yes": pl.Boolean, "time": pl.Int64, "known_x": pl.Int64, "known_n": pl.Int64,
    "x": pl.Float64, "n": pl.Int64, "word": pl.String, "flag": pl.Boolean, "moment": pl.Int64,
    "span": pl.Int64,
}  # fmt: skip
LOCAL = ("time", "known_x", "known_n")
"""Times that a source may store without a zone."""


@dataclass(frozen=True)
class Value:
    """What aggregates summarise: columns, and what is computed of them."""

    uses: tuple[str, ...]
    of: Type
    get: Column


def product(row: Row) -> Any:
    """Return `x * n` in float64: null where either is missing."""
    if oracle.missing(row["x"]) or row["n"] is None:
        return None
    return row["x"] * float(row["n"])


VALUES: Mapping[str, Value] = {
    "x": Value(("x",), FLOAT64, lambda row: row["x"]),
    "-x": Value(("x",), FLOAT64, lambda row: None if row["x"] is None else -row["x"]),
    "x * n": Value(("x", "n"), FLOAT64, product),
    "n": Value(("n",), INT64, lambda row: row["n"]),
    "word": Value(("word",), STRING, lambda row: row["word"]),
    "flag": Value(("flag",), BOOL, lambda row: row["flag"]),
    "moment": Value(("moment",), TIMESTAMP, lambda row: row["moment"]),
    "span": Value(("span",), DURATION, lambda row: row["span"]),
}


@dataclass(frozen=True)
class Filter:
    """Which rows count: the columns that it uses, and whether it is true."""

    uses: tuple[str, ...]
    holds: Column


FILTERS: Mapping[str, Filter] = {
    "flag": Filter(("flag",), lambda row: row["flag"]),
    "not flag": Filter(("flag",), lambda row: row["flag"] is False),
    "x > 0.5": Filter(("x",), lambda row: not oracle.missing(row["x"]) and row["x"] > 0.5),
    "is_missing(x)": Filter(("x",), lambda row: oracle.missing(row["x"])),
    "n % 2 == 1": Filter(("n",), lambda row: row["n"] is not None and row["n"] % 2 == 1),
    "word == 'ab' or flag": Filter(
        ("word", "flag"), lambda row: row["word"] == "ab" or row["flag"] is True
    ),
}

WINDOWS: Mapping[str, tuple[int | None, int]] = {
    "2d": (2 * DAY, 0), "36h": (36 * HOUR, 0), "lifetime": (None, 0),
    "4d..2d": (4 * DAY, 2 * DAY), "lifetime..2d": (None, 2 * DAY), "1000d..1us": (1000 * DAY, 1),
}  # fmt: skip

# Aggregates

PARAMETERS: Mapping[str, Sequence[Any]] = {
    "first_k": (1, 3), "last_k": (1, 3), "top_k": (1, 3), "quantile": (0.0, 0.25, 0.75, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One aggregate, as a feature of an aggregation."""

    function: str
    value: str | None
    parameter: Any = None
    where: str | None = None

    @property
    def text(self) -> str:
        """How a spec writes it."""
        given = [self.value, self.parameter, self.where and f"where={self.where}"]
        return f"{self.function}({', '.join(str(part) for part in given if part is not None)})"

    @property
    def uses(self) -> tuple[str, ...]:
        """The columns that it reads."""
        value = () if self.value is None else VALUES[self.value].uses
        return value if self.where is None else value + FILTERS[self.where].uses


def accepted(function: str) -> list[str | None]:
    """Return all values that an aggregate can be applied to, and nothing if it needs none."""
    operation = aggregations()[function]
    texts: list[str | None] = [
        text for text, value in VALUES.items() if value.of in operation.inputs[0].accepts
    ]
    return texts if operation.fewest_inputs() else [None, *texts]


def random_case(random: Random, function: str) -> Case:
    parameter = random.choice(PARAMETERS.get(function, [None]))
    where = random.choice([None, None, *FILTERS])
    return Case(function, random.choice(accepted(function)), parameter, where)


@dataclass(frozen=True)
class Look:
    """One aggregation: a key, a filter, windows and the aggregates."""

    by: Mapping[str, str]
    cases: tuple[Case, ...]
    windows: tuple[str, ...]
    where: str | None = None

    def declared(self) -> Aggregation:
        """Return it as a spec declares it."""
        features = {f"f{place}": case.text for place, case in enumerate(self.cases)}
        return Aggregation("past", self.by, self.windows, features, self.where)

    def expected(
        self, rows: Sequence[Row], examples: Sequence[Row], delay: int
    ) -> dict[tuple[int, str], list[Any]]:
        """Return what the oracle says of each case and window."""
        found = {}
        for place, case in enumerate(self.cases):
            filters = [FILTERS[text] for text in (case.where, self.where) if text is not None]
            used = [*case.uses, *self.by.values()]
            used += [name for entry in filters for name in entry.uses]
            for window in self.windows:
                start, end = WINDOWS[window]
                found[place, window] = oracle.expected(
                    case.function, rows, examples,
                    *(() if case.parameter is None else (case.parameter,)),
                    keys=self.by, at=lambda row: row["at"], effect=effect(used, delay),
                    event_time=lambda row: row["time"],
                    value=None if case.value is None else VALUES[case.value].get,
                    where=(lambda row, all_of=tuple(filters): all(
                        entry.holds(row) is True for entry in all_of
                    )),
                    start=start, end=end,
                )  # fmt: skip
        return found


def effect(used: Iterable[str], delay: int) -> Column:
    """Return when a row counts: with its event, and when all columns that are used are known."""
    own = {KNOWN[name] for name in used if name in KNOWN}
    others = any(name not in KNOWN for name in used) or not own

    def of(row: Row) -> int | None:
        times = [row["time"], *(row[name] for name in own)]
        if others and row["time"] is not None:
            times.append(row["time"] + delay)
        return oracle.latest(times)

    return of


# Pasts

FLOATS: Sequence[Sequence[float | None]] = (
    (0.0, -0.0, 1.5, -2.25, 0.1, 3.0, None),
    (1.0, 2.0, math.nan, None),
    (1e9, 1e9 + 2, 1e9 + 4.5, 1e9 - 3, None),
    (math.inf, -math.inf, 1.5, 0.75, -2.0),
    (1e-30, 1e12, -1e12, 2.5),
    (None, math.nan),
)
INTEGERS: Sequence[Sequence[int | None]] = (
    (0, 1, 2, 3, -4, None), (2**53 + 1, 2**53 + 2, -(2**53) - 1, 7), (1, 1, 2),
    (2**62, -(2**62), 2**63 - 1, -(2**63) + 1, 5),
)  # fmt: skip
WORDS = ("a", "ab", "b", "", "é", "zz", None)
# Joined as text, (1, 23) is (12, 3), and ("a", "bc") is ("ab", "c").
PAIRS = ((1, 23), (12, 3), (2**53, 1), (2**53 + 1, 1), (1, None), (None, 23))
TEXTS = (("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("a", None), (None, "bc"))


@dataclass(frozen=True)
class Past:
    """Events, and the examples that look back on them."""

    rows: list[dict[str, Any]]
    examples: list[dict[str, Any]]


class Maker:
    """Makes random pasts; their times lie on a grid of days, so that windows begin and end on them.

    Args:
        random: The source of randomness.
        zone: The zone of all times; the clock is put back between the first days.
        far: Days that are sometimes added; some are so far that key and time do not fit in 64 bits.
    """

    def __init__(self, random: Random, zone: str = "UTC", far: Sequence[int] = (0,)) -> None:
        self.random, self.zone, self.far = random, ZoneInfo(zone), far

    def day(self, number: int) -> int:
        """Return half past one of a day, local time, give or take a microsecond."""
        jitter = self.random.choice((0, 0, 0, 0, -1, 1))
        number += self.random.choice(self.far)
        local = datetime(2013, 11, 3, 1, 30, tzinfo=self.zone) + timedelta(days=number)
        return (local.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) + jitter

    def known(self, number: int) -> int | None:
        """Return when something became known of an event of a day: at once, late, early, never."""
        after = self.random.choice((0, 0, 0, 1, 1, 2, 5, -1, None))
        return None if after is None else self.day(number + after)

    def past(self, world: int, most: int = 10) -> Past:
        """Return one past."""
        random = self.random
        floats, integers = random.choice(FLOATS), random.choice(INTEGERS)
        pairs, texts = random.sample(PAIRS, 3), random.sample(TEXTS, 3)
        rows: list[dict[str, Any]] = []
        for _ in range(random.randint(0, most)):
            if rows and random.random() < 0.15:
                rows.append(dict(random.choice(rows)))
                continue
            number = random.randint(-3, 4)
            (a, b), (s, u) = random.choice(pairs), random.choice(texts)
            rows.append({
                "world": world, "a": a, "b": b, "s": s, "u": u,
                "yes": random.choice((True, False, None)),
                "time": self.day(number) if random.random() < 0.95 else None,
                "known_x": self.known(number), "known_n": self.known(number),
                "x": random.choice(floats), "n": random.choice(integers),
                "word": random.choice(WORDS), "flag": random.choice((True, False, None)),
                "moment": random.choice((None, self.day(number), -HOUR, DAY * 10_000)),
                "span": random.choice((None, 0, HOUR, -DAY)),
            })  # fmt: skip
        examples = []
        for _ in range(random.randint(1, 3)):
            (a, b), (s, u) = random.choice(pairs), random.choice(texts)
            at = self.day(random.randint(0, 5)) if random.random() < 0.95 else None
            examples.append({
                "world": world, "id_a": a, "id_b": b, "id_s": s, "s": s, "u": u,
                "yes": random.choice((True, False)), "at": at,
            })  # fmt: skip
        return Past(rows, examples)


EXAMPLES: Mapping[str, Any] = {
    "world": pl.Int64, "id_a": pl.Int64, "id_b": pl.Int64, "id_s": pl.String, "s": pl.String,
    "u": pl.String, "yes": pl.Boolean, "at": pl.Int64,
}  # fmt: skip


def events_table(rows: Sequence[Row], zone: str = "UTC") -> pl.DataFrame:
    """Return events as a table, their times without a zone unless that is UTC."""
    frame = pl.DataFrame(list(rows), schema=SCHEMA).with_columns(
        pl.col("moment", *LOCAL).cast(pl.Datetime("us", "UTC")),
        pl.col("span").cast(pl.Duration("us")),
    )
    if zone == "UTC":
        return frame
    return frame.with_columns(pl.col(*LOCAL).dt.convert_time_zone(zone).dt.replace_time_zone(None))


def examples_table(examples: Sequence[Row]) -> pl.DataFrame:
    frame = pl.DataFrame(list(examples), schema=EXAMPLES)
    return frame.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


def make_spec(
    events: pl.DataFrame, examples: pl.DataFrame, looks: Sequence[Look], delay: int = 0,
    zone: str = "UTC", **others: Any,
) -> Spec:  # fmt: skip
    """Return a spec with a feature for each output of some aggregations, or with other settings."""
    declared = {f"g{place}": look.declared() for place, look in enumerate(looks)}
    columns: dict[str, Any] = {name: {"available_at": known} for name, known in KNOWN.items()}
    if zone != "UTC":
        local = {"type": "timestamp", "zone": zone, "ambiguous": "earliest"}
        columns |= dict.fromkeys(LOCAL, local)
    settings: dict[str, Any] = {
        "sources": {
            "past": Source(
                data=events, event_time="time", columns=columns,
                available_at=f"time + {delay}us" if delay else None,
            ),
            "spine": Source(data=examples),
        },
        "examples": Examples("spine", predict_at="at"),
        "aggregations": declared,
        "features": {
            f"{name}_{output}": used(f"{name}.{output}", str(look.features[feature]))
            for name, look in declared.items() for output, feature, _ in look.outputs()
        },
    }  # fmt: skip
    return Spec(**{**settings, **others})


def used(output: str, aggregate: str) -> str:
    """Return a feature that uses an output: times are no features, and yet aggregates may be."""
    vector = aggregate.startswith(("first_k", "last_k", "top_k"))
    return output if vector else f"is_missing({output})"


class Engine:
    """Computes the aggregates that a spec's features use, before they become float32.

    Args:
        spec: The spec.
        semantics: By which version numbers are made.
    """

    def __init__(self, spec: Spec, semantics: int = SEMANTICS) -> None:
        self.spec = spec
        self.tables = {n: open_table(n, source, Path()) for n, source in spec.sources.items()}
        types = {n: column_types(self.tables[n], source) for n, source in spec.sources.items()}
        main = types.pop(spec.examples.source)
        resolved = resolve(spec, main, types, semantics=semantics)
        self.nodes: dict[str, AggregateNode] = {}
        for name, feature in resolved.features.items():
            below = topological([feature])
            (self.nodes[name],) = (node for node in below if isinstance(node, AggregateNode))
        self.wide = list({node: wider(node) for node in self.nodes.values()}.values())

    def __call__(
        self, undecided: dict[str, int] | None = None, **others: pl.DataFrame
    ) -> pl.DataFrame:
        """Return a column for each feature.

        Args:
            undecided: Filled with how often each lookup chose by values alone.
            others: Other rows of the sources, by name.
        """
        tables = {**self.tables, **{n: open_table(n, Source(data=data), Path())
                                    for n, data in others.items()}}  # fmt: skip
        main = tables[self.spec.examples.source]
        found = history.compute(
            self.wide, self.spec, main, tables, FOLDER[0], undecided=undecided
        ).collect()
        named = self.nodes.items()
        return found.select(pl.col(node.text).to_physical().alias(name) for name, node in named)


def computed(spec: Spec) -> pl.DataFrame:
    return Engine(spec)()


def wider(node: AggregateNode) -> AggregateNode:
    if node.type.kind is Kind.FLOAT32:
        return replace(node, type=Type(Kind.FLOAT64, node.type.width))
    return node


FOLDER = [Path()]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path) -> None:
    """Give the engine a folder of its own."""
    FOLDER[0] = tmp_path


# Comparisons

ROUNDED = {"mean", "sum", "median", "quantile", "variance", "stddev", "skewness", "kurtosis"}
CENTRAL = {"variance", "stddev", "skewness", "kurtosis"}


def agrees(case: Case, got: Any, wanted: Any, seen: Sequence[Any]) -> bool:
    """Whether a cell is what it should be: sums and moments of floats but for rounding.

    Args:
        case: The aggregate.
        got: What the engine found.
        wanted: What the oracle says.
        seen: All values that may stand in the window.
    """
    if case.function not in ROUNDED or not isinstance(wanted, float) or not isinstance(got, float):
        return bool(got == wanted) and type(got) is type(wanted)
    if not math.isfinite(wanted):
        return got == wanted or (math.isnan(got) and math.isnan(wanted))
    largest = max((abs(value) for value in seen if math.isfinite(value)), default=0.0)
    distinct = sorted({float(value) for value in seen if math.isfinite(value)})
    gap = min((b - a for a, b in itertools.pairwise(distinct)), default=1.0)
    if case.function in CENTRAL and gap < 1e-12 * largest:
        return True  # Distances from a mean are beyond what float64 can tell apart.
    slack = {"variance": 1e-30, "skewness": 1e-5, "kurtosis": 1e-5}.get(case.function, 1e-14)
    scale = largest if slack == 1e-14 else largest**2 if slack == 1e-30 else 1.0
    return math.isclose(got, wanted, rel_tol=1e-6, abs_tol=slack * scale * max(len(seen), 1))


def compare(
    found: Mapping[str, Sequence[Any]], look: Look, name: str, past: Past, first: int, delay: int
) -> None:
    """Compare all cells of one past's examples with the oracle."""
    for (place, window), wanted in look.expected(past.rows, past.examples, delay).items():
        case = look.cases[place]
        got = found[f"{name}_f{place}_{window.replace('..', '_to_')}"]
        value = None if case.value is None else VALUES[case.value]
        values = [] if value is None else [value.get(row) for row in past.rows]
        seen = [entry for entry in values if not oracle.missing(entry)]
        for number, (example, cell) in enumerate(zip(past.examples, wanted, strict=True)):
            mine = got[first + number]
            if not agrees(case, mine, cell, seen):
                told = "\n".join(str({**row, "effect": effect(case.uses, delay)(row)})
                                 for row in past.rows)  # fmt: skip
                pytest.fail(
                    f"{case.text} over {window} by {dict(look.by)} where {look.where}: "
                    f"{mine!r}, expected {cell!r}, for {example} of\n{told}"
                )


def bits(frame: pl.DataFrame) -> list[list[Any]]:
    """Return all cells so that they are equal only when their bits are."""

    def exact(cell: Any) -> Any:
        if isinstance(cell, float):
            return struct.pack("<d", cell)
        return tuple(exact(entry) for entry in cell) if isinstance(cell, list) else cell

    return [[exact(cell) for cell in frame[name].to_list()] for name in frame.columns]


def lists(frame: pl.DataFrame) -> dict[str, list[Any]]:
    return {name: frame[name].to_list() for name in frame.columns}


def several(random: Random, by: Mapping[str, str], functions: Iterable[str]) -> Look:
    """Return an aggregation of some functions over three windows, its filter at random."""
    cases = tuple(random_case(random, function) for function in functions)
    where = random.choice([None, None, *FILTERS])
    return Look(by, cases, tuple(random.sample(list(WINDOWS), 3)), where)


BATCHES, PASTS = 20, 100
"""Two thousand random pasts, a hundred at a time."""


def test_the_oracle_knows_every_aggregate() -> None:
    assert set(oracle.SUMMARIES) == set(aggregations())


@pytest.mark.parametrize("seed", range(BATCHES))
def test_aggregates_over_random_pasts_are_what_a_loop_over_rows_finds(seed: int) -> None:
    random = Random(seed)
    zone = random.choice(("UTC", "America/New_York"))
    delay = random.choice((0, 0, HOUR, 2 * DAY))
    far = (0,) * 20 + (-700_000, 2_900_000)
    maker = Maker(random, zone, far if seed % 4 == 0 and zone == "UTC" else (0,))
    pasts = [maker.past(world) for world in range(PASTS)]
    looks = [
        several(random, by, aggregations())
        for by in (
            {"world": "world"},
            {"world": "world", "s": "s"},
            {"world": "world", "id_b": "b", "id_a": "a"},
        )
    ]
    events = events_table([row for past in pasts for row in past.rows], zone)
    examples = examples_table([row for past in pasts for row in past.examples])
    found = lists(computed(make_spec(events, examples, looks, delay, zone)))
    first = 0
    for past in pasts:
        for place, look in enumerate(looks):
            compare(found, look, f"g{place}", past, first, delay)
        first += len(past.examples)


KEYS: Mapping[str, Mapping[str, str]] = {
    "none": {}, "one": {"s": "s"}, "one renamed": {"id_a": "a"}, "a boolean": {"yes": "yes"},
    "two": {"s": "s", "u": "u"}, "two renamed": {"id_b": "b", "id_a": "a"},
}  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("seed", range(10))
def test_aggregates_of_one_past_are_the_same_by_any_key(key: str, seed: int) -> None:
    random = Random(f"{key} {seed}")
    zone, delay = random.choice(("UTC", "America/New_York")), random.choice((0, HOUR))
    past = Maker(random, zone).past(0, most=25)
    look = several(random, KEYS[key], aggregations())
    spec = make_spec(
        events_table(past.rows, zone), examples_table(past.examples), [look], delay, zone
    )
    compare(lists(computed(spec)), look, "g0", past, 0, delay)


def test_most_windows_of_random_pasts_hold_something() -> None:
    counted = Look({"world": "world"}, (Case("count", None),), tuple(WINDOWS))
    maker = Maker(Random(0))
    pasts = [maker.past(world) for world in range(100)]
    for window in WINDOWS:
        found = [n for past in pasts
                 for n in counted.expected(past.rows, past.examples, 0)[0, window]]  # fmt: skip
        assert sum(n > 0 for n in found) > len(found) / 4
        assert 0 in found


@pytest.mark.parametrize("seed", range(5))
def test_a_row_never_counts_towards_itself_where_its_source_asks(seed: int) -> None:
    random = Random(seed)
    rows = Maker(random).past(0, most=40).rows
    later = random.choice((0, -HOUR, -2 * DAY))
    look = several(random, {"s": "s"}, aggregations())
    asking = [{**row, "at": None if row["time"] is None else row["time"] + later} for row in rows]
    spec = make_spec(events_table(rows), examples_table([]), [look])
    itself = replace(
        spec, examples=Examples("past", predict_at=f"time - {-later}us" if later else "time")
    )
    compare(lists(computed(itself)), look, "g0", Past(rows, asking), 0, 0)


@pytest.mark.parametrize("by", [{"world": "world"}, {}], ids=["one key", "no key"])
def test_one_key_may_have_most_of_the_rows(by: Mapping[str, str]) -> None:
    random = Random(11)
    maker = Maker(random)
    rows = [row for _ in range(100) for row in maker.past(0).rows]
    rows += [row for world in range(1, 20) for row in maker.past(world).rows]
    examples = [row for world in (0, 0, 0, *range(1, 20)) for row in maker.past(world).examples]
    random.shuffle(rows)
    look = several(random, by, aggregations())
    found = lists(computed(make_spec(events_table(rows), examples_table(examples), [look])))
    compare(found, look, "g0", Past(rows, examples), 0, 0)


ORDERS: Sequence[tuple[str, ...]] = ((), ("n",), ("word", "x"), ("moment", "flag"), ("b",))
"""What decides between rows of a lookup that took effect at once."""


def lookups_of(random: Random, order_by: Sequence[str]) -> tuple[Spec, list[Past], dict[str, str]]:
    """Return a spec that looks some values up by two keys, its pasts, and the values by name."""
    maker = Maker(random)
    pasts = [maker.past(world) for world in range(60)]
    chosen = random.sample(list(VALUES), random.randint(1, 4))
    # The order of their names is not that in which they are declared.
    values = dict(zip(random.sample("abcdefgh", len(chosen)), chosen, strict=True))
    spec = make_spec(
        events_table([row for past in pasts for row in past.rows]),
        examples_table([row for past in pasts for row in past.examples]),
        [],
        lookups={"now": Lookup("past", {"world": "world", "s": "s"}, values, order_by)},
        features={name: f"is_missing(now.{name})" for name in values},
    )
    return spec, pasts, values


def taken(
    past: Past, example: Row, values: Mapping[str, str], order_by: Sequence[str]
) -> oracle.Taken | None:
    """Return the row that a loop over all rows finds."""
    keys = {"world": "world", "s": "s"}
    used = [*(name for text in values.values() for name in VALUES[text].uses), *order_by]
    return oracle.taken(
        past.rows, example, keys=keys, at=lambda row: row["at"],
        effect=effect([*used, *keys.values()], 0), event_time=lambda row: row["time"],
        order_by=[lambda row, name=name: row[name] for name in order_by],  # type: ignore[misc]
        values=[VALUES[values[name]].get for name in sorted(values)],
    )  # fmt: skip


@pytest.mark.parametrize("order_by", ORDERS, ids=lambda names: " ".join(names) or "none")
@pytest.mark.parametrize("seed", range(8))
def test_a_lookup_takes_all_values_of_the_row_that_a_loop_over_rows_finds(
    seed: int, order_by: tuple[str, ...]
) -> None:
    spec, pasts, values = lookups_of(Random(f"{seed} {order_by}"), order_by)
    undecided: dict[str, int] = {}
    found = lists(Engine(spec)(undecided))
    first = ties = 0
    for past in pasts:
        for number, example in enumerate(past.examples):
            wanted = taken(past, example, values, order_by)
            ties += wanted is not None and wanted.undecided
            got = tuple(found[name][first + number] for name in sorted(values))
            assert got == (wanted.values if wanted else (None,) * len(values)), (values, past.rows)
        first += len(past.examples)
    assert undecided == ({"now": ties} if ties else {})


def test_lookups_of_random_pasts_often_choose_between_rows_that_differ() -> None:
    ties = rows = 0
    for seed in range(8):
        _, pasts, values = lookups_of(Random(f"{seed} ()"), ())
        found = [taken(past, row, values, ()) for past in pasts for row in past.examples]
        rows += sum(entry is not None for entry in found)
        ties += sum(entry is not None and entry.undecided for entry in found)
    assert rows > 100
    assert ties > rows / 50


@pytest.mark.parametrize("seed", range(4))
def test_a_run_of_the_first_semantics_goes_on_looking_each_value_up_for_itself(seed: int) -> None:
    spec, pasts, values = lookups_of(Random(seed), ())
    found, keys = lists(Engine(spec, semantics=1)()), {"world": "world", "s": "s"}
    for name, text in values.items():
        value, first = VALUES[text], 0
        for past in pasts:
            for number, example in enumerate(past.examples):
                held = oracle.seen(
                    past.rows, example, keys=keys, at=lambda row: row["at"],
                    effect=effect([*value.uses, *keys.values()], 0),
                    event_time=lambda row: row["time"], value=value.get, where=None,
                    start=None, end=0, skips_null=False,
                )  # fmt: skip
                assert found[name][first + number] == oracle.last(held), (text, example, past.rows)
            first += len(past.examples)


def test_a_lookup_without_time_takes_the_only_row() -> None:
    rows = [{"a": a, "b": b, "x": float(n), "word": WORDS[n]} for n, (a, b) in enumerate(PAIRS)]
    examples = [{"id_a": a, "id_b": b} for a, b in (*PAIRS, (1, 2), (123, None))]
    spec = Spec(
        sources={
            "past": Source(data=pl.DataFrame(rows)),
            "spine": Source(data=pl.DataFrame(examples)),
        },
        examples=Examples("spine"),
        lookups={"of": Lookup("past", {"id_a": "a", "id_b": "b"}, ["x", "word"])},
        features={"x": "of.x", "word": "of.word"},
    )
    wanted: list[tuple[Any, Any]] = [
        next(
            (
                (row["x"], row["word"]) for row in rows
                if oracle.same_key(row, example, {"id_a": "a", "id_b": "b"})
            ),
            (None, None),
        )
        for example in examples
    ]  # fmt: skip
    assert computed(spec).rows() == wanted
    assert wanted[:3] == [(0.0, "a"), (1.0, "ab"), (2.0, "b")]


# The same rows in another order, or in parts


def large(seed: int, worlds: int = 60) -> tuple[list[Row], list[Row], list[Look]]:
    """Return rows and examples of many pasts, and aggregations by none, one and two keys."""
    random = Random(seed)
    maker = Maker(random)
    pasts = [maker.past(world) for world in range(worlds)]
    looks = [several(random, by, aggregations()) for by in KEYS.values()]
    return (
        [row for past in pasts for row in past.rows],
        [row for past in pasts for row in past.examples],
        looks,
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_rows_is_irrelevant_to_the_bit(seed: int) -> None:
    rows, examples, looks = large(seed)
    engine = Engine(make_spec(events_table(rows), examples_table(examples), looks))
    wanted, random = engine(), Random(seed)
    for _ in range(3):
        places = random.sample(range(len(examples)), len(examples))
        random.shuffle(rows)
        shuffled = [examples[place] for place in places]
        found = engine(past=events_table(rows), spine=examples_table(shuffled))
        assert bits(found) == bits(wanted[places])


@pytest.mark.parametrize(("part", "results"), [(40, 1 << 27), (10**6, 2_000), (7, 500), (1, 1)])
def test_parts_and_files_give_the_same_to_the_bit(
    part: int, results: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows, examples, looks = large(5, worlds=25)
    if part == 1:
        looks = [replace(look, windows=look.windows[:1], cases=look.cases[::11]) for look in looks]
    engine = Engine(make_spec(events_table(rows), examples_table(examples), looks))
    wanted = engine()
    monkeypatch.setattr(history, "_PART", part)
    monkeypatch.setattr(history, "_RESULTS", results)
    assert bits(engine()) == bits(wanted)
    assert any(tmp_path.glob("aggregates-*.parquet")) == (results < 10_000)


@pytest.mark.parametrize("seed", range(3))
def test_long_windows_are_laid_out_in_pieces_that_give_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurekit.transforms import windows

    rows, examples, looks = large(seed + 20)
    engine = Engine(make_spec(events_table(rows), examples_table(examples), looks))
    wanted = engine()
    monkeypatch.setattr(windows, "_LAID_OUT", 3)
    assert bits(engine()) == bits(wanted)


# Numbers


def of_values(
    values: Sequence[Any], *functions: str, dtype: Any = pl.Float64, days: Sequence[int] = ()
) -> list[Any]:
    """Return aggregates over all of some values, one a day, or on given days."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    times = [start + timedelta(days=day) for day in days or range(len(values))]
    events = pl.DataFrame({"t": times, "v": pl.Series(values, dtype=dtype)})
    spec = Spec(
        sources={
            "past": Source(data=events, event_time="t"),
            "spine": Source(data=pl.DataFrame({"at": [start + timedelta(days=10**5)]})),
        },
        examples=Examples("spine", predict_at="at"),
        aggregations={
            "g": Aggregation(
                "past", windows="lifetime",
                features={f"f{place}": text for place, text in enumerate(functions)},
            )
        },
        features={f"f{place}": f"g.f{place}_lifetime" for place in range(len(functions))},
    )  # fmt: skip
    return list(computed(spec).row(0))


@pytest.mark.parametrize("count", [2, 3, 17, 1000])
def test_the_moments_of_values_near_a_billion_are_those_of_the_same_values_near_zero(
    count: int,
) -> None:
    random = Random(count)
    near_zero = [random.randint(-1024, 1024) / 64 for _ in range(count)]
    functions = ("variance(v)", "stddev(v)", "skewness(v)", "kurtosis(v)")
    found = of_values([value + 1e9 for value in near_zero], *functions)
    wanted = of_values(near_zero, *functions)
    assert found[:2] == pytest.approx(wanted[:2], rel=1e-6)
    assert found[2:] == pytest.approx(wanted[2:], rel=1e-4, abs=1e-6)
    rows = [oracle.Seen(value, 0) for value in near_zero]
    assert wanted[0] == pytest.approx(oracle.variance(rows), rel=1e-12)


def test_equal_values_have_no_variance_at_all() -> None:
    for value in (0.1, 1e9 + 0.1, 1e-300):
        for count in (1, 2, 3, 1001):
            assert of_values([value] * count, "variance(v)", "stddev(v)") == [0.0, 0.0]


def test_integers_beyond_two_to_the_53_are_not_rounded() -> None:
    big = 2**53 + 1
    texts = (
        "sum(v)",
        "min(v)",
        "last(v)",
        "most_frequent(v)",
        "count_distinct(v)",
        "first_k(v, 2)",
    )
    assert of_values([big, big, big + 1], *texts, dtype=pl.Int64) == [
        3 * big + 1, big, big + 1, big, 2, [big, big]
    ]  # fmt: skip


def test_zero_has_one_sign() -> None:
    for zeros in ([0.0, -0.0], [-0.0, 0.0], [-0.0, -0.0]):
        found = of_values(
            zeros, "first(v)", "last(v)", "min(v)", "max(v)", "sum(v)", "top_k(v, 1)",
            "count_distinct(v)", days=[0, 0],
        )  # fmt: skip
        assert repr(found) == "[0.0, 0.0, 0.0, 0.0, 0.0, [0.0], 1]"


def test_a_quantile_between_infinite_or_huge_values_is_what_lies_between_them() -> None:
    huge, infinite = 1.7e308, math.inf
    assert of_values([-huge, huge], "median(v)") == [0.0]
    assert of_values([-infinite, 1.0], "median(v)") == [-infinite]
    assert of_values([infinite, infinite], "median(v)", "quantile(v, 0.3)") == [infinite, infinite]
    assert math.isnan(of_values([-infinite, infinite], "median(v)")[0])


def test_an_infinite_value_leaves_a_mean_and_no_variance() -> None:
    mean, variance, skewness = of_values([math.inf], "mean(v)", "variance(v)", "skewness(v)")
    assert mean == math.inf
    assert math.isnan(variance)
    assert math.isnan(skewness)


# Times


def test_rows_that_never_took_effect_are_as_if_they_were_not_there() -> None:
    look = Look({"s": "s"}, (Case("count", None), Case("mean", "x")), ("2d", "lifetime"))
    row = {"s": "a", "x": 1.0, "time": None}
    examples = [{"s": "a", "at": 0}]
    for rows in ([], [row], [row, row]):
        spec = make_spec(events_table(rows), examples_table(examples), [look])
        assert computed(spec).row(0) == (0, 0, None, None)


def test_examples_may_be_none_and_a_missing_time_of_prediction_has_no_past() -> None:
    look = Look({"s": "s"}, (Case("count", None), Case("first_k", "word", 2)), ("lifetime",))
    rows = [{"s": "a", "word": "w", "time": 0}]
    assert computed(make_spec(events_table(rows), examples_table([]), [look])).height == 0
    examples: list[Row] = [{"s": "a", "at": None}, {"s": "a", "at": 1}]
    found = computed(make_spec(events_table(rows), examples_table(examples), [look]))
    assert found.rows() == [(0, None), (1, ["w", None])]


def test_a_window_may_be_longer_than_all_time() -> None:
    rows = [{"s": "a", "time": -100 * 365 * DAY}]
    examples = [{"s": "a", "at": -99 * 365 * DAY}]
    count = Aggregation("past", "s", ("106751991d", "106751991d..1us"), {"n": "count()"})
    spec = make_spec(
        events_table(rows), examples_table(examples), [], aggregations={"g": count},
        features={name: f"g.{name}" for name, _, _ in count.outputs()},
    )  # fmt: skip
    assert computed(spec).row(0) == (1, 1)


def test_a_day_is_24_hours_when_the_clock_is_put_back() -> None:
    local = datetime(2013, 11, 2, 12, tzinfo=ZoneInfo("America/New_York"))  # 25 hours to noon.
    noon = (local.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
    rows = [{"s": "a", "time": noon}]
    examples = [{"s": "a", "at": noon + 25 * HOUR}, {"s": "a", "at": noon + 24 * HOUR}]
    events = events_table(rows, "America/New_York")
    assert events["time"].dtype == pl.Datetime("us")
    spec = make_spec(
        events, examples_table(examples), [], zone="America/New_York", features={"n": "g.n_1d"},
        aggregations={"g": Aggregation("past", "s", "1d", {"n": "count()"})},
    )  # fmt: skip
    assert computed(spec).rows() == [(0,), (1,)]


# No future

Change = Callable[[Row, Random], dict[str, Any] | None]
"""What becomes of an event's values, its time being at or after a prediction; nothing: it goes."""


def delete(_: Row, __: Random) -> None:
    return None


def nulls(row: Row, _: Random) -> dict[str, Any]:
    return dict.fromkeys(row)


def nan_and_new_words(row: Row, _: Random) -> dict[str, Any]:
    return {**row, "x": math.nan, "n": -1, "word": "poison", "flag": None, "moment": None}


def infinities(row: Row, random: Random) -> dict[str, Any]:
    x = random.choice((math.inf, -math.inf))
    return {**row, "x": x, "n": 2**63 - 1, "word": "\U0010ffff", "flag": True, "moment": 2**50}


def huge(row: Row, random: Random) -> dict[str, Any]:
    x = random.choice((1e308, -1e308, 5e-324, -0.0))
    return {**row, "x": x, "n": -(2**62), "word": "", "flag": False, "moment": -(2**50), "span": 1}


def other_keys(row: Row, random: Random) -> dict[str, Any]:
    (a, b), (s, u) = random.choice(PAIRS), random.choice(TEXTS)
    return {**row, "world": 0, "a": a, "b": b, "s": s, "u": u, "yes": random.random() < 0.5}


CHANGES: Sequence[Change] = (delete, nulls, nan_and_new_words, infinities, huge, other_keys)


def without_future(rows: Sequence[Row], at: int, change: Change, random: Random) -> list[Row]:
    """Return rows in which all that was known at or after a time is changed.

    A value is known at the latest of its own time, if it has one, and that of the event.
    """
    made: list[Row] = []
    for row in rows:
        poison = change(row, random)
        if row["time"] is None or row["time"] >= at:
            if poison is not None:
                moved = None if change is nulls else at + random.choice((0, 1, DAY, 1000 * DAY))
                made.append({**poison, "time": moved})
            continue
        changed = dict(row)
        for name, known in KNOWN.items():
            if row[known] is None or row[known] >= at:
                changed[name] = None if poison is None else poison[name]
                if poison is not None and change is not nulls:
                    changed[known] = at + random.choice((0, 1, DAY))
        made.append(changed)
    random.shuffle(made)
    return made


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_happens_at_or_after_a_prediction_changes_no_bit_of_its_features(
    change: Change,
) -> None:
    rows, examples, looks = large(7, worlds=25)
    random = Random(0)
    engine = Engine(make_spec(events_table(rows), examples_table(examples), looks))
    wanted = engine()
    times = sorted({row["at"] for row in examples if row["at"] is not None})
    for at in random.sample(times, 5):
        past = events_table(without_future(rows, at, change, random))
        mine = [place for place, row in enumerate(examples) if row["at"] == at]
        # Together with all others, whose features do change; and one alone.
        assert bits(engine(past=past)[mine]) == bits(wanted[mine])
        alone = engine(past=past, spine=examples_table([examples[mine[0]]]))
        assert bits(alone) == bits(wanted[mine[:1]])


def test_the_future_that_is_changed_would_have_been_seen_later() -> None:
    """A test of the test: the same changes do show in features of later predictions."""
    rows, examples, looks = large(7, worlds=25)
    engine = Engine(make_spec(events_table(rows), examples_table(examples), looks))
    wanted = engine()
    at = sorted(row["at"] for row in examples if row["at"] is not None)[len(examples) // 2]
    later = [place for place, row in enumerate(examples) if row["at"] and row["at"] > at]
    for change in CHANGES:
        found = engine(past=events_table(without_future(rows, at, change, Random(0))))
        assert bits(found[later]) != bits(wanted[later])


def test_a_mean_of_integers_does_not_depend_on_large_ones_elsewhere() -> None:
    values = [2**40 + 1, 2**41 + 3, 7, 2**39]
    wanted = of_values(values, "mean(v)", dtype=pl.Int64)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    events = pl.DataFrame({
        "k": [1, 1, 1, 1, 2, 2], "v": [*values, 2**62, 2**62],
        "t": [start + timedelta(days=day) for day in range(6)],
    })  # fmt: skip
    spec = Spec(
        sources={
            "past": Source(data=events, event_time="t"),
            "spine": Source(
                data=pl.DataFrame({"k": [1, 2], "at": [start + timedelta(days=9)] * 2})
            ),
        },
        examples=Examples("spine", predict_at="at"),
        aggregations={"g": Aggregation("past", "k", "lifetime", {"f": "mean(v)"})},
        features={"f": "g.f_lifetime"},
    )
    assert computed(spec)["f"].to_list() == [*wanted, 2.0**62]
