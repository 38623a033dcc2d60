"""`featurekit leakage` and `fk.scan_leakage`: what they take, print and write, and exit codes."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import featurekit as fk
from featurekit.analysis.leakage.scan import Thresholds, scan
from featurekit.analysis.times import as_time
from featurekit.cli import main, parser

ROOT = Path(__file__).resolve().parents[2]
ROWS = 400
SPEC = """\
name: orders
sources:
  orders:
    path: orders.parquet
    event_time: at
    columns: {at: timestamp}
aggregations:
  past: {source: orders, by: who, windows: [7d], features: {paid: mean(amount)}}
examples:
  source: orders
  keys: [id, who, at]
  predict_at: at - 1h
  label: late > 0
  split: {by: at, test_from: 2024-01-12}
features:
  amount_z: zscore(amount)
  kind_is: one_hot_vocabulary(kind)
  refund_z: zscore(refund)
  usual: fill(past.paid_7d, 0)
"""

Captured = pytest.CaptureFixture[str]


def table() -> pl.DataFrame:
    """Return orders of whom `refund` tells whether they were late."""
    late = [(7 * i % 10) < 4 for i in range(ROWS)]
    start = pl.datetime(2024, 1, 1, time_zone="UTC")
    random = np.random.default_rng(5)
    return pl.DataFrame({
        "id": range(ROWS), "who": [f"c{i % 23}" for i in range(ROWS)],
        "amount": random.uniform(0, 100, ROWS),
        "kind": ["new" if i % 3 else "old" for i in range(ROWS)],
        "refund": [2.0 * x for x in late], "late": [int(x) for x in late],
        "part": ["train" if i < 300 else "test" for i in range(ROWS)],
    }).with_columns(at=start + pl.duration(hours=pl.int_range(ROWS)))  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec, its data and tables, which is the current one."""
    table().write_parquet(tmp_path / "orders.parquet")
    table().write_csv(tmp_path / "orders.csv")
    (tmp_path / "orders.yaml").write_text(SPEC, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> fk.Run:
    return fk.run(folder / "orders.yaml", folder / "run", tensorflow=False)


def told(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    code = main(["leakage", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# what is scanned


def test_the_examples_of_all_splits_of_a_run_are_scanned(run: fk.Run) -> None:
    found = fk.scan_leakage(run.path)
    assert found.scan.rows == ROWS
    assert set(found.scan.features) == {"amount_z", "kind_is[0]", "kind_is[1]", "refund_z", "usual"}
    assert found.verdict.endswith("in 4 features of 400 rows")
    assert [entry.features for entry in found.scan.flagged if entry.kind == "proxy"] == [
        ("refund_z",)
    ]


def test_a_run_says_which_keys_are_the_entity_and_the_time(run: fk.Run) -> None:
    of = fk.scan_leakage(run).to_dict()["of"]
    assert (of["entity"], of["time"], of["exclude"]) == ("who", "at", ["id"])
    assert of["says"] == {"label": "late > 0", "split": "train 264, test 136"}


@pytest.mark.parametrize(
    ("change", "entity", "time"),
    [
        (("keys: [id, who, at]", "keys: [id]"), None, None),
        (("keys: [id, who, at]", "keys: [at]"), None, "at"),
        (("  predict_at: at - 1h\n", ""), "who", "at"),
        (("by: at, test_from: 2024-01-12", "hash: who, test: 0.3"), "who", "at"),
    ],
)
def test_what_the_examples_do_not_carry_is_not_known(
    folder: Path, change: tuple[str, str], entity: str | None, time: str | None
) -> None:
    assert change[0] in SPEC
    text = SPEC.replace(*change)
    if "predict_at" not in text:
        text = text.replace("  usual: fill(past.paid_7d, 0)\n", "")
        text = text.replace(SPEC[SPEC.index("aggregations") : SPEC.index("examples")], "")
        entity = None
    (folder / "orders.yaml").write_text(text, "utf-8")
    subject = fk.scan_leakage("orders.yaml").subject
    assert (subject.entity, subject.time) == (entity, time)


def test_a_spec_gives_what_its_run_gives_and_leaves_nothing_behind(
    folder: Path, run: fk.Run
) -> None:
    before = sorted(folder.rglob("*"))
    assert fk.scan_leakage("orders.yaml").scan == fk.scan_leakage(run).scan
    assert fk.scan_leakage(fk.load_spec("orders.yaml")).scan == fk.scan_leakage(run).scan
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["orders.parquet", "orders.csv", "ord*.parquet"])
def test_a_table_is_scanned_in_the_columns_that_it_has(folder: Path, name: str) -> None:
    roles: dict[str, Any] = {"label": "late", "split": "part", "entity": "who", "time": "id"}
    found = fk.scan_leakage(name, **roles, exclude=["kind"], seed=3)
    whole = folder / name.replace("*", "ers")
    assert found.scan == scan(whole, **roles, exclude=["kind"], seed=3)
    assert found.subject.kind == "table"
    assert "kind" not in found.scan.features


def test_a_table_in_memory_is_scanned_too() -> None:
    found = fk.scan_leakage(table().to_pandas(), label="late", exclude=["at"])
    assert "refund" in found.scan.flagged[0].features


def test_thresholds_decide_from_where_on_to_speak_up() -> None:
    weak = table().with_columns(refund=pl.col("refund") + pl.col("amount") / 30)
    kept = ["refund", "late"]
    assert fk.scan_leakage(weak.select(kept), label="late").fails() == 0
    strict = Thresholds(warning=0.6, critical=0.7)
    found = fk.scan_leakage(weak.select(kept), label="late", thresholds=strict)
    assert found.fails() == 1
    assert found.to_dict()["thresholds"]["critical"] == 0.7


def test_progress_goes_on_after_the_run_of_a_spec(folder: Path) -> None:
    stages: list[fk.Progress] = []
    fk.scan_leakage(folder / "orders.yaml", progress=stages.append)
    assert stages[0].done == 0
    assert {stage.stages for stage in stages} == {len(stages)}
    assert [stage.done for stage in stages] == list(range(len(stages)))
    assert stages[-1].text.startswith("looking for leaks in ")


# what is printed


def test_the_summary_gives_the_verdict_first_then_findings_with_effect_and_advice(
    run: fk.Run, capsys: Captured
) -> None:
    code, out, err = told(capsys, run.path.name)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("run: 1 critical")
    assert lines[1] == "  label late > 0, split train 264, test 136, entity who, time at"
    assert "critical  proxy  refund_z" in lines
    assert "AUC 1.000. Within blocks of time" in " ".join(out.split())
    assert " 95% interval 1.000 to 1.000. " in " ".join(out.split())
    assert any(line.startswith("  -> Find out when this value is written.") for line in lines)
    assert out.count("A strong legitimate feature looks the same") == 1
    assert lines[-1] == "1 finding too many: --fail-on critical"


@pytest.mark.usefixtures("folder")
def test_everything_is_json_on_request(capsys: Captured) -> None:
    code, out, err = told(capsys, "orders.csv", "--label", "late", "--json")
    assert (code, err) == (1, "")
    answer = json.loads(out)
    expected = fk.scan_leakage("orders.csv", label="late")
    assert answer.pop("gate") == {"fail_on": "critical", "failing": expected.fails()}
    assert answer == expected.to_dict()


@pytest.mark.usefixtures("folder")
def test_that_nothing_was_found_is_said_in_three_lines(capsys: Captured) -> None:
    table().select("late", "amount", "kind").write_csv("clean.csv")
    code, out, _ = told(capsys, "clean.csv", "--label", "late")
    assert code == 0
    numbers = list(fk.scan_leakage("clean.csv", label="late").scan.features.items())
    shown = ", ".join(f"{name} {measured.strength:.3f}" for name, measured in numbers)
    assert out == (
        "clean.csv: no leak found in 2 features of 400 rows\n"
        "  label late; not known: split, entity, time\n"
        f"  strongest alone (AUC): {shown}\n"
    )


@pytest.mark.usefixtures("folder")
def test_many_findings_are_counted_where_they_are_not_printed(capsys: Captured) -> None:
    wide = table().select("late", *(pl.col("refund").alias(f"refund_{i}") for i in range(30)))
    wide.write_parquet("wide.parquet")
    code, out, _ = told(capsys, "wide.parquet", "--label", "late")
    assert code == 1
    assert out.count("critical  proxy") == 20
    assert "and 10 more findings" in out
    assert out.count("->") == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_of_other_separators_is_refused_with_a_hint_that_works(
    mark: str, capsys: Captured
) -> None:
    table().write_csv("marks.csv", separator=mark)
    code, _, err = told(capsys, "marks.csv", "--label", "late")
    assert code == 3
    assert "the header is one column" in err
    assert f"scan what polars.read_csv(..., separator={mark!r}) returns" in err
    read = pl.read_csv("marks.csv", separator=mark)
    assert fk.scan_leakage(read, label="late").scan.rows == ROWS
    assert "source" not in err


@pytest.mark.usefixtures("folder")
def test_notes_are_named_in_one_line(capsys: Captured) -> None:
    random = np.random.default_rng(2)
    some = table().select("late", held_out=pl.col("part") == "test")
    shifts = {f"shift_{i}": random.normal(0, 1, ROWS) for i in range(7)}
    some.with_columns(
        pl.Series(name, noise) + 9 * pl.col("held_out") for name, noise in shifts.items()
    ).with_columns(part=table()["part"]).drop("held_out").write_csv("notes.csv")
    code, out, _ = told(capsys, "notes.csv", "--label", "late", "--split", "part")
    assert code == 0
    assert out.splitlines()[0] == "notes.csv: no leak found in 7 features of 400 rows"
    shown = "split_shift shift_0, shift_1, shift_2 and 4 more"
    last = out.splitlines()[-1]
    assert last.startswith("8 notes in --json and --out: adversarial_split shift_")
    assert last.endswith(f" and 2 more; {shown}")


@pytest.mark.usefixtures("folder")
def test_an_effect_that_the_message_tells_is_not_told_twice(capsys: Captured) -> None:
    twice = pl.concat([table(), table().with_columns(part=pl.lit("test"))])
    twice.drop("refund", "at", "id").write_csv("twice.csv")
    _, out, _ = told(capsys, "twice.csv", "--label", "late", "--split", "part")
    shown = " ".join(out.split())
    assert "warning duplicate_rows" in shown
    assert "share 0." not in shown


@pytest.mark.usefixtures("folder")
def test_names_do_not_reach_the_terminal_as_controls(capsys: Captured) -> None:
    table().rename({"refund": "\x1b[31mred"}).write_parquet("red.parquet")
    _, out, _ = told(capsys, "red.parquet", "--label", "late")
    assert "\\x1b[31mred" in out
    assert "\x1b" not in out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("folder")
def test_progress_on_a_terminal_names_what_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    main(["leakage", "orders.yaml", "--fail-on", "never"])
    assert "looking for leaks in orders.yaml" in screen.getvalue()


# the gate


@pytest.mark.parametrize(
    ("columns", "fail_on", "code"),
    [
        (["refund"], "critical", 1), (["refund"], "warning", 1), (["refund"], "never", 0),
        (["blurred"], "critical", 0), (["blurred"], "warning", 1),
        (["amount"], "warning", 0), (["amount"], "critical", 0),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_the_exit_code_is_1_where_a_finding_is_bad_enough(
    columns: list[str], fail_on: str, code: int
) -> None:
    frame = table().with_columns(blurred=pl.col("refund") + pl.col("amount") / 33)
    frame.select("late", *columns).write_parquet("some.parquet")
    assert main(["leakage", "some.parquet", "--label", "late", "--fail-on", fail_on]) == code


@pytest.mark.parametrize(("threshold", "code"), [("0.99", 0), ("0.9", 1), ("0.6", 1), ("1", 0)])
@pytest.mark.usefixtures("folder")
def test_the_threshold_decides_what_is_a_warning(threshold: str, code: int) -> None:
    frame = table().with_columns(blurred=pl.col("refund") + pl.col("amount") / 33)
    frame.select("late", "blurred").write_parquet("some.parquet")
    line = ["leakage", "some.parquet", "--label", "late", "--fail-on", "warning"]
    assert main([*line, "--threshold", threshold]) == code


@pytest.mark.usefixtures("folder")
def test_a_lower_threshold_makes_nothing_critical() -> None:
    frame = table().with_columns(blurred=pl.col("refund") + pl.col("amount") / 33)
    frame.select("late", "blurred").write_parquet("some.parquet")
    assert main(["leakage", "some.parquet", "--label", "late", "--threshold", "0.6"]) == 0


def test_text_with_zones_is_in_the_order_of_time_not_of_letters() -> None:
    said = ["2024-05-01T10:00:00+05:00", "2024-05-01T09:00:00Z", "2024-05-01T08:00:00-02:00", None]
    frame = pl.LazyFrame({"at": said})
    hours = frame.select(as_time(frame, "at", pl.String()).dt.hour()).collect()["at"].to_list()
    assert hours == [5, 9, 10, None]


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M"])
@pytest.mark.usefixtures("folder")
def test_a_time_may_be_text_as_csv_has_it(form: str) -> None:
    unit = "1d" if form.endswith("d") else "1m"
    whole = table().with_columns(pl.col("at").dt.truncate(unit))
    roles: dict[str, Any] = {"label": "late", "split": "part", "entity": "who", "time": "at"}
    whole.with_columns(pl.col("at").dt.strftime(form)).write_csv("text.csv")
    assert fk.scan_leakage("text.csv", **roles).scan == scan(whole, **roles)


def test_a_leak_that_the_spec_shows_is_refused_as_in_a_check(
    folder: Path, capsys: Captured
) -> None:
    (folder / "orders.yaml").write_text(SPEC.replace("zscore(refund)", "zscore(late)"), "utf-8")
    assert main(["check", "orders.yaml"]) == 1
    expected = capsys.readouterr().err
    assert told(capsys, "orders.yaml") == (1, "", expected)


# the report


@pytest.mark.usefixtures("folder")
def test_the_report_holds_what_the_json_says(capsys: Captured) -> None:
    line = ("orders.csv", "--label", "late", "--fail-on", "never")
    code, out, _ = told(capsys, *line, "--out", "leaks.html")
    assert code == 0
    assert "the report: leaks.html" in out
    _, answer, _ = told(capsys, *line, "--json")
    beside = json.loads(Path("leaks.json").read_text("utf-8"))
    assert {**beside, "gate": {"fail_on": "never", "failing": 0}} == json.loads(answer)
    assert Path("leaks.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.usefixtures("folder")
def test_a_failing_gate_writes_its_report_all_the_same() -> None:
    line = ["leakage", "orders.csv", "--label", "late", "--out", "leaks.html"]
    assert main(line) == 1
    assert Path("leaks.html").exists()
    assert main(line) == 2
    assert main([*line, "--overwrite"]) == 1


@pytest.mark.parametrize("out", ["leaks.txt", "leaks", "absent/leaks.html", "run"])
@pytest.mark.usefixtures("folder")
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_read(
    out: str, capsys: Captured
) -> None:
    code, printed, err = told(capsys, "absent.csv", "--label", "y", "--out", out)
    assert (code, printed) == (2, "")
    assert err.startswith(f"featurekit: error: {out}: ")


# bad input: one error, which says where and what, and what to do


BAD = {
    "absent.yaml": (2, "absent.yaml: the spec cannot be read"),
    "absent.csv --label y": (3, "absent.csv: there is no such file"),
    "ab*.csv --label y": (3, "no file matches 'ab*.csv'"),
    "orders.csv": (2, "orders.csv: a table does not say which column is the label. Hint: --label"),
    "orders.csv --label lat": (2, "label 'lat' is not a column of the table. Hint: did you mean"),
    "orders.csv --label late --split prt": (2, "Hint: did you mean 'part'?"),
    "orders.csv --label late --time kind": (3, "the time 'kind' is text that does not read as a"),
    "odd.csv --label late --time day": (3, "does not read as a time: '05/04/2013'. Hint: write it"),
    "flag.parquet --label late --time flag": (3, "the time 'flag' holds Boolean"),
    "orders.csv --label late --exclude x": (2, "exclude 'x' is not a column"),
    ".": (2, "Hint: for a table in many files give a glob in quotes: '*.parquet'"),
    "empty": (3, "there is no run here (no manifest.json)"),
    "gs://bucket/run": (2, "the run is not on this machine"),
    "run --label late": (
        2,
        "the spec says what the label is, got another one: 'late'. Hint:",
    ),
    "run --entity kind": (2, "entity 'kind' is no key of the examples; the keys are id, who, at."),
    "orders.yaml --split part": (2, "orders.yaml: the spec says what the split is"),
    "plain.yaml": (2, "plain.yaml: the examples have no label"),
    "away.yaml": (2, "away.yaml: the source 'orders' is not read on this machine. Hint: finish a"),
}


@pytest.mark.parametrize("line", BAD)
@pytest.mark.usefixtures("run")
def test_bad_input_is_one_clear_error(line: str, folder: Path, capsys: Captured) -> None:
    (folder / "empty").mkdir()
    (folder / "plain.yaml").write_text(SPEC.replace("  label: late > 0\n", ""), "utf-8")
    away = SPEC.replace("path: orders.parquet", "table: p.d.orders")
    (folder / "away.yaml").write_text(away, "utf-8")
    table().select("late", day=pl.lit("05/04/2013")).write_csv("odd.csv")
    table().select("late", flag=pl.lit(True)).write_parquet("flag.parquet")
    code, said = BAD[line]
    result, out, err = told(capsys, *shlex.split(line.replace("*", "\\*")))
    assert (result, out) == (code, "")
    assert err.startswith("featurekit: error: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(
    "line",
    ["x --seed -1", "x --seed y", "x --threshold 2", "x --threshold y", "x --fail-on note", ""],
)
def test_arguments_that_mean_nothing_exit_with_2(line: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["leakage", *line.split()])
    assert stopped.value.code == 2


# the pre-commit example


def test_the_hooks_of_the_example_are_commands_that_the_parser_knows() -> None:
    text = (ROOT / "examples/pre_commit/.pre-commit-config.yaml").read_text("utf-8")
    hooks = [hook for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]]
    lines = [shlex.split(hook["entry"]) + hook.get("args", []) for hook in hooks]
    assert [line[:2] for line in lines] == [["featurekit", "check"], ["featurekit", "leakage"]]
    for line, hook in zip(lines, hooks, strict=True):
        assert hook["pass_filenames"] is False  # the commands take one spec, not every file
        assert callable(parser().parse_args(line[1:]).command)
