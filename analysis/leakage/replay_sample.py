"""Which examples are replayed: evenly over time, of many keys, and where the future is near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["sample_examples"]

_EVEN, _KEYS = 0.6, 0.2
"""The shares that are drawn evenly over time, and by keys; the rest is where events follow."""

Places = npt.NDArray[np.int64]


def sample_examples(
    moments: pl.DataFrame, keys: Sequence[str], nearness: pl.Series | None, size: int, seed: int
) -> tuple[Places, npt.NDArray[np.bool_]]:
    """Choose examples to replay.

    Three fifths are drawn evenly over time: one from each of as many equal parts of the examples in
    order of time. A fifth is one example each of random keys, and the rest are those that the next
    event of the past follows most closely, because a window that ends too late shows there.

    Args:
        moments: The examples: `~at`, the keys, and `~order`, a number by content that decides
            between examples of one time. Neither the order of rows nor anything else counts.
        keys: The columns of the keys.
        nearness: For each example, how long after its prediction the next event of its keys is, in
            microseconds; null where there is none.
        size: So many are chosen; all if there are not more.
        seed: The seed.

    Returns:
        The places of the chosen examples in `moments`, in order of time; and for each whether it
        was drawn evenly over time.
    """
    frame = moments.with_row_index("~place").with_columns(
        pl.Series("~near", nearness) if nearness is not None else pl.lit(None).alias("~near")
    )
    ordered = frame.sort("~at", "~order", *keys, maintain_order=True)
    places = ordered["~place"].cast(pl.Int64).to_numpy()
    if len(places) <= size:
        return places, np.ones(len(places), bool)
    chance = np.random.default_rng(seed)
    chosen = np.zeros(len(places), bool)
    even = max(1, round(size * _EVEN)) if keys or nearness is not None else size
    edges = np.linspace(0, len(places), even + 1)
    # Each part has at least one place, because there are more places than parts.
    low, high = np.ceil(edges[:-1]).astype(np.int64), np.ceil(edges[1:]).astype(np.int64)
    drawn = low + (chance.random(even) * (high - low)).astype(np.int64)
    chosen[drawn] = True
    is_even = chosen.copy()
    if keys:
        _one_of_each_key(ordered, keys, round(size * _KEYS), chosen, chance)
    if nearness is not None:
        by_nearness = ordered.with_row_index("~rank").filter(pl.Series(~chosen)).sort(
            "~near", "~rank", nulls_last=True
        )  # fmt: skip
        nearest = by_nearness.filter(pl.col("~near").is_not_null())["~rank"]
        chosen[nearest.head(size - int(chosen.sum())).to_numpy()] = True
    left = np.flatnonzero(~chosen)
    missing = size - int(chosen.sum())
    chosen[chance.permutation(left)[:missing]] = True
    return places[chosen], is_even[chosen]


def _one_of_each_key(
    ordered: pl.DataFrame, keys: Sequence[str], count: int, chosen: Any, chance: np.random.Generator
) -> None:
    """Choose an example each of some random keys."""
    lottery = pl.Series("~ticket", chance.permutation(ordered.height))
    first = (
        ordered.with_row_index("~rank").with_columns(lottery)
        .filter(pl.Series(~chosen))
        .group_by(list(keys)).agg(pl.col("~rank", "~ticket").sort_by("~ticket").first())
        .sort("~ticket").head(count)
    )  # fmt: skip
    chosen[first["~rank"].to_numpy()] = True
