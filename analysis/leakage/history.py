"""Leaks along time: what a feature says about its own row's label beyond what the past says.

Series that persist agree with each other over long stretches by chance, and the last label often
tells the next. So where the time is known, a feature is judged within short blocks of time and
among rows whose entity had the same label before (for a quantity: by what is new in both since the
row before). A copy of the label stays as strong as it was; a walk, or the last label, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from featurekit.analysis.findings import Effect, Finding, Severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.histograms import Bins
from featurekit.analysis.leakage.kinds import Thresholds, found
from featurekit.analysis.leakage.sampling import ROWS, Sample, choose, moment, spread_over_time
from featurekit.analysis.leakage.strata import stratified_auc
from featurekit.analysis.leakage.strength import noise_p_value
from featurekit.analysis.leakage.table import Rows, collect
from featurekit.analysis.leakage.univariate import THERE, Measured

__all__ = [
    "History",
    "confirmed",
    "find_future",
    "find_own_label",
    "has_value",
    "open_history",
    "sample_of",
    "still_pure",
]  # fmt: skip

Floats = npt.NDArray[np.float64]

_BLOCK_ROWS, _BLOCKS = 200, 20
_LAGS = 30
_FITTED = 10_000
_NEW, _EXPLAINED, _SAME = 0.4, 0.95, 0.98
_CLASSES = 10
_TURNED = 5

BLOCK, SERIES, BEFORE, CODE = "\0block", "\0series", "\0before", "\0code"


@dataclass(frozen=True)
class History:
    """Some rows, each series in the order of time.

    Args:
        table: Entity, time, label, features, and for each row its block of time, its series, its
            label as a number and that of the row before.
        whole: Whether each series begins with its entity's first row.
        questions: The classes to tell from the rest; empty for a quantity.
    """

    table: pl.DataFrame
    whole: bool
    questions: tuple[int, ...]

    def column(self, name: str) -> pl.Series:
        """Return a column, under a name that Polars does not read as a pattern of names."""
        return self.table[name].alias("x")

    def targets(self) -> Iterator[pl.Series]:
        """Yield the label as numbers: classes by their place, then each of them as 0 and 1."""
        code = self.table[CODE]
        if len(self.questions) != 1:
            yield code
        for question in self.questions:
            yield (code == question).cast(pl.Float64)


def sample_of(rows: Rows, total: int) -> Sample:
    """Decide which rows of a table, whose time is known, to read in the order of time.

    Args:
        rows: The table.
        total: How many rows it has.
    """
    assert rows.time is not None
    if total <= ROWS:
        return Sample()
    entities = 0
    if rows.entity is not None:
        entities = collect(rows.frame.select(named(rows.entity).approx_n_unique())).item()
    times: Bins | None = None
    for batch, _ in rows.batches([moment(rows.time)]):
        part = spread_over_time(batch.to_series())
        times = part if times is None else times.merge(part)
    return choose(total, rows.entity, entities, rows.time, times)


def open_history(rows: Rows, names: Iterable[str], sample: Sample, seed: int) -> History:
    """Read some rows in the order of time: all rows of some entities, or some stretches of time.

    Args:
        rows: A table whose time is known.
        names: The features to read.
        sample: Which rows.
        seed: Chooses the entities.
    """
    assert rows.time is not None
    time = named(rows.time)
    keys = [] if rows.entity is None else [rows.entity]
    wanted = sorted({*keys, rows.time, rows.target.label, *names})
    frame = rows.frame.filter(time.is_not_null() & sample.kept(seed))
    table = collect(frame.select(named(*wanted), sample.series().alias(SERIES)))
    first = [*keys, rows.time]
    table = table.sort(named(*first, *(name for name in wanted if name not in first)))
    blocks = max(1, min(_BLOCKS, table.height // _BLOCK_ROWS))
    rank = time.rank("ordinal") - 1
    table = table.with_columns(
        pl.struct(SERIES, *(named(key) for key in keys)).rank("dense").alias(SERIES),
        (rank * blocks // pl.len()).alias(BLOCK),
        rows.target.codes.cast(pl.Float64).alias(CODE),
    ).with_columns(pl.col(CODE).shift(1).over(SERIES).alias(BEFORE))
    questions = () if rows.target.classes is None else tuple(rows.target.questions)
    return History(table, sample.whole, questions)


def confirmed(
    history: History, name: str, numbers: Measured, thresholds: Thresholds
) -> tuple[float, Severity | None]:
    """Judge a suspect along time.

    Args:
        history: Rows in the order of time.
        name: The suspect.
        numbers: What all rows said of it.
        thresholds: From where on to speak up.

    Returns:
        Its strength within blocks of time among rows with the same label before (for a quantity:
        the squared correlation of what is new), and how much that weighs; `None` for a strength
        that persistence explains.
    """
    value = _value(history, name, numbers)
    if not history.questions:
        strength = _innovation(history, value)
        return strength, Severity.WARNING if strength >= 0.5 else None
    table = history.table.with_columns(value.alias(name))
    one = table[CODE] == numbers.question
    area, positive, negative = stratified_auc(table, [name], [BLOCK, BEFORE], one)[name]
    strength = area if numbers.direction > 0 else 1 - area
    if noise_p_value(strength, positive, negative) >= thresholds.false_alarms:
        return strength, None
    return strength, thresholds.severity(strength)


def has_value(column: pl.Series, finding: Finding) -> pl.Series:
    """Return which rows of a column have the value that a finding names."""
    seen = finding.evidence
    value = str(seen["value"])
    if not seen["special"]:
        if column.dtype == pl.String or isinstance(column.dtype, (pl.Categorical, pl.Enum)):
            mine = column.cast(pl.String) == value
        else:
            mine = (column.to_physical().cast(pl.Float64) - float(value)).abs() <= abs(
                float(value)
            ) * 1e-11
    elif value in ("missing", THERE):
        mine = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
        mine = mine if value == "missing" else ~mine
    else:
        mine = column == float(value)
    return mine


def still_pure(history: History, finding: Finding, thresholds: Thresholds) -> bool:
    """Say whether a pure value keeps its class where the row before was of another.

    A value that only goes with a long stretch of one class does not.

    Args:
        history: Rows in the order of time.
        finding: Names the value.
        thresholds: From where on to speak up.
    """
    mine = has_value(history.column(finding.features[0]), finding)
    seen = finding.evidence
    code, before = pl.col(CODE), pl.col(BEFORE)
    of = pl.lit(seen["of"])
    turned = history.table.filter(mine.fill_null(value=False)).filter(before != of)
    kept = turned.select((code == of).mean()).item()
    return turned.height >= _TURNED and kept >= 1 - thresholds.lift


def _value(history: History, name: str, numbers: Measured) -> pl.Series:
    """Return what a suspect says, as one number for each row."""
    table, column = history.table, history.column(name)
    if numbers.way.startswith("missing"):
        gone = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
        return gone.cast(pl.Float64)
    if numbers.way == "rank" or (numbers.way == "R2" and column.dtype.is_numeric()):
        return column.to_physical().cast(pl.Float64)
    # The mean label of the same category in all other blocks.
    category = column
    if column.dtype.is_numeric() and column.n_unique() > table.height / 5:
        category = (column.rank("ordinal") * 64 // (column.len() + 1)).cast(pl.Int64)
    one = table[CODE] == numbers.question if history.questions else table[CODE]
    made = table.select(
        category.alias("category"), pl.col(BLOCK), one.cast(pl.Float64).alias("one")
    )
    every, own = (pl.col("one").sum().over(by) for by in ("category", ["category", BLOCK]))
    rows, mine = (pl.len().over(by) for by in ("category", ["category", BLOCK]))
    share = pl.when(rows > mine).then((every - own) / (rows - mine))
    return made.select(share.fill_null(pl.col("one").mean()).alias(name)).to_series()


def _innovation(history: History, value: pl.Series, shift: int = 0) -> float:
    """Return the squared correlation of what is new in a feature and in the label.

    Args:
        history: Rows in the order of time.
        value: The feature.
        shift: -1 for the label of the next row.
    """
    x = history.table.select(SERIES, value.cast(pl.Float64).alias("x"), label=CODE)
    label = pl.col("label").shift(shift).over(SERIES)
    before = pl.col("x", "y").shift(1).over(SERIES).name.suffix("1")
    both = x.with_columns(label.alias("y")).with_columns(before).drop_nulls()
    made = both.select("x", "y", "x1", "y1").to_numpy()
    made = made[np.isfinite(made).all(axis=1)]
    if len(made) < 30:
        return 0.0
    known = np.column_stack([np.ones(len(made)), made[:, 2:]])
    new_x, new_y, share = _residuals(known, made[:, 0], made[:, 1])
    return 0.0 if share < 1e-9 else _squared(new_x, new_y)


def _residuals(known: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats, float]:
    """Return what `known` leaves of x and y, and the share of the variance of x that is left."""
    left = np.column_stack([x, y])
    # By normal equations, which are many times faster than a decomposition of all rows; what they
    # lose in precision, repeating them on what is left brings back.
    known = known / np.maximum(np.linalg.norm(known, axis=0), 1e-300)
    inverse = np.linalg.pinv(known.T @ known, rcond=1e-13, hermitian=True)
    for _ in range(3):
        left = left - known @ (inverse @ (known.T @ left))
    left_x, left_y = left.T
    spread = float(np.sum((x - x.mean()) ** 2))
    return left_x, left_y, float(left_x @ left_x) / spread if spread else 0.0


def _squared(x: Floats, y: Floats) -> float:
    both = float((x @ x) * (y @ y))
    return float((x @ y) ** 2) / both if both > 0 else 0.0


def find_future(history: History, names: list[str], thresholds: Thresholds) -> list[Finding]:
    """Return the features that tell the next row's label, given this row's.

    Args:
        history: Rows in the order of time.
        names: Numeric features.
        thresholds: From where on to speak up.
    """
    table = history.table.with_columns(pl.col(CODE).shift(-1).over(SERIES).alias("\0next"))
    table = table.filter(pl.col("\0next").is_not_null())
    seen: dict[str, float] = {}
    if not history.questions:
        for name in names:
            ahead = _innovation(history, history.column(name), -1)
            if ahead >= max(thresholds.warning, _innovation(history, history.column(name))):
                seen[name] = ahead
    for question in history.questions[:_CLASSES]:
        after = stratified_auc(table, names, [BLOCK, CODE], table["\0next"] == question)
        for name, (area, positive, negative) in after.items():
            strength = max(area, 1 - area)
            chance = noise_p_value(area, positive, negative) * len(names) * len(history.questions)
            if strength < max(thresholds.warning, seen.get(name, 0.0)):
                continue
            if chance >= thresholds.false_alarms:
                continue
            own = stratified_auc(table, [name], [BLOCK, BEFORE], table[CODE] == question)[name][0]
            if strength > max(own, 1 - own) + 0.02:
                seen[name] = strength
    kind = "AUC" if history.questions else "R2"
    return [
        found(
            "future_label",
            thresholds.severity(strength) or Severity.WARNING,
            (name,),
            f"{name!r} tells the label of the entity's next row beyond what this row's does: "
            f"{kind} {strength:.3f}.",
            Effect(kind, strength),
        )
        for name, strength in sorted(seen.items())
    ]


def find_own_label(history: History, names: list[str], lengths: int = _LAGS) -> list[Finding]:
    """Return the features that add up labels, their own row's among them.

    What the last labels and the feature's own last value leave open of it is then the own label: so
    for sums, means and decaying means over rows, and for the mean of all rows so far.

    Args:
        history: Rows in the order of time.
        names: Numeric features.
        lengths: The longest window that is taken apart completely; of longer ones what is left is
            half the own label, which is enough to tell.
    """
    sizes = history.table.group_by(SERIES).len()["len"].to_numpy()
    lags = min(lengths, int(np.median(sizes)) // 3) if len(sizes) else 0
    if lags < 2:
        return []
    seen: dict[str, tuple[float, float]] = {}
    for target in list(history.targets())[:_CLASSES]:
        table = history.table.select(SERIES, named(*names), target.alias("\0y")).with_columns(
            pl.int_range(1, pl.len() + 1).over(SERIES).alias("\0k"),
            *(
                pl.col("\0y").shift(lag).over(SERIES).alias(f"\0{lag}")
                for lag in range(1, lags + 1)
            ),
        )
        past = [f"\0{lag}" for lag in range(1, lags + 1)]
        for name in names:
            x = named(name).cast(pl.Float64)
            made = table.select(
                x.alias("x"), x.shift(1).over(SERIES).alias("x1"), "\0y", "\0k", *past
            )
            kept = made.drop_nulls().filter(pl.all_horizontal(pl.col("x", "x1").is_finite()))
            values = kept.head(_FITTED).to_numpy()
            if len(values) < 10 * (lags + 3):
                continue
            x0, x1, y, k = values[:, :4].T
            known = np.column_stack([np.ones(len(y)), x1, values[:, 4:]])
            left_x, left_y, share = _residuals(known, x0, y)
            own = _squared(left_x, left_y) if share > 1e-10 else 0.0
            explained = 1 - share * (1 - own)
            if not (own >= _NEW and explained >= _EXPLAINED):
                known = np.column_stack([np.ones(len(y)), values[:, 4:]])
                added, left_y, share = _residuals(known, k * x0 - (k - 1) * x1, y)
                own = _squared(added, left_y) if history.whole and share > 1e-10 else 0.0
                if own < _SAME:
                    continue
            if own > seen.get(name, (0.0, 0.0))[0]:
                seen[name] = (own, explained)
    return [
        found(
            "own_label",
            Severity.CRITICAL,
            (name,),
            f"{name!r} adds up labels, its own row's among them: of what the {lags} labels before "
            f"and its own last value leave open, {own:.1%} is the row's own label.",
            Effect("R2", own),
            explained=explained,
            lags=lags,
        )
        for name, (own, explained) in sorted(seen.items())
    ]
