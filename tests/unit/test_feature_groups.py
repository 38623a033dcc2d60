"""Groups of features by source, column, aggregation and declaration."""

from __future__ import annotations

import pytest

import featurekit as fk
from featurekit.errors import SpecErrors
from featurekit.feature_groups import FAMILIES, groups_of
from featurekit.resolve import resolve
from featurekit.resolved import Resolved
from featurekit.spec.objects import Spec
from featurekit.spec.yaml import parse_spec
from featurekit.types import FLOAT32, INT64, STRING, TIMESTAMP

SPEC = """\
name: orders
sources:
  prices: {path: prices.parquet, columns: {cents: {column: "in cents", available: true}}}
  orders:
    path: orders.parquet
    event_time: at
    columns:
      at: {type: timestamp, column: ordered}
      net: {expr: gross / 2}
      late: {available_at: at + 1d}
  visits: {path: visits.parquet, event_time: at, columns: {at: {expr: since + 1h}}}
examples: {source: orders, keys: [id], predict_at: at, label: late}
aggregations:
  seen: {source: visits, by: {who: visitor}, windows: [1d], where: k > 1, features: {n: count()}}
  same: {source: visits, by: {who: visitor}, windows: [1d], where: k > 1, features: {m: count()}}
  unused: {source: visits, windows: [1d], features: {longest: max(stay)}}
lookups:
  price: {source: prices, by: item, features: [cents]}
features:
  plain: gross
  half: {expr: net, group: money}
  through: {expr: half + 1, group: [money, sums]}
  visits_seen: {expr: seen.n_1d, group: past}
  visits_same: same.m_1d
  cents: price.cents
  both: through + cents
  mean: target_mean(item)
"""


def made(text: str = SPEC) -> Resolved:
    orders = {"at": TIMESTAMP, "gross": FLOAT32, "id": INT64, "late": INT64, "who": STRING,
              "item": STRING}  # fmt: skip
    visits = {"since": TIMESTAMP, "visitor": STRING, "k": INT64, "stay": FLOAT32}
    others = {"visits": visits, "prices": {"item": STRING, "cents": FLOAT32}}
    return resolve(parse_spec(text), orders, others, settle=lambda *_: (0, 1), refuse_leaks=False)


def test_families_come_in_one_order_and_hold_all_groups() -> None:
    everything = tuple(made().features)
    past = ("visits_seen", "visits_same")
    item = ("cents", "both", "mean")
    asked = ("visits_seen", "visits_same")
    found = groups_of(made())
    assert tuple(found) == FAMILIES == ("source", "column", "aggregation", "declared")
    assert found == {
        "source": {"prices": ("cents", "both"), "orders": everything, "visits": past},
        "column": {
            "prices.item": ("cents", "both"),
            "prices.in cents": ("cents", "both"),
            "orders.gross": ("plain", "half", "through", "both"),
            "orders.ordered": (*asked, "mean"),
            "orders.who": asked,
            "orders.item": item,
            "orders.late": ("mean",),
            "visits.visitor": past,
            "visits.since": past,
            "visits.k": past,
        },
        "aggregation": {
            "seen": ("visits_seen",), "same": ("visits_same",), "price": ("cents", "both"),
        },
        "declared": {
            "money": ("half", "through"), "sums": ("through",), "past": ("visits_seen",),
        },
    }  # fmt: skip


def test_sources_and_aggregations_are_in_the_order_of_the_spec() -> None:
    found = groups_of(made())
    assert list(found["source"]) == ["prices", "orders", "visits"]
    assert list(found["aggregation"]) == ["seen", "same", "price"]
    assert list(found["declared"]) == ["money", "sums", "past"]
    sources = [column.partition(".")[0] for column in found["column"]]
    assert sources == sorted(sources, key=["prices", "orders", "visits"].index)


def test_two_aggregations_that_compute_the_same_are_two_groups() -> None:
    resolved = made()
    assert resolved.features["visits_seen"] == resolved.features["visits_same"]
    assert groups_of(resolved)["aggregation"]["same"] == ("visits_same",)


def test_a_spec_without_groups_has_empty_families() -> None:
    text = "sources: {r: {path: r.csv}}\nexamples: {source: r}\nfeatures: {a: x, b: x + y}\n"
    found = groups_of(resolve(parse_spec(text), {"x": FLOAT32, "y": FLOAT32}))
    assert found == {
        "source": {"r": ("a", "b")}, "column": {"r.x": ("a", "b"), "r.y": ("b",)},
        "aggregation": {}, "declared": {},
    }  # fmt: skip


def test_one_group_and_several_are_written_as_they_are_read() -> None:
    spec = parse_spec(SPEC)
    assert spec.features["half"].group == ("money",)
    assert spec.features["through"].group == ("money", "sums")
    plain = spec.to_dict()["features"]
    assert plain["half"] == {"expr": "net", "group": "money"}
    assert plain["through"]["group"] == ["money", "sums"]
    assert plain["plain"] == "gross"
    for again in (parse_spec(spec.to_yaml()), Spec.from_dict(spec.to_dict())):
        assert again == spec
        assert again.fingerprint == spec.fingerprint
    names: dict[str, Spec] = {}
    exec(spec.to_python(), names)
    assert names["spec"] == spec
    assert fk.Feature("x", group="money") == fk.Feature("x", group=["money"])


def test_groups_change_nothing_that_is_computed() -> None:
    bare = SPEC.replace(", group: money", "").replace(", group: [money, sums]", "")
    bare = bare.replace(", group: past", "")
    assert "group" not in bare
    assert parse_spec(bare).fingerprint != parse_spec(SPEC).fingerprint
    assert made(bare).features == made().features


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("[a, a]", "'a' stands twice"),
        ("3", "a list of texts is needed, got 3"),
        ('""', "a name is needed, got an empty text"),
        ("{a: b}", "a list of texts is needed"),
    ],
)
def test_a_group_that_is_no_name_is_refused_with_its_place(group: str, message: str) -> None:
    with pytest.raises(SpecErrors, match=r"spec:21: feature .half.: group") as raised:
        parse_spec(SPEC.replace("group: money", f"group: {group}"))
    assert message in str(raised.value)
