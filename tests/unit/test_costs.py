"""What features cost: sources, columns, bytes and seconds, from the manifest and the plan alone."""

from __future__ import annotations

import gzip
import json
import shutil
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

import featurekit as fk
from featurekit.costs import COSTS, Cost, CostRecorder, Saving, costs_of, saved_by
from featurekit.engines.timing import Stopwatch
from featurekit.errors import UsageError
from featurekit.graph import ColumnNode, Node
from featurekit.opening import open_sources
from featurekit.types import INT64

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 3_000

SPEC = """\
name: costs
sources:
  orders:
    path: orders-*.parquet
    event_time: at
    columns:
      at: {type: timestamp, column: ordered at}
      late: {type: int64, available_at: at + 1d}
      net: {expr: gross / 2}
  visits: {path: visits.parquet, event_time: since}
  items: {path: items.csv, columns: {item: string, price: {type: float32, available: true}}}
  shops: {path: shops.csv, columns: {shop: string, size: {type: float32, available: true}}}
examples:
  source: orders
  keys: [id]
  predict_at: at
  label: late > 0
  split: {hash: part, test: 0.2}
aggregations:
  seen: {source: visits, by: {who: visitor}, windows: [1d, 9d], features: {n: count(), pages: mean(pages)}}
  own: {source: orders, by: who, windows: [9d], features: {late: mean(late)}}
lookups:
  item: {source: items, by: item, features: [price, weight]}
  shop: {source: shops, by: shop, features: [size]}
features:
  gross_z: zscore(gross)
  net_z: {expr: zscore(net), group: money}
  tax: log1p(vat)
  share: tax / gross
  visits_1d: seen.n_1d
  visits_9d: zscore(seen.n_9d)
  pages: zscore(fill(seen.pages_9d, 0))
  own_late: fill(own.late_9d, 0)
  price: item.price
  weight: log1p(item.weight) + price
  size: shop.size
  who_mean: target_mean(who)
"""  # noqa: E501


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Orders in two Parquet files of several row groups, visits in one, items and shops as CSV."""
    made = tmp_path_factory.mktemp("data")
    rows = pl.int_range(ROWS, eager=True)
    orders = pl.DataFrame({
        "id": rows, "ordered at": START + rows.cast(pl.Duration("us")) * 60_000_000,
        "gross": (rows * 7 % 1_000).cast(pl.Float64), "vat": (rows % 19).cast(pl.Float32),
        "late": rows % 3, "who": (rows % 40).cast(pl.String), "part": rows % 50,
        "item": (rows % 9).cast(pl.String), "shop": (rows % 4).cast(pl.String), "unread": rows,
    })  # fmt: skip
    orders[:1_000].write_parquet(made / "orders-0.parquet", row_group_size=300)
    orders[1_000:].write_parquet(made / "orders-1.parquet", compression="snappy")
    visits = pl.DataFrame({
        "visitor": (rows % 40).cast(pl.String), "pages": rows % 11,
        "since": START + (rows - 1_000).cast(pl.Duration("us")) * 60_000_000, "unread": rows,
    })  # fmt: skip
    visits.write_parquet(made / "visits.parquet")
    names = [str(number) for number in range(9)]
    pl.DataFrame({"item": names, "price": range(9), "weight": [0.5] * 9}).write_csv(
        made / "items.csv"
    )
    pl.DataFrame({"shop": names[:4], "size": range(4)}).write_csv(made / "shops.csv")
    (made / "spec.yaml").write_text(SPEC)
    return made


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> fk.Run:
    """The run of the spec, opened when its data is gone."""
    out = tmp_path_factory.mktemp("run") / "out"
    data = out.parent / "data"
    shutil.copytree(folder, data)
    fk.run(data / "spec.yaml", out, tensorflow=False)
    shutil.rmtree(data)
    return fk.open_run(out)


def stored(folder: Path, *columns: str) -> int:
    """Return the compressed bytes of columns, as Arrow tells them."""
    total = 0
    for column in columns:
        source, _, name = column.partition(".")
        for path in folder.glob(f"{source}*.parquet"):
            file = pq.ParquetFile(path)
            place = file.schema_arrow.names.index(name)
            for group in range(file.num_row_groups):
                total += file.metadata.row_group(group).column(place).total_compressed_size
    assert total
    return total


def test_bytes_are_those_of_the_column_chunks(run: fk.Run, folder: Path) -> None:
    costs = costs_of(run)
    assert list(costs) == list(run.features)
    gross, vat = stored(folder, "orders.gross"), stored(folder, "orders.vat")
    for name in ("gross_z", "net_z"):
        assert (costs[name].columns, costs[name].bytes) == (("orders.gross",), gross)
        assert costs[name].own_bytes == 0
    assert (costs["tax"].bytes, costs["tax"].own_bytes) == (vat, 0)
    assert set(costs["share"].columns) == {"orders.vat", "orders.gross"}
    assert costs["share"].bytes == vat + gross
    assert all("unread" not in column for cost in costs.values() for column in cost.columns)


def test_aggregations_read_keys_times_and_values(run: fk.Run, folder: Path) -> None:
    costs = costs_of(run)
    asked = ("orders.ordered at", "orders.who")
    past = ("visits.visitor", "visits.since")
    for name in ("visits_1d", "visits_9d"):
        assert costs[name].sources == ("orders", "visits")
        assert set(costs[name].columns) == {*asked, *past}
        assert costs[name].bytes == stored(folder, *asked, *past)
        assert costs[name].own_bytes == 0
    assert set(costs["pages"].columns) == {*asked, *past, "visits.pages"}
    assert costs["pages"].own_bytes == stored(folder, "visits.pages")
    assert set(costs["own_late"].columns) == {*asked, "orders.late"}
    # The label reads it, too.
    assert costs["own_late"].own_bytes == 0


def test_a_feature_that_sees_the_label_reads_what_makes_it_and_its_folds(run: fk.Run) -> None:
    cost = costs_of(run)["who_mean"]
    assert set(cost.columns) == {"orders.who", "orders.late", "orders.ordered at"}
    assert cost.own_bytes == 0


def test_of_a_csv_file_columns_have_no_bytes_but_the_file_has(run: fk.Run, folder: Path) -> None:
    costs = costs_of(run)
    assert costs["price"].sources == ("orders", "items")
    assert set(costs["price"].columns) == {"orders.item", "items.item", "items.price"}
    assert costs["price"].bytes is None
    # All that it reads, another one reads, too.
    assert costs["price"].own_bytes == 0
    assert costs["weight"].bytes is None
    # The file stays, since another feature needs it.
    assert costs["weight"].own_bytes is None
    file = (folder / "shops.csv").stat().st_size
    assert costs["size"].bytes is None
    assert costs["size"].own_bytes == stored(folder, "orders.shop") + file


def test_what_several_features_save_together_is_more_than_they_save_alone(
    run: fk.Run, folder: Path
) -> None:
    costs = costs_of(run)
    saved = saved_by(run, ["visits_1d", "visits_9d", "pages"])
    assert saved.sources == ("visits",)
    columns = ("visits.visitor", "visits.since", "visits.pages")
    assert set(saved.columns) == set(columns)
    assert saved.bytes == stored(folder, *columns)
    alone = [saved_by(run, [name]) for name in ("visits_1d", "visits_9d", "pages")]
    assert [entry.sources for entry in alone] == [(), (), ()]
    assert saved.seconds is not None
    assert saved.seconds > sum(entry.seconds or 0.0 for entry in alone)
    # Nobody else looks these up, so that what they share is saved with them.
    shares = [costs[name].seconds or 0.0 for name in ("visits_1d", "visits_9d", "pages")]
    assert saved.seconds <= sum(shares) + 1e-9
    csv = saved_by(run, ["price", "weight"])
    file = (folder / "items.csv").stat().st_size
    assert csv == Saving(("items",), csv.columns, stored(folder, "orders.item") + file, csv.seconds)
    assert saved_by(run, run.features).sources == ("visits", "items", "shops")
    with pytest.raises(UsageError, match="there is no feature 'visits'"):
        saved_by(run, ["visits"])


def test_seconds_are_those_of_the_manifest_shared_equally(run: fk.Run) -> None:
    costs, noted = costs_of(run), run.manifest[COSTS]["seconds"]
    groups = [tuple(entry["features"]) for entry in noted]
    assert len(groups) == len(set(groups))
    assert all(entry["seconds"] > 0 for entry in noted)
    total = sum(entry["seconds"] for entry in noted)
    assert sum(cost.seconds or 0.0 for cost in costs.values()) == pytest.approx(total)
    assert ("visits_1d", "visits_9d", "pages") in groups
    assert ("tax", "share") in groups
    for name in ("visits_1d", "own_late", "price", "size"):
        assert (costs[name].seconds or 0.0) > 0
    past = sum(costs[name].seconds or 0.0 for name in ("visits_1d", "visits_9d", "pages"))
    whole = run.manifest["seconds"]
    # Work on several threads may add up to more than has passed.
    most = (whole["aggregate"] + whole["time_features"]) * pl.thread_pool_size() * 1e6 / ROWS
    assert 0 < past < total < 2 * most


def test_costs_are_plain_data(run: fk.Run) -> None:
    plain = {name: cost.to_dict() for name, cost in costs_of(run).items()}
    assert json.loads(json.dumps(plain)) == plain
    assert list(plain["price"]) == ["sources", "columns", "bytes", "own_bytes", "seconds"]
    saved = saved_by(run, ["price"]).to_dict()
    assert json.loads(json.dumps(saved)) == saved


def test_a_run_that_noted_nothing_still_tells_sources_and_columns(run: fk.Run) -> None:
    older = {key: value for key, value in run.manifest.items() if key != COSTS}
    found = costs_of(fk.Run(run.path, older))
    for name, cost in costs_of(run).items():
        own = None if saved_by(run, [name]).columns else 0
        assert found[name] == Cost(cost.sources, cost.columns, None, own, None)
    assert saved_by(fk.Run(run.path, older), ["pages"]) == Saving((), ("visits.pages",), None, None)


def test_without_timed_rows_there_are_bytes_and_no_seconds(run: fk.Run, folder: Path) -> None:
    # So it is on Beam; tests/integration/test_beam.py sees it there.
    recorder = CostRecorder(*open_sources(folder / "spec.yaml"))
    noted = recorder.to_dict()
    assert noted == {"sources": run.manifest[COSTS]["sources"], "seconds": None}
    found = costs_of(fk.Run(run.path, {**run.manifest, COSTS: noted}))
    for name, cost in costs_of(run).items():
        assert found[name] == Cost(cost.sources, cost.columns, cost.bytes, cost.own_bytes, None)


def test_a_file_that_cannot_be_read_any_more_has_no_bytes(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    resolved, tables = open_sources(data / "spec.yaml")
    (data / "orders-1.parquet").write_bytes(b"PAR1 and no more")
    (data / "visits.parquet").unlink()
    noted = CostRecorder(resolved, tables).to_dict()["sources"]
    assert noted["visits"] == {"bytes": None, "columns": None}
    assert noted["orders"]["bytes"] == 16 + (data / "orders-0.parquet").stat().st_size
    assert noted["orders"]["columns"] is None


def test_tables_in_memory_have_no_bytes(tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": [1.0, 2.0, 4.0], "unread": [1, 2, 3]})
    spec = fk.Spec(
        {"rows": fk.Source(data=rows)}, {"source": "rows"}, {"z": "zscore(x)", "x_is": "x"}
    )
    made = fk.run(spec, tmp_path / "run", tensorflow=False)
    assert made.manifest[COSTS]["sources"] == {"rows": {"bytes": None, "columns": None}}
    cost = costs_of(made)["z"]
    assert (cost.columns, cost.bytes, cost.own_bytes) == (("rows.x",), None, 0)
    assert (cost.seconds or 0.0) > 0
    # A column that is handed on as it is takes no time.
    assert costs_of(made)["x_is"].seconds == 0


def test_compressed_csv_counts_as_it_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n1,2\n3,4\n"))
    spec = fk.Spec(
        {"rows": fk.Source(path=path, format="csv")}, {"source": "rows"}, {"z": "zscore(x)"}
    )
    made = fk.run(spec, tmp_path / "run", tensorflow=False)
    noted = {"rows": {"bytes": path.stat().st_size, "columns": None}}
    assert made.manifest[COSTS]["sources"] == noted


class Clock:
    """A clock that tests move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def node(name: str) -> Node:
    return ColumnNode.of(name, INT64)


def test_a_stopwatch_counts_each_moment_to_the_innermost_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, watch = Clock(), Stopwatch()
    monkeypatch.setattr(time, "perf_counter", clock)
    a, b, c = node("a"), node("b"), node("c")

    def spend(nodes: Iterable[Node], *inside: Any) -> None:
        with watch.of(nodes):
            clock.now += 1
            for more in inside:
                spend(*more)
            clock.now += 0.5

    spend([a, b], ([a], ([c],)), ([b],))
    spend([b, a])
    assert watch.spent == {
        frozenset({a, b}): 3.0, frozenset({a}): 1.5, frozenset({b}): 1.5, frozenset({c}): 1.5,
    }  # fmt: skip

    def fail() -> None:
        with watch.of([c]):
            clock.now += 2
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert watch.spent[frozenset({c})] == 3.5


def test_threads_of_a_stopwatch_add_up() -> None:
    watch, both = Stopwatch(), threading.Barrier(2)

    def work() -> None:
        with watch.of([node("a")]):
            both.wait()
            with watch.of([node("b")]):
                both.wait()
                time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.spent[frozenset({node("b")})] >= 0.1
    assert 0 < watch.spent[frozenset({node("a")})] < watch.spent[frozenset({node("b")})]


def test_what_takes_longer_costs_more(tmp_path: Path) -> None:
    rows = pl.int_range(40_000, eager=True)
    pl.DataFrame({"x": rows.cast(pl.Float64), "s": rows.cast(pl.String)}).write_parquet(
        tmp_path / "rows.parquet"
    )
    spec = fk.Spec(
        {"rows": fk.Source(path=tmp_path / "rows.parquet")}, {"source": "rows"},
        {"plain": "x * x", "words": 'hash_bucket(regex_replace(s, "[0-3]+", "x"), buckets=9)'},
    )  # fmt: skip
    costs = costs_of(fk.run(spec, tmp_path / "run", tensorflow=False))
    assert (costs["words"].seconds or 0.0) > 3 * (costs["plain"].seconds or 0.0) > 0
