"""What deepchecks does for feature-label correlation and for rows in both splits, on scikit-learn.

Its check scores each feature by a predictive power score: a decision tree on it alone,
cross-validated in four folds, its weighted F1 above that of the most frequent class. (The score is
that of the package ppscore; missing values are left out, as there.) By default that score looks at
5,000 rows of a table, `--sample 5000`; without, at all of them. Rows that are in both splits are
found by pandas' hash of all columns.
"""

from __future__ import annotations

import argparse

import pandas as pd
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from benchmarks.workloads import WORKLOADS


def power(column: pd.Series[float], label: pd.Series[int]) -> float:
    """Return the predictive power score of one feature."""
    known = column.notna()
    x, y = column[known].to_frame(), label[known]
    tree = DecisionTreeClassifier(random_state=0)
    score = float(cross_val_score(tree, x, y, cv=4, scoring="f1_weighted").mean())
    naive = float(f1_score(y, [y.mode()[0]] * len(y), average="weighted"))
    return max(0.0, (score - naive) / (1 - naive))


def main() -> None:
    """Score every feature, and count the rows in both splits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("data")
    parser.add_argument("out", help="not used")
    parser.add_argument("--examples", type=int, help="the first so many rows")
    parser.add_argument("--sample", type=int, help="score so many rows of them, by chance")
    arguments = parser.parse_args()
    frame = pd.read_parquet(arguments.data)
    if arguments.examples:
        frame = frame.head(arguments.examples)
    names = list(WORKLOADS[arguments.workload].columns)
    some = frame.sample(arguments.sample, random_state=0) if arguments.sample else frame
    scores = {name: power(some[name], some["label"]) for name in names}
    hashes = pd.util.hash_pandas_object(frame[[*names, "label"]], index=False)
    train = frame["part"] == "train"
    both = int(hashes[~train].isin(set(hashes[train])).sum())
    print(max(scores, key=lambda name: scores[name]), both)


if __name__ == "__main__":
    main()
