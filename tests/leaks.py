"""Tables with planted leaks and clean features, drawn with a seed.

Of each leak the name of its column says the kind; so does that of each clean feature. What a leak
shows in a table is computed here the way that the mistake is made in practice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

ROWS = 4_000


def in_sentences(*texts: str) -> None:
    """Check that texts are sentences, which begin with a capital or a name and end with a stop.

    Raises:
        AssertionError: One is none.
    """
    for text in texts:
        assert not text[0].islower() or text.startswith(("leak_", "clean_")), text
        assert text.endswith("."), text
        assert ".." not in text, text


def mean_by(codes: npt.NDArray[np.int64], y: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """Return the mean label of each row's category over the rows in use (or of all of them)."""
    total = np.bincount(codes, y * used, minlength=codes.max() + 1)
    count = np.bincount(codes, used.astype(float), minlength=codes.max() + 1)
    mean = np.where(count > 0, total / np.maximum(count, 1), y[used].mean())
    return mean[codes]


def rows_table(seed: int, rows: int = ROWS) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Return independent rows with label `y` and split `part`; the leaks and the clean features."""
    random = np.random.default_rng(seed)

    def normal(scale: float = 1.0) -> Floats:
        return random.normal(0, scale, rows)

    merit = normal()
    y = (merit + normal(0.8) > random.uniform(-0.8, 0.8)).astype(float)
    one = y > 0
    train = random.random(rows) < 0.7
    category = random.integers(0, rows // 40, rows)
    encoding = mean_by(category, y, np.ones(rows, bool))
    size = np.bincount(category)[category]
    left_out = (np.bincount(category, y)[category] - y) / np.maximum(size - 1, 1)
    folds = random.integers(0, 5, rows)
    out_of_fold = np.zeros(rows)
    for fold in range(5):
        out_of_fold[folds == fold] = mean_by(category, y, train & (folds != fold))[folds == fold]
    amount, skewed = random.lognormal(0, 1, rows), random.lognormal(0, 2, rows)
    base, part, total = 100 * random.lognormal(0, 1, rows), normal(30), random.lognormal(0, 2, rows)
    label_number = y + normal(0.05)
    score = np.abs(random.normal(2.2 * one + 0.2, 0.35))
    status = np.where(one, random.choice(["closed", "charged"], rows), "open")
    status[random.random(rows) < 0.02] = "other"
    leaks = {
        "leak_proxy": y + normal(random.uniform(0.1, 0.4)),
        "leak_proxy_reversed": 5 - 3 * y + normal(0.5),
        "leak_proxy_in_no_order": np.where(random.random(rows) < 0.5, score, -score),
        "leak_late_backfill": np.where(one & (random.random(rows) < 0.97), 0.0, amount),
        "leak_status": status,
        "leak_missing": np.where(one & (random.random(rows) < 0.9), np.nan, amount),
        "leak_missing_never": np.where(one | (random.random(rows) < 0.1), amount, np.nan),
        "leak_value": np.where(one & (random.random(rows) < 0.3), -1.0, skewed),
        "leak_id_word": [
            f"{'DC'[int(v)]}-{i:08d}"
            for v, i in zip(y, random.integers(0, 10**8, rows), strict=True)
        ],
        "leak_id_digit": random.integers(0, 10**9, rows) * 2 + y.astype(int),
        "leak_target_encoding": encoding,
        "leak_target_encoding_smoothed": (encoding * size + 20 * y.mean()) / (size + 20),
        "leak_leave_one_out": left_out,
        "leak_scaler": (base - base.mean()) / base.std(),
        "leak_difference_a": part,
        "leak_difference_b": part - label_number * random.uniform(5, 20),
        "leak_ratio_a": total * np.exp(label_number),
        "leak_ratio_b": total,
        "leak_product_a": np.exp(label_number) / skewed,
        "leak_product_b": skewed,
    }  # fmt: skip
    held = ~train
    ranged = random.normal(50, 10, rows)
    ranged[np.flatnonzero(held)[0]] = 200.0
    leaks["leak_scaler_range"] = (ranged - ranged.min()) / (ranged.max() - ranged.min())
    some = random.random(rows) < 0.6
    gone = random.random(rows) < 0.2 + 0.5 * (merit > 0)
    clean = {
        "clean_noise": normal(),
        "clean_strong": merit,
        "clean_strong_skewed": np.exp(merit * 3),
        "clean_strong_steps": np.clip(np.round(merit * 2 + 5), 0, 10).astype(int),
        "clean_weak": merit + normal(3),
        "clean_word": np.where(some, np.where(merit > 0, "up", "down"), "flat"),
        "clean_many_words": [f"w{i}" for i in random.integers(0, rows // 3, rows)],
        "clean_id_word": [f"{i:016x}" for i in random.integers(0, 2**60, rows)],
        "clean_id": random.permutation(rows) + 10**6,
        "clean_count": random.poisson(2, rows),
        "clean_missing": np.where(random.random(rows) < 0.3, np.nan, normal()),
        "clean_missing_some": np.where(gone, np.nan, amount),
        "clean_heavy": random.standard_cauchy(rows),
        "clean_constant": np.ones(rows),
        "clean_share": random.beta(0.3, 0.3, rows),
        "clean_encoding": out_of_fold,
        "clean_scaler": (skewed - skewed[train].mean()) / skewed[train].std(),
        "clean_count_encoding": size,
        "clean_zero_heavy": np.where(random.random(rows) < 0.7, 0.0, amount),
        "category": [f"c{i}" for i in category],
    }  # fmt: skip
    frame = pl.DataFrame({**leaks, **clean, "y": y.astype(int)})
    frame = frame.with_columns(pl.Series("part", np.where(train, "train", "eval")))
    return frame, list(leaks), list(clean)


def series_table(
    seed: int, entities: int = 40, length: int = 100
) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Return rows of entities along time, `who` and `when`, with a label `y` that persists."""
    random = np.random.default_rng(seed)
    shape = (entities, length)
    state = np.zeros(shape)
    for t in range(1, length):
        state[:, t] = 0.9 * state[:, t - 1] + random.normal(0, 0.6, entities)
    y = (state + random.normal(0, 0.5, shape) > 0).astype(float)
    window = int(random.integers(3, 10))

    def rolling(end: int) -> Floats:
        """Return the mean of `window` labels, of which the last is `end` rows back."""
        out = np.full(shape, np.nan)
        for t in range(length):
            last = t - end + 1
            if last > 0:
                out[:, t] = y[:, max(0, last - window) : last].mean(axis=1)
        return out

    def before(values: Floats) -> Floats:
        return np.concatenate([np.full((entities, 1), np.nan), values[:, :-1]], axis=1)

    def autoregressive(weight: float) -> Floats:
        out = random.normal(0, 1, shape)
        for t in range(1, length):
            out[:, t] += weight * out[:, t - 1]
        return out

    so_far = np.cumsum(y, axis=1) / np.arange(1, length + 1)
    decaying = y.copy()
    for t in range(1, length):
        decaying[:, t] = 0.3 * y[:, t] + 0.7 * decaying[:, t - 1]
    ahead = np.concatenate([y[:, 1:], np.full((entities, 1), np.nan)], axis=1)
    one = np.where(random.random(shape) < 0.95, y, np.nan)
    leaks = {
        "leak_proxy": y + random.normal(0, 0.25, shape),
        "leak_future_label": ahead,
        "leak_future_noise": ahead + random.normal(0, 0.2, shape),
        "leak_window": rolling(0),
        "leak_so_far": so_far,
        "leak_decaying": decaying,
        "leak_backfill": np.where(np.nan_to_num(one) > 0, 0.0, random.gamma(2, 1, shape)),
    }
    common = np.cumsum(random.normal(0, 1, length))
    clean = {
        "clean_noise": random.normal(0, 1, shape),
        "clean_walk": autoregressive(1.0),
        "clean_common_walk": np.broadcast_to(common, shape),
        "clean_ar98": autoregressive(0.98),
        "clean_last_label": before(y),
        "clean_window": before(rolling(0)),
        "clean_so_far": before(so_far),
        "clean_decaying": before(decaying),
        "clean_state_before": before(state),
        "clean_row": np.broadcast_to(np.arange(length, dtype=float), shape),
        "clean_level": np.broadcast_to(state.mean(axis=1)[:, None] + 0, shape)
        + random.normal(0, 1, shape),
    }
    when = np.broadcast_to(np.arange(length), shape) + 1_700_000_000
    who = np.broadcast_to(np.arange(entities)[:, None], shape)
    columns = {**leaks, **clean, "y": y, "who": who, "when": when}
    frame = pl.DataFrame({name: np.ascontiguousarray(v).ravel() for name, v in columns.items()})
    frame = frame.with_columns(pl.col("y").cast(pl.Int64)).fill_nan(None)
    return frame.sample(fraction=1, shuffle=True, seed=seed), list(leaks), list(clean)


def walks_table(seed: int, rows: int = ROWS) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Return one series whose label is whether a walk is above its middle, and unrelated walks."""
    random = np.random.default_rng(seed)

    def walk(weight: float = 1.0) -> Floats:
        out = random.normal(0, 1, rows)
        for t in range(1, rows):
            out[t] += weight * out[t - 1]
        return out

    hidden = walk()
    y = (hidden > np.median(hidden)).astype(int)
    clean = {f"clean_walk_{i}": walk() for i in range(10)}
    clean |= {f"clean_ar98_{i}": walk(0.98) for i in range(10)}
    clean["clean_last_label"] = np.concatenate([[0], y[:-1]]).astype(float)
    leaks = {"leak_proxy": y + random.normal(0, 0.2, rows)}
    frame = pl.DataFrame({**leaks, **clean, "y": y, "when": np.arange(rows)})
    return frame.sample(fraction=1, shuffle=True, seed=seed), list(leaks), list(clean)
