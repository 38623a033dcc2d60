"""scikit-learn's ColumnTransformer on pandas: fit, transform, write Parquet.

`KBinsDiscretizer` refuses NaN, so the mean is put in its place first; it looks at a sample of
200,000 rows, its default. `StandardScaler` and `OrdinalEncoder` leave missing values missing, and
`OrdinalEncoder` numbers words by the alphabet, not by frequency. No SavedModel comes of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder, StandardScaler

from benchmarks.workloads import DECILES, WORKLOADS


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, help="processes (default: one, as scikit-learn does)")
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    bins = KBinsDiscretizer(
        DECILES, encode="ordinal", strategy="quantile", quantile_method="averaged_inverted_cdf"
    )
    words = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    transformer = ColumnTransformer(
        [
            ("z", StandardScaler(), list(workload.zscores)),
            ("decile", make_pipeline(SimpleImputer(), bins), list(workload.deciles)),
            ("id", words, list(workload.vocabularies)),
        ],
        n_jobs=arguments.jobs,
    ).set_output(transform="pandas")
    frame = pd.read_parquet(arguments.data, columns=list(workload.columns))
    arguments.out.mkdir(parents=True)
    transformer.fit_transform(frame).to_parquet(arguments.out / "examples.parquet")


if __name__ == "__main__":
    main()
