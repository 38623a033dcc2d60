"""Specs without some features: what goes, what stays as it is, and that the rest means the same."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Collection
from difflib import ndiff
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

import featurekit as fk
from featurekit.errors import SpecError, UsageError
from featurekit.feature_groups import groups_of
from featurekit.graph import Node
from featurekit.resolve import resolve
from featurekit.resolved import Resolved
from featurekit.smaller import smaller_spec, spec_diff, without_features, write_smaller
from featurekit.spec.objects import Spec
from featurekit.spec.yaml import load_spec, parse_spec
from featurekit.types import FLOAT32, INT64, STRING, TIMESTAMP, Type

ROOT = Path(__file__).resolve().parents[2]

FLIGHTS = {
    "flights": {
        **dict.fromkeys(("year", "month", "day", "hour", "minute", "flight_id", "flight"), INT64),
        **dict.fromkeys(("carrier", "origin", "dest", "tailnum"), STRING),
        **dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"), INT64),
        "sched_arr": TIMESTAMP, "distance": FLOAT32,
    },
    "weather": {
        "origin": STRING, "time_hour": TIMESTAMP,
        **dict.fromkeys(
            ("temp", "humid", "visib", "wind_speed", "wind_dir", "wind_gust", "precip", "pressure"),
            FLOAT32,
        ),
    },
    "planes": {
        **dict.fromkeys(("tailnum", "manufacturer", "model"), STRING),
        "seats": FLOAT32, "built": INT64,
    },
    "airports": {"faa": STRING, **dict.fromkeys(("lat", "lon", "alt"), FLOAT32)},
}  # fmt: skip
WINE = dict.fromkeys(
    ("alcohol", "color_intensity", "hue", "flavanoids", "total_phenols", "od280/od315", "proline"),
    FLOAT32,
) | {"wine": INT64, "cultivar": STRING}

MADE = """\
# What this is for.
name: made   # a name
sources:
  rows:
    path: rows.parquet
    event_time: at
    columns: {at: timestamp, 'odd, name': float32, late: {expr: y > 1},
              sum: {expr: a + b}}   # declared
  other:
    path: other.parquet
    # When it happened.
    event_time: at
    columns:
      at: timestamp
      # Measured.
      "v": float32
      w: float32   # the weight
        # in kilograms

  prices: {path: prices.parquet, columns: {key: string, price: {type: float32, available: true}}}
examples: {source: rows, keys: [id], predict_at: at, label: late}
aggregations:
  # Of the other table.
  seen:
    source: other
    by: key
    windows: [1d, 7d]
    features: {
      v: mean(v),   # the mean of v
      w: "sum(w)",
      n: count()   # how many
    }
  own: {source: rows, by: key, windows: [1d], features: {a: mean(a),
        'b': mean(b)}}
lookups:
  price:
    source: prices
    by: key
    features:
      - price   # today
      - key
features:
  # The past.

  # Of the key.
  v_1d: seen.v_1d
  v_7d: {expr: seen.v_7d, group: [past, v]}   # a week
  "w_1d": |
    seen.w_1d

  n_7d: >-
    log1p(
    seen.n_7d)
  'own_a': zscore(own.a_1d)

  # Sums.
  total: {expr: 'sum * 2', description: "a: b, c # d"}
  half: total / 2
  label_of: fill(concat(text, "total"), 'total')
  odd: col("odd, name")

  # Prices.
  cheap: {
    expr: price.price,
    group: money
  }
  same: price.key
# The end.
"""
TYPES = {
    "rows": {"at": TIMESTAMP, "odd, name": FLOAT32, "a": FLOAT32, "b": FLOAT32, "y": INT64,
             "id": INT64, "key": STRING, "text": STRING},
    "other": {"at": TIMESTAMP, "v": FLOAT32, "w": FLOAT32, "key": STRING},
    "prices": {"key": STRING, "price": FLOAT32},
}  # fmt: skip


def resolved(spec: Spec, types: dict[str, dict[str, Type]]) -> Resolved:
    """Return a spec resolved against those of the types whose sources it has."""
    main = spec.examples.source
    others = {name: of for name, of in types.items() if name != main and name in spec.sources}
    # In the flights, that an hour is known late is for the data to say.
    return resolve(spec, types[main], others, settle=lambda *_: (0, 1))


def check(
    text: str, types: dict[str, dict[str, Type]], remove: Collection[str],
    before: Resolved | None = None,
) -> str:  # fmt: skip
    """Return the text without some features, having compared what is left with what it was."""
    before = before or resolved(parse_spec(text), types)
    after = without_features(text, remove)
    spec = parse_spec(after)
    assert spec == smaller_spec(parse_spec(text), remove)
    found = resolved(spec, types)
    left = [name for name in before.features if name not in remove]
    assert prints(found.features) == prints({name: before.features[name] for name in left})
    assert prints(found.keys) == prints(before.keys)
    assert [found.label, found.split, found.hashed] == [before.label, before.split, before.hashed]
    # No gap is left where something stood.
    assert not [a for a, b in pairwise(after.split("\n")) if a == b == ""]
    return after


def prints(nodes: Collection[str] | dict[str, Node]) -> dict[str, str]:
    """Return the fingerprints of nodes."""
    assert isinstance(nodes, dict)
    return {name: node.fingerprint for name, node in nodes.items()}


@pytest.fixture(scope="module")
def flights() -> str:
    return (ROOT / "examples/flights/flights.yaml").read_text("utf-8")


def test_every_single_feature_can_be_taken_out_of_the_wines() -> None:
    text = (ROOT / "examples/no_time/wine.yaml").read_text("utf-8")
    for name in parse_spec(text).features:
        after = check(text, {"wines": WINE}, [name])
        gone = [line for line in text.split("\n") if line.startswith(f"  {name}:")]
        assert len(gone) == 1
        assert after == text.replace(f"{gone[0]}\n", "")


def test_every_group_of_the_flights_can_be_taken_out(flights: str) -> None:
    before = resolved(parse_spec(flights), FLIGHTS)
    groups = groups_of(before)
    families = ("source", "aggregation", "declared")
    found = {features for family in families for features in groups[family].values()}
    for features in found - {tuple(before.features)}:
        check(flights, FLIGHTS, features, before)
    for name in ("weather", "planes", "airports"):
        check(flights, FLIGHTS, set(before.features) - {groups["source"][name][0]}, before)


def test_a_source_goes_with_the_last_feature_that_needs_it(flights: str) -> None:
    groups = groups_of(resolved(parse_spec(flights), FLIGHTS))["source"]
    after = check(flights, FLIGHTS, groups["weather"])
    lost = set(flights.split("\n")) - set(after.split("\n"))
    assert "  weather:" in lost
    assert "  sky:" in lost
    # The heading of a paragraph of which nothing is left goes, too; no other does.
    heading = "  # The weather where it leaves from, as last observed; nothing here is a forecast."
    assert [line for line in lost if line.strip().startswith("#")] == [heading]
    assert set(after.split("\n")) < set(flights.split("\n"))
    kept = check(flights, FLIGHTS, groups["weather"][1:])
    assert heading in kept
    assert "      temp: last(temp)" in kept
    assert "      humid: last(humid)" not in kept


def test_a_derived_column_goes_with_the_last_aggregate_of_it(flights: str) -> None:
    waiting = [name for name in parse_spec(flights).features if "_wait_" in name]
    assert waiting == [
        "carrier_wait_3h", "origin_wait_1h", "origin_wait_3h", "all_wait_1h", "all_wait_1d"
    ]  # fmt: skip
    assert "      waiting: {expr:" in check(flights, FLIGHTS, waiting[1:])
    after = check(flights, FLIGHTS, waiting)
    assert "waiting" not in after
    assert "everywhere" not in after
    # The comment above speaks for the other column, too.
    assert "# When a flight was cancelled is not in the data." in after


def test_what_nothing_used_before_stays(flights: str) -> None:
    after = check(flights, FLIGHTS, ["weekend"])
    for line in flights.split("\n"):
        assert (line in after) == (not line.startswith("  weekend:"))
    assert "delay: median(arr_delay)" in after
    assert "      dep_time: {type: int64" in after


def test_each_feature_of_a_made_spec_can_be_taken_out_and_any_of_them() -> None:
    names = list(parse_spec(MADE).features)
    for name in names:
        check(MADE, TYPES, [name])
        check(MADE, TYPES, [other for other in names if other != name])
    chance = random.Random(0)
    for _ in range(60):
        check(MADE, TYPES, chance.sample(names, chance.randrange(2, len(names))))


@pytest.mark.parametrize(
    ("remove", "lost", "new"),
    [
        (["v_1d"], ["  v_1d: seen.v_1d"], []),
        (["v_1d", "v_7d", "w_1d", "n_7d", "own_a"], [
            "  other:", "    path: other.parquet", "    # When it happened.", "    event_time: at",
            "    columns:", "      at: timestamp", "      # Measured.", '      "v": float32',
            "      w: float32   # the weight", "        # in kilograms", "aggregations:",
            "  # Of the other table.", "  seen:", "    source: other", "    by: key",
            "    windows: [1d, 7d]", "    features: {", "      v: mean(v),   # the mean of v",
            '      w: "sum(w)",', "      n: count()   # how many", "    }",
            "  own: {source: rows, by: key, windows: [1d], features: {a: mean(a)}}",
            "  # Of the key.", "  v_1d: seen.v_1d",
            "  v_7d: {expr: seen.v_7d, group: [past, v]}   # a week", '  "w_1d": |',
            "    seen.w_1d", "  n_7d: >-", "    log1p(", "    seen.n_7d)",
            "  'own_a': zscore(own.a_1d)",
        ], []),
        (["w_1d"], ["      w: float32   # the weight", "        # in kilograms",
                    '      w: "sum(w)",', '  "w_1d": |', "    seen.w_1d"], []),
        (["n_7d"], ['      w: "sum(w)",', "      n: count()   # how many", "  n_7d: >-",
                    "    log1p(", "    seen.n_7d)"], ['      w: "sum(w)"']),
        (["same"], ["      - key", "  same: price.key"], []),
        (["total", "half"], [
            "    columns: {at: timestamp, 'odd, name': float32, late: {expr: y > 1},",
            "              sum: {expr: a + b}}   # declared",
            "  total: {expr: 'sum * 2', description: \"a: b, c # d\"}", "  half: total / 2",
        ], [
            "    columns: {at: timestamp, 'odd, name': float32, late: {expr: y > 1}}   # declared"
        ]),
    ],
)  # fmt: skip
def test_lines_go_whole_with_what_belongs_to_them(
    remove: list[str], lost: list[str], new: list[str]
) -> None:
    text = MADE
    if "own_a" in remove:  # Of that aggregation an output stays that nothing ever used.
        text = text.replace(
            "features: {a: mean(a),\n        'b': mean(b)}", "features: {a: mean(a)}"
        )
    changed = list(ndiff(text.split("\n"), check(text, TYPES, remove).split("\n")))
    assert [line[2:] for line in changed if line.startswith("- ") and line.strip("- ")] == lost
    assert [line[2:] for line in changed if line.startswith("+ ") and line.strip("+ ")] == new


def test_between_braces_an_entry_goes_with_one_comma() -> None:
    without = check(MADE, TYPES, ["n_7d"])
    assert '      w: "sum(w)"\n    }\n' in without
    assert "      v: mean(v),   # the mean of v\n" in without
    assert "columns: {at: timestamp, late: {expr: y > 1}," in check(MADE, TYPES, ["odd"])
    last = check(MADE, TYPES, ["total", "half"])
    assert "late: {expr: y > 1}}   # declared\n" in last


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_edited_as_it_is_laid_out(indent: int | None) -> None:
    text = json.dumps(parse_spec(MADE).to_dict(), indent=indent) + "\n"
    chance, names = random.Random(1), list(parse_spec(MADE).features)
    for _ in range(20):
        after = json.loads(check(text, TYPES, chance.sample(names, chance.randrange(1, 6))))
        assert json.dumps(after, indent=indent) + "\n" == without_features(
            text, set(names) - set(after["features"])
        )


def test_a_removed_feature_is_written_out_where_others_use_it() -> None:
    after = check(MADE, TYPES, ["total"])
    assert "  half: sum * 2 / 2\n" in after
    # Texts that are spelled like it are not its name.
    assert "  label_of: fill(concat(text, \"total\"), 'total')\n" in after


def test_a_feature_in_the_block_style_keeps_its_style_when_its_expression_changes() -> None:
    half = "  half:\n    # why\n    expr: >-\n      total\n      / 2\n    owner: me\n"
    text = MADE.replace("  half: total / 2\n", half)
    after = check(text, TYPES, ["total"])
    assert "  half:\n    # why\n    expr: sum * 2 / 2\n    owner: me\n" in after


def test_a_chain_of_removed_features_is_written_out(flights: str) -> None:
    after = parse_spec(check(flights, FLIGHTS, ["planned_minutes"]))
    assert after.features["planned_z"].expr.text == (
        "zscore(seconds_between(sched_dep, sched_arr) / 60)"
    )


def test_a_column_of_the_data_is_no_feature() -> None:
    text = """\
sources: {rows: {path: rows.parquet}}
examples: {source: rows}
features:
  a: log1p(b)
  b: zscore(b)
  c: a + 1
  d: b + 1
"""
    types = {"rows": {"a": FLOAT32, "b": FLOAT32}}
    # b uses its own name, so that the name is a column's; of a only the data can tell.
    assert without_features(text, ["b"]) == text.replace("  b: zscore(b)\n", "")
    assert "c: log1p(b) + 1\n" in without_features(text, ["a"])
    after = without_features(text, ["a"], columns=types["rows"])
    assert after == text.replace("  a: log1p(b)\n", "")
    before, found = (resolved(parse_spec(entry), types) for entry in (text, after))
    assert found.features["c"] == before.features["c"]


def test_features_in_a_circle_are_refused() -> None:
    text = "sources: {r: {path: r.csv}}\nexamples: {source: r}\nfeatures: {a: b, b: a, c: a}\n"
    with pytest.raises(SpecError, match="features refer to each other: c -> a -> b -> a"):
        without_features(text, ["a", "b"])


def test_what_would_be_too_long_is_refused_with_the_names() -> None:
    nested = "x"
    for _ in range(60):
        nested = f"log1p({nested})"
    rows = {"r": {"path": "r.csv"}}
    spec = Spec(rows, {"source": "r"}, {"a": nested, "b": nested.replace("x", "a")})
    with pytest.raises(
        SpecError, match=r"feature 'b' uses a, which cannot be .*100 deep"
    ) as raised:
        smaller_spec(spec, ["a"])
    assert raised.value.hint == "remove b too, or keep a"


@pytest.mark.parametrize("remove", [["a", "b"], ["c"]])
def test_unknown_features_and_all_features_are_refused(remove: list[str]) -> None:
    text = "sources: {r: {path: r.csv}}\nexamples: {source: r}\nfeatures: {a: x, b: y}\n"
    with pytest.raises(UsageError, match=r"no feature would be left|there is no feature 'c'"):
        without_features(text, remove)


def test_windows_line_ends_stay() -> None:
    text = MADE.replace("\n", "\r\n")
    after = without_features(text, ["total", "v_1d", "same", "n_7d"])
    assert after.count("\n") == after.count("\r\n") < text.count("\n")
    assert after.replace("\r\n", "\n") == without_features(MADE, ["total", "v_1d", "same", "n_7d"])


def test_folds_keep_the_columns_that_they_are_made_by() -> None:
    text = """\
sources: {rows: {path: rows.parquet, columns: {who: string, c: string, unused: int64, d: string}}}
examples: {source: rows, label: y}
features:
  mean: target_mean(c, by="who")
  d: concat(d, who)
"""
    types = {"rows": {"who": STRING, "c": STRING, "d": STRING, "unused": INT64, "y": INT64}}
    after = check(text, types, ["d"])
    assert "columns: {who: string, c: string, unused: int64}}" in after


def test_the_diff_is_one_that_git_applies(tmp_path: Path, flights: str) -> None:
    after = without_features(flights, ["weekday", "air_km", "seats_band"])
    for before, changed in (
        (flights, after), (flights.rstrip("\n"), after), (flights, after.rstrip("\n")), ("", after),
    ):  # fmt: skip
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "flights.yaml").write_text(before, "utf-8")
        diff = spec_diff(before, changed, "flights.yaml")
        assert diff.startswith("--- a/flights.yaml\n+++ b/flights.yaml\n@@")
        if shutil.which("git") is None:  # pragma: no cover
            pytest.skip("git is not there")
        subprocess.run(
            ["git", "apply", "-"], input=diff.encode(), cwd=folder, check=True,
            env={"GIT_CEILING_DIRECTORIES": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert (folder / "flights.yaml").read_text("utf-8") == changed
    assert spec_diff(flights, flights, "flights.yaml") == ""


def rows(folder: Path) -> Path:
    """Write a spec with a byte order mark, and its data, and return its path."""
    folder.mkdir()
    pl.DataFrame({"x": [1.0, 2.0], "y": [3.0, 5.0]}).write_parquet(folder / "rows.parquet")
    path = folder / "spec.yaml"
    text = (
        "sources: {rows: {path: rows.parquet}}  # here\nexamples: {source: rows}\n"
        "features:\n  a: x\n  # sums\n  b: x + y\n"
    )
    path.write_text(text, "utf-8-sig")
    return path


def test_a_file_elsewhere_reads_the_same_data(tmp_path: Path) -> None:
    path = rows(tmp_path / "specs")
    (tmp_path / "out").mkdir()
    for out, where in (("out/smaller.yaml", "../specs/rows.parquet"),
                       ("smaller.yaml", "specs/rows.parquet"),
                       ("specs/smaller.yaml", "rows.parquet")):  # fmt: skip
        text = write_smaller(path, ["a"], tmp_path / out)
        assert f"sources: {{rows: {{path: {where}}}}}  # here\n" in text
        assert (tmp_path / out).read_bytes() == b"\xef\xbb\xbf" + text.encode()
        assert load_spec(tmp_path / out).sources["rows"].path == where
        assert list(fk.check(tmp_path / out).features) == ["b"]
    with pytest.raises(UsageError, match="the file exists already"):
        write_smaller(path, ["a"], tmp_path / "smaller.yaml")
    write_smaller(path, ["b"], tmp_path / "smaller.yaml", overwrite=True)
    assert list(load_spec(tmp_path / "smaller.yaml").features) == ["a"]
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_a_run_whose_spec_is_gone_gives_a_smaller_one(tmp_path: Path) -> None:
    path = rows(tmp_path / "specs")
    run = fk.run(path, tmp_path / "run", tensorflow=False)
    path.unlink()
    write_smaller(run.spec, ["a"], tmp_path / "smaller.yaml", columns=run.manifest["columns"])
    found = fk.check(tmp_path / "smaller.yaml")
    assert prints(dict(found.features)) == prints({"b": run.plan.features["b"]})


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    path = rows(tmp_path / "specs")
    out = tmp_path / "smaller.yaml"
    out.write_text("older")
    with pytest.raises(UsageError, match="no feature would be left"):
        write_smaller(path, ["a", "b"], out, overwrite=True)
    assert out.read_text() == "older"
