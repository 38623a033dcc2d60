"""The results as Markdown, on the terminal and in README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["rewrite", "text"]

BEGIN = "<!-- results: begin; written by `python benchmarks/run.py --write` -->"
END = "<!-- results: end -->"
BUSY = 0.1
"""The share of the processors that others may take before a figure is called noisy."""


def text(results: Mapping[str, Any]) -> str:
    """Return machine, versions, a table of all measures, and one of the targets."""
    machine = results["machine"]
    parts = [
        "{date}; {processor}, {cores_used} of {cores} cores, {memory_gb} GB; {system}; load before"
        " the run {load_before}.".format_map(machine),
        ", ".join(f"{name} {number}" for name, number in results["versions"].items()) + ".",
        _table(
            ("case", "rows", "contender", "runs", "seconds", "range", "CPU seconds", "peak MB",
             "others"),
            list(_measures(results)), right=(1, 3, 4, 5, 6, 7, 8),
        ),
        _table(
            ("target", "reached", "verdict"),
            [
                (entry["target"], "" if entry["value"] is None else f"{entry['value']:.2f}",
                 entry["verdict"])
                for entry in results["targets"]
            ],
            right=(1,),
        ),
    ]  # fmt: skip
    if noisy := list(_noisy(results)):
        parts.insert(2, f"**Noisy**: other processes took over {BUSY:.0%} of the machine during"
                        f" {', '.join(noisy)}.")  # fmt: skip
    failed = [
        f"**Failed**: {name}: {who}: {said}"
        for name, case in results["cases"].items() for who, said in case["failed"].items()
    ]  # fmt: skip
    return "\n\n".join([*parts, *failed])


def _measures(results: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, case in results["cases"].items():
        for who, entry in case["contenders"].items():
            median, rows = entry["median"], entry.get("rows", case["rows"])
            seconds = [run["seconds"] for run in entry["runs"]]
            spread = f"{min(seconds):.2f}-{max(seconds):.2f}" if seconds[1:] else ""
            yield (
                name, f"{rows:,}" if rows else "", who, str(len(seconds)),
                f"{median['seconds']:.2f}", spread,
                f"{median['cpu']:.2f}", f"{median['megabytes']:.0f}", f"{median['others']:.0%}",
            )  # fmt: skip


def _noisy(results: Mapping[str, Any]) -> Iterator[str]:
    for name, case in results["cases"].items():
        for who, entry in case["contenders"].items():
            if entry["median"]["others"] > BUSY:
                yield f"'{name}: {who}'"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    """Return a Markdown table that is aligned as plain text too."""
    widths = [max(len(line[place]) for line in (head, *rows)) for place in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width - 1) + (":" if place in right else "-") for place, width in enumerate(widths)
    )
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *map(line, rows)])


def rewrite(readme: Path, results: Mapping[str, Any]) -> None:
    """Put the results between the two markers of the README."""
    before, _, rest = readme.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        raise SystemExit(f"{readme} has lost its markers: {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n\n{text(results)}\n\n{END}{after}", "utf-8")
