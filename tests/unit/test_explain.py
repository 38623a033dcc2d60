"""A plan in words and pictures: complete, legible, the same every time, and quick."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from featurekit.errors import SpecErrors
from featurekit.explain import WIDTH, as_dict, as_table
from featurekit.picture.flow import Flow, flow
from featurekit.picture.layout import MANY, Place, bands, lay_out
from featurekit.picture.mermaid import as_mermaid
from featurekit.picture.svg import as_svg
from featurekit.planner import Plan, make_plan
from featurekit.resolve import resolve
from featurekit.spec.objects import Spec
from featurekit.types import FLOAT32, STRING, TIMESTAMP, Type
from tests.growth import growth

ROOT = Path(__file__).resolve().parents[2]
TYPES = {
    "distance": FLOAT32, "temp": FLOAT32, "carrier": STRING, "dest": STRING, "time": TIMESTAMP,
}  # fmt: skip
FEATURES = {
    "distance_z": "zscore(log1p(distance))",
    "temp_z": "zscore(impute(temp, 'median')) * 2.0",
    "carrier_id": "vocabulary(carrier, top_k=50)",
    "route": "cross(carrier, dest, buckets=100)",
    "hour": "hour(time)",
    "distance": "distance",
}
SVG = "{http://www.w3.org/2000/svg}"


def planned(features: dict[str, str], types: dict[str, Type] = TYPES, name: str = "delays") -> Plan:
    data = {"sources": {"rows": {"path": "rows.parquet"}}, "examples": {"source": "rows"}}
    spec = Spec.from_dict({"name": name, **data, "features": features})
    return make_plan(resolve(spec, types))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned(FEATURES)


def mixed(count: int) -> Plan:
    """Return a plan of features of many kinds over 100 numbers and 40 texts."""
    return make_plan(resolve(*mixed_spec(count)))


def mixed_spec(count: int) -> tuple[Spec, dict[str, Type]]:
    features = {}
    for i in range(count):
        a, b, text = f"num_{i % 100}", f"num_{(i * 7 + i // 100 + 3) % 100}", f"text_{i * 3 % 40}"
        features[f"feature_{i}"] = (
            f"zscore(log1p({a} + {i}))", f"bucketize({a} + {b}, {5 + i % 9})", f"{a}",
            f"vocabulary({text}, top_k={10 + i}, oov_buckets=1)", f"zscore(impute({a}, 'mean'))",
            f"cross({text}, text_{(i + 7) % 40}, buckets=1000)", f"scale_to_0_1({a} * 2.5 - {b})",
            f"log1p({a}) / {b}", f"zscore(log1p({a}) + log1p({b})) * {i}.0",
        )[i % 9]  # fmt: skip
    data = {"sources": {"rows": {"path": "r.parquet"}}, "examples": {"source": "rows"}}
    types = {f"num_{i}": FLOAT32 for i in range(100)} | {f"text_{i}": STRING for i in range(40)}
    return Spec.from_dict({**data, "features": features}), types


def rows_of(table: str) -> list[str]:
    lines = table.splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("---"))
    return lines[rule + 1 :]


def test_the_table_reads_like_this() -> None:
    table = as_table(planned({name: FEATURES[name] for name in ("distance_z", "temp_z")}))
    assert f"{table}\n" == (ROOT / "tests/golden/plan.txt").read_text("utf-8")


def test_the_table_has_a_row_for_every_piece_of_every_feature(plan: Plan) -> None:
    rows = rows_of(as_table(plan))
    routes = Counter(step.route.value for steps in plan.steps.values() for step in steps)
    for route, count in routes.items():
        assert sum(route in row for row in rows) == count
    assert [row.split()[0] for row in rows if not row.startswith(" ")] == list(FEATURES)


def test_no_line_of_the_table_is_wider_than_a_terminal() -> None:
    deep = "log1p(" * 60 + "distance" + ")" * 60
    features = {"a" * 128: f"zscore({deep})", "plain": "distance"}
    columns = {f"a column with quite a long name {i}": FLOAT32 for i in range(40)}
    wide = {f"f{i}": f"col('{name}')" for i, name in enumerate(columns)}
    table = as_table(planned(features | wide, TYPES | columns))
    assert max(map(len, table.splitlines())) <= WIDTH
    first = next(line for line in table.splitlines() if line.startswith("---")).index(" ")
    assert "".join(row[:first].strip() for row in rows_of(table)).startswith("a" * 128 + "plain")


def test_a_feature_that_needs_no_statistics_leaves_one_pass_before_writing() -> None:
    table = as_table(planned({"route": FEATURES["route"]}))
    assert "2 over the data\n          1. count and check all rows\n          2. write" in table


def test_a_constant_fill_waits_for_no_pass() -> None:
    made = planned({"filled": "impute(temp, 'constant', value=0)", "z": "zscore(temp)"})
    assert [level[0].text for level in made.levels] == ["moments(temp)"]
    assert [step["after_pass"] for step in as_dict(made)["features"]["filled"]["steps"]] == [0]
    late = planned({"late": "zscore(impute(temp, 'constant', value=0))", "z": "zscore(temp)"})
    assert len(late.levels) == 1


def test_aggregates_are_explained_by_the_rows_that_they_look_at() -> None:
    spec = Spec.from_dict({
        "sources": {"trips": {"path": "trips.parquet", "event_time": "start"}},
        "examples": {"source": "trips", "predict_at": "start"},
        "aggregations": {"car": {
            "source": "trips", "by": "car", "windows": ["7d"], "features": {"far": "mean(km)"},
        }},
        "features": {"far_z": "zscore(car.far_7d)"},
    })  # fmt: skip
    made = make_plan(resolve(spec, {"start": TIMESTAMP, "car": STRING, "km": FLOAT32}))
    table = " ".join(as_table(made).split())
    assert "history trips by car: 1 aggregate" in table
    assert "BigQuery Polars mean past rows of trips by car" in table
    (told,) = as_dict(made)["aggregates"]
    assert told == {
        "output": "car.far_7d", "type": "float32", "function": "mean", "of": ["km"], "where": None,
        "source": "trips", "by": ["car"], "key": ["car"], "counts_from": ["start"], "window": "7d",
        "at": "start",
    }  # fmt: skip
    assert "BigQuery: summaries of past rows" in as_svg(made)


def test_the_data_is_what_json_reads_back(plan: Plan) -> None:
    data = as_dict(plan)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["inputs"] == {name: str(of) for name, of in plan.resolved.inputs().items()}
    assert [entry["pass"] for entry in data["passes"]] == [1, 2, 3]
    assert data["passes"][2] == {"pass": 3, "writes": "examples"}
    statistic = {"statistic": "quantiles", "of": "temp", "settings": {"parts": 2, "linear": True}}
    assert statistic in data["passes"][0]["statistics"]
    assert (
        data["features"]["temp_z"]["expression"] == "zscore(impute(temp, strategy='median')) * 2.0"
    )
    assert data["features"]["temp_z"]["steps"][-1] == {
        "route": "TensorFlow", "engine": "Polars", "after_pass": 2, "operations": ["multiply"],
        "reason": "sees one row",
    }  # fmt: skip


def test_every_process_draws_the_same_picture() -> None:
    code = """
from tests.unit.test_explain import *
import hashlib
made = mixed(90)
text = as_svg(made) + as_mermaid(made) + json.dumps(as_dict(made)) + as_table(made)
print(hashlib.sha256(text.encode()).hexdigest())
"""
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(seen) == 1


def test_the_time_of_planning_and_explaining_is_proportional_to_the_number_of_features() -> None:
    specs = {count: mixed_spec(count) for count in (250, 1000)}
    assert growth(lambda count: as_dict(make_plan(resolve(*specs[count]))), 250) < 2


def test_features_that_double_each_other_are_refused_before_their_text_grows() -> None:
    features = {"f0": "log1p(distance)"}
    features |= {f"f{i}": f"f{i - 1} + f{i - 1}" for i in range(1, 60)}
    with pytest.raises(SpecErrors, match=r"feature 'f11': with the features .* 6,143 parts"):
        planned(features)


def test_a_long_chain_of_features_is_refused_before_recursion_ends_it() -> None:
    chain = {"f0": "zscore(distance)"} | {f"f{i}": f"zscore(f{i - 1})" for i in range(1, 101)}
    as_dict(planned(dict(list(chain.items())[:100])))
    with pytest.raises(SpecErrors, match=r"feature 'f100': with the features .* nested 101 deep"):
        planned(chain)


@pytest.mark.parametrize("count", [1, 5, 500])
def test_the_picture_is_well_formed_and_holds_every_feature_once(count: int) -> None:
    made = mixed(count)
    root = ElementTree.fromstring(as_svg(made))
    texts = Counter(element.text for element in root.iter(f"{SVG}text"))
    assert all(texts[name] == 1 for name in made.features)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in root.iter(f"{SVG}rect"):
        x, y = float(box.attrib.get("x", 0)), float(box.attrib.get("y", 0))
        assert x >= 0
        assert y >= 0
        assert x + float(box.attrib["width"]) <= width
        assert y + float(box.attrib["height"]) <= height


def test_names_in_a_picture_are_text_and_never_markup() -> None:
    name = "</text><script>alert('1')</script>&amp;\"\x00\x1b[31m\u202e\ud800"
    made = planned({"f": f"zscore(col({name!r}))"}, {name: FLOAT32}, name="<b>")
    picture = as_svg(made)
    picture.encode()
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(picture).iter()}
    assert tags == {"svg", "title", "rect", "text", "tspan", "g", "path"}
    assert "\u202e" not in picture
    flowchart = as_mermaid(made)
    assert "<script" not in flowchart
    assert "#60;script#62;" in flowchart


def laid_out(made: Flow, compact: bool) -> list[list[Place]]:
    return lay_out(made, compact, top=100.0)


@pytest.mark.parametrize("count", [5, 40, 100])
def test_boxes_do_not_overlap(count: int) -> None:
    for band in bands(flow(mixed(count))):
        for lane in laid_out(band, compact=count > MANY):
            ends = [(place.y - place.height / 2, place.y + place.height / 2) for place in lane]
            assert all(below[0] > above[1] for above, below in pairwise(ends))
            assert ends[0][0] >= 100.0 - 1e-6


def test_bands_show_every_feature_once_with_all_that_feeds_it() -> None:
    made = flow(mixed(130))
    parts = list(bands(made))
    assert [len(part.lanes[-1]) for part in parts] == [32, 33, 32, 33]
    assert [box for part in parts for box in part.lanes[-1]] == list(made.lanes[-1])
    assert {arrow for part in parts for arrow in part.arrows} == set(made.arrows)


def test_every_arrow_leads_to_a_later_lane() -> None:
    made = flow(mixed(90))
    lane = {box: number for number, boxes in enumerate(made.lanes) for box in boxes}
    assert all(lane[source] < lane[target] for source, target in made.arrows)


def test_an_arrow_that_others_imply_is_left_out() -> None:
    made = flow(planned({"z": "zscore(impute(temp)) + temp", "raw": "temp"}))
    names = {(source.title, source.detail, target.title) for source, target in made.arrows}
    assert names == {
        ("temp", "float32", "moments"), ("moments", "temp", "moments"),
        ("moments", "impute(temp)", "z"), ("temp", "float32", "raw"),
    }  # fmt: skip


def test_mermaid_declares_every_box_that_its_arrows_join(plan: Plan) -> None:
    lines = as_mermaid(plan).splitlines()
    assert lines[0] == "flowchart LR"
    boxes = {line.split("[")[0].strip() for line in lines if ":::" in line}
    arrows = [line.split(" --> ") for line in lines if "-->" in line]
    assert {end.strip() for arrow in arrows for end in arrow} <= boxes
    assert '    f0["distance_z<br/>float32<br/>log1p<br/>zscore"]:::pass' in lines
