"""The command line: what it prints where, its exit codes, and that it never leaves half a file."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featurekit.cli import main, parser
from featurekit.job import check
from featurekit.runs import open_run
from featurekit.spec.yaml import load_spec

ROOT = Path(__file__).resolve().parents[2]
ROWS = 60
SPEC = """\
# Will it be late?
name: delays
sources:
  flights:
    path: flights.parquet      # written by the test
    columns:
      # known only afterwards
      delay: {unit: min, available: false}
examples: {source: flights, keys: [id], label: delay > 15}
features:
  distance_z: zscore(log1p(distance))
  carrier_id: vocabulary(carrier)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec and its data, which is the current one."""
    data = pl.DataFrame({
        "id": range(ROWS), "distance": [float(100 + 7 * i) for i in range(ROWS)],
        "carrier": [("UA", "AA", "B6")[i % 3] for i in range(ROWS)],
        "delay": [None if i == 5 else float(i % 40) for i in range(ROWS)],
    })  # fmt: skip
    data.write_parquet(tmp_path / "flights.parquet")
    (tmp_path / "flights.yaml").write_text(SPEC, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_folder(folder: Path) -> Path:
    assert main(["run", "flights.yaml", "--out", "run", "--no-tensorflow", "--quiet"]) == 0
    return folder


Captured = pytest.CaptureFixture[str]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def in_process(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "featurekit", *command], capture_output=True, text=True,
        check=False, env=environment, **options,
    )  # fmt: skip


# help, version, completion


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = parser()._actions
    found = [a.choices for a in actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0])


def test_the_commands_are_these() -> None:
    assert list(commands()) == [
        "run",
        "plan",
        "check",
        "schema",
        "apply",
        "verify",
        "snapshot",
        "leakage",
        "ablate",
        "completion",
    ]


def test_every_option_is_explained_with_its_default_and_every_command_by_examples() -> None:
    for name, command in commands().items():
        assert command.description
        assert f"featurekit {name}" in str(command.epilog)
        for action in command._actions:
            assert action.help, (name, action.dest)
            if action.option_strings and action.dest != "help":
                assert "(default: " in action.help or "(required)" in action.help


def test_help_takes_no_longer_than_the_import_of_polars() -> None:
    help_times, import_times = [], []
    for _ in range(5):
        began = time.perf_counter()
        assert in_process("--help").returncode == 0
        help_times.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import polars"], check=True)
        import_times.append(time.perf_counter() - began)
    assert min(help_times) < min(import_times)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, featurekit.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {
        "polars",
        "numpy",
        "yaml",
        "tqdm",
        "featurekit.spec",
        "featurekit.transforms",
    }


def test_the_version_is_printed(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("featurekit 0.")


@pytest.mark.parametrize(
    "line", ["", "fly", "check", "check x --fast", "run x", "plan x --js",
             "plan x --json --mermaid", "completion cmd", "run x --out y --max-bytes 10GB"],
)  # fmt: skip
def test_wrong_arguments_exit_with_2(line: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: featurekit" in captured.err


@pytest.mark.parametrize(("line", "said"), [
    ("run x --ouput y", "there is no option --ouput; did you mean --out?"),
    ("run x --out y --enigne=beam", "there is no option --enigne; did you mean --engine?"),
    ("snapshot x --asof 2013-12-01 --out y", "there is no option --asof; did you mean --as-of?"),
    ("ablate x --zzz", "there is no option --zzz"),
])  # fmt: skip
def test_an_unknown_option_is_named_with_the_nearest_one(
    line: str, said: str, capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {said}\n")


def test_what_follows_two_dashes_is_no_option_of_a_command(capsys: Captured) -> None:
    assert main(["run", "absent.yaml", "--out", "y", "--engine", "beam", "--", "--runner=X"]) != 0
    assert "there is no option" not in capsys.readouterr().err


@pytest.mark.parametrize("command", [
    "check {}", "plan {}", "schema {}", "run {} --out x", "snapshot {} --as-of 2013-12-01 --out x",
    "ablate run --write-spec small.yaml --spec {}",
])  # fmt: skip
def test_a_folder_is_no_spec_and_that_of_a_run_is_for_other_commands(
    command: str, run_folder: Path, capsys: Captured
) -> None:
    assert main(command.format("run").split()) == 2
    assert capsys.readouterr().err == (
        "featurekit: error: run: a spec file is needed, and this is a folder. "
        "Hint: it is the folder of a run, which apply, leakage and ablate take\n"
    )
    (run_folder / "specs").mkdir()
    assert main(command.format("specs").split()) == 2
    assert "this is a folder. Hint: give the path of its YAML file" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion_knows_every_command_and_option(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name, command in commands().items():
        assert name in script
        for action in command._actions:
            assert all(option.lstrip("-") in script for option in action.option_strings)


def test_the_completion_of_bash_is_a_script_that_bash_reads(capsys: Captured) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    words = "COMP_WORDS=(featurekit pl); COMP_CWORD=1"
    probe = f"{script}\n{words}; _shtab_featurekit; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plan"]


# check


@pytest.mark.usefixtures("folder")
def test_a_good_spec_has_no_problems_and_is_told_what_nothing_proves(capsys: Captured) -> None:
    assert main(["check", "flights.yaml"]) == 0
    captured = capsys.readouterr()
    first, second, *rest = captured.out.splitlines()
    assert first == "flights.yaml: 2 features, 4 columns of flights, label delay > 15, no problems"
    assert second == "leakage: 2 unproven"
    assert [line.split()[0] for line in rest] == ["unproven", "warning"]
    assert captured.err == ""


def broken(folder: Path) -> None:
    change(folder / "flights.yaml", "zscore(log1p(distance))", "zscoer(distance)")
    change(
        folder / "flights.yaml", "vocabulary(carrier)", "zscore(carrier)\n  late: zscore(dstance)"
    )


def test_every_problem_of_a_spec_is_printed_with_its_line(folder: Path, capsys: Captured) -> None:
    path = folder / "flights.yaml"
    change(path, "vocabulary(carrier)", "zscore(carrier)\n  late: zscore(dstance)")
    assert main(["check", "flights.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *problems, last = captured.err.splitlines()
    assert [line.split(": ")[:2] for line in problems] == [
        ["flights.yaml:12", "feature 'carrier_id'"], ["flights.yaml:13", "feature 'late'"],
    ]  # fmt: skip
    assert "did you mean 'distance'?" in problems[1]
    assert last == "featurekit: error: 2 problems in flights.yaml"


def test_problems_are_one_json_document_too(folder: Path, capsys: Captured) -> None:
    broken(folder)
    assert main(["check", "flights.yaml", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["problems"][0]["where"].startswith("flights.yaml:11")


@pytest.mark.usefixtures("folder")
def test_the_result_of_a_check_is_json_on_request(capsys: Captured) -> None:
    assert main(["check", "flights.yaml", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["features"] == {"distance_z": "float32", "carrier_id": "int64"}
    assert result["problems"] == []


def test_leaks_alone_exit_with_1(folder: Path, capsys: Captured) -> None:
    change(folder / "flights.yaml", "log1p(distance)", "log1p(delay)")
    assert main(["check", "flights.yaml"]) == 1
    assert (
        "flights.yaml:11: feature 'distance_z': 'delay' is not available" in capsys.readouterr().err
    )


@pytest.mark.parametrize("command", ["check", "plan", "schema"])
@pytest.mark.usefixtures("folder")
def test_a_spec_that_is_not_there_is_one_error(command: str, capsys: Captured) -> None:
    assert main([command, "absent.yaml"]) == 2
    assert capsys.readouterr().err == (
        "featurekit: error: absent.yaml: the spec cannot be read: No such file or directory\n"
    )


def test_missing_data_exits_with_3(folder: Path, capsys: Captured) -> None:
    (folder / "flights.parquet").unlink()
    assert main(["check", "flights.yaml"]) == 3
    assert capsys.readouterr().err.startswith(
        "featurekit: error: source 'flights': there is no file"
    )


def test_control_characters_of_names_do_not_reach_the_terminal(
    folder: Path, capsys: Captured
) -> None:
    change(
        folder / "flights.yaml",
        "vocabulary(carrier)",
        r'''"vocabulary(col('\\x1b[31mred\\u202e'))"''',
    )
    assert main(["check", "flights.yaml"]) == 2
    err = capsys.readouterr().err
    assert "red" in err
    assert "\x1b" not in err
    assert "\u202e" not in err


# plan


@pytest.mark.usefixtures("folder")
def test_a_plan_is_a_table_by_default(capsys: Captured) -> None:
    assert main(["plan", "flights.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("delays: 2 features, engine local, with a SavedModel")
    assert "tf.Transform on Beam" in out


@pytest.mark.usefixtures("folder")
def test_a_plan_is_json_or_mermaid_on_request(capsys: Captured) -> None:
    assert main(["plan", "flights.yaml", "--json", "--no-tensorflow"]) == 0
    assert json.loads(capsys.readouterr().out)["saved_model"] is False
    assert main(["plan", "flights.yaml", "--mermaid"]) == 0
    assert capsys.readouterr().out.startswith("flowchart LR\n")


def test_a_picture_is_written_beside_the_table_and_replaces_an_older_one(
    folder: Path, capsys: Captured
) -> None:
    (folder / "plan.svg").write_text("old", "utf-8")
    assert main(["plan", "flights.yaml", "--picture", "plan.svg"]) == 0
    assert (folder / "plan.svg").read_text("utf-8").startswith("<svg")
    assert "route in production" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["flights.yaml", "absent/plan.svg"])
def test_a_picture_that_cannot_be_written_is_a_usage_error(
    name: str, folder: Path, capsys: Captured
) -> None:
    assert main(["plan", "flights.yaml", "--picture", name]) == 2
    assert (folder / "flights.yaml").read_text("utf-8") == SPEC
    assert capsys.readouterr().err.startswith(f"featurekit: error: {name}: ")


# run


def test_a_run_says_where_everything_is_and_what_comes_next(folder: Path, capsys: Captured) -> None:
    assert main(["run", "flights.yaml", "--out", "a run", "--no-tensorflow"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # it is no terminal
    lines = captured.out.splitlines()
    assert lines[:4] == [
        "a run: 2 features of 59 rows",
        "  rows        train 59; 1 without a label left out",
        "  examples    a run/examples",
        "  SavedModel  none: not asked for",
    ]
    assert lines[4].startswith("  time        fit ")
    assert "  featurekit apply 'a run' NEW_ROWS.parquet --out features.parquet" in lines
    assert open_run(folder / "a run").features == ("distance_z", "carrier_id")


@pytest.mark.usefixtures("folder")
def test_a_quiet_run_prints_nothing(capsys: Captured) -> None:
    assert main(["run", "flights.yaml", "--out", "run", "--no-tensorflow", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("folder")
def test_a_run_is_one_json_document_on_request(capsys: Captured) -> None:
    assert main(["run", "flights.yaml", "--out", "run", "--no-tensorflow", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"]["splits"] == {"train": 59}
    assert result["features"] == ["distance_z", "carrier_id"]
    assert result["saved_model"]["exported"] is False


def test_a_run_is_replaced_only_on_request(run_folder: Path, capsys: Captured) -> None:
    before = (run_folder / "run" / "manifest.json").stat().st_ino
    arguments = ["run", "flights.yaml", "--out", "run", "--no-tensorflow", "--quiet"]
    assert main(arguments) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert (run_folder / "run" / "manifest.json").stat().st_ino == before
    assert main([*arguments, "--overwrite"]) == 0
    assert (run_folder / "run" / "manifest.json").stat().st_ino != before


def test_another_engine_is_refused_before_anything_is_read(capsys: Captured) -> None:
    assert main(["run", "absent.yaml", "--out", "run", "--engine", "spark"]) == 2
    assert capsys.readouterr().err == (
        "featurekit: error: there is no engine 'spark'. Hint: the engines are local, beam and gcp\n"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("folder")
def test_progress_on_a_terminal_names_each_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["run", "flights.yaml", "--out", "run", "--no-tensorflow"]) == 0
    shown = screen.getvalue()
    assert "pass 1 of 1" in shown
    assert "writing the examples" in shown
    assert "1/3 stages" in shown
    assert shown.endswith("\r")  # the bar is gone in the end


def replaced(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    def run(*_: object, **__: object) -> None:
        raise raised

    # The package's attribute `run` is the function, so the module is looked up by its name.
    monkeypatch.setattr(sys.modules["featurekit.job"], "run", run)


RUN = ["run", "flights.yaml", "--out", "run"]


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    replaced(monkeypatch, KeyboardInterrupt())
    assert main(RUN) == 130
    assert capsys.readouterr().err == "featurekit: error: interrupted; nothing was written\n"


@pytest.mark.usefixtures("folder")
def test_an_interrupt_after_the_work_does_not_deny_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def write(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featurekit.cli.write", write)
    assert main([*RUN, "--no-tensorflow"]) == 130
    assert capsys.readouterr().err == "featurekit: error: interrupted; the work was done\n"
    assert open_run("run").splits == ("train",)


def test_an_unexpected_error_is_one_line_and_exits_with_4(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    replaced(monkeypatch, RuntimeError("two\nlines"))
    assert main(RUN) == 4
    assert capsys.readouterr().err == (
        "featurekit: error: unexpected RuntimeError: two lines. This is a bug: please report it "
        "with the spec and what FEATUREKIT_TRACEBACK=1 prints\n"
    )
    assert main([*RUN, "--json"]) == 4
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"] == "RuntimeError"
    assert captured.err == ""


def test_a_panic_of_an_engine_is_no_traceback_either(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    class PanicException(BaseException):  # as pyo3 derives it
        pass

    replaced(monkeypatch, PanicException("index out of bounds"))
    assert main(RUN) == 4
    assert "unexpected PanicException: index out of bounds" in capsys.readouterr().err


def test_the_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, RuntimeError("here"))
    monkeypatch.setenv("FEATUREKIT_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="here"):
        main(RUN)


@pytest.mark.parametrize("command", [["plan", "flights.yaml"], ["completion", "bash"]])
def test_a_reader_that_goes_away_is_no_error(command: list[str], folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "featurekit", *command], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.usefixtures("folder")
def test_the_module_is_the_command() -> None:
    done = in_process("check", "flights.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problems\n" in done.stdout


# schema


@pytest.mark.usefixtures("folder")
def test_the_schema_is_yaml_to_paste(capsys: Captured) -> None:
    assert main(["schema", "flights.yaml"]) == 0
    assert (
        capsys.readouterr().out
        == """\
sources:
  flights:
    columns:
      id: int64
      distance: float32
      carrier: string
      delay: {type: float32, unit: min, available: false}
"""
    )


def test_the_schema_as_json_says_what_was_declared(folder: Path, capsys: Captured) -> None:
    table = pl.read_parquet("flights.parquet").with_columns(
        tags=pl.lit([1, 2], dtype=pl.List(pl.Int32))
    )
    table.write_parquet("flights.parquet")
    change(folder / "flights.yaml", "{unit: min", "{type: int64, unit: min")
    assert main(["schema", "flights.yaml", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frozen"] is None
    assert result["sources"]["flights"]["columns"]["delay"] == {"type": "int64", "declared": True}
    assert result["sources"]["flights"]["columns"]["id"] == {"type": "int64", "declared": False}
    assert result["sources"]["flights"]["left_out"] == {"tags": "List(Int32)"}


def test_freezing_keeps_comments_and_layout(folder: Path, capsys: Captured) -> None:
    path = folder / "flights.yaml"
    path.chmod(0o600)
    before = check(path)
    assert main(["schema", "flights.yaml", "--freeze"]) == 0
    assert capsys.readouterr().out == "flights.yaml: 4 types written\n"
    expected = SPEC.replace("{unit: min", "{type: float32, unit: min").replace(
        "examples:", "      id: int64\n      distance: float32\n      carrier: string\nexamples:"
    )
    assert path.read_text("utf-8") == expected
    assert path.stat().st_mode & 0o777 == 0o600
    after = check(path)
    assert dict(after.types) == dict(before.types)
    assert after.features == before.features
    assert main(["schema", "flights.yaml", "--freeze"]) == 0
    assert capsys.readouterr().out == "flights.yaml: every column has its type already\n"
    assert path.read_text("utf-8") == expected


LAYOUTS = {
    "flow": "sources: {flights: {path: flights.parquet}}  # all\n",
    "flow with columns": "sources: {flights: {path: flights.parquet, columns: {delay: {}}}}\n",
    "empty flow columns": "sources:\n  flights: {columns: {}, path: flights.parquet,}\n",
    "flow over lines": "sources:\n  flights: {path: flights.parquet, # here\n"
                       "    columns: {id: int64}}\n",
    "json": '{"sources": {"flights": {"path": "flights.parquet"}}, "name": "x",',
    "block": "sources:\n    flights:\n        path: flights.parquet\n\n# next\n",
    "block columns": "sources:\n  flights:\n    columns:\n      delay:\n        # minutes\n"
                     "        unit: min\n        description: |\n          long\n\n"
                     "    path: flights.parquet\n",
    "windows": "sources:\r\n  flights:\r\n    path: flights.parquet\r\n",
    "byte order mark": "\ufeffsources:\n  flights:\n    path: flights.parquet\n",
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_types_are_frozen_in_any_layout(layout: str, folder: Path) -> None:
    path = folder / "flights.yaml"
    text = LAYOUTS[layout]
    end = "\r\n" if layout == "windows" else "\n"
    if layout == "json":
        text += '\n "examples": {"source": "flights"}, "features": {"z": "zscore(distance)"}}'
    else:
        text += f"examples: {{source: flights}}{end}features: {{z: zscore(distance)}}  # end"
    table = pl.read_parquet("flights.parquet")
    names = ("a column, with: signs", "NO", "12:30", "größe", "two\nlines", "#1", "{x}", "")
    table.with_columns(pl.lit(1).alias(name) for name in names[:-1]).write_parquet(
        "flights.parquet"
    )
    path.write_text(text, "utf-8", newline="")
    before = check(path)
    assert main(["schema", "flights.yaml", "--freeze"]) == 0
    after = path.read_bytes().decode("utf-8")
    # Nothing is lost: what stood there is still there, in its order.
    rest = iter(after)
    assert all(letter in rest for letter in text)
    assert after.count("#") - sum(name.count("#") for name in names) == text.count("#")
    assert after.count("\r\n") == (after.count("\n") if layout == "windows" else 0)
    columns = load_spec(path).sources["flights"].columns
    assert {name: column.type for name, column in columns.items()} == dict(before.types)


def test_a_layout_that_cannot_be_edited_is_refused_with_what_to_paste(
    folder: Path, capsys: Captured
) -> None:
    # YAML reads a key of over 1,024 characters in no layout that could be put in here.
    name = "x" * 1100
    pl.read_parquet("flights.parquet").rename({"carrier": name}).write_parquet("flights.parquet")
    assert main(["schema", "flights.yaml", "--freeze"]) == 2
    captured = capsys.readouterr()
    assert "the types cannot be written into a file of this layout" in captured.err
    assert "      distance: float32\n" in captured.out
    assert (folder / "flights.yaml").read_text("utf-8") == SPEC
    assert sorted(entry.name for entry in folder.iterdir()) == ["flights.parquet", "flights.yaml"]


# apply


@pytest.mark.usefixtures("run_folder")
def test_applying_a_run_to_its_own_rows_gives_its_examples(capsys: Captured) -> None:
    pl.read_parquet("flights.parquet").drop("delay").write_csv("new.csv")
    assert main(["apply", "run", "new.csv", "--out", "features.parquet"]) == 0
    assert capsys.readouterr().out == "features.parquet: 2 features of 60 rows\n"
    written = pl.read_parquet("features.parquet")
    examples = open_run("run").examples().to_polars().drop("label")
    assert written.filter(pl.col("id") != 5).equals(examples)


@pytest.mark.usefixtures("run_folder")
def test_features_can_be_written_as_csv(capsys: Captured) -> None:
    assert main(["apply", "run", "flights.parquet", "--out", "features.csv", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"out": "features.csv", "rows": ROWS, "features": ["distance_z", "carrier_id"]}
    assert pl.read_csv("features.csv").columns == ["id", "distance_z", "carrier_id"]


@pytest.mark.usefixtures("run_folder")
def test_a_glob_is_read_in_the_order_of_the_names() -> None:
    table = pl.read_parquet("flights.parquet")
    table.tail(20).write_parquet("part-1.parquet")
    table.head(40).write_parquet("part-0.parquet")
    assert main(["apply", "run", "part-*.parquet", "--out", "features.parquet"]) == 0
    assert pl.read_parquet("features.parquet")["id"].to_list() == list(range(ROWS))


def test_an_existing_file_is_replaced_only_on_request(run_folder: Path, capsys: Captured) -> None:
    (run_folder / "features.csv").write_text("mine", "utf-8")
    arguments = ["apply", "run", "flights.parquet", "--out", "features.csv"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "featurekit: error: features.csv: the file exists already. Hint: --overwrite replaces it\n"
    )
    assert (run_folder / "features.csv").read_text("utf-8") == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert pl.read_csv("features.csv").height == ROWS


@pytest.mark.parametrize("out", ["features.txt", "features", "absent/features.csv", "run"])
@pytest.mark.usefixtures("run_folder")
def test_an_output_that_cannot_be_written_is_a_usage_error(out: str, capsys: Captured) -> None:
    assert main(["apply", "run", "flights.parquet", "--out", out]) == 2
    assert capsys.readouterr().err.startswith(f"featurekit: error: {out}: ")


def test_rows_that_do_not_fit_leave_no_file_behind(run_folder: Path, capsys: Captured) -> None:
    (run_folder / "bad.csv").write_text("id,distance,carrier\n1,far,UA\n", "utf-8")
    (run_folder / "less.csv").write_text("id,distance\n1,100\n", "utf-8")
    (run_folder / "cut.parquet").write_bytes((run_folder / "flights.parquet").read_bytes()[:-20])
    before = sorted(run_folder.iterdir())
    for rows in ("bad.csv", "less.csv", "cut.parquet", "absent.csv"):
        assert main(["apply", "run", rows, "--out", "features.parquet"]) == 3, rows
        error = capsys.readouterr().err
        assert error.startswith("featurekit: error: ")
        assert error.count("\n") == 1
        assert sorted(run_folder.iterdir()) == before


def test_vectors_are_refused_in_csv(folder: Path, capsys: Captured) -> None:
    change(folder / "flights.yaml", "vocabulary(carrier)", "one_hot_vocabulary(carrier)")
    assert main(["run", "flights.yaml", "--out", "run", "--no-tensorflow", "--quiet"]) == 0
    assert main(["apply", "run", "flights.parquet", "--out", "features.csv"]) == 2
    assert "CSV cannot hold vectors: carrier_id. Hint: write .parquet" in capsys.readouterr().err
    assert main(["apply", "run", "flights.parquet", "--out", "features.parquet"]) == 0


@pytest.mark.usefixtures("folder")
def test_a_folder_without_a_run_is_bad_data(capsys: Captured) -> None:
    assert main(["apply", ".", "flights.parquet", "--out", "features.csv"]) == 3
    assert "there is no run here (no manifest.json)" in capsys.readouterr().err
