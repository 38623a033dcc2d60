"""pyarrow reads the raw columns into memory, on all cores, and does nothing with them."""

from __future__ import annotations

import argparse

import pyarrow.parquet as pq

from benchmarks.workloads import WORKLOADS


def main() -> None:
    """Read once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("data")
    parser.add_argument("out", help="not used")
    arguments = parser.parse_args()
    pq.read_table(arguments.data, columns=list(WORKLOADS[arguments.workload].columns))


if __name__ == "__main__":
    main()
