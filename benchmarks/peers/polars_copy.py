"""Polars that summarises nothing: it reads the same files and writes as many columns.

No contender of one process can be faster, so this bounds what can be reached.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.workloads import WINDOWS, History, history_parser


def copy(history: History, data: Path, out: Path) -> None:
    """Write `examples.parquet` into a folder, with a column of numbers for each output."""
    events = pl.read_parquet(data / "events.parquet")
    examples = pl.read_parquet(data / "examples.parquet")
    numbers = events[history.value].sample(examples.height, with_replacement=True, seed=0)
    outputs = [
        numbers.cast(pl.Int64 if function == "count" else pl.Float32).alias(name)
        for name, _, function, _ in history.outputs()
    ]
    out.mkdir(parents=True)
    examples.select(history.row, *outputs).write_parquet(
        out / "examples.parquet", compression="snappy"
    )


def main() -> None:
    """Run once."""
    arguments = history_parser(__doc__).parse_args()
    copy(WINDOWS[arguments.workload], arguments.data, arguments.out)


if __name__ == "__main__":
    main()
