"""The statistical leakage scan of a table with a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from featurekit.analysis.findings import Finding, Severity, by_severity
from featurekit.analysis.given import named
from featurekit.analysis.leakage.fitted import find_encodings
from featurekit.analysis.leakage.histograms import Histograms, Labels
from featurekit.analysis.leakage.history import (
    History,
    confirmed,
    find_future,
    find_own_label,
    has_value,
    open_history,
    sample_of,
    still_pure,
)
from featurekit.analysis.leakage.identifiers import parts_of
from featurekit.analysis.leakage.imputed import find_imputed, not_exact
from featurekit.analysis.leakage.kinds import ADVICE, CAVEAT, KINDS, Thresholds
from featurekit.analysis.leakage.leave_one_out import find_leave_one_out
from featurekit.analysis.leakage.pairs import find_pairs, strongest
from featurekit.analysis.leakage.sampling import Sample
from featurekit.analysis.leakage.scaled import Spreads, find_scalings, maybe_scaled, spreads
from featurekit.analysis.leakage.shift import find_shift
from featurekit.analysis.leakage.splits import (
    Shared,
    duplicates_finding,
    entity_finding,
    hashes,
    overlap,
    row_columns,
    shifted,
    split_in_time,
)
from featurekit.analysis.leakage.strength import binomial_tail
from featurekit.analysis.leakage.table import Rows, collect, open_rows
from featurekit.analysis.leakage.train_only import find_train_only
from featurekit.analysis.leakage.univariate import (
    Measured,
    judge,
    measure,
    pure_values,
    strong_finding,
)
from featurekit.errors import DataError

_ALONE = frozenset({"future_label", "leave_one_out", "own_label", "proxy", "target_encoding"})

__all__ = ["Scan", "Thresholds", "conclude", "histograms_of", "scan"]


@dataclass(frozen=True)
class Scan:
    """What the scan of a table found.

    Args:
        findings: The worst first.
        features: The numbers of each feature, in the order of their strength.
        rows: Rows that have a label.
        label: The column of the label.
        skipped: Columns of types that are not looked at.
        seed: The seed of all that is drawn.
        side_by_side: Which rows were looked at side by side, in words; `None` where single rows
            were enough.
        not_looked_for: What was not looked for, and in which columns, in words.
    """

    findings: tuple[Finding, ...]
    features: Mapping[str, Measured]
    rows: int
    label: str
    skipped: tuple[str, ...] = ()
    seed: int = 0
    side_by_side: str | None = None
    not_looked_for: tuple[str, ...] = ()

    @property
    def flagged(self) -> tuple[Finding, ...]:
        """The findings that are more than a note."""
        return tuple(found for found in self.findings if found.severity > Severity.NOTE)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, for `--json` and reports."""
        return {
            "label": self.label,
            "rows": self.rows,
            "findings": [finding.to_dict() for finding in self.findings],
            "features": {name: numbers.to_dict() for name, numbers in self.features.items()},
            "skipped": list(self.skipped),
            "seed": self.seed,
            "side_by_side": self.side_by_side,
            "not_looked_for": list(self.not_looked_for),
            "caveat": CAVEAT,
        }


def scan(
    table: Any,
    *,
    label: str,
    split: str | None = None,
    entity: str | None = None,
    time: str | None = None,
    exclude: Sequence[str] = (),
    in_time: bool | None = None,
    seed: int = 0,
    thresholds: Thresholds | None = None,
) -> Scan:
    """Look through a table for features that know more of the label than they can when it matters.

    Rows without a label are left out. One pass makes a histogram of the label over the values of
    every feature; a few columns or rows are looked at again where something stands out.

    Args:
        table: A pandas, Polars or Arrow table, or the path of a Parquet or CSV file.
        label: The column of the label: of words, booleans, or at most 20 whole numbers, it has
            classes; of other numbers it is a quantity, and strength is R2 instead of AUC.
        split: The column of the split; its value "train" (or the most frequent one) means the rows
            to learn from. With it, duplicates, entities on both sides and statistics that were
            fitted on held-out rows are looked for.
        entity: The column that names whose row it is, such as a customer.
        time: The column of the time of the prediction. With it, series that persist are told from
            leaks, and labels of the future and of the own row are looked for.
        exclude: Columns that are no features.
        in_time: Whether the split is by time, where no column tells; `False` says that rows, or
            the entities, went into its parts by chance.
        seed: The seed of all that is drawn.
        thresholds: From where on to speak up.

    Returns:
        The findings and the numbers of each feature. Neither the order of rows nor that of columns
        changes them.

    Raises:
        UsageError: A column is not there.
        DataError: The table cannot be read, or has no rows with two labels.

    Example:
        >>> import polars as pl
        >>> late = pl.DataFrame({"late": [i % 3 == 0 for i in range(300)]})
        >>> table = late.with_columns(refund=pl.col("late") * 5.0, hour=pl.int_range(300) % 20)
        >>> found = scan(table, label="late")
        >>> [(finding.kind, finding.features) for finding in found.flagged]
        [('proxy', ('refund',))]
    """
    rows = open_rows(table, label=label, split=split, entity=entity, time=time, exclude=exclude)
    histograms = histograms_of(rows.batches())
    shared: dict[str, Shared] = {}
    spread: Spreads | None = None
    if rows.target.split is not None:
        shared = _shared(rows, histograms)
        spread = spreads(rows.frame, maybe_scaled(histograms, rows.schema()), rows.target)
    beside = None if rows.time is None else sample_of(rows, histograms.rows)
    limits = thresholds or Thresholds()
    return conclude(rows, histograms, shared, spread, beside, limits, seed, in_time)


def conclude(
    rows: Rows, histograms: Histograms, shared: Mapping[str, Shared], spread: Spreads | None,
    beside: Sample | None, thresholds: Thresholds, seed: int, in_time: bool | None = None,
    sampled: int | None = None,
) -> Scan:  # fmt: skip
    """Judge a table by what was counted in it.

    Args:
        rows: The table, or some of its rows.
        histograms: The labels over the values of all its rows.
        shared: What the parts of the split share: "rows" and, where it is known, "entities".
        spread: How the numbers of what may be scaled are spread, where there is a split.
        beside: Which rows to look at side by side; `None` where nothing goes along time.
        thresholds: From where on to speak up.
        seed: The seed of all that is drawn.
        in_time: Whether the split is by time, where no column tells.
        sampled: How many `rows` are, if they are only some.
    """
    target = rows.target
    here = histograms.rows if sampled is None else sampled
    in_time = _by_time(rows, in_time)
    parts = parts_of(rows, histograms)
    measured = {
        name: measure(name, histograms.columns[name], target, seed) for name in rows.features
    }
    inside = {}
    if parts:
        made = histograms_of(rows.batches([expression for _, expression in parts.values()]))
        inside = {name: measure(name, made.columns[name], target, seed) for name in parts}
    suspects = judge({**measured, **inside}, target, thresholds)
    single = {name: bins for name, bins in histograms.columns.items() if name not in suspects}
    pure = pure_values(single, histograms.totals, target, thresholds)
    findings = find_encodings(histograms, target)
    findings += find_leave_one_out(rows, histograms, measured, here, thresholds, seed)
    told = {name for finding in findings for name in finding.features}
    if target.split is not None and not in_time and rows.time is None:
        rest = {name: numbers for name, numbers in measured.items() if name not in told}
        findings += find_train_only(histograms, rest, target, thresholds, seed)
    if spread is not None:
        findings += find_scalings(spread, histograms, rows.schema())
        findings += find_imputed(rows, histograms, sampled is None)
    fitted = {
        name for finding in findings for name in finding.features
        if finding.kind in ("leave_one_out", "target_encoding")
    }  # fmt: skip
    strong = {
        name: severity for name, severity in suspects.items()
        if name in measured and name not in fitted
    }  # fmt: skip
    history = None
    if rows.time is not None and beside is not None:
        history = open_history(rows, rows.features, beside, seed)
    of_strong = {name: histograms.columns[name] for name in strong}
    rare = replace(thresholds, value_share=0.0)
    pure_too = pure_values(of_strong, histograms.totals, target, rare)
    if rows.entity is not None:
        pure = [_of_entities(rows, finding, thresholds) for finding in pure]
    findings += _along_time(rows, history, strong, pure, pure_too, measured, thresholds)
    findings += _identifiers(parts, inside, suspects, rows, history, thresholds)
    # What leaks alone makes a good pair with much else.
    alone = {name for finding in findings for name in finding.features if finding.kind in _ALONE}
    names = strongest(measured, alone | set(suspects), rows, thresholds.pairs)
    findings += find_pairs(rows, names, here, thresholds, seed)
    findings += duplicates_finding(shared["rows"], thresholds) if "rows" in shared else []
    if "entities" in shared and rows.entity is not None:
        findings += entity_finding(shared["entities"], rows.entity, bool(in_time))
    order = sorted(measured, key=lambda name: (-measured[name].strength, name))
    findings += find_shift(rows, order, here, in_time, thresholds, seed)
    findings += shifted(measured, thresholds)
    height = history.table.height if history is not None else sampled
    return Scan(
        by_severity(findings, KINDS), {name: measured[name] for name in order}, histograms.rows,
        target.label, rows.skipped, seed,
        None if beside is None or height is None else beside.told(height, histograms.rows),
        _not_looked_for(rows, histograms, sampled),
    )  # fmt: skip


def _not_looked_for(rows: Rows, histograms: Histograms, sampled: int | None) -> tuple[str, ...]:
    """Return what takes all rows, where some are at hand."""
    if sampled is None or rows.target.split is None:
        return ()
    names = not_exact(histograms, rows.schema())
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if names[5:] else "")
    return (
        (f"values filled in from held-out rows, not looked for on Beam in {shown}",)
        if names
        else ()
    )


def _of_entities(rows: Rows, finding: Finding, thresholds: Thresholds) -> Finding:
    """Judge a pure value by the entities that have it, of which each may have one label anyway.

    Returns:
        The finding, as a note where so few entities say nothing.
    """
    name, entity = finding.features[0], str(rows.entity)
    wanted = rows.frame.select(
        named(name).alias("x"), named(entity).alias("who"), rows.target.codes.alias("code")
    )
    table = collect(wanted)
    mine = has_value(table["x"], finding).fill_null(value=False)
    each = table.filter(mine).group_by("who").agg(pl.col("code").eq(finding.evidence["of"]).all())
    hits, base = int(each["code"].sum()), float(str(finding.evidence["base"]))
    chance = binomial_tail(hits, each.height, base) * int(str(finding.evidence["looks"]))
    if chance < thresholds.false_alarms:
        return finding
    text = f"{finding.message} They are the rows of {each.height:,} values of {entity!r}."
    return replace(finding, severity=Severity.NOTE, message=text)


def _by_time(rows: Rows, said: bool | None) -> bool | None:
    """Say whether the split is by time: what was said, or what the columns tell."""
    if split_in_time(rows):
        return True
    if said is None and rows.time is not None and rows.entity is not None:
        return False
    return said


def histograms_of(batches: Iterable[tuple[pl.DataFrame, Labels]]) -> Histograms:
    """Return the histograms of all batches, in memory that does not grow with them.

    Raises:
        DataError: There is no row.
    """
    whole: Histograms | None = None
    for batch, labels in batches:
        levels = None if whole is None else whole.levels()
        part = Histograms.of(batch, labels, levels)
        whole = part if whole is None else whole.merge(part)
    if whole is None:
        raise DataError("the table has no rows with a label")
    return whole


def _along_time(
    rows: Rows, history: History | None, strong: Mapping[str, Severity], pure: Sequence[Finding],
    pure_too: Sequence[Finding], measured: Mapping[str, Measured], thresholds: Thresholds,
) -> list[Finding]:  # fmt: skip
    """Return the findings for suspects, judged along time where the time is known.

    A value that turns with its class is none that merely persists, however rare it is: that the
    feature is strong, all rows say, and along time it may look weaker than it is.
    """
    target = rows.target
    if history is None:
        return [*pure, *(strong_finding(name, measured[name], severity, target)
                         for name, severity in strong.items())]  # fmt: skip
    out = [
        finding if still_pure(history, finding, thresholds)
        else replace(
            finding, severity=Severity.NOTE,
            message=f"{finding.message} Both persist: the row before mostly had the same label.",
        )
        for finding in pure
    ]  # fmt: skip
    for name, severity in strong.items():
        within, still = confirmed(history, name, measured[name], thresholds)
        mine = [finding for finding in pure_too if finding.features == (name,)]
        turns = next((each for each in mine if still_pure(history, each, thresholds)), None)
        if still is None and turns is not None:
            still = Severity.WARNING
        settled = min(severity, still) if still is not None else Severity.NOTE
        finding = strong_finding(name, measured[name], settled, target, within_time=within)
        text = (
            f"Within blocks of time, among rows with the same label before: {within:.3f}"
            if target.classes is not None
            else f"Of what is new since the row before, it explains {within:.3f}"
        )
        if still is None:
            text += "; that both persist explains the rest"
        elif turns is not None and within < thresholds.warning:
            text += f"; but {turns.evidence['value']!r} turns with its class"
        out.append(replace(finding, message=f"{finding.message} {text}."))
    schema = rows.schema()
    flagged = {
        finding.features[0] for finding in out
        if finding.severity > Severity.NOTE and finding.kind == "proxy"
    }  # fmt: skip
    numbers = [name for name in rows.features if name not in flagged and schema[name].is_numeric()]
    out += find_future(history, numbers, thresholds)
    return out + find_own_label(history, numbers)


def _identifiers(
    parts: Mapping[str, tuple[str, pl.Expr]], inside: Mapping[str, Measured],
    suspects: Mapping[str, Severity], rows: Rows, history: History | None, thresholds: Thresholds,
) -> list[Finding]:  # fmt: skip
    """Return the identifiers that hold the label, each with the part that says the most.

    Identifiers that are given out along time go with a label that persists; that is no leak.
    """
    best: dict[str, str] = {}
    for part, (name, _) in parts.items():
        if part not in suspects or name in suspects:
            continue
        if name not in best or inside[part].strength > inside[best[name]].strength:
            best[name] = part
    out = []
    for name, part in best.items():
        severity, along = suspects[part], ""
        if history is not None:
            made = parts[part][1].alias(part)
            beside = replace(history, table=history.table.with_columns(made))
            within, still = confirmed(beside, part, inside[part], thresholds)
            severity = Severity.NOTE if still is None else min(severity, still)
            along = "" if still is not None else (
                f" Within blocks of time: {within:.3f}; that both persist explains the rest."
            )  # fmt: skip
        finding = strong_finding(part, inside[part], severity, rows.target, part=part)
        finding = replace(finding, message=finding.message + along)
        out.append(
            replace(finding, features=(name,), kind="identifier", advice=ADVICE["identifier"])
        )
    return out


def _shared(rows: Rows, histograms: Histograms) -> dict[str, Shared]:
    """Count what held-out rows share with training rows."""
    # Its label belongs to a row: who remembers the row remembers it.
    total = histograms.rows
    keys = hashes([*row_columns(rows, histograms), rows.target.label])
    out = {"rows": overlap(rows, keys, total, by_row=True)}
    if rows.entity is not None:
        whose = replace(rows, known=rows.known & named(rows.entity).is_not_null())
        out["entities"] = overlap(whose, hashes([rows.entity]), total, by_row=False)
    return out
