"""Rows of every kind for tests of ablation, and their design columns computed by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl


def mixed_rows(count: int = 700, seed: int = 5) -> pl.DataFrame:
    """Return correlated numbers, missing ones, categories and a vector, with a copy among them."""
    random = np.random.default_rng(seed)
    common = random.normal(size=count)
    a, b, c = (common + random.normal(scale=scale, size=count) for scale in (0.3, 1.0, 3.0))
    vector = random.normal(size=(count, 3)) + common[:, None]
    y = a + 0.5 * b - c + vector @ [0.2, 0.0, -0.3] + random.normal(size=count)
    kinds = random.choice(["red", "green", "blue", "grey"], count, p=[0.5, 0.3, 0.15, 0.05])
    y += 0.7 * (kinds == "blue")
    return pl.DataFrame(
        {
            "a": a,
            "near a": a + random.normal(scale=1e-4, size=count),
            "copy of a": 3 * a + 1,
            "b": pl.Series(b).set(pl.Series(random.random(count) < 0.2), None),
            "c": pl.Series(c).set(pl.Series(random.random(count) < 0.05), float("nan")),
            "kind": kinds,
            "large": 1e9 + 10 * common + random.normal(size=count),
            "vector": pl.Series(vector, dtype=pl.Array(pl.Float64, 3)),
            "label": y,
            "fold": np.arange(count) % 4,
            "weight": random.choice([0.5, 1.0, 3.0], count),
        }
    )


FEATURES = ("a", "near a", "copy of a", "b", "c", "kind", "large", "vector")


def columns_by_hand(frame: pl.DataFrame, train: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the standardised columns, with the means and deviations of the training rows."""

    def number(values: np.ndarray) -> list[np.ndarray]:
        missing = ~np.isfinite(values)
        seen = train & ~missing
        mean = np.average(values[seen], weights=weights[seen])
        columns = [np.where(missing, mean, values)]
        return [*columns, missing.astype(float)] if missing.any() else columns

    columns: list[np.ndarray] = []
    for name in FEATURES:
        series = frame[name]
        if name == "kind":
            columns += [
                (series == level).to_numpy().astype(float) for level in ("green", "blue", "grey")
            ]
        elif name == "vector":
            columns += list(series.to_numpy().T)
        else:
            # Exact, and the same model: NumPy's mean of numbers near 1e9 would be off by 1e-8.
            columns += number(series.to_numpy().astype(float) - 1e9 * (name == "large"))
    found = np.column_stack(columns)
    mean = np.average(found[train], axis=0, weights=weights[train])
    variance = np.average((found[train] - mean) ** 2, axis=0, weights=weights[train])
    return (found - mean) / np.sqrt(variance)


def all_sets() -> list[list[int]]:
    """Return every single feature, every pair, and some groups."""
    count = len(FEATURES)
    groups = [
        [0, 1, 2],
        [0, 1, 2, 6],
        [3, 4],
        [0, 5, 7],
        list(range(count - 1)),
        list(range(count)),
    ]
    return [*([j] for j in range(count)), *map(list, combinations(range(count), 2)), *groups]


def numbered(x: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{place}": x[:, place] for place in range(x.shape[1])}
