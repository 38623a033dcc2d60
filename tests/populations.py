"""Problems whose answers are known, for retraining."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from featurekit.analysis.ablation.dealing import row_hashes
from featurekit.analysis.ablation.problem import Problem, deal_parts
from featurekit.analysis.ablation.tasks import read_label

__all__ = ["friedman", "problem_of", "two_and_noise"]


def problem_of(
    table: Mapping[str, np.ndarray] | pl.DataFrame, label: np.ndarray, **settings: Any
) -> Problem:
    """Return a problem with independent rows, dealt into five folds in their order."""
    frame = pl.DataFrame(table)
    target = read_label(pl.Series(label))
    folds = np.arange(frame.height) % 5
    hashes = row_hashes(frame.lazy(), frame.columns, {"label": pl.Series(label)}, 0)
    parts = deal_parts(None, hashes)
    return Problem(frame, target, settings.pop("folds", folds), parts, **settings)


def two_and_noise(rows: int, noise: int = 3, seed: int = 1, **settings: Any) -> Problem:
    """Return y = x1 + x2 + a standard normal error, beside columns that do nothing."""
    random = np.random.default_rng(seed)
    table = {f"x{place + 1}": random.normal(size=rows) for place in range(2)}
    table |= {f"noise{place + 1}": random.normal(size=rows) for place in range(noise)}
    return problem_of(table, table["x1"] + table["x2"] + random.normal(size=rows), **settings)


def friedman(rows: int, seed: int = 2, **settings: Any) -> Problem:
    """Return Friedman's first problem, of which x6 to x10 do nothing.

    Source: Friedman, "Multivariate Adaptive Regression Splines", 1991.
    """
    random = np.random.default_rng(seed)
    x = random.random((rows, 10))
    label = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    label += 10 * x[:, 3] + 5 * x[:, 4] + random.normal(size=rows)
    return problem_of({f"x{place + 1}": x[:, place] for place in range(10)}, label, **settings)
