"""DuckDB: the SQL that one would give to BigQuery, UNION ALL and RANGE windows over microseconds.

Examples and events stand in one timeline; no join multiplies rows. A window ends one microsecond
before the prediction.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from benchmarks.workloads import DAYS, LEAD_HOURS, WINDOWS, History, history_parser

MICROS = 1_000_000
CALLS = {"mean": "AVG", "max": "MAX", "stddev": "STDDEV_POP", "count": "COUNT"}


def sql(history: History, data: Path, out: Path) -> str:
    """Return the whole statement."""
    keys = ", ".join(history.keys)
    outputs = ",\n    ".join(
        f"CAST({CALLS[function]}(value) OVER {key}_{days}d"
        f" AS {'BIGINT' if function == 'count' else 'FLOAT'}) AS {name}"
        for name, key, function, days in history.outputs()
    )
    windows = ",\n    ".join(
        f"{key}_{days}d AS (PARTITION BY {key} ORDER BY micros"
        f" RANGE BETWEEN {days * 86_400 * MICROS} PRECEDING AND 1 PRECEDING)"
        for key in history.keys
        for days in DAYS
    )
    return f"""
COPY (
  WITH timeline AS (
    SELECT {history.row}, {keys}, NULL AS value,
      epoch_us({history.asked}) - {LEAD_HOURS * 3600 * MICROS} AS micros
    FROM '{data / "examples.parquet"}'
    UNION ALL
    SELECT NULL, {keys}, {history.value}, epoch_us({history.effect})
    FROM '{data / "events.parquet"}'
  ), summarised AS (
    SELECT {history.row},
    {outputs}
    FROM timeline
    WINDOW
    {windows}
  )
  SELECT * FROM summarised WHERE {history.row} IS NOT NULL
) TO '{out / "examples.parquet"}' (FORMAT parquet)
"""


def main() -> None:
    """Run once."""
    arguments = history_parser(__doc__).parse_args()
    arguments.out.mkdir(parents=True)
    connection = duckdb.connect(config={"threads": len(os.sched_getaffinity(0))})
    connection.execute(sql(WINDOWS[arguments.workload], arguments.data, arguments.out))


if __name__ == "__main__":
    main()
