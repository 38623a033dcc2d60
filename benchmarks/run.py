"""FeatureKit's time and memory beside its peers', measured in one run; see benchmarks/README.md.

Runs whole processes in turns, prints a table, and writes benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import environment
import report
from measure import Failed, Measured, load, machine, measure, versions
from suite import ABLATION, CASES, COLUMNS, RETRAINING, SCAN, Case
from targets import judge

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = HERE / ".data"
RESULTS = HERE / "results.json"
CORES = 2


def prepare(case: Case, rows: int) -> Path:
    """Return the case's input, written if it is not there, and read once into the page cache."""
    if not case.workload:
        return Path(os.devnull)
    # A table is a file, examples with their past rows are a folder of two, a spec is YAML.
    tables = case.contenders in (COLUMNS, SCAN, ABLATION, RETRAINING)
    target = DATA / (f"{case.workload}-{rows}{'.parquet' * tables}" if rows else "sql.yaml")
    if not target.exists():
        print(f"writing {target.relative_to(ROOT)}", file=sys.stderr)
        # Another process: this one must stay small, see `measure`.
        subprocess.run(
            [sys.executable, "-m", "benchmarks.prepare", case.workload, str(rows), str(target)],
            cwd=ROOT, check=True,
        )  # fmt: skip
    for path in sorted(target.iterdir()) if target.is_dir() else [target]:
        with path.open("rb") as file:
            while file.read(2**20):
                pass
    return target


def run_case(
    name: str, case: Case, quick: bool, most: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Run all contenders of a case in turns, A B C A B C A B, each at most so many times.

    Warm-up runs come first, unless one run of each is all that is asked for.
    """
    rows = case.quick if quick else case.rows
    data = prepare(case, rows)
    repeats = {who: min(times, most) for who, times in case.repeats.items()}
    runs: dict[str, list[Measured]] = {who: [] for who in repeats}
    failed: dict[str, str] = {}
    if apart := [who for who in repeats if case.contenders[who].apart]:
        try:
            environment.install()
        except (OSError, subprocess.CalledProcessError) as error:
            failed = dict.fromkeys(apart, f"cannot be installed: {error}")
            tell(f"{name}: {', '.join(apart)} FAILED: {error}")
    for turn in range(0 if most == 1 else -1, max(repeats.values())):
        for who, times in repeats.items():
            contender = case.contenders[who]
            if turn >= times or who in failed or (turn < 0 and not contender.warmed):
                continue
            out = DATA / "out"
            shutil.rmtree(out, ignore_errors=True)
            try:
                command = contender.command(case.workload, data, out, quick)
                took = measure(command, ROOT, DATA / "last.log")
            except Failed as error:
                failed[who] = str(error)
                tell(f"{name}: {who} FAILED: {error}")
                continue
            finally:
                shutil.rmtree(out, ignore_errors=True)
            if turn >= 0:
                runs[who].append(took)
            note = f"turn {turn + 1} of {times}" if turn >= 0 else "warm-up"
            tell(f"{name}: {who}, {note}: {took.seconds:.2f} s, {took.megabytes:.0f} MB")
    contenders = {
        who: {
            "rows": case.contenders[who].rows(rows, quick), "median": asdict(median(taken)),
            "runs": [asdict(entry) for entry in taken],
        }
        for who, taken in runs.items() if taken
    }  # fmt: skip
    return {"title": case.title, "rows": rows, "contenders": contenders, "failed": failed}


def median(runs: list[Measured]) -> Measured:
    """Return the median of each measure."""
    columns = zip(*(asdict(entry).values() for entry in runs), strict=True)
    return Measured(*(round(statistics.median(column), 3) for column in columns))


def main() -> int:
    """Measure and report; 1 where a contender failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller inputs, one run of each")
    parser.add_argument("--only", choices=CASES, action="append", metavar="CASE",
                        help=f"one of {', '.join(CASES)}; may be repeated")  # fmt: skip
    parser.add_argument("--write", action="store_true",
                        help="measure nothing; put results.json into README.md")  # fmt: skip
    parser.add_argument("--repeats", type=int, metavar="N", default=10,
                        help="at most N runs of each; 1 leaves the warm-up out too")  # fmt: skip
    arguments = parser.parse_args()
    most = 1 if arguments.quick else max(1, arguments.repeats)
    if arguments.write:
        report.rewrite(HERE / "README.md", json.loads(RESULTS.read_text("utf-8")))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:CORES])
    DATA.mkdir(exist_ok=True)
    results: dict[str, Any] = {"quick": arguments.quick, "machine": machine(), "cases": {}}
    if load() > len(cores) / 4:
        print(f"WARNING: the machine is busy (load {load()}); times will be too long",
              file=sys.stderr)  # fmt: skip

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    for name in arguments.only or CASES:
        results["cases"][name] = run_case(name, CASES[name], arguments.quick, most, tell)
    # Peers may have been installed meanwhile.
    results["versions"] = versions() | environment.versions()
    results["targets"] = judge(results["cases"], arguments.quick)
    # What is published is a whole run at full size.
    target = DATA / RESULTS.name if arguments.quick or arguments.only else RESULTS
    target.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(report.text(results))
    print(f"\nWritten to {os.path.relpath(target)}")
    return int(any(case["failed"] for case in results["cases"].values()))


if __name__ == "__main__":
    sys.exit(main())
