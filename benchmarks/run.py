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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import report
from measure import Failed, Measured, load, machine, measure, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DATA = HERE / ".data"
RESULTS = HERE / "results.json"
CORES = 2
FLIGHTS = 336_776

FEATUREKIT = "FeatureKit"
SAVED_MODEL = "FeatureKit + SavedModel"
TF_TRANSFORM = "tf.Transform"
SKLEARN = "scikit-learn"
PYARROW = "pyarrow, reading only"

SCRIPTS = {
    FEATUREKIT: ("benchmarks.cases.featurekit_run", ()),
    SAVED_MODEL: ("benchmarks.cases.featurekit_run", ("--tensorflow",)),
    TF_TRANSFORM: ("benchmarks.peers.tf_transform", ()),
    SKLEARN: ("benchmarks.peers.sklearn_columns", ()),
    PYARROW: ("benchmarks.peers.pyarrow_read", ()),
}
HELP = "featurekit --help"
SLOW = (TF_TRANSFORM,)
"""Not warmed up: they run long enough for that not to matter."""


@dataclass(frozen=True)
class Case:
    """One input and who works on it.

    Args:
        title: What it is.
        repeats: How often each contender runs.
        workload: The features; none for the command's help.
        rows: Rows of the input.
        quick: Rows of the input with `--quick`.
    """

    title: str
    repeats: Mapping[str, int]
    workload: str = ""
    rows: int = 0
    quick: int = 0


CASES = {
    "help": Case("the command's help", {HELP: 7}),
    "small": Case(
        "10 columns to 16 features",
        {FEATUREKIT: 5, SAVED_MODEL: 5, TF_TRANSFORM: 3, SKLEARN: 3, PYARROW: 3},
        "flights", 20_000, 20_000,
    ),
    "flights": Case(
        "10 columns to 16 features, flights x 10",
        {FEATUREKIT: 5, PYARROW: 5, SAVED_MODEL: 3, SKLEARN: 3, TF_TRANSFORM: 2},
        "flights", 10 * FLIGHTS, FLIGHTS,
    ),
    "large": Case(
        "10 columns to 16 features, flights x 100", {FEATUREKIT: 2}, "flights", 100 * FLIGHTS,
        10 * FLIGHTS,
    ),
    "wide": Case(
        "100 columns to 100 features",
        {FEATUREKIT: 3, PYARROW: 3, SAVED_MODEL: 2, SKLEARN: 2, TF_TRANSFORM: 1},
        "wide", 1_000_000, 100_000,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What the project asks of itself: `measure` of one contender, or its ratio to another's.

    Args:
        of: Case and contender.
        measure: A field of `Measured`.
        limit: The number to reach.
        to: Case and contender to compare with; the ratio is `to / of` for "times as fast".
        least: Whether the ratio must be at least the limit (faster), or at most.
    """

    of: tuple[str, str]
    measure: str
    limit: float
    to: tuple[str, str] | None = None
    least: bool = False

    def value(self, medians: Mapping[tuple[str, str], Measured]) -> float | None:
        """Return what was reached, if all that it needs was measured."""
        if self.of not in medians or (self.to is not None and self.to not in medians):
            return None
        own = getattr(medians[self.of], self.measure)
        if self.to is None:
            return own
        other = getattr(medians[self.to], self.measure)
        return other / own if self.least else own / other

    def text(self) -> str:
        """Return the target in words."""
        case, who = self.of
        bound = f"{'at least' if self.least else 'at most'} {self.limit:g}"
        if self.to is None:
            unit = {"seconds": "s", "megabytes": "MB"}[self.measure]
            return f"{case}: {who}, {self.measure}, {bound} {unit}"
        other, peer = self.to
        if other != case:
            return f"{case}: {who}, {self.measure}, {bound} times those of '{other}'"
        if self.least:
            return f"{case}: {who} {bound} times as fast as {peer}"
        return f"{case}: {who} {bound} times the {self.measure} of {peer}"


def _faster(case: str, who: str, limit: float, peer: str) -> Target:
    return Target((case, who), "seconds", limit, (case, peer), least=True)


TARGETS = (
    Target(("help", HELP), "seconds", 0.4),
    _faster("small", SAVED_MODEL, 3, TF_TRANSFORM),
    _faster("flights", FEATUREKIT, 30, TF_TRANSFORM),
    _faster("flights", SAVED_MODEL, 7, TF_TRANSFORM),
    _faster("flights", FEATUREKIT, 6, SKLEARN),
    Target(("flights", FEATUREKIT), "seconds", 2, ("flights", PYARROW)),
    Target(("flights", FEATUREKIT), "megabytes", 1000),
    Target(("large", FEATUREKIT), "megabytes", 1.3, ("flights", FEATUREKIT)),
)


def command(who: str, case: Case, data: Path, out: Path) -> list[str]:
    """Return the command line of a contender."""
    if who == HELP:
        return [str(Path(sys.executable).with_name("featurekit")), "--help"]
    module, extra = SCRIPTS[who]
    return [sys.executable, "-m", module, case.workload, str(data), str(out), *extra]


def prepare(case: Case, rows: int) -> Path:
    """Return the case's input, written if it is not there, and read once into the page cache."""
    if not rows:
        return Path(os.devnull)
    target = DATA / f"{case.workload}-{rows}.parquet"
    if not target.exists():
        print(f"writing {target.relative_to(ROOT)}", file=sys.stderr)
        # Another process: this one must stay small, see `measure`.
        subprocess.run(
            [sys.executable, "-m", "benchmarks.prepare", case.workload, str(rows), str(target)],
            cwd=ROOT, check=True,
        )  # fmt: skip
    with target.open("rb") as file:
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
    for turn in range(0 if most == 1 else -1, max(repeats.values())):
        for who, times in repeats.items():
            if turn >= times or who in failed or (turn < 0 and who in SLOW):
                continue
            out = DATA / "out"
            shutil.rmtree(out, ignore_errors=True)
            try:
                took = measure(command(who, case, data, out), ROOT, DATA / "last.log")
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
        who: {"median": asdict(median(taken)), "runs": [asdict(entry) for entry in taken]}
        for who, taken in runs.items() if taken
    }  # fmt: skip
    return {"title": case.title, "rows": rows, "contenders": contenders, "failed": failed}


def median(runs: list[Measured]) -> Measured:
    """Return the median of each measure."""
    columns = zip(*(asdict(entry).values() for entry in runs), strict=True)
    return Measured(*(round(statistics.median(column), 3) for column in columns))


def judge(cases: Mapping[str, Any], quick: bool) -> list[dict[str, Any]]:
    """Say of every target what was reached; a smaller input is not judged."""
    medians = {
        (name, who): Measured(**entry["median"])
        for name, case in cases.items() for who, entry in case["contenders"].items()
    }  # fmt: skip
    verdicts = []
    for target in TARGETS:
        value = target.value(medians)
        if value is None:
            verdict = "not measured"
        elif quick and CASES[target.of[0]].quick != CASES[target.of[0]].rows:
            verdict = "not judged"
        else:
            reached = value >= target.limit if target.least else value <= target.limit
            verdict = "PASS" if reached else "miss"
        verdicts.append(
            {"target": target.text(), "limit": target.limit,
             "value": None if value is None else round(value, 3), "verdict": verdict}
        )  # fmt: skip
    return verdicts


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
    results: dict[str, Any] = {
        "quick": arguments.quick, "machine": machine(), "versions": versions(), "cases": {},
    }  # fmt: skip
    if load() > len(cores) / 4:
        print(f"WARNING: the machine is busy (load {load()}); times will be too long",
              file=sys.stderr)  # fmt: skip

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    for name in arguments.only or CASES:
        results["cases"][name] = run_case(name, CASES[name], arguments.quick, most, tell)
    results["targets"] = judge(results["cases"], arguments.quick)
    # What is published is a whole run at full size.
    target = DATA / RESULTS.name if arguments.quick or arguments.only else RESULTS
    target.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(report.text(results))
    print(f"\nWritten to {os.path.relpath(target)}")
    return int(any(case["failed"] for case in results["cases"].values()))


if __name__ == "__main__":
    sys.exit(main())
