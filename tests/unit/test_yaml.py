"""Reading a spec from YAML: what is refused, where, and that all problems come together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from featurekit.errors import SpecError, SpecErrors
from featurekit.spec.yaml import load_spec, parse_spec

SMALL = """\
sources:
  rows: {path: rows.csv}
examples: {source: rows}
features:
  size: log1p(bytes)
"""


def problems(text: str) -> list[str]:
    """Return what is wrong with a text, one line per problem."""
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text, name="spec.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_small_spec_is_read() -> None:
    spec = parse_spec(SMALL)
    assert spec.name == "features"
    assert spec.sources["rows"].path == "rows.csv"
    assert spec.features["size"].expr.text == "log1p(bytes)"


def test_every_part_knows_its_line() -> None:
    spec = parse_spec(SMALL, name="a.yaml")
    assert spec.place("features", "size") == "a.yaml:5"
    assert spec.place("features", "size", "expr") == "a.yaml:5"
    assert spec.place("sources", "rows", "path") == "a.yaml:2"
    assert spec.place("nowhere") == "a.yaml:1"


def test_a_key_that_stands_twice_is_refused() -> None:
    (problem,) = problems(SMALL + "  size: bytes\n")
    assert problem == (
        "spec.yaml:6: the key 'size' stands twice (first on line 5). Hint: remove one of them"
    )


@pytest.mark.parametrize("word", ["NO", "no", "Yes", "on", "OFF"])
def test_a_word_that_yaml_takes_for_a_boolean_is_refused(word: str) -> None:
    (problem,) = problems(SMALL + f"  other: {word}\n")
    assert problem == (
        f"spec.yaml:6: {word} without quotes means true or false in YAML. "
        f'Hint: write "{word}" for the text, or true or false'
    )


def test_such_a_word_is_refused_as_a_key_too() -> None:
    text = SMALL.replace("{path: rows.csv}", "{path: rows.csv, columns: {NO: string}}")
    (problem,) = problems(text)
    assert problem.startswith("spec.yaml:2: NO without quotes means true or false")
    assert "NO" in parse_spec(text.replace("NO:", '"NO":')).sources["rows"].columns


def test_a_number_in_base_60_is_refused() -> None:
    (problem,) = problems(
        SMALL.replace("{source: rows}", "{source: rows, split: {by: 12:30, eval_from: 2020-01-01}}")
    )
    assert problem == (
        'spec.yaml:3: 12:30 without quotes is a number in base 60 in YAML. Hint: write "12:30"'
    )


@pytest.mark.parametrize(
    "value", ["!!python/object:os.system x", "!!str x", "!x y", "! x", "!!int 3"]
)
def test_tags_are_refused(value: str) -> None:
    assert "is not allowed in a spec" in problems(SMALL + f"  other: {value}\n")[0]
    assert problems(SMALL + f"  other: {value}\n")[0].startswith("spec.yaml:6: the tag ")


def test_anchors_and_aliases_are_refused() -> None:
    first, second = problems(SMALL + "  a: &x log1p(b)\n  c: *x\n")
    assert first.startswith("spec.yaml:6: anchors (&) and aliases (*) are not allowed in a spec.")
    assert second.startswith("spec.yaml:7: anchors (&) and aliases (*) are not allowed in a spec.")


def test_an_alias_bomb_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    found = problems("\n".join(lines))
    assert "aliases" in found[0]
    assert re.fullmatch(r"and \d+ more problems", found[-1])
    assert len(found) == 101


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_before_it_is_built(opening: str) -> None:
    assert problems(opening * 10_000)[-1].endswith(
        ("a spec may be nested 12 deep at most", "a key must be a text. Hint: quote it")
    )


def test_a_second_document_is_refused() -> None:
    (problem,) = problems(f"{SMALL}---\n{SMALL}")
    assert problem == ("spec.yaml:6: a spec is one YAML document. Hint: remove the second '---'")


@pytest.mark.parametrize(("line", "said"), [
    ("a: [1, 2", "this is not YAML"), ("a: x: y", "mapping values are not allowed here"),
    ("a: 'x", "this is not YAML"), ("a: @x", "this is not YAML"),
])  # fmt: skip
def test_what_is_not_yaml_is_refused_with_its_line(line: str, said: str) -> None:
    (problem,) = problems(f"{SMALL}  {line}\n")
    assert problem.startswith(("spec.yaml:6: ", "spec.yaml:7: "))
    assert said in problem
    assert "Hint: quote an expression" in problem


@pytest.mark.parametrize("line", ["\ta: x", "a:\n\t\tb: x", "a: [x,\ty]"])
def test_a_tab_is_named_as_what_yaml_does_not_take(line: str) -> None:
    (problem,) = problems(f"{SMALL}  {line}\n")
    assert problem.startswith(("spec.yaml:6: ", "spec.yaml:7: "))
    assert (
        "Hint: write blanks in the place of the tab: YAML takes no tabs for indentation" in problem
    )


def test_characters_that_yaml_does_not_know_are_refused() -> None:
    (problem,) = problems(f"{SMALL}  a: \x07\n")
    assert problem.startswith("spec.yaml: this is not YAML: unacceptable character")


@pytest.mark.parametrize("text", ["", "---\n", "# a comment", "null"])
def test_an_empty_spec_is_called_so(text: str) -> None:
    assert problems(text) == [
        (
            "spec.yaml:1: a spec is missing here: nothing is written. "
            "Hint: it needs sources, examples, features"
        )
    ]


@pytest.mark.parametrize("text", ["just text", "[a, b]", "5"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("spec.yaml:1: for a spec a mapping of settings is needed, got ")


def test_dates_and_large_numbers_stay_what_they_are() -> None:
    split = "{by: t, eval_from: 2013-10-01, test_from: 2013-11-01T12:30:00+02:00}"
    spec = parse_spec(SMALL.replace("{source: rows}", f"{{source: rows, split: {split}}}"))
    assert spec.examples.split is not None
    assert str(spec.examples.split.eval_from) == "2013-10-01 00:00:00+00:00"
    assert str(spec.examples.split.test_from) == "2013-11-01 10:30:00+00:00"
    (problem,) = problems(SMALL + f"  a: {'9' * 5000}\n")
    assert problem.startswith("spec.yaml:6: feature 'a': '999")


def test_all_problems_of_a_file_come_together_in_its_order() -> None:
    text = """\
nam: flights
sources:
  flights:
    path: flights.parquet
    colums: {}
    columns:
      dep_delay: {type: float46, unit: 5, nullable: no}
      arr_delay: {available_at: actual arr}
  2weather: {path: w.parquet}
  flights: {path: other.parquet}
examples:
  source: flights
  keys: [flight_id, flight_id]
  label: arr_delay > > 15
  split: {by: sched_dep, eval_from: yesterday, hash: 5}
aggregations:
  tail: {by: tailnum, windows: [1d, 7 days], features: {n: cout(), z: zscore(x), m: mean(sum(x))}}
features:
  distance_z: zscor(distance)
  route: cross(origin, buckets=10)
  label: log1p(distance)
  lambda: log1p(distance)
  hour: {expr: 'hour(sched_dep', owner: 5, since: 2020-01-01}
  Hour: hour(sched_dep)
  when: 12:30
"""
    found = [line.split(". Hint:")[0].removeprefix("spec.yaml:") for line in problems(text)]
    assert found == [
        "1: nam: there is no such setting in a spec",
        "5: source 'flights': colums: there is no such setting in a source",
        "7: no without quotes means true or false in YAML",
        (
            "7: source 'flights': column 'dep_delay': type: unknown type 'float46'; the types are "
            "bool, int64, float32, float64, string, timestamp, duration"
        ),
        "7: source 'flights': column 'dep_delay': unit: a text is needed, got 5",
        (
            "8: source 'flights': column 'arr_delay': available_at: 'actual arr' is not an "
            "expression: invalid syntax"
        ),
        "9: source '2weather': '2weather' cannot be a name",
        "10: the key 'flights' stands twice (first on line 3)",
        "13: examples: keys: 'flight_id' stands twice",
        "14: examples: label: 'arr_delay > > 15' is not an expression: invalid syntax",
        (
            "15: examples: split: eval_from: a date or time such as 2013-10-01 is needed, got "
            "'yesterday'"
        ),
        "15: examples: split: hash: a list of texts is needed, got 5",
        (
            "17: aggregation 'tail': windows: '7 days' is not a window; write a duration such as "
            "'7d', 'lifetime', or for the week before the last '14d..7d'"
        ),
        "17: aggregation 'tail': feature 'n': there is no operation 'cout'",
        "17: aggregation 'tail': feature 'z': 'zscore(x)' does not summarise past rows",
        (
            "17: aggregation 'tail': feature 'm': mean cannot be applied to 'sum(x)', which "
            "summarises past rows"
        ),
        "17: aggregation 'tail': 'source' is missing in an aggregation",
        "19: feature 'distance_z': there is no operation 'zscor'",
        "20: feature 'route': cross needs at least 2 inputs, got 1",
        "21: feature 'label': 'label' is a reserved name",
        "22: feature 'lambda': 'lambda' is a reserved name",
        "23: feature 'hour': 'hour(sched_dep' is not an expression: '(' was never closed",
        "23: feature 'hour': owner: a text is needed, got 5",
        "23: feature 'hour': since: there is no such setting in a feature",
        "24: feature 'Hour': the features 'hour' and 'Hour' differ only in case",
        "25: 12:30 without quotes is a number in base 60 in YAML",
    ]  # fmt: skip


def test_a_file_is_read_and_paths_start_from_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    spec = load_spec(path)
    assert spec.base == tmp_path
    assert spec.place("features", "size") == f"{path}:5"


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: the spec cannot be read: No such file"):
        load_spec(tmp_path / "nowhere.yaml")
    with pytest.raises(SpecError, match="a spec file is needed, and this is a folder"):
        load_spec(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(SpecError, match=r"not UTF-8 text: .* at byte 9"):
        load_spec(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 4_000_001)
    with pytest.raises(SpecError, match=r"a spec may have 4,000,000 bytes, got 4,000,001"):
        load_spec(large)
