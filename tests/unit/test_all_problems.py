"""All problems of a spec at once: what can be read is checked where the rest cannot be read."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import featurekit as fk
from featurekit.errors import DataError, FeatureKitError, SpecErrors

ROWS = "x,word,key,t,net price\n1,a,1,2024-01-01T00:00:00Z,2\n2,b,2,2024-01-02T00:00:00Z,3\n"


def told(folder: Path, text: str) -> list[str]:
    """Return the problems of a spec, each as `line: its first words`."""
    (folder / "rows.csv").write_text(ROWS)
    (folder / "spec.yaml").write_text(text)
    with pytest.raises(FeatureKitError) as caught:
        fk.check(folder / "spec.yaml")
    problems = caught.value.problems if isinstance(caught.value, SpecErrors) else [caught.value]
    return [str(problem).removeprefix(f"{folder}/spec.yaml:") for problem in problems]


def starts(found: list[str], *expected: str) -> None:
    assert len(found) == len(expected), found
    for text, begin in zip(found, expected, strict=True):
        assert text.startswith(begin), (text, begin)


def test_problems_of_reading_opening_typing_and_leaking_come_together(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        """\
sources:
  rows: {path: rows.csv, columns: {t: timestamp, late: {expr: x + 1, available: false}}}
  gone: {path: not_there.csv, event_time: t}
  untimed: {path: rows.csv, event_time: nothing}
examples:
  {source: rows, label: no_label, split: {by: no_split, eval_from: 2024-01-01}, predict_at: t}
aggregations:
  a: {source: gone, by: key, windows: [1d], features: {m: mean(x)}}
  b: {source: rows, by: key, windows: [7], features: {m: mean(x)}}
  c: {source: untimed, by: key, windows: [7d], features: {m: mean(x)}}
features:
  unread: zscore(class)
  unknown: log1p(q)
  elsewhere: lag(x)
  follows: elsewhere + 1
  of_gone: a.m_1d
  of_unread: b.m_7d
  mistyped: upper(x)
  leaks: log1p(late)
  fine: log1p(x)
""",
    )
    starts(
        found,
        "3: source 'gone': there is no file",
        "4: source 'untimed': event_time: there is no column 'nothing'",
        "6: examples: label: there is no column 'no_label'",
        "6: examples: split: by: there is no column 'no_split'",
        "9: aggregation 'b': windows",
        "12: feature 'unread': 'zscore(class)' is not an expression",
        "13: feature 'unknown': there is no column or feature 'q'",
        "14: feature 'elsewhere': there is no operation 'lag'",
        "18: feature 'mistyped': upper needs a string",
        "19: feature 'leaks': 'late' is not available at prediction time",
    )


def test_what_uses_a_part_that_cannot_be_read_makes_no_problem_of_its_own(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        """\
sources:
  rows:
    path: rows.csv
    event_time: t
    columns: {t: timestamp, u: {expr: nonsense(x)}, v: {expr: u + 1}, w: {available_at: v}}
examples: {source: rows, keys: [v], label: v > 1, predict_at: t}
aggregations: {a: {source: rows, by: key, windows: [1d], features: {m: mean(v)}}}
lookups: {l: {source: rows, by: {key: u}, features: [x]}}
features: {f: v + x, g: f + 1, h: a.m_1d, i: l.x, j: target_mean(word), k: log1p(x), m: w + 1}
""",
    )
    starts(found, "5: source 'rows': column 'u': there is no operation 'nonsense'")


def test_all_sources_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    text = """\
sources: {a: {path: no.csv}, b: {path: neither.csv}}
examples: {source: a}
lookups: {l: {source: b, by: k, features: [x]}}
features: {f: l.x, g: log1p(x)}
"""
    starts(
        told(tmp_path, text), "1: source 'a': there is no file", "1: source 'b': there is no file"
    )
    with pytest.raises(SpecErrors) as caught:
        fk.check(tmp_path / "spec.yaml")
    assert caught.value.exit_code == DataError.exit_code == 3


@pytest.mark.parametrize(
    "text",
    ["sources: 5\nexamples: {source: r}\nfeatures: {f: lag(x)}\n", "features: {f: lag(x)}\n"],
)
def test_a_spec_of_which_too_little_can_be_read_tells_what_it_can(
    text: str, tmp_path: Path
) -> None:
    found = told(tmp_path, text)
    assert any("'lag'" in problem for problem in found)
    assert len(found) >= 2


def test_problems_can_be_sent_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    text = "sources: {r: {path: rows.csv}}\nexamples: {source: r}\nfeatures: {f: lag(x), g: x}\n"
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SpecErrors) as caught:
        fk.load_spec(tmp_path / "spec.yaml")
    assert caught.value.rest is not None
    assert list(caught.value.rest.features) == ["g"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("label", "hint"),
    [("'word'", "word"), ("'net price'", "col('net price')"), ("1 > 0", "a label is an expression"),
     ("'absent'", "a label is an expression")],
)  # fmt: skip
def test_a_label_that_is_the_same_for_every_row_leads_to_the_column(
    label: str, hint: str, tmp_path: Path
) -> None:
    text = (
        'sources: {r: {path: rows.csv}}\nexamples: {source: r, label: "LABEL"}\nfeatures: {f: x}\n'
    )
    (found,) = told(tmp_path, text.replace("LABEL", label))
    assert "is the same for every row, and no label. Hint: " in found
    assert found.split("Hint: ")[1].startswith(hint)
    if not hint.startswith("a label"):
        (tmp_path / "spec.yaml").write_text(text.replace("LABEL", hint))
        assert fk.check(tmp_path / "spec.yaml").label is not None


@pytest.mark.parametrize(
    ("mine", "theirs"), [(["7.0", "8.0"], ["A7", "8"]), (["A7", "8"], ["7.0", "8.0"])]
)
@pytest.mark.parametrize("names", [("k", "key"), ("net id", "the key")])
def test_the_hint_for_keys_of_two_types_finds_the_row_that_has_the_key(
    mine: list[str], theirs: list[str], names: tuple[str, str], tmp_path: Path
) -> None:
    key, other = names
    (tmp_path / "rows.csv").write_text("\n".join([key, *mine]))
    rows = [f"{other},v", f"{theirs[0]},1", f"{theirs[1]},2"]
    (tmp_path / "other.csv").write_text("\n".join(rows))

    def spec(by: dict[str, str], **columns: Any) -> fk.Spec:
        sources = {
            name: fk.Source(path=f"{name}.csv", columns=columns.get(name))
            for name in ("rows", "other")
        }
        lookups = {"l": fk.Lookup("other", by=by, features=["v"])}
        return fk.Spec(sources, fk.Examples("rows"), {"f": "l.v"}, lookups=lookups, base=tmp_path)

    with pytest.raises(SpecErrors, match="keys need one type") as caught:
        fk.check(spec({key: other}))
    (problem,) = caught.value.problems
    written = re.search(r"of '(\w+)' write (\{.*\}), and by: (\{.*\})$", problem.hint)
    assert written is not None
    source, declared, by = written[1], yaml.safe_load(written[2]), yaml.safe_load(written[3])
    run = fk.run(spec(by, **{source: declared}), tmp_path / "run", tensorflow=False)
    assert run.examples().to_polars()["f"].to_list() == [None, 2]
