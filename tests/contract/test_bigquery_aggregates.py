"""Every aggregation and lookup in BigQuery SQL, run by Google's evaluator, against two references.

One reference is a loop in Python that a reader can check, the other the embedded engine. The past
rows are few and nasty: nulls and NaN, infinities, duplicates, ties, effects on the very bounds of
windows, rows that became known late, keys that are null or equal when written one after another.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurekit.engines.bigquery.jobs import Statement
from featurekit.engines.bigquery.sql import Spine, column_names, statements
from featurekit.engines.history import compute
from featurekit.engines.rows import lower
from featurekit.graph import AggregateNode, Node
from featurekit.planner import Plan, make_plan
from featurekit.resolve import resolve
from featurekit.sources import Table
from featurekit.spec.objects import Spec
from featurekit.transforms.aggregate._latest import Latest
from featurekit.transforms.base import AggregateOperation, polars_dtype
from featurekit.transforms.catalogue import aggregations
from featurekit.types import Type, parse_type
from tests import oracle
from tests.zetasql import evaluate

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EVENTS = {
    "event": "string", "place": "int64", "zone": "int64", "t": "timestamp", "known": "timestamp",
    "x": "float64", "n": "int64", "s": "string", "b": "bool", "d": "duration", "m": "timestamp",
}  # fmt: skip
EXAMPLES = {"id": "int64", "place": "int64", "area": "int64", "now": "timestamp"}
VALUES = {
    "x": "float64",
    "n": "int64",
    "s": "string",
    "b": "bool",
    "d": "duration",
    "m": "timestamp",
}
"""The columns that are summarised, with their types."""

WINDOWS = ("2d", "lifetime", "4d..1d", "lifetime..1d")
KEYS: Mapping[str, Any] = {"all": [], "one": ["place"], "two": {"place": "place", "area": "zone"}}
FILTERS = ("none", "aggregation", "function")

PARAMETERS = {"quantile": ", q=0.3", "first_k": ", k=2", "last_k": ", k=2", "top_k": ", k=2"}


def rows_of_events(seed: int, count: int) -> pl.DataFrame:
    """Return past rows of few keys and few times, so that everything ties with something."""
    chance = random.Random(seed)

    def some(values: Sequence[Any], missing: float = 0.12) -> Any:
        return None if chance.random() < missing else chance.choice(values)

    rows = []
    for number in range(count):
        t = some([START + DAY * n / 2 for n in range(16)], 0.05)
        late = some([timedelta(0), timedelta(0), DAY / 2, DAY * 3], 0.05)
        row = {
            "event": str(number), "place": some([1, 12, 2**60 + 1]), "zone": some([23, 3]), "t": t,
            "known": None if t is None or late is None else t + late,
            "x": some([0.5, 0.5, -2.0, 1e9 + 1, 1e9 + 2, math.nan, 7.25]),
            "n": some([1, 1, -3, 5, 2**62, 2**62 + 1]),
            "s": some(["a", "b", "b", "Å", "", "z\U0001f600", "\uffff"]),
            "b": some([True, False]),
            "d": some([timedelta(seconds=1), -DAY, DAY]),
            "m": some([START, START + timedelta(microseconds=1)]),
        }  # fmt: skip
        rows.append(row)
        if chance.random() < 0.1:
            rows.append(row)
    return pl.DataFrame(rows, schema={k: polars_dtype(parse_type(v)) for k, v in EVENTS.items()})


def rows_of_examples(seed: int, count: int) -> pl.DataFrame:
    """Return examples whose times of prediction are on the bounds of windows as often as not."""
    chance = random.Random(-seed)
    rows = [
        {
            "id": 2**60 + number,
            "place": chance.choice([1, 1, 12, 12, 2**60 + 1, 2**60, None]),
            "area": chance.choice([23, 3, 3, None]),
            "now": chance.choice([*(START + DAY * n / 2 for n in range(24)), None]),
        }
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema={k: polars_dtype(parse_type(v)) for k, v in EXAMPLES.items()})


def calls(name: str) -> list[tuple[str, str]]:
    """Return an output name and a call of an aggregation, for every type that it takes."""
    operation = aggregations()[name]
    more = PARAMETERS.get(name, "")
    found = [(f"{name}_rows", f"{name}()")] if operation.fewest_inputs() == 0 else []
    for column, of in VALUES.items():
        if operation.inputs and parse_type(of) in operation.inputs[0].accepts:
            found.append((f"{name}_{column}", f"{name}({column}{more})"))
            if column == "x":
                # Infinite for 0.5, and NaN below 0.
                found.append((f"{name}_made", f"{name}(log(x) / (x - 0.5){more})"))
    return found


def spec_of(by: str, where: str, turn: int) -> Spec:
    """Return a spec of every aggregation over every window, each of some of the types it takes."""
    features = {}
    for name in aggregations():
        found = calls(name)
        for output, call in {found[(turn + step) % len(found)] for step in (0, 3, 6)}:
            inner = call[:-1] + ("" if call.endswith("()") else ", ")
            features[output] = f"{inner}where=n < 3)" if where == "function" else call
    tail = {"source": "events", "by": KEYS[by], "windows": WINDOWS, "features": features}
    if where == "aggregation":
        tail["where"] = "s != 'b' or x > 0"
    used = [(output, window.replace("..", "_to_")) for output in features for window in WINDOWS]
    return Spec.from_dict({
        "sources": SOURCES,
        "examples": {"source": "examples", "keys": ["id"], "predict_at": "now - 1h"},
        "aggregations": {"tail": tail},
        "features": {
            f"f{place}": usable(f"tail.{output}_{window}", output[-1] in "md")
            for place, (output, window) in enumerate(used)
        },
    })  # fmt: skip


SOURCES = {
    "events": {
        "event_time": "t",
        "columns": {**EVENTS, "x": {"type": "float64", "available_at": "known"}},
    },
    "examples": {"columns": EXAMPLES},
}


def usable(text: str, time: bool) -> str:
    """Return a feature made of an aggregate; times are no features as they are."""
    return f"cast({text}, 'int64')" if time else text


def planned(spec: Spec) -> Plan:
    """Return the plan of a spec whose columns are all declared."""
    types = {
        name: {key: column.type for key, column in source.columns.items() if column.type}
        for name, source in spec.sources.items()
    }
    return make_plan(resolve(spec, types[spec.examples.source], types), saved_model=False)


def run_sql(made: Sequence[Statement], tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Run statements one after another, with the checks that a job makes, and return the last."""
    known = dict(tables)
    found = pl.DataFrame()
    for statement in made:
        read = {name: frame for name, frame in known.items() if f"`{name}`" in statement.sql}
        parameters = {
            name: (value, parse_type(kind.lower()))
            for name, (kind, value) in statement.parameters.items()
        }
        found = evaluate(statement.sql, read, parameters)
        if statement.rows_of is not None:
            assert found.height == known[statement.rows_of].height, statement.name
        if statement.keys:
            assert not found.select(statement.keys).is_duplicated().any(), statement.name
        known[f"project.staging.{statement.destination}"] = found
    return found


TABLES = {name: f"project.data.{name}" for name in ("events", "examples", "planes", "known_planes")}


def on_bigquery(
    plan: Plan, frames: Mapping[str, pl.DataFrame], **options: Any
) -> dict[AggregateNode, list[Any]]:
    """Return the values of all aggregates of a plan, a row for each example."""
    made = statements(plan, TABLES, "project.staging", **options)
    found = run_sql(made, {TABLES[name]: frame for name, frame in frames.items()})
    keys = list(plan.resolved.keys)
    main = plan.resolved.spec.examples.source
    order = frames[main].select(keys).with_row_index("~")
    found = order.join(found, on=keys, how="left", nulls_equal=True, maintain_order="left")
    names, _ = column_names(plan.resolved.aggregates, keys)
    return {node: [cell(value, node.type) for value in found[name]] for node, name in names.items()}


def cell(value: Any, of: Type) -> Any:
    """Return a value that BigQuery returned as the embedded engine has it."""
    if of.width is not None:
        listed = [] if value is None else list(value)
        return listed + [None] * (of.width - len(listed)) if listed else None
    return (value - EPOCH) // MICROSECOND if isinstance(value, datetime) else value


def on_polars(
    plan: Plan,
    frames: Mapping[str, pl.DataFrame],
    folder: Path,
    undecided: dict[str, int] | None = None,
) -> dict[AggregateNode, list[Any]]:
    """Return the same from the embedded engine."""
    tables = {
        name: Table(name, frame.lazy(), dict(frame.schema), {}) for name, frame in frames.items()
    }
    spec = plan.resolved.spec
    nodes = plan.resolved.aggregates
    main = tables[spec.examples.source]
    found = compute(nodes, spec, main, tables, folder, undecided=undecided).collect()
    return {node: found[node.text].to_physical().to_list() for node in nodes}


class Loops:
    """Computes the aggregates of a plan with `tests.oracle`."""

    def __init__(self, plan: Plan, frames: Mapping[str, pl.DataFrame]) -> None:
        self.main = plan.resolved.spec.examples.source
        self.frames = frames
        self.columns: dict[tuple[str, Node], list[Any]] = {}

    def column(self, source: str, node: Node) -> list[Any]:
        """Return the values of a row expression over a source whose NaN are missing."""
        if (source, node) not in self.columns:
            frame = self.frames[source].with_columns(pl.selectors.float().fill_nan(None))
            made = lower(frame.lazy(), {"~": node}, {}).select("~").collect()["~"]
            self.columns[source, node] = made.to_physical().to_list()
        return self.columns[source, node]

    def rows(self, source: str, **nodes: Node) -> list[dict[str, Any]]:
        """Return the rows of a source with the values of row expressions by name."""
        columns = {name: self.column(source, node) for name, node in nodes.items()}
        return [
            {name: values[place] for name, values in columns.items()}
            for place in range(self.frames[source].height)
        ]

    def values(self, node: AggregateNode) -> list[Any]:
        """Return an aggregate's values, a row for each example."""
        aggregate, history = node.aggregate, node.aggregate.history
        keys = {f"key{place}": key for place, key in enumerate(history.keys)}
        times = {f"time{place}": time for place, time in enumerate(history.effect)}
        asked = dict(zip(keys, node.keys, strict=True))
        value = dict(zip(["value"], aggregate.values, strict=False))
        where = {} if aggregate.where is None else {"where": aggregate.where}
        event = {} if history.event_time is None else {"event": history.event_time}
        at = {} if node.at is None else {"at": node.at}
        if history.row:
            return [row.values[history.row.index(aggregate.values[0])] if row else None
                    for row in self.taken(node)]  # fmt: skip
        operation = aggregate.operation
        name = "last" if isinstance(operation, Latest) else operation.name()
        return oracle.expected(
            name,
            self.rows(history.source, **keys, **times, **value, **where, **event),
            self.rows(self.main, **asked, **at),
            *(getattr(operation, entry.name) for entry in fields(operation)),
            keys={key: key for key in keys},
            # What has no time is always known.
            at=lambda row: row["at"] if at else 0,
            effect=lambda row: oracle.latest([row[time] for time in times]) if times else -1,
            event_time=lambda row: row["event"] if event else 0,
            value=(lambda row: row["value"]) if value else None,
            where=(lambda row: row["where"]) if where else None,
            start=aggregate.window.start,
            end=aggregate.window.end,
            skips_null=operation.skips_null,
        )

    def taken(self, node: AggregateNode) -> list[oracle.Taken | None]:
        """Return the row that a lookup over time takes for each example."""
        history = node.aggregate.history
        assert history.event_time is not None
        assert node.at is not None
        keys = {f"key{place}": key for place, key in enumerate(history.keys)}
        times = {f"time{place}": time for place, time in enumerate(history.effect)}
        order = {f"order{place}": entry for place, entry in enumerate(history.order_by)}
        values = {f"value{place}": entry for place, entry in enumerate(history.row)}
        read = {**keys, **times, **order, **values, "event": history.event_time}
        rows = self.rows(history.source, **read)
        asked = self.rows(self.main, **dict(zip(keys, node.keys, strict=True)), at=node.at)
        return [
            oracle.taken(
                rows, example, keys={key: key for key in keys}, at=lambda row: row["at"],
                effect=lambda row: oracle.latest([row[time] for time in times]),
                event_time=lambda row: row["event"],
                order_by=[lambda row, name=name: row[name] for name in order],  # type: ignore[misc]
                values=[lambda row, name=name: row[name] for name in values],  # type: ignore[misc]
            )
            for example in asked
        ]  # fmt: skip


def close(mine: Any, other: Any, tolerance: float) -> bool:
    """Whether two cells are equal, floats within a tolerance that is relative beyond 1."""
    if isinstance(mine, list) and isinstance(other, list):
        return len(mine) == len(other) and all(map(close, mine, other, [tolerance] * len(mine)))
    if isinstance(mine, float) and isinstance(other, float):
        if math.isnan(mine) or math.isnan(other):
            return math.isnan(mine) and math.isnan(other)
        return mine == other or abs(mine - other) <= tolerance * max(1.0, abs(other))
    return type(mine) is type(other) and bool(mine == other)


def differences(
    plan: Plan, frames: Mapping[str, pl.DataFrame], folder: Path, **options: Any
) -> list[str]:
    """Return the cells in which BigQuery and one of the references differ."""
    got = on_bigquery(plan, frames, **options)
    embedded = on_polars(plan, frames, folder)
    loops = Loops(plan, frames)
    wrong = []
    for node in plan.resolved.aggregates:
        cells = zip(got[node], loops.values(node), embedded[node], strict=True)
        for row, (mine, naive, own) in enumerate(cells):
            if not close(mine, naive, 1e-11):
                wrong.append(f"{node.text} row {row}: BigQuery {mine!r}, the loop {naive!r}")
            # The embedded engine has rounded to float32.
            if not close(mine, own, 1e-6):
                wrong.append(f"{node.text} row {row}: BigQuery {mine!r}, Polars {own!r}")
    return wrong


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("by", KEYS)
def test_every_aggregation_is_the_same_in_bigquery(by: str, where: str, tmp_path: Path) -> None:
    turn = 3 * list(KEYS).index(by) + FILTERS.index(where)
    frames = {"events": rows_of_events(turn, 40), "examples": rows_of_examples(turn, 16)}
    wrong = differences(planned(spec_of(by, where, turn)), frames, tmp_path)
    assert not wrong, "\n".join(wrong[:20])


def test_every_aggregation_has_bigquery_sql_or_a_reason() -> None:
    for name, operation in aggregations().items():
        written = operation.bigquery is not AggregateOperation.bigquery  # type: ignore[attr-defined]
        refused = operation.bigquery_refused  # type: ignore[attr-defined]
        assert written != bool(refused), f"{name} has neither SQL nor a reason, or both"
        if written:
            assert name in oracle.SUMMARIES, f"{name} is not compared here"
            assert calls(name), f"{name} takes none of the columns here"


def rows_of_planes(seed: int) -> pl.DataFrame:
    """Return one row for each place, and several that have none."""
    chance = random.Random(seed)
    rows = [
        {
            "home": home,
            "since": chance.choice([START, START + DAY, START + 40 * DAY, None]),
            "seats": chance.choice([2**60 + 1, 3, None]),
            "name": chance.choice(["Å", "", None]),
            "ratio": chance.choice([0.5, math.nan, None, 2.25, -1.0]),
        }
        for home in (1, 12, 2**60 + 1, 77, None, None)
    ]
    types = {"home": "int64", "since": "timestamp", "seats": "int64", "name": "string",
             "ratio": "float64"}  # fmt: skip
    return pl.DataFrame(rows, schema={k: polars_dtype(parse_type(v)) for k, v in types.items()})


def lookup_spec() -> Spec:
    """Return a spec of lookups: without time, known from a time on, and in effect at a time."""
    planes = {"home": "int64", "seats": "int64", "name": "string", "ratio": "float64"}
    taken = {"seats": "seats", "name": "name", "half": "ratio / 2", "logarithm": "log(ratio)"}
    state = ["n", "s", "b", "x"]
    return Spec.from_dict({
        "sources": {
            **SOURCES,
            "planes": {"columns": planes},
            "known_planes": {
                "available_at": "since",
                "columns": {**planes, "since": {"type": "timestamp", "available": True}},
            },
        },
        "examples": {"source": "examples", "keys": ["id"], "predict_at": "now"},
        "lookups": {
            "plane": {"source": "planes", "by": {"place": "home"}, "features": taken},
            "known": {"source": "known_planes", "by": {"place": "home"}, "features": taken},
            "state": {
                "source": "events", "by": {"place": "place", "area": "zone"}, "features": state,
            },
        },
        "features": {
            **{f"plane_{name}": f"plane.{name}" for name in taken},
            **{f"known_{name}": f"known.{name}" for name in taken},
            **{f"state_{name}": f"state.{name}" for name in state},
        },
    })  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_lookup_is_the_same_in_bigquery(seed: int, tmp_path: Path) -> None:
    planes = rows_of_planes(seed)
    frames = {
        "events": rows_of_events(seed, 60), "examples": rows_of_examples(seed, 40),
        "planes": planes.drop("since"), "known_planes": planes,
    }  # fmt: skip
    wrong = differences(planned(lookup_spec()), frames, tmp_path)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("seed", range(8))
def test_a_lookup_takes_one_row_whole_in_bigquery_and_counts_ties_alike(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    features = {
        name: {"x": "x / 2"}.get(column, column)
        for name, column in zip(chance.sample("abcdef", 3), chance.sample(list(VALUES), 3),
                                strict=True)
    }  # fmt: skip
    order_by = chance.sample(["zone", "m", "x", "b"], chance.choice([0, 1, 2]))
    one = {"source": "events", "by": "place", "features": features, "order_by": order_by}
    spec = Spec.from_dict({
        "sources": SOURCES,
        "examples": {"source": "examples", "keys": ["id"], "predict_at": "now"},
        "lookups": {"one": one},
        "features": {
            name: usable(f"one.{name}", text in "md") for name, text in features.items()
        },
    })  # fmt: skip
    frames = {"events": rows_of_events(seed, 90), "examples": rows_of_examples(seed, 40)}
    plan = planned(spec)
    wrong = differences(plan, frames, tmp_path)
    assert not wrong, "\n".join(wrong[:20])
    node = plan.resolved.aggregates[0]
    ties = sum(row.undecided for row in Loops(plan, frames).taken(node) if row is not None)
    made = statements(plan, TABLES, "project.staging")
    found = run_sql(made, {TABLES[name]: frame for name, frame in frames.items()})
    assert found["one__undecided"].sum() == ties
    undecided: dict[str, int] = {}
    on_polars(plan, frames, tmp_path, undecided)
    assert undecided.get("one", 0) == ties


def test_what_a_lookup_finds_is_checked_to_be_one_row_for_each_key() -> None:
    made = statements(planned(lookup_spec()), TABLES, "project.staging")
    found = {statement.name: statement.keys for statement in made}
    assert found["rows of planes by home"] == ("home",)
    assert found["rows of known_planes by home"] == ("home",)
    assert found["windows of events by place, zone"] == ("row_id",)


def small_spec(**changes: Any) -> Spec:
    """Return a spec of a few aggregations of several shapes."""
    features = {
        "number": "count()", "mean": "mean(x)", "last": "last(x)", "kinds": "count_distinct(s)",
        "middle": "median(n)", "series": "last_k(n, k=3)", "age": "time_since_last(x)",
    }  # fmt: skip
    plain = {
        "sources": SOURCES,
        "examples": {"source": "examples", "keys": ["id"], "predict_at": "now - 1h"},
        "aggregations": {
            "tail": {"source": "events", "by": "place", "windows": WINDOWS, "features": features},
            "recent": {"source": "events", "by": "place", "windows": ["1d"], "features": features},
        },
        **changes,
    }
    used = [
        f"{name}.{feature}_{window.replace('..', '_to_')}"
        for name, aggregation in plain["aggregations"].items()
        for feature in aggregation["features"]
        for window in aggregation["windows"]
    ]
    return Spec.from_dict({**plain, "features": {f"f{i}": text for i, text in enumerate(used)}})


def test_a_row_of_the_examples_own_source_does_not_count_itself(tmp_path: Path) -> None:
    spec = small_spec(examples={"source": "events", "keys": ["event", "t"], "predict_at": "t"})
    events = rows_of_events(5, 70).unique("event", maintain_order=True)
    wrong = differences(planned(spec), {"events": events}, tmp_path)
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("computed", [True, False])
def test_numbered_examples_are_answered_by_number(computed: bool) -> None:
    plan = planned(small_spec())
    frames = {"events": rows_of_events(7, 50), "examples": rows_of_examples(7, 30)}
    wanted = on_bigquery(plan, frames)
    examples = frames["examples"].sample(fraction=1.0, shuffle=True, seed=1).with_row_index("no")
    asked = {node: f"c{place}" for place, node in enumerate(plan.resolved.aggregates[0].asked)}
    if computed:
        examples = lower(
            examples.lazy(), {name: node for node, name in asked.items()}, {}
        ).collect()
    spine = Spine("project.staging.spine", "no", asked if computed else None)
    made = statements(plan, TABLES, "project.staging", spine=spine)
    found = run_sql(made, {spine.table: examples, TABLES["events"]: frames["events"]})
    assert found["row_id"].n_unique() == examples.height
    names, _ = column_names(plan.resolved.aggregates)
    found = examples.select("id", "no").join(found, left_on="no", right_on="row_id")
    found = frames["examples"].select("id").join(found, on="id", maintain_order="left")
    for node, name in names.items():
        got = [cell(value, node.type) for value in found[name]]
        assert all(map(close, got, wanted[node], [1e-11] * len(got))), node.text


def test_partitions_that_no_window_reaches_are_not_read_and_change_nothing() -> None:
    functions = {"number": "count()", "mean": "mean(x)", "kinds": "count_distinct(s)"}
    recent = {
        "source": "events", "by": "place", "windows": ["1d", "4d..1d"], "features": functions,
    }  # fmt: skip
    plan = planned(small_spec(aggregations={"tail": recent}))
    events, examples = rows_of_events(8, 80), rows_of_examples(8, 40)
    near = examples.filter(pl.col("now").is_between(START + 4 * DAY, START + 5 * DAY))
    between = (START + 4 * DAY - timedelta(hours=1), START + 5 * DAY - timedelta(hours=1))
    frames = {"events": events, "examples": near}
    pruned = statements(plan, TABLES, "project.staging", between=between)
    assert any("`t` >= CAST('2024-02-29 23:00:00+00:00' AS TIMESTAMP)" in s.sql for s in pruned)
    assert any("`t` < CAST('2024-03-05 23:00:00+00:00' AS TIMESTAMP)" in s.sql for s in pruned)
    whole, part = on_bigquery(plan, frames), on_bigquery(plan, frames, between=between)
    assert whole == part
    assert any(value for values in whole.values() for value in values)


def test_no_later_event_changes_a_value() -> None:
    plan = planned(small_spec())
    events, examples = rows_of_events(9, 60), rows_of_examples(9, 40)
    limit = START + 4 * DAY
    early = examples.filter(pl.col("now") - timedelta(hours=1) <= limit)
    later = (pl.col("t") >= limit) | (pl.col("known") >= limit)
    poisoned = events.with_columns(
        pl.when(later).then(pl.lit(1e300)).otherwise("x").alias("x"),
        pl.when(pl.col("t") >= limit).then(pl.lit("poison")).otherwise("s").alias("s"),
        pl.when(pl.col("t") >= limit).then(pl.lit(-(2**62))).otherwise("n").alias("n"),
    )
    cut = events.filter(pl.col("t") < limit)
    first, second, third = (
        on_bigquery(plan, {"events": some, "examples": early}) for some in (events, poisoned, cut)
    )
    assert repr(first) == repr(second) == repr(third)


def test_moments_of_values_near_1e9_are_as_good_as_near_0() -> None:
    functions = ("variance", "stddev", "skewness", "kurtosis")
    features = {name: f"{name}(x)" for name in functions}
    every = {"source": "events", "windows": ["lifetime", "2d"], "features": features}
    plan = planned(small_spec(aggregations={"tail": every}))
    events, examples = rows_of_events(10, 40), rows_of_examples(10, 12)
    small = pl.Series("x", [(place * 7 % 11) / 4 for place in range(events.height)])
    base = on_bigquery(plan, {"events": events.with_columns(small), "examples": examples})
    far = on_bigquery(plan, {"events": events.with_columns(small + 1e9), "examples": examples})
    for node, values in base.items():
        assert all(map(close, far[node], values, [1e-6] * len(values))), node.text
